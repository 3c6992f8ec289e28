//! Phi 1, 1.5 and 2 (parallel halves under one norm, partly rotated heads, biases everywhere), and
//! Phi 3, 3.5 and 4 (Llama with fused projections, LongRoPE) (arXiv 2306.11644, 2309.05463,
//! 2404.14219, 2412.08905).

use super::llama::{self, base, windowed};
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::decoder::Residual;
use crate::model::layers::mlp::Activation;
use crate::model::layers::rope::Pairing;
use crate::model::spec::{
    AttentionSpec, FeedForwardSpec, LAYERS, LayerSpec, ModelSpec, NormKind, NormSpec, NormsSpec,
    QkNormSpec, heads,
};
use crate::model::weights::names::Names;
use crate::model::weights::scope::Layout;

const PHI: &[(&str, &str)] = &[
    ("blk.{}.attn_q_norm", "layers.{}.self_attn.q_layernorm"),
    ("blk.{}.attn_k_norm", "layers.{}.self_attn.k_layernorm"),
    ("blk.{}.attn_output", "layers.{}.self_attn.dense"),
    ("blk.{}.ffn_up", "layers.{}.mlp.fc1"),
    ("blk.{}.ffn_down", "layers.{}.mlp.fc2"),
    ("output_norm", "final_layernorm"),
];

const PHI3: &[(&str, &str)] = &[
    ("blk.{}.attn_qkv", "layers.{}.self_attn.qkv_proj"),
    ("blk.{}.ffn_up", "layers.{}.mlp.gate_up_proj"),
];

pub(super) fn names(_: &Config) -> Names {
    Names {
        modules: &[llama::MODULES, PHI],
        ..llama::NAMES
    }
}

pub(super) fn phi3_names(_: &Config) -> Names {
    Names {
        modules: &[llama::MODULES, PHI3],
        ..llama::NAMES
    }
}

pub(super) fn phi(c: &Config) -> Result<ModelSpec, ModelError> {
    let (heads, head_dim) = heads(c)?;
    let norm = NormSpec {
        kind: NormKind::Layer { bias: true },
        eps: c.or("layer_norm_eps", 1e-5)?,
    };
    let attention = AttentionSpec {
        qkv_bias: true,
        out_bias: true,
        qk_norm: c
            .or("qk_layernorm", false)?
            .then_some((QkNormSpec::Head, norm)),
        ..AttentionSpec::new(heads, c.count_or("num_key_value_heads", heads)?, head_dim)
    };
    let feed = FeedForwardSpec::Plain {
        inner: c.count("intermediate_size")?,
        bias: true,
        activation: c.or("hidden_act", Activation::GeluTanh)?,
        layout: Layout::OUT_IN,
    };
    let layer = LayerSpec {
        norms: NormsSpec::SHARED,
        residual: Residual::Parallel,
        ..LayerSpec::new(attention, feed)
    };
    let mut spec = ModelSpec::new(c, norm, vec![layer; c.few(LAYERS)?], false)?;
    spec.ropes = vec![c.rope(rotated(c, head_dim, 0.5)?, 10_000.0, Pairing::Halves)?];
    spec.head_bias = true;
    Ok(spec)
}

pub(super) fn phi3(c: &Config) -> Result<ModelSpec, ModelError> {
    let mut spec = base(c, Pairing::Halves, 10_000.0)?;
    spec.norm.eps = c.or("rms_norm_eps", 1e-5)?;
    windowed(c, spec, c.get("sliding_window")?, |_| true)
}

/// Number of rotated components per head. GGUF files contain the number, config.json the share.
pub(super) fn rotated(c: &Config, head_dim: usize, share: f32) -> Result<usize, ModelError> {
    let dims = match c.get("rope_dimension_count")? {
        Some(dims) => dims,
        None => (head_dim as f32 * c.rotated_share(share)?) as usize,
    };
    if dims == 0 || dims > head_dim || dims % 2 == 1 {
        return Err(c.error(format!(
            "{dims} rotated components don't fit heads of {head_dim}"
        )));
    }
    Ok(dims)
}
