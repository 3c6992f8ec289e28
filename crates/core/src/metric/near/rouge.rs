//! ROUGE-L (Lin 2004, ACL W04-1013) as the package rouge-score computes it, without stemming.
//!
//! Its words are the runs of `a-z` and `0-9` in the lower-cased text. Text without any, such as Chinese, has no words and
//! scores 0, there as here; edit similarity and common substrings know every script.

use crate::metric::near::numbered;

/// F1 of the longest common subsequence of words, 0 to 1: `2 P R / (P + R)`, `P = LCS / |own|`, `R = LCS / |truth|`.
pub fn rouge_l(truth_text: &str, own_text: &str) -> f64 {
    let (truth_text, own_text) = (truth_text.to_lowercase(), own_text.to_lowercase());
    let (truth, own) = numbered(words(&truth_text), words(&own_text));
    let common = f64::from(longest_common_subsequence(&truth, &own));
    if common == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (common / own.len() as f64, common / truth.len() as f64);
    2.0 * precision * recall / (precision + recall)
}

fn words(lower: &str) -> impl Iterator<Item = &str> {
    lower
        .split(|c: char| !matches!(c, 'a'..='z' | '0'..='9'))
        .filter(|word| !word.is_empty())
}

/// Length of the longest subsequence of both, in words.
fn longest_common_subsequence(a: &[u32], b: &[u32]) -> u32 {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    // Cell j: the longest of what was seen of `long` and the first j + 1 words of `short`.
    let mut row = vec![0u32; short.len()];
    for word in long {
        let (mut diagonal, mut left) = (0, 0);
        for (cell, wanted) in row.iter_mut().zip(short) {
            left = if wanted == word {
                diagonal + 1
            } else {
                left.max(*cell)
            };
            diagonal = std::mem::replace(cell, left);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_equal_those_of_rouge_score() {
        // RougeScorer(["rougeL"]).score(truth, own)["rougeL"].fmeasure
        for (truth, own, expected) in [
            ("the cat sat on the mat", "the cat on the mat", 10.0 / 11.0),
            // Case and punctuation don't count; a letter outside a-z splits a word.
            ("The CAT, sat!", "the cat... sat", 1.0),
            ("caf\u{e9}s", "caf s", 1.0),
            ("a b c d", "d c b a", 0.25),
            ("日本語", "日本語", 0.0),
            ("", "", 0.0),
            ("a", "", 0.0),
        ] {
            let score = rouge_l(truth, own);
            assert!(
                (score - expected).abs() < 1e-12,
                "{truth:?} {own:?}: {score}, not {expected}"
            );
        }
    }
}
