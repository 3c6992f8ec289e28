//! Positive controls, families and groups of controls.

use super::*;

#[test]
fn a_positive_control_that_is_not_found_makes_the_whole_run_inconclusive() {
    let mut rows = controls(199);
    rows.push(row("item", Kind::OptOut, evidence(1, -1.0, -1.0)));
    rows.push(row("known", Kind::Canary, evidence(1, -1.0, -1.0)));
    let policy = Policy {
        positive_controls: vec![ItemId("known".to_owned())],
        ..Policy::default()
    };
    let sound = judged(&policy, &rows);
    assert_eq!(sound.positive_controls, [true]);
    assert_eq!(sound.verdicts[199].level, Level::Extractable);

    rows[200].evidence = evidence(1, -150.0, -150.0);
    let broken = judged(&policy, &rows);
    assert_eq!(broken.positive_controls, [false]);
    assert!(
        broken
            .verdicts
            .iter()
            .all(|verdict| verdict.level == Level::Inconclusive)
    );
    assert!(
        broken.verdicts[199].reasons[0]
            .message
            .starts_with("positive control not found (`known` came out clear)")
    );

    rows.pop();
    let absent = judged(&policy, &rows);
    assert!(
        absent.verdicts[199].reasons[0]
            .message
            .starts_with("positive control not found (`known` isn't among the items)")
    );
    assert_eq!(absent.verdicts[199].level, Level::Inconclusive);
}

#[test]
fn canaries_and_known_positives_lower_no_bar_for_opt_outs() {
    // An opt-out that 6 of 199 controls reach: p = .035 > .05/2, and more so among 2 opt-outs.
    let lone = |others: Vec<Row>, policy: &Policy| {
        let mut rows = controls(199);
        rows.push(row("item", Kind::OptOut, evidence(1, -105.5, -150.0)));
        rows.push(row("fresh", Kind::OptOut, evidence(1, -180.0, -180.0)));
        rows.extend(others);
        judged(policy, &rows)
    };
    let known = |kind| -> Vec<Row> {
        (0..30)
            .map(|i| Row {
                tags: vec!["known".to_owned()],
                ..row(&format!("known-{i}"), kind, evidence(1, -1.0, -1.0))
            })
            .collect()
    };
    let policy = Policy::default();
    assert_eq!(lone(vec![], &policy).verdicts[199].level, Level::Clear);
    let beside_canaries = lone(known(Kind::Canary), &policy);
    assert_eq!(beside_canaries.verdicts[199].level, Level::Clear);
    assert_eq!(beside_canaries.verdicts[201].level, Level::Extractable);
    let families: Vec<_> = beside_canaries
        .power
        .iter()
        .map(|power| (power.kind, power.items))
        .collect();
    assert_eq!(families, [(Kind::OptOut, 2), (Kind::Canary, 30)]);
    // In one family with thirty known texts the same text would pass ...
    assert_eq!(
        lone(known(Kind::OptOut), &policy).verdicts[199].level,
        Level::Memorized
    );
    // ... unless the policy says that they are known.
    let positive = Policy {
        positive_controls: vec![ItemId("tag:known".to_owned())],
        ..Policy::default()
    };
    let beside_positives = lone(known(Kind::OptOut), &positive);
    assert_eq!(beside_positives.verdicts[199].level, Level::Clear);
    assert_eq!(beside_positives.positive_controls, [true]);
    let reason = &beside_positives.verdicts[201].reasons[1].message;
    assert!(
        reason.ends_with("(p = 0.005; significant as a positive control at q = 0.05)"),
        "{reason}"
    );
}

#[test]
fn a_tag_as_positive_control_means_every_item_that_has_it() {
    let tagged = |id: &str, kind, log_p_z| Row {
        tags: vec!["known".to_owned()],
        ..row(id, kind, evidence(1, log_p_z, log_p_z))
    };
    let policy = Policy {
        positive_controls: vec![ItemId("tag:known".to_owned())],
        ..Policy::default()
    };
    let cases = [
        (
            vec![
                tagged("a", Kind::OptOut, -1.0),
                tagged("b", Kind::Canary, -1.0),
            ],
            None,
        ),
        // A control with the tag isn't meant.
        (
            vec![
                tagged("a", Kind::OptOut, -1.0),
                tagged("c", Kind::Control, -150.0),
            ],
            None,
        ),
        (
            vec![
                tagged("a", Kind::OptOut, -1.0),
                tagged("b", Kind::Canary, -150.0),
            ],
            Some("(`tag:known`: 1 of 2 not found, `b` came out clear)"),
        ),
        (
            vec![tagged("c", Kind::Control, -150.0)],
            Some("(`tag:known` is the tag of no item but controls, or none of"),
        ),
    ];
    for (tagged, expected) in cases {
        let mut rows = controls(199);
        rows.push(row("item", Kind::OptOut, evidence(1, -1.0, -1.0)));
        rows.extend(tagged);
        let judgement = judged(&policy, &rows);
        assert_eq!(judgement.positive_controls, [expected.is_none()]);
        let verdict = &judgement.verdicts[199];
        match expected {
            None => assert_eq!(verdict.level, Level::Extractable),
            Some(reason) => {
                assert!(
                    judgement
                        .verdicts
                        .iter()
                        .all(|verdict| verdict.level == Level::Inconclusive)
                );
                assert!(
                    verdict.reasons[0].message.contains(reason),
                    "{}",
                    verdict.reasons[0]
                );
            }
        }
    }
}

#[test]
fn boilerplate_is_predictable_among_its_own_kind_only() {
    let forms = |n: u64| -> Vec<Row> {
        let form = |i: u64| Row {
            matches: vec!["licence".to_owned()],
            ..row(
                &format!("form-{i}"),
                Kind::Control,
                evidence(1, -1.0 - i as f64 / 10.0, -1.0),
            )
        };
        (0..n).map(form).collect()
    };
    let cases = [
        (
            40,
            Level::Predictable,
            true,
            "21 of 40 controls matched to it reach as much (p = 0.54; not significant",
        ),
        (
            0,
            Level::Extractable,
            false,
            "likelier than all 199 controls (p = 0.005; significant",
        ),
        (
            18,
            Level::Inconclusive,
            true,
            "too few controls: 18 comparable controls matched to it, needs 19",
        ),
    ];
    for (n, level, matched, reason) in cases {
        let mut rows = controls(199);
        rows.push(Row {
            tags: vec!["licence".to_owned()],
            ..row("item", Kind::OptOut, evidence(1, -3.0, -3.0))
        });
        rows.extend(forms(n));
        let verdict = judged(&Policy::default(), &rows).verdicts.remove(199);
        assert_eq!(
            (verdict.level, verdict.validity.map(|v| v.matched)),
            (level, Some(matched))
        );
        assert!(
            verdict
                .reasons
                .iter()
                .any(|said| said.message.starts_with(reason)),
            "{:?}",
            verdict.reasons
        );
    }
    // Controls that stand for it but couldn't be measured are not replaced by others.
    let mut rows = controls(199);
    rows.push(Row {
        tags: vec!["licence".to_owned()],
        ..row("item", Kind::OptOut, evidence(1, -3.0, -3.0))
    });
    rows.extend(forms(3));
    rows[200..]
        .iter_mut()
        .for_each(|row| row.evidence = ItemEvidence::default());
    let verdict = judged(&Policy::default(), &rows).verdicts.remove(199);
    assert_eq!(verdict.level, Level::Inconclusive);
    assert!(
        verdict.reasons[0]
            .message
            .starts_with("none of the 3 controls matched to it"),
        "{:?}",
        verdict.reasons
    );
}
