//! Report files: read, and delivered in one or more formats.

use crate::output;
use anyhow::{Context, Result, bail};
use byrote_core::report::formats::Format;
use byrote_core::report::terminal::{self, Style};
use byrote_core::report::{Report, json_v1};
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::Path;

/// Reads a report by its path, or that of its run directory.
pub(crate) fn read(path: &Path) -> Result<Report> {
    let file = if path.is_dir() {
        path.join("report.json")
    } else {
        path.to_owned()
    };
    let bytes = fs::read(&file).with_context(|| {
        format!(
            "{}: can't be read; give a run's folder or a report.json",
            file.display()
        )
    })?;
    json_v1::parse(&bytes)
        .with_context(|| format!("{}: is no report that byrote can read", file.display()))
}

/// Checks that reports in these formats can be delivered there, before any work is done.
pub(crate) fn check(formats: &[&Format], output: Option<&Path>) -> Result<()> {
    let output = output.filter(|path| *path != Path::new("-"));
    match (formats, output) {
        ([], _) => bail!("no format was asked for; give --format, such as --format html"),
        ([only], None) if only.id == "parquet" && io::stdout().is_terminal() => {
            bail!("parquet is no text for a terminal; give --output FILE")
        }
        ([_], _) => Ok(()),
        (_, None) => bail!("several formats need a folder to go to; give --output DIR"),
        (_, Some(path)) if path.exists() && !path.is_dir() => bail!(
            "{}: is a file, and several formats need a folder; give another --output",
            path.display()
        ),
        _ => Ok(()),
    }
}

/// Renders a report, one format at a time, to standard output, a file or a directory.
pub(crate) fn deliver(report: &Report, formats: &[&Format], output: Option<&Path>) -> Result<()> {
    let folder = output.filter(|path| formats.len() > 1 || path.is_dir());
    for format in formats {
        let rendered = match output {
            None if format.id == "text" => Ok(text(report).into_bytes()),
            _ => (format.render)(report),
        };
        let bytes = rendered.with_context(|| format!("{}: can't be rendered", format.id))?;
        let Some(folder) = folder else {
            output::deliver(&bytes, output)?;
            continue;
        };
        fs::create_dir_all(folder)
            .with_context(|| format!("{}: the folder can't be made", folder.display()))?;
        output::write(&bytes, &folder.join(format.file_name))?;
    }
    Ok(())
}

/// A report as text for this terminal.
pub(crate) fn text(report: &Report) -> String {
    terminal::render(
        report,
        Style {
            color: output::color(),
            width: None,
        },
    )
}
