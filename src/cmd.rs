//! The commands: each wires stages of the library together, and owns files, loops and progress.

mod controls;
mod doctor;
mod gate;
mod lint;
mod models;
pub(crate) mod out;
mod report;

#[cfg(feature = "native")]
mod fewer;
#[cfg(feature = "native")]
mod follow;
#[cfg(feature = "native")]
mod model;
#[cfg(feature = "native")]
mod probe;
#[cfg(feature = "native")]
mod score;
#[cfg(feature = "native")]
mod scoring;
#[cfg(feature = "native")]
mod show;
#[cfg(feature = "native")]
mod sweep;
#[cfg(feature = "native")]
mod template;

use crate::Outcome;
use crate::cli::{Cli, Command};
use anyhow::Result;
use clap::CommandFactory;

/// Runs one command.
pub(crate) fn run(cli: Cli) -> Result<Outcome> {
    match cli.command {
        #[cfg(feature = "native")]
        Command::Probe(args) => probe::run(&args),
        #[cfg(feature = "native")]
        Command::Score(args) => score::run(&args),
        Command::Gate(args) => gate::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Controls(command) => controls::run(&command),
        Command::Models(command) => models::run(&command),
        Command::Doctor { format } => doctor::run(format),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "byrote", &mut script);
            out::print(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            out::print(&page)
        }
    }
}
