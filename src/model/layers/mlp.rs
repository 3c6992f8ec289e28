//! Feed-forward blocks: gated and plain.

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
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluTanh,
    #[serde(rename = "relu")]
    Relu,
}

impl Activation {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu => candle_nn::ops::silu(x),
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Relu => x.relu(),
        }
    }
}

/// A feed-forward block.
#[derive(Debug)]
pub enum Mlp {
    /// `down(act(gate(x)) * up(x))`; gate and up are one matrix, gate first (arXiv 2002.05202).
    Gated { gate_up: Linear, down: Linear, activation: Activation },
    /// `down(act(up(x)))`.
    Plain { up: Linear, down: Linear, activation: Activation },
}

impl Mlp {
    /// `[..., hidden]` to `[..., hidden]`.
    ///
    /// # Errors
    /// On a shape mismatch or want of memory.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gated { gate_up, down, activation } => {
                let both = gate_up.forward(x)?;
                let width = both.dim(D::Minus1)? / 2;
                let gate = activation.apply(&both.narrow(D::Minus1, 0, width)?.contiguous()?)?;
                down.forward(&(gate * both.narrow(D::Minus1, width, width)?)?)
            }
            Self::Plain { up, down, activation } => down.forward(&activation.apply(&up.forward(x)?)?),
        }
    }
}
