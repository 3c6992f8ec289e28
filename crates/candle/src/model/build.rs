//! Builds a decoder from a spec and weights. This is the only place where layers are joined.

use super::decoder::{Block, Decoder};
use super::layers::attention::{Attention, QkNorm};
use super::layers::experts::Experts;
use super::layers::linear::{Embedding, Linear};
use super::layers::mlp::{Gating, Mlp};
use super::layers::norm::Norm;
use super::spec::{
    AttentionSpec, ExpertsSpec, FeedForwardSpec, LayerSpec, ModelSpec, NormKind, NormSpec,
    QkNormSpec,
};
use super::weights::Weights;
use super::weights::scope::{Layout, TensorScope};
use super::{ModelError, ModelInfo};
use candle_core::{DType, Tensor};
use rayon::prelude::*;

/// Joins the layers.
///
/// # Errors
/// If a tensor is missing, unexpected, or of another shape.
pub(crate) fn decoder(spec: &ModelSpec, weights: &Weights) -> Result<Decoder, ModelError> {
    let b = Builder { spec, weights };
    let (root, hidden) = (weights.root(), spec.hidden_size);
    let width = spec.embedding.width.unwrap_or(hidden);
    // This comes first, so that wrong sizes in a damaged configuration are detected before anything
    // is allocated for them.
    let embedding = Embedding::new(root.matrix("token_embd", spec.vocab_size, width)?);
    let layer = |i: usize| b.block(&root.at("blk").at(i), &spec.layers[i]);
    let blocks = (0..spec.layers.len())
        .into_par_iter()
        .map(layer)
        .collect::<Result<_, _>>()?;
    let positions = match spec.embedding.positions {
        Some((rows, first)) => Some((
            Embedding::new(root.matrix("position_embd", rows, hidden)?),
            first,
        )),
        None => None,
    };
    let projections = if width == hidden {
        None
    } else {
        let into = root.linear(&[("token_embd_in", hidden)], width, false, Layout::OUT_IN)?;
        Some((
            into,
            root.linear(&[("output_out", width)], hidden, false, Layout::OUT_IN)?,
        ))
    };
    let head = if spec.tied {
        None
    } else {
        Some(b.linear(
            &root,
            &[("output", spec.vocab_size)],
            width,
            spec.head_bias,
            Layout::OUT_IN,
        )?)
    };
    Ok(Decoder {
        embedding,
        embedding_scale: spec.embedding.scale,
        embedding_norm: b.norm_if(spec.embedding.norm, &root, "token_embd_norm")?,
        projections,
        positions,
        ropes: spec.ropes.clone(),
        alibi: spec.alibi.clone(),
        blocks,
        final_norm: b.norm_if(spec.final_norm, &root, "output_norm")?,
        head,
        logit_scale: spec.logit_scale,
        logit_softcap: spec.logit_softcap,
        device: weights.device().clone(),
        info: ModelInfo {
            architecture: spec.architecture.clone(),
            vocab_size: spec.vocab_size,
            context_length: spec.context_length,
            parameters: weights.finish(&ignorable(spec))?,
        },
    })
}

/// Tensors that may remain unread: buffers that follow from the configuration, and the second copy
/// of the token table that some tools write for tied models.
fn ignorable(spec: &ModelSpec) -> Vec<&'static str> {
    let mut names = vec!["rotary_emb.inv_freq", "rope_freqs.weight", "rope_factors_"];
    if spec.tied {
        names.extend(["lm_head.weight", "embed_out.weight"]);
    }
    names.extend(spec.ignorable);
    names
}

struct Builder<'a> {
    spec: &'a ModelSpec,
    weights: &'a Weights,
}

impl Builder<'_> {
    fn block(&self, at: &TensorScope<'_>, layer: &LayerSpec) -> Result<Block, ModelError> {
        let norms = layer.norms;
        Ok(Block {
            attention_norm: self.norm_if(norms.attention, at, "attn_norm")?,
            attention: self.attention(at, &layer.attention)?,
            attention_post_norm: self.norm_if(norms.attention_post, at, "post_attention_norm")?,
            mlp_norm: self.norm_if(norms.mlp, at, "ffn_norm")?,
            mlp: self.feed(at, &layer.feed)?,
            mlp_post_norm: self.norm_if(norms.mlp_post, at, "post_ffw_norm")?,
            residual: layer.residual,
            residual_scale: layer.residual_scale,
        })
    }

    fn attention(
        &self,
        at: &TensorScope<'_>,
        spec: &AttentionSpec,
    ) -> Result<Attention, ModelError> {
        let hidden = self.spec.hidden_size;
        if !spec.heads.is_multiple_of(spec.kv_heads) {
            let (heads, keys) = (spec.heads, spec.kv_heads);
            return Err(self
                .weights
                .error(format!("{keys} key heads don't divide {heads} query heads")));
        }
        let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let qkv = if at.has("attn_qkv.weight") {
            self.linear(
                at,
                &[("attn_qkv", q + 2 * kv)],
                hidden,
                spec.qkv_bias,
                spec.qkv_layout,
            )?
        } else {
            let parts = [("attn_q", q), ("attn_k", kv), ("attn_v", kv)];
            self.linear(at, &parts, hidden, spec.qkv_bias, Layout::OUT_IN)?
        };
        let qk_norm = match spec.qk_norm {
            Some((over, norm)) => Some(QkNorm {
                q: self.qk_norm(at, "attn_q_norm", over, norm, spec.heads, spec.head_dim)?,
                k: self.qk_norm(at, "attn_k_norm", over, norm, spec.kv_heads, spec.head_dim)?,
                whole: over == QkNormSpec::Whole,
            }),
            None => None,
        };
        Ok(Attention {
            qkv,
            out: self.linear(
                at,
                &[("attn_output", hidden)],
                q,
                spec.out_bias,
                spec.out_layout,
            )?,
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
            scale: spec.scale,
            softcap: spec.softcap,
            window: spec.window,
            rope: spec.rope,
            qk_norm,
            clip: spec.clip,
            alibi: spec.alibi,
            sinks: if spec.sinks {
                Some(at.tensor("attn_sinks.weight", &[spec.heads])?)
            } else {
                None
            },
        })
    }

    fn qk_norm(
        &self,
        at: &TensorScope<'_>,
        name: &str,
        over: QkNormSpec,
        spec: NormSpec,
        heads: usize,
        head_dim: usize,
    ) -> Result<Norm, ModelError> {
        let leaf = format!("{name}.weight");
        let weight = match over {
            QkNormSpec::Head => return self.norm(at, name, head_dim, spec),
            QkNormSpec::Whole => return self.norm(at, name, heads * head_dim, spec),
            QkNormSpec::OwnTensors if !at.has(&leaf) => {
                let read_head =
                    |head: usize| at.tensor(&format!("{name}.{head}.weight"), &[head_dim]);
                Tensor::stack(
                    &(0..heads).map(read_head).collect::<Result<Vec<_>, _>>()?,
                    0,
                )?
            }
            QkNormSpec::OwnWeights | QkNormSpec::OwnTensors => {
                at.tensor(&leaf, &[heads, head_dim])?
            }
        };
        let (ones, zeros) = self.bare(head_dim)?;
        Ok(Norm::Heads {
            weight,
            ones,
            zeros,
            eps: spec.eps as f32,
        })
    }

    fn feed(&self, at: &TensorScope<'_>, spec: &FeedForwardSpec) -> Result<Mlp, ModelError> {
        let hidden = self.spec.hidden_size;
        match *spec {
            FeedForwardSpec::Gated {
                inner,
                bias,
                gating,
            } => self.gated(at, ["ffn_gate", "ffn_up", "ffn_down"], inner, bias, gating),
            FeedForwardSpec::Plain {
                inner,
                bias,
                activation,
                layout,
            } => Ok(Mlp::Plain {
                up: self.linear(at, &[("ffn_up", inner)], hidden, bias, layout)?,
                down: self.linear(at, &[("ffn_down", hidden)], inner, bias, layout)?,
                activation,
            }),
            FeedForwardSpec::Experts(spec) => Ok(Mlp::Experts(Box::new(self.experts(at, spec)?))),
        }
    }

    /// A gated block with the named gate, up and down matrices. If there is no separate gate, it is
    /// the upper half of up.
    fn gated(
        &self,
        at: &TensorScope<'_>,
        [gate, up, down]: [&str; 3],
        inner: usize,
        bias: bool,
        gating: Gating,
    ) -> Result<Mlp, ModelError> {
        let hidden = self.spec.hidden_size;
        let fused = !at.has(&format!("{gate}.weight"));
        let parts = [(gate, inner), (up, inner)];
        let modules: &[(&str, usize)] = if fused { &[(up, 2 * inner)] } else { &parts };
        Ok(Mlp::Gated {
            gate_up: self.linear(at, modules, hidden, bias, Layout::OUT_IN)?,
            down: self.linear(at, &[(down, hidden)], inner, bias, Layout::OUT_IN)?,
            gating,
        })
    }

    fn experts(&self, at: &TensorScope<'_>, spec: ExpertsSpec) -> Result<Experts, ModelError> {
        let hidden = self.spec.hidden_size;
        let expert = |e: usize| -> Result<Mlp, ModelError> {
            let (inner, bias, gating) = (spec.inner, spec.bias, spec.gating);
            if at.has("ffn_gate_up_exps.weight") {
                let (at, (up, down)) = (at.expert_index(e), spec.layouts);
                return Ok(Mlp::Gated {
                    gate_up: self.linear(
                        &at,
                        &[("ffn_gate_up_exps", 2 * inner)],
                        hidden,
                        bias,
                        up,
                    )?,
                    down: self.linear(&at, &[("ffn_down_exps", hidden)], inner, bias, down)?,
                    gating,
                });
            }
            if at.has("ffn_gate_exps.weight") {
                let names = ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"];
                return self.gated(&at.expert_index(e), names, inner, bias, gating);
            }
            let names = ["gate", "up", "down"].map(|part| format!("ffn_{part}.{e}"));
            self.gated(
                at,
                names.each_ref().map(String::as_str),
                inner,
                bias,
                gating,
            )
        };
        let shared = match spec.shared {
            Some((inner, weighed)) => {
                let names = ["ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"];
                let gate = match weighed {
                    true => Some(self.weigher(at)?),
                    false => None,
                };
                Some((self.gated(at, names, inner, false, spec.gating)?, gate))
            }
            None => None,
        };
        Ok(Experts {
            router: self.linear(
                at,
                &[("ffn_gate_inp", spec.count)],
                hidden,
                spec.bias,
                Layout::OUT_IN,
            )?,
            experts: (0..spec.count).map(expert).collect::<Result<_, _>>()?,
            chosen: spec.chosen,
            router_weights: spec.router_weights,
            shared,
        })
    }

    /// The gate of a shared expert: one row, which GGUF files store as a vector.
    fn weigher(&self, at: &TensorScope<'_>) -> Result<Linear, ModelError> {
        let (name, hidden) = ("ffn_gate_inp_shexp.weight", self.spec.hidden_size);
        let row = at
            .tensor(name, &[1, hidden])
            .or_else(|_| at.tensor(name, &[hidden]))?;
        Ok(Linear::new(
            super::layers::linear::Matrix::dense(row.reshape((1, hidden))?)?,
            None,
        ))
    }

    /// A linear layer whose spec describes safetensors. In a GGUF, parts are in standard order and
    /// biases are optional.
    fn linear(
        &self,
        at: &TensorScope<'_>,
        modules: &[(&str, usize)],
        width: usize,
        bias: bool,
        layout: Layout,
    ) -> Result<Linear, ModelError> {
        if !self.weights.is_gguf() {
            return at.linear(modules, width, bias, layout);
        }
        let bias = modules
            .first()
            .is_some_and(|(module, _)| at.has(&format!("{module}.bias")));
        at.linear(modules, width, bias, Layout::OUT_IN)
    }

    fn norm_if(
        &self,
        there: bool,
        at: &TensorScope<'_>,
        name: &str,
    ) -> Result<Option<Norm>, ModelError> {
        there
            .then(|| self.norm(at, name, self.spec.hidden_size, self.spec.norm))
            .transpose()
    }

    fn norm(
        &self,
        at: &TensorScope<'_>,
        name: &str,
        len: usize,
        spec: NormSpec,
    ) -> Result<Norm, ModelError> {
        let gguf = self.weights.is_gguf();
        let vector = |leaf: &str| at.tensor(&format!("{name}.{leaf}"), &[len]);
        let eps = spec.eps as f32;
        Ok(match spec.kind {
            NormKind::Rms { offset } => {
                let weight = vector("weight")?;
                Norm::Rms {
                    weight: if gguf { weight } else { (weight + offset)? },
                    eps,
                }
            }
            NormKind::Layer { bias } => {
                let bias = if gguf {
                    at.has(&format!("{name}.bias"))
                } else {
                    bias
                };
                let weight = vector("weight")?;
                let bias = if bias {
                    vector("bias")?
                } else {
                    weight.zeros_like()?
                };
                Norm::Layer { weight, bias, eps }
            }
            NormKind::Bare => {
                let (weight, bias) = self.bare(len)?;
                Norm::Layer { weight, bias, eps }
            }
        })
    }

    fn bare(&self, len: usize) -> Result<(Tensor, Tensor), ModelError> {
        let device = self.weights.device();
        Ok((
            Tensor::ones(len, DType::F32, device)?,
            Tensor::zeros(len, DType::F32, device)?,
        ))
    }
}
