//! Early exit: when to stop scoring a window before the end of its suffix.
//!
//! Log-probabilities are at most 0, so the sum over the first tokens of a suffix is an upper bound
//! for the whole. A window whose bound is low enough can't matter any more, whatever follows.

use super::{Scheme, TokenScores};
use serde::{Deserialize, Serialize};

/// Numbers of scored suffix tokens after which a window may stop. They depend only on the position
/// in the suffix, so that the stop doesn't depend on the batch. Most texts that aren't memorized
/// miss within two tokens; a chunk of one token would load all weights again for the many windows
/// that continue.
pub const CHUNKS: [usize; 5] = [2, 4, 8, 16, 32];

/// When a window may stop: if all of this holds for the tokens scored so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Exit {
    /// The sum of their log-probabilities at T = 1 is less than this, in nats.
    pub below: f64,
    /// Further conditions, so that no verdict can depend on the window; absent if there are no
    /// verdicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stakes: Option<StopGuards>,
}

/// Conditions on everything besides the probability at T = 1 that a verdict can depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StopGuards {
    /// Under each of `schemes`, `ln p_z` so far is below this, in nats.
    pub edge: f64,
    /// Ids of the sampling schemes that count.
    pub schemes: Vec<String>,
    /// One of the tokens misses the first choice by more than this, in nats: greedy decoding
    /// doesn't produce the suffix, and its verbatim run is known.
    pub margin: f64,
    /// Even if all remaining tokens are first choices, their share is below this.
    pub first_choices: f64,
}

impl Exit {
    /// Stops once a token misses the first choice by more than `margin` nats.
    pub fn at_miss(margin: f64) -> Self {
        let stakes = StopGuards {
            edge: 0.0,
            schemes: Vec::new(),
            margin,
            first_choices: 1.0,
        };
        Self {
            below: f64::INFINITY,
            stakes: Some(stakes),
        }
    }

    /// Whether a window may stop, given the scores of its first tokens, for a suffix of
    /// `suffix_len`. `schemes` are the backend's, in its order. Never at the end of the suffix, and
    /// never if a score is NaN.
    pub fn may_stop(&self, scores: &TokenScores, suffix_len: usize, schemes: &[Scheme]) -> bool {
        let sum = |list: &[f32]| list.iter().map(|&value| f64::from(value)).sum::<f64>();
        // Comparisons with NaN are false.
        let below = sum(&scores.logprob) < self.below;
        if scores.logprob.len() >= suffix_len || !below {
            return false;
        }
        let Some(stakes) = &self.stakes else {
            return true;
        };
        let below_edge = |id: &String| {
            let index = schemes.iter().position(|scheme| scheme.id == *id);
            index
                .and_then(|index| scores.scheme_logprob.get(index))
                .is_some_and(|list| sum(list) < stakes.edge)
        };
        let missed = |(&rank, &margin): (&u32, &f32)| {
            rank > 0 && f64::from(margin) < 0.0 && f64::from(-margin) > stakes.margin
        };
        // A token that could become a first choice when rescored alone is not a miss.
        let misses = scores
            .rank
            .iter()
            .zip(&scores.margin)
            .filter(|token| missed(*token))
            .count();
        stakes.schemes.iter().all(below_edge)
            && misses > 0
            && (suffix_len - misses) as f64 / (suffix_len as f64) < stakes.first_choices
    }

    /// The ends of the chunks of a suffix; the last is the end of the suffix.
    pub fn ends(suffix_len: usize) -> impl Iterator<Item = usize> {
        CHUNKS
            .into_iter()
            .filter(move |&end| end < suffix_len)
            .chain([suffix_len])
    }

    /// Cuts complete scores to the first tokens that early exit would have scored, by the same rule
    /// at the same positions. Returns them unchanged if the window may not stop.
    #[must_use]
    pub fn cut(&self, scores: TokenScores, schemes: &[Scheme]) -> TokenScores {
        let suffix_len = scores.logprob.len();
        let mut parts = Self::ends(suffix_len).map(|end| scores.first(end));
        parts
            .find(|part| self.may_stop(part, suffix_len, schemes))
            .unwrap_or(scores)
    }
}

impl TokenScores {
    /// The scores of the first tokens.
    #[must_use]
    pub fn first(&self, tokens: usize) -> Self {
        fn head<T: Copy>(list: &[T], tokens: usize) -> Vec<T> {
            list.iter().take(tokens).copied().collect()
        }
        Self {
            logprob: head(&self.logprob, tokens),
            rank: head(&self.rank, tokens),
            margin: head(&self.margin, tokens),
            scheme_logprob: self
                .scheme_logprob
                .iter()
                .map(|list| head(list, tokens))
                .collect(),
            expected_logprob: head(&self.expected_logprob, tokens),
            logprob_sd: head(&self.logprob_sd, tokens),
        }
    }

    /// Appends the scores of the following tokens.
    pub fn extend(&mut self, next: Self) {
        let Self {
            logprob,
            rank,
            margin,
            scheme_logprob,
            expected_logprob,
            logprob_sd,
        } = next;
        self.logprob.extend(logprob);
        self.rank.extend(rank);
        self.margin.extend(margin);
        self.expected_logprob.extend(expected_logprob);
        self.logprob_sd.extend(logprob_sd);
        self.scheme_logprob.resize(
            self.scheme_logprob.len().max(scheme_logprob.len()),
            Vec::new(),
        );
        for (list, next) in self.scheme_logprob.iter_mut().zip(scheme_logprob) {
            list.extend(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: f32 = f32::NEG_INFINITY;

    /// Scores under full and top-k 40, with a margin of one nat.
    fn scores(rank: &[u32], full: &[f32], top_k40: &[f32]) -> TokenScores {
        TokenScores {
            logprob: full.to_vec(),
            rank: rank.to_vec(),
            margin: rank
                .iter()
                .map(|&rank| if rank == 0 { 1.0 } else { -1.0 })
                .collect(),
            scheme_logprob: vec![full.to_vec(), top_k40.to_vec()],
            expected_logprob: vec![-1.0; rank.len()],
            logprob_sd: vec![1.0; rank.len()],
        }
    }

    fn exit(change: fn(&mut StopGuards)) -> Exit {
        let schemes = vec!["top_k40".to_owned()];
        let mut stakes = StopGuards {
            edge: -7.0,
            schemes,
            margin: 0.001,
            first_choices: 0.9,
        };
        change(&mut stakes);
        Exit {
            below: -14.0,
            stakes: Some(stakes),
        }
    }

    #[test]
    fn windows_stop_once_no_verdict_can_depend_on_them() {
        let two_misses = || scores(&[0, 5, 9], &[-1.0, -7.0, -8.0], &[-0.5, -5.0, NEVER]);
        let mut near_tie = scores(&[0, 5, 0], &[-8.0, -1.0, -8.0], &[-8.0, -1.0, -8.0]);
        near_tie.margin[1] = -0.0005;
        let mut nan = two_misses();
        nan.logprob[2] = f32::NAN;
        let mut nan_of_scheme = two_misses();
        nan_of_scheme.scheme_logprob[1][0] = f32::NAN;
        type Case = (&'static str, TokenScores, usize, fn(&mut StopGuards), bool);
        let cases: Vec<Case> = vec![
            (
                "two misses of ten give a share of .8",
                two_misses(),
                10,
                |_| (),
                true,
            ),
            (
                "two misses of twenty give .9, a near miss",
                two_misses(),
                20,
                |_| (),
                false,
            ),
            (
                "near misses don't count",
                two_misses(),
                20,
                |s| s.first_choices = 1.0,
                true,
            ),
            ("scored to its end", two_misses(), 3, |_| (), false),
            (
                "likelier than the floor",
                scores(&[0, 5, 9], &[-1.0, -7.0, -6.0], &[NEVER; 3]),
                10,
                |_| (),
                false,
            ),
            (
                "exactly the floor",
                scores(&[0, 5, 9], &[-1.0, -7.0, -6.0], &[NEVER; 3]),
                10,
                |_| (),
                false,
            ),
            (
                "within the budget",
                scores(&[0, 5, 9], &[-1.0, -7.0, -8.0], &[-0.5, -5.0, -1.5]),
                10,
                |_| (),
                false,
            ),
            (
                "no miss yet",
                scores(&[0, 0, 0], &[-5.0; 3], &[-5.0; 3]),
                3,
                |s| s.first_choices = 1.1,
                false,
            ),
            ("only a near tie", near_tie, 4, |_| (), false),
            (
                "a scheme that isn't scored",
                two_misses(),
                10,
                |s| s.schemes.push("greedy".to_owned()),
                false,
            ),
            ("NaN", nan, 10, |_| (), false),
            ("NaN under a scheme", nan_of_scheme, 10, |_| (), false),
            ("nothing", scores(&[], &[], &[]), 10, |_| (), false),
        ];
        for (what, scores, suffix_len, change, expected) in cases {
            assert_eq!(
                exit(change).may_stop(&scores, suffix_len, &Scheme::defaults()),
                expected,
                "{what}"
            );
        }
        for (margin, expected) in [(0.0, true), (0.9, true), (1.1, false)] {
            let missed = Exit::at_miss(margin).may_stop(
                &scores(&[0, 1], &[-0.1; 2], &[-0.1; 2]),
                3,
                &Scheme::defaults(),
            );
            assert_eq!(missed, expected, "a miss by a nat, {margin}");
        }
        assert!(!Exit::at_miss(0.0).may_stop(
            &scores(&[0, 0], &[-9.0; 2], &[-9.0; 2]),
            3,
            &Scheme::defaults()
        ));
        let plain = Exit {
            below: -14.0,
            stakes: None,
        };
        assert!(plain.may_stop(&scores(&[0, 0], &[-8.0; 2], &[-8.0; 2]), 3, &[]));
        assert!(!plain.may_stop(&scores(&[0, 0], &[-7.0; 2], &[-7.0; 2]), 3, &[]));
    }

    #[test]
    fn complete_scores_of_stopped_windows_stay_below_the_bounds() {
        // Log-probabilities of any size, suffixes of twelve tokens: where the rule stops a window,
        // its complete scores keep the promised bounds.
        let exit = exit(|_| ());
        let mut cut = 0;
        for seed in 0..2_000_u64 {
            let draw = |i: u64| (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i * 5)) & 31;
            let rank: Vec<u32> = (0..12)
                .map(|i| u32::from(draw(i) > 16) * draw(i) as u32)
                .collect();
            let full: Vec<f32> = rank.iter().map(|&rank| -0.1 - rank as f32 / 8.0).collect();
            let top: Vec<f32> = rank
                .iter()
                .zip(&full)
                .map(|(&rank, lp)| if rank > 28 { NEVER } else { *lp })
                .collect();
            let whole = scores(&rank, &full, &top);
            let part = exit.cut(whole.clone(), &Scheme::defaults());
            assert_eq!(part, whole.first(part.logprob.len()));
            if part == whole {
                continue;
            }
            cut += 1;
            let sum = |list: &[f32]| list.iter().map(|&lp| f64::from(lp)).sum::<f64>();
            assert!(sum(&whole.logprob) < -14.0 && sum(&whole.scheme_logprob[1]) < -7.0);
            let first = rank.iter().filter(|&&rank| rank == 0).count() as f64 / 12.0;
            assert!(first < 0.9 && rank.iter().any(|&rank| rank > 0));
        }
        assert!(cut > 200, "{cut}");
    }

    #[test]
    fn chunks_end_at_fixed_positions_and_at_the_end() {
        for (suffix, expected) in [
            (1, vec![1]),
            (2, vec![2]),
            (5, vec![2, 4, 5]),
            (50, vec![2, 4, 8, 16, 32, 50]),
        ] {
            assert_eq!(Exit::ends(suffix).collect::<Vec<_>>(), expected);
        }
        let whole = scores(&[0, 1, 2], &[-1.0, -2.0, -3.0], &[-1.0, -2.0, NEVER]);
        let mut joined = whole.first(1);
        joined.extend(scores(&[1, 2], &[-2.0, -3.0], &[-2.0, NEVER]));
        assert_eq!(joined, whole);
    }
}
