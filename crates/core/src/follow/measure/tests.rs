use super::*;
use crate::backend::scripted::Scripted;
use crate::follow::evidence::apply_follow_up;
use crate::items::ItemId;
use crate::run::TextStats;
use crate::window::{Form, Placement};

const PREFIX: usize = 6;

/// A model that recites 10, 11, ... 49.
fn model() -> Scripted {
    let mut model = Scripted::new(64, 64);
    model.memorize(&(10..50).collect::<Vec<_>>(), 20.0);
    model
}

/// Twenty tokens from 10 on, of which the one at `wrong` is another than the model recites.
fn recited(wrong: Option<usize>) -> Vec<u32> {
    (0..20)
        .map(|i| {
            if wrong == Some(i as usize) {
                60
            } else {
                10 + i
            }
        })
        .collect()
}

fn window(id: &str, token_ids: Vec<u32>) -> Window {
    Window {
        id: WindowId(id.to_owned()),
        item: ItemId("a".to_owned()),
        placement: Placement {
            form: Form::AsGiven,
            template: Default::default(),
            start_token: 0,
            start_byte: 0,
            suffix_byte: 1,
            end_byte: 2,
            suffix_char: 1,
            end_char: 2,
            prefix_len: PREFIX as u32,
            suffix_len: token_ids.len() as u32 - PREFIX as u32,
            straddles: false,
        },
        token_ids,
    }
}

fn scored(window: &Window, backend: &Scripted) -> ScoredWindow {
    let input = ScoreInput {
        token_ids: &window.token_ids,
        prefix_len: PREFIX,
    };
    ScoredWindow {
        item: window.item.clone(),
        window: window.id.clone(),
        placement: window.placement.clone(),
        text: TextStats::default(),
        token_ids: None,
        left: None,
        scores: backend
            .score(&[input])
            .remove(0)
            .map_err(|error| error.to_string()),
    }
}

fn evidence(window: &Window, backend: &Scripted) -> WindowEvidence {
    measure(&scored(window, backend), &backend.info().schemes).unwrap()
}

fn decode(ids: &[u32]) -> String {
    ids.iter().map(|id| format!("w{id} ")).collect()
}

fn run(job: &Job<'_>, backend: &Scripted, change: fn(&mut Policy), reveal: bool) -> Vec<FollowUp> {
    let mut policy = Policy::default();
    change(&mut policy);
    let rows = job.run(&Tools {
        backend,
        decode: &decode,
        policy: &policy,
        reveal,
    });
    rows.into_iter().map(|row| row.found).collect()
}

fn continued(tasks: Vec<Task<'_>>, drafted: u32, backend: &Scripted) -> Vec<FollowUp> {
    run(&Job::Continue { tasks, drafted }, backend, |_| (), false)
}

#[test]
fn a_draft_changes_nothing_of_what_is_generated() {
    let model = model();
    for wrong in [None, Some(6), Some(13), Some(14), Some(19)] {
        let window = window("a#0", recited(wrong));
        let evidence = evidence(&window, &model);
        assert_eq!(
            evidence.verbatim_run as usize,
            wrong.map_or(14, |at| at - PREFIX)
        );
        let task = Task {
            window: &window,
            evidence: &evidence,
        };
        let whole = continued(vec![task], 0, &model)
            .remove(0)
            .continuation
            .unwrap();
        assert!(whole.agrees && whole.text.is_none(), "{wrong:?}");
        assert_eq!(
            (whole.drafted, whole.verbatim_run),
            (0, evidence.verbatim_run)
        );
        if evidence.verbatim_run >= 8 {
            let drafted = continued(vec![task], 8, &model)
                .remove(0)
                .continuation
                .unwrap();
            assert_eq!(
                Continuation {
                    drafted: 0,
                    ..drafted
                },
                whole
            );
        }
    }
    let exact = window("a#0", recited(None));
    let evidence = evidence(&exact, &model);
    let task = Task {
        window: &exact,
        evidence: &evidence,
    };
    let revealed = run(
        &Job::Continue {
            tasks: vec![task],
            drafted: 8,
        },
        &model,
        |_| (),
        true,
    );
    let own = revealed[0].continuation.as_ref().unwrap();
    assert_eq!(
        own.text.as_deref(),
        Some(&decode(&exact.token_ids[PREFIX..])[..])
    );
    assert_eq!(
        (own.memorization_score, own.near.near_verbatim),
        (1.0, true)
    );
}

#[test]
fn a_generation_that_disagrees_is_made_in_full_and_counts() {
    let model = model();
    // Teacher forcing, wrongly, says that the window is recited to its end; generation gets to its eleventh token.
    let (good, bad) = (
        window("a#0", recited(None)),
        window("a#1", recited(Some(16))),
    );
    let claimed = WindowEvidence {
        window: bad.id.clone(),
        ..evidence(&good, &model)
    };
    let task = Task {
        window: &bad,
        evidence: &claimed,
    };
    for drafted in [0, 8] {
        let found = continued(vec![task], drafted, &model).remove(0);
        let own = found.continuation.clone().unwrap();
        assert_eq!((own.drafted, own.verbatim_run, own.agrees), (0, 10, false));
        let settled = apply_follow_up(WindowEvidence {
            follow_up: Some(found),
            ..claimed.clone()
        })
        .unwrap();
        assert_eq!((settled.greedy_exact, settled.verbatim_run), (false, 10));
    }
}

#[test]
fn what_fails_fails_alone_and_only_what_a_verdict_hangs_on_unsettles_the_window() {
    let model = model();
    let exact = window("a#0", recited(None));
    let mut broken = window("a#1", recited(None));
    let sound = evidence(&exact, &model);
    broken.token_ids[0] = 64;
    let claimed = WindowEvidence {
        window: broken.id.clone(),
        ..sound.clone()
    };
    let inexact = WindowEvidence {
        greedy_exact: false,
        ..claimed.clone()
    };
    let (good, bad) = (
        Task {
            window: &exact,
            evidence: &sound,
        },
        Task {
            window: &broken,
            evidence: &claimed,
        },
    );
    let said =
        |found: &FollowUp, what: &str| found.errors.len() == 1 && found.errors[0].contains(what);

    let found = continued(
        vec![
            good,
            bad,
            Task {
                evidence: &inexact,
                ..bad
            },
        ],
        0,
        &model,
    );
    assert!(found[0].continuation.is_some() && found[0].errors.is_empty());
    for found in &found[1..] {
        assert!(
            said(found, "could not be continued by generation: token id 64"),
            "{:?}",
            found.errors
        );
    }
    assert!(
        found[1]
            .unsettled
            .as_ref()
            .unwrap()
            .starts_with("its greedy verdict could not be continued")
    );
    assert_eq!((&found[0].unsettled, &found[2].unsettled), (&None, &None));

    let mut unsure = claimed.clone();
    unsure
        .schemes
        .iter_mut()
        .for_each(|scheme| scheme.log_p_z = -9.0);
    let bad = Task {
        evidence: &unsure,
        ..bad
    };
    let found = run(&Job::Bound(bad), &model, |_| (), false).remove(0);
    assert!(said(&found, "near-verbatim probability") && found.unsettled.is_none());
    let found = run(
        &Job::Bound(bad),
        &model,
        |policy| policy.near_verbatim = true,
        false,
    )
    .remove(0);
    assert_eq!(found.unsettled.as_ref(), found.errors.first());

    let foreign = [0; PREFIX];
    let job = Job::Foreign {
        tasks: vec![good, bad],
        prefixes: vec![&foreign, &exact.token_ids[..PREFIX]],
    };
    let found = run(&job, &model, |_| (), false);
    // Its own prefix is among the two: half the foreign mean, so ln 2.
    let delta = found[0].foreign_prefix.as_ref().unwrap();
    assert!(
        (delta.delta - 2f64.ln()).abs() < 1e-3 && delta.prefixes == 2,
        "{delta:?}"
    );
    assert!(found.iter().all(|found| found.unsettled.is_none()));

    let mut failing = model.clone();
    failing.fail_on(&exact.token_ids, ScoreError::NonFinite { position: 3 });
    let first = scored(&exact, &model);
    let again = Job::Rescore {
        window: &exact,
        scored: &first,
    };
    let found = run(&again, &failing, |_| (), false).remove(0);
    assert!(said(
        &found,
        "a near tie that could not be scored again alone in f32: the model's logits"
    ));
    assert!(
        apply_follow_up(WindowEvidence {
            follow_up: Some(found),
            ..sound.clone()
        })
        .is_err()
    );
    let found = run(&again, &model, |_| (), false).remove(0);
    assert_eq!(found.rescored.unwrap().schemes, sound.schemes);
    for row in not_rescored(&[&exact], "no memory") {
        assert!(said(&row.found, "no memory") && row.found.unsettled.is_some());
    }

    let job = |token_ids| {
        Job::Refer(Referred {
            window: exact.id.clone(),
            token_ids,
            prefix_len: PREFIX,
            own: sound.sum_logprob,
        })
    };
    let found = run(&job(exact.token_ids.clone()), &model, |_| (), false).remove(0);
    assert_eq!(found.reference.unwrap().ratio, 1.0);
    let found = run(&job(vec![64; 20]), &model, |_| (), false).remove(0);
    assert!(said(&found, "under the reference: token id 64") && found.unsettled.is_none());
}

#[test]
fn jobs_hold_windows_of_one_shape_and_nothing_that_is_found_already() {
    let model = model();
    let windows: Vec<Window> = (0..5)
        .map(|i| window(&format!("a#{i}"), recited(None)))
        .collect();
    let mut control = window("c#0", (20..40).collect());
    control.placement.prefix_len = 6;
    let evidence: Vec<WindowEvidence> = windows
        .iter()
        .map(|window| evidence(window, &model))
        .collect();
    let full = FollowUpRequest {
        drafted: Some(0),
        near_probability: true,
        foreign_prefix: true,
        reference: true,
    };
    let mut asked: Vec<(Task<'_>, FollowUpRequest)> = windows
        .iter()
        .zip(&evidence)
        .map(|(window, evidence)| (Task { window, evidence }, full))
        .collect();
    asked[3].1 = FollowUpRequest {
        drafted: Some(8),
        ..FollowUpRequest::default()
    };
    let policy = Policy::default();
    let shape = |found: &HashMap<WindowId, FollowUp>, controls: &[Vec<&Window>], batch| {
        let jobs = jobs(&asked, found, controls, &policy, batch);
        let name = |job: &Job<'_>| match job {
            Job::Continue { tasks, drafted } => format!("{} from {drafted}", tasks.len()),
            Job::Bound(_) => "bound".to_owned(),
            Job::Foreign { tasks, prefixes } => {
                format!("{} after {}", tasks.len(), prefixes.len())
            }
            Job::Rescore { .. } | Job::Refer(_) => "other".to_owned(),
        };
        jobs.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let none = HashMap::new();
    let controls = [vec![&control]];
    assert_eq!(
        shape(&none, &controls, 16),
        "4 from 0, 1 from 8, bound, bound, bound, bound, 4 after 1"
    );
    assert_eq!(
        shape(&none, &[], 3),
        "3 from 0, 1 from 0, 1 from 8, bound, bound, bound, bound"
    );
    let mut longer = control.clone();
    longer.placement.prefix_len = 7;
    assert!(
        !shape(&none, &[vec![&longer]], 16).contains("after"),
        "prefixes of another length"
    );

    let tools = Tools {
        backend: &model,
        decode: &decode,
        policy: &policy,
        reveal: false,
    };
    let mut found: HashMap<WindowId, FollowUp> = HashMap::new();
    for row in jobs(&asked, &none, &controls, &policy, 2)
        .iter()
        .flat_map(|job| job.run(&tools))
    {
        found.entry(row.window).or_default().join(row.found);
    }
    assert_eq!(shape(&found, &controls, 16), "");
    let one = found.get_mut(&windows[0].id).unwrap();
    assert!(
        one.continuation.is_some()
            && one.near_probability.is_some()
            && one.foreign_prefix.is_some()
    );
    one.near_probability = None;
    assert_eq!(shape(&found, &controls, 16), "bound");
}
