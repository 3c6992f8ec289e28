//! GitHub annotations: workflow commands that a job prints, and GitHub shows beside the lines of the probe files. The decision,
//! then the worst nine items, then how many more there are: GitHub shows ten of a kind a step. Never holds text, revealed or
//! not.

use super::standing::{self, Standing, Standings};
use super::{Report, ReportItem, escape, words};
use crate::metric::samples;
use crate::report::words::Tone;
use std::fmt::Write as _;

/// Items that are told one by one.
const SHOWN: usize = 9;

/// A line an annotation. Pure: the same report gives the same text.
pub fn render(report: &Report) -> String {
    let standings = Standings::of(report);
    let headline = words::headline(report);
    let command = match headline.tone {
        Tone::Bad => "error",
        // Undecided is no pass; without a decision nobody asked.
        Tone::Unsure if report.decision.is_some() => "error",
        Tone::Unsure => "warning",
        Tone::Good => "notice",
    };
    let mut out = String::new();
    let found = headline
        .found
        .iter()
        .chain(&headline.more)
        .chain(&headline.warnings);
    let said: Vec<&str> = [headline.reason.as_str()]
        .into_iter()
        .chain(found.map(String::as_str))
        .collect();
    let title = escape::github_property(&format!("byrote: {}", headline.word));
    let _ = writeln!(
        out,
        "::{command} title={title}::{}",
        escape::github_message(&said.join(" "))
    );
    let told: Vec<_> = standings
        .worst_first()
        .into_iter()
        .filter(|(_, standing)| *standing != Standing::Passed)
        .collect();
    for (item, standing) in told.iter().take(SHOWN) {
        annotation(&mut out, &standings, item, *standing);
    }
    if let Some(more) = told.len().checked_sub(SHOWN).filter(|&more| more > 0) {
        let _ = writeln!(
            out,
            "::notice title=byrote::and {} more; the whole report is in report.json",
            samples::grouped(more as u64)
        );
    }
    out
}

fn annotation(out: &mut String, standings: &Standings<'_>, item: &ReportItem, standing: Standing) {
    let command = match standing {
        standing if standing.fails() => "error",
        Standing::WithinLimits | Standing::Known | Standing::Warned => "warning",
        _ => "notice",
    };
    let level = item.verdict.level;
    let title = match standing {
        Standing::NotMeasured => "not measured".to_owned(),
        Standing::WithinLimits => format!("{level}, within the policy's limits"),
        Standing::Known => format!("{level}, known from the baseline"),
        Standing::Waived => format!("{level}, waived"),
        Standing::WaiverExpired => format!("{level}, waiver expired"),
        _ => level.to_string(),
    };
    let waiver = match (standing, standings.waiver(&item.id)) {
        (Standing::Waived, Some(waiver)) => {
            format!(" (waived until {}: {})", waiver.expires, waiver.reason)
        }
        (Standing::WaiverExpired, Some(waiver)) => {
            format!(" (the waiver expired on {})", waiver.expires)
        }
        _ => String::new(),
    };
    let _ = writeln!(
        out,
        "::{command} file={},line={},title={}::{}",
        escape::github_property(&item.origin.file),
        item.origin.line.unwrap_or(1),
        escape::github_property(&format!("byrote: {title}")),
        escape::github_message(&format!("{}: {}{waiver}", item.id, standing::message(item)))
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_decision_and_the_worst_nine_then_a_count() {
        let text = render(&fixture::report());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 11, "{text}");
        assert!(
            lines[0].starts_with("::error title=byrote%3A Blocked::"),
            "{}",
            lines[0]
        );
        assert!(
            lines[10].starts_with("::notice title=byrote::and ") && lines[10].contains(" more; "),
            "{}",
            lines[10]
        );
        let found = lines[1..]
            .iter()
            .find(|line| line.contains("lyrics/umber-song"))
            .unwrap();
        assert!(
            found.starts_with(
                "::error file=prompts/optout.jsonl,line=2,title=byrote%3A extractable::lyrics/umber-song: "
            )
        );
        assert!(
            lines
                .iter()
                .all(|line| line.starts_with("::error ") || line.starts_with("::notice ")),
            "{text}"
        );
        fixture::assert_inert_and_redacted(&text);
    }

    #[test]
    fn a_run_without_findings_is_one_notice() {
        let mut report = fixture::report();
        report
            .items
            .retain(|item| item.id.0 == "novels/quire-ch-02");
        let policy = report.policy.clone();
        report.decision = Some(crate::policy::decision::Decision {
            outcome: crate::policy::decision::Outcome::Pass,
            reasons: vec!["nothing the policy denies was found in 1 item".to_owned()],
            warnings: vec![],
            findings: vec![],
            baseline: None,
        });
        let text = render(&Report { policy, ..report });
        assert!(
            text.starts_with("::notice title=byrote%3A Pass::") && text.lines().count() == 1,
            "{text}"
        );
    }
}
