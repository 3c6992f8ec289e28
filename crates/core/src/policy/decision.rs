//! A policy's decision on a run, its findings, and the baseline they were compared with.

use super::Level;
use crate::digest::Digest;
use crate::items::ItemId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The policy's decision on a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything requested was measured, and nothing denied was found.
    Pass,
    /// Something the policy denies was found.
    Block,
    /// No decision is possible; must never be treated as a pass.
    Undecided,
}

/// A decision and its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    pub outcome: Outcome,
    /// In words, the decisive ones first. Never empty.
    pub reasons: Vec<String>,
    /// Things that don't change the outcome: warned levels, waivers that match nothing.
    pub warnings: Vec<String>,
    /// Every item whose level the policy denies or warns about, in the report's order.
    pub findings: Vec<Finding>,
    /// The baseline that findings were compared with, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

/// An item that the policy denies or warns about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    pub item: ItemId,
    pub level: Level,
    pub action: Action,
    /// True if the baseline lacks it at that level or a worse one. Absent without a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<bool>,
}

/// What the policy does with a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Counts against the policy's limits, which decide whether the run is blocked: by default one
    /// finding blocks.
    Denied,
    Warned,
    /// Denied, but accepted by a valid waiver.
    Waived,
    /// Denied, and its waiver has expired.
    WaiverExpired,
    /// Denied, but the baseline has it, and the policy counts only new findings.
    Known,
}

/// The report that findings were compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// The model, as the user named it.
    pub model: String,
    /// SHA-256 of the model's files.
    pub model_digest: Digest,
    /// SHA-256 of the report's windows.
    pub plan_digest: Digest,
    /// Start of its run: RFC 3339, UTC.
    pub created_at: String,
    /// Number of findings that could be compared with it.
    pub compared: u64,
    /// Number of findings that couldn't, and count as new.
    pub not_compared: u64,
}
