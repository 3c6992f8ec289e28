//! `byrote gate`: apply a policy to an existing report, without the model.

use crate::cli::GateArgs;
use crate::{Outcome, reports};
use anyhow::{Context, Result};
use byrote_core::gate::{self, files};
use byrote_core::policy::Policy;
use byrote_core::policy::decision::{self, Decision};
use byrote_core::report::Report;
use jiff::Zoned;
use std::path::Path;

pub(crate) fn run(args: &GateArgs) -> Result<Outcome> {
    reports::check(&args.format, args.output.as_deref())?;
    // A wrong policy fails first: reports and model files may take long to read.
    let policy = Policy::open(&args.policy)?;
    let report = decided(
        &reports::read(&args.report)?,
        &policy,
        args.baseline.as_deref(),
    )?;
    if let Some(model) = &args.model {
        files::check(&report, model)?;
    }
    reports::deliver(&report, &args.format, args.output.as_deref())?;
    Ok(report.decision.as_ref().map_or(Outcome::Undecided, outcome))
}

/// Judges a report by a policy and decides, compared with an older report if there is one.
pub(crate) fn decided(report: &Report, policy: &Policy, baseline: Option<&Path>) -> Result<Report> {
    let baseline = baseline
        .map(|path| reports::read(path).context("the baseline"))
        .transpose()?;
    Ok(gate::redecide_against(
        report,
        baseline.as_ref(),
        policy,
        Zoned::now().date(),
    ))
}

/// A decision as a command's outcome.
pub(crate) fn outcome(decision: &Decision) -> Outcome {
    match decision.outcome {
        decision::Outcome::Pass => Outcome::Done,
        decision::Outcome::Block => Outcome::Blocked,
        decision::Outcome::Undecided => Outcome::Undecided,
    }
}
