//! Token ids: the seam between texts and the tokenizer of a model.

use serde::{Deserialize, Serialize};
use std::error::Error;

/// Whether a window begins with the model's beginning-of-sequence token.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum BosChoice {
    /// As the tokenizer itself does it.
    #[default]
    Auto,
    Always,
    Never,
}

/// One encoding of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, no special tokens added.
    pub ids: Vec<u32>,
    /// For each token, the bytes `start..end` of the text it stands for.
    pub bytes: Vec<(usize, usize)>,
    /// The tokens' own bytes, joined, are the text (but for a space the tokenizer puts in front), so that
    /// `bytes` is exact to the byte. Otherwise normalization changed the text, and `bytes` says from which
    /// of its bytes each token was made, in whole characters.
    pub exact: bool,
}

/// The tokenizer of a model, as windows and templates need it.
pub trait TextEncoder: Sync {
    /// Encodes a text. No special tokens are added, and none are recognized in the text.
    ///
    /// # Errors
    /// When the vocabulary can't spell a character of it.
    fn encode(&self, text: &str) -> Result<Encoding, EncodeError>;

    /// Encodes stretches of text as one. In those marked true, the spelling of a special token is that token; the others are
    /// plain text, as in [`TextEncoder::encode`]. Byte ranges refer to the stretches joined.
    ///
    /// # Errors
    /// When the vocabulary can't spell a character of it.
    fn encode_template(&self, parts: &[(&str, bool)]) -> Result<Encoding, EncodeError>;

    /// The text of token ids.
    fn decode(&self, ids: &[u32]) -> String;

    /// The bytes of one token; empty for an id outside of the vocabulary.
    fn token_bytes(&self, id: u32) -> &[u8];

    /// The token to put in front of a text, if there is to be one.
    ///
    /// # Errors
    /// When the choice asks for a token that the tokenizer lacks.
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
