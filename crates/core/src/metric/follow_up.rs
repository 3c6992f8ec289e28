//! The followed-up windows of an item, brought together. `follow.rs` measures them.

use crate::run::follow_up::{ForeignPrefix, NearProbability, ReferenceScore};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
