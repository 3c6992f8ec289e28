//! `byrote lint`: check probe sets and policies without a model.

use super::out;
use crate::Outcome;
use crate::cli::{LintArgs, OutputFormat};
use anyhow::{Context, Result};
use byrote_core::items::{self, InputManifest};
use byrote_core::policy::{Policy, READY};
use std::fmt::Write as _;
use std::path::PathBuf;

pub(crate) fn run(args: &LintArgs) -> Result<Outcome> {
    if args.template {
        let (_, built_in) = READY.first().context("no policy is built in")?;
        return out::print(built_in.as_bytes());
    }
    let (policies, sets): (Vec<PathBuf>, Vec<PathBuf>) =
        args.paths.iter().cloned().partition(|path| is_policy(path));
    let policies = policies
        .iter()
        .map(|path| Policy::open(&path.to_string_lossy()))
        .collect::<Result<Vec<_>, _>>()?;
    let manifest = if sets.is_empty() {
        None
    } else {
        Some(items::read(&sets)?.manifest)
    };
    match args.format {
        OutputFormat::Json => {
            out::print(format!("{}\n", json(&policies, manifest.as_ref())?).as_bytes())
        }
        OutputFormat::Text => out::print(text(&policies, manifest.as_ref())?.as_bytes()),
    }
}

fn is_policy(path: &std::path::Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("toml"))
        && !path.is_dir()
}

/// The manifest of the probe sets, with `policies` where there are any.
fn json(policies: &[Policy], manifest: Option<&InputManifest>) -> Result<String> {
    let mut value = manifest.map_or_else(|| Ok(serde_json::json!({})), serde_json::to_value)?;
    if let (false, Some(fields)) = (policies.is_empty(), value.as_object_mut()) {
        let one = |policy: &Policy| serde_json::json!({ "name": policy.source, "sha256": policy.digest, "waivers": policy.waivers.len() });
        fields.insert("policies".to_owned(), policies.iter().map(one).collect());
    }
    Ok(serde_json::to_string_pretty(&value)?)
}

fn text(policies: &[Policy], manifest: Option<&InputManifest>) -> Result<String> {
    let mut said = String::new();
    for policy in policies {
        writeln!(
            said,
            "{}: a policy, sha256 {}, waivers: {}",
            policy.source,
            policy.digest,
            policy.waivers.len()
        )?;
    }
    let Some(manifest) = manifest else {
        return Ok(said);
    };
    for file in &manifest.files {
        writeln!(
            said,
            "{}: {} bytes, sha256 {}",
            file.name, file.bytes, file.sha256
        )?;
    }
    for dropped in &manifest.dropped {
        writeln!(
            said,
            "{}: \"{}\" is left out: {}",
            dropped.origin, dropped.id, dropped.reason
        )?;
    }
    for warning in &manifest.warnings {
        writeln!(said, "warning: {warning}")?;
    }
    let InputManifest {
        opt_outs,
        controls,
        canaries,
        ..
    } = manifest;
    writeln!(
        said,
        "opted-out texts: {opt_outs}, controls: {controls}, canaries: {canaries}"
    )?;
    Ok(said)
}
