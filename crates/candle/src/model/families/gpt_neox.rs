//! GPT-NeoX and Pythia (arXiv 2204.06745, 2304.01373): partly rotated heads, parallel halves, and
//! queries, keys and values interleaved by head.

use super::phi::rotated;
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::decoder::Residual;
use crate::model::layers::mlp::Activation;
use crate::model::layers::rope::Pairing;
use crate::model::spec::{
    AttentionSpec, FeedForwardSpec, LAYERS, LayerSpec, ModelSpec, NormKind, NormSpec, heads,
};
use crate::model::weights::names::Names;
use crate::model::weights::scope::{Layout, Rows};

const MODULES: &[(&str, &str)] = &[
    ("token_embd", "embed_in"),
    ("blk.{}.attn_norm", "layers.{}.input_layernorm"),
    ("blk.{}.attn_qkv", "layers.{}.attention.query_key_value"),
    ("blk.{}.attn_output", "layers.{}.attention.dense"),
    ("blk.{}.ffn_norm", "layers.{}.post_attention_layernorm"),
    ("blk.{}.ffn_up", "layers.{}.mlp.dense_h_to_4h"),
    ("blk.{}.ffn_down", "layers.{}.mlp.dense_4h_to_h"),
    ("output_norm", "final_layer_norm"),
    ("output", "/embed_out"),
];

pub(super) fn names(_: &Config) -> Names {
    Names {
        bodies: &["gpt_neox.", ""],
        modules: &[MODULES],
        gguf: &[],
    }
}

pub(super) fn spec(c: &Config) -> Result<ModelSpec, ModelError> {
    let (heads, head_dim) = heads(c)?;
    let bias = c.or("attention_bias", true)?;
    let attention = AttentionSpec {
        qkv_bias: bias,
        out_bias: bias,
        qkv_layout: Layout {
            rows: Rows::ByKey {
                kv_heads: heads,
                per: 1,
            },
            ..Layout::OUT_IN
        },
        ..AttentionSpec::new(heads, heads, head_dim)
    };
    let feed = FeedForwardSpec::Plain {
        inner: c.count("intermediate_size")?,
        bias: true,
        activation: c.or("hidden_act", Activation::Gelu)?,
        layout: Layout::OUT_IN,
    };
    let parallel = c.or("use_parallel_residual", true)?;
    let residual = if parallel {
        Residual::Parallel
    } else {
        Residual::Sequential
    };
    let layer = LayerSpec {
        residual,
        ..LayerSpec::new(attention, feed)
    };
    let norm = NormSpec {
        kind: NormKind::Layer { bias: true },
        eps: c.or("layer_norm_eps", 1e-5)?,
    };
    let mut spec = ModelSpec::new(c, norm, vec![layer; c.few(LAYERS)?], false)?;
    spec.architecture = "gpt_neox".to_owned();
    spec.ropes = vec![c.rope(rotated(c, head_dim, 0.25)?, 10_000.0, Pairing::Halves)?];
    spec.ignorable = &["attention.bias", "attention.masked_bias"];
    Ok(spec)
}
