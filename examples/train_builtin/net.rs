//! A Llama decoder in plain Candle operations that autograd can follow. Training only: byrote's own
//! model layer does the inference, and a test compares the two.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::ops::rms_norm_slow;
use candle_nn::rotary_emb::rope_slow;

use crate::rng::Rng;

/// The shape of the network, with the names of HF's `LlamaConfig`.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
}

pub(crate) const RMS_NORM_EPS: f32 = 1e-5;
pub(crate) const ROPE_THETA: f64 = 10_000.0;
/// What config.json promises. Training sees documents of up to about 170 tokens.
pub(crate) const MAX_POSITIONS: usize = 512;

/// The weights under their HF names.
pub(crate) struct Net {
    pub shape: Shape,
    pub vars: BTreeMap<String, Var>,
    cos: Tensor,
    sin: Tensor,
}

impl Net {
    pub(crate) fn new(shape: Shape, rng: &mut Rng) -> Result<Self> {
        let (h, i) = (shape.hidden_size, shape.intermediate_size);
        let kv = h / shape.num_attention_heads * shape.num_key_value_heads;
        let std = 0.02;
        let residual = std / (2.0 * shape.num_hidden_layers as f64).sqrt();
        let mut vars = BTreeMap::new();
        let mut matrix = |name: String, rows, cols, std: f64| -> Result<()> {
            let data: Vec<f32> = (0..rows * cols)
                .map(|_| (rng.normal() * std) as f32)
                .collect();
            vars.insert(name, Var::from_vec(data, (rows, cols), &Device::Cpu)?);
            Ok(())
        };
        matrix("model.embed_tokens.weight".into(), shape.vocab_size, h, std)?;
        for n in 0..shape.num_hidden_layers {
            let at = |part: &str| format!("model.layers.{n}.{part}.weight");
            matrix(at("self_attn.q_proj"), h, h, std)?;
            matrix(at("self_attn.k_proj"), kv, h, std)?;
            matrix(at("self_attn.v_proj"), kv, h, std)?;
            matrix(at("self_attn.o_proj"), h, h, residual)?;
            matrix(at("mlp.gate_proj"), i, h, std)?;
            matrix(at("mlp.up_proj"), i, h, std)?;
            matrix(at("mlp.down_proj"), h, i, residual)?;
        }
        let norms = (0..shape.num_hidden_layers)
            .flat_map(|n| {
                ["input_layernorm", "post_attention_layernorm"]
                    .map(|part| format!("model.layers.{n}.{part}.weight"))
            })
            .chain(["model.norm.weight".to_owned()]);
        for name in norms {
            vars.insert(name, Var::ones(h, DType::F32, &Device::Cpu)?);
        }
        let (cos, sin) = rotary(h / shape.num_attention_heads)?;
        Ok(Self {
            shape,
            vars,
            cos,
            sin,
        })
    }

    /// Logits `[batch, length, vocab]` of `ids` `[batch, length]`. Rows are padded at their end only, so
    /// the causal mask is all the mask there is.
    pub(crate) fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        let (batch, length) = ids.dims2()?;
        let (cos, sin) = (
            self.cos.narrow(0, 0, length)?,
            self.sin.narrow(0, 0, length)?,
        );
        let mask = causal(length)?;
        let embed = self.weight("model.embed_tokens")?;
        let mut x = embed.index_select(&ids.flatten_all()?, 0)?.reshape((
            batch,
            length,
            self.shape.hidden_size,
        ))?;
        for n in 0..self.shape.num_hidden_layers {
            let at = |part: &str| format!("model.layers.{n}.{part}");
            let normed = self.norm(&x, &at("input_layernorm"))?;
            x = (&x + self.attention(&normed, &at("self_attn"), &cos, &sin, &mask)?)?;
            let normed = self.norm(&x, &at("post_attention_layernorm"))?;
            let gate = self.linear(&normed, &at("mlp.gate_proj"))?.silu()?;
            let up = self.linear(&normed, &at("mlp.up_proj"))?;
            x = (&x + self.linear(&(gate * up)?, &at("mlp.down_proj"))?)?;
        }
        let x = self.norm(&x, "model.norm")?;
        self.linear(&x, "model.embed_tokens")
    }

    fn attention(
        &self,
        x: &Tensor,
        at: &str,
        cos: &Tensor,
        sin: &Tensor,
        mask: &Tensor,
    ) -> Result<Tensor> {
        let (batch, length, hidden) = x.dims3()?;
        let (heads, groups) = (
            self.shape.num_attention_heads,
            self.shape.num_key_value_heads,
        );
        let width = hidden / heads;
        let split = |name: &str, heads: usize| -> Result<Tensor> {
            let y = self.linear(x, &format!("{at}.{name}"))?;
            let y = y.reshape((batch, length, heads, width))?;
            Ok(y.transpose(1, 2)?.contiguous()?)
        };
        let q = rope_slow(&split("q_proj", heads)?, cos, sin)?;
        let k = rope_slow(&split("k_proj", groups)?, cos, sin)?;
        let v = split("v_proj", groups)?;
        // The query heads that share a key head become further rows of its product.
        let rows = heads / groups * length;
        let q = (q * (width as f64).powf(-0.5))?.reshape((batch, groups, rows, width))?;
        let scores = q.matmul(&k.transpose(2, 3)?.contiguous()?)?;
        let scores = scores
            .reshape((batch, heads, length, length))?
            .broadcast_add(mask)?;
        let shares = exp_normalized(&scores)?.reshape((batch, groups, rows, length))?;
        let y = shares.matmul(&v)?.reshape((batch, heads, length, width))?;
        let y = y
            .transpose(1, 2)?
            .contiguous()?
            .reshape((batch, length, hidden))?;
        self.linear(&y, &format!("{at}.o_proj"))
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        let var = self.vars.get(&format!("{name}.weight"));
        var.map(Var::as_tensor)
            .ok_or_else(|| anyhow::anyhow!("no weight {name}"))
    }

    /// `x W^T` over all rows at once: one product instead of one for each document.
    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (batch, length, width) = x.dims3()?;
        let w = self.weight(name)?;
        let y = x.reshape((batch * length, width))?.matmul(&w.t()?)?;
        Ok(y.reshape((batch, length, w.dim(0)?))?)
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        Ok(rms_norm_slow(x, self.weight(name)?, RMS_NORM_EPS)?)
    }
}

/// Softmax over the last axis. The maximum carries no gradient, since it cancels out.
fn exp_normalized(x: &Tensor) -> Result<Tensor> {
    let exp = x
        .broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?
        .exp()?;
    Ok(exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?)
}

/// Log-softmax over the last axis.
pub(crate) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?;
    let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&total)?)
}

fn causal(length: usize) -> Result<Tensor> {
    let mask: Vec<f32> = (0..length * length)
        .map(|n| if n % length > n / length { -1e9 } else { 0.0 })
        .collect();
    Ok(Tensor::from_vec(
        mask,
        (1, 1, length, length),
        &Device::Cpu,
    )?)
}

/// Cosines and sines `[position, width / 2]`, computed in f64.
fn rotary(width: usize) -> Result<(Tensor, Tensor)> {
    let half = width / 2;
    let angle = |n: usize| {
        let (position, i) = (n / half, n % half);
        position as f64 * ROPE_THETA.powf(-2.0 * i as f64 / width as f64)
    };
    let table = |f: fn(f64) -> f64| {
        let data: Vec<f32> = (0..MAX_POSITIONS * half)
            .map(|n| f(angle(n)) as f32)
            .collect();
        Tensor::from_vec(data, (MAX_POSITIONS, half), &Device::Cpu)
    };
    Ok((table(f64::cos)?, table(f64::sin)?))
}
