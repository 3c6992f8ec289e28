//! The foreign-prefix prior: how much its own prefix adds to a suffix, over prefixes of other texts
//! (arXiv 2602.18733). The same model answers both, so no second model is needed.

use crate::backend::{Backend, ScoreError};
use crate::run::follow_up::ForeignPrefix;

/// `delta = ln p(s|p) - ln((1/J) sum_j p(s|p'_j))` in nats for every suffix `s`, over J foreign prefixes `p'_j` of one
/// length; `own` are the suffixes' `ln p(s|p)` at T = 1.
///
/// # Errors
/// As for [`Backend::sum_logprobs`]; also when there is no prefix, or not one `own` a suffix, or one isn't finite.
pub fn delta(
    backend: &dyn Backend,
    prefixes: &[&[u32]],
    suffixes: &[&[u32]],
    own: &[f64],
) -> Result<Vec<ForeignPrefix>, ScoreError> {
    if own.len() != suffixes.len() {
        let what = format!(
            "{} suffixes were given with {} log-probabilities of their own",
            suffixes.len(),
            own.len()
        );
        return Err(ScoreError::Backend(what));
    }
    if prefixes.is_empty() {
        return Err(ScoreError::Backend(
            "there is no foreign prefix to compare with".to_owned(),
        ));
    }
    let foreign = backend.sum_logprobs(prefixes, suffixes)?;
    if foreign.len() != suffixes.len() || foreign.iter().any(|list| list.len() != prefixes.len()) {
        return Err(ScoreError::Backend(
            "not every suffix was scored after every foreign prefix".to_owned(),
        ));
    }
    let one = |(own, foreign): (&f64, &Vec<f64>)| {
        let delta = own - (log_sum_exp(foreign) - (foreign.len() as f64).ln());
        // Absent is not zero, and not a number is neither.
        if delta.is_finite() {
            Ok(ForeignPrefix {
                delta,
                prefixes: u32::try_from(foreign.len()).unwrap_or(u32::MAX),
            })
        } else {
            Err(ScoreError::NonFinite { position: 0 })
        }
    };
    own.iter().zip(&foreign).map(one).collect()
}

/// ln sum exp(x) of log-probabilities; the largest is taken out, so that none underflows.
pub(super) fn log_sum_exp(values: &[f64]) -> f64 {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return max;
    }
    max + values
        .iter()
        .map(|value| (value - max).exp())
        .sum::<f64>()
        .ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::TokenScores;
    use crate::backend::scripted::Scripted;

    /// A model that gives these windows these log-probabilities.
    fn told(windows: &[(&[u32], &[f32])]) -> Scripted {
        let mut backend = Scripted::new(20, 16);
        for (ids, logprob) in windows {
            backend.set(
                ids,
                TokenScores {
                    logprob: logprob.to_vec(),
                    ..TokenScores::default()
                },
            );
        }
        backend
    }

    #[test]
    fn delta_is_what_the_own_prefix_adds_over_the_mean_of_the_foreign_ones() {
        let half = 0.5f32.ln();
        let backend = told(&[
            (&[1, 2, 7, 8], &[half, half]),
            (&[3, 4, 7, 8], &[2.0 * half, half]),
            (&[1, 2, 9], &[-1.0]),
            (&[3, 4, 9], &[-1.0]),
            (&[1, 2, 5], &[-3_000.0]),
            (&[3, 4, 5], &[-3_001.0]),
        ]);
        let found = delta(
            &backend,
            &[&[1, 2], &[3, 4]],
            &[&[7, 8], &[9], &[5]],
            &[0.0, -1.0, -10.0],
        )
        .unwrap();
        // (1/4 + 1/8) / 2 = 3/16; equal after all prefixes; and where p(s|p') itself is no f64.
        let expected = [
            -(3.0f64 / 16.0).ln(),
            0.0,
            2_990.0 - ((1.0 + (-1.0f64).exp()) / 2.0).ln(),
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found.delta - expected).abs() < 1e-6,
                "{} against {expected}",
                found.delta
            );
            assert_eq!(found.prefixes, 2);
        }
    }

    #[test]
    fn a_text_recalled_by_its_prefix_has_a_large_delta_and_another_after_it_has_none() {
        let mut backend = Scripted::new(50, 32);
        let text: Vec<u32> = (10..26).collect();
        backend.memorize(&text, 20.0);
        let (prefix, suffix) = text.split_at(4);
        let other: Vec<u32> = (30..42).rev().collect();
        let foreign: Vec<Vec<u32>> = (0..4).map(|i| vec![i, i + 5, 3 * i, 9]).collect();
        let foreign: Vec<&[u32]> = foreign.iter().map(Vec::as_slice).collect();
        let own = backend
            .sum_logprobs(&[prefix], &[suffix, &other])
            .unwrap()
            .concat();
        let found = delta(&backend, &foreign, &[suffix, &other], &own).unwrap();
        assert!(found[0].delta > 5.0, "{found:?}");
        // After that prefix the model recites, which makes any other text less likely than it is elsewhere.
        assert!(found[1].delta < 0.0, "{found:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_an_error_and_never_a_delta() {
        let backend = told(&[(&[1, 2], &[f32::NEG_INFINITY])]);
        let told = |prefixes: &[&[u32]], suffix: &[u32], own: &[f64]| {
            delta(&backend, prefixes, &[suffix], own)
        };
        assert!(matches!(
            told(&[&[1]], &[2], &[-1.0]),
            Err(ScoreError::NonFinite { .. })
        ));
        assert!(matches!(
            told(&[&[1]], &[3], &[f64::NAN]),
            Err(ScoreError::NonFinite { .. })
        ));
        assert!(matches!(
            told(&[], &[3], &[-1.0]),
            Err(ScoreError::Backend(_))
        ));
        assert!(matches!(
            told(&[&[1]], &[3], &[]),
            Err(ScoreError::Backend(_))
        ));
        assert_eq!(told(&[&[1]], &[], &[-1.0]), Err(ScoreError::EmptySuffix));
        assert_eq!(
            told(&[&[1]], &[20], &[-1.0]),
            Err(ScoreError::UnknownToken { id: 20, vocab: 20 })
        );
    }
}
