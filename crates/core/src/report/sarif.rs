//! SARIF 2.1.0 (OASIS, errata 01) as GitHub's code scanning takes it: a rule a kind of finding, a result an item, at the line
//! of the probe file it was read from. Never holds text, revealed or not.
//!
//! What GitHub asks for beyond the standard: `help.text` and `security-severity` of rules, a full region, relative paths, a
//! fingerprint under the name `primaryLocationLineHash`, and its limits on results and bytes.

use super::formats::FormatError;
use super::standing::{self, Standing, Standings};
use super::{Report, ReportItem, escape, words};
use crate::digest::Digest;
use crate::metric::samples;
use crate::policy::Level;
use crate::policy::decision::Outcome;
use serde_json::{Value, json};

/// Results that GitHub takes in one run.
const MOST_RESULTS: usize = 25_000;
/// Bytes. GitHub counts them after compression; held before it, the file fits everywhere.
const MOST_BYTES: usize = 10_000_000;

/// The address by which readers know which schema to check against.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What a result is about.
struct Rule {
    id: &'static str,
    name: &'static str,
    short: &'static str,
    help: &'static str,
    /// How grave, 0 to 10, as CVSS has it: from 7.0 high, from 4.0 medium.
    severity: &'static str,
    level: &'static str,
}

const EXTRACTABLE: usize = 0;
const MEMORIZED: usize = 1;
const PREDICTABLE: usize = 2;
const INCONCLUSIVE: usize = 3;
const NOT_MEASURED: usize = 4;

const RULES: [Rule; 5] = [
    Rule {
        id: "byrote/extractable",
        name: "ExtractableText",
        short: "The model recites this text within the sample budget",
        help: "Sampling the model yields a passage of this text word for word within the policy's sample budget, and \
               texts that the model can't have seen don't come as easily. Don't publish these weights as they are: filter \
               what the model puts out, or train again without the text. If the finding is accepted, say so in a waiver \
               with a reason and an expiry date.",
        severity: "8.0",
        level: "error",
    },
    Rule {
        id: "byrote/memorized",
        name: "MemorizedText",
        short: "The model memorized this text, beyond the sample budget",
        help: "Passages of this text are likelier than the controls explain, though it takes more samples than the \
               policy's budget to see one. The text stood in the training data. Filter it, train again without it, or \
               accept the finding in a waiver with a reason and an expiry date.",
        severity: "5.5",
        level: "error",
    },
    Rule {
        id: "byrote/predictable",
        name: "PredictableText",
        short: "The model recites this text, but also texts it can't have seen",
        help: "A passage comes within the sample budget, but so do controls: it can be guessed, so that nothing follows \
               about the training data. Longer windows or closer controls tell more.",
        severity: "2.0",
        level: "warning",
    },
    Rule {
        id: "byrote/inconclusive",
        name: "InconclusiveItem",
        short: "It can't be told whether the model memorized this text",
        help: "The text was measured, but the evidence doesn't decide: most often there are too few controls for a \
               finding to stand. The reason says what is missing. Inconclusive is never clear.",
        severity: "4.0",
        level: "warning",
    },
    Rule {
        id: "byrote/not-measured",
        name: "ItemNotMeasured",
        short: "This text was not measured in full",
        help: "Windows of this text have no scores, or none could be cut from it. What was not measured is never clear: \
               resume the run, merge the missing shard, or give the text in full.",
        severity: "4.0",
        level: "error",
    },
];

/// One line of JSON a result. Pure: the same report gives the same bytes.
///
/// # Errors
/// Only if a table here is defective.
pub fn render(report: &Report) -> Result<Vec<u8>, FormatError> {
    render_within(report, MOST_RESULTS, MOST_BYTES)
}

fn render_within(
    report: &Report,
    most_results: usize,
    most_bytes: usize,
) -> Result<Vec<u8>, FormatError> {
    let standings = Standings::of(report);
    let told: Vec<_> = standings
        .worst_first()
        .into_iter()
        .filter_map(|(item, standing)| Some((item, standing, rule(item, standing)?)))
        .collect();
    // With a number as long as any that may stand there.
    let frame = escape::json::compact(&log(report, told.len()))?.len();
    let (mut results, mut bytes) = (Vec::new(), frame + TAIL.len());
    for (item, standing, rule) in told.iter().take(most_results) {
        let line = escape::json::compact(&result(&standings, item, *standing, *rule))?;
        bytes += line.len() + 2;
        if bytes > most_bytes {
            break;
        }
        results.push(line);
    }
    let left_out = told.len() - results.len();
    let head = escape::json::compact(&log(report, left_out))?;
    // The results are the last member of the last object, so that they can be written as they come.
    let mut out = Vec::with_capacity(bytes);
    out.extend_from_slice(
        head.strip_suffix(EMPTY_TAIL.as_bytes())
            .ok_or(FormatError::Defect("sarif"))?,
    );
    out.extend_from_slice(b"\"results\":[");
    for (n, line) in results.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"\n" } else { b",\n" });
        out.extend_from_slice(line);
    }
    out.extend_from_slice(TAIL.as_bytes());
    Ok(out)
}

/// What a log without results ends in, and what takes its place.
const EMPTY_TAIL: &str = "\"results\":[]}]}";
const TAIL: &str = "\n]}]}\n";

/// The log without results.
fn log(report: &Report, left_out: usize) -> Value {
    let rules = RULES.iter().map(|rule| {
        json!({
            "id": rule.id,
            "name": rule.name,
            "shortDescription": { "text": rule.short },
            "fullDescription": { "text": rule.help },
            "help": { "text": rule.help },
            "defaultConfiguration": { "level": rule.level },
            "properties": {
                "security-severity": rule.severity,
                "precision": "high",
                "tags": ["security", "privacy", "copyright", "memorization"],
            },
        })
    });
    let (name, version) = report
        .tool
        .split_once(' ')
        .unwrap_or((report.tool.as_str(), ""));
    let mut driver = json!({ "name": escape::visible(name), "rules": rules.collect::<Vec<_>>() });
    if !version.is_empty() {
        driver["version"] = json!(escape::visible(version));
    }
    let model = &report.model;
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": driver },
            // Up to the last slash it is the category: a later analysis of the same category takes the place of this one.
            "automationDetails": {
                "id": format!("byrote/{}/{}", category(&model.reference), escape::visible(&report.created_at)),
                "description": { "text": format!("Memorization of probed texts by {}", escape::sarif(&model.reference)) },
            },
            "columnKind": "unicodeCodePoints",
            "invocations": [invocation(report, left_out)],
            "properties": {
                "model": escape::visible(&model.reference),
                "revision": model.revision.as_deref().map(escape::visible),
                "model_sha256": model.digest,
                "policy": escape::visible(&report.policy.source),
                "policy_sha256": report.policy.digest,
                "plan_sha256": report.plan_digest,
                "decision": report.decision.as_ref().map(|decision| decision.outcome),
            },
            "results": [],
        }],
    })
}

/// Whether everything asked for was done, and what the decision and the limits leave to be said.
fn invocation(report: &Report, left_out: usize) -> Value {
    let note = |level: &str, text: &str| json!({ "level": level, "message": { "text": escape::sarif(text) } });
    let outcome = report.decision.as_ref().map(|decision| decision.outcome);
    let level = match outcome {
        Some(Outcome::Pass) => "note",
        Some(Outcome::Block) => "error",
        Some(Outcome::Undecided) | None => "warning",
    };
    let headline = words::headline(report);
    let mut notes = vec![note(
        level,
        &format!("{}: {}", headline.word, headline.reason),
    )];
    notes.extend(
        headline
            .found
            .iter()
            .chain(&headline.more)
            .map(|line| note(level, line)),
    );
    notes.extend(headline.warnings.iter().map(|line| note("warning", line)));
    notes.extend(
        words::not_tested(report)
            .iter()
            .map(|line| note("warning", line)),
    );
    if left_out > 0 {
        let more = samples::grouped(left_out as u64);
        let text = format!(
            "{more} more results are left out, the least grave ones: GitHub takes no more; see report.json"
        );
        notes.push(note("warning", &text));
    }
    let whole = report
        .items
        .iter()
        .all(|item| crate::verdict::not_measured(&item.evidence).is_none());
    let successful = !report.items.is_empty() && whole && outcome != Some(Outcome::Undecided);
    json!({ "executionSuccessful": successful, "toolExecutionNotifications": notes })
}

/// The rule an item breaks, if it breaks one.
fn rule(item: &ReportItem, standing: Standing) -> Option<usize> {
    match (standing, item.verdict.level) {
        (Standing::NotMeasured, _) => Some(NOT_MEASURED),
        (Standing::Passed, _) => None,
        (_, Level::Extractable) => Some(EXTRACTABLE),
        (_, Level::Memorized) => Some(MEMORIZED),
        (_, Level::Predictable) => Some(PREDICTABLE),
        (_, Level::Inconclusive) => Some(INCONCLUSIVE),
        (_, Level::Clear) => None,
    }
}

fn result(standings: &Standings<'_>, item: &ReportItem, standing: Standing, index: usize) -> Value {
    let rule = &RULES[index];
    let level = match standing {
        Standing::Denied | Standing::WaiverExpired | Standing::Waived | Standing::Found => "error",
        Standing::NotMeasured | Standing::Undecided => "error",
        Standing::WithinLimits | Standing::Known | Standing::Warned => "warning",
        Standing::Inconclusive | Standing::Passed => "note",
    };
    let line = item.origin.line.unwrap_or(1).max(1);
    let mut result = json!({
        "ruleId": rule.id,
        "ruleIndex": index,
        "level": level,
        "message": { "text": message(item) },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": escape::uri(&item.origin.file) },
                // The line's first character stands for the item: how long the line is, a report doesn't tell.
                "region": { "startLine": line, "startColumn": 1, "endLine": line, "endColumn": 2 },
            },
            "logicalLocations": [{ "name": escape::visible(&item.id.0), "kind": "item" }],
        }],
        "properties": { "reason": standing::reason(item).map(|reason| reason.code) },
        "partialFingerprints": { "primaryLocationLineHash": fingerprint(rule, item) },
    });
    // The standard (3.27.23): where one result of a run has suppressions, all have, be they none.
    let waiver = standings.waiver(&item.id);
    result["suppressions"] = match (standing, waiver) {
        (Standing::Waived, Some(waiver)) => json!([{
            "kind": "external",
            "status": "accepted",
            "justification": escape::visible(&format!("{} (waived until {})", waiver.reason, waiver.expires)),
        }]),
        (Standing::WaiverExpired, Some(waiver)) => json!([{
            "kind": "external",
            "status": "rejected",
            "justification": escape::visible(&format!("{} (expired on {})", waiver.reason, waiver.expires)),
        }]),
        _ => json!([]),
    };
    result
}

/// Its id, verdict and reason in a line: GitHub shows no more.
fn message(item: &ReportItem) -> String {
    escape::sarif(&format!(
        "{} is {}: {}",
        item.id,
        item.verdict.level,
        standing::message(item)
    ))
}

/// The same for the same item under the same rule, whatever line or file it moves to. Made from its id, never from its text.
fn fingerprint(rule: &Rule, item: &ReportItem) -> String {
    let digest = Digest::of_bytes(
        [rule.id.as_bytes(), item.id.0.as_bytes()]
            .join(&0)
            .as_slice(),
    );
    // As CodeQL's own: 16 digits, and which of equal ones it is.
    format!("{}:1", &digest.as_str()[..16])
}

/// A model's name as part of a category, which a slash would split.
fn category(reference: &str) -> String {
    escape::uri(reference)
        .replace("file:///", "")
        .replace('/', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::ItemId;
    use crate::report::fixture;

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn results_are_the_findings_at_their_lines_worst_first() {
        let report = fixture::report();
        let log = parsed(&render(&report).unwrap());
        let results = log["runs"][0]["results"].as_array().unwrap();
        let denied = report.decision.as_ref().unwrap().findings.len();
        assert!(results.len() >= denied);
        let of = |id: &str| {
            results
                .iter()
                .find(|result| result["locations"][0]["logicalLocations"][0]["name"] == id)
        };
        let found = of("lyrics/umber-song").unwrap();
        assert_eq!(
            (&found["level"], &found["ruleId"]),
            (&json!("error"), &json!("byrote/extractable"))
        );
        let place = &found["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "prompts/optout.jsonl");
        assert_eq!(
            place["region"],
            json!({"startLine": 2, "startColumn": 1, "endLine": 2, "endColumn": 2})
        );
        let waived = of("poems/heron-07").unwrap();
        assert_eq!(waived["suppressions"][0]["kind"], "external");
        assert_eq!(
            waived["suppressions"][0]["justification"],
            "licensed since October (waived until 2027-06-30)"
        );
        assert_eq!(
            of("letters/too-short").unwrap()["ruleId"],
            "byrote/not-measured"
        );
        assert!(of("novels/quire-ch-02").is_none() && of("canary-r64-0").is_none());
        assert_eq!(
            log["runs"][0]["invocations"][0]["executionSuccessful"], false,
            "something wasn't measured"
        );
        for result in results {
            let index = result["ruleIndex"].as_u64().unwrap() as usize;
            assert_eq!(
                result["ruleId"],
                log["runs"][0]["tool"]["driver"]["rules"][index]["id"]
            );
        }
    }

    #[test]
    fn fingerprints_follow_the_id_and_the_rule_alone() {
        let mut report = fixture::report();
        let prints = |report: &Report| {
            let log = parsed(&render(report).unwrap());
            let results = log["runs"][0]["results"].as_array().unwrap().clone();
            let print = |result: &Value| {
                result["partialFingerprints"]["primaryLocationLineHash"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            results.iter().map(print).collect::<Vec<_>>()
        };
        let before = prints(&report);
        let unique: std::collections::HashSet<_> = before.iter().collect();
        assert_eq!(unique.len(), before.len());
        for item in &mut report.items {
            item.origin.line = Some(item.origin.line.unwrap() + 7);
            item.salted_digest = Digest::of_bytes(b"another salt");
        }
        assert_eq!(prints(&report), before);
        let denied = report.decision.as_ref().unwrap().findings[0].item.clone();
        report
            .items
            .iter_mut()
            .find(|item| item.id == denied)
            .unwrap()
            .id = ItemId("renamed".to_owned());
        assert_ne!(prints(&report), before);
    }

    #[test]
    fn limits_keep_the_gravest_and_tell_how_many_are_left_out() {
        let report = fixture::report();
        let all = parsed(&render(&report).unwrap())["runs"][0]["results"]
            .as_array()
            .unwrap()
            .clone();
        for (most_results, most_bytes) in [(3, MOST_BYTES), (MOST_RESULTS, 12_000)] {
            let bytes = render_within(&report, most_results, most_bytes).unwrap();
            assert!(bytes.len() <= most_bytes, "{}", bytes.len());
            let log = parsed(&bytes);
            let kept = log["runs"][0]["results"].as_array().unwrap();
            assert!(!kept.is_empty() && kept.len() <= most_results && kept.len() < all.len());
            assert_eq!(kept[..], all[..kept.len()]);
            let notes = &log["runs"][0]["invocations"][0]["toolExecutionNotifications"];
            let told = format!("{} more results are left out", all.len() - kept.len());
            assert!(notes.to_string().contains(&told), "{told} isn't in {notes}");
        }
    }
}
