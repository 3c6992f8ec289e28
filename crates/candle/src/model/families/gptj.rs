//! GPT-J (Wang and Komatsuzaki 2021): parallel halves under one norm, rotation of neighbours in the
//! first components of each head, an output matrix with a bias.

use super::gpt2;
use super::phi::rotated;
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::decoder::Residual;
use crate::model::layers::mlp::Activation;
use crate::model::layers::rope::Pairing;
use crate::model::spec::{
    AttentionSpec, FeedForwardSpec, HIDDEN, LAYERS, LayerSpec, ModelSpec, NormKind, NormSpec,
    NormsSpec, heads,
};
use crate::model::weights::names::Names;
use crate::model::weights::scope::Layout;

const MODULES: &[(&str, &str)] = &[
    ("blk.{}.attn_q", "h.{}.attn.q_proj"),
    ("blk.{}.attn_k", "h.{}.attn.k_proj"),
    ("blk.{}.attn_v", "h.{}.attn.v_proj"),
    ("blk.{}.attn_output", "h.{}.attn.out_proj"),
    ("blk.{}.ffn_up", "h.{}.mlp.fc_in"),
    ("blk.{}.ffn_down", "h.{}.mlp.fc_out"),
];

pub(super) fn names(_: &Config) -> Names {
    Names {
        modules: &[gpt2::MODULES, MODULES],
        ..gpt2::NAMES
    }
}

pub(super) fn spec(c: &Config) -> Result<ModelSpec, ModelError> {
    let (heads, head_dim) = heads(c)?;
    let dims = c.or("rotary_dim", 64.min(head_dim as u64))?;
    let dims = rotated(
        &c.with_defaults(&[("rope_dimension_count", dims)]),
        head_dim,
        1.0,
    )?;
    let feed = FeedForwardSpec::Plain {
        inner: c.count_or("n_inner", 4 * c.count(HIDDEN)?)?,
        bias: true,
        activation: c.or("activation_function", Activation::GeluTanh)?,
        layout: Layout::OUT_IN,
    };
    let layer = LayerSpec {
        norms: NormsSpec::SHARED,
        residual: Residual::Parallel,
        ..LayerSpec::new(AttentionSpec::new(heads, heads, head_dim), feed)
    };
    let norm = NormSpec {
        kind: NormKind::Layer { bias: true },
        eps: c.or("layer_norm_epsilon", 1e-5)?,
    };
    let mut spec = ModelSpec::new(c, norm, vec![layer; c.few(LAYERS)?], false)?;
    spec.ropes = vec![c.rope(dims, 10_000.0, Pairing::Neighbours)?];
    spec.head_bias = true;
    spec.ignorable = gpt2::BUFFERS;
    Ok(spec)
}
