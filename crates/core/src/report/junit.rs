//! JUnit XML as CI systems read it (the XSD is that of Jenkins' xUnit plugin): a suite a kind of item, a case an item, and a
//! suite of one case for the decision, so that the file as a whole passes only if the decision does. A failure is what the policy
//! denies, an error what keeps the run from being decided, and what a waiver accepts is skipped. Never holds text, revealed
//! or not.

use super::standing::{self, Standing, Standings};
use super::{Report, ReportItem, escape, words};
use crate::policy::decision::Outcome;
use crate::verdict::Reason;
use std::fmt::Write as _;

/// How a case came out.
enum Came {
    Passed,
    /// The element, its `type` and its `message`.
    Otherwise(&'static str, &'static str, String),
}

struct Case {
    class: String,
    name: String,
    came: Came,
    /// What else there is to say, a line each.
    lines: Vec<String>,
}

struct Suite {
    name: &'static str,
    properties: Vec<(&'static str, String)>,
    cases: Vec<Case>,
}

/// One XML file in UTF-8, of characters that XML 1.0 may hold. Pure: the same report gives the same text.
pub fn render(report: &Report) -> String {
    let standings = Standings::of(report);
    let mut suites = vec![decision(report)];
    for kind in words::KINDS {
        let items = report.items.iter().filter(|item| item.kind == kind);
        let cases: Vec<Case> = items.map(|item| case(&standings, item)).collect();
        // A suite without cases reads as a pass of something.
        if !cases.is_empty() {
            suites.push(Suite {
                name: words::kinds(kind),
                properties: vec![],
                cases,
            });
        }
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all = || suites.iter().flat_map(|suite| &suite.cases);
    let _ = writeln!(
        out,
        "<testsuites name=\"byrote\" tests=\"{}\" failures=\"{}\" errors=\"{}\">",
        all().count(),
        of(all(), "failure"),
        of(all(), "error")
    );
    for suite in &suites {
        write_suite(&mut out, suite, report);
    }
    out.push_str("</testsuites>\n");
    out
}

/// The run as a case of its own.
fn decision(report: &Report) -> Suite {
    let headline = words::headline(report);
    let said = format!("{}: {}", headline.word, headline.reason);
    let came = match report.decision.as_ref().map(|decision| decision.outcome) {
        _ if report.items.is_empty() => Came::Otherwise(
            "error",
            "nothing-measured",
            format!("{said} Nothing was measured."),
        ),
        Some(Outcome::Pass) => Came::Passed,
        Some(Outcome::Block) => Came::Otherwise("failure", "blocked", said),
        Some(Outcome::Undecided) => Came::Otherwise("error", "undecided", said),
        None => Came::Otherwise(
            "skipped",
            "not-decided",
            format!("No policy decided on this report. {said}"),
        ),
    };
    let mut lines: Vec<String> = headline.found.into_iter().chain(headline.more).collect();
    lines.extend(
        headline
            .warnings
            .iter()
            .map(|warning| format!("Warning: {warning}")),
    );
    lines.extend(words::not_tested(report));
    let model = &report.model;
    let mut properties = vec![
        ("tool", report.tool.clone()),
        ("model", model.reference.clone()),
    ];
    properties.push(("model.source", model.source.clone()));
    properties.extend(
        model
            .revision
            .clone()
            .map(|revision| ("model.revision", revision)),
    );
    properties.push(("model.sha256", model.digest.to_string()));
    properties.push(("policy", report.policy.source.clone()));
    properties.push(("policy.sha256", report.policy.digest.to_string()));
    properties.push(("plan.sha256", report.plan_digest.to_string()));
    let case = Case {
        class: "byrote.decision".to_owned(),
        name: report.policy.source.clone(),
        came,
        lines,
    };
    Suite {
        name: "Decision",
        properties,
        cases: vec![case],
    }
}

fn case(standings: &Standings<'_>, item: &ReportItem) -> Case {
    let level = item.verdict.level;
    let reason = standing::message(item);
    let said = format!("{level}: {reason}");
    let waiver = |what: &str| match standings.waiver(&item.id) {
        Some(waiver) => format!("{level}, {what} {}: {}", waiver.expires, waiver.reason),
        None => said.clone(),
    };
    let came = match standings.item(item) {
        Standing::Denied => Came::Otherwise("failure", "denied", said),
        Standing::Found => Came::Otherwise("failure", "found", said),
        Standing::WaiverExpired => {
            Came::Otherwise("error", "waiver-expired", waiver("its waiver expired on"))
        }
        Standing::NotMeasured => Came::Otherwise("error", "not-measured", reason),
        Standing::Undecided => Came::Otherwise("error", "inconclusive", said),
        Standing::Known => Came::Otherwise("skipped", "known", said),
        Standing::WithinLimits => Came::Otherwise("skipped", "within-limits", said),
        Standing::Waived => Came::Otherwise("skipped", "waived", waiver("waived until")),
        Standing::Warned | Standing::Inconclusive | Standing::Passed => Came::Passed,
    };
    let mut lines = Vec::new();
    if !matches!(came, Came::Passed) {
        lines.push(format!("Read at {}", item.origin));
        lines.extend(item.verdict.reasons.iter().map(Reason::to_string));
    }
    let class = match item.kind {
        crate::items::Kind::OptOut => "byrote.opt_out",
        crate::items::Kind::Canary => "byrote.canary",
        crate::items::Kind::Control => "byrote.control",
    };
    Case {
        class: class.to_owned(),
        name: item.id.0.clone(),
        came,
        lines,
    }
}

fn write_suite(out: &mut String, suite: &Suite, report: &Report) {
    let _ = writeln!(
        out,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" timestamp=\"{}\">",
        escape::xml(suite.name),
        suite.cases.len(),
        of(&suite.cases, "failure"),
        of(&suite.cases, "error"),
        of(&suite.cases, "skipped"),
        escape::xml(&report.created_at)
    );
    if !suite.properties.is_empty() {
        out.push_str("    <properties>\n");
        for (name, value) in &suite.properties {
            let _ = writeln!(
                out,
                "      <property name=\"{name}\" value=\"{}\"/>",
                escape::xml(value)
            );
        }
        out.push_str("    </properties>\n");
    }
    for case in &suite.cases {
        let (class, name) = (escape::xml(&case.class), escape::xml(&case.name));
        match &case.came {
            Came::Passed => {
                let _ = writeln!(out, "    <testcase classname=\"{class}\" name=\"{name}\"/>");
            }
            Came::Otherwise(element, what, message) => {
                let _ = writeln!(out, "    <testcase classname=\"{class}\" name=\"{name}\">");
                let _ = write!(
                    out,
                    "      <{element} type=\"{what}\" message=\"{}\">",
                    escape::xml(message)
                );
                // The dashes keep a reason that begins with `::error::` from being a command where the file is printed.
                let lines: Vec<String> = case
                    .lines
                    .iter()
                    .map(|line| format!("- {}", escape::xml(line)))
                    .collect();
                let _ = writeln!(out, "{}</{element}>\n    </testcase>", lines.join("\n"));
            }
        }
    }
    out.push_str("  </testsuite>\n");
}

/// Cases that came out as this element.
fn of<'a>(cases: impl IntoIterator<Item = &'a Case>, wanted: &str) -> usize {
    let came =
        |case: &&Case| matches!(&case.came, Came::Otherwise(element, ..) if *element == wanted);
    cases.into_iter().filter(came).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn cases_say_what_the_decision_makes_of_each_item() {
        let text = render(&fixture::report());
        for line in [
            "<testsuite name=\"Opted-out texts\" tests=\"17\"",
            "<testsuite name=\"Canaries\" tests=\"70\"",
            "<testsuite name=\"Controls\" tests=\"199\" failures=\"0\" errors=\"0\" skipped=\"0\"",
            "<testcase classname=\"byrote.opt_out\" name=\"lyrics/umber-song\">\n      <failure type=\"denied\" message=\"extractable: ",
            "<skipped type=\"waived\" message=\"extractable, waived until 2027-06-30: licensed since October\">",
            "name=\"letters/too-short\">\n      <error type=\"not-measured\"",
            "<testcase classname=\"byrote.opt_out\" name=\"novels/quire-ch-02\"/>",
            "<failure type=\"blocked\" message=\"Blocked: ",
            "<property name=\"model.sha256\" value=\"",
        ] {
            assert!(text.contains(line), "{line:?} isn't in\n{text}");
        }
        fixture::assert_inert_and_redacted(&text);
    }

    #[test]
    fn an_empty_report_is_one_case_with_an_error() {
        let text = render(&fixture::empty());
        assert!(
            text.contains("<testsuites name=\"byrote\" tests=\"1\" failures=\"0\" errors=\"1\">"),
            "{text}"
        );
        assert_eq!(text.matches("<testcase").count(), 1);
    }

    #[test]
    fn without_a_decision_nothing_passes_as_one() {
        let report = Report {
            decision: None,
            ..fixture::report()
        };
        let text = render(&report);
        assert!(
            text.contains("<skipped type=\"not-decided\"")
                && text.contains("<failure type=\"found\""),
            "{text}"
        );
    }
}
