//! The policy as it stands in `report.json`.

use super::mirror::{Day, Mirror, Real, mirrored};
use crate::backend::Scheme;
use crate::digest::Digest;
use crate::items::ItemId;
use crate::policy::{FollowUpPolicy, GateRules, Matching, Policy, Tail, Waiver};
use crate::policy::{Level, Statistic};

mirrored! {
    PolicyV1 = Policy {
        /// The file it was read from.
        source: String,
        /// SHA-256 of that file.
        digest: Digest,
        /// Least probability of one sample that is within the sample budget.
        tau: Real,
        /// Ways of sampling whose p_z is compared with tau; within the budget under one is within it.
        schemes: Vec<Scheme>,
        /// Whether a near-verbatim bound of at least tau is within the budget, too.
        near_verbatim: bool,
        statistic: Statistic,
        /// Probabilities below this aren't told apart; 0 = none.
        #[serde(default)]
        floor: Real,
        /// Level of the false discovery rate.
        q: Real,
        min_controls: u64,
        /// Which controls an item is compared with.
        matching: Matching,
        /// Whether p-values may be extrapolated.
        tail: Tail,
        follow_up: FollowUpPolicyV1,
        deny: Vec<Level>,
        /// How many findings block.
        #[serde(default)]
        gate: GateRulesV1,
        warn: Vec<Level>,
        require_decided: bool,
        positive_controls: Vec<ItemId>,
        waivers: Vec<WaiverV1>,
    }

    GateRulesV1 = GateRules {
        /// More findings than this block; null = no such limit.
        max_findings: Option<u64>,
        /// A greater share of a kind's decided items than this blocks; null = no such limit.
        max_rate: Option<Real>,
        /// So does an interval of that share that ends above this; null = no such limit.
        max_rate_upper: Option<Real>,
        /// Of that interval.
        confidence: Real,
        /// Whether only what is new against a baseline counts.
        new_only: bool,
    }

    FollowUpPolicyV1 = FollowUpPolicy {
        /// The likeliest windows of each item that are followed up.
        windows: u32,
        near_miss: Real,
        everything: bool,
        /// Beam width of the near-verbatim bound.
        beam: u32,
        /// Share of the suffix's tokens that may be edited.
        edits: Real,
        foreign_prefixes: u32,
        /// Nats.
        margin: Real,
        /// Nats.
        epsilon: Real,
    }

    WaiverV1 = Waiver {
        item: ItemId,
        reason: String,
        /// The last day on which it holds.
        expires: Day,
        approver: Option<String>,
    }
}

impl Default for GateRulesV1 {
    /// What reports from before there were limits were decided by.
    fn default() -> Self {
        Self::mirror(&GateRules::default())
    }
}
