//! Membership baselines: supporting evidence only, near chance on pretraining data (arXiv 2402.07841).

use crate::backend::TokenScores;
use crate::float_serde;
use crate::run::TextStats;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_2;

/// What the membership literature would look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Mean of `-lp_t`, in nats a token.
    #[serde(with = "float_serde")]
    #[schemars(schema_with = "float_serde::schema")]
    pub loss: f64,
    /// Loss of the whole suffix in bits by its bits under zlib (arXiv 2012.07805, there a mean by a size, which ranks
    /// windows of one length alike); lower = likelier than the text's own redundancy explains. NaN without characters.
    #[serde(with = "float_serde")]
    #[schemars(schema_with = "float_serde::schema")]
    pub zlib_ratio: f64,
    /// Mean of the 20% lowest `lp_t` (Min-K%, arXiv 2310.16789), in nats.
    #[serde(with = "float_serde")]
    #[schemars(schema_with = "float_serde::schema")]
    pub min_k: f64,
    /// Mean of the 20% lowest `(lp_t - mu_t) / sigma_t` (Min-K%++, arXiv 2404.02936); a token with `sigma_t = 0` counts
    /// as 0. NaN where the scores lack mu and sigma.
    #[serde(with = "float_serde")]
    #[schemars(schema_with = "float_serde::schema")]
    pub min_k_plus_plus: f64,
}

/// The share of tokens that Min-K% looks at.
const K: f64 = 0.2;

/// Everything of one window from its scores and its text's size.
pub fn of(scores: &TokenScores, text: &TextStats) -> Membership {
    let lp: Vec<f64> = scores.logprob.iter().map(|&lp| f64::from(lp)).collect();
    let moments = scores.expected_logprob.iter().zip(&scores.logprob_sd);
    let normalized = lp
        .iter()
        .zip(moments)
        .map(|(&lp, (&mean, &sd))| normalized(lp, f64::from(mean), f64::from(sd)))
        .collect();
    let sum: f64 = lp.iter().sum();
    let zlib_bits = text.zlib_bits_per_char * f64::from(text.suffix_chars);
    Membership {
        // Subtracting from 0 leaves no -0.
        loss: 0.0 - sum / lp.len() as f64,
        // A suffix of no characters has no redundancy to compare with.
        zlib_ratio: if zlib_bits > 0.0 {
            (0.0 - sum) / LN_2 / zlib_bits
        } else {
            f64::NAN
        },
        min_k: mean_of_lowest(lp, K),
        min_k_plus_plus: mean_of_lowest(normalized, K),
    }
}

/// `(lp - mu) / sigma`, how unusual a token is among those that the model would draw (arXiv 2404.02936).
///
/// sigma is 0 where all tokens that the model would draw are equally likely, above all where it is certain of one. Each
/// of them then has `lp = mu` but for rounding, and is as usual as can be: 0. A token it would never draw stays at `-inf`.
fn normalized(lp: f64, mean: f64, sd: f64) -> f64 {
    match sd {
        0.0 if lp.is_finite() => 0.0,
        0.0 => lp,
        _ => (lp - mean) / sd,
    }
}

/// Mean of the lowest share `k` of the values, at least one of them; NaN of nothing. The share is rounded down, as in the
/// reference code of both papers.
fn mean_of_lowest(mut values: Vec<f64>, k: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = ((values.len() as f64 * k) as usize)
        .max(1)
        .min(values.len());
    values[..count].iter().sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(logprob: &[f32], expected: &[f32], sd: &[f32]) -> TokenScores {
        let owned = <[f32]>::to_vec;
        TokenScores {
            logprob: owned(logprob),
            expected_logprob: owned(expected),
            logprob_sd: owned(sd),
            ..TokenScores::default()
        }
    }

    fn text(suffix_chars: u32, zlib_bits_per_char: f64) -> TextStats {
        TextStats {
            suffix_chars,
            zlib_bits_per_char,
            copied_from_prefix: 0.0,
        }
    }

    #[test]
    fn values_follow_their_formulas() {
        let lp = [-1.0, -2.0, -0.5, -4.0, -0.25, -0.25, -3.0, -1.0, -1.0, -1.0];
        let found = of(&window(&lp, &[-1.0; 10], &[0.5; 10]), &text(20, 2.0));
        // 14 nats over 10 tokens and 40 bits; the two lowest of ten are -4 and -3.
        let expected = Membership {
            loss: 1.4,
            zlib_ratio: 14.0 / LN_2 / 40.0,
            min_k: -3.5,
            min_k_plus_plus: -5.0,
        };
        for (found, expected) in [
            (found.loss, expected.loss),
            (found.zlib_ratio, expected.zlib_ratio),
            (found.min_k, expected.min_k),
            (found.min_k_plus_plus, expected.min_k_plus_plus),
        ] {
            assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        }
    }

    #[test]
    fn a_certain_model_divides_nothing_by_nothing() {
        let certain = of(&window(&[0.0; 5], &[0.0; 5], &[0.0; 5]), &text(10, 3.0));
        let expected = Membership {
            loss: 0.0,
            zlib_ratio: 0.0,
            min_k: 0.0,
            min_k_plus_plus: 0.0,
        };
        assert_eq!(certain, expected);
        assert!(certain.loss.is_sign_positive() && certain.zlib_ratio.is_sign_positive());
        // One of four equally likely tokens, rounded: as usual as can be.
        let even = of(
            &window(&[-1.386_294_4], &[-1.386_294_5], &[0.0]),
            &text(10, 3.0),
        );
        assert_eq!(even.min_k_plus_plus, 0.0);
        // A token that the model would never draw.
        let never = of(
            &window(&[f32::NEG_INFINITY], &[0.0], &[0.0]),
            &text(10, 3.0),
        );
        assert_eq!(
            (never.loss, never.min_k_plus_plus),
            (f64::INFINITY, f64::NEG_INFINITY)
        );
    }

    #[test]
    fn what_cannot_be_said_is_no_number() {
        let nothing = of(&window(&[], &[], &[]), &text(0, 0.0));
        assert!(
            nothing.loss.is_nan() && nothing.min_k.is_nan() && nothing.min_k_plus_plus.is_nan()
        );
        assert!(
            of(&window(&[-1.0], &[-1.0], &[0.5]), &text(0, 0.0))
                .zlib_ratio
                .is_nan()
        );
        // Scores of old runs have no moments.
        assert!(
            of(&window(&[-1.0], &[], &[]), &text(5, 3.0))
                .min_k_plus_plus
                .is_nan()
        );
    }

    #[test]
    fn the_lowest_fifth_is_rounded_down_but_never_empty() {
        let values: Vec<f64> = (1..=14).map(f64::from).collect();
        for (n, expected) in [(1, 1.0), (4, 1.0), (5, 1.0), (9, 1.0), (10, 1.5), (14, 1.5)] {
            assert_eq!(mean_of_lowest(values[..n].to_vec(), K), expected, "{n}");
        }
    }
}
