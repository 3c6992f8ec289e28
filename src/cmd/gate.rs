//! `byrote gate`: decide again on an old report, without the model.

use super::report;
use crate::Outcome;
use crate::cli::GateArgs;
use anyhow::Result;
use byrote::gate::{self, Decision};
use byrote::policy::Policy;
use jiff::Zoned;

pub(crate) fn run(args: &GateArgs) -> Result<Outcome> {
    report::check(&args.format, args.output.as_deref())?;
    let policy = Policy::open(&args.policy)?;
    let report = gate::redecide(&report::read(&args.report)?, &policy, Zoned::now().date());
    report::deliver(&report, &args.format, args.output.as_deref())?;
    Ok(report.decision.as_ref().map_or(Outcome::Undecided, outcome))
}

/// A decision as a command's outcome.
pub(crate) fn outcome(decision: &Decision) -> Outcome {
    match decision.outcome {
        gate::Outcome::Pass => Outcome::Done,
        gate::Outcome::Block => Outcome::Blocked,
        gate::Outcome::Undecided => Outcome::Undecided,
    }
}
