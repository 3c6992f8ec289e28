//! Determines which files of a folder are the model, with the same rules for local folders and hub
//! repositories.

use super::{Format, Located, SourceError, builtin};
use crate::model::gguf::split::PartName;
use crate::tokens::slow::{BESIDE, MAIN_FILES};
use byrote_core::registry::is_inside;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weights among a folder's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One `.safetensors` file.
    Single(String),
    /// Shards that `model.safetensors.index.json` names.
    Index,
    /// One `.gguf` file, or all parts of a split one.
    Gguf(Vec<String>),
}

/// Chooses the weights among the files `names`: `file` if given, else `model.safetensors`, else its
/// index, else the only GGUF. Errors call the folder or repository `place`.
///
/// # Errors
/// If there are none that byrote can load, or several GGUF files.
pub(crate) fn choose(
    names: &[String],
    file: Option<&str>,
    place: &str,
) -> Result<Choice, SourceError> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let ending = |ends: &[&str]| -> Vec<&str> {
        names
            .iter()
            .map(String::as_str)
            .filter(|name| ends.iter().any(|end| name.ends_with(end)))
            .collect()
    };
    let gguf = |name: &str| gguf(name, has, place);
    if let Some(file) = file {
        if !has(file) {
            let found = some_of(&ending(&[".gguf", ".safetensors"]));
            return Err(SourceError::NoFile {
                place: place.to_owned(),
                file: file.to_owned(),
                found,
            });
        }
        return if file.ends_with(".gguf") {
            gguf(file)
        } else {
            Ok(Choice::Single(file.to_owned()))
        };
    }
    if has(SINGLE) {
        return Ok(Choice::Single(SINGLE.to_owned()));
    }
    if has(INDEX) {
        return Ok(Choice::Index);
    }
    let pickles = ending(&[".bin", ".pt", ".pth", ".ckpt", ".pkl"]);
    // All parts of a split file count as one.
    let first = |name: &str| {
        PartName::parse(name)
            .and_then(|part| part.all().next())
            .unwrap_or_else(|| name.to_owned())
    };
    let files: BTreeSet<String> = ending(&[".gguf"]).into_iter().map(first).collect();
    match files
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [one] => gguf(one),
        [] if ending(&[".safetensors"]).is_empty() && !pickles.is_empty() => {
            Err(SourceError::PickleOnly {
                place: place.to_owned(),
                files: some_of(&pickles),
            })
        }
        [] => {
            let found = if has("adapter_model.safetensors") {
                "; adapter_model.safetensors contains only changes to another model: name that model with --model and this folder \
                 with --adapter"
                    .to_owned()
            } else {
                match ending(&[".safetensors"]).as_slice() {
                    [] => "; check the path".to_owned(),
                    others => format!(
                        "; name one of {} with file = \"...\" in models.toml",
                        some_of(others)
                    ),
                }
            };
            Err(SourceError::NoWeights {
                place: place.to_owned(),
                found,
            })
        }
        several => Err(SourceError::SeveralGguf {
            place: place.to_owned(),
            files: some_of(several),
        }),
    }
}

/// The error for safetensors without a config.
pub(crate) fn config_missing(place: &str) -> SourceError {
    SourceError::NoConfig {
        place: place.to_owned(),
    }
}

/// The shards that an index names, in order of their names.
///
/// # Errors
/// If it can't be read, names no shard, or names a file outside its folder.
pub(crate) fn shards(index: &Path) -> Result<Vec<String>, SourceError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let bad = |reason: String| SourceError::BadIndex {
        path: index.to_owned(),
        reason,
    };
    let text = std::fs::read(index).map_err(|error| SourceError::io(index, error))?;
    let parsed: Index = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(bad("weight_map is empty".to_owned()));
    }
    match names
        .iter()
        .find(|name| !is_inside(name) || name.contains('/') || !name.ends_with(".safetensors"))
    {
        Some(name) => Err(bad(format!(
            "weight_map names {name:?}, which isn't a .safetensors file in this folder"
        ))),
        None => Ok(names.into_iter().collect()),
    }
}

/// The model at `path`: a folder, a repository of a hub cache, a `.gguf` file or a `.safetensors`
/// file.
pub(super) fn from_path(path: &Path, file: Option<&str>) -> Result<Located, SourceError> {
    if !path.exists() {
        return Err(SourceError::NoPath {
            path: path.to_owned(),
        });
    }
    if path.is_dir() {
        let folder = snapshot_in(path)?.unwrap_or_else(|| path.to_owned());
        let mut located = read(&folder, file)?;
        located.source = format!("folder:{}", path.display());
        located.revision = snapshot_commit(&folder);
        return Ok(located);
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let choice = if name.ends_with(".gguf") {
        gguf(
            &name,
            |name| folder.join(name).is_file(),
            &folder.display().to_string(),
        )?
    } else if name.ends_with(".safetensors") {
        Choice::Single(name)
    } else if [".bin", ".pt", ".pth", ".ckpt", ".pkl"]
        .iter()
        .any(|end| name.ends_with(end))
    {
        return Err(SourceError::PickleOnly {
            place: path.display().to_string(),
            files: name,
        });
    } else {
        return Err(SourceError::NotAModel {
            path: path.to_owned(),
        });
    };
    let mut located = take(folder, &choice)?;
    located.source = format!("file:{}", path.display());
    located.revision = snapshot_commit(folder);
    Ok(located)
}

/// The model in `folder`.
pub(super) fn read(folder: &Path, file: Option<&str>) -> Result<Located, SourceError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| SourceError::io(folder, error))? {
        let entry = entry.map_err(|error| SourceError::io(folder, error))?;
        // A link to a missing blob isn't a file.
        if entry.path().is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    // `file` and its other parts may be in a subfolder.
    if let Some(file) = file.filter(|file| file.contains('/')) {
        let parts = PartName::parse(file)
            .map_or_else(|| vec![file.to_owned()], |part| part.all().collect());
        names.extend(parts.into_iter().filter(|part| folder.join(part).is_file()));
    }
    names.sort();
    take(
        folder,
        &choose(&names, file, &folder.display().to_string())?,
    )
}

fn take(folder: &Path, choice: &Choice) -> Result<Located, SourceError> {
    let mut located = Located {
        folder: folder.to_owned(),
        ..builtin()
    };
    let existing =
        |name: &str| -> Option<PathBuf> { Some(folder.join(name)).filter(|path| path.is_file()) };
    match choice {
        Choice::Gguf(names) => {
            located.format = Format::Gguf;
            located.weights = names.iter().map(|name| folder.join(name)).collect();
            return Ok(located);
        }
        Choice::Single(name) => located.weights = vec![folder.join(name)],
        Choice::Index => {
            let index = folder.join(INDEX);
            let names = shards(&index)?;
            let missing: Vec<&str> = names
                .iter()
                .map(String::as_str)
                .filter(|name| existing(name).is_none())
                .collect();
            if !missing.is_empty() {
                return Err(SourceError::MissingShards {
                    index,
                    missing: missing.join(", "),
                });
            }
            located.weights = names.iter().map(|name| folder.join(name)).collect();
            located.index = Some(index);
        }
    }
    located.format = Format::Safetensors;
    let config =
        existing("config.json").ok_or_else(|| config_missing(&folder.display().to_string()))?;
    located.config = Some(config);
    located.tokenizer = MAIN_FILES.iter().find_map(|name| existing(name));
    if located
        .tokenizer
        .as_ref()
        .is_some_and(|path| !path.ends_with(MAIN_FILES[0]))
    {
        located.tokenizer_parts = BESIDE.iter().filter_map(|name| existing(name)).collect();
    }
    located.tokenizer_config = existing("tokenizer_config.json");
    Ok(located)
}

/// The snapshot to use if `path` is a whole repository of a hub cache (`models--org--name`): that
/// of `main`, else the only one.
fn snapshot_in(path: &Path) -> Result<Option<PathBuf>, SourceError> {
    let snapshots = path.join("snapshots");
    if path.join("config.json").exists() || !snapshots.is_dir() {
        return Ok(None);
    }
    if let Ok(commit) = std::fs::read_to_string(path.join("refs").join("main")) {
        let snapshot = snapshots.join(commit.trim());
        if is_commit(commit.trim()) && snapshot.is_dir() {
            return Ok(Some(snapshot));
        }
    }
    let entries =
        std::fs::read_dir(&snapshots).map_err(|error| SourceError::io(&snapshots, error))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|p| p.is_dir())
        .collect();
    found.sort();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => Err(SourceError::NoWeights {
            place: path.display().to_string(),
            found: format!(
                " of its own, but {} snapshots; give the path of one of them",
                several.len()
            ),
        }),
    }
}

/// The commit, if `folder` is `.../models--org--name/snapshots/<commit>`.
fn snapshot_commit(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let commit = folder.file_name()?.to_str()?;
    let snapshots = folder.parent()?;
    let repository = snapshots.parent()?.file_name()?.to_str()?;
    let known = snapshots.file_name()? == "snapshots"
        && repository.starts_with("models--")
        && is_commit(commit);
    known.then(|| commit.to_owned())
}

/// True if `text` is a full commit id of git.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A GGUF file, with all parts if it is split.
fn gguf(name: &str, has: impl Fn(&str) -> bool, place: &str) -> Result<Choice, SourceError> {
    let Some(part) = PartName::parse(name) else {
        return Ok(Choice::Gguf(vec![name.to_owned()]));
    };
    let parts: Vec<String> = part.all().collect();
    let missing: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !has(part))
        .collect();
    if missing.is_empty() {
        return Ok(Choice::Gguf(parts));
    }
    let (place, count) = (place.to_owned(), part.count);
    Err(SourceError::MissingParts {
        place,
        count,
        missing: some_of(&missing),
    })
}

/// Names for an error message, limited in number.
fn some_of(names: &[&str]) -> String {
    match names.len() {
        0 => "none".to_owned(),
        n if n > 8 => format!("{}, and {} more", names[..8].join(", "), n - 8),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn folder_with(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn names(located: &Located) -> Vec<String> {
        located
            .weights
            .iter()
            .map(|p| {
                p.strip_prefix(&located.folder)
                    .unwrap()
                    .display()
                    .to_string()
            })
            .collect()
    }

    const SHARDS: &str = r#"{"metadata": {}, "weight_map": {"b": "m-2.safetensors", "a": "m-1.safetensors", "c": "m-2.safetensors"}}"#;

    #[test]
    fn a_folder_provides_its_weights_config_and_tokenizer() {
        for (files, format, weights) in [
            (
                vec![
                    ("model.safetensors", ""),
                    ("pytorch_model.bin", ""),
                    ("x.gguf", ""),
                ],
                Format::Safetensors,
                vec!["model.safetensors"],
            ),
            (
                vec![
                    (INDEX, SHARDS),
                    ("m-2.safetensors", ""),
                    ("m-1.safetensors", ""),
                ],
                Format::Safetensors,
                vec!["m-1.safetensors", "m-2.safetensors"],
            ),
            (
                vec![("only.gguf", ""), ("pytorch_model.bin", "")],
                Format::Gguf,
                vec!["only.gguf"],
            ),
            (
                vec![("x-00001-of-00001.gguf", "")],
                Format::Gguf,
                vec!["x-00001-of-00001.gguf"],
            ),
            (
                vec![("x-00002-of-00002.gguf", ""), ("x-00001-of-00002.gguf", "")],
                Format::Gguf,
                vec!["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"],
            ),
        ] {
            let mut all = vec![("config.json", "{}"), ("tokenizer.json", "{}")];
            all.extend(files);
            let folder = folder_with(&all);
            let located = from_path(folder.path(), None).unwrap();
            assert_eq!(
                (located.format, names(&located)),
                (format, weights.iter().map(|s| (*s).to_owned()).collect())
            );
            assert_eq!(
                located.source,
                format!("folder:{}", folder.path().display())
            );
            let of_safetensors = format == Format::Safetensors;
            assert_eq!(
                (located.config.is_some(), located.tokenizer.is_some()),
                (of_safetensors, of_safetensors)
            );
            assert_eq!(located.tokenizer_config, None);
        }
    }

    #[test]
    fn a_tokenizer_without_tokenizer_json_is_found_with_its_parts() {
        let model = [
            ("model.safetensors", ""),
            ("config.json", "{}"),
            ("merges.txt", ""),
        ];
        for (files, main, parts) in [
            (
                vec!["vocab.json", "added_tokens.json"],
                "vocab.json",
                vec!["merges.txt", "added_tokens.json"],
            ),
            (
                vec!["tokenizer.model", "vocab.json"],
                "tokenizer.model",
                vec!["merges.txt"],
            ),
            (
                vec!["tokenizer.json", "tokenizer.model", "vocab.json"],
                "tokenizer.json",
                vec![],
            ),
            (vec!["qwen.tiktoken"], "qwen.tiktoken", vec!["merges.txt"]),
        ] {
            let all: Vec<_> = model
                .into_iter()
                .chain(files.iter().map(|name| (*name, "{}")))
                .collect();
            let folder = folder_with(&all);
            let located = from_path(folder.path(), None).unwrap();
            assert_eq!(located.tokenizer, Some(folder.path().join(main)));
            let parts: Vec<_> = parts.iter().map(|name| folder.path().join(name)).collect();
            assert_eq!(located.tokenizer_parts, parts, "{files:?}");
        }
    }

    #[test]
    fn errors_say_why_a_folder_cannot_be_loaded_and_how_to_fix_it() {
        let outside = r#"{"weight_map": {"a": "../../secret.safetensors"}}"#;
        let below = r#"{"weight_map": {"a": "sub/m.safetensors"}}"#;
        let pickled = r#"{"weight_map": {"a": "pytorch_model.bin"}}"#;
        for (files, expected) in [
            (
                vec![("pytorch_model.bin", ""), ("config.json", "{}")],
                "only pickled weights (pytorch_model.bin)",
            ),
            (
                vec![("consolidated.00.pth", "")],
                "convert them with the safetensors library",
            ),
            (
                vec![("a.gguf", ""), ("b.gguf", "")],
                "several GGUF files (a.gguf, b.gguf); choose one with file",
            ),
            (
                vec![("a-00001-of-00003.gguf", "")],
                "has only some of the 3 parts of a GGUF; missing: a-00002-of-00003.gguf, a-00003-of",
            ),
            (
                vec![
                    ("a-00001-of-00002.gguf", ""),
                    ("a-00002-of-00002.gguf", ""),
                    ("b.gguf", ""),
                ],
                "several GGUF files (a-00001-of-00002.gguf, b.gguf)",
            ),
            (vec![("model.safetensors", "")], "has no config.json"),
            (vec![("config.json", "{}")], "no model.safetensors, no"),
            (
                vec![("adapter_model.safetensors", ""), ("config.json", "{}")],
                "this folder with --adapter",
            ),
            (
                vec![(INDEX, SHARDS), ("m-1.safetensors", "")],
                "these shards are missing: m-2.safetensors",
            ),
            (
                vec![(INDEX, outside)],
                "isn't a .safetensors file in this folder",
            ),
            (
                vec![(INDEX, below), ("sub/m.safetensors", "")],
                "isn't a .safetensors file in this folder",
            ),
            (
                vec![(INDEX, pickled), ("pytorch_model.bin", "")],
                "isn't a .safetensors file in this folder",
            ),
            (vec![(INDEX, "{\"weight_map\": {}}")], "weight_map is empty"),
            (vec![(INDEX, "{\"weight_")], "line 1 column"),
        ] {
            let folder = folder_with(&files);
            let message = from_path(folder.path(), None).unwrap_err().to_string();
            assert!(message.contains(expected), "{files:?}: {message}");
            assert!(
                message.contains(&folder.path().display().to_string()) || expected.contains("gguf"),
                "{message}"
            );
        }
    }

    #[test]
    fn the_file_of_an_entry_is_chosen_among_several() {
        let folder = folder_with(&[("a.gguf", ""), ("b.gguf", ""), ("q4/c.gguf", "")]);
        for file in ["b.gguf", "q4/c.gguf"] {
            assert_eq!(
                names(&from_path(folder.path(), Some(file)).unwrap()),
                [file]
            );
        }
        let split = ["q4/d-00001-of-00002.gguf", "q4/d-00002-of-00002.gguf"];
        for part in split {
            std::fs::write(folder.path().join(part), "").unwrap();
        }
        assert_eq!(
            names(&from_path(folder.path(), Some(split[1])).unwrap()),
            split
        );
        assert_eq!(
            from_path(&folder.path().join(split[0]), None)
                .unwrap()
                .weights
                .len(),
            2
        );
        let message = from_path(folder.path(), Some("d.gguf"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("no file \"d.gguf\"") && message.contains("a.gguf, b.gguf"),
            "{message}"
        );
    }

    #[test]
    fn a_single_file_is_a_model_if_it_is_complete_or_has_its_config() {
        let folder = folder_with(&[
            ("a.gguf", ""),
            ("b.gguf", ""),
            ("w.safetensors", ""),
            ("x.bin", ""),
            ("x.txt", ""),
        ]);
        let at = |name: &str| from_path(&folder.path().join(name), None);
        assert_eq!(names(&at("b.gguf").unwrap()), ["b.gguf"]);
        assert!(at("b.gguf").unwrap().source.starts_with("file:"));
        assert!(
            at("w.safetensors")
                .unwrap_err()
                .to_string()
                .contains("has no config.json")
        );
        assert!(matches!(at("x.bin"), Err(SourceError::PickleOnly { .. })));
        assert!(matches!(at("x.txt"), Err(SourceError::NotAModel { .. })));
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        assert_eq!(names(&at("w.safetensors").unwrap()), ["w.safetensors"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_hub_cache_is_read_through_its_links_and_gives_the_commit() {
        let (old, new) = ("1".repeat(40), "2".repeat(40));
        let folder = folder_with(&[
            ("blobs/aa", "weights"),
            ("blobs/bb", "{}"),
            ("refs/main", &new),
        ]);
        let cache = folder.path().join("models--org--name");
        std::fs::create_dir(&cache).unwrap();
        for part in ["blobs", "refs"] {
            std::fs::rename(folder.path().join(part), cache.join(part)).unwrap();
        }
        for commit in [&old, &new] {
            let snapshot = cache.join("snapshots").join(commit);
            std::fs::create_dir_all(&snapshot).unwrap();
            std::os::unix::fs::symlink("../../blobs/aa", snapshot.join("model.safetensors"))
                .unwrap();
            std::os::unix::fs::symlink("../../blobs/bb", snapshot.join("config.json")).unwrap();
        }
        let main = from_path(&cache, None).unwrap();
        assert_eq!(main.revision.as_deref(), Some(new.as_str()));
        assert_eq!(names(&main), ["model.safetensors"]);
        let given = from_path(&cache.join("snapshots").join(&old), None).unwrap();
        assert_eq!(given.revision.as_deref(), Some(old.as_str()));
        std::fs::remove_file(cache.join("refs/main")).unwrap();
        let message = from_path(&cache, None).unwrap_err().to_string();
        assert!(
            message.contains("2 snapshots; give the path of one"),
            "{message}"
        );
        std::fs::remove_file(cache.join("blobs/aa")).unwrap();
        assert!(matches!(
            from_path(&cache.join("snapshots").join(&old), None),
            Err(SourceError::NoWeights { .. })
        ));
    }
}
