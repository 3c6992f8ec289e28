//! Root-mean-square and layer norms, in f32.

use candle_core::{Result, Tensor};

/// A norm over the last dimension.
#[derive(Debug)]
pub enum Norm {
    /// `x / sqrt(mean(x^2) + eps) * weight` (arXiv 1910.07467).
    Rms { weight: Tensor, eps: f32 },
    /// `(x - mean) / sqrt(var + eps) * weight + bias` (arXiv 1607.06450).
    Layer { weight: Tensor, bias: Tensor, eps: f32 },
    /// A layer norm without bias for each head: `weight` is `[heads, head_dim]`, and the last two dimensions of what is
    /// normalized are these (Cohere, StableLM). `ones` and `zeros` are `[head_dim]`.
    Heads { weight: Tensor, ones: Tensor, zeros: Tensor, eps: f32 },
}

impl Norm {
    /// Normalizes each vector of the last dimension; shape and dtype (f32) stay.
    ///
    /// # Errors
    /// When the last dimension isn't the weight's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        match self {
            Self::Rms { weight, eps } => candle_nn::ops::rms_norm(&x, weight, *eps),
            Self::Layer { weight, bias, eps } => candle_nn::ops::layer_norm(&x, weight, bias, *eps),
            Self::Heads { weight, ones, zeros, eps } => {
                candle_nn::ops::layer_norm(&x, ones, zeros, *eps)?.broadcast_mul(weight)
            }
        }
    }
}
