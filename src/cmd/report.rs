//! `byrote report`: render a report again.

use super::{gate, out};
use crate::Outcome;
use crate::cli::ReportArgs;
use anyhow::{Context, Result, bail};
use byrote_core::policy::Policy;
use byrote_core::report::formats::Format;
use byrote_core::report::{Report, json_v1, terminal};
use std::io::IsTerminal as _;
use std::path::Path;

pub(crate) fn run(args: &ReportArgs) -> Result<Outcome> {
    check(&args.format, args.output.as_deref())?;
    let policy = args.policy.as_deref().map(Policy::open).transpose()?;
    let mut report = read(&args.report)?;
    if let Some(policy) = &policy {
        report = gate::decided(&report, policy, args.baseline.as_deref())?;
    }
    deliver(&report, &args.format, args.output.as_deref())?;
    Ok(Outcome::Done)
}

/// Whether these formats can go there: to be asked before any work is done.
pub(crate) fn check(formats: &[&Format], output: Option<&Path>) -> Result<()> {
    let folder = output.filter(|path| *path != Path::new("-"));
    match (formats, folder) {
        ([], _) => bail!("no format was asked for; give --format, such as --format html"),
        ([only], None) if only.id == "parquet" && std::io::stdout().is_terminal() => {
            bail!("parquet is no text for a terminal; give --output FILE")
        }
        ([_], _) => Ok(()),
        (_, None) => bail!("several formats need a folder to go to; give --output DIR"),
        (_, Some(path)) if path.exists() && !path.is_dir() => {
            bail!(
                "{}: is a file, and several formats need a folder; give another --output",
                path.display()
            )
        }
        _ => Ok(()),
    }
}

/// Renders a report and puts it where it was asked for: one format on standard output, in a file or in a folder, several in
/// a folder. One format at a time is in memory. What was decided stays decided, whoever listens.
pub(crate) fn deliver(report: &Report, formats: &[&Format], output: Option<&Path>) -> Result<()> {
    let folder = output.filter(|path| formats.len() > 1 || path.is_dir());
    for format in formats {
        let on_terminal = output.is_none() && format.id == "text";
        let rendered = if on_terminal {
            Ok(text(report).into_bytes())
        } else {
            (format.render)(report)
        };
        let bytes = rendered.with_context(|| format!("{}: can't be rendered", format.id))?;
        match (folder, output) {
            (Some(folder), _) => {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("{}: the folder can't be made", folder.display()))?;
                out::write(&bytes, &folder.join(format.file_name))?;
            }
            (None, file) => {
                out::deliver(&bytes, file)?;
            }
        }
    }
    Ok(())
}

/// Reads a run's report.json, or a report by its own path.
pub(crate) fn read(path: &Path) -> Result<Report> {
    let file = if path.is_dir() {
        path.join("report.json")
    } else {
        path.to_owned()
    };
    let bytes = std::fs::read(&file).with_context(|| {
        format!(
            "{}: can't be read; give a run's folder or a report.json",
            file.display()
        )
    })?;
    json_v1::parse(&bytes)
        .with_context(|| format!("{}: is no report that byrote can read", file.display()))
}

/// A report for whoever sits at the terminal.
pub(crate) fn text(report: &Report) -> String {
    terminal::render(
        report,
        terminal::Style {
            color: out::colour(),
            width: None,
        },
    )
}
