//! The first pass of a run that scores fewer windows: what it found, kept in parts of its own.
//!
//! Which windows are scored after it follows from these scores alone. They stay on disk, so that a resumed run comes to the
//! same choice, and a damaged part of the scores can be made again.

use crate::run::directory::{Missing, RunDir, RunError};
use crate::run::rows::Rows;
use crate::run::{Plan, ScoredWindow};
use crate::window::Window;
use std::borrow::{Borrow, Cow};

/// Its folder in the run directory.
pub const FOLDER: &str = "first-pass";

/// The first pass of a run.
#[derive(Debug)]
pub struct PassScores<'a> {
    run: &'a RunDir,
    rows: Rows<'a>,
}

impl<'a> PassScores<'a> {
    /// The first pass over these windows, which follow from the run's own; without windows there is none, and no folder.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn open<W: Borrow<Window>>(run: &'a RunDir, windows: &[W]) -> Result<Self, RunError> {
        if !windows.is_empty() {
            run.prepare(FOLDER)?;
        }
        Ok(Self {
            run,
            rows: Rows::of(run, FOLDER, Cow::Owned(Plan::of(windows))),
        })
    }

    /// Its windows and parts.
    pub fn plan(&self) -> &Plan {
        self.rows.plan()
    }

    /// The parts still to be scored.
    pub fn missing(&self) -> Missing {
        RunDir::missing(self.plan().parts(), |index| {
            self.run.read_rows(FOLDER, self.plan(), index)
        })
    }

    /// Writes a part.
    ///
    /// # Errors
    /// As [`RunDir::write_part`].
    pub fn write(&self, index: u64, rows: &[ScoredWindow]) -> Result<(), RunError> {
        self.run.write_rows(FOLDER, self.plan(), index, rows)
    }

    /// As [`Rows::row`].
    ///
    /// # Errors
    /// When its part can't be read.
    pub fn row(&mut self, place: usize) -> Result<Option<&ScoredWindow>, RunError> {
        self.rows.row(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::fixture;

    #[test]
    fn what_the_first_pass_found_is_there_after_a_kill_and_apart_from_the_scores() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path(), fixture::manifest(300)).unwrap();
        let all = fixture::windows(300);
        let windows: Vec<&Window> = all.iter().step_by(2).collect();
        let rows = fixture::scored(
            &windows
                .iter()
                .map(|window| (*window).clone())
                .collect::<Vec<_>>(),
        );
        let first = PassScores::open(&run, &windows).unwrap();
        assert_eq!((first.plan().windows, first.plan().parts()), (150, 3));
        first.write(1, &rows[64..128]).unwrap();
        first.write(0, &rows[..64]).unwrap();
        assert!(matches!(
            first.write(2, &rows[..22]),
            Err(RunError::WrongWindows { .. })
        ));
        let torn = dir.path().join(FOLDER).join("part-00002.parquet");
        std::fs::write(&torn, b"PAR1").unwrap();

        let mut first = PassScores::open(&run, &windows).unwrap();
        let missing = first.missing();
        assert_eq!((missing.parts, missing.warnings.len()), (vec![2], 1));
        first.write(2, &rows[128..]).unwrap();
        for place in [0, 149, 63, 64, 149, 1] {
            assert_eq!(first.row(place).unwrap(), Some(&rows[place]));
        }
        assert_eq!(first.row(150).unwrap(), None);
        assert_eq!(run.missing_parts().parts.len(), 5);
    }

    #[test]
    fn without_windows_there_is_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path(), fixture::manifest(10)).unwrap();
        let mut first = PassScores::open::<Window>(&run, &[]).unwrap();
        assert!(first.missing().parts.is_empty() && first.row(0).unwrap().is_none());
        assert!(!dir.path().join(FOLDER).exists());
    }
}
