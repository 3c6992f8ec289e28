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
    let log_sum = log_sum_exp(row, own.max(other), 1.0);
    let logprob = (f64::from(own) - log_sum) as f32;
    if !logprob.is_finite() {
        return None;
    }
    let schemes = schemes.iter().map(|scheme| scheme_logprob(row, own, other, rank, log_sum, scheme)).collect();
    Some(RowScore { logprob, rank, margin: own - other, schemes })
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
    let t = f64::from(scheme.temperature);
    let kept = match scheme.top_k {
        Some(k) if rank >= k => return f32::NEG_INFINITY,
        Some(k) if (k as usize) < row.len() => {
            let kept = largest(row, k as usize);
            return (f64::from(own) / t - log_sum_exp(&kept, own.max(other), scheme.temperature)) as f32;
        }
        _ => row,
    };
    if t == 1.0 {
        return (f64::from(own) - log_sum) as f32;
    }
    (f64::from(own) / t - log_sum_exp(kept, own.max(other), scheme.temperature)) as f32
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
        let warm = Scheme { id: "warm".into(), temperature: 1.7, top_k: Some(300) };
        let hot = Scheme { id: "hot".into(), temperature: 0.5, top_k: None };
        let schemes = [Scheme::full(), Scheme::top_k(40), warm, hot];
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
