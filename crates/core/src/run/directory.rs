//! The run directory: manifest, parts of scores, reports.
//!
//! ```text
//! DIR/run.json                     the manifest: what is tested and how
//! DIR/scores/part-00000.parquet    scores, a row a window, in the plan's order
//! DIR/first-pass/part-00000.parquet  scores of a first pass, where there is one (run/pass.rs)
//! DIR/follow-up.jsonl              what else was found out about a few of them (run/journal.rs)
//! DIR/report.json, ...             whatever else is written with `write_file`
//! DIR/.lock                        held while a process scores
//! ```
//!
//! Every file is written under a temporary name, synced and renamed, so a file that is there is whole: a
//! kill loses at most the part in hand. Opening the directory again with the same manifest goes on where
//! it stopped; with another manifest it is refused, so that scores of different runs never mix.

use crate::run::atomic;
use crate::run::difference::difference;
use crate::run::parquet::{self, ScoresError};
use crate::run::{Plan, RUN_SCHEMA, RunManifest, ScoredWindow};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "run.json";
pub(super) const SCORES: &str = "scores";
const LOCK: &str = ".lock";

/// Why a run directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{path}: can't {action}: {source}")]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    #[error("{path}: not a run's manifest: {reason}; use another --out")]
    Manifest { path: PathBuf, reason: String },
    #[error(
        "{dir}: holds another run: {differences}; use another --out, or the same settings to resume it"
    )]
    Differs { dir: PathBuf, differences: String },
    #[error(
        "{dir}: holds \"{entry}\" but no {MANIFEST}, so it isn't a run; use another --out or an empty folder"
    )]
    Foreign { dir: PathBuf, entry: String },
    #[error("{dir}: another byrote is writing this run; wait for it, or use another --out")]
    Locked { dir: PathBuf },
    #[error("{dir}: holds no {MANIFEST}: not a run directory, or a run that never began")]
    NoRun { dir: PathBuf },
    #[error("{dir}: was loaded for reading, so no scores can be written to it")]
    ReadOnly { dir: PathBuf },
    #[error(
        "{path}: missing: the run was cut short; run the same `byrote probe` again to resume it"
    )]
    MissingPart { path: PathBuf },
    #[error(
        "{path}: can't be read: {source}; run the same `byrote probe` again to score this part anew"
    )]
    BadPart { path: PathBuf, source: ScoresError },
    #[error(
        "{path}: holds other windows than the run's plan; run the same `byrote probe` again to score this part anew"
    )]
    WrongWindows { path: PathBuf },
    #[error("{path}: token ids are text and aren't kept without --reveal")]
    Unrevealed { path: PathBuf },
    #[error("{path}: can't write scores: {source}")]
    Encode { path: PathBuf, source: ScoresError },
    #[error("the system gave no random bytes for the run's salt: {0}")]
    Salt(getrandom::Error),
}

/// What is still to be scored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Parts without usable scores, ascending.
    pub parts: Vec<u64>,
    /// One line for each part that is there but can't be used.
    pub warnings: Vec<String>,
}

/// The directory of one run.
#[derive(Debug)]
pub struct RunDir {
    dir: PathBuf,
    manifest: RunManifest,
    /// Held until the process ends, however it ends; absent where the directory was loaded for reading.
    lock: Option<File>,
}

impl RunDir {
    /// Opens `path` for scoring: begins a run, or goes on with the one that is there if its manifest is equal
    /// in all but `created_at`, `command` and `salt`, which then stay those of the old one. What a killed
    /// process left behind is removed, and a probe write tells whether the directory can be written at all.
    ///
    /// # Errors
    /// When the directory holds another run or other files, is in use, or can't be written.
    pub fn open(path: &Path, manifest: RunManifest) -> Result<Self, RunError> {
        let dir = path.to_owned();
        fs::create_dir_all(&dir).map_err(io_error(&dir, "create the folder"))?;
        let old = read_manifest(&dir)?;
        match &old {
            Some(old) => refuse_other(&dir, old, &manifest)?,
            None => refuse_foreign(&dir)?,
        }
        let lock = lock(&dir)?;
        // Another process may have begun the run between the first look and the lock.
        let old = match old {
            Some(old) => Some(old),
            None => read_manifest(&dir)?,
        };
        if let Some(old) = &old {
            refuse_other(&dir, old, &manifest)?;
        }

        let scores = dir.join(SCORES);
        fs::create_dir_all(&scores).map_err(io_error(&scores, "create the folder"))?;
        remove_stale(&dir)?;
        remove_stale(&scores)?;
        // Learnt now, before the model is loaded, not after the first part.
        atomic::probe(&scores).map_err(io_error(&scores, "write to the folder"))?;
        let manifest = match old {
            Some(old) => old,
            None => {
                let json =
                    serde_json::to_vec_pretty(&manifest).map_err(|e| RunError::Manifest {
                        path: dir.join(MANIFEST),
                        reason: e.to_string(),
                    })?;
                write(&dir, MANIFEST, &json)?;
                manifest
            }
        };
        Ok(Self {
            dir,
            manifest,
            lock: Some(lock),
        })
    }

    /// Loads a run for reading; another process may be writing it.
    ///
    /// # Errors
    /// When `path` is no run directory or its manifest can't be read.
    pub fn load(path: &Path) -> Result<Self, RunError> {
        match read_manifest(path)? {
            Some(manifest) => Ok(Self {
                dir: path.to_owned(),
                manifest,
                lock: None,
            }),
            None => Err(RunError::NoRun {
                dir: path.to_owned(),
            }),
        }
    }

    /// The run's manifest: on resume the one it began with, salt included.
    pub fn manifest(&self) -> &RunManifest {
        &self.manifest
    }

    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The parts still to be scored. A part is done only if it can be read in full and holds exactly the
    /// windows planned for it. Windows that could not be scored are done too: their errors are kept on
    /// resume, since the same weights would fail on them again.
    pub fn missing_parts(&self) -> Missing {
        Self::missing(self.manifest.plan.parts(), |index| self.read_part(index))
    }

    /// The parts, of so many, that can't be read.
    pub(super) fn missing(
        parts: u64,
        read: impl Fn(u64) -> Result<Vec<ScoredWindow>, RunError>,
    ) -> Missing {
        let mut missing = Missing::default();
        for index in 0..parts {
            match read(index) {
                Ok(_) => continue,
                Err(RunError::MissingPart { .. }) => {}
                Err(RunError::BadPart { path, source }) => {
                    missing.warnings.push(format!(
                        "{}: can't be read and is scored anew: {source}",
                        path.display()
                    ));
                }
                Err(RunError::WrongWindows { path }) => {
                    missing.warnings.push(format!(
                        "{}: holds other windows and is scored anew",
                        path.display()
                    ));
                }
                Err(other) => missing.warnings.push(format!("{other}; scored anew")),
            }
            missing.parts.push(index);
        }
        missing
    }

    /// Writes the scores of part `index`, replacing what is there.
    ///
    /// # Errors
    /// When `rows` aren't the part's windows in order, hold token ids without `--reveal` or don't fit the manifest's schemes, the disk can't be
    /// written, or the directory was opened with [`RunDir::load`].
    pub fn write_part(&self, index: u64, rows: &[ScoredWindow]) -> Result<(), RunError> {
        self.write_rows(SCORES, &self.manifest.plan, index, rows)
    }

    /// Writes part `index` of a plan into a folder of the run.
    pub(super) fn write_rows(
        &self,
        folder: &str,
        plan: &Plan,
        index: u64,
        rows: &[ScoredWindow],
    ) -> Result<(), RunError> {
        self.writable()?;
        let path = self.dir.join(folder).join(part_name(index));
        if !plan.is_part(index, rows.iter().map(|row| &row.window)) {
            return Err(RunError::WrongWindows { path });
        }
        if !self.manifest.settings.reveal && rows.iter().any(|row| row.token_ids.is_some()) {
            return Err(RunError::Unrevealed { path });
        }
        let mut bytes = Vec::new();
        parquet::write(rows, &self.manifest.model.backend.schemes, &mut bytes)
            .map_err(|source| RunError::Encode { path, source })?;
        write(&self.dir.join(folder), &part_name(index), &bytes)
    }

    /// Whether the directory was opened for scoring.
    pub(crate) fn writable(&self) -> Result<(), RunError> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(RunError::ReadOnly {
                dir: self.dir.clone(),
            }),
        }
    }

    /// The scores of part `index`.
    ///
    /// # Errors
    /// When the part is missing, can't be read in full or holds other windows.
    pub fn read_part(&self, index: u64) -> Result<Vec<ScoredWindow>, RunError> {
        self.read_rows(SCORES, &self.manifest.plan, index)
    }

    /// Part `index` of a plan in a folder of the run.
    pub(super) fn read_rows(
        &self,
        folder: &str,
        plan: &Plan,
        index: u64,
    ) -> Result<Vec<ScoredWindow>, RunError> {
        let path = self.dir.join(folder).join(part_name(index));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(RunError::MissingPart { path });
            }
            Err(e) => return Err(io_error(&path, "open the file")(e)),
        };
        let rows = match parquet::read(file) {
            Ok(rows) => rows,
            Err(source) => return Err(RunError::BadPart { path, source }),
        };
        if !plan.is_part(index, rows.iter().map(|row| &row.window)) {
            return Err(RunError::WrongWindows { path });
        }
        Ok(rows)
    }

    /// Writes a file beside the manifest, such as `report.json`, replacing one of that name only when the new
    /// one is safely on disk.
    ///
    /// # Errors
    /// When the disk can't be written.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        write(&self.dir, name, bytes)
    }

    /// Makes a folder of the run for more parts, without what a killed process left in it.
    pub(super) fn prepare(&self, folder: &str) -> Result<(), RunError> {
        self.writable()?;
        let path = self.dir.join(folder);
        fs::create_dir_all(&path).map_err(io_error(&path, "create the folder"))?;
        remove_stale(&path)
    }
}

/// A new run's salt: 16 bytes from the system's random number generator, as 32 hexadecimal digits.
///
/// # Errors
/// When the system has none.
pub fn salt() -> Result<String, RunError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(RunError::Salt)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn part_name(index: u64) -> String {
    format!("part-{index:05}.parquet")
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    move |source| RunError::Io {
        path,
        action,
        source,
    }
}

fn read_manifest(dir: &Path) -> Result<Option<RunManifest>, RunError> {
    let path = dir.join(MANIFEST);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error(&path, "read the file")(e)),
    };
    let bad = |reason: String| RunError::Manifest {
        path: path.clone(),
        reason,
    };
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    // Before the fields: those of another version may have other names.
    match value.get("schema").and_then(|schema| schema.as_str()) {
        Some(RUN_SCHEMA) => serde_json::from_value(value)
            .map(Some)
            .map_err(|e| bad(e.to_string())),
        Some(other) => Err(bad(format!(
            "its schema is {other}, this byrote knows {RUN_SCHEMA}"
        ))),
        None => Err(bad("it has no \"schema\"".to_owned())),
    }
}

fn refuse_other(dir: &Path, old: &RunManifest, new: &RunManifest) -> Result<(), RunError> {
    match difference(old, new) {
        Ok(None) => Ok(()),
        Ok(Some(differences)) => Err(RunError::Differs {
            dir: dir.to_owned(),
            differences,
        }),
        Err(e) => Err(RunError::Manifest {
            path: dir.join(MANIFEST),
            reason: e.to_string(),
        }),
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), RunError> {
    atomic::write(dir, name, bytes).map_err(io_error(&dir.join(name), "write the file"))
}

/// Refuses a folder with anything in it that byrote didn't leave there before its first manifest.
fn refuse_foreign(dir: &Path) -> Result<(), RunError> {
    let mut entries = list(dir)?;
    let has_scores =
        entries.iter().any(|name| name == SCORES) && !list(&dir.join(SCORES))?.is_empty();
    entries
        .retain(|name| !(name == LOCK || atomic::is_temp(name) || (name == SCORES && !has_scores)));
    match entries.into_iter().next() {
        Some(entry) => Err(RunError::Foreign {
            dir: dir.to_owned(),
            entry,
        }),
        None => Ok(()),
    }
}

/// Names in a folder, sorted; those of temporary files too.
fn list(dir: &Path) -> Result<Vec<String>, RunError> {
    let mut names = fs::read_dir(dir)
        .and_then(|entries| {
            entries
                .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<Vec<_>>>()
        })
        .map_err(io_error(dir, "list the folder"))?;
    names.sort();
    Ok(names)
}

fn remove_stale(dir: &Path) -> Result<(), RunError> {
    for name in list(dir)?.iter().filter(|name| atomic::is_temp(name)) {
        let path = dir.join(name);
        fs::remove_file(&path).map_err(io_error(&path, "remove what a killed run left behind"))?;
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, RunError> {
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(io_error(&path, "create the file"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunError::Locked {
            dir: dir.to_owned(),
        }),
        // Some network file systems have no locks. Then it is left to the user not to start a run twice.
        Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(e)) => Err(io_error(&path, "lock the file")(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::run::fixture;

    const COUNT: u32 = 160;

    /// All parts of the fixture's run.
    fn write_parts(run: &RunDir, parts: &[u64]) {
        let windows = fixture::windows(COUNT);
        for &index in parts {
            run.write_part(
                index,
                &fixture::scored(&windows[run.manifest().plan.part_range(index)]),
            )
            .unwrap();
        }
    }

    fn part(dir: &Path, index: u64) -> PathBuf {
        dir.join(SCORES).join(part_name(index))
    }

    fn begin(dir: &Path) -> RunDir {
        RunDir::open(dir, fixture::manifest(COUNT)).unwrap()
    }

    #[test]
    fn a_run_is_read_back_in_the_plans_order_with_its_errors() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("new/run");
        let run = begin(&dir);
        assert_eq!(
            run.missing_parts(),
            Missing {
                parts: vec![0, 1, 2],
                warnings: vec![]
            }
        );
        write_parts(&run, &[2, 0, 1]);
        assert_eq!(run.missing_parts(), Missing::default());
        run.write_file("report.json", b"{}").unwrap();
        drop(run);

        let run = RunDir::load(&dir).unwrap();
        let rows = run.read_all().unwrap();
        assert_eq!(rows, fixture::scored(&fixture::windows(COUNT)));
        assert!(
            rows.iter().any(|row| row.scores.is_err()),
            "the fixture has unscored windows"
        );
        assert_eq!(run.manifest(), &fixture::manifest(COUNT));
        assert_eq!(fs::read(dir.join("report.json")).unwrap(), b"{}");
        assert!(matches!(
            run.write_part(0, &[]),
            Err(RunError::ReadOnly { .. })
        ));
    }

    #[test]
    fn a_killed_run_resumes_to_the_bytes_of_an_uninterrupted_one() {
        let temp = tempfile::tempdir().unwrap();
        let (whole, killed) = (temp.path().join("whole"), temp.path().join("killed"));
        write_parts(&begin(&whole), &[0, 1, 2]);

        let run = begin(&killed);
        write_parts(&run, &[0, 1]);
        drop(run);
        // What a kill can leave: a temporary file half written, in either folder.
        fs::write(
            killed.join(SCORES).join(".byrote-1-part-00002.parquet.tmp"),
            b"PAR1",
        )
        .unwrap();
        fs::write(killed.join(".byrote-1-report.json.tmp"), b"{").unwrap();
        // What a broken disk or a careless hand can leave.
        let first = fs::read(part(&killed, 0)).unwrap();
        fs::write(part(&killed, 0), &first[..first.len() / 2]).unwrap();
        fs::write(part(&killed, 1), b"garbage").unwrap();

        let run = begin(&killed);
        let missing = run.missing_parts();
        assert_eq!(missing.parts, [0, 1, 2]);
        assert_eq!(
            missing.warnings.len(),
            2,
            "the third part isn't damaged, only missing"
        );
        assert!(
            missing.warnings[0].contains("part-00000.parquet: can't be read"),
            "{}",
            missing.warnings[0]
        );
        write_parts(&run, &missing.parts);
        assert_eq!(run.missing_parts(), Missing::default());
        for index in 0..3 {
            assert!(
                fs::read(part(&killed, index)).unwrap() == fs::read(part(&whole, index)).unwrap()
            );
        }
        assert_eq!(list(&killed).unwrap(), [".lock", "run.json", "scores"]);
        assert_eq!(list(&killed.join(SCORES)).unwrap().len(), 3);
    }

    #[test]
    fn a_kill_before_the_manifest_leaves_a_folder_that_can_be_used() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join(SCORES)).unwrap();
        fs::write(temp.path().join(LOCK), b"").unwrap();
        fs::write(temp.path().join(".byrote-1-run.json.tmp"), b"{").unwrap();
        begin(temp.path());
        assert_eq!(list(temp.path()).unwrap(), [".lock", "run.json", "scores"]);
    }

    #[test]
    fn a_resumed_run_keeps_its_salt_time_and_command() {
        let temp = tempfile::tempdir().unwrap();
        begin(temp.path());
        let mut again = fixture::manifest(COUNT);
        again.salt = salt().unwrap();
        again.created_at = "2031-01-01T00:00:00Z".to_owned();
        again.command = vec![];
        let run = RunDir::open(temp.path(), again).unwrap();
        assert_eq!(run.manifest(), &fixture::manifest(COUNT));
    }

    #[test]
    fn another_run_is_refused_by_what_differs_and_nothing_is_touched() {
        let temp = tempfile::tempdir().unwrap();
        write_parts(&begin(temp.path()), &[0, 1, 2]);
        let before = fs::read(temp.path().join(MANIFEST)).unwrap();
        let mut other = fixture::manifest(COUNT);
        other.model.digest = Digest::of_bytes(b"other weights");
        other.settings.window.prefix = 32;
        let error = RunDir::open(temp.path(), other).unwrap_err().to_string();
        assert!(
            error.contains("model.digest, settings.window.prefix (2, now 32); use another --out"),
            "{error}"
        );
        assert!(error.starts_with(temp.path().to_str().unwrap()), "{error}");
        assert!(fs::read(temp.path().join(MANIFEST)).unwrap() == before);
        assert_eq!(begin(temp.path()).missing_parts(), Missing::default());
    }

    #[test]
    fn parts_of_other_windows_are_neither_written_nor_taken() {
        let temp = tempfile::tempdir().unwrap();
        let run = begin(temp.path());
        write_parts(&run, &[0, 1, 2]);
        let rows = fixture::scored(&fixture::windows(COUNT));
        assert!(
            matches!(
                run.write_part(0, &rows[..15]),
                Err(RunError::WrongWindows { .. })
            ),
            "a row short"
        );
        assert!(
            matches!(
                run.write_part(0, &rows[16..32]),
                Err(RunError::WrongWindows { .. })
            ),
            "another part's"
        );
        assert!(
            matches!(run.write_part(3, &[]), Err(RunError::WrongWindows { .. })),
            "past the last part"
        );
        fs::copy(part(temp.path(), 1), part(temp.path(), 0)).unwrap();
        let missing = run.missing_parts();
        assert_eq!(missing.parts, [0]);
        assert!(
            missing.warnings[0].contains("holds other windows"),
            "{:?}",
            missing.warnings
        );
        assert!(matches!(run.read_all(), Err(RunError::WrongWindows { .. })));
    }

    #[test]
    fn token_ids_reach_the_disk_only_with_reveal() {
        let rows: Vec<_> = fixture::scored(&fixture::windows(16))
            .into_iter()
            .map(|row| ScoredWindow {
                token_ids: Some(vec![1]),
                ..row
            })
            .collect();
        for reveal in [false, true] {
            let temp = tempfile::tempdir().unwrap();
            let mut manifest = fixture::manifest(16);
            manifest.settings.reveal = reveal;
            let run = RunDir::open(temp.path(), manifest).unwrap();
            match run.write_part(0, &rows) {
                Ok(()) => assert!(reveal && run.read_all().unwrap() == rows),
                Err(error) => assert!(
                    !reveal && error.to_string().contains("without --reveal"),
                    "{error}"
                ),
            }
        }
    }

    #[test]
    fn an_incomplete_run_is_not_read_as_a_whole_one() {
        let temp = tempfile::tempdir().unwrap();
        write_parts(&begin(temp.path()), &[0, 2]);
        let error = RunDir::load(temp.path())
            .unwrap()
            .read_all()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("part-00001.parquet: missing: the run was cut short"),
            "{error}"
        );
    }

    #[test]
    fn two_writers_of_one_run_are_refused_and_a_reader_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let first = begin(temp.path());
        let error = RunDir::open(temp.path(), fixture::manifest(COUNT)).unwrap_err();
        assert!(matches!(error, RunError::Locked { .. }), "{error}");
        RunDir::load(temp.path()).unwrap();
        drop(first);
        begin(temp.path());
    }

    #[test]
    fn folders_that_are_no_run_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        assert!(matches!(
            RunDir::load(temp.path()),
            Err(RunError::NoRun { .. })
        ));
        assert!(matches!(
            RunDir::load(&temp.path().join("nowhere")),
            Err(RunError::NoRun { .. })
        ));

        fs::write(temp.path().join("thesis.tex"), b"").unwrap();
        let error = RunDir::open(temp.path(), fixture::manifest(COUNT))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("holds \"thesis.tex\" but no run.json"),
            "{error}"
        );
        assert_eq!(list(temp.path()).unwrap(), ["thesis.tex"]);

        let scores = tempfile::tempdir().unwrap();
        fs::create_dir(scores.path().join(SCORES)).unwrap();
        fs::write(part(scores.path(), 0), b"").unwrap();
        assert!(matches!(
            RunDir::open(scores.path(), fixture::manifest(COUNT)),
            Err(RunError::Foreign { .. })
        ));
    }

    #[test]
    fn manifests_that_cant_be_read_are_refused_with_the_reason() {
        for (text, reason) in [
            ("{\"schema\": \"byrote.run/v1\"", "EOF"),
            (
                "{\"schema\": \"byrote.run/v2\"}",
                "its schema is byrote.run/v2, this byrote knows byrote.run/v1",
            ),
            ("{\"schema\": \"byrote.run/v1\"}", "missing field `tool`"),
            ("[]", "it has no \"schema\""),
        ] {
            let temp = tempfile::tempdir().unwrap();
            fs::write(temp.path().join(MANIFEST), text).unwrap();
            for error in [
                RunDir::load(temp.path()).unwrap_err(),
                RunDir::open(temp.path(), fixture::manifest(1)).unwrap_err(),
            ] {
                let error = error.to_string();
                assert!(
                    error.contains("run.json: not a run's manifest: ") && error.contains(reason),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn folders_that_cant_be_written_are_named_with_the_cause() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, b"").unwrap();
        for path in [file.join("run"), file.clone()] {
            let error = RunDir::open(&path, fixture::manifest(COUNT))
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(&format!("{}: can't create the folder: ", path.display())),
                "{error}"
            );
        }
        let blocked = temp.path().join("blocked");
        fs::create_dir_all(&blocked).unwrap();
        drop(begin(&blocked));
        fs::remove_dir(blocked.join(SCORES)).unwrap();
        fs::write(blocked.join(SCORES), b"").unwrap();
        let error = RunDir::open(&blocked, fixture::manifest(COUNT))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("scores: can't create the folder: "),
            "{error}"
        );
    }

    /// /dev/full takes the place of the temporary file: every write to it says that the disk is full.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_that_fills_up_keeps_what_was_scored() {
        let temp = tempfile::tempdir().unwrap();
        let run = begin(temp.path());
        write_parts(&run, &[0]);
        let name = format!(".byrote-{}-{}.tmp", std::process::id(), part_name(1));
        std::os::unix::fs::symlink("/dev/full", temp.path().join(SCORES).join(name)).unwrap();
        let windows = fixture::windows(COUNT);
        let error = run
            .write_part(
                1,
                &fixture::scored(&windows[run.manifest().plan.part_range(1)]),
            )
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("part-00001.parquet: can't write the file: No space left"),
            "{error}"
        );
        assert_eq!(
            run.missing_parts(),
            Missing {
                parts: vec![1, 2],
                warnings: vec![]
            }
        );
        write_parts(&run, &[1, 2]);
        assert_eq!(run.read_all().unwrap().len(), COUNT as usize);
    }

    #[test]
    fn salts_are_32_digits_and_never_the_same() {
        let (a, b) = (salt().unwrap(), salt().unwrap());
        assert!(a.len() == 32 && a.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(a, b);
    }
}
