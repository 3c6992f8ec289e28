//! Evaluates the policy's limits on findings.

use crate::items::{ItemId, Kind};
use crate::metric::interval::clopper_pearson;
use crate::metric::samples::grouped;
use crate::policy::Level;
use crate::policy::Policy;
use crate::policy::decision::{Action, Finding};
use crate::report::words::{run, share};
use crate::report::{Report, ReportItem};
use std::collections::HashSet;

/// The result of evaluating the limits.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// True if any limit is exceeded.
    pub(super) exceeded: bool,
    /// Explanations of exceeded limits, where the list of findings isn't enough.
    pub(super) reasons: Vec<String>,
    /// Limits that can't be evaluated.
    pub(super) undecided: Vec<String>,
    /// Limits that are met.
    pub(super) met: Vec<String>,
}

/// Evaluates every limit of the policy on the denied findings.
///
/// Shares are of the decided items of a kind: completely measured and not inconclusive. Waived
/// findings count as items but not as hits; controls and positive controls count as neither.
pub(super) fn evaluate(report: &Report, policy: &Policy, findings: &[Finding]) -> Limits {
    let mut limits = Limits::default();
    let denied: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.action == Action::Denied)
        .collect();
    if let Some(most) = policy.gate.max_findings {
        let found = denied.len() as u64;
        let new = if policy.gate.new_only { "new " } else { "" };
        let statement = format!(
            "{} {new}{} denied by the policy, which allows {} (max_findings)",
            grouped(found),
            if found == 1 { "finding" } else { "findings" },
            grouped(most)
        );
        limits.note(found > most, statement, most > 0);
    }
    if policy.gate.max_rate.is_some() || policy.gate.max_rate_upper.is_some() {
        shares(report, policy, &denied, &mut limits);
    }
    limits
}

impl Limits {
    fn note(&mut self, exceeded: bool, statement: String, worth_saying: bool) {
        self.exceeded |= exceeded;
        if worth_saying {
            if exceeded {
                self.reasons.push(statement);
            } else {
                self.met.push(statement);
            }
        }
    }
}

fn shares(report: &Report, policy: &Policy, denied: &[&Finding], limits: &mut Limits) {
    let eligible = |kind: Kind| {
        let of_kind = report.items.iter().filter(move |item| item.kind == kind);
        of_kind
            .filter(|item| !policy.is_positive_control(&item.id, &item.tags))
            .collect::<Vec<&ReportItem>>()
    };
    let kinds: Vec<(Kind, Vec<&ReportItem>)> = [Kind::OptOut, Kind::Canary]
        .into_iter()
        .map(|kind| (kind, eligible(kind)))
        .filter(|(_, items)| !items.is_empty())
        .collect();
    if kinds.is_empty() {
        limits
            .undecided
            .push("the policy limits a share of items, and there are none".to_owned());
    }
    for (kind, items) in kinds {
        let decided = items
            .iter()
            .filter(|item| item.verdict.level != Level::Inconclusive)
            .count() as u64;
        if decided == 0 {
            let all = run::of_kind(items.len() as u64, kind);
            limits.undecided.push(format!(
                "none of {all} was decided, so the policy's limit on their share can't be evaluated"
            ));
            continue;
        }
        let ids: HashSet<&ItemId> = items.iter().map(|item| &item.id).collect();
        let hits = denied
            .iter()
            .filter(|finding| ids.contains(&finding.item))
            .count() as u64;
        share_of(policy, kind, hits, decided, limits);
    }
}

fn share_of(policy: &Policy, kind: Kind, hits: u64, decided: u64, limits: &mut Limits) {
    let rules = &policy.gate;
    let rate = hits as f64 / decided as f64;
    let (lower, upper) = clopper_pearson(hits, decided, rules.confidence);
    let levels: Vec<String> = policy.deny.iter().map(ToString::to_string).collect();
    let figures = format!(
        "{} of {} {} {}{}, {} ({} interval {} to {})",
        grouped(hits),
        run::of_kind(decided, kind),
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
            // No finding, but too few texts to show that findings are rare: no reason to block, and
            // none to pass.
            let half = (1.0 - rules.confidence) / 2.0;
            let needed = (half.ln() / (-most).ln_1p()).ceil();
            limits.undecided.push(format!(
                "{allows}; even without findings at least {} are needed",
                run::of_kind(needed as u64, kind)
            ));
        } else {
            limits.note(upper > most, allows, true);
        }
    }
}
