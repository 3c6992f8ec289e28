//! Everything that byrote prints goes through here: standard output for results, standard error for the rest.

use crate::Outcome;
use anyhow::{Context, Result};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Prints a result on standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<Outcome> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(Outcome::Done)
}

/// Prints a result on standard output, or writes it to a file.
pub(crate) fn deliver(bytes: &[u8], file: Option<&Path>) -> Result<Outcome> {
    match file {
        Some(path) if path != Path::new("-") => {
            std::fs::write(path, bytes).with_context(|| format!("{}: can't be written", path.display()))?;
            Ok(Outcome::Done)
        }
        _ => print(bytes),
    }
}

/// Says something on standard error. That nobody may be listening there is no reason to stop.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says what went wrong and why.
pub(crate) fn error(error: &anyhow::Error) {
    note(format_args!("error: {}", in_a_line(error)));
}

/// What went wrong and why, in one line.
pub(crate) fn in_a_line(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Errors often repeat what caused them.
        if !said.contains(&cause) {
            said = if said.is_empty() { cause } else { format!("{said}: {cause}") };
        }
    }
    said
}

/// Whether whoever read our output went away, as `head` does.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether standard output takes colours.
pub(crate) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
