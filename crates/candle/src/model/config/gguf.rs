//! Converts GGUF metadata back to the config.json that they were made from.
//!
//! Settings that llama.cpp defines in its code (an activation, a pattern of layers) are missing
//! here; the families' defaults supply them. Settings that follow from the presence of a tensor
//! (tied weights, biases, frequency factors) are included.

use super::Config;
use crate::model::ModelError;
use crate::model::gguf::{Gguf, Value as Meta};
use serde_json::{Map, Value, json};

/// Fields of config.json, and the corresponding metadata keys without the architecture's name.
const FIELDS: &[(&str, &str)] = &[
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("max_position_embeddings", "context_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("layer_norm_eps", "attention.layer_norm_epsilon"),
    ("rope_theta", "rope.freq_base"),
    ("rope_local_base_freq", "rope.freq_base_swa"),
    ("rope_dimension_count", "rope.dimension_count"),
    ("sliding_window", "attention.sliding_window"),
    ("sliding_window_pattern", "attention.sliding_window_pattern"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
    ("clip_qkv", "attention.clamp_kqv"),
    ("alibi_bias_max", "attention.max_alibi_bias"),
    ("use_parallel_residual", "use_parallel_residual"),
    ("logit_scale", "logit_scale"),
    ("embedding_multiplier", "embedding_scale"),
    ("residual_multiplier", "residual_scale"),
    ("attention_multiplier", "attention.scale"),
    ("num_experts", "expert_count"),
    ("num_experts_per_tok", "expert_used_count"),
    ("moe_intermediate_size", "expert_feed_forward_length"),
    (
        "shared_expert_intermediate_size",
        "expert_shared_feed_forward_length",
    ),
    ("norm_topk_prob", "expert_weights_norm"),
];

/// Fields that are true if the file has a tensor.
const BY_TENSOR: &[(&str, &str)] = &[
    ("attn_norm_2", "blk.0.attn_norm_2.weight"),
    ("ffn_norm", "blk.0.ffn_norm.weight"),
    ("use_qk_norm", "blk.0.attn_q_norm.weight"),
];

impl Config {
    /// Reads the configuration from a GGUF's metadata.
    ///
    /// # Errors
    /// If it doesn't name an architecture, or a small tensor that is part of it can't be read.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Self, ModelError> {
        let file = gguf.path().display().to_string();
        let kind = gguf
            .text("general.architecture")
            .ok_or_else(|| ModelError::Config {
                file: file.clone(),
                what: "its metadata has no \"general.architecture\"".to_owned(),
            })?;
        let mut fields = Map::new();
        for (field, key) in FIELDS {
            if let Some(value) = gguf.metadata.get(&format!("{kind}.{key}")).and_then(plain) {
                fields.insert((*field).to_owned(), value);
            }
        }
        if let Some(rows) = gguf
            .tensors
            .get("token_embd.weight")
            .and_then(|t| t.shape.first())
        {
            fields.insert("vocab_size".to_owned(), json!(rows));
        }
        fields.insert(
            "tie_word_embeddings".to_owned(),
            json!(!gguf.tensors.contains_key("output.weight")),
        );
        for (field, tensor) in BY_TENSOR {
            fields.insert(
                (*field).to_owned(),
                json!(gguf.tensors.contains_key(*tensor)),
            );
        }
        // An array of one flag per layer is a pattern of layers; a window of 0 means none.
        if let Some(Meta::Bools(slides)) = gguf
            .metadata
            .get(&format!("{kind}.attention.sliding_window_pattern"))
        {
            let types = slides.iter().map(|slides| {
                if *slides {
                    "sliding_attention"
                } else {
                    "full_attention"
                }
            });
            fields.insert("layer_types".to_owned(), types.collect());
            fields.remove("sliding_window_pattern");
        }
        if fields.get("sliding_window") == Some(&json!(0)) {
            fields.remove("sliding_window");
        }
        if let Some(scaling) = scaling(gguf, kind)? {
            fields.insert("rope_scaling".to_owned(), scaling);
        }
        Ok(Self {
            file,
            kind: kind.to_owned(),
            gguf: true,
            fields,
        })
    }
}

fn plain(value: &Meta) -> Option<Value> {
    match value {
        Meta::Int(n) => Some(json!(n)),
        Meta::Float(x) => Some(json!(x)),
        Meta::Bool(b) => Some(json!(b)),
        Meta::Text(text) => Some(json!(text)),
        // An array of one number per layer; if all are equal, they become that number.
        Meta::Ints(list) if list.windows(2).all(|pair| pair[0] == pair[1]) => {
            list.first().map(|n| json!(n))
        }
        Meta::Ints(list) => Some(json!(list)),
        Meta::Bools(list) => Some(json!(list)),
        Meta::Floats(_) | Meta::Texts(_) => None,
    }
}

/// Rotary scaling, from metadata and from the tensors of frequency factors.
fn scaling(gguf: &Gguf, kind: &str) -> Result<Option<Value>, ModelError> {
    let key = |key: &str| format!("{kind}.rope.scaling.{key}");
    let (float, int) = (
        |name: &str| gguf.float(&key(name)),
        |name: &str| gguf.int(&key(name)),
    );
    let (long, short) = (
        gguf.floats("rope_factors_long.weight")?,
        gguf.floats("rope_factors_short.weight")?,
    );
    if let (Some(long), Some(short)) = (long, short) {
        return Ok(Some(json!({
            "rope_type": "longrope", "long_factor": long, "short_factor": short,
            "attention_factor": float("attn_factor"),
            "original_max_position_embeddings": int("original_context_length"),
        })));
    }
    if let Some(by) = gguf.floats("rope_freqs.weight")? {
        return Ok(Some(json!({"rope_type": "divided", "factors": by})));
    }
    // Older files contain only a factor, which means linear scaling.
    let scaling = match (gguf.text(&key("type")), float("factor")) {
        (Some("none"), _) | (None, None) => return Ok(None),
        (Some(scaling), _) => scaling,
        (None, Some(_)) => "linear",
    };
    Ok(Some(json!({
        "rope_type": scaling,
        "factor": float("factor"),
        "attention_factor": float("yarn_attn_factor").or_else(|| float("attn_factor")),
        // gpt-oss is the only architecture whose ramp may end between whole components.
        "truncate": kind != "gpt-oss",
        "mscale": float("yarn_log_multiplier"),
        "mscale_all_dim": float("yarn_log_multiplier"),
        "llama_4_scaling_beta": gguf.float(&format!("{kind}.attention.temperature_scale")),
        "beta_fast": float("yarn_beta_fast"),
        "beta_slow": float("yarn_beta_slow"),
        "original_max_position_embeddings": int("original_context_length"),
    })))
}
