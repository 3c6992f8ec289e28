//! Gemma 3, text (arXiv 2503.19786): norms before and after each half, normalized queries and keys,
//! most layers with a sliding window and a rotary base of their own, scaled token vectors.

use super::{Metadata, parse};
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
    ("model.embed_tokens", "token_embd"),
    ("model.layers.{}.input_layernorm", "blk.{}.attn_norm"),
    ("model.layers.{}.self_attn.q_proj", "blk.{}.attn_q"),
    ("model.layers.{}.self_attn.k_proj", "blk.{}.attn_k"),
    ("model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"),
    ("model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"),
    ("model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm"),
    ("model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm"),
    ("model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm"),
    ("model.layers.{}.pre_feedforward_layernorm", "blk.{}.ffn_norm"),
    ("model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"),
    ("model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"),
    ("model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"),
    ("model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
];

/// Every this many layers one is global, unless the checkpoint says otherwise.
const PATTERN: usize = 6;

/// Fields of config.json, by its names.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    query_pre_attn_scalar: f64,
    hidden_activation: Activation,
    sliding_window: usize,
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    rope_theta: Option<f32>,
    rope_local_base_freq: Option<f32>,
    rope_scaling: Option<RawScaling>,
    /// Newer configs have one table for each kind of layer.
    rope_parameters: Option<RopeByLayer>,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct RopeByLayer {
    full_attention: RawScaling,
    sliding_attention: RawScaling,
}

fn yes() -> bool {
    true
}

impl Config {
    /// Reads GGUF metadata. What llama.cpp leaves to its code stands here too: the local base, the
    /// pattern of layers, the activation.
    ///
    /// # Errors
    /// When a field is missing.
    pub fn from_gguf(meta: &Metadata<'_>) -> Result<Self, ModelError> {
        let head_dim = meta.need("attention.key_length")?;
        let scaling = match meta.float("rope.scaling.factor") {
            Some(factor) => Some(parse(
                serde_json::json!({"rope_type": "linear", "factor": factor}).to_string().as_bytes(),
                &meta.gguf.path().display().to_string(),
            )?),
            None => None,
        };
        Ok(Self {
            vocab_size: meta.vocabulary()?,
            hidden_size: meta.need("embedding_length")?,
            intermediate_size: meta.need("feed_forward_length")?,
            num_hidden_layers: meta.need("block_count")?,
            num_attention_heads: meta.need("attention.head_count")?,
            num_key_value_heads: meta.need("attention.head_count_kv")?,
            head_dim,
            max_position_embeddings: meta.need("context_length")?,
            rms_norm_eps: meta.float("attention.layer_norm_rms_epsilon").unwrap_or(1e-6),
            // All sizes but 27B (62 layers), whose scalar is the hidden size a head.
            query_pre_attn_scalar: if meta.need("block_count")? == 62 {
                meta.need("embedding_length")? as f64 / meta.need("attention.head_count")?.max(1) as f64
            } else {
                head_dim as f64
            },
            hidden_activation: Activation::GeluTanh,
            sliding_window: meta.need("attention.sliding_window")?,
            sliding_window_pattern: meta.int("attention.sliding_window_pattern"),
            layer_types: None,
            rope_theta: meta.float("rope.freq_base").map(|x| x as f32),
            rope_local_base_freq: meta.float("rope.freq_base_swa").map(|x| x as f32),
            rope_scaling: scaling,
            rope_parameters: None,
            attn_logit_softcapping: None,
            final_logit_softcapping: meta.float("final_logit_softcapping"),
            attention_bias: false,
            tie_word_embeddings: !meta.gguf.tensors.contains_key("output.weight"),
        })
    }

    fn slides(&self, layer: usize) -> bool {
        match &self.layer_types {
            Some(types) => types.get(layer).is_some_and(|t| t == "sliding_attention"),
            None => !(layer + 1).is_multiple_of(self.sliding_window_pattern.unwrap_or(PATTERN).max(1)),
        }
    }

    /// The rotary embeddings of global and of sliding layers.
    fn ropes(&self) -> Result<Vec<Rope>, ModelError> {
        let bad = |what| ModelError::Config { file: "config.json".to_owned(), what };
        let (global, local) = match &self.rope_parameters {
            Some(by) => (Some(&by.full_attention), Some(&by.sliding_attention)),
            None => (self.rope_scaling.as_ref(), None),
        };
        let rope = |raw: Option<&RawScaling>, base: Option<f32>, default: f32| {
            let scaling =
                raw.map_or(Ok(Scaling::None), |raw| raw.check(self.max_position_embeddings, None, self.head_dim));
            let base = base.or_else(|| raw.and_then(|raw| raw.rope_theta)).unwrap_or(default);
            Ok::<_, ModelError>(Rope {
                base,
                dims: self.head_dim,
                scaling: scaling.map_err(bad)?,
                pairing: Pairing::Halves,
            })
        };
        Ok(vec![rope(global, self.rope_theta, 1_000_000.0)?, rope(local, self.rope_local_base_freq, 10_000.0)?])
    }
}

/// Joins the layers.
///
/// # Errors
/// When a tensor is missing, of another shape, or has no place.
pub fn load(c: &Config, weights: &Weights) -> Result<Decoder, ModelError> {
    let (q, kv) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
    // The norms multiply by 1 + weight; GGUF files have the sum.
    let offset = if weights.is_gguf() { 0.0 } else { 1.0 };
    let root = weights.root();
    let block = |i: usize| -> Result<Block, ModelError> {
        let layer = root.at("model.layers").at(i);
        let (attn, mlp) = (layer.at("self_attn"), layer.at("mlp"));
        let norm = |name: &str| layer.rms_norm(name, c.hidden_size, c.rms_norm_eps, offset);
        Ok(Block {
            attention_norm: norm("input_layernorm")?,
            attention: Attention {
                qkv: attn.linear(
                    &[("q_proj", q), ("k_proj", kv), ("v_proj", kv)],
                    c.hidden_size,
                    c.attention_bias,
                    Layout::OutIn,
                )?,
                out: attn.linear(&[("o_proj", c.hidden_size)], q, c.attention_bias, Layout::OutIn)?,
                heads: c.num_attention_heads,
                kv_heads: c.num_key_value_heads,
                head_dim: c.head_dim,
                scale: c.query_pre_attn_scalar.powf(-0.5),
                softcap: c.attn_logit_softcapping,
                window: c.slides(i).then_some(c.sliding_window),
                rope: Some(usize::from(c.slides(i))),
                qk_norm: Some((
                    attn.rms_norm("q_norm", c.head_dim, c.rms_norm_eps, offset)?,
                    attn.rms_norm("k_norm", c.head_dim, c.rms_norm_eps, offset)?,
                )),
            },
            attention_post_norm: Some(norm("post_attention_layernorm")?),
            mlp_norm: norm("pre_feedforward_layernorm")?,
            mlp: Mlp::Gated {
                gate_up: mlp.linear(
                    &[("gate_proj", c.intermediate_size), ("up_proj", c.intermediate_size)],
                    c.hidden_size,
                    false,
                    Layout::OutIn,
                )?,
                down: mlp.linear(&[("down_proj", c.hidden_size)], c.intermediate_size, false, Layout::OutIn)?,
                activation: c.hidden_activation,
            },
            mlp_post_norm: Some(norm("post_feedforward_layernorm")?),
            residual: Residual::Sequential,
        })
    };
    let blocks = (0..c.num_hidden_layers).into_par_iter().map(block).collect::<Result<_, _>>()?;
    Ok(Decoder {
        embedding: Embedding::new(root.matrix("model.embed_tokens", c.vocab_size, c.hidden_size)?),
        embedding_scale: Some((c.hidden_size as f64).sqrt()),
        positions: None,
        ropes: c.ropes()?,
        blocks,
        final_norm: root.rms_norm("model.norm", c.hidden_size, c.rms_norm_eps, offset)?,
        head: if c.tie_word_embeddings {
            None
        } else {
            Some(root.linear(&[("lm_head", c.vocab_size)], c.hidden_size, false, Layout::OutIn)?)
        },
        logit_softcap: c.final_logit_softcapping,
        device: weights.device().clone(),
        facts: Facts {
            architecture: "gemma3".to_owned(),
            vocab_size: c.vocab_size,
            context_length: c.max_position_embeddings,
            parameters: weights.finish(&["rotary_emb.inv_freq", "lm_head.weight"])?,
        },
    })
}
