//! The tokenizer: text to token ids with exact byte offsets, and what identifies it.

pub mod gguf;
mod library;
mod pieces;
mod pre;
mod proto;
mod sentencepiece;
pub mod slow;
pub mod tokenizer;

use byrote_core::tokens::{BosChoice, Encoding};
