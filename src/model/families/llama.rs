//! Llama 1 to 3.1 and what is the same by another name: SmolLM 1 and 2, Mistral (a sliding window),
//! Qwen 2 and 2.5 (biases on queries, keys and values) (arXiv 2302.13971, 2310.06825, 2407.10671).

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
    ("model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"),
    ("model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"),
    ("model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"),
    ("model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("rope_freqs", "rope_freqs"),
];

/// Fields of config.json, by its names.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    #[serde(default)]
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    original_max_position_embeddings: Option<usize>,
    rms_norm_eps: f64,
    rope_theta: Option<f32>,
    #[serde(alias = "rope_parameters")]
    rope_scaling: Option<RawScaling>,
    hidden_act: Activation,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    sliding_window: Option<usize>,
    #[serde(default)]
    use_sliding_window: bool,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    #[serde(skip, default = "halves")]
    pairing: Pairing,
}

fn halves() -> Pairing {
    Pairing::Halves
}

impl Config {
    /// Reads a config.json of `model_type` `kind`.
    ///
    /// # Errors
    /// When a field is missing or wrong.
    pub fn from_json(json: &[u8], file: &str, kind: &str) -> Result<Self, ModelError> {
        Ok(Self { model_type: kind.to_owned(), ..parse(json, file)? })
    }

    /// Reads GGUF metadata.
    ///
    /// # Errors
    /// When a field is missing.
    pub fn from_gguf(meta: &Metadata<'_>) -> Result<Self, ModelError> {
        let heads = meta.need("attention.head_count")?;
        let scaling = match meta.gguf.text(&format!("{}.rope.scaling.type", meta.architecture)) {
            None | Some("none") => None,
            Some(kind) => {
                let json = serde_json::json!({
                    "rope_type": kind,
                    "factor": meta.float("rope.scaling.factor"),
                    "attention_factor": meta.float("rope.scaling.attn_factor"),
                    "original_max_position_embeddings": meta.int("rope.scaling.original_context_length"),
                });
                Some(parse(json.to_string().as_bytes(), &meta.gguf.path().display().to_string())?)
            }
        };
        Ok(Self {
            model_type: meta.architecture.to_owned(),
            vocab_size: meta.vocabulary()?,
            hidden_size: meta.need("embedding_length")?,
            intermediate_size: meta.need("feed_forward_length")?,
            num_hidden_layers: meta.need("block_count")?,
            num_attention_heads: heads,
            num_key_value_heads: meta.int("attention.head_count_kv"),
            head_dim: meta.int("attention.key_length"),
            max_position_embeddings: meta.need("context_length")?,
            original_max_position_embeddings: None,
            rms_norm_eps: meta.float("attention.layer_norm_rms_epsilon").unwrap_or(1e-5),
            rope_theta: meta.float("rope.freq_base").map(|x| x as f32),
            rope_scaling: scaling,
            hidden_act: Activation::Silu,
            tie_word_embeddings: !meta.gguf.tensors.contains_key("output.weight"),
            attention_bias: meta.gguf.tensors.contains_key("blk.0.attn_output.bias"),
            mlp_bias: meta.gguf.tensors.contains_key("blk.0.ffn_down.bias"),
            sliding_window: meta.int("attention.sliding_window"),
            use_sliding_window: false,
            max_window_layers: None,
            layer_types: None,
            // llama.cpp's converter reorders Llama's queries and keys, but not Qwen's.
            pairing: if meta.architecture == "llama" { Pairing::Neighbours } else { Pairing::Halves },
        })
    }

    fn window(&self, layer: usize) -> Option<usize> {
        let slides = match (&self.layer_types, self.model_type.as_str()) {
            (Some(types), _) => types.get(layer).is_some_and(|t| t == "sliding_attention"),
            (None, "qwen2") => self.use_sliding_window && layer >= self.max_window_layers.unwrap_or(0),
            (None, kind) => kind == "mistral" || (kind == "llama" && self.sliding_window.is_some()),
        };
        if slides { self.sliding_window } else { None }
    }

    fn rope(&self, weights: &Weights, head_dim: usize) -> Result<Rope, ModelError> {
        let bad = |what| ModelError::Config { file: "config.json".to_owned(), what };
        let raw = self.rope_scaling.as_ref();
        let root = weights.root();
        let scaling = if root.has("rope_freqs.weight") {
            let by = root.vector("rope_freqs.weight", head_dim / 2)?.to_vec1::<f32>()?;
            Scaling::Divided { by }
        } else {
            raw.map_or(Ok(Scaling::None), |raw| {
                raw.check(self.max_position_embeddings, self.original_max_position_embeddings, head_dim)
            })
            .map_err(bad)?
        };
        let base = self.rope_theta.or_else(|| raw.and_then(|raw| raw.rope_theta)).unwrap_or(10_000.0);
        Ok(Rope { base, dims: head_dim, scaling, pairing: self.pairing })
    }
}

/// Joins the layers.
///
/// # Errors
/// When a tensor is missing, of another shape, or has no place.
pub fn load(c: &Config, weights: &Weights) -> Result<Decoder, ModelError> {
    let head_dim = c.head_dim.unwrap_or(c.hidden_size / c.num_attention_heads.max(1));
    let (heads, kv_heads) = (c.num_attention_heads, c.num_key_value_heads.unwrap_or(c.num_attention_heads));
    let (q, kv) = (heads * head_dim, kv_heads * head_dim);
    let qkv_bias = c.attention_bias || c.model_type == "qwen2";
    let root = weights.root();
    let block = |i: usize| -> Result<Block, ModelError> {
        let layer = root.at("model.layers").at(i);
        let (attn, mlp) = (layer.at("self_attn"), layer.at("mlp"));
        Ok(Block {
            attention_norm: layer.rms_norm("input_layernorm", c.hidden_size, c.rms_norm_eps, 0.0)?,
            attention: Attention {
                qkv: attn.linear(
                    &[("q_proj", q), ("k_proj", kv), ("v_proj", kv)],
                    c.hidden_size,
                    qkv_bias,
                    Layout::OutIn,
                )?,
                out: attn.linear(&[("o_proj", c.hidden_size)], q, c.attention_bias, Layout::OutIn)?,
                heads,
                kv_heads,
                head_dim,
                scale: (head_dim as f64).powf(-0.5),
                softcap: None,
                window: c.window(i),
                rope: Some(0),
                qk_norm: None,
            },
            attention_post_norm: None,
            mlp_norm: layer.rms_norm("post_attention_layernorm", c.hidden_size, c.rms_norm_eps, 0.0)?,
            mlp: Mlp::Gated {
                gate_up: mlp.linear(
                    &[("gate_proj", c.intermediate_size), ("up_proj", c.intermediate_size)],
                    c.hidden_size,
                    c.mlp_bias,
                    Layout::OutIn,
                )?,
                down: mlp.linear(&[("down_proj", c.hidden_size)], c.intermediate_size, c.mlp_bias, Layout::OutIn)?,
                activation: c.hidden_act,
            },
            mlp_post_norm: None,
            residual: Residual::Sequential,
        })
    };
    let blocks = (0..c.num_hidden_layers).into_par_iter().map(block).collect::<Result<_, _>>()?;
    let rope = c.rope(weights, head_dim)?;
    // Dynamic scaling grows with the sequence: it knows no end.
    let context_length = match rope.scaling {
        Scaling::Dynamic { .. } => u32::MAX as usize,
        _ => c.max_position_embeddings,
    };
    Ok(Decoder {
        embedding: Embedding::new(root.matrix("model.embed_tokens", c.vocab_size, c.hidden_size)?),
        embedding_scale: None,
        positions: None,
        ropes: vec![rope],
        blocks,
        final_norm: root.rms_norm("model.norm", c.hidden_size, c.rms_norm_eps, 0.0)?,
        head: if c.tie_word_embeddings {
            None
        } else {
            Some(root.linear(&[("lm_head", c.vocab_size)], c.hidden_size, false, Layout::OutIn)?)
        },
        logit_softcap: None,
        device: weights.device().clone(),
        facts: Facts {
            architecture: c.model_type.clone(),
            vocab_size: c.vocab_size,
            context_length,
            parameters: weights.finish(&["rotary_emb.inv_freq", "lm_head.weight"])?,
        },
    })
}
