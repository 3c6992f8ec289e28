//! Where a text may be cut: at line ends and at ends of sentences.

use std::ops::Range;

/// A full stop after these words doesn't end a sentence.
const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "st", "prof", "gen", "col", "capt", "lt", "rev", "hon", "vs", "vol",
    "fig", "art", "sec", "pp", "cf", "eg", "ie", "approx", "dept", "bzw", "nr", "abs", "mme",
    "mlle",
];

/// The sentences of a text in order, as byte ranges without surrounding white space. A line break
/// ends a sentence, so wrapped text must be reflowed first.
pub(super) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    for line in text.split_inclusive('\n') {
        let mut start = from;
        for end in ends(line) {
            push(text, start..from + end, &mut found);
            start = from + end;
        }
        from += line.len();
        push(text, start..from, &mut found);
    }
    found
}

fn push(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let whole = &text[range.clone()];
    let start = range.start + whole.len() - whole.trim_start().len();
    let end = start + whole.trim().len();
    if start < end {
        found.push(start..end);
    }
}

/// Positions in a line, except its end, where a sentence ends.
fn ends(line: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let spaced = matches!(c, '.' | '!' | '?' | '…');
        if !spaced && !matches!(c, '。' | '！' | '？') {
            continue;
        }
        let mut end = at + c.len_utf8();
        while let Some((at, c)) = chars.next_if(|&(_, c)| is_closing(c)) {
            end = at + c.len_utf8();
        }
        let rest = &line[end..];
        let next = rest.trim_start().chars().find(|c| !is_opening(*c));
        let begins = next.is_some_and(|c| !c.is_lowercase());
        if !spaced
            || rest.starts_with(char::is_whitespace)
                && begins
                && !(c == '.' && abbreviates(&line[..at], next))
        {
            ends.push(end);
        }
    }
    ends
}

/// Whether a full stop after `before` belongs to its last word.
fn abbreviates(before: &str, next: Option<char>) -> bool {
    let word = before
        .rsplit(|c: char| !c.is_alphabetic())
        .next()
        .unwrap_or_default();
    let mut letters = word.chars();
    let initial = letters.next().is_some_and(char::is_uppercase) && letters.next().is_none();
    let numbered = word.eq_ignore_ascii_case("no") && next.is_some_and(|c| c.is_ascii_digit());
    initial
        || numbered
        || ABBREVIATIONS
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
}

fn is_closing(c: char) -> bool {
    matches!(
        c,
        '.' | '!'
            | '?'
            | '…'
            | '。'
            | '！'
            | '？'
            | '"'
            | '\''
            | '”'
            | '’'
            | '»'
            | ')'
            | ']'
            | '」'
            | '』'
    )
}

/// Characters that may precede the first letter of a sentence.
pub(super) fn is_opening(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '“' | '‘' | '„' | '«' | '(' | '[' | '「' | '『' | '*' | '_' | '-' | '–' | '—'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_at_full_stops_and_line_ends() {
        for (text, expected) in [
            ("One. Two! Three?", &["One.", "Two!", "Three?"][..]),
            (
                "He said \"No.\" She left.",
                &["He said \"No.\"", "She left."],
            ),
            (
                "\"Stop!\" he cried. (So.) \"And?\"",
                &["\"Stop!\" he cried.", "(So.)", "\"And?\""],
            ),
            (
                "Mr. Ott paid 3.50 to J. P. Bly, No. 4 St. John's.",
                &["Mr. Ott paid 3.50 to J. P. Bly, No. 4 St. John's."],
            ),
            ("I said no. He went.", &["I said no.", "He went."]),
            (
                "Well... yes. And so on ... 12 men.",
                &["Well... yes.", "And so on ...", "12 men."],
            ),
            ("  one line\n\n  two lines \n", &["one line", "two lines"]),
            ("一。二！「三。」四", &["一。", "二！", "「三。」", "四"]),
            ("", &[]),
            (" \n", &[]),
        ] {
            let found: Vec<&str> = sentences(text)
                .into_iter()
                .map(|range| &text[range])
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
