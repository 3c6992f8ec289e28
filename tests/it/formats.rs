//! Every format of a report, from the real program: what is decided doesn't depend on how it is shown, and files are whole
//! or not there.

use crate::support::finished::canaries_and_60_controls;
use crate::support::program::{builtin_lines, byrote, run, tree, write_lines};
use byrote_core::report::formats::FORMATS;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

/// Canaries and a few controls of the built-in set, and the run over them.
fn probed(dir: &Path, out: &str, lines: &[String]) {
    write_lines(&dir.join("set.jsonl"), lines);
    run(dir, &["probe", "--prompts", "set.jsonl", "--out", out]).exits(0);
}

/// Texts that the model knows by heart among controls that it knows as well: no more than predictable.
fn guessable(lines: &[String]) -> Vec<String> {
    let known = ["\"canary-r16-", "\"canary-r32-", "\"canary-r64-"];
    let known = lines
        .iter()
        .filter(|line| known.iter().any(|id| line.contains(id)));
    let relabelled = known.map(|line| {
        let mut item: Value = serde_json::from_str(line).unwrap();
        let tested = ["canary-r16-01", "canary-r16-02"].contains(&item["id"].as_str().unwrap());
        item["kind"] = if tested { "opt_out" } else { "control" }.into();
        item.as_object_mut().unwrap().remove("repetitions");
        item.to_string()
    });
    relabelled.collect()
}

#[test]
fn every_format_of_every_outcome_and_verdict_has_the_same_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    canaries_and_60_controls().copy_to(&dir.join("run"));
    probed(dir, "guessable", &guessable(&builtin_lines(60)));
    let policies = [
        // Name, policy, and the exit code for each of the two runs.
        ("as built in", "", [1, 0]),
        (
            "beyond the budget",
            "tau = 0.999999\nschemes = [\"full\"]",
            [1, 0],
        ),
        (
            "denies nothing",
            "deny = []\nrequire_decided = false",
            [0, 0],
        ),
        (
            "denies the predictable",
            "deny = [\"predictable\"]\nrequire_decided = false",
            [0, 1],
        ),
        ("undecided", "deny = []\nmin_controls = 5000", [2, 2]),
    ];
    let mut verdicts = BTreeSet::new();
    for (name, policy, codes) in policies {
        std::fs::write(
            dir.join("policy.toml"),
            format!("schema = \"byrote.policy/v1\"\n{policy}\n"),
        )
        .unwrap();
        for (report, code) in ["run", "guessable"].into_iter().zip(codes) {
            println!("{name}: {report}");
            let gate = ["gate", report, "--policy", "policy.toml"];
            let json = run(dir, &[&gate[..], &["--format", "json"]].concat()).exits(code);
            let json: Value = serde_json::from_str(&json.stdout).unwrap();
            verdicts.extend(
                json["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["verdict"].as_str().unwrap().to_owned()),
            );
            for format in FORMATS {
                println!("    {}", format.id);
                let file = run(
                    dir,
                    &[&gate[..], &["--format", format.id, "--output", "out/one"]].concat(),
                );
                assert_eq!(
                    file.code,
                    Some(2),
                    "a folder that isn't there is no place for a file"
                );
                run(
                    dir,
                    &[&gate[..], &["--format", format.id, "--output", "one"]].concat(),
                )
                .exits(code);
                let printed = byrote(dir, &[&gate[..], &["--format", format.id]].concat())
                    .output()
                    .unwrap();
                assert_eq!(printed.status.code(), Some(code), "{}", format.id);
                assert!(
                    printed.stdout == std::fs::read(dir.join("one")).unwrap(),
                    "{}",
                    format.id
                );
            }
            let all: Vec<&str> = FORMATS.iter().map(|format| format.id).collect();
            run(
                dir,
                &[&gate[..], &["--format", &all.join(","), "--output", "all"]].concat(),
            )
            .exits(code);
            let files = tree(&dir.join("all"));
            let names: BTreeSet<&str> = files.keys().map(String::as_str).collect();
            assert_eq!(
                names,
                FORMATS.iter().map(|format| format.file_name).collect()
            );
            let statement: Value = serde_json::from_slice(&files["report.intoto.json"]).unwrap();
            assert_eq!(
                statement["predicate"]["result"] == "FAILED",
                code != 0,
                "{name}"
            );
            let junit = String::from_utf8(files["report.junit.xml"].clone()).unwrap();
            assert_eq!(
                junit.contains("<failure ") || junit.contains("<error "),
                code != 0,
                "{name}:\n{junit}"
            );
            let annotations = String::from_utf8(files["annotations.txt"].clone()).unwrap();
            assert_eq!(
                annotations.starts_with("::error "),
                code != 0,
                "{name}:\n{annotations}"
            );
        }
    }
    assert_eq!(
        verdicts.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "clear",
            "extractable",
            "inconclusive",
            "memorized",
            "predictable"
        ]
    );
}

#[test]
fn formats_go_where_they_are_asked_to_and_files_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    probed(dir, "run", &builtin_lines(4)[..8]);
    let report = |more: &[&str]| run(dir, &[&["report", "run"], more].concat());

    // One to a file, to a folder, and to standard output: the same bytes.
    std::fs::write(
        dir.join("a.sarif"),
        "an older and longer file".repeat(10_000),
    )
    .unwrap();
    report(&["--format", "sarif", "--output", "a.sarif"]).exits(0);
    std::fs::create_dir(dir.join("folder")).unwrap();
    report(&["--format", "sarif", "--output", "folder"]).exits(0);
    let printed = report(&["--format", "sarif"]).exits(0).stdout;
    for file in ["a.sarif", "folder/report.sarif"] {
        assert!(
            std::fs::read_to_string(dir.join(file)).unwrap() == printed,
            "{file}"
        );
    }
    // Several to a folder, which is made; a name given twice is one file.
    report(&[
        "--format",
        "md,html",
        "--format",
        "md",
        "--output",
        "new/folder",
    ])
    .exits(0);
    assert_eq!(
        tree(&dir.join("new")).keys().collect::<Vec<_>>(),
        ["folder/report.html", "folder/report.md"]
    );
    assert!(
        !tree(dir).keys().any(|name| name.ends_with(".tmp")),
        "a temporary file is left"
    );

    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        std::fs::write(dir.join("plain"), "").unwrap();
        let mode = |name: &str| {
            std::fs::metadata(dir.join(name))
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(
            mode("a.sarif"),
            mode("plain"),
            "others may read it as any file made here"
        );
        // What a link points to is replaced, and the link stays; what is no file is written to.
        symlink("a.sarif", dir.join("link")).unwrap();
        report(&["--format", "csv", "--output", "link"]).exits(0);
        assert!(dir.join("link").is_symlink());
        assert!(
            std::fs::read_to_string(dir.join("a.sarif"))
                .unwrap()
                .starts_with("item_id,")
        );
        report(&["--format", "csv", "--output", "/dev/null"]).exits(0);
    }

    for (args, says) in [
        (
            &["--format", "md,html"][..],
            "several formats need a folder to go to; give --output DIR",
        ),
        (
            &["--format", "md,html", "--output", "-"],
            "several formats need a folder to go to; give --output DIR",
        ),
        (
            &["--format", "md,html", "--output", "a.sarif"],
            "a.sarif: is a file, and several formats need a folder",
        ),
        (&["--format", "pdf"], "invalid value 'pdf'"),
        (
            &["--format", "md", "--output", "gone/report.md"],
            "gone/report.md: can't be written",
        ),
    ] {
        let ran = report(args).exits(2);
        assert!(
            ran.stderr.contains(says) && ran.stdout.is_empty(),
            "{args:?}: {}",
            ran.stderr
        );
    }
}

/// A report may be decided again before it is rendered, as the gate does, but only the gate has its exit codes.
#[test]
fn a_report_by_a_policy_is_what_the_gate_gives() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    canaries_and_60_controls().copy_to(&dir.join("run"));
    for (policy, code) in [("default", 1), ("research", 0)] {
        for format in FORMATS {
            let args = [
                "run",
                "--policy",
                policy,
                "--baseline",
                "run",
                "--format",
                format.id,
                "--output",
            ];
            run(dir, &[&["gate"], &args[..], &["gated"]].concat()).exits(code);
            run(dir, &[&["report"], &args[..], &["reported"]].concat()).exits(0);
            let bytes = ["gated", "reported"].map(|file| std::fs::read(dir.join(file)).unwrap());
            assert!(bytes[0] == bytes[1], "{policy}, {}", format.id);
        }
    }
    let ran = run(dir, &["report", "run", "--baseline", "run"]).exits(2);
    assert!(ran.stderr.contains("--policy"), "{}", ran.stderr);
}

/// A reader that goes away, as `head` does, must not turn a block into a pass.
#[test]
fn who_listens_changes_no_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    canaries_and_60_controls().copy_to(&dir.join("run"));
    for format in ["text", "json", "html"] {
        let mut gate = byrote(
            dir,
            &["gate", "run", "--policy", "default", "--format", format],
        );
        let mut child = gate
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(1), "{format}");
    }
}
