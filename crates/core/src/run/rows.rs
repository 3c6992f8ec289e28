//! Scores of a run as they are asked for: a part at a time is in memory, however long the run.

use crate::run::directory::{RunDir, RunError, SCORES};
use crate::run::{Plan, ScoredWindow};
use std::borrow::Cow;

/// The scored windows of a plan, by their places in it.
#[derive(Debug)]
pub struct Rows<'a> {
    run: &'a RunDir,
    folder: &'static str,
    plan: Cow<'a, Plan>,
    /// The part that was read last.
    read: Option<(u64, Vec<ScoredWindow>)>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(run: &'a RunDir, folder: &'static str, plan: Cow<'a, Plan>) -> Self {
        Self {
            run,
            folder,
            plan,
            read: None,
        }
    }

    /// The windows and parts.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The scores of one window. Reading in order reads every part once. `None` past the end.
    ///
    /// # Errors
    /// When its part can't be read.
    pub fn row(&mut self, place: usize) -> Result<Option<&ScoredWindow>, RunError> {
        let part = self.plan.part_of(place);
        if part >= self.plan.parts() {
            return Ok(None);
        }
        let rows = match self.read.take() {
            Some((read, rows)) if read == part => rows,
            _ => self.run.read_rows(self.folder, &self.plan, part)?,
        };
        let (_, rows) = self.read.insert((part, rows));
        Ok(rows.get(place - self.plan.part_range(part).start))
    }
}

impl RunDir {
    /// All scores one after another, in the plan's order. A part that can't be used is an error in the place of its windows.
    pub fn each(&self) -> impl Iterator<Item = Result<ScoredWindow, RunError>> {
        (0..self.manifest().plan.parts()).flat_map(|index| match self.read_part(index) {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    /// All scores at once, in the plan's order.
    ///
    /// # Errors
    /// When a part is missing or can't be used, by the first of them.
    pub fn read_all(&self) -> Result<Vec<ScoredWindow>, RunError> {
        self.each().collect()
    }

    /// Scores by the places of their windows.
    pub fn rows(&self) -> Rows<'_> {
        Rows::of(self, SCORES, Cow::Borrowed(&self.manifest().plan))
    }
}
