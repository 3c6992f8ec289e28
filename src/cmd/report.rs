//! `byrote report`: render an existing report.

use super::gate;
use crate::cli::ReportArgs;
use crate::{Outcome, reports};
use anyhow::Result;
use byrote_core::policy::Policy;

pub(crate) fn run(args: &ReportArgs) -> Result<Outcome> {
    reports::check(&args.format, args.output.as_deref())?;
    let policy = args.policy.as_deref().map(Policy::open).transpose()?;
    let mut report = reports::read(&args.report)?;
    if let Some(policy) = &policy {
        report = gate::decided(&report, policy, args.baseline.as_deref())?;
    }
    reports::deliver(&report, &args.format, args.output.as_deref())?;
    Ok(Outcome::Done)
}
