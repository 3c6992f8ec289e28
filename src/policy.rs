//! Policies: what counts as a finding, and what is to be done about it.

use crate::digest::Digest;
use crate::items::ItemId;
use crate::verdict::{Level, Statistic};
use jiff::civil::Date;

/// A checked policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The file it was read from, or `built-in`.
    pub source: String,
    /// SHA-256 of that file.
    pub digest: Digest,
    /// Least probability of one sample that is within the sample budget.
    pub tau: f64,
    /// Id of the scheme whose `p_z` is compared with `tau`.
    pub scheme: String,
    /// What items and controls are compared by.
    pub statistic: Statistic,
    /// Level of the false discovery rate.
    pub q: f64,
    /// Fewer controls than this decide nothing.
    pub min_controls: u64,
    /// Levels that block.
    pub deny: Vec<Level>,
    /// Levels that are only told.
    pub warn: Vec<Level>,
    /// Whether one inconclusive item makes the run undecided.
    pub require_decided: bool,
    /// Items that must come out `extractable` or `memorized`, or the probe itself is broken.
    pub positive_controls: Vec<ItemId>,
    pub waivers: Vec<Waiver>,
}

/// An accepted finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    pub item: ItemId,
    pub reason: String,
    /// The last day on which it holds.
    pub expires: Date,
    pub approver: Option<String>,
}
