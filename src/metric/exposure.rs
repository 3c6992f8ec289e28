//! Canary exposure (arXiv 1802.08232): how far a canary stands out from texts that were never trained on.

use crate::metric::interval::clopper_pearson;

/// Exposure in bits and the ends of its interval, of a canary whose value is reached by `at_least` of `of` texts of the same
/// kind: `-log2((1 + at_least) / (of + 1))`, at most `log2(of + 1)`. The interval is that of the share
/// `at_least / of` (Clopper, Pearson 1934); its upper end is infinite if no text reaches the canary.
pub fn exposure(at_least: u64, of: u64, confidence: f64) -> (f64, f64, f64) {
    let bits = -((1 + at_least) as f64 / (of + 1) as f64).log2();
    let (lower, upper) = clopper_pearson(at_least, of, confidence);
    // -log2(1) is -0.
    (bits.max(0.0), (-upper.log2()).max(0.0), (-lower.log2()).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_counts_the_doublings_of_the_candidates_it_beats() {
        // scipy.stats.binomtest(k, n).proportion_ci(.95, "exact"): 0 of 255: (0, .0143621); 16 of 255: (.0362862, .0998960)
        let (bits, lower, upper) = exposure(0, 255, 0.95);
        assert!(bits == 8.0 && (lower - 6.1216).abs() < 1e-3 && upper == f64::INFINITY, "{bits} {lower} {upper}");
        let (bits, lower, upper) = exposure(16, 255, 0.95);
        assert!((bits - 3.9125).abs() < 1e-3, "{bits}");
        assert!(lower < bits && bits < upper, "{lower} {bits} {upper}");
        assert_eq!(exposure(9, 9, 0.95).0, 0.0);
    }
}
