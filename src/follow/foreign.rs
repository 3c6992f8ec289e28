//! The foreign-prefix prior: how much the true prefix adds over those of other texts (arXiv 2602.18733).

use crate::backend::{Backend, ScoreError};
use crate::metric::follow_up::ForeignPrefix;

/// `delta = ln p(s|p) - ln((1/J) sum_j p(s|p'_j))` of every suffix, in nats; `own` are the suffixes' `ln p(s|p)`.
///
/// # Errors
/// As for [`Backend::sum_logprobs`].
pub fn delta(
    backend: &dyn Backend,
    prefixes: &[&[u32]],
    suffixes: &[&[u32]],
    own: &[f64],
) -> Result<Vec<ForeignPrefix>, ScoreError> {
    let sums = backend.sum_logprobs(prefixes, suffixes)?;
    let of = |(sums, own): (&Vec<f64>, &f64)| {
        let max = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = max + (sums.iter().map(|sum| (sum - max).exp()).sum::<f64>() / sums.len() as f64).ln();
        ForeignPrefix { delta: own - mean, prefixes: sums.len() as u32 }
    };
    Ok(sums.iter().zip(own).map(of).collect())
}
