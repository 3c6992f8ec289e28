//! Models: open weights in, logits out. Knows tensors; knows nothing of windows, items or metrics.
//!
//! A checkpoint is found ([`source`]), its files are opened ([`weights`], [`gguf`]), its family ([`families`]) turns the
//! [`config`] into a [`spec`], and by that the shared [`layers`] are joined ([`build`]) into a [`decoder::Decoder`].
//! Architectures that no decoder is, or that candle-transformers has, are walked a token at a time ([`sequential`]).
//!
//! Activations are f32 everywhere; only a matrix in memory may be narrower. On the CPU a narrower matrix is widened for its
//! product, so bf16 and quantized weights give the very numbers that the same weights in f32 give, unless bf16 products are
//! asked for ([`Arithmetic`]). Where the processor allows, the CPU's part is done by [`cpu`].

pub mod adapter;
pub mod build;
pub mod builtin;
pub mod config;
pub mod cpu;
pub mod decoder;
pub mod describe;
pub mod families;
pub mod gguf;
pub mod layers;
pub mod load;
pub mod memory;
pub mod quantize;
pub mod sequential;
mod shards;
pub mod source;
pub mod spec;
pub mod weights;

pub use cpu::packed::Arithmetic;

use candle_core::{Device, Tensor};
use std::ops::Range;
use std::path::PathBuf;

/// What a model says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// `model_type` of config.json or `general.architecture` of a GGUF.
    pub architecture: String,
    pub vocab_size: usize,
    /// Longest sequence in tokens.
    pub context_length: usize,
    pub parameters: u64,
}

/// A rectangular batch of token ids, and which rows' outputs are wanted.
#[derive(Clone, Debug)]
pub struct ForwardInput<'a> {
    /// `batch x len` token ids, row by row.
    pub ids: &'a [u32],
    pub batch: usize,
    pub len: usize,
    /// Positions (of each sequence) whose hidden states are wanted, counted in this pass.
    pub rows: Range<usize>,
    /// Length of the whole sequence, cached tokens and ones never fed included: what length-dependent
    /// rotary scaling goes by.
    pub sequence_len: usize,
    /// In what its products are computed, where the model leaves a choice.
    pub arithmetic: Arithmetic,
}

/// A decoder that gives logits for any range of positions.
pub trait CausalLm: Send + Sync {
    fn info(&self) -> &ModelInfo;

    fn device(&self) -> &Device;

    /// Hidden states after the final norm, f32, shape `[batch * rows, hidden]`. With a cache, the ids
    /// continue what the cache holds.
    ///
    /// # Errors
    /// When a tensor operation fails, such as for want of memory.
    fn hidden(
        &self,
        input: &ForwardInput<'_>,
        cache: Option<&mut decoder::Cache>,
    ) -> candle_core::Result<Tensor>;

    /// Logits of hidden states: f32, `[n, hidden]` to `[n, vocab]`. Row `i` says what follows position `i`.
    ///
    /// # Errors
    /// As for [`CausalLm::hidden`].
    fn logits(&self, hidden: &Tensor, arithmetic: Arithmetic) -> candle_core::Result<Tensor>;

    /// On the CPU: the logits of some tokens only (from a multiple of 32 on), `[n, tokens]`, for hidden states `[n, hidden]`, so
    /// that a row over a large vocabulary needn't stand in memory as a whole. The same bits as in [`CausalLm::logits`]. False
    /// where the model can't do that.
    ///
    /// # Errors
    /// As for [`CausalLm::hidden`].
    fn logits_of(
        &self,
        _hidden: &[f32],
        _tokens: Range<usize>,
        _arithmetic: Arithmetic,
        _logits: &mut [f32],
    ) -> candle_core::Result<bool> {
        Ok(false)
    }

    /// An empty cache for generating token by token.
    fn cache(&self) -> decoder::Cache;

    /// Whether sequences are walked one by one, a token at a time: slower, and said so wherever the model is named.
    fn sequential(&self) -> bool {
        false
    }
}

/// Why a model can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {what}", path.display())]
    BadFile { path: PathBuf, what: String },
    #[error(
        "{file}: there is no tensor \"{name}\": the checkpoint is incomplete or of another architecture than its config says"
    )]
    MissingTensor { name: String, file: String },
    #[error(
        "{file}: tensor \"{name}\" has shape {found:?} where the config asks for {wanted:?}: they aren't of one checkpoint; fetch both again"
    )]
    WrongShape {
        name: String,
        file: String,
        found: Vec<usize>,
        wanted: Vec<usize>,
    },
    #[error("{file}: {what}")]
    Config { file: String, what: String },
    #[error("{file}: architecture \"{found}\" is not supported; byrote reads {known}")]
    UnknownArchitecture {
        file: String,
        found: String,
        known: String,
    },
    #[error(transparent)]
    Tokenizer(#[from] crate::tokens::tokenizer::TokenizerError),
    #[error("device \"{name}\": {what}")]
    Device { name: String, what: String },
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}
