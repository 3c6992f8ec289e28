//! The truth table of verdicts.

mod families;

use super::*;
use crate::metric::item::{Extraction, FormEvidence, FormValues, SchemeEvidence};
use crate::metric::samples::Cost;
use crate::metric::window::UnscoredWindow;
use crate::window::{Form, WindowId};

/// Evidence of one form with `windows` windows, of best `ln p_z` under `full` and under `top_k40`.
pub(crate) fn evidence(windows: u64, full: f64, top_k40: f64) -> ItemEvidence {
    let scheme = |id: &str, best| SchemeEvidence {
        scheme: id.to_owned(),
        best_window: WindowId("w".to_owned()),
        template: Default::default(),
        best: Cost::of(best),
        at_most: None,
        median_log_p_z: Some(best),
    };
    let values = FormValues {
        schemes: vec![
            scheme("full", full),
            scheme("top_k40", top_k40),
            scheme("greedy", f64::NEG_INFINITY),
        ],
        max_verbatim_run: Some(3),
        mean_em: Some(0.5),
        mean_logprob: Some(full / 50.0),
        min_margin: Some(0.1),
        greedily_extracted: 0,
        straddling: 0,
        extraction_strength: Some(0.0),
        membership: Default::default(),
        window_log_p_z: None,
        min_suffix_len: 50,
        max_suffix_len: 50,
        extraction: Some(Extraction {
            schemes: vec!["greedy".to_owned(), "top_k40".to_owned()],
            heat: vec![],
            tau: 0.001,
            windows: 0,
            covered_chars: 0,
            coverage: 0.0,
            spans: vec![],
            longest_span_chars: 0,
        }),
    };
    let form = FormEvidence {
        form: Form::AsGiven,
        templates: Vec::new(),
        bytes: 1000,
        chars: 1000,
        tokens: 300,
        windows,
        scored: windows,
        unscored: vec![],
        left: Default::default(),
        values: Some(values),
    };
    ItemEvidence::of(None, vec![form])
}

struct Row {
    id: ItemId,
    kind: Kind,
    tags: Vec<String>,
    matches: Vec<String>,
    evidence: ItemEvidence,
}

fn row(id: &str, kind: Kind, evidence: ItemEvidence) -> Row {
    Row {
        id: ItemId(id.to_owned()),
        kind,
        tags: vec![],
        matches: vec![],
        evidence,
    }
}

/// `n` controls of one window with ln p_z of -100, -101, ... under both schemes.
fn controls(n: u64) -> Vec<Row> {
    (0..n)
        .map(|i| {
            row(
                &format!("control-{i}"),
                Kind::Control,
                evidence(1, -100.0 - i as f64, -100.0 - i as f64),
            )
        })
        .collect()
}

fn judged(policy: &Policy, rows: &[Row]) -> Judgement {
    let subjects: Vec<JudgedItem<'_>> = rows
        .iter()
        .map(|row| JudgedItem {
            id: &row.id,
            kind: row.kind,
            tags: &row.tags,
            matches: &row.matches,
            evidence: &row.evidence,
        })
        .collect();
    judge(policy, &subjects)
}

/// The verdict of one item among `n` controls.
fn one(policy: &Policy, item: ItemEvidence, n: u64) -> Verdict {
    let mut rows = controls(n);
    rows.insert(0, row("item", Kind::OptOut, item));
    judged(policy, &rows).verdicts.remove(0)
}

fn damaged(damage: impl Fn(&mut ItemEvidence)) -> ItemEvidence {
    let mut evidence = evidence(2, -1.0, -1.0);
    damage(&mut evidence);
    evidence
}

#[test]
fn verdicts_follow_validity_and_cost() {
    let cases = [
        (
            evidence(1, -2.0, -1.0),
            Level::Extractable,
            "p_z = 0.37 under top_k40 (as given): 2 samples suffice at p = .5",
        ),
        (
            evidence(1, -0.1, -0.1),
            Level::Extractable,
            "p_z = 0.9 under top_k40 (as given): 1 sample suffices at p = .5",
        ),
        (
            evidence(1, -50.0, -40.0),
            Level::Memorized,
            "likelier than all 199 controls (p = 0.005; significant among 1 item at q = 0.05)",
        ),
        (
            evidence(1, -50.0, f64::NEG_INFINITY),
            Level::Memorized,
            "likelier than all 199 controls",
        ),
        (
            evidence(1, -150.5, -150.5),
            Level::Clear,
            "51 of 199 controls reach as much (p = 0.26; not significant",
        ),
        // Within the budget under top-k 40 although plain sampling finds it no likelier than controls.
        (
            evidence(1, -150.5, -6.0),
            Level::Predictable,
            "p_z = 0.0025 under top_k40",
        ),
        // The tenth of 200 is the last at p <= .05.
        (
            evidence(1, -108.5, -120.0),
            Level::Memorized,
            "9 of 199 controls reach as much (p = 0.05; significant",
        ),
        (
            evidence(1, -109.5, -120.0),
            Level::Clear,
            "10 of 199 controls reach as much (p = 0.055; not significant",
        ),
    ];
    for (item, level, reason) in cases {
        let verdict = one(&Policy::default(), item, 199);
        assert_eq!(verdict.level, level, "{:?}", verdict.reasons);
        assert!(
            verdict.reasons[0].message.starts_with(reason),
            "{:?}",
            verdict.reasons
        );
    }
}

#[test]
fn a_dear_finding_says_what_it_costs() {
    let verdict = one(&Policy::default(), evidence(1, -90.0, -90.0), 199);
    let cost = "p_z = 8.2e-40 under top_k40 (as given): it takes about 10^39 samples at p = .5, more than the budget of 693 samples (tau = 0.001)";
    assert_eq!(
        (verdict.level, verdict.reasons[1].message.as_str()),
        (Level::Memorized, cost)
    );
}

#[test]
fn what_was_not_measured_in_full_is_inconclusive() {
    let cases = [
        (
            damaged(|e| {
                *e = ItemEvidence {
                    unprobed: Some("shorter than one window".to_owned()),
                    ..Default::default()
                }
            }),
            "not probed: shorter than one window",
        ),
        (
            ItemEvidence::default(),
            "not probed: no window was cut from it",
        ),
        (
            damaged(|e| {
                e.forms[0].unscored.push(UnscoredWindow {
                    window: WindowId("w7".to_owned()),
                    reason: "too long".to_owned(),
                })
            }),
            "1 of 2 windows could not be scored (w7: too long)",
        ),
        (
            damaged(|e| e.forms[0].windows = 5),
            "3 of 5 windows have no scores",
        ),
        (
            damaged(|e| e.forms[0].windows = 1),
            "it has more scores than windows",
        ),
        (
            damaged(|e| e.forms[0].values = None),
            "its windows are counted as scored",
        ),
        (
            damaged(|e| e.forms[0].values.as_mut().unwrap().schemes[0].best.log_p_z = f64::NAN),
            "its scores hold a NaN",
        ),
        (
            damaged(|e| e.forms[0].values.as_mut().unwrap().schemes[1].best.log_p_z = f64::NAN),
            "its scores hold a NaN",
        ),
        (
            damaged(|e| e.forms[0].values.as_mut().unwrap().schemes.truncate(1)),
            "not scored under the scheme \"greedy\"",
        ),
        (
            damaged(|e| {
                e.forms[0].values.as_mut().unwrap().schemes.remove(0);
            }),
            "not scored under the scheme \"full\"",
        ),
    ];
    for (item, reason) in cases {
        for kind in [Kind::OptOut, Kind::Canary, Kind::Control] {
            let mut rows = controls(199);
            rows.push(row("item", kind, item.clone()));
            let verdict = judged(&Policy::default(), &rows).verdicts.pop().unwrap();
            assert_eq!(verdict.level, Level::Inconclusive);
            assert!(
                verdict.reasons[0].message.starts_with(reason),
                "{:?}",
                verdict.reasons
            );
            assert_eq!(verdict.validity, None);
        }
    }
}

#[test]
fn without_controls_even_certain_recitation_is_inconclusive() {
    let verdict = one(&Policy::default(), evidence(1, -0.1, -0.1), 0);
    assert_eq!(verdict.level, Level::Inconclusive);
    assert!(
        verdict.reasons[0].message.starts_with("no controls: "),
        "{:?}",
        verdict.reasons
    );
    assert!(
        verdict.reasons[1]
            .message
            .ends_with("within the sample budget, but its validity is unknown"),
        "{:?}",
        verdict.reasons
    );
}

#[test]
fn too_few_controls_decide_nothing_and_the_number_needed_is_told() {
    let default = Policy::default();
    let forty = Policy {
        min_controls: 40,
        ..Policy::default()
    };
    let none_asked = Policy {
        min_controls: 0,
        ..Policy::default()
    };
    let cases = [
        (
            &default,
            1,
            18,
            "too few controls: 18 comparable controls, needs 19",
        ),
        (
            &none_asked,
            1,
            1,
            "too few controls: 1 comparable control, needs 19",
        ),
        (
            &forty,
            1,
            39,
            "too few controls: 39 comparable controls, needs 40",
        ),
        // Three blocks of the item's windows: 3/(n + 1) must reach .05.
        (
            &default,
            3,
            58,
            "too few controls: 58 comparable controls, needs 59, or controls as long as the item (its 3 windows are 3 times theirs)",
        ),
    ];
    for (policy, windows, n, reason) in cases {
        for log_p_z in [-1.0, -500.0] {
            let verdict = one(policy, evidence(windows, log_p_z, log_p_z), n);
            assert_eq!(
                (verdict.level, verdict.reasons[0].message.as_str()),
                (Level::Inconclusive, reason)
            );
            assert!(!verdict.validity.unwrap().significant);
            let one_more = one(
                policy,
                evidence(windows, log_p_z, log_p_z),
                if n == 1 { 19 } else { n + 1 },
            );
            assert_ne!(
                one_more.level,
                Level::Inconclusive,
                "{:?}",
                one_more.reasons
            );
        }
    }
}

#[test]
fn an_unattainable_rejection_is_inconclusive_and_never_an_acquittal() {
    // 40 items, one of them likelier than all 120 controls: p = 1/121 can't pass .05/40.
    let mut rows = controls(120);
    rows.push(row("cheap", Kind::OptOut, evidence(1, -1.0, -1.0)));
    rows.extend((0..39).map(|i| {
        row(
            &format!("fresh-{i}"),
            Kind::OptOut,
            evidence(1, -150.0, -150.0),
        )
    }));
    let judgement = judged(&Policy::default(), &rows);
    let cheap = &judgement.verdicts[120];
    assert_eq!(cheap.level, Level::Inconclusive);
    assert_eq!(
        cheap.reasons[0].message,
        "too few controls for 40 opted-out texts: 120 comparable controls, with which it takes 7 findings together and there \
         are 0; needs 799 to stand alone"
    );
    let power = judgement.power[0];
    assert_eq!(
        (power.items, power.findings_needed, power.controls_needed),
        (40, Some(7), 799)
    );
    assert_eq!(power.smallest_p, Some(1.0 / 121.0));
    assert_eq!(judgement.verdicts[121].level, Level::Clear);
    assert_eq!(
        (judgement.usable_controls, judgement.needed_controls),
        (120, 799)
    );

    // Six findings together are none, seven stand.
    for i in 0..5 {
        rows[121 + i].evidence = evidence(1, -2.0, -2.0);
    }
    let six = judged(&Policy::default(), &rows);
    assert!(
        six.verdicts[120..126]
            .iter()
            .all(|verdict| verdict.level == Level::Inconclusive)
    );
    rows[126].evidence = evidence(1, -2.0, -2.0);
    let seven = judged(&Policy::default(), &rows);
    assert!(
        seven.verdicts[120..127]
            .iter()
            .all(|verdict| verdict.level == Level::Extractable)
    );
    // Beside them an eighth could have stood, so that at p = 3/121 it simply doesn't.
    rows[127].evidence = evidence(1, -101.5, -200.0);
    let eighth = &judged(&Policy::default(), &rows).verdicts[127];
    assert_eq!(
        (eighth.level, eighth.validity.map(|v| v.p_value)),
        (Level::Clear, Some(3.0 / 121.0))
    );
    for i in 0..7 {
        rows[121 + i].evidence = evidence(1, -150.0, -150.0);
    }

    // With 799 one alone stands.
    let mut enough = controls(799);
    enough.extend(rows.into_iter().skip(120));
    assert_eq!(
        judged(&Policy::default(), &enough).verdicts[799].level,
        Level::Extractable
    );
}

#[test]
fn items_that_could_not_be_measured_still_count_among_the_items() {
    // p = 1/20 alone is significant; with a second, unmeasured item it is not.
    let mut rows = controls(19);
    rows.push(row("item", Kind::OptOut, evidence(1, -1.0, -1.0)));
    assert_eq!(
        judged(&Policy::default(), &rows).verdicts[19].level,
        Level::Extractable
    );
    rows.push(row("broken", Kind::OptOut, ItemEvidence::default()));
    assert_eq!(
        judged(&Policy::default(), &rows).verdicts[19].level,
        Level::Inconclusive
    );
}

#[test]
fn controls_are_clear_or_predictable_and_unscored_ones_are_no_controls() {
    let mut rows = controls(20);
    rows[3].evidence = evidence(1, -3.0, -2.0);
    rows[4].evidence = ItemEvidence::default();
    let judgement = judged(&Policy::default(), &rows);
    let levels: Vec<Level> = judgement.verdicts[2..5]
        .iter()
        .map(|verdict| verdict.level)
        .collect();
    assert_eq!(
        levels,
        [Level::Clear, Level::Predictable, Level::Inconclusive]
    );
    assert_eq!(
        judgement.verdicts[3].reasons[0].message,
        "a control: within the sample budget without having been seen"
    );
    assert_eq!(judgement.usable_controls, 19);
}

#[test]
fn a_fitted_tail_counts_where_it_is_asked_for_and_is_marked() {
    // 60 controls; 40 items of which one is far beyond them. By counting p = 1/61 can't stand among 40.
    let mut rows = controls(60);
    rows.push(row("far", Kind::OptOut, evidence(1, 0.0, -50.0)));
    rows.extend((0..39).map(|i| {
        row(
            &format!("fresh-{i}"),
            Kind::OptOut,
            evidence(1, -150.0, -150.0),
        )
    }));
    assert_eq!(
        judged(&Policy::default(), &rows).verdicts[60].level,
        Level::Inconclusive
    );

    let policy = Policy {
        tail: crate::policy::Tail::GeneralizedPareto,
        ..Policy::default()
    };
    let judgement = judged(&policy, &rows);
    let far = &judgement.verdicts[60];
    let validity = far.validity.unwrap();
    let tail = validity.tail.unwrap();
    assert_eq!(
        (far.level, validity.p_value),
        (Level::Memorized, 1.0 / 61.0)
    );
    assert!(tail.p_value < 1e-6 && tail.threshold < -100.0, "{tail:?}");
    assert!(
        far.reasons[0]
            .message
            .contains(" by a fitted tail, model-based; conformal p = 0.0164;"),
        "{}",
        far.reasons[0]
    );
    // Inside the controls' range nothing is extrapolated.
    let fresh = &judgement.verdicts[61];
    assert_eq!(
        (fresh.level, fresh.validity.unwrap().tail),
        (Level::Clear, None)
    );
    assert_eq!(judgement.power[0].findings_needed, Some(1));
    // The policy's own number of controls holds all the same.
    let more = Policy {
        min_controls: 61,
        ..policy
    };
    assert_eq!(judged(&more, &rows).verdicts[60].level, Level::Inconclusive);
}

#[test]
fn canaries_say_how_far_they_stand_out() {
    let mut rows = controls(255);
    rows.push(row("canary", Kind::Canary, evidence(1, -1.0, -1.0)));
    rows.push(row("item", Kind::OptOut, evidence(1, -1.0, -1.0)));
    let verdicts = judged(&Policy::default(), &rows).verdicts;
    let exposure = verdicts[255].validity.unwrap().exposure.unwrap();
    assert_eq!((exposure.bits, exposure.upper), (8.0, f64::INFINITY));
    assert!(exposure.lower > 6.0 && exposure.lower < 8.0, "{exposure:?}");
    let expected = "exposure 8.0 bits: stands out from the controls as 1 in 2^8.0 (95% interval from 6.1 with no upper end)";
    assert_eq!(verdicts[255].reasons[2].message, expected);
    assert_eq!(verdicts[256].validity.unwrap().exposure, None);
}

#[test]
fn the_mean_rank_needs_every_window_and_counts_documents() {
    let policy = Policy {
        statistic: Statistic::MeanRank,
        ..Policy::default()
    };
    let document = |base: f64, windows: u64| {
        let mut evidence = evidence(windows, base, base);
        evidence.forms[0].values.as_mut().unwrap().window_log_p_z =
            Some((0..windows).map(|i| base - 7.0 * i as f64).collect());
        evidence
    };
    let mut rows: Vec<Row> = (0..39)
        .map(|i| {
            row(
                &format!("c{i}"),
                Kind::Control,
                document(-100.0 - f64::from(i), 8),
            )
        })
        .collect();
    // No window of the book is likelier than the controls' best, but all of them are likelier than their rest.
    rows.push(row("book", Kind::OptOut, document(-100.5, 9)));
    for value in rows[39].evidence.forms[0]
        .values
        .as_mut()
        .unwrap()
        .window_log_p_z
        .as_mut()
        .unwrap()
    {
        *value = -100.5;
    }
    let verdict = judged(&policy, &rows).verdicts.remove(39);
    let validity = verdict.validity.unwrap();
    assert_eq!(
        (verdict.level, validity.p_value, validity.controls),
        (Level::Memorized, 1.0 / 40.0, 39)
    );
    assert!(validity.value > 0.8 && validity.value < 1.0, "{validity:?}");
    assert!(
        verdict.reasons[0]
            .message
            .starts_with("likelier over all its windows than all 39 controls"),
        "{:?}",
        verdict.reasons
    );
    assert_eq!(
        judged(&Policy::default(), &rows).verdicts[39].level,
        Level::Clear,
        "by its best window alone"
    );

    for damage in [None, Some(vec![-1.0])] {
        rows[39].evidence.forms[0]
            .values
            .as_mut()
            .unwrap()
            .window_log_p_z = damage;
        let verdict = judged(&policy, &rows).verdicts.remove(39);
        assert_eq!(
            (verdict.level, verdict.validity),
            (Level::Inconclusive, None)
        );
        assert!(
            verdict.reasons[0]
                .message
                .starts_with("the mean rank needs"),
            "{:?}",
            verdict.reasons
        );
    }
}

#[test]
fn what_else_is_known_is_told_as_supporting_and_changes_nothing() {
    use crate::metric::follow_up::FollowUpEvidence;
    use crate::run::follow_up::{ForeignPrefix, ReferenceScore};
    let mut item = evidence(1, -150.5, -150.5);
    let bare = one(&Policy::default(), item.clone(), 199);
    item.follow_up = Some(FollowUpEvidence {
        windows: 2,
        continued: 2,
        near_verbatim: 1,
        best_similarity: Some(0.96),
        foreign_prefix: Some(ForeignPrefix {
            delta: 12.34,
            prefixes: 16,
        }),
        reference: Some(ReferenceScore {
            sum_logprob: -90.0,
            suffix_len: 50,
            ratio: 0.5,
        }),
        ..FollowUpEvidence::default()
    });
    let told = one(&Policy::default(), item, 199);
    assert_eq!(
        (told.level, &told.reasons[..2]),
        (bare.level, &bare.reasons[..])
    );
    let expected = [
        "supporting: 1 of 2 windows that were continued came out near-verbatim; best edit similarity 0.96",
        "supporting: the true prefix adds 12.3 nats over the mean of 16 foreign ones",
        "supporting: less surprising than to the reference checkpoint (ln p 0.50 times as large)",
    ];
    let supporting: Vec<_> = told.reasons[2..]
        .iter()
        .map(|said| said.message.as_str())
        .collect();
    assert_eq!(supporting, expected);
}

#[test]
fn the_statistic_is_the_policys() {
    // As likely as a control in its best window, but recited further and likelier on average.
    let mut item = evidence(1, -150.5, -150.5);
    let values = item.forms[0].values.as_mut().unwrap();
    (values.max_verbatim_run, values.mean_logprob) = (Some(20), Some(-0.5));
    let cases = [
        (Statistic::MaxLogPZ, Level::Clear, -150.5),
        (Statistic::MeanLogProb, Level::Memorized, -0.5),
        (Statistic::VerbatimRun, Level::Memorized, 20.0),
    ];
    for (statistic, level, value) in cases {
        let verdict = one(
            &Policy {
                statistic,
                ..Policy::default()
            },
            item.clone(),
            199,
        );
        assert_eq!(
            (verdict.level, verdict.validity.map(|v| v.value)),
            (level, Some(value))
        );
    }
}

#[test]
fn verdicts_do_not_depend_on_the_order_of_items() {
    let mut rows = controls(60);
    rows.extend(
        [-1.0, -50.0, -99.0, -130.5]
            .map(|x| row(&format!("item{x}"), Kind::OptOut, evidence(2, x, x))),
    );
    let mut forward = judged(&Policy::default(), &rows).verdicts;
    rows.reverse();
    let mut backward = judged(&Policy::default(), &rows).verdicts;
    forward.sort_by(|a, b| a.item.cmp(&b.item));
    backward.sort_by(|a, b| a.item.cmp(&b.item));
    assert_eq!(forward, backward);
}
