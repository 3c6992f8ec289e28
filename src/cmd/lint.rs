//! `byrote lint`: check probe sets and policies without a model.

use crate::cli::LintArgs;
use crate::render::lint::Linted;
use crate::{Outcome, output};
use anyhow::{Context, Result};
use byrote_core::items;
use byrote_core::policy::{Policy, READY};
use std::path::{Path, PathBuf};

pub(crate) fn run(args: &LintArgs) -> Result<Outcome> {
    if args.template {
        let (_, built_in) = READY.first().context("no policy is built in")?;
        return output::print(built_in.as_bytes());
    }
    let (policies, sets): (Vec<PathBuf>, Vec<PathBuf>) =
        args.paths.iter().cloned().partition(|path| is_policy(path));
    let policies = policies
        .iter()
        .map(|path| Policy::open(&path.to_string_lossy()))
        .collect::<Result<Vec<_>, _>>()?;
    let manifest = match sets.as_slice() {
        [] => None,
        sets => Some(items::read(sets)?.manifest),
    };
    output::record(args.format, &Linted::new(manifest, &policies), Linted::text)
}

fn is_policy(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("toml"))
        && !path.is_dir()
}
