//! Sequences that grow step by step, and suffixes that share the keys and values of their prefixes.

use super::{BATCH_TOKENS, LOGIT_ELEMENTS, Native, broken, predicting};
use crate::model::ForwardInput;
use crate::model::decoder::Cache;
use byrote_core::backend::logits::{Warped, largest_finite};
use byrote_core::backend::{Branch, NextTokens, Scheme, ScoreError};
use candle_core::Tensor;
use std::collections::BTreeMap;

impl Native {
    /// See [`byrote_core::backend::Backend::decode`]. Length-dependent rotary scaling uses the
    /// length so far, as in any real generation.
    pub(super) fn run_branches(
        &self,
        prompts: &[&[u32]],
        choose: &mut NextTokens<'_>,
    ) -> Result<(), ScoreError> {
        let prompt_len = self.one_length(prompts)?;
        let (context, vocab) = (
            self.info.context_length as usize,
            self.info.vocab_size as usize,
        );
        let mut cache = self.model.cache();
        let mut fed: Vec<u32> = prompts.concat();
        let mut live = prompts.len();
        for step in 0.. {
            let len = prompt_len + step;
            if len > context {
                return Err(ScoreError::TooLong {
                    tokens: len,
                    context,
                });
            }
            let logits = self
                .feed(&fed, live, &mut cache, len)
                .map_err(|e| broken(&e))?;
            let rows: Vec<&[f32]> = logits.chunks(vocab).collect();
            if rows.iter().any(|row| largest_finite(row).is_none()) {
                return Err(ScoreError::NonFinite { position: step });
            }
            let branches = choose(&rows);
            if branches.is_empty() {
                break;
            }
            self.check_branches(&branches, live)?;
            let in_place =
                branches.len() == live && branches.iter().enumerate().all(|(i, b)| b.parent == i);
            if !in_place {
                let parents: Vec<u32> = branches.iter().map(|b| b.parent as u32).collect();
                cache
                    .select(&parents, self.model.device())
                    .map_err(|e| broken(&e))?;
            }
            fed = branches.iter().map(|b| b.token).collect();
            live = branches.len();
        }
        Ok(())
    }

    /// See [`byrote_core::backend::Backend::sum_logprobs`].
    pub(super) fn sum_after_shared(
        &self,
        prefixes: &[&[u32]],
        suffixes: &[&[u32]],
    ) -> Result<Vec<Vec<f64>>, ScoreError> {
        let prefix_len = self.one_length(prefixes)?;
        let context = self.info.context_length as usize;
        // Some rotary scalings depend on the length of the whole sequence, so only suffixes of the
        // same length share keys.
        let mut lengths: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, suffix) in suffixes.iter().enumerate() {
            if suffix.is_empty() {
                return Err(ScoreError::EmptySuffix);
            }
            self.one_length(&[suffix])?;
            let tokens = prefix_len + suffix.len();
            if tokens > context {
                return Err(ScoreError::TooLong { tokens, context });
            }
            lengths.entry(suffix.len()).or_default().push(i);
        }
        let mut sums: Vec<Vec<f64>> = suffixes
            .iter()
            .map(|_| Vec::with_capacity(prefixes.len()))
            .collect();
        for (suffix_len, members) in lengths {
            let of_one_length: Vec<&[u32]> = members.iter().map(|i| suffixes[*i]).collect();
            for group in prefixes.chunks((BATCH_TOKENS / (prefix_len + suffix_len)).max(1)) {
                let found = self.sum_group(group, &of_one_length)?;
                for (i, found) in members.iter().zip(found) {
                    sums[*i].extend(found);
                }
            }
        }
        Ok(sums)
    }

    /// The sums for suffixes of one length and the prefixes of one batch.
    fn sum_group(
        &self,
        prefixes: &[&[u32]],
        suffixes: &[&[u32]],
    ) -> Result<Vec<Vec<f64>>, ScoreError> {
        let tensor = |e: candle_core::Error| broken(&e);
        let (batch, prefix_len) = (
            prefixes.len(),
            prefixes.first().map_or(0, |first| first.len()),
        );
        let len = prefix_len + suffixes.first().map_or(0, |first| first.len());
        // The row that predicts the first suffix token is the last of the prefix; the others are in
        // the suffix.
        let rows = predicting(prefix_len, len);
        let first = rows.start..rows.start + 1;
        let others = first.end - prefix_len..rows.end - prefix_len;
        let mut cache = self.model.cache();
        let ids = prefixes.concat();
        let input = ForwardInput {
            ids: &ids,
            batch,
            len: prefix_len,
            rows: first,
            sequence_len: len,
            arithmetic: self.arithmetic,
        };
        let ends = self
            .model
            .hidden(&input, Some(&mut cache))
            .map_err(tensor)?;
        let starts: Vec<u32> = suffixes.iter().map(|suffix| suffix[0]).collect();
        // One list per prefix, one entry per suffix.
        let firsts = self.logprobs(&ends, &vec![starts.as_slice(); batch])?;
        let mut sums = Vec::with_capacity(suffixes.len());
        for (i, suffix) in suffixes.iter().enumerate() {
            let mut rest = Vec::new();
            if !others.is_empty() {
                // The last token is only predicted, so it isn't fed.
                let ids = suffix[..others.len()].repeat(batch);
                let input = ForwardInput {
                    ids: &ids,
                    batch,
                    len: others.len(),
                    rows: others.clone(),
                    sequence_len: len,
                    arithmetic: self.arithmetic,
                };
                let hidden = self
                    .model
                    .hidden(&input, Some(&mut cache.clone()))
                    .map_err(tensor)?;
                let targets: Vec<&[u32]> = std::iter::repeat_n(suffix[1..].chunks(1), batch)
                    .flatten()
                    .collect();
                rest = self.logprobs(&hidden, &targets)?.concat();
            }
            let of_prefix = |(j, firsts): (usize, &Vec<f64>)| {
                let rest = &rest[j * others.len()..(j + 1) * others.len()];
                total(std::iter::once(firsts[i]).chain(rest.iter().copied()))
            };
            sums.push(
                firsts
                    .iter()
                    .enumerate()
                    .map(of_prefix)
                    .collect::<Result<_, _>>()?,
            );
        }
        Ok(sums)
    }

    /// ln p at T = 1 of some tokens per hidden state, for a few rows of logits at a time. NaN if
    /// logits aren't finite.
    fn logprobs(&self, hidden: &Tensor, targets: &[&[u32]]) -> Result<Vec<Vec<f64>>, ScoreError> {
        let (vocab, full) = (self.info.vocab_size as usize, Scheme::full());
        let step = (LOGIT_ELEMENTS / vocab.max(1)).max(1);
        let mut found = Vec::with_capacity(targets.len());
        for (start, targets) in (0..).step_by(step).zip(targets.chunks(step)) {
            let rows = || {
                self.model
                    .logits(&hidden.narrow(0, start, targets.len())?, self.arithmetic)?
                    .flatten_all()?
                    .to_vec1::<f32>()
            };
            for (row, targets) in rows().map_err(|e| broken(&e))?.chunks(vocab).zip(targets) {
                let warped = Warped::new(row, &full);
                let logprob = |token: &u32| {
                    warped.map_or(f64::NAN, |warped| f64::from(warped.logprob(*token)))
                };
                found.push(targets.iter().map(logprob).collect());
            }
        }
        Ok(found)
    }

    fn check_branches(&self, branches: &[Branch], live: usize) -> Result<(), ScoreError> {
        let vocab = self.info.vocab_size;
        for branch in branches {
            if branch.parent >= live {
                return Err(ScoreError::no_sequence(branch.parent, live));
            }
            if branch.token >= vocab {
                return Err(ScoreError::UnknownToken {
                    id: branch.token,
                    vocab,
                });
            }
        }
        Ok(())
    }

    /// Checks that all sequences have the same length, and returns it.
    fn one_length(&self, sequences: &[&[u32]]) -> Result<usize, ScoreError> {
        let len = sequences.first().map_or(0, |first| first.len());
        if len == 0 {
            return Err(ScoreError::EmptyPrefix);
        }
        if sequences.iter().any(|sequence| sequence.len() != len) {
            return Err(ScoreError::Backend(
                "sequences of one batch differ in length".to_owned(),
            ));
        }
        let vocab = self.info.vocab_size;
        match sequences
            .iter()
            .flat_map(|ids| ids.iter())
            .find(|id| **id >= vocab)
        {
            Some(&id) => Err(ScoreError::UnknownToken { id, vocab }),
            None => Ok(len),
        }
    }

    /// Feeds `ids` (`batch x len`) after the cached tokens and returns the logits of each
    /// sequence's last position.
    fn feed(
        &self,
        ids: &[u32],
        batch: usize,
        cache: &mut Cache,
        total: usize,
    ) -> candle_core::Result<Vec<f32>> {
        let len = ids.len() / batch;
        let input = ForwardInput {
            ids,
            batch,
            len,
            rows: len - 1..len,
            sequence_len: total,
            arithmetic: self.arithmetic,
        };
        let hidden = self.model.hidden(&input, Some(cache))?;
        self.model
            .logits(&hidden, self.arithmetic)?
            .flatten_all()?
            .to_vec1::<f32>()
    }
}

/// The sum of a suffix's log-probabilities.
fn total(logprobs: impl Iterator<Item = f64>) -> Result<f64, ScoreError> {
    let mut sum = 0.0;
    for (position, logprob) in logprobs.enumerate() {
        if !logprob.is_finite() {
            return Err(ScoreError::NonFinite { position });
        }
        sum += logprob;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CausalLm, ModelInfo};
    use crate::native::NativeConfig;
    use byrote_core::backend::Backend;
    use candle_core::{Device, Result};

    /// A model whose logits are all equal, but NaN after token 7.
    struct Brittle(ModelInfo);

    impl CausalLm for Brittle {
        fn info(&self) -> &ModelInfo {
            &self.0
        }
        fn device(&self) -> &Device {
            &Device::Cpu
        }
        fn cache(&self) -> Cache {
            Cache::default()
        }
        fn hidden(&self, input: &ForwardInput<'_>, _: Option<&mut Cache>) -> Result<Tensor> {
            let wanted = input
                .ids
                .chunks(input.len)
                .flat_map(|ids| &ids[input.rows.clone()]);
            let hidden: Vec<f32> = wanted
                .map(|id| if *id == 7 { f32::NAN } else { 0.0 })
                .collect();
            let rows = hidden.len();
            Tensor::from_vec(hidden, (rows, 1), &Device::Cpu)
        }
        fn logits(&self, hidden: &Tensor, _: crate::model::Arithmetic) -> Result<Tensor> {
            hidden.broadcast_as((hidden.dim(0)?, 10))?.contiguous()
        }
    }

    #[test]
    fn nan_logits_are_an_error_with_their_position() {
        let info = ModelInfo {
            architecture: "brittle".into(),
            vocab_size: 10,
            context_length: 64,
            parameters: 0,
        };
        let config = NativeConfig {
            threads: 1,
            batch: 4,
            arithmetic: crate::model::Arithmetic::F32,
        };
        let backend =
            Native::new(Box::new(Brittle(info)), "f32", Scheme::defaults(), config).unwrap();
        for (bad, expected) in [(9, Ok(())), (7, Err(ScoreError::NonFinite { position: 2 }))] {
            let mut tokens = [1, bad].into_iter();
            let choose = &mut |rows: &[&[f32]]| {
                let token = tokens.next();
                (0..rows.len())
                    .filter_map(|parent| token.map(|token| Branch { parent, token }))
                    .collect()
            };
            assert_eq!(backend.decode(&[&[1, 2], &[3, 4]], choose), expected);
        }
        let ten = 10f64.ln();
        let sums = |suffix: &[u32]| backend.sum_logprobs(&[&[1, 2], &[3, 4]], &[&[5], suffix]);
        let found = sums(&[3, 1, 7]).unwrap().concat();
        assert!(
            found
                .iter()
                .zip([ten, ten, 3.0 * ten, 3.0 * ten])
                .all(|(a, b)| (a + b).abs() < 1e-5),
            "{found:?}"
        );
        assert_eq!(sums(&[3, 7, 1]), Err(ScoreError::NonFinite { position: 2 }));
        assert_eq!(
            backend.sum_logprobs(&[&[1, 7]], &[&[5]]),
            Err(ScoreError::NonFinite { position: 0 })
        );
    }
}
