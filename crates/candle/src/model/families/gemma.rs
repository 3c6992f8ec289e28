//! Gemma 1, 2 and 3, text (arXiv 2403.08295, 2408.00118, 2503.19786): norms stored minus one,
//! scaled token vectors. Gemma 2 adds norms around each half, soft caps and sliding windows; Gemma
//! 3 adds norms of queries and keys, and a separate rotary base for layers with a window.

use super::llama::{self, base, windowed};
use crate::model::ModelError;
use crate::model::config::Config;
use crate::model::layers::mlp::{Activation, Gating};
use crate::model::layers::rope::Pairing;
use crate::model::spec::{FeedForwardSpec, ModelSpec, NormKind, NormsSpec, QkNormSpec};
use crate::model::weights::names::Names;

const AROUND: &[(&str, &str)] = &[
    (
        "blk.{}.post_attention_norm",
        "layers.{}.post_attention_layernorm",
    ),
    ("blk.{}.ffn_norm", "layers.{}.pre_feedforward_layernorm"),
    (
        "blk.{}.post_ffw_norm",
        "layers.{}.post_feedforward_layernorm",
    ),
];

pub(super) fn names(_: &Config) -> Names {
    let bodies = &[
        "model.",
        "language_model.model.",
        "model.language_model.",
        "",
    ];
    Names {
        bodies,
        modules: &[llama::MODULES, AROUND],
        gguf: &[],
    }
}

pub(super) fn gemma(c: &Config) -> Result<ModelSpec, ModelError> {
    let mut spec = base(c, Pairing::Halves, 10_000.0)?;
    spec.norm.kind = NormKind::Rms { offset: 1.0 };
    spec.embedding.scale = Some((spec.hidden_size as f64).sqrt());
    spec.tied = c.or("tie_word_embeddings", true)?;
    // Early configs have "gelu" under `hidden_act` and mean the tanh approximation.
    let activation = match c.or("hidden_activation|hidden_act", Activation::GeluTanh)? {
        Activation::Gelu => Activation::GeluTanh,
        other => other,
    };
    spec.each(|_, layer| {
        if let FeedForwardSpec::Gated { gating, .. } = &mut layer.feed {
            *gating = Gating::Product(activation);
        }
        Ok(())
    })
}

pub(super) fn gemma2(c: &Config) -> Result<ModelSpec, ModelError> {
    let caps = (
        c.or_null("attn_logit_softcapping", 50.0)?,
        c.or_null("final_logit_softcapping", 30.0)?,
    );
    // All sizes scale by the size of a head, except the 27B, which has 46 layers.
    let spec = around(c, caps, 46)?;
    let window = c.or_null("sliding_window", 4_096)?;
    windowed(c, spec, window, |i| i % 2 == 0)
}

pub(super) fn gemma3(c: &Config) -> Result<ModelSpec, ModelError> {
    // The configs of multimodal checkpoints omit fields that have the defaults of transformers.
    let c = &c.with_defaults(&[
        ("vocab_size", 262_208),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("head_dim", 256),
        ("max_position_embeddings", 131_072),
    ]);
    let caps = (
        c.get("attn_logit_softcapping")?,
        c.get("final_logit_softcapping")?,
    );
    let pattern = c.count_or("sliding_window_pattern", 6)?;
    let spec = around(c, caps, 62)?;
    let norm = spec.norm;
    let mut spec = windowed(c, spec, Some(c.count_or("sliding_window", 4_096)?), |i| {
        !(i + 1).is_multiple_of(pattern)
    })?;
    spec.architecture = "gemma3".to_owned();
    let head_dim = spec.layers[0].attention.head_dim;
    spec.ropes = c.ropes_by_layer(
        head_dim,
        [1_000_000.0, 10_000.0],
        Some("rope_local_base_freq"),
        Pairing::Halves,
    )?;
    spec.ignorable = &[
        "vision_tower.",
        "multi_modal_projector.",
        "language_model.lm_head.weight",
    ];
    spec.each(|_, layer| {
        layer.attention.rope = Some(usize::from(layer.attention.window.is_some()));
        layer.attention.qk_norm = Some((QkNormSpec::Head, norm));
        Ok(())
    })
}

/// The common part of Gemma 2 and 3. GGUF files don't contain the scale of scores. The largest
/// size, which has `largest` layers, scales by the hidden size per head; the others scale by the
/// size of a head.
fn around(
    c: &Config,
    (scores, logits): (Option<f64>, Option<f64>),
    largest: usize,
) -> Result<ModelSpec, ModelError> {
    let mut spec = gemma(c)?;
    spec.logit_softcap = logits;
    let (hidden, layers) = (spec.hidden_size, spec.layers.len());
    let scalar: Option<f64> = c.get("query_pre_attn_scalar")?;
    spec.each(|_, layer| {
        layer.norms = NormsSpec::AROUND;
        let attention = &mut layer.attention;
        let own = match (c.gguf, layers == largest) {
            (true, true) => hidden as f64 / attention.heads as f64,
            (true, false) => attention.head_dim as f64,
            (false, _) => 256.0,
        };
        attention.scale = scalar.unwrap_or(own).powf(-0.5);
        attention.softcap = scores;
        Ok(())
    })
}
