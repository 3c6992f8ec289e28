//! What is found out about a few windows beyond their scores: alone in f32, by real generation, near-verbatim, after
//! foreign prefixes, under a reference checkpoint. Types only; `follow.rs` measures them.

use crate::float_serde;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything found out about one window. Absent = not asked for, or it failed and stands in `errors`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowUp {
    /// The window scored again, alone and in f32, because a verdict hung on rounding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescored: Option<Rescored>,
    /// The model's own greedy text from the prefix, compared with the suffix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<Continuation>,
    /// Lower bound on the probability of a near-verbatim sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_probability: Option<NearProbability>,
    /// How much the true prefix adds over foreign ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_prefix: Option<ForeignPrefix>,
    /// The same text under the reference checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceScore>,
    /// What was asked for and failed, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Why no verdict may rest on the window: something of the above that a verdict hangs on failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled: Option<String>,
}

impl FollowUp {
    /// Takes in what else was found out about the same window; what is there already stays.
    pub fn join(&mut self, other: Self) {
        let Self {
            rescored,
            continuation,
            near_probability,
            foreign_prefix,
            reference,
            errors,
            unsettled,
        } = other;
        self.rescored = self.rescored.take().or(rescored);
        self.continuation = self.continuation.take().or(continuation);
        self.near_probability = self.near_probability.take().or(near_probability);
        self.foreign_prefix = self.foreign_prefix.take().or(foreign_prefix);
        self.reference = self.reference.take().or(reference);
        self.errors.extend(errors);
        self.unsettled = self.unsettled.take().or(unsettled);
    }
}

/// Scores of a window run alone and in f32: these count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rescored {
    pub greedy_exact: bool,
    /// Tokens.
    pub verbatim_run: u32,
    /// Nats.
    #[serde(with = "float_serde")]
    #[schemars(schema_with = "float_serde::schema")]
    pub sum_logprob: f64,
    /// Nats.
    #[serde(with = "float_serde")]
    #[schemars(schema_with = "float_serde::schema")]
    pub min_margin: f64,
    pub schemes: Vec<SchemeLogP>,
}

/// The model's greedy continuation of a prefix, generated token by token, against the true suffix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// Suffix tokens taken as given before generation began (up to there greedy decoding and teacher forcing agree);
    /// 0 = everything was generated, which confirms a greedy verdict.
    pub drafted: u32,
    /// Tokens of the whole continuation (drafted and generated) before the first that differs from the suffix.
    pub verbatim_run: u32,
    /// Share of positions at which continuation and suffix hold the same token, 0 to 1 (arXiv 2304.11158).
    pub memorization_score: f64,
    /// Whether what was generated says the same as teacher forcing: the same verbatim run.
    pub agrees: bool,
    pub near: NearVerbatim,
    /// The continuation's text; only with `--reveal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// `P(dist(sample, suffix) <= distance)` under a scheme, from below: the total probability of the distinct sequences a
/// beam search found within that distance (k-CBS, arXiv 2603.24917).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NearProbability {
    pub scheme: String,
    /// Edits (Levenshtein, in tokens) that are allowed.
    pub distance: u32,
    /// Sequences kept a step; 0 = no search was needed, since `p_z` itself is at least .5.
    pub beam: u32,
    /// Natural log of the bound, at least `ln p_z`; `-inf` = nothing within the distance was found.
    #[serde(with = "float_serde")]
    #[schemars(schema_with = "float_serde::schema")]
    pub log_p: f64,
    /// Distinct sequences within the distance that make it up; a beginning whose every end stays within counts as one.
    pub sequences: u32,
}

/// How much the true prefix adds: `delta = ln p(s|p) - ln((1/J) sum_j p(s|p'_j))` over J prefixes of other texts
/// (arXiv 2602.18733).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForeignPrefix {
    /// Nats. Near 0: the suffix is as likely after any text, so the prefix recalls nothing.
    #[serde(with = "float_serde")]
    #[schemars(schema_with = "float_serde::schema")]
    pub delta: f64,
    /// J.
    pub prefixes: u32,
}

/// The same characters under another checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceScore {
    /// `ln p` of the suffix at T = 1 under the reference, in nats.
    #[serde(with = "float_serde")]
    #[schemars(schema_with = "float_serde::schema")]
    pub sum_logprob: f64,
    /// Suffix tokens in the reference's own tokenization.
    pub suffix_len: u32,
    /// `sum_logprob` of the tested model by that of the reference: 0.5 = half the surprise, below 1 = likelier here.
    #[serde(with = "float_serde")]
    #[schemars(schema_with = "float_serde::schema")]
    pub ratio: f64,
}

/// Distances of a continuation from the true suffix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NearVerbatim {
    /// Levenshtein distance in tokens.
    pub edit_distance: u32,
    /// 1 - distance / the longer length, in tokens, 0 to 1.
    pub edit_similarity: f64,
    /// Sentence BLEU-4 over words, 0 to 1 (ACL P02-1040; threshold of arXiv 2210.17546: .75).
    pub bleu: f64,
    /// F1 of the longest common subsequence of words, 0 to 1 (ROUGE-L, ACL W04-1013).
    pub rouge_l: f64,
    /// Longest common substring, in characters.
    pub lcs_chars: u32,
    /// Longest common run of words.
    pub lcs_words: u32,
    /// `edit_similarity >= 0.9`.
    pub near_verbatim: bool,
}

/// `ln p_z` under one scheme.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SchemeLogP {
    /// The scheme's id, such as `top_k40`.
    pub scheme: String,
    /// Natural log, at most 0; `-inf` = the scheme never samples it.
    #[serde(with = "crate::float_serde")]
    #[schemars(schema_with = "crate::float_serde::schema")]
    pub log_p_z: f64,
}
