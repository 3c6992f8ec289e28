//! What windows that were left leave open under a policy, which needn't be the one they were left under.

use crate::metric::item::ItemEvidence;
use crate::metric::probability;
use crate::metric::samples::grouped;
use crate::policy::Policy;
use crate::policy::Statistic;
use crate::verdict::{Reason, ReasonCode, within_budget};

/// Why nothing can be told of an item under this policy because of its left windows; `None` if none was left, or if
/// whatever they score makes no difference.
pub(super) fn undetermined(policy: &Policy, evidence: &ItemEvidence) -> Option<Reason> {
    let left = evidence.left();
    if left == 0 {
        return None;
    }
    let because = |why: String| {
        let windows = grouped(evidence.windows());
        let fix = match evidence.unseen() {
            0 => "probe again with --gate and this policy, or with --exhaustive",
            _ => "probe again without --find-runs and --screen",
        };
        let message = format!(
            "{} of {windows} windows were left before their end, {why}; {fix}",
            grouped(left)
        );
        Some(Reason::new(ReasonCode::CutWindowsUndecided, message))
    };
    // The best of a subset is never too high, so that a finding stands; any other statistic may be.
    if evidence.unseen() > 0 && policy.statistic != Statistic::MaxLogPZ {
        return because("but this policy's statistic needs every window".to_owned());
    }
    match policy.statistic {
        Statistic::MaxLogPZ => {
            let Some(bound) = evidence.floor_bound("full") else {
                return because("and not bounded under the scheme \"full\"".to_owned());
            };
            let best = evidence
                .best("full")
                .map_or(f64::NEG_INFINITY, |(_, best)| best.best.log_p_z);
            // Known where a scored window is the best anyway, or where both are below the floor.
            if bound > best && policy.censored(bound) > f64::NEG_INFINITY {
                return because(format!(
                    "some with p_z of up to {}, which this policy tells apart (floor = {})",
                    probability::in_digits(bound),
                    probability::in_digits(policy.ln_floor())
                ));
            }
        }
        Statistic::VerbatimRun => {
            if evidence
                .forms
                .iter()
                .any(|form| form.left.total() > 0 && form.left.verbatim_run.is_none())
            {
                return because("some before their first miss".to_owned());
            }
        }
        Statistic::MeanLogProb | Statistic::MeanRank => {
            return because("but this policy's statistic needs every window".to_owned());
        }
    }
    if within_budget(policy, evidence) {
        return None;
    }
    if policy.near_verbatim {
        return because(
            "so that no near-verbatim bound is known for them, which this policy counts".to_owned(),
        );
    }
    let open = policy.schemes.iter().find(|scheme| {
        let bound = evidence.floor_bound(&scheme.id);
        !bound.is_some_and(|bound| bound < policy.tau.ln())
    })?;
    because(format!(
        "which may be within the budget of this policy under {}",
        open.id
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::left::LeftWindows;
    use crate::run::follow_up::SchemeLogP;
    use crate::verdict::tests::evidence;

    /// Two windows: one scored with this `ln p_z` under both schemes, one left with this bound under both.
    fn item(best: f64, bound: f64) -> ItemEvidence {
        let mut evidence = evidence(1, best, best);
        let form = &mut evidence.forms[0];
        form.windows = 2;
        form.left = LeftWindows {
            floor: 1,
            bounds: ["full", "top_k40"]
                .map(|scheme| SchemeLogP {
                    scheme: scheme.to_owned(),
                    log_p_z: bound,
                })
                .to_vec(),
            verbatim_run: Some(0),
            min_suffix_len: 50,
            max_suffix_len: 50,
            templates: 1,
            ..LeftWindows::default()
        };
        evidence
    }

    #[test]
    fn left_windows_leave_a_value_open_only_where_they_could_be_it() {
        let quick = Policy {
            schemes: vec![crate::backend::Scheme::top_k(40)],
            ..Policy::open("quick").unwrap()
        };
        let (low, high) = (-20.0, -3.0);
        type Case = (f64, f64, fn(&mut Policy), Option<&'static str>);
        let cases: Vec<Case> = vec![
            (high, low, |_| (), None),
            (low - 1.0, low, |_| (), None),
            // A lower floor, or none: still known where a scored window is the best.
            (high, low, |p| p.floor = 0.0, None),
            (
                low - 1.0,
                low,
                |p| p.floor = 0.0,
                Some("p_z of up to 2.1e-9, which this policy tells apart (floor = 0)"),
            ),
            (low - 1.0, low, |p| p.floor = 1e-9, Some("tells apart")),
            // Another budget: what a left window may reach is within it.
            (low - 1.0, -10.0, |p| (p.floor, p.tau) = (1e-4, 1e-3), None),
            (
                low - 1.0,
                -10.0,
                |p| (p.floor, p.tau) = (1e-4, 1e-5),
                Some("within the budget of this policy under top_k40"),
            ),
            (high, -10.0, |p| p.tau = 1e-5, None),
            (
                low,
                low - 1.0,
                |p| p.schemes = vec![crate::backend::Scheme::greedy()],
                Some("under greedy"),
            ),
            (
                low,
                low - 1.0,
                |p| p.near_verbatim = true,
                Some("near-verbatim bound"),
            ),
            (high, low, |p| p.near_verbatim = true, None),
            (
                high,
                low,
                |p| p.statistic = Statistic::MeanRank,
                Some("needs every window"),
            ),
            (
                high,
                low,
                |p| p.statistic = Statistic::MeanLogProb,
                Some("needs every window"),
            ),
            (high, low, |p| p.statistic = Statistic::VerbatimRun, None),
        ];
        for (best, bound, change, expected) in cases {
            let mut policy = quick.clone();
            change(&mut policy);
            let found = undetermined(&policy, &item(best, bound));
            let said = found
                .as_ref()
                .map_or_else(|| "nothing".to_owned(), |reason| reason.message.clone());
            match expected {
                None => assert_eq!(found, None, "{best} {bound}"),
                Some(expected) => assert!(
                    said.contains(expected) && said.contains("1 of 2 windows"),
                    "{said}"
                ),
            }
        }
        let mut coarse = item(high, low);
        (coarse.forms[0].left.floor, coarse.forms[0].left.coarse) = (0, 1);
        assert_eq!(
            undetermined(&quick, &coarse),
            None,
            "the best of a subset is never too high"
        );
        let mean = Policy {
            statistic: Statistic::MeanLogProb,
            ..quick
        };
        assert!(
            undetermined(&mean, &coarse)
                .unwrap()
                .message
                .contains("needs every window")
        );
    }
}
