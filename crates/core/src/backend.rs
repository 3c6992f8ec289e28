//! The seam between what is measured and what measures it. No tensor type crosses it.
//!
//! A backend takes token ids and gives scores. It knows models; it doesn't know items, metrics or reports.

pub mod exit;
pub mod generate;
pub mod logits;
pub mod scripted;
pub mod self_test;
pub mod tally;

use exit::Exit;
use serde::{Deserialize, Serialize};

/// How a user would sample: temperature, then top-k, then top-p (nucleus), as transformers orders its warpers.
///
/// Its id says all of it: `full` (plain T = 1), `greedy`, or parts joined by `_` in this order: `t0.7`, `top_k40`,
/// `top_p0.95`. [`Scheme::parse`] reads such an id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Scheme {
    /// Name in policies, reports and column names: `full`, `top_k40`, `t0.7_top_p0.95`.
    pub id: String,
    /// 0 is greedy decoding: the likeliest token, always.
    pub temperature: f32,
    /// Sampling is restricted to this many of the likeliest tokens; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Sampling is restricted to the fewest likeliest tokens whose probabilities, after temperature and top-k, reach
    /// this much together; absent = all.
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

    /// The schemes of a run whose policy asks for these: those of every run, then what else is asked for.
    pub fn with_defaults(asked: &[Self]) -> Vec<Self> {
        let mut schemes = Self::defaults();
        for scheme in asked {
            if !schemes.iter().any(|known| known.id == scheme.id) {
                schemes.push(scheme.clone());
            }
        }
        schemes
    }

    /// Reads an id.
    ///
    /// # Errors
    /// When it isn't one; the message says what one looks like.
    pub fn parse(id: &str) -> Result<Self, String> {
        let fix = || {
            format!(
                "{id:?} is no way of sampling; write full, greedy, or such as top_k40, t0.7, t0.7_top_k50_top_p0.9"
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

/// `t0.7_top_k50` as `t0.7` and `top_k50`: an underscore parts only where it isn't that of `top_`.
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
    /// Mean of the log-probability of a token drawn from the model's own distribution at T = 1 (minus its entropy),
    /// `mu_t = sum_v P(v) ln P(v)`, in nats. For Min-K%++ (arXiv 2404.02936).
    pub expected_logprob: Vec<f32>,
    /// Standard deviation of the same, `sigma_t^2 = sum_v P(v) (ln P(v))^2 - mu_t^2`, in nats.
    pub logprob_sd: Vec<f32>,
}

/// What a backend says of itself; goes into the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BackendInfo {
    /// `native`, `sequential` (a token at a time, which is slower) or `scripted`.
    pub name: String,
    /// Architecture as config.json or the GGUF names it, such as `llama`.
    pub architecture: String,
    /// Device, such as `cpu`.
    pub device: String,
    /// Data type of the weights in memory, such as `f32`, `bf16`, `quantized`, `q4_k_m`.
    pub dtype: String,
    /// How many matrices are kept as what, where they were quantized at load: not all of them can be as `dtype` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixture: Option<String>,
    /// In what numbers products are computed, `f32` or `bf16`; sums are f32 in either.
    #[serde(default = "f32_arithmetic")]
    pub arithmetic: String,
    /// Parameters of the model.
    pub parameters: u64,
    /// Tokens in the vocabulary (columns of the logits).
    pub vocab_size: u32,
    /// Longest sequence the model was made for, in tokens.
    pub context_length: u32,
    /// The schemes under which every token is scored, in the order of [`TokenScores::scheme_logprob`].
    pub schemes: Vec<Scheme>,
}

/// Runs that were made before there was a choice.
fn f32_arithmetic() -> String {
    "f32".to_owned()
}

impl BackendInfo {
    /// What stands after the device where sequences are walked a token at a time, which is slower; else nothing.
    pub fn pace(&self) -> &'static str {
        if self.name == "sequential" {
            ", a token at a time"
        } else {
            ""
        }
    }
}

/// Why a window has no scores.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    #[error("the prefix is empty: the first token of a text has no context to be scored in")]
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
    /// A [`Branch`] that continues what isn't there.
    pub fn no_sequence(parent: usize, live: usize) -> Self {
        Self::Backend(format!(
            "sequence {parent} was to go on, but only {live} are running (counted from 0)"
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

/// One sequence that goes on: the row it continues and the token that is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Index into the rows that were shown.
    pub parent: usize,
    pub token: u32,
}

/// What [`Backend::unroll`] asks at every step: given one row of logits a live sequence (what may follow it), which
/// sequences go on. None ends it.
pub type Choose<'a> = dyn FnMut(&[&[f32]]) -> Vec<Branch> + 'a;

/// Something that scores windows.
pub trait Backend: Sync {
    fn info(&self) -> &BackendInfo;

    /// Number of inputs that can usefully be computed at the same time, each on a thread of its own.
    fn threads(&self) -> usize {
        1
    }

    /// Scores every input in full, in order. A window that can't be scored gives an error in its
    /// place and doesn't disturb the others.
    fn score(&self, inputs: &[ScoreInput<'_>]) -> Vec<Result<TokenScores, ScoreError>>;

    /// The same, but windows are left as soon as they may be: such a one has the scores of its first tokens only, fewer
    /// than its suffix has. A backend that can't gain by it may score in full. An error that lies beyond where a window
    /// left isn't seen.
    fn score_until(
        &self,
        inputs: &[ScoreInput<'_>],
        exit: &Exit,
    ) -> Vec<Result<TokenScores, ScoreError>>;

    /// Runs prompts of one length, then, step by step, the branches that `choose` asks for: greedy decoding,
    /// sampling and beam search are each a choice (`backend/generate.rs`). `choose` sees one row of logits a live
    /// sequence, in the order of the prompts first and of its own branches after that. Runs on the calling thread.
    ///
    /// # Errors
    /// When the prompts are empty or differ in length, a sequence grows beyond the context, or logits aren't finite.
    fn unroll(&self, prompts: &[&[u32]], choose: &mut Choose<'_>) -> Result<(), ScoreError>;

    /// `ln p(s | p)` at T = 1 for every suffix after every prefix, in nats: one list a suffix, one entry a prefix.
    /// Prefixes have one length and are run once; their keys and values are shared among the suffixes.
    /// Runs on the calling thread.
    ///
    /// # Errors
    /// As for [`Backend::unroll`].
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
    fn an_id_says_how_is_sampled() {
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
                    .contains("is no way of sampling"),
                "{bad}"
            );
        }
    }

    #[test]
    fn schemes_asked_for_join_those_of_every_run_once() {
        let asked = [Scheme::greedy(), Scheme::top_k(40)];
        let ids: Vec<String> = Scheme::with_defaults(&asked)
            .into_iter()
            .map(|s| s.id)
            .collect();
        assert_eq!(ids, ["full", "top_k40", "greedy"]);
    }
}
