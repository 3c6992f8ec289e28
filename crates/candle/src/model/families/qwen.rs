//! Qwen 2 and 2.5 (biases on queries, keys and values), Qwen 3 (norms of queries and keys instead),
//! and the mixtures of experts of both (arXiv 2407.10671, 2412.15115, 2505.09388).

use super::llama::{self, base, windowed};
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::layers::experts::RouterWeights;
use crate::model::layers::mlp::{Activation, Gating};
use crate::model::layers::rope::Pairing;
use crate::model::spec::{ExpertsSpec, FeedForwardSpec, ModelSpec, QkNormSpec};
use crate::model::weights::names::Names;
use crate::model::weights::scope::Layout;

/// Names of experts, which OLMoE shares.
const EXPERTS: &[(&str, &str)] = &[
    ("blk.{}.ffn_gate_inp", "layers.{}.mlp.gate"),
    ("blk.{}.ffn_gate.{}", "layers.{}.mlp.experts.{}.gate_proj"),
    ("blk.{}.ffn_up.{}", "layers.{}.mlp.experts.{}.up_proj"),
    ("blk.{}.ffn_down.{}", "layers.{}.mlp.experts.{}.down_proj"),
    (
        "blk.{}.ffn_gate_shexp",
        "layers.{}.mlp.shared_expert.gate_proj",
    ),
    ("blk.{}.ffn_up_shexp", "layers.{}.mlp.shared_expert.up_proj"),
    (
        "blk.{}.ffn_down_shexp",
        "layers.{}.mlp.shared_expert.down_proj",
    ),
    (
        "blk.{}.ffn_gate_inp_shexp",
        "layers.{}.mlp.shared_expert_gate",
    ),
];

pub(super) fn moe_names(_: &Config) -> Names {
    Names {
        modules: &[llama::MODULES, EXPERTS],
        ..llama::NAMES
    }
}

pub(super) fn qwen2(c: &Config) -> Result<ModelSpec, ModelError> {
    sliding(c)?.each(|_, layer| {
        layer.attention.qkv_bias = true;
        layer.attention.out_bias = false;
        Ok(())
    })
}

pub(super) fn qwen3(c: &Config) -> Result<ModelSpec, ModelError> {
    let spec = sliding(c)?;
    let norm = spec.norm;
    spec.each(|_, layer| {
        layer.attention.qk_norm = Some((QkNormSpec::Head, norm));
        Ok(())
    })
}

pub(super) fn qwen2_moe(c: &Config) -> Result<ModelSpec, ModelError> {
    let bias = c.or("qkv_bias", true)?;
    let spec = sliding(c)?.each(|_, layer| {
        layer.attention.qkv_bias = bias;
        layer.attention.out_bias = false;
        Ok(())
    })?;
    let shared = c.count_or("shared_expert_intermediate_size", 5_632)?;
    with_experts(c, spec, 60, 4, Some((shared, true)))
}

pub(super) fn qwen3_moe(c: &Config) -> Result<ModelSpec, ModelError> {
    let spec = qwen3(c)?;
    with_experts(c, spec, 128, 8, None)
}

/// Windows only if the config enables them, from a certain layer on.
fn sliding(c: &Config) -> Result<ModelSpec, ModelError> {
    let from = c.or("max_window_layers", 28)?;
    let window = if c.or("use_sliding_window", false)? {
        c.get("sliding_window")?
    } else {
        None
    };
    windowed(c, base(c, Pairing::Halves, 10_000.0)?, window, |i| {
        i >= from
    })
}

/// Adds experts to every `decoder_sparse_step`th layer, except those listed as dense.
pub(super) fn with_experts(
    c: &Config,
    spec: ModelSpec,
    count: usize,
    chosen: usize,
    shared: Option<(usize, bool)>,
) -> Result<ModelSpec, ModelError> {
    // llama.cpp defines this in its code: Qwen 3 renormalizes the weights to a sum of one, Qwen 2
    // and OLMoE don't.
    let renormalized = c.or("norm_topk_prob", c.gguf && c.kind == "qwen3moe")?;
    let experts = ExpertsSpec {
        count: c.count_or("num_experts", count)?,
        chosen: c.count_or("num_experts_per_tok", chosen)?,
        inner: c.count("moe_intermediate_size|intermediate_size")?,
        router_weights: if renormalized {
            RouterWeights::Renormalized
        } else {
            RouterWeights::Share
        },
        gating: Gating::Product(c.or("hidden_act", Activation::Silu)?),
        bias: false,
        layouts: (Layout::OUT_IN, Layout::OUT_IN),
        shared,
    };
    let dense: Vec<usize> = c.or("mlp_only_layers", Vec::new())?;
    let step = c.count_or("decoder_sparse_step", 1)?;
    spec.each(|i, layer| {
        if !dense.contains(&i) && (i + 1).is_multiple_of(step) {
            layer.feed = FeedForwardSpec::Experts(experts);
        }
        Ok(())
    })
}
