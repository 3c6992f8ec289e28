//! Early exit changes no verdict: on windows of every shape by rule, and on the built-in model by the real program.

use crate::support::program::{self, builtin_lines, report, run, verdicts, write_lines};
use byrote_core::backend::exit::Exit;
use byrote_core::backend::scripted::Scripted;
use byrote_core::backend::{Backend, Scheme, ScoreInput, TokenScores};
use byrote_core::digest::Digest;
use byrote_core::follow::exit::{exit, in_full};
use byrote_core::items::{Content, Item, ItemId, Kind, Origin};
use byrote_core::policy::Level;
use byrote_core::policy::Policy;
use byrote_core::random::SplitMix64;
use byrote_core::report::{Report, assemble, rejudge};
use byrote_core::run::directory::RunDir;
use byrote_core::run::{
    Left, ModelIdentity, Plan, ProbedItem, RUN_SCHEMA, RunManifest, ScoredWindow, Settings, TOOL,
};
use byrote_core::tokens::BosChoice;
use byrote_core::window::{Form, Placement, ProbedForm, Reflow, Stride, WindowConfig, WindowId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const VOCAB: u32 = 48;
const PREFIX: usize = 6;
const CONTROLS: usize = 40;

/// A text with the tokens of its windows.
struct Text {
    item: Item,
    windows: Vec<Vec<u32>>,
}

/// Texts of one suffix length: memorized more or less, with a token wrong here and there, at the floor, at the budget, and
/// random ones; one of them a positive control.
fn texts(
    suffix: usize,
    random: &mut SplitMix64,
    backend: &mut Scripted,
    policy: &Policy,
) -> Vec<Text> {
    let mut texts = Vec::new();
    for n in 0..CONTROLS + 16 {
        let mut item = Item::new(
            ItemId(format!("text-{n}")),
            Content::Text("a text".to_owned()),
            Origin {
                file: "made up".to_owned(),
                line: None,
            },
        );
        item.kind = match n {
            0..CONTROLS => Kind::Control,
            n if n % 4 == 0 => Kind::Canary,
            _ => Kind::OptOut,
        };
        // Controls have as many windows as any item, so that each of them is compared.
        let count = if item.kind == Kind::Control {
            3
        } else {
            1 + n % 3
        };
        let mut windows = Vec::new();
        for w in 0..count {
            let mut ids: Vec<u32> = (0..PREFIX + suffix)
                .map(|_| (random.next_u64() % u64::from(VOCAB)) as u32)
                .collect();
            if item.kind != Kind::Control && w == 0 {
                let logit = [0.0, 3.0, 5.0, 7.0, 9.0, 14.0][n % 6];
                backend.memorize(&ids, logit);
                // One token wrong, somewhere.
                if n % 5 == 0 {
                    let at = PREFIX + (random.next_u64() % suffix as u64) as usize;
                    ids[at] = (ids[at] + 1) % VOCAB;
                }
            }
            if w == 1 && n % 2 == 0 {
                let total = if n % 4 == 0 {
                    policy.floor.ln()
                } else {
                    policy.tau.ln()
                };
                let nudge = [-0.02, -0.0005, -1e-5, 0.0, 1e-5, 0.02][n % 6];
                backend.set(
                    &ids,
                    flat(suffix, total + nudge, n, backend.info().schemes.len()),
                );
            }
            windows.push(ids);
        }
        texts.push(Text { item, windows });
    }
    texts
}

/// Scores whose log-probabilities are all the same under every scheme, with a miss at every `n % 7 + 1`-th token.
fn flat(suffix: usize, total: f64, n: usize, schemes: usize) -> TokenScores {
    let logprob = vec![(total / suffix as f64) as f32; suffix];
    let rank: Vec<u32> = (0..suffix)
        .map(|i| u32::from(i % (n % 7 + 1) == 0))
        .collect();
    TokenScores {
        margin: rank
            .iter()
            .map(|&rank| {
                if rank == 0 {
                    0.5
                } else {
                    [-0.5, -0.0015, -0.0005][n % 3]
                }
            })
            .collect(),
        scheme_logprob: vec![logprob.clone(); schemes],
        expected_logprob: vec![-1.0; suffix],
        logprob_sd: vec![1.0; suffix],
        logprob,
        rank,
    }
}

fn row(text: &Text, n: usize, scores: Result<TokenScores, String>) -> ScoredWindow {
    let suffix_len = text.windows[n].len() - PREFIX;
    let (from, to) = (10 * n as u64, 10 * n as u64 + 10);
    ScoredWindow {
        item: text.item.id.clone(),
        window: WindowId(format!("{}#{n}", text.item.id)),
        placement: Placement {
            form: Form::AsGiven,
            template: Default::default(),
            start_token: 0,
            start_byte: from,
            suffix_byte: from,
            end_byte: to,
            suffix_char: from,
            end_char: to,
            prefix_len: PREFIX as u32,
            suffix_len: suffix_len as u32,
            straddles: false,
        },
        text: Default::default(),
        token_ids: None,
        left: scores
            .as_ref()
            .ok()
            .filter(|own| own.logprob.len() < suffix_len)
            .map(|_| Left::Floor),
        scores,
    }
}

fn judged(texts: &[Text], rows: &[ScoredWindow], backend: &Scripted, policy: &Policy) -> Report {
    let digest = || Digest::of_bytes(b"made up");
    let manifest = RunManifest {
        schema: RUN_SCHEMA.to_owned(),
        tool: TOOL.to_owned(),
        created_at: "2026-11-23T00:00:00Z".to_owned(),
        command: Vec::new(),
        salt: "5a17".repeat(8),
        model: ModelIdentity {
            reference: "scripted".to_owned(),
            source: "made up".to_owned(),
            revision: None,
            files: Vec::new(),
            digest: digest(),
            backend: backend.info().clone(),
            tokenizer_fingerprint: None,
            model_signing: None,
            adapter: None,
        },
        reference: None,
        probe_set: Default::default(),
        settings: Settings {
            window: WindowConfig {
                prefix: 6,
                suffix: 6,
                lead: None,
                stride: Stride::Tokens(6),
                reflow: Reflow::Off,
            },
            bos: BosChoice::Auto,
            bos_token: None,
            templates: Vec::new(),
            exit: None,
            in_full: Vec::new(),
            reveal: false,
            fewer: None,
        },
        plan: Plan {
            windows: rows.len() as u64,
            part_size: 64,
            digest: digest(),
            part_ids: Vec::new(),
        },
    };
    let probed = |text: &Text| ProbedItem {
        item: text.item.clone(),
        salted_digest: digest(),
        forms: vec![ProbedForm {
            form: Form::AsGiven,
            bytes: 100,
            chars: 100,
            tokens: 100,
            windows: text.windows.len() as u64,
            text: String::new(),
        }],
        unprobed: None,
    };
    assemble(
        &manifest,
        &texts.iter().map(probed).collect::<Vec<_>>(),
        rows,
        &[],
        policy,
    )
}

/// All windows in full, and as an exit leaves them.
fn both(
    texts: &[Text],
    backend: &Scripted,
    rule: &Exit,
    policy: &Policy,
) -> [Vec<ScoredWindow>; 2] {
    let mut rows = [Vec::new(), Vec::new()];
    for text in texts {
        let inputs: Vec<ScoreInput<'_>> = text
            .windows
            .iter()
            .map(|ids| ScoreInput {
                token_ids: ids,
                prefix_len: PREFIX,
            })
            .collect();
        let full = backend.score(&inputs);
        let stays = in_full(text.item.kind, &text.item.id, &text.item.tags, policy);
        let cut = if stays {
            full.clone()
        } else {
            backend.score_until(&inputs, rule)
        };
        for (rows, scores) in rows.iter_mut().zip([full, cut]) {
            rows.extend(
                scores
                    .into_iter()
                    .enumerate()
                    .map(|(n, own)| row(text, n, own.map_err(|e| e.to_string()))),
            );
        }
    }
    rows
}

#[test]
fn every_verdict_is_the_same_with_and_without_exits_whatever_the_windows() {
    let ids = |list: &[&str]| {
        list.iter()
            .map(|id| Scheme::parse(id).unwrap())
            .collect::<Vec<_>>()
    };
    let change: [fn(&mut Policy); 5] = [
        |_| (),
        |policy| policy.floor = policy.tau,
        |policy| policy.follow_up.near_miss = 1.0,
        |policy| (policy.tau, policy.floor, policy.follow_up.epsilon) = (1e-9, 1e-12, 0.0),
        |policy| policy.follow_up.near_miss = 0.5,
    ];
    let schemes = [
        &["greedy", "top_k40"][..],
        &["greedy"],
        &["full"],
        &["t0.7_top_k5", "top_k10"],
    ];
    let (mut left, mut all, mut found, mut cases) = (0, 0, BTreeMap::<Level, u64>::new(), 0);
    for suffix in [1, 2, 4, 5, 8, 13, 33, 50] {
        for (n, names) in schemes.iter().enumerate() {
            for (c, change) in change.iter().enumerate() {
                let mut policy = Policy {
                    schemes: ids(names),
                    ..Policy::open("quick").unwrap()
                };
                policy.positive_controls = vec![ItemId("text-41".to_owned())];
                change(&mut policy);
                // A missed positive control makes everything inconclusive: every other case goes without one.
                if (n + c) % 2 == 0 {
                    policy.positive_controls.clear();
                }
                let mut backend =
                    Scripted::new(VOCAB, 64).scored_under(Scheme::with_defaults(&policy.schemes));
                let mut random = SplitMix64::new((suffix * 31 + n * 7 + c) as u64);
                let texts = texts(suffix, &mut random, &mut backend, &policy);
                let [full, cut] = both(&texts, &backend, &exit(&policy, "f32").unwrap(), &policy);
                let (with, without) = (
                    judged(&texts, &cut, &backend, &policy),
                    judged(&texts, &full, &backend, &policy),
                );
                for (with, without) in with.items.iter().zip(&without.items) {
                    let at = format!("{} suffix {suffix} schemes {names:?} change {c}", with.id);
                    assert_eq!(
                        with.verdict.level, without.verdict.level,
                        "{at}: {:?}",
                        with.verdict.reasons
                    );
                    assert_eq!(with.verdict.validity, without.verdict.validity, "{at}");
                    let spans = |item: &byrote_core::report::ReportItem| {
                        let values = item.evidence.worst().and_then(|form| form.values.clone());
                        let sum = |values: &byrote_core::metric::item::FormValues| {
                            values.greedily_extracted
                        };
                        let greedy = values.as_ref().map_or(0, sum);
                        (
                            values
                                .and_then(|values| Some(values.extraction?.spans))
                                .unwrap_or_default(),
                            greedy,
                        )
                    };
                    assert_eq!(spans(with), spans(without), "{at}");
                    *found.entry(with.verdict.level).or_default() += 1;
                    if with.kind == Kind::Control {
                        assert_eq!(with.evidence.left(), 0, "{at}");
                    }
                }
                for (cut, full) in cut.iter().zip(&full) {
                    let (part, whole) =
                        (cut.scores.as_ref().unwrap(), full.scores.as_ref().unwrap());
                    assert_eq!(*part, whole.first(part.logprob.len()));
                }
                left += with.summary.windows.left;
                all += with.summary.windows.planned;
                assert_eq!(without.summary.windows.left, 0);
                cases += 1;
            }
        }
    }
    println!("{cases} cases, {left} of {all} windows left, verdicts {found:?}");
    assert!(left > 500 && found.len() == 5, "{left} {found:?}");
}

#[test]
fn a_left_window_never_counts_as_a_score_and_a_broken_one_is_not_measured() {
    let policy = Policy::open("quick").unwrap();
    let mut backend = Scripted::new(VOCAB, 64).scored_under(Scheme::with_defaults(&policy.schemes));
    let texts = texts(33, &mut SplitMix64::new(5), &mut backend, &policy);
    let [_, mut cut] = both(&texts, &backend, &exit(&policy, "f32").unwrap(), &policy);
    let report = judged(&texts, &cut, &backend, &policy);
    let whole = |report: &Report, id: &str| {
        report
            .items
            .iter()
            .find(|item| item.id.0 == id)
            .unwrap()
            .clone()
    };
    let all_left: Vec<_> = report
        .items
        .iter()
        .filter(|item| item.evidence.left() == item.evidence.windows())
        .collect();
    assert!(!all_left.is_empty());
    for item in &all_left {
        let form = &item.evidence.forms[0];
        assert_eq!(
            (form.scored, form.missing(), form.values.is_none()),
            (0, 0, true)
        );
        assert_eq!(
            item.verdict.level,
            Level::Clear,
            "{:?}",
            item.verdict.reasons
        );
        assert!(
            item.verdict.reasons[0]
                .message
                .starts_with("below the floor of"),
            "{:?}",
            item.verdict.reasons
        );
        assert!(
            item.verdict.reasons[1]
                .message
                .starts_with("p_z is at most ")
                || item.verdict.reasons[1].message.starts_with("p_z = 0: "),
            "{:?}",
            item.verdict.reasons
        );
        assert_eq!(item.verdict.validity.unwrap().p_value, 1.0);
        assert!(form.left.bound("full").unwrap() < policy.floor.ln());
    }
    let mixed: Vec<_> = report
        .items
        .iter()
        .filter(|item| item.evidence.left() > 0 && item.evidence.left() < item.evidence.windows())
        .collect();
    assert!(!mixed.is_empty());
    for item in mixed {
        let values = item.evidence.forms[0].values.as_ref().unwrap();
        assert!(
            values.mean_em.is_none()
                && values.mean_logprob.is_none()
                && values.membership.is_none()
        );
        assert!(values.min_margin.is_none() && values.extraction_strength.is_none());
        assert!(
            values
                .schemes
                .iter()
                .all(|own| own.median_log_p_z.is_none())
        );
        assert!(values.max_verbatim_run.is_some(), "a miss settles it");
    }
    // Without exits the policy with no floor tells more apart: what was left can't be judged by it.
    let again = rejudge(
        &report,
        &Policy {
            schemes: policy.schemes.clone(),
            ..Policy::default()
        },
    );
    for item in all_left {
        let item = whole(&again, &item.id.0);
        assert_eq!(item.verdict.level, Level::Inconclusive);
        assert!(
            item.verdict.reasons[0]
                .message
                .contains("were left before their end"),
            "{:?}",
            item.verdict.reasons
        );
        assert!(
            item.verdict.reasons[0].message.contains("--exhaustive"),
            "{:?}",
            item.verdict.reasons
        );
    }
    // A higher floor is no problem.
    let higher = rejudge(
        &report,
        &Policy {
            floor: 1e-4,
            ..policy.clone()
        },
    );
    assert!(
        higher.items.iter().all(
            |item| item.verdict.level != Level::Inconclusive || !item.evidence.forms.is_empty()
        )
    );

    let damage: [fn(&mut ScoredWindow); 3] = [
        |row| row.scores.as_mut().unwrap().logprob[0] = f32::NAN,
        |row| row.scores.as_mut().unwrap().margin.clear(),
        |row| row.placement.suffix_len = 4,
    ];
    for damage in damage {
        let place = cut.iter().position(|row| row.left.is_some()).unwrap();
        let good = cut[place].clone();
        damage(&mut cut[place]);
        let item = whole(&judged(&texts, &cut, &backend, &policy), &good.item.0);
        assert_eq!(
            item.verdict.level,
            Level::Inconclusive,
            "{:?}",
            item.verdict.reasons
        );
        assert_eq!(item.evidence.forms[0].unscored.len(), 1);
        cut[place] = good;
    }
}

/// Nats a token between tokens fed in chunks and at once.
const BOUND: f32 = 1e-4;

fn windows(run: &Path) -> BTreeMap<String, ScoredWindow> {
    let rows = RunDir::load(run).unwrap().read_all().unwrap();
    rows.into_iter()
        .map(|row| (row.window.0.clone(), row))
        .collect()
}

#[test]
fn quick_says_of_the_built_in_set_what_it_says_with_every_window_scored() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["probe", "--gate", "quick", "--out", "quick"]).exits(1);
    run(
        dir.path(),
        &["probe", "--gate", "quick", "--exhaustive", "--out", "full"],
    )
    .exits(1);
    let (quick, full) = (dir.path().join("quick"), dir.path().join("full"));
    let (with, without) = (report(&quick), report(&full));
    assert_eq!(verdicts(&with), verdicts(&without));
    for (a, b) in with["items"]
        .as_array()
        .unwrap()
        .iter()
        .zip(without["items"].as_array().unwrap())
    {
        assert_eq!(a["spans"], b["spans"], "{}", a["id"]);
        assert_eq!(
            a["validity"]["p_value"], b["validity"]["p_value"],
            "{}",
            a["id"]
        );
    }
    assert_eq!(with["decision"]["outcome"], without["decision"]["outcome"]);
    let count = |report: &Value, what: &str| report["summary"]["windows"][what].as_u64().unwrap();
    assert_eq!(
        (count(&without, "left"), &without["settings"].get("exit")),
        (0, &None)
    );
    assert_eq!(
        count(&with, "left") + count(&with, "scored"),
        count(&with, "planned")
    );
    for what in ["greedily_extracted", "extracted", "unscored", "missing"] {
        assert_eq!(count(&with, what), count(&without, what), "{what}");
    }

    let (part, whole) = (windows(&quick), windows(&full));
    let rule = exit(&Policy::open("quick").unwrap(), "f32").unwrap();
    let schemes = RunDir::load(&quick)
        .unwrap()
        .manifest()
        .model
        .backend
        .schemes
        .clone();
    let (mut worst, mut tokens, mut fed) = (0f32, 0, 0);
    for (row, other) in part.values().zip(whole.values()) {
        let (own, all) = (row.scores.as_ref().unwrap(), other.scores.as_ref().unwrap());
        for (a, b) in own.logprob.iter().zip(&all.logprob) {
            worst = worst.max((a - b).abs());
        }
        let same = own
            .rank
            .iter()
            .zip(&all.rank)
            .zip(&all.margin)
            .all(|((a, b), margin)| a == b || margin.abs() < BOUND || *b > 0);
        assert!(same, "{}: {:?} {:?}", row.window, own.rank, all.rank);
        match row.left {
            None => assert_eq!(own.rank.len(), row.placement.suffix_len as usize),
            Some(left) => {
                assert_eq!(left, Left::Floor);
                assert!(!row.item.0.starts_with("control"), "{}", row.window);
                assert!(rule.may_stop(own, row.placement.suffix_len as usize, &schemes));
            }
        }
        (tokens, fed) = (
            tokens + row.placement.suffix_len as usize,
            fed + own.rank.len(),
        );
    }
    assert!(worst <= BOUND, "{worst}");
    let left = count(&with, "left");
    println!(
        "{left} of {} windows left, {fed} of {tokens} suffix tokens scored, {worst:.1e} nats",
        part.len()
    );
    assert!(left > 60, "{left}");

    // Every format says what was left, and no bound looks like a value.
    for file in ["report.html", "report.md"] {
        let text = std::fs::read_to_string(quick.join(file)).unwrap();
        assert!(text.contains("left before their end"), "{file}");
        let other = std::fs::read_to_string(full.join(file)).unwrap();
        assert!(!other.contains("left before their end"), "{file}");
    }
    assert!(
        std::fs::read_to_string(quick.join("report.html"))
            .unwrap()
            .contains("left below the floor")
    );

    // Resumed under another rule the parts would differ.
    let refused = run(
        dir.path(),
        &["probe", "--gate", "quick", "--exhaustive", "--out", "quick"],
    )
    .exits(2);
    assert!(
        refused.stderr.contains("settings.exit"),
        "{}",
        refused.stderr
    );
    let refused = run(
        dir.path(),
        &["probe", "--gate", "default", "--out", "quick"],
    )
    .exits(2);
    assert!(
        refused.stderr.contains("settings.exit"),
        "{}",
        refused.stderr
    );

    // Parts that are missing are scored again, bit for bit.
    let scores = program::scores(&quick);
    let gone = scores.keys().next_back().unwrap();
    std::fs::remove_file(quick.join("scores").join(gone)).unwrap();
    run(dir.path(), &["probe", "--gate", "quick", "--out", "quick"]).exits(1);
    assert_eq!(program::scores(&quick), scores);

    // By a policy without a floor, what was left decides nothing.
    let again = run(
        dir.path(),
        &["gate", "quick", "--policy", "default", "--format", "json"],
    );
    assert!(again.code == Some(1) || again.code == Some(2), "{again:?}");
}

#[test]
fn batches_threads_and_order_change_neither_verdicts_nor_where_windows_leave() {
    let dir = tempfile::tempdir().unwrap();
    let lines = builtin_lines(40);
    write_lines(&dir.path().join("set.jsonl"), &lines);
    let shuffled: Vec<String> = (0..lines.len())
        .map(|i| lines[i * 37 % lines.len()].clone())
        .collect();
    write_lines(&dir.path().join("shuffled.jsonl"), &shuffled);
    let mut expected: Option<(BTreeMap<String, String>, BTreeMap<String, usize>)> = None;
    for (name, set, batch, threads) in [
        ("alone", "set.jsonl", "1", "1"),
        ("batch-3", "set.jsonl", "3", "2"),
        ("batch-16", "shuffled.jsonl", "16", "2"),
    ] {
        let args = [
            "probe",
            "--prompts",
            set,
            "--out",
            name,
            "--batch",
            batch,
            "--threads",
            threads,
        ];
        let layout = ["--prefix", "40", "--suffix", "40", "--gate", "quick"];
        run(dir.path(), &[&args[..], &layout].concat());
        let rows = windows(&dir.path().join(name));
        let scored: BTreeMap<String, usize> = rows
            .into_iter()
            .map(|(id, row)| (id, row.scores.unwrap().rank.len()))
            .collect();
        let found = (verdicts(&report(&dir.path().join(name))), scored);
        assert!(found.1.values().any(|&tokens| tokens < 40));
        assert_eq!(*expected.get_or_insert(found.clone()), found, "{name}");
    }
}

#[test]
fn a_reference_and_a_sweep_score_every_window() {
    let dir = tempfile::tempdir().unwrap();
    write_lines(&dir.path().join("set.jsonl"), &builtin_lines(20)[40..]);
    let layout = [
        "--prefix",
        "24",
        "--suffix",
        "24",
        "--prompts",
        "set.jsonl",
        "--gate",
        "quick",
    ];
    run(
        dir.path(),
        &[
            &["probe", "--reference", "builtin", "--out", "compared"][..],
            &layout,
        ]
        .concat(),
    );
    let sweep = [
        "--prefix",
        "16,24",
        "--suffix",
        "24",
        "--prompts",
        "set.jsonl",
        "--gate",
        "quick",
        "--out",
        "sweep",
    ];
    run(dir.path(), &[&["probe"][..], &sweep].concat());
    let mut reports = 0;
    for (path, bytes) in program::tree(dir.path())
        .into_iter()
        .filter(|(path, _)| path.ends_with("report.json"))
    {
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            (
                &json["summary"]["windows"]["left"],
                json["settings"].get("exit")
            ),
            (&json!(0), None),
            "{path}"
        );
        reports += 1;
    }
    assert!(reports >= 3, "{reports}");
}

#[test]
fn score_leaves_windows_below_what_is_asked_and_tells_after_how_many_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let canary = builtin_lines(0);
    let text = |line: &String| {
        serde_json::from_str::<Value>(line).unwrap()["text"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (first, most) = (text(&canary[0]), text(canary.last().unwrap()));
    let half = |text: &str| text.char_indices().nth(text.chars().count() / 2).unwrap().0;
    let lines: Vec<String> = [first, most, "abc".to_owned()]
        .iter()
        .map(|text| {
            json!({"id": text.len(), "prefix": text[..half(text)], "suffix": text[half(text)..]})
                .to_string()
        })
        .collect();
    write_lines(&dir.path().join("in.jsonl"), &lines);
    let score = |out: &str, more: &[&str]| -> Vec<Value> {
        let args = [
            "score", "--model", "builtin", "--input", "in.jsonl", "--output", out,
        ];
        run(dir.path(), &[&args[..], more].concat()).exits(0);
        let text = std::fs::read_to_string(dir.path().join(out)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let (full, part) = (
        score("full.jsonl", &[]),
        score("part.jsonl", &["--exit-below", "-20"]),
    );
    let mut left = 0;
    for (full, part) in full.iter().zip(&part) {
        let (all, own) = (
            full["logprobs"].as_array().unwrap(),
            part["logprobs"].as_array().unwrap(),
        );
        let sum: f64 = own.iter().map(|lp| lp.as_f64().unwrap()).sum();
        assert!(full.get("left_after").is_none());
        for (a, b) in all.iter().zip(own) {
            assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < f64::from(BOUND));
        }
        match part.get("left_after") {
            Some(after) => {
                left += 1;
                assert!(own.len() < all.len() && *after == json!(own.len()) && sum < -20.0);
                assert!(part["sum_logprob"].is_null() && part["greedy_exact"] != json!(true));
                assert_eq!(part["ranks"].as_array().unwrap().len(), own.len());
            }
            None => assert_eq!(
                (own.len(), part["greedy_exact"].is_null()),
                (all.len(), false)
            ),
        }
    }
    assert!(left > 0 && left < full.len(), "{left}");
    for bad in ["0", "1e-6", "nan", "-inf"] {
        let args = [
            "score",
            "--model",
            "builtin",
            "--input",
            "in.jsonl",
            "--output",
            "x",
            "--exit-below",
            bad,
        ];
        assert!(
            run(dir.path(), &args)
                .exits(2)
                .stderr
                .contains("natural log of a probability"),
            "{bad}"
        );
    }
}
