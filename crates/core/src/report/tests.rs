//! A whole report from made-up scores, and what must and must not stand in it.

use super::fixture::policy;
use super::*;
use crate::backend::{BackendInfo, Scheme};
use crate::digest::FileDigest;
use crate::gate;
use crate::items::{Content, Item};
use crate::metric::window::tests::scored;
use crate::run::follow_up::NearVerbatim;
use crate::run::follow_up::{Continuation, FollowUp};
use crate::run::{FollowUpRow, Plan, ProbedItem, RunManifest, ScoredWindow};
use crate::tokens::BosChoice;
use crate::verdict::tests::evidence;
use crate::verdict::{Reason, ReasonCode};
use crate::window::{ProbedForm, Reflow, Stride, WindowConfig, WindowId};
use jiff::civil::date;

const PLANTED: &str = "zyxomma quire glimpsed nine umber herons";
const TITLE: &str = "The Umber Herons";

pub(crate) fn item(id: &str, kind: Kind, level: Level) -> ReportItem {
    let id = ItemId(id.to_owned());
    ReportItem {
        kind,
        salted_digest: Digest::of_bytes(b"salt and text"),
        opt_out: None,
        repetitions: None,
        tags: vec![],
        matches: vec![],
        origin: Origin {
            file: "set.jsonl".to_owned(),
            line: Some(1),
        },
        verdict: Verdict {
            item: id.clone(),
            level,
            reasons: vec![Reason::new(ReasonCode::WithinBudget, "made up")],
            validity: None,
        },
        evidence: evidence(1, -50.0, -50.0),
        windows: vec![],
        revealed: None,
        id,
    }
}

pub(crate) fn report(items: Vec<ReportItem>) -> Report {
    let mut report = assemble(&manifest(false), &[], &[], &[], &policy());
    report.items = items;
    report
}

fn manifest(reveal: bool) -> RunManifest {
    let digest = || Digest::of_bytes(b"file");
    let file = || FileDigest {
        name: "set.jsonl".to_owned(),
        bytes: 4,
        sha256: digest(),
        one_text: false,
    };
    RunManifest {
        schema: "byrote.run/v1".to_owned(),
        tool: "byrote 0.1.0".to_owned(),
        created_at: "2026-11-23T00:00:00Z".to_owned(),
        command: vec![],
        salt: "5a17".repeat(8),
        model: ModelIdentity {
            reference: "tiny".to_owned(),
            source: "builtin".to_owned(),
            revision: None,
            files: vec![file()],
            digest: digest(),
            backend: BackendInfo {
                name: "scripted".to_owned(),
                architecture: "table".to_owned(),
                device: "cpu".to_owned(),
                dtype: "f32".to_owned(),
                mixture: None,
                arithmetic: "f32".to_owned(),
                parameters: 1,
                vocab_size: 10,
                context_length: 128,
                schemes: Scheme::defaults(),
            },
            tokenizer_fingerprint: Some(digest()),
            model_signing: None,
            adapter: None,
        },
        reference: None,
        probe_set: InputManifest {
            files: vec![file()],
            opt_outs: 2,
            controls: 199,
            canaries: 2,
            ..Default::default()
        },
        settings: Settings {
            window: WindowConfig {
                prefix: 50,
                suffix: 2,
                lead: None,
                stride: Stride::Tokens(2),
                reflow: Reflow::Auto,
            },
            bos: BosChoice::Auto,
            bos_token: Some(1),
            templates: Vec::new(),
            exit: None,
            in_full: Vec::new(),
            reveal,
            fewer: None,
        },
        plan: Plan {
            windows: 204,
            part_size: 256,
            digest: digest(),
            part_ids: vec![digest()],
        },
    }
}

fn probed(id: &str, kind: Kind, repetitions: Option<u32>, windows: u64) -> ProbedItem {
    let text = format!("{PLANTED} {id}");
    let form = ProbedForm {
        form: Form::AsGiven,
        bytes: text.len() as u64,
        chars: text.chars().count() as u64,
        tokens: 12,
        windows,
        text: text.clone(),
    };
    ProbedItem {
        item: Item {
            id: ItemId(id.to_owned()),
            kind,
            content: Content::Text(text),
            title: Some(TITLE.to_owned()),
            author: Some("Q. Heronsby".to_owned()),
            source_url: Some("https://example.org/herons".to_owned()),
            license: Some("Heron Licence".to_owned()),
            tags: vec!["umber-tag".to_owned()],
            opt_out: Some(OptOut {
                signal: Some("robots.txt".to_owned()),
                ..Default::default()
            }),
            repetitions,
            matches: Vec::new(),
            origin: Origin {
                file: "set.jsonl".to_owned(),
                line: Some(3),
            },
        },
        salted_digest: Digest::of_bytes(format!("salt {id}").as_bytes()),
        forms: vec![form],
        unprobed: None,
    }
}

/// Two suffix tokens of total `ln p`, under both schemes.
fn window(item: &str, n: u64, ln_p: f32) -> ScoredWindow {
    let lps = [ln_p / 2.0, ln_p / 2.0];
    ScoredWindow {
        token_ids: Some(vec![777_001, 777_002]),
        left: None,
        ..scored(item, n, &[0, u32::from(ln_p < -3.0)], &lps, &lps)
    }
}

fn inputs() -> (Vec<ProbedItem>, Vec<ScoredWindow>) {
    let (mut items, mut windows) = (Vec::new(), Vec::new());
    let mut add = |id: &str, kind, repetitions, ln_ps: &[f32]| {
        items.push(probed(id, kind, repetitions, ln_ps.len() as u64));
        windows.extend(
            ln_ps
                .iter()
                .enumerate()
                .map(|(n, &ln_p)| window(id, n as u64, ln_p)),
        );
    };
    add("recited", Kind::OptOut, None, &[-1.0]);
    add("fresh", Kind::OptOut, None, &[-60.0]);
    add("canary-64", Kind::Canary, Some(64), &[-0.5]);
    add("canary-1", Kind::Canary, Some(1), &[-55.0]);
    for n in 0..199u8 {
        add(
            &format!("control-{n}"),
            Kind::Control,
            None,
            &[-40.0 - f32::from(n) / 4.0],
        );
    }
    (items, windows)
}

/// A report with everything in it: four items, 199 controls, a decision and timings.
pub(crate) fn full_report(reveal: bool) -> Report {
    let (items, windows) = inputs();
    let mut report = assemble(&manifest(reveal), &items, &windows, &[], &policy());
    report.decision = Some(gate::decide(&report, &policy(), date(2026, 11, 23)));
    report.timings = Some(Timings {
        total_s: 1.5,
        load_s: 0.25,
        scoring_s: 1.0,
        windows_scored: 204,
        windows_per_second: Some(204.0),
    });
    report
}

#[test]
fn a_run_is_measured_judged_and_counted() {
    let report = full_report(false);
    let levels: Vec<Level> = report.items[..4]
        .iter()
        .map(|item| item.verdict.level)
        .collect();
    assert_eq!(
        levels,
        [
            Level::Extractable,
            Level::Clear,
            Level::Extractable,
            Level::Clear
        ]
    );
    let counts: Vec<_> = report
        .summary
        .counts
        .iter()
        .map(|count| (count.kind, count.level, count.items))
        .collect();
    let expected = [
        (Kind::OptOut, Level::Extractable, 1),
        (Kind::OptOut, Level::Clear, 1),
        (Kind::Control, Level::Clear, 199),
        (Kind::Canary, Level::Extractable, 1),
        (Kind::Canary, Level::Clear, 1),
    ];
    assert_eq!(counts, expected);
    let recall: Vec<_> = report
        .summary
        .recall
        .iter()
        .map(|entry| (entry.repetitions, entry.items, entry.found))
        .collect();
    assert_eq!(recall, [(Some(1), 1, 0), (Some(64), 1, 1)]);
    let controls = ControlSummary {
        items: 199,
        usable: 199,
        within_budget: 0,
        greedily_extracted: 0,
        needed: 39,
    };
    assert_eq!(report.summary.controls, controls);
    // Two families of two: one finding at 1/200 stands alone, as 39 controls would have let it.
    let power: Vec<_> = report
        .summary
        .power
        .iter()
        .map(|p| (p.kind, p.items, p.findings_needed, p.controls_needed))
        .collect();
    assert_eq!(
        power,
        [
            (Kind::OptOut, 2, Some(1), 39),
            (Kind::Canary, 2, Some(1), 39)
        ]
    );
    let rates: Vec<_> = report
        .summary
        .rates
        .iter()
        .map(|rate| (rate.kind, rate.hits, rate.of))
        .collect();
    assert_eq!(rates[..2], [(Kind::OptOut, 1, 2), (Kind::OptOut, 1, 2)]);
    assert!(
        report
            .summary
            .means
            .iter()
            .any(|mean| mean.name == "em" && mean.kind == Kind::Control && mean.items == 199)
    );
    let windows = WindowCounts {
        planned: 203,
        scored: 203,
        greedily_extracted: 2,
        extracted: 2,
        ..Default::default()
    };
    assert_eq!(report.summary.windows, windows);
    assert_eq!(
        report.decision.as_ref().map(|decision| decision.outcome),
        Some(crate::policy::decision::Outcome::Block)
    );
    assert_eq!(report.items[0].windows.len(), 1);
    assert_eq!(
        report.items[0]
            .opt_out
            .as_ref()
            .and_then(|opt_out| opt_out.signal.as_deref()),
        Some("robots.txt")
    );
}

#[test]
fn the_order_of_windows_and_of_scoring_changes_nothing() {
    let (items, mut windows) = inputs();
    let forward = assemble(&manifest(false), &items, &windows, &[], &policy());
    windows.reverse();
    assert_eq!(
        assemble(&manifest(false), &items, &windows, &[], &policy()),
        forward
    );
}

#[test]
fn a_run_cut_short_is_inconclusive_and_undecided() {
    let (items, mut windows) = inputs();
    windows.remove(1);
    let report = assemble(&manifest(false), &items, &windows, &[], &policy());
    assert_eq!(report.items[1].verdict.level, Level::Inconclusive);
    assert_eq!(report.summary.windows.missing, 1);
    // Without the findings that block, that is all there is to say.
    let waived = |id: &str| crate::policy::Waiver {
        item: ItemId(id.to_owned()),
        reason: "known".to_owned(),
        expires: date(2030, 1, 1),
        approver: None,
    };
    let policy = Policy {
        waivers: vec![waived("recited"), waived("canary-64")],
        require_decided: false,
        ..policy()
    };
    assert_eq!(
        gate::decide(&report, &policy, date(2026, 11, 23)).outcome,
        crate::policy::decision::Outcome::Undecided
    );
}

#[test]
fn scores_of_no_item_and_scores_given_twice_are_stray() {
    let (items, mut windows) = inputs();
    windows.push(window("recited", 0, -0.1));
    windows.push(window("nobody", 0, -0.1));
    let mut reflowed = window("recited", 1, -0.1);
    reflowed.placement.form = Form::Reflowed;
    reflowed.window = WindowId("x".to_owned());
    windows.push(reflowed);
    let report = assemble(&manifest(false), &items, &windows, &[], &policy());
    assert_eq!(
        (report.summary.windows.stray, report.summary.windows.scored),
        (3, 203)
    );
    assert_eq!(
        report.items[0]
            .evidence
            .best("full")
            .map(|(_, best)| best.best.log_p_z),
        Some(-1.0)
    );
}

#[test]
fn without_reveal_nothing_of_a_text_stands_in_the_report() {
    let secrets = [
        "zyxomma", "umber", "Umber", "Heron", "heron", "777001", "5a175a17",
    ];
    let plain_digest =
        |report: &Report| Digest::of_bytes(format!("{PLANTED} {}", report.items[0].id).as_bytes());
    for (reveal, shown) in [(false, false), (true, true)] {
        let report = full_report(reveal);
        let everything = format!(
            "{report:?}{}",
            String::from_utf8(json_v1::render(&report)).unwrap()
        );
        assert_eq!(
            everything.contains("zyxomma") && everything.contains(TITLE),
            shown
        );
        assert!(!everything.contains(plain_digest(&report).as_str()));
        for secret in secrets {
            assert!(reveal || !everything.contains(secret), "{secret}");
        }
    }
}

#[test]
fn what_the_model_wrote_is_in_the_report_only_with_reveal() {
    let (items, windows) = inputs();
    let continuation = Continuation {
        drafted: 0,
        verbatim_run: 2,
        memorization_score: 1.0,
        agrees: true,
        near: NearVerbatim::default(),
        text: Some(PLANTED.to_owned()),
    };
    let found = FollowUp {
        continuation: Some(continuation),
        ..FollowUp::default()
    };
    let rows = [FollowUpRow {
        window: windows[0].window.clone(),
        found,
    }];
    for reveal in [false, true] {
        let report = assemble(&manifest(reveal), &items, &windows, &rows, &policy());
        let json = String::from_utf8(json_v1::render(&report)).unwrap();
        let kept = report.items[0].windows[0]
            .follow_up
            .as_ref()
            .and_then(|found| found.continuation.as_ref())
            .unwrap();
        assert_eq!((kept.text.is_some(), kept.verbatim_run), (reveal, 2));
        assert_eq!(json.contains("zyxomma"), reveal);
    }
}

#[test]
fn a_run_without_bos_by_choice_says_what_that_means() {
    let mut manifest = manifest(false);
    manifest.settings.bos = BosChoice::Never;
    manifest.settings.bos_token = None;
    let report = assemble(&manifest, &[], &[], &[], &policy());
    assert!(report.summary.notes[0].contains("--bos never"));
}

#[test]
fn judging_again_under_another_budget_says_that_coverage_is_of_the_first() {
    let report = full_report(false);
    let again = rejudge(
        &report,
        &Policy {
            tau: 0.5,
            ..policy()
        },
    );
    assert_eq!(again.items[0].verdict.level, Level::Memorized);
    assert!(
        again
            .summary
            .notes
            .last()
            .is_some_and(|note| note.starts_with("Judged again under another policy"))
    );
    assert_eq!(
        rejudge(&again, &policy()),
        Report {
            decision: None,
            ..report
        }
    );
}
