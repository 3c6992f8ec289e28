//! A lower bound on the probability that a sample comes near the true suffix: k-CBS (arXiv 2603.24917).
//!
//! A beam search over what the scheme samples from, with two exact rules. A beginning that can't end within the distance
//! any more is dropped, and it costs the bound nothing. A beginning that can't miss it any more is settled: all of its
//! continuations count, so its whole probability does. What is left competes for the beam. No sequence is counted
//! twice, so the sum is a lower bound whatever the beam keeps; how it ranks only makes it tighter or looser.
//!
//! The beam ranks by probability alone, which is the most that a beginning can add to the sum. Where the model's own
//! text leaves the suffix, likely beginnings crowd the beam, spend their edits and are dropped within a few tokens; the
//! one that is needed then is the true suffix's own, so it is kept whatever its rank. A rank that adds what the edits
//! left may still save was tried on the built-in model: it moved no bound above 1e-6, and smaller ones either way.

use super::foreign::log_sum_exp;
use crate::backend::logits::Warped;
use crate::backend::{Backend, Branch, Scheme, ScoreError};
use crate::metric::near::edit::Row;
use crate::run::follow_up::NearProbability;
use std::rc::Rc;

/// A token that stands in no suffix.
const FOREIGN: u32 = u32::MAX;

/// A beginning of a sample, neither lost nor settled.
struct Hypothesis {
    /// Natural log of its probability under the scheme.
    log_p: f64,
    row: Rc<Row>,
    /// Whether it is the beginning of the true suffix.
    truth: bool,
}

/// What stays the same over the steps of one window.
struct Search<'a> {
    suffix: &'a [u32],
    scheme: &'a Scheme,
    distance: u32,
    width: usize,
}

/// A lower bound on `P(d(sample, suffix) <= distance)`, Levenshtein in tokens, over samples of exactly as many tokens as
/// the suffix has: what follows `prefix_len` in the window (token ids as the model is to see them). The beam keeps the
/// `width` likeliest beginnings a step, and the true suffix's own as long as the scheme can sample it: the bound is
/// never below the window's `p_z`, but for the rounding between two paths to the same logits. An end-of-text token counts
/// as any other.
///
/// # Errors
/// When the window can't be scored, or as for [`Backend::decode`].
pub fn near_probability(
    backend: &dyn Backend,
    window_ids: &[u32],
    prefix_len: usize,
    scheme: &Scheme,
    distance: u32,
    width: u32,
) -> Result<NearProbability, ScoreError> {
    check(backend, window_ids, prefix_len)?;
    let (prefix, suffix) = window_ids.split_at(prefix_len);
    let search = Search {
        suffix,
        scheme,
        distance,
        width: width as usize,
    };
    let found = search.run(backend, prefix)?;
    Ok(NearProbability {
        scheme: scheme.id.clone(),
        distance,
        beam: width,
        // A probability, whatever the last digit says.
        log_p: log_sum_exp(&found).min(0.0),
        sequences: u32::try_from(found.len()).unwrap_or(u32::MAX),
    })
}

/// Refuses what scoring refuses, too: the search alone wouldn't notice all of it.
fn check(backend: &dyn Backend, window_ids: &[u32], prefix_len: usize) -> Result<(), ScoreError> {
    let info = backend.info();
    let (tokens, context) = (window_ids.len(), info.context_length as usize);
    if prefix_len == 0 {
        return Err(ScoreError::EmptyPrefix);
    }
    if prefix_len >= tokens {
        return Err(ScoreError::EmptySuffix);
    }
    if tokens > context {
        return Err(ScoreError::TooLong { tokens, context });
    }
    match window_ids.iter().find(|id| **id >= info.vocab_size) {
        Some(&id) => Err(ScoreError::UnknownToken {
            id,
            vocab: info.vocab_size,
        }),
        None => Ok(()),
    }
}

impl Search<'_> {
    /// Log-probabilities of all beginnings that were settled: no one is the beginning of another.
    fn run(&self, backend: &dyn Backend, prefix: &[u32]) -> Result<Vec<f64>, ScoreError> {
        let start = Row::start(self.suffix.len());
        if start.most_after(self.suffix.len()) <= self.distance {
            return Ok(vec![0.0]);
        }
        let mut settled = Vec::new();
        let mut live = vec![Hypothesis {
            log_p: 0.0,
            row: Rc::new(start),
            truth: true,
        }];
        let mut step = 0;
        let mut broken = None;
        backend.decode(&[prefix], &mut |rows| {
            let mut children = Vec::new();
            for (parent, (row, hypothesis)) in rows.iter().zip(&live).enumerate() {
                match Warped::new(row, self.scheme) {
                    Some(warped) => self.extend(
                        parent,
                        hypothesis,
                        &warped,
                        step,
                        &mut children,
                        &mut settled,
                    ),
                    None => broken = Some(ScoreError::NonFinite { position: step }),
                }
            }
            step += 1;
            if broken.is_some() {
                return Vec::new();
            }
            let (branches, kept) = self.select(children);
            live = kept;
            branches
        })?;
        broken.map_or(Ok(settled), Err)
    }

    /// All children of a hypothesis that matter: settled ones, and those that may yet get into the beam.
    fn extend(
        &self,
        parent: usize,
        hypothesis: &Hypothesis,
        warped: &Warped<'_>,
        step: usize,
        children: &mut Vec<(Branch, Hypothesis)>,
        settled: &mut Vec<f64>,
    ) {
        let left = self.suffix.len() - step - 1;
        let mut add = |token: u32, log_p: f64, row: &Rc<Row>| {
            if row.most_after(left) <= self.distance {
                settled.push(log_p);
            } else if row.least_after(left) <= self.distance {
                let truth = hypothesis.truth && self.suffix.get(step) == Some(&token);
                children.push((
                    Branch { parent, token },
                    Hypothesis {
                        log_p,
                        row: Rc::clone(row),
                        truth,
                    },
                ));
            }
        };
        // A token of the suffix further off than the distance is as good as any that isn't in it.
        let reach = self.distance as usize;
        let near = step.saturating_sub(reach)..(step + reach + 1).min(self.suffix.len());
        let mut near: Vec<u32> = self.suffix[near].to_vec();
        near.sort_unstable();
        near.dedup();
        for &token in &near {
            // The true token is sampled where scoring says so; of others that tie for the last place only the first.
            let truth = hypothesis.truth && self.suffix.get(step) == Some(&token);
            let logprob = warped.logprob(token);
            if logprob > f32::NEG_INFINITY && (truth || warped.holds(token)) {
                let row = Rc::new(hypothesis.row.push(token, self.suffix));
                add(token, hypothesis.log_p + f64::from(logprob), &row);
            }
        }
        let row = Rc::new(hypothesis.row.push(FOREIGN, self.suffix));
        if row.least_after(left) <= self.distance {
            // They differ in probability only, so no more of them than the beam holds can get into it. None is settled:
            // if any token led to the goal, the hypothesis itself would have been.
            let likeliest = warped.likeliest(self.width + near.len());
            let others = likeliest
                .into_iter()
                .filter(|(token, _)| near.binary_search(token).is_err());
            for (token, logprob) in others.take(self.width) {
                add(token, hypothesis.log_p + f64::from(logprob), &row);
            }
        }
    }

    /// The likeliest, and the true suffix in any case. Equals stand in the order of their parents and tokens.
    fn select(&self, mut children: Vec<(Branch, Hypothesis)>) -> (Vec<Branch>, Vec<Hypothesis>) {
        let order = |branch: &Branch| (branch.parent, branch.token);
        children
            .sort_by(|(a, x), (b, y)| y.log_p.total_cmp(&x.log_p).then(order(a).cmp(&order(b))));
        let mut place = 0..;
        children.retain(|(_, hypothesis)| {
            place.next().is_some_and(|at| at < self.width) || hypothesis.truth
        });
        children.into_iter().unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::scripted::Scripted;
    use crate::metric::near::edit::distance;

    /// Every sequence of `len` tokens with its probability under the scheme.
    fn all(
        backend: &Scripted,
        prefix: &[u32],
        len: usize,
        scheme: &Scheme,
    ) -> Vec<(Vec<u32>, f64)> {
        let mut paths = vec![(Vec::new(), 0.0)];
        let mut sequences = Vec::new();
        backend
            .decode(&[prefix], &mut |rows| {
                let mut branches = Vec::new();
                let mut next = Vec::new();
                for (parent, (row, (path, log_p))) in rows.iter().zip(&paths).enumerate() {
                    for (token, lp) in crate::backend::logits::support(row, scheme) {
                        branches.push(Branch { parent, token });
                        next.push(([path.as_slice(), &[token]].concat(), log_p + f64::from(lp)));
                    }
                }
                paths = next;
                if paths[0].0.len() < len {
                    return branches;
                }
                sequences = std::mem::take(&mut paths);
                Vec::new()
            })
            .unwrap();
        sequences
    }

    fn window(backend: &mut Scripted, memorized: f64) -> Vec<u32> {
        let ids = vec![0, 2, 1, 3, 1, 2, 0, 3];
        backend.memorize(&ids, memorized);
        ids
    }

    const SCHEMES: [&str; 7] = [
        "full",
        "top_k3",
        "top_k1",
        "t0.5",
        "t2_top_k3_top_p0.9",
        "top_p0.6",
        "greedy",
    ];

    #[test]
    fn a_beam_that_holds_everything_gives_the_sum_over_all_sequences() {
        for memorized in [0.0, 3.0, 12.0] {
            let mut backend = Scripted::new(4, 16);
            let ids = window(&mut backend, memorized);
            for (id, prefix_len) in SCHEMES.iter().flat_map(|id| [(id, 4), (id, 3)]) {
                let scheme = Scheme::parse(id).unwrap();
                let suffix = &ids[prefix_len..];
                let sequences = all(&backend, &ids[..prefix_len], suffix.len(), &scheme);
                for allowed in 0..=suffix.len() as u32 {
                    let within = sequences
                        .iter()
                        .filter(|(sample, _)| distance(sample, suffix) <= allowed);
                    let expected: f64 = within.map(|(_, log_p)| log_p.exp()).sum();
                    let bound =
                        near_probability(&backend, &ids, prefix_len, &scheme, allowed, 1 << 10)
                            .unwrap();
                    assert!(
                        (bound.log_p.exp() - expected).abs() < 1e-5,
                        "{id} {allowed}: {bound:?} not {expected}"
                    );
                    assert_eq!(
                        (bound.scheme.as_str(), bound.distance, bound.beam),
                        (*id, allowed, 1 << 10)
                    );
                }
            }
        }
    }

    #[test]
    fn a_narrower_beam_gives_no_more_and_never_less_than_the_suffix_itself() {
        let mut backend = Scripted::new(60, 64);
        let ids: Vec<u32> = (0..30).map(|i| i * 7 % 60).collect();
        for memorized in [0.0, 4.0, 9.0] {
            backend.memorize(&ids, memorized);
            for id in ["full", "top_k40", "t0.7_top_p0.9", "greedy", "top_k2"] {
                let scheme = Scheme::parse(id).unwrap();
                let bound = |width, allowed| {
                    near_probability(&backend, &ids, 10, &scheme, allowed, width).unwrap()
                };
                let p_z = bound(0, 0).log_p;
                let mut whole = 0.0;
                let mut truth = 0.0;
                let suffix = &ids[10..];
                backend
                    .decode(&[&ids[..10]], &mut |rows| {
                        let warped = Warped::new(rows[0], &scheme).unwrap();
                        let token = suffix[whole as usize];
                        truth += f64::from(warped.logprob(token));
                        whole += 1.0;
                        if (whole as usize) < suffix.len() {
                            vec![Branch { parent: 0, token }]
                        } else {
                            Vec::new()
                        }
                    })
                    .unwrap();
                assert!(
                    p_z == truth || (p_z - truth).abs() < 1e-9,
                    "{id}: {p_z} not {truth}"
                );
                let exact = [bound(0, 0), bound(50, 0)].map(|b| b.log_p);
                assert_eq!(
                    exact[0], exact[1],
                    "within distance 0 there is the suffix alone"
                );
                for allowed in [1, 3] {
                    let found = [0, 1, 8, 64].map(|width| bound(width, allowed).log_p);
                    assert!(
                        found.iter().all(|log_p| *log_p >= p_z && *log_p <= 0.0),
                        "{id}: {found:?} below {p_z}"
                    );
                    assert!(found[3] >= found[0] - 1e-12, "{id}: {found:?}");
                    assert_eq!(bound(8, allowed), bound(8, allowed));
                }
            }
        }
    }

    #[test]
    fn a_sample_that_is_always_near_has_probability_one_and_one_that_never_is_has_none() {
        let backend = Scripted::new(8, 16);
        let found = near_probability(&backend, &[1, 2, 3, 4, 5], 2, &Scheme::full(), 3, 4).unwrap();
        assert_eq!((found.log_p, found.sequences), (0.0, 1));
        // Greedy decoding yields one text, and this isn't it.
        let greedy = crate::backend::generate::greedy(&backend, &[&[1, 2]], 4)
            .unwrap()
            .remove(0);
        let ids: Vec<u32> = [1, 2]
            .into_iter()
            .chain(greedy.iter().map(|token| (token.id + 1) % 8))
            .collect();
        let found = near_probability(&backend, &ids, 2, &Scheme::greedy(), 0, 4).unwrap();
        assert_eq!((found.log_p, found.sequences), (f64::NEG_INFINITY, 0));
    }

    #[test]
    fn a_window_that_cannot_be_scored_has_no_bound() {
        let backend = Scripted::new(8, 6);
        let of = |ids: &[u32], prefix_len| {
            near_probability(&backend, ids, prefix_len, &Scheme::full(), 1, 4)
        };
        assert_eq!(of(&[1, 2, 3], 0), Err(ScoreError::EmptyPrefix));
        assert_eq!(of(&[1, 2, 3], 3), Err(ScoreError::EmptySuffix));
        assert_eq!(
            of(&[1, 2, 9], 2),
            Err(ScoreError::UnknownToken { id: 9, vocab: 8 })
        );
        assert_eq!(
            of(&[1; 7], 2),
            Err(ScoreError::TooLong {
                tokens: 7,
                context: 6
            })
        );
    }
}
