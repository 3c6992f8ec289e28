//! Llama 1 to 3.x, models with the same architecture under other names (SmolLM 1 and 2, TinyLlama,
//! Yi, Vicuna), and models that differ slightly: Mistral and Ministral (sliding windows; Ministral
//! 3: YaRN), Mixtral (experts), SmolLM 3 (layers without rotation), InternLM 2 (other names),
//! Granite (multipliers) (arXiv 2302.13971, 2407.21783, 2310.06825, 2401.04088, 2403.17297).

use super::phi::rotated;
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::layers::experts::RouterWeights;
use crate::model::layers::mlp::{Activation, Gating};
use crate::model::layers::rope::{Pairing, Scaling};
use crate::model::spec::{
    AttentionSpec, ExpertsSpec, FeedForwardSpec, LAYERS, LayerSpec, ModelSpec, NormKind, NormSpec,
    heads,
};
use crate::model::weights::names::Names;
use crate::model::weights::scope::{Layout, Rows};

/// The names of most families since Llama.
pub(super) const MODULES: &[(&str, &str)] = &[
    ("token_embd", "embed_tokens"),
    ("blk.{}.attn_norm", "layers.{}.input_layernorm"),
    ("blk.{}.attn_q", "layers.{}.self_attn.q_proj"),
    ("blk.{}.attn_k", "layers.{}.self_attn.k_proj"),
    ("blk.{}.attn_v", "layers.{}.self_attn.v_proj"),
    ("blk.{}.attn_q_norm", "layers.{}.self_attn.q_norm"),
    ("blk.{}.attn_k_norm", "layers.{}.self_attn.k_norm"),
    ("blk.{}.attn_output", "layers.{}.self_attn.o_proj"),
    ("blk.{}.ffn_norm", "layers.{}.post_attention_layernorm"),
    ("blk.{}.ffn_gate", "layers.{}.mlp.gate_proj"),
    ("blk.{}.ffn_up", "layers.{}.mlp.up_proj"),
    ("blk.{}.ffn_down", "layers.{}.mlp.down_proj"),
    ("output_norm", "norm"),
    ("output", "/lm_head"),
];

pub(super) const NAMES: Names = Names {
    bodies: &["model.", ""],
    modules: &[MODULES],
    gguf: &[],
};

const MIXTRAL: &[(&str, &str)] = &[
    ("blk.{}.ffn_gate_inp", "layers.{}.block_sparse_moe.gate"),
    (
        "blk.{}.ffn_gate.{}",
        "layers.{}.block_sparse_moe.experts.{}.w1",
    ),
    (
        "blk.{}.ffn_up.{}",
        "layers.{}.block_sparse_moe.experts.{}.w3",
    ),
    (
        "blk.{}.ffn_down.{}",
        "layers.{}.block_sparse_moe.experts.{}.w2",
    ),
];

const INTERNLM2: &[(&str, &str)] = &[
    ("token_embd", "tok_embeddings"),
    ("blk.{}.attn_norm", "layers.{}.attention_norm"),
    ("blk.{}.attn_qkv", "layers.{}.attention.wqkv"),
    ("blk.{}.attn_output", "layers.{}.attention.wo"),
    ("blk.{}.ffn_norm", "layers.{}.ffn_norm"),
    ("blk.{}.ffn_gate", "layers.{}.feed_forward.w1"),
    ("blk.{}.ffn_up", "layers.{}.feed_forward.w3"),
    ("blk.{}.ffn_down", "layers.{}.feed_forward.w2"),
    ("output", "/output"),
];

pub(super) fn names(_: &Config) -> Names {
    NAMES
}

pub(super) fn mixtral_names(_: &Config) -> Names {
    Names {
        modules: &[MODULES, MIXTRAL],
        ..NAMES
    }
}

pub(super) fn internlm2_names(_: &Config) -> Names {
    Names {
        modules: &[MODULES, INTERNLM2],
        ..NAMES
    }
}

/// The layout in which llama.cpp's converter writes the queries and keys of families that it treats
/// as Llama: reordered for the rotation of neighbours.
fn reordered_by_gguf(c: &Config) -> Pairing {
    if c.gguf {
        Pairing::Neighbours
    } else {
        Pairing::Halves
    }
}

/// The common part of Llama and similar models: root-mean-square norms before each half, gated
/// feed-forward, rotation of whole heads.
pub(super) fn base(c: &Config, pairing: Pairing, theta: f32) -> Result<ModelSpec, ModelError> {
    let (heads, head_dim) = heads(c)?;
    let bias = c.or("attention_bias|bias", false)?;
    let attention = AttentionSpec {
        qkv_bias: bias,
        out_bias: bias,
        ..AttentionSpec::new(heads, c.count_or("num_key_value_heads", heads)?, head_dim)
    };
    let feed = FeedForwardSpec::Gated {
        inner: c.count("intermediate_size")?,
        bias: c.or("mlp_bias", false)?,
        gating: Gating::Product(c.or("hidden_act", Activation::Silu)?),
    };
    let norm = NormSpec {
        kind: NormKind::Rms { offset: 0.0 },
        eps: c.or("rms_norm_eps", 1e-6)?,
    };
    let layers = vec![LayerSpec::new(attention, feed); c.few(LAYERS)?];
    let mut spec = ModelSpec::new(c, norm, layers, false)?;
    let rope = c.rope(rotated(c, head_dim, 1.0)?, theta, pairing)?;
    // Dynamic scaling grows with the sequence, so there is no maximum length.
    if let Scaling::Dynamic { .. } = rope.scaling {
        spec.context_length = u32::MAX as usize;
    }
    spec.ropes = vec![rope];
    Ok(spec)
}

/// A sliding window in the layers that `layer_types` lists, or, without that field, where `slides`
/// is true.
pub(super) fn windowed(
    c: &Config,
    spec: ModelSpec,
    window: Option<usize>,
    slides: impl Fn(usize) -> bool,
) -> Result<ModelSpec, ModelError> {
    let types: Option<Vec<String>> = c.get("layer_types")?;
    spec.each(|i, layer| {
        let slides =
            match &types {
                Some(types) => match types.get(i).map(String::as_str) {
                    Some("sliding_attention") => true,
                    Some("full_attention") => false,
                    other => return Err(c.error(format!(
                        "\"layer_types\" has {other:?} for layer {i}; byrote knows full_attention and sliding_attention"
                    ))),
                },
                None => slides(i),
            };
        layer.attention.window = window.filter(|_| slides);
        Ok(())
    })
}

pub(super) fn llama(c: &Config) -> Result<ModelSpec, ModelError> {
    let spec = base(c, reordered_by_gguf(c), 10_000.0)?;
    // llama.cpp writes Mistral and Mixtral as Llama.
    let spec = if c.gguf {
        windowed(c, spec, c.get("sliding_window")?, |_| true)?
    } else {
        spec
    };
    if c.gguf && c.or("num_experts", 0)? > 0 {
        with_experts(c, spec)
    } else {
        Ok(spec)
    }
}

pub(super) fn mistral(c: &Config) -> Result<ModelSpec, ModelError> {
    windowed(
        c,
        base(c, reordered_by_gguf(c), 10_000.0)?,
        c.get("sliding_window")?,
        |_| true,
    )
}

pub(super) fn ministral(c: &Config) -> Result<ModelSpec, ModelError> {
    let window = c.get("sliding_window")?;
    windowed(c, base(c, Pairing::Halves, 10_000.0)?, window, |_| true)
}

/// Ministral 3 scales scores by position beyond its original context. Up to there it equals
/// Mistral, and byrote accepts no longer sequences.
pub(super) fn ministral3(c: &Config) -> Result<ModelSpec, ModelError> {
    let mut spec = mistral(c)?;
    let scaling: Option<serde_json::Value> = c.get("rope_parameters|rope_scaling")?;
    let field = |name: &str| {
        scaling
            .as_ref()
            .and_then(|scaling| scaling.get(name)?.as_f64())
    };
    let original = field("original_max_position_embeddings").map(|original| original as usize);
    if let (Some(original), true) = (
        original,
        field("llama_4_scaling_beta").is_some_and(|beta| beta != 0.0),
    ) {
        spec.context_length = spec.context_length.min(original);
    }
    Ok(spec)
}

pub(super) fn mixtral(c: &Config) -> Result<ModelSpec, ModelError> {
    let spec = base(c, Pairing::Halves, 1_000_000.0)?;
    with_experts(c, windowed(c, spec, c.get("sliding_window")?, |_| true)?)
}

fn with_experts(c: &Config, mut spec: ModelSpec) -> Result<ModelSpec, ModelError> {
    if !c.gguf {
        spec.norm.eps = c.or("rms_norm_eps", 1e-5)?;
    }
    let experts = ExpertsSpec {
        count: c.count_or("num_local_experts|num_experts", 8)?,
        chosen: c.count_or("num_experts_per_tok", 2)?,
        inner: c.count("intermediate_size")?,
        router_weights: RouterWeights::Renormalized,
        gating: Gating::Product(c.or("hidden_act", Activation::Silu)?),
        bias: false,
        layouts: (Layout::OUT_IN, Layout::OUT_IN),
        shared: None,
    };
    spec.each(|_, layer| {
        layer.feed = FeedForwardSpec::Experts(experts);
        Ok(())
    })
}

/// SmolLM 3 has no positions in every fourth layer (arXiv 2501.18795).
pub(super) fn smollm3(c: &Config) -> Result<ModelSpec, ModelError> {
    let interval = c.count_or("no_rope_layer_interval", 4)?;
    let listed: Option<Vec<u8>> = c.get("no_rope_layers")?;
    let rotated = |i: usize| match &listed {
        // Despite the field's name, 1 means rotation.
        Some(list) => list.get(i).is_none_or(|flag| *flag != 0),
        None => !(i + 1).is_multiple_of(interval),
    };
    let window = if c.or("use_sliding_window", false)? {
        c.get("sliding_window")?
    } else {
        None
    };
    let mut spec = base(c, reordered_by_gguf(c), 2_000_000.0)?;
    spec.tied = c.or("tie_word_embeddings", true)?;
    windowed(c, spec, window, |i| !rotated(i))?.each(|i, layer| {
        layer.attention.rope = rotated(i).then_some(0);
        Ok(())
    })
}

pub(super) fn internlm2(c: &Config) -> Result<ModelSpec, ModelError> {
    base(c, reordered_by_gguf(c), 10_000.0)?.each(|_, layer| {
        let attention = &mut layer.attention;
        let kv_heads = attention.kv_heads;
        attention.qkv_layout.rows = Rows::ByKey {
            kv_heads,
            per: attention.heads / kv_heads,
        };
        Ok(())
    })
}

/// Granite's multipliers of token vectors, scores, residuals and logits (as in muP, arXiv
/// 2203.03466).
pub(super) fn granite(c: &Config) -> Result<ModelSpec, ModelError> {
    let mut spec = base(c, reordered_by_gguf(c), 10_000.0)?;
    spec.embedding.scale = c.get("embedding_multiplier")?;
    // llama.cpp calls the divisor of logits their scale.
    let divisor: Option<f64> = c.get("logits_scaling|logit_scale")?;
    spec.logit_scale = divisor.map(|divisor| 1.0 / divisor);
    let (scale, residual) = (
        c.or("attention_multiplier", 1.0)?,
        c.get("residual_multiplier")?,
    );
    spec.each(|_, layer| {
        layer.attention.scale = scale;
        layer.residual_scale = residual;
        Ok(())
    })
}
