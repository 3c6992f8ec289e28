//! Hard-wrapped text: recognizes it and undoes the wrapping.
//!
//! Models were mostly trained on running text, so a copy with line breaks hides memorization.

/// Longer lines are paragraphs, not wrapped lines.
const WIDEST: usize = 100;
/// Shorter lines are verse, lists or columns.
const NARROWEST: usize = 40;
/// Fewer line breaks show no pattern.
const FEWEST_BREAKS: usize = 3;

/// Whether the lines of `text` look like prose wrapped at a fixed width.
///
/// Prose breaks where the next word no longer fits, and in mid-sentence; verse and lists break
/// earlier, and mostly before a capital. So most breaks inside paragraphs must be where the next
/// word would exceed the width, and at most half before a capital.
pub fn looks_wrapped(text: &str) -> bool {
    let mut breaks: Vec<(usize, usize, bool)> = Vec::new();
    let mut above: Option<&str> = None;
    for line in text.lines() {
        let line = line.trim_end();
        let words = line.trim_start();
        if let Some(above) = above
            && !words.is_empty()
            && marker(words).is_none()
        {
            let next_word = words
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .chars()
                .count();
            // In an all-caps passage capitals say nothing.
            let shouted = above
                .chars()
                .rev()
                .find(|c| c.is_alphabetic())
                .is_some_and(char::is_uppercase);
            let capital = !shouted
                && words
                    .chars()
                    .find(|c| c.is_alphanumeric())
                    .is_some_and(char::is_uppercase);
            breaks.push((above.chars().count(), next_word, capital));
        }
        above = (!words.is_empty()).then_some(line);
    }
    if breaks.len() < FEWEST_BREAKS {
        return false;
    }
    let mut lengths: Vec<usize> = breaks.iter().map(|&(len, ..)| len).collect();
    lengths.sort_unstable();
    // Not the longest line: a URL that couldn't be broken says nothing about the width.
    let width = lengths[(lengths.len() - 1) * 95 / 100];
    if !(NARROWEST..=WIDEST).contains(&width) {
        return false;
    }
    // Programs that even out ragged edges break up to a tenth earlier.
    let full = breaks
        .iter()
        .filter(|&&(len, next, _)| len + 1 + next > width - width / 10)
        .count();
    let capital = breaks.iter().filter(|&&(.., capital)| capital).count();
    full * 5 >= breaks.len() * 4 && capital * 2 <= breaks.len()
}

/// Joins the lines of each paragraph with one space and keeps blank lines.
///
/// A line starts a new line if it begins a list entry, a heading or a quotation, or if its
/// indentation differs from the lines before it. Nothing is dehyphenated: after a hyphen the next
/// word follows without a space.
pub fn reflow(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Option<Open> = None;
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches(['\n', '\r']);
        let words = body.trim();
        if words.is_empty() {
            open = None;
            out.push_str(line);
            continue;
        }
        let indent = body.chars().take_while(|c| c.is_whitespace()).count();
        match &mut open {
            Some(open) if marker(words).is_none() && open.continues(indent) => {
                open.rest = Some(indent);
                out.truncate(out.trim_end().len());
                if needs_space(&out, words) {
                    out.push(' ');
                }
                out.push_str(line.trim_start());
            }
            _ => {
                open = Some(Open {
                    indent,
                    marker: marker(words).unwrap_or(0),
                    rest: None,
                });
                out.push_str(line);
            }
        }
    }
    out
}

/// The paragraph or list entry under construction.
struct Open {
    indent: usize,
    /// Width of its list marker, with the space after it.
    marker: usize,
    /// Indentation of the lines after the first, once known.
    rest: Option<usize>,
}

impl Open {
    fn continues(&self, indent: usize) -> bool {
        match self.rest {
            Some(rest) => indent == rest,
            None => indent <= self.indent + self.marker,
        }
    }
}

/// The width of the marker if a line begins a list entry, heading, quotation or table row.
fn marker(words: &str) -> Option<usize> {
    let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
    if matches!(words.as_bytes().first(), Some(b'|' | b'>')) || first.starts_with("```") {
        return Some(1);
    }
    let is_bullet = matches!(first, "-" | "*" | "+" | "•" | "–" | "·");
    let is_heading = first.len() <= 6 && first.bytes().all(|b| b == b'#');
    let number = first.trim_start_matches('(').trim_end_matches([')', '.']);
    let is_number = number.len() < first.len()
        && first.ends_with([')', '.'])
        && !number.is_empty()
        && (number.len() <= 3 && number.bytes().all(|b| b.is_ascii_digit())
            || first.ends_with(')')
                && number.len() == 1
                && number.bytes().all(|b| b.is_ascii_lowercase()));
    let blanks = rest.len() - rest.trim_start().len();
    (is_bullet || is_heading || is_number).then(|| first.chars().count() + 1 + blanks)
}

/// Whether a space belongs between two joined lines.
fn needs_space(above: &str, below: &str) -> bool {
    let mut back = above.chars().rev();
    let (last, before) = (back.next(), back.next());
    let hyphenated = last == Some('-') && before.is_some_and(char::is_alphanumeric);
    // Chinese and Japanese have no spaces between words, so a line break there stands for nothing.
    let unspaced = |c: Option<char>| {
        c.is_some_and(|c| matches!(c, '\u{3000}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}'))
    };
    !(hyphenated || unspaced(last) && unspaced(below.chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRAPPED: &str = "\
The harbour lay still under a grey sky, and the boats that had come in
during the night were tied two and three deep along the quay. Nobody had
yet begun to unload them; the men stood about in small groups, talking in
low voices, and now and then one of them looked up at the clock.

At seven the bell rang. A door opened in the long wooden shed, and a woman
with a lantern came out to see what kind of day it would be, as she had
done every morning since her father died.
";

    const VERSE: &str = "\
When all the lamps along the pier are lit
And every gull has found a place to sleep,
I take the narrow stair and there I sit
To hear what promises the waters keep;
For none but I will climb so late at night
The steps that turn and turn without a rail
To watch the lantern send its patient light
Across the bar to guide a homing sail.
";

    #[test]
    fn only_prose_broken_to_a_width_looks_wrapped() {
        let running = reflow(WRAPPED);
        let code = "fn main() {\n    let a = 1;\n    let b = 2;\n    if a < b {\n        run(a, b);\n    }\n}\n";
        let list = "- apples and a great many pears from the garden\n- plums\n- cherries that were sour\n- nuts\n";
        for (text, wrapped) in [
            (WRAPPED, true),
            (running.as_str(), false),
            (VERSE, false),
            (code, false),
            (list, false),
            ("", false),
            ("one line", false),
        ] {
            assert_eq!(looks_wrapped(text), wrapped, "{text}");
        }
        assert!(looks_wrapped(&WRAPPED.replace('\n', "\r\n")));
        assert!(looks_wrapped(&WRAPPED.to_uppercase()), "licences shout");
    }

    #[test]
    fn reflowing_joins_lines_and_keeps_paragraphs() {
        for (given, reflowed) in [
            ("a b\nc d\n\n\ne\nf\n", "a b c d\n\n\ne f\n"),
            ("a\r\nb\r\n\r\nc", "a b\r\n\r\nc"),
            ("a  \n  b", "a\n  b".replace("a\n", "a  \n").as_str()),
            (
                "  first line indented\nand the rest not\nat all",
                "  first line indented and the rest not at all",
            ),
            (
                "1. one\n   and on\n2. two\n- three\n  more",
                "1. one and on\n2. two\n- three more",
            ),
            (
                "(a) one\n(b) two\n* x\n# head",
                "(a) one\n(b) two\n* x\n# head",
            ),
            (
                "if x:\n    y()\n    z()\nelse:\n    w()",
                "if x:\n    y() z()\nelse:\n    w()",
            ),
            ("self-\ncontained", "self-contained"),
            ("a dash -\nhere", "a dash - here"),
            ("日本語の\n文章です", "日本語の文章です"),
            ("", ""),
            ("\n\n", "\n\n"),
            ("no newline", "no newline"),
        ] {
            assert_eq!(reflow(given), reflowed, "{given:?}");
        }
    }

    #[test]
    fn reflowing_is_idempotent() {
        for text in [WRAPPED, VERSE, "1. one\n   and on\n2. two"] {
            assert_eq!(reflow(&reflow(text)), reflow(text));
        }
    }

    #[test]
    fn a_number_that_ends_a_sentence_is_not_a_list_marker() {
        assert_eq!(
            reflow("in the year\n1984. Then\nmore"),
            "in the year 1984. Then more"
        );
        assert_eq!(reflow("the\nU.S. has\na) b"), "the U.S. has\na) b");
    }
}
