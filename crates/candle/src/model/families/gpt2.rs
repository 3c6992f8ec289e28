//! GPT-2 (Radford et al. 2019): learned positions, layer norms, fused and transposed projections.
//! StarCoder (`gpt_bigcode`, arXiv 2305.06161) differs in two points: one key head for all query
//! heads, and no transposition.

use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::layers::mlp::Activation;
use crate::model::spec::{
    AttentionSpec, FeedForwardSpec, HIDDEN, LAYERS, LayerSpec, ModelSpec, NormKind, NormSpec, heads,
};
use crate::model::weights::names::Names;
use crate::model::weights::scope::{Layout, Rows};

/// Names that GPT-2's successors share with it.
pub(super) const MODULES: &[(&str, &str)] = &[
    ("token_embd", "wte"),
    ("position_embd", "wpe"),
    ("blk.{}.attn_norm", "h.{}.ln_1"),
    ("blk.{}.attn_qkv", "h.{}.attn.c_attn"),
    ("blk.{}.attn_output", "h.{}.attn.c_proj"),
    ("blk.{}.ffn_norm", "h.{}.ln_2"),
    ("blk.{}.ffn_up", "h.{}.mlp.c_fc"),
    ("blk.{}.ffn_down", "h.{}.mlp.c_proj"),
    ("output_norm", "ln_f"),
    ("output", "/lm_head"),
];

pub(super) const NAMES: Names = Names {
    bodies: &["transformer.", ""],
    modules: &[MODULES],
    gguf: &[],
};

/// Causal masks in old checkpoints.
pub(super) const BUFFERS: &[&str] = &[".attn.bias", ".attn.masked_bias"];

pub(super) fn names(_: &Config) -> Names {
    NAMES
}

pub(super) fn gpt2(c: &Config) -> Result<ModelSpec, ModelError> {
    let by_layer = c.or("scale_attn_by_inverse_layer_idx", false)?;
    learned(c, Layout::IN_OUT)?.each(|i, layer| {
        if by_layer {
            layer.attention.scale /= (i + 1) as f64;
        }
        Ok(())
    })
}

pub(super) fn bigcode(c: &Config) -> Result<ModelSpec, ModelError> {
    let one_key = c.or("multi_query", true)?;
    learned(c, Layout::OUT_IN)?.each(|_, layer| {
        let attention = &mut layer.attention;
        if one_key {
            attention.kv_heads = 1;
        } else {
            attention.qkv_layout.rows = Rows::ByKey {
                kv_heads: attention.heads,
                per: 1,
            };
        }
        Ok(())
    })
}

fn learned(c: &Config, layout: Layout) -> Result<ModelSpec, ModelError> {
    let (heads, head_dim) = heads(c)?;
    let scaled = c.or("scale_attn_weights", true)?;
    let attention = AttentionSpec {
        qkv_bias: true,
        out_bias: true,
        qkv_layout: layout,
        out_layout: layout,
        scale: if scaled {
            (head_dim as f64).powf(-0.5)
        } else {
            1.0
        },
        rope: None,
        ..AttentionSpec::new(heads, heads, head_dim)
    };
    let feed = FeedForwardSpec::Plain {
        inner: c.count_or("n_inner|intermediate_size", 4 * c.count(HIDDEN)?)?,
        bias: true,
        activation: c.or("activation_function", Activation::GeluTanh)?,
        layout,
    };
    let norm = NormSpec {
        kind: NormKind::Layer { bias: true },
        eps: c.or("layer_norm_epsilon|layer_norm_eps", 1e-5)?,
    };
    let mut spec = ModelSpec::new(
        c,
        norm,
        vec![LayerSpec::new(attention, feed); c.few(LAYERS)?],
        true,
    )?;
    spec.embedding.positions = Some((spec.context_length, 0));
    spec.ignorable = BUFFERS;
    Ok(spec)
}
