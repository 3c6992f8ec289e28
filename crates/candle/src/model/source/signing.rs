//! The root digest by which OpenSSF model-signing identifies a model, and which a signature covers.
//!
//! It follows model-signing 1.1, serialized file by file with SHA-256 and with links allowed. It
//! covers every file below the folder, in the order of their path components, except `.git`,
//! `.gitattributes`, `.github`, `.gitignore` and the signature `model.sig` at the top level. The
//! digest is SHA-256 over the raw digests of all files, without their names. Folders behind links
//! aren't included. It covers files that byrote never opens, so it changes when a README does.

use super::identity::{digests_digest, relative};
use super::{Format, Located, SourceError};
use byrote_core::digest::{Digest, FileDigest};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Not covered at the top level of the folder.
const IGNORED: [&str; 5] = [
    ".git",
    ".gitattributes",
    ".github",
    ".gitignore",
    "model.sig",
];

/// The root digest of a model's folder, or of its one file if a single file was given. `known` are
/// digests that were computed before, by names relative to the folder. `None` for the built-in
/// model, which has no folder, and for a single part of a split GGUF.
///
/// # Errors
/// If a file can't be read, or is neither a file nor a folder, such as a dangling link.
pub fn root(model: &Located, known: &[FileDigest]) -> Result<Option<Digest>, SourceError> {
    if model.format == Format::Builtin {
        return Ok(None);
    }
    if model.source.starts_with("file:") {
        return match model.weights.as_slice() {
            [one] => {
                let name = relative(&model.folder, one);
                Ok(known
                    .iter()
                    .find(|file| file.name == name)
                    .map(|file| digests_digest([&file.sha256])))
            }
            _ => Ok(None),
        };
    }
    of_folder(&model.folder, known).map(Some)
}

/// The root digest of all files in `folder`.
///
/// # Errors
/// As for [`root`].
pub fn of_folder(folder: &Path, known: &[FileDigest]) -> Result<Digest, SourceError> {
    let mut paths = Vec::new();
    collect(folder, folder, &mut paths)?;
    paths.sort_by(|a, b| a.components().cmp(b.components()));
    let digests: Vec<Digest> = paths
        .par_iter()
        .map(|path| {
            let name = relative(folder, path);
            match known.iter().find(|file| file.name == name) {
                Some(file) => Ok(file.sha256.clone()),
                None => Digest::of_file(path).map_err(|error| SourceError::io(path, error)),
            }
        })
        .collect::<Result<_, SourceError>>()?;
    Ok(digests_digest(&digests))
}

fn collect(root: &Path, folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    for entry in std::fs::read_dir(folder).map_err(|error| SourceError::io(folder, error))? {
        let entry = entry.map_err(|error| SourceError::io(folder, error))?;
        let path = entry.path();
        if folder == root && IGNORED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let data = path
            .metadata()
            .map_err(|error| SourceError::io(&path, error))?;
        let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if data.is_file() {
            paths.push(path);
        } else if !data.is_dir() {
            return Err(SourceError::NoFileOrFolder { path });
        } else if !link {
            collect(root, &path, paths)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The files of `tests/fixtures/make_signing.py`, which computes their root digest with
    /// model-signing itself.
    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("config.json", "{}\n"),
            ("model.safetensors", "weights"),
            ("tokenizer.json", "[]"),
            ("a/b", "below"),
            ("a-b", "before a/b byte by byte, behind it part by part"),
            ("sub/.gitignore", "covered, not being at the top"),
            (".hidden", "covered"),
            ("Z", "before a"),
            ("sub/deep/\u{e9}", "no ASCII"),
            (".git/HEAD", "ignored"),
            (".gitattributes", "ignored"),
            (".github/workflows/x.yml", "ignored"),
            (".gitignore", "ignored"),
            ("model.sig", "ignored by its command line"),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_root_digest_equals_that_of_model_signing() {
        let dir = sample();
        let golden = include_str!("../../../../../tests/fixtures/signing.txt").trim();
        assert_eq!(of_folder(dir.path(), &[]).unwrap().as_str(), golden);
        let known = FileDigest {
            name: "model.safetensors".to_owned(),
            bytes: 7,
            sha256: Digest::of_bytes(b"weights"),
            one_text: false,
        };
        assert_eq!(of_folder(dir.path(), &[known]).unwrap().as_str(), golden);
        fs::write(dir.path().join("README.md"), "another file").unwrap();
        assert_ne!(of_folder(dir.path(), &[]).unwrap().as_str(), golden);
    }

    #[cfg(unix)]
    #[test]
    fn links_to_files_are_followed_and_dangling_links_are_errors() {
        let dir = sample();
        let golden = of_folder(dir.path(), &[]).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::rename(
            dir.path().join("model.safetensors"),
            elsewhere.path().join("blob"),
        )
        .unwrap();
        std::os::unix::fs::symlink(
            elsewhere.path().join("blob"),
            dir.path().join("model.safetensors"),
        )
        .unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("folder")).unwrap();
        assert_eq!(of_folder(dir.path(), &[]).unwrap(), golden);
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        assert!(
            of_folder(dir.path(), &[])
                .unwrap_err()
                .to_string()
                .contains("dangling")
        );
    }
}
