//! Probe sets: reading items (opted-out texts, controls, canaries) with where they came from.
//!
//! Knows files and formats. Knows nothing of tokens, models or reports.

use crate::digest::FileDigest;
use serde::{Deserialize, Serialize};
use std::fmt;

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
