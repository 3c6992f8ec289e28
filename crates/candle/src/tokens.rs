//! The tokenizer: text to token ids with exact byte offsets, and the fingerprint of the tokenizer.

pub mod gguf;
mod pretokenize;
mod proto;
mod sentencepiece;
pub mod slow;
mod token_bytes;
pub mod tokenizer;
mod workarounds;

use byrote_core::tokens::{BosChoice, Encoding};
