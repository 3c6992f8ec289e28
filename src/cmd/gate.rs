//! `byrote gate`: decide again on an old report, without the model.

use super::report;
use crate::Outcome;
use crate::cli::GateArgs;
use anyhow::{Context, Result};
use byrote::gate::{self, Decision, files};
use byrote::policy::Policy;
use byrote::report::Report;
use jiff::Zoned;
use std::path::Path;

pub(crate) fn run(args: &GateArgs) -> Result<Outcome> {
    report::check(&args.format, args.output.as_deref())?;
    let report = report::read(&args.report)?;
    // Files may take minutes to read; what is wrong with the policy or the baseline is told before.
    let report = decided(&report, &args.policy, args.baseline.as_deref())?;
    if let Some(model) = &args.model {
        files::check(&report, model)?;
    }
    report::deliver(&report, &args.format, args.output.as_deref())?;
    Ok(report.decision.as_ref().map_or(Outcome::Undecided, outcome))
}

/// The report judged by a policy (the name of a ready one, or a file) and decided, against an older report if there is one.
pub(crate) fn decided(report: &Report, policy: &str, baseline: Option<&Path>) -> Result<Report> {
    let policy = Policy::open(policy)?;
    let baseline = baseline.map(|path| report::read(path).context("the baseline")).transpose()?;
    Ok(gate::redecide_against(report, baseline.as_ref(), &policy, Zoned::now().date()))
}

/// A decision as a command's outcome.
pub(crate) fn outcome(decision: &Decision) -> Outcome {
    match decision.outcome {
        gate::Outcome::Pass => Outcome::Done,
        gate::Outcome::Block => Outcome::Blocked,
        gate::Outcome::Undecided => Outcome::Undecided,
    }
}
