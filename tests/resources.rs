//! What a run takes of the machine: processor time and memory, against what was asked for and what was planned.
#![cfg(all(feature = "native", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/program.rs"]
mod program;

use program::{byrote, repository};
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
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.trim();
    Some((ticks / 100.0, peak.parse::<u64>().ok()? * 1024))
}

#[test]
fn one_thread_is_one_processor_from_beginning_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = windows(dir.path(), 40);
    let input = file.to_str().unwrap();
    let args = ["score", "--model", "builtin", "--threads", "1", "--input", input, "--output", "/dev/null"];
    let started = Instant::now();
    let mut child = byrote(dir.path(), &args).stderr(Stdio::null()).spawn().unwrap();
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
        assert!(cpu <= 1.05 * wall + 0.1, "{cpu:.2} s of processor time within {wall:.2} s");
    }
}
