//! `byrote report`: render a report again.

use super::out;
use crate::Outcome;
use crate::cli::{Rendered, ReportArgs};
use anyhow::{Context, Result};
use byrote::report::{Report, html, json_v1, markdown, terminal};
use std::path::Path;

pub(crate) fn run(args: &ReportArgs) -> Result<Outcome> {
    let report = read(&args.report)?;
    let bytes = match args.format {
        Rendered::Text if args.output.is_none() => text(&report).into_bytes(),
        Rendered::Text => terminal::render(&report, terminal::Style { color: false, width: None }).into_bytes(),
        Rendered::Json => json_v1::render(&report),
        Rendered::Md => markdown::render(&report).into_bytes(),
        Rendered::Html => html::render(&report)?.into_bytes(),
    };
    out::deliver(&bytes, args.output.as_deref())
}

/// Reads a run's report.json, or a report by its own path.
pub(crate) fn read(path: &Path) -> Result<Report> {
    let file = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
    let bytes = std::fs::read(&file)
        .with_context(|| format!("{}: can't be read; give a run's folder or a report.json", file.display()))?;
    json_v1::parse(&bytes).with_context(|| format!("{}: is no report that byrote can read", file.display()))
}

/// A report for whoever sits at the terminal.
pub(crate) fn text(report: &Report) -> String {
    terminal::render(report, terminal::Style { color: out::colour(), width: None })
}
