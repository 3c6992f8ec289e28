//! Attention with linear biases instead of positions (ALiBi, arXiv 2108.12409).

use candle_core::{DType, Device, Result, Tensor};

/// A bias that grows with the position of the key, with a different slope per head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alibi {
    /// One slope per head.
    pub(crate) slopes: Vec<f32>,
    /// Factor on the bias. If present, slopes and biases are rounded to bf16, as in Falcon's
    /// reference code.
    pub(crate) rounded: Option<f64>,
}

impl Alibi {
    /// The published slopes: a geometric sequence from `2^(-max/heads)`. If the number of heads
    /// isn't a power of two, the slopes of the next smaller power of two, followed by every other
    /// slope of the next larger one. `max` is 8 in the paper.
    pub(crate) fn slopes(heads: usize, max: f64) -> Vec<f32> {
        let shorter = 1usize << heads.max(1).ilog2();
        let sequence =
            |n: usize| (1..=n).map(move |i| (2f64.powf(-max * i as f64 / n as f64)) as f32);
        let rest = sequence(2 * shorter)
            .step_by(2)
            .take(heads - shorter.min(heads));
        sequence(shorter).chain(rest).collect()
    }

    /// The same slopes in MPT's order: every other slope of the next larger power of two first.
    pub(crate) fn slopes_of_mpt(heads: usize, max: f64) -> Vec<f32> {
        let longer = heads.next_power_of_two();
        let all: Vec<f32> = (1..=longer)
            .map(|i| (2f64.powf(-max * i as f64 / longer as f64)) as f32)
            .collect();
        if longer == heads {
            return all;
        }
        all.iter()
            .skip(1)
            .step_by(2)
            .chain(all.iter().step_by(2))
            .take(heads)
            .copied()
            .collect()
    }

    /// `[heads, 1, keys]`. A softmax depends only on differences between keys, so the bias is a
    /// function of the key's position.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub(crate) fn bias(&self, keys: usize, device: &Device) -> Result<Tensor> {
        let slopes =
            Tensor::new(self.slopes.as_slice(), device)?.reshape((self.slopes.len(), 1, 1))?;
        let positions = Tensor::arange(0f32, keys as f32, device)?.reshape((1, 1, keys))?;
        match self.rounded {
            None => slopes.broadcast_mul(&positions),
            Some(scale) => {
                let round = |x: &Tensor| x.to_dtype(DType::BF16)?.to_dtype(DType::F32);
                round(&round(&slopes)?.broadcast_mul(&round(&positions)?)?)? * scale
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_equal_those_of_the_paper() {
        let eight: Vec<f32> = (1..=8).map(|i| 0.5f32.powi(i)).collect();
        assert_eq!(Alibi::slopes(8, 8.0), eight);
        assert_eq!(Alibi::slopes_of_mpt(8, 8.0), eight);
        // Three heads: the slopes of two heads, then the first of four.
        assert_eq!(Alibi::slopes(3, 8.0), [1.0 / 16.0, 1.0 / 256.0, 0.25]);
        assert_eq!(
            Alibi::slopes_of_mpt(3, 8.0),
            [1.0 / 16.0, 1.0 / 256.0, 0.25]
        );
    }
}
