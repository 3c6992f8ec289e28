//! GPT-2 (Radford et al. 2019): learned positions, layer norms, fused and transposed projections.

use super::Metadata;
use crate::model::decoder::{Block, Decoder, Residual};
use crate::model::layers::attention::Attention;
use crate::model::layers::linear::Embedding;
use crate::model::layers::mlp::{Activation, Mlp};
use crate::model::weights::{Layout, Names, Weights};
use crate::model::{Facts, ModelError};
use rayon::prelude::*;
use serde::Deserialize;

/// Tensor names, Hugging Face's (without the `transformer.` that some checkpoints put in front) and GGUF's.
pub const NAMES: Names = &[
    ("wte", "token_embd"),
    ("wpe", "position_embd"),
    ("h.{}.ln_1", "blk.{}.attn_norm"),
    ("h.{}.attn.c_attn", "blk.{}.attn_qkv"),
    ("h.{}.attn.c_proj", "blk.{}.attn_output"),
    ("h.{}.ln_2", "blk.{}.ffn_norm"),
    ("h.{}.mlp.c_fc", "blk.{}.ffn_up"),
    ("h.{}.mlp.c_proj", "blk.{}.ffn_down"),
    ("ln_f", "output_norm"),
    ("lm_head", "output"),
];

/// Fields of config.json, by its names.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    vocab_size: usize,
    n_embd: usize,
    n_head: usize,
    n_layer: usize,
    n_positions: usize,
    n_inner: Option<usize>,
    layer_norm_epsilon: f64,
    activation_function: Activation,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
}

fn yes() -> bool {
    true
}

impl Config {
    /// Reads GGUF metadata.
    ///
    /// # Errors
    /// When a field is missing.
    pub fn from_gguf(meta: &Metadata<'_>) -> Result<Self, ModelError> {
        Ok(Self {
            vocab_size: meta.vocabulary()?,
            n_embd: meta.need("embedding_length")?,
            n_head: meta.need("attention.head_count")?,
            n_layer: meta.need("block_count")?,
            n_positions: meta.need("context_length")?,
            n_inner: meta.int("feed_forward_length"),
            layer_norm_epsilon: meta.float("attention.layer_norm_epsilon").unwrap_or(1e-5),
            activation_function: Activation::GeluTanh,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
        })
    }
}

/// Joins the layers.
///
/// # Errors
/// When a tensor is missing, of another shape, or has no place.
pub fn load(c: &Config, weights: &Weights) -> Result<Decoder, ModelError> {
    let head_dim = c.n_embd / c.n_head.max(1);
    let inner = c.n_inner.unwrap_or(4 * c.n_embd);
    let layout = if weights.is_gguf() { Layout::OutIn } else { Layout::InOut };
    let root = weights.root();
    let body = if root.has("transformer.wte.weight") { root.at("transformer") } else { root.clone() };
    let block = |i: usize| -> Result<Block, ModelError> {
        let layer = body.at("h").at(i);
        let mut scale = if c.scale_attn_weights { (head_dim as f64).powf(-0.5) } else { 1.0 };
        if c.scale_attn_by_inverse_layer_idx {
            scale /= (i + 1) as f64;
        }
        Ok(Block {
            attention_norm: layer.layer_norm("ln_1", c.n_embd, c.layer_norm_epsilon)?,
            attention: Attention {
                qkv: layer.linear(&[("attn.c_attn", 3 * c.n_embd)], c.n_embd, true, layout)?,
                out: layer.linear(&[("attn.c_proj", c.n_embd)], c.n_embd, true, layout)?,
                heads: c.n_head,
                kv_heads: c.n_head,
                head_dim,
                scale,
                softcap: None,
                window: None,
                rope: None,
                qk_norm: None,
            },
            attention_post_norm: None,
            mlp_norm: layer.layer_norm("ln_2", c.n_embd, c.layer_norm_epsilon)?,
            mlp: Mlp::Plain {
                up: layer.linear(&[("mlp.c_fc", inner)], c.n_embd, true, layout)?,
                down: layer.linear(&[("mlp.c_proj", c.n_embd)], inner, true, layout)?,
                activation: c.activation_function,
            },
            mlp_post_norm: None,
            residual: Residual::Sequential,
        })
    };
    let blocks = (0..c.n_layer).into_par_iter().map(block).collect::<Result<_, _>>()?;
    Ok(Decoder {
        embedding: Embedding::new(body.matrix("wte", c.vocab_size, c.n_embd)?),
        embedding_scale: None,
        positions: Some(Embedding::new(body.matrix("wpe", c.n_positions, c.n_embd)?)),
        ropes: Vec::new(),
        blocks,
        final_norm: body.layer_norm("ln_f", c.n_embd, c.layer_norm_epsilon)?,
        head: if weights.is_gguf() && root.has("lm_head.weight") {
            Some(root.linear(&[("lm_head", c.vocab_size)], c.n_embd, false, Layout::OutIn)?)
        } else {
            None
        },
        logit_softcap: None,
        device: weights.device().clone(),
        facts: Facts {
            architecture: "gpt2".to_owned(),
            vocab_size: c.vocab_size,
            context_length: c.n_positions,
            parameters: weights.finish(&[".attn.bias", ".attn.masked_bias", "lm_head.weight"])?,
        },
    })
}
