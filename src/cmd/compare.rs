//! `byrote compare`: two or more reports on the same texts.

use crate::cli::{CompareArgs, CompareFormat};
use crate::{Outcome, output, reports};
use anyhow::Result;
use byrote_core::compare::{Comparison, csv, html, json_v1, markdown, text};
use byrote_core::policy::Policy;
use byrote_core::report::Report;
use std::path::Path;

pub(crate) fn run(args: &CompareArgs) -> Result<Outcome> {
    let given = args.policy.as_deref().map(Policy::open).transpose()?;
    let paths: Vec<&Path> = std::iter::once(&args.old)
        .chain(&args.new)
        .map(std::path::PathBuf::as_path)
        .collect();
    let reports: Vec<Report> = paths
        .iter()
        .map(|path| reports::read(path))
        .collect::<Result<_>>()?;
    let policy = given.as_ref().unwrap_or(&reports[0].policy);
    let named: Vec<(String, &Report)> = paths.iter().map(|path| name(path)).zip(&reports).collect();
    let comparison = Comparison::of(&named, policy);
    let colour = args.output.is_none() && output::color();
    let bytes = match args.format {
        CompareFormat::Text => text::render(
            &comparison,
            text::Style {
                colour,
                width: None,
            },
        )
        .into_bytes(),
        CompareFormat::Json => json_v1::render(&comparison),
        CompareFormat::Md => markdown::render(&comparison).into_bytes(),
        CompareFormat::Html => html::render(&comparison)?.into_bytes(),
        CompareFormat::Csv => csv::render(&comparison).into_bytes(),
    };
    output::deliver(&bytes, args.output.as_deref())?;
    if let Some(output) = &args.output {
        output::note(format_args!(
            "{} Comparison: {}",
            text::outcome(&comparison),
            output.display()
        ));
    }
    Ok(if comparison.is_complete() {
        Outcome::Done
    } else {
        Outcome::Undecided
    })
}

/// The name of a report in the comparison: its path, without `/report.json`.
fn name(path: &Path) -> String {
    let folder = if path.ends_with("report.json") {
        path.parent()
    } else {
        None
    };
    let shown = folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(path);
    let text = shown.to_string_lossy();
    let trimmed = text.trim_end_matches(['/', '\\']);
    if trimmed.is_empty() {
        text.into_owned()
    } else {
        trimmed.to_owned()
    }
}
