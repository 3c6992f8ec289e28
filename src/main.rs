//! The byrote program: reads the command line, runs one command, maps its outcome to an exit code.

mod cli;
mod cmd;

use clap::Parser;
use std::process::ExitCode;

/// How a command ended. The only place that turns an outcome into a number is [`main`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It passed, or did what was asked.
    Done,
    /// The policy blocks.
    Blocked,
    /// It could not be decided, or not everything asked for was measured.
    Undecided,
    /// Stopped by Ctrl-C; what was scored is on disk.
    #[cfg_attr(not(feature = "native"), expect(dead_code, reason = "only scoring takes long enough to be stopped"))]
    Interrupted,
}

fn main() -> ExitCode {
    // clap itself exits with 2 on wrong usage, and with 0 on --help and --version.
    let outcome = cmd::run(cli::Cli::parse());
    ExitCode::from(match outcome {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Blocked) => 1,
        Ok(Outcome::Undecided) => 2,
        Ok(Outcome::Interrupted) => 130,
        Err(error) if cmd::out::is_broken_pipe(&error) => 0,
        Err(error) => {
            cmd::out::error(&error);
            2
        }
    })
}
