//! JSONL probe sets: one item a line, from raw fields to a checked item.

use super::error::{Faults, FileProblem, ItemError, Wrong, quoted};
use super::open::{Line, Lines};
use super::{Content, Item, ItemId, Kind, OptOut, Origin};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::error::Category;
use std::collections::{BTreeMap, BTreeSet};

/// The items of one file.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) items: Vec<Item>,
    /// Names of fields that aren't known here.
    pub(super) unknown: BTreeSet<String>,
}

/// Reads the items of a JSONL file from its raw bytes. `text_at` gives the text for a `path` field.
pub(super) fn parse(
    file: &str,
    raw: &[u8],
    limit: u64,
    text_at: &mut dyn FnMut(&str) -> Result<String, Wrong>,
) -> Result<Parsed, ItemError> {
    let mut lines = Lines::new(raw, limit).map_err(|problem| problem.at(file))?;
    let mut parsed = Parsed { items: Vec::new(), unknown: BTreeSet::new() };
    let mut faults = Faults::default();
    let mut bytes = Vec::new();
    while let Some(line) = lines.next(&mut bytes).map_err(|problem| problem.at(file))? {
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let origin = Origin { file: file.to_owned(), line: Some(line.number) };
        let item = fields(&bytes, line).and_then(|mut fields| {
            parsed.unknown.extend(std::mem::take(&mut fields.unknown).into_keys());
            check(fields, &origin, &mut parsed.unknown, text_at)
        });
        match item {
            Ok(item) => parsed.items.push(item),
            Err(wrong) => faults.push(&origin, wrong),
        }
    }
    if faults.total > 0 {
        return Err(ItemError::Lines { faults: faults.kept, total: faults.total });
    }
    if parsed.items.is_empty() {
        return Err(FileProblem::NoLines.at(file));
    }
    Ok(parsed)
}

/// A line as it was written. Values are untyped, so that a wrong type can be told by its field's name;
/// `null` counts as absent.
#[derive(Deserialize)]
struct Fields {
    id: Option<Value>,
    kind: Option<Value>,
    text: Option<Value>,
    path: Option<Value>,
    prefix: Option<Value>,
    suffix: Option<Value>,
    title: Option<Value>,
    author: Option<Value>,
    source_url: Option<Value>,
    license: Option<Value>,
    tags: Option<Value>,
    opt_out: Option<Value>,
    repetitions: Option<Value>,
    matches: Option<Value>,
    #[serde(flatten)]
    unknown: BTreeMap<String, IgnoredAny>,
}

fn fields(bytes: &[u8], line: Line) -> Result<Fields, Wrong> {
    let truncated = || {
        Wrong::line(
            "the last line breaks off, so the file looks truncated",
            "copy or export the file again, or remove the line",
        )
    };
    match bytes.trim_ascii_start().first() {
        Some(b'{') => {}
        Some(b'[') => {
            return Err(Wrong::line("a JSON array, not an object", "write one object a line (jq -c '.[]' does that)"));
        }
        _ => {
            return Err(Wrong::line(
                "not a JSON object",
                r#"write one object a line, such as {"id": "a-1", "text": "..."}"#,
            ));
        }
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && !line.ended => return Err(truncated()),
        Err(error) => {
            let (at, offset) = (error.valid_up_to(), line.offset + error.valid_up_to() as u64);
            let problem = format!("not UTF-8 at byte {at} of the line, byte {offset} of the file");
            return Err(Wrong::line(problem, "save the file as UTF-8"));
        }
    };
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        // The place is told in our own words: to serde_json every line is line 1.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
        match error.classify() {
            Category::Eof if !line.ended => truncated(),
            Category::Eof => Wrong::line(
                "the JSON object isn't closed on its line",
                r"write one object a line, with line breaks in texts as \n",
            ),
            Category::Data if message.starts_with("duplicate field") => {
                let name = message.split('`').nth(1).unwrap_or_default();
                Wrong::field(name, "is given twice", "keep one")
            }
            _ => Wrong::line(
                format!("not valid JSON at column {} ({message})", error.column()),
                "correct the line or write it with a JSON library",
            ),
        }
    })
}

fn check(
    fields: Fields,
    origin: &Origin,
    unknown: &mut BTreeSet<String>,
    text_at: &mut dyn FnMut(&str) -> Result<String, Wrong>,
) -> Result<Item, Wrong> {
    let id = match string("id", fields.id)? {
        None => return Err(Wrong::field("id", "is missing", "give every item an id of its own")),
        Some(id) if id.trim().is_empty() => {
            return Err(Wrong::field("id", "is empty", "give every item an id of its own"));
        }
        Some(id) if id.chars().any(char::is_control) => {
            return Err(Wrong::field("id", format!("holds control characters ({})", quoted(&id)), "remove them"));
        }
        Some(id) => ItemId(id),
    };
    Ok(Item {
        id,
        kind: kind(fields.kind)?,
        content: content(fields.text, fields.path, fields.prefix, fields.suffix, text_at)?,
        title: string("title", fields.title)?,
        author: string("author", fields.author)?,
        source_url: string("source_url", fields.source_url)?,
        license: string("license", fields.license)?,
        tags: strings("tags", fields.tags)?,
        opt_out: opt_out(fields.opt_out, unknown)?,
        repetitions: repetitions(fields.repetitions)?,
        matches: strings("matches", fields.matches)?,
        origin: origin.clone(),
    })
}

fn content(
    text: Option<Value>,
    path: Option<Value>,
    prefix: Option<Value>,
    suffix: Option<Value>,
    text_at: &mut dyn FnMut(&str) -> Result<String, Wrong>,
) -> Result<Content, Wrong> {
    let empty = |field, value: &str, fix: &str| {
        if value.trim().is_empty() { Err(Wrong::field(field, "is empty", fix)) } else { Ok(()) }
    };
    match (string("text", text)?, string("path", path)?, string("prefix", prefix)?, string("suffix", suffix)?) {
        (Some(text), None, None, None) => {
            empty("text", &text, r#"remove the line or give "path""#)?;
            Ok(Content::Text(text))
        }
        (None, Some(path), None, None) => {
            empty("path", &path, r#"name a text file or give "text""#)?;
            Ok(Content::Text(text_at(&path)?))
        }
        (None, None, Some(prefix), Some(suffix)) => {
            empty("prefix", &prefix, r#"fill it in, or give the whole as "text""#)?;
            empty("suffix", &suffix, r#"fill it in, or give the whole as "text""#)?;
            Ok(Content::Split { prefix, suffix })
        }
        (None, None, None, None) => Err(Wrong::line("no text", r#"give "text", or "path", or "prefix" and "suffix""#)),
        (None, None, Some(_), None) => {
            Err(Wrong::field("suffix", "is missing", r#""prefix" and "suffix" go together"#))
        }
        (None, None, None, Some(_)) => {
            Err(Wrong::field("prefix", "is missing", r#""prefix" and "suffix" go together"#))
        }
        (text, path, prefix, suffix) => {
            let given = [("text", text), ("path", path), ("prefix", prefix), ("suffix", suffix)];
            let names: Vec<String> =
                given.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| format!("\"{name}\"")).collect();
            let fix = r#"keep only "text", or "path", or "prefix" and "suffix""#;
            Err(Wrong::line(format!("text given more than once: {}", names.join(", ")), fix))
        }
    }
}

fn kind(value: Option<Value>) -> Result<Kind, Wrong> {
    Ok(match string("kind", value)?.as_deref() {
        None => Kind::default(),
        Some("opt_out") => Kind::OptOut,
        Some("control") => Kind::Control,
        Some("canary") => Kind::Canary,
        Some(other) => {
            let fix = r#"write "opt_out", "control" or "canary""#;
            return Err(Wrong::field("kind", format!("is {}", quoted(other)), fix));
        }
    })
}

fn opt_out(value: Option<Value>, unknown: &mut BTreeSet<String>) -> Result<Option<OptOut>, Wrong> {
    let mut fields = match value {
        None => return Ok(None),
        Some(Value::Object(fields)) => fields,
        Some(other) => {
            return Err(Wrong::field(
                "opt_out",
                format!("is {}, not an object", type_of(&other)),
                r#"write it as {"signal": "robots.txt", "locator": "..."}"#,
            ));
        }
    };
    let mut take =
        |name: &str| string(&format!("opt_out.{name}"), fields.remove(name).filter(|value| !value.is_null()));
    let opt_out = OptOut {
        signal: take("signal")?,
        locator: take("locator")?,
        holder: take("holder")?,
        declared_at: take("declared_at")?,
    };
    if let Some(date) = opt_out.declared_at.as_deref().filter(|date| !is_date(date)) {
        let problem = format!("is {}, not an ISO 8601 date", quoted(date));
        return Err(Wrong::field("opt_out.declared_at", problem, "write it like 2025-03-31"));
    }
    unknown.extend(fields.into_iter().map(|(name, _)| format!("opt_out.{name}")));
    Ok(Some(opt_out))
}

/// A year, a month or a day, with or without a time.
fn is_date(text: &str) -> bool {
    let day = text.split(['T', ' ']).next().unwrap_or_default();
    let whole = match day.len() {
        4 => format!("{day}-01-01"),
        7 => format!("{day}-01"),
        _ => day.to_owned(),
    };
    whole.parse::<jiff::civil::Date>().is_ok()
}

fn repetitions(value: Option<Value>) -> Result<Option<u32>, Wrong> {
    let Some(value) = value else { return Ok(None) };
    match value.as_u64().map(u32::try_from) {
        Some(Ok(count)) => Ok(Some(count)),
        _ => Err(Wrong::field(
            "repetitions",
            "is not a whole number",
            "write how often the text stood in the training data, such as 16, or leave it out",
        )),
    }
}

fn string(field: &str, value: Option<Value>) -> Result<Option<String>, Wrong> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            let fix = match other {
                Value::Number(_) | Value::Bool(_) => "put it in quotes",
                _ => "write one string",
            };
            Err(Wrong::field(field, format!("is {}, not a string", type_of(&other)), fix))
        }
    }
}

fn strings(field: &str, value: Option<Value>) -> Result<Vec<String>, Wrong> {
    let wrong = |what: String| Wrong::field(field, what, r#"write it as ["one", "two"]"#);
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => values
            .into_iter()
            .map(|value| match value {
                Value::String(text) => Ok(text),
                other => Err(wrong(format!("holds {}, not only strings", type_of(&other)))),
            })
            .collect(),
        Some(other) => Err(wrong(format!("is {}, not a list of strings", type_of(&other)))),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
