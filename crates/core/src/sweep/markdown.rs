//! A sweep as Markdown, for `sweep.md` and the terminal. Holds no text, revealed or not.

use super::flip;
use super::table::table;
use super::told::{self, Said, kind, number};
use super::{Growth, GrowthPoint, SizeGrowth, SizePoint, Standing, Sweep, SweptItem, Values};
use crate::items::Kind;
use crate::metric::samples::grouped;
use crate::policy::Level;
use crate::policy::decision::Outcome;
use crate::report::{escape, words};
use std::fmt::Write as _;

/// Rows of a table; what is left out is counted and stands in `sweep.json`.
const ROWS: usize = 100;
/// Runs in one table.
const COLUMNS: usize = 9;
/// Flips told of one item; the rest follows from the table of verdicts.
const FLIPS: usize = 3;

/// GitHub-flavoured Markdown in UTF-8, readable as it is. Pure: the same sweep gives the same text.
pub fn render(sweep: &Sweep) -> String {
    let mut out = String::new();
    head(&mut out, sweep);
    flips(&mut out, sweep, Standing::Unstable, "Unstable");
    flips(
        &mut out,
        sweep,
        Standing::DiffersByModel,
        "Another verdict in another model",
    );
    verdicts(&mut out, sweep);
    growth(&mut out, sweep);
    growth_with_size(&mut out, sweep);
    growth_of_items(&mut out, sweep);
    agreement(&mut out, sweep);
    runs(&mut out, sweep);
    let _ = writeln!(
        out,
        "\n<sub>{} · holds no probed text</sub>",
        escape::markdown(crate::run::TOOL)
    );
    out
}

fn head(out: &mut String, sweep: &Sweep) {
    let word = match sweep.decision.as_ref().map(|decision| decision.outcome) {
        Some(Outcome::Block) => "Blocked",
        Some(Outcome::Undecided) => "Undecided",
        Some(Outcome::Pass) => "Pass",
        None => "Sweep",
    };
    let _ = writeln!(out, "## {word}\n\n{}", told::scope(sweep));
    let Said {
        failed,
        unstable,
        by_model,
        missing,
    } = told::said(sweep);
    for line in [failed, unstable, by_model, missing]
        .iter()
        .filter(|line| !line.is_empty())
    {
        let _ = writeln!(out, "\n**{line}**");
    }
    for reason in sweep.decision.iter().flat_map(|decision| &decision.reasons) {
        let _ = writeln!(out, "\n- {}", plain(reason));
    }
}

fn flips(out: &mut String, sweep: &Sweep, standing: Standing, title: &str) {
    let rows: Vec<Vec<String>> = sweep
        .standing(standing)
        .map(|item| vec![name(item), kind(item), told(item)])
        .collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n### {title}");
    let header = ["item", "kind", "how its verdict changes"].map(str::to_owned);
    cut(out, &header, &[], rows);
}

fn told(item: &SweptItem) -> String {
    let all = flip::in_words(&item.flips);
    let mut told: Vec<String> = all.iter().take(FLIPS).map(|flip| plain(flip)).collect();
    let more = all.len().saturating_sub(FLIPS);
    if more > 0 {
        told.push(format!("{more} more"));
    }
    if told.is_empty() {
        // Runs that differ in two dimensions at once, as where some failed.
        let mut levels: Vec<String> = item
            .levels
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        levels.dedup();
        return levels.join(", ");
    }
    told.join("; ")
}

/// Items in every run; controls only where they aren't stable.
fn verdicts(out: &mut String, sweep: &Sweep) {
    let _ = writeln!(out, "\n### Verdicts");
    let shown = |item: &&SweptItem| item.kind != Kind::Control || item.standing != Standing::Stable;
    let level = |level: Option<Level>| {
        level.map_or_else(
            || "-".to_owned(),
            |level| format!("{} {level}", words::sign(level)),
        )
    };
    let items: Vec<&SweptItem> = sweep.items.iter().filter(shown).collect();
    let stable = sweep.items.len() - items.len();
    in_runs(out, sweep, &items, |item, run| {
        level(item.levels.get(run).copied().flatten())
    });
    if stable > 0 {
        let _ = writeln!(
            out,
            "\n{} the same in every run.",
            words::count(stable as u64, "control")
        );
    }
}

fn growth(out: &mut String, sweep: &Sweep) {
    if sweep.growth.is_empty() {
        return;
    }
    out.push_str(
        "\n### Growth with the prefix\n\nMedians over the items that were measured in full after every prefix. ln p\\_z is of \
         the likeliest window at T = 1, in nats.\n",
    );
    if sweep.growth.iter().any(|growth| !growth.same_suffixes) {
        out.push_str(
            "\n**The runs scored different suffixes: they differ in more than the context.**\n",
        );
    }
    let header = [
        "items",
        "prefix",
        "compared",
        "found",
        "greedy windows",
        "best ln p\\_z",
        "coverage",
        "verbatim run",
    ];
    let row = |growth: &Growth, point: &GrowthPoint| {
        let first = [
            curve_name(growth.kind, &growth.at),
            point.prefix.to_string(),
        ];
        first
            .into_iter()
            .chain(measured(growth.items, point))
            .collect()
    };
    let rows: Vec<Vec<String>> = sweep
        .growth
        .iter()
        .flat_map(|growth| growth.points.iter().map(|point| row(growth, point)))
        .collect();
    table(
        out,
        &header.map(str::to_owned),
        &[false, true, true, true, true, true, true, true],
        &rows,
    );
}

fn growth_with_size(out: &mut String, sweep: &Sweep) {
    if sweep.growth_with_size.is_empty() {
        return;
    }
    out.push_str(
        "\n### Growth with the model's size\n\nMedians over the items that were measured in full in every model. Models with other \
         tokenizers cut other windows.\n",
    );
    let header = [
        "items",
        "model",
        "parameters",
        "compared",
        "found",
        "greedy windows",
        "best ln p\\_z",
        "coverage",
        "verbatim run",
    ];
    let row = |growth: &SizeGrowth, point: &SizePoint| {
        let first = [
            curve_name(growth.kind, &growth.at),
            plain(&point.model),
            grouped(point.parameters),
        ];
        first
            .into_iter()
            .chain(measured(growth.items, &point.measured))
            .collect()
    };
    let curves = sweep.growth_with_size.iter();
    let rows: Vec<Vec<String>> = curves
        .flat_map(|growth| growth.points.iter().map(|point| row(growth, point)))
        .collect();
    table(
        out,
        &header.map(str::to_owned),
        &[false, false, true, true, true, true, true, true, true],
        &rows,
    );
}

/// From how many were compared to the median run.
fn measured(items: u64, point: &GrowthPoint) -> [String; 6] {
    let medians = point.medians.as_ref();
    let dash = || "-".to_owned();
    [
        grouped(items),
        grouped(point.found),
        format!(
            "{} of {}",
            grouped(point.greedily_extracted),
            grouped(point.windows)
        ),
        medians.map_or_else(dash, |medians| number(medians.best_log_p_z)),
        medians
            .and_then(|medians| medians.coverage)
            .map_or_else(dash, words::share),
        medians.map_or_else(dash, |medians| number(medians.verbatim_run)),
    ]
}

fn curve_name(kind: Kind, at: &str) -> String {
    let kinds = words::kinds(kind);
    if at.is_empty() {
        kinds.to_owned()
    } else {
        format!("{kinds} ({})", plain(at))
    }
}

/// Opt-outs and canaries one by one: best `ln p_z`, coverage and verbatim run in every run.
fn growth_of_items(out: &mut String, sweep: &Sweep) {
    if sweep.growth.is_empty() {
        return;
    }
    out.push_str(
        "\n### Item by item\n\nBest ln p\\_z · coverage · longest verbatim run in tokens.\n",
    );
    let cell = |values: Option<Values>| {
        values.map_or_else(
            || "-".to_owned(),
            |values| {
                let coverage = values.coverage.map_or_else(|| "-".to_owned(), words::share);
                format!(
                    "{} · {coverage} · {}",
                    number(values.best_log_p_z),
                    values.verbatim_run
                )
            },
        )
    };
    let items: Vec<&SweptItem> = sweep
        .items
        .iter()
        .filter(|item| item.kind != Kind::Control)
        .collect();
    in_runs(out, sweep, &items, |item, run| {
        cell(item.values.get(run).copied().flatten())
    });
}

/// A row an item, a column a run; several tables where there are more runs than fit one.
fn in_runs(
    out: &mut String,
    sweep: &Sweep,
    items: &[&SweptItem],
    cell: impl Fn(&SweptItem, usize) -> String,
) {
    let runs: Vec<usize> = (0..sweep.runs.len()).collect();
    for runs in runs.chunks(COLUMNS) {
        let names = runs
            .iter()
            .filter_map(|run| sweep.runs.get(*run))
            .map(|run| plain(&run.name));
        let header: Vec<String> = ["item", "kind"]
            .map(str::to_owned)
            .into_iter()
            .chain(names)
            .collect();
        let row = |item: &&SweptItem| {
            [name(item), kind(item)]
                .into_iter()
                .chain(runs.iter().map(|run| cell(item, *run)))
                .collect()
        };
        cut(out, &header, &[], items.iter().map(row).collect());
    }
}

fn agreement(out: &mut String, sweep: &Sweep) {
    if sweep.agreement.is_empty() {
        return;
    }
    out.push_str("\n### Agreement\n\nOver all pairs of runs that differ in nothing else.\n");
    let header = [
        "",
        "same verdict",
        "found in first only",
        "in second only",
        "median shift of ln p\\_z",
    ];
    let row = |agreement: &super::Agreement| {
        vec![
            format!(
                "{} {} : {}",
                agreement.axis.name(),
                plain(&agreement.first),
                plain(&agreement.second)
            ),
            format!(
                "{} of {}",
                grouped(agreement.same),
                grouped(agreement.verdicts)
            ),
            grouped(agreement.found_in_first_only),
            grouped(agreement.found_in_second_only),
            agreement
                .median_shift
                .map_or_else(|| "-".to_owned(), |shift| format!("{shift:+.2}")),
        ]
    };
    let rows: Vec<Vec<String>> = sweep.agreement.iter().map(row).collect();
    table(
        out,
        &header.map(str::to_owned),
        &[false, true, true, true, true],
        &rows,
    );
}

fn runs(out: &mut String, sweep: &Sweep) {
    out.push_str("\n### Runs\n");
    let header = [
        "run",
        "folder",
        "kept as",
        "scored",
        "extractable",
        "memorized",
        "inconclusive",
        "decision",
    ];
    let rows: Vec<Vec<String>> = sweep
        .runs
        .iter()
        .map(|run| {
            let at = |level: Level| {
                let of_level = run.counts.iter().filter(|count| count.level == level);
                grouped(of_level.map(|count| count.items).sum())
            };
            let decision = match (&run.failed, run.outcome) {
                (Some(_), _) => "failed",
                (None, Some(Outcome::Block)) => "block",
                (None, Some(Outcome::Undecided)) => "undecided",
                (None, Some(Outcome::Pass)) => "pass",
                (None, None) => "-",
            };
            vec![
                plain(&run.name),
                escape::markdown_code(&run.folder),
                run.kept_as.as_deref().map_or_else(|| "-".to_owned(), plain),
                format!("{} of {}", grouped(run.scored), grouped(run.windows)),
                at(Level::Extractable),
                at(Level::Memorized),
                at(Level::Inconclusive),
                decision.to_owned(),
            ]
        })
        .collect();
    table(
        out,
        &header.map(str::to_owned),
        &[false, false, false, true, true, true, true, false],
        &rows,
    );
    for run in &sweep.runs {
        if let Some(failed) = &run.failed {
            let _ = writeln!(out, "\n- {}: {}", plain(&run.name), plain(failed));
        }
    }
    let mut told: Vec<(&str, &str)> = sweep
        .runs
        .iter()
        .filter_map(|run| Some((run.kept_as.as_deref()?, run.mixture.as_deref()?)))
        .collect();
    told.dedup();
    for (kept_as, mixture) in told {
        let _ = writeln!(out, "\n- {} at load: {}", plain(kept_as), plain(mixture));
    }
}

fn cut(out: &mut String, header: &[String], right: &[bool], mut rows: Vec<Vec<String>>) {
    let more = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    table(out, header, right, &rows);
    if more > 0 {
        let _ = writeln!(out, "\n{} more in sweep.json.", grouped(more as u64));
    }
}

fn name(item: &SweptItem) -> String {
    escape::markdown_code(&item.id.0)
}

/// Foreign words in a table's cell. The underscore of `q4_0` marks nothing up inside a word, so it needs no backslash.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('_') {
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        out.push_str(&escape::markdown(before));
        out.push_str(
            if inside(before.chars().next_back()) && inside(after.chars().next()) {
                "_"
            } else {
                "\\_"
            },
        );
        rest = after;
    }
    out.push_str(&escape::markdown(rest));
    out
}
