//! Files that are whole or not there: written under a temporary name, synced, renamed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const START: &str = ".byrote-";
const END: &str = ".tmp";

/// Writes `dir/name`. A file of that name is replaced only once the new one is safely on disk.
///
/// # Errors
/// When the disk can't be written; then the old file, if any, is untouched.
pub(crate) fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temp = temp_path(dir, name);
    let written = write_synced(&temp, bytes).and_then(|()| fs::rename(&temp, dir.join(name)));
    if written.is_err() {
        // The first error is the one to report; what can't be removed now goes when the run is opened next.
        let _ = fs::remove_file(&temp);
    }
    written.and_then(|()| sync_folder(dir))
}

/// Whether anything can be written to `dir`: tries it with a block of bytes.
///
/// # Errors
/// When it can't.
pub(crate) fn probe(dir: &Path) -> io::Result<()> {
    let path = temp_path(dir, "probe");
    let written = write_synced(&path, &[0; 4096]);
    let removed = fs::remove_file(&path);
    written.and(removed)
}

/// Whether a file of this name is one that a killed process left behind.
pub(crate) fn is_temp(name: &str) -> bool {
    name.starts_with(START) && name.ends_with(END)
}

fn temp_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{START}{}-{name}{END}", std::process::id()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Without this a rename may not outlive a power cut.
#[cfg(unix)]
fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.json", b"a long first version").unwrap();
        write(dir.path(), "a.json", b"short").unwrap();
        probe(dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join("a.json")).unwrap(), b"short");
        assert_eq!(names(dir.path()), ["a.json"]);
        assert!(is_temp(
            temp_path(dir.path(), "a.json")
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
        ));
    }

    /// /dev/full takes the place of the temporary file: every write to it says that the disk is full.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_leaves_the_old_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.json", b"old").unwrap();
        std::os::unix::fs::symlink("/dev/full", temp_path(dir.path(), "a.json")).unwrap();
        let error = write(dir.path(), "a.json", b"new").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(dir.path().join("a.json")).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a.json"], "the temporary file is gone");

        std::os::unix::fs::symlink("/dev/full", temp_path(dir.path(), "probe")).unwrap();
        assert_eq!(
            probe(dir.path()).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
    }
}
