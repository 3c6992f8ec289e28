//! The seam between what is measured and what measures it. No tensor type crosses it.
//!
//! A backend takes token ids and gives scores. It knows models; it doesn't know items, metrics or reports.

pub mod logits;
#[cfg(feature = "native")]
pub mod native;
pub mod scripted;
pub mod self_test;

use serde::{Deserialize, Serialize};

/// How a user would sample (temperature, then top-k, then top-p), under an id that reports use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Scheme {
    /// Name in reports and column names: `full`, `top_k40`.
    pub id: String,
    pub temperature: f32,
    /// Sampling is restricted to this many of the likeliest tokens; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
}

impl Scheme {
    /// Plain sampling at T = 1.
    pub fn full() -> Self {
        Self { id: "full".to_owned(), temperature: 1.0, top_k: None }
    }

    /// Top-k sampling at T = 1, as in the extraction literature with k = 40 (arXiv 2410.19482).
    pub fn top_k(k: u32) -> Self {
        Self { id: format!("top_k{k}"), temperature: 1.0, top_k: Some(k) }
    }

    /// The schemes of every run: `full` and `top_k40`.
    pub fn defaults() -> Vec<Self> {
        vec![Self::full(), Self::top_k(40)]
    }
}

/// What to score: token ids exactly as the model is to see them (BOS included), the first
/// `prefix_len` of which are context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreInput<'a> {
    pub token_ids: &'a [u32],
    pub prefix_len: usize,
}

/// Scores of the suffix tokens of one window; every list has one entry a suffix token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenScores {
    /// Natural log of the probability of the true token under plain sampling at T = 1.
    pub logprob: Vec<f32>,
    /// How many tokens are strictly likelier than the true one.
    pub rank: Vec<u32>,
    /// Log-probability of the true token less that of the likeliest other: positive where the true
    /// token is the top one, negative where it isn't, near 0 in a near tie.
    pub margin: Vec<f32>,
    /// One list a [`Scheme`], in the backend's order: natural log of the true token's probability
    /// after the scheme's warp, `-inf` where the scheme never samples it.
    pub scheme_logprob: Vec<Vec<f32>>,
}

/// What a backend says of itself; goes into the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BackendInfo {
    /// `native` or `scripted`.
    pub name: String,
    /// Architecture as config.json or the GGUF names it, such as `llama`.
    pub architecture: String,
    /// Device, such as `cpu`.
    pub device: String,
    /// Data type of the weights in memory, such as `f32`, `bf16`, `quantized`.
    pub dtype: String,
    /// Parameters of the model.
    pub parameters: u64,
    /// Tokens in the vocabulary (columns of the logits).
    pub vocab_size: u32,
    /// Longest sequence the model was made for, in tokens.
    pub context_length: u32,
    /// The schemes under which every token is scored, in the order of [`TokenScores::scheme_logprob`].
    pub schemes: Vec<Scheme>,
}

/// Why a window has no scores.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    #[error("the prefix is empty: the first token of a text has no context to be scored in")]
    EmptyPrefix,
    #[error("the suffix is empty")]
    EmptySuffix,
    #[error("{tokens} tokens are more than the model's context of {context}; shorten the prefix or the suffix")]
    TooLong { tokens: usize, context: usize },
    #[error("token id {id} is outside the vocabulary of {vocab}")]
    UnknownToken { id: u32, vocab: u32 },
    #[error(
        "the model's logits are not finite at suffix token {position}: its weights are damaged or overflow in this dtype"
    )]
    NonFinite { position: usize },
    #[error("{0}")]
    Backend(String),
}

/// One token of a greedy continuation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GreedyToken {
    pub id: u32,
    /// Natural log of its probability at T = 1.
    pub logprob: f32,
}

/// Something that scores windows.
pub trait Backend: Sync {
    fn info(&self) -> &BackendInfo;

    /// Scores every input in full, in order. A window that can't be scored gives an error in its
    /// place and doesn't disturb the others.
    fn score(&self, inputs: &[ScoreInput<'_>]) -> Vec<Result<TokenScores, ScoreError>>;

    /// The model's own greedy continuation of `prefix`, generated token by token.
    ///
    /// # Errors
    /// As for scoring.
    fn greedy(&self, prefix: &[u32], tokens: usize) -> Result<Vec<GreedyToken>, ScoreError>;
}
