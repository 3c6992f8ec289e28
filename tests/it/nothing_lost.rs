//! Whatever goes wrong, nothing that was written before is lost: bad input over an earlier run, damaged scores, full disks.

use crate::support::damage::{self, SET, edit, good, poison, truncate};
use crate::support::program::{self, byrote, run, scores, tree};
use crate::support::resource::not_tested;
use std::path::Path;

const PROBE: &[&str] = &[
    "probe",
    "--model",
    "model",
    "--prompts",
    "set.jsonl",
    "--prefix",
    "8",
    "--suffix",
    "8",
];

fn weights(dir: &Path) -> std::path::PathBuf {
    dir.join("model/model.safetensors")
}

fn set(dir: &Path, bytes: &[u8]) {
    std::fs::write(dir.join("set.jsonl"), bytes).unwrap();
}

#[test]
fn a_failed_run_leaves_an_earlier_one_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path());
    let args = [PROBE, &["--out", "run"]].concat();
    run(dir.path(), &args).exits(0);
    let before = tree(&dir.path().join("run"));
    assert!(
        before.keys().any(|name| name.ends_with(".parquet")) && before.contains_key("report.json")
    );
    let unchanged = |what: &str| {
        let after = tree(&dir.path().join("run"));
        assert_eq!(
            before.keys().collect::<Vec<_>>(),
            after.keys().collect::<Vec<_>>(),
            "{what}"
        );
        before
            .iter()
            .for_each(|(name, bytes)| assert!(after[name] == *bytes, "{what} changed {name}"));
    };

    let ran = run(dir.path(), &[&args[..], &["--stride", "4"]].concat()).exits(2);
    assert!(
        ran.stderr
            .contains("run: holds another run: settings.window.stride"),
        "{}",
        ran.stderr
    );
    unchanged("another stride");
    run(
        dir.path(),
        &[&args[..], &["--gate", "nowhere.toml"]].concat(),
    )
    .exits(2);
    unchanged("a bad policy");
    set(dir.path(), &[SET.as_bytes(), b"{\"id\": \"c\"}\n"].concat());
    run(dir.path(), &args).exits(2);
    unchanged("a bad probe set");
    set(dir.path(), SET.replace("brewer", "baker").as_bytes());
    let ran = run(dir.path(), &args).exits(2);
    assert!(
        ran.stderr.contains("run: holds another run: probe_set"),
        "{}",
        ran.stderr
    );
    unchanged("another probe set");
    set(dir.path(), SET.as_bytes());
    truncate(&weights(dir.path()), 0.7);
    run(dir.path(), &args).exits(2);
    unchanged("damaged weights");
    damage::good(dir.path());
    poison(&weights(dir.path()), "model.embed_tokens.weight", 7..8);
    run(dir.path(), &args).exits(2);
    unchanged("NaN weights");
}

#[test]
fn damaged_scores_are_scored_anew() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path());
    let args = [PROBE, &["--out", "run"]].concat();
    run(dir.path(), &args).exits(0);
    let before = scores(&dir.path().join("run"));
    let part = dir.path().join("run/scores/part-00000.parquet");
    for damage in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2),
        |bytes: &mut Vec<u8>| bytes[40] ^= 1,
    ] {
        edit(&part, damage);
        let ran = run(dir.path(), &args).exits(0);
        assert!(
            ran.stderr
                .contains("part-00000.parquet: can't be read and is scored anew"),
            "{}",
            ran.stderr
        );
        assert_eq!(scores(&dir.path().join("run")), before);
    }
}

/// Files may not grow past this, as on a disk that runs full: writes fail after the first parts are there.
#[cfg(unix)]
#[test]
fn when_the_disk_runs_full_what_was_scored_stays_and_the_run_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["probe", "--out", "run", "--prefix", "20", "--suffix", "20"];
    // The shell's unit is 512 bytes: enough for every part and for what was followed up, not for the report.
    let script = "trap '' XFSZ; ulimit -f 1600; exec \"$0\" \"$@\"";
    let mut limited = std::process::Command::new("sh");
    program::scrub(&mut limited, dir.path())
        .args(["-c", script, env!("CARGO_BIN_EXE_byrote")])
        .args(args);
    let ran = program::Ran::of(limited.output().unwrap()).exits(2);
    assert!(
        ran.stderr
            .contains("error: run/report.json: can't write the file: "),
        "{}",
        ran.stderr
    );
    let kept = scores(&dir.path().join("run"));
    assert!(kept.len() > 5 && !dir.path().join("run/report.json").exists());
    assert!(
        tree(&dir.path().join("run"))
            .into_keys()
            .all(|name| !name.ends_with(".tmp"))
    );

    let ran = run(dir.path(), &args).exits(0);
    let windows = ran
        .stderr
        .lines()
        .find(|line| line.ends_with("windows are scored already"))
        .unwrap();
    let words: Vec<&str> = windows.split(' ').collect();
    assert_eq!(words[0], words[2], "{windows}");
    assert_eq!(scores(&dir.path().join("run")), kept);
}

/// Needs the right to mount; without it there is no full disk to test on.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_before_anything_is_scored() {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("disk");
    std::fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k", "none"])
        .arg(&mount)
        .output()
        .is_ok_and(|out| out.status.success());
    if !mounted {
        not_tested("mount", "there is no right to mount a small disk");
        return;
    }
    let filled = std::fs::write(mount.join("filler"), vec![0u8; 1 << 20]);
    let ran = byrote(dir.path(), &["probe", "--out", "disk/run"]).output();
    let unmounted = std::process::Command::new("umount").arg(&mount).status();
    assert!(unmounted.unwrap().success());
    assert!(filled.is_err());
    let ran = program::Ran::of(ran.unwrap()).exits(2);
    assert!(ran.stderr.starts_with("error: disk/run"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("No space left on device"),
        "{}",
        ran.stderr
    );
}

#[cfg(target_os = "linux")]
#[test]
fn scores_and_reports_that_cannot_be_written_are_told() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path());
    std::fs::write(
        dir.path().join("windows.jsonl"),
        "{\"id\": 1, \"token_ids\": [1, 2, 3], \"prefix_len\": 1}\n",
    )
    .unwrap();
    let args = [
        "score",
        "--model",
        "model",
        "--input",
        "windows.jsonl",
        "--output",
        "/dev/full",
    ];
    let ran = run(dir.path(), &args).exits(2);
    assert!(
        ran.stderr.contains("error: /dev/full: can't be written"),
        "{}",
        ran.stderr
    );
    run(dir.path(), &[PROBE, &["--out", "run"]].concat()).exits(0);
    for args in [
        &["report", "run", "--output", "/dev/full"][..],
        &["report", "run", "--output", "no/folder/report.md"],
    ] {
        let ran = run(dir.path(), args).exits(2);
        assert!(
            ran.stderr
                .contains(&format!("error: {}: can't be written", args[3])),
            "{}",
            ran.stderr
        );
    }
}
