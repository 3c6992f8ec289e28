//! The steps of the GitHub Action, run as the scripts that they are.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What a step left.
struct Step {
    code: i32,
    stdout: String,
    outputs: HashMap<String, String>,
    summary: String,
}

fn step(name: &str, dir: &Path, inputs: &[(&str, &str)]) -> Step {
    let (outputs, summary) = (
        dir.join(format!("{name}.outputs")),
        dir.join(format!("{name}.summary")),
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("action")
        .join(name);
    let mut command = Command::new("bash");
    command
        .arg(script)
        .current_dir(dir)
        .env("GITHUB_OUTPUT", &outputs)
        .env("GITHUB_STEP_SUMMARY", &summary);
    command
        .env("BYROTE", env!("CARGO_BIN_EXE_byrote"))
        .envs(inputs.iter().copied());
    let output = command.output().unwrap();
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let lines = read(&outputs);
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    Step {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        outputs: pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        summary: read(&summary),
    }
}

#[test]
fn the_steps_probe_decide_and_tell_github() {
    let dir = tempfile::tempdir().unwrap();
    let installed = step(
        "install",
        dir.path(),
        &[("BYROTE_PROGRAM", env!("CARGO_BIN_EXE_byrote"))],
    );
    assert_eq!(
        (installed.code, installed.outputs["program"].as_str()),
        (0, env!("CARGO_BIN_EXE_byrote"))
    );
    let out = [("BYROTE_OUT", "run"), ("BYROTE_POLICY", "default")];
    // A model's name is a name, whatever is in it.
    let hostile = "$(touch ran); touch ran";
    let wrong = step(
        "probe",
        dir.path(),
        &[&[("BYROTE_MODEL", hostile)][..], &out].concat(),
    );
    assert!(wrong.code == 2 && !dir.path().join("ran").exists());
    let more = [
        ("BYROTE_MODEL", "builtin"),
        ("BYROTE_ARGUMENTS", "--threads\n2\n\n"),
        ("BYROTE_PROMPTS", ""),
    ];
    let probed = step("probe", dir.path(), &[&more[..], &out].concat());
    assert_eq!(probed.code, 0, "{}", probed.stdout);
    let formats = [("BYROTE_FORMATS", "html,md,sarif,junit,csv,json,github")];
    let decided = step("decide", dir.path(), &[&formats[..], &out].concat());
    assert_eq!(decided.code, 1, "{}", decided.stdout);
    let of = |name: &str| decided.outputs.get(name).map(String::as_str);
    assert_eq!(
        (of("outcome"), of("exit-code"), of("folder")),
        (Some("block"), Some("1"), Some("run/decided"))
    );
    assert!(dir.path().join(of("sarif").unwrap()).exists());
    assert!(
        decided
            .stdout
            .lines()
            .any(|line| line.starts_with("::error ")),
        "{}",
        decided.stdout
    );
    assert!(
        decided.summary.starts_with("# ") || decided.summary.starts_with("## "),
        "{}",
        decided.summary
    );
    for name in [
        "report.html",
        "report.md",
        "report.junit.xml",
        "report.csv",
        "report.json",
    ] {
        assert!(dir.path().join("run/decided").join(name).exists(), "{name}");
    }
}

#[test]
fn what_is_not_there_is_undecided_and_never_a_pass() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = [
        ("BYROTE_OUT", "run"),
        ("BYROTE_REPORT", "nowhere"),
        ("BYROTE_POLICY", "default"),
        ("BYROTE_FORMATS", "md"),
    ];
    let decided = step("decide", dir.path(), &inputs);
    assert_eq!(
        (decided.code, decided.outputs["outcome"].as_str()),
        (2, "undecided")
    );
}

#[test]
fn the_action_passes_every_input_through_the_environment() {
    let action =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml")).unwrap();
    let (inputs, steps) = action.split_once("\nruns:").unwrap();
    let declared: Vec<&str> = inputs
        .split("\noutputs:")
        .next()
        .unwrap()
        .lines()
        .filter_map(name)
        .collect();
    assert!(declared.len() >= 10, "{declared:?}");
    for input in declared {
        assert!(
            steps.contains(&format!("inputs.{input} ")),
            "the input {input} goes nowhere"
        );
    }
    for line in steps
        .lines()
        .filter(|line| line.trim_start().starts_with("run:"))
    {
        assert!(!line.contains("${{"), "{line}");
    }
}

/// `  model:` names an input.
fn name(line: &str) -> Option<&str> {
    line.strip_prefix("  ")?
        .strip_suffix(':')
        .filter(|name| !name.starts_with(' '))
}
