//! Sentence BLEU (Papineni et al. 2002, ACL P02-1040), by one convention of the many.
//!
//! It is sacrebleu's for sentences, `sentence_bleu(own, [truth], tokenize="none", smooth_method="exp",
//! use_effective_order=True) / 100`:
//! - words are what stands between whitespace, case and punctuation included;
//! - n-grams of 1 to 4 words, but only as long as the model's own text has any;
//! - the k-th order without a single match counts as `1 / 2^k` matches (mteval-v13a, Chen and Cherry 2014, method 3);
//! - nothing in common at all, or no words, is 0.

use std::collections::HashMap;

/// Longest n-grams that count, in words.
const ORDER: usize = 4;

/// BLEU-4 of `own` against the single reference `truth`, 0 to 1; equal texts of at least one word give 1. Words come as
/// numbers, equal where the words are equal.
///
/// `BP exp(1/N sum_n ln p_n)`, with `BP = exp(1 - |truth| / |own|)` where the own text is the shorter one, else 1.
pub fn of_words(truth: &[u32], own: &[u32]) -> f64 {
    let orders = ORDER.min(own.len());
    let matches: Vec<usize> = (1..=orders)
        .map(|n| clipped_matches(truth, own, n))
        .collect();
    if matches.iter().all(|&count| count == 0) {
        return 0.0;
    }
    let mut smooth = 1.0;
    let mut log_precisions = 0.0;
    for (n, count) in (1..).zip(matches) {
        let total = (own.len() + 1 - n) as f64;
        let precision = if count == 0 {
            smooth /= 2.0;
            smooth / total
        } else {
            count as f64 / total
        };
        log_precisions += precision.ln();
    }
    let brevity = if own.len() < truth.len() {
        1.0 - truth.len() as f64 / own.len() as f64
    } else {
        0.0
    };
    (brevity + log_precisions / orders as f64).exp()
}

/// n-grams of `own` that stand in `truth`, each at most as often as it stands there.
fn clipped_matches(truth: &[u32], own: &[u32], n: usize) -> usize {
    let mut left: HashMap<&[u32], usize> = HashMap::new();
    for ngram in truth.windows(n) {
        *left.entry(ngram).or_default() += 1;
    }
    let mut matches = 0;
    for ngram in own.windows(n) {
        if let Some(count) = left.get_mut(ngram).filter(|count| **count > 0) {
            *count -= 1;
            matches += 1;
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_equal_those_of_sacrebleu() {
        // sacrebleu.sentence_bleu(own, [truth], tokenize="none", use_effective_order=True).score / 100
        let cases: [(&[u32], &[u32], f64); 7] = [
            (&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5], 1.0),
            (&[1, 2], &[1, 2], 1.0),
            // Too short: only the brevity penalty, exp(1 - 4/2).
            (&[1, 2, 3, 4], &[1, 2], (-1f64).exp()),
            // A repeated word counts as often as it stands in the truth: 1/4, then 1/2, 1/4 and 1/8 of a match.
            (
                &[1, 2, 3, 4],
                &[1, 1, 1, 1],
                (1.0 / 4.0 * (0.5 / 3.0) * (0.25 / 2.0) * 0.125f64).powf(0.25),
            ),
            (&[1, 2, 3, 4], &[5, 6, 7, 8], 0.0),
            (&[1, 2], &[], 0.0),
            (&[], &[1, 2], 0.0),
        ];
        for (truth, own, expected) in cases {
            let bleu = of_words(truth, own);
            assert!(
                (bleu - expected).abs() < 1e-12,
                "{truth:?} {own:?}: {bleu}, not {expected}"
            );
        }
    }
}
