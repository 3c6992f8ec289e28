//! `byrote probe`: the whole job, from opted-out text to a report and an exit code.

use super::{gate, sweep};
use crate::Outcome;
use crate::cli::{OutputFormat, ProbeArgs};
use crate::probe_job::ProbeJob;
use crate::progress::stop_on_ctrl_c;
use crate::{output, reports};
use anyhow::{Context, Result};
use byrote_core::probe::{Probed, RUNS};
use byrote_core::report::{json_v1, terminal};
use std::io::Write as _;
use std::path::Path;

pub(crate) fn run(args: &ProbeArgs) -> Result<Outcome> {
    // What can fail cheaply fails before any model is fetched or loaded.
    let mut job = ProbeJob::new(args)?;
    writable(args.out.as_deref().unwrap_or(Path::new(RUNS)))?;
    stop_on_ctrl_c()?;
    job.find_reference(args)?;
    let Some(point) = job.grid.single() else {
        return sweep::run(&job);
    };
    let target = job.target(point.model)?;
    let loaded = job.load(&target, &point.dtype, point.bos)?;
    let config = job.grid.config(&job.config, point.prefix);
    let Some(probed) = job.probe(&config, &target, &loaded)? else {
        return Ok(Outcome::Interrupted);
    };
    match job.format {
        OutputFormat::Json => output::show(&json_v1::render(&probed.report))?,
        OutputFormat::Text => output::show(reports::text(&probed.report).as_bytes())?,
    }
    Ok(outcome(&probed))
}

/// Says where the report is and, without a gate, what wasn't measured; gives what the run means for the exit code.
pub(crate) fn outcome(probed: &Probed) -> Outcome {
    let folder = &probed.folder;
    output::note(format_args!(
        "{} Report: {}",
        terminal::verdict(&probed.report),
        folder.join("report.html").display()
    ));
    if let Some(decision) = &probed.report.decision {
        return gate::outcome(decision);
    }
    match probed.unmeasured() {
        None => Outcome::Done,
        Some(why) => {
            output::note(format_args!("error: {}: {why}", folder.display()));
            Outcome::Undecided
        }
    }
}

/// Makes the folder that will hold the run, so that an unwritable path fails before a model is loaded.
fn writable(root: &Path) -> Result<()> {
    let fix = "give another folder with --out";
    std::fs::create_dir_all(root)
        .with_context(|| format!("{}: the folder can't be made; {fix}", root.display()))?;
    // An empty file can be made on a full disk, too.
    let written = tempfile::tempfile_in(root).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    written.with_context(|| format!("{}: the folder can't be written to; {fix}", root.display()))
}
