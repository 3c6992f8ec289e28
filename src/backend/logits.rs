//! From one row of logits to the scores of its true token: one home for softmax statistics.

use super::Scheme;

/// Scores of the true token in one row of logits.
#[derive(Clone, Debug, PartialEq)]
pub struct RowScore {
    /// ln of the true token's probability at T = 1.
    pub logprob: f32,
    /// Tokens with a strictly larger logit.
    pub rank: u32,
    /// Log-probability of the true token less that of the likeliest other.
    pub margin: f32,
    /// ln of its probability under each scheme, in order; `-inf` outside the scheme's support.
    pub schemes: Vec<f32>,
    /// Mean of the log-probability of a token drawn from the row's own distribution.
    pub expected_logprob: f32,
    /// Its standard deviation.
    pub logprob_sd: f32,
}

/// Scores token `target` in a row of logits over the vocabulary. `None` where the outcome isn't a
/// number: NaN or infinite logits.
pub fn score_row(row: &[f32], target: usize, schemes: &[Scheme]) -> Option<RowScore> {
    let (before, rest) = row.split_at_checked(target)?;
    let (&own, after) = rest.split_first()?;
    let (mut other, mut rank) = (f32::NEG_INFINITY, 0u32);
    for &logit in before.iter().chain(after) {
        other = other.max(logit);
        rank += u32::from(logit > own);
    }
    let max = own.max(other);
    let Moments { log_sum, mean, variance } = moments(row, max);
    let logprob = (f64::from(own) - log_sum) as f32;
    if !logprob.is_finite() {
        return None;
    }
    let schemes = schemes.iter().map(|scheme| scheme_logprob(row, own, other, rank, log_sum, scheme)).collect();
    let expected_logprob = (f64::from(max) + mean - log_sum) as f32;
    Some(RowScore { logprob, rank, margin: own - other, schemes, expected_logprob, logprob_sd: variance.sqrt() as f32 })
}

/// The tokens a scheme may sample next, likeliest first, with their log-probabilities under it. Empty where the logits
/// aren't finite.
pub fn support(row: &[f32], scheme: &Scheme) -> Vec<(u32, f32)> {
    let mut kept: Vec<(u32, f32)> = (0..).zip(row.iter().copied()).collect();
    let descending = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let k = if scheme.temperature == 0.0 { 1 } else { scheme.top_k.map_or(row.len(), |k| k as usize) };
    if k < kept.len() {
        kept.select_nth_unstable_by(k.saturating_sub(1), descending);
        kept.truncate(k);
    }
    kept.sort_unstable_by(descending);
    let Some(&(_, max)) = kept.first().filter(|top| top.1.is_finite()) else { return Vec::new() };
    if scheme.temperature == 0.0 {
        return kept.into_iter().map(|(token, _)| (token, 0.0)).collect();
    }
    let logits: Vec<f32> = kept.iter().map(|(_, logit)| *logit).collect();
    let nucleus = scheme.top_p.map_or(logits.len(), |p| nucleus(&logits, scheme.temperature, p));
    kept.truncate(nucleus);
    let log_sum = log_sum_exp(&logits[..nucleus], max, scheme.temperature);
    let t = f64::from(scheme.temperature);
    let logprob = |logit: f32| (f64::from(logit) / t - log_sum) as f32;
    kept.into_iter().map(|(token, logit)| (token, logprob(logit))).filter(|(_, lp)| !lp.is_nan()).collect()
}

/// How many of these logits, largest first, make up the nucleus: the fewest whose probabilities reach `p` together, at
/// least one (arXiv 1904.09751).
fn nucleus(sorted: &[f32], temperature: f32, p: f32) -> usize {
    let max = sorted.first().copied().unwrap_or_default();
    let weights = || sorted.iter().map(|x| f64::from(exp((x - max) / temperature)));
    let enough = f64::from(p) * weights().sum::<f64>();
    let mut reached = 0.0;
    let before = weights().take_while(|weight| {
        let goes_on = reached < enough;
        reached += weight;
        goes_on
    });
    before.count().max(1)
}

/// The likeliest token of a row (the first of equals) and its log-probability.
pub fn top(row: &[f32]) -> Option<(u32, f32)> {
    let (id, max) = row
        .iter()
        .copied()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (i, logit)| if logit > best.1 { (i, logit) } else { best });
    let logprob = (f64::from(max) - log_sum_exp(row, max, 1.0)) as f32;
    logprob.is_finite().then_some((id as u32, logprob))
}

/// Of a row of logits x with largest `max`: ln sum exp(x), and mean and variance of x - max under the softmax.
struct Moments {
    log_sum: f64,
    mean: f64,
    variance: f64,
}

fn moments(row: &[f32], max: f32) -> Moments {
    let (mut s0, mut s1, mut s2) = (0f64, 0f64, 0f64);
    for block in row.chunks(1 << 12) {
        let (mut a, mut b, mut c) = ([0f32; 16], [0f32; 16], [0f32; 16]);
        let mut lanes = block.chunks_exact(16);
        for lane in &mut lanes {
            for i in 0..16 {
                // A logit of -inf has probability 0; 0 * -inf would be NaN.
                let d = (lane[i] - max).max(-100.0);
                let e = exp(d);
                a[i] += e;
                b[i] += e * d;
                c[i] += e * d * d;
            }
        }
        for x in lanes.remainder() {
            let d = (x - max).max(-100.0);
            let e = exp(d);
            a[0] += e;
            b[0] += e * d;
            c[0] += e * d * d;
        }
        let sum = |lanes: [f32; 16]| lanes.iter().map(|x| f64::from(*x)).sum::<f64>();
        s0 += sum(a);
        s1 += sum(b);
        s2 += sum(c);
    }
    let mean = s1 / s0;
    let variance = (s2 / s0 - mean * mean).max(0.0);
    // `max` swallows NaN, in logits and here: one look at the row settles it.
    let nan = row.iter().any(|x| x.is_nan());
    Moments { log_sum: if nan { f64::NAN } else { f64::from(max) + s0.ln() }, mean, variance }
}

/// ln sum exp(x / t), with the largest logit taken out so that nothing overflows; summed in f64.
fn log_sum_exp(row: &[f32], max: f32, temperature: f32) -> f64 {
    // Sixteen sums side by side, which the compiler turns into vector instructions.
    let mut sums = [0f32; 16];
    let mut total = 0f64;
    for block in row.chunks(1 << 12) {
        let mut lanes = block.chunks_exact(16);
        for lane in &mut lanes {
            for (sum, x) in sums.iter_mut().zip(lane) {
                *sum += exp((x - max) / temperature);
            }
        }
        total += lanes.remainder().iter().map(|x| f64::from(exp((x - max) / temperature))).sum::<f64>();
        total += sums.iter().map(|s| f64::from(*s)).sum::<f64>();
        sums = [0.0; 16];
    }
    f64::from(max) / f64::from(temperature) + total.ln()
}

/// e^x for x <= 0 to within 2 units in the last place, without a branch, so that it vectorizes: x is split into
/// n ln 2 + r, e^r is a polynomial, 2^n goes into the exponent. Below -87 it is 0; NaN stays NaN.
fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < -87.0 { -87.0 } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    // Taylor coefficients up to r^7; |r| <= ln 2 / 2.
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < -87.0 { 0.0 } else { p * scale }
}

fn scheme_logprob(row: &[f32], own: f32, other: f32, rank: u32, log_sum: f64, scheme: &Scheme) -> f32 {
    if scheme.temperature == 0.0 {
        return if rank == 0 { 0.0 } else { f32::NEG_INFINITY };
    }
    let t = f64::from(scheme.temperature);
    let mut kept = match scheme.top_k {
        Some(k) if rank >= k => return f32::NEG_INFINITY,
        Some(k) if (k as usize) < row.len() => Some(largest(row, k as usize)),
        _ => None,
    };
    if let Some(p) = scheme.top_p {
        let mut sorted = kept.unwrap_or_else(|| row.to_vec());
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        sorted.truncate(nucleus(&sorted, scheme.temperature, p));
        if rank as usize >= sorted.len() {
            return f32::NEG_INFINITY;
        }
        kept = Some(sorted);
    }
    match kept {
        None if t == 1.0 => (f64::from(own) - log_sum) as f32,
        kept => {
            let logits = kept.as_deref().unwrap_or(row);
            (f64::from(own) / t - log_sum_exp(logits, own.max(other), scheme.temperature)) as f32
        }
    }
}

/// The `k` largest logits in no order. Ties with the k-th are cut, so that it is always exactly `k`.
fn largest(row: &[f32], k: usize) -> Vec<f32> {
    let descending = |a: &f32, b: &f32| b.total_cmp(a);
    let mut held: Vec<f32> = Vec::with_capacity(4 * k);
    let mut floor = f32::NEG_INFINITY;
    for &logit in row {
        if logit > floor || held.len() < k {
            held.push(logit);
            if held.len() == 4 * k {
                held.select_nth_unstable_by(k - 1, descending);
                held.truncate(k);
                floor = held[k - 1];
            }
        }
    }
    if held.len() > k {
        held.select_nth_unstable_by(k - 1, descending);
        held.truncate(k);
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wavy(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 % 1009) as f32 / 60.0).sin() * 9.0 + (i % 13) as f32 * 0.37).collect()
    }

    /// The same by the definitions, in f64.
    fn by_definition(row: &[f32], target: usize, scheme: &Scheme) -> f64 {
        let mut kept: Vec<f64> = row.iter().map(|x| f64::from(*x) / f64::from(scheme.temperature)).collect();
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
                assert_eq!(got.rank as usize, row.iter().filter(|x| **x > row[target]).count());
                for (scheme, got) in schemes.iter().zip(&got.schemes) {
                    let want = by_definition(&row, target, scheme);
                    let same = f64::from(*got) == want || (f64::from(*got) - want).abs() < 3e-6 * want.abs().max(1.0);
                    assert!(same, "{n} {target} {}: {got} against {want}", scheme.id);
                }
                assert_eq!(got.logprob, got.schemes[0]);
            }
        }
    }

    #[test]
    fn a_nucleus_is_the_fewest_tokens_that_reach_p() {
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
                assert!((under(id, target) - want).abs() < 1e-6, "{id} {target}: {} against {want}", under(id, target));
            }
            let supported = support(&row, &Scheme::parse(id).unwrap());
            assert_eq!(supported.len(), expected.iter().filter(|p| **p > 0.0).count(), "{id}");
            for (token, lp) in supported {
                assert!((lp.exp() - expected[token as usize]).abs() < 1e-6, "{id} {token}");
            }
        }
    }

    #[test]
    fn moments_agree_with_their_definitions() {
        for n in [2, 15, 16, 17, 5_000] {
            let row = wavy(n);
            let got = score_row(&row, 0, &[]).unwrap();
            let z: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            let lps: Vec<f64> = row.iter().map(|x| f64::from(*x) - z.ln()).collect();
            let mean: f64 = lps.iter().map(|lp| lp.exp() * lp).sum();
            let sd = lps.iter().map(|lp| lp.exp() * (lp - mean).powi(2)).sum::<f64>().sqrt();
            assert!((f64::from(got.expected_logprob) - mean).abs() < 1e-4 * mean.abs().max(1.0), "{n}");
            assert!((f64::from(got.logprob_sd) - sd).abs() < 1e-3 * sd.max(1.0), "{n}");
        }
        let certain = score_row(&[0.0, f32::NEG_INFINITY], 0, &[]).unwrap();
        assert_eq!((certain.expected_logprob, certain.logprob_sd), (0.0, 0.0));
    }

    #[test]
    fn the_margin_is_positive_at_the_top_and_negative_below() {
        let row = [0.0, 3.0, 2.5, -1.0];
        assert_eq!(score_row(&row, 1, &[]).unwrap().margin, 0.5);
        assert_eq!(score_row(&row, 2, &[]).unwrap().margin, -0.5);
        assert_eq!(score_row(&[1.0, 1.0], 1, &[]).unwrap().rank, 0, "a tie is rank 0 with margin 0");
    }

    #[test]
    fn what_is_not_a_number_is_no_score() {
        for row in [[f32::NAN, 1.0], [1.0, f32::NAN], [f32::INFINITY, 0.0], [f32::NEG_INFINITY, 0.0]] {
            assert_eq!(score_row(&row, 0, &[]), None, "{row:?}");
        }
        assert_eq!(score_row(&[1.0], 1, &[]), None, "a target outside the row");
        assert_eq!(top(&[f32::NAN, f32::NAN]), None);
        assert_eq!(top(&[0.0, 2.0, 2.0]).unwrap().0, 1);
    }

    #[test]
    fn the_exponential_is_as_good_as_the_library_one() {
        for i in 0..200_000 {
            let x = -(i as f32) / 2_100.0;
            let want = f64::from(x).exp();
            let got = f64::from(exp(x));
            assert!((got - want).abs() <= 2.5e-7 * want + 1e-37, "{x}: {got} against {want}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }
}
