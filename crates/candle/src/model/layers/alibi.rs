//! Attention with linear biases in place of positions (ALiBi, arXiv 2108.12409).

use candle_core::{DType, Device, Result, Tensor};

/// A bias that grows with a key's position, steeper or flatter by head.
#[derive(Clone, Debug, PartialEq)]
pub struct Alibi {
    /// One a head.
    pub slopes: Vec<f32>,
    /// Slopes and biases are rounded to bf16, as the reference code of Falcon does, and the bias is scaled by this.
    pub rounded: Option<f64>,
}

impl Alibi {
    /// The published slopes: a geometric sequence from `2^(-max/heads)`, and where the number of heads is no power of two
    /// every other one of the next longer sequence behind those of the next shorter. `max` is 8 in the paper.
    pub fn slopes(heads: usize, max: f64) -> Vec<f32> {
        let shorter = 1usize << heads.max(1).ilog2();
        let sequence =
            |n: usize| (1..=n).map(move |i| (2f64.powf(-max * i as f64 / n as f64)) as f32);
        let rest = sequence(2 * shorter)
            .step_by(2)
            .take(heads - shorter.min(heads));
        sequence(shorter).chain(rest).collect()
    }

    /// The same in MPT's order: every other one of the next longer sequence first.
    pub fn slopes_of_mpt(heads: usize, max: f64) -> Vec<f32> {
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

    /// `[heads, 1, keys]`. Only differences between keys matter to a softmax, so the bias is that of the key's position.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn bias(&self, keys: usize, device: &Device) -> Result<Tensor> {
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
    fn slopes_are_those_of_the_paper() {
        let eight: Vec<f32> = (1..=8).map(|i| 0.5f32.powi(i)).collect();
        assert_eq!(Alibi::slopes(8, 8.0), eight);
        assert_eq!(Alibi::slopes_of_mpt(8, 8.0), eight);
        // Three heads: those of two, then the first of four.
        assert_eq!(Alibi::slopes(3, 8.0), [1.0 / 16.0, 1.0 / 256.0, 0.25]);
        assert_eq!(
            Alibi::slopes_of_mpt(3, 8.0),
            [1.0 / 16.0, 1.0 / 256.0, 0.25]
        );
    }
}
