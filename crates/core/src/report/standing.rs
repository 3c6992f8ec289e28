//! What a run's decision makes of each of its items, for formats that show items as results of a test. Nothing is decided
//! here: it is looked up.

use super::{Report, ReportItem};
use crate::items::{ItemId, Kind};
use crate::policy::Level;
use crate::policy::Waiver;
use crate::policy::decision::{Action, Finding, Outcome};
use crate::verdict::{self, Reason};
use std::collections::HashMap;

/// How one item stands. In order of weight, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// The policy denies what was found, and nothing accepts it.
    Denied,
    /// Denied, and its waiver has expired.
    WaiverExpired,
    /// Found to be memorized, and no policy was asked about it: never to be taken for a pass.
    Found,
    /// Not measured in full.
    NotMeasured,
    /// Measured, but nothing could be concluded, and the policy asks for that.
    Undecided,
    /// Denied, but the policy's limits allow for that many: the run passes all the same.
    WithinLimits,
    /// Denied, but the baseline has it, and the policy counts only what is new.
    Known,
    /// The policy only tells of it.
    Warned,
    /// Denied, but accepted by a waiver.
    Waived,
    /// Inconclusive, which the policy lets pass.
    Inconclusive,
    /// Nothing is held against it.
    Passed,
}

impl Standing {
    /// Whether it keeps the run from passing.
    pub(crate) fn fails(self) -> bool {
        self <= Self::Undecided
    }
}

/// The standings of a report's items.
#[derive(Debug)]
pub(crate) struct Standings<'a> {
    report: &'a Report,
    findings: HashMap<&'a ItemId, &'a Finding>,
    waivers: HashMap<&'a ItemId, &'a Waiver>,
}

impl<'a> Standings<'a> {
    pub(crate) fn of(report: &'a Report) -> Self {
        let findings = report
            .decision
            .iter()
            .flat_map(|decision| &decision.findings);
        Self {
            report,
            findings: findings.map(|finding| (&finding.item, finding)).collect(),
            // Where an item has several, the one that lasts longest is the one that counts.
            waivers: report
                .policy
                .waivers
                .iter()
                .fold(HashMap::new(), |mut waivers, waiver| {
                    let known = waivers.entry(&waiver.item).or_insert(waiver);
                    if waiver.expires > known.expires {
                        *known = waiver;
                    }
                    waivers
                }),
        }
    }

    /// How an item of the report stands.
    pub(crate) fn item(&self, item: &ReportItem) -> Standing {
        let policy = &self.report.policy;
        let level = item.verdict.level;
        match self.findings.get(&item.id).map(|finding| finding.action) {
            Some(Action::Denied) if passed(self.report) => return Standing::WithinLimits,
            Some(Action::Denied) => return Standing::Denied,
            Some(Action::WaiverExpired) => return Standing::WaiverExpired,
            Some(Action::Waived) if verdict::not_measured(&item.evidence).is_none() => {
                return Standing::Waived;
            }
            _ => {}
        }
        if verdict::not_measured(&item.evidence).is_some() {
            // What isn't measured can't be waived or known.
            return Standing::NotMeasured;
        }
        let positive_control =
            item.kind == Kind::Control || policy.is_positive_control(&item.id, &item.tags);
        match level {
            _ if self.action(&item.id) == Some(Action::Known) => Standing::Known,
            _ if self.findings.contains_key(&item.id) => Standing::Warned,
            Level::Inconclusive if policy.require_decided => Standing::Undecided,
            Level::Inconclusive => Standing::Inconclusive,
            Level::Extractable | Level::Memorized
                if self.report.decision.is_none() && !positive_control =>
            {
                Standing::Found
            }
            _ => Standing::Passed,
        }
    }

    /// Every item with its standing: the gravest first, then as a reader wants them within each kind.
    pub(crate) fn worst_first(&self) -> Vec<(&'a ReportItem, Standing)> {
        let kinds = super::words::KINDS.into_iter();
        let items = kinds.flat_map(|kind| super::order::worst_first(self.report, kind));
        let mut items: Vec<_> = items.map(|item| (item, self.item(item))).collect();
        // Stable: within a standing the order stays.
        items.sort_by_key(|(_, standing)| *standing);
        items
    }

    /// The waiver that names an item, whether or not it holds.
    pub(crate) fn waiver(&self, item: &ItemId) -> Option<&'a Waiver> {
        self.waivers.get(item).copied()
    }

    /// What the policy makes of an item, as `report.json` has it.
    pub(crate) fn action(&self, item: &ItemId) -> Option<Action> {
        self.findings.get(item).map(|finding| finding.action)
    }
}

/// Why an item isn't as it should be: what wasn't measured, or the first reason of its verdict.
pub(crate) fn reason(item: &ReportItem) -> Option<Reason> {
    verdict::not_measured(&item.evidence).or_else(|| item.verdict.reasons.first().cloned())
}

/// That reason in words.
pub(crate) fn message(item: &ReportItem) -> String {
    reason(item).map_or_else(String::new, |reason| reason.message)
}

/// Whether the report's decision is a pass. Without a decision nothing passed.
pub(crate) fn passed(report: &Report) -> bool {
    report
        .decision
        .as_ref()
        .is_some_and(|decision| decision.outcome == Outcome::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn standings_follow_the_decision() {
        let report = fixture::report();
        let standings = Standings::of(&report);
        let of =
            |id: &str| standings.item(report.items.iter().find(|item| item.id.0 == id).unwrap());
        for (id, expected) in [
            ("lyrics/umber-song", Standing::Denied),
            ("novels/moby-1", Standing::Undecided),
            ("poems/heron-07", Standing::Waived),
            ("letters/too-short", Standing::NotMeasured),
            ("journal/overflow", Standing::NotMeasured),
            ("novels/quire-ch-02", Standing::Passed),
            ("canary-r64-0", Standing::Passed),
            ("fresh/2026-001", Standing::Passed),
        ] {
            assert_eq!(of(id), expected, "{id}");
        }
        let order: Vec<Standing> = standings
            .worst_first()
            .into_iter()
            .map(|(_, standing)| standing)
            .collect();
        assert_eq!(order.len(), report.items.len());
        assert!(order.is_sorted());
    }

    #[test]
    fn nothing_fails_in_a_run_that_passes() {
        let mut report = fixture::report();
        report
            .items
            .retain(|item| verdict::not_measured(&item.evidence).is_none());
        report.policy.require_decided = false;
        report.decision.as_mut().unwrap().outcome = Outcome::Pass;
        let standings = Standings::of(&report);
        let all: Vec<Standing> = report
            .items
            .iter()
            .map(|item| standings.item(item))
            .collect();
        assert!(
            all.contains(&Standing::WithinLimits) && !all.iter().any(|standing| standing.fails()),
            "{all:?}"
        );
    }

    #[test]
    fn without_a_decision_what_was_found_is_no_pass() {
        let report = crate::report::Report {
            decision: None,
            ..fixture::report()
        };
        let standings = Standings::of(&report);
        let memorized = report
            .items
            .iter()
            .filter(|item| item.verdict.level.is_memorization());
        let mut positive = 0;
        for item in memorized {
            if item.id.0 == "canary-r64-0" {
                positive += 1;
                assert_eq!(standings.item(item), Standing::Passed);
            } else {
                assert!(standings.item(item).fails(), "{}", item.id);
            }
        }
        assert_eq!(positive, 1);
        assert!(!passed(&report));
    }
}
