//! How near the model's own text comes to the true one.
//!
//! Tokens are compared by id. Words are what stands between whitespace, case and punctuation included, but for ROUGE-L,
//! which has a tokenizer of its own ([`rouge`]). Time is the product of both lengths; memory is their sum, so that whole
//! documents may be compared, too.

pub mod bleu;
pub mod edit;
pub mod rouge;
pub mod substring;

use crate::run::follow_up::NearVerbatim;
use std::collections::HashMap;

/// Edit similarity from which a continuation counts as near-verbatim: one edit in ten tokens.
pub const NEAR_VERBATIM: f64 = 0.9;

/// Compares the model's own continuation with the true suffix, tokens with tokens and text with text.
pub fn compare(
    truth_ids: &[u32],
    own_ids: &[u32],
    truth_text: &str,
    own_text: &str,
) -> NearVerbatim {
    let edit_distance = edit::distance(truth_ids, own_ids);
    let edit_similarity = edit::similarity(edit_distance, truth_ids.len(), own_ids.len());
    let (truth_words, own_words) =
        numbered(truth_text.split_whitespace(), own_text.split_whitespace());
    let truth_chars: Vec<char> = truth_text.chars().collect();
    let own_chars: Vec<char> = own_text.chars().collect();
    NearVerbatim {
        edit_distance,
        edit_similarity,
        bleu: bleu::of_words(&truth_words, &own_words),
        rouge_l: rouge::rouge_l(truth_text, own_text),
        lcs_chars: substring::longest_common(&truth_chars, &own_chars),
        lcs_words: substring::longest_common(&truth_words, &own_words),
        near_verbatim: edit_similarity >= NEAR_VERBATIM,
    }
}

/// Share of the truth's positions at which the model's own continuation holds the same token, 0 to 1: the memorization
/// score of arXiv 2304.11158. Positions that the continuation doesn't reach are misses; 0 for an empty truth.
pub fn equal_positions(truth: &[u32], own: &[u32]) -> f64 {
    let equal = truth
        .iter()
        .zip(own)
        .filter(|(truth, own)| truth == own)
        .count();
    if truth.is_empty() {
        0.0
    } else {
        equal as f64 / truth.len() as f64
    }
}

/// Words of two texts as numbers, equal where the words are equal.
fn numbered<'a>(
    a: impl Iterator<Item = &'a str>,
    b: impl Iterator<Item = &'a str>,
) -> (Vec<u32>, Vec<u32>) {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut number = |word| {
        let next = known.len() as u32;
        *known.entry(word).or_insert(next)
    };
    (a.map(&mut number).collect(), b.map(&mut number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_token_in_ten_is_near_verbatim_and_two_are_not() {
        let truth: Vec<u32> = (0..50).collect();
        for (wrong, near) in [(0, true), (5, true), (6, false), (50, false)] {
            let own: Vec<u32> = truth
                .iter()
                .map(|&id| if id < wrong { id + 100 } else { id })
                .collect();
            let found = compare(&truth, &own, "", "");
            assert_eq!((found.edit_distance, found.near_verbatim), (wrong, near));
        }
        for n in 1..200 {
            assert!(
                edit::similarity(n, 10 * n as usize, 0) >= NEAR_VERBATIM,
                "{n} of {}",
                10 * n
            );
        }
    }

    #[test]
    fn the_same_text_is_the_same_by_every_measure_and_another_by_none() {
        let text = "we hold these truths";
        let same = compare(&[1, 2, 3, 4], &[1, 2, 3, 4], text, text);
        let expected = NearVerbatim {
            edit_distance: 0,
            edit_similarity: 1.0,
            bleu: 1.0,
            rouge_l: 1.0,
            lcs_chars: 20,
            lcs_words: 4,
            near_verbatim: true,
        };
        assert_eq!(same, expected);
        let other = compare(&[1, 2, 3, 4], &[5, 6], "ab cd", "xyz");
        assert_eq!(
            other,
            NearVerbatim {
                edit_distance: 4,
                ..NearVerbatim::default()
            }
        );
    }

    #[test]
    fn positions_that_were_not_reached_are_misses() {
        let cases: [(&[u32], &[u32], f64); 6] = [
            (&[1, 2, 3, 4], &[1, 2, 3, 4], 1.0),
            (&[1, 2, 3, 4], &[1, 9, 3], 0.5),
            // Shifted by one: nothing stands where it should.
            (&[1, 2, 3, 4], &[0, 1, 2, 3], 0.0),
            (&[1, 2], &[1, 2, 3, 4], 1.0),
            (&[1, 2], &[], 0.0),
            (&[], &[], 0.0),
        ];
        for (truth, own, share) in cases {
            assert_eq!(equal_positions(truth, own), share, "{truth:?} {own:?}");
        }
    }
}
