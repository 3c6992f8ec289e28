//! What is found out about a few windows beyond their scores: alone in f32, by real generation, near-verbatim, after
//! foreign prefixes, under a reference checkpoint. Types only; `follow.rs` measures them.

use crate::metric::near::NearVerbatim;
use crate::metric::real;
use crate::metric::window::SchemeLogP;
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
    #[serde(with = "real")]
    #[schemars(schema_with = "real::schema")]
    pub sum_logprob: f64,
    /// Nats.
    #[serde(with = "real")]
    #[schemars(schema_with = "real::schema")]
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
    #[serde(with = "real")]
    #[schemars(schema_with = "real::schema")]
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
    #[serde(with = "real")]
    #[schemars(schema_with = "real::schema")]
    pub delta: f64,
    /// J.
    pub prefixes: u32,
}

/// The same characters under another checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceScore {
    /// `ln p` of the suffix at T = 1 under the reference, in nats.
    #[serde(with = "real")]
    #[schemars(schema_with = "real::schema")]
    pub sum_logprob: f64,
    /// Suffix tokens in the reference's own tokenization.
    pub suffix_len: u32,
    /// `sum_logprob` of the tested model by that of the reference: 0.5 = half the surprise, below 1 = likelier here.
    #[serde(with = "real")]
    #[schemars(schema_with = "real::schema")]
    pub ratio: f64,
}

/// An item's followed-up windows brought together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowUpEvidence {
    /// Windows with any follow-up.
    pub windows: u64,
    /// Windows whose continuation was generated.
    pub continued: u64,
    /// Of those, near-verbatim.
    pub near_verbatim: u64,
    /// Characters in the union of the suffixes that came out near-verbatim, by the characters of the form (the greatest
    /// over forms), 0 to 1. Windows that weren't continued count as not recalled, so it is a lower bound unless
    /// `continued` is all of them.
    pub nv_recall: f64,
    /// Greatest edit similarity of a continuation, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_similarity: Option<f64>,
    /// Greatest share of equal positions of a continuation, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memorization_score: Option<f64>,
    /// The greatest near-verbatim bound of a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_probability: Option<NearProbability>,
    /// The greatest delta of a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_prefix: Option<ForeignPrefix>,
    /// The window with the smallest ratio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceScore>,
    /// What was asked for and failed: window and reason, the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// How far rounding could have decided anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Numerics {
    /// Windows with a margin or an `ln p_z` so near to a threshold that they were to be scored again.
    pub near_ties: u64,
    /// Of those, scored again alone and in f32.
    pub rescored: u64,
    /// Of those, greedy verdicts that changed.
    pub greedy_flips: u64,
    /// Of those, windows that crossed the sample budget.
    pub budget_flips: u64,
    /// Windows whose greedy verdict was put to a real generation of the whole suffix.
    pub generated: u64,
    /// Of those, where generation and teacher forcing disagree.
    pub disagreements: u64,
}

impl Numerics {
    /// The sum, field by field.
    pub fn plus(self, other: Self) -> Self {
        Self {
            near_ties: self.near_ties + other.near_ties,
            rescored: self.rescored + other.rescored,
            greedy_flips: self.greedy_flips + other.greedy_flips,
            budget_flips: self.budget_flips + other.budget_flips,
            generated: self.generated + other.generated,
            disagreements: self.disagreements + other.disagreements,
        }
    }
}
