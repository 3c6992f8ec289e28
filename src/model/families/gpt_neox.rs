//! GPT-NeoX and Pythia (arXiv 2204.06745, 2304.01373): partly rotated heads, both halves of a block
//! beside each other, queries, keys and values interleaved by head.

use super::Metadata;
use crate::model::decoder::{Block, Decoder, Residual};
use crate::model::layers::attention::Attention;
use crate::model::layers::linear::Embedding;
use crate::model::layers::mlp::{Activation, Mlp};
use crate::model::layers::rope::{Pairing, RawScaling, Rope, Scaling};
use crate::model::weights::{Layout, Names, Weights};
use crate::model::{Facts, ModelError};
use rayon::prelude::*;
use serde::Deserialize;

/// Tensor names, Hugging Face's and GGUF's.
pub const NAMES: Names = &[
    ("gpt_neox.embed_in", "token_embd"),
    ("gpt_neox.layers.{}.input_layernorm", "blk.{}.attn_norm"),
    ("gpt_neox.layers.{}.attention.query_key_value", "blk.{}.attn_qkv"),
    ("gpt_neox.layers.{}.attention.dense", "blk.{}.attn_output"),
    ("gpt_neox.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"),
    ("gpt_neox.layers.{}.mlp.dense_h_to_4h", "blk.{}.ffn_up"),
    ("gpt_neox.layers.{}.mlp.dense_4h_to_h", "blk.{}.ffn_down"),
    ("gpt_neox.final_layer_norm", "output_norm"),
    ("embed_out", "output"),
];

/// Fields of config.json, by its names.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    layer_norm_eps: f64,
    hidden_act: Activation,
    rotary_pct: Option<f32>,
    #[serde(alias = "rope_theta")]
    rotary_emb_base: Option<f32>,
    #[serde(alias = "rope_parameters")]
    rope_scaling: Option<RawScaling>,
    #[serde(default = "yes")]
    use_parallel_residual: bool,
    #[serde(default = "yes")]
    attention_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
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
        let (hidden, heads) = (meta.need("embedding_length")?, meta.need("attention.head_count")?);
        let rotated = meta.need("rope.dimension_count")?;
        Ok(Self {
            vocab_size: meta.vocabulary()?,
            hidden_size: hidden,
            intermediate_size: meta.need("feed_forward_length")?,
            num_hidden_layers: meta.need("block_count")?,
            num_attention_heads: heads,
            max_position_embeddings: meta.need("context_length")?,
            layer_norm_eps: meta.float("attention.layer_norm_epsilon").unwrap_or(1e-5),
            hidden_act: Activation::Gelu,
            rotary_pct: Some(rotated as f32 / (hidden / heads.max(1)).max(1) as f32),
            rotary_emb_base: meta.float("rope.freq_base").map(|x| x as f32),
            rope_scaling: None,
            use_parallel_residual: meta.gguf.bool("gptneox.use_parallel_residual").unwrap_or(true),
            attention_bias: true,
            tie_word_embeddings: !meta.gguf.tensors.contains_key("output.weight"),
        })
    }

    fn rope(&self, head_dim: usize) -> Result<Rope, ModelError> {
        let raw = self.rope_scaling.as_ref();
        let share = self.rotary_pct.or_else(|| raw.and_then(|raw| raw.partial_rotary_factor)).unwrap_or(0.25);
        let dims = (head_dim as f32 * share) as usize;
        let scaling = raw
            .map_or(Ok(Scaling::None), |raw| raw.check(self.max_position_embeddings, None, dims))
            .map_err(|what| ModelError::Config { file: "config.json".to_owned(), what })?;
        let base = self.rotary_emb_base.or_else(|| raw.and_then(|raw| raw.rope_theta)).unwrap_or(10_000.0);
        Ok(Rope { base, dims, scaling, pairing: Pairing::Halves })
    }
}

/// Joins the layers.
///
/// # Errors
/// When a tensor is missing, of another shape, or has no place.
pub fn load(c: &Config, weights: &Weights) -> Result<Decoder, ModelError> {
    let (hidden, heads, eps) = (c.hidden_size, c.num_attention_heads, c.layer_norm_eps);
    let head_dim = hidden / heads.max(1);
    // llama.cpp's converter already puts all queries first.
    let qkv_layout = if weights.is_gguf() { Layout::OutIn } else { Layout::Interleaved { heads } };
    let root = weights.root();
    let body = root.at("gpt_neox");
    let block = |i: usize| -> Result<Block, ModelError> {
        let layer = body.at("layers").at(i);
        Ok(Block {
            attention_norm: layer.layer_norm("input_layernorm", hidden, eps)?,
            attention: Attention {
                qkv: layer.linear(
                    &[("attention.query_key_value", 3 * hidden)],
                    hidden,
                    c.attention_bias,
                    qkv_layout,
                )?,
                out: layer.linear(&[("attention.dense", hidden)], hidden, c.attention_bias, Layout::OutIn)?,
                heads,
                kv_heads: heads,
                head_dim,
                scale: (head_dim as f64).powf(-0.5),
                softcap: None,
                window: None,
                rope: Some(0),
                qk_norm: None,
            },
            attention_post_norm: None,
            mlp_norm: layer.layer_norm("post_attention_layernorm", hidden, eps)?,
            mlp: Mlp::Plain {
                up: layer.linear(&[("mlp.dense_h_to_4h", c.intermediate_size)], hidden, true, Layout::OutIn)?,
                down: layer.linear(&[("mlp.dense_4h_to_h", hidden)], c.intermediate_size, true, Layout::OutIn)?,
                activation: c.hidden_act,
            },
            mlp_post_norm: None,
            residual: if c.use_parallel_residual { Residual::Parallel } else { Residual::Sequential },
        })
    };
    let blocks = (0..c.num_hidden_layers).into_par_iter().map(block).collect::<Result<_, _>>()?;
    Ok(Decoder {
        embedding: Embedding::new(body.matrix("embed_in", c.vocab_size, hidden)?),
        embedding_scale: None,
        positions: None,
        ropes: vec![c.rope(head_dim)?],
        blocks,
        final_norm: body.layer_norm("final_layer_norm", hidden, eps)?,
        head: if c.tie_word_embeddings {
            None
        } else {
            Some(root.linear(&[("embed_out", c.vocab_size)], hidden, false, Layout::OutIn)?)
        },
        logit_softcap: None,
        device: weights.device().clone(),
        facts: Facts {
            architecture: "gpt_neox".to_owned(),
            vocab_size: c.vocab_size,
            context_length: c.max_position_embeddings,
            parameters: weights.finish(&["attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"])?,
        },
    })
}
