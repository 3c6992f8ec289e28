//! The seam between metrics and models. No tensor type crosses it.
//!
//! A backend takes token ids and returns scores. It knows models, but no items, metrics or reports.

pub mod exit;
pub mod generate;
pub mod logits;
pub mod scripted;
pub mod self_test;
pub mod softmax;

use exit::Exit;
use serde::{Deserialize, Serialize};

/// How a user would sample: temperature, then top-k, then top-p (nucleus), in the order of
/// transformers' warpers.
///
/// The id contains all of it: `full` (plain T = 1), `greedy`, or parts joined by `_` in this order:
/// `t0.7`, `top_k40`, `top_p0.95`. [`Scheme::parse`] reads such an id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Scheme {
    /// Name in policies, reports and column names: `full`, `top_k40`, `t0.7_top_p0.95`.
    pub id: String,
    /// 0 is greedy decoding: always the likeliest token.
    pub temperature: f32,
    /// Samples from this many of the likeliest tokens; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Samples from the smallest set of likeliest tokens whose total probability, after temperature
    /// and top-k, reaches this; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
}

impl Scheme {
    /// Plain sampling at T = 1.
    pub fn full() -> Self {
        Self {
            id: "full".to_owned(),
            temperature: 1.0,
            top_k: None,
            top_p: None,
        }
    }

    /// Greedy decoding: probability 1 for the likeliest token, 0 for all others.
    pub fn greedy() -> Self {
        Self {
            id: "greedy".to_owned(),
            temperature: 0.0,
            top_k: None,
            top_p: None,
        }
    }

    /// Top-k sampling at T = 1, as in the extraction literature with k = 40 (arXiv 2410.19482).
    pub fn top_k(k: u32) -> Self {
        Self {
            id: format!("top_k{k}"),
            top_k: Some(k),
            ..Self::full()
        }
    }

    /// The schemes of every run: `full` and `top_k40`.
    pub fn defaults() -> Vec<Self> {
        vec![Self::full(), Self::top_k(40)]
    }

    /// The default schemes, then any others among `asked`.
    pub fn with_defaults(asked: &[Self]) -> Vec<Self> {
        let mut schemes = Self::defaults();
        for scheme in asked {
            if !schemes.iter().any(|known| known.id == scheme.id) {
                schemes.push(scheme.clone());
            }
        }
        schemes
    }

    /// Parses an id.
    ///
    /// # Errors
    /// When it isn't a valid id; the message shows valid ones.
    pub fn parse(id: &str) -> Result<Self, String> {
        let fix = || {
            format!(
                "{id:?} is not a sampling scheme; write full, greedy, or for example top_k40, t0.7, t0.7_top_k50_top_p0.9"
            )
        };
        match id {
            "full" => return Ok(Self::full()),
            "greedy" => return Ok(Self::greedy()),
            _ => {}
        }
        let mut scheme = Self {
            id: id.to_owned(),
            ..Self::full()
        };
        let mut last = 0;
        for part in split_parts(id) {
            let place = if let Some(k) = part.strip_prefix("top_k") {
                scheme.top_k = Some(k.parse().ok().filter(|k| *k > 0).ok_or_else(fix)?);
                2
            } else if let Some(p) = part.strip_prefix("top_p") {
                scheme.top_p = Some(
                    p.parse()
                        .ok()
                        .filter(|p| *p > 0.0 && *p < 1.0)
                        .ok_or_else(fix)?,
                );
                3
            } else if let Some(t) = part.strip_prefix('t') {
                scheme.temperature = t
                    .parse()
                    .ok()
                    .filter(|t: &f32| t.is_finite() && *t > 0.0)
                    .ok_or_else(fix)?;
                1
            } else {
                return Err(fix());
            };
            if place <= last {
                return Err(fix());
            }
            last = place;
        }
        Ok(scheme)
    }
}

/// Splits `t0.7_top_k50` into `t0.7` and `top_k50`: the underscore of `top_` doesn't separate
/// parts.
fn split_parts(id: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = id
        .match_indices('_')
        .map(|(at, _)| at)
        .filter(|at| !id[..*at].ends_with("top"))
        .collect();
    starts.push(id.len());
    let mut parts = Vec::new();
    let mut from = 0;
    for end in starts {
        parts.push(&id[from..end]);
        from = (end + 1).min(id.len());
    }
    parts
}

/// The input to score: token ids exactly as the model sees them (BOS included). The first
/// `prefix_len` are context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreInput<'a> {
    pub token_ids: &'a [u32],
    pub prefix_len: usize,
}

/// Scores of the suffix tokens of one window; every list has one entry per suffix token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenScores {
    /// Natural log of the true token's probability under plain sampling at T = 1.
    pub logprob: Vec<f32>,
    /// Number of tokens that are strictly likelier than the true one.
    pub rank: Vec<u32>,
    /// Log-probability of the true token minus that of the likeliest other token: positive if the
    /// true token is the top one, negative if not, near 0 in a near tie.
    pub margin: Vec<f32>,
    /// One list per [`Scheme`], in the backend's order: natural log of the true token's probability
    /// after the scheme's warp, `-inf` if the scheme never samples it.
    pub scheme_logprob: Vec<Vec<f32>>,
    /// Mean of the log-probability of a token drawn from the model's own distribution at T = 1
    /// (minus its entropy), `mu_t = sum_v P(v) ln P(v)`, in nats. For Min-K%++ (arXiv 2404.02936).
    pub expected_logprob: Vec<f32>,
    /// Standard deviation of the same, `sigma_t^2 = sum_v P(v) (ln P(v))^2 - mu_t^2`, in nats.
    pub logprob_sd: Vec<f32>,
}

/// A backend's description of itself, for the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BackendInfo {
    /// `native`, `sequential` (one token at a time, which is slower) or `scripted`.
    pub name: String,
    /// Architecture as config.json or the GGUF names it, such as `llama`.
    pub architecture: String,
    /// Device, such as `cpu`.
    pub device: String,
    /// Data type of the weights in memory, such as `f32`, `bf16`, `quantized`, `q4_k_m`.
    pub dtype: String,
    /// Number of matrices per data type, if they were quantized at load: not all of them can be
    /// `dtype`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixture: Option<String>,
    /// Data type of products, `f32` or `bf16`; sums are always f32.
    #[serde(default = "f32_arithmetic")]
    pub arithmetic: String,
    /// Number of the model's parameters.
    pub parameters: u64,
    /// Tokens in the vocabulary (columns of the logits).
    pub vocab_size: u32,
    /// Longest sequence the model supports, in tokens.
    pub context_length: u32,
    /// The schemes under which every token is scored, in the order of
    /// [`TokenScores::scheme_logprob`].
    pub schemes: Vec<Scheme>,
}

/// For runs made before there was a choice.
fn f32_arithmetic() -> String {
    "f32".to_owned()
}

impl BackendInfo {
    /// The text to append to the device if sequences are run one token at a time, which is slower;
    /// else empty.
    pub fn pace(&self) -> &'static str {
        if self.name == "sequential" {
            ", one token at a time"
        } else {
            ""
        }
    }
}

/// Why a window has no scores.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    #[error("the prefix is empty: the first token of a text has no context")]
    EmptyPrefix,
    #[error("the suffix is empty")]
    EmptySuffix,
    #[error(
        "{tokens} tokens are more than the model's context of {context}; shorten the prefix or the suffix"
    )]
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

impl ScoreError {
    /// A [`Branch`] whose parent doesn't exist.
    pub fn no_sequence(parent: usize, live: usize) -> Self {
        Self::Backend(format!(
            "sequence {parent} can't continue: only {live} are running (counted from 0)"
        ))
    }
}

/// One token of a greedy continuation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GreedyToken {
    pub id: u32,
    /// Natural log of its probability at T = 1.
    pub logprob: f32,
}

/// One sequence to continue: its row and the token to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Index into the rows that were passed in.
    pub parent: usize,
    pub token: u32,
}

/// Called by [`Backend::decode`] at every step with one row of logits per live sequence (the scores
/// of its next token); returns the sequences to continue. Returning none ends the run.
pub type NextTokens<'a> = dyn FnMut(&[&[f32]]) -> Vec<Branch> + 'a;

/// Something that scores windows.
pub trait Backend: Sync {
    fn info(&self) -> &BackendInfo;

    /// Number of inputs that can usefully be computed at the same time, each on a thread of its own.
    fn threads(&self) -> usize {
        1
    }

    /// Scores every input completely, in order. A window that can't be scored gives an error at its
    /// index and doesn't affect the others.
    fn score(&self, inputs: &[ScoreInput<'_>]) -> Vec<Result<TokenScores, ScoreError>>;

    /// Like [`Backend::score`], but stops scoring a window as soon as `exit` allows: its scores
    /// then cover only the first tokens of its suffix. A backend that gains nothing from it may
    /// score completely. Errors after the point where a window stops go unnoticed.
    fn score_until(
        &self,
        inputs: &[ScoreInput<'_>],
        exit: &Exit,
    ) -> Vec<Result<TokenScores, ScoreError>>;

    /// Runs prompts of one length, then, step by step, the branches that `choose` returns: greedy
    /// decoding, sampling and beam search are each a choice (`backend/generate.rs`). `choose`
    /// receives one row of logits per live sequence, first in the order of the prompts, then in the
    /// order of its own branches. Runs on the calling thread.
    ///
    /// # Errors
    /// When the prompts are empty or differ in length, a sequence exceeds the context, or logits
    /// aren't finite.
    fn decode(&self, prompts: &[&[u32]], choose: &mut NextTokens<'_>) -> Result<(), ScoreError>;

    /// `ln p(s | p)` at T = 1 for every suffix after every prefix, in nats: one list per suffix,
    /// one entry per prefix. All prefixes have the same length and run once; the suffixes share
    /// their keys and values. Runs on the calling thread.
    ///
    /// # Errors
    /// As for [`Backend::decode`].
    fn sum_logprobs(
        &self,
        prefixes: &[&[u32]],
        suffixes: &[&[u32]],
    ) -> Result<Vec<Vec<f64>>, ScoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_ids_are_parsed_and_written() {
        let cases: [(&str, f32, Option<u32>, Option<f32>); 6] = [
            ("full", 1.0, None, None),
            ("greedy", 0.0, None, None),
            ("top_k40", 1.0, Some(40), None),
            ("top_p0.95", 1.0, None, Some(0.95)),
            ("t0.7", 0.7, None, None),
            ("t0.7_top_k50_top_p0.9", 0.7, Some(50), Some(0.9)),
        ];
        for (id, temperature, top_k, top_p) in cases {
            assert_eq!(
                Scheme::parse(id),
                Ok(Scheme {
                    id: id.to_owned(),
                    temperature,
                    top_k,
                    top_p
                })
            );
        }
        for bad in [
            "",
            "top_k",
            "top_k0",
            "top_p1",
            "t0",
            "t-1",
            "tx",
            "top_k40_t0.7",
            "full_top_k40",
            "topk40",
            "t0.7__top_k3",
            "_",
        ] {
            assert!(
                Scheme::parse(bad)
                    .unwrap_err()
                    .contains("is not a sampling scheme"),
                "{bad}"
            );
        }
    }

    #[test]
    fn with_defaults_adds_each_requested_scheme_once() {
        let asked = [Scheme::greedy(), Scheme::top_k(40)];
        let ids: Vec<String> = Scheme::with_defaults(&asked)
            .into_iter()
            .map(|s| s.id)
            .collect();
        assert_eq!(ids, ["full", "top_k40", "greedy"]);
    }
}
