//! `byrote models`: list named models, describe one, download one.

#[cfg(feature = "native")]
use super::model::locate;
use crate::cli::{ModelsCommand, OutputFormat};
use crate::{Outcome, output};
use anyhow::Result;
#[cfg(feature = "native")]
use byrote::checkpoint::digests;
use byrote_core::registry::{EntrySource, ModelEntry, Registry};
use comfy_table::{Table, presets};
use serde::Serialize;
use std::path::Path;

pub(crate) fn run(command: &ModelsCommand) -> Result<Outcome> {
    match command {
        ModelsCommand::List { format, registry } => list(&open(registry.as_deref())?, *format),
        #[cfg(feature = "native")]
        ModelsCommand::Show(args) => super::show::run(args),
        #[cfg(feature = "native")]
        ModelsCommand::Pull { model, registry } => pull(model, &open(registry.as_deref())?),
    }
}

/// The registry of a file, or the built-in one.
pub(crate) fn open(file: Option<&Path>) -> Result<Registry> {
    Ok(match file {
        Some(path) => Registry::from_file(path)?,
        None => Registry::builtin()?,
    })
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    source: String,
    default: bool,
    notes: Option<&'a str>,
}

fn list(registry: &Registry, format: OutputFormat) -> Result<Outcome> {
    let entries = registry.entries.iter();
    let rows: Vec<Row<'_>> = entries.map(|entry| row(entry, &registry.default)).collect();
    output::record(format, &rows, |rows| {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_header(["name", "source", "notes"]);
        for row in rows {
            table.add_row([row.name, &row.source, row.notes.unwrap_or_default()]);
        }
        format!("{table}\n")
    })
}

fn row<'a>(entry: &'a ModelEntry, default: &str) -> Row<'a> {
    let source = match (&entry.source, &entry.revision) {
        (EntrySource::Builtin, _) => "built in".to_owned(),
        (EntrySource::Hub(repo), Some(revision)) => format!("{repo}@{revision}"),
        (EntrySource::Hub(repo), None) => repo.clone(),
        (EntrySource::Path(path), _) => path.display().to_string(),
    };
    let name = &entry.name;
    Row {
        name,
        source,
        default: name == default,
        notes: entry.notes.as_deref(),
    }
}

#[cfg(feature = "native")]
fn pull(model: &str, registry: &Registry) -> Result<Outcome> {
    let located = locate(model, registry, false, None)?;
    let mut text = format!("{}\n", located.folder.display());
    for file in digests(&located)? {
        text += &format!("{}  {}\n", file.sha256, file.name);
    }
    output::print(text.as_bytes())
}
