//! The same answer however it is run: batch size, threads, order of items, separate runs, a run finished with other settings.

use crate::support::program::{self, builtin_lines, report, run, verdicts, write_lines};
use byrote_core::run::ScoredWindow;
use byrote_core::run::directory::RunDir;
use std::collections::BTreeMap;
use std::path::Path;

/// Nats a token. Batches of other shapes multiply matrices of other heights, which moves the last digits only.
const BOUND: f32 = 1e-4;
/// As many as let the canaries be told from what is merely predictable.
const CONTROLS: usize = 40;

/// Probes `set` in `dir`, and gives its scores by window.
fn probe(
    dir: &Path,
    set: &str,
    out: &str,
    batch: &str,
    threads: &str,
) -> BTreeMap<String, ScoredWindow> {
    let windows = ["--prefix", "40", "--suffix", "40"];
    let args = [
        "probe",
        "--prompts",
        set,
        "--out",
        out,
        "--batch",
        batch,
        "--threads",
        threads,
    ];
    run(dir, &[&args[..], &windows].concat()).exits(0);
    read(&dir.join(out))
}

fn read(run: &Path) -> BTreeMap<String, ScoredWindow> {
    let windows = RunDir::load(run).unwrap().read_all().unwrap();
    let count = windows.len();
    let by_id: BTreeMap<_, _> = windows
        .into_iter()
        .map(|w| (w.window.0.clone(), w))
        .collect();
    assert_eq!(by_id.len(), count, "a window's id is given twice");
    by_id
}

/// Largest |difference| of a token's log-probability, in nats, over all schemes and margins too. Everything that
/// isn't a score must be equal, and ranks wherever the top two aren't a near tie.
fn compare(
    expected: &BTreeMap<String, ScoredWindow>,
    found: &BTreeMap<String, ScoredWindow>,
) -> f32 {
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>()
    );
    let mut worst = 0f32;
    for (window, other) in expected.values().zip(found.values()) {
        let (a, b) = (
            window.scores.as_ref().unwrap(),
            other.scores.as_ref().unwrap(),
        );
        assert_eq!(
            ScoredWindow {
                scores: other.scores.clone(),
                ..window.clone()
            },
            *other
        );
        let lists = |s: &byrote_core::backend::TokenScores| {
            let schemes = s.scheme_logprob.iter().flatten();
            s.logprob
                .iter()
                .chain(&s.margin)
                .chain(schemes)
                .copied()
                .collect::<Vec<f32>>()
        };
        let (all_a, all_b) = (lists(a), lists(b));
        assert_eq!(all_a.len(), all_b.len());
        for (i, (x, y)) in all_a.iter().zip(&all_b).enumerate() {
            // A token at the edge of the top 40 may fall either way; that is a tie, too.
            let edge = x.is_infinite() != y.is_infinite();
            assert!(!edge, "{}: value {i} is {x} and {y}", window.window);
            if x != y {
                worst = worst.max((x - y).abs());
            }
        }
        for (i, (x, y)) in a.rank.iter().zip(&b.rank).enumerate() {
            assert!(
                (*x == 0) == (*y == 0) || a.margin[i].abs() < BOUND,
                "{}: rank {x} and {y}",
                window.window
            );
        }
    }
    worst
}

#[test]
fn batch_size_threads_and_order_of_items_change_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let lines = builtin_lines(CONTROLS);
    write_lines(&dir.path().join("set.jsonl"), &lines);
    // Every 37th line, round and round: controls and canaries mixed, neighbours torn apart.
    let shuffled: Vec<String> = (0..lines.len())
        .map(|i| lines[i * 37 % lines.len()].clone())
        .collect();
    assert_ne!(lines, shuffled);
    write_lines(&dir.path().join("shuffled.jsonl"), &shuffled);

    let expected = probe(dir.path(), "set.jsonl", "alone", "1", "1");
    let expected_verdicts = verdicts(&report(&dir.path().join("alone")));
    assert_eq!(expected_verdicts.len(), lines.len());
    let levels: std::collections::BTreeSet<_> = expected_verdicts.values().collect();
    assert!(
        levels.len() >= 3,
        "a test on {levels:?} alone would show little"
    );

    let mut worst = 0f32;
    for (name, set, batch, threads) in [
        ("batch-3", "set.jsonl", "3", "1"),
        ("batch-16", "set.jsonl", "16", "1"),
        ("threads-2", "set.jsonl", "1", "2"),
        ("batch-16-threads-2", "set.jsonl", "16", "2"),
        ("shuffled", "shuffled.jsonl", "16", "2"),
    ] {
        let difference = compare(&expected, &probe(dir.path(), set, name, batch, threads));
        println!(
            "{name}: largest difference {difference:.1e} nats over {} windows",
            expected.len()
        );
        assert!(difference <= BOUND, "{name}: {difference}");
        assert_eq!(
            verdicts(&report(&dir.path().join(name))),
            expected_verdicts,
            "{name}"
        );
        worst = worst.max(difference);
    }
    println!("largest difference in all: {worst:.1e} nats a token");
    assert_eq!(
        program::scores(&dir.path().join("threads-2")),
        program::scores(&dir.path().join("alone")),
        "with batches of one, threads change not a bit"
    );
}

#[test]
fn shards_give_the_scores_of_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let lines = builtin_lines(CONTROLS);
    write_lines(&dir.path().join("set.jsonl"), &lines);
    let expected = probe(dir.path(), "set.jsonl", "whole", "16", "2");

    // Items divided among three runs.
    let mut joined = BTreeMap::new();
    for shard in 0..3 {
        let name = format!("shard-{shard}");
        let own: Vec<String> = lines.iter().skip(shard).step_by(3).cloned().collect();
        write_lines(&dir.path().join(format!("{name}.jsonl")), &own);
        joined.extend(probe(
            dir.path(),
            &format!("{name}.jsonl"),
            &name,
            "16",
            "1",
        ));
    }
    let difference = compare(&expected, &joined);
    println!("three shards: largest difference {difference:.1e} nats");
    assert!(difference <= BOUND);

    // Parts of one run from different processes, with other batches.
    let mixed = dir.path().join("mixed");
    std::fs::create_dir_all(mixed.join("scores")).unwrap();
    for (name, bytes) in program::tree(&dir.path().join("whole")) {
        let odd = name.contains("00001") || name.contains("00003");
        if name == "run.json" || odd {
            std::fs::write(mixed.join(&name), bytes).unwrap();
        }
    }
    let difference = compare(
        &expected,
        &probe(dir.path(), "set.jsonl", "mixed", "3", "1"),
    );
    println!("parts of two processes: largest difference {difference:.1e} nats");
    assert!(difference <= BOUND);
    assert_eq!(
        verdicts(&report(&mixed)),
        verdicts(&report(&dir.path().join("whole")))
    );
}
