//! Command R: layer norms without bias, parallel halves, rotation of neighbours, scaled logits.
//! Command R7B (`cohere2`) has windows, and no positions in layers without a window (Cohere 2024,
//! arXiv 2504.00698).

use super::llama::{base, windowed};
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::decoder::Residual;
use crate::model::layers::rope::Pairing;
use crate::model::spec::{ModelSpec, NormKind, NormSpec, NormsSpec, QkNormSpec};

pub(super) fn cohere(c: &Config) -> Result<ModelSpec, ModelError> {
    let mut spec = base(c, Pairing::Neighbours, 500_000.0)?;
    spec.norm = NormSpec {
        kind: NormKind::Layer { bias: false },
        eps: c.or("layer_norm_eps", 1e-5)?,
    };
    spec.tied = c.or("tie_word_embeddings", true)?;
    spec.logit_scale = Some(c.or("logit_scale", 0.0625)?);
    let (norm, qk_norm) = (spec.norm, c.or("use_qk_norm", false)?);
    spec.each(|_, layer| {
        layer.norms = NormsSpec::SHARED;
        layer.residual = Residual::Parallel;
        layer.attention.qk_norm = qk_norm.then_some((QkNormSpec::OwnWeights, norm));
        Ok(())
    })
}

pub(super) fn cohere2(c: &Config) -> Result<ModelSpec, ModelError> {
    let pattern = c.count_or("sliding_window_pattern", 4)?;
    let window = Some(c.count_or("sliding_window", 4_096)?);
    windowed(c, cohere(c)?, window, |i| !(i + 1).is_multiple_of(pattern))?.each(|_, layer| {
        layer.attention.rope = layer.attention.window.map(|_| 0);
        Ok(())
    })
}
