//! MPT (MosaicML 2023): linear biases instead of positions, no other biases.

use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::layers::alibi::Alibi;
use crate::model::layers::mlp::Activation;
use crate::model::spec::{
    AttentionSpec, FeedForwardSpec, HIDDEN, LAYERS, LayerSpec, ModelSpec, NormKind, NormSpec, heads,
};
use crate::model::weights::names::Names;
use crate::model::weights::scope::Layout;
use serde::Deserialize;

const MODULES: &[(&str, &str)] = &[
    ("token_embd", "wte"),
    ("blk.{}.attn_norm", "blocks.{}.norm_1"),
    ("blk.{}.attn_qkv", "blocks.{}.attn.Wqkv"),
    ("blk.{}.attn_output", "blocks.{}.attn.out_proj"),
    ("blk.{}.ffn_norm", "blocks.{}.norm_2"),
    ("blk.{}.ffn_up", "blocks.{}.ffn.up_proj"),
    ("blk.{}.ffn_down", "blocks.{}.ffn.down_proj"),
    ("output_norm", "norm_f"),
    ("output", "/lm_head"),
];

/// The fields of `attn_config` that change the computation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AttnConfig {
    alibi: Option<bool>,
    alibi_bias_max: Option<f64>,
    clip_qkv: Option<f64>,
    softmax_scale: Option<f64>,
    qk_ln: bool,
    prefix_lm: bool,
}

pub(super) fn names(_: &Config) -> Names {
    Names {
        bodies: &["transformer.", ""],
        modules: &[MODULES],
        gguf: &[],
    }
}

pub(super) fn spec(c: &Config) -> Result<ModelSpec, ModelError> {
    let ((heads, head_dim), own) = (heads(c)?, c.or("attn_config", AttnConfig::default())?);
    let unsupported = [
        (
            own.alibi == Some(false) || c.or("alibi_bias_max", 8.0)? == 0.0,
            "\"alibi\": false",
        ),
        (own.qk_ln, "\"qk_ln\": true"),
        (own.prefix_lm, "\"prefix_lm\": true"),
        (!c.or("no_bias", true)?, "\"no_bias\": false"),
    ];
    if let Some((_, what)) = unsupported.iter().find(|(there, _)| *there) {
        return Err(c.error(format!(
            "{what} is not supported for mpt (transformers doesn't compute it either)"
        )));
    }
    let clip: Option<f64> = c.get("clip_qkv")?;
    let attention = AttentionSpec {
        scale: own
            .softmax_scale
            .unwrap_or_else(|| (head_dim as f64).powf(-0.5)),
        clip: own.clip_qkv.or(clip),
        rope: None,
        alibi: true,
        ..AttentionSpec::new(heads, heads, head_dim)
    };
    let feed = FeedForwardSpec::Plain {
        inner: c.count_or("expansion_ratio", 4)? * c.count(HIDDEN)?,
        bias: false,
        activation: Activation::Gelu,
        layout: Layout::OUT_IN,
    };
    let norm = NormSpec {
        kind: NormKind::Layer { bias: false },
        eps: c.or("layer_norm_epsilon|layer_norm_eps", 1e-5)?,
    };
    let mut spec = ModelSpec::new(
        c,
        norm,
        vec![LayerSpec::new(attention, feed); c.few(LAYERS)?],
        true,
    )?;
    let max = own
        .alibi_bias_max
        .map_or_else(|| c.or("alibi_bias_max", 8.0), Ok)?;
    spec.alibi = Some(Alibi {
        slopes: Alibi::slopes_of_mpt(heads, max),
        rounded: None,
    });
    Ok(spec)
}
