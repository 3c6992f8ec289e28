//! The gate: from a report and a policy to a decision. Knows no format and no exit code.

use crate::items::{ItemId, Kind};
use crate::policy::{Policy, Waiver};
use crate::report::{self, Report, ReportItem};
use crate::verdict::{self, Level};
use jiff::civil::Date;
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
    /// Denied, and its waiver has expired.
    WaiverExpired,
}

/// Decides on a report whose verdicts were reached under `policy`; `today` tells which waivers still hold.
///
/// - **Block**: some item has a level that the policy denies, and no waiver. A proven finding blocks even if something
///   else could not be decided: nothing that is still missing could take it back.
/// - **Undecided**, otherwise: nothing was asked for (no items but controls), something was not measured (an item, a window,
///   a stray score), a positive control wasn't found, a waiver has expired, or, if the policy requires decided items, some
///   item is inconclusive.
/// - **Pass**, otherwise.
///
/// Controls and the policy's positive controls are never findings. A canary is one like any other item: what was planted
/// and found stays in the weights. A policy that expects its canaries names them as positive controls.
pub fn decide(report: &Report, policy: &Policy, today: Date) -> Decision {
    let findings: Vec<Finding> = report.items.iter().filter_map(|item| finding(item, policy, today)).collect();
    let blocking = told(&findings, Action::Denied, "denied by the policy");
    let undecided = undecided(report, policy, today);
    let outcome = match (blocking.is_empty(), undecided.is_empty()) {
        (false, _) => Outcome::Block,
        (true, false) => Outcome::Undecided,
        (true, true) => Outcome::Pass,
    };
    let mut reasons: Vec<String> = blocking.into_iter().chain(undecided).collect();
    if reasons.is_empty() {
        let judged = report.items.iter().filter(|item| item.kind != Kind::Control).count();
        reasons.push(format!("nothing the policy denies was found in {}", count(judged, "item")));
    }
    let warnings = warnings(report, policy, &findings, today);
    Decision { outcome, reasons, warnings, findings }
}

/// Judges an old report again under another policy, from its evidence, and decides. Coverage and spans stay as they
/// were measured, under the tau and scheme that stand beside them.
pub fn redecide(report: &Report, policy: &Policy, today: Date) -> Report {
    let mut report = report::rejudge(report, policy);
    report.decision = Some(decide(&report, policy, today));
    report
}

fn finding(item: &ReportItem, policy: &Policy, today: Date) -> Option<Finding> {
    let level = item.verdict.level;
    if item.kind == Kind::Control || policy.is_positive_control(&item.id, &item.tags) {
        return None;
    }
    let action = if policy.deny.contains(&level) {
        let mut waivers = policy.waivers.iter().filter(|waiver| waiver.item == item.id);
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
    Some(Finding { item: item.id.clone(), level, action })
}

/// A waiver holds through its last day.
fn holds(waiver: &Waiver, today: Date) -> bool {
    today <= waiver.expires
}

/// Everything that keeps the run from being decided.
fn undecided(report: &Report, policy: &Policy, today: Date) -> Vec<String> {
    let mut reasons = Vec::new();
    let judged: Vec<&ReportItem> = report.items.iter().filter(|item| item.kind != Kind::Control).collect();
    if judged.is_empty() {
        reasons.push("no items to judge: an empty probe set, or controls only".to_owned());
    }
    for id in &policy.positive_controls {
        let found = report.summary.positive_controls.iter().any(|control| control.item == *id && control.found);
        if !found {
            reasons.push(format!("positive control `{id}` was not found: the probe is broken"));
        }
    }
    let unmeasured: Vec<String> = report
        .items
        .iter()
        .filter_map(|item| verdict::not_measured(&item.evidence).map(|reason| format!("`{}`: {reason}", item.id)))
        .collect();
    reasons.extend(few("not measured in full", unmeasured));
    let stray = report.summary.windows.stray;
    if stray > 0 {
        reasons.push(format!("{} of no item of this run", count(stray as usize, "score")));
    }
    if policy.require_decided {
        let inconclusive: Vec<String> = report
            .items
            .iter()
            .filter(|item| item.verdict.level == Level::Inconclusive && verdict::not_measured(&item.evidence).is_none())
            .map(|item| {
                let reason = item.verdict.reasons.first().map_or("no reason given", String::as_str);
                format!("`{}`: {reason}", item.id)
            })
            .collect();
        reasons.extend(few("inconclusive", inconclusive));
    }
    for waiver in policy.waivers.iter().filter(|waiver| !holds(waiver, today)) {
        reasons.push(format!("the waiver of `{}` expired on {}: renew or remove it", waiver.item, waiver.expires));
    }
    reasons
}

fn warnings(report: &Report, policy: &Policy, findings: &[Finding], today: Date) -> Vec<String> {
    let mut warnings = told(findings, Action::Warned, "told by the policy");
    for waiver in policy.waivers.iter().filter(|waiver| holds(waiver, today)) {
        if findings.iter().any(|finding| finding.item == waiver.item && finding.action == Action::Waived) {
            warnings.push(format!("`{}` is waived until {}: {}", waiver.item, waiver.expires, waiver.reason));
            continue;
        }
        let state = match report.items.iter().find(|item| item.id == waiver.item) {
            Some(item) => format!("the item is {}", item.verdict.level),
            None => "no such item".to_owned(),
        };
        warnings.push(format!("the waiver of `{}` matches no finding ({state}): remove it", waiver.item));
    }
    if !policy.require_decided {
        let inconclusive = report.items.iter().filter(|item| item.verdict.level == Level::Inconclusive).count();
        if inconclusive > 0 {
            warnings.push(format!("{} inconclusive, which this policy lets pass", count(inconclusive, "item")));
        }
    }
    let dropped = report.probe_set.dropped.len();
    if dropped > 0 {
        warnings.push(format!("{} left out before the run; the report says why", count(dropped, "item")));
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
                format!("{} {level}, {what}: {}{more}", count(ids.len(), "item"), first.join(", "))
            })
        })
        .collect()
}

/// How many items a reason names.
const SHOWN: usize = 5;

fn few(what: &str, all: Vec<String>) -> Option<String> {
    let more = if all.len() > SHOWN { "; ..." } else { "" };
    let first: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    (!all.is_empty()).then(|| format!("{} {what} ({}{more})", count(all.len(), "item"), first.join("; ")))
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::item::ItemEvidence;
    use crate::report::tests::{item, report};
    use jiff::civil::date;

    const TODAY: Date = date(2026, 11, 23);

    fn waiver(id: &str, expires: Date) -> Waiver {
        Waiver { item: ItemId(id.to_owned()), reason: "licensed".to_owned(), expires, approver: None }
    }

    fn outcome(items: Vec<ReportItem>, policy: &Policy) -> (Outcome, String, String) {
        let decision = decide(&report(items), policy, TODAY);
        (decision.outcome, decision.reasons.join(" | "), decision.warnings.join(" | "))
    }

    #[test]
    fn decisions_follow_levels_and_the_policy() {
        use Level::{Clear, Extractable, Inconclusive, Memorized, Predictable};
        let default = Policy::default();
        let strict = Policy::open("strict").unwrap();
        let lenient = Policy { require_decided: false, ..Policy::default() };
        let opt_out = Kind::OptOut;
        type Case<'a> = (&'a [(Kind, Level)], &'a Policy, Outcome, &'a str);
        let cases: [Case<'_>; 14] = [
            (&[(opt_out, Clear)], &default, Outcome::Pass, "nothing the policy denies was found in 1 item"),
            (&[(opt_out, Extractable)], &default, Outcome::Block, "1 item extractable, denied by the policy: `i0`"),
            (&[(opt_out, Memorized)], &default, Outcome::Block, "1 item memorized"),
            (&[(Kind::Canary, Memorized)], &default, Outcome::Block, "1 item memorized"),
            (&[(opt_out, Predictable)], &default, Outcome::Pass, "nothing"),
            (&[(opt_out, Predictable)], &strict, Outcome::Block, "1 item predictable"),
            (
                &[(opt_out, Clear), (opt_out, Inconclusive)],
                &default,
                Outcome::Undecided,
                "1 item inconclusive (`i1`: made up)",
            ),
            (&[(opt_out, Clear), (opt_out, Inconclusive)], &lenient, Outcome::Pass, "nothing"),
            (&[(opt_out, Clear), (Kind::Control, Inconclusive)], &default, Outcome::Undecided, "1 item inconclusive"),
            // A proven finding blocks, whatever else is open.
            (&[(opt_out, Inconclusive), (opt_out, Memorized)], &default, Outcome::Block, "1 item memorized"),
            (&[], &default, Outcome::Undecided, "no items to judge"),
            (&[(Kind::Control, Clear)], &default, Outcome::Undecided, "no items to judge"),
            (&[(opt_out, Clear), (Kind::Control, Predictable)], &strict, Outcome::Pass, "nothing"),
            (&[], &lenient, Outcome::Undecided, "no items to judge"),
        ];
        for (levels, policy, expected, reason) in cases {
            let items =
                levels.iter().enumerate().map(|(i, (kind, level))| item(&format!("i{i}"), *kind, *level)).collect();
            let (outcome, reasons, _) = outcome(items, policy);
            assert_eq!(outcome, expected, "{levels:?}: {reasons}");
            assert!(reasons.starts_with(reason), "{reasons}");
        }
    }

    #[test]
    fn what_was_not_measured_is_undecided_even_under_a_lenient_policy() {
        let lenient = Policy { require_decided: false, ..Policy::default() };
        let mut unprobed = item("a", Kind::OptOut, Level::Inconclusive);
        unprobed.evidence = ItemEvidence { unprobed: Some("too short".to_owned()), ..Default::default() };
        let items = vec![unprobed, item("b", Kind::OptOut, Level::Clear)];
        let (undecided, reasons, _) = outcome(items, &lenient);
        assert_eq!(undecided, Outcome::Undecided);
        assert!(reasons.contains("`a`: not probed: too short"), "{reasons}");

        // A verdict that contradicts its evidence, as in a report that was edited, does not pass either.
        let mut edited = item("a", Kind::OptOut, Level::Clear);
        edited.evidence = ItemEvidence::default();
        assert_eq!(outcome(vec![edited], &lenient).0, Outcome::Undecided);

        let mut stray = report(vec![item("b", Kind::OptOut, Level::Clear)]);
        stray.summary.windows.stray = 2;
        assert_eq!(decide(&stray, &lenient, TODAY).outcome, Outcome::Undecided);
    }

    #[test]
    fn waivers_accept_findings_until_their_last_day() {
        let cases = [
            (
                Level::Memorized,
                waiver("i", date(2026, 11, 23)),
                Outcome::Pass,
                "`i` is waived until 2026-11-23: licensed",
            ),
            (Level::Memorized, waiver("i", date(2026, 11, 22)), Outcome::Undecided, ""),
            (Level::Clear, waiver("i", date(2026, 11, 22)), Outcome::Undecided, ""),
            (
                Level::Memorized,
                waiver("other", date(2027, 1, 1)),
                Outcome::Block,
                "the waiver of `other` matches no finding (no such item)",
            ),
            (
                Level::Clear,
                waiver("i", date(2027, 1, 1)),
                Outcome::Pass,
                "the waiver of `i` matches no finding (the item is clear)",
            ),
            (
                Level::Inconclusive,
                waiver("i", date(2027, 1, 1)),
                Outcome::Undecided,
                "the waiver of `i` matches no finding",
            ),
        ];
        for (level, waiver, expected, warning) in cases {
            let expired = waiver.expires < TODAY;
            let policy = Policy { waivers: vec![waiver], ..Policy::default() };
            let (outcome, reasons, warnings) = outcome(vec![item("i", Kind::OptOut, level)], &policy);
            assert_eq!(outcome, expected, "{level}: {reasons}");
            assert!(warnings.starts_with(warning), "{warnings}");
            assert_eq!(reasons.contains("expired on 2026-11-22: renew or remove it"), expired, "{reasons}");
        }
        // Of two waivers, one that holds is enough for the finding; the other still wants removing.
        let both = vec![waiver("i", date(2026, 1, 1)), waiver("i", date(2027, 1, 1))];
        let policy = Policy { waivers: both, ..Policy::default() };
        let decision = decide(&report(vec![item("i", Kind::OptOut, Level::Memorized)]), &policy, TODAY);
        assert_eq!((decision.outcome, decision.findings[0].action), (Outcome::Undecided, Action::Waived));
    }

    #[test]
    fn a_positive_control_must_be_found_and_is_no_finding() {
        let policy = Policy { positive_controls: vec![ItemId("known".to_owned())], ..Policy::default() };
        let items = vec![item("known", Kind::OptOut, Level::Extractable), item("i", Kind::OptOut, Level::Clear)];
        let mut sound = report(items);
        sound.summary.positive_controls =
            vec![report::PositiveControl { item: ItemId("known".to_owned()), found: true }];
        assert_eq!(decide(&sound, &policy, TODAY).outcome, Outcome::Pass);
        sound.summary.positive_controls[0].found = false;
        assert_eq!(decide(&sound, &policy, TODAY).outcome, Outcome::Undecided);
        // A report that never looked for it.
        sound.summary.positive_controls.clear();
        assert_eq!(decide(&sound, &policy, TODAY).outcome, Outcome::Undecided);
    }

    #[test]
    fn predictable_items_are_told_and_pass() {
        let (outcome, _, warnings) = outcome(vec![item("i", Kind::OptOut, Level::Predictable)], &Policy::default());
        assert_eq!((outcome, warnings.as_str()), (Outcome::Pass, "1 item predictable, told by the policy: `i`"));
    }

    #[test]
    fn an_old_report_is_judged_again_from_its_evidence() {
        use crate::verdict::tests::evidence;
        let mut items: Vec<ReportItem> = (0..199)
            .map(|i| {
                let mut control = item(&format!("c{i}"), Kind::Control, Level::Clear);
                control.evidence = evidence(1, -100.0 - f64::from(i), -100.0);
                control
            })
            .collect();
        // p_z = 4.5e-5: beyond the default budget, within the strict one. The stored verdict is a lie.
        let mut memorized = item("i", Kind::OptOut, Level::Clear);
        memorized.evidence = evidence(1, -10.0, -10.0);
        items.push(memorized);
        let old = report(items);
        for (policy, level) in [("default", Level::Memorized), ("strict", Level::Extractable)] {
            let again = redecide(&old, &Policy::open(policy).unwrap(), TODAY);
            assert_eq!(again.items[199].verdict.level, level);
            assert_eq!(again.policy.digest, Policy::open(policy).unwrap().digest);
            assert_eq!(again.decision.map(|decision| decision.outcome), Some(Outcome::Block));
        }
    }
}
