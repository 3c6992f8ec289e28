//! Tests of decisions, as tables.

use super::*;
use crate::items::ItemId;
use crate::metric::item::ItemEvidence;
use crate::policy::GateRules;
use crate::report::tests::{item, report};
use jiff::civil::date;

const TODAY: Date = date(2026, 11, 23);

fn waiver(id: &str, expires: Date) -> Waiver {
    Waiver {
        item: ItemId(id.to_owned()),
        reason: "licensed".to_owned(),
        expires,
        approver: None,
    }
}

fn outcome(items: Vec<ReportItem>, policy: &Policy) -> (Outcome, String, String) {
    let decision = decide(&report(items), policy, TODAY);
    (
        decision.outcome,
        decision.reasons.join(" | "),
        decision.warnings.join(" | "),
    )
}

#[test]
fn decisions_follow_levels_and_the_policy() {
    use Level::{Clear, Extractable, Inconclusive, Memorized, Predictable};
    let default = Policy::default();
    let strict = Policy::open("strict").unwrap();
    let lenient = Policy {
        require_decided: false,
        ..Policy::default()
    };
    let opt_out = Kind::OptOut;
    type Case<'a> = (&'a [(Kind, Level)], &'a Policy, Outcome, &'a str);
    let cases: [Case<'_>; 14] = [
        (
            &[(opt_out, Clear)],
            &default,
            Outcome::Pass,
            "nothing the policy denies was found in 1 item",
        ),
        (
            &[(opt_out, Extractable)],
            &default,
            Outcome::Block,
            "1 item extractable, denied by the policy: `i0`",
        ),
        (
            &[(opt_out, Memorized)],
            &default,
            Outcome::Block,
            "1 item memorized",
        ),
        (
            &[(Kind::Canary, Memorized)],
            &default,
            Outcome::Block,
            "1 item memorized",
        ),
        (
            &[(opt_out, Predictable)],
            &default,
            Outcome::Pass,
            "nothing",
        ),
        (
            &[(opt_out, Predictable)],
            &strict,
            Outcome::Block,
            "1 item predictable",
        ),
        (
            &[(opt_out, Clear), (opt_out, Inconclusive)],
            &default,
            Outcome::Undecided,
            "1 item inconclusive (`i1`: made up)",
        ),
        (
            &[(opt_out, Clear), (opt_out, Inconclusive)],
            &lenient,
            Outcome::Pass,
            "nothing",
        ),
        (
            &[(opt_out, Clear), (Kind::Control, Inconclusive)],
            &default,
            Outcome::Undecided,
            "1 item inconclusive",
        ),
        // A proven finding blocks, even if other things are undecided.
        (
            &[(opt_out, Inconclusive), (opt_out, Memorized)],
            &default,
            Outcome::Block,
            "1 item memorized",
        ),
        (&[], &default, Outcome::Undecided, "no items to judge"),
        (
            &[(Kind::Control, Clear)],
            &default,
            Outcome::Undecided,
            "no items to judge",
        ),
        (
            &[(opt_out, Clear), (Kind::Control, Predictable)],
            &strict,
            Outcome::Pass,
            "nothing",
        ),
        (&[], &lenient, Outcome::Undecided, "no items to judge"),
    ];
    for (levels, policy, expected, reason) in cases {
        let items = levels
            .iter()
            .enumerate()
            .map(|(i, (kind, level))| item(&format!("i{i}"), *kind, *level))
            .collect();
        let (outcome, reasons, _) = outcome(items, policy);
        assert_eq!(outcome, expected, "{levels:?}: {reasons}");
        assert!(reasons.starts_with(reason), "{reasons}");
    }
}

#[test]
fn unmeasured_items_are_undecided_even_under_a_lenient_policy() {
    let lenient = Policy {
        require_decided: false,
        ..Policy::default()
    };
    let mut unprobed = item("a", Kind::OptOut, Level::Inconclusive);
    unprobed.evidence = ItemEvidence {
        unprobed: Some("too short".to_owned()),
        ..Default::default()
    };
    let items = vec![unprobed, item("b", Kind::OptOut, Level::Clear)];
    let (undecided, reasons, _) = outcome(items, &lenient);
    assert_eq!(undecided, Outcome::Undecided);
    assert!(reasons.contains("`a`: not probed: too short"), "{reasons}");

    // A verdict that contradicts its evidence, as in an edited report, does not pass either.
    let mut edited = item("a", Kind::OptOut, Level::Clear);
    edited.evidence = ItemEvidence::default();
    assert_eq!(outcome(vec![edited], &lenient).0, Outcome::Undecided);

    let mut stray = report(vec![item("b", Kind::OptOut, Level::Clear)]);
    stray.summary.windows.stray = 2;
    assert_eq!(decide(&stray, &lenient, TODAY).outcome, Outcome::Undecided);
}

#[test]
fn waivers_accept_findings_until_their_last_day() {
    let cases = [
        (
            Level::Memorized,
            waiver("i", date(2026, 11, 23)),
            Outcome::Pass,
            "`i` is waived until 2026-11-23: licensed",
        ),
        (
            Level::Memorized,
            waiver("i", date(2026, 11, 22)),
            Outcome::Undecided,
            "",
        ),
        (
            Level::Clear,
            waiver("i", date(2026, 11, 22)),
            Outcome::Undecided,
            "",
        ),
        (
            Level::Memorized,
            waiver("other", date(2027, 1, 1)),
            Outcome::Block,
            "the waiver of `other` matches no finding (no such item)",
        ),
        (
            Level::Clear,
            waiver("i", date(2027, 1, 1)),
            Outcome::Pass,
            "the waiver of `i` matches no finding (the item is clear)",
        ),
        (
            Level::Inconclusive,
            waiver("i", date(2027, 1, 1)),
            Outcome::Undecided,
            "the waiver of `i` matches no finding",
        ),
    ];
    for (level, waiver, expected, warning) in cases {
        let expired = waiver.expires < TODAY;
        let policy = Policy {
            waivers: vec![waiver],
            ..Policy::default()
        };
        let (outcome, reasons, warnings) = outcome(vec![item("i", Kind::OptOut, level)], &policy);
        assert_eq!(outcome, expected, "{level}: {reasons}");
        assert!(warnings.starts_with(warning), "{warnings}");
        assert_eq!(
            reasons.contains("expired on 2026-11-22: renew or remove it"),
            expired,
            "{reasons}"
        );
    }
    // One valid waiver is enough for the finding; the expired one should still be removed.
    let both = vec![waiver("i", date(2026, 1, 1)), waiver("i", date(2027, 1, 1))];
    let policy = Policy {
        waivers: both,
        ..Policy::default()
    };
    let decision = decide(
        &report(vec![item("i", Kind::OptOut, Level::Memorized)]),
        &policy,
        TODAY,
    );
    assert_eq!(
        (decision.outcome, decision.findings[0].action),
        (Outcome::Undecided, Action::Waived)
    );
}

#[test]
fn positive_controls_must_be_found_and_are_never_findings() {
    let policy = Policy {
        positive_controls: vec![ItemId("known".to_owned())],
        ..Policy::default()
    };
    let items = vec![
        item("known", Kind::OptOut, Level::Extractable),
        item("i", Kind::OptOut, Level::Clear),
    ];
    let mut sound = report(items);
    sound.summary.positive_controls = vec![report::PositiveControl {
        item: ItemId("known".to_owned()),
        found: true,
    }];
    assert_eq!(decide(&sound, &policy, TODAY).outcome, Outcome::Pass);
    sound.summary.positive_controls[0].found = false;
    assert_eq!(decide(&sound, &policy, TODAY).outcome, Outcome::Undecided);
    // A report that never looked for it.
    sound.summary.positive_controls.clear();
    assert_eq!(decide(&sound, &policy, TODAY).outcome, Outcome::Undecided);
}

#[test]
fn predictable_items_are_reported_and_pass() {
    let (outcome, _, warnings) = outcome(
        vec![item("i", Kind::OptOut, Level::Predictable)],
        &Policy::default(),
    );
    assert_eq!(
        (outcome, warnings.as_str()),
        (
            Outcome::Pass,
            "1 item predictable, reported by the policy: `i`"
        )
    );
}

#[test]
fn old_reports_are_judged_again_from_their_evidence() {
    use crate::verdict::tests::evidence;
    let mut items: Vec<ReportItem> = (0..199)
        .map(|i| {
            let mut control = item(&format!("c{i}"), Kind::Control, Level::Clear);
            control.evidence = evidence(1, -100.0 - f64::from(i), -100.0);
            control
        })
        .collect();
    // p_z = 4.5e-5: outside the default budget, within the strict one. The stored verdict is wrong.
    let mut memorized = item("i", Kind::OptOut, Level::Clear);
    memorized.evidence = evidence(1, -10.0, -10.0);
    items.push(memorized);
    let old = report(items);
    for (policy, level) in [
        ("default", Level::Memorized),
        ("strict", Level::Extractable),
    ] {
        let again = redecide(&old, &Policy::open(policy).unwrap(), TODAY);
        assert_eq!(again.items[199].verdict.level, level);
        assert_eq!(again.policy.digest, Policy::open(policy).unwrap().digest);
        assert_eq!(
            again.decision.map(|decision| decision.outcome),
            Some(Outcome::Block)
        );
    }
}

/// `of` items of a kind, the first `found` of them at `level` and the others clear.
fn items(kind: Kind, found: usize, of: usize, level: Level) -> Vec<ReportItem> {
    let level = |i: usize| if i < found { level } else { Level::Clear };
    (0..of)
        .map(|i| item(&format!("{kind:?}-{i}"), kind, level(i)))
        .collect()
}

fn limited(rules: GateRules) -> Policy {
    Policy {
        gate: rules,
        ..Policy::default()
    }
}

#[test]
fn limits_decide_how_many_findings_block_and_reasons_give_the_numbers() {
    let none = GateRules {
        max_findings: None,
        ..GateRules::default()
    };
    let count = |most| {
        limited(GateRules {
            max_findings: Some(most),
            ..none.clone()
        })
    };
    let rate = |most| {
        limited(GateRules {
            max_rate: Some(most),
            ..none.clone()
        })
    };
    let upper = |most, confidence| {
        limited(GateRules {
            max_rate_upper: Some(most),
            confidence,
            ..none.clone()
        })
    };
    let three = || items(Kind::OptOut, 3, 120, Level::Memorized);
    // Intervals: scipy.stats.binomtest(3, 120).proportion_ci(.95, "exact") is (0.00519, 0.07132),
    // at .9 (0.00685, 0.06334).
    let figures =
        "3 of 120 opted-out texts are extractable or memorized, 2.5% (95% interval 0.5% to 7.1%)";
    let cases: [(Policy, Vec<ReportItem>, Outcome, String); 14] = [
        (count(2), three(), Outcome::Block, "3 findings denied by the policy, which allows 2 (max_findings)".to_owned()),
        (count(3), three(), Outcome::Pass, "3 findings denied by the policy, which allows 3 (max_findings)".to_owned()),
        (rate(0.01), three(), Outcome::Block, format!("{figures}: the policy allows 1% (max_rate)")),
        (rate(0.025), three(), Outcome::Pass, format!("{figures}: the policy allows 2.5% (max_rate)")),
        (rate(0.0), three(), Outcome::Block, format!("{figures}: the policy allows 0% (max_rate)")),
        (
            upper(0.07, 0.95),
            three(),
            Outcome::Block,
            format!("{figures}: the policy allows an interval up to 7% (max_rate_upper)"),
        ),
        (
            upper(0.07, 0.9),
            three(),
            Outcome::Pass,
            "3 of 120 opted-out texts are extractable or memorized, 2.5% (90% interval 0.7% to 6.3%)".to_owned(),
        ),
        // No finding, but too few texts to show that: no reason to block, and none to pass.
        (
            upper(0.02, 0.95),
            items(Kind::OptOut, 0, 182, Level::Clear),
            Outcome::Undecided,
            "0 of 182 opted-out texts are extractable or memorized, 0% (95% interval 0% to 2%): the policy allows an interval \
             up to 2% (max_rate_upper); even without findings at least 183 opted-out texts are needed"
                .to_owned(),
        ),
        (
            upper(0.02, 0.95),
            items(Kind::OptOut, 0, 183, Level::Clear),
            Outcome::Pass,
            "nothing the policy denies was found in 183 items".to_owned(),
        ),
        // Canaries have their own share, and count among the findings.
        (
            rate(0.1),
            [items(Kind::OptOut, 0, 50, Level::Clear), items(Kind::Canary, 1, 2, Level::Extractable)].concat(),
            Outcome::Block,
            "1 of 2 canaries is extractable or memorized, 50%".to_owned(),
        ),
        (
            count(1),
            [items(Kind::OptOut, 1, 50, Level::Memorized), items(Kind::Canary, 1, 2, Level::Extractable)].concat(),
            Outcome::Block,
            "2 findings denied by the policy, which allows 1 (max_findings)".to_owned(),
        ),
        // Shares are of decided items; without any there is no share.
        (
            Policy { require_decided: false, ..rate(0.1) },
            [items(Kind::OptOut, 1, 5, Level::Memorized), items(Kind::Canary, 9, 9, Level::Inconclusive)].concat(),
            Outcome::Block,
            "1 of 5 opted-out texts is extractable or memorized, 20%".to_owned(),
        ),
        (
            Policy { require_decided: false, ..rate(0.1) },
            items(Kind::OptOut, 9, 9, Level::Inconclusive),
            Outcome::Undecided,
            "none of 9 opted-out texts was decided".to_owned(),
        ),
        (rate(0.1), items(Kind::Control, 0, 9, Level::Clear), Outcome::Undecided, "no items to judge".to_owned()),
    ];
    for (policy, items, expected, reason) in cases {
        let (outcome, reasons, warnings) = outcome(items, &policy);
        assert_eq!(outcome, expected, "{:?}: {reasons}", policy.gate);
        assert!(reasons.starts_with(&reason), "{reasons}\nnot\n{reason}");
        let within = warnings.contains("denied, but within the limits of the policy: `OptOut-0`");
        assert_eq!(
            within,
            expected == Outcome::Pass && !reasons.starts_with("nothing"),
            "{warnings}"
        );
    }
    // Exceeding any limit blocks.
    let both = limited(GateRules {
        max_findings: Some(9),
        max_rate: Some(0.01),
        ..none.clone()
    });
    assert_eq!(outcome(three(), &both).0, Outcome::Block);
    // A waived finding is not a hit, but counts among the items.
    let policy = Policy {
        waivers: vec![waiver("OptOut-0", date(2027, 1, 1))],
        ..rate(0.01)
    };
    let (_, reasons, _) = outcome(three(), &policy);
    assert!(reasons.starts_with("2 of 120 opted-out texts"), "{reasons}");
    // A positive control counts as neither.
    let mut policy = rate(0.01);
    policy.positive_controls = vec![ItemId("OptOut-0".to_owned())];
    let (_, reasons, _) = outcome(three(), &policy);
    assert!(reasons.starts_with("2 of 119 opted-out texts"), "{reasons}");
    policy.positive_controls = three().iter().map(|item| item.id.clone()).collect();
    let decision = decide(&report(three()), &policy, TODAY);
    assert!(
        decision
            .reasons
            .iter()
            .any(|reason| reason.contains("limits a share of items, and there are none"))
    );
}

/// Decides against a baseline with the given verdicts.
fn against(
    now: Vec<ReportItem>,
    then: &Report,
    policy: &Policy,
) -> (Outcome, Vec<Action>, String, Decision) {
    let decision = decide_against(&report(now), Some(then), policy, TODAY);
    let actions = decision
        .findings
        .iter()
        .map(|finding| finding.action)
        .collect();
    let text = [decision.reasons.join(" | "), decision.warnings.join(" | ")].join(" || ");
    (decision.outcome, actions, text, decision)
}

#[test]
fn new_only_blocks_only_on_findings_that_the_baseline_lacks() {
    use Level::{Clear, Extractable, Inconclusive, Memorized, Predictable};
    let policy = limited(GateRules {
        new_only: true,
        ..GateRules::default()
    });
    let one = |level| item("i", Kind::OptOut, level);
    let cases: [(Level, Level, Outcome, Action); 8] = [
        (Memorized, Memorized, Outcome::Pass, Action::Known),
        (Extractable, Memorized, Outcome::Pass, Action::Known),
        (Memorized, Extractable, Outcome::Block, Action::Denied),
        (Clear, Memorized, Outcome::Block, Action::Denied),
        (Predictable, Memorized, Outcome::Block, Action::Denied),
        (Inconclusive, Memorized, Outcome::Block, Action::Denied),
        (Predictable, Predictable, Outcome::Pass, Action::Warned),
        (Clear, Predictable, Outcome::Pass, Action::Warned),
    ];
    for (then, now, expected, action) in cases {
        let (outcome, actions, text, decision) =
            against(vec![one(now)], &report(vec![one(then)]), &policy);
        assert_eq!(
            (outcome, actions),
            (expected, vec![action]),
            "{then} to {now}: {text}"
        );
        let new = expected == Outcome::Block || then == Clear;
        assert_eq!(decision.findings[0].new, Some(new), "{then} to {now}");
        assert_eq!(text.contains("count"), then == Inconclusive, "{text}");
        let baseline = decision.baseline.unwrap();
        assert_eq!(
            (baseline.compared, baseline.not_compared),
            if then == Inconclusive { (0, 1) } else { (1, 0) }
        );
    }
    // The same without new_only: findings are marked, and all of them count.
    let (outcome, actions, _, decision) = against(
        vec![one(Memorized)],
        &report(vec![one(Memorized)]),
        &Policy::default(),
    );
    assert_eq!(
        (outcome, actions, decision.findings[0].new),
        (Outcome::Block, vec![Action::Denied], Some(false))
    );
    // Without a baseline nothing is decided, with or without findings.
    for level in [Memorized, Clear] {
        let decision = decide(&report(vec![one(level)]), &policy, TODAY);
        assert_eq!(decision.outcome, Outcome::Undecided);
        assert!(
            decision.reasons[0].contains("there is no baseline: give an older report"),
            "{:?}",
            decision.reasons
        );
    }
    // A share of new findings.
    let rate = limited(GateRules {
        new_only: true,
        max_findings: None,
        max_rate: Some(0.5),
        ..GateRules::default()
    });
    let now = items(Kind::OptOut, 3, 4, Level::Memorized);
    let (outcome, _, text, _) = against(
        now,
        &report(items(Kind::OptOut, 1, 4, Level::Memorized)),
        &rate,
    );
    assert_eq!(outcome, Outcome::Pass);
    assert!(
        text.starts_with("2 of 4 opted-out texts are newly extractable or memorized, 50%"),
        "{text}"
    );
}

#[test]
fn findings_that_cannot_be_compared_are_new_and_reported() {
    let policy = limited(GateRules {
        new_only: true,
        ..GateRules::default()
    });
    let found = || item("i", Kind::OptOut, Level::Memorized);
    let then = report(vec![found()]);
    type Change = fn(&mut Report);
    let cases: [(Change, &str); 5] = [
        (
            |then| then.items.clear(),
            "`i`: the baseline doesn't have it",
        ),
        (
            |then| then.items[0].kind = Kind::Canary,
            "`i`: it is of another kind there",
        ),
        (
            |then| then.settings.window.prefix = 7,
            "`i`: other windows: prefix 7 against 50",
        ),
        (
            |then| then.model.tokenizer_fingerprint = None,
            "`i`: another tokenizer, so other windows",
        ),
        (
            |then| {
                then.items[0].salted_digest = crate::digest::Digest::of_bytes(b"another salt");
                then.probe_set.files.clear();
                then.items[0].evidence.forms[0].chars = 7;
            },
            "`i`: another text: 7 characters against 1000",
        ),
    ];
    for (change, why) in cases {
        let mut then = then.clone();
        then.plan_digest = crate::digest::Digest::of_bytes(b"another plan");
        assert_eq!(
            against(vec![found()], &then, &policy).0,
            Outcome::Pass,
            "other items, the same windows"
        );
        change(&mut then);
        let (outcome, _, text, _) = against(vec![found()], &then, &policy);
        assert_eq!(outcome, Outcome::Block, "{why}");
        assert!(
            text.contains("1 finding can't be compared with the baseline and counts as new")
                && text.contains(why),
            "{text}"
        );
    }
    let (.., text, _) = against(vec![found()], &then, &policy);
    assert!(
        text.contains("the baseline is a report on the same model files"),
        "{text}"
    );
}

#[test]
fn waivers_hold_and_expire_with_a_baseline_too() {
    let rules = GateRules {
        new_only: true,
        ..GateRules::default()
    };
    let with = |expires| Policy {
        waivers: vec![waiver("i", expires)],
        ..limited(rules.clone())
    };
    let found = || vec![item("i", Kind::OptOut, Level::Memorized)];
    let (clear, known) = (
        report(vec![item("i", Kind::OptOut, Level::Clear)]),
        report(found()),
    );
    let holds = date(2027, 1, 1);
    let expired = date(2026, 1, 1);
    for (then, expires, expected, action) in [
        (&clear, holds, Outcome::Pass, Action::Waived),
        (&known, holds, Outcome::Pass, Action::Waived),
        (&clear, expired, Outcome::Undecided, Action::WaiverExpired),
        (&known, expired, Outcome::Undecided, Action::WaiverExpired),
    ] {
        let (outcome, actions, text, _) = against(found(), then, &with(expires));
        assert_eq!((outcome, actions), (expected, vec![action]), "{text}");
        assert!(!text.contains("matches no finding"), "{text}");
    }
}
