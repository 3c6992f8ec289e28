//! The start-up self-test: what the model generates, it must score as its own.
//!
//! Eight tokens are generated greedily, one by one through the cache of keys and values, and scored
//! again in one teacher-forced pass. Anything wrong with positions, masks, the shift by one, the cache
//! or the weights shows here before an hour is spent.

use super::generate::greedy;
use super::{Backend, ScoreError, ScoreInput};

/// Tokens that are generated and scored again.
const TOKENS: usize = 8;

/// Largest difference between the two paths' log-probabilities on f32 products, in nats. The paths
/// multiply matrices of different heights, which moves the last digits only.
const TOLERANCE: f32 = 2e-3;

/// The same where products are of half precision.
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

/// Runs the test from a prefix of the model's own tokens.
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
    // Any tokens will do; a handful spread over the vocabulary makes positions matter.
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
        // A tie within the tolerance may fall either way.
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
