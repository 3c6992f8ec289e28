//! Several probes in one: every model in every precision, after every prefix, with every token at the start.

use crate::Outcome;
use crate::cli::OutputFormat;
use crate::output;
use crate::probe_job::{ProbeJob, run_all};
use anyhow::{Context, Result};
use byrote_core::probe::RUNS;
use byrote_core::sweep::{Standing, html, json, markdown};
use std::path::Path;

/// Runs every combination, each in a folder of its own, then compares them.
pub(super) fn run(job: &ProbeJob<'_>) -> Result<Outcome> {
    let root = match &job.config.folder {
        Some(root) => root.clone(),
        None => Path::new(RUNS).join(job.sweep_name()),
    };
    std::fs::create_dir_all(&root)
        .with_context(|| format!("{}: the folder can't be made", root.display()))?;
    let (results, worst) = run_all(job, &root);
    if worst == Outcome::Interrupted {
        return Ok(worst);
    }
    let sweep = job.grid.compare(&results);
    let (json, markdown) = (json::render(&sweep), markdown::render(&sweep));
    let [page, table] = ["sweep.html", "sweep.md"].map(|name| root.join(name));
    output::write(&json, &root.join("sweep.json"))?;
    output::write(markdown.as_bytes(), &table)?;
    output::write(html::render(&sweep)?.as_bytes(), &page)?;
    output::print(match job.format {
        OutputFormat::Json => &json,
        OutputFormat::Text => markdown.as_bytes(),
    })?;
    let unstable = sweep.standing(Standing::Unstable).count();
    output::note(format_args!(
        "{unstable} of {} items are unstable. Sweep: {}, {}",
        sweep.items.len(),
        page.display(),
        table.display()
    ));
    Ok(worst)
}
