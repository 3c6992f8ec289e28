//! Runs that are killed, interrupted or started twice lose nothing and change nothing.

use crate::support::program::{self, Ran, byrote, report, run, scores, write_lines};
use byrote_core::run::directory::{RunDir, RunError};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const KILLS: usize = 10;

/// Seeded: the same moments each time, as shares of an uninterrupted run.
struct Moments(u64);

impl Moments {
    /// In 0..1.
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Held by every test: beside another one a run takes longer than it was measured to take.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A probe set in `dir` that takes a second, in a dozen parts, as [`probe`] runs it: canaries and controls.
fn probe_set(dir: &Path) {
    write_lines(&dir.join("set.jsonl"), &program::builtin_lines(30)[30..]);
    // Follow-ups that take about as long as scoring, and nothing that blocks.
    // A floor, so that windows are left before their end.
    let top = "schema = \"byrote.policy/v1\"\nfloor = 0.0001\ndeny = []\nrequire_decided = false\n";
    let follow_up = "[follow_up]\nwindows = 1\nnear_miss = 1\nbeam = 2\nforeign_prefixes = 2\n";
    std::fs::write(dir.join("quick.toml"), [top, follow_up].concat()).unwrap();
}

fn probe(out: &str) -> Vec<&str> {
    let windows = ["--prefix", "8", "--suffix", "8", "--stride", "14"];
    let slow = ["--threads", "1", "--batch", "1"];
    [
        &[
            "probe",
            "--prompts",
            "set.jsonl",
            "--gate",
            "quick.toml",
            "--out",
            out,
        ][..],
        &windows,
        &slow,
    ]
    .concat()
}

fn start(dir: &Path, out: &str) -> Child {
    byrote(dir, &probe(out))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The parts on disk, under their final names.
fn parts(run: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(run.join("scores")) else {
        return Vec::new();
    };
    let paths = entries.map(|e| e.unwrap().path());
    paths
        .filter(|p| {
            p.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("part-")
        })
        .collect()
}

/// Waits until the run has so many parts; false where it ended first.
fn wait_for_parts(child: &mut Child, run: &Path, count: usize) -> bool {
    let started = Instant::now();
    while parts(run).len() < count {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "no {count} parts in a minute"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Every part that is there is whole, and nothing else is.
fn assert_whole(run: &Path) -> (u64, u64) {
    let dir = RunDir::load(run).unwrap();
    let (mut whole, all) = (0, dir.manifest().plan.parts());
    for part in 0..all {
        match dir.read_part(part) {
            Ok(_) => whole += 1,
            Err(RunError::MissingPart { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    (whole, all)
}

#[test]
fn killed_at_ten_moments_a_run_resumes_to_the_same_bytes() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    probe_set(dir.path());
    let started = Instant::now();
    run(dir.path(), &probe("whole")).exits(0);
    let uninterrupted = started.elapsed();
    let whole = dir.path().join("whole");
    let (expected_scores, expected_report) = (scores(&whole), report(&whole));
    assert!(
        expected_scores.len() >= 8,
        "{} parts are too few to be killed between",
        expected_scores.len()
    );

    let mut moments = Moments(20_261_101);
    let (mut kills, mut in_the_middle, mut told) = (0, 0, Vec::new());
    for attempt in 0.. {
        assert!(
            attempt < 4 * KILLS,
            "only {kills} of {attempt} runs could be killed before their end"
        );
        if kills >= KILLS {
            break;
        }
        let out = format!("killed-{attempt}");
        let run_dir = dir.path().join(&out);
        // First anywhere in the run, then the resumed run anywhere in what may be left of it.
        let first = ((attempt % 5) as f64 + moments.next()) / 5.0;
        for share in [first, (1.0 - first) * moments.next()] {
            let mut child = start(dir.path(), &out);
            std::thread::sleep(uninterrupted.mul_f64(share));
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            if output.status.signal() == Some(9) {
                kills += 1;
                if run_dir.join("run.json").exists() {
                    let (done, all) = assert_whole(&run_dir);
                    let found = std::fs::read_to_string(run_dir.join("follow-up.jsonl"))
                        .unwrap_or_default();
                    in_the_middle += usize::from(0 < done && !run_dir.join("report.json").exists());
                    told.push(format!(
                        "{done}/{all} and {} findings",
                        found.lines().skip(1).count()
                    ));
                } else {
                    told.push("before run.json".to_owned());
                }
            }
        }
        run(dir.path(), &probe(&out)).exits(0);
        assert_eq!(scores(&run_dir), expected_scores, "after {told:?}");
        assert_eq!(report(&run_dir), expected_report, "after {told:?}");
        let leftover: Vec<_> = program::tree(&run_dir)
            .into_keys()
            .filter(|name| name.ends_with(".tmp"))
            .collect();
        assert!(leftover.is_empty(), "{leftover:?}");
    }
    println!(
        "uninterrupted {uninterrupted:?}; on disk at each kill: {}",
        told.join(", ")
    );
    assert!(
        in_the_middle >= 3,
        "kills hit too little of the scoring: {told:?}"
    );
}

#[test]
fn interrupted_it_keeps_whole_parts_exits_with_130_and_resumes() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    probe_set(dir.path());
    run(dir.path(), &probe("whole")).exits(0);
    let run_dir = dir.path().join("stopped");
    let mut child = start(dir.path(), "stopped");
    assert!(
        wait_for_parts(&mut child, &run_dir, 2),
        "it ended before it could be interrupted"
    );
    let signalled = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(signalled.success());
    let ran = Ran::of(child.wait_with_output().unwrap()).exits(130);
    assert!(
        ran.stderr.contains("the same command resumes"),
        "{}",
        ran.stderr
    );
    let (done, all) = assert_whole(&run_dir);
    assert!(2 <= done && done < all, "{done} of {all} parts");
    assert!(
        !run_dir.join("report.json").exists(),
        "a run cut short has no report"
    );

    let ran = run(dir.path(), &probe("stopped")).exits(0);
    assert!(
        ran.stderr.contains("windows are scored already"),
        "{}",
        ran.stderr
    );
    assert_eq!(scores(&run_dir), scores(&dir.path().join("whole")));
    assert_eq!(report(&run_dir), report(&dir.path().join("whole")));
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_does_no_harm() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    probe_set(dir.path());
    let run_dir = dir.path().join("run");
    let mut first = start(dir.path(), "run");
    assert!(
        wait_for_parts(&mut first, &run_dir, 1),
        "it ended before a second one could be started"
    );
    let second = run(dir.path(), &probe("run")).exits(2);
    assert!(
        second
            .stderr
            .contains("error: run: another byrote is writing this run; wait for it"),
        "{}",
        second.stderr
    );
    Ran::of(first.wait_with_output().unwrap()).exits(0);
    let (done, all) = assert_whole(&run_dir);
    assert_eq!(done, all);
    // Once it is done the folder is free again, and there is nothing left to score.
    let again = run(dir.path(), &probe("run")).exits(0);
    assert!(
        again.stderr.contains("windows are scored already"),
        "{}",
        again.stderr
    );
}
