//! A comparison as one self-contained HTML file: no network, no script, no fonts, a strict content security policy. Holds no
//! text, revealed or not.
//!
//! The template is in `html/template.html`; the style is that of the report's page, and `html/style.css` after it.

mod scatter;

use super::same::Windows;
use super::words::{self, Tone};
use super::{ComparedItem, Comparison, Standing};
use crate::digest::sha256_base64;
use crate::metric::samples::grouped;
use crate::report::{escape, words as report_words};
use minijinja::{Environment, Output, State, UndefinedBehavior, Value, context};

const TEMPLATE: &str = include_str!("html/template.html");
const STYLE: &str = concat!(include_str!("../report/html/style.css"), include_str!("html/style.css"));

/// Items that have a row; the rest is counted.
const SHOWN_ITEMS: usize = 1_000;

/// The template didn't render: a defect of byrote, never of the reports.
#[derive(Debug, thiserror::Error)]
#[error("the HTML page of the comparison can't be rendered; please report this as a defect of byrote")]
pub struct RenderError(#[from] minijinja::Error);

/// One HTML file in UTF-8. Pure: the same comparison gives the same bytes.
///
/// # Errors
/// Only if the built-in template is defective.
pub fn render(comparison: &Comparison) -> Result<String, RenderError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_formatter(print);
    environment.add_filter("prose", |text: String| Value::from_safe_string(escape::html_prose(&text)));
    Ok(environment.render_named_str("comparison.html", TEMPLATE, page(comparison))?)
}

/// Writes a value of the template: safe strings as they are, all else made inert.
fn print(out: &mut Output<'_>, _: &State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    let text = if value.is_safe() { text } else { escape::html(&text) };
    out.write_str(&text).map_err(minijinja::Error::from)
}

fn page(comparison: &Comparison) -> Value {
    let (tone, word) = words::headline(comparison);
    let hash = sha256_base64(STYLE.as_bytes());
    let csp = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
    context! {
        csp => Value::from_safe_string(csp),
        style => Value::from_safe_string(STYLE.to_owned()),
        tool => crate::run::TOOL,
        tone => match tone { Tone::Bad => "bad", Tone::Unsure => "unsure", Tone::Good => "good" },
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
            let Some(levels) = report.levels.iter().find(|levels| levels.kind == kind) else { continue };
            let cells = [levels.extractable, levels.memorized, levels.predictable, levels.clear, levels.inconclusive];
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
        let items: Vec<&ComparedItem> = comparison.items.iter().filter(|item| item.kind == kind).collect();
        if items.is_empty() {
            continue;
        }
        let rows: Vec<Value> = items.iter().take(room).map(|item| row(item, comparison)).collect();
        room -= rows.len();
        let changed = items.iter().filter(|item| item.standing() != Standing::Unchanged).count();
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
    let pair = item.changes.first().filter(|_| comparison.reports.len() == 2);
    let mut why: Vec<&str> = item.changes.iter().filter_map(|change| change.why.as_deref()).collect();
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
