//! Feed-forward blocks: gated, plain, and mixtures of experts.

use super::experts::Experts;
use super::linear::Linear;
use crate::model::cpu::packed::Arithmetic;
use crate::model::cpu::{self, activation};
use candle_core::{D, Result, Tensor};
use serde::Deserialize;

/// The activation, by its names in config.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Activation {
    #[serde(rename = "silu", alias = "swish")]
    Silu,
    /// The exact function, with the error function.
    #[serde(rename = "gelu")]
    Gelu,
    /// The tanh approximation, under its several names.
    #[serde(
        rename = "gelu_new",
        alias = "gelu_pytorch_tanh",
        alias = "gelu_fast",
        alias = "gelu_python_tanh"
    )]
    GeluTanh,
    /// `x * sigmoid(1.702 x)`.
    #[serde(rename = "quick_gelu")]
    QuickGelu,
    #[serde(rename = "relu")]
    Relu,
    /// `relu(x)^2` (arXiv 2109.08668).
    #[serde(rename = "relu2")]
    ReluSquared,
}

/// How a gated block joins its two halves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Gating {
    /// `act(gate) * up` (arXiv 2002.05202).
    Product(Activation),
    /// gpt-oss: `gate * sigmoid(1.702 gate) * (up + 1)`, with the gate clamped to at most `limit`
    /// and `up` to `-limit..limit` (arXiv 2508.10925).
    Clamped { limit: f64 },
}

impl Gating {
    fn apply(self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        match self {
            Self::Product(activation) => activation.apply(gate)? * up,
            Self::Clamped { limit } => {
                let gate = gate.minimum(limit)?;
                Activation::QuickGelu.apply(&gate)? * (up.clamp(-limit, limit)? + 1.0)?
            }
        }
    }
}

impl Activation {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu => candle_nn::ops::silu(x),
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
            Self::Relu => x.relu(),
            Self::ReluSquared => x.relu()?.sqr(),
        }
    }
}

/// Number of rows that pass both products of a block before the next rows do.
const BLOCK_ROWS: usize = 192;

/// A feed-forward block.
#[derive(Debug)]
pub(crate) enum Mlp {
    /// `down(gating(gate(x), up(x)))`; gate and up are one matrix, gate first.
    Gated {
        gate_up: Linear,
        down: Linear,
        gating: Gating,
    },
    /// `down(act(up(x)))`.
    Plain {
        up: Linear,
        down: Linear,
        activation: Activation,
    },
    /// A few experts of many, chosen for each token.
    Experts(Box<Experts>),
}

impl Mlp {
    /// `[..., hidden]` to `[..., hidden]`.
    ///
    /// # Errors
    /// On a shape mismatch, or if memory runs out.
    pub(crate) fn forward(&self, x: &Tensor, arithmetic: Arithmetic) -> Result<Tensor> {
        if cpu::available()
            && x.device().is_cpu()
            && let Some(y) = self.on_cpu(x, arithmetic)?
        {
            return Ok(y);
        }
        match self {
            Self::Gated {
                gate_up,
                down,
                gating,
            } => {
                let both = gate_up.forward(x, arithmetic)?;
                let width = both.dim(D::Minus1)? / 2;
                let gate = both.narrow(D::Minus1, 0, width)?.contiguous()?;
                let joined = gating.apply(&gate, &both.narrow(D::Minus1, width, width)?)?;
                down.forward(&joined, arithmetic)
            }
            Self::Plain {
                up,
                down,
                activation,
            } => down.forward(&activation.apply(&up.forward(x, arithmetic)?)?, arithmetic),
            Self::Experts(experts) => experts.forward(x, arithmetic),
        }
    }

    /// As [`Mlp::forward`], a few rows at a time, so that intermediate values stay in the cache.
    /// `None` if [`cpu`] can't compute this block.
    fn on_cpu(&self, x: &Tensor, arithmetic: Arithmetic) -> Result<Option<Tensor>> {
        let (up, down) = match self {
            Self::Gated { gate_up, down, .. } => (gate_up, down),
            Self::Plain { up, down, .. } => (up, down),
            Self::Experts(_) => return Ok(None),
        };
        let (width, wide, out) = (x.dim(D::Minus1)?, up.outputs()?, down.outputs()?);
        let block = if up.is_packed() && down.is_packed() {
            BLOCK_ROWS
        } else {
            usize::MAX / width.max(1)
        };
        let y = cpu::with_slice(x, |x| {
            let mut y = vec![0.0; x.len() / width * out];
            for (x, y) in x
                .chunks(block * width)
                .zip(y.chunks_mut(block.saturating_mul(out)))
            {
                let rows = x.len() / width;
                let done = cpu::with_scratch(rows * wide, |between| {
                    up.multiply(x, arithmetic, between)?;
                    match self {
                        Self::Gated { gating, .. } => {
                            cpu::with_scratch(rows * wide / 2, |joined| {
                                let known = activation::join(*gating, between, wide / 2, joined);
                                if known {
                                    down.multiply(joined, arithmetic, y).map(|()| true)
                                } else {
                                    Ok(false)
                                }
                            })
                        }
                        Self::Plain { activation, .. }
                            if activation::apply(*activation, between) =>
                        {
                            down.multiply(between, arithmetic, y).map(|()| true)
                        }
                        _ => Ok(false),
                    }
                });
                if !done? {
                    return Ok(None);
                }
            }
            Ok(Some(y))
        })?;
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = out;
        }
        y.flatten()
            .map(|y| Tensor::from_vec(y, shape, x.device()))
            .transpose()
    }
}
