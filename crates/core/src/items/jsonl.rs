//! JSONL probe sets: one item per line, from raw fields to a validated item.

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
    /// Names of unknown fields.
    pub(super) unknown: BTreeSet<String>,
}

/// Reads the items of a JSONL file from its raw bytes. `text_at` returns the text for a `path`
/// field.
pub(super) fn parse(
    file: &str,
    raw: &[u8],
    limit: u64,
    text_at: &mut dyn FnMut(&str) -> Result<String, Wrong>,
) -> Result<Parsed, ItemError> {
    let mut lines = Lines::new(raw, limit).map_err(|problem| problem.at(file))?;
    let mut parsed = Parsed {
        items: Vec::new(),
        unknown: BTreeSet::new(),
    };
    let mut faults = Faults::default();
    let mut bytes = Vec::new();
    while let Some(line) = lines.next(&mut bytes).map_err(|problem| problem.at(file))? {
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let origin = Origin {
            file: file.to_owned(),
            line: Some(line.number),
        };
        let item = fields(&bytes, line).and_then(|mut fields| {
            parsed
                .unknown
                .extend(std::mem::take(&mut fields.unknown).into_keys());
            check(fields, &origin, &mut parsed.unknown, text_at)
        });
        match item {
            Ok(item) => parsed.items.push(item),
            Err(wrong) => faults.push(&origin, wrong),
        }
    }
    if faults.total > 0 {
        return Err(ItemError::Lines {
            faults: faults.kept,
            total: faults.total,
        });
    }
    if parsed.items.is_empty() {
        return Err(FileProblem::NoLines.at(file));
    }
    Ok(parsed)
}

/// The fields of a line as written. Values are untyped so that a type error can name its field;
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
            "the last line is incomplete, so the file looks truncated",
            "copy or export the file again, or remove the line",
        )
    };
    match bytes.trim_ascii_start().first() {
        Some(b'{') => {}
        Some(b'[') => {
            return Err(Wrong::line(
                "a JSON array, not an object",
                "write one object per line (jq -c '.[]' does that)",
            ));
        }
        _ => {
            return Err(Wrong::line(
                "not a JSON object",
                r#"write one object per line, such as {"id": "a-1", "text": "..."}"#,
            ));
        }
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && !line.ended => return Err(truncated()),
        Err(error) => {
            let (at, offset) = (
                error.valid_up_to(),
                line.offset + error.valid_up_to() as u64,
            );
            let problem = format!("not UTF-8 at byte {at} of the line, byte {offset} of the file");
            return Err(Wrong::line(problem, "save the file as UTF-8"));
        }
    };
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        // Drop serde_json's position: it sees every line as line 1.
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(what, _)| what);
        match error.classify() {
            Category::Eof if !line.ended => truncated(),
            Category::Eof => Wrong::line(
                "the JSON object isn't closed on its line",
                r"write one object per line, with line breaks in texts as \n",
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
        None => {
            return Err(Wrong::field(
                "id",
                "is missing",
                "give every item an id of its own",
            ));
        }
        Some(id) if id.trim().is_empty() => {
            return Err(Wrong::field(
                "id",
                "is empty",
                "give every item an id of its own",
            ));
        }
        Some(id) if id.chars().any(char::is_control) => {
            return Err(Wrong::field(
                "id",
                format!("contains control characters ({})", quoted(&id)),
                "remove them",
            ));
        }
        Some(id) => ItemId(id),
    };
    Ok(Item {
        id,
        kind: kind(fields.kind)?,
        content: content(
            fields.text,
            fields.path,
            fields.prefix,
            fields.suffix,
            text_at,
        )?,
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
        if value.trim().is_empty() {
            Err(Wrong::field(field, "is empty", fix))
        } else {
            Ok(())
        }
    };
    match (
        string("text", text)?,
        string("path", path)?,
        string("prefix", prefix)?,
        string("suffix", suffix)?,
    ) {
        (Some(text), None, None, None) => {
            empty("text", &text, r#"remove the line or give "path""#)?;
            Ok(Content::Text(text))
        }
        (None, Some(path), None, None) => {
            empty("path", &path, r#"name a text file or give "text""#)?;
            Ok(Content::Text(text_at(&path)?))
        }
        (None, None, Some(prefix), Some(suffix)) => {
            empty(
                "prefix",
                &prefix,
                r#"fill it in, or give the whole as "text""#,
            )?;
            empty(
                "suffix",
                &suffix,
                r#"fill it in, or give the whole as "text""#,
            )?;
            Ok(Content::Split { prefix, suffix })
        }
        (None, None, None, None) => Err(Wrong::line(
            "no text",
            r#"give "text", or "path", or "prefix" and "suffix""#,
        )),
        (None, None, Some(_), None) => Err(Wrong::field(
            "suffix",
            "is missing",
            r#""prefix" and "suffix" go together"#,
        )),
        (None, None, None, Some(_)) => Err(Wrong::field(
            "prefix",
            "is missing",
            r#""prefix" and "suffix" go together"#,
        )),
        (text, path, prefix, suffix) => {
            let given = [
                ("text", text),
                ("path", path),
                ("prefix", prefix),
                ("suffix", suffix),
            ];
            let names: Vec<String> = given
                .iter()
                .filter(|(_, value)| value.is_some())
                .map(|(name, _)| format!("\"{name}\""))
                .collect();
            let fix = r#"keep only "text", or "path", or "prefix" and "suffix""#;
            Err(Wrong::line(
                format!("text given more than once: {}", names.join(", ")),
                fix,
            ))
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
    let mut take = |name: &str| {
        string(
            &format!("opt_out.{name}"),
            fields.remove(name).filter(|value| !value.is_null()),
        )
    };
    let opt_out = OptOut {
        signal: take("signal")?,
        locator: take("locator")?,
        holder: take("holder")?,
        declared_at: take("declared_at")?,
    };
    if let Some(date) = opt_out.declared_at.as_deref().filter(|date| !is_date(date)) {
        let problem = format!("is {}, not an ISO 8601 date", quoted(date));
        return Err(Wrong::field(
            "opt_out.declared_at",
            problem,
            "write it like 2025-03-31",
        ));
    }
    unknown.extend(
        fields
            .into_iter()
            .map(|(name, _)| format!("opt_out.{name}")),
    );
    Ok(Some(opt_out))
}

/// Accepts a year, a month or a day, with or without a time.
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
            "write how often the text occurs in the training data, such as 16, or omit it",
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
            Err(Wrong::field(
                field,
                format!("is {}, not a string", type_of(&other)),
                fix,
            ))
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
                other => Err(wrong(format!(
                    "contains {}, not only strings",
                    type_of(&other)
                ))),
            })
            .collect(),
        Some(other) => Err(wrong(format!(
            "is {}, not a list of strings",
            type_of(&other)
        ))),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::LIMIT;
    use super::*;
    use proptest::prelude::*;

    fn parse_bytes(raw: &[u8]) -> Result<Parsed, ItemError> {
        parse("novels.jsonl", raw, LIMIT, &mut |path| {
            Ok(format!("text of {path}"))
        })
    }

    fn message(raw: &[u8]) -> String {
        parse_bytes(raw).unwrap_err().to_string()
    }

    #[test]
    fn every_field_reaches_its_item() {
        let raw = br#"{"id":"moby-1","text":"Call me\u0000 Ishmael.\r\n","kind":"canary","title":"Moby-Dick","author":"Melville",
            "source_url":"https://example.org/1","license":"CC0","tags":["novel","sea"],"repetitions":16,"matches":["moby-2"],
            "opt_out":{"signal":"robots.txt","locator":"https://example.org/robots.txt","holder":"H. M.","declared_at":"2025-03-31"}}"#;
        let raw: Vec<u8> = raw.iter().copied().filter(|&byte| byte != b'\n').collect();
        let parsed = parse_bytes(&raw).unwrap();
        let text = |text: &str| Some(text.to_owned());
        let expected = Item {
            id: ItemId("moby-1".to_owned()),
            kind: Kind::Canary,
            content: Content::Text("Call me\0 Ishmael.\r\n".to_owned()),
            title: text("Moby-Dick"),
            author: text("Melville"),
            source_url: text("https://example.org/1"),
            license: text("CC0"),
            tags: vec!["novel".to_owned(), "sea".to_owned()],
            opt_out: Some(OptOut {
                signal: text("robots.txt"),
                locator: text("https://example.org/robots.txt"),
                holder: text("H. M."),
                declared_at: text("2025-03-31"),
            }),
            repetitions: Some(16),
            matches: vec!["moby-2".to_owned()],
            origin: Origin {
                file: "novels.jsonl".to_owned(),
                line: Some(1),
            },
        };
        assert_eq!(parsed.items, [expected]);
        assert!(parsed.unknown.is_empty());
    }

    #[test]
    fn byte_order_mark_crlf_blank_lines_and_nulls_are_accepted() {
        let raw = b"\xef\xbb\xbf{\"id\":\"a\",\"text\":\"x\",\"title\":null,\"opt_out\":null}\r\n\r\n  \n{\"id\":\"b\",\"prefix\":\"p\",\"suffix\":\"s\",\"text\":null}\r\n{\"id\":\"c\",\"path\":\"t/c.txt\"}";
        let items = parse_bytes(raw).unwrap().items;
        let found: Vec<_> = items
            .iter()
            .map(|item| (item.id.0.as_str(), item.origin.line, &item.content))
            .collect();
        let split = Content::Split {
            prefix: "p".to_owned(),
            suffix: "s".to_owned(),
        };
        let (first, last) = (
            Content::Text("x".to_owned()),
            Content::Text("text of t/c.txt".to_owned()),
        );
        assert_eq!(
            found,
            [
                ("a", Some(1), &first),
                ("b", Some(4), &split),
                ("c", Some(5), &last)
            ]
        );
        assert_eq!(items[0].kind, Kind::OptOut);
        assert_eq!((&items[0].title, &items[0].opt_out), (&None, &None));
    }

    #[test]
    fn unknown_fields_are_ignored_and_reported() {
        let raw = b"{\"id\":\"a\",\"text\":\"x\",\"isbn\":{\"a\":[1]},\"opt_out\":{\"by\":1}}\n{\"id\":\"b\",\"text\":\"y\",\"isbn\":1}\n";
        let parsed = parse_bytes(raw).unwrap();
        assert_eq!(parsed.items.len(), 2);
        assert_eq!(
            parsed.unknown.into_iter().collect::<Vec<_>>(),
            ["isbn", "opt_out.by"]
        );
    }

    #[test]
    fn bad_lines_are_reported_with_line_field_and_fix() {
        let two_ids = r#"give every item an id of its own"#;
        let cases: Vec<(&[u8], String)> = vec![
            (br#"{"id":"a","text":""}"#, r#"field "text" is empty; remove the line or give "path""#.into()),
            (br#"{"id":"a","text":" \n"}"#, r#"field "text" is empty; remove the line or give "path""#.into()),
            (br#"{"id":"a","path":""}"#, r#"field "path" is empty; name a text file or give "text""#.into()),
            (
                br#"{"id":"a","prefix":"","suffix":"s"}"#,
                r#"field "prefix" is empty; fill it in, or give the whole as "text""#.into(),
            ),
            (
                br#"{"id":"a","prefix":"p","suffix":""}"#,
                r#"field "suffix" is empty; fill it in, or give the whole as "text""#.into(),
            ),
            (
                br#"{"id":"a","prefix":"p"}"#,
                r#"field "suffix" is missing; "prefix" and "suffix" go together"#.into(),
            ),
            (
                br#"{"id":"a","suffix":"s"}"#,
                r#"field "prefix" is missing; "prefix" and "suffix" go together"#.into(),
            ),
            (br#"{"id":"a"}"#, r#"no text; give "text", or "path", or "prefix" and "suffix""#.into()),
            (
                br#"{"id":"a","text":"t","prefix":"p"}"#,
                r#"text given more than once: "text", "prefix"; keep only "text", or "path", or "prefix" and "suffix""#.into(),
            ),
            (
                br#"{"id":"a","text":"t","path":"p"}"#,
                r#"text given more than once: "text", "path"; keep only "text", or "path", or "prefix" and "suffix""#.into(),
            ),
            (br#"{"text":"t"}"#, format!(r#"field "id" is missing; {two_ids}"#)),
            (br#"{"id":"","text":"t"}"#, format!(r#"field "id" is empty; {two_ids}"#)),
            (br#"{"id":17,"text":"t"}"#, r#"field "id" is a number, not a string; put it in quotes"#.into()),
            (
                br#"{"id":"a\nb","text":"t"}"#,
                r#"field "id" contains control characters ("a\nb"); remove them"#.into(),
            ),
            (br#"{"id":"a","text":["t"]}"#, r#"field "text" is a list, not a string; write one string"#.into()),
            (
                br#"{"id":"a","text":"t","kind":"book"}"#,
                r#"field "kind" is "book"; write "opt_out", "control" or "canary""#.into(),
            ),
            (
                br#"{"id":"a","text":"t","tags":"novel"}"#,
                r#"field "tags" is a string, not a list of strings; write it as ["one", "two"]"#.into(),
            ),
            (
                br#"{"id":"a","text":"t","matches":["x",null]}"#,
                r#"field "matches" contains null, not only strings; write it as ["one", "two"]"#.into(),
            ),
            (
                br#"{"id":"a","text":"t","opt_out":true}"#,
                r#"field "opt_out" is a boolean, not an object; write it as {"signal": "robots.txt", "locator": "..."}"#.into(),
            ),
            (
                br#"{"id":"a","text":"t","opt_out":{"signal":1}}"#,
                r#"field "opt_out.signal" is a number, not a string; put it in quotes"#.into(),
            ),
            (
                br#"{"id":"a","text":"t","opt_out":{"declared_at":"2025-02-30"}}"#,
                r#"field "opt_out.declared_at" is "2025-02-30", not an ISO 8601 date; write it like 2025-03-31"#.into(),
            ),
            (
                br#"{"id":"a","text":"t","repetitions":-1}"#,
                r#"field "repetitions" is not a whole number; write how often the text occurs in the training data, such as 16, or omit it"#.into(),
            ),
            (br#"{"id":"a","text":"t","text":"u"}"#, r#"field "text" is given twice; keep one"#.into()),
            (
                br#"[{"id":"a","text":"t"}]"#,
                "a JSON array, not an object; write one object per line (jq -c '.[]' does that)".into(),
            ),
            (
                br#"Call me Ishmael."#,
                r#"not a JSON object; write one object per line, such as {"id": "a-1", "text": "..."}"#.into(),
            ),
            (
                b"{\"id\":\"a\",\"text\":\"caf\xe9\"}",
                "not UTF-8 at byte 21 of the line, byte 43 of the file; save the file as UTF-8".into(),
            ),
            (
                br#"{"id":"a","text":"t"} {"id":"b"}"#,
                "not valid JSON at column 23 (trailing characters); correct the line or write it with a JSON library".into(),
            ),
            (
                br#"{"id":"a","text":"t"#,
                r"the JSON object isn't closed on its line; write one object per line, with line breaks in texts as \n".into(),
            ),
        ];
        for (line, expected) in cases {
            let raw = [b"{\"id\":\"0\",\"text\":\"x\"}\n", line, b"\n"].concat();
            assert_eq!(message(&raw), format!("novels.jsonl:2: {expected}"));
        }
    }

    #[test]
    fn an_incomplete_last_line_is_reported_as_truncation() {
        let whole =
            "{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"b\",\"text\":\"caf\u{e9} noir\"}".as_bytes();
        assert_eq!(parse_bytes(whole).unwrap().items.len(), 2);
        for cut in 23..whole.len() {
            assert_eq!(
                message(&whole[..cut]),
                "novels.jsonl:2: the last line is incomplete, so the file looks truncated; copy or export the file again, or remove the line",
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn at_most_twenty_bad_lines_are_listed_and_the_rest_counted() {
        let lines = |count: usize| "{\"id\":\"a\"}\n".repeat(count).into_bytes();
        assert_eq!(message(&lines(20)).lines().count(), 20);
        let listing = message(&lines(33));
        assert_eq!(listing.lines().count(), 21);
        assert!(
            listing
                .lines()
                .nth(19)
                .unwrap()
                .starts_with("novels.jsonl:20: no text;"),
            "{listing}"
        );
        assert_eq!(listing.lines().last(), Some("... and 13 more"));
    }

    #[test]
    fn a_file_without_items_is_an_error() {
        let expected = r#"novels.jsonl: contains no items; remove the file or add a line such as {"id": "a-1", "text": "..."}"#;
        for raw in [&b""[..], b"\n\r\n \n", b"\xef\xbb\xbf"] {
            assert_eq!(message(raw), expected);
        }
    }

    #[test]
    fn a_line_of_many_megabytes_is_read_completely() {
        let text = "word ".repeat(4 << 20);
        let raw =
            format!("{{\"id\":\"a\",\"text\":\"{text}\"}}\n{{\"id\":\"b\",\"text\":\"y\"}}\n");
        let items = parse_bytes(raw.as_bytes()).unwrap().items;
        assert!(items[0].content == Content::Text(text) && items[1].origin.line == Some(2));
    }

    #[test]
    fn years_months_days_and_times_are_dates() {
        for good in ["2025", "2025-03", "2025-03-31", "2025-03-31T10:00:00Z"] {
            assert!(is_date(good), "{good}");
        }
        for bad in [
            "",
            "soon",
            "31.03.2025",
            "2025-13",
            "2025-02-30",
            "20\u{e9}\u{e9}",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_bytes(&raw);
        }

        #[test]
        fn changed_bytes_in_a_valid_file_never_panic(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut raw = "{\"id\":\"a\",\"text\":\"caf\u{e9}\",\"tags\":[\"x\"],\"opt_out\":{\"declared_at\":\"2025-03-31\"}}\n{\"id\":\"b\",\"prefix\":\"\\ud83d\\ude00\",\"suffix\":\"s\",\"repetitions\":3}\n".as_bytes().to_vec();
            for (index, byte) in changes {
                let at = index.index(raw.len());
                raw[at] = byte;
            }
            raw.truncate(cut.index(raw.len() + 1));
            if let Ok(parsed) = parse_bytes(&raw) {
                prop_assert!(parsed.items.iter().all(|item| !item.id.0.is_empty()));
            }
        }
    }
}
