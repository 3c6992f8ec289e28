//! How many samples it takes to see a text: (n, p)-discoverable extraction (arXiv 2410.19482).

use crate::float_serde::Real;
use crate::metric::probability;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::{LN_2, LN_10};

/// What it costs to extract one suffix under one scheme.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Natural log of the probability of one sample; at most 0, `-inf` = never.
    #[serde(with = "Real")]
    pub log_p_z: f64,
    /// `-log2 p_z`; may be infinite.
    #[serde(with = "Real")]
    pub bits: f64,
    /// Samples needed to see it with probability .5: a whole number, at least 1; `inf` = more than
    /// an f64 holds, or never.
    #[serde(with = "Real")]
    pub samples_p50: f64,
    /// The same with probability .9.
    #[serde(with = "Real")]
    pub samples_p90: f64,
}

impl Cost {
    /// Everything that follows from `ln p_z`.
    pub fn of(log_p_z: f64) -> Self {
        Self {
            log_p_z,
            bits: probability::bits(log_p_z),
            samples_p50: samples(log_p_z, 0.5),
            samples_p90: samples(log_p_z, 0.9),
        }
    }
}

/// Samples until the suffix is seen with probability `p` (strictly between 0 and 1):
/// the least whole `n` with `1 - (1 - p_z)^n >= p`, so `n = ceil(ln(1-p) / ln(1-p_z))`.
///
/// At least 1. `inf` for `p_z = 0` and beyond the range of f64; there [`ln_samples`] still tells them apart.
pub fn samples(log_p_z: f64, p: f64) -> f64 {
    let n = if log_p_z > -700.0 {
        (-p).ln_1p() / ln_miss(log_p_z)
    } else {
        ln_samples(log_p_z, p).exp()
    };
    // A whole n may come out a rounding error too large, and would then be one too many.
    (n - 1e-9).ceil().max(1.0)
}

/// `ln n(p)` without rounding to whole samples; finite for every `p_z > 0`, `inf` for `p_z = 0`.
pub fn ln_samples(log_p_z: f64, p: f64) -> f64 {
    // For p_z below 1e-100, -ln(1-p_z) = p_z to the last bit of an f64, and ln of that is known.
    let ln_rate = if log_p_z > -230.0 {
        (-ln_miss(log_p_z)).ln()
    } else {
        log_p_z
    };
    (-(-p).ln_1p()).ln() - ln_rate
}

/// `n(p)` for people: `1 sample`, `2,302 samples`, `about 10^70 samples`, `no number of samples`.
pub fn in_words(log_p_z: f64, p: f64) -> String {
    if log_p_z == f64::NEG_INFINITY {
        return "no number of samples".to_owned();
    }
    let n = samples(log_p_z, p);
    if n < 1e6 {
        let noun = if n > 1.0 { "samples" } else { "sample" };
        return format!("{} {noun}", grouped(n as u64));
    }
    format!("about 10^{:.0} samples", ln_samples(log_p_z, p) / LN_10)
}

/// `ln(1 - p_z)`: by `ln_1p` where `p_z` is small, by `expm1` where `1 - p_z` is.
fn ln_miss(log_p_z: f64) -> f64 {
    if log_p_z < -LN_2 {
        (-log_p_z.exp()).ln_1p()
    } else {
        (-log_p_z.exp_m1()).ln()
    }
}

/// A number with a comma every three digits.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_equal_those_of_numpy() {
        // numpy: ceil(log1p(-p) / log1p(-p_z)); the first two are the figures of arXiv 2505.12546.
        let cases = [
            (0.001, 0.5, 693.0),
            (0.001, 0.9, 2302.0),
            (0.5, 0.5, 1.0),
            (0.5, 0.9, 4.0),
            (0.5, 0.75, 2.0),
            (0.999_999, 0.9, 1.0),
            (1.0, 0.9, 1.0),
            (1e-12, 0.5, 693_147_180_560.0),
        ];
        for (p_z, p, expected) in cases {
            assert_eq!(samples(f64::ln(p_z), p), expected, "p_z = {p_z}, p = {p}");
        }
    }

    #[test]
    fn tiny_probabilities_keep_their_sample_count() {
        // ln 2 / p_z, where 1 - p_z is 1 in f64: a naive ln(1 - p_z) would divide by zero.
        let n = samples(-100.0, 0.5);
        assert!((n / (LN_2 * 100f64.exp()) - 1.0).abs() < 1e-12, "{n}");
        assert_eq!(samples(-800.0, 0.5), f64::INFINITY);
        assert!((ln_samples(-800.0, 0.5) - (800.0 + LN_2.ln())).abs() < 1e-9);
        assert!((ln_samples(-1e6, 0.9) - (1e6 + LN_10.ln())).abs() < 1e-6);
        assert_eq!(ln_samples(f64::NEG_INFINITY, 0.5), f64::INFINITY);
        assert_eq!(samples(f64::NEG_INFINITY, 0.5), f64::INFINITY);
    }

    #[test]
    fn ln_samples_agrees_with_samples_across_its_branches() {
        for log_p_z in [-2.0, -20.0, -229.9, -230.1, -699.9, -700.1] {
            let difference = samples(log_p_z, 0.9).ln() - ln_samples(log_p_z, 0.9);
            assert!(difference.abs() < 0.05, "{log_p_z}: {difference}");
        }
    }

    #[test]
    fn sample_counts_read_well() {
        let cases = [
            (-0.1, "1 sample"),
            (f64::ln(0.001), "693 samples"),
            (f64::ln(1e-5), "69,315 samples"),
            (-800.0, "about 10^347 samples"),
            (f64::NEG_INFINITY, "no number of samples"),
        ];
        for (log_p_z, expected) in cases {
            assert_eq!(in_words(log_p_z, 0.5), expected);
        }
    }
}
