//! Exit codes: 0 pass or done, 1 the policy blocks, 2 could not decide; the same in every format. And the report that a
//! decision is made on keeps to its schema.

use crate::support::program::{self, repository, run, tree};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

fn policy(dir: &Path, text: &str) {
    std::fs::write(
        dir.join("policy.toml"),
        format!("schema = \"byrote.policy/v1\"\n{text}\n"),
    )
    .unwrap();
}

fn waiver(item: &str, expires: &str) -> String {
    format!("[[waivers]]\nitem = \"{item}\"\nreason = \"licensed\"\nexpires = {expires}\n")
}

/// Asserts that a report keeps to the published schema.
fn valid(json: &[u8]) -> Value {
    let schema = std::fs::read(repository("docs/schema/report.v1.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap();
    let report: Value = serde_json::from_slice(json).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&report)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    report
}

#[test]
fn the_same_scores_pass_block_or_stay_undecided_by_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Canaries and controls, without the form letters: those leave some items undecided.
    program::write_lines(&dir.join("set.jsonl"), &program::builtin_lines(240));
    let probe = ["probe", "--prompts", "set.jsonl", "--out", "run"];
    run(dir, &probe).exits(0);
    let ungated = valid(&std::fs::read(dir.join("run/report.json")).unwrap());
    assert_eq!(
        ungated["decision"],
        Value::Null,
        "without --gate nothing is decided"
    );

    // The same run, gated: nothing is scored again.
    for format in ["text", "json"] {
        let ran = run(
            dir,
            &[&probe[..], &["--gate", "default", "--format", format]].concat(),
        )
        .exits(1);
        assert!(
            ran.stderr.contains("windows are scored already"),
            "{}",
            ran.stderr
        );
    }
    let gated = valid(&std::fs::read(dir.join("run/report.json")).unwrap());
    assert_eq!(gated["decision"]["outcome"], "block");
    let denied: Vec<String> = gated["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| ["extractable", "memorized"].contains(&item["verdict"].as_str().unwrap()))
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(denied.len() > 10, "{denied:?}");

    // From here on the report alone decides: no model, no scores.
    std::fs::create_dir(dir.join("alone")).unwrap();
    std::fs::copy(dir.join("run/report.json"), dir.join("alone/report.json")).unwrap();
    let all_waived = |expires: &str| {
        denied
            .iter()
            .map(|id| waiver(id, expires))
            .collect::<String>()
    };
    let mut one_expired = all_waived("2999-12-31");
    one_expired = one_expired.replacen("2999-12-31", "2020-01-01", 1);
    let mut unused = String::from("deny = []\n");
    write!(unused, "{}", waiver("no-such-item", "2020-01-01")).unwrap();
    let cases = [
        ("the built-in policy in a file", String::new(), 1, "block"),
        (
            "nothing is denied",
            "deny = []\nwarn = []".to_owned(),
            0,
            "pass",
        ),
        (
            "only what wasn't found is denied",
            "deny = [\"predictable\"]".to_owned(),
            0,
            "pass",
        ),
        (
            "a found positive control",
            "deny = []\npositive_controls = [\"canary-r64-01\"]".to_owned(),
            0,
            "pass",
        ),
        (
            "a control as positive control",
            "deny = []\npositive_controls = [\"control-001\"]".to_owned(),
            2,
            "undecided",
        ),
        // The report of a run under another policy doesn't hold tags that nothing hung on: it can't be told, so not passed.
        (
            "a tag the report lacks",
            "deny = []\npositive_controls = [\"tag:repetitions:64\"]".to_owned(),
            2,
            "undecided",
        ),
        (
            "an unknown positive control",
            "deny = []\npositive_controls = [\"nobody\"]".to_owned(),
            2,
            "undecided",
        ),
        (
            "more controls wanted than there are",
            "deny = []\nmin_controls = 5000".to_owned(),
            2,
            "undecided",
        ),
        (
            "the same, and undecided items may pass",
            "deny = []\nmin_controls = 5000\nrequire_decided = false".to_owned(),
            0,
            "pass",
        ),
        ("every finding waived", all_waived("2999-12-31"), 0, "pass"),
        ("one waiver expired", one_expired, 2, "undecided"),
        ("an expired waiver of nothing", unused, 2, "undecided"),
        (
            "one finding not waived",
            all_waived("2999-12-31").replacen(&denied[0], "other", 1),
            1,
            "block",
        ),
    ];
    let before = tree(&dir.join("alone"));
    for (name, text, code, outcome) in &cases {
        policy(dir, text);
        for report in ["run", "alone", "alone/report.json"] {
            println!("{name}: gate {report}");
            run(dir, &["gate", report, "--policy", "policy.toml"]).exits(*code);
            let ran = run(
                dir,
                &[
                    "gate",
                    report,
                    "--policy",
                    "policy.toml",
                    "--format",
                    "json",
                ],
            )
            .exits(*code);
            let decided = valid(ran.stdout.as_bytes());
            assert_eq!(decided["decision"]["outcome"], *outcome, "{name}");
            assert!(
                !decided["decision"]["reasons"]
                    .as_array()
                    .unwrap()
                    .is_empty(),
                "{name}"
            );
        }
    }
    assert!(before == tree(&dir.join("alone")), "gate changes no file");

    for (ready, code) in [("default", 1), ("strict", 1), ("research", 0)] {
        run(dir, &["gate", "alone", "--policy", ready]).exits(code);
    }
    // The mean rank needs what only a run under its policy keeps.
    let mean_rank = run(dir, &["gate", "alone", "--policy", "book-protocol"]).exits(2);
    assert!(
        mean_rank.stdout.contains("probe again with"),
        "{}",
        mean_rank.stdout
    );
    // A positive control by tag, in the run that it was asked of: found, and no finding.
    policy(dir, "positive_controls = [\"tag:repetitions:64\"]");
    run(dir, &[&probe[..], &["--gate", "policy.toml"]].concat()).exits(1);
    let tagged = valid(&std::fs::read(dir.join("run/report.json")).unwrap());
    assert_eq!(tagged["summary"]["positive_controls"][0]["found"], true);
    let findings = tagged["decision"]["findings"].to_string();
    assert!(
        findings.contains("canary-r32-01") && !findings.contains("canary-r64-01"),
        "{findings}"
    );
    run(dir, &[&probe[..], &["--gate", "default"]].concat()).exits(1);
    let gated = valid(&std::fs::read(dir.join("run/report.json")).unwrap());
    // A report in whatever format is no decision.
    for format in ["text", "json", "md", "html"] {
        run(dir, &["report", "run", "--format", format]).exits(0);
    }
    let again = run(dir, &["report", "run", "--format", "json"]).exits(0);
    assert_eq!(valid(again.stdout.as_bytes()), gated);
}

#[test]
fn a_revealing_report_keeps_to_the_schema_too_and_the_gate_needs_no_model() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    program::model_folder(&dir.join("model"));
    let text = "Weannane the brewer found Stella's ornate cabinet; Ursula fastened his cat and mistook the scribe.";
    std::fs::write(dir.join("text.txt"), text).unwrap();
    let args = [
        "probe",
        "--model",
        "model",
        "--prompts",
        "text.txt",
        "--prefix",
        "8",
        "--suffix",
        "8",
        "--reveal",
    ];
    // One text and no controls: found or not, it can't be told from what is predictable.
    run(dir, &[&args[..], &["--out", "run"]].concat()).exits(0);
    let report = valid(&std::fs::read(dir.join("run/report.json")).unwrap());
    assert!(report.to_string().contains("Stella's ornate cabinet"));
    assert_eq!(report["items"][0]["verdict"], "inconclusive");
    run(
        dir,
        &[&args[..], &["--out", "run", "--gate", "default"]].concat(),
    )
    .exits(2);

    std::fs::remove_dir_all(dir.join("model")).unwrap();
    std::fs::remove_dir_all(dir.join("run/scores")).unwrap();
    policy(dir, "deny = []\nrequire_decided = false");
    run(dir, &["gate", "run", "--policy", "policy.toml"]).exits(0);
    run(dir, &["gate", "run", "--policy", "default"]).exits(2);
}

#[test]
fn the_gravest_of_several_models_decides() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    program::write_lines(&dir.join("set.jsonl"), &program::builtin_lines(20)[60..]);
    let both = [
        "probe",
        "--model",
        "builtin",
        "--model",
        "nowhere.gguf",
        "--prompts",
        "set.jsonl",
        "--out",
        "runs",
    ];
    let ran = run(dir, &both).exits(2);
    assert!(ran.stderr.contains("error: nowhere.gguf"), "{}", ran.stderr);
    assert!(
        dir.join("runs/builtin/report.json").exists(),
        "what could be measured was"
    );
}
