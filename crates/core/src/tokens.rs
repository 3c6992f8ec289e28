//! Token ids: the seam between texts and a model's tokenizer.

use serde::{Deserialize, Serialize};
use std::error::Error;

/// Whether a window begins with the model's beginning-of-sequence token.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum BosChoice {
    /// Follows the tokenizer's own convention.
    #[default]
    Auto,
    Always,
    Never,
}

/// One encoding of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, without special tokens.
    pub ids: Vec<u32>,
    /// For each token, the range `start..end` of the text's bytes that it covers.
    pub bytes: Vec<(usize, usize)>,
    /// True if the tokens' own bytes, joined, equal the text (apart from a space that the tokenizer
    /// adds in front); `bytes` is then exact to the byte. Otherwise normalization changed the text,
    /// and `bytes` covers the whole characters that each token was made from.
    pub exact: bool,
}

/// A model's tokenizer, as windows and templates need it.
pub trait TextEncoder: Sync {
    /// Encodes a text. Adds no special tokens and recognizes none in the text.
    ///
    /// # Errors
    /// When the vocabulary can't represent one of its characters.
    fn encode(&self, text: &str) -> Result<Encoding, EncodeError>;

    /// Encodes several parts as one text. In parts marked true, the spelling of a special token
    /// becomes that token; other parts are plain text, as in [`TextEncoder::encode`]. Byte ranges
    /// refer to the joined parts.
    ///
    /// # Errors
    /// When the vocabulary can't represent one of its characters.
    fn encode_template(&self, parts: &[(&str, bool)]) -> Result<Encoding, EncodeError>;

    /// The text of token ids.
    fn decode(&self, ids: &[u32]) -> String;

    /// The bytes of one token; empty for an id outside the vocabulary.
    fn token_bytes(&self, id: u32) -> &[u8];

    /// The token to put in front of a text, if any.
    ///
    /// # Errors
    /// When the choice requires a token that the tokenizer lacks.
    fn bos(&self, choice: BosChoice) -> Result<Option<u32>, EncodeError>;
}

/// Why a tokenizer can't encode a text. The message names the tokenizer's file.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct EncodeError(#[from] Box<dyn Error + Send + Sync>);

impl EncodeError {
    /// Wraps the error of a tokenizer.
    pub fn new(source: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(source))
    }
}
