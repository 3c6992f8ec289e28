//! StarCoder 2 (arXiv 2402.19173): layer norms, biases, a plain feed-forward block, a sliding
//! window.

use super::llama::{self, base, windowed};
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::layers::mlp::Activation;
use crate::model::layers::rope::Pairing;
use crate::model::spec::{FeedForwardSpec, ModelSpec, NormKind, NormSpec};
use crate::model::weights::names::Names;
use crate::model::weights::scope::Layout;

const MODULES: &[(&str, &str)] = &[
    ("blk.{}.ffn_up", "layers.{}.mlp.c_fc"),
    ("blk.{}.ffn_down", "layers.{}.mlp.c_proj"),
];

pub(super) fn names(_: &Config) -> Names {
    Names {
        modules: &[llama::MODULES, MODULES],
        ..llama::NAMES
    }
}

pub(super) fn spec(c: &Config) -> Result<ModelSpec, ModelError> {
    let activation = c.or("hidden_act", Activation::GeluTanh)?;
    let mut spec = base(c, Pairing::Halves, 10_000.0)?;
    spec.norm = NormSpec {
        kind: NormKind::Layer { bias: true },
        eps: c.or("norm_epsilon|layer_norm_eps", 1e-5)?,
    };
    spec.tied = c.or("tie_word_embeddings", true)?;
    let (bias, inner) = (c.or("use_bias", true)?, c.count("intermediate_size")?);
    windowed(c, spec, c.get("sliding_window")?, |_| true)?.each(|_, layer| {
        layer.attention.qkv_bias = bias;
        layer.attention.out_bias = bias;
        layer.feed = FeedForwardSpec::Plain {
            inner,
            bias,
            activation,
            layout: Layout::OUT_IN,
        };
        Ok(())
    })
}
