//! A comparison as a page for a terminal. Holds no text, revealed or not.

use super::words;
use super::{ComparedItem, Comparison, Standing};
use crate::items::Kind;
use crate::metric::samples::grouped;
use crate::policy::Level;
use crate::report::prose::{shorten, wrap};
use crate::report::words::{Tone, kinds, sign};
use crate::report::{escape, words as report_words};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write as _;

/// Rows of a table; what is left out is counted.
const ROWS: usize = 20;
const NARROWEST: usize = 60;
const WIDTH_UNKNOWN: usize = 100;
const WIDEST: usize = 120;
/// Columns that a verdict in words takes.
const VERDICT: usize = 16;

/// How the page may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Colours by ANSI escapes; words say the same without them.
    pub colour: bool,
    /// Columns of the terminal; 100 if it isn't known.
    pub width: Option<usize>,
}

/// A page of text ending in a line break. Pure: the same comparison and style give the same text.
pub fn render(comparison: &Comparison, style: Style) -> String {
    let page = Page {
        style,
        width: style
            .width
            .unwrap_or(WIDTH_UNKNOWN)
            .clamp(NARROWEST, WIDEST),
    };
    let mut out = String::new();
    page.head(&mut out, comparison);
    page.levels(&mut out, comparison);
    for against in &comparison.against_first {
        page.heading(&mut out, &format!("{} against 1", against.report + 1));
        for line in &against.said {
            page.paragraph(&mut out, line, "  ");
        }
    }
    page.items(&mut out, comparison);
    out
}

/// What it comes to, in one line without colours, as `byrote compare` says where the comparison goes to a file.
pub fn outcome(comparison: &Comparison) -> String {
    format!(
        "{}: {}",
        words::headline(comparison).1,
        words::first_sentence(comparison)
    )
}

struct Page {
    style: Style,
    width: usize,
}

impl Page {
    fn head(&self, out: &mut String, comparison: &Comparison) {
        let (tone, word) = words::headline(comparison);
        let ink = match tone {
            Tone::Bad => "1;31",
            Tone::Unsure => "1;33",
            Tone::Good => "1;32",
        };
        let _ = writeln!(out, "{}", self.ink(&word.to_uppercase(), ink));
        self.paragraph(out, &words::first_sentence(comparison), "  ");
        self.paragraph(out, &format!("{}.", words::scope(comparison)), "  ");
        out.push('\n');
        let mut facts = Vec::new();
        for (n, report) in comparison.reports.iter().enumerate() {
            facts.push((
                (n + 1).to_string(),
                format!("{}: {}", report.name, words::model(report)),
            ));
            facts.push((
                String::new(),
                format!("SHA-256 {}, {}", report.model.digest, report.created_at),
            ));
        }
        facts.push(("Judged by".to_owned(), words::policy(comparison)));
        for (name, value) in facts {
            let value = wrap(&escape::terminal(&value), self.width - 10).join("\n          ");
            let _ = writeln!(out, "{} {value}", self.ink(&format!("{name:<9}"), "2"));
        }
    }

    fn levels(&self, out: &mut String, comparison: &Comparison) {
        self.heading(out, "Verdicts");
        let mut table = table();
        table.set_header(
            ["", ""]
                .map(Cell::new)
                .into_iter()
                .chain(report_words::LEVELS.map(|level| right(level.to_string()))),
        );
        for kind in super::KINDS {
            for (n, report) in comparison.reports.iter().enumerate() {
                let Some(levels) = report.levels.iter().find(|levels| levels.kind == kind) else {
                    continue;
                };
                let counts = [
                    levels.extractable,
                    levels.memorized,
                    levels.predictable,
                    levels.clear,
                    levels.inconclusive,
                ];
                let head = [Cell::new(kinds(kind)), Cell::new((n + 1).to_string())];
                table.add_row(head.into_iter().chain(counts.map(|n| right(grouped(n)))));
            }
        }
        push(out, table);
    }

    fn items(&self, out: &mut String, comparison: &Comparison) {
        let changed: Vec<&ComparedItem> = comparison
            .items
            .iter()
            .filter(|item| item.standing() != Standing::Unchanged)
            .collect();
        if changed.is_empty() {
            return;
        }
        let mut room = ROWS;
        for kind in super::KINDS {
            let of_kind: Vec<&ComparedItem> = changed
                .iter()
                .filter(|item| item.kind == kind)
                .copied()
                .collect();
            if of_kind.is_empty() {
                continue;
            }
            self.heading(
                out,
                &format!("{} that aren't the same in all reports", kinds(kind)),
            );
            let shown = of_kind.len().min(room);
            if shown > 0 {
                self.table_of(out, comparison, &of_kind[..shown]);
            }
            room -= shown;
            if of_kind.len() > shown {
                let more = grouped((of_kind.len() - shown) as u64);
                let _ = writeln!(
                    out,
                    "  … and {more} more: byrote compare ... --format csv has all"
                );
            }
        }
        out.push('\n');
        if !self.in_words(comparison) {
            let legend: Vec<String> = report_words::LEVELS
                .iter()
                .map(|level| format!("{} {level}", sign(*level)))
                .collect();
            self.paragraph(out, &format!("{}; - absent", legend.join("  ")), "  ");
        }
        if self.figures(comparison) {
            self.paragraph(out, &format!("{}.", words::FIGURES), "  ");
        }
        self.reasons(out, &changed);
    }

    /// Whether verdicts fit as words.
    fn in_words(&self, comparison: &Comparison) -> bool {
        20 + 20 + comparison.reports.len() * VERDICT <= self.width
    }

    /// Whether there is one difference an item, and room for it.
    fn figures(&self, comparison: &Comparison) -> bool {
        comparison.reports.len() == 2 && self.width >= 90
    }

    fn table_of(&self, out: &mut String, comparison: &Comparison, items: &[&ComparedItem]) {
        let (in_words, figures) = (self.in_words(comparison), self.figures(comparison));
        let others = 20
            + comparison.reports.len() * if in_words { VERDICT } else { 3 }
            + if figures { 26 } else { 0 };
        let room = self.width.saturating_sub(others + 2).clamp(14, 60);
        let mut header: Vec<Cell> = ["", "item"].map(Cell::new).to_vec();
        header.extend((0..comparison.reports.len()).map(|n| Cell::new((n + 1).to_string())));
        if figures {
            header.extend(["ln p_z", "extracted", "run"].map(|name| right(name.to_owned())));
        }
        let mut table = table();
        table.set_header(header);
        for item in items {
            let standing = item.standing();
            let mut row = vec![
                Cell::new(format!("{} {}", words::sign(standing), standing.name())),
                Cell::new(shorten(&escape::terminal(&item.id.0), room)),
            ];
            row.extend(
                item.cells
                    .iter()
                    .map(|cell| verdict(cell.as_ref().map(|cell| cell.level), in_words)),
            );
            if let (true, Some(change)) = (figures, item.changes.first()) {
                let none = || "–".to_owned();
                row.push(right(change.log_p_z_full.map_or_else(none, words::signed)));
                row.push(right(change.coverage.map_or_else(none, words::points)));
                row.push(right(change.verbatim_run.map_or_else(none, words::whole)));
            }
            table.add_row(row);
        }
        push(out, table);
    }

    /// Why items can't be compared, a line a reason.
    fn reasons(&self, out: &mut String, changed: &[&ComparedItem]) {
        let mut reasons: Vec<(&str, Vec<&ComparedItem>)> = Vec::new();
        for item in changed {
            for why in item
                .changes
                .iter()
                .filter_map(|change| change.why.as_deref())
            {
                match reasons.iter_mut().find(|(known, _)| *known == why) {
                    Some((_, items)) => items.push(item),
                    None => reasons.push((why, vec![item])),
                }
            }
        }
        if reasons.is_empty() {
            return;
        }
        self.heading(out, "Not comparable");
        for (why, items) in reasons.iter().take(ROWS) {
            let first: Vec<String> = items
                .iter()
                .take(3)
                .map(|item| shorten(&item.id.0, 40))
                .collect();
            let more = if items.len() > 3 { ", …" } else { "" };
            let items = report_words::count(items.len() as u64, "item");
            self.paragraph(
                out,
                &format!("{items}: {why} ({}{more})", first.join(", ")),
                "  - ",
            );
        }
        if let Some(more) = reasons.len().checked_sub(ROWS).filter(|&more| more > 0) {
            let _ = writeln!(out, "  … and {} more reasons", grouped(more as u64));
        }
    }

    fn heading(&self, out: &mut String, text: &str) {
        let _ = writeln!(out, "\n{}", self.ink(text, "1"));
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

    fn ink(&self, text: &str, code: &str) -> String {
        if self.style.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

fn verdict(level: Option<Level>, in_words: bool) -> Cell {
    Cell::new(match level {
        None => "-".to_owned(),
        Some(level) if in_words => format!("{} {level}", sign(level)),
        Some(level) => sign(level).to_owned(),
    })
}

pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::OptOut => "opt-out",
        Kind::Canary => "canary",
        Kind::Control => "control",
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn push(out: &mut String, mut table: Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        let _ = writeln!(out, "  {}", line.trim_end());
    }
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
