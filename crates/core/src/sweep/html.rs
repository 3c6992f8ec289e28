//! A sweep as one self-contained HTML file: no network, no script, no fonts, a strict content security policy. Holds no text,
//! revealed or not.
//!
//! The template is in `html/template.html`; the style is that of the report's page, and `html/style.css` after it.

mod chart;
mod growth;

use super::told::{self, Said, kind};
use super::{Axis, RunSummary, Standing, Sweep, SweptItem, flip};
use crate::items::Kind;
use crate::metric::samples::grouped;
use crate::policy::Level;
use crate::policy::decision::Outcome;
use crate::report::page::{self, RenderError};
use crate::report::words::Tone;
use crate::report::{escape, order, words};
use minijinja::{Value, context};

const TEMPLATES: [(&str, &str); 1] = [("sweep.html", include_str!("html/template.html"))];
/// Behind that of the report.
const STYLE: &str = include_str!("html/style.css");

/// Maximum number of items with a row; the rest is counted.
const SHOWN_ITEMS: usize = 500;
/// Maximum number of items whose changes are described.
const TOLD_ITEMS: usize = 100;
/// Changes described per item; the matrix shows the rest.
const FLIPS: usize = 3;

/// One HTML file in UTF-8, to lie beside the runs' folders. Pure: the same sweep gives the same bytes.
///
/// # Errors
/// Only if the built-in template is defective.
pub fn render(sweep: &Sweep) -> Result<String, RenderError> {
    page::render("the HTML page of the sweep", &TEMPLATES, page(sweep))
}

fn page(sweep: &Sweep) -> Value {
    let (tone, word) = headline(sweep);
    let Said {
        failed,
        unstable,
        by_model,
        missing,
    } = told::said(sweep);
    let mut said: Vec<String> = [unstable, by_model, missing, failed]
        .into_iter()
        .filter(|said| !said.is_empty())
        .collect();
    said.push(found(sweep));
    let several_models = sweep.axes.contains(&Axis::Model) && sweep.axes.len() > 1;
    let style = [page::STYLE, STYLE].concat();
    context! {
        csp => page::content_security_policy(&style, None),
        style => Value::from_safe_string(style),
        tool => crate::run::TOOL,
        tone => page::tone(tone),
        title => format!("{word}: sweep of {} memorization runs", sweep.runs.len()),
        word,
        scope => told::scope(sweep),
        said,
        reasons => sweep.decision.as_ref().map(|decision| &decision.reasons),
        flips => [
            flips(sweep, Standing::Unstable, "Unstable items"),
            flips(sweep, Standing::DiffersByModel, "Another verdict in another model"),
        ],
        by_model => several_models.then(|| matrix(sweep, by_model_columns(sweep))),
        matrix => matrix(sweep, by_run_columns(sweep)),
        levels => words::LEVELS.map(|level| context! { name => level.to_string(), meaning => words::meaning(level) }),
        growth => growth::sections(sweep),
        agreement => agreement(sweep),
        runs => sweep.runs.iter().map(run).collect::<Vec<_>>(),
    }
}

/// The colour and the first word.
fn headline(sweep: &Sweep) -> (Tone, &'static str) {
    let any = |standing| sweep.standing(standing).next().is_some();
    match sweep.decision.as_ref().map(|decision| decision.outcome) {
        Some(Outcome::Block) => (Tone::Bad, "Blocked"),
        Some(Outcome::Undecided) => (Tone::Unsure, "Undecided"),
        Some(Outcome::Pass) => (Tone::Good, "Pass"),
        None if any(Standing::Unstable) => (Tone::Unsure, "Unstable verdicts"),
        None if sweep.runs.iter().any(|run| run.failed.is_some()) => (Tone::Unsure, "Incomplete"),
        None if any(Standing::DiffersByModel) => (Tone::Unsure, "Verdicts differ by model"),
        None if any(Standing::Incomplete) => (Tone::Unsure, "Incomplete"),
        // The same in every run, which is no good news where it is the same finding.
        None if sweep
            .items
            .iter()
            .any(|item| item.kind == Kind::OptOut && is_found(item)) =>
        {
            (Tone::Bad, "Stable verdicts")
        }
        None => (Tone::Good, "Stable verdicts"),
    }
}

fn is_found(item: &SweptItem) -> bool {
    item.levels
        .iter()
        .flatten()
        .any(|level| level.is_memorization())
}

/// How many came out extractable or memorized, by kind.
fn found(sweep: &Sweep) -> String {
    let told = |kind: Kind| {
        let of_kind = || sweep.items.iter().filter(move |item| item.kind == kind);
        let found = of_kind().filter(|item| is_found(item)).count();
        let all = of_kind().count();
        (all > 0).then(|| {
            format!(
                "{}: {} of {}",
                words::kinds(kind),
                grouped(found as u64),
                grouped(all as u64)
            )
        })
    };
    let kinds: Vec<String> = words::KINDS.into_iter().filter_map(told).collect();
    if kinds.is_empty() {
        return "No run measured any item.".to_owned();
    }
    format!(
        "Found extractable or memorized in some run: {}.",
        kinds.join("; ")
    )
}

fn flips(sweep: &Sweep, standing: Standing, title: &str) -> Value {
    let all = sweep.standing(standing).count();
    let row = |item: &SweptItem| {
        let all = flip::in_words(&item.flips);
        let more = all.len().saturating_sub(FLIPS);
        let mut said: Vec<String> = all.into_iter().take(FLIPS).collect();
        if more > 0 {
            said.push(format!("{more} more"));
        }
        if said.is_empty() {
            // Runs that differ in two dimensions at once, as where some failed.
            let mut levels: Vec<String> = item
                .levels
                .iter()
                .flatten()
                .map(ToString::to_string)
                .collect();
            levels.dedup();
            said.push(levels.join(", "));
        }
        context! { id => item.id.0, kind => kind(item), said }
    };
    context! {
        title,
        id => standing_word(standing).1,
        rows => sweep.standing(standing).take(TOLD_ITEMS).map(row).collect::<Vec<_>>(),
        more => Some(all.saturating_sub(TOLD_ITEMS)).filter(|more| *more > 0).map(|more| grouped(more as u64)),
    }
}

/// A column of the matrix: its name, and the runs whose worst level it shows.
type Column<'a> = (&'a str, Vec<usize>);

fn by_run_columns(sweep: &Sweep) -> Vec<Column<'_>> {
    sweep
        .runs
        .iter()
        .enumerate()
        .map(|(at, run)| (run.name.as_str(), vec![at]))
        .collect()
}

fn by_model_columns(sweep: &Sweep) -> Vec<Column<'_>> {
    let mut columns: Vec<Column<'_>> = Vec::new();
    for (at, run) in sweep.runs.iter().enumerate() {
        match columns
            .iter_mut()
            .find(|(model, _)| *model == run.setting.model)
        {
            Some((_, runs)) => runs.push(at),
            None => columns.push((&run.setting.model, vec![at])),
        }
    }
    columns
}

/// Items by the worst level of their row, the unstable first within it, until [`SHOWN_ITEMS`] have a row. Controls come last:
/// they are found by chance only.
fn matrix(sweep: &Sweep, columns: Vec<Column<'_>>) -> Value {
    let worst = |item: &SweptItem| {
        item.levels
            .iter()
            .flatten()
            .map(|level| order::gravity(*level))
            .min()
    };
    let mut items: Vec<&SweptItem> = sweep.items.iter().collect();
    // Stable: kinds keep their order.
    items.sort_by_key(|item| {
        (
            item.kind == Kind::Control,
            worst(item).unwrap_or(u8::MAX),
            item.standing,
            super::kind_order(item.kind),
        )
    });
    let row = |item: &&SweptItem| {
        let (sign, class, word) = standing_word(item.standing);
        let cell = |(_, runs): &Column<'_>| {
            let levels: Vec<Level> = runs
                .iter()
                .filter_map(|run| *item.levels.get(*run)?)
                .collect();
            let differ = levels.windows(2).any(|pair| pair[0] != pair[1]);
            levels.into_iter().min_by_key(|level| order::gravity(*level)).map(|level| {
                context! { level => level.to_string(), grave => level.is_memorization(), differ }
            })
        };
        context! {
            id => item.id.0,
            kind => kind(item),
            standing => context! { sign, class, word },
            cells => columns.iter().map(cell).collect::<Vec<_>>(),
        }
    };
    let hidden = items.len().saturating_sub(SHOWN_ITEMS);
    context! {
        columns => columns.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        rows => items.iter().take(SHOWN_ITEMS).map(row).collect::<Vec<_>>(),
        hidden => Some(hidden).filter(|hidden| *hidden > 0).map(|hidden| grouped(hidden as u64)),
    }
}

/// A sign, a class of the style, a word.
fn standing_word(standing: Standing) -> (&'static str, &'static str, &'static str) {
    match standing {
        Standing::Unstable => ("≠", "unstable", "unstable"),
        Standing::DiffersByModel => ("⇄", "differs-by-model", "differs by model"),
        Standing::Incomplete => ("–", "incomplete", "missing in a run"),
        Standing::Stable => ("=", "stable", "stable"),
    }
}

fn agreement(sweep: &Sweep) -> Vec<Value> {
    let row = |agreement: &super::Agreement| {
        context! {
            axis => agreement.axis.name(),
            first => agreement.first,
            second => agreement.second,
            same => grouped(agreement.same),
            verdicts => grouped(agreement.verdicts),
            share => (agreement.verdicts > 0).then(|| words::share(agreement.same as f64 / agreement.verdicts as f64)),
            in_first => grouped(agreement.found_in_first_only),
            in_second => grouped(agreement.found_in_second_only),
            shift => agreement.median_shift.map_or_else(|| "–".to_owned(), |shift| format!("{shift:+.2}")),
        }
    };
    sweep.agreement.iter().map(row).collect()
}

fn run(run: &RunSummary) -> Value {
    let at = |level: Level| {
        let of_level = run.counts.iter().filter(|count| count.level == level);
        grouped(of_level.map(|count| count.items).sum())
    };
    // The icon is that of a verdict as grave.
    let (icon, word) = match (&run.failed, run.outcome) {
        (Some(_), _) => (Some("memorized"), "failed"),
        (None, Some(Outcome::Block)) => (Some("extractable"), "block"),
        (None, Some(Outcome::Undecided)) => (Some("inconclusive"), "undecided"),
        (None, Some(Outcome::Pass)) => (Some("clear"), "pass"),
        (None, None) => (None, "no gate"),
    };
    let report = format!("{}/report.html", run.folder);
    context! {
        name => run.name,
        href => run.failed.is_none().then(|| escape::uri(&report)),
        failed => run.failed,
        parameters => run.parameters.map(grouped),
        kept_as => run.kept_as,
        mixture => run.mixture,
        scored => format!("{} of {}", grouped(run.scored), grouped(run.windows)),
        levels => words::LEVELS.map(at),
        icon,
        word,
    }
}

#[cfg(test)]
mod tests;
