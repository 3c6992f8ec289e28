//! An in-toto Statement v1 with the predicate `test-result/v0.1` over the model's weights: the probe as a test run, each item but
//! the controls a test. Unsigned JSON, to be signed by whoever vouches for it. Never holds text, revealed or not.

use super::formats::FormatError;
use super::standing::{Standing, Standings, passed};
use super::{Report, escape};
use crate::digest::{Digest, FileDigest};
use crate::items::Kind;
use crate::run::ModelIdentity;
use serde_json::{Value, json};

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// Endings of files that hold weights.
const WEIGHTS: [&str; 2] = [".safetensors", ".gguf"];

/// The statement, indented. Pure: the same report gives the same bytes.
///
/// # Errors
/// Only if what is written here is no JSON.
pub fn render(report: &Report) -> Result<Vec<u8>, FormatError> {
    let standings = Standings::of(report);
    let (mut passed_tests, mut warned, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for item in report
        .items
        .iter()
        .filter(|item| item.kind != Kind::Control)
    {
        let tests = match standings.item(item) {
            standing if standing.fails() => &mut failed,
            Standing::Passed => &mut passed_tests,
            _ => &mut warned,
        };
        tests.push(&item.id);
    }
    // Controls are no tests, but one that wasn't measured keeps the run from being decided.
    let controls = report
        .items
        .iter()
        .filter(|item| item.kind == Kind::Control);
    failed.extend(
        controls
            .filter(|item| standings.item(item) == Standing::NotMeasured)
            .map(|item| &item.id),
    );
    let warnings = report
        .decision
        .as_ref()
        .is_some_and(|decision| !decision.warnings.is_empty());
    // A verifier takes WARNED for a pass with remarks ("passed with warnings" in the specification), so that what could not
    // be decided, and what nobody decided on, must be FAILED: there is no fourth word.
    let result = match (passed(report), warnings || !warned.is_empty()) {
        (true, false) => "PASSED",
        (true, true) => "WARNED",
        (false, _) => "FAILED",
    };
    let statement = json!({
        "_type": STATEMENT,
        "subject": subjects(&report.model),
        "predicateType": PREDICATE,
        "predicate": {
            "result": result,
            "configuration": configuration(report),
            "passedTests": passed_tests,
            "warnedTests": warned,
            "failedTests": failed,
        },
    });
    Ok(escape::json::pretty(&statement)?)
}

/// The files that hold weights. A tokenizer or a config is shared by many models, and none of these passed this test: they
/// are no subjects. Where no file is known to hold weights, the model's root digest is the subject.
fn subjects(model: &ModelIdentity) -> Vec<Value> {
    let mut subjects: Vec<Value> = weights(model).map(described).collect();
    if subjects.is_empty() {
        subjects.push(json!({ "name": model.reference, "digest": { "sha256": model.digest } }));
    }
    subjects
}

/// Files of the model that hold weights, those of a merged adapter among them.
pub(crate) fn weights(model: &ModelIdentity) -> impl Iterator<Item = &FileDigest> {
    let holds = |file: &&FileDigest| {
        WEIGHTS
            .iter()
            .any(|ending| file.name.to_ascii_lowercase().ends_with(ending))
    };
    model.files.iter().filter(holds)
}

/// What decides how the weights were tested: the policy, the probe set, what else belongs to the model, and the windows.
fn configuration(report: &Report) -> Vec<Value> {
    let named = |name: &str, digest: &Digest, role: &str| json!({ "name": name, "digest": { "sha256": digest }, "annotations": { "role": role } });
    let with_role = |file: &FileDigest, role: &str| named(&file.name, &file.sha256, role);
    let mut all = vec![named(
        &report.policy.source,
        &report.policy.digest,
        "policy",
    )];
    // The digest of a file that is one text is salted, so that it names nothing outside of this run.
    let sets = report.probe_set.files.iter();
    all.extend(sets.map(|file| {
        with_role(
            file,
            if file.one_text {
                "probe text, salted digest"
            } else {
                "probe set"
            },
        )
    }));
    all.push(named(
        "windows",
        &report.plan_digest,
        "plan: all windows' ids, tokens and prefix lengths",
    ));
    let model = &report.model;
    let other = model
        .files
        .iter()
        .filter(|file| !weights(model).any(|weights| weights.name == file.name));
    all.extend(other.map(|file| with_role(file, "model")));
    let mut tool = json!({
        "name": report.tool,
        "uri": "pkg:cargo/byrote",
        "annotations": { "role": "tool", "created_at": report.created_at },
    });
    if let Some(version) = report
        .tool
        .strip_prefix("byrote ")
        .filter(|version| is_version(version))
    {
        tool["uri"] = json!(format!("pkg:cargo/byrote@{version}"));
    }
    all.push(tool);
    all.push(json!({
        "name": model.reference,
        "digest": { "sha256": model.digest },
        "annotations": {
            "role": "model under test: SHA-256 over the digests of all its files",
            "source": model.source,
            "revision": model.revision,
            "dtype": model.backend.dtype,
        },
    }));
    all
}

fn described(file: &FileDigest) -> Value {
    json!({ "name": file.name, "digest": { "sha256": file.sha256 } })
}

fn is_version(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::decision::{Decision, Outcome};
    use crate::report::fixture;

    fn statement(report: &Report) -> Value {
        serde_json::from_slice(&render(report).unwrap()).unwrap()
    }

    #[test]
    fn the_result_is_the_decision_and_never_passed_without_one() {
        let decided = |outcome: Outcome, warnings: &[&str]| Report {
            decision: Some(Decision {
                outcome,
                warnings: warnings.iter().map(|&warning| warning.to_owned()).collect(),
                findings: vec![],
                ..fixture::report().decision.unwrap()
            }),
            items: vec![],
            ..fixture::report()
        };
        for (report, expected) in [
            (fixture::report(), "FAILED"),
            (decided(Outcome::Pass, &[]), "PASSED"),
            (decided(Outcome::Pass, &["one is waived"]), "WARNED"),
            (decided(Outcome::Block, &[]), "FAILED"),
            (decided(Outcome::Undecided, &[]), "FAILED"),
            (
                Report {
                    decision: None,
                    ..decided(Outcome::Pass, &[])
                },
                "FAILED",
            ),
            (fixture::empty(), "FAILED"),
        ] {
            assert_eq!(statement(&report)["predicate"]["result"], expected);
        }
    }

    #[test]
    fn every_item_but_the_controls_is_in_one_list() {
        let report = fixture::report();
        let statement = statement(&report);
        let of = |list: &str| statement["predicate"][list].as_array().unwrap().clone();
        let all = [of("passedTests"), of("warnedTests"), of("failedTests")];
        assert_eq!(all.iter().map(Vec::len).sum::<usize>(), 17 + 70);
        assert!(
            all[0].contains(&json!("novels/quire-ch-02")),
            "{:?}",
            all[0]
        );
        assert!(all[1].contains(&json!("poems/heron-07")), "{:?}", all[1]);
        assert!(
            all[2].contains(&json!("novels/moby-1"))
                && all[2].contains(&json!("letters/too-short"))
        );
    }

    #[test]
    fn subjects_are_weights_and_what_else_took_part_is_configuration() {
        let statement = statement(&fixture::report());
        let names: Vec<&Value> = statement["subject"]
            .as_array()
            .unwrap()
            .iter()
            .map(|subject| &subject["name"])
            .collect();
        assert_eq!(names, ["model.safetensors"]);
        let configuration = statement["predicate"]["configuration"].to_string();
        for role in ["policy", "probe set", "tool", "tokenizer.json"] {
            assert!(configuration.contains(role), "{role}");
        }
    }
}
