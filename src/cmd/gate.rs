//! `byrote gate`: decide again on an old report, without the model.

use super::report;
use crate::Outcome;
use crate::cli::GateArgs;
use anyhow::{Context, Result};
use byrote_core::gate::{self, files};
use byrote_core::policy::Policy;
use byrote_core::policy::decision::{self, Decision};
use byrote_core::report::Report;
use jiff::Zoned;
use std::path::Path;

pub(crate) fn run(args: &GateArgs) -> Result<Outcome> {
    report::check(&args.format, args.output.as_deref())?;
    // Reports and files may take long to read; what is wrong with the policy is told before.
    let policy = Policy::open(&args.policy)?;
    let report = decided(
        &report::read(&args.report)?,
        &policy,
        args.baseline.as_deref(),
    )?;
    if let Some(model) = &args.model {
        files::check(&report, model)?;
    }
    report::deliver(&report, &args.format, args.output.as_deref())?;
    Ok(report.decision.as_ref().map_or(Outcome::Undecided, outcome))
}

/// The report judged by a policy and decided, against an older report if there is one.
pub(crate) fn decided(report: &Report, policy: &Policy, baseline: Option<&Path>) -> Result<Report> {
    let baseline = baseline
        .map(|path| report::read(path).context("the baseline"))
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
