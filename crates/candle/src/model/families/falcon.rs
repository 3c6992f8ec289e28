//! Falcon, both generations (arXiv 2311.16867). The first has one key head for all query heads (7B)
//! or linear biases (RW); the second (40B, 180B, 11B) has groups of heads and one norm for each
//! half. The halves are parallel.

use super::bloom;
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::decoder::Residual;
use crate::model::layers::alibi::Alibi;
use crate::model::layers::mlp::Activation;
use crate::model::layers::rope::Pairing;
use crate::model::spec::{
    AttentionSpec, FeedForwardSpec, HIDDEN, LAYERS, LayerSpec, ModelSpec, NormKind, NormSpec,
    NormsSpec, heads,
};
use crate::model::weights::names::Names;
use crate::model::weights::scope::{Layout, Rows};

const TWO_NORMS: &[(&str, &str)] = &[
    ("blk.{}.attn_norm", "h.{}.ln_attn"),
    ("blk.{}.ffn_norm", "h.{}.ln_mlp"),
];
const TWO_NORMS_GGUF: &[(&str, &str)] = &[
    ("blk.{}.attn_norm", "blk.{}.attn_norm_2"),
    ("blk.{}.ffn_norm", "blk.{}.attn_norm"),
];

/// The fields that distinguish the generations.
struct Kind {
    second: bool,
    parallel: bool,
    two_norms: bool,
}

fn kind(c: &Config) -> Result<Kind, ModelError> {
    // llama.cpp only supports models with parallel halves. Those of the second generation have a
    // second norm.
    let second = c.or(
        "new_decoder_architecture",
        c.gguf && c.or("attn_norm_2", false)?,
    )?;
    let norms: Option<usize> = c.get("num_ln_in_parallel_attn")?;
    let parallel = c.or("parallel_attn", true)?;
    Ok(Kind {
        second,
        parallel,
        two_norms: parallel && second && norms.unwrap_or(2) == 2,
    })
}

pub(super) fn names(c: &Config) -> Names {
    let names = Names {
        bodies: &["transformer.", ""],
        modules: &[bloom::MODULES],
        gguf: &[],
    };
    // An invalid configuration is reported when the spec is built.
    match kind(c) {
        Ok(Kind {
            two_norms: true, ..
        }) => Names {
            modules: &[bloom::MODULES, TWO_NORMS],
            gguf: TWO_NORMS_GGUF,
            ..names
        },
        _ => names,
    }
}

pub(super) fn spec(c: &Config) -> Result<ModelSpec, ModelError> {
    let ((heads, head_dim), kind) = (heads(c)?, kind(c)?);
    let (bias, alibi) = (c.or("bias", false)?, c.or("alibi", false)?);
    let one_key = c.or("multi_query", true)?;
    let kv_heads = match (kind.second || c.gguf, one_key) {
        (true, _) => c.count_or("num_kv_heads|num_key_value_heads|n_head_kv", heads)?,
        (false, true) => 1,
        (false, false) => heads,
    };
    let rows = if kv_heads == 1 {
        Rows::Parts
    } else {
        Rows::ByKey {
            kv_heads,
            per: heads / kv_heads,
        }
    };
    let attention = AttentionSpec {
        qkv_bias: bias,
        out_bias: bias,
        qkv_layout: Layout {
            rows,
            ..Layout::OUT_IN
        },
        rope: (!alibi).then_some(0),
        alibi,
        ..AttentionSpec::new(heads, kv_heads, head_dim)
    };
    let feed = FeedForwardSpec::Plain {
        inner: c.count_or("ffn_hidden_size|intermediate_size", 4 * c.count(HIDDEN)?)?,
        bias,
        activation: c.or("activation", Activation::Gelu)?,
        layout: Layout::OUT_IN,
    };
    let layer = LayerSpec {
        norms: if kind.two_norms || !kind.parallel {
            NormsSpec::BEFORE
        } else {
            NormsSpec::SHARED
        },
        residual: if kind.parallel {
            Residual::Parallel
        } else {
            Residual::Sequential
        },
        ..LayerSpec::new(attention, feed)
    };
    let norm = NormSpec {
        kind: NormKind::Layer { bias: true },
        eps: c.or("layer_norm_epsilon|layer_norm_eps", 1e-5)?,
    };
    let mut spec = ModelSpec::new(c, norm, vec![layer; c.few(LAYERS)?], true)?;
    if alibi {
        let scale = (head_dim as f64).powf(-0.5);
        spec.alibi = Some(Alibi {
            slopes: Alibi::slopes(heads, 8.0),
            rounded: Some(scale),
        });
    } else {
        spec.ropes = vec![c.rope(head_dim, 10_000.0, Pairing::Halves)?];
    }
    Ok(spec)
}
