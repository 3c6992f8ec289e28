//! The items as CSV (RFC 4180): a line of names, then a row an item, lines ending in CR LF. Natural logs; what wasn't measured
//! is empty; infinities are `inf` and `-inf`.
//!
//! Spreadsheets take cells that begin with `= + - @` for formulas, so that such texts get an apostrophe in front, by which
//! spreadsheets know a text. Numbers stay numbers. The first column is always quoted: no row begins with `::error::`, which a
//! CI log would obey.

use super::columns::{COLUMNS, Cell, Row};
use super::standing::Standings;
use super::{Report, escape};

/// The whole table. Pure: the same report gives the same bytes.
pub fn render(report: &Report) -> Vec<u8> {
    let standings = Standings::of(report);
    let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    let mut out = names.join(",");
    out.push_str("\r\n");
    for item in &report.items {
        let row = Row::of(report, &standings, item);
        for (n, column) in COLUMNS.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            match row.cell(column) {
                None => {}
                Some(Cell::Text(value)) => out.push_str(&text(&value, n == 0)),
                Some(Cell::Count(value)) => out.push_str(&value.to_string()),
                // The shortest digits that give the number back.
                Some(Cell::Number(value)) => out.push_str(&value.to_string()),
                Some(Cell::Flag(value)) => out.push_str(&value.to_string()),
            }
        }
        out.push_str("\r\n");
    }
    out.into_bytes()
}

/// A text as a cell: its control characters are written out, so that a row is a line, and an apostrophe stands before what a
/// spreadsheet would take for a formula.
pub(crate) fn text(value: &str, always_quoted: bool) -> String {
    let formula = value.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    let guard = if formula { "'" } else { "" };
    let value = escape::log(value);
    if always_quoted || formula || value.contains(['"', ',', '\'', ';']) || value.starts_with(':') {
        format!("\"{guard}{}\"", value.replace('"', "\"\""))
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn texts_are_quoted_guarded_and_of_one_line() {
        for (value, expected) in [
            ("plain id", "plain id"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("+49", "\"'+49\""),
            ("-2", "\"'-2\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\\u{9}=1\""),
            ("＝1", "\"'＝1\""),
            ("\r=1", "\"'\\u{d}=1\""),
            ("a\r\nb", "a\\u{d}\\u{a}b"),
            ("::error::x", "\"::error::x\""),
            ("##[group]", "#\\u{23}[group]"),
        ] {
            assert_eq!(text(value, false), expected);
        }
    }

    #[test]
    fn a_row_an_item_and_no_row_begins_with_a_command() {
        let report = fixture::report();
        let text = String::from_utf8(render(&report)).unwrap();
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), report.items.len() + 1);
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
        assert!(lines[1..].iter().all(|line| line.starts_with('"')));
        let found = lines
            .iter()
            .find(|line| line.starts_with("\"lyrics/umber-song\""))
            .unwrap();
        assert!(
            found.starts_with("\"lyrics/umber-song\",opt_out,extractable,denied,"),
            "{found}"
        );
        let unlikely = lines
            .iter()
            .find(|line| line.starts_with("\"letters/too-short\""))
            .unwrap();
        assert!(unlikely.contains(",inconclusive,,"), "{unlikely}");
        fixture::assert_inert_and_redacted(&text.replace("\r\n", "\n"));
    }
}
