//! Coarse to fine: a first pass over a few windows that no long memorized run escapes, and then all around what it hits.
//!
//! **Words.** The windows of one form of one item under one template are a sequence. Their suffixes have `l` tokens and
//! begin every `s` tokens, at token `k + i s` for window `i`, where `k` tokens stand before the first suffix; the last window
//! may stand flush with the text's end instead. Whether a window is a *hit* is up to the caller. A *memorized run* is a
//! stretch of consecutive tokens, none of them among the first `k` (no suffix covers those), such that every window whose
//! suffix lies wholly in the stretch is a hit.
//!
//! **First pass.** Every `m`-th window of a sequence, thus one every `d = m s` tokens, and the last.
//!
//! **Claim.** A memorized run of at least `l + d - 1` tokens holds the whole suffix of a window of the first pass, which is
//! thus a hit.
//!
//! *Proof.* Let the run be the tokens `a .. a + r` of a text of `n`, so `k <= a`, `a + r <= n` and `r >= l + d - 1`. Of the
//! `d` numbers `a .. a + d` exactly one is `k + j d` for an integer `j`, and `j >= 0` since `a >= k`. A suffix that begins
//! there ends at `k + j d + l <= a + (d - 1) + l <= a + r <= n`: within the run, and within the text, so that window `j m`
//! exists and its suffix lies in the run. It is a hit by the definition of a run. The last window isn't needed for this.
//!
//! **Second pass.** All windows between two neighbours of the first pass of which one is a hit, or both.
//!
//! **Claim.** Then every window of such a run is scored. *Proof.* Its windows are consecutive, all of them hits, and one of
//! them, `c`, is of the first pass. Going from `c` to either end of the run, one passes other windows of the first pass only
//! inside the run, which are hits as well; so each gap that is entered has a hit at one end, and is scored.
//!
//! The fringe needs no further rounds: a gap with a miss at both ends is entered by no run that the first pass hits.
//!
//! Shorter runs, and hits that stand alone, are found only where they happen to be near the first pass. An item of one window
//! (a short text, a pre-split item) is scored in any case, since the first window and the last are in the first pass.

use super::{Stride, Window};
use std::ops::Range;

/// Why no first pass proves what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoarseError {
    #[error(
        "memorized runs of {tokens} tokens can escape windows of {suffix} tokens of suffix, one every {stride}, even if all are \
         scored; ask for runs of {least} tokens or more, or give a smaller --stride"
    )]
    TooShort {
        tokens: u32,
        suffix: u32,
        stride: u32,
        least: u64,
    },
    #[error(
        "with a stride in characters windows are encoded anew from each cursor, so that nothing is known of runs in tokens; \
         give --stride TOKENS"
    )]
    Characters,
}

/// The first pass: so many windows on from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coarse {
    step: usize,
}

impl Coarse {
    /// The widest first pass that no memorized run of `tokens` tokens escapes, over windows with suffixes of `suffix` tokens:
    /// one window every `d`, the greatest multiple of the stride with `suffix + d - 1 <= tokens`.
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

    /// Windows from one of the first pass to the next, at least 1.
    pub fn step(self) -> usize {
        self.step
    }

    /// Whether window `place` of a sequence of `count` is in the first pass.
    pub fn is_first(self, place: usize, count: usize) -> bool {
        place.is_multiple_of(self.step) || place + 1 == count
    }

    /// Which windows of a sequence of `count` are scored in all. `hit` is asked of windows of the first pass only.
    pub fn scored(self, count: usize, hit: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut scored: Vec<bool> = (0..count)
            .map(|place| self.is_first(place, count))
            .collect();
        let first: Vec<usize> = (0..count).filter(|place| scored[*place]).collect();
        let hits: Vec<bool> = first.iter().map(|place| hit(*place)).collect();
        for (ends, hit) in first.windows(2).zip(hits.windows(2)) {
            if let (&[from, to], true) = (ends, hit.contains(&true)) {
                scored[from..to].fill(true);
            }
        }
        scored
    }
}

/// The sequences of a run: ranges of neighbouring windows of one item, form and template, in order.
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

    /// Where suffixes begin in a text of `tokens` tokens, as `cut` places them.
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
    fn the_first_pass_is_as_wide_as_the_run_allows() {
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
                    .contains(&format!("ask for runs of {least} tokens or more"))
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
    fn a_hit_brings_in_the_windows_up_to_its_neighbours_of_the_first_pass() {
        let coarse = Coarse { step: 4 };
        for (hits, expected) in [
            (&[][..], "x...x...x.x"),
            (&[4], "xxxxxxxxx.x"),
            (&[0], "xxxxx...x.x"),
            (&[10], "x...x...xxx"),
            (&[0, 10], "xxxxx...xxx"),
            (&[4, 8], "xxxxxxxxxxx"),
        ] {
            let scored = coarse.scored(11, |place| {
                assert!(coarse.is_first(place, 11), "{place} wasn't scored yet");
                hits.contains(&place)
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
    fn sequences_end_where_item_form_or_template_change() {
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

        /// A text with one memorized run of the stated length somewhere, and stray hits: the first pass hits the run, and
        /// the second finds in it exactly what scoring every window finds.
        #[test]
        fn every_run_of_the_stated_length_is_found_whole(
            (before, suffix, stride) in (0usize..40, 1usize..60, 1usize..40),
            slack in 0usize..200,
            (length, place) in (0usize..600, 0.0f64..1.0),
            extra in 0usize..100,
            stray in proptest::collection::vec(any::<u8>(), 1..50),
        ) {
            let tokens = suffix + stride - 1 + slack;
            let coarse = Coarse::new(tokens as u32, suffix as u32, Stride::Tokens(stride as u32)).unwrap();
            let wide = coarse.step() * stride;
            prop_assert!(suffix + wide - 1 <= tokens && suffix + wide + stride - 1 > tokens, "the greatest multiple");

            // The run lies anywhere behind the first prefix.
            let run = tokens + extra;
            let text = before + run + length;
            let from = before + (place * (length + 1) as f64) as usize;
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
                prop_assert!(scored[i], "window {} of the run is left", i);
            }
            // And beside it nothing but the first pass and what lies between it and a hit.
            for i in (0..count).filter(|i| scored[*i] && !coarse.is_first(*i, count)) {
                let before = (0..i).rev().find(|j| coarse.is_first(*j, count)).unwrap();
                let after = (i..count).find(|j| coarse.is_first(*j, count)).unwrap();
                prop_assert!(hits[before] || hits[after]);
            }
        }
    }
}
