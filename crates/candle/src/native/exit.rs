//! Early stop: the suffix is fed in chunks, and windows that may stop leave their batch.

use super::{Native, Scored, collect};
use crate::model::ForwardInput;
use byrote_core::backend::exit::Exit;
use byrote_core::backend::{ScoreError, ScoreInput, TokenScores};

impl Native {
    /// Scores windows with the same length and the same prefix length until they may stop. A
    /// stopped window has the scores of its first tokens only. Each row computes the same as if the
    /// whole suffix were fed at once, so the other windows have the same scores.
    pub(super) fn score_chunks(&self, inputs: &[ScoreInput<'_>], exit: &Exit) -> Scored {
        let Some(first) = inputs.first() else {
            return Ok(Vec::new());
        };
        // A model that runs token by token has no batches.
        if self.model.sequential() {
            return self.score_batch(inputs);
        }
        let (len, prefix_len) = (first.token_ids.len(), first.prefix_len);
        let (suffix_len, schemes) = (len - prefix_len, &self.info.schemes);
        let mut cache = self.model.cache();
        let mut out: Vec<Result<TokenScores, ScoreError>> =
            vec![Ok(TokenScores::default()); inputs.len()];
        let mut live: Vec<usize> = (0..inputs.len()).collect();
        let (mut fed, mut done) = (0, 0);
        for end in Exit::ends(suffix_len) {
            // Up to the row that predicts the chunk's last token.
            let rows = super::predicting(prefix_len + done, prefix_len + end);
            let ids: Vec<u32> = live
                .iter()
                .flat_map(|&i| &inputs[i].token_ids[fed..rows.end])
                .copied()
                .collect();
            let input = ForwardInput {
                ids: &ids,
                batch: live.len(),
                len: rows.end - fed,
                rows: rows.start - fed..rows.end - fed,
                sequence_len: len,
                arithmetic: self.arithmetic,
            };
            // No tokens are fed after the last chunk, so it needs no cached rows.
            let hidden = self.model.hidden(&input, Some(&mut cache))?;
            let wanted = prefix_len + done..prefix_len + end;
            let targets: Vec<u32> = live
                .iter()
                .flat_map(|&i| &inputs[i].token_ids[wanted.clone()])
                .copied()
                .collect();
            let scored = self.score_rows(&hidden, &targets)?;
            let mut keep = Vec::with_capacity(live.len());
            for ((index, &i), rows) in (0u32..).zip(&live).zip(scored.chunks(end - done)) {
                match (&mut out[i], collect(rows, schemes.len())) {
                    (Ok(scores), Ok(chunk)) => {
                        scores.extend(chunk);
                        if end < suffix_len && !exit.may_stop(scores, suffix_len, schemes) {
                            keep.push((index, i));
                        }
                    }
                    (out, Err(ScoreError::NonFinite { position })) => {
                        *out = Err(ScoreError::NonFinite {
                            position: done + position,
                        });
                    }
                    (out, Err(error)) => *out = Err(error),
                    (Err(_), Ok(_)) => {}
                }
            }
            if keep.is_empty() {
                break;
            }
            if keep.len() < live.len() {
                let indices: Vec<u32> = keep.iter().map(|(index, _)| *index).collect();
                cache.select(&indices, self.model.device())?;
            }
            live = keep.into_iter().map(|(_, i)| i).collect();
            (fed, done) = (prefix_len + end - 1, end);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decoder::Cache;
    use crate::model::{Arithmetic, CausalLm, ModelInfo};
    use crate::native::NativeConfig;
    use byrote_core::backend::{Backend, Scheme};
    use candle_core::{Device, Result, Tensor};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A model that predicts token 9 with certainty after any token, except that logits after token
    /// 7 are NaN. It counts the tokens that it is fed.
    struct Counting {
        info: ModelInfo,
        fed: &'static AtomicUsize,
    }

    impl CausalLm for Counting {
        fn info(&self) -> &ModelInfo {
            &self.info
        }
        fn device(&self) -> &Device {
            &Device::Cpu
        }
        fn cache(&self) -> Cache {
            Cache::default()
        }
        fn hidden(&self, input: &ForwardInput<'_>, _: Option<&mut Cache>) -> Result<Tensor> {
            self.fed.fetch_add(input.ids.len(), Ordering::Relaxed);
            assert_eq!(input.ids.len(), input.batch * input.len, "a rectangle");
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
        fn logits(&self, hidden: &Tensor, _: Arithmetic) -> Result<Tensor> {
            let rows = hidden.flatten_all()?.to_vec1::<f32>()?;
            let logits: Vec<f32> = rows
                .iter()
                .flat_map(|x| (0..10).map(move |id| if id == 9 { 10.0 } else { *x }))
                .collect();
            Tensor::from_vec(logits, (rows.len(), 10), &Device::Cpu)
        }
    }

    fn backend(fed: &'static AtomicUsize, batch: usize) -> Native {
        let info = ModelInfo {
            architecture: "counting".into(),
            vocab_size: 10,
            context_length: 64,
            parameters: 0,
        };
        let config = NativeConfig {
            threads: 1,
            batch,
            arithmetic: Arithmetic::F32,
        };
        Native::new(
            Box::new(Counting { info, fed }),
            "f32",
            Scheme::defaults(),
            config,
        )
        .unwrap()
    }

    #[test]
    fn a_window_stops_at_the_end_of_a_chunk_and_the_rest_is_not_fed() {
        static FED: AtomicUsize = AtomicUsize::new(0);
        let backend = backend(&FED, 8);
        let exit = Exit {
            below: -25.0,
            stakes: None,
        };
        // Prefixes of three tokens, suffixes of thirteen: each 9 is certain, any other token costs
        // ten nats.
        let window = |others: &[usize], tail: u32| -> Vec<u32> {
            let suffix = (0..13).map(|i| if others.contains(&i) { 1 } else { 9 });
            let mut ids: Vec<u32> = [1, 2, 3].into_iter().chain(suffix).collect();
            if tail != 9 {
                ids[10] = tail;
            }
            ids
        };
        let windows = [
            window(&[0, 1, 2], 9),
            window(&[], 9),
            window(&[3, 4, 5], 9),
            window(&[0, 1, 12], 9),
            // NaN after its eighth token: an error if the window continues, not noticed if it
            // stopped before.
            window(&[], 7),
            window(&[0, 1, 3], 7),
        ];
        let inputs: Vec<ScoreInput<'_>> = windows
            .iter()
            .map(|ids| ScoreInput {
                token_ids: ids,
                prefix_len: 3,
            })
            .collect();
        let full = backend.score(&inputs);
        FED.store(0, Ordering::Relaxed);
        let found = backend.score_until(&inputs, &exit);
        let lengths: Vec<Option<usize>> = found
            .iter()
            .map(|own| own.as_ref().ok().map(|own| own.logprob.len()))
            .collect();
        assert_eq!(
            lengths,
            [Some(4), Some(13), Some(8), Some(13), None, Some(4)]
        );
        assert_eq!(found[4], Err(ScoreError::NonFinite { position: 8 }));
        assert_eq!(full[4], Err(ScoreError::NonFinite { position: 8 }));
        for (found, full) in found.iter().zip(&full).take(4) {
            let (found, full) = (found.as_ref().unwrap(), full.as_ref().unwrap());
            assert_eq!(*found, full.first(found.logprob.len()));
        }
        // Six windows of 3 + 1 tokens and of 2 more, four of 4 more after two stopped, three of the
        // remaining 5.
        assert_eq!(FED.load(Ordering::Relaxed), 6 * 4 + 6 * 2 + 4 * 4 + 3 * 5);

        // In other batches, they stop at the same positions.
        static ALONE: AtomicUsize = AtomicUsize::new(0);
        assert_eq!(
            super::tests::backend(&ALONE, 1).score_until(&inputs, &exit),
            found
        );
    }
}
