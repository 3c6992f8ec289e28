//! The content of a model's files: SHA-256 of each file, and of all files together.

use super::{Format, Located, SourceError};
use crate::model::adapter::Adapter;
use byrote_core::digest::{Digest, FileDigest};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Size and SHA-256 of every file of the model, in order of their names, which are relative to its
/// folder. Files are read in parallel.
///
/// Each digest is compared to the one in `models.toml` and to the name of the blob in the hub
/// cache, if any.
///
/// # Errors
/// If a file can't be read or doesn't match, and for the built-in model, which has no files.
pub fn digests(model: &Located) -> Result<Vec<FileDigest>, SourceError> {
    if model.format == Format::Builtin {
        return Err(SourceError::NoFilesOfBuiltin);
    }
    let mut found = of_model(model)?;
    found.extend(of_adapter(model)?);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The files of a model's adapter, named `adapter/...`. A model with an adapter is another model.
/// Empty if it has none.
///
/// # Errors
/// If a file can't be read.
pub fn of_adapter(model: &Located) -> Result<Vec<FileDigest>, SourceError> {
    let Some(folder) = &model.adapter else {
        return Ok(Vec::new());
    };
    let digest = |path: &PathBuf| {
        let io = |error| SourceError::io(path, error);
        let bytes = path.metadata().map_err(io)?.len();
        let name = format!("adapter/{}", relative(folder, path));
        Ok(FileDigest {
            name,
            bytes,
            sha256: Digest::of_file(path).map_err(io)?,
            one_text: false,
        })
    };
    Adapter::files(folder).iter().map(digest).collect()
}

fn of_model(model: &Located) -> Result<Vec<FileDigest>, SourceError> {
    let single = [
        &model.config,
        &model.index,
        &model.tokenizer,
        &model.tokenizer_config,
    ];
    let several = model.weights.iter().chain(&model.tokenizer_parts);
    let mut paths: Vec<&PathBuf> = several.chain(single.into_iter().flatten()).collect();
    // The largest first, so that no thread starts it last.
    paths.sort_by_key(|path| std::cmp::Reverse(path.metadata().map_or(0, |data| data.len())));
    let mut found: Vec<FileDigest> = paths
        .par_iter()
        .map(|path| digest_of(model, path))
        .collect::<Result<_, SourceError>>()?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(entry) = &model.entry
        && let Some(file) = entry
            .sha256
            .keys()
            .find(|file| !found.iter().any(|f| f.name == **file))
    {
        return Err(SourceError::DigestOfNothing {
            origin: entry.origin.clone(),
            name: entry.name.clone(),
            file: file.clone(),
            found: found
                .iter()
                .map(|f| f.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    Ok(found)
}

/// One digest for all files: SHA-256 over the 32 raw bytes of each file's SHA-256, concatenated in
/// the byte order of the files' names. The names themselves aren't included.
pub fn root_digest(files: &[FileDigest]) -> Digest {
    let mut files: Vec<&FileDigest> = files.iter().collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    digests_digest(files.iter().map(|file| &file.sha256))
}

/// SHA-256 over the raw bytes of these digests.
pub(super) fn digests_digest<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> Digest {
    let bytes: Vec<u8> = digests.into_iter().flat_map(raw).collect();
    Digest::of_bytes(&bytes)
}

/// A file's name relative to its folder, with `/` as separator.
pub(super) fn relative(folder: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    inside
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

/// The bytes of a hexadecimal digest.
fn raw(digest: &Digest) -> Vec<u8> {
    let value = |digit: u8| {
        if digit.is_ascii_digit() {
            digit - b'0'
        } else {
            digit - b'a' + 10
        }
    };
    digest
        .as_str()
        .as_bytes()
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | value(*digit)))
        .collect()
}

fn digest_of(model: &Located, path: &Path) -> Result<FileDigest, SourceError> {
    let name = relative(&model.folder, path);
    let bytes = path
        .metadata()
        .map_err(|error| SourceError::io(path, error))?
        .len();
    let sha256 = Digest::of_file(path).map_err(|error| SourceError::io(path, error))?;
    let differs = |by: String, expected: &Digest, path: PathBuf, fix: &str| SourceError::Digest {
        path,
        by,
        expected: expected.to_string(),
        found: sha256.to_string(),
        fix: fix.to_owned(),
    };
    if let Some(blob) = blob_behind(path)
        && let Some(expected) = blob
            .file_name()
            .and_then(|name| Digest::parse(&name.to_string_lossy()))
        && expected != sha256
    {
        return Err(differs(
            "its name in the hub cache".to_owned(),
            &expected,
            blob,
            "delete it and fetch it again",
        ));
    }
    if let Some(entry) = &model.entry
        && let Some(expected) = entry.sha256.get(&name)
        && *expected != sha256
    {
        let by = format!("{}, model \"{}\"", entry.origin, entry.name);
        return Err(differs(
            by,
            expected,
            path.to_owned(),
            "this isn't the file that the entry means",
        ));
    }
    Ok(FileDigest {
        name,
        bytes,
        sha256,
        one_text: false,
    })
}

/// The blob that a link of a hub cache points to.
fn blob_behind(path: &Path) -> Option<PathBuf> {
    let blob = path.canonicalize().ok()?;
    (blob.parent()?.file_name()? == "blobs").then_some(blob)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source::{LocateOptions, locate};
    use byrote_core::registry::Registry;
    use std::fs;

    fn options() -> LocateOptions {
        LocateOptions {
            cache_dir: PathBuf::from("unused"),
            offline: true,
            endpoint: "http://127.0.0.1:1".to_owned(),
            token: None,
            chunk_bytes: 1,
            progress: None,
        }
    }

    /// A registry with one entry for `folder`, with the given digests.
    fn registry(folder: &Path, digests: &str) -> Registry {
        let file = folder.join("models.toml");
        fs::create_dir_all(folder.join("m")).unwrap();
        fs::write(
            &file,
            format!("default = \"m\"\n[models.m]\nsource = \"./m\"\n[models.m.sha256]\n{digests}"),
        )
        .unwrap();
        for (name, text) in [
            ("config.json", "{}"),
            ("model.safetensors", "weights"),
            ("tokenizer.json", "[]"),
        ] {
            fs::write(folder.join("m").join(name), text).unwrap();
        }
        Registry::from_file(&file).unwrap()
    }

    #[test]
    fn every_file_is_listed_and_the_root_digest_can_be_recomputed_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let located = locate("m", &registry(folder.path(), ""), &options()).unwrap();
        let mut files = digests(&located).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            ["config.json", "model.safetensors", "tokenizer.json"]
        );
        assert_eq!(files[1].bytes, 7);
        assert_eq!(files[1].sha256, Digest::of_bytes(b"weights"));
        // printf '{}' | sha256sum, and so on; the three lines through xxd -r -p | sha256sum.
        let by_hand = "8225d174080a30cf27d2152123608e842017e11bb96471866488b1bf98f29187";
        let root = root_digest(&files);
        files.reverse();
        assert_eq!(
            root,
            root_digest(&files),
            "the order of the list doesn't matter"
        );
        assert_eq!(root.as_str(), by_hand);
    }

    #[test]
    fn an_adapter_changes_the_root_digest() {
        let folder = tempfile::tempdir().unwrap();
        let mut located = locate("m", &registry(folder.path(), ""), &options()).unwrap();
        let base = digests(&located).unwrap();
        let adapter = folder.path().join("lora");
        fs::create_dir(&adapter).unwrap();
        for path in Adapter::files(&adapter) {
            fs::write(path, "changes").unwrap();
        }
        located.adapter = Some(adapter);
        let both = digests(&located).unwrap();
        let names: Vec<&str> = both.iter().map(|file| file.name.as_str()).take(3).collect();
        assert_eq!(
            names,
            [
                "adapter/adapter_config.json",
                "adapter/adapter_model.safetensors",
                "config.json"
            ]
        );
        assert_ne!(root_digest(&both), root_digest(&base));
    }

    #[test]
    fn a_file_that_differs_from_the_registry_is_refused_with_both_digests() {
        let folder = tempfile::tempdir().unwrap();
        let (right, wrong) = (
            Digest::of_bytes(b"weights"),
            Digest::of_bytes(b"other weights"),
        );
        let given = |digest: &Digest| {
            registry(
                folder.path(),
                &format!("\"model.safetensors\" = \"{digest}\"\n"),
            )
        };
        assert!(digests(&locate("m", &given(&right), &options()).unwrap()).is_ok());
        let message = digests(&locate("m", &given(&wrong), &options()).unwrap())
            .unwrap_err()
            .to_string();
        for expected in [
            "model.safetensors",
            wrong.as_str(),
            right.as_str(),
            "models.toml:2",
        ] {
            assert!(message.contains(expected), "{message}");
        }
        let of_nothing = registry(
            folder.path(),
            &format!("\"model-1.safetensors\" = \"{right}\"\n"),
        );
        let message = digests(&locate("m", &of_nothing, &options()).unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("\"model-1.safetensors\", which isn't one of its files"),
            "{message}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_damaged_blob_of_the_hub_cache_is_refused_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs");
        fs::create_dir(&blobs).unwrap();
        let blob = blobs.join(Digest::of_bytes(b"weights").as_str());
        let link = folder.path().join("x.gguf");
        std::os::unix::fs::symlink(&blob, &link).unwrap();
        let registry = Registry::builtin().unwrap();
        for (text, good) in [("weights", true), ("weighted", false)] {
            fs::write(&blob, text).unwrap();
            let located = locate(&link.display().to_string(), &registry, &options()).unwrap();
            let result = digests(&located);
            assert_eq!(result.is_ok(), good, "{result:?}");
            if let Err(error) = result {
                assert!(
                    error.to_string().contains("delete it and fetch it again"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn digests_of_the_built_in_model_are_an_error() {
        let located = locate("builtin", &Registry::builtin().unwrap(), &options()).unwrap();
        assert!(matches!(
            digests(&located),
            Err(SourceError::NoFilesOfBuiltin)
        ));
    }
}
