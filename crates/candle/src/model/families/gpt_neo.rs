//! GPT-Neo (Black et al. 2021): GPT-2 with separate projections, unscaled scores, and a local
//! window in the layers that `attention_types` lists.

use super::gpt2;
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::layers::mlp::Activation;
use crate::model::spec::{
    AttentionSpec, FeedForwardSpec, HIDDEN, LAYERS, LayerSpec, ModelSpec, NormKind, NormSpec, heads,
};
use crate::model::weights::names::Names;
use crate::model::weights::scope::Layout;

const MODULES: &[(&str, &str)] = &[
    ("blk.{}.attn_q", "h.{}.attn.attention.q_proj"),
    ("blk.{}.attn_k", "h.{}.attn.attention.k_proj"),
    ("blk.{}.attn_v", "h.{}.attn.attention.v_proj"),
    ("blk.{}.attn_output", "h.{}.attn.attention.out_proj"),
];

pub(super) fn names(_: &Config) -> Names {
    Names {
        modules: &[gpt2::MODULES, MODULES],
        ..gpt2::NAMES
    }
}

pub(super) fn spec(c: &Config) -> Result<ModelSpec, ModelError> {
    let ((heads, head_dim), window) = (heads(c)?, c.count_or("window_size", 256)?);
    let attention = AttentionSpec {
        out_bias: true,
        scale: 1.0,
        rope: None,
        ..AttentionSpec::new(heads, heads, head_dim)
    };
    let feed = FeedForwardSpec::Plain {
        inner: c.count_or("intermediate_size", 4 * c.count(HIDDEN)?)?,
        bias: true,
        activation: c.or("activation_function", Activation::GeluTanh)?,
        layout: Layout::OUT_IN,
    };
    let norm = NormSpec {
        kind: NormKind::Layer { bias: true },
        eps: c.or("layer_norm_epsilon", 1e-5)?,
    };
    let mut spec = ModelSpec::new(
        c,
        norm,
        vec![LayerSpec::new(attention, feed); c.few(LAYERS)?],
        true,
    )?;
    spec.embedding.positions = Some((spec.context_length, 0));
    spec.ignorable = &[".attention.bias", ".attention.masked_bias"];
    let kinds = kinds(c)?;
    spec.each(|i, layer| {
        layer.attention.window = match kinds.get(i).map(String::as_str) {
            Some("local") => Some(window),
            Some("global") => None,
            other => {
                return Err(c.error(format!(
                    "layer {i} has attention of type {other:?}; GPT-Neo has global and local"
                )));
            }
        };
        Ok(())
    })
}

/// `global` or `local` for each layer. `attention_types` is a list of (kinds, repetitions).
fn kinds(c: &Config) -> Result<Vec<String>, ModelError> {
    if let Some(list) = c.get("attention_layers")? {
        return Ok(list);
    }
    let types: Vec<(Vec<String>, usize)> = c.or(
        "attention_types",
        vec![(vec!["global".to_owned(), "local".to_owned()], 12)],
    )?;
    let layers = c.few(LAYERS)?;
    let each = |(kinds, times): &(Vec<String>, usize)| {
        kinds
            .iter()
            .cycle()
            .take(kinds.len().saturating_mul(*times).min(layers))
            .cloned()
            .collect::<Vec<_>>()
    };
    Ok(types.iter().flat_map(each).take(layers).collect())
}
