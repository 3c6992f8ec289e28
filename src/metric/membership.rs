//! Membership baselines: supporting evidence only, near chance on pretraining data (arXiv 2402.07841).

use crate::backend::TokenScores;
use crate::metric::real;
use crate::run::TextStats;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_2;

/// What the membership literature would look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Mean of `-lp_t`, in nats a token.
    #[serde(with = "real")]
    #[schemars(schema_with = "real::schema")]
    pub loss: f64,
    /// Loss of the suffix in bits by its bits under zlib (arXiv 2012.07805); lower = likelier than the text's own
    /// redundancy explains.
    #[serde(with = "real")]
    #[schemars(schema_with = "real::schema")]
    pub zlib_ratio: f64,
    /// Mean of the 20% lowest `lp_t` (Min-K%, arXiv 2310.16789), in nats.
    #[serde(with = "real")]
    #[schemars(schema_with = "real::schema")]
    pub min_k: f64,
    /// Mean of the 20% lowest `(lp_t - mu_t) / sigma_t` (Min-K%++, arXiv 2404.02936).
    #[serde(with = "real")]
    #[schemars(schema_with = "real::schema")]
    pub min_k_plus_plus: f64,
}

/// The share of tokens that Min-K% looks at.
const K: f64 = 0.2;

/// Everything of one window from its scores and its text's size.
pub fn of(scores: &TokenScores, text: &TextStats) -> Membership {
    let lp: Vec<f64> = scores.logprob.iter().map(|&lp| f64::from(lp)).collect();
    let normalized: Vec<f64> = lp
        .iter()
        .zip(scores.expected_logprob.iter().zip(&scores.logprob_sd))
        .map(|(lp, (mean, sd))| (lp - f64::from(*mean)) / f64::from(*sd))
        .collect();
    let sum: f64 = lp.iter().sum();
    let zlib_bits = text.zlib_bits_per_char * f64::from(text.suffix_chars);
    Membership {
        loss: -sum / lp.len() as f64,
        zlib_ratio: -sum / LN_2 / zlib_bits,
        min_k: mean_of_lowest(lp, K),
        min_k_plus_plus: mean_of_lowest(normalized, K),
    }
}

/// Mean of the lowest share `k` of the values, at least one of them; NaN of nothing.
fn mean_of_lowest(mut values: Vec<f64>, k: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = ((values.len() as f64 * k) as usize).max(1).min(values.len());
    values[..count].iter().sum::<f64>() / count as f64
}
