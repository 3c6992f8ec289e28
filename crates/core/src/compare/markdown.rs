//! A comparison as Markdown, for a CI job's page or a pull request. Holds no text, revealed or not.

use super::words;
use super::{ComparedItem, Comparison, Standing};
use crate::metric::samples::grouped;
use crate::policy::Level;
use crate::report::escape;
use crate::report::words::{LEVELS, kinds, sign};
use std::fmt::Write as _;

/// Rows of a table; what is left out is counted.
const ROWS: usize = 100;

/// GitHub-flavoured Markdown, in UTF-8, ending in a line break. Pure: the same comparison gives the same text.
pub fn render(comparison: &Comparison) -> String {
    let mut out = String::new();
    let (_, word) = words::headline(comparison);
    let _ = writeln!(
        out,
        "## {word}\n\n**{}**\n\n{}.",
        escape::markdown(&words::first_sentence(comparison)),
        words::scope(comparison)
    );
    out.push_str("\n| | report | model | SHA-256 | begun |\n|---:|---|---|---|---|\n");
    for (n, report) in comparison.reports.iter().enumerate() {
        let _ = writeln!(
            out,
            "| **{}** | {} | {} | {} | {} |",
            n + 1,
            escape::markdown_code(&report.name),
            escape::markdown(&words::model(report)),
            escape::markdown_code(report.model.digest.as_str()),
            escape::markdown(&report.created_at)
        );
    }
    let _ = writeln!(
        out,
        "\nJudged by {}.",
        escape::markdown(&words::policy(comparison))
    );
    levels(&mut out, comparison);
    for against in &comparison.against_first {
        let _ = writeln!(out, "\n### {} against 1\n", against.report + 1);
        for line in &against.said {
            let _ = writeln!(out, "- {}", escape::markdown(line));
        }
    }
    items(&mut out, comparison);
    let _ = writeln!(
        out,
        "\n<sub>{} · holds no probed text</sub>",
        escape::markdown(crate::run::TOOL)
    );
    out
}

fn levels(out: &mut String, comparison: &Comparison) {
    out.push_str("\n### Verdicts\n\n| | report |");
    for level in LEVELS {
        let _ = write!(out, " {} {level} |", sign(level));
    }
    let _ = writeln!(out, "\n|---|---:|{}", "---:|".repeat(LEVELS.len()));
    for kind in super::KINDS {
        for (n, report) in comparison.reports.iter().enumerate() {
            let Some(levels) = report.levels.iter().find(|levels| levels.kind == kind) else {
                continue;
            };
            let _ = write!(out, "| **{}** | {} |", kinds(kind), n + 1);
            for count in [
                levels.extractable,
                levels.memorized,
                levels.predictable,
                levels.clear,
                levels.inconclusive,
            ] {
                let _ = write!(out, " {} |", grouped(count));
            }
            out.push('\n');
        }
    }
}

fn items(out: &mut String, comparison: &Comparison) {
    let changed: Vec<&ComparedItem> = comparison
        .items
        .iter()
        .filter(|item| item.standing() != Standing::Unchanged)
        .collect();
    if changed.is_empty() {
        return;
    }
    let pair = comparison.reports.len() == 2;
    out.push_str("\n### Items that aren't the same in all reports\n\n| | item | kind |");
    for n in 1..=comparison.reports.len() {
        let _ = write!(out, " {n} |");
    }
    if pair {
        out.push_str(" ln p_z | extracted | run |");
    }
    let _ = write!(
        out,
        " why |\n|---|---|---|{}",
        "---|".repeat(comparison.reports.len())
    );
    if pair {
        out.push_str("---:|---:|---:|");
    }
    out.push_str("---|\n");
    for item in changed.iter().take(ROWS) {
        let standing = item.standing();
        let _ = write!(
            out,
            "| {} {} | {} | {} |",
            words::sign(standing),
            standing.name(),
            escape::markdown_code(&item.id.0),
            super::text::kind(item.kind)
        );
        for cell in &item.cells {
            let _ = write!(out, " {} |", verdict(cell.as_ref().map(|cell| cell.level)));
        }
        if let (true, Some(change)) = (pair, item.changes.first()) {
            let none = || "–".to_owned();
            let _ = write!(
                out,
                " {} | {} | {} |",
                change.log_p_z_full.map_or_else(none, words::signed),
                change.coverage.map_or_else(none, words::points),
                change.verbatim_run.map_or_else(none, words::whole),
            );
        }
        let mut why: Vec<&str> = item
            .changes
            .iter()
            .filter_map(|change| change.why.as_deref())
            .collect();
        why.dedup();
        let _ = writeln!(out, " {} |", escape::markdown(&why.join("; ")));
    }
    if let Some(more) = changed.len().checked_sub(ROWS).filter(|&more| more > 0) {
        let _ = writeln!(
            out,
            "\n… and {} more: `byrote compare --format csv` has all.",
            grouped(more as u64)
        );
    }
    if pair {
        let _ = writeln!(out, "\n{}.", escape::markdown(words::FIGURES));
    }
}

fn verdict(level: Option<Level>) -> String {
    level.map_or_else(
        || "–".to_owned(),
        |level| format!("{} {level}", sign(level)),
    )
}
