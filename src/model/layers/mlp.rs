//! Feed-forward blocks: gated, plain, and mixtures of experts.

use super::experts::Experts;
use super::linear::Linear;
use candle_core::{D, Result, Tensor};
use serde::Deserialize;

/// The nonlinearity, by the names that config.json uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Activation {
    #[serde(rename = "silu", alias = "swish")]
    Silu,
    /// The exact one, with the error function.
    #[serde(rename = "gelu")]
    Gelu,
    /// The tanh approximation under its several names.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh", alias = "gelu_fast", alias = "gelu_python_tanh")]
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

/// How a gated block puts its two halves together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gating {
    /// `act(gate) * up` (arXiv 2002.05202).
    Product(Activation),
    /// gpt-oss: `gate * sigmoid(1.702 gate) * (up + 1)`, the gate at most `limit`, `up` between `-limit` and `limit`
    /// (arXiv 2508.10925).
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

/// A feed-forward block.
#[derive(Debug)]
pub enum Mlp {
    /// `down(gating(gate(x), up(x)))`; gate and up are one matrix, gate first.
    Gated { gate_up: Linear, down: Linear, gating: Gating },
    /// `down(act(up(x)))`.
    Plain { up: Linear, down: Linear, activation: Activation },
    /// A few of many, chosen for each token.
    Experts(Box<Experts>),
}

impl Mlp {
    /// `[..., hidden]` to `[..., hidden]`.
    ///
    /// # Errors
    /// On a shape mismatch or want of memory.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gated { gate_up, down, gating } => {
                let both = gate_up.forward(x)?;
                let width = both.dim(D::Minus1)? / 2;
                let gate = both.narrow(D::Minus1, 0, width)?.contiguous()?;
                down.forward(&gating.apply(&gate, &both.narrow(D::Minus1, width, width)?)?)
            }
            Self::Plain { up, down, activation } => down.forward(&activation.apply(&up.forward(x)?)?),
            Self::Experts(experts) => experts.forward(x),
        }
    }
}
