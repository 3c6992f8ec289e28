//! `byrote inspect`: one item of a run, and one of its windows token by token.

use super::{out, report};
use crate::Outcome;
use crate::cli::{InspectArgs, OutputFormat};
use anyhow::{Result, bail};
use byrote_core::metric::near::edit;
use byrote_core::metric::window::{WindowEvidence, likeliest_first};
use byrote_core::report::json_v1::inspect as json;
use byrote_core::report::terminal::Style;
use byrote_core::report::terminal::inspect::{Inspected, render};
use byrote_core::report::{Report, ReportItem};
use byrote_core::window::WindowId;
use std::path::{Path, PathBuf};

/// Ids that a message names.
const NAMED: usize = 5;

pub(crate) fn run(args: &InspectArgs) -> Result<Outcome> {
    let report = report::read(&args.report)?;
    let mut item = found(&report, &args.item, &args.report)?.clone();
    let mut known = match folder(&args.report) {
        Some(folder) => scored(&folder, &report, &item),
        None => Known {
            notes: vec![
                "Only the report is at hand: it has the likeliest windows, and the tokens of the first of them."
                    .to_owned(),
            ],
            ..Known::default()
        },
    };
    // What was found out about a window beyond its scores is in the report, and counts.
    for own in &item.windows {
        match known
            .windows
            .iter_mut()
            .find(|window| window.window == own.window)
        {
            Some(window) => {
                *window = WindowEvidence {
                    tokens: window.tokens.take().or_else(|| own.tokens.clone()),
                    ..own.clone()
                }
            }
            None => known.windows.push(own.clone()),
        }
    }
    likeliest_first(&mut known.windows, &report.policy.schemes);
    let window = chosen(&known, args.window.as_deref(), &item)?;
    let spelled = item
        .revealed
        .as_ref()
        .and_then(|revealed| revealed.spelled.as_ref());
    let letters =
        spelled.filter(|spelled| window.is_some_and(|window| window.window == spelled.window));
    match args.format {
        OutputFormat::Text => {
            let inspected = Inspected {
                report: &report,
                item: &item,
                window,
                windows: &known.windows,
                letters: letters.map(|spelled| spelled.suffix.as_slice()),
                notes: &known.notes,
            };
            out::print(
                render(
                    &inspected,
                    Style {
                        color: out::colour(),
                        width: None,
                    },
                )
                .as_bytes(),
            )
        }
        OutputFormat::Json => {
            let window = window.cloned();
            // The tokens of one window are enough; the others are listed.
            item.windows = known
                .windows
                .iter()
                .map(|own| WindowEvidence {
                    tokens: None,
                    ..own.clone()
                })
                .collect();
            out::print(&json::render(&report, &item, window.as_ref(), &known.notes))
        }
    }
}

/// What a run's scores say of an item.
#[derive(Debug, Default)]
struct Known {
    windows: Vec<WindowEvidence>,
    /// Windows without a full set of scores, and why.
    others: Vec<(WindowId, String)>,
    notes: Vec<String>,
}

fn found<'a>(report: &'a Report, id: &str, path: &Path) -> Result<&'a ReportItem> {
    if let Some(item) = report.items.iter().find(|item| item.id.0 == id) {
        return Ok(item);
    }
    let ids: Vec<&str> = report.items.iter().map(|item| item.id.0.as_str()).collect();
    let path = path.display();
    match near(id, &ids).as_slice() {
        [] => bail!(
            "{path}: it has no item {id:?}; `byrote report {path}` lists its {} items",
            ids.len()
        ),
        near => bail!(
            "{path}: it has no item {id:?}; is it one of {}?",
            near.join(", ")
        ),
    }
}

/// The window that was asked for, else the likeliest.
fn chosen<'a>(
    known: &'a Known,
    asked: Option<&str>,
    item: &ReportItem,
) -> Result<Option<&'a WindowEvidence>> {
    let Some(asked) = asked else {
        return Ok(known.windows.first());
    };
    if let Some(window) = known.windows.iter().find(|window| window.window.0 == asked) {
        return Ok(Some(window));
    }
    if let Some((_, why)) = known.others.iter().find(|(window, _)| window.0 == asked) {
        bail!(
            "window {asked:?} of item {:?} has no scores to show: {why}",
            item.id.0
        );
    }
    let ids: Vec<&str> = known
        .windows
        .iter()
        .map(|window| window.window.0.as_str())
        .collect();
    let mut like = near(asked, &ids);
    if like.is_empty() {
        like = ids.iter().take(NAMED).map(|id| format!("{id:?}")).collect();
    }
    match like.as_slice() {
        [] => bail!(
            "item {:?} has no window {asked:?}, and no scored one at all",
            item.id.0
        ),
        like => bail!(
            "item {:?} has no window {asked:?}; it has {} of them, such as {}",
            item.id.0,
            ids.len(),
            like.join(", ")
        ),
    }
}

/// Ids that may have been meant: those that hold what was asked for, then those that differ from it by a few letters.
fn near(asked: &str, ids: &[&str]) -> Vec<String> {
    let letters = |text: &str| {
        text.to_lowercase()
            .chars()
            .map(u32::from)
            .collect::<Vec<_>>()
    };
    let wanted = letters(asked);
    let most = (wanted.len() as u32 / 4).max(2);
    let mut like: Vec<(u32, &str)> = ids
        .iter()
        .filter_map(|id| {
            let own = letters(id);
            if !wanted.is_empty() && id.to_lowercase().contains(&asked.to_lowercase()) {
                return Some((0, *id));
            }
            Some((edit::distance(&wanted, &own), *id)).filter(|(distance, _)| *distance <= most)
        })
        .collect();
    // The sort is stable: the report's order among those that are equally near.
    like.sort_by_key(|(distance, _)| *distance);
    // Ids that hold all of it say more than those that merely look like it.
    let best = like.first().map_or(0, |(distance, _)| *distance);
    like.retain(|(distance, _)| best > 0 || *distance == 0);
    like.into_iter()
        .take(NAMED)
        .map(|(_, id)| format!("{id:?}"))
        .collect()
}

/// The run's folder: the path itself, or that of the report.json it names.
fn folder(path: &Path) -> Option<PathBuf> {
    let folder = if path.is_dir() { path } else { path.parent()? };
    (folder.join("run.json").is_file() && (path.is_dir() || path.ends_with("report.json")))
        .then(|| folder.to_owned())
}

#[cfg(not(feature = "native"))]
fn scored(_: &Path, _: &Report, _: &ReportItem) -> Known {
    let note = "This build can't read scores/*.parquet: only the report's windows are shown, and the tokens of the first.";
    Known {
        notes: vec![note.to_owned()],
        ..Known::default()
    }
}

/// Every window of the item in the run's scores. What can't be read is told, and the rest is shown.
#[cfg(feature = "native")]
fn scored(folder: &Path, report: &Report, item: &ReportItem) -> Known {
    use byrote_core::metric::tokens::TokenEvidence;
    use byrote_core::metric::window::measure;
    use byrote_core::run::directory::RunDir;

    let mut known = Known::default();
    let run = match RunDir::load(folder) {
        Ok(run) if run.manifest().plan.digest == report.plan_digest => run,
        Ok(_) => {
            known.notes.push(format!(
                "{}: its scores are those of another run than its report, and left out.",
                folder.display()
            ));
            return known;
        }
        Err(error) => {
            known
                .notes
                .push(format!("The run's scores can't be read: {error}."));
            return known;
        }
    };
    let manifest = run.manifest();
    for part in 0..manifest.plan.parts() {
        let rows = match run.read_part(part) {
            Ok(rows) => rows,
            Err(error) => {
                known
                    .notes
                    .push(format!("Windows may be missing here: {error}."));
                continue;
            }
        };
        for row in rows.iter().filter(|row| row.item == item.id) {
            match measure(row, &manifest.model.backend.schemes) {
                Ok(window) => {
                    let tokens = row.scores.as_ref().ok().map(TokenEvidence::of);
                    known.windows.push(WindowEvidence { tokens, ..window });
                }
                Err(unscored) => known.others.push((unscored.window, unscored.reason)),
            }
        }
    }
    if let Some((window, why)) = known.others.first() {
        let all = known.others.len();
        known.notes.push(match all {
            1 => format!("1 window has no full scores: {window}: {why}."),
            _ => format!("{all} windows have no full scores; the first is {window}: {why}."),
        });
    }
    known
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn ids_that_may_have_been_meant_are_those_that_hold_it_or_are_nearly_it() {
        let ids = ["novels/moby-1", "novels/moby-2", "poems/heron", "x"];
        assert_eq!(
            near("moby", &ids),
            ["\"novels/moby-1\"", "\"novels/moby-2\""]
        );
        assert_eq!(near("poems/herno", &ids), ["\"poems/heron\""]);
        assert_eq!(near("Poems/Heron", &ids), ["\"poems/heron\""]);
        assert!(near("something else", &ids).is_empty() && near("", &["abc"]).is_empty());
    }
}
