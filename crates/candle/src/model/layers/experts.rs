//! Mixtures of experts: a router chooses a few feed-forward blocks for each token (arXiv
//! 1701.06538, 2101.03961).

use super::linear::Linear;
use super::mlp::Mlp;
use crate::model::cpu::packed::Arithmetic;
use candle_core::{D, Result, Tensor};

/// How the outputs of the chosen experts are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouterWeights {
    /// By their share of the softmax over all experts.
    Share,
    /// By these shares, renormalized to a sum of one over the chosen experts.
    Renormalized,
}

/// A mixture of experts.
#[derive(Debug)]
pub(crate) struct Experts {
    pub(crate) router: Linear,
    pub(crate) experts: Vec<Mlp>,
    /// Number of experts per token.
    pub(crate) chosen: usize,
    pub(crate) router_weights: RouterWeights,
    /// An expert that every token passes, and the gate whose sigmoid is its weight.
    pub(crate) shared: Option<(Mlp, Option<Linear>)>,
}

impl Experts {
    /// `[..., hidden]` to `[..., hidden]`.
    ///
    /// # Errors
    /// On a shape mismatch, or if memory runs out.
    pub(crate) fn forward(&self, x: &Tensor, arithmetic: Arithmetic) -> Result<Tensor> {
        let width = x.dim(D::Minus1)?;
        let rows = x.reshape(((), width))?;
        let shares =
            candle_nn::ops::softmax_last_dim(&self.router.forward(&rows, Arithmetic::F32)?)?
                .to_vec2::<f32>()?;
        // Rows of each expert, with their weights.
        let mut of: Vec<(Vec<u32>, Vec<f32>)> = vec![Default::default(); self.experts.len()];
        for (row, shares) in shares.iter().enumerate() {
            for (expert, weight) in self.choose(shares) {
                of[expert].0.push(row as u32);
                of[expert].1.push(weight);
            }
        }
        let mut y = rows.zeros_like()?;
        for (expert, (members, weights)) in self.experts.iter().zip(of) {
            if members.is_empty() {
                continue;
            }
            let count = members.len();
            let members = Tensor::from_vec(members, count, x.device())?;
            let weights = Tensor::from_vec(weights, (count, 1), x.device())?;
            let out = expert
                .forward(&rows.index_select(&members, 0)?, arithmetic)?
                .broadcast_mul(&weights)?;
            y = y.index_add(&members, &out, 0)?;
        }
        if let Some((shared, gate)) = &self.shared {
            let mut out = shared.forward(&rows, arithmetic)?;
            if let Some(gate) = gate {
                out = out.broadcast_mul(&candle_nn::ops::sigmoid(
                    &gate.forward(&rows, Arithmetic::F32)?,
                )?)?;
            }
            y = (y + out)?;
        }
        y.reshape(x.shape())
    }

    /// Chooses the experts of a token by their shares, and returns them with their weights. Among
    /// equal shares, the first counts as the largest.
    fn choose(&self, shares: &[f32]) -> Vec<(usize, f32)> {
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
        order.truncate(self.chosen);
        let sum: f32 = match self.router_weights {
            RouterWeights::Share => 1.0,
            RouterWeights::Renormalized => order.iter().map(|i| shares[*i]).sum(),
        };
        order.into_iter().map(|i| (i, shares[i] / sum)).collect()
    }
}
