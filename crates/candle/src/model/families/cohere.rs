//! Command R: layer norms without bias, both halves beside each other, neighbours rotated, scaled logits; Command R7B
//! (`cohere2`) with windows, and without positions where there is none (Cohere 2024, arXiv 2504.00698).

use super::llama::{base, windowed};
use crate::model::ModelError;
use crate::model::blueprint::{Blueprint, NormKind, NormPlan, NormsPlan, QkNormPlan};
use crate::model::config::Config;
use crate::model::decoder::Residual;
use crate::model::layers::rope::Pairing;

pub(super) fn cohere(c: &Config) -> Result<Blueprint, ModelError> {
    let mut plan = base(c, Pairing::Neighbours, 500_000.0)?;
    plan.norm = NormPlan {
        kind: NormKind::Layer { bias: false },
        eps: c.or("layer_norm_eps", 1e-5)?,
    };
    plan.tied = c.or("tie_word_embeddings", true)?;
    plan.logit_scale = Some(c.or("logit_scale", 0.0625)?);
    let (norm, qk_norm) = (plan.norm, c.or("use_qk_norm", false)?);
    plan.each(|_, layer| {
        layer.norms = NormsPlan::SHARED;
        layer.residual = Residual::Parallel;
        layer.attention.qk_norm = qk_norm.then_some((QkNormPlan::OwnWeights, norm));
        Ok(())
    })
}

pub(super) fn cohere2(c: &Config) -> Result<Blueprint, ModelError> {
    let pattern = c.count_or("sliding_window_pattern", 4)?;
    let window = Some(c.count_or("sliding_window", 4_096)?);
    windowed(c, cohere(c)?, window, |i| !(i + 1).is_multiple_of(pattern))?.each(|_, layer| {
        layer.attention.rope = layer.attention.window.map(|_| 0);
        Ok(())
    })
}
