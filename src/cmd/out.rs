//! Everything that byrote prints goes through here: standard output for results, standard error for the rest.

use crate::Outcome;
use anyhow::{Context, Result};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Prints a result on standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<Outcome> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(Outcome::Done)
}

/// Prints what a decision stands beside. That whoever read it went away, as `head` does, must not change the exit code.
pub(crate) fn show(bytes: &[u8]) -> Result<()> {
    match print(bytes) {
        Err(error) if !is_broken_pipe(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Writes a result to a file, or shows it on standard output.
pub(crate) fn deliver(bytes: &[u8], file: Option<&Path>) -> Result<Outcome> {
    match file {
        Some(path) if path != Path::new("-") => write(bytes, path)?,
        _ => show(bytes)?,
    }
    Ok(Outcome::Done)
}

/// Writes a file that is whole or not there: under a temporary name in its folder, then renamed. What is no regular file, such
/// as `/dev/null` or a pipe, is written to as it is.
pub(crate) fn write(bytes: &[u8], path: &Path) -> Result<()> {
    let cannot = || format!("{}: can't be written", path.display());
    // A link stays one: what it points to is replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if target.exists() && !target.is_file() {
        return fs::write(&target, bytes).with_context(cannot);
    }
    let folder = target
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut temp = temporary().tempfile_in(folder).with_context(cannot)?;
    temp.write_all(bytes)
        .and_then(|()| temp.as_file().sync_all())
        .with_context(cannot)?;
    temp.persist(&target)
        .map_err(|failed| failed.error)
        .with_context(cannot)?;
    Ok(())
}

/// Temporary files that others may read as they may any file made here; without it nobody else could.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".byrote-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
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
            said = if said.is_empty() {
                cause
            } else {
                format!("{said}: {cause}")
            };
        }
    }
    said
}

/// Whether whoever read our output went away, as `head` does.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether standard output takes colours.
pub(crate) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
