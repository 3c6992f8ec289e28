//! Scoring a run's windows: a coarse pass where there is one, then, part by part, what the run directory lacks.

use super::prepare::{Forms, forms};
use super::select::{CoarsePass, Screening, WindowAction};
use super::{ProbeError, ProbeModel, Progress};
use crate::backend::exit::Exit;
use crate::backend::{ScoreError, ScoreInput, TokenScores};
use crate::follow::exit::in_full;
use crate::items::ItemId;
use crate::metric::text::text_stats;
use crate::policy::Policy;
use crate::run::dedup::{Duplicates, ScoreCache};
use crate::run::directory::{Missing, RunDir};
use crate::run::pass::PassScores;
use crate::run::{Left, Plan, ProbedItem, ScoredWindow};
use crate::window::{ProbedForm, Window};
use std::collections::HashSet;

/// A run whose windows are to be scored.
pub(super) struct Scoring<'a> {
    pub(super) dir: &'a RunDir,
    pub(super) windows: &'a [Window],
    pub(super) texts: Texts<'a>,
    pub(super) model: &'a ProbeModel,
    pub(super) policy: &'a Policy,
    pub(super) progress: &'a dyn Progress,
}

/// A run that is scored.
pub(super) struct ScoringSummary {
    /// Windows given to the model in this call.
    pub(super) computed: u64,
    /// Windows of the whole run that took over the scores of an identical one.
    pub(super) shared: u64,
    pub(super) screening: Option<Screening>,
}

/// What is known of the texts besides their windows.
pub(super) struct Texts<'a> {
    forms: Forms<'a>,
    always_complete: HashSet<&'a ItemId>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(items: &'a [ProbedItem], policy: &Policy) -> Self {
        let mut always_complete = HashSet::new();
        for ProbedItem { item, .. } in items {
            if in_full(item.kind, &item.id, &item.tags, policy) {
                always_complete.insert(&item.id);
            }
        }
        Self {
            forms: forms(items),
            always_complete,
        }
    }

    /// Whether all windows of the item are scored to their ends: those of controls and positive controls.
    pub(super) fn always_complete(&self, window: &Window) -> bool {
        self.always_complete.contains(&window.item)
    }
}

/// The outcome for one window.
#[derive(Clone, Debug)]
struct ScoreOutcome {
    scores: Result<TokenScores, String>,
    left: Option<Left>,
}

impl From<&ScoredWindow> for ScoreOutcome {
    fn from(row: &ScoredWindow) -> Self {
        Self {
            scores: row.scores.clone(),
            left: row.left,
        }
    }
}

/// A window and its index in the list that is scored.
type Indexed<'a> = (usize, &'a Window);

impl Scoring<'_> {
    /// Scores what the run directory lacks; `None` if it was stopped.
    pub(super) fn run(&self) -> Result<Option<ScoringSummary>, ProbeError> {
        let pass = CoarsePass::new(self.windows, &self.texts, self.dir)?;
        let mut pass_scores = PassScores::open(self.dir, &pass.windows)?;
        let Some(in_pass) = self.score_pass(&pass, &mut pass_scores)? else {
            return Ok(None);
        };
        let (actions, screening) = pass.actions(
            self.windows,
            &self.texts,
            &mut pass_scores,
            self.model,
            self.policy,
        )?;
        let Some((computed, shared)) = self.score_rest(&actions, &mut pass_scores)? else {
            return Ok(None);
        };
        let in_pass = if pass.scores_pieces() { 0 } else { in_pass };
        Ok(Some(ScoringSummary {
            computed: in_pass + computed,
            shared,
            screening,
        }))
    }

    /// Scores the coarse pass; gives the number of its windows that the model computed.
    fn score_pass(
        &self,
        pass: &CoarsePass<'_>,
        scores: &mut PassScores<'_>,
    ) -> Result<Option<u64>, ProbeError> {
        let indexed = |index: usize| -> Indexed<'_> { (index, &*pass.windows[index]) };
        let duplicates = Duplicates::of((0..pass.windows.len()).map(indexed), |_| ());
        let missing = scores.missing();
        if !self.begin(&missing, scores.plan(), "of the first pass ") {
            return Ok(Some(0));
        }
        let pending = missing
            .parts
            .iter()
            .flat_map(|part| scores.plan().part_range(*part));
        let mut cache = ScoreCache::for_duplicates(&duplicates, pending);
        for index in 0..pass.windows.len() {
            let part = scores.plan().part_of(index);
            if cache.wants(index) && missing.parts.binary_search(&part).is_err() {
                cache.put(index, &pass_row(scores, index)?.into());
            }
        }
        let mut computed = 0;
        for part in missing.parts {
            if self.progress.should_stop() {
                self.progress.end(false);
                return Ok(None);
            }
            let windows: Vec<Indexed<'_>> = scores.plan().part_range(part).map(indexed).collect();
            let pieces = pass.scores_pieces();
            let (outcomes, asked) = self.score_part(&windows, &duplicates, &mut cache, pieces);
            let rows: Vec<ScoredWindow> = windows
                .iter()
                .zip(outcomes)
                .map(|((_, window), outcome)| {
                    if pieces {
                        piece_row(window, outcome)
                    } else {
                        self.row(window, outcome)
                    }
                })
                .collect();
            scores.write(part, &rows)?;
            computed += asked;
            self.progress.advance(rows.len() as u64);
        }
        self.progress.end(true);
        Ok(Some(computed))
    }

    /// Scores all other windows and writes every part that is missing. Gives the number of windows that the model computed,
    /// and of those in the run that took over the scores of another.
    fn score_rest(
        &self,
        actions: &[WindowAction],
        pass_scores: &mut PassScores<'_>,
    ) -> Result<Option<(u64, u64)>, ProbeError> {
        let plan = &self.dir.manifest().plan;
        let to_score = |index: &usize| actions[*index] == WindowAction::Score;
        let duplicates = self.duplicates(actions);
        let shared = duplicates.len() as u64;
        let missing = self.dir.missing_parts();
        if !self.begin(&missing, plan, "") {
            return Ok(Some((0, shared)));
        }
        let pending = missing.parts.iter().flat_map(|part| plan.part_range(*part));
        let mut cache = ScoreCache::for_duplicates(&duplicates, pending.filter(to_score));
        self.fill(&mut cache, actions, &missing, pass_scores)?;
        let mut computed = 0;
        for part in missing.parts {
            if self.progress.should_stop() {
                self.progress.end(false);
                return Ok(None);
            }
            let range = plan.part_range(part);
            let windows: Vec<Indexed<'_>> = range
                .clone()
                .filter(to_score)
                .map(|index| (index, &self.windows[index]))
                .collect();
            let (outcomes, asked) = self.score_part(&windows, &duplicates, &mut cache, false);
            let mut outcomes = outcomes.into_iter();
            let mut rows = Vec::with_capacity(range.len());
            for index in range {
                let window = &self.windows[index];
                rows.push(match actions[index] {
                    WindowAction::Reuse(at) => pass_row(pass_scores, at)?.clone(),
                    WindowAction::Skip(reason) => self.row(window, self.skipped(reason)),
                    WindowAction::Score => {
                        self.row(window, outcomes.next().unwrap_or_else(no_score))
                    }
                });
            }
            self.dir.write_part(part, &rows)?;
            computed += asked;
            self.progress.advance(rows.len() as u64);
        }
        self.progress.end(true);
        Ok(Some((computed, shared)))
    }

    /// Which windows have the tokens of an earlier one. Those of the coarse pass come first: their scores are there already.
    fn duplicates(&self, actions: &[WindowAction]) -> Duplicates {
        let with = |wanted: fn(&WindowAction) -> bool| {
            let indices = (0..actions.len()).filter(move |index| wanted(&actions[*index]));
            indices.map(|index| (index, &self.windows[index]))
        };
        let reused = with(|action| matches!(action, WindowAction::Reuse(_)));
        let scored = with(|action| *action == WindowAction::Score);
        Duplicates::of(reused.chain(scored), |window| {
            self.texts.always_complete(window)
        })
    }

    /// Reads from disk what duplicates that are still to come will take over.
    fn fill(
        &self,
        cache: &mut ScoreCache<ScoreOutcome>,
        actions: &[WindowAction],
        missing: &Missing,
        pass_scores: &mut PassScores<'_>,
    ) -> Result<(), ProbeError> {
        for (index, action) in actions.iter().enumerate() {
            if let WindowAction::Reuse(at) = action
                && cache.wants(index)
            {
                cache.put(index, &pass_row(pass_scores, *at)?.into());
            }
        }
        let plan = &self.dir.manifest().plan;
        for part in 0..plan.parts() {
            let complete = missing.parts.binary_search(&part).is_err();
            if complete && plan.part_range(part).any(|index| cache.wants(index)) {
                for (index, row) in plan.part_range(part).zip(self.dir.read_part(part)?) {
                    cache.put(index, &(&row).into());
                }
            }
        }
        Ok(())
    }

    /// Scores windows, each different one once, and gives duplicates the scores of the first. Also gives the number of
    /// windows that the model computed.
    ///
    /// Which windows these are follows from their indices alone, so that a resumed run makes up the same batches.
    fn score_part(
        &self,
        windows: &[Indexed<'_>],
        duplicates: &Duplicates,
        cache: &mut ScoreCache<ScoreOutcome>,
        pieces: bool,
    ) -> (Vec<ScoreOutcome>, u64) {
        let here: HashSet<usize> = windows.iter().map(|(index, _)| *index).collect();
        let source = |index: usize, cache: &ScoreCache<ScoreOutcome>| {
            let first = duplicates.first(index)?;
            (cache.has(first) || here.contains(&first)).then_some(first)
        };
        let own: Vec<&Window> = windows
            .iter()
            .filter(|(index, _)| source(*index, cache).is_none())
            .map(|(_, window)| *window)
            .collect();
        let mut scored = self.score(&own, pieces).into_iter();
        let mut outcomes = Vec::with_capacity(windows.len());
        for &(index, _) in windows {
            let outcome = match source(index, cache) {
                Some(first) => cache.take(first),
                None => scored.next(),
            };
            let outcome = outcome.unwrap_or_else(no_score);
            cache.put(index, &outcome);
            outcomes.push(outcome);
        }
        (outcomes, own.len() as u64)
    }

    /// Scores windows with the model. Pieces of text are scored to their ends.
    fn score(&self, windows: &[&Window], pieces: bool) -> Vec<ScoreOutcome> {
        let exit = if pieces {
            None
        } else {
            self.dir.manifest().settings.exit.as_ref()
        };
        let outcome = |(window, scores): (&&Window, Result<TokenScores, ScoreError>)| {
            let suffix_len = window.token_ids.len() - window.placement.prefix_len as usize;
            let left = match &scores {
                Ok(scores) if scores.logprob.len() < suffix_len => Some(Left::Floor),
                _ => None,
            };
            ScoreOutcome {
                scores: scores.map_err(|error| error.to_string()),
                left,
            }
        };
        let scores = self.scores(windows, exit);
        windows.iter().zip(scores).map(outcome).collect()
    }

    /// Scores windows in order: those of some items to their ends, the others until `exit` lets them stop.
    fn scores(
        &self,
        windows: &[&Window],
        exit: Option<&Exit>,
    ) -> Vec<Result<TokenScores, ScoreError>> {
        let backend = &self.model.backend;
        let inputs = |indices: &[usize]| -> Vec<ScoreInput<'_>> {
            let input = |&index: &usize| ScoreInput {
                token_ids: &windows[index].token_ids,
                prefix_len: windows[index].placement.prefix_len as usize,
            };
            indices.iter().map(input).collect()
        };
        let all = 0..windows.len();
        let Some(exit) = exit else {
            return backend.score(&inputs(&all.collect::<Vec<_>>()));
        };
        let (complete, partial): (Vec<usize>, Vec<usize>) =
            all.partition(|&index| self.texts.always_complete(windows[index]));
        let mut scored: Vec<_> = complete
            .iter()
            .zip(backend.score(&inputs(&complete)))
            .collect();
        scored.extend(
            partial
                .iter()
                .zip(backend.score_until(&inputs(&partial), exit)),
        );
        scored.sort_by_key(|(index, _)| **index);
        scored.into_iter().map(|(_, scores)| scores).collect()
    }

    /// The outcome for a window that isn't scored.
    fn skipped(&self, reason: Left) -> ScoreOutcome {
        let schemes = self.model.backend.info().schemes.len();
        ScoreOutcome {
            scores: Ok(TokenScores {
                scheme_logprob: vec![Vec::new(); schemes],
                ..TokenScores::default()
            }),
            left: Some(reason),
        }
    }

    fn row(&self, window: &Window, outcome: ScoreOutcome) -> ScoredWindow {
        let suffix = match self.texts.forms.get(&(&window.item, window.placement.form)) {
            Some(form) => suffix_text(form, window),
            None => String::new(),
        };
        let reveal = self.dir.manifest().settings.reveal;
        ScoredWindow {
            text: text_stats(
                &suffix,
                &window.token_ids,
                window.placement.prefix_len as usize,
            ),
            token_ids: reveal.then(|| window.token_ids.clone()),
            ..piece_row(window, outcome)
        }
    }

    /// Says what is done already, and begins a task for the windows that aren't; false if there are none.
    fn begin(&self, missing: &Missing, plan: &Plan, of_what: &str) -> bool {
        for warning in &missing.warnings {
            self.progress.note(&format!("warning: {warning}"));
        }
        let ranges = missing.parts.iter().map(|part| plan.part_range(*part));
        let todo: u64 = ranges.map(|range| range.len() as u64).sum();
        if todo < plan.windows {
            self.progress.note(&format!(
                "{} of {} windows {of_what}are scored already",
                plan.windows - todo,
                plan.windows
            ));
        }
        if todo > 0 {
            self.progress.begin(todo, "windows");
        }
        todo > 0
    }
}

fn pass_row<'a>(
    scores: &'a mut PassScores<'_>,
    index: usize,
) -> Result<&'a ScoredWindow, ProbeError> {
    scores
        .row(index)?
        .ok_or(ProbeError::ShortPart("the first pass"))
}

fn no_score() -> ScoreOutcome {
    ScoreOutcome {
        scores: Err("no score came back".to_owned()),
        left: None,
    }
}

/// A window's row without what follows from its text.
fn piece_row(window: &Window, outcome: ScoreOutcome) -> ScoredWindow {
    ScoredWindow {
        item: window.item.clone(),
        window: window.id.clone(),
        placement: window.placement.clone(),
        text: Default::default(),
        token_ids: None,
        left: outcome.left,
        scores: outcome.scores,
    }
}

/// The text of a window's suffix. A token may end inside a character, which then counts as a whole.
fn suffix_text(form: &ProbedForm, window: &Window) -> String {
    let bytes = form.text.as_bytes();
    let (start, end) = (
        window.placement.suffix_byte as usize,
        window.placement.end_byte as usize,
    );
    String::from_utf8_lossy(bytes.get(start..end).unwrap_or_default()).into_owned()
}
