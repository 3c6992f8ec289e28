//! BLOOM (arXiv 2211.05100): linear biases instead of positions, and a norm of token vectors.

use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::layers::alibi::Alibi;
use crate::model::layers::mlp::Activation;
use crate::model::spec::{
    AttentionSpec, FeedForwardSpec, HIDDEN, LAYERS, LayerSpec, ModelSpec, NormKind, NormSpec, heads,
};
use crate::model::weights::names::Names;
use crate::model::weights::scope::{Layout, Rows};

/// Names that Falcon shares with BLOOM.
pub(super) const MODULES: &[(&str, &str)] = &[
    ("token_embd", "word_embeddings"),
    ("token_embd_norm", "word_embeddings_layernorm"),
    ("blk.{}.attn_norm", "h.{}.input_layernorm"),
    ("blk.{}.attn_qkv", "h.{}.self_attention.query_key_value"),
    ("blk.{}.attn_output", "h.{}.self_attention.dense"),
    ("blk.{}.ffn_norm", "h.{}.post_attention_layernorm"),
    ("blk.{}.ffn_up", "h.{}.mlp.dense_h_to_4h"),
    ("blk.{}.ffn_down", "h.{}.mlp.dense_4h_to_h"),
    ("output_norm", "ln_f"),
    ("output", "/lm_head"),
];

pub(super) fn names(_: &Config) -> Names {
    Names {
        bodies: &["transformer.", ""],
        modules: &[MODULES],
        gguf: &[],
    }
}

pub(super) fn spec(c: &Config) -> Result<ModelSpec, ModelError> {
    let (heads, head_dim) = heads(c)?;
    if c.or("apply_residual_connection_post_layernorm", false)? {
        return Err(c.error(
            "\"apply_residual_connection_post_layernorm\": true, which no published BLOOM has, is not supported",
        ));
    }
    let attention = AttentionSpec {
        qkv_bias: true,
        out_bias: true,
        qkv_layout: Layout {
            rows: Rows::ByKey {
                kv_heads: heads,
                per: 1,
            },
            ..Layout::OUT_IN
        },
        rope: None,
        alibi: true,
        ..AttentionSpec::new(heads, heads, head_dim)
    };
    let feed = FeedForwardSpec::Plain {
        inner: 4 * c.count(HIDDEN)?,
        bias: true,
        activation: Activation::GeluTanh,
        layout: Layout::OUT_IN,
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
    spec.embedding.norm = true;
    spec.alibi = Some(Alibi {
        slopes: Alibi::slopes(heads, 8.0),
        rounded: None,
    });
    Ok(spec)
}
