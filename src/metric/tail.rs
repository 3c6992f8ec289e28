//! A tail fitted to the highest values of controls: p-values below what counting allows. Model-based.

/// Fewest values above the threshold; with fewer nothing is fitted.
const FEWEST: usize = 10;
/// Share of the values above the threshold.
const SHARE: f64 = 0.2;

/// A generalized Pareto tail: `P(X > x) = zeta (1 + xi (x - u) / sigma)^(-1/xi)` for `x > u`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// xi, held at 0 or above (at 0: exponential), so that no value is impossible.
    pub shape: f64,
    /// sigma, in units of the values.
    pub scale: f64,
    /// u: the greatest value that isn't in the tail.
    pub threshold: f64,
    /// Values above u.
    pub exceedances: u64,
    /// Values in all.
    pub of: u64,
}

/// Fits the tail above the 80th percentile by probability-weighted moments (Hosking, Wallis 1987, Technometrics 29:339;
/// for p-values: Knijnenburg et al. 2009, Bioinformatics 25:i161). `None` for fewer than 50 values, or where all
/// of the tail is one value.
pub fn fit(values: &[f64]) -> Option<Tail> {
    let mut ordered: Vec<f64> = values.to_vec();
    ordered.sort_by(f64::total_cmp);
    let k = (SHARE * ordered.len() as f64) as usize;
    if k < FEWEST {
        return None;
    }
    let (rest, top) = ordered.split_at(ordered.len() - k);
    let threshold = *rest.last()?;
    let excess: Vec<f64> = top.iter().map(|value| value - threshold).filter(|excess| *excess > 0.0).collect();
    if excess.len() < FEWEST || !excess.iter().all(|excess| excess.is_finite()) {
        return None;
    }
    let n = excess.len() as f64;
    let mean = excess.iter().sum::<f64>() / n;
    // a_1 = E[Y (1 - F(Y))], unbiased: the i-th smallest of n weighs (n - i) / (n - 1).
    let weighted = excess.iter().zip(1..).map(|(y, i)| y * (n - f64::from(i)) / (n - 1.0)).sum::<f64>() / n;
    let shape = 2.0 - mean / (mean - 2.0 * weighted);
    let (shape, scale) =
        if shape > 0.0 { (shape, 2.0 * mean * weighted / (mean - 2.0 * weighted)) } else { (0.0, mean) };
    let tail = Tail { shape, scale, threshold, exceedances: excess.len() as u64, of: ordered.len() as u64 };
    (tail.scale > 0.0 && tail.scale.is_finite() && tail.shape.is_finite()).then_some(tail)
}

impl Tail {
    /// The probability of a value of at least `x`, 0 to 1; below the threshold that of the threshold. The share of the tail is
    /// `(k + 1) / (n + 1)`, as in a conformal p-value.
    pub fn p_value(&self, x: f64) -> f64 {
        let share = (self.exceedances + 1) as f64 / (self.of + 1) as f64;
        let z = ((x - self.threshold) / self.scale).max(0.0);
        let beyond = if self.shape < 1e-9 { (-z).exp() } else { (-(self.shape * z).ln_1p() / self.shape).exp() };
        (share * beyond).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `n` quantiles of a distribution, by its inverse.
    fn quantiles(n: usize, inverse: impl Fn(f64) -> f64) -> Vec<f64> {
        (0..n).map(|i| inverse((i as f64 + 0.5) / n as f64)).collect()
    }

    #[test]
    fn known_tails_are_found_again() {
        // (1 - u)^-xi - 1, over xi: generalized Pareto of scale 1, whose excesses over any threshold are so again.
        for xi in [0.1, 0.3, 0.6] {
            let tail = fit(&quantiles(5_000, |u| ((1.0 - u).powf(-xi) - 1.0) / xi)).unwrap();
            assert!((tail.shape - xi).abs() < 0.05, "{xi}: {tail:?}");
            let x = (1e-6f64.powf(-xi) - 1.0) / xi;
            let decades = (tail.p_value(x) / 1e-6).log10();
            assert!(decades.abs() < 0.7, "{xi}: 1e-6 came out as {}", tail.p_value(x));
        }
        let exponential = fit(&quantiles(5_000, |u| -(1.0 - u).ln())).unwrap();
        assert!(exponential.shape < 0.02 && (exponential.p_value(13.8) / 1e-6).log10().abs() < 0.5, "{exponential:?}");
    }

    #[test]
    fn a_bounded_tail_is_taken_for_an_exponential_one_and_no_value_for_impossible() {
        let tail = fit(&quantiles(200, |u| u)).unwrap();
        assert_eq!(tail.shape, 0.0);
        assert!(tail.p_value(1.5) > 0.0 && tail.p_value(1.5) < tail.p_value(1.0));
    }

    #[test]
    fn nothing_is_fitted_to_few_values_or_to_one_value() {
        assert_eq!(fit(&quantiles(49, |u| u)), None);
        assert_eq!(fit(&[1.0; 500]), None);
        assert_eq!(fit(&[f64::INFINITY; 500]), None);
    }
}
