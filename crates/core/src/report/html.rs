//! The report as one self-contained HTML file: no network, no fonts, and a content security policy that names its one style
//! sheet and its one script by their hashes.
//!
//! The templates are `html/*.html`, the style sheet `html/style.css`, the script `html/script.js`. The page is whole without the
//! script, which adds sorting, filters, search and arrow keys to the page. Every string that isn't marked safe goes
//! through `escape`, in `page`. Text is shown only if the run was made with `--reveal`.

mod aligned;
mod chart;
mod curve;
mod evidence;
mod heat;
mod item;
mod scatter;
mod summary;
#[cfg(test)]
mod tests;
pub(crate) mod tokens;

use super::page::{self, RenderError};
use super::{Report, command, escape, words};
use crate::items::Kind;
use crate::metric::{METRICS, samples};
use crate::report::order;
use crate::report::words::Tally;
use minijinja::{Value, context};

/// The page and its includes.
const TEMPLATES: [(&str, &str); 2] = [
    ("report.html", include_str!("html/template.html")),
    ("item.html", include_str!("html/item.html")),
];
const SCRIPT: &str = include_str!("html/script.js");

/// Number of items with a row, the worst first; the rest is counted.
pub const SHOWN_ITEMS: usize = 500;
/// Dropped and unmeasured items, files and warnings that are listed.
const LISTED: usize = 200;

/// One HTML file in UTF-8. Pure: the same report gives the same bytes.
///
/// # Errors
/// Only if the built-in template is defective.
pub fn render(report: &Report) -> Result<String, RenderError> {
    page::render("the HTML report", &TEMPLATES, page(report))
}

fn page(report: &Report) -> Value {
    let headline = words::headline(report);
    let dropped = &report.probe_set.dropped;
    let unmeasured = words::unmeasured(report);
    context! {
        csp => page::content_security_policy(page::STYLE, Some(SCRIPT)),
        style => Value::from_safe_string(page::STYLE.to_owned()),
        script => Value::from_safe_string(SCRIPT.to_owned()),
        tool => report.tool,
        created_at => report.created_at,
        reveal => report.settings.reveal,
        tone => page::tone(headline.tone),
        headline => context! {
            word => headline.word,
            reason => headline.reason,
            found => headline.found,
            beyond => beyond(headline.more.len(), headline.warnings.len()),
            more => headline.more,
            warnings => headline.warnings,
        },
        title => format!("{}: memorization report of {}", headline.word, report.model.reference),
        identity => summary::identity(report),
        model => summary::model(report),
        tiles => summary::tiles(report),
        controls => summary::controls(report),
        not_tested => words::not_tested(report),
        scope => words::scope(report),
        model_based => words::model_based(report).then_some(words::run::MODEL_BASED),
        rates => summary::rates(report),
        means => summary::means(report),
        numerics => words::run::numerics(report),
        waivers => summary::waivers(report),
        heat_steps => heat::STEPS,
        token_steps => tokens::legend(),
        command => Value::from_safe_string(escape::html_text(&command::probe(report).join(" \\\n  "))),
        unmeasured => unmeasured.iter().take(LISTED).map(|(item, reason)| context! { id => item.id, reason }).collect::<Vec<_>>(),
        unmeasured_more => more(unmeasured.len(), LISTED),
        dropped => dropped
            .iter()
            .take(LISTED)
            .map(|item| context! { id => item.id, origin => item.origin.to_string(), reason => item.reason })
            .collect::<Vec<_>>(),
        dropped_more => more(dropped.len(), LISTED),
        input_warnings => report.probe_set.warnings.iter().take(LISTED).collect::<Vec<_>>(),
        notes => report.summary.notes,
        levels => words::LEVELS.map(|level| context! { name => level.to_string(), meaning => words::meaning(level) }),
        counts => summary::counts(report),
        recall_chart => chart::recall(&report.summary.recall).map(Value::from_safe_string),
        recall => summary::recall(report),
        samples => curve::samples_by_probability(report).map(Value::from_safe_string),
        sampled => curve::sampled(report).iter().map(|scheme| scheme.id.clone()).collect::<Vec<_>>().join(" or "),
        scatter => scatter::scatter(report).map(Value::from_safe_string),
        distribution => chart::distribution(report).map(Value::from_safe_string),
        groups => groups(report),
        shown => samples::grouped(report.items.len().min(SHOWN_ITEMS) as u64),
        hidden => more(report.items.len(), SHOWN_ITEMS),
        kinds => words::KINDS.iter().filter(|kind| Tally::of(report, **kind).items > 0).map(|kind| words::kinds(*kind)).collect::<Vec<_>>(),
        settings => summary::settings(report),
        files => summary::files(report),
        metrics => METRICS
            .iter()
            .map(|m| context! { id => m.id, summary => m.summary, unit => m.unit, formula => m.formula, citation => m.citation })
            .collect::<Vec<_>>(),
    }
}

/// Counts the lines folded below the first reason: `2 more reasons, 1 warning`.
fn beyond(reasons: usize, warnings: usize) -> String {
    let parts = [(reasons, "more reason"), (warnings, "warning")]
        .into_iter()
        .filter(|(n, _)| *n > 0);
    parts
        .map(|(n, noun)| words::count(n as u64, noun))
        .collect::<Vec<_>>()
        .join(", ")
}

fn fact(name: &str, value: impl Into<String>) -> Value {
    marked(name, value, "")
}

/// A fact with a mark before it that says of what kind it is.
fn marked(name: &str, value: impl Into<String>, mark: &str) -> Value {
    context! { name, value => value.into(), code => false, mark }
}

fn code(name: &str, value: impl Into<String>) -> Value {
    context! { name, value => value.into(), code => true, mark => "" }
}

/// The items by kind, the worst first, until [`SHOWN_ITEMS`] are shown.
fn groups(report: &Report) -> Vec<Value> {
    let (mut room, mut number) = (SHOWN_ITEMS, 0);
    let opt_outs = Tally::of(report, Kind::OptOut).items;
    let mut groups = Vec::new();
    for kind in words::KINDS {
        let items = order::worst_first(report, kind);
        if items.is_empty() {
            continue;
        }
        let rows = items.iter().take(room).map(|item| {
            number += 1;
            item::row(report, item, number)
        });
        let rows: Vec<Value> = rows.collect();
        room -= rows.len();
        groups.push(context! {
            name => words::kinds(kind),
            total => samples::grouped(items.len() as u64),
            open => kind == Kind::OptOut || (opt_outs == 0 && kind == Kind::Canary),
            hidden => more(items.len(), rows.len()),
            rows,
        });
    }
    groups
}

/// How many were left out, if any.
fn more(all: usize, shown: usize) -> Option<String> {
    all.checked_sub(shown)
        .filter(|&more| more > 0)
        .map(|more| samples::grouped(more as u64))
}
