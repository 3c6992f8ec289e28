//! The commands: each turns its arguments into settings, calls the library, and prints the result.

#[cfg(feature = "native")]
pub(crate) mod clock;
mod compare;
mod controls;
mod doctor;
mod gate;
mod inspect;
mod lint;
pub(crate) mod models;
mod report;

#[cfg(feature = "native")]
pub(crate) mod model;
#[cfg(feature = "native")]
pub(crate) mod probe;
#[cfg(feature = "native")]
mod score;
#[cfg(feature = "native")]
mod show;
#[cfg(feature = "native")]
mod sweep;
#[cfg(feature = "native")]
pub(crate) mod template;
#[cfg(feature = "native")]
mod tune;

use crate::cli::{Cli, Command};
use crate::{Outcome, output};
use anyhow::Result;
use clap::CommandFactory;

/// Runs one command.
pub(crate) fn run(cli: Cli) -> Result<Outcome> {
    #[cfg(feature = "native")]
    share_threads(&cli.command);
    match cli.command {
        #[cfg(feature = "native")]
        Command::Probe(args) => probe::run(&args),
        #[cfg(feature = "native")]
        Command::Score(args) => score::run(&args),
        Command::Gate(args) => gate::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Controls(command) => controls::run(&command),
        Command::Models(command) => models::run(&command),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "byrote", &mut script);
            output::print(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            output::print(&page)
        }
    }
}

/// One limit for all that runs side by side outside of scoring: digests, reading weights, cutting windows, tokenizers.
/// Without it each would take every processor of the machine, whatever `--threads` or a control group says.
#[cfg(feature = "native")]
fn share_threads(command: &Command) {
    let asked = match command {
        Command::Probe(args) => args.load.threads,
        Command::Score(args) => args.load.threads,
        _ => None,
    };
    let threads = asked.map_or_else(byrote_core::system::cores, |threads| threads as usize);
    // It fails only where there is a pool already; nothing has run yet.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global();
}
