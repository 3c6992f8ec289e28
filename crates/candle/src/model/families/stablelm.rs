//! StableLM (arXiv 2402.17834): Llama with layer norms and partly rotated heads. The 12B has
//! parallel halves, and norms of queries and keys with separate weights for each head.

use super::llama::{self, base};
use super::phi::rotated;
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::decoder::Residual;
use crate::model::layers::rope::Pairing;
use crate::model::spec::{ModelSpec, NormKind, NormSpec, NormsSpec, QkNormSpec};
use crate::model::weights::names::Names;

const MODULES: &[(&str, &str)] = &[
    (
        "blk.{}.attn_q_norm.{}",
        "layers.{}.self_attn.q_layernorm.norms.{}",
    ),
    (
        "blk.{}.attn_k_norm.{}",
        "layers.{}.self_attn.k_layernorm.norms.{}",
    ),
];

pub(super) fn names(_: &Config) -> Names {
    Names {
        modules: &[llama::MODULES, MODULES],
        ..llama::NAMES
    }
}

pub(super) fn spec(c: &Config) -> Result<ModelSpec, ModelError> {
    let mut spec = base(c, Pairing::Halves, 10_000.0)?;
    let head_dim = spec.layers[0].attention.head_dim;
    spec.ropes = vec![c.rope(rotated(c, head_dim, 0.25)?, 10_000.0, Pairing::Halves)?];
    spec.norm = NormSpec {
        kind: NormKind::Layer { bias: true },
        eps: c.or("layer_norm_eps", 1e-5)?,
    };
    let norm = NormSpec {
        kind: NormKind::Layer { bias: false },
        ..spec.norm
    };
    let (bias, qk_norm) = (
        c.or("use_qkv_bias", false)?,
        c.or("qk_layernorm|use_qk_norm", false)?,
    );
    // llama.cpp also decides by the second norm, because its converter has written either value for
    // models that aren't parallel.
    let parallel = if c.gguf {
        !c.or("ffn_norm", true)?
    } else {
        c.or("use_parallel_residual", false)?
    };
    spec.each(|_, layer| {
        layer.attention.qkv_bias = bias;
        layer.attention.qk_norm = qk_norm.then_some((QkNormSpec::OwnTensors, norm));
        if parallel {
            layer.norms = NormsSpec::SHARED;
            layer.residual = Residual::Parallel;
        }
        Ok(())
    })
}
