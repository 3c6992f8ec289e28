//! Fewer windows scored: identical ones once, coarse to fine, and what a screen keeps. Against runs that score all of them.
//!
//! `BYROTE_TEST_LONG=1` takes a document of some 100,000 tokens of which 1% is memorized, which takes minutes, and prints
//! figures.

use crate::support::program::{
    self, builtin_lines, report, repository, run, tree, verdicts, write_lines,
};
use byrote_core::follow::select::hit;
use byrote_core::policy::Policy;
use byrote_core::run::directory::RunDir;
use byrote_core::run::{Left, ScoredWindow};
use byrote_core::window::Form;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

fn text(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap()["text"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Texts that the built-in model was never trained on, of several genres in turn.
fn strange(count: usize) -> Vec<String> {
    let genres = [
        "prose",
        "news",
        "dialogue",
        "legal",
        "personal",
        "technical",
        "verse",
    ];
    let lines = |genre: &str| {
        let file = std::fs::read_to_string(repository(&format!("prompts/controls/{genre}.jsonl")))
            .unwrap();
        file.lines().map(text).collect::<Vec<_>>()
    };
    let genres = genres.map(lines);
    let builtin = builtin_lines(240);
    let turns = (0..30).flat_map(|i| genres.iter().map(move |texts| texts[i].clone()));
    turns
        .chain(builtin[150..].iter().map(|line| text(line)))
        .take(count)
        .collect()
}

/// A long text with so many canaries in it, each of which the model was trained on 64 times.
fn document(texts: usize, canaries: usize) -> String {
    let lines = builtin_lines(0);
    let known: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("\"repetitions\":64"))
        .take(canaries)
        .collect();
    assert_eq!(known.len(), canaries);
    let every = texts / canaries;
    let mut parts = Vec::new();
    for (i, strange) in strange(texts).into_iter().enumerate() {
        parts.push(strange);
        if i % every == every / 2 {
            parts.extend(known.get(i / every).map(|line| text(line)));
        }
    }
    parts.join(" ")
}

/// The document, a canary, a text that was never seen, and controls.
fn probe_set(dir: &Path, document: &str) {
    let mut lines = vec![json!({"id": "long", "text": document}).to_string()];
    let builtin = builtin_lines(80);
    lines.push(
        builtin
            .iter()
            .find(|line| line.contains("canary-r64-10"))
            .unwrap()
            .clone(),
    );
    lines.push(json!({"id": "unseen", "text": text(&builtin[builtin.len() - 1])}).to_string());
    lines.extend_from_slice(&builtin[70..builtin.len() - 1]);
    write_lines(&dir.join("set.jsonl"), &lines);
    // No follow-ups to speak of: they are the same either way, and take longer than the windows.
    let quiet = "schema = \"byrote.policy/v1\"\n[follow_up]\nwindows = 0\nnear_miss = 1\nbeam = 0\nforeign_prefixes = 0\n";
    std::fs::write(dir.join("quiet.toml"), quiet).unwrap();
}

/// Windows of prefix, suffix and stride.
#[derive(Clone, Copy)]
struct Cut {
    prefix: u32,
    suffix: u32,
    stride: u32,
}

const SMALL: Cut = Cut {
    prefix: 24,
    suffix: 24,
    stride: 4,
};

fn probe(dir: &Path, out: &str, cut: Cut, more: &[&str]) -> program::Ran {
    let Cut {
        prefix,
        suffix,
        stride,
    } = cut;
    let sizes = [prefix, suffix, stride].map(|size| size.to_string());
    let windows = [
        "--prefix", &sizes[0], "--suffix", &sizes[1], "--stride", &sizes[2],
    ];
    let args = [
        "probe",
        "--prompts",
        "set.jsonl",
        "--gate",
        "quiet.toml",
        "--out",
        out,
    ];
    run(dir, &[&args[..], &windows, more].concat())
}

fn rows(run: &Path) -> Vec<ScoredWindow> {
    RunDir::load(run).unwrap().read_all().unwrap()
}

/// Whether windows are hits, under the built-in policy.
fn hits(run: &Path, rows: &[ScoredWindow]) -> Vec<bool> {
    let dir = RunDir::load(run).unwrap();
    rows.iter()
        .map(|row| hit(row, &dir.manifest().model.backend, &Policy::default()))
        .collect()
}

/// The memorized runs of an item of at least so many tokens: ranges of windows, all of them hits, where the longest stretch
/// that holds the suffixes of no others is at least so long.
fn long_runs(rows: &[ScoredWindow], hits: &[bool], least: u32) -> Vec<std::ops::Range<usize>> {
    let suffix = |row: &ScoredWindow| {
        (
            row.placement.start_token + row.placement.prefix_len,
            row.placement.start_token + row.placement.prefix_len + row.placement.suffix_len,
        )
    };
    let mut runs = Vec::new();
    let mut from = 0;
    while from < rows.len() {
        let to = (from..rows.len())
            .find(|place| !hits[*place])
            .unwrap_or(rows.len());
        if to > from {
            let begin = from
                .checked_sub(1)
                .map_or(suffix(&rows[from]).0, |before| suffix(&rows[before]).0 + 1);
            let end = rows
                .get(to)
                .map_or(suffix(&rows[to - 1]).1, |after| suffix(after).1 - 1);
            if end - begin >= least {
                runs.push(from..to);
            }
        }
        from = to + 1;
    }
    runs
}

/// Compares a run coarse to fine with one that scores everything; gives the windows of the long text, those of them scored,
/// and its memorized runs.
fn compare(dir: &Path, least: u32) -> (usize, usize, usize) {
    let (all, some) = (rows(&dir.join("all")), rows(&dir.join("some")));
    let (all_hits, some_hits) = (hits(&dir.join("all"), &all), hits(&dir.join("some"), &some));
    assert_eq!(all.len(), some.len());
    let (mut found, mut planned, mut scored) = (0, 0, 0);
    for item in ["long", "canary-r64-10", "unseen"] {
        let places: Vec<usize> = (0..all.len())
            .filter(|place| all[*place].item.0 == item)
            .collect();
        let range = places[0]..places[0] + places.len();
        for run in long_runs(&all[range.clone()], &all_hits[range.clone()], least) {
            found += usize::from(item == "long");
            for place in run.clone() {
                assert!(
                    some_hits[range.start + place],
                    "{item}: window {place} of the run {run:?} is missed"
                );
            }
        }
        if item == "long" {
            planned = range.len();
            scored = some[range].iter().filter(|row| row.left.is_none()).count();
        }
    }
    for (all, some) in all.iter().zip(&some) {
        assert!(all.left.is_none() && all.placement.form == Form::AsGiven);
        match some.left {
            Some(left) => {
                assert!(left == Left::Coarse && some.scores.as_ref().unwrap().logprob.is_empty())
            }
            None => {
                let worst = all
                    .scores
                    .as_ref()
                    .unwrap()
                    .logprob
                    .iter()
                    .zip(&some.scores.as_ref().unwrap().logprob);
                assert!(
                    worst.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-3,
                    "{}",
                    all.window
                );
            }
        }
    }
    let full = some
        .iter()
        .filter(|row| !["long", "canary-r64-10", "unseen"].contains(&&*row.item.0));
    assert!(
        full.map(|row| row.left).all(|left| left.is_none()),
        "controls are scored in full"
    );
    (planned, scored, found)
}

#[test]
fn coarse_to_fine_scores_a_quarter_and_misses_no_run_of_the_stated_length() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    probe_set(dir, &document(24, 2));
    probe(dir, "all", SMALL, &[]);
    let ran = probe(dir, "some", SMALL, &["--find-runs", "47"]);
    let (planned, scored, found) = compare(dir, 47);
    println!(
        "{scored} of {planned} windows scored, {found} runs of 47 tokens or more, none missed"
    );
    assert!(scored * 4 <= planned && found >= 2);

    // Verdicts and reasons.
    let (all, some) = (report(&dir.join("all")), report(&dir.join("some")));
    let (verdicts_all, verdicts_some) = (verdicts(&all), verdicts(&some));
    for item in ["canary-r64-10", "unseen"] {
        assert_eq!(verdicts_all[item], verdicts_some[item], "{item}");
    }
    assert_eq!(
        (&*verdicts_some["canary-r64-10"], &*verdicts_some["unseen"]),
        ("extractable", "clear")
    );
    let reasons = |id: &str| {
        some["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["id"] == id)
            .unwrap()["reasons"]
            .to_string()
    };
    assert!(
        reasons("unseen").contains("no memorized run of 47 tokens or more"),
        "{}",
        reasons("unseen")
    );
    assert!(
        reasons("long").contains("there may be more"),
        "{}",
        reasons("long")
    );
    assert!(
        some["summary"]["notes"]
            .to_string()
            .contains("Every memorized run of 47 tokens or more")
    );
    assert!(
        ran.stdout
            .contains("Scored coarse to fine: first one window every 24 tokens"),
        "{}",
        ran.stdout
    );
    assert_eq!(some["settings"]["fewer"]["find_runs"]["stride"], 24);

    // Judged again under a stricter budget, what wasn't looked for isn't clear.
    std::fs::write(
        dir.join("stricter.toml"),
        "schema = \"byrote.policy/v1\"\ntau = 0.0001\n",
    )
    .unwrap();
    let again = run(
        dir,
        &[
            "gate",
            "some",
            "--policy",
            "stricter.toml",
            "--format",
            "json",
        ],
    );
    assert!(
        again.stdout.contains("looked for less") || again.stdout.contains("inconclusive"),
        "{}",
        again.stdout
    );

    resumes_to_the_same_bytes(dir, "some", &["--find-runs", "47"]);
    let other = probe(dir, "some", SMALL, &["--find-runs", "51"]).exits(2);
    assert!(
        other
            .stderr
            .contains("run: settings.fewer.find_runs.tokens (47, now 51)"),
        "{}",
        other.stderr
    );
}

/// Takes parts away, as if the run had been killed before they were written, and runs it again.
fn resumes_to_the_same_bytes(dir: &Path, out: &str, more: &[&str]) {
    let kept = |run: &Path| {
        let mut files = tree(run);
        files.retain(|name, _| name.ends_with(".parquet"));
        files
    };
    let path = dir.join(out);
    let before = kept(&path);
    let names: Vec<&String> = before.keys().collect();
    assert!(
        names.iter().any(|name| name.starts_with("first-pass/")) && names.len() > 6,
        "{names:?}"
    );
    let first = |name: &&&String| name.starts_with("first-pass/");
    let lost: [Vec<&String>; 4] = [
        names.iter().rev().take(3).copied().collect(),
        names
            .iter()
            .filter(|name| !first(name))
            .step_by(2)
            .copied()
            .collect(),
        names
            .iter()
            .filter(first)
            .take(1)
            .chain(names.iter().rev().take(2))
            .copied()
            .collect(),
        names.clone(),
    ];
    for lost in lost {
        lost.iter()
            .for_each(|name| std::fs::remove_file(path.join(name)).unwrap());
        probe(dir, out, SMALL, more);
        let after = kept(&path);
        assert_eq!(after.keys().collect::<Vec<_>>(), names);
        names.iter().for_each(|name| {
            assert!(
                after[*name] == before[*name],
                "{name} differs after {lost:?} were lost"
            )
        });
    }
}

#[test]
fn a_screen_says_how_much_it_misses_and_calls_nothing_clear() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    probe_set(dir, &document(24, 2));
    probe(dir, "all", SMALL, &[]);
    let screen = ["--screen", "128"];
    let ran = probe(dir, "some", SMALL, &screen);
    let (all, some) = (rows(&dir.join("all")), rows(&dir.join("some")));
    let all_hits = hits(&dir.join("all"), &all);
    let report = report(&dir.join("some"));
    let found = &report["summary"]["screened"];
    let count = |field: &str| found[field].as_u64().unwrap();
    let left = some
        .iter()
        .filter(|row| row.left == Some(Left::Screen))
        .count() as u64;
    assert_eq!(
        (count("left"), count("sampled")),
        (left + count("sampled"), 200)
    );
    let others =
        |place: &usize| ["long", "canary-r64-10", "unseen"].contains(&&*all[*place].item.0);
    let mine = || (0..all.len()).filter(others);
    assert_eq!(count("kept") + count("left"), mine().count() as u64);
    assert!(
        all.iter()
            .zip(&some)
            .all(|(_, some)| some.left != Some(Left::Coarse))
    );

    // The interval holds the truth, which is known here.
    let hits = mine().filter(|place| all_hits[*place]).count() as f64;
    let truth = count("kept_hits") as f64 / hits;
    let end = |field: &str| found[field].as_f64().unwrap();
    println!("{found}; in truth {truth:.3} of {hits} hits");
    assert!(
        end("lower") <= truth && truth <= end("upper"),
        "{truth} is outside"
    );
    assert!(end("lower") <= end("recall") && end("recall") <= end("upper"));
    assert!(
        count("kept_hits") > 0 && left * 2 > mine().count() as u64,
        "it leaves most and finds some"
    );

    let verdicts = verdicts(&report);
    assert_eq!(
        (&*verdicts["canary-r64-10"], &*verdicts["unseen"]),
        ("extractable", "inconclusive")
    );
    assert!(report["items"].to_string().contains("screened only: "));
    assert!(
        ran.stdout.contains("The screen's recall is "),
        "{}",
        ran.stdout
    );
    for format in ["md", "json"] {
        let path = dir.join(format!("some/report.{format}"));
        assert!(
            std::fs::read_to_string(path)
                .unwrap()
                .contains("The screen's recall is "),
            "{format}"
        );
    }
    assert!(
        std::fs::read_to_string(dir.join("some/report.html"))
            .unwrap()
            .contains("recall is ")
    );
    resumes_to_the_same_bytes(dir, "some", &screen);
}

#[test]
fn identical_windows_are_scored_once_and_come_out_as_if_each_was() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let texts = strange(3);
    // Two versions that begin alike, one that stands in the middle of neither, and a control that begins like the first.
    let set = [
        json!({"id": "a", "text": format!("{} {}", texts[0], texts[1])}),
        json!({"id": "b", "text": format!("{} {}", texts[0], texts[2])}),
        json!({"id": "c", "kind": "control", "text": texts[0]}),
        json!({"id": "d", "kind": "control", "text": format!("{} Thus it ends.", texts[0])}),
    ];
    let cut = Cut { stride: 1, ..SMALL };
    let quiet = "schema = \"byrote.policy/v1\"\ndeny = []\nrequire_decided = false\n[follow_up]\nwindows = 0\nnear_miss = 1\nbeam = 0\nforeign_prefixes = 0\n";
    std::fs::write(dir.join("quiet.toml"), quiet).unwrap();
    let write = |lines: &[Value]| {
        write_lines(
            &dir.join("set.jsonl"),
            &lines.iter().map(Value::to_string).collect::<Vec<_>>(),
        )
    };
    // Batches of one: what a window scores then doesn't depend on its neighbours, to the last bit.
    let alone = ["--batch", "1"];
    write(&set);
    probe(dir, "together", cut, &alone);
    let together = rows(&dir.join("together"));
    let mut apart = Vec::new();
    for (i, line) in set.iter().enumerate() {
        write(std::slice::from_ref(line));
        probe(dir, &format!("apart-{i}"), cut, &alone);
        apart.extend(rows(&dir.join(format!("apart-{i}"))));
    }
    assert_eq!(together, apart);

    let parsed: Value =
        serde_json::from_slice(&std::fs::read(dir.join("together/report.json")).unwrap()).unwrap();
    let windows = &parsed["summary"]["windows"];
    let (shared, planned) = (
        windows["shared"].as_u64().unwrap(),
        windows["planned"].as_u64().unwrap(),
    );
    println!("{shared} of {planned} windows took scores over");
    assert!(shared > 64 && shared * 5 > planned, "across parts, too");
    assert_eq!(
        parsed["timings"]["windows_scored"].as_u64().unwrap() + shared,
        planned
    );
    assert!(
        parsed["summary"]["notes"]
            .to_string()
            .contains(&format!("{shared} windows have the same tokens as another"))
    );

    // A part with twins of windows that were scored before: they are taken from disk.
    write(&set);
    let before = program::scores(&dir.join("together"));
    let lost: Vec<&String> = before.keys().skip(before.len() / 2).collect();
    lost.iter()
        .for_each(|name| std::fs::remove_file(dir.join("together/scores").join(name)).unwrap());
    probe(dir, "together", cut, &alone);
    assert_eq!(program::scores(&dir.join("together")), before);
    let again: Value =
        serde_json::from_slice(&std::fs::read(dir.join("together/report.json")).unwrap()).unwrap();
    let computed = again["timings"]["windows_scored"].as_u64().unwrap();
    assert_eq!(again["summary"]["windows"]["shared"], shared);
    assert!(computed < planned - planned / 2, "{computed}");
}

#[test]
fn what_cannot_be_proven_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    probe_set(dir, &strange(1)[0]);
    let chars = ["--prompts", "set.jsonl", "--stride-chars", "10"];
    let mean_rank = "schema = \"byrote.policy/v1\"\nstatistic = \"mean_rank\"\n";
    std::fs::write(dir.join("mean_rank.toml"), mean_rank).unwrap();
    std::fs::write(
        dir.join("near.toml"),
        "schema = \"byrote.policy/v1\"\nnear_verbatim = true\n",
    )
    .unwrap();
    for (args, expected) in [
        (
            &["--find-runs", "58", "--stride", "10"][..],
            "look for runs of 59 tokens or more",
        ),
        (&["--find-runs", "98"], "look for runs of 99 tokens or more"),
        (&["--find-runs", "200", "--screen"], "cannot be used with"),
        (
            &[&chars[..], &["--find-runs", "200"]].concat(),
            "cannot be used with",
        ),
        (&[&chars[..], &["--screen"]].concat(), "cannot be used with"),
        (
            &["--find-runs", "200", "--gate", "mean_rank.toml"],
            "use statistic = \"max_log_p_z\"",
        ),
        (
            &["--screen", "--gate", "mean_rank.toml"],
            "use statistic = \"max_log_p_z\"",
        ),
        (
            &["--find-runs", "200", "--gate", "near.toml"],
            "use near_verbatim = false",
        ),
        (
            &["--screen", "--stride", "101"],
            "it would cost more than they do",
        ),
        (&["--screen", "100"], "needs 150"),
        (
            &["--screen", "--template", "none,continue"],
            "leave one of them out",
        ),
    ] {
        let ran = run(
            dir,
            &[
                &["probe", "--prompts", "set.jsonl", "--out", "refused"][..],
                args,
            ]
            .concat(),
        )
        .exits(2);
        assert!(ran.stderr.contains(expected), "{args:?}: {}", ran.stderr);
        assert!(!dir.join("refused").join("run.json").exists());
    }
}

#[test]
fn a_text_of_100_000_tokens_with_one_percent_memorized() {
    if std::env::var_os("BYROTE_TEST_LONG").is_none() {
        println!("skipped: BYROTE_TEST_LONG isn't set");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let cut = Cut {
        prefix: 50,
        suffix: 50,
        stride: 10,
    };
    probe_set(dir, &document(280, 8));
    let timed = |out: &str, more: &[&str]| {
        let started = Instant::now();
        probe(dir, out, cut, more);
        started.elapsed().as_secs_f64()
    };
    let (all, some) = (timed("all", &[]), timed("some", &["--find-runs", "99"]));
    let (planned, scored, found) = compare(dir, 99);
    let tokens = report(&dir.join("some"))["items"][0]["evidence"]["forms"][0]["tokens"]
        .as_u64()
        .unwrap();
    println!(
        "{tokens} tokens: {scored} of {planned} windows scored, {:.2} times fewer; {found} runs of 99 tokens or more, none \
         missed; {some:.1} s against {all:.1} s",
        planned as f64 / scored as f64
    );
    assert!(scored * 4 <= planned && found > 0);
}
