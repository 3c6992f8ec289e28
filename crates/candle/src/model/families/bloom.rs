//! BLOOM (arXiv 2211.05100): linear biases in place of positions, a norm of token vectors.

use crate::model::ModelError;
use crate::model::blueprint::{
    AttentionPlan, Blueprint, FeedPlan, HIDDEN, LAYERS, LayerPlan, NormKind, NormPlan, heads,
};
use crate::model::config::Config;
use crate::model::layers::alibi::Alibi;
use crate::model::layers::mlp::Activation;
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

pub(super) fn plan(c: &Config) -> Result<Blueprint, ModelError> {
    let (heads, head_dim) = heads(c)?;
    if c.or("apply_residual_connection_post_layernorm", false)? {
        return Err(c.error(
            "\"apply_residual_connection_post_layernorm\": true, which no published BLOOM has, is not supported",
        ));
    }
    let attention = AttentionPlan {
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
        ..AttentionPlan::new(heads, heads, head_dim)
    };
    let feed = FeedPlan::Plain {
        inner: 4 * c.count(HIDDEN)?,
        bias: true,
        activation: Activation::GeluTanh,
        layout: Layout::OUT_IN,
    };
    let norm = NormPlan {
        kind: NormKind::Layer { bias: true },
        eps: c.or("layer_norm_epsilon|layer_norm_eps", 1e-5)?,
    };
    let mut plan = Blueprint::new(
        c,
        norm,
        vec![LayerPlan::new(attention, feed); c.few(LAYERS)?],
        true,
    )?;
    plan.embedding.norm = true;
    plan.alibi = Some(Alibi {
        slopes: Alibi::slopes(heads, 8.0),
        rounded: None,
    });
    Ok(plan)
}
