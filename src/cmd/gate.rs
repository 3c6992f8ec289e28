//! `byrote gate`: decide again on an old report, without the model.

use super::{out, report};
use crate::Outcome;
use crate::cli::{GateArgs, Printed};
use anyhow::Result;
use byrote::gate::{self, Decision};
use byrote::policy::Policy;
use byrote::report::json_v1;
use jiff::Zoned;

pub(crate) fn run(args: &GateArgs) -> Result<Outcome> {
    let policy = Policy::open(&args.policy)?;
    let report = gate::redecide(&report::read(&args.report)?, &policy, Zoned::now().date());
    match args.format {
        Printed::Json => out::print(&json_v1::render(&report))?,
        Printed::Text => out::print(report::text(&report).as_bytes())?,
    };
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
