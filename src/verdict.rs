//! Verdicts: validity (against controls) by extraction cost (samples).

mod conformal;

use crate::items::ItemId;
use serde::{Deserialize, Serialize};

/// What was found out about an item. In order of weight, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
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

/// The statistic by which an item is compared with controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// The best window's `ln p_z` under the scheme `full`.
    MaxLogPZ,
    /// Mean log-probability a token over all windows at T = 1.
    MeanLogProb,
    /// The longest verbatim run of any window, in tokens.
    VerbatimRun,
}

/// One item's verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub item: ItemId,
    pub level: Level,
    /// In words and numbers, the deciding one first. Never empty.
    pub reasons: Vec<String>,
    /// The comparison with controls; absent for controls themselves and where there was nothing to compare.
    pub validity: Option<Validity>,
}

/// An item's comparison with the controls of its run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validity {
    pub statistic: Statistic,
    /// The item's value of the statistic.
    pub value: f64,
    /// Controls it was compared with (texts, not windows).
    pub controls: u64,
    /// How many of them reach the item's value.
    pub controls_at_least: u64,
    /// Factor that pays for the item's having more windows than the controls; 1 = none.
    pub window_factor: u64,
    /// Conformal p-value, 0 to 1.
    pub p_value: f64,
    /// The smallest p-value this comparison could have given.
    pub smallest_p: f64,
    /// Whether it stands after Benjamini-Hochberg at the policy's q.
    pub significant: bool,
}
