//! The report as a page for a terminal. Never holds text, revealed or not.

pub mod inspect;

use super::order::{self, Figures};
use super::prose::{shorten, wrap};
use super::{Report, ReportItem, escape, words};
use crate::items::Kind;
use crate::metric::samples;
use crate::policy::Level;
use crate::report::words::{Tally, Tone};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write as _;

/// Rows of a table; what is left out is counted.
const ROWS: usize = 20;
const NARROWEST: usize = 40;
const WIDTH_UNKNOWN: usize = 100;
/// Longer lines of prose are hard to read.
const WIDEST: usize = 120;

/// How the page may look. Whether there is a terminal, and how wide, is the caller's to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Colours by ANSI escapes; words say the same without them.
    pub color: bool,
    /// Columns of the terminal; 100 if it isn't known.
    pub width: Option<usize>,
}

/// The verdict in one line: the decision, or what was found where nothing was gated.
pub fn verdict(report: &Report) -> String {
    let headline = words::headline(report);
    escape::terminal(&format!("{}: {}", headline.word, headline.reason))
}

/// A page of text ending in a line break. Pure: the same report and style give the same text.
pub fn render(report: &Report, style: Style) -> String {
    let page = Page {
        style,
        width: style
            .width
            .unwrap_or(WIDTH_UNKNOWN)
            .clamp(NARROWEST, WIDEST),
    };
    let mut out = String::new();
    page.head(&mut out, report);
    page.counts(&mut out, report);
    page.recall(&mut out, report);
    page.findings(&mut out, report);
    page.templates(&mut out, report);
    page.section(&mut out, "Controls", &words::controls(report));
    page.followed_up(&mut out, report);
    page.section(
        &mut out,
        "Rounding, and real generation",
        &words::run::numerics(report),
    );
    page.not_tested(&mut out, report);
    page.section(&mut out, "Notes", &report.summary.notes);
    out
}

struct Page {
    style: Style,
    width: usize,
}

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Red,
    Yellow,
    Green,
}

impl Page {
    fn head(&self, out: &mut String, report: &Report) {
        let headline = words::headline(report);
        let ink = match headline.tone {
            Tone::Bad => Ink::Red,
            Tone::Unsure => Ink::Yellow,
            Tone::Good => Ink::Green,
        };
        let _ = writeln!(out, "{}", self.ink(&headline.word.to_uppercase(), ink));
        self.paragraph(out, &headline.reason, "  ");
        for line in headline.found.iter().chain(&headline.more) {
            self.paragraph(out, line, "  ");
        }
        for warning in &headline.warnings {
            self.paragraph(out, &format!("Warning: {warning}"), "  ");
        }
        out.push('\n');
        let model = &report.model;
        let revision = model
            .revision
            .as_deref()
            .map(|revision| format!("@{revision}"))
            .unwrap_or_default();
        let mut facts = vec![
            (
                "Model",
                format!("{} ({}{revision})", model.reference, model.source),
            ),
            ("SHA-256", model.digest.as_str().to_owned()),
            ("Windows", words::settings(report)),
            ("Found if", words::thresholds(report)),
        ];
        facts.extend(words::reference(report).map(|reference| ("Reference", reference)));
        for (name, value) in facts {
            let value = wrap(&escape::terminal(&value), self.width - 10).join("\n          ");
            let _ = writeln!(out, "{} {value}", self.ink(&format!("{name:<9}"), Ink::Dim));
        }
    }

    fn counts(&self, out: &mut String, report: &Report) {
        self.heading(out, "Verdicts");
        let mut table = self.table();
        table.set_header(
            std::iter::once(Cell::new(""))
                .chain(words::LEVELS.map(|level| right(level.to_string())))
                .chain([right("total".to_owned())]),
        );
        for kind in words::KINDS {
            let items = Tally::of(report, kind).items;
            if items == 0 && kind != Kind::OptOut {
                continue;
            }
            let of_level = words::LEVELS.map(|level| {
                let found = report
                    .summary
                    .counts
                    .iter()
                    .find(|count| (count.kind, count.level) == (kind, level));
                right(samples::grouped(found.map_or(0, |count| count.items)))
            });
            let row = std::iter::once(Cell::new(words::kinds(kind))).chain(of_level);
            table.add_row(row.chain([right(samples::grouped(items))]));
        }
        self.push_table(out, table);
    }

    fn recall(&self, out: &mut String, report: &Report) {
        if report.summary.recall.is_empty() {
            return;
        }
        self.heading(out, "Canaries found, by copies in training");
        for entry in &report.summary.recall {
            let undecided = match entry.inconclusive {
                0 => String::new(),
                n => format!(" ({n} undecided)"),
            };
            let _ = writeln!(
                out,
                "  {:>8} {} {} of {}, {} extractable{undecided}",
                words::repetitions(entry.repetitions),
                words::bar(entry, 20),
                entry.found,
                entry.items,
                entry.extractable
            );
        }
    }

    fn findings(&self, out: &mut String, report: &Report) {
        let mut items = order::worst_first(report, Kind::OptOut);
        items.retain(|item| {
            item.verdict.level.is_memorization() || item.verdict.level == Level::Inconclusive
        });
        if items.is_empty() {
            return;
        }
        self.heading(out, "Opted-out texts, found and undecided");
        let mut table = self.table();
        let numbers =
            ["p_z", "samples", "extracted", "p", "run"].map(|name| right(name.to_owned()));
        let header = ["verdict", "item"]
            .map(Cell::new)
            .into_iter()
            .chain(numbers);
        table.set_header(header.take(self.columns()));
        for item in items.iter().take(ROWS) {
            table.add_row(self.row(report, item));
        }
        self.push_table(out, table);
        self.and_more(out, items.len(), "in report.json");
        if self.columns() > 5 && words::model_based(report) {
            self.paragraph(out, words::run::MODEL_BASED, "  ");
        }
    }

    /// The template that counts for the gravest texts, and what the others gave.
    fn templates(&self, out: &mut String, report: &Report) {
        let lines = words::templates::gravest(report);
        self.section(
            out,
            "Templates, by text",
            &lines.iter().take(ROWS).cloned().collect::<Vec<_>>(),
        );
        self.and_more(out, lines.len(), "in report.json");
    }

    /// What was found out beyond the scores of the gravest opted-out texts.
    fn followed_up(&self, out: &mut String, report: &Report) {
        const SHOWN: usize = 5;
        let items = order::worst_first(report, Kind::OptOut).into_iter();
        let mut lines = items
            .filter_map(|item| {
                Some(format!(
                    "{}: {}",
                    shorten(&item.id.0, 60),
                    words::evidence::in_short(item)?
                ))
            })
            .peekable();
        if lines.peek().is_some() {
            self.heading(out, "Beyond word for word");
        }
        for line in lines.by_ref().take(SHOWN) {
            self.paragraph(out, &line, "  - ");
        }
        let more = lines.count();
        if more > 0 {
            let _ = writeln!(
                out,
                "  … and {} more in report.json",
                samples::grouped(more as u64)
            );
        }
    }

    fn row(&self, report: &Report, item: &ReportItem) -> Vec<Cell> {
        let figures = Figures::of(&report.policy, item);
        let level = item.verdict.level;
        let others = if self.width < 90 { 52 } else { 72 };
        let id = shorten(
            &escape::terminal(&item.id.0),
            self.width.saturating_sub(others).clamp(12, 60),
        );
        let cells = [
            Cell::new(format!("{} {level}", words::sign(level))),
            Cell::new(id),
            right(figures.p_z),
            right(figures.samples.trim_start_matches("about ").to_owned()),
            right(figures.coverage),
            right(figures.p_value),
            right(figures.run),
        ];
        cells.into_iter().take(self.columns()).collect()
    }

    /// Columns of the table of items that fit; the last ones are in the other formats.
    fn columns(&self) -> usize {
        if self.width < 90 { 5 } else { 7 }
    }

    fn not_tested(&self, out: &mut String, report: &Report) {
        self.heading(out, "Not tested");
        for line in words::not_tested(report) {
            self.paragraph(out, &line, "  ");
        }
        let unmeasured = words::unmeasured(report);
        for (item, reason) in unmeasured.iter().take(ROWS) {
            self.paragraph(
                out,
                &format!("{}: {reason}", shorten(&item.id.0, 60)),
                "  - ",
            );
        }
        self.and_more(out, unmeasured.len(), "not measured in full");
        for dropped in report.probe_set.dropped.iter().take(ROWS) {
            let line = format!(
                "{}: left out: {} ({})",
                shorten(&dropped.id.0, 60),
                dropped.reason,
                dropped.origin
            );
            self.paragraph(out, &line, "  - ");
        }
        self.and_more(out, report.probe_set.dropped.len(), "left out");
        for warning in report.probe_set.warnings.iter().take(ROWS) {
            self.paragraph(out, warning, "  ");
        }
        self.paragraph(out, &words::scope(report), "  ");
    }

    fn section(&self, out: &mut String, heading: &str, lines: &[String]) {
        if !lines.is_empty() {
            self.heading(out, heading);
            for line in lines {
                self.paragraph(out, line, "  ");
            }
        }
    }

    fn heading(&self, out: &mut String, text: &str) {
        let _ = writeln!(out, "\n{}", self.ink(text, Ink::Bold));
    }

    /// Escapes, wraps and indents a line; all but its first line by spaces.
    fn paragraph(&self, out: &mut String, text: &str, indent: &str) {
        let rest = " ".repeat(indent.chars().count());
        for (n, line) in wrap(&escape::terminal(text), self.width - rest.len())
            .iter()
            .enumerate()
        {
            let _ = writeln!(out, "{}{line}", if n == 0 { indent } else { &rest });
        }
    }

    fn and_more(&self, out: &mut String, all: usize, what: &str) {
        if let Some(more) = all.checked_sub(ROWS).filter(|&more| more > 0) {
            let _ = writeln!(out, "  … and {} more {what}", samples::grouped(more as u64));
        }
    }

    fn push_table(&self, out: &mut String, mut table: Table) {
        for column in table.column_iter_mut() {
            column.set_padding((0, if self.width < 90 { 1 } else { 2 }));
        }
        for line in table.lines() {
            let _ = writeln!(out, "  {}", line.trim_end());
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        table
    }

    fn ink(&self, text: &str, ink: Ink) -> String {
        let code = match ink {
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Red => "1;31",
            Ink::Yellow => "1;33",
            Ink::Green => "1;32",
        };
        if self.style.color {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_page_says_what_was_found_in_which_model() {
        let text = render(
            &fixture::report(),
            Style {
                color: false,
                width: Some(140),
            },
        );
        if let Some(folder) = std::env::var_os("BYROTE_HTML_OUT") {
            std::fs::write(std::path::Path::new(&folder).join("terminal.txt"), &text).unwrap();
        }
        assert!(text.starts_with("BLOCKED\n  "), "{text}");
        for sentence in [
            "of 17 opted-out texts are memorized",
            "gemma-3-270m (hub:example/gemma-3-270m@9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1)",
            "       64× ████████████████████ 10 of 10",
            "■ extractable",
            "Reference pythia-70m (hub:example/pythia-70m@a39f36b",
            " 3.1e-7* ",
            "  * model-based",
            "letters/too-short: not probed: 23 tokens are fewer than one window of 50 + 50",
            "17 opted-out texts: smallest p 0.005; it takes 2 findings together",
            "16 of 17 greedy verdicts confirmed by real generation, 1 disagrees.",
        ] {
            assert!(text.contains(sentence), "{sentence:?} isn't in\n{text}");
        }
    }

    #[test]
    fn text_is_redacted_and_hostile_ids_are_inert() {
        for report in [fixture::report(), fixture::revealed()] {
            let text = render(
                &report,
                Style {
                    color: false,
                    width: Some(70),
                },
            );
            // Angle brackets mean nothing to a terminal.
            fixture::assert_inert_and_redacted(&text.replace('<', "("));
            for line in text.lines() {
                assert!(
                    !line.trim_start().starts_with("::") && !line.contains("##["),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn no_line_is_wider_than_a_usual_terminal() {
        for width in [80, 90, 100, 120] {
            let text = render(
                &fixture::report(),
                Style {
                    color: false,
                    width: Some(width),
                },
            );
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn colour_is_used_only_if_the_caller_says_so_and_changes_no_word() {
        let report = fixture::report();
        let plain = render(&report, Style::default());
        let mut colored = render(
            &report,
            Style {
                color: true,
                width: None,
            },
        );
        assert!(colored.contains("\u{1b}[1;31mBLOCKED"));
        for code in ["0", "1", "2", "1;31", "1;33", "1;32"] {
            colored = colored.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(colored, plain);
    }

    #[test]
    fn a_run_that_measured_nothing_says_so() {
        let text = render(&fixture::empty(), Style::default());
        assert!(text.starts_with("NOTHING TESTED\n"), "{text}");
        assert!(text.contains("nothing was measured"), "{text}");
    }
}
