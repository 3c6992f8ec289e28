//! How many findings block.

use crate::items::{ItemId, Kind};
use crate::metric::interval::clopper_pearson;
use crate::metric::samples::grouped;
use crate::policy::Level;
use crate::policy::Policy;
use crate::policy::decision::{Action, Finding};
use crate::report::words::{run, share};
use crate::report::{Report, ReportItem};
use std::collections::HashSet;

/// What the limits of a policy make of the findings.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// Whether any limit is passed.
    pub(super) passed: bool,
    /// The limits that are passed, where more is to be said than which findings there are.
    pub(super) reasons: Vec<String>,
    /// Limits that can't be told to hold.
    pub(super) undecided: Vec<String>,
    /// Limits that hold.
    pub(super) held: Vec<String>,
}

/// Holds the findings that are denied against every limit of the policy.
///
/// Shares are of the items of a kind that were decided: measured in full and not inconclusive. Waived findings are among those
/// and no hits; controls and positive controls are in neither number.
pub(super) fn hold(report: &Report, policy: &Policy, findings: &[Finding]) -> Limits {
    let mut limits = Limits::default();
    let denied: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.action == Action::Denied)
        .collect();
    if let Some(most) = policy.gate.max_findings {
        let found = denied.len() as u64;
        let new = if policy.gate.new_only { "new " } else { "" };
        let said = format!(
            "{} {new}{} denied by the policy, which allows {} (max_findings)",
            grouped(found),
            if found == 1 { "finding" } else { "findings" },
            grouped(most)
        );
        limits.note(found > most, said, most > 0);
    }
    if policy.gate.max_rate.is_some() || policy.gate.max_rate_upper.is_some() {
        shares(report, policy, &denied, &mut limits);
    }
    limits
}

impl Limits {
    fn note(&mut self, passed: bool, said: String, worth_saying: bool) {
        self.passed |= passed;
        if worth_saying {
            if passed {
                self.reasons.push(said)
            } else {
                self.held.push(said)
            }
        }
    }
}

fn shares(report: &Report, policy: &Policy, denied: &[&Finding], limits: &mut Limits) {
    let asked = |kind: Kind| {
        let of_kind = report.items.iter().filter(move |item| item.kind == kind);
        of_kind
            .filter(|item| !policy.is_positive_control(&item.id, &item.tags))
            .collect::<Vec<&ReportItem>>()
    };
    let kinds: Vec<(Kind, Vec<&ReportItem>)> = [Kind::OptOut, Kind::Canary]
        .into_iter()
        .map(|kind| (kind, asked(kind)))
        .filter(|(_, items)| !items.is_empty())
        .collect();
    if kinds.is_empty() {
        limits
            .undecided
            .push("the policy limits a share of items, and there are none".to_owned());
    }
    for (kind, items) in kinds {
        let of = items
            .iter()
            .filter(|item| item.verdict.level != Level::Inconclusive)
            .count() as u64;
        if of == 0 {
            let all = run::of_kind(items.len() as u64, kind);
            limits.undecided.push(format!(
                "none of {all} was decided: there is no share to be held against the policy"
            ));
            continue;
        }
        let ids: HashSet<&ItemId> = items.iter().map(|item| &item.id).collect();
        let hits = denied
            .iter()
            .filter(|finding| ids.contains(&finding.item))
            .count() as u64;
        share_of(policy, kind, hits, of, limits);
    }
}

fn share_of(policy: &Policy, kind: Kind, hits: u64, of: u64, limits: &mut Limits) {
    let rules = &policy.gate;
    let rate = hits as f64 / of as f64;
    let (lower, upper) = clopper_pearson(hits, of, rules.confidence);
    let levels: Vec<String> = policy.deny.iter().map(ToString::to_string).collect();
    let figures = format!(
        "{} of {} {} {}{}, {} ({} interval {} to {})",
        grouped(hits),
        run::of_kind(of, kind),
        if hits == 1 { "is" } else { "are" },
        if rules.new_only { "newly " } else { "" },
        levels.join(" or "),
        share(rate),
        share(rules.confidence),
        share(lower),
        share(upper)
    );
    if let Some(most) = rules.max_rate {
        limits.note(
            rate > most,
            format!("{figures}: the policy allows {} (max_rate)", share(most)),
            true,
        );
    }
    if let Some(most) = rules.max_rate_upper {
        let allows = format!(
            "{figures}: the policy allows an interval up to {} (max_rate_upper)",
            share(most)
        );
        if hits == 0 && upper > most {
            // No finding, but not enough texts to say that there are few: nothing to block, nothing to pass.
            let half = (1.0 - rules.confidence) / 2.0;
            let needed = (half.ln() / (-most).ln_1p()).ceil();
            limits.undecided.push(format!(
                "{allows}; without any finding it takes {} to tell",
                run::of_kind(needed as u64, kind)
            ));
        } else {
            limits.note(upper > most, allows, true);
        }
    }
}
