//! A tail fitted to the highest values of the controls, to speak of values that no control reaches.
//!
//! Above a high threshold, values of almost any distribution are nearly generalized Pareto (Pickands 1975,
//! doi 10.1214/aos/1176343003): `P(X - u > y | X > u) = (1 + xi y / sigma)^(-1/xi)`, and `exp(-y / sigma)` for xi = 0. That is
//! a model, not a measurement.

/// A fitted tail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// xi, at least 0: a negative one would have an end, beyond which values were impossible.
    pub shape: f64,
    /// sigma, above 0, in units of the values.
    pub scale: f64,
    /// u: the greatest value that is not of the tail.
    pub threshold: f64,
    /// Values above the threshold.
    pub exceedances: u64,
    /// All values.
    pub values: u64,
}

/// The tail is what lies above the greatest value of the lower three quarters.
const SHARE: usize = 4;
/// Fewer exceedances say nothing of a shape.
const FEWEST: usize = 10;

/// Fits a tail to the top quarter of the values, by maximum likelihood with the shape held at 0 or above.
///
/// `None` where that can't be done: fewer than 10 values above the threshold (so fewer than 40 in all, or many ties at
/// it), a tail of equal values, an infinite threshold or exceedance, or a NaN.
pub fn fit(values: &[f64]) -> Option<Tail> {
    if values.iter().any(|value| value.is_nan()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let threshold = *sorted.get(sorted.len() / SHARE)?;
    let tail = &sorted[..sorted
        .iter()
        .take_while(|&&value| value > threshold)
        .count()];
    let (greatest, least) = (*tail.first()?, *tail.last()?);
    if tail.len() < FEWEST || greatest == least || !(greatest - threshold).is_finite() {
        return None;
    }
    let excesses: Vec<f64> = tail.iter().map(|value| value - threshold).collect();
    let (shape, scale) = most_likely(&excesses);
    Some(Tail {
        shape,
        scale,
        threshold,
        exceedances: tail.len() as u64,
        values: values.len() as u64,
    })
}

impl Tail {
    /// The probability of a value of at least `x`: the share of values in the tail by the survival function of the excess.
    /// `None` at or below the threshold, where the tail says nothing and values can be counted.
    pub fn p_value(&self, x: f64) -> Option<f64> {
        let share = self.exceedances as f64 / self.values as f64;
        (x > self.threshold).then(|| share * self.survival(x - self.threshold))
    }

    /// The share of excesses above `y` (at least 0).
    fn survival(&self, y: f64) -> f64 {
        let y = y / self.scale;
        if self.shape == 0.0 {
            (-y).exp()
        } else {
            (-(self.shape * y).ln_1p() / self.shape).exp()
        }
    }
}

/// Steps of the first search, in natural logs of theta.
const STEP: f64 = 0.05;

/// Shape and scale of the greatest likelihood with shape >= 0.
///
/// With `theta = xi / sigma` (Grimshaw 1993, doi 10.1080/00401706.1993.10485040) the likelihood has one dimension left: for
/// each theta, `xi = mean ln(1 + theta y)` is the best. It may have more than one peak, so that the whole axis is walked
/// first, and the best stretch of it searched by golden sections.
fn most_likely(excesses: &[f64]) -> (f64, f64) {
    let n = excesses.len() as f64;
    let mean = excesses.iter().sum::<f64>() / n;
    // In units of the mean, where the exponential (theta = 0) has a mean log-likelihood of -1.
    let unit: Vec<f64> = excesses.iter().map(|y| y / mean).collect();
    let shape = |ln_theta: f64| {
        unit.iter()
            .map(|y| (ln_theta.exp() * y).ln_1p())
            .sum::<f64>()
            / n
    };
    let likelihood = |ln_theta: f64| {
        let shape = shape(ln_theta);
        -(shape.ln() - ln_theta) - shape - 1.0
    };
    // Below, the shape is under 1e-6 and the tail is exponential; above, the likelihood only falls.
    let from = 1e-6f64.ln();
    let least = unit.iter().copied().fold(f64::INFINITY, f64::min);
    let steps = ((1e3f64.ln() - least.ln() - from) / STEP).ceil() as u32;
    let best = (0..=steps)
        .map(|step| from + STEP * f64::from(step))
        .map(|ln_theta| (likelihood(ln_theta), ln_theta))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((_, around)) = best else {
        return (0.0, mean);
    };
    let ln_theta = golden_section(around - STEP, around + STEP, likelihood);
    if likelihood(ln_theta) <= -1.0 {
        return (0.0, mean);
    }
    let shape = shape(ln_theta);
    (shape, shape / ln_theta.exp() * mean)
}

/// Where `f` is greatest between `low` and `high`, if it has one peak there.
fn golden_section(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    // Each step leaves .618 of the stretch: 60 of them leave 1e-12 of it.
    for _ in 0..60 {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        if f(left) < f(right) {
            low = left
        } else {
            high = right
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evenly spaced quantiles of a generalized Pareto distribution.
    fn pareto(shape: f64, scale: f64, n: u32) -> Vec<f64> {
        let survival = (0..n).map(|i| (f64::from(i) + 0.5) / f64::from(n));
        survival.map(|s| if shape == 0.0 { -s.ln() } else { (s.powf(-shape) - 1.0) / shape } * scale).collect()
    }

    #[test]
    fn the_tail_of_a_pareto_distribution_is_found_again() {
        for shape in [0.2, 0.5, 1.0] {
            let values = pareto(shape, 2.0, 40_000);
            let tail = fit(&values).unwrap();
            assert!((tail.shape - shape).abs() < 0.03, "{shape}: {tail:?}");
            assert_eq!((tail.exceedances, tail.values), (10_000, 40_000));
            // One value in 40,000 reaches the greatest.
            let p = tail.p_value(values[0]).unwrap();
            assert!((0.5..2.0).contains(&(p * 80_000.0)), "{shape}: {p}");
        }
    }

    #[test]
    fn a_bounded_tail_is_taken_as_exponential_so_that_nothing_is_impossible() {
        let values: Vec<f64> = (0..400).map(f64::from).collect();
        let tail = fit(&values).unwrap();
        assert_eq!((tail.shape, tail.scale, tail.threshold), (0.0, 50.5, 299.0));
        let p = tail.p_value(1_000.0).unwrap();
        assert!((p / (0.25 * (-701.0f64 / 50.5).exp()) - 1.0).abs() < 1e-12);
        assert!(tail.p_value(10_000.0).unwrap() > 0.0);
    }

    #[test]
    fn where_there_is_no_tail_there_is_none() {
        let rising = |n: u32| (0..n).map(f64::from).collect::<Vec<_>>();
        assert!(fit(&rising(40)).is_some());
        assert!(fit(&rising(39)).is_none());
        assert!(fit(&[]).is_none());
        assert!(fit(&[1.0; 100]).is_none());
        // Ties: all of the top quarter alike, or alike with the threshold.
        assert!(fit(&[vec![0.0; 75], vec![1.0; 25]].concat()).is_none());
        assert!(fit(&[rising(50), vec![99.0; 50]].concat()).is_none());
        let with = |value, count| fit(&[rising(200), vec![value; count]].concat());
        assert!(with(f64::NAN, 1).is_none());
        assert!(with(f64::INFINITY, 1).is_none());
        // Impossible controls are fine below the threshold, but not as the threshold.
        assert!(with(f64::NEG_INFINITY, 9).is_some());
        assert!(with(f64::NEG_INFINITY, 900).is_none());
    }

    #[test]
    fn a_tail_speaks_only_of_what_lies_above_its_threshold() {
        let tail = fit(&pareto(0.3, 1.0, 400)).unwrap();
        let none = [tail.threshold, f64::NEG_INFINITY, f64::NAN].map(|x| tail.p_value(x));
        assert_eq!(none, [None; 3]);
        assert_eq!(tail.p_value(f64::INFINITY), Some(0.0));
        let above = [0.1, 1.0, 10.0, 1e6].map(|y| tail.p_value(tail.threshold + y).unwrap());
        assert!(
            above.is_sorted_by(|a, b| a > b) && above[0] < 0.25,
            "{above:?}"
        );
    }

    #[test]
    fn units_and_order_make_no_difference() {
        let values = pareto(0.4, 1.0, 200);
        let moved: Vec<f64> = values.iter().rev().map(|value| value * 1e3 - 7e4).collect();
        let (a, b) = (fit(&values).unwrap(), fit(&moved).unwrap());
        assert!(
            (a.shape - b.shape).abs() < 1e-6 && (b.scale / a.scale / 1e3 - 1.0).abs() < 1e-6,
            "{a:?} {b:?}"
        );
    }
}
