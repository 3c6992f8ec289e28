//! Cuts items into windows: `prefix` + `suffix` tokens of one encoding.
//!
//! The only place where text to probe becomes tokens. Nothing downstream joins strings or tokenizes
//! again.

#[cfg(feature = "probe")]
mod chars;
pub mod coarse;
#[cfg(feature = "probe")]
pub mod cut;
pub mod reflow;
pub mod screen;
mod template_id;

pub use template_id::TemplateId;

use crate::items::ItemId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A window's id, built from its item's id, form, offset and template, never from its text.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct WindowId(pub String);

impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The layout in which a text is probed.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Unchanged.
    AsGiven,
    /// With hard line breaks inside paragraphs replaced by spaces.
    Reflowed,
}

/// Distance between the starts of consecutive windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stride {
    /// In tokens of one encoding of the whole text.
    Tokens(u32),
    /// In characters; the text is encoded again from each start (the book protocol, arXiv
    /// 2505.12546).
    Chars(u32),
}

/// Whether to probe a reflowed copy of text that looks hard-wrapped.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Reflow {
    /// Both forms if the text looks hard-wrapped.
    #[default]
    Auto,
    /// Only the text as given.
    Off,
    /// Only the reflowed text.
    Only,
}

/// How windows are cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WindowConfig {
    /// Prefix length in tokens, without BOS.
    pub prefix: u32,
    /// Suffix length in tokens.
    pub suffix: u32,
    /// Number of tokens required before every suffix; the prefix is the last `prefix` of them. Runs
    /// with the same lead but different prefixes score exactly the same suffixes. Absent =
    /// `prefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<u32>,
    pub stride: Stride,
    pub reflow: Reflow,
}

impl WindowConfig {
    /// Number of tokens required before every suffix.
    pub fn before(&self) -> u32 {
        self.lead.unwrap_or(self.prefix)
    }
}

/// A window's position in its item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Placement {
    pub form: Form,
    /// How the prefix is presented to the model. Absent = the bare prefix.
    #[serde(default, skip_serializing_if = "TemplateId::is_none")]
    pub template: TemplateId,
    /// Offset of the first token (without BOS) in the item's encoding. Under `Stride::Chars`: in
    /// the encoding from the window's own start, so 0 without a lead.
    pub start_token: u32,
    /// Bytes of the item's text (in this form) that the window covers: the prefix from
    /// `start_byte`, the suffix from `suffix_byte` up to `end_byte`. Exact even if a token ends
    /// inside a character.
    pub start_byte: u64,
    pub suffix_byte: u64,
    pub end_byte: u64,
    /// The same two ends of the suffix, in characters: how many characters of the text begin before
    /// them.
    pub suffix_char: u64,
    pub end_char: u64,
    /// Number of context tokens, BOS and template included.
    pub prefix_len: u32,
    /// Number of tokens to score.
    pub suffix_len: u32,
    /// The split of a pre-split item falls inside a token, which then belongs to the prefix: the
    /// suffix begins inside a token.
    pub straddles: bool,
}

/// One window, ready to be scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub id: WindowId,
    pub item: ItemId,
    pub placement: Placement,
    /// The context, `placement.prefix_len` tokens with BOS and template, and the suffix.
    pub token_ids: Vec<u32>,
}

/// One layout of an item's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedForm {
    pub form: Form,
    pub bytes: u64,
    pub chars: u64,
    pub tokens: u64,
    /// Number of windows cut from it, under all templates.
    pub windows: u64,
    /// The text in this layout.
    pub text: String,
}
