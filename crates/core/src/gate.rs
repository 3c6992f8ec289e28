//! The gate: makes a decision from a report and a policy. Knows no formats and no exit codes.

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

/// Decides on a report whose verdicts were reached under `policy`; `today` determines which waivers
/// are valid.
///
/// - **Block**: findings exceed a limit of the policy ([`crate::policy::GateRules`]). Without
///   limits one finding is enough: an item at a level that the policy denies, without a waiver. A
///   block is final even if something else could not be decided.
/// - **Undecided**, otherwise: there were no items besides controls, something was not measured (an
///   item, a window, a stray score), a positive control wasn't found, a waiver has expired, a limit
///   can't be evaluated (a share of no items, too few items for an interval, new findings without a
///   baseline), or the policy requires decided items and some item is inconclusive.
/// - **Pass**, otherwise.
///
/// Controls and the policy's positive controls are never findings. A canary can be one like any
/// other item: a planted text that was found stays in the weights. A policy that expects to find
/// its canaries names them as positive controls.
pub fn decide(report: &Report, policy: &Policy, today: Date) -> Decision {
    decide_against(report, None, policy, today)
}

/// Like [`decide`], but against a baseline, a report whose verdicts were reached under `policy`,
/// too: marks findings as new or known, and counts only new ones if the policy says so.
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
    let (mut reasons, mut met, mut blocks) = (Vec::new(), Vec::new(), false);
    if policy.gate.new_only && baseline.is_none() {
        undecided.insert(0, NO_BASELINE.to_owned());
        warnings.extend(summarize(
            &findings,
            Action::Denied,
            "denied by the policy if new",
        ));
    } else {
        let limits = limits::evaluate(report, policy, &findings);
        let new = if policy.gate.new_only { "new and " } else { "" };
        blocks = limits.exceeded;
        if blocks {
            reasons.extend(limits.reasons);
            reasons.extend(summarize(
                &findings,
                Action::Denied,
                &format!("{new}denied by the policy"),
            ));
        } else {
            warnings.extend(summarize(
                &findings,
                Action::Denied,
                &format!("{new}denied, but within the limits of the policy"),
            ));
        }
        undecided.extend(limits.undecided);
        met = limits.met;
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
        reasons.extend(met);
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

/// Judges an old report again under another policy, from its evidence, and decides. Coverage and
/// spans stay as measured, under the tau and scheme recorded with them.
pub fn redecide(report: &Report, policy: &Policy, today: Date) -> Report {
    redecide_against(report, None, policy, today)
}

/// Like [`redecide`], but against a baseline, which is judged again under that policy as well.
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

/// A waiver is valid through its last day.
fn holds(waiver: &Waiver, today: Date) -> bool {
    today <= waiver.expires
}

/// Everything that prevents a decision on the run.
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
    let mut warnings = summarize(findings, Action::Warned, "reported by the policy");
    warnings.extend(summarize(
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
                "{} inconclusive, which this policy allows",
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

/// One line per level: how many items, and the first of them.
fn summarize(findings: &[Finding], action: Action, what: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for level in [Level::Extractable, Level::Memorized, Level::Predictable] {
        let ids: Vec<_> = findings
            .iter()
            .filter(|f| f.level == level && f.action == action)
            .map(|f| format!("`{}`", f.item))
            .collect();
        if ids.is_empty() {
            continue;
        }
        let first = ids[..ids.len().min(SHOWN)].join(", ");
        let more = if ids.len() > SHOWN { ", ..." } else { "" };
        lines.push(format!(
            "{} {level}, {what}: {first}{more}",
            count(ids.len(), "item")
        ));
    }
    lines
}

/// Maximum number of items that a reason names.
const SHOWN: usize = 5;

fn few(what: &str, all: Vec<String>) -> Option<String> {
    if all.is_empty() {
        return None;
    }
    let first = all[..all.len().min(SHOWN)].join("; ");
    let more = if all.len() > SHOWN { "; ..." } else { "" };
    Some(format!(
        "{} {what} ({first}{more})",
        count(all.len(), "item")
    ))
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}
