//! The gate: from a report and a policy to a decision. Knows no format and no exit code.

use crate::items::ItemId;
use crate::verdict::Level;
use serde::{Deserialize, Serialize};

/// What the policy says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was asked for was measured and nothing denied was found.
    Pass,
    /// Something the policy denies was found.
    Block,
    /// It can't be decided; never to be taken for a pass.
    Undecided,
}

/// A decision and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub outcome: Outcome,
    /// In words, the deciding ones first. Never empty.
    pub reasons: Vec<String>,
    /// Things that don't change the outcome: warned levels, waivers that match nothing.
    pub warnings: Vec<String>,
    /// Every item whose level the policy denies or warns of, in the report's order.
    pub findings: Vec<Finding>,
}

/// An item that the policy has something to say of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub item: ItemId,
    pub level: Level,
    pub action: Action,
}

/// What the policy makes of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Denied,
    Warned,
    /// Denied, but accepted by a waiver that still holds.
    Waived,
}
