//! What windows that were left before their end leave open under a policy, which needn't be the one they were left under.

use crate::metric::item::ItemEvidence;
use crate::metric::probability;
use crate::metric::samples::grouped;
use crate::policy::Policy;
use crate::verdict::{Statistic, within_budget};

/// Why nothing can be told of an item under this policy because of its left windows; `None` if none was left, or if
/// whatever they score makes no difference.
pub(super) fn undetermined(policy: &Policy, evidence: &ItemEvidence) -> Option<String> {
    let left = evidence.left();
    if left == 0 {
        return None;
    }
    let because = |why: String| {
        let windows = grouped(evidence.windows());
        let fix = "probe again with --gate and this policy, or with --exhaustive";
        Some(format!("{} of {windows} windows were left before their end, {why}; {fix}", grouped(left)))
    };
    if evidence.forms.iter().any(|form| form.left.coarse + form.left.screen > 0) {
        return because("without a bound on what they score".to_owned());
    }
    match policy.statistic {
        Statistic::MaxLogPZ => {
            let Some(bound) = evidence.left_bound("full") else {
                return because("and not bounded under the scheme \"full\"".to_owned());
            };
            let best = evidence.best("full").map_or(f64::NEG_INFINITY, |(_, best)| best.best.log_p_z);
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
            if evidence.forms.iter().any(|form| form.left.total() > 0 && form.left.verbatim_run.is_none()) {
                return because("some before their first miss".to_owned());
            }
        }
        Statistic::MeanLogProb | Statistic::Census => {
            return because("but this policy's statistic needs every window".to_owned());
        }
    }
    if within_budget(policy, evidence) {
        return None;
    }
    if policy.near_verbatim {
        return because("so that no near-verbatim bound is known for them, which this policy counts".to_owned());
    }
    let open = policy.schemes.iter().find(|scheme| {
        let bound = evidence.left_bound(&scheme.id);
        !bound.is_some_and(|bound| bound < policy.tau.ln())
    })?;
    because(format!("which may be within the budget of this policy under {}", open.id))
}
