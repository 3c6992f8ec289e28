//! OLMo 1 (norms without weights), OLMo 2 and 3 (norms after each half, and of queries and keys as
//! a whole), OLMoE (arXiv 2402.00838, 2501.00656, 2512.13961, 2409.02060).

use super::llama::{self, base, windowed};
use super::qwen;
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::layers::rope::Pairing;
use crate::model::spec::{ModelSpec, NormKind, NormSpec, NormsSpec, QkNormSpec};
use crate::model::weights::names::Names;

const AFTER: &[(&str, &str)] = &[
    (
        "blk.{}.post_attention_norm",
        "layers.{}.post_attention_layernorm",
    ),
    (
        "blk.{}.post_ffw_norm",
        "layers.{}.post_feedforward_layernorm",
    ),
];

pub(super) fn after_names(_: &Config) -> Names {
    Names {
        modules: &[llama::MODULES, AFTER],
        ..llama::NAMES
    }
}

pub(super) fn olmo(c: &Config) -> Result<ModelSpec, ModelError> {
    // llama.cpp's converter reorders its queries and keys, as it does Llama's.
    let pairing = if c.gguf {
        Pairing::Neighbours
    } else {
        Pairing::Halves
    };
    let mut spec = base(c, pairing, 10_000.0)?;
    spec.norm = NormSpec {
        kind: NormKind::Bare,
        eps: 1e-5,
    };
    clipped(c, spec)
}

pub(super) fn olmo2(c: &Config) -> Result<ModelSpec, ModelError> {
    let mut spec = base(c, Pairing::Halves, 10_000.0)?;
    spec.norm.eps = c.or("rms_norm_eps", 1e-5)?;
    let norm = spec.norm;
    spec.each(|_, layer| {
        layer.norms = NormsSpec::AFTER;
        layer.attention.qk_norm = Some((QkNormSpec::Whole, norm));
        Ok(())
    })
}

pub(super) fn olmo3(c: &Config) -> Result<ModelSpec, ModelError> {
    let mut spec = windowed(c, olmo2(c)?, c.get("sliding_window")?, |i| {
        !(i + 1).is_multiple_of(4)
    })?;
    let head_dim = spec.layers[0].attention.head_dim;
    // The first of the two is llama.cpp's.
    let local = Some("rope_local_base_freq|rope_theta");
    spec.ropes = c.ropes_by_layer(head_dim, [500_000.0; 2], local, Pairing::Halves)?;
    spec.each(|_, layer| {
        layer.attention.rope = Some(usize::from(layer.attention.window.is_some()));
        Ok(())
    })
}

pub(super) fn olmoe(c: &Config) -> Result<ModelSpec, ModelError> {
    let mut spec = base(c, Pairing::Halves, 10_000.0)?;
    spec.norm.eps = c.or("rms_norm_eps", 1e-5)?;
    let norm = spec.norm;
    let spec = spec.each(|_, layer| {
        layer.attention.qk_norm = Some((QkNormSpec::Whole, norm));
        Ok(())
    })?;
    qwen::with_experts(c, clipped(c, spec)?, 64, 8, None)
}

fn clipped(c: &Config, spec: ModelSpec) -> Result<ModelSpec, ModelError> {
    let clip = c.get("clip_qkv")?;
    spec.each(|_, layer| {
        layer.attention.clip = clip;
        Ok(())
    })
}
