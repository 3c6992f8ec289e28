//! Checks that the files at hand are the ones that a report is about.

use crate::digest::{Digest, FileDigest};
use crate::report::Report;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

/// Extensions of files that may contain weights. A program that loads a folder may load any of
/// them.
const WEIGHTS: [&str; 6] = ["safetensors", "gguf", "bin", "pt", "pth", "ckpt"];

/// Why a report doesn't vouch for the files at hand.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{path}: {source}; give the folder or the file of the model that the report is about")]
    Unreadable {
        path: String,
        source: std::io::Error,
    },
    #[error(
        "the report names no files of its model, so it vouches for none; probe {path} again: byrote probe --model {path}"
    )]
    NoneListed { path: String },
    #[error(
        "{path}: these are not the files of the report ({model}, SHA-256 {digest}):{list}\nNothing was decided. Give the files that were \
         probed, or probe these: byrote probe --model {path}"
    )]
    Differ {
        path: String,
        model: String,
        digest: Digest,
        mismatches: Vec<Mismatch>,
        list: String,
    },
}

/// One file that differs from the report. Names are relative to the model's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The report lists it, but it doesn't exist.
    Missing { name: String },
    /// It has another size, in bytes.
    Size {
        name: String,
        listed: u64,
        found: u64,
    },
    /// It has another SHA-256.
    Content {
        name: String,
        listed: Digest,
        found: Digest,
    },
    /// It may contain weights, and the report doesn't list it.
    Unlisted { name: String },
}

impl Mismatch {
    fn in_words(&self) -> String {
        match self {
            Self::Missing { name } => format!("{name:?} is in the report, but does not exist"),
            Self::Size {
                name,
                listed,
                found,
            } => format!("{name:?} has {found} bytes; the report lists {listed}"),
            Self::Content {
                name,
                listed,
                found,
            } => {
                format!("{name:?} has SHA-256 {found}; the report lists {listed}")
            }
            Self::Unlisted { name } => {
                format!("{name:?} may contain weights, and the report doesn't list it")
            }
        }
    }
}

/// Checks that the files at `path` are those of the report's model.
///
/// **A folder**: it contains every file that the report lists, with that SHA-256, and neither it
/// nor its subfolders contain another file that may contain weights (by its extension: safetensors,
/// gguf, bin, pt, pth, ckpt). Other files are ignored.
///
/// **A file**: it is one that the report lists, identified by its name, or by its content if the
/// report lists only one file of weights (a GGUF may have been renamed). All other listed files
/// must be next to it; unlisted ones are ignored.
///
/// Files of an adapter that was merged into the model (`adapter/...`) may be there or in the
/// adapter's own folder as named in the report. Files are read in blocks, whatever their size.
///
/// # Errors
/// Every mismatch, by name; when something can't be read; when the report lists no files.
pub fn check(report: &Report, path: &Path) -> Result<(), FilesError> {
    let files = &report.model.files;
    if files.is_empty() {
        return Err(FilesError::NoneListed {
            path: path.display().to_string(),
        });
    }
    let location = Location::new(report, path)?;
    let mut mismatches = Vec::new();
    for file in files {
        mismatches.extend(compare(file, location.find(file)?.as_deref())?);
    }
    if location.whole_folder {
        let listed: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let unlisted = weights(&location.folder)?
            .into_iter()
            .filter(|name| !listed.contains(name.as_str()));
        mismatches.extend(unlisted.map(|name| Mismatch::Unlisted { name }));
    } else if let Some(name) = location.unlisted() {
        mismatches.push(Mismatch::Unlisted { name });
    }
    if mismatches.is_empty() {
        return Ok(());
    }
    let mut list = String::new();
    for mismatch in &mismatches {
        let _ = write!(list, "\n  - {}", mismatch.in_words());
    }
    let (model, digest) = (report.model.reference.clone(), report.model.digest.clone());
    Err(FilesError::Differ {
        path: path.display().to_string(),
        model,
        digest,
        mismatches,
        list,
    })
}

/// The location of the model's files.
struct Location<'a> {
    folder: PathBuf,
    /// True if the folder is the model; otherwise `only` is the given file.
    whole_folder: bool,
    /// The given file, and the name of the file it stands for in the report.
    only: Option<(&'a Path, Option<String>)>,
    /// The folder of an adapter, as named in the report.
    adapter: Option<PathBuf>,
}

impl<'a> Location<'a> {
    fn new(report: &Report, path: &'a Path) -> Result<Self, FilesError> {
        let adapter = report
            .model
            .adapter
            .as_ref()
            .map(|adapter| PathBuf::from(&adapter.source));
        if path
            .metadata()
            .map_err(|source| unreadable(path, source))?
            .is_dir()
        {
            return Ok(Self {
                folder: path.to_owned(),
                whole_folder: true,
                only: None,
                adapter,
            });
        }
        let own = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let mut weights = report
            .model
            .files
            .iter()
            .filter(|file| may_hold_weights(&file.name) && !of_adapter(&file.name));
        let stands_for = match (weights.next(), weights.next()) {
            (Some(only), None) => Some(only.name.clone()),
            _ => own.filter(|own| report.model.files.iter().any(|file| file.name == *own)),
        };
        // A bare file name has an empty parent.
        let folder = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Ok(Self {
            folder: folder.to_owned(),
            whole_folder: false,
            only: Some((path, stands_for)),
            adapter,
        })
    }

    /// The file with this name; `None` if there is none, or if the name leads out of the folder.
    fn find(&self, file: &FileDigest) -> Result<Option<PathBuf>, FilesError> {
        if let Some((path, Some(name))) = &self.only
            && *name == file.name
        {
            return Ok(Some((*path).to_owned()));
        }
        let name = Path::new(&file.name);
        if !name
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Ok(None);
        }
        let beside = self
            .adapter
            .as_ref()
            .zip(name.strip_prefix(ADAPTER).ok())
            .map(|(folder, name)| folder.join(name));
        for path in std::iter::once(self.folder.join(name)).chain(beside) {
            if path
                .try_exists()
                .map_err(|source| unreadable(&path, source))?
            {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The name of the given file, if the report lists no such file.
    fn unlisted(&self) -> Option<String> {
        let (path, stands_for) = self.only.as_ref()?;
        stands_for.is_none().then(|| {
            path.file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned()
        })
    }
}

/// Prefix of the names of adapter files in a report.
const ADAPTER: &str = "adapter";

fn of_adapter(name: &str) -> bool {
    Path::new(name).starts_with(ADAPTER)
}

fn compare(listed: &FileDigest, path: Option<&Path>) -> Result<Option<Mismatch>, FilesError> {
    let name = listed.name.clone();
    let Some(path) = path else {
        return Ok(Some(Mismatch::Missing { name }));
    };
    let found = path
        .metadata()
        .map_err(|source| unreadable(path, source))?
        .len();
    if found != listed.bytes {
        return Ok(Some(Mismatch::Size {
            name,
            listed: listed.bytes,
            found,
        }));
    }
    let found = Digest::of_file(path).map_err(|source| unreadable(path, source))?;
    let listed = listed.sha256.clone();
    Ok((found != listed).then_some(Mismatch::Content {
        name,
        listed,
        found,
    }))
}

/// Sorted names of all files in a folder and its subfolders that may contain weights. Links are
/// followed, but no folder is entered twice.
fn weights(root: &Path) -> Result<Vec<String>, FilesError> {
    let mut found = Vec::new();
    let mut entered = BTreeSet::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        if !entered.insert(
            folder
                .canonicalize()
                .map_err(|source| unreadable(&folder, source))?,
        ) {
            continue;
        }
        for entry in std::fs::read_dir(&folder).map_err(|source| unreadable(&folder, source))? {
            let path = entry.map_err(|source| unreadable(&folder, source))?.path();
            let Some(own) = path.file_name() else {
                continue;
            };
            let name = format!("{prefix}{}", own.to_string_lossy());
            // A broken link contains nothing.
            if path.is_dir() {
                folders.push((path, format!("{name}/")));
            } else if path.exists() && may_hold_weights(&name) {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn may_hold_weights(name: &str) -> bool {
    let ending = Path::new(name)
        .extension()
        .map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| WEIGHTS.contains(&ending.as_str()))
}

fn unreadable(path: &Path, source: std::io::Error) -> FilesError {
    FilesError::Unreadable {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;
    use crate::run::AdapterIdentity;
    use std::fs;

    fn listed(name: &str, text: &str) -> FileDigest {
        let (bytes, sha256) = (text.len() as u64, Digest::of_bytes(text.as_bytes()));
        FileDigest {
            name: name.to_owned(),
            bytes,
            sha256,
            one_text: false,
        }
    }

    /// A report about a folder with two files, and the folder.
    fn model(files: &[(&str, &str)]) -> (Report, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut report = report(vec![]);
        report.model.files = vec![
            listed("config.json", "{}"),
            listed("model.safetensors", "weights"),
        ];
        (report, folder)
    }

    fn mismatches(report: &Report, path: &Path) -> Vec<String> {
        match check(report, path) {
            Ok(()) => Vec::new(),
            Err(FilesError::Differ { mismatches, .. }) => {
                mismatches.iter().map(Mismatch::in_words).collect()
            }
            Err(other) => vec![other.to_string()],
        }
    }

    #[test]
    fn a_folder_must_match_the_report_and_have_no_other_weights() {
        let whole = [
            ("config.json", "{}"),
            ("model.safetensors", "weights"),
            ("README.md", "read"),
        ];
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
        let cases: [Case<'_>; 6] = [
            (&[], &[]),
            (
                &[("model.safetensors", "weighty")],
                &["\"model.safetensors\" has SHA-256 "],
            ),
            (
                &[("model.safetensors", "more weights")],
                &["\"model.safetensors\" has 12 bytes; the report lists 7"],
            ),
            (&[("config.json", "[]")], &["\"config.json\" has SHA-256 "]),
            (
                &[("other.GGUF", "")],
                &["\"other.GGUF\" may contain weights"],
            ),
            (
                &[("original/c.pth", ""), ("pytorch_model.bin", "")],
                &[
                    "\"original/c.pth\" may contain",
                    "\"pytorch_model.bin\" may",
                ],
            ),
        ];
        for (more, expected) in cases {
            let (report, folder) = model(&[&whole[..], more].concat());
            let found = mismatches(&report, folder.path());
            assert_eq!(found.len(), expected.len(), "{found:?}");
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(found, expected)| found.starts_with(expected)),
                "{found:?}"
            );
        }
        let (report, folder) = model(&whole[..1]);
        assert_eq!(
            mismatches(&report, folder.path()),
            ["\"model.safetensors\" is in the report, but does not exist"]
        );
        let message = check(&report, folder.path()).unwrap_err().to_string();
        assert!(
            message.contains("or probe these: byrote probe --model "),
            "{message}"
        );
    }

    #[test]
    fn a_single_weight_file_is_recognized_under_any_name() {
        let (mut report, folder) = model(&[("released.gguf", "weights"), ("other.gguf", "more")]);
        report.model.files = vec![listed("model-q4.gguf", "weights")];
        assert_eq!(
            check(&report, &folder.path().join("released.gguf")).map_err(|e| e.to_string()),
            Ok(())
        );
        let other = mismatches(&report, &folder.path().join("other.gguf"));
        assert!(
            other[0].starts_with("\"model-q4.gguf\" has 4 bytes"),
            "{other:?}"
        );
        // If there are several, the others are next to it.
        report.model.files = vec![
            listed("released.gguf", "weights"),
            listed("other.gguf", "more"),
        ];
        assert_eq!(
            mismatches(&report, &folder.path().join("released.gguf")),
            [""; 0]
        );
        fs::write(folder.path().join("third.gguf"), "").unwrap();
        assert_eq!(
            mismatches(&report, &folder.path().join("released.gguf")),
            [""; 0]
        );
        let third = mismatches(&report, &folder.path().join("third.gguf"));
        assert_eq!(
            third,
            ["\"third.gguf\" may contain weights, and the report doesn't list it"]
        );
    }

    #[test]
    fn adapters_are_found_in_the_folder_or_at_the_reported_path() {
        let (mut report, folder) =
            model(&[("m/config.json", "{}"), ("m/model.safetensors", "weights")]);
        report
            .model
            .files
            .push(listed("adapter/adapter_model.safetensors", "changes"));
        let lora = folder.path().join("lora");
        report.model.adapter = Some(AdapterIdentity {
            source: lora.display().to_string(),
            base_model: None,
            model_signing: None,
        });
        let check = || mismatches(&report, &folder.path().join("m"));
        assert_eq!(
            check(),
            ["\"adapter/adapter_model.safetensors\" is in the report, but does not exist"]
        );
        fs::create_dir(&lora).unwrap();
        fs::write(lora.join("adapter_model.safetensors"), "changes").unwrap();
        assert_eq!(check(), [""; 0]);
        fs::write(lora.join("adapter_model.safetensors"), "another").unwrap();
        assert!(check()[0].starts_with("\"adapter/adapter_model.safetensors\" has SHA-256"));
    }

    #[test]
    fn reports_without_files_or_with_names_outside_the_folder_vouch_for_nothing() {
        let (mut report, folder) = model(&[("m/config.json", "{}"), ("config.json", "{}")]);
        report.model.files = vec![listed("../config.json", "{}")];
        assert_eq!(
            mismatches(&report, &folder.path().join("m")),
            ["\"../config.json\" is in the report, but does not exist"]
        );
        report.model.files.clear();
        assert!(
            check(&report, folder.path())
                .unwrap_err()
                .to_string()
                .starts_with("the report names no files")
        );
        let nowhere = check(&self::model(&[]).0, Path::new("no/such/model"))
            .unwrap_err()
            .to_string();
        assert!(
            nowhere.starts_with("no/such/model: ") && nowhere.ends_with("that the report is about"),
            "{nowhere}"
        );
    }
}
