//! Where the real checkpoints are.
#![allow(clippy::print_stderr, reason = "what isn't tested is said")]

use std::path::PathBuf;

/// The folder with the checkpoints; absent on machines without them.
pub(crate) fn models() -> Option<PathBuf> {
    let folder = std::env::var_os("BYROTE_TEST_MODELS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("BYROTE_TEST_MODELS is not set: real checkpoints are not tested");
    }
    folder
}
