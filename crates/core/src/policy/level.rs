//! What was found out about an item.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What was found out about an item. In order of weight, the gravest first.
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
    /// Likelier than controls explain, and within the policy's sample budget.
    Extractable,
    /// Likelier than controls explain, but dearer than the budget.
    Memorized,
    /// Within the budget, but so are texts the model can't have seen.
    Predictable,
    /// Measured in full; no evidence of memorization.
    Clear,
    /// Can't tell; the reasons say what is missing.
    Inconclusive,
}

impl Level {
    /// Whether it says that the model memorized the text.
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
