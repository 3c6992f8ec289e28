//! Screening: one long pass over a whole text, whose scores say which windows deserve exact
//! scoring.
//!
//! The pass runs over pieces of many hundred tokens and scores each token once, with at least as
//! much context as in its windows. More context of the same text rarely makes a memorized
//! continuation less likely, so a window with an unlikely suffix in the screen is most likely no
//! hit. That isn't proven: a sample of the skipped windows is scored to measure how many hits a
//! screen misses.

use super::{Placement, Window, WindowId};

/// Tokens per piece, if the model's context allows it.
pub const PIECE: usize = 1_024;
/// Of the windows that a screen skips, at least this many are scored anyway,
pub const LEAST_SAMPLED: usize = 200;
/// and at least one in this many.
pub const SAMPLED_ONE_IN: usize = 50;

/// Splits a sequence of windows into pieces that contain every suffix token once: `prefix` tokens
/// of context (without BOS), then tokens to score, at most `length` in all. `None` if there are
/// gaps between the windows, or if a piece has room for nothing but context.
///
/// The windows are consecutive, of one form of an item, and without a template.
pub fn pieces(windows: &[Window], prefix: u32, length: usize) -> Option<Vec<Window>> {
    let Some(first) = windows.first() else {
        return Some(Vec::new());
    };
    let bos = (first.placement.prefix_len as usize).checked_sub(prefix as usize)?;
    let prefix = prefix as usize;
    let mut text: Vec<u32> = Vec::new();
    for window in windows {
        let own = window.token_ids.get(bos..)?;
        let at = window
            .placement
            .start_token
            .checked_sub(first.placement.start_token)? as usize;
        let known = text.len().checked_sub(at)?;
        text.extend(own.get(known..).unwrap_or_default());
    }
    let room = length.checked_sub(bos + prefix).filter(|room| *room > 0)?;
    let piece = |from: usize| {
        let mut token_ids = first.token_ids[..bos].to_vec();
        token_ids.extend(&text[from - prefix..(from + room).min(text.len())]);
        Window {
            id: WindowId(format!("{}~{from}", first.id)),
            placement: Placement {
                start_token: first.placement.start_token + (from - prefix) as u32,
                suffix_len: token_ids.len() as u32 - first.placement.prefix_len,
                ..first.placement.clone()
            },
            token_ids,
            ..first.clone()
        }
    };
    Some((prefix..text.len()).step_by(room).map(piece).collect())
}

/// The screen's scores of one token.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Whether it is the model's first choice.
    pub first_choice: bool,
    /// Natural log of its probability under each sampling scheme that counts.
    pub logprob: Vec<f32>,
}

/// When a window deserves exact scoring: if it meets either condition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Minimum share of suffix tokens that are the model's first choice.
    pub first_choices: f64,
    /// Minimum natural log of the suffix's probability under the best sampling scheme.
    pub log_p: f64,
}

impl Threshold {
    /// Whether to keep the window with these suffix tokens. Windows with unscored tokens are kept.
    pub fn keeps(&self, suffix: &[Option<Token>]) -> bool {
        let Some(suffix) = suffix
            .iter()
            .map(Option::as_ref)
            .collect::<Option<Vec<&Token>>>()
        else {
            return true;
        };
        let choices = suffix.iter().filter(|token| token.first_choice).count();
        let ways = suffix
            .iter()
            .map(|token| token.logprob.len())
            .min()
            .unwrap_or_default();
        let sum = |way: usize| {
            suffix
                .iter()
                .map(|token| f64::from(token.logprob[way]))
                .sum::<f64>()
        };
        choices as f64 >= self.first_choices * suffix.len() as f64
            || (0..ways).any(|way| sum(way) >= self.log_p)
    }
}

/// The windows of a sequence to keep, given the screen's scores for the tokens of its [`pieces`],
/// in order.
pub fn kept(windows: &[Window], tokens: &[Option<Token>], threshold: Threshold) -> Vec<bool> {
    let Some(first) = windows.first() else {
        return Vec::new();
    };
    let suffix = |window: &Window| {
        let from = (window.placement.start_token - first.placement.start_token) as usize;
        let length = window.token_ids.len() - window.placement.prefix_len as usize;
        tokens.get(from..from + length)
    };
    windows
        .iter()
        .map(|window| suffix(window).is_none_or(|suffix| threshold.keeps(suffix)))
        .collect()
}

/// How many of `skipped` windows to score anyway.
pub fn sample_size(skipped: usize) -> usize {
    skipped
        .div_ceil(SAMPLED_ONE_IN)
        .max(LEAST_SAMPLED)
        .min(skipped)
}

/// Draws a random sample of `size` skipped windows, spread evenly over their order and so over
/// items: one from each of `size` stretches of equal length (up to one window). `below(n)` draws a
/// number below `n`.
pub fn sample(skipped: &[usize], size: usize, mut below: impl FnMut(usize) -> usize) -> Vec<usize> {
    let size = size.min(skipped.len());
    let bound = |stretch: usize| (stretch as u128 * skipped.len() as u128 / size as u128) as usize;
    (0..size)
        .map(|stretch| {
            let (from, to) = (bound(stretch), bound(stretch + 1));
            skipped[from + below(to - from)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::ItemId;
    use crate::metric::random::SplitMix64;
    use crate::window::Form;
    use proptest::prelude::*;

    /// The windows of a text with the tokens 100, 101, ...; BOS is 1.
    fn windows(tokens: u32, prefix: u32, suffix: u32, stride: u32, bos: bool) -> Vec<Window> {
        let last = tokens - prefix - suffix;
        let mut starts: Vec<u32> = (0..=last).step_by(stride as usize).collect();
        if starts.last() != Some(&last) {
            starts.push(last);
        }
        starts
            .into_iter()
            .map(|start| Window {
                id: WindowId(format!("x#{start}")),
                item: ItemId("x".to_owned()),
                placement: Placement {
                    form: Form::AsGiven,
                    template: Default::default(),
                    start_token: start,
                    start_byte: 0,
                    suffix_byte: 0,
                    end_byte: 0,
                    suffix_char: 0,
                    end_char: 0,
                    prefix_len: prefix + u32::from(bos),
                    suffix_len: suffix,
                    straddles: false,
                },
                token_ids: bos
                    .then_some(1)
                    .into_iter()
                    .chain(100 + start..100 + start + prefix + suffix)
                    .collect(),
            })
            .collect()
    }

    fn token(first_choice: bool, logprob: f32) -> Option<Token> {
        Some(Token {
            first_choice,
            logprob: vec![logprob, logprob - 1.0],
        })
    }

    #[test]
    fn pieces_include_context_and_respect_the_length_limit() {
        let pieces = pieces(&windows(23, 4, 3, 3, true), 4, 12).unwrap();
        let ids: Vec<&str> = pieces.iter().map(|piece| piece.id.0.as_str()).collect();
        assert_eq!(ids, ["x#0~4", "x#0~11", "x#0~18"]);
        assert_eq!(
            pieces[1].token_ids,
            [1, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117]
        );
        assert_eq!(
            pieces[2].token_ids,
            [1, 114, 115, 116, 117, 118, 119, 120, 121, 122]
        );
        assert!(pieces.iter().all(|piece| piece.placement.prefix_len == 5));
        assert_eq!(super::pieces(&[], 4, 12), Some(Vec::new()));
    }

    #[test]
    fn windows_with_gaps_and_pieces_without_room_are_refused() {
        assert_eq!(
            pieces(&windows(30, 4, 3, 8, false), 4, 12),
            None,
            "token 7 is in no window"
        );
        assert!(pieces(&windows(30, 4, 3, 7, false), 4, 12).is_some());
        assert_eq!(pieces(&windows(23, 4, 3, 3, true), 4, 5), None);
        assert_eq!(pieces(&windows(23, 4, 3, 3, true), 4, 6).unwrap().len(), 19);
    }

    #[test]
    fn windows_are_kept_for_first_choices_probability_or_missing_scores() {
        let threshold = Threshold {
            first_choices: 0.5,
            log_p: -4.0,
        };
        let (hit, miss) = (token(true, -3.0), token(false, -3.0));
        for (suffix, kept) in [
            (vec![hit.clone(), miss.clone()], true),
            (vec![miss.clone(), miss.clone(), hit.clone()], false),
            (vec![token(false, -2.0), token(false, -2.0)], true),
            (vec![token(false, -2.0), token(false, -2.1)], false),
            (vec![miss.clone(), None], true),
        ] {
            assert_eq!(threshold.keeps(&suffix), kept, "{suffix:?}");
        }
        // Token 9 of the text is not a first choice after 4 tokens of context: windows whose suffix
        // contains it are skipped.
        let tokens: Vec<Option<Token>> = (4..23).map(|at| token(at != 9, -9.0)).collect();
        let all = Threshold {
            first_choices: 1.0,
            log_p: 0.0,
        };
        let windows = windows(23, 4, 3, 1, true);
        let skipped: Vec<u32> = windows
            .iter()
            .zip(kept(&windows, &tokens, all))
            .filter(|(_, kept)| !kept)
            .map(|(w, _)| w.placement.start_token)
            .collect();
        assert_eq!(skipped, [3, 4, 5]);
        assert!(
            kept(&windows, &tokens[..18], all)[16],
            "a window without scores is kept"
        );
    }

    #[test]
    fn samples_are_at_least_200_and_2_percent_of_the_skipped_windows() {
        for (skipped, size) in [
            (0, 0),
            (10, 10),
            (200, 200),
            (5_000, 200),
            (10_001, 201),
            (1_000_000, 20_000),
        ] {
            assert_eq!(sample_size(skipped), size);
        }
    }

    fn sample(skipped: &[usize], size: usize, seed: u64) -> Vec<usize> {
        let mut random = SplitMix64::new(seed);
        super::sample(skipped, size, |n| random.below(n))
    }

    #[test]
    fn samples_are_spread_evenly_and_depend_only_on_the_draws() {
        let skipped: Vec<usize> = (0..1_000).map(|i| i * 3).collect();
        let drawn = sample(&skipped, 100, 7);
        assert_eq!(drawn.len(), 100);
        assert!(
            drawn
                .iter()
                .enumerate()
                .all(|(i, place)| (i * 30..i * 30 + 30).contains(place))
        );
        assert_eq!(drawn, sample(&skipped, 100, 7));
        assert_ne!(drawn, sample(&skipped, 100, 8));
        assert_eq!(sample(&skipped, 1_000, 1), skipped);
        assert!(sample(&[], 5, 1).is_empty());
        // Every window can be drawn, with a slightly lower probability in a longer stretch.
        let mut drawn = [0u32; 7];
        (0..7_000).for_each(|seed| {
            sample(&[0, 1, 2, 3, 4, 5, 6], 3, seed)
                .iter()
                .for_each(|i| drawn[*i] += 1)
        });
        assert!(
            drawn.iter().all(|count| (2_100..3_800).contains(count)),
            "{drawn:?}"
        );
    }

    proptest! {
        #[test]
        fn every_suffix_token_is_in_one_piece_with_enough_context(
            (prefix, suffix, stride) in (1u32..20, 1u32..20, 1u32..40),
            (more, length, bos) in (0u32..300, 1usize..100, any::<bool>()),
        ) {
            let tokens = prefix + suffix + more;
            let windows = windows(tokens, prefix, suffix, stride, bos);
            let Some(pieces) = pieces(&windows, prefix, length) else {
                prop_assert!(stride > prefix + suffix || length <= prefix as usize + usize::from(bos));
                return Ok(());
            };
            let scored: Vec<u32> = pieces.iter().flat_map(|piece| &piece.token_ids[piece.placement.prefix_len as usize..]).copied().collect();
            prop_assert_eq!(scored, (100 + prefix..100 + tokens).collect::<Vec<_>>());
            prop_assert!(pieces.iter().all(|piece| piece.token_ids.len() <= length && piece.placement.prefix_len == windows[0].placement.prefix_len));
        }
    }
}
