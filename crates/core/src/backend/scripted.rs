//! The test double: a rule-based language model without weights, small enough to check by hand.
//!
//! Its next-token logits are a hash of the context, so scores look arbitrary but are the same on
//! every machine. [`memorize`](Scripted::memorize) raises a sequence above the noise; single inputs
//! can get their own [scores](Scripted::set) or an [error](Scripted::fail_on). Scoring and greedy
//! continuation use the same logits, as in a real model.

use crate::backend::exit::Exit;
use crate::backend::{
    Backend, BackendInfo, NextTokens, Scheme, ScoreError, ScoreInput, TokenScores,
};
use crate::random::SplitMix64;
use std::collections::HashMap;

/// Logits of the rule are in `0..NOISE`.
const NOISE: f64 = 4.0;
/// Number of context tokens that must match a memorized sequence for it to continue (fewer at its
/// start).
const MATCH: usize = 4;

/// A backend without a model.
#[derive(Clone, Debug)]
pub struct Scripted {
    info: BackendInfo,
    memorized: Vec<(Vec<u32>, f64)>,
    table: HashMap<Vec<u32>, Result<TokenScores, ScoreError>>,
}

impl Scripted {
    /// A model with `vocab_size` tokens and a context of `context_length` tokens, scored under the
    /// default schemes.
    pub fn new(vocab_size: u32, context_length: u32) -> Self {
        let info = BackendInfo {
            name: "scripted".to_owned(),
            architecture: "scripted".to_owned(),
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            mixture: None,
            arithmetic: "f32".to_owned(),
            parameters: 0,
            vocab_size,
            context_length,
            schemes: Scheme::defaults(),
        };
        Self {
            info,
            memorized: Vec::new(),
            table: HashMap::new(),
        }
    }

    /// Scores under these schemes instead. Ignores top-p: nucleus sampling isn't implemented here.
    #[must_use]
    pub fn scored_under(mut self, schemes: Vec<Scheme>) -> Self {
        self.info.schemes = schemes;
        self
    }

    /// Adds `logit` to the token that continues `sequence` wherever the last context tokens match
    /// part of it: well above 4 the model recites it, below 4 it only becomes likelier. Context
    /// before the sequence, such as a BOS token, doesn't matter.
    pub fn memorize(&mut self, sequence: &[u32], logit: f64) {
        self.memorized.push((sequence.to_vec(), logit));
    }

    /// Sets the scores of inputs with exactly these tokens, overriding the rule.
    pub fn set(&mut self, token_ids: &[u32], scores: TokenScores) {
        self.table.insert(token_ids.to_vec(), Ok(scores));
    }

    /// Makes inputs with exactly these tokens fail.
    pub fn fail_on(&mut self, token_ids: &[u32], error: ScoreError) {
        self.table.insert(token_ids.to_vec(), Err(error));
    }

    fn score_one(&self, input: &ScoreInput<'_>) -> Result<TokenScores, ScoreError> {
        let ids = input.token_ids;
        self.check(ids)?;
        if input.prefix_len == 0 {
            return Err(ScoreError::EmptyPrefix);
        }
        if input.prefix_len >= ids.len() {
            return Err(ScoreError::EmptySuffix);
        }
        if let Some(answer) = self.table.get(ids) {
            return answer.clone();
        }
        let mut scores = TokenScores {
            scheme_logprob: vec![Vec::new(); self.info.schemes.len()],
            ..TokenScores::default()
        };
        for position in input.prefix_len..ids.len() {
            let logits = self.logits(&ids[..position]);
            let truth = ids[position] as usize;
            let own = logits[truth];
            let best_other = logits
                .iter()
                .enumerate()
                .filter(|&(id, _)| id != truth)
                .map(|(_, &l)| l)
                .fold(f64::NEG_INFINITY, f64::max);
            let rank = logits.iter().filter(|&&logit| logit > own).count() as u32;
            scores
                .logprob
                .push((own - log_sum_exp(logits.iter().copied())) as f32);
            scores.rank.push(rank);
            scores.margin.push((own - best_other) as f32);
            let log_sum = log_sum_exp(logits.iter().copied());
            let moment = |of: &dyn Fn(f64) -> f64| {
                logits
                    .iter()
                    .map(|l| (l - log_sum).exp() * of(l - log_sum))
                    .sum::<f64>()
            };
            let expected = moment(&|lp| lp);
            scores.expected_logprob.push(expected as f32);
            scores
                .logprob_sd
                .push(moment(&|lp| (lp - expected).powi(2)).sqrt() as f32);
            for (scheme, list) in self.info.schemes.iter().zip(&mut scores.scheme_logprob) {
                list.push(under(scheme, &logits, own, rank) as f32);
            }
        }
        Ok(scores)
    }

    fn check(&self, ids: &[u32]) -> Result<(), ScoreError> {
        let context = self.info.context_length as usize;
        if ids.len() > context {
            return Err(ScoreError::TooLong {
                tokens: ids.len(),
                context,
            });
        }
        match ids.iter().find(|&&id| id >= self.info.vocab_size) {
            Some(&id) => Err(ScoreError::UnknownToken {
                id,
                vocab: self.info.vocab_size,
            }),
            None => Ok(()),
        }
    }

    fn logits(&self, context: &[u32]) -> Vec<f64> {
        let seed = context
            .iter()
            .fold(0, |hash, &id| mix(hash ^ u64::from(id)));
        let noise =
            |id: u32| mix(seed.wrapping_add(u64::from(id))) as f64 / u64::MAX as f64 * NOISE;
        let mut logits: Vec<f64> = (0..self.info.vocab_size).map(noise).collect();
        for (sequence, logit) in &self.memorized {
            if let Some(raised) =
                continuation(sequence, context).and_then(|id| logits.get_mut(id as usize))
            {
                *raised += logit;
            }
        }
        logits
    }
}

impl Backend for Scripted {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn score(&self, inputs: &[ScoreInput<'_>]) -> Vec<Result<TokenScores, ScoreError>> {
        inputs.iter().map(|input| self.score_one(input)).collect()
    }

    fn score_until(
        &self,
        inputs: &[ScoreInput<'_>],
        exit: &Exit,
    ) -> Vec<Result<TokenScores, ScoreError>> {
        let cut = |scores: Result<TokenScores, _>| {
            scores.map(|scores| exit.cut(scores, &self.info.schemes))
        };
        self.score(inputs).into_iter().map(cut).collect()
    }

    fn decode(&self, prompts: &[&[u32]], choose: &mut NextTokens<'_>) -> Result<(), ScoreError> {
        let len = prompts.first().map_or(0, |first| first.len());
        if len == 0 {
            return Err(ScoreError::EmptyPrefix);
        }
        if prompts.iter().any(|prompt| prompt.len() != len) {
            return Err(ScoreError::Backend(
                "sequences of one pass differ in length".to_owned(),
            ));
        }
        let mut live: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.to_vec()).collect();
        while !live.is_empty() {
            live.iter().try_for_each(|ids| self.check(ids))?;
            let logits: Vec<Vec<f32>> = live
                .iter()
                .map(|ids| {
                    self.logits(ids)
                        .into_iter()
                        .map(|logit| logit as f32)
                        .collect()
                })
                .collect();
            let rows: Vec<&[f32]> = logits.iter().map(Vec::as_slice).collect();
            let branches = choose(&rows);
            if let Some(bad) = branches.iter().find(|b| b.parent >= live.len()) {
                return Err(ScoreError::no_sequence(bad.parent, live.len()));
            }
            live = branches
                .iter()
                .map(|b| live[b.parent].iter().copied().chain([b.token]).collect())
                .collect();
        }
        Ok(())
    }

    fn sum_logprobs(
        &self,
        prefixes: &[&[u32]],
        suffixes: &[&[u32]],
    ) -> Result<Vec<Vec<f64>>, ScoreError> {
        let one = |prefix: &&[u32], suffix: &[u32]| {
            let ids = [*prefix, suffix].concat();
            let scores = self.score_one(&ScoreInput {
                token_ids: &ids,
                prefix_len: prefix.len(),
            })?;
            Ok(scores.logprob.iter().map(|lp| f64::from(*lp)).sum())
        };
        suffixes
            .iter()
            .map(|suffix| prefixes.iter().map(|prefix| one(prefix, suffix)).collect())
            .collect()
    }
}

/// The token in `sequence` that follows the last tokens of `context`.
fn continuation(sequence: &[u32], context: &[u32]) -> Option<u32> {
    (1..sequence.len())
        .find(|&at| context.ends_with(&sequence[at.saturating_sub(MATCH)..at]))
        .map(|at| sequence[at])
}

/// Natural log of the probability of the token with logit `own` and `rank` when sampling under
/// `scheme`.
fn under(scheme: &Scheme, logits: &[f64], own: f64, rank: u32) -> f64 {
    let temperature = f64::from(scheme.temperature);
    if temperature == 0.0 {
        return if rank == 0 { 0.0 } else { f64::NEG_INFINITY };
    }
    let kept = scheme.top_k.map_or(logits.len(), |k| k as usize);
    if rank as usize >= kept {
        return f64::NEG_INFINITY;
    }
    let mut sorted = logits.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    own / temperature - log_sum_exp(sorted.iter().take(kept).map(|logit| logit / temperature))
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    max + values.map(|value| (value - max).exp()).sum::<f64>().ln()
}

/// Spreads any number over all 64 bits.
fn mix(value: u64) -> u64 {
    SplitMix64::new(value).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(
        backend: &Scripted,
        token_ids: &[u32],
        prefix_len: usize,
    ) -> Result<TokenScores, ScoreError> {
        backend
            .score(&[ScoreInput {
                token_ids,
                prefix_len,
            }])
            .remove(0)
    }

    #[test]
    fn probabilities_over_the_vocabulary_sum_to_one_under_every_scheme() {
        let backend = Scripted::new(100, 8);
        let all: Vec<_> = (0..100)
            .map(|id| score(&backend, &[5, 6, id], 2).unwrap())
            .collect();
        let sum = |get: &dyn Fn(&TokenScores) -> f32| {
            all.iter().map(|s| f64::from(get(s)).exp()).sum::<f64>()
        };
        assert!((sum(&|s| s.logprob[0]) - 1.0).abs() < 1e-5);
        assert!((sum(&|s| s.scheme_logprob[0][0]) - 1.0).abs() < 1e-5);
        assert!((sum(&|s| s.scheme_logprob[1][0]) - 1.0).abs() < 1e-5);
        assert_eq!(
            all.iter()
                .filter(|s| s.scheme_logprob[1][0] == f32::NEG_INFINITY)
                .count(),
            60,
            "outside the top 40"
        );
        let mut ranks: Vec<_> = all.iter().map(|s| s.rank[0]).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, (0..100).collect::<Vec<_>>());
        assert_eq!(
            all.iter().filter(|s| s.margin[0] > 0.0).count(),
            1,
            "one token is the top one"
        );
    }

    #[test]
    fn rescored_greedy_continuations_have_rank_0_and_the_same_log_probability() {
        let backend = Scripted::new(50, 32);
        let greedy = crate::backend::generate::greedy(&backend, &[&[1, 2]], 8)
            .unwrap()
            .remove(0);
        let ids: Vec<u32> = [1, 2]
            .into_iter()
            .chain(greedy.iter().map(|token| token.id))
            .collect();
        let scores = score(&backend, &ids, 2).unwrap();
        assert_eq!(scores.rank, [0; 8]);
        // Generation uses logits in f32.
        assert!(
            scores
                .logprob
                .iter()
                .zip(&greedy)
                .all(|(lp, token)| (lp - token.logprob).abs() < 1e-5)
        );
    }

    #[test]
    fn memorized_sequences_are_recited_from_any_position() {
        let mut backend = Scripted::new(50, 64);
        let text: Vec<u32> = (10..40).collect();
        assert!(
            score(&backend, &text, 5)
                .unwrap()
                .rank
                .iter()
                .any(|&rank| rank > 0)
        );
        backend.memorize(&text, 20.0);
        for (ids, prefix_len) in [
            (text.clone(), 1),
            (text[7..].to_vec(), 4),
            ([&[0], &text[..]].concat(), 2),
        ] {
            let scores = score(&backend, &ids, prefix_len).unwrap();
            assert_eq!(scores.rank, vec![0; ids.len() - prefix_len]);
            assert!(scores.logprob.iter().all(|&lp| lp > -1e-3));
        }
        let backwards: Vec<u32> = text.iter().rev().copied().collect();
        assert!(
            score(&backend, &backwards, 5)
                .unwrap()
                .rank
                .iter()
                .any(|&rank| rank > 0)
        );
    }

    #[test]
    fn set_scores_and_errors_affect_only_their_own_input() {
        let mut backend = Scripted::new(10, 4);
        let entry = TokenScores {
            logprob: vec![-9.0],
            rank: vec![1],
            margin: vec![-1.0],
            ..TokenScores::default()
        };
        backend.set(&[1, 2], entry.clone());
        backend.fail_on(&[1, 3], ScoreError::NonFinite { position: 0 });
        let ids: [&[u32]; 7] = [&[1, 2], &[1, 3], &[1, 4], &[1, 10], &[1], &[1; 5], &[2, 2]];
        let inputs: Vec<_> = ids
            .iter()
            .map(|token_ids| ScoreInput {
                token_ids,
                prefix_len: 1,
            })
            .collect();
        let scores = backend.score(&inputs);
        assert_eq!(scores[0], Ok(entry));
        assert_eq!(scores[1], Err(ScoreError::NonFinite { position: 0 }));
        assert_eq!(
            scores[2],
            Scripted::new(10, 4).score(&inputs[2..3]).remove(0)
        );
        assert_eq!(
            scores[3],
            Err(ScoreError::UnknownToken { id: 10, vocab: 10 })
        );
        assert_eq!(scores[4], Err(ScoreError::EmptySuffix));
        assert_eq!(
            scores[5],
            Err(ScoreError::TooLong {
                tokens: 5,
                context: 4
            })
        );
        assert!(scores[6].is_ok());
        assert_eq!(score(&backend, &[1, 2], 0), Err(ScoreError::EmptyPrefix));
    }
}
