//! The byrote program: reads the command line, runs one command, maps its outcome to an exit code.

#[cfg(feature = "native")]
mod benchmark;
mod cli;
mod cmd;
mod inspection;
mod output;
#[cfg(feature = "native")]
mod probe_job;
#[cfg(feature = "native")]
mod progress;
mod render;
mod reports;
#[cfg(feature = "native")]
mod score_lines;

use clap::Parser;
use std::process::ExitCode;

/// How a command ended, from the best to the worst: a block is final even if something else is
/// undecided. The only place that turns an outcome into a number is [`main`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It passed, or did what was asked.
    Done,
    /// It could not be decided, or not everything asked for was measured.
    Undecided,
    /// The policy blocks.
    Blocked,
    /// Stopped by Ctrl-C; what was scored is on disk.
    #[cfg_attr(
        not(feature = "native"),
        expect(dead_code, reason = "only scoring takes long enough to be stopped")
    )]
    Interrupted,
}

fn main() -> ExitCode {
    one_thread_per_batch();
    // clap itself exits with 2 on wrong usage, and with 0 on --help and --version.
    let outcome = cmd::run(cli::Cli::parse());
    ExitCode::from(match outcome {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Blocked) => 1,
        Ok(Outcome::Undecided) => 2,
        Ok(Outcome::Interrupted) => 130,
        Err(error) if output::is_broken_pipe(&error) => 0,
        Err(error) => {
            output::error(&error);
            2
        }
    })
}

/// Turns off Candle's own threads for elementwise operations, which serialize whoever calls them: byrote scores one batch
/// a thread instead, which is faster and gives the same numbers for any number of threads.
#[cfg(feature = "native")]
fn one_thread_per_batch() {
    #[expect(
        unsafe_code,
        reason = "first statement of the program: no other thread can be reading the environment"
    )]
    // SAFETY: nothing has started a thread yet.
    unsafe {
        std::env::set_var("CANDLE_NUM_THREADS", "1");
    }
}

#[cfg(not(feature = "native"))]
fn one_thread_per_batch() {}
