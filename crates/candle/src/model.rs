//! Models: open weights in, logits out. This module works on tensors; it doesn't depend on windows,
//! items or metrics.
//!
//! [`source`] finds a checkpoint, and [`weights`] and [`gguf`] open its files. The checkpoint's
//! family (`families`) turns the `config` into a `spec`, from which `build` joins the
//! shared `layers` to a `decoder::Decoder`. Architectures that aren't decoders, and those that
//! candle-transformers implements, run one token at a time (`sequential`).
//!
//! Activations are f32 everywhere; only matrices may be narrower in memory. On the CPU, byrote
//! widens a narrower matrix for each product, so bf16 and quantized weights give exactly the
//! numbers of the same weights in f32, unless bf16 products are requested ([`Arithmetic`]). On
//! processors that support it, [`cpu`] does the work on the CPU.

pub mod adapter;
pub(crate) mod build;
pub mod builtin;
pub(crate) mod config;
pub mod cpu;
pub(crate) mod decoder;
pub mod describe;
pub(crate) mod families;
pub mod gguf;
pub(crate) mod layers;
pub mod load;
pub mod memory;
pub mod quantize;
pub(crate) mod sequential;
mod shards;
pub mod source;
pub(crate) mod spec;
pub mod weights;

pub use cpu::packed::Arithmetic;
pub use decoder::Cache;

use candle_core::{Device, Tensor};
use std::ops::Range;
use std::path::PathBuf;

/// Properties of a loaded model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// `model_type` of config.json or `general.architecture` of a GGUF.
    pub architecture: String,
    pub vocab_size: usize,
    /// Longest sequence in tokens.
    pub context_length: usize,
    pub parameters: u64,
}

/// A rectangular batch of token ids, and the rows whose outputs are needed.
#[derive(Clone, Debug)]
pub struct ForwardInput<'a> {
    /// `batch x len` token ids, row by row.
    pub ids: &'a [u32],
    pub batch: usize,
    pub len: usize,
    /// Positions of each sequence whose hidden states are needed, relative to the first token of
    /// this input.
    pub rows: Range<usize>,
    /// Length of the whole sequence, including cached tokens and tokens that are never fed.
    /// Length-dependent rotary scaling uses it.
    pub sequence_len: usize,
    /// Precision of the products, where the model supports more than one.
    pub arithmetic: Arithmetic,
}

/// A model that computes logits for any range of positions.
pub trait CausalLm: Send + Sync {
    fn info(&self) -> &ModelInfo;

    fn device(&self) -> &Device;

    /// Hidden states after the final norm, f32, shape `[batch * rows, hidden]`. With a cache, the
    /// ids continue the cached sequences.
    ///
    /// # Errors
    /// If a tensor operation fails, for example because memory runs out.
    fn hidden(
        &self,
        input: &ForwardInput<'_>,
        cache: Option<&mut Cache>,
    ) -> candle_core::Result<Tensor>;

    /// Logits of hidden states: f32, `[n, hidden]` to `[n, vocab]`. Row `i` predicts the token
    /// after position `i`.
    ///
    /// # Errors
    /// As for [`CausalLm::hidden`].
    fn logits(&self, hidden: &Tensor, arithmetic: Arithmetic) -> candle_core::Result<Tensor>;

    /// On the CPU: computes the logits of a range of tokens only, `[n, tokens]`, for hidden states
    /// `[n, hidden]`. The range starts at a multiple of 32. Callers use it so that no whole row
    /// over a large vocabulary is in memory. The bits equal those of [`CausalLm::logits`]. Returns
    /// false if the model can't do this.
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

    /// An empty cache, for feeding sequences piece by piece.
    fn cache(&self) -> Cache;

    /// True if the model runs one sequence at a time, token by token. That is slower, and reports
    /// say so.
    fn sequential(&self) -> bool {
        false
    }
}

/// The reason why a model can't be loaded.
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
        "{file}: tensor \"{name}\" is missing: the checkpoint is incomplete, or its config describes another architecture"
    )]
    MissingTensor { name: String, file: String },
    #[error(
        "{file}: tensor \"{name}\" has shape {found:?}, but the config requires {wanted:?}: they belong to different checkpoints; fetch both again"
    )]
    WrongShape {
        name: String,
        file: String,
        found: Vec<usize>,
        wanted: Vec<usize>,
    },
    #[error("{file}: {what}")]
    Config { file: String, what: String },
    #[error("{file}: architecture \"{found}\" is not supported; byrote supports {known}")]
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
