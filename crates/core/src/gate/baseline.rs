//! Which findings are new against a baseline: an older report, judged again under the same policy.

use crate::compare::same::{self, Windows};
use crate::items::ItemId;
use crate::policy::Level;
use crate::policy::Policy;
use crate::policy::decision::{Action, Baseline, Finding};
use crate::report::words::count;
use crate::report::{Report, ReportItem};
use std::collections::HashMap;

/// Marks findings that the baseline has as known, all others as new, and reports the ones that
/// couldn't be compared.
///
/// A finding is known if the baseline, judged again under the same policy, has an item with the
/// same id, kind and text ([`same::text`]), cut into the same windows ([`Windows::Same`]), at the
/// same level or a worse one. Findings that can't be compared are new, and so is a finding whose
/// item is inconclusive in the baseline.
pub(super) fn mark(
    report: &Report,
    baseline: &Report,
    policy: &Policy,
    findings: &mut [Finding],
    warnings: &mut Vec<String>,
) -> Baseline {
    let windows = windows(report, baseline);
    let there: HashMap<&ItemId, &ReportItem> =
        baseline.items.iter().map(|item| (&item.id, item)).collect();
    let here: HashMap<&ItemId, &ReportItem> =
        report.items.iter().map(|item| (&item.id, item)).collect();
    let (mut compared, mut reasons) = (0u64, Vec::new());
    for finding in findings.iter_mut() {
        let found = here.get(&finding.item).map_or_else(
            || Err("it is not among the items".to_owned()),
            |item| {
                level_there(
                    report,
                    item,
                    baseline,
                    there.get(&finding.item).copied(),
                    windows.as_deref(),
                )
            },
        );
        let new = match found {
            Ok(level) => {
                compared += 1;
                level.is_none_or(|level| level > finding.level)
            }
            Err(why) => {
                reasons.push((finding.item.clone(), why));
                true
            }
        };
        finding.new = Some(new);
        if policy.gate.new_only && !new && finding.action == Action::Denied {
            finding.action = Action::Known;
        }
    }
    warnings.extend(notes(report, baseline, findings, &reasons));
    Baseline {
        model: baseline.model.reference.clone(),
        model_digest: baseline.model.digest.clone(),
        plan_digest: baseline.plan_digest.clone(),
        created_at: baseline.created_at.clone(),
        compared,
        not_compared: reasons.len() as u64,
    }
}

/// Why the baseline's windows differ from the report's; `None` if they are the same.
fn windows(report: &Report, baseline: &Report) -> Option<String> {
    match Windows::of(baseline, report) {
        Windows::Same => None,
        Windows::OtherTokenizer => Some("another tokenizer, so other windows".to_owned()),
        Windows::Other(how) => Some(format!("other windows: {how}")),
    }
}

/// The baseline's level for an item; `None` if that level isn't a possible finding.
fn level_there(
    report: &Report,
    item: &ReportItem,
    baseline: &Report,
    old: Option<&ReportItem>,
    other_windows: Option<&str>,
) -> Result<Option<Level>, String> {
    let old = old.ok_or("the baseline doesn't have it")?;
    same::text(baseline, old, report, item)?;
    if let Some(why) = other_windows {
        return Err(why.to_owned());
    }
    match old.verdict.level {
        Level::Inconclusive => {
            let reason = old
                .verdict
                .reasons
                .first()
                .map_or("no reason given", |reason| &reason.message);
            Err(format!("inconclusive there: {reason}"))
        }
        Level::Clear => Ok(None),
        level => Ok(Some(level)),
    }
}

/// Maximum number of items that a line names.
const SHOWN: usize = 5;

fn notes(
    report: &Report,
    baseline: &Report,
    findings: &[Finding],
    reasons: &[(ItemId, String)],
) -> Vec<String> {
    let mut notes = Vec::new();
    let new = findings
        .iter()
        .filter(|finding| finding.new == Some(true))
        .count() as u64;
    let known = findings.len() as u64 - new;
    notes.push(format!(
        "against the baseline ({}, SHA-256 {}, {}): {} new, {known} known",
        baseline.model.reference,
        baseline.model.digest,
        baseline.created_at,
        count(new, "finding"),
    ));
    if !reasons.is_empty() {
        let first: Vec<String> = reasons
            .iter()
            .take(SHOWN)
            .map(|(item, why)| format!("`{item}`: {why}"))
            .collect();
        let more = if reasons.len() > SHOWN { "; ..." } else { "" };
        notes.push(format!(
            "{} can't be compared with the baseline and {} as new ({}{more})",
            count(reasons.len() as u64, "finding"),
            if reasons.len() == 1 {
                "counts"
            } else {
                "count"
            },
            first.join("; ")
        ));
    }
    if baseline.model.digest == report.model.digest {
        notes.push("the baseline is a report on the same model files".to_owned());
    }
    notes
}
