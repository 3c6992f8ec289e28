//! JSON that says the same and does nothing: what acts on a terminal, in a CI log or on a reader's eye is written as
//! `\u....` inside its strings, so that every reader of JSON gets back exactly the text that went in.

use super::acts_unseen;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// Indented, with a line feed at the end.
///
/// # Errors
/// When the value can't be JSON, as a map whose keys are no strings.
pub(crate) fn pretty<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(
        &mut out,
        Inert {
            pretty: Some(PrettyFormatter::new()),
        },
    ))?;
    out.push(b'\n');
    Ok(out)
}

/// In one line, without its end.
///
/// # Errors
/// As [`pretty`].
pub(crate) fn compact<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(
        &mut out,
        Inert { pretty: None },
    ))?;
    Ok(out)
}

struct Inert<'a> {
    /// Absent: everything in one line.
    pretty: Option<PrettyFormatter<'a>>,
}

/// Hands a step of the layout on.
macro_rules! as_laid_out {
    ($($step:ident($($name:ident: $type:ty),*) else $compact:expr;)+) => {$(
        fn $step<W: ?Sized + Write>(&mut self, out: &mut W $(, $name: $type)*) -> io::Result<()> {
            match &mut self.pretty {
                Some(pretty) => pretty.$step(out $(, $name)*),
                None => {
                    let plain: &[u8] = $compact;
                    out.write_all(plain)
                }
            }
        }
    )+};
}

impl Formatter for Inert<'_> {
    as_laid_out! {
        begin_array() else b"[";
        end_array() else b"]";
        begin_array_value(first: bool) else if first { b"" } else { b"," };
        end_array_value() else b"";
        begin_object() else b"{";
        end_object() else b"}";
        begin_object_key(first: bool) else if first { b"" } else { b"," };
        begin_object_value() else b":";
        end_object_value() else b"";
    }

    /// `serde_json` has already escaped quotes, backslashes and what is below U+0020.
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        let mut before = ' ';
        for (at, c) in fragment.char_indices() {
            // The second `#` of `##[command]`, which a CI log would obey anywhere in a line.
            let acts = c.is_control() || acts_unseen(c) || (c == '#' && before == '#');
            if acts {
                out.write_all(&fragment.as_bytes()[written..at])?;
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
                written = at + c.len_utf8();
            }
            before = c;
        }
        out.write_all(&fragment.as_bytes()[written..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn every_text_comes_back_and_none_acts() {
        let texts = [
            "plain é 漢 ☂ 🜁",
            "\u{1b}[31mred\u{9b}0m\u{7f}",
            "two\r\nlines\t\0",
            "fdp.\u{202e}exe\u{200b}\u{feff}\u{2028}\u{2029}\u{e0041}",
            "##[add-mask]x ### ##vso[task.complete]",
            "\"quoted\" \\ back",
        ];
        for text in texts {
            let value =
                json!({ text: [text, { "a": text }], "n": [], "o": {}, "x": [1.5, null, true] });
            for bytes in [pretty(&value).unwrap(), compact(&value).unwrap()] {
                assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
                let said = String::from_utf8(bytes).unwrap();
                assert!(!said.contains("##"), "{said}");
                assert!(
                    !said
                        .chars()
                        .any(|c| (c.is_control() && c != '\n') || acts_unseen(c)),
                    "{said:?}"
                );
            }
        }
    }

    #[test]
    fn plain_values_look_as_from_serde_json() {
        let value = json!({"a": [1, 2, {"b": []}], "c": {}, "d": "x"});
        assert_eq!(
            compact(&value).unwrap(),
            serde_json::to_vec(&value).unwrap()
        );
        assert_eq!(
            pretty(&value).unwrap(),
            [serde_json::to_vec_pretty(&value).unwrap(), b"\n".to_vec()].concat()
        );
    }
}
