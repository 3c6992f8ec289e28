//! A comparison as one self-contained HTML file: no network, no script, no fonts, a strict content security policy. Holds no
//! text, revealed or not.
//!
//! The template is in `html/template.html`; the style is that of the report's page, and `html/style.css` after it.

mod scatter;

use super::same::Windows;
use super::words;
use super::{ComparedItem, Comparison, Standing};
use crate::metric::samples::grouped;
use crate::report::page::{self, RenderError};
use crate::report::words as report_words;
use minijinja::{Value, context};

const TEMPLATES: [(&str, &str); 1] = [("comparison.html", include_str!("html/template.html"))];
/// Behind that of the report.
const STYLE: &str = include_str!("html/style.css");

/// Maximum number of items with a row; the rest is counted.
const SHOWN_ITEMS: usize = 1_000;

/// One HTML file in UTF-8. Pure: the same comparison gives the same bytes.
///
/// # Errors
/// Only if the built-in template is defective.
pub fn render(comparison: &Comparison) -> Result<String, RenderError> {
    page::render(
        "the HTML page of the comparison",
        &TEMPLATES,
        page(comparison),
    )
}

fn page(comparison: &Comparison) -> Value {
    let (tone, word) = words::headline(comparison);
    let style = [page::STYLE, STYLE].concat();
    context! {
        csp => page::content_security_policy(&style, None),
        style => Value::from_safe_string(style),
        tool => crate::run::TOOL,
        tone => page::tone(tone),
        title => format!("{word}: comparison of {} memorization reports", comparison.reports.len()),
        word,
        scope => words::scope(comparison),
        first => words::first_sentence(comparison),
        pair => comparison.reports.len() == 2,
        policy => words::policy(comparison),
        figures => words::FIGURES,
        reports => reports(comparison),
        levels => report_words::LEVELS.map(|level| context! { name => level.to_string(), meaning => report_words::meaning(level) }),
        counts => counts(comparison),
        against => comparison.against_first.iter().map(|against| context! {
            number => against.report + 1,
            said => against.said,
            kinds => against.kinds.iter().map(|kind| context! {
                name => report_words::kinds(kind.kind),
                items => grouped(kind.items),
                cells => Standing::ALL.map(|standing| grouped(kind.of(standing))),
            }).collect::<Vec<_>>(),
            same_windows => against.windows == Windows::Same,
            chart => scatter::scatter(comparison, against).map(Value::from_safe_string),
        }).collect::<Vec<_>>(),
        standings => Standing::ALL.map(|standing| context! { sign => words::sign(standing), name => standing.name() }),
        groups => groups(comparison),
    }
}

fn reports(comparison: &Comparison) -> Vec<Value> {
    let row = |(n, report): (usize, &super::ComparedReport)| {
        context! {
            number => n + 1,
            name => report.name,
            model => words::model(report),
            digest => report.model.digest.as_str(),
            created_at => report.created_at,
            tool => report.tool,
        }
    };
    comparison.reports.iter().enumerate().map(row).collect()
}

fn counts(comparison: &Comparison) -> Vec<Value> {
    let mut rows = Vec::new();
    for kind in super::KINDS {
        for (n, report) in comparison.reports.iter().enumerate() {
            let Some(levels) = report.levels.iter().find(|levels| levels.kind == kind) else {
                continue;
            };
            let cells = [
                levels.extractable,
                levels.memorized,
                levels.predictable,
                levels.clear,
                levels.inconclusive,
            ];
            rows.push(context! {
                kind => report_words::kinds(kind),
                report => n + 1,
                cells => cells.map(grouped),
                total => grouped(levels.items),
            });
        }
    }
    rows
}

/// Items by kind, the worst first, until [`SHOWN_ITEMS`] have a row.
fn groups(comparison: &Comparison) -> Vec<Value> {
    let mut room = SHOWN_ITEMS;
    let mut groups = Vec::new();
    for kind in super::KINDS {
        let items: Vec<&ComparedItem> = comparison
            .items
            .iter()
            .filter(|item| item.kind == kind)
            .collect();
        if items.is_empty() {
            continue;
        }
        let rows: Vec<Value> = items
            .iter()
            .take(room)
            .map(|item| row(item, comparison))
            .collect();
        room -= rows.len();
        let changed = items
            .iter()
            .filter(|item| item.standing() != Standing::Unchanged)
            .count();
        groups.push(context! {
            name => report_words::kinds(kind),
            total => grouped(items.len() as u64),
            changed => grouped(changed as u64),
            open => kind != crate::items::Kind::Control,
            hidden => items.len().checked_sub(rows.len()).filter(|&n| n > 0).map(|n| grouped(n as u64)),
            rows,
        });
    }
    groups
}

fn row(item: &ComparedItem, comparison: &Comparison) -> Value {
    let standing = item.standing();
    let none = || "–".to_owned();
    let pair = item
        .changes
        .first()
        .filter(|_| comparison.reports.len() == 2);
    let mut why: Vec<&str> = item
        .changes
        .iter()
        .filter_map(|change| change.why.as_deref())
        .collect();
    why.dedup();
    context! {
        id => item.id,
        standing => context! { sign => words::sign(standing), name => standing.name(), class => standing.name().replace(' ', "-") },
        cells => item.cells.iter().map(|cell| cell.as_ref().map(|cell| cell.level.to_string())).collect::<Vec<_>>(),
        log_p_z => pair.and_then(|change| change.log_p_z_full).map_or_else(none, words::signed),
        coverage => pair.and_then(|change| change.coverage).map_or_else(none, words::points),
        run => pair.and_then(|change| change.verbatim_run).map_or_else(none, words::whole),
        why => why.join("; "),
    }
}
