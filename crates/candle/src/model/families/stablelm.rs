//! StableLM (arXiv 2402.17834): Llama with layer norms and partly rotated heads; the 12B has both halves beside each
//! other, and norms of queries and keys with weights of their own for each head.

use super::llama::{self, base};
use super::phi::rotated;
use crate::model::ModelError;
use crate::model::blueprint::{Blueprint, NormKind, NormPlan, NormsPlan, QkNormPlan};
use crate::model::config::Config;
use crate::model::decoder::Residual;
use crate::model::layers::rope::Pairing;
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

pub(super) fn plan(c: &Config) -> Result<Blueprint, ModelError> {
    let mut plan = base(c, Pairing::Halves, 10_000.0)?;
    let head_dim = plan.layers[0].attention.head_dim;
    plan.ropes = vec![c.rope(rotated(c, head_dim, 0.25)?, 10_000.0, Pairing::Halves)?];
    plan.norm = NormPlan {
        kind: NormKind::Layer { bias: true },
        eps: c.or("layer_norm_eps", 1e-5)?,
    };
    let norm = NormPlan {
        kind: NormKind::Layer { bias: false },
        ..plan.norm
    };
    let (bias, qk_norm) = (
        c.or("use_qkv_bias", false)?,
        c.or("qk_layernorm|use_qk_norm", false)?,
    );
    // llama.cpp goes by the second norm, too: its converter has written both values for models that aren't parallel.
    let parallel = if c.gguf {
        !c.or("ffn_norm", true)?
    } else {
        c.or("use_parallel_residual", false)?
    };
    plan.each(|_, layer| {
        layer.attention.qkv_bias = bias;
        layer.attention.qk_norm = qk_norm.then_some((QkNormPlan::OwnTensors, norm));
        if parallel {
            layer.norms = NormsPlan::SHARED;
            layer.residual = Residual::Parallel;
        }
        Ok(())
    })
}
