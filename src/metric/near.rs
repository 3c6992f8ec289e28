//! How near the model's own text comes to the true one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Distances of a continuation from the true suffix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NearVerbatim {
    /// Levenshtein distance in tokens.
    pub edit_distance: u32,
    /// 1 - distance / the longer length, in tokens, 0 to 1.
    pub edit_similarity: f64,
    /// Sentence BLEU-4 over words, 0 to 1 (ACL P02-1040; threshold of arXiv 2210.17546: .75).
    pub bleu: f64,
    /// F1 of the longest common subsequence of words, 0 to 1 (ROUGE-L, ACL W04-1013).
    pub rouge_l: f64,
    /// Longest common substring, in characters.
    pub lcs_chars: u32,
    /// Longest common run of words.
    pub lcs_words: u32,
    /// `edit_similarity >= 0.9`.
    pub near_verbatim: bool,
}

/// Compares a continuation with the true suffix, by tokens and by text.
pub fn compare(truth_ids: &[u32], own_ids: &[u32], truth_text: &str, own_text: &str) -> NearVerbatim {
    let edit_distance = edit_distance(truth_ids, own_ids);
    let longer = truth_ids.len().max(own_ids.len());
    let edit_similarity = if longer == 0 { 1.0 } else { 1.0 - f64::from(edit_distance) / longer as f64 };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (truth, own) = (words(truth_text), words(own_text));
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    NearVerbatim {
        edit_distance,
        edit_similarity,
        bleu: bleu(&truth, &own),
        rouge_l: rouge_l(&truth, &own),
        lcs_chars: common_run(&chars(truth_text), &chars(own_text)),
        lcs_words: common_run(&truth, &own),
        near_verbatim: edit_similarity >= 0.9,
    }
}

fn edit_distance<T: PartialEq>(a: &[T], b: &[T]) -> u32 {
    let mut row: Vec<u32> = (0..=b.len() as u32).collect();
    for (i, x) in (1..).zip(a) {
        let mut diagonal = std::mem::replace(&mut row[0], i);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + u32::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

fn common_run<T: PartialEq>(a: &[T], b: &[T]) -> u32 {
    let mut ends = vec![0u32; b.len() + 1];
    let mut longest = 0;
    for x in a {
        for j in (0..b.len()).rev() {
            ends[j + 1] = if *x == b[j] { ends[j] + 1 } else { 0 };
            longest = longest.max(ends[j + 1]);
        }
    }
    longest
}

fn rouge_l(truth: &[String], own: &[String]) -> f64 {
    let mut row = vec![0u32; own.len() + 1];
    for x in truth {
        let mut diagonal = 0;
        for (j, y) in own.iter().enumerate() {
            let here = if x == y { diagonal + 1 } else { row[j].max(row[j + 1]) };
            diagonal = std::mem::replace(&mut row[j + 1], here);
        }
    }
    let common = f64::from(row.last().copied().unwrap_or_default());
    let total = truth.len() + own.len();
    if total == 0 { 0.0 } else { 2.0 * common / total as f64 }
}

fn bleu(truth: &[String], own: &[String]) -> f64 {
    let mut log_precision = 0.0;
    for n in 1..=4 {
        let mut left: Vec<&[String]> = truth.windows(n).collect();
        let mut hits = 0;
        for gram in own.windows(n) {
            if let Some(at) = left.iter().position(|other| *other == gram) {
                left.swap_remove(at);
                hits += 1;
            }
        }
        log_precision += (f64::from(hits) / own.windows(n).count().max(1) as f64).ln() / 4.0;
    }
    let brevity = (1.0 - truth.len() as f64 / own.len().max(1) as f64).min(0.0);
    (log_precision + brevity).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_is_compared_by_tokens_words_and_characters() {
        let same = compare(&[1, 2, 3], &[1, 2, 3], "a b c d", "a b c d");
        assert_eq!((same.edit_distance, same.bleu, same.rouge_l), (0, 1.0, 1.0));
        assert!(same.near_verbatim && (same.lcs_chars, same.lcs_words) == (7, 4));
        let other = compare(&[1, 2, 3, 4], &[1, 3, 4, 5], "one two three four", "one three four five");
        assert_eq!((other.edit_distance, other.edit_similarity, other.bleu), (2, 0.5, 0.0));
        assert_eq!((other.rouge_l, other.lcs_words, other.lcs_chars), (0.75, 2, 11));
    }
}
