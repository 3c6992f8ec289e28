//! Probe sets: reading items (opted-out texts, controls, canaries) with where they came from.
//!
//! Knows files and formats. Knows nothing of tokens, models or reports.

pub mod error;

mod duplicates;
mod folder;
mod jsonl;
mod open;
mod reading;

use crate::digest::{Digest, FileDigest};
use error::ItemError;
use reading::Reading;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a probe set comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A JSONL file, a text file, or a folder of both.
    Path(&'a Path),
    /// A file inside the program. Its name tells its format, as a file's does.
    Embedded { name: &'a str, bytes: &'a [u8] },
}

/// Reads files and folders into one probe set.
///
/// A file is JSONL (`.jsonl`, `.ndjson`, `.json`, or no ending) or one text (`.txt`, `.md`; its id is the file's name).
/// gzip and zstd are known by their magic bytes, whatever the name. A folder is read with its subfolders, first the JSONL
/// files and then the texts (their ids are their paths inside the folder), each in order of path. Hidden entries are passed
/// over; links are followed, but no folder is entered and no file read twice.
///
/// # Errors
/// When anything that was asked for can't be read in full: see [`ItemError`].
pub fn read(paths: &[PathBuf]) -> Result<ProbeSet, ItemError> {
    let sources: Vec<Source<'_>> = paths.iter().map(|path| Source::Path(path)).collect();
    read_sources(&sources)
}

/// Reads one file that is already in memory, such as an embedded probe set.
///
/// # Errors
/// As [`read`]; also when an item gives `path`, since there is no folder to look in.
pub fn read_bytes(name: &str, bytes: &[u8]) -> Result<ProbeSet, ItemError> {
    read_sources(&[Source::Embedded { name, bytes }])
}

/// Reads several sources into one probe set, in the order given. Ids are unique over all of them.
///
/// # Errors
/// As [`read`].
pub fn read_sources(sources: &[Source<'_>]) -> Result<ProbeSet, ItemError> {
    let mut reading = Reading::default();
    for source in sources {
        match source {
            Source::Path(path) => reading.path(path)?,
            Source::Embedded { name, bytes } => reading.embedded(name, bytes)?,
        }
    }
    reading.finish()
}

/// SHA-256 over the salt, a zero byte and the item's text; for a split item prefix, a zero byte and suffix.
/// Names a text in a report without giving it away.
pub fn digest_salted(salt: &str, item: &Item) -> Digest {
    let parts: &[&str] = match &item.content {
        Content::Text(text) => &[salt, text],
        Content::Split { prefix, suffix } => &[salt, prefix, suffix],
    };
    Digest::of_bytes(parts.join("\0").as_bytes())
}

/// An item's id, unique in a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct ItemId(pub String);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an item is for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A text whose holder opted out.
    #[default]
    OptOut,
    /// A text the model can't have memorized; shows what plain predictability scores.
    Control,
    /// A text planted in training on purpose, so that the truth is known.
    Canary,
}

/// How and by whom a text was opted out. Kept through to the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptOut {
    /// The signal that was given, such as `robots.txt`, `tdmrep`, `ai.txt`, `letter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Where the signal stands, such as a URL or a register number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locator: Option<String>,
    /// Who holds the rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// When it was declared, as an ISO 8601 date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_at: Option<String>,
}

/// Where an item was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Origin {
    /// The file, as the user wrote its path.
    pub file: String,
    /// The line, counted from 1; absent where a whole file is one item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// An item's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Running text, from which windows are cut.
    Text(String),
    /// One window, already split. The two parts are encoded jointly.
    Split { prefix: String, suffix: String },
}

/// One piece of content to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: ItemId,
    pub kind: Kind,
    pub content: Content,
    pub title: Option<String>,
    pub author: Option<String>,
    pub source_url: Option<String>,
    pub license: Option<String>,
    pub tags: Vec<String>,
    pub opt_out: Option<OptOut>,
    /// How often a canary stood in the training data; absent where it isn't known.
    pub repetitions: Option<u32>,
    /// The opted-out items or windows a control was written to match; kept, not used yet.
    pub matches: Vec<String>,
    pub origin: Origin,
}

/// An item that was read but takes no part in the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Dropped {
    pub id: ItemId,
    pub origin: Origin,
    /// Why, in words, such as `same text as "moby-1" (books.jsonl:3)`.
    pub reason: String,
}

/// What was read: the record of a run's input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InputManifest {
    /// Every file read, in order.
    pub files: Vec<FileDigest>,
    /// Items that stayed in, by kind.
    pub opt_outs: u64,
    pub controls: u64,
    pub canaries: u64,
    /// Items read but left out, with the reason.
    pub dropped: Vec<Dropped>,
    /// Things worth telling once, such as unknown fields of a file.
    pub warnings: Vec<String>,
}

/// The items of a run, in the order in which they were read, and the record of what was read.
#[derive(Clone, Debug, Default)]
pub struct ProbeSet {
    pub items: Vec<Item>,
    pub manifest: InputManifest,
}
