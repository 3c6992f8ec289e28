//! The verdict level of an item.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The verdict level of an item, the most severe first.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Significantly likelier than the controls, and within the policy's sample budget.
    Extractable,
    /// Significantly likelier than the controls, but above the sample budget.
    Memorized,
    /// Within the sample budget, but so are texts the model can't have seen.
    Predictable,
    /// Completely measured; no evidence of memorization.
    Clear,
    /// Undecided; the reasons say what is missing.
    Inconclusive,
}

impl Level {
    /// True for `Extractable` and `Memorized`.
    pub fn is_memorization(self) -> bool {
        matches!(self, Self::Extractable | Self::Memorized)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extractable => "extractable",
            Self::Memorized => "memorized",
            Self::Predictable => "predictable",
            Self::Clear => "clear",
            Self::Inconclusive => "inconclusive",
        })
    }
}
