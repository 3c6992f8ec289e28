//! An item as it is in `report.json`: its verdict beside it rather than below it, and its spans again where readers look first.

use crate::digest::Digest;
use crate::items::{ItemId, Kind, OptOut, Origin};
use crate::metric::item::{ItemEvidence, Span};
use crate::metric::window::WindowEvidence;
use crate::policy::Level;
use crate::report::{ReportItem, Revealed};
use crate::verdict::{Reason, Validity, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One item: its verdict and the evidence for it.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(in crate::report) struct ItemV1 {
    id: ItemId,
    kind: Kind,
    /// SHA-256 over the run's salt and the text.
    salted_digest: Digest,
    opt_out: Option<OptOut>,
    /// How often a canary stood in the training data; null where it isn't known.
    repetitions: Option<u32>,
    /// Tags that controls of the run name in matches, or the policy as positive controls.
    tags: Vec<String>,
    /// A control's: ids and tags of what it stands for.
    matches: Vec<String>,
    origin: Origin,
    verdict: Level,
    /// The deciding one first.
    reasons: Vec<Reason>,
    /// Null for controls and where there was nothing to compare.
    validity: Option<Validity>,
    /// What can be extracted of the worst form: a copy of its spans under evidence.
    spans: Vec<Span>,
    evidence: ItemEvidence,
    /// The likeliest few windows.
    windows: Vec<WindowEvidence>,
    /// Only with --reveal.
    revealed: Option<Revealed>,
}

impl From<ReportItem> for ItemV1 {
    fn from(item: ReportItem) -> Self {
        let worst = item.evidence.worst().and_then(|form| form.values.as_ref());
        let extraction = worst.and_then(|values| values.extraction.as_ref());
        Self {
            spans: extraction.map_or_else(Vec::new, |extraction| extraction.spans.clone()),
            id: item.id,
            kind: item.kind,
            salted_digest: item.salted_digest,
            opt_out: item.opt_out,
            repetitions: item.repetitions,
            tags: item.tags,
            matches: item.matches,
            origin: item.origin,
            verdict: item.verdict.level,
            reasons: item.verdict.reasons,
            validity: item.verdict.validity,
            evidence: item.evidence,
            windows: item.windows,
            revealed: item.revealed,
        }
    }
}

impl From<ItemV1> for ReportItem {
    fn from(item: ItemV1) -> Self {
        let verdict = Verdict {
            item: item.id.clone(),
            level: item.verdict,
            reasons: item.reasons,
            validity: item.validity,
        };
        Self {
            id: item.id,
            kind: item.kind,
            salted_digest: item.salted_digest,
            opt_out: item.opt_out,
            repetitions: item.repetitions,
            tags: item.tags,
            matches: item.matches,
            origin: item.origin,
            verdict,
            evidence: item.evidence,
            windows: item.windows,
            revealed: item.revealed,
        }
    }
}
