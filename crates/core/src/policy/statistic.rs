//! The statistic that compares an item with its controls.

use serde::{Deserialize, Serialize};

/// The statistic that compares an item with its controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// The best window's `ln p_z` under the scheme `full`.
    MaxLogPZ,
    /// Mean log-probability per token over all windows at T = 1.
    MeanLogProb,
    /// The longest verbatim run in any window, in tokens.
    VerbatimRun,
    /// Mean mid-rank, 0 to 1, of all windows' `ln p_z` under `full` among the windows of the item
    /// and its controls, in the form that counts: for long documents. Permutes documents, because
    /// windows of one text aren't independent.
    MeanRank,
}
