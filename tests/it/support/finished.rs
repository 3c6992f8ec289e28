//! Finished runs of the built-in model, each made once for all tests that need any finished run.

use super::program::{Ran, builtin_lines, run, tree, write_lines};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A run that ended, which no test may change.
pub(crate) struct Finished {
    dir: TempDir,
    /// What the command printed.
    pub(crate) printed: Ran,
}

impl Finished {
    fn probe(dir: TempDir, args: &[&str]) -> Self {
        let args = [&["probe", "--out", "run"], args].concat();
        let printed = run(dir.path(), &args).exits(0);
        Self { dir, printed }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Copies the run, for a test that changes it.
    pub(crate) fn copy_to(&self, to: &Path) {
        for (file, bytes) in tree(&self.path()) {
            let file = to.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
    }
}

/// `byrote probe`: the whole built-in probe set.
pub(crate) fn built_in() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    RUN.get_or_init(|| Finished::probe(tempfile::tempdir().unwrap(), &[]))
}

/// All canaries of the built-in set and 60 of its controls.
pub(crate) fn canaries_and_60_controls() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        write_lines(&dir.path().join("set.jsonl"), &builtin_lines(60));
        Finished::probe(dir, &["--prompts", "set.jsonl"])
    })
}
