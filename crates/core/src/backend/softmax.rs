//! Scores a true token from a row of logits that comes in pieces, so that the whole row is never in
//! memory.

use super::Scheme;
use super::logits::{LANES, Largest, RowScore, log_sum_exp, nucleus, peak, sum_exp};
use crate::simd::{LEAST, at_least, exp, vectorized};

/// Running statistics of a row.
#[derive(Debug)]
pub struct OnlineSoftmax<'a> {
    schemes: &'a [Scheme],
    target: usize,
    own: f32,
    rank: u32,
    /// The largest of the other logits.
    other: f32,
    /// The largest of all logits, the reference of the sums.
    max: f32,
    moments: Moments,
    of_schemes: Vec<Part>,
}

/// Of logits x with largest m: the sums of e^(x - m), of that times x - m, and times (x - m)^2.
#[derive(Clone, Copy, Debug, Default)]
struct Moments([f64; 3]);

/// Additional statistics for a scheme.
#[derive(Debug)]
enum Part {
    Nothing,
    /// The largest logits.
    Largest(Largest),
    /// The sum of e^((x - m) / T).
    Warm(f64),
}

impl<'a> OnlineSoftmax<'a> {
    /// Whether every scheme can be scored in pieces: top-p over the whole vocabulary needs a sort.
    pub fn suits(schemes: &[Scheme]) -> bool {
        schemes.iter().all(|scheme| {
            scheme.top_p.is_none() || scheme.top_k.is_some() || scheme.temperature == 0.0
        })
    }

    /// Starts a row; `own` is the true token's logit.
    pub fn new(target: usize, own: f32, schemes: &'a [Scheme]) -> Self {
        let part = |scheme: &Scheme| match (scheme.top_k, scheme.temperature) {
            (_, 0.0) => Part::Nothing,
            (Some(k), _) => Part::Largest(Largest::new(k.max(1) as usize)),
            (None, 1.0) => Part::Nothing,
            (None, _) => Part::Warm(0.0),
        };
        let none = f32::NEG_INFINITY;
        let of_schemes = schemes.iter().map(part).collect();
        Self {
            schemes,
            target,
            own,
            rank: 0,
            other: none,
            max: none,
            moments: Moments::default(),
            of_schemes,
        }
    }

    /// Adds the logits of tokens `start..start + piece.len()`. Pieces may come in any order, each
    /// once.
    pub fn add(&mut self, start: usize, piece: &[f32]) {
        let at = self.target.wrapping_sub(start);
        let (before, after) = match piece.split_at_checked(at) {
            Some((before, [_, after @ ..])) => (before, after),
            _ => (piece, &[][..]),
        };
        let ((max_before, above_before), (max_after, above_after)) =
            (peak(before, self.own), peak(after, self.own));
        self.rank += above_before + above_after;
        self.other = self.other.max(max_before).max(max_after);
        let top = if at < piece.len() {
            max_before.max(max_after).max(self.own)
        } else {
            max_before.max(max_after)
        };
        let max = self.max.max(top);
        // Sums over logits that are all minus infinity are 0; NaN must not be mistaken for that.
        if top == f32::NEG_INFINITY && !piece.iter().any(|x| x.is_nan()) {
            return self.keep_largest(piece);
        }
        let shift = f64::from(self.max) - f64::from(max);
        let fresh = self.moments.0[0] == 0.0;
        let moments = moments(piece, max);
        self.moments = if fresh {
            moments
        } else {
            self.moments.shifted(shift).plus(moments)
        };
        for (part, scheme) in self.of_schemes.iter_mut().zip(self.schemes) {
            if let Part::Warm(sum) = part {
                let faded = if fresh {
                    0.0
                } else {
                    *sum * (shift / f64::from(scheme.temperature)).exp()
                };
                *sum = faded + sum_exp(piece, max, scheme.temperature);
            }
        }
        self.max = max;
        self.keep_largest(piece);
    }

    fn keep_largest(&mut self, piece: &[f32]) {
        for part in &mut self.of_schemes {
            if let Part::Largest(largest) = part {
                largest.add(piece);
            }
        }
    }

    /// The scores, once every piece was added. `None` if they aren't numbers. NaN for a scheme that
    /// isn't supported in pieces.
    pub fn score(self) -> Option<RowScore> {
        let Self {
            schemes,
            own,
            rank,
            other,
            max,
            moments: Moments([s0, s1, s2]),
            of_schemes,
            ..
        } = self;
        let log_sum = f64::from(max) + s0.ln();
        let logprob = (f64::from(own) - log_sum) as f32;
        if !logprob.is_finite() {
            return None;
        }
        let of_scheme = |(part, scheme): (Part, &Scheme)| -> f32 {
            let temperature = f64::from(scheme.temperature);
            let under = |log_sum: f64| (f64::from(own) / temperature - log_sum) as f32;
            match part {
                Part::Nothing if scheme.temperature == 0.0 => {
                    if rank == 0 {
                        0.0
                    } else {
                        f32::NEG_INFINITY
                    }
                }
                _ if scheme.top_k.is_none() && scheme.top_p.is_some() => f32::NAN,
                Part::Nothing => logprob,
                Part::Warm(sum) => under(f64::from(max) / temperature + sum.ln()),
                Part::Largest(_) if scheme.top_k.is_some_and(|k| rank >= k.max(1)) => {
                    f32::NEG_INFINITY
                }
                Part::Largest(largest) => {
                    let mut kept = largest.finish();
                    if let Some(p) = scheme.top_p {
                        kept = nucleus(&kept, p, scheme.temperature);
                    }
                    if rank as usize >= kept.len() {
                        f32::NEG_INFINITY
                    } else {
                        under(log_sum_exp(&kept, max, scheme.temperature))
                    }
                }
            }
        };
        let mean = s1 / s0;
        let variance = (s2 / s0 - mean * mean).max(0.0);
        Some(RowScore {
            logprob,
            rank,
            margin: own - other,
            schemes: of_schemes.into_iter().zip(schemes).map(of_scheme).collect(),
            expected_logprob: (f64::from(max) + mean - log_sum) as f32,
            logprob_sd: variance.sqrt() as f32,
        })
    }
}

impl Moments {
    /// The same sums relative to a largest logit that is higher by `-shift`.
    fn shifted(self, shift: f64) -> Self {
        if shift == 0.0 {
            return self;
        }
        let (Self([s0, s1, s2]), faded) = (self, shift.exp());
        Self([
            faded * s0,
            faded * (s1 + shift * s0),
            faded * (s2 + 2.0 * shift * s1 + shift * shift * s0),
        ])
    }

    fn plus(self, other: Self) -> Self {
        let (Self(a), Self(b)) = (self, other);
        Self([a[0] + b[0], a[1] + b[1], a[2] + b[2]])
    }
}

vectorized! {
    fn moments(piece: &[f32], max: f32) -> Moments {
        let mut sums = [0f64; 3];
        for block in piece.chunks(1 << 12) {
            let (mut a, mut b, mut c) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
            let mut lanes = block.chunks_exact(LANES);
            for lane in &mut lanes {
                for i in 0..LANES {
                    let (e, d) = weight(lane[i] - max);
                    a[i] += e;
                    b[i] += e * d;
                    c[i] += e * d * d;
                }
            }
            for x in lanes.remainder() {
                let (e, d) = weight(x - max);
                a[0] += e;
                b[0] += e * d;
                c[0] += e * d * d;
            }
            for (sum, lanes) in sums.iter_mut().zip([a, b, c]) {
                *sum += lanes.iter().map(|x| f64::from(*x)).sum::<f64>();
            }
        }
        Moments(sums)
    }
}

/// e^d and d for d <= 0, with d at least [`LEAST`]: a logit of -inf has probability 0, and 0 * -inf
/// would be NaN.
#[inline(always)]
fn weight(d: f32) -> (f32, f32) {
    (exp(d), at_least(d, LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::logits::score_row;

    fn wavy(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 % 1009) as f32 / 60.0).sin() * 9.0 + (i % 13) as f32 * 0.37)
            .collect()
    }

    fn in_pieces(row: &[f32], target: usize, schemes: &[Scheme], size: usize) -> Option<RowScore> {
        let mut softmax = OnlineSoftmax::new(target, row[target], schemes);
        row.chunks(size)
            .enumerate()
            .for_each(|(i, piece)| softmax.add(i * size, piece));
        softmax.score()
    }

    #[test]
    fn rows_in_pieces_score_like_whole_rows() {
        let schemes: Vec<Scheme> = [
            "full",
            "greedy",
            "top_k40",
            "t0.7",
            "t1.6",
            "t0.7_top_k300_top_p0.9",
            "t2_top_k1",
        ]
        .map(|id| Scheme::parse(id).unwrap())
        .to_vec();
        assert!(
            OnlineSoftmax::suits(&schemes)
                && !OnlineSoftmax::suits(&[Scheme::parse("top_p0.9").unwrap()])
        );
        for n in [1, 39, 1_000, 20_011] {
            let row = wavy(n);
            for target in [0, n / 2, n - 1] {
                let whole = score_row(&row, target, &schemes).unwrap();
                for size in [1, 7, 1_024, 100_000] {
                    if n / size > 3_000 {
                        continue;
                    }
                    let got = in_pieces(&row, target, &schemes, size).unwrap();
                    assert_eq!((got.rank, got.margin), (whole.rank, whole.margin));
                    let pairs = |s: &RowScore| {
                        [
                            &[s.logprob, s.expected_logprob, s.logprob_sd],
                            s.schemes.as_slice(),
                        ]
                        .concat()
                    };
                    for (i, (got, want)) in pairs(&got).into_iter().zip(pairs(&whole)).enumerate() {
                        let same = got == want || (got - want).abs() < 3e-6 * want.abs().max(1.0);
                        assert!(same, "{n} {target} {size} value {i}: {got} against {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_with_a_non_finite_piece_have_no_score() {
        for bad in [f32::NAN, f32::INFINITY] {
            for at in 0..6 {
                let mut row = [
                    0.0,
                    f32::NEG_INFINITY,
                    1.0,
                    f32::NEG_INFINITY,
                    f32::NEG_INFINITY,
                    2.0,
                ];
                row[at] = bad;
                for size in [1, 2, 6] {
                    assert_eq!(
                        in_pieces(&row, 2, &[Scheme::full()], size),
                        None,
                        "{bad} at {at} in pieces of {size}"
                    );
                }
            }
        }
        let row = [f32::NEG_INFINITY, f32::NEG_INFINITY, 1.0, 1.0];
        let score = in_pieces(&row, 3, &[Scheme::full()], 2).unwrap();
        assert!((score.logprob + 2f32.ln()).abs() < 1e-6 && score.rank == 0 && score.margin == 0.0);
    }
}
