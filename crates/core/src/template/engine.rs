//! Renders Jinja as transformers does, with limits that no legitimate template reaches.

use super::TemplateError;
use jiff::civil::{DateTime, datetime};
use minijinja::value::{Kwargs, Rest};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// Maximum size of a template's source, in bytes. Published ones have up to 20 thousand.
pub(super) const LONGEST: usize = 1 << 20;
/// Maximum steps of a rendering. Published templates take a few thousand for a short conversation.
const FUEL: u64 = 1_000_000;
/// Maximum depth of recursive macros and loops.
const DEPTH: usize = 64;
/// Maximum size of the output, in bytes.
const OUTPUT: usize = 1 << 20;

/// The date that templates see, fixed so that the same run always gives the same tokens. Llama 3.1
/// falls back on the same date.
fn today() -> DateTime {
    datetime(2024, 7, 26, 0, 0, 0, 0)
}

/// Renders `source`, the content of `file`.
///
/// # Errors
/// When it isn't a template, fails, or exceeds the limit on steps, depth or output.
pub(super) fn render(file: &str, source: &str, context: Value) -> Result<String, TemplateError> {
    if source.len() > LONGEST {
        return Err(TemplateError::TooLong {
            file: file.to_owned(),
            bytes: source.len(),
            most: LONGEST,
        });
    }
    let fail = |reason: String| TemplateError::Render {
        file: file.to_owned(),
        reason,
    };
    let source = without_generation_tags(source);
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_recursion_limit(DEPTH);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(print);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", to_json);
    let template = environment
        .template_from_named_str("template", &source)
        .map_err(|e| fail(say(&e)))?;
    let mut out = Bounded {
        bytes: Vec::new(),
        full: false,
    };
    match template.render_captured_to(context, &mut out) {
        Ok(_) => {}
        Err(_) if out.full => return Err(fail(format!("its output has more than {OUTPUT} bytes"))),
        Err(e) => return Err(fail(say(&e))),
    }
    String::from_utf8(out.bytes).map_err(|e| fail(e.to_string()))
}

/// The problem and its line, in one line.
fn say(error: &Error) -> String {
    let line = error
        .line()
        .map(|line| format!(" (line {line} of the template)"))
        .unwrap_or_default();
    let what = match error.kind() {
        ErrorKind::OutOfFuel => format!("it doesn't end within {FUEL} steps"),
        kind => error
            .detail()
            .map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
    };
    format!("{what}{line}")
}

/// Output that stops at its size limit.
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > OUTPUT {
            self.full = true;
            return Err(io::Error::other("too long"));
        }
        self.bytes.extend(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// transformers marks the assistant's words with `{% generation %}` for training; the tag does
/// nothing otherwise. The characters next to the tag's name control white space, and are kept.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        // Search after the `{%`: the two might share their `%`.
        let Some(end) = tag[2..].find("%}").map(|end| end + 4) else {
            break;
        };
        let (tag, after) = tag.split_at(end);
        let inner = tag[2..tag.len() - 2].trim_matches(['-', '+']).trim();
        match inner {
            "generation" => out.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif")),
            _ => {
                // A `%}` inside a string doesn't end a tag; continuing after `{%` copies it
                // unchanged.
                out.push_str("{%");
                rest = &rest[at + 2..];
                continue;
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Values as Python prints them.
fn print(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let word = match (value.is_none(), bool::try_from(value.clone())) {
        (true, _) => "None",
        (_, Ok(truth)) if value.kind() == minijinja::value::ValueKind::Bool => {
            if truth {
                "True"
            } else {
                "False"
            }
        }
        _ => return minijinja::escape_formatter(out, state, value),
    };
    out.write_str(word).map_err(Error::from)
}

fn raise(message: String) -> Result<String, Error> {
    Err(Error::new(
        ErrorKind::InvalidOperation,
        format!("the template refuses the conversation: {message}"),
    ))
}

fn strftime_now(format: String) -> Result<String, Error> {
    jiff::fmt::strtime::format(&format, today()).map_err(|e| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("strftime_now({format:?}): {e}"),
        )
    })
}

/// JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it.
fn to_json(value: &Value, _: Rest<Value>, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent").ok().flatten();
    // ensure_ascii, sort_keys and separators have their defaults in all published templates.
    let _ = (
        options.get::<Option<Value>>("ensure_ascii"),
        options.get::<Option<Value>>("separators"),
    );
    let bad = |e: serde_json::Error| Error::new(ErrorKind::BadSerialization, e.to_string());
    let mut out = Vec::new();
    match indent {
        Some(n) => {
            let spaces = " ".repeat(n.min(16));
            let pretty = PrettyFormatter::with_indent(spaces.as_bytes());
            value
                .serialize(&mut Serializer::with_formatter(&mut out, pretty))
                .map_err(bad)?;
        }
        None => value
            .serialize(&mut Serializer::with_formatter(&mut out, Spaced))
            .map_err(bad)?,
    }
    String::from_utf8(out).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))
}

/// One line, with a space after commas and colons.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
