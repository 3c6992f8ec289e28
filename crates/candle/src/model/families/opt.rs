//! OPT (arXiv 2205.01068): learned positions that begin at row 2, and ReLU. The 350M has its norms
//! after each sum, and narrower token vectors.

use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::decoder::Residual;
use crate::model::layers::mlp::Activation;
use crate::model::spec::{
    AttentionSpec, FeedForwardSpec, HIDDEN, LAYERS, LayerSpec, ModelSpec, NormKind, NormSpec,
    NormsSpec, heads,
};
use crate::model::weights::names::Names;
use crate::model::weights::scope::Layout;

/// Row of position 0 in the table of positions.
const FIRST: u32 = 2;

const BEFORE: &[(&str, &str)] = &[
    ("token_embd", "embed_tokens"),
    ("token_embd_in", "project_in"),
    ("position_embd", "embed_positions"),
    ("blk.{}.attn_norm", "layers.{}.self_attn_layer_norm"),
    ("blk.{}.attn_q", "layers.{}.self_attn.q_proj"),
    ("blk.{}.attn_k", "layers.{}.self_attn.k_proj"),
    ("blk.{}.attn_v", "layers.{}.self_attn.v_proj"),
    ("blk.{}.attn_output", "layers.{}.self_attn.out_proj"),
    ("blk.{}.ffn_norm", "layers.{}.final_layer_norm"),
    ("blk.{}.ffn_up", "layers.{}.fc1"),
    ("blk.{}.ffn_down", "layers.{}.fc2"),
    ("output_norm", "final_layer_norm"),
    ("output_out", "project_out"),
    ("output", "/lm_head"),
];

const AFTER: &[(&str, &str)] = &[
    (
        "blk.{}.post_attention_norm",
        "layers.{}.self_attn_layer_norm",
    ),
    ("blk.{}.post_ffw_norm", "layers.{}.final_layer_norm"),
];

pub(super) fn names(_: &Config) -> Names {
    Names {
        bodies: &["model.decoder.", "decoder."],
        modules: &[BEFORE, AFTER],
        gguf: &[],
    }
}

pub(super) fn spec(c: &Config) -> Result<ModelSpec, ModelError> {
    let (heads, head_dim) = heads(c)?;
    let (bias, before) = (
        c.or("enable_bias", true)?,
        c.or("do_layer_norm_before", true)?,
    );
    let attention = AttentionSpec {
        qkv_bias: bias,
        out_bias: bias,
        rope: None,
        ..AttentionSpec::new(heads, heads, head_dim)
    };
    let feed = FeedForwardSpec::Plain {
        inner: c.count("ffn_dim")?,
        bias,
        activation: c.or("activation_function", Activation::Relu)?,
        layout: Layout::OUT_IN,
    };
    let mut layer = LayerSpec::new(attention, feed);
    if !before {
        layer.norms = NormsSpec::AFTER;
        layer.residual = Residual::Normed;
    }
    let affine = c.or("layer_norm_elementwise_affine", true)?;
    let kind = if affine {
        NormKind::Layer { bias: true }
    } else {
        NormKind::Bare
    };
    let mut spec = ModelSpec::new(
        c,
        NormSpec { kind, eps: 1e-5 },
        vec![layer; c.few(LAYERS)?],
        true,
    )?;
    spec.final_norm = before && !c.or("_remove_final_layer_norm", false)?;
    spec.embedding.positions = Some((spec.context_length + FIRST as usize, FIRST));
    spec.embedding.width = Some(c.count_or("word_embed_proj_dim", c.count(HIDDEN)?)?);
    Ok(spec)
}
