//! Lists the files of a folder in an order that doesn't depend on the file system.

use super::error::{FileProblem, ItemError};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The format of a file, derived from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One item per line.
    Jsonl,
    /// The whole file is one item.
    Text,
}

impl Format {
    /// The format of a file inside a folder; `None` if it isn't a probe set. Ignores `.gz` and
    /// `.zst`.
    pub(super) fn inside_folder(name: &str) -> Option<Self> {
        // A readme describes the texts; it isn't one of them.
        if name.to_lowercase().starts_with("readme.") {
            return None;
        }
        Self::by_ending(name)
    }

    fn by_ending(name: &str) -> Option<Self> {
        match ending(name).as_deref() {
            Some("jsonl" | "ndjson") => Some(Self::Jsonl),
            Some("txt" | "md") => Some(Self::Text),
            _ => None,
        }
    }

    /// The format of a file that the user named directly; also accepts `.json` and files without an
    /// extension.
    pub(super) fn named(name: &str) -> Result<Self, FileProblem> {
        match (Self::by_ending(name), ending(name)) {
            (Some(format), _) => Ok(format),
            (None, None) => Ok(Self::Jsonl),
            (None, Some(ending)) if ending == "json" => Ok(Self::Jsonl),
            (None, Some(ending)) => Err(FileProblem::Foreign(format!("a .{ending} file"))),
        }
    }
}

/// The extension of a file name in lower case, after removing `.gz` or `.zst`.
fn ending(name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let inner = name
        .strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(&name);
    Path::new(inner)
        .extension()
        .map(|ending| ending.to_string_lossy().into_owned())
}

/// A file found in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Its path inside the folder, with `/` on every system.
    pub(super) id: String,
    pub(super) format: Format,
}

/// The files of a folder, and the skipped ones.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// JSONL files first, because they may refer to texts in the same folder; each group sorted by
    /// `id`.
    pub(super) files: Vec<Found>,
    /// Files of other types, by their sorted paths inside the folder. Without hidden files.
    pub(super) others: Vec<String>,
}

/// Lists a folder and its subfolders.
pub(super) fn list(root: &Path) -> Result<Listing, ItemError> {
    let mut listing = Listing::default();
    let mut entered = HashSet::new();
    let mut waiting = vec![(root.to_path_buf(), String::new())];
    while let Some((folder, prefix)) = waiting.pop() {
        let failed = |path: &Path, error| FileProblem::of_io(error).at(&path.display().to_string());
        // A link to a folder that was already entered would be a loop, or repeat its texts.
        if !entered.insert(fs::canonicalize(&folder).map_err(|error| failed(&folder, error))?) {
            continue;
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))? {
            names.push(entry.map_err(|error| failed(&folder, error))?.file_name());
        }
        // In reverse, because folders are popped from the end.
        names.sort_unstable_by(|a, b| b.cmp(a));
        for name in names {
            let shown = name.to_string_lossy();
            if shown.starts_with('.') {
                continue;
            }
            let path = folder.join(&name);
            let id = format!("{prefix}{shown}");
            let kind = fs::metadata(&path).map_err(|error| failed(&path, error))?;
            match Format::inside_folder(&shown) {
                _ if kind.is_dir() => waiting.push((path, format!("{id}/"))),
                Some(format) if kind.is_file() => {
                    if path
                        .strip_prefix(root)
                        .is_ok_and(|inside| inside.to_str().is_none())
                    {
                        return Err(FileProblem::UnfitName.at(&path.display().to_string()));
                    }
                    listing.files.push(Found { path, id, format });
                }
                _ => listing.others.push(id),
            }
        }
    }
    listing
        .files
        .sort_by(|a, b| (a.format == Format::Text, &a.id).cmp(&(b.format == Format::Text, &b.id)));
    listing.others.sort_unstable();
    if listing.files.is_empty() {
        return Err(FileProblem::NoTextFiles.at(&root.display().to_string()));
    }
    Ok(listing)
}
