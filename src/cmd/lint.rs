//! `byrote lint`: check probe sets without a model.

use super::out;
use crate::Outcome;
use crate::cli::{LintArgs, Printed};
use anyhow::Result;
use byrote::items::{self, InputManifest};
use std::fmt::Write as _;

pub(crate) fn run(args: &LintArgs) -> Result<Outcome> {
    let set = items::read(&args.paths)?;
    match args.format {
        Printed::Json => out::print(format!("{}\n", serde_json::to_string_pretty(&set.manifest)?).as_bytes()),
        Printed::Text => out::print(text(&set.manifest)?.as_bytes()),
    }
}

fn text(manifest: &InputManifest) -> Result<String> {
    let mut said = String::new();
    for file in &manifest.files {
        writeln!(said, "{}: {} bytes, sha256 {}", file.name, file.bytes, file.sha256)?;
    }
    for dropped in &manifest.dropped {
        writeln!(said, "{}: \"{}\" is left out: {}", dropped.origin, dropped.id, dropped.reason)?;
    }
    for warning in &manifest.warnings {
        writeln!(said, "warning: {warning}")?;
    }
    let InputManifest { opt_outs, controls, canaries, .. } = manifest;
    writeln!(said, "opted-out texts: {opt_outs}, controls: {controls}, canaries: {canaries}")?;
    Ok(said)
}
