//! The beta distribution: what Clopper-Pearson intervals are made of.

use std::f64::consts::PI;

/// The x with `I_x(a, b) = p`, for a, b > 0: by halving, which can't go wrong and costs some 60 evaluations.
pub(super) fn quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle;
        }
        if regularized_incomplete(middle, a, b) < p {
            low = middle
        } else {
            high = middle
        }
        // Relative to the end that is sought, which may be very small.
        if high - low <= 1e-15 * low {
            return middle;
        }
    }
}

/// `I_x(a, b)`, the probability that a Beta(a, b) variable is at most x, by its continued fraction (DLMF 8.17.22), which
/// converges fast below the mean; above it, `1 - I_{1-x}(b, a)`.
pub(in crate::metric) fn regularized_incomplete(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let ln_front = a * x.ln() + b * (-x).ln_1p() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b);
    if x < (a + 1.0) / (a + b + 2.0) {
        (ln_front.exp() * continued_fraction(x, a, b) / a).min(1.0)
    } else {
        (1.0 - ln_front.exp() * continued_fraction(1.0 - x, b, a) / b).max(0.0)
    }
}

/// Steps of the continued fraction; it takes about the square root of the larger parameter.
const STEPS: u32 = 100_000;

/// The fraction by Lentz's method, as Thompson and Barnett 1986 changed it.
fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    // Stands in for a zero divisor; any tiny number does.
    let nonzero = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for coefficient in [even, odd] {
            d = 1.0 / nonzero(1.0 + coefficient * d);
            c = nonzero(1.0 + coefficient / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    fraction
}

/// `ln Gamma(x)` for x > 0 by Stirling's series (DLMF 5.11.1), from where five terms are exact to the last bit of an f64.
fn ln_gamma(mut x: f64) -> f64 {
    // Gamma(x) = Gamma(x + k) / (x (x + 1) .. (x + k - 1)).
    let mut product = 1.0;
    while x < 16.0 {
        product *= x;
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    let series =
        1.0 / 12.0 - z * (1.0 / 360.0 - z * (1.0 / 1260.0 - z * (1.0 / 1680.0 - z / 1188.0)));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + series / x - product.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_gamma_knows_factorials_and_the_root_of_pi() {
        for (x, expected) in [
            (1.0, 0.0),
            (2.0, 0.0),
            (0.5, PI.sqrt().ln()),
            (11.0, 3_628_800f64.ln()),
        ] {
            assert!((ln_gamma(x) - expected).abs() < 1e-13, "{x}");
        }
        // scipy.special.gammaln(1e6)
        assert!((ln_gamma(1e6) / 12_815_504.569_147_611 - 1.0).abs() < 1e-15);
    }

    #[test]
    fn the_beta_distribution_has_its_closed_forms() {
        for x in [0.0, 1e-9, 0.1, 0.5, 0.9, 1.0] {
            assert!(
                (regularized_incomplete(x, 1.0, 1.0) - x).abs() < 1e-13,
                "{x}"
            );
            assert!(
                (regularized_incomplete(x, 3.0, 1.0) - x.powi(3)).abs() < 1e-13,
                "{x}"
            );
            assert!(
                (regularized_incomplete(x, 1.0, 4.0) - (1.0 - (1.0 - x).powi(4))).abs() < 1e-13,
                "{x}"
            );
            let both =
                regularized_incomplete(x, 7.0, 30.0) + regularized_incomplete(1.0 - x, 30.0, 7.0);
            assert!((both - 1.0).abs() < 1e-13, "{x}");
        }
    }

    #[test]
    fn quantiles_turn_the_distribution_around() {
        for (a, b) in [(1.0, 1.0), (1.0, 1e6), (3.0, 5.0), (40.0, 2.0), (5e5, 5e5)] {
            for p in [1e-6, 0.025, 0.5, 0.975] {
                let x = quantile(p, a, b);
                assert!(
                    (regularized_incomplete(x, a, b) / p - 1.0).abs() < 1e-6,
                    "{a} {b} {p}: {x}"
                );
            }
        }
    }
}
