//! What a run takes of the machine: processor time and memory, against what was asked for and what was planned.

use crate::support::program::{self, byrote, repository};
use crate::support::resource::models;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The golden windows of the built-in model, so many times over.
fn windows(dir: &Path, times: usize) -> std::path::PathBuf {
    let lines = std::fs::read_to_string(repository("tests/fixtures/builtin/golden.jsonl")).unwrap();
    let file = dir.join("windows.jsonl");
    std::fs::write(&file, lines.repeat(times)).unwrap();
    file
}

/// What one reading of /proc tells of a process: seconds of processor time, all threads, and peak memory in bytes.
fn told(pid: u32) -> Option<(f64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces; utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?
        .trim()
        .strip_suffix(" kB")?
        .trim();
    Some((ticks / 100.0, peak.parse::<u64>().ok()? * 1024))
}

#[test]
fn one_thread_is_one_processor_from_beginning_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = windows(dir.path(), 40);
    let input = file.to_str().unwrap();
    let args = [
        "score",
        "--model",
        "builtin",
        "--threads",
        "1",
        "--input",
        input,
        "--output",
        "/dev/null",
    ];
    let started = Instant::now();
    let mut child = byrote(dir.path(), &args)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    while child.try_wait().unwrap().is_none() {
        let before = started.elapsed().as_secs_f64();
        seen.extend(told(child.id()).map(|(cpu, _)| (before, cpu)));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(child.wait().unwrap().success());
    assert!(seen.len() >= 5, "it ended before it could be looked at");
    // Never ahead of the clock but by a few ticks of it, however busy the machine is.
    for (wall, cpu) in seen {
        assert!(
            cpu <= 1.05 * wall + 0.1,
            "{cpu:.2} s of processor time within {wall:.2} s"
        );
    }
}

/// Bytes that a line such as `memory: 655 MB of 22.9 GB at most: ...` plans.
fn planned(stderr: &str) -> u64 {
    let line = stderr
        .lines()
        .find_map(|line| line.strip_prefix("memory: "))
        .unwrap_or_else(|| panic!("{stderr}"));
    let mut words = line.split(' ');
    let (number, unit) = (words.next().unwrap(), words.next().unwrap());
    byrote_candle::model::memory::parse_size(&format!("{number}{unit}")).unwrap()
}

/// What the program planned, and what it had at most, of a run of `byrote score`.
fn scored(dir: &Path, model: &str, input: &Path, more: &[&str]) -> (u64, u64) {
    let mut args = vec![
        "score",
        "--model",
        model,
        "--input",
        input.to_str().unwrap(),
        "--output",
        "/dev/null",
    ];
    args.extend(more);
    let stderr = dir.join("stderr");
    let file = std::fs::File::create(&stderr).unwrap();
    let mut child = byrote(dir, &args).stderr(file).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = told(child.id()).map_or(peak, |(_, now)| now.max(peak));
        std::thread::sleep(Duration::from_millis(5));
    }
    let said = std::fs::read_to_string(stderr).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    (planned(&said), peak)
}

/// A plan that is far too high keeps models out that would fit; one that is too low gets programs killed.
fn assert_planned((planned, peak): (u64, u64), at_most: f64) {
    let ratio = planned as f64 / peak as f64;
    println!("planned {planned}, had {peak} at most: {ratio:.2}");
    assert!(
        (0.97..at_most).contains(&ratio),
        "planned {planned}, had {peak} at most: {ratio:.2}"
    );
}

#[test]
fn the_built_in_model_takes_no_more_than_was_planned() {
    let dir = tempfile::tempdir().unwrap();
    let file = windows(dir.path(), 20);
    assert_planned(
        scored(dir.path(), "builtin", &file, &["--threads", "2"]),
        6.0,
    );
}

#[test]
fn a_real_checkpoint_takes_no_more_than_was_planned() {
    let Some(models) = models() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for (file, more) in [
        (
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            &["--dtype", "f32", "--threads", "2"][..],
        ),
        (
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            &["--dtype", "bf16", "--threads", "1"],
        ),
        (
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            &["--dtype", "quantized", "--threads", "1"],
        ),
    ] {
        let ids: Vec<u32> = (0..100).map(|i| i * 37 % 40_000 + 100).collect();
        let line = serde_json::json!({"id": 1, "token_ids": ids, "prefix_len": 50});
        let input = dir.path().join("in.jsonl");
        std::fs::write(&input, format!("{line}\n").repeat(40)).unwrap();
        let model = models.join(file);
        assert_planned(
            scored(dir.path(), model.to_str().unwrap(), &input, more),
            2.0,
        );
    }
}

#[test]
fn too_little_memory_is_an_error_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = windows(dir.path(), 1);
    let score = |memory: &str| {
        let input = file.to_str().unwrap();
        let args = [
            "score", "--model", "builtin", "--memory", memory, "--input", input, "--output", "-",
        ];
        program::run(dir.path(), &args)
    };
    let ran = score("20MB").exits(2);
    assert!(
        ran.stdout.is_empty()
            && ran.stderr.contains("it needs ")
            && ran.stderr.contains("--memory allows 20 MB")
    );
    assert!(score("lots").exits(2).stderr.contains("examples: 6GiB"));
    // A batch less is no other answer.
    let (little, plenty) = (score("80MB").exits(0), score("8GiB").exits(0));
    assert!(planned(&little.stderr) <= 80_000_000, "{}", little.stderr);
    let greedy = |text: &str| -> Vec<serde_json::Value> {
        text.lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["ranks"].clone())
            .collect()
    };
    assert_eq!(greedy(&little.stdout), greedy(&plenty.stdout));
}
