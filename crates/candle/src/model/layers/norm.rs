//! Root-mean-square and layer norms, in f32.

use crate::model::cpu;
use candle_core::{Result, Tensor};

/// A norm over the last dimension.
#[derive(Debug)]
pub(crate) enum Norm {
    /// `x / sqrt(mean(x^2) + eps) * weight` (arXiv 1910.07467).
    Rms { weight: Tensor, eps: f32 },
    /// `(x - mean) / sqrt(var + eps) * weight + bias` (arXiv 1607.06450).
    Layer {
        weight: Tensor,
        bias: Tensor,
        eps: f32,
    },
    /// A layer norm without bias for each head. `weight` is `[heads, head_dim]`, the last two
    /// dimensions of the input (Cohere, StableLM). `ones` and `zeros` are `[head_dim]`.
    Heads {
        weight: Tensor,
        ones: Tensor,
        zeros: Tensor,
        eps: f32,
    },
}

impl Norm {
    /// Normalizes each vector of the last dimension; shape and dtype (f32) don't change.
    ///
    /// # Errors
    /// If the last dimension differs from the weight's.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        if cpu::available() && x.device().is_cpu() {
            let normed = cpu::with_slice(&x, |x| {
                let mut normed = x.to_vec();
                self.in_place(&mut normed)?;
                Ok(normed)
            })?;
            if let Some(normed) = normed {
                return Tensor::from_vec(normed, x.shape(), x.device());
            }
        }
        match self {
            Self::Rms { weight, eps } => candle_nn::ops::rms_norm(&x, weight, *eps),
            Self::Layer { weight, bias, eps } => candle_nn::ops::layer_norm(&x, weight, bias, *eps),
            Self::Heads {
                weight,
                ones,
                zeros,
                eps,
            } => candle_nn::ops::layer_norm(&x, ones, zeros, *eps)?.broadcast_mul(weight),
        }
    }

    /// As [`Norm::forward`], on the CPU, over consecutive vectors.
    ///
    /// # Errors
    /// If they aren't whole vectors of the weight's length.
    pub(in crate::model) fn in_place(&self, x: &mut [f32]) -> Result<()> {
        let (weight, bias, eps) = match self {
            Self::Rms { weight, eps } => (weight, None, *eps),
            Self::Layer { weight, bias, eps } => (weight, Some(bias), *eps),
            Self::Heads {
                weight, zeros, eps, ..
            } => (weight, Some(zeros), *eps),
        };
        // Cycle through the weights of the heads.
        let len = weight.dims().last().copied().unwrap_or_default();
        if len == 0 || !x.len().is_multiple_of(weight.elem_count()) {
            candle_core::bail!(
                "{} numbers aren't whole vectors of a norm's {:?}",
                x.len(),
                weight.dims()
            );
        }
        let done = cpu::with_slice(weight, |weight| {
            let weights = || weight.chunks_exact(len).cycle();
            match bias {
                None => {
                    x.chunks_exact_mut(len)
                        .zip(weights())
                        .for_each(|(x, weight)| cpu::norm::rms(x, weight, eps));
                    Ok(Some(()))
                }
                Some(bias) => cpu::with_slice(bias, |bias| {
                    let both = x.chunks_exact_mut(len).zip(weights());
                    both.for_each(|(x, weight)| cpu::norm::layer(x, weight, bias, eps));
                    Ok(())
                }),
            }
        })?;
        match done.flatten() {
            Some(()) => Ok(()),
            None => candle_core::bail!("a norm's weights aren't f32 on the CPU"),
        }
    }
}
