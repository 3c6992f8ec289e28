//! The start-up self-test: the model's own generation must be scored as its first choice.
//!
//! Generates eight tokens greedily, one by one through the key-value cache, and scores them again
//! in one teacher-forced pass. Errors in positions, masks, the shift by one, the cache or the
//! weights show here before a long run.

use super::generate::greedy;
use super::{Backend, ScoreError, ScoreInput};

/// Number of tokens to generate and score again.
const TOKENS: usize = 8;

/// Maximum difference between the two paths' log-probabilities with f32 products, in nats. The
/// paths multiply matrices of different heights, which changes only the last digits.
const TOLERANCE: f32 = 2e-3;

/// The same with half-precision products.
const HALF_TOLERANCE: f32 = 0.25;

/// Why a backend failed its self-test.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SelfTestError {
    #[error("self-test: generating 8 tokens failed: {0}")]
    Generate(ScoreError),
    #[error("self-test: scoring the generated tokens failed: {0}")]
    Score(ScoreError),
    #[error(
        "self-test: generated token {position} has rank {rank} and ln p {scored} when scored again, but ln p {generated} \
         when generated; the model isn't computed as it should be, and no score of it would mean anything"
    )]
    Differs {
        position: usize,
        rank: u32,
        generated: f32,
        scored: f32,
    },
}

/// Runs the test from a prefix of arbitrary tokens.
///
/// # Errors
/// When generating or scoring fails, or the two disagree.
pub fn run(backend: &dyn Backend, bos: Option<u32>) -> Result<(), SelfTestError> {
    let info = backend.info();
    let tolerance = if info.device == "cpu" || info.dtype == "f32" {
        TOLERANCE
    } else {
        HALF_TOLERANCE
    };
    let fits = (info.context_length as usize)
        .saturating_sub(TOKENS)
        .clamp(1, 12);
    // Any tokens work; a few spread over the vocabulary make positions matter.
    let spread = (1..).map(|i: u32| i.wrapping_mul(2_654_435_761) % info.vocab_size.max(1));
    let mut ids: Vec<u32> = bos.into_iter().chain(spread).take(fits).collect();
    let prefix_len = ids.len();
    let generated = greedy(backend, &[&ids], TOKENS)
        .map_err(SelfTestError::Generate)?
        .pop()
        .unwrap_or_default();
    ids.extend(generated.iter().map(|token| token.id));
    let scores = match backend
        .score(&[ScoreInput {
            token_ids: &ids,
            prefix_len,
        }])
        .pop()
    {
        Some(scores) => scores.map_err(SelfTestError::Score)?,
        None => {
            return Err(SelfTestError::Score(ScoreError::Backend(
                "no score came back".to_owned(),
            )));
        }
    };
    for (position, token) in generated.iter().enumerate() {
        let (rank, scored) = (scores.rank[position], scores.logprob[position]);
        // A tie within the tolerance may go either way.
        let on_top = rank == 0 || scores.margin[position].abs() <= tolerance;
        let same = (scored - token.logprob).abs() <= tolerance;
        if !(on_top && same) {
            return Err(SelfTestError::Differs {
                position,
                rank,
                generated: token.logprob,
                scored,
            });
        }
    }
    Ok(())
}
