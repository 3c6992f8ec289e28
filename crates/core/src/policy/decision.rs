//! What a policy says of a run: the decision, its findings and what they were compared with.

use super::Level;
use crate::digest::Digest;
use crate::items::ItemId;
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
    /// What they were compared with, if there was a baseline.
    pub baseline: Option<Baseline>,
}

/// An item that the policy has something to say of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub item: ItemId,
    pub level: Level,
    pub action: Action,
    /// Whether the baseline lacks it, at that level or a graver one. Absent where there was no baseline.
    pub new: Option<bool>,
}

/// What the policy makes of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Whether it blocks is for the policy's limits to say: by default one finding does.
    Denied,
    Warned,
    /// Denied, but accepted by a waiver that still holds.
    Waived,
    /// Denied, and its waiver has expired.
    WaiverExpired,
    /// Denied, but the baseline has it, and the policy counts only what is new.
    Known,
}

/// A report that findings were compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// The model as its user named it.
    pub model: String,
    /// SHA-256 of its files.
    pub model_digest: Digest,
    /// SHA-256 of its windows.
    pub plan_digest: Digest,
    /// When its run began: RFC 3339, UTC.
    pub created_at: String,
    /// Findings that could be compared with it.
    pub compared: u64,
    /// Findings that couldn't be, and count as new.
    pub not_compared: u64,
}
