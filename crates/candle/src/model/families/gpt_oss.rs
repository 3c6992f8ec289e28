//! gpt-oss (arXiv 2508.10925): experts with a clamped gate, attention sinks, windows in every other
//! layer.

use super::llama::{self, base, windowed};
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::layers::experts::RouterWeights;
use crate::model::layers::mlp::Gating;
use crate::model::layers::rope::Pairing;
use crate::model::spec::{ExpertsSpec, FeedForwardSpec, ModelSpec};
use crate::model::weights::names::Names;
use crate::model::weights::scope::{Layout, Rows};

const MODULES: &[(&str, &str)] = &[
    ("blk.{}.attn_sinks.weight", "layers.{}.self_attn.sinks"),
    ("blk.{}.ffn_gate_inp", "layers.{}.mlp.router"),
    (
        "blk.{}.ffn_gate_up_exps.weight",
        "layers.{}.mlp.experts.gate_up_proj",
    ),
    (
        "blk.{}.ffn_gate_up_exps.bias",
        "layers.{}.mlp.experts.gate_up_proj_bias",
    ),
    (
        "blk.{}.ffn_down_exps.weight",
        "layers.{}.mlp.experts.down_proj",
    ),
    (
        "blk.{}.ffn_down_exps.bias",
        "layers.{}.mlp.experts.down_proj_bias",
    ),
];

pub(super) fn names(_: &Config) -> Names {
    let gguf = &[("blk.{}.ffn_norm", "blk.{}.post_attention_norm")];
    Names {
        modules: &[llama::MODULES, MODULES],
        gguf,
        ..llama::NAMES
    }
}

pub(super) fn spec(c: &Config) -> Result<ModelSpec, ModelError> {
    let mut spec = base(c, Pairing::Halves, 150_000.0)?;
    spec.norm.eps = c.or("rms_norm_eps", 1e-5)?;
    let alpha = c.or("swiglu_alpha", 1.702)?;
    if alpha != 1.702 {
        return Err(c.error(format!("\"swiglu_alpha\" is {alpha}; byrote knows 1.702")));
    }
    let bias = c.or("attention_bias", true)?;
    let experts = ExpertsSpec {
        count: c.count_or("num_local_experts|num_experts", 128)?,
        chosen: c.count_or("num_experts_per_tok", 4)?,
        inner: c.count("moe_intermediate_size|intermediate_size")?,
        // A softmax over the chosen experts equals the softmax over all, renormalized over the
        // chosen ones.
        router_weights: RouterWeights::Renormalized,
        gating: Gating::Clamped {
            limit: c.or("swiglu_limit", 7.0)?,
        },
        bias: true,
        layouts: (
            Layout {
                rows: Rows::InTurns,
                ..Layout::IN_OUT
            },
            Layout::IN_OUT,
        ),
        shared: None,
    };
    let window = c.or_null("sliding_window", 128)?;
    windowed(c, spec, window, |i| i % 2 == 0)?.each(|_, layer| {
        layer.attention.qkv_bias = bias;
        layer.attention.out_bias = bias;
        layer.attention.sinks = true;
        layer.feed = FeedForwardSpec::Experts(experts);
        Ok(())
    })
}
