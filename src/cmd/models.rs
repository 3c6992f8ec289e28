//! `byrote models`: what can be named, and fetching it.

use super::out;
use crate::Outcome;
use crate::cli::{ModelsCommand, OutputFormat};
use anyhow::Result;
use byrote_core::registry::{EntrySource, ModelEntry, Registry};
use comfy_table::{Table, presets};
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

fn list(registry: &Registry, format: OutputFormat) -> Result<Outcome> {
    let source = |entry: &ModelEntry| match &entry.source {
        EntrySource::Builtin => "built in".to_owned(),
        EntrySource::Hub(repo) => match &entry.revision {
            Some(revision) => format!("{repo}@{revision}"),
            None => repo.clone(),
        },
        EntrySource::Path(path) => path.display().to_string(),
    };
    if format == OutputFormat::Json {
        let rows: Vec<_> = registry
            .entries
            .iter()
            .map(|e| {
                serde_json::json!({
                    "name": e.name, "source": source(e), "default": e.name == registry.default, "notes": e.notes,
                })
            })
            .collect();
        return out::print(format!("{}\n", serde_json::to_string_pretty(&rows)?).as_bytes());
    }
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(["name", "source", "notes"]);
    for entry in &registry.entries {
        table.add_row([
            entry.name.clone(),
            source(entry),
            entry.notes.clone().unwrap_or_default(),
        ]);
    }
    out::print(format!("{table}\n").as_bytes())
}

#[cfg(feature = "native")]
fn pull(model: &str, registry: &Registry) -> Result<Outcome> {
    let located = super::model::locate(model, registry, false, None)?;
    let mut said = format!("{}\n", located.folder.display());
    for file in byrote::checkpoint::digests(&located)? {
        said.push_str(&format!("{}  {}\n", file.sha256, file.name));
    }
    out::print(said.as_bytes())
}
