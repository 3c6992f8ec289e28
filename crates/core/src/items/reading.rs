//! Reads sources one after another into one probe set and records the input.

use super::error::{FileProblem, ItemError, Wrong, quoted};
use super::folder::{self, Format};
use super::open::{self, LIMIT};
use super::{
    Content, InputManifest, Item, ItemId, Kind, Origin, ProbeSet, Source, duplicates, jsonl,
};
use crate::digest::{Digest, FileDigest};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Maximum number of names in a warning.
const NAMES_SHOWN: usize = 10;

/// The items and records so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    items: Vec<Item>,
    record: Record,
    /// Files already read, by canonical path, with the name under which they were read.
    read: HashMap<PathBuf, String>,
    /// True while reading control sources, whose items all become controls.
    only_controls: bool,
}

#[derive(Debug, Default)]
struct Record {
    files: Vec<FileDigest>,
    warnings: Vec<String>,
    /// Texts that a `path` field refers to, by canonical path.
    named: HashSet<PathBuf>,
}

impl Reading {
    pub(super) fn sources(&mut self, sources: &[Source<'_>]) -> Result<(), ItemError> {
        for source in sources {
            match source {
                Source::Path(path) => self.path(path)?,
                Source::Embedded { name, bytes } => self.embedded(name, bytes)?,
            }
        }
        Ok(())
    }

    /// Makes every item read after this call a control.
    pub(super) fn only_controls_follow(&mut self) {
        self.only_controls = true;
        // A text that a JSONL line refers to must not be skipped among the controls: it has to be
        // reported as being both.
        self.record.named.clear();
    }

    /// Reads a file or a folder.
    fn path(&mut self, path: &Path) -> Result<(), ItemError> {
        let name = path.display().to_string();
        let kind = fs::metadata(path).map_err(|error| FileProblem::of_io(error).at(&name))?;
        if kind.is_dir() {
            return self.folder(path, &name);
        }
        let id = path.file_name().unwrap_or_default().to_string_lossy();
        let format = Format::named(&id).map_err(|problem| problem.at(&name))?;
        if format == Format::Text && path.file_name().is_some_and(|name| name.to_str().is_none()) {
            return Err(FileProblem::UnfitName.at(&name));
        }
        self.file(path, &id, format)
    }

    /// Reads a file embedded in the program.
    fn embedded(&mut self, name: &str, bytes: &[u8]) -> Result<(), ItemError> {
        let format = Format::named(name).map_err(|problem| problem.at(name))?;
        self.bytes(name, name, format, bytes, None)
    }

    /// Builds the probe set after removing repeated items and rejecting contradictions.
    pub(super) fn finish(self) -> Result<ProbeSet, ItemError> {
        let (items, dropped) = duplicates::settle(self.items)?;
        if items.is_empty() {
            return Err(ItemError::NoItems);
        }
        let count = |kind| items.iter().filter(|item| item.kind == kind).count() as u64;
        let manifest = InputManifest {
            files: self.record.files,
            opt_outs: count(Kind::OptOut),
            controls: count(Kind::Control),
            canaries: count(Kind::Canary),
            dropped,
            warnings: self.record.warnings,
        };
        Ok(ProbeSet { items, manifest })
    }

    fn folder(&mut self, path: &Path, name: &str) -> Result<(), ItemError> {
        let listing = folder::list(path)?;
        for found in listing.files {
            // A text that a JSONL line refers to isn't an item of its own as well.
            if found.format == Format::Text && self.record.named.contains(&real_path(&found.path)) {
                continue;
            }
            self.file(&found.path, &found.id, found.format)?;
        }
        if !listing.others.is_empty() {
            let others = names(listing.others.iter());
            self.record.warnings.push(format!(
                "{name}: skipped files that are neither text nor JSONL: {others}"
            ));
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, id: &str, format: Format) -> Result<(), ItemError> {
        let name = path.display().to_string();
        if let Some(first) = self.read.insert(real_path(path), name.clone()) {
            let asked_for = |item: &Item| item.origin.file == first && item.kind != Kind::Control;
            if self.only_controls && self.items.iter().any(asked_for) {
                return Err(FileProblem::TwoRoles.at(&name));
            }
            self.record
                .warnings
                .push(format!("{name}: same file as {first}; read once"));
            self.read.insert(real_path(path), first);
            return Ok(());
        }
        let raw = open::raw_bytes(path, LIMIT).map_err(|problem| problem.at(&name))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        self.bytes(&name, id, format, &raw, Some(folder))
    }

    fn bytes(
        &mut self,
        name: &str,
        id: &str,
        format: Format,
        raw: &[u8],
        folder: Option<&Path>,
    ) -> Result<(), ItemError> {
        self.record.file(name, raw, matches!(format, Format::Text));
        match format {
            Format::Jsonl => {
                let record = &mut self.record;
                let parsed =
                    jsonl::parse(name, raw, LIMIT, &mut |path| record.text_at(path, folder))?;
                self.record.unknown_fields(name, &parsed.unknown);
                let first = self.items.len();
                self.items.extend(parsed.items);
                if self.only_controls {
                    self.record.controls(name, &mut self.items[first..]);
                }
            }
            Format::Text => {
                if id.chars().any(char::is_control) {
                    return Err(FileProblem::UnfitName.at(name));
                }
                let text = self
                    .record
                    .text(name, raw)
                    .map_err(|problem| problem.at(name))?;
                let mut item = text_item(id, name, text);
                if self.only_controls {
                    item.kind = Kind::Control;
                }
                self.items.push(item);
            }
        }
        Ok(())
    }
}

impl Record {
    fn file(&mut self, name: &str, raw: &[u8], one_text: bool) {
        let (bytes, sha256) = (raw.len() as u64, Digest::of_bytes(raw));
        self.files.push(FileDigest {
            name: name.to_owned(),
            bytes,
            sha256,
            one_text,
        });
    }

    fn text(&mut self, name: &str, raw: &[u8]) -> Result<String, FileProblem> {
        let read = open::whole_text(raw, LIMIT)?;
        if read.had_crlf {
            self.warnings
                .push(format!("{name}: CRLF line endings were read as LF"));
        }
        Ok(read.text)
    }

    /// Reads the text that a `path` field refers to, relative to the folder of its JSONL file.
    fn text_at(&mut self, path: &str, folder: Option<&Path>) -> Result<String, Wrong> {
        let Some(folder) = folder else {
            let problem = format!(
                "names {}, but a built-in probe set has no folder",
                quoted(path)
            );
            return Err(Wrong::field("path", problem, r#"give "text""#));
        };
        let full = folder.join(path);
        let name = full.display().to_string();
        self.text_of(&full, &name).map_err(|problem| {
            Wrong::field("path", format!("names {name}: {problem}"), problem.fix())
        })
    }

    fn text_of(&mut self, path: &Path, name: &str) -> Result<String, FileProblem> {
        // Other file types, such as pipes, might never end.
        if !fs::metadata(path).map_err(FileProblem::of_io)?.is_file() {
            return Err(FileProblem::NotAFile);
        }
        let raw = open::raw_bytes(path, LIMIT)?;
        if !self.named.insert(real_path(path)) {
            return Ok(open::whole_text(&raw, LIMIT)?.text);
        }
        self.file(name, &raw, true);
        self.text(name, &raw)
    }

    /// Turns the items of a file into controls. Warns about opted-out and planted texts, which a
    /// model may well have seen.
    fn controls(&mut self, file: &str, items: &mut [Item]) {
        let mut odd = 0;
        for item in items {
            odd += usize::from(item.kind == Kind::Canary || item.opt_out.is_some());
            item.kind = Kind::Control;
        }
        if odd > 0 {
            self.warnings.push(format!(
                "{file}: read as controls, though {odd} of its lines are canaries or have an opt-out; a control \
                 must be a text the model can't have seen"
            ));
        }
    }

    fn unknown_fields(&mut self, file: &str, unknown: &BTreeSet<String>) {
        if !unknown.is_empty() {
            self.warnings.push(format!(
                "{file}: ignored unknown fields: {}",
                names(unknown.iter())
            ));
        }
    }
}

fn text_item(id: &str, file: &str, text: String) -> Item {
    Item::new(
        ItemId(id.to_owned()),
        Content::Text(text),
        Origin {
            file: file.to_owned(),
            line: None,
        },
    )
}

/// The canonical path, or the path itself if there is none, as for a pipe.
fn real_path(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

fn names<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let mut shown: Vec<String> = names.take(NAMES_SHOWN).map(|name| quoted(name)).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}
