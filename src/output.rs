//! Everything that byrote prints or writes: results on standard output or in files, the rest on standard error.

use crate::Outcome;
use crate::cli::OutputFormat;
use anyhow::{Context, Result, bail};
use byrote_core::error_line::error_line;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Prints a result on standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<Outcome> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(Outcome::Done)
}

/// Prints a record as JSON, or as the text that is made of it.
pub(crate) fn record<T: Serialize>(
    format: OutputFormat,
    record: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<Outcome> {
    match format {
        OutputFormat::Json => {
            print(format!("{}\n", serde_json::to_string_pretty(record)?).as_bytes())
        }
        OutputFormat::Text => print(text(record).as_bytes()),
    }
}

/// Prints a result whose exit code is decided: a reader that goes away, as `head` does, must not change that code.
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

/// Fails if the file exists: commands that create a file check this before they work, and never overwrite.
pub(crate) fn must_be_new(path: &Path) -> Result<()> {
    if path.exists() {
        bail!(
            "{}: is there already and is not written over; give another --out",
            path.display()
        );
    }
    Ok(())
}

/// Writes a new file, and removes it again if it can't be written in full.
pub(crate) fn create(text: &str, path: &Path) -> Result<()> {
    let cannot = || format!("{}: can't be written; give another --out", path.display());
    let mut file = File::create_new(path).with_context(cannot)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(path);
    }
    written.with_context(cannot)
}

/// Writes a file atomically: to a temporary file in the same directory, which is then renamed. Anything but a regular file,
/// such as `/dev/null` or a pipe, is written to directly.
pub(crate) fn write(bytes: &[u8], path: &Path) -> Result<()> {
    let cannot = || format!("{}: can't be written", path.display());
    // A link is kept, and its target is replaced.
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

/// Temporary files with the usual permissions; the default is that only the owner can read them.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".byrote-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// Prints a message on standard error, and goes on if standard error is closed.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints an error with its causes on standard error.
pub(crate) fn error(error: &anyhow::Error) {
    note(format_args!("error: {}", in_a_line(error)));
}

/// An error with its causes, in one line.
pub(crate) fn in_a_line(error: &anyhow::Error) -> String {
    error_line(error.as_ref())
}

/// Whether the reader of the output went away, as `head` does.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether standard output shows colors.
pub(crate) fn color() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
