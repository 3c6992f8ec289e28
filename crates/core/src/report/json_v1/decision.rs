//! A decision as it stands in `report.json`.

use super::mirror::{Mirror, mirrored};
use crate::digest::Digest;
use crate::items::ItemId;
use crate::policy::Level;
use crate::policy::decision::{Action, Baseline, Decision, Finding, Outcome};

mirrored! {
    DecisionV1 = Decision {
        outcome: Outcome,
        reasons: Vec<String>,
        warnings: Vec<String>,
        findings: Vec<FindingV1>,
        /// What the findings were compared with; absent where there was no baseline.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        baseline: Option<BaselineV1>,
    }

    FindingV1 = Finding {
        item: ItemId,
        level: Level,
        action: Action,
        /// Whether the baseline lacks it, at that level or a graver one; absent where there was no baseline.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        new: Option<bool>,
    }

    BaselineV1 = Baseline {
        /// The model as its user named it.
        model: String,
        /// SHA-256 of its files.
        model_digest: Digest,
        /// SHA-256 of its windows.
        plan_digest: Digest,
        /// When its run began.
        created_at: String,
        /// Findings that could be compared with it.
        compared: u64,
        /// Findings that couldn't be, and count as new.
        not_compared: u64,
    }
}
