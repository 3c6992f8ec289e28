//! Coarse to fine: a first pass over a few windows, which no long memorized run escapes, then all
//! windows around its hits.
//!
//! **Terms.** The windows of one form of one item under one template are a sequence. Their suffixes
//! have `l` tokens and begin every `s` tokens, at token `k + i s` for window `i`, with `k` tokens
//! before the first suffix; the last window may instead end at the end of the text. The caller
//! decides whether a window is a *hit*. A *memorized run* is a stretch of consecutive tokens, none
//! of them among the first `k` (no suffix covers those), such that every window whose suffix lies
//! entirely in the stretch is a hit.
//!
//! **First pass.** Every `m`-th window of a sequence, that is, one every `d = m s` tokens, and the
//! last.
//!
//! **Claim.** A memorized run of at least `l + d - 1` tokens contains the whole suffix of a
//! first-pass window, which is therefore a hit.
//!
//! *Proof.* Let the run be the tokens `a .. a + r` of a text of `n`, so `k <= a`, `a + r <= n` and
//! `r >= l + d - 1`. Of the `d` numbers `a .. a + d` exactly one is `k + j d` for an integer `j`,
//! and `j >= 0` since `a >= k`. A suffix that begins there ends at `k + j d + l <= a + (d - 1) + l
//! <= a + r <= n`: within the run, and within the text, so window `j m` exists and its suffix lies
//! in the run. It is a hit by the definition of a run. The last window isn't needed for this.
//!
//! **Second pass.** All windows between two consecutive first-pass windows of which at least one is
//! a hit.
//!
//! **Claim.** Then every window of such a run is scored. *Proof.* Its windows are consecutive, all
//! of them are hits, and one of them, `c`, is a first-pass window. Between `c` and either end of
//! the run, all other first-pass windows lie inside the run and are hits as well; so each gap that
//! the run enters has a hit at one end, and is scored.
//!
//! The edges need no further rounds: a run that the first pass hits enters no gap with a miss at
//! both ends.
//!
//! Shorter runs and isolated hits are found only if they happen to be near the first pass. An item
//! of one window (a short text, a pre-split item) is always scored, because the first and the last
//! window are in the first pass.

use super::{Stride, Window};
use std::ops::Range;

/// Why no first pass can give the guarantee asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoarseError {
    #[error(
        "a memorized run of {tokens} tokens can escape windows with a suffix of {suffix} and a stride of {stride} tokens \
         even if all are scored; look for runs of {least} tokens or more, or give a smaller --stride"
    )]
    TooShort {
        tokens: u32,
        suffix: u32,
        stride: u32,
        least: u64,
    },
    #[error(
        "with a stride in characters the text is encoded again from each window, so runs in tokens are undefined; \
         give --stride TOKENS"
    )]
    Characters,
}

/// The first pass, as the distance between its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coarse {
    step: usize,
}

impl Coarse {
    /// The sparsest first pass that no memorized run of `tokens` tokens escapes, for suffixes of
    /// `suffix` tokens: one window every `d` tokens, the largest multiple of the stride with
    /// `suffix + d - 1 <= tokens`.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(tokens: u32, suffix: u32, stride: Stride) -> Result<Self, CoarseError> {
        let Stride::Tokens(stride) = stride else {
            return Err(CoarseError::Characters);
        };
        let room = (u64::from(tokens) + 1).saturating_sub(u64::from(suffix));
        match room / u64::from(stride.max(1)) {
            0 => {
                let least = u64::from(suffix) + u64::from(stride) - 1;
                Err(CoarseError::TooShort {
                    tokens,
                    suffix,
                    stride,
                    least,
                })
            }
            step => Ok(Self {
                step: step as usize,
            }),
        }
    }

    /// Distance between first-pass windows, in windows; at least 1.
    pub fn step(self) -> usize {
        self.step
    }

    /// Whether window `index` of a sequence of `count` is in the first pass.
    pub fn is_first(self, index: usize, count: usize) -> bool {
        index.is_multiple_of(self.step) || index + 1 == count
    }

    /// Which windows of a sequence of `count` both passes score together. `hit` is called for
    /// first-pass windows only.
    pub fn scored(self, count: usize, hit: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut scored: Vec<bool> = (0..count)
            .map(|index| self.is_first(index, count))
            .collect();
        let first: Vec<usize> = (0..count).filter(|index| scored[*index]).collect();
        let hits: Vec<bool> = first.iter().map(|index| hit(*index)).collect();
        for (ends, hit) in first.windows(2).zip(hits.windows(2)) {
            if let (&[from, to], true) = (ends, hit.contains(&true)) {
                scored[from..to].fill(true);
            }
        }
        scored
    }
}

/// The sequences of a run: ranges of consecutive windows of one item, form and template.
pub fn sequences(windows: &[Window]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for chunk in windows.chunk_by(|a, b| {
        a.item == b.item
            && a.placement.form == b.placement.form
            && a.placement.template == b.placement.template
    }) {
        ranges.push(start..start + chunk.len());
        start += chunk.len();
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::ItemId;
    use crate::window::{Form, WindowId};
    use crate::window::{Placement, TemplateId};
    use proptest::prelude::*;

    /// Starts of the suffixes in a text of `tokens` tokens, as `cut` places them.
    fn suffixes(tokens: usize, before: usize, suffix: usize, stride: usize) -> Vec<usize> {
        let Some(last) = tokens.checked_sub(before + suffix) else {
            return Vec::new();
        };
        let mut starts: Vec<usize> = (0..=last).step_by(stride).collect();
        if starts.last() != Some(&last) {
            starts.push(last);
        }
        starts.into_iter().map(|start| start + before).collect()
    }

    #[test]
    fn the_first_pass_is_as_sparse_as_the_run_length_allows() {
        for (tokens, suffix, stride, step) in [
            (99, 50, 10, Some(5)),
            (108, 50, 10, Some(5)),
            (109, 50, 10, Some(6)),
            (50, 50, 1, Some(1)),
            (59, 50, 10, Some(1)),
        ] {
            assert_eq!(
                Coarse::new(tokens, suffix, Stride::Tokens(stride))
                    .ok()
                    .map(Coarse::step),
                step
            );
        }
        for (tokens, suffix, stride, least) in [
            (58, 50, 10, 59),
            (0, 50, 50, 99),
            (49, 50, 1, 50),
            (98, 50, 50, 99),
        ] {
            let error = Coarse::new(tokens, suffix, Stride::Tokens(stride)).unwrap_err();
            assert_eq!(
                error,
                CoarseError::TooShort {
                    tokens,
                    suffix,
                    stride,
                    least
                }
            );
            assert!(
                error
                    .to_string()
                    .contains(&format!("look for runs of {least} tokens or more"))
            );
            assert_eq!(
                Coarse::new(least as u32, suffix, Stride::Tokens(stride))
                    .unwrap()
                    .step(),
                1
            );
        }
        assert_eq!(
            Coarse::new(500, 50, Stride::Chars(10)),
            Err(CoarseError::Characters)
        );
    }

    #[test]
    fn a_hit_adds_the_windows_up_to_the_next_first_pass_windows() {
        let coarse = Coarse { step: 4 };
        for (hits, expected) in [
            (&[][..], "x...x...x.x"),
            (&[4], "xxxxxxxxx.x"),
            (&[0], "xxxxx...x.x"),
            (&[10], "x...x...xxx"),
            (&[0, 10], "xxxxx...xxx"),
            (&[4, 8], "xxxxxxxxxxx"),
        ] {
            let scored = coarse.scored(11, |index| {
                assert!(coarse.is_first(index, 11), "{index} wasn't scored yet");
                hits.contains(&index)
            });
            let shown: String = scored
                .iter()
                .map(|scored| if *scored { 'x' } else { '.' })
                .collect();
            assert_eq!(shown, expected, "{hits:?}");
        }
        assert!(coarse.scored(0, |_| true).is_empty());
        assert_eq!(
            coarse.scored(1, |_| false),
            [true],
            "a short text or a pre-split item"
        );
        assert_eq!(coarse.scored(2, |_| false), [true, true]);
    }

    #[test]
    fn sequences_end_where_item_form_or_template_changes() {
        let window = |item: &str, form, template: &str| Window {
            id: WindowId(String::new()),
            item: ItemId(item.to_owned()),
            placement: Placement {
                form,
                template: TemplateId(template.to_owned()),
                start_token: 0,
                start_byte: 0,
                suffix_byte: 0,
                end_byte: 0,
                suffix_char: 0,
                end_char: 0,
                prefix_len: 0,
                suffix_len: 0,
                straddles: false,
            },
            token_ids: Vec::new(),
        };
        let windows = [
            window("a", Form::AsGiven, "none"),
            window("a", Form::AsGiven, "none"),
            window("a", Form::Reflowed, "none"),
            window("a", Form::AsGiven, "chat"),
            window("b", Form::AsGiven, "chat"),
        ];
        assert_eq!(sequences(&windows), [0..2, 2..3, 3..4, 4..5]);
        assert!(sequences(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// A text with one memorized run of the given length and some stray hits: the first pass
        /// hits the run, and the second pass finds all windows of it.
        #[test]
        fn runs_of_the_guaranteed_length_are_found_completely(
            (before, suffix, stride) in (0usize..40, 1usize..60, 1usize..40),
            slack in 0usize..200,
            (length, position) in (0usize..600, 0.0f64..1.0),
            extra in 0usize..100,
            stray in proptest::collection::vec(any::<u8>(), 1..50),
        ) {
            let tokens = suffix + stride - 1 + slack;
            let coarse = Coarse::new(tokens as u32, suffix as u32, Stride::Tokens(stride as u32)).unwrap();
            let wide = coarse.step() * stride;
            prop_assert!(suffix + wide - 1 <= tokens && suffix + wide + stride - 1 > tokens, "the greatest multiple");

            // The run lies anywhere after the first prefix.
            let run = tokens + extra;
            let text = before + run + length;
            let from = before + (position * (length + 1) as f64) as usize;
            let suffixes = suffixes(text, before, suffix, stride);
            let inside = |at: usize| at >= from && at + suffix <= from + run;
            let hits: Vec<bool> = suffixes
                .iter()
                .enumerate()
                .map(|(i, at)| inside(*at) || stray[i % stray.len()] == 0)
                .collect();
            let count = suffixes.len();
            prop_assert!((0..count).any(|i| coarse.is_first(i, count) && inside(suffixes[i])));
            let scored = coarse.scored(count, |i| hits[i]);
            for i in (0..count).filter(|i| inside(suffixes[*i])) {
                prop_assert!(scored[i], "window {} of the run is not scored", i);
            }
            // Besides the run, only the first pass and the gaps next to its hits are scored.
            for i in (0..count).filter(|i| scored[*i] && !coarse.is_first(*i, count)) {
                let before = (0..i).rev().find(|j| coarse.is_first(*j, count)).unwrap();
                let after = (i..count).find(|j| coarse.is_first(*j, count)).unwrap();
                prop_assert!(hits[before] || hits[after]);
            }
        }
    }
}
