//! When a policy lets windows be left, and whose.

use crate::backend::exit::{Exit, StopGuards};
use crate::follow::select::errors;
use crate::items::{ItemId, Kind};
use crate::policy::Policy;

/// Nats by which a rule errs towards scoring on: twice and more what rounding may differ between tokens fed at once and in
/// chunks.
const SLACK: f64 = 0.001;

/// When windows may be left under a policy without changing a verdict; `None` = every one is scored to its end.
///
/// A window that leaves is below the floor and outside the budget under every scheme, for sure no greedy extraction, and no
/// near miss: nothing that a verdict hangs on would be asked of it. Where near-verbatim samples count, what is asked hangs on
/// the order of all windows, and where everything is continued, every window is asked: no exit then.
/// `arithmetic` is what the products are computed in: by what bf16 may be off a rule errs as well.
pub fn exit(policy: &Policy, arithmetic: &str) -> Option<Exit> {
    let wanted = &policy.follow_up;
    let (of_token, of_window) = errors(arithmetic, (SLACK, SLACK));
    if policy.floor <= 0.0 || policy.near_verbatim || wanted.everything {
        return None;
    }
    Some(Exit {
        below: policy.ln_floor() - of_window,
        stakes: Some(StopGuards {
            edge: policy.tau.ln() - wanted.epsilon - of_window,
            schemes: policy
                .schemes
                .iter()
                .map(|scheme| scheme.id.clone())
                .collect(),
            margin: wanted.margin + of_token,
            first_choices: wanted.near_miss,
        }),
    })
}

/// Whether every window of an item is scored to its end, whatever the policy's floor: those of controls, which show what
/// predictability scores, and of positive controls, which show that the probe works.
pub fn in_full(kind: Kind, id: &ItemId, tags: &[String], policy: &Policy) -> bool {
    kind == Kind::Control || policy.is_positive_control(id, tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Scheme, TokenScores};
    use crate::follow::select::{near_tie, requests};
    use crate::metric::item::Budget;
    use crate::metric::window::{measure, tests::scored};
    use crate::run::ScoredWindow;

    #[test]
    fn only_a_floor_lets_windows_leave_and_only_where_nothing_else_asks_for_them() {
        let quick = || Policy::open("quick").unwrap();
        let found = exit(&quick(), "f32").unwrap();
        assert!(found.below < 1e-6f64.ln() && found.below > 1e-6f64.ln() - 0.01);
        let stakes = found.stakes.unwrap();
        let rough = exit(&quick(), "bf16").unwrap();
        assert!(
            rough.below < found.below - 1.0
                && rough
                    .stakes
                    .is_some_and(|rough| rough.edge < stakes.edge - 1.0)
        );
        assert_eq!(
            (stakes.schemes, stakes.first_choices),
            (vec!["greedy".to_owned(), "top_k40".to_owned()], 0.9)
        );
        assert!(stakes.edge < 0.001f64.ln() - 0.01 && stakes.margin > 0.001);
        for (what, policy) in [
            ("no floor", Policy::default()),
            (
                "near-verbatim counts",
                Policy {
                    near_verbatim: true,
                    ..quick()
                },
            ),
            ("everything is continued", {
                let mut policy = quick();
                policy.follow_up.everything = true;
                policy
            }),
        ] {
            assert_eq!(exit(&policy, "f32"), None, "{what}");
        }
    }

    #[test]
    fn controls_and_positive_controls_are_scored_in_full() {
        let id = ItemId("lorem".to_owned());
        let tags = ["planted".to_owned()];
        let with = |entry: &str| Policy {
            positive_controls: vec![ItemId(entry.to_owned())],
            ..Policy::default()
        };
        for (kind, entry, expected) in [
            (Kind::OptOut, "other", false),
            (Kind::Canary, "other", false),
            (Kind::Control, "other", true),
            (Kind::OptOut, "lorem", true),
            (Kind::Canary, "tag:planted", true),
            (Kind::Canary, "extractable:tag:planted", true),
        ] {
            assert_eq!(
                in_full(kind, &id, &tags, &with(entry)),
                expected,
                "{kind:?} {entry}"
            );
        }
    }

    #[test]
    fn nothing_is_asked_of_a_window_that_could_leave() {
        // Windows of 20 tokens with every number of misses and several sizes of log-probability: what leaves is no near tie
        // of the budget, outside it, and neither continued nor bounded unless it is among the likeliest.
        let mut policy = Policy::open("quick").unwrap();
        policy.follow_up.windows = 0;
        let rule = exit(&policy, "f32").unwrap();
        let schemes = Scheme::with_defaults(&policy.schemes);
        let mut left = 0;
        for misses in 0..20u32 {
            for lp in [-0.01f32, -0.3, -0.7, -2.0] {
                let rank: Vec<u32> = (0..20).map(|i| u32::from(i * 7 % 20 < misses)).collect();
                let full: Vec<f32> = rank
                    .iter()
                    .map(|&rank| if rank == 0 { lp } else { lp - 2.0 })
                    .collect();
                let mut row = scored("a", 0, &rank, &full, &full);
                let greedy = rank
                    .iter()
                    .map(|&rank| if rank == 0 { 0.0 } else { f32::NEG_INFINITY })
                    .collect();
                let Ok(scores) = &mut row.scores else {
                    continue;
                };
                scores.margin = rank
                    .iter()
                    .map(|&rank| if rank == 0 { 0.5 } else { -0.5 })
                    .collect();
                scores.scheme_logprob.push(greedy);
                let scores: TokenScores = scores.clone();
                let mut windows = vec![
                    measure(
                        &ScoredWindow {
                            scores: Ok(scores.clone()),
                            ..row
                        },
                        &schemes,
                    )
                    .unwrap(),
                ];
                if rule.cut(scores, &schemes).logprob.len() == 20 {
                    continue;
                }
                left += 1;
                let window = &windows[0];
                let budget = Budget {
                    schemes: &policy.schemes,
                    tau: policy.tau,
                };
                assert!(!near_tie(window, &policy) && !window.greedy_exact);
                assert!(policy.censored(window.sum_logprob) == f64::NEG_INFINITY);
                assert!(!budget.holds(window.best_log_p_z(&policy.schemes).unwrap()));
                assert!(
                    requests(Kind::OptOut, &mut windows, &policy, false).is_empty(),
                    "{misses} {lp}"
                );
            }
        }
        assert!(left > 20, "{left}");
    }
}
