//! The gate: from a report and a policy to a decision. Knows no format and no exit code.

mod baseline;
pub mod files;
mod limits;
#[cfg(test)]
mod tests;

use crate::items::Kind;
use crate::policy::Level;
use crate::policy::decision::{Action, Decision, Finding, Outcome};
use crate::policy::{Policy, Waiver};
use crate::report::{self, Report, ReportItem};
use crate::verdict;
use jiff::civil::Date;

/// Decides on a report whose verdicts were reached under `policy`; `today` tells which waivers still hold.
///
/// - **Block**: findings pass a limit of the policy ([`crate::policy::GateRules`]). Without limits one finding does: an item
///   that has a level that the policy denies, and no waiver. A block stands even if something else could not be decided.
/// - **Undecided**, otherwise: nothing was asked for (no items but controls), something was not measured (an item, a window,
///   a stray score), a positive control wasn't found, a waiver has expired, a limit can't be told to hold (a share of nothing,
///   too few items for an interval, what is new without a baseline), or, if the policy requires decided items, some
///   item is inconclusive.
/// - **Pass**, otherwise.
///
/// Controls and the policy's positive controls are never findings. A canary is one like any other item: what was planted
/// and found stays in the weights. A policy that expects its canaries names them as positive controls.
pub fn decide(report: &Report, policy: &Policy, today: Date) -> Decision {
    decide_against(report, None, policy, today)
}

/// The same against a baseline, a report whose verdicts were reached under `policy`, too: findings are marked as new or
/// known, and only new ones count where the policy says so.
pub fn decide_against(
    report: &Report,
    baseline: Option<&Report>,
    policy: &Policy,
    today: Date,
) -> Decision {
    let mut findings: Vec<Finding> = report
        .items
        .iter()
        .filter_map(|item| finding(item, policy, today))
        .collect();
    let mut warnings = Vec::new();
    let baseline =
        baseline.map(|old| baseline::mark(report, old, policy, &mut findings, &mut warnings));
    let mut undecided = undecided(report, policy, today);
    let (mut reasons, mut held, mut blocks) = (Vec::new(), Vec::new(), false);
    if policy.gate.new_only && baseline.is_none() {
        undecided.insert(0, NO_BASELINE.to_owned());
        warnings.extend(told(
            &findings,
            Action::Denied,
            "denied by the policy if new",
        ));
    } else {
        let limits = limits::hold(report, policy, &findings);
        let new = if policy.gate.new_only { "new and " } else { "" };
        blocks = limits.passed;
        if blocks {
            reasons.extend(limits.reasons);
            reasons.extend(told(
                &findings,
                Action::Denied,
                &format!("{new}denied by the policy"),
            ));
        } else {
            warnings.extend(told(
                &findings,
                Action::Denied,
                &format!("{new}denied, but within the limits of the policy"),
            ));
        }
        undecided.extend(limits.undecided);
        held = limits.held;
    }
    let outcome = match (blocks, undecided.is_empty()) {
        (true, _) => Outcome::Block,
        (false, false) => Outcome::Undecided,
        (false, true) => Outcome::Pass,
    };
    reasons.extend(undecided);
    if outcome == Outcome::Pass {
        if !findings
            .iter()
            .any(|finding| finding.action == Action::Denied)
        {
            let judged = report
                .items
                .iter()
                .filter(|item| item.kind != Kind::Control)
                .count();
            let new = if policy.gate.new_only { "new " } else { "" };
            reasons.push(format!(
                "nothing {new}the policy denies was found in {}",
                count(judged, "item")
            ));
        }
        reasons.extend(held);
    }
    warnings.extend(self::warnings(report, policy, &findings, today));
    Decision {
        outcome,
        reasons,
        warnings,
        findings,
        baseline,
    }
}

const NO_BASELINE: &str = "the policy counts only what is new (new_only), and there is no baseline: give an older report, as in \
    byrote gate RUN --policy POLICY --baseline OLD";

/// Judges an old report again under another policy, from its evidence, and decides. Coverage and spans stay as they
/// were measured, under the tau and scheme that stand beside them.
pub fn redecide(report: &Report, policy: &Policy, today: Date) -> Report {
    redecide_against(report, None, policy, today)
}

/// The same against a baseline, which is judged again under that policy as well.
pub fn redecide_against(
    report: &Report,
    baseline: Option<&Report>,
    policy: &Policy,
    today: Date,
) -> Report {
    let mut report = report::rejudge(report, policy);
    let baseline = baseline.map(|old| report::rejudge(old, policy));
    report.decision = Some(decide_against(&report, baseline.as_ref(), policy, today));
    report
}

fn finding(item: &ReportItem, policy: &Policy, today: Date) -> Option<Finding> {
    let level = item.verdict.level;
    if item.kind == Kind::Control || policy.is_positive_control(&item.id, &item.tags) {
        return None;
    }
    let action = if policy.deny.contains(&level) {
        let mut waivers = policy
            .waivers
            .iter()
            .filter(|waiver| waiver.item == item.id);
        if waivers.clone().any(|waiver| holds(waiver, today)) {
            Action::Waived
        } else if waivers.next().is_some() {
            Action::WaiverExpired
        } else {
            Action::Denied
        }
    } else if policy.warn.contains(&level) {
        Action::Warned
    } else {
        return None;
    };
    Some(Finding {
        item: item.id.clone(),
        level,
        action,
        new: None,
    })
}

/// A waiver holds through its last day.
fn holds(waiver: &Waiver, today: Date) -> bool {
    today <= waiver.expires
}

/// Everything that keeps the run from being decided.
fn undecided(report: &Report, policy: &Policy, today: Date) -> Vec<String> {
    let mut reasons = Vec::new();
    let judged: Vec<&ReportItem> = report
        .items
        .iter()
        .filter(|item| item.kind != Kind::Control)
        .collect();
    if judged.is_empty() {
        reasons.push("no items to judge: an empty probe set, or controls only".to_owned());
    }
    for id in &policy.positive_controls {
        let found = report
            .summary
            .positive_controls
            .iter()
            .any(|control| control.item == *id && control.found);
        if !found {
            reasons.push(format!(
                "positive control `{id}` was not found: the probe is broken"
            ));
        }
    }
    let unmeasured: Vec<String> = report
        .items
        .iter()
        .filter_map(|item| {
            verdict::not_measured(&item.evidence).map(|reason| format!("`{}`: {reason}", item.id))
        })
        .collect();
    reasons.extend(few("not measured in full", unmeasured));
    let stray = report.summary.windows.stray;
    if stray > 0 {
        reasons.push(format!(
            "{} of no item of this run",
            count(stray as usize, "score")
        ));
    }
    if policy.require_decided {
        let inconclusive: Vec<String> = report
            .items
            .iter()
            .filter(|item| {
                item.verdict.level == Level::Inconclusive
                    && verdict::not_measured(&item.evidence).is_none()
            })
            .map(|item| {
                let reason = item
                    .verdict
                    .reasons
                    .first()
                    .map_or("no reason given", |reason| &reason.message);
                format!("`{}`: {reason}", item.id)
            })
            .collect();
        reasons.extend(few("inconclusive", inconclusive));
    }
    for waiver in policy.waivers.iter().filter(|waiver| !holds(waiver, today)) {
        reasons.push(format!(
            "the waiver of `{}` expired on {}: renew or remove it",
            waiver.item, waiver.expires
        ));
    }
    reasons
}

fn warnings(report: &Report, policy: &Policy, findings: &[Finding], today: Date) -> Vec<String> {
    let mut warnings = told(findings, Action::Warned, "told by the policy");
    warnings.extend(told(
        findings,
        Action::Known,
        "denied, but known from the baseline",
    ));
    for waiver in policy.waivers.iter().filter(|waiver| holds(waiver, today)) {
        if findings
            .iter()
            .any(|finding| finding.item == waiver.item && finding.action == Action::Waived)
        {
            warnings.push(format!(
                "`{}` is waived until {}: {}",
                waiver.item, waiver.expires, waiver.reason
            ));
            continue;
        }
        let state = match report.items.iter().find(|item| item.id == waiver.item) {
            Some(item) => format!("the item is {}", item.verdict.level),
            None => "no such item".to_owned(),
        };
        warnings.push(format!(
            "the waiver of `{}` matches no finding ({state}): remove it",
            waiver.item
        ));
    }
    if !policy.require_decided {
        let inconclusive = report
            .items
            .iter()
            .filter(|item| item.verdict.level == Level::Inconclusive)
            .count();
        if inconclusive > 0 {
            warnings.push(format!(
                "{} inconclusive, which this policy lets pass",
                count(inconclusive, "item")
            ));
        }
    }
    let dropped = report.probe_set.dropped.len();
    if dropped > 0 {
        warnings.push(format!(
            "{} left out before the run; the report says why",
            count(dropped, "item")
        ));
    }
    warnings
}

/// One line a level: how many items, and the first of them.
fn told(findings: &[Finding], action: Action, what: &str) -> Vec<String> {
    [Level::Extractable, Level::Memorized, Level::Predictable]
        .into_iter()
        .filter_map(|level| {
            let ids: Vec<_> = findings
                .iter()
                .filter(|f| f.level == level && f.action == action)
                .map(|f| format!("`{}`", f.item))
                .collect();
            (!ids.is_empty()).then(|| {
                let first: Vec<_> = ids.iter().take(SHOWN).cloned().collect();
                let more = if ids.len() > SHOWN { ", ..." } else { "" };
                format!(
                    "{} {level}, {what}: {}{more}",
                    count(ids.len(), "item"),
                    first.join(", ")
                )
            })
        })
        .collect()
}

/// How many items a reason names.
const SHOWN: usize = 5;

fn few(what: &str, all: Vec<String>) -> Option<String> {
    let more = if all.len() > SHOWN { "; ..." } else { "" };
    let first: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    (!all.is_empty()).then(|| {
        format!(
            "{} {what} ({}{more})",
            count(all.len(), "item"),
            first.join("; ")
        )
    })
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}
