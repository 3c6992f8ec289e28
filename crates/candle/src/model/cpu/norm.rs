//! Norms of one vector, in place.

use byrote_core::simd::vectorized;

const LANES: usize = 16;

/// Sum of `f` over the elements, in sixteen parallel sums.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let mut lanes = x.chunks_exact(LANES);
    for lane in &mut lanes {
        for (sum, x) in sums.iter_mut().zip(lane) {
            *sum += f(*x);
        }
    }
    let rest: f32 = lanes.remainder().iter().map(|x| f(*x)).sum();
    sums.iter().sum::<f32>() + rest
}

vectorized! {
    /// `x / sqrt(mean(x^2) + eps) * weight` (arXiv 1910.07467).
    pub(crate) fn rms(x: &mut [f32], weight: &[f32], eps: f32) {
        let scale = 1.0 / (sum(x, |x| x * x) / x.len() as f32 + eps).sqrt();
        for (x, weight) in x.iter_mut().zip(weight) {
            *x = *x * scale * weight;
        }
    }
}

vectorized! {
    /// `(x - mean) / sqrt(var + eps) * weight + bias` (arXiv 1607.06450).
    pub(crate) fn layer(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
        let count = x.len() as f32;
        let mean = sum(x, |x| x) / count;
        let scale = 1.0 / (sum(x, |x| (x - mean) * (x - mean)) / count + eps).sqrt();
        for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
            *x = (*x - mean) * scale * weight + bias;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_agree_with_their_definitions() {
        for len in [1usize, 3, 16, 50, 576] {
            let x: Vec<f32> = (0..len)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 17.0)
                .collect();
            let weight: Vec<f32> = (0..len).map(|i| 0.5 + (i % 7) as f32 / 5.0).collect();
            let bias: Vec<f32> = (0..len).map(|i| (i % 5) as f32 / 3.0).collect();
            let n = len as f64;
            let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
            let square = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n;
            let variance = x
                .iter()
                .map(|x| (f64::from(*x) - mean).powi(2))
                .sum::<f64>()
                / n;
            let (mut by_rms, mut by_layer) = (x.clone(), x.clone());
            rms(&mut by_rms, &weight, 1e-5);
            layer(&mut by_layer, &weight, &bias, 1e-5);
            for i in 0..len {
                let (x, weight) = (f64::from(x[i]), f64::from(weight[i]));
                let want = x / (square + 1e-5).sqrt() * weight;
                assert!((f64::from(by_rms[i]) - want).abs() < 1e-5, "{len} {i}");
                let want = (x - mean) / (variance + 1e-5).sqrt() * weight + f64::from(bias[i]);
                assert!((f64::from(by_layer[i]) - want).abs() < 1e-5, "{len} {i}");
            }
        }
    }
}
