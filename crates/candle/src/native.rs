//! Scoring with Candle: groups windows into rectangular batches and scores them.
//!
//! Each batch runs on one thread, so the scores don't depend on the number of threads. The shift by
//! one between tokens and logits is done here and nowhere else: see `predicting`.

mod exit;
mod on_device;
mod unroll;

use crate::model::cpu::packed::PANEL;
use crate::model::memory::{BATCH_TOKENS, LOGIT_COLUMNS, LOGIT_ELEMENTS};
use crate::model::{Arithmetic, CausalLm, ForwardInput, cpu};
use byrote_core::backend::exit::{CHUNKS, Exit};
use byrote_core::backend::logits::{RowScore, score_row};
use byrote_core::backend::softmax::OnlineSoftmax;
use byrote_core::backend::{
    Backend, BackendInfo, NextTokens, Scheme, ScoreError, ScoreInput, TokenScores,
};
use byrote_core::pool::{Pools, shares};
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Threads, batch size and precision of the native backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeConfig {
    /// Number of batches scored at the same time, each on one thread.
    pub threads: usize,
    /// Maximum number of windows per batch.
    pub batch: usize,
    /// Precision of the products, where the model supports more than one.
    pub arithmetic: Arithmetic,
}

/// Maximum number of logits held at once on a GPU, in elements (1 GiB). Products over fewer rows
/// don't use the GPU fully.
const DEVICE_LOGIT_ELEMENTS: usize = 256 << 20;

/// Maximum number of tokens and of windows per batch on a GPU, which needs thousands of rows to be
/// limited by arithmetic.
const DEVICE_BATCH: (usize, usize) = (1 << 16, 512);

/// The scores of one batch.
type Scored = candle_core::Result<Vec<Result<TokenScores, ScoreError>>>;

/// A model that scores windows. Copies share its weights and threads.
///
/// On the CPU, the environment variable `CANDLE_NUM_THREADS` must be 1 before the first model is
/// loaded. Each batch runs on a thread of its own, but Candle's operations would otherwise use
/// Candle's own thread pool, on which concurrent batches wait for each other. The `byrote` program
/// sets the variable at its start; a program that uses this library must set it itself.
#[derive(Clone)]
pub struct Native {
    model: Arc<dyn CausalLm>,
    info: BackendInfo,
    pools: Arc<Pools>,
    batch: usize,
    arithmetic: Arithmetic,
}

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Native")
            .field("info", &self.info)
            .field("threads", &self.pools.threads())
            .finish_non_exhaustive()
    }
}

/// The positions whose logits predict the suffix. Position `i - 1` predicts token `i`, so positions
/// `prefix_len - 1..len - 1` predict the suffix `prefix_len..len`. No other code in byrote shifts
/// positions.
fn predicting(prefix_len: usize, len: usize) -> Range<usize> {
    prefix_len - 1..len - 1
}

impl Native {
    /// Wraps a model. `dtype` is the precision of its weights, for the record.
    ///
    /// # Errors
    /// If threads can't be started.
    pub fn new(
        model: Box<dyn CausalLm>,
        dtype: &str,
        schemes: Vec<Scheme>,
        config: NativeConfig,
    ) -> Result<Self, ScoreError> {
        let info = model.info();
        let device = match model.device() {
            candle_core::Device::Cpu => "cpu",
            candle_core::Device::Cuda(_) => "cuda",
            candle_core::Device::Metal(_) => "metal",
        };
        // A processor without bf16 products multiplies in f32, which is more precise.
        let arithmetic = if model.device().is_cpu() && !model.sequential() && cpu::multiplies_bf16()
        {
            config.arithmetic
        } else {
            Arithmetic::F32
        };
        let info = BackendInfo {
            name: if model.sequential() {
                "sequential"
            } else {
                "native"
            }
            .to_owned(),
            architecture: info.architecture.clone(),
            device: device.to_owned(),
            dtype: dtype.to_owned(),
            mixture: None,
            arithmetic: match dtype {
                // A GPU multiplies narrow weights without widening them.
                "bf16" | "f16" if !model.device().is_cpu() => dtype.to_owned(),
                _ => arithmetic.name().to_owned(),
            },
            parameters: info.parameters,
            vocab_size: u32::try_from(info.vocab_size).unwrap_or(u32::MAX),
            context_length: u32::try_from(info.context_length).unwrap_or(u32::MAX),
            schemes,
        };
        // A GPU runs one batch at a time.
        let threads = if model.device().is_cpu() {
            config.threads.max(1)
        } else {
            1
        };
        // Sequences that run one by one gain nothing from a batch, and its logits take memory.
        let batch = match model.device() {
            _ if model.sequential() => 1,
            candle_core::Device::Cpu => config.batch.max(1),
            _ => config.batch.max(DEVICE_BATCH.1),
        };
        Ok(Self {
            model: model.into(),
            info,
            pools: Arc::new(Pools::new(threads)?),
            batch,
            arithmetic,
        })
    }

    /// The same model with products in f32, for results that rounding must not change. Shares
    /// weights and threads with `self`. On a GPU, both compute the same.
    #[must_use]
    pub fn in_f32(&self) -> Self {
        let mut info = self.info.clone();
        if self.model.device().is_cpu() {
            info.arithmetic = Arithmetic::F32.name().to_owned();
        }
        let (model, pools) = (self.model.clone(), self.pools.clone());
        Self {
            model,
            info,
            pools,
            batch: self.batch,
            arithmetic: Arithmetic::F32,
        }
    }

    /// Scores `jobs` batches at a time, each with `threads` threads for its products. For
    /// measurements.
    ///
    /// # Errors
    /// If threads can't be started.
    pub fn with_pools(mut self, jobs: usize, threads: usize) -> Result<Self, ScoreError> {
        self.pools = Arc::new(Pools::wide(jobs, threads)?);
        Ok(self)
    }

    /// Sets the maximum number of windows per batch.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = if self.model.sequential() {
            1
        } else {
            batch.max(1)
        };
        self
    }

    /// Records how many matrices have which type ([`BackendInfo::mixture`]).
    #[must_use]
    pub fn with_mixture(mut self, mixture: Option<String>) -> Self {
        self.info.mixture = mixture;
        self
    }

    fn check(&self, input: &ScoreInput<'_>) -> Result<(), ScoreError> {
        let context = self.info.context_length as usize;
        match input {
            ScoreInput { prefix_len: 0, .. } => Err(ScoreError::EmptyPrefix),
            ScoreInput {
                token_ids,
                prefix_len,
            } if token_ids.len() <= *prefix_len => Err(ScoreError::EmptySuffix),
            ScoreInput { token_ids, .. } if token_ids.len() > context => Err(ScoreError::TooLong {
                tokens: token_ids.len(),
                context,
            }),
            ScoreInput { token_ids, .. } => {
                match token_ids.iter().find(|id| **id >= self.info.vocab_size) {
                    Some(id) => Err(ScoreError::UnknownToken {
                        id: *id,
                        vocab: self.info.vocab_size,
                    }),
                    None => Ok(()),
                }
            }
        }
    }

    /// Checks the inputs, divides them into batches and scores each batch on one thread with
    /// `score`. `fed` returns how many tokens of a window are fed at once, given its length and the
    /// length of its prefix. Windows that are fed in pieces form larger batches, with the same
    /// number of rows.
    fn score_all(
        &self,
        inputs: &[ScoreInput<'_>],
        fed: impl Fn(usize, usize) -> usize,
        score: impl Fn(&[ScoreInput<'_>]) -> Scored + Sync,
    ) -> Vec<Result<TokenScores, ScoreError>> {
        let mut out: Vec<Result<TokenScores, ScoreError>> = inputs
            .iter()
            .map(|input| self.check(input).map(|()| TokenScores::default()))
            .collect();
        // Batches contain windows of one shape only: rectangular batches need no padding, which
        // could change scores.
        let mut shapes: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for (i, input) in inputs.iter().enumerate().filter(|(i, _)| out[*i].is_ok()) {
            shapes
                .entry((input.token_ids.len(), input.prefix_len))
                .or_default()
                .push(i);
        }
        let tokens = if self.model.device().is_cpu() {
            BATCH_TOKENS
        } else {
            DEVICE_BATCH.0
        };
        let most = |len: usize, prefix_len: usize| {
            let whole = (tokens / len).clamp(1, self.batch);
            whole * len / fed(len, prefix_len).clamp(1, len)
        };
        let groups: Vec<(usize, usize)> = shapes
            .iter()
            .map(|((len, prefix_len), windows)| (windows.len(), most(*len, *prefix_len)))
            .collect();
        let sizes = shares(&groups, self.pools.threads());
        let batches: Vec<&[usize]> = shapes
            .values()
            .zip(sizes)
            .flat_map(|(windows, size)| windows.chunks(size))
            .collect();
        let work = |batch: &&[usize]| {
            let windows: Vec<ScoreInput<'_>> = batch.iter().map(|i| inputs[*i]).collect();
            match score(&windows) {
                Ok(scores) => scores,
                Err(error) => vec![Err(broken(&error)); windows.len()],
            }
        };
        let mut missing: Vec<bool> = out.iter().map(Result::is_ok).collect();
        self.pools.each(&batches, work, |batch, scores| {
            for (&i, scores) in batches[batch].iter().zip(scores) {
                out[i] = scores;
                missing[i] = false;
            }
        });
        // If a thread died, its windows have no scores. Report an error for them.
        for i in (0..out.len()).filter(|i| missing[*i]) {
            out[i] = Err(ScoreError::Backend("the scoring thread died".to_owned()));
        }
        out
    }

    /// Scores windows with the same length and the same prefix length.
    fn score_batch(&self, inputs: &[ScoreInput<'_>]) -> Scored {
        let Some(first) = inputs.first() else {
            return Ok(Vec::new());
        };
        let (len, prefix_len) = (first.token_ids.len(), first.prefix_len);
        // The last token is only predicted, so it isn't fed.
        let fed = len - 1;
        let ids: Vec<u32> = inputs
            .iter()
            .flat_map(|input| &input.token_ids[..fed])
            .copied()
            .collect();
        let input = ForwardInput {
            ids: &ids,
            batch: inputs.len(),
            len: fed,
            rows: predicting(prefix_len, len),
            sequence_len: len,
            arithmetic: self.arithmetic,
        };
        let hidden = self.model.hidden(&input, None)?;
        let targets: Vec<u32> = inputs
            .iter()
            .flat_map(|input| &input.token_ids[prefix_len..])
            .copied()
            .collect();
        let scored = self.score_rows(&hidden, &targets)?;
        let suffix = len - prefix_len;
        Ok(scored
            .chunks(suffix)
            .map(|rows| collect(rows, self.info.schemes.len()))
            .collect())
    }

    /// Scores one target per hidden state.
    fn score_rows(
        &self,
        hidden: &Tensor,
        targets: &[u32],
    ) -> candle_core::Result<Vec<Option<RowScore>>> {
        if OnlineSoftmax::suits(&self.info.schemes)
            && let Some(Some(scores)) =
                cpu::with_slice(hidden, |hidden| self.score_columns(hidden, targets))?
        {
            return Ok(scores);
        }
        let vocab = self.info.vocab_size as usize;
        let held = if hidden.device().is_cpu() {
            LOGIT_ELEMENTS
        } else {
            DEVICE_LOGIT_ELEMENTS
        };
        let step = (held / vocab.max(1)).max(1);
        let mut scores = Vec::with_capacity(targets.len());
        for (start, targets) in (0..).step_by(step).zip(targets.chunks(step)) {
            let logits = self
                .model
                .logits(&hidden.narrow(0, start, targets.len())?, self.arithmetic)?;
            if !logits.device().is_cpu() && on_device::suits(&self.info.schemes) {
                scores.extend(on_device::score_rows(&logits, targets, &self.info.schemes)?);
                continue;
            }
            let mut score = |values: &[f32]| {
                let rows = values.chunks(vocab).zip(targets);
                scores.extend(
                    rows.map(|(row, target)| score_row(row, *target as usize, &self.info.schemes)),
                );
                Ok(())
            };
            if cpu::with_slice(&logits, &mut score)?.is_none() {
                score(&logits.flatten_all()?.to_vec1::<f32>()?)?;
            }
        }
        Ok(scores)
    }

    /// As [`Native::score_rows`], but computes the logits of a few tokens of the vocabulary at a
    /// time, for all rows. So no row of logits is stored, and each weight of the output matrix is
    /// read once per batch. `None` if the model can't do this.
    fn score_columns(
        &self,
        hidden: &[f32],
        targets: &[u32],
    ) -> candle_core::Result<Option<Vec<Option<RowScore>>>> {
        let (rows, vocab) = (targets.len(), self.info.vocab_size as usize);
        if rows == 0 {
            return Ok(Some(Vec::new()));
        }
        let width = hidden.len() / rows;
        let mut softmaxes = Vec::with_capacity(rows);
        for (hidden, &target) in hidden.chunks_exact(width).zip(targets) {
            // The logit of the target, to which all others are compared.
            let (target, start) = (target as usize, target as usize / PANEL * PANEL);
            let mut few = [0f32; PANEL];
            let few = &mut few[..PANEL.min(vocab - start)];
            if !self
                .model
                .logits_of(hidden, start..start + few.len(), self.arithmetic, few)?
            {
                return Ok(None);
            }
            softmaxes.push(OnlineSoftmax::new(
                target,
                few[target - start],
                &self.info.schemes,
            ));
        }
        for start in (0..vocab).step_by(LOGIT_COLUMNS) {
            let count = LOGIT_COLUMNS.min(vocab - start);
            cpu::with_scratch(rows * count, |logits| {
                self.model
                    .logits_of(hidden, start..start + count, self.arithmetic, logits)?;
                let pieces = logits.chunks_exact(count).zip(&mut softmaxes);
                pieces.for_each(|(piece, softmax)| softmax.add(start, piece));
                candle_core::Result::Ok(())
            })?;
        }
        Ok(Some(
            softmaxes.into_iter().map(OnlineSoftmax::score).collect(),
        ))
    }
}

/// Splits the scores of one window's rows into lists.
fn collect(rows: &[Option<RowScore>], schemes: usize) -> Result<TokenScores, ScoreError> {
    let mut scores = TokenScores {
        scheme_logprob: vec![Vec::with_capacity(rows.len()); schemes],
        ..Default::default()
    };
    for (position, row) in rows.iter().enumerate() {
        let row = row.as_ref().ok_or(ScoreError::NonFinite { position })?;
        scores.logprob.push(row.logprob);
        scores.rank.push(row.rank);
        scores.margin.push(row.margin);
        scores.expected_logprob.push(row.expected_logprob);
        scores.logprob_sd.push(row.logprob_sd);
        for (list, value) in scores.scheme_logprob.iter_mut().zip(&row.schemes) {
            list.push(*value);
        }
    }
    Ok(scores)
}

fn broken(error: &candle_core::Error) -> ScoreError {
    ScoreError::Backend(format!("tensor operation failed: {error}"))
}

impl Backend for Native {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn threads(&self) -> usize {
        self.pools.threads()
    }

    fn score(&self, inputs: &[ScoreInput<'_>]) -> Vec<Result<TokenScores, ScoreError>> {
        self.score_all(inputs, |len, _| len, |batch| self.score_batch(batch))
    }

    fn score_until(
        &self,
        inputs: &[ScoreInput<'_>],
        exit: &Exit,
    ) -> Vec<Result<TokenScores, ScoreError>> {
        let first = |len: usize, prefix_len| prefix_len + CHUNKS[0].min(len - prefix_len);
        self.score_all(inputs, first, |batch| self.score_chunks(batch, exit))
    }

    fn decode(&self, prompts: &[&[u32]], choose: &mut NextTokens<'_>) -> Result<(), ScoreError> {
        self.run_branches(prompts, choose)
    }

    fn sum_logprobs(
        &self,
        prefixes: &[&[u32]],
        suffixes: &[&[u32]],
    ) -> Result<Vec<Vec<f64>>, ScoreError> {
        self.sum_after_shared(prefixes, suffixes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelInfo;
    use crate::model::decoder::Cache;
    use candle_core::{Device, Result};

    /// A model whose logits at position `i` after token `t` favour token `(t + i) % vocab`, so a
    /// prediction reveals both the position and the last token.
    struct Giveaway {
        info: ModelInfo,
    }

    impl Giveaway {
        fn new() -> Self {
            let info = ModelInfo {
                architecture: "giveaway".into(),
                vocab_size: 97,
                context_length: 64,
                parameters: 0,
            };
            Self { info }
        }

        fn next(token: u32, position: usize) -> u32 {
            (token + position as u32) % 97
        }
    }

    impl CausalLm for Giveaway {
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
            let favoured: Vec<f32> = input
                .ids
                .chunks(input.len)
                .flat_map(|ids| input.rows.clone().map(|i| Self::next(ids[i], i) as f32))
                .collect();
            let rows = favoured.len();
            Tensor::from_vec(favoured, (rows, 1), &Device::Cpu)
        }
        fn logits(&self, hidden: &Tensor, _: Arithmetic) -> Result<Tensor> {
            let favoured = hidden.flatten_all()?.to_vec1::<f32>()?;
            let rows = favoured.len();
            let logits: Vec<f32> = favoured
                .iter()
                .flat_map(|f| (0..97).map(move |v| if v as f32 == *f { 9.0 } else { 0.0 }))
                .collect();
            Tensor::from_vec(logits, (rows, 97), &Device::Cpu)
        }
    }

    fn backend(threads: usize, batch: usize) -> Native {
        let config = NativeConfig {
            threads,
            batch,
            arithmetic: Arithmetic::F32,
        };
        Native::new(Box::new(Giveaway::new()), "f32", Scheme::defaults(), config).unwrap()
    }

    fn recited(start: u32, len: usize) -> Vec<u32> {
        let mut ids = vec![start];
        while ids.len() < len {
            ids.push(Giveaway::next(ids[ids.len() - 1], ids.len() - 1));
        }
        ids
    }

    #[test]
    fn every_suffix_token_is_scored_at_the_position_before_it() {
        let ids = recited(5, 20);
        for prefix_len in 1..20 {
            let scores = backend(1, 4)
                .score(&[ScoreInput {
                    token_ids: &ids,
                    prefix_len,
                }])
                .remove(0)
                .unwrap();
            assert_eq!(scores.rank, vec![0; 20 - prefix_len]);
            assert!(scores.margin.iter().all(|m| *m == 9.0));
        }
        // If one token differs, exactly this token and its successor no longer rank first.
        let mut ids = ids;
        ids[12] = (ids[12] + 1) % 97;
        let scores = backend(1, 4)
            .score(&[ScoreInput {
                token_ids: &ids,
                prefix_len: 10,
            }])
            .remove(0)
            .unwrap();
        assert_eq!(
            scores.rank.iter().map(|r| *r == 0).collect::<Vec<_>>()[..4],
            [true, true, false, false]
        );
    }

    #[test]
    fn invalid_windows_do_not_affect_the_others() {
        let (ids, long) = (recited(1, 9), recited(1, 65));
        let cases = [
            (&ids[..], 4),
            (&ids, 0),
            (&ids, 9),
            (&long, 4),
            (&[1, 97], 1),
            (&ids, 4),
        ];
        let inputs = cases.map(|(token_ids, prefix_len)| ScoreInput {
            token_ids,
            prefix_len,
        });
        let scores = backend(2, 3).score(&inputs);
        assert_eq!(scores[0], scores[5]);
        assert!(scores[0].is_ok());
        assert_eq!(scores[1], Err(ScoreError::EmptyPrefix));
        assert_eq!(scores[2], Err(ScoreError::EmptySuffix));
        assert_eq!(
            scores[3],
            Err(ScoreError::TooLong {
                tokens: 65,
                context: 64
            })
        );
        assert_eq!(
            scores[4],
            Err(ScoreError::UnknownToken { id: 97, vocab: 97 })
        );
    }

    #[test]
    fn batch_size_and_threads_do_not_change_scores() {
        let windows: Vec<Vec<u32>> = (0..23).map(|i| recited(i, 8 + (i as usize % 3))).collect();
        let inputs: Vec<ScoreInput<'_>> = windows
            .iter()
            .enumerate()
            .map(|(i, ids)| ScoreInput {
                token_ids: ids,
                prefix_len: 2 + i % 2,
            })
            .collect();
        let alone = backend(1, 1).score(&inputs);
        for (threads, batch) in [(1, 3), (2, 16), (3, 5)] {
            assert_eq!(backend(threads, batch).score(&inputs), alone);
        }
    }
}
