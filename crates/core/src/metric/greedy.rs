//! What greedy decoding would do, read off the ranks of the true tokens.
//!
//! If the first t - 1 tokens match, decoding and teacher forcing see the same context at t, so by
//! induction no generation is needed (arXiv 2202.07646).

/// Whether greedy decoding from the prefix yields exactly the suffix: every `r_t = 0` (arXiv 2202.07646).
/// An empty suffix is not extracted.
pub fn greedy_exact(ranks: &[u32]) -> bool {
    !ranks.is_empty() && ranks.iter().all(|&rank| rank == 0)
}

/// Suffix tokens before the first one with `r_t > 0`, in tokens.
pub fn verbatim_run(ranks: &[u32]) -> u32 {
    ranks.iter().take_while(|&&rank| rank == 0).map(|_| 1).sum()
}

/// Teacher-forced exact match: `(1/L) #{t : r_t = 0}`, 0 to 1 (arXiv 2304.11158 takes the same share of a
/// free-running continuation). `None` for an empty suffix.
pub fn exact_match(ranks: &[u32]) -> Option<f64> {
    let hits = ranks.iter().filter(|&&rank| rank == 0).count();
    (!ranks.is_empty()).then(|| hits as f64 / ranks.len() as f64)
}

/// Extraction strength `ES = 1 - (1/L) min{m : all r_t = 0 for t >= m}`: the share of the suffix that follows by greedy
/// decoding once the rest of it is given (arXiv 2012.07805, 2506.12618). 0 when even the last token fails and for an empty
/// suffix, 1 when all are first choices.
pub fn extraction_strength(ranks: &[u32]) -> f64 {
    let tail = ranks.iter().rev().take_while(|&&rank| rank == 0).count();
    if ranks.is_empty() {
        0.0
    } else {
        tail as f64 / ranks.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_give_exactness_run_and_share_of_hits() {
        let cases: [(&[u32], bool, u32, Option<f64>); 6] = [
            (&[], false, 0, None),
            (&[0], true, 1, Some(1.0)),
            (&[1], false, 0, Some(0.0)),
            (&[0, 0, 0, 0], true, 4, Some(1.0)),
            (&[0, 0, 7, 0], false, 2, Some(0.75)),
            (&[3, 0, 0, 0], false, 0, Some(0.75)),
        ];
        for (ranks, exact, run, em) in cases {
            assert_eq!(
                (greedy_exact(ranks), verbatim_run(ranks), exact_match(ranks)),
                (exact, run, em),
                "{ranks:?}"
            );
        }
    }

    #[test]
    fn extraction_strength_is_the_share_that_follows_from_the_rest() {
        let cases: [(&[u32], f64); 7] = [
            (&[], 0.0),
            (&[0], 1.0),
            (&[4], 0.0),
            (&[0, 0, 0, 0], 1.0),
            (&[0, 0, 7, 0], 0.25),
            (&[3, 0, 0, 0], 0.75),
            // A miss at the very end: nothing that is given makes it follow.
            (&[0, 0, 0, 1], 0.0),
        ];
        for (ranks, expected) in cases {
            assert_eq!(extraction_strength(ranks), expected, "{ranks:?}");
        }
    }
}
