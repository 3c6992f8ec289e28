//! Canary exposure: how far up among texts that could have been planted a planted one stands (arXiv 1802.08232).

use crate::float_serde::Real;
use crate::metric::interval::clopper_pearson;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Exposure with a sample of controls in place of the space of candidates: `-log2` of the share of controls that reach the
/// canary's value (arXiv 1802.08232, section 4.4, by sampling).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Exposure {
    /// `-log2((1 + at least) / (n + 1))`, in bits; at most `log2(n + 1)`.
    #[serde(with = "Real")]
    pub bits: f64,
    /// From the Clopper-Pearson interval of that share at confidence .95; `upper` is infinite if no control reaches it.
    #[serde(with = "Real")]
    pub lower: f64,
    #[serde(with = "Real")]
    pub upper: f64,
}

/// Confidence of the interval.
const CONFIDENCE: f64 = 0.95;

/// The exposure of a canary whose value `at_least` of `controls` reach. Without controls it is 0 bits, and anything from 0
/// to infinity.
pub fn exposure(at_least: u64, controls: u64) -> Exposure {
    let at_least = at_least.min(controls);
    let (least_share, greatest_share) = clopper_pearson(at_least, controls, CONFIDENCE);
    Exposure {
        bits: bits((1.0 + at_least as f64) / (controls as f64 + 1.0)),
        lower: bits(greatest_share),
        upper: bits(least_share),
    }
}

/// Exposure where every candidate was scored: `log2 |R| - log2 rank`, in bits, with ranks from 1 for the likeliest of the
/// `candidates` (arXiv 1802.08232, definition 3). `None` for a rank that there isn't.
pub fn rank_exposure(rank: u64, candidates: u64) -> Option<f64> {
    (1..=candidates)
        .contains(&rank)
        .then(|| (candidates as f64).log2() - (rank as f64).log2())
}

/// `-log2`; adding 0 turns -0 into 0.
fn bits(share: f64) -> f64 {
    -share.log2() + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_counts_halvings_of_the_controls() {
        for (at_least, controls, expected) in [
            (0, 255, 8.0),
            (1, 255, 7.0),
            (127, 255, 1.0),
            (255, 255, 0.0),
        ] {
            assert_eq!(
                exposure(at_least, controls).bits,
                expected,
                "{at_least} of {controls}"
            );
        }
        let none = exposure(0, 240);
        assert_eq!(none.upper, f64::INFINITY);
        // At most about 3.7 in 240 at confidence .95.
        assert!((none.lower - -(1.0 - 0.025f64.powf(1.0 / 240.0)).log2()).abs() < 1e-9);
        let nothing = exposure(0, 0);
        assert_eq!(
            (nothing.bits, nothing.lower, nothing.upper),
            (0.0, 0.0, f64::INFINITY)
        );
        assert!(nothing.bits.is_sign_positive() && nothing.lower.is_sign_positive());
    }

    #[test]
    fn the_interval_holds_the_exposure() {
        for controls in [1, 19, 240] {
            for at_least in 0..=controls {
                let Exposure { bits, lower, upper } = exposure(at_least, controls);
                assert!(
                    lower <= bits && bits <= upper,
                    "{at_least} of {controls}: {lower} {bits} {upper}"
                );
            }
        }
    }

    #[test]
    fn a_rank_among_all_candidates_needs_no_interval() {
        assert_eq!(rank_exposure(1, 1 << 20), Some(20.0));
        assert_eq!(rank_exposure(1 << 20, 1 << 20), Some(0.0));
        assert_eq!(
            [
                rank_exposure(0, 9),
                rank_exposure(10, 9),
                rank_exposure(1, 0)
            ],
            [None; 3]
        );
    }
}
