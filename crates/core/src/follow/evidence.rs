//! How what was found out about a window enters the evidence: values scored again take the place of the first ones, a
//! generation overrules teacher forcing, and what a verdict hangs on and failed leaves the window without scores.

use super::select::near_tie;
use crate::metric::follow_up::{FollowUpEvidence, Numerics};
use crate::metric::item::{Budget, union};
use crate::metric::window::{UnscoredWindow, WindowEvidence};
use crate::policy::Policy;
use crate::run::follow_up::{Continuation, FollowUp, Rescored};
use crate::window::Form;

/// Errors that an item tells.
const TOLD: usize = 5;

/// A window as verdicts may use it.
///
/// # Errors
/// When its scores were to be made sure and couldn't be: such a window counts as not measured.
pub fn apply_follow_up(window: WindowEvidence) -> Result<WindowEvidence, UnscoredWindow> {
    let Some(found) = &window.follow_up else {
        return Ok(window);
    };
    if let Some(reason) = &found.unsettled {
        return Err(UnscoredWindow {
            window: window.window,
            reason: reason.clone(),
        });
    }
    let (rescored, continuation) = (found.rescored.clone(), found.continuation.clone());
    let mut window = window;
    if let Some(rescored) = &rescored {
        replace_scores(&mut window, rescored);
    }
    if let Some(continuation) = &continuation {
        prefer_generation(&mut window, continuation);
    }
    Ok(window)
}

/// Puts the values of a window scored alone and in f32 in place of the first ones.
pub fn replace_scores(window: &mut WindowEvidence, rescored: &Rescored) {
    let Rescored {
        greedy_exact,
        verbatim_run,
        sum_logprob,
        min_margin,
        schemes,
    } = rescored.clone();
    (window.greedy_exact, window.verbatim_run) = (greedy_exact, verbatim_run);
    (window.sum_logprob, window.min_margin, window.schemes) = (sum_logprob, min_margin, schemes);
}

/// What greedy decoding yields is what it yields: where the whole suffix was generated and teacher forcing says something
/// else, the generation counts. A draft shows nothing of the tokens that were drafted.
fn prefer_generation(window: &mut WindowEvidence, generated: &Continuation) {
    if generated.agrees || generated.drafted > 0 {
        return;
    }
    window.verbatim_run = generated.verbatim_run;
    window.greedy_exact = generated.verbatim_run >= window.placement.suffix_len;
    for value in window
        .schemes
        .iter_mut()
        .filter(|value| value.scheme == "greedy")
    {
        value.log_p_z = if window.greedy_exact {
            0.0
        } else {
            f64::NEG_INFINITY
        };
    }
}

/// What rounding could have decided about a window as first scored.
pub fn numerics(window: &WindowEvidence, policy: &Policy) -> Numerics {
    let found = window.follow_up.as_ref();
    let rescored = found
        .and_then(|found| found.rescored.as_ref())
        .map(|rescored| {
            let mut again = window.clone();
            replace_scores(&mut again, rescored);
            again
        });
    let budget = Budget {
        schemes: &policy.schemes,
        tau: policy.tau,
    };
    let within = |window: &WindowEvidence| {
        window
            .best_log_p_z(&policy.schemes)
            .is_some_and(|best| budget.holds(best))
    };
    let generated = found
        .and_then(|found| found.continuation.as_ref())
        .filter(|generated| generated.drafted == 0);
    let differs = |of: &dyn Fn(&WindowEvidence) -> bool| {
        rescored
            .as_ref()
            .is_some_and(|again| of(again) != of(window))
    };
    Numerics {
        near_ties: u64::from(near_tie(window, policy) || rescored.is_some()),
        rescored: u64::from(rescored.is_some()),
        greedy_flips: u64::from(differs(&|window| window.greedy_exact)),
        budget_flips: u64::from(differs(&within)),
        generated: u64::from(generated.is_some()),
        disagreements: u64::from(generated.is_some_and(|generated| !generated.agrees)),
    }
}

/// What was found out about an item's windows; `chars` are the characters of its text in each form. `None` if none of
/// them was followed up.
pub fn of_item(windows: &[&WindowEvidence], chars: &[(Form, u64)]) -> Option<FollowUpEvidence> {
    let mut followed: Vec<(&WindowEvidence, &FollowUp)> = windows
        .iter()
        .filter_map(|window| Some((*window, window.follow_up.as_ref()?)))
        .collect();
    if followed.is_empty() {
        return None;
    }
    // Ties and the order of errors must not depend on the order in which windows were scored.
    followed.sort_by(|(a, _), (b, _)| {
        (a.placement.form, a.placement.suffix_char, &a.window).cmp(&(
            b.placement.form,
            b.placement.suffix_char,
            &b.window,
        ))
    });
    let continuations: Vec<(&WindowEvidence, &Continuation)> = followed
        .iter()
        .filter_map(|(window, found)| Some((*window, found.continuation.as_ref()?)))
        .collect();
    let near: Vec<&WindowEvidence> = continuations
        .iter()
        .filter(|(_, own)| own.near.near_verbatim)
        .map(|(window, _)| *window)
        .collect();
    let recall = |(form, chars): &(Form, u64)| {
        let of_form: Vec<&WindowEvidence> = near
            .iter()
            .filter(|window| window.placement.form == *form)
            .copied()
            .collect();
        let covered: u64 = union(&of_form)
            .iter()
            .map(|span| span.end_char - span.start_char)
            .sum();
        if covered == 0 {
            0.0
        } else {
            covered as f64 / (*chars).max(covered) as f64
        }
    };
    let greatest = |of: fn(&Continuation) -> f64| {
        continuations
            .iter()
            .map(|(_, own)| of(own))
            .reduce(f64::max)
    };
    let errors = followed.iter().flat_map(|(window, found)| {
        found
            .errors
            .iter()
            .map(|error| format!("{}: {error}", window.window))
            .collect::<Vec<_>>()
    });
    Some(FollowUpEvidence {
        windows: followed.len() as u64,
        continued: continuations.len() as u64,
        near_verbatim: near.len() as u64,
        nv_recall: chars.iter().map(recall).fold(0.0, f64::max),
        best_similarity: greatest(|own| own.near.edit_similarity),
        memorization_score: greatest(|own| own.memorization_score),
        near_probability: best(
            followed
                .iter()
                .filter_map(|(_, f)| f.near_probability.as_ref()),
            |near| near.log_p,
        ),
        foreign_prefix: best(
            followed
                .iter()
                .filter_map(|(_, f)| f.foreign_prefix.as_ref()),
            |foreign| foreign.delta,
        ),
        reference: best(
            followed.iter().filter_map(|(_, f)| f.reference.as_ref()),
            |reference| -reference.ratio,
        ),
        errors: errors.take(TOLD).collect(),
    })
}

/// The one with the greatest value, the first in a tie.
fn best<'a, T: Clone + 'a>(
    mut all: impl Iterator<Item = &'a T>,
    value: fn(&T) -> f64,
) -> Option<T> {
    let first = all.next()?;
    Some(
        all.fold(first, |best, next| {
            if value(next) > value(best) {
                next
            } else {
                best
            }
        })
        .clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Scheme;
    use crate::metric::window::{measure, tests::scored};
    use crate::run::follow_up::NearVerbatim;
    use crate::run::follow_up::SchemeLogP;
    use crate::run::follow_up::{ForeignPrefix, NearProbability, ReferenceScore};

    const EXACT: [u32; 4] = [0, 0, 0, 0];

    fn window(n: u64, rank: &[u32], found: FollowUp) -> WindowEvidence {
        let lps = vec![-0.5; rank.len()];
        let mut window = scored("a", n, rank, &lps, &lps);
        if let Ok(scores) = &mut window.scores {
            let exact = |r: &u32| if *r == 0 { 0.0 } else { f32::NEG_INFINITY };
            scores.scheme_logprob.push(rank.iter().map(exact).collect());
        }
        let evidence = measure(&window, &Scheme::with_defaults(&[Scheme::greedy()])).unwrap();
        WindowEvidence {
            follow_up: Some(found),
            ..evidence
        }
    }

    fn continued(drafted: u32, verbatim_run: u32, agrees: bool, near_verbatim: bool) -> FollowUp {
        let near = NearVerbatim {
            near_verbatim,
            edit_similarity: 0.25 * f64::from(verbatim_run),
            ..Default::default()
        };
        let memorization_score = 0.25 * f64::from(verbatim_run);
        let own = Continuation {
            drafted,
            verbatim_run,
            memorization_score,
            agrees,
            near,
            text: None,
        };
        FollowUp {
            continuation: Some(own),
            ..FollowUp::default()
        }
    }

    fn rescored(run: u32, log_p_z: f64) -> FollowUp {
        let schemes = [
            ("full", log_p_z),
            ("top_k40", log_p_z),
            ("greedy", if run == 4 { 0.0 } else { f64::NEG_INFINITY }),
        ];
        let rescored = Rescored {
            greedy_exact: run == 4,
            verbatim_run: run,
            sum_logprob: log_p_z,
            min_margin: 0.25,
            schemes: schemes
                .map(|(id, log_p_z)| SchemeLogP {
                    scheme: id.to_owned(),
                    log_p_z,
                })
                .to_vec(),
        };
        FollowUp {
            rescored: Some(rescored),
            ..FollowUp::default()
        }
    }

    #[test]
    fn a_generation_of_the_whole_suffix_overrules_teacher_forcing_and_a_draft_does_not() {
        // Ranks, what was found, then: exact, run, ln p_z under greedy.
        let cases: [(&[u32], FollowUp, bool, u32, f64); 5] = [
            (&EXACT, continued(0, 4, true, true), true, 4, 0.0),
            (
                &EXACT,
                continued(0, 2, false, false),
                false,
                2,
                f64::NEG_INFINITY,
            ),
            (&[0, 0, 3, 0], continued(0, 4, false, true), true, 4, 0.0),
            (
                &[0, 0, 3, 0],
                continued(0, 2, true, false),
                false,
                2,
                f64::NEG_INFINITY,
            ),
            (&EXACT, continued(2, 3, false, false), true, 4, 0.0),
        ];
        for (rank, found, exact, run, greedy) in cases {
            let evidence = apply_follow_up(window(0, rank, found.clone())).unwrap();
            let values = (
                evidence.greedy_exact,
                evidence.verbatim_run,
                evidence.log_p_z("greedy"),
            );
            assert_eq!(values, (exact, run, Some(greedy)), "{found:?}");
            assert_eq!(
                evidence.log_p_z("full"),
                Some(-2.0),
                "greedy decoding says nothing of sampling"
            );
        }
    }

    #[test]
    fn values_scored_again_take_the_place_of_the_first_ones_before_a_generation_is_looked_at() {
        let evidence = apply_follow_up(window(0, &EXACT, rescored(3, -3.5))).unwrap();
        assert_eq!((evidence.greedy_exact, evidence.verbatim_run), (false, 3));
        assert_eq!(
            (
                evidence.sum_logprob,
                evidence.log_p_z("top_k40"),
                evidence.min_margin
            ),
            (-3.5, Some(-3.5), 0.25)
        );
        let both = FollowUp {
            continuation: continued(0, 4, false, true).continuation,
            ..rescored(3, -3.5)
        };
        assert!(
            apply_follow_up(window(0, &EXACT, both))
                .unwrap()
                .greedy_exact
        );
    }

    #[test]
    fn what_could_not_be_made_sure_is_not_measured() {
        let failed = FollowUp {
            unsettled: Some("no memory".to_owned()),
            ..FollowUp::default()
        };
        assert_eq!(
            apply_follow_up(window(0, &EXACT, failed))
                .unwrap_err()
                .reason,
            "no memory"
        );
        let told = FollowUp {
            errors: vec!["the beam broke".to_owned()],
            ..FollowUp::default()
        };
        assert!(apply_follow_up(window(0, &EXACT, told)).is_ok());
    }

    #[test]
    fn flips_and_disagreements_are_counted_against_the_first_scores() {
        let policy = Policy::default();
        let count = |window: &WindowEvidence| {
            let Numerics {
                near_ties,
                rescored,
                greedy_flips,
                budget_flips,
                generated,
                disagreements,
            } = numerics(window, &policy);
            [
                near_ties,
                rescored,
                greedy_flips,
                budget_flips,
                generated,
                disagreements,
            ]
        };
        let near = |mut window: WindowEvidence| {
            window.min_margin = 0.0;
            window
        };
        let cases = [
            (window(0, &EXACT, FollowUp::default()), [0, 0, 0, 0, 0, 0]),
            (
                near(window(0, &EXACT, FollowUp::default())),
                [1, 0, 0, 0, 0, 0],
            ),
            (
                near(window(0, &EXACT, rescored(4, -2.0))),
                [1, 1, 0, 0, 0, 0],
            ),
            (
                near(window(0, &EXACT, rescored(3, -2.0))),
                [1, 1, 1, 0, 0, 0],
            ),
            (
                near(window(0, &[0, 1, 0, 0], rescored(1, -9.0))),
                [1, 1, 0, 1, 0, 0],
            ),
            (
                window(0, &EXACT, continued(0, 4, true, true)),
                [0, 0, 0, 0, 1, 0],
            ),
            (
                window(0, &EXACT, continued(0, 3, false, true)),
                [0, 0, 0, 0, 1, 1],
            ),
            (
                window(0, &EXACT, continued(2, 4, true, true)),
                [0, 0, 0, 0, 0, 0],
            ),
        ];
        for (case, (window, expected)) in cases.iter().enumerate() {
            assert_eq!(count(window), *expected, "case {case}");
        }
    }

    #[test]
    fn an_items_follow_up_is_the_best_of_its_windows_and_recall_their_union() {
        let near = |log_p, sequences| NearProbability {
            scheme: "top_k40".into(),
            distance: 1,
            beam: 4,
            log_p,
            sequences,
        };
        let refer = |ratio| ReferenceScore {
            sum_logprob: -4.0,
            suffix_len: 4,
            ratio,
        };
        let mut found = [
            continued(0, 4, true, true),
            continued(0, 3, true, true),
            continued(0, 1, true, false),
        ];
        found[0].near_probability = Some(near(-3.0, 1));
        found[1].near_probability = Some(near(-1.0, 7));
        found[1].foreign_prefix = Some(ForeignPrefix {
            delta: 5.0,
            prefixes: 8,
        });
        found[2].foreign_prefix = Some(ForeignPrefix {
            delta: 2.0,
            prefixes: 8,
        });
        found[0].reference = Some(refer(0.5));
        found[2].reference = Some(refer(0.75));
        found[2].errors = vec!["no memory".to_owned()];
        // Suffixes cover characters 0..10, 10..20, 50..60 of 80.
        let windows: Vec<WindowEvidence> = [0, 1, 5]
            .iter()
            .zip(found)
            .map(|(n, found)| window(*n, &EXACT, found))
            .collect();
        let backwards: Vec<&WindowEvidence> = windows.iter().rev().collect();
        let evidence = of_item(&backwards, &[(Form::AsGiven, 80), (Form::Reflowed, 70)]).unwrap();
        assert_eq!(
            (evidence.windows, evidence.continued, evidence.near_verbatim),
            (3, 3, 2)
        );
        assert_eq!(evidence.nv_recall, 0.25);
        assert_eq!(
            (evidence.best_similarity, evidence.memorization_score),
            (Some(1.0), Some(1.0))
        );
        assert_eq!(evidence.near_probability, Some(near(-1.0, 7)));
        assert_eq!(evidence.foreign_prefix.map(|f| f.delta), Some(5.0));
        assert_eq!(evidence.reference.map(|r| r.ratio), Some(0.5));
        assert_eq!(evidence.errors, ["a/as_given/5: no memory"]);

        let plain = WindowEvidence {
            follow_up: None,
            ..windows[0].clone()
        };
        assert_eq!(of_item(&[&plain], &[(Form::AsGiven, 80)]), None);
    }
}
