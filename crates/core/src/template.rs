//! How a prefix is presented to a model: bare, after title and author, as a request, or as an
//! assistant's own words.
//!
//! A template is rendered with placeholders for the item's words and then split there into pieces;
//! `encode` turns them into token ids. The item's text is never rendered: prefix and suffix stay
//! slices of its single encoding.

pub mod chat;
#[cfg(feature = "probe")]
pub mod encode;
mod engine;
pub mod file;
#[cfg(test)]
mod tests;

use crate::digest::Digest;
use crate::window::TemplateId;
use serde::{Deserialize, Serialize};

/// The exact template that a run used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TemplateInfo {
    pub id: TemplateId,
    /// Its description.
    pub about: String,
    /// SHA-256 of the template's file.
    pub digest: Digest,
    /// SHA-256 of the checkpoint's chat template, which rendered the turns; absent without turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<Digest>,
}

/// A part of a rendered template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The template's own words, in which the spelling of a special token becomes that token.
    Literal(String),
    /// The item's title, as plain text.
    Title,
    /// The item's author, as plain text.
    Author,
    /// A window's prefix.
    Prefix,
    /// A window's suffix; always the last piece.
    Suffix,
}

/// Whether an item has a title and an author: templates may omit missing ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    pub title: bool,
    pub author: bool,
}

impl Known {
    pub const ALL: [Self; 4] = [
        Self {
            title: true,
            author: true,
        },
        Self {
            title: true,
            author: false,
        },
        Self {
            title: false,
            author: true,
        },
        Self {
            title: false,
            author: false,
        },
    ];
}

/// Why a template can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("{file}: can't be read: {source}")]
    Io {
        file: String,
        source: std::io::Error,
    },
    #[error("{file}: not a valid template: {reason}; docs/templates.md shows one")]
    File { file: String, reason: String },
    #[error("{file}: {bytes} bytes, but a template may have at most {most}; give a smaller one")]
    TooLong {
        file: String,
        bytes: usize,
        most: usize,
    },
    #[error("{file}: its template can't be rendered: {reason}")]
    Render { file: String, reason: String },
    #[error("{file}: rendered, {what}; {fix}")]
    Misplaced {
        file: String,
        what: String,
        fix: &'static str,
    },
    #[error(
        "--template {id}: {reference} has no chat template (no chat_template in tokenizer_config.json, no \
         chat_template.jinja, no tokenizer.chat_template in a GGUF), so there are no turns to put text into; it is \
         probably no chat model: use one of {plain}"
    )]
    NoChat {
        id: TemplateId,
        reference: String,
        plain: String,
    },
    #[error("{file}: its chat templates can't be read: {reason}; fetch the model's files again")]
    Chat { file: String, reason: String },
}
