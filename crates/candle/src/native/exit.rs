//! Early exit: the suffix is fed in chunks, and windows that may be left leave their batch.

use super::{Native, Scored, collect};
use crate::model::ForwardInput;
use byrote_core::backend::exit::Exit;
use byrote_core::backend::{ScoreError, ScoreInput, TokenScores};

impl Native {
    /// Scores windows of one length and one prefix length until they may leave. A window that left has the scores of its
    /// first tokens only. Each row sees what it sees when all is fed at once, so that those who stay have the same scores.
    pub(super) fn score_chunks(&self, inputs: &[ScoreInput<'_>], exit: &Exit) -> Scored {
        let Some(first) = inputs.first() else {
            return Ok(Vec::new());
        };
        // Walking token by token there is no batch to leave.
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
            // As far as the row that predicts the chunk's last token.
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
            // What follows a last chunk is never fed: nothing of it need be kept.
            let hidden = self.model.hidden(&input, Some(&mut cache))?;
            let wanted = prefix_len + done..prefix_len + end;
            let targets: Vec<u32> = live
                .iter()
                .flat_map(|&i| &inputs[i].token_ids[wanted.clone()])
                .copied()
                .collect();
            let scored = self.score_rows(&hidden, &targets)?;
            let mut stay = Vec::with_capacity(live.len());
            for ((index, &i), rows) in (0u32..).zip(&live).zip(scored.chunks(end - done)) {
                match (&mut out[i], collect(rows, schemes.len())) {
                    (Ok(scores), Ok(chunk)) => {
                        scores.extend(chunk);
                        if end < suffix_len && !exit.may_leave(scores, suffix_len, schemes) {
                            stay.push((index, i));
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
            if stay.is_empty() {
                break;
            }
            if stay.len() < live.len() {
                let indices: Vec<u32> = stay.iter().map(|(index, _)| *index).collect();
                cache.select(&indices, self.model.device())?;
            }
            live = stay.into_iter().map(|(_, i)| i).collect();
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

    /// A model by which token 9 follows anything surely and all else is unlikely, but after token 7 nothing is a number. It
    /// counts the tokens that it is fed.
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
    fn a_window_leaves_at_the_end_of_a_chunk_and_what_follows_is_never_fed() {
        static FED: AtomicUsize = AtomicUsize::new(0);
        let backend = backend(&FED, 8);
        let exit = Exit {
            below: -25.0,
            stakes: None,
        };
        // Prefixes of three tokens, suffixes of thirteen: each 9 is sure, anything else costs ten nats.
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
            // Not a number after its eighth token: an error where it stays, unseen where it left.
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
        // Six of 3 + 1 tokens and of 2 more, four of 4 more after two have left, three of the 5 that are left.
        assert_eq!(FED.load(Ordering::Relaxed), 6 * 4 + 6 * 2 + 4 * 4 + 3 * 5);

        // In other batches they leave at the same places.
        static ALONE: AtomicUsize = AtomicUsize::new(0);
        assert_eq!(
            super::tests::backend(&ALONE, 1).score_until(&inputs, &exit),
            found
        );
    }
}
