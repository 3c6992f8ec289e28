//! From one row of logits to the scores of its true token: the only home of softmax statistics.

use super::Scheme;
use super::softmax::OnlineSoftmax;
use crate::simd::{exp, vectorized};

/// Scores of the true token in one row of logits.
#[derive(Clone, Debug, PartialEq)]
pub struct RowScore {
    /// ln of the true token's probability at T = 1.
    pub logprob: f32,
    /// Tokens with a strictly larger logit.
    pub rank: u32,
    /// Log-probability of the true token minus that of the likeliest other token.
    pub margin: f32,
    /// ln of its probability under each scheme, in order; `-inf` outside the scheme's support.
    pub schemes: Vec<f32>,
    /// Mean of the log-probability of a token drawn from the row's own distribution.
    pub expected_logprob: f32,
    /// Its standard deviation.
    pub logprob_sd: f32,
}

/// Scores token `target` in a row of logits over the vocabulary. `None` if the result isn't a
/// number: NaN or infinite logits.
pub fn score_row(row: &[f32], target: usize, schemes: &[Scheme]) -> Option<RowScore> {
    let mut softmax = OnlineSoftmax::new(target, *row.get(target)?, schemes);
    softmax.add(0, row);
    let mut score = softmax.score()?;
    for (value, scheme) in score.schemes.iter_mut().zip(schemes) {
        // Top-p over the whole vocabulary.
        if value.is_nan() {
            *value = Warped::new(row, scheme)
                .filter(|warped| (score.rank as usize) < warped.count)
                .map_or(f32::NEG_INFINITY, |warped| warped.under(row[target]));
        }
    }
    Some(score)
}

/// One row of logits after a scheme's warp: which tokens may be sampled next, and how likely they
/// are.
#[derive(Clone, Copy, Debug)]
pub struct Warped<'a> {
    row: &'a [f32],
    temperature: f32,
    /// The smallest logit that is sampled, and the number of sampled tokens.
    floor: f32,
    count: usize,
    /// ln of the sum of exp(logit / temperature) over the sampled tokens.
    log_sum: f64,
}

impl<'a> Warped<'a> {
    /// `None` if the logits aren't finite.
    pub fn new(row: &'a [f32], scheme: &Scheme) -> Option<Self> {
        let max = largest_finite(row)?;
        let temperature = scheme.temperature;
        if temperature == 0.0 {
            return Some(Self {
                row,
                temperature,
                floor: max,
                count: 1,
                log_sum: 0.0,
            });
        }
        let kept = kept(row, scheme);
        let log_sum = log_sum_exp(kept.as_deref().unwrap_or(row), max, temperature);
        let least = |kept: &Vec<f32>| kept.iter().copied().fold(f32::INFINITY, f32::min);
        let floor = kept.as_ref().map_or(f32::NEG_INFINITY, least);
        Some(Self {
            row,
            temperature,
            floor,
            count: kept.map_or(row.len(), |kept| kept.len()),
            log_sum,
        })
    }

    /// Natural log of a token's probability, `-inf` if it is never sampled. A tie with the last
    /// sampled token counts as sampled, as in [`score_row`].
    pub fn logprob(&self, token: u32) -> f32 {
        match self.row.get(token as usize) {
            Some(logit) if *logit >= self.floor => self.under(*logit),
            _ => f32::NEG_INFINITY,
        }
    }

    /// Whether [`Warped::likeliest`] may return this token: of tokens that tie for the last ranks,
    /// the first ones.
    pub fn holds(&self, token: u32) -> bool {
        let Some(&logit) = self.row.get(token as usize) else {
            return false;
        };
        if logit != self.floor {
            return logit > self.floor;
        }
        let above = self.row.iter().filter(|x| **x > logit).count();
        above
            + self
                .row
                .iter()
                .take(token as usize)
                .filter(|x| **x == logit)
                .count()
            < self.count
    }

    /// The `n` likeliest tokens that may be sampled (or all if there are fewer) with their
    /// log-probabilities, likeliest first, ties in order of id.
    pub fn likeliest(&self, n: usize) -> Vec<(u32, f32)> {
        let n = n.min(self.count);
        if n == 0 {
            return Vec::new();
        }
        let floor = if n == self.count {
            self.floor
        } else {
            largest(self.row, n)
                .into_iter()
                .fold(f32::INFINITY, f32::min)
        };
        let mut tokens: Vec<(u32, f32)> = (0..)
            .zip(self.row.iter().copied())
            .filter(|(_, x)| *x >= floor)
            .collect();
        tokens.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        tokens.truncate(n);
        let scored = tokens
            .into_iter()
            .map(|(token, logit)| (token, self.under(logit)));
        scored.filter(|(_, lp)| *lp > f32::NEG_INFINITY).collect()
    }

    fn under(&self, logit: f32) -> f32 {
        if self.temperature == 0.0 {
            return 0.0;
        }
        (f64::from(logit) / f64::from(self.temperature) - self.log_sum) as f32
    }
}

/// The tokens a scheme may sample next, likeliest first, with their log-probabilities under it.
/// Empty if the logits aren't finite.
pub fn support(row: &[f32], scheme: &Scheme) -> Vec<(u32, f32)> {
    Warped::new(row, scheme).map_or(Vec::new(), |warped| warped.likeliest(usize::MAX))
}

/// The largest logit of a row; `None` if one is NaN or infinite, or all are minus infinity.
pub fn largest_finite(row: &[f32]) -> Option<f32> {
    let below = row
        .iter()
        .fold(true, |below, x| below & (*x < f32::INFINITY));
    let max = peak(row, f32::INFINITY).0;
    (below && max.is_finite()).then_some(max)
}

/// The logits that a scheme with T > 0 samples from, unordered: after top-k, then top-p. `None` =
/// all of them.
fn kept(row: &[f32], scheme: &Scheme) -> Option<Vec<f32>> {
    let top = scheme
        .top_k
        .map(|k| k.max(1) as usize)
        .filter(|k| *k < row.len())
        .map(|k| largest(row, k));
    match scheme.top_p {
        Some(p) => Some(nucleus(
            top.as_deref().unwrap_or(row),
            p,
            scheme.temperature,
        )),
        None => top,
    }
}

/// The smallest set of largest logits whose total probability among all of these reaches `p`,
/// largest first.
pub(super) fn nucleus(from: &[f32], p: f32, temperature: f32) -> Vec<f32> {
    let max = peak(from, f32::INFINITY).0;
    let enough = f64::from(p) * sum_exp(from, max, temperature);
    // Most nuclei are small: sort the largest few logits first, and more only if those don't reach
    // p.
    let mut few = 1 << 10;
    loop {
        let mut sorted = if few < from.len() {
            largest(from, few)
        } else {
            from.to_vec()
        };
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut reached = 0.0;
        let last = sorted.iter().position(|x| {
            reached += f64::from(exp((x - max) / temperature));
            reached >= enough
        });
        match last {
            Some(last) => sorted.truncate(last + 1),
            None if few < from.len() => {
                few *= 8;
                continue;
            }
            // Only rounding kept the sum from reaching p.
            None => {}
        }
        return sorted;
    }
}

/// The likeliest token of a row (the first of equals) and its log-probability.
pub fn top(row: &[f32]) -> Option<(u32, f32)> {
    let (id, max) =
        row.iter()
            .copied()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), |best, (i, logit)| {
                if logit > best.1 { (i, logit) } else { best }
            });
    let logprob = (f64::from(max) - log_sum_exp(row, max, 1.0)) as f32;
    logprob.is_finite().then_some((id as u32, logprob))
}

vectorized! {
    /// The largest of some logits (minus infinity for none; ignores NaN), and how many are above
    /// `own`.
    pub(super) fn peak(logits: &[f32], own: f32) -> (f32, u32) {
        let (mut max, mut above) = ([f32::NEG_INFINITY; LANES], [0u32; LANES]);
        let mut lanes = logits.chunks_exact(LANES);
        for lane in &mut lanes {
            for i in 0..LANES {
                max[i] = if lane[i] > max[i] { lane[i] } else { max[i] };
                above[i] += u32::from(lane[i] > own);
            }
        }
        for &x in lanes.remainder() {
            max[0] = if x > max[0] { x } else { max[0] };
            above[0] += u32::from(x > own);
        }
        (max.into_iter().fold(f32::NEG_INFINITY, f32::max), above.iter().sum())
    }
}

/// ln sum exp(x / t), with the largest logit factored out so that nothing overflows; summed in f64.
pub(super) fn log_sum_exp(row: &[f32], max: f32, temperature: f32) -> f64 {
    f64::from(max) / f64::from(temperature) + sum_exp(row, max, temperature).ln()
}

vectorized! {
    /// Sum of exp((x - max) / t).
    pub(super) fn sum_exp(row: &[f32], max: f32, temperature: f32) -> f64 {
        let mut sums = [0f32; LANES];
        let mut total = 0f64;
        for block in row.chunks(1 << 12) {
            let mut lanes = block.chunks_exact(LANES);
            for lane in &mut lanes {
                for (sum, x) in sums.iter_mut().zip(lane) {
                    *sum += exp((x - max) / temperature);
                }
            }
            total += lanes.remainder().iter().map(|x| f64::from(exp((x - max) / temperature))).sum::<f64>();
            total += sums.iter().map(|s| f64::from(*s)).sum::<f64>();
            sums = [0.0; LANES];
        }
        total
    }
}

/// Number of parallel sums, which the compiler turns into vector instructions. Sixteen: with eight
/// it unrolls the loops over the lanes instead, and scoring takes twice as long.
pub(super) const LANES: usize = 16;

/// The `k` largest logits, unordered. Ties with the k-th are cut, so that there are always exactly
/// `k`.
fn largest(row: &[f32], k: usize) -> Vec<f32> {
    let mut largest = Largest::new(k);
    largest.add(row);
    largest.finish()
}

/// Collects the `k` largest of logits that come in pieces.
#[derive(Debug)]
pub(super) struct Largest {
    k: usize,
    kept: Vec<f32>,
    floor: f32,
}

impl Largest {
    pub(super) fn new(k: usize) -> Self {
        Self {
            k,
            kept: Vec::with_capacity(4 * k),
            floor: f32::NEG_INFINITY,
        }
    }

    pub(super) fn add(&mut self, piece: &[f32]) {
        for block in piece.chunks(LANES * 8) {
            // After the first few blocks hardly any block contains a candidate.
            if self.kept.len() >= self.k && !any_above(block, self.floor) {
                continue;
            }
            for &logit in block {
                if logit > self.floor || self.kept.len() < self.k {
                    self.kept.push(logit);
                    if self.kept.len() == 4 * self.k {
                        self.cut();
                        self.floor = self.kept[self.k - 1];
                    }
                }
            }
        }
    }

    /// Exactly `k` of them, or all if there are fewer.
    pub(super) fn finish(mut self) -> Vec<f32> {
        self.cut();
        self.kept
    }

    fn cut(&mut self) {
        if self.kept.len() > self.k {
            self.kept
                .select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
            self.kept.truncate(self.k);
        }
    }
}

vectorized! {
    fn any_above(logits: &[f32], floor: f32) -> bool {
        logits.iter().fold(false, |any, logit| any | (*logit > floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wavy(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 % 1009) as f32 / 60.0).sin() * 9.0 + (i % 13) as f32 * 0.37)
            .collect()
    }

    /// Scores by the definitions, in f64.
    fn by_definition(row: &[f32], target: usize, scheme: &Scheme) -> f64 {
        let mut kept: Vec<f64> = row
            .iter()
            .map(|x| f64::from(*x) / f64::from(scheme.temperature))
            .collect();
        let own = kept[target];
        kept.sort_by(|a, b| b.total_cmp(a));
        kept.truncate(scheme.top_k.map_or(usize::MAX, |k| k as usize));
        if own < kept[kept.len() - 1] {
            return f64::NEG_INFINITY;
        }
        own - kept.iter().map(|x| x.exp()).sum::<f64>().ln()
    }

    #[test]
    fn scores_agree_with_their_definitions() {
        let warm = Scheme::parse("t1.7_top_k300").unwrap();
        let cold = Scheme::parse("t0.5").unwrap();
        let schemes = [Scheme::full(), Scheme::top_k(40), warm, cold];
        for n in [1, 2, 39, 40, 41, 1_000, 50_257] {
            let row = wavy(n);
            for target in [0, n / 3, n / 2, n - 1] {
                let got = score_row(&row, target, &schemes).unwrap();
                assert_eq!(
                    got.rank as usize,
                    row.iter().filter(|x| **x > row[target]).count()
                );
                for (scheme, got) in schemes.iter().zip(&got.schemes) {
                    let want = by_definition(&row, target, scheme);
                    let same = f64::from(*got) == want
                        || (f64::from(*got) - want).abs() < 3e-6 * want.abs().max(1.0);
                    assert!(same, "{n} {target} {}: {got} against {want}", scheme.id);
                }
                assert_eq!(got.logprob, got.schemes[0]);
            }
        }
    }

    #[test]
    fn a_nucleus_is_the_smallest_set_that_reaches_p() {
        // Probabilities .5, .3, .15, .05 in another order.
        let p = [0.15f32, 0.5, 0.05, 0.3];
        let row = p.map(f32::ln);
        let under = |id: &str, target: usize| {
            let scheme = Scheme::parse(id).unwrap();
            score_row(&row, target, &[scheme]).unwrap().schemes[0].exp()
        };
        let cases = [
            ("top_p0.5", [0.0, 1.0, 0.0, 0.0]),
            ("top_p0.51", [0.0, 0.625, 0.0, 0.375]),
            ("top_p0.9", [0.15 / 0.95, 0.5 / 0.95, 0.0, 0.3 / 0.95]),
            ("top_p0.999", [0.15, 0.5, 0.05, 0.3]),
            // After top-k: .5 and .3 become .625 and .375.
            ("top_k2_top_p0.6", [0.0, 1.0, 0.0, 0.0]),
            ("top_k2_top_p0.7", [0.0, 0.625, 0.0, 0.375]),
            ("greedy", [0.0, 1.0, 0.0, 0.0]),
        ];
        for (id, expected) in cases {
            for (target, want) in expected.into_iter().enumerate() {
                assert!(
                    (under(id, target) - want).abs() < 1e-6,
                    "{id} {target}: {} against {want}",
                    under(id, target)
                );
            }
            let supported = support(&row, &Scheme::parse(id).unwrap());
            assert_eq!(
                supported.len(),
                expected.iter().filter(|p| **p > 0.0).count(),
                "{id}"
            );
            for (token, lp) in supported {
                assert!(
                    (lp.exp() - expected[token as usize]).abs() < 1e-6,
                    "{id} {token}"
                );
            }
        }
    }

    #[test]
    fn the_support_lists_the_tokens_with_a_probability_in_order() {
        for n in [2, 39, 41, 5_000, 60_000] {
            let row = wavy(n);
            for id in [
                "full",
                "top_k40",
                "top_p0.9",
                "t0.7_top_k300_top_p0.8",
                "t3_top_p0.99",
                "top_p0.01",
                "greedy",
            ] {
                let scheme = Scheme::parse(id).unwrap();
                let (all, warped) = (support(&row, &scheme), Warped::new(&row, &scheme).unwrap());
                let total: f64 = all.iter().map(|(_, lp)| f64::from(*lp).exp()).sum();
                assert!((total - 1.0).abs() < 1e-5, "{n} {id}: {total}");
                let logit = |i: &(u32, f32)| row[i.0 as usize];
                assert!(
                    all.windows(2)
                        .all(|w| (logit(&w[1]), w[0].0) < (logit(&w[0]), w[1].0)),
                    "{n} {id}"
                );
                assert_eq!(warped.likeliest(7), all[..7.min(all.len())], "{n} {id}");
                for &(token, lp) in all.iter().step_by(all.len().div_ceil(50)).chain(all.last()) {
                    let scored = score_row(&row, token as usize, std::slice::from_ref(&scheme))
                        .unwrap()
                        .schemes[0];
                    assert!(
                        (scored - lp).abs() < 1e-5,
                        "{n} {id} {token}: {scored} against {lp}"
                    );
                    assert!(warped.holds(token) && warped.logprob(token) == lp);
                }
                let count = (0..n as u32).filter(|token| warped.holds(*token)).count();
                assert_eq!(count, all.len(), "{n} {id}: ties are cut");
            }
        }
        assert_eq!(support(&[f32::NAN, 1.0], &Scheme::full()), []);
        assert_eq!(
            support(&[0.0, f32::NEG_INFINITY], &Scheme::full()),
            [(0, 0.0)]
        );
    }

    #[test]
    fn a_nucleus_larger_than_the_first_sort_is_complete() {
        // Uniform: half of 20,000 equal logits is 10,000, more than the first sort covers.
        let scheme = Scheme::parse("top_p0.5").unwrap();
        let count = support(&vec![1.0; 20_000], &scheme).len();
        assert!((10_000..=10_001).contains(&count), "{count}");
    }

    #[test]
    fn moments_agree_with_their_definitions() {
        for n in [2, 15, 16, 17, 5_000] {
            let row = wavy(n);
            let got = score_row(&row, 0, &[]).unwrap();
            let z: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            let lps: Vec<f64> = row.iter().map(|x| f64::from(*x) - z.ln()).collect();
            let mean: f64 = lps.iter().map(|lp| lp.exp() * lp).sum();
            let sd = lps
                .iter()
                .map(|lp| lp.exp() * (lp - mean).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!(
                (f64::from(got.expected_logprob) - mean).abs() < 1e-4 * mean.abs().max(1.0),
                "{n}"
            );
            assert!(
                (f64::from(got.logprob_sd) - sd).abs() < 1e-3 * sd.max(1.0),
                "{n}"
            );
        }
        let certain = score_row(&[0.0, f32::NEG_INFINITY], 0, &[]).unwrap();
        assert_eq!((certain.expected_logprob, certain.logprob_sd), (0.0, 0.0));
    }

    #[test]
    fn the_margin_is_positive_for_the_top_token_and_negative_for_others() {
        let row = [0.0, 3.0, 2.5, -1.0];
        assert_eq!(score_row(&row, 1, &[]).unwrap().margin, 0.5);
        assert_eq!(score_row(&row, 2, &[]).unwrap().margin, -0.5);
        assert_eq!(
            score_row(&[1.0, 1.0], 1, &[]).unwrap().rank,
            0,
            "a tie is rank 0 with margin 0"
        );
    }

    #[test]
    fn rows_that_are_not_finite_have_no_score() {
        for row in [
            [f32::NAN, 1.0],
            [1.0, f32::NAN],
            [f32::INFINITY, 0.0],
            [f32::NEG_INFINITY, 0.0],
        ] {
            assert_eq!(score_row(&row, 0, &[]), None, "{row:?}");
        }
        assert_eq!(score_row(&[1.0], 1, &[]), None, "a target outside the row");
        assert_eq!(top(&[f32::NAN, f32::NAN]), None);
        assert_eq!(top(&[0.0, 2.0, 2.0]).unwrap().0, 1);
    }
}
