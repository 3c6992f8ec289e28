//! `follow-up.jsonl`: what is found out about a few windows beyond their scores, a line a finding, as it comes.
//!
//! The first line says under which settings. A killed run leaves whole lines and at most one torn one at the end, which is
//! dropped when the run goes on. Lines of one window add up.

use crate::run::directory::{RunDir, RunError};
use crate::run::follow_up::FollowUp;
use crate::run::{FollowUpRow, atomic};
use crate::window::WindowId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Its name in the run directory.
pub const NAME: &str = "follow-up.jsonl";
/// The `schema` of the files that are read and written here.
const SCHEMA: &str = "byrote.follow-up/v1";

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    schema: String,
    settings: Value,
}

/// The file, open for more, and what is in it already.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    reveal: bool,
    found: HashMap<WindowId, FollowUp>,
}

impl Journal {
    /// Opens a run's file for more. What was found under other settings is dropped, and so are failures, which are tried
    /// again.
    ///
    /// # Errors
    /// When the file can't be read or written, or the run was loaded for reading.
    pub fn open(run: &RunDir, settings: Value) -> Result<Self, RunError> {
        run.writable()?;
        let path = run.path().join(NAME);
        let fail = |action| {
            let path = path.clone();
            move |source| RunError::Io {
                path,
                action,
                source,
            }
        };
        let header = Header {
            schema: SCHEMA.to_owned(),
            settings,
        };
        let old = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(fail("read the file")(e)),
        };
        let reveal = run.manifest().settings.reveal;
        let rows = usable(&old, &header, reveal);
        let mut kept = line(&header).map_err(fail("write the file"))?;
        for row in &rows {
            kept.extend(line(row).map_err(fail("write the file"))?);
        }
        if kept != old {
            atomic::write(run.path(), NAME, &kept).map_err(fail("write the file"))?;
        }
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(fail("open the file"))?;
        let mut journal = Self {
            path,
            file,
            reveal,
            found: HashMap::new(),
        };
        rows.into_iter().for_each(|row| journal.take(row));
        Ok(journal)
    }

    /// What is known of each window.
    pub fn found(&self) -> &HashMap<WindowId, FollowUp> {
        &self.found
    }

    /// One row a window, in order of their ids.
    pub fn into_rows(self) -> Vec<FollowUpRow> {
        let mut rows: Vec<FollowUpRow> = self
            .found
            .into_iter()
            .map(|(window, found)| FollowUpRow { window, found })
            .collect();
        rows.sort_by(|a, b| a.window.cmp(&b.window));
        rows
    }

    /// Adds findings; they are in the file when this returns.
    ///
    /// # Errors
    /// When the disk can't be written, or a finding holds text in a run without `--reveal`.
    pub fn add(&mut self, rows: Vec<FollowUpRow>) -> Result<(), RunError> {
        if !self.reveal && rows.iter().any(|row| holds_text(&row.found)) {
            return Err(RunError::Unrevealed {
                path: self.path.clone(),
            });
        }
        let lines = rows
            .iter()
            .map(line)
            .collect::<io::Result<Vec<_>>>()
            .map(|lines| lines.concat());
        // One write, so that a kill tears one line at most.
        let written = lines.and_then(|lines| self.file.write_all(&lines));
        written.map_err(|source| self.failed(source))?;
        rows.into_iter().for_each(|row| self.take(row));
        Ok(())
    }

    /// Sees to it that everything outlives a power cut.
    ///
    /// # Errors
    /// When the disk can't be written.
    pub fn sync(&self) -> Result<(), RunError> {
        self.file.sync_all().map_err(|source| self.failed(source))
    }

    fn take(&mut self, row: FollowUpRow) {
        self.found.entry(row.window).or_default().join(row.found);
    }

    fn failed(&self, source: io::Error) -> RunError {
        RunError::Io {
            path: self.path.clone(),
            action: "write the file",
            source,
        }
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// The findings in a file that may be kept: all that were made under the same settings, are whole and didn't fail.
fn usable(bytes: &[u8], header: &Header, reveal: bool) -> Vec<FollowUpRow> {
    let mut lines = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    let same = lines
        .next()
        .and_then(|line| serde_json::from_slice::<Header>(line).ok())
        .as_ref()
        == Some(header);
    if !same {
        return Vec::new();
    }
    let rows = lines.filter_map(|line| serde_json::from_slice::<FollowUpRow>(line).ok());
    rows.filter(|row| row.found.errors.is_empty() && (reveal || !holds_text(&row.found)))
        .collect()
}

fn holds_text(found: &FollowUp) -> bool {
    found
        .continuation
        .as_ref()
        .is_some_and(|own| own.text.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunManifest;
    use crate::run::fixture;
    use crate::run::follow_up::NearVerbatim;
    use crate::run::follow_up::{Continuation, ForeignPrefix};
    use serde_json::json;
    use std::path::Path;

    fn open(dir: &Path, settings: Value, reveal: bool) -> Journal {
        let mut manifest: RunManifest = fixture::manifest(10);
        manifest.settings.reveal = reveal;
        Journal::open(&RunDir::open(dir, manifest).unwrap(), settings).unwrap()
    }

    fn row(window: &str, found: FollowUp) -> FollowUpRow {
        FollowUpRow {
            window: WindowId(window.to_owned()),
            found,
        }
    }

    fn delta(delta: f64) -> FollowUp {
        FollowUp {
            foreign_prefix: Some(ForeignPrefix { delta, prefixes: 3 }),
            ..FollowUp::default()
        }
    }

    fn continued(text: Option<&str>) -> FollowUp {
        let own = Continuation {
            drafted: 8,
            verbatim_run: 9,
            memorization_score: 0.1 + 0.2,
            agrees: true,
            near: NearVerbatim::default(),
            text: text.map(str::to_owned),
        };
        FollowUp {
            continuation: Some(own),
            ..FollowUp::default()
        }
    }

    fn lines(dir: &Path) -> Vec<String> {
        fs::read_to_string(dir.join(NAME))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn what_was_found_is_found_again_and_lines_of_a_window_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path(), json!({"beam": 4}), false);
        journal
            .add(vec![row("b", delta(f64::INFINITY)), row("a", delta(-0.1))])
            .unwrap();
        journal.add(vec![row("b", continued(None))]).unwrap();
        journal.sync().unwrap();
        let both = FollowUp {
            continuation: continued(None).continuation,
            ..delta(f64::INFINITY)
        };
        let expected = [row("a", delta(-0.1)), row("b", both)];
        assert_eq!(journal.into_rows(), expected);

        let before = fs::read(dir.path().join(NAME)).unwrap();
        assert_eq!(
            open(dir.path(), json!({"beam": 4}), false).into_rows(),
            expected
        );
        assert_eq!(
            fs::read(dir.path().join(NAME)).unwrap(),
            before,
            "opening changes nothing"
        );
    }

    #[test]
    fn a_torn_last_line_a_failure_and_a_damaged_line_are_dropped_and_the_rest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path(), json!(1), false);
        let failure = FollowUp {
            errors: vec!["no memory".to_owned()],
            ..FollowUp::default()
        };
        journal
            .add(vec![
                row("a", delta(1.0)),
                row("b", failure),
                row("c", delta(2.0)),
                row("d", delta(3.0)),
            ])
            .unwrap();
        drop(journal);
        let mut text = lines(dir.path()).join("\n").replace("\"c\"", "c");
        text.truncate(text.len() - 4);
        fs::write(dir.path().join(NAME), text).unwrap();

        let mut journal = open(dir.path(), json!(1), false);
        assert_eq!(
            journal
                .found()
                .keys()
                .map(|id| id.0.as_str())
                .collect::<Vec<_>>(),
            ["a"]
        );
        journal.add(vec![row("d", delta(3.0))]).unwrap();
        assert_eq!(lines(dir.path()).len(), 3);
        assert_eq!(
            journal.into_rows(),
            [row("a", delta(1.0)), row("d", delta(3.0))]
        );
    }

    #[test]
    fn other_settings_or_another_schema_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), json!({"beam": 4}), false)
            .add(vec![row("a", delta(1.0))])
            .unwrap();
        assert_eq!(open(dir.path(), json!({"beam": 5}), false).found().len(), 0);
        assert_eq!(
            lines(dir.path()),
            ["{\"schema\":\"byrote.follow-up/v1\",\"settings\":{\"beam\":5}}"]
        );
        open(dir.path(), json!({"beam": 5}), false)
            .add(vec![row("a", delta(1.0))])
            .unwrap();
        let older = lines(dir.path())
            .join("\n")
            .replace("follow-up/v1", "follow-up/v0")
            + "\n";
        fs::write(dir.path().join(NAME), older).unwrap();
        assert_eq!(open(dir.path(), json!({"beam": 5}), false).found().len(), 0);
    }

    #[test]
    fn text_is_kept_with_reveal_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(&dir.path().join("redacted"), json!(1), false);
        let error = journal
            .add(vec![row("a", continued(Some("secret")))])
            .unwrap_err();
        assert!(matches!(error, RunError::Unrevealed { .. }));
        assert_eq!(lines(&dir.path().join("redacted")).len(), 1);
        let mut journal = open(&dir.path().join("revealed"), json!(1), true);
        journal
            .add(vec![row("a", continued(Some("secret")))])
            .unwrap();
        assert!(lines(&dir.path().join("revealed"))[1].contains("secret"));
    }
}
