//! Probability of a suffix, as natural logarithms.

use std::f64::consts::{LN_2, LN_10};

/// `sum_t ln P(z_t | z_<t)` under plain sampling at T = 1, in nats, summed in f64. At most 0 but for
/// rounding in the scores.
pub fn sum_logprob(logprob: &[f32]) -> f64 {
    logprob.iter().map(|&lp| f64::from(lp)).sum()
}

/// `ln p_z = sum_t ln pi(z_t | z_<t)`, where `pi` is the distribution after the scheme's warp: the natural log
/// of the probability that one sample is exactly the suffix (arXiv 2410.19482, 2505.12546).
///
/// `-inf` where the scheme never samples some token. At most 0: rounding in the scores can't make a
/// probability above 1.
pub fn log_p_z(scheme_logprob: &[f32]) -> f64 {
    sum_logprob(scheme_logprob).min(0.0)
}

/// `-log2 p_z`: bits of surprise of one suffix, at least 0, infinite for `p_z = 0`.
pub fn bits(log_p_z: f64) -> f64 {
    // Adding 0 turns -0 into 0.
    -log_p_z / LN_2 + 0.0
}

/// A probability for people, from its natural log: `0.83`, `2.1e-70`, `0`. Works far below the least f64.
pub fn in_digits(log_p: f64) -> String {
    if log_p == f64::NEG_INFINITY {
        return "0".to_owned();
    }
    if log_p.is_nan() {
        return "unknown".to_owned();
    }
    if log_p >= -3.0 * LN_10 {
        let p = log_p.exp();
        return if p >= 0.1 {
            trimmed(&format!("{p:.2}"))
        } else {
            trimmed(&format!("{p:.4}"))
        };
    }
    let mut exponent = (log_p / LN_10).floor();
    let mut mantissa = (log_p - exponent * LN_10).exp();
    if mantissa >= 9.95 {
        mantissa /= 10.0;
        exponent += 1.0;
    }
    format!("{mantissa:.1}e{exponent:.0}")
}

fn trimmed(digits: &str) -> String {
    digits
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_outside_the_scheme_makes_the_suffix_impossible() {
        assert_eq!(
            log_p_z(&[-0.5, f32::NEG_INFINITY, -0.25]),
            f64::NEG_INFINITY
        );
        assert_eq!(bits(f64::NEG_INFINITY), f64::INFINITY);
    }

    #[test]
    fn log_probabilities_add_up_and_never_exceed_certainty() {
        assert_eq!(sum_logprob(&[-0.5, -0.25, -1.0]), -1.75);
        assert_eq!(log_p_z(&[-0.5, -0.25, -1.0]), -1.75);
        assert_eq!(log_p_z(&[1e-7, 1e-7]), 0.0);
        assert_eq!(bits(-3.0 * LN_2), 3.0);
        assert!(bits(0.0).is_sign_positive());
    }

    #[test]
    fn sums_are_taken_in_f64() {
        // In f32 the small terms would be lost beside the large one.
        let mut lps = vec![-1.0e-5f32; 1000];
        lps[0] = -4096.0;
        assert!((sum_logprob(&lps) + 4096.00999).abs() < 1e-6);
    }

    #[test]
    fn probabilities_read_well_from_one_to_the_unspeakable() {
        let cases = [
            (0.0, "1"),
            (0.83f64.ln(), "0.83"),
            (0.05f64.ln(), "0.05"),
            (0.001f64.ln(), "0.001"),
            (2.5e-7f64.ln(), "2.5e-7"),
            (9.99e-8f64.ln(), "1.0e-7"),
            (-1000.0 * LN_10 + 2f64.ln(), "2.0e-1000"),
            (f64::NEG_INFINITY, "0"),
        ];
        for (log_p, expected) in cases {
            assert_eq!(in_digits(log_p), expected, "{log_p}");
        }
    }
}
