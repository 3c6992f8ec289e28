//! A family's description of a checkpoint before its weights are read: widths, norms, attention,
//! feed-forward blocks.
//!
//! A family turns a configuration into a [`ModelSpec`], from which [`super::build`] joins the
//! shared layers. So a family is a table of names and a function, and no layer is written twice.

use super::ModelError;
use super::config::Config;
use super::decoder::Residual;
use super::layers::alibi::Alibi;
use super::layers::experts::RouterWeights;
use super::layers::mlp::{Activation, Gating};
use super::layers::rope::Rope;
use super::weights::scope::Layout;

/// A model without its weights.
#[derive(Clone, Debug)]
pub(crate) struct ModelSpec {
    pub(crate) architecture: String,
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    /// Longest sequence in tokens.
    pub(crate) context_length: usize,
    pub(crate) norm: NormSpec,
    pub(crate) embedding: EmbeddingSpec,
    /// Rotary embeddings, which layers refer to by index.
    pub(crate) ropes: Vec<Rope>,
    pub(crate) alibi: Option<Alibi>,
    pub(crate) layers: Vec<LayerSpec>,
    /// A norm after the last layer.
    pub(crate) final_norm: bool,
    /// True if the token table is also the output matrix.
    pub(crate) tied: bool,
    pub(crate) head_bias: bool,
    pub(crate) logit_scale: Option<f64>,
    pub(crate) logit_softcap: Option<f64>,
    /// Parts of the names of tensors that may remain unread: buffers, and the vision parts of
    /// multimodal models.
    pub(crate) ignorable: &'static [&'static str],
}

impl ModelSpec {
    /// A spec with an untied head, without rotary embeddings, positions and factors. `tied` is the
    /// family's default.
    ///
    /// # Errors
    /// If a size is missing.
    pub(crate) fn new(
        c: &Config,
        norm: NormSpec,
        layers: Vec<LayerSpec>,
        tied: bool,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            architecture: c.kind.clone(),
            vocab_size: c.count("vocab_size")?,
            hidden_size: c.count(HIDDEN)?,
            context_length: c.count_or(
                "max_position_embeddings|n_positions|max_seq_len|seq_length",
                2_048,
            )?,
            norm,
            embedding: EmbeddingSpec::default(),
            ropes: Vec::new(),
            alibi: None,
            layers,
            final_norm: true,
            tied: c.or("tie_word_embeddings", tied)?,
            head_bias: false,
            logit_scale: None,
            logit_softcap: None,
            ignorable: &[],
        })
    }

    /// Changes every layer, given its index.
    ///
    /// # Errors
    /// The first error of `change`.
    pub(crate) fn each(
        mut self,
        mut change: impl FnMut(usize, &mut LayerSpec) -> Result<(), ModelError>,
    ) -> Result<Self, ModelError> {
        self.layers
            .iter_mut()
            .enumerate()
            .try_for_each(|(i, layer)| change(i, layer))?;
        Ok(self)
    }
}

/// The hidden size, under its several names.
pub(crate) const HIDDEN: &str = "hidden_size|n_embd|d_model";
/// The number of layers, under its several names.
pub(crate) const LAYERS: &str = "num_hidden_layers|n_layer|n_layers|num_layers";
/// The number of heads, under its several names.
pub(crate) const HEADS: &str = "num_attention_heads|n_head|n_heads|num_heads";

/// The number of heads and of components per head: from the configuration, or the hidden size
/// divided by the heads.
///
/// # Errors
/// If a size is missing, or the heads don't divide the hidden size.
pub(crate) fn heads(c: &Config) -> Result<(usize, usize), ModelError> {
    let (hidden, heads) = (c.count(HIDDEN)?, c.few(HEADS)?);
    match c.get::<usize>("head_dim")? {
        Some(_) => Ok((heads, c.count("head_dim")?)),
        None if hidden.is_multiple_of(heads) => Ok((heads, hidden / heads)),
        None => Err(c.error(format!(
            "{heads} heads don't divide a hidden size of {hidden}"
        ))),
    }
}

/// The norms of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NormSpec {
    pub(crate) kind: NormKind,
    pub(crate) eps: f64,
}

/// Kinds of norms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum NormKind {
    /// Root mean square; `offset` is added to the stored weights (Gemma stores them minus one; its
    /// GGUF files don't).
    Rms { offset: f64 },
    /// With mean, and with or without bias.
    Layer { bias: bool },
    /// With mean, and without weights (OLMo).
    Bare,
}

/// Token vectors and their transformations.
#[derive(Clone, Debug, Default)]
pub(crate) struct EmbeddingSpec {
    pub(crate) scale: Option<f64>,
    pub(crate) norm: bool,
    /// Rows of the table of positions, and the row of position 0.
    pub(crate) positions: Option<(usize, u32)>,
    /// Width of the token vectors, if it isn't the hidden size.
    pub(crate) width: Option<usize>,
}

/// One layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerSpec {
    pub(crate) attention: AttentionSpec,
    pub(crate) feed: FeedForwardSpec,
    pub(crate) norms: NormsSpec,
    pub(crate) residual: Residual,
    pub(crate) residual_scale: Option<f64>,
}

/// The norms that a layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NormsSpec {
    pub(crate) attention: bool,
    pub(crate) attention_post: bool,
    pub(crate) mlp: bool,
    pub(crate) mlp_post: bool,
}

impl LayerSpec {
    /// A layer whose feed-forward half follows the attention, each with a norm before it.
    pub(crate) fn new(attention: AttentionSpec, feed: FeedForwardSpec) -> Self {
        let (norms, residual) = (NormsSpec::BEFORE, Residual::Sequential);
        Self {
            attention,
            feed,
            norms,
            residual,
            residual_scale: None,
        }
    }
}

impl NormsSpec {
    /// One before each half.
    pub(crate) const BEFORE: Self = Self {
        attention: true,
        attention_post: false,
        mlp: true,
        mlp_post: false,
    };
    /// One before and one after each half (Gemma 2).
    pub(crate) const AROUND: Self = Self {
        attention: true,
        attention_post: true,
        mlp: true,
        mlp_post: true,
    };
    /// One after each half (OLMo 2).
    pub(crate) const AFTER: Self = Self {
        attention: false,
        attention_post: true,
        mlp: false,
        mlp_post: true,
    };
    /// One for both halves, which are parallel (GPT-J).
    pub(crate) const SHARED: Self = Self {
        attention: true,
        attention_post: false,
        mlp: false,
        mlp_post: false,
    };
}

/// The attention of a layer.
#[derive(Clone, Debug)]
pub(crate) struct AttentionSpec {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// Bias of queries, keys and values, in safetensors. In GGUF files, a bias is optional.
    pub(crate) qkv_bias: bool,
    pub(crate) out_bias: bool,
    /// The layout of a fused matrix of queries, keys and values in safetensors.
    pub(crate) qkv_layout: Layout,
    pub(crate) out_layout: Layout,
    /// Factor on scores.
    pub(crate) scale: f64,
    pub(crate) softcap: Option<f64>,
    pub(crate) window: Option<usize>,
    /// Index of one of the spec's rotary embeddings.
    pub(crate) rope: Option<usize>,
    pub(crate) qk_norm: Option<(QkNormSpec, NormSpec)>,
    pub(crate) clip: Option<f64>,
    pub(crate) alibi: bool,
    pub(crate) sinks: bool,
}

/// The extent of the norms of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QkNormSpec {
    /// Each head, with the same weights for all heads.
    Head,
    /// Each head with its own weights, stored as one tensor `[heads, head_dim]` (Cohere).
    OwnWeights,
    /// As [`QkNormSpec::OwnWeights`], with one tensor per head (StableLM).
    OwnTensors,
    /// All heads at once.
    Whole,
}

impl AttentionSpec {
    /// Full causal attention without biases, rotated by the first rotary embedding.
    pub(crate) fn new(heads: usize, kv_heads: usize, head_dim: usize) -> Self {
        Self {
            heads,
            kv_heads,
            head_dim,
            qkv_bias: false,
            out_bias: false,
            qkv_layout: Layout::OUT_IN,
            out_layout: Layout::OUT_IN,
            scale: (head_dim as f64).powf(-0.5),
            softcap: None,
            window: None,
            rope: Some(0),
            qk_norm: None,
            clip: None,
            alibi: false,
            sinks: false,
        }
    }
}

/// The feed-forward block of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FeedForwardSpec {
    /// Gate and up may be stored as one module, `ffn_up`.
    Gated {
        inner: usize,
        bias: bool,
        gating: Gating,
    },
    Plain {
        inner: usize,
        bias: bool,
        activation: Activation,
        layout: Layout,
    },
    Experts(ExpertsSpec),
}

/// A mixture of experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ExpertsSpec {
    pub(crate) count: usize,
    /// Number of experts per token.
    pub(crate) chosen: usize,
    pub(crate) inner: usize,
    pub(crate) router_weights: RouterWeights,
    pub(crate) gating: Gating,
    /// Biases of router and experts (gpt-oss).
    pub(crate) bias: bool,
    /// The layouts in safetensors of the tensors that contain a matrix per expert; gate and up,
    /// then down.
    pub(crate) layouts: (Layout, Layout),
    /// Inner width of the shared expert, which every token passes, and whether it has a gate (Qwen
    /// 2).
    pub(crate) shared: Option<(usize, bool)>,
}
