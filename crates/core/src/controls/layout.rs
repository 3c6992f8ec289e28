//! The line layout of a text, and laying out another text in the same way.

use crate::window::reflow::{looks_wrapped, reflow};
use std::borrow::Cow;

/// A text's layout. A model gives the same words other scores if the lines break elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// No line breaks.
    OneLine,
    /// Wrapped to a width, in characters.
    Wrapped(usize),
    /// Line breaks belong to the text: paragraphs, verse, code.
    AsWritten,
}

impl Layout {
    pub(super) fn new(text: &str) -> Self {
        if !text.trim().contains('\n') {
            return Self::OneLine;
        }
        if !looks_wrapped(text) {
            return Self::AsWritten;
        }
        let mut lengths = line_lengths(text);
        lengths.sort_unstable();
        // Not the longest line: one that couldn't be broken, such as a URL, says nothing about the
        // width.
        Self::Wrapped(lengths[(lengths.len() - 1) * 95 / 100])
    }

    /// Lays out a plain text.
    pub(super) fn lay_out(self, plain: &str) -> String {
        match self {
            Self::AsWritten => plain.to_owned(),
            Self::OneLine => plain
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect::<Vec<_>>()
                .join(" "),
            Self::Wrapped(width) => plain
                .lines()
                .map(|line| wrap(line, width))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }
}

/// The text without line breaks that only wrap it.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if looks_wrapped(text) {
        Cow::Owned(reflow(text))
    } else {
        Cow::Borrowed(text)
    }
}

/// The median line length of a plain text, in characters: distinguishes verse and code from prose.
pub(super) fn median_line(plain: &str) -> usize {
    let mut lengths = line_lengths(plain);
    lengths.sort_unstable();
    lengths.get(lengths.len() / 2).copied().unwrap_or(0)
}

fn line_lengths(text: &str) -> Vec<usize> {
    text.lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .map(|line| line.chars().count())
        .collect()
}

/// Breaks a line where the next word would exceed `width`; keeps its indentation.
fn wrap(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    let mut out = indent.clone();
    let mut length = indent.chars().count();
    for (index, word) in line.split_whitespace().enumerate() {
        let letters = word.chars().count();
        if index > 0 {
            if length + 1 + letters > width {
                out.push('\n');
                length = 0;
            } else {
                out.push(' ');
                length += 1;
            }
        }
        out.push_str(word);
        length += letters;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROSE: &str = "The harbour lay still under a grey sky, and the boats that had come in during the night were tied two \
                         and three deep along the quay. Nobody had yet begun to unload them; the men stood about in small \
                         groups, talking in low voices, and now and then one of them looked up at the clock.";

    #[test]
    fn lay_out_reproduces_the_layout_of_another_text() {
        let verse = "A line\nof verse\nis short\n\nand ends\n";
        let prose = format!("{PROSE}\n\n{PROSE}");
        let wrapped = Layout::Wrapped(64).lay_out(&prose);
        assert!(wrapped.lines().all(|line| line.chars().count() <= 64) && wrapped.contains("\n\n"));
        for (like, expected) in [
            (PROSE, Layout::OneLine),
            (verse, Layout::AsWritten),
            (prose.as_str(), Layout::AsWritten),
            (&wrapped, Layout::Wrapped(64)),
        ] {
            let Layout::Wrapped(width) = Layout::new(like) else {
                assert_eq!(Layout::new(like), expected);
                continue;
            };
            // The longest resulting line may be a little shorter than the width asked for.
            assert!((60..=64).contains(&width), "{width}");
        }
        assert_eq!(plain(&wrapped), prose);
        assert_eq!(plain(verse), verse);
        assert_eq!(Layout::OneLine.lay_out(" one\n\n two\n"), "one two");
        assert_eq!(Layout::AsWritten.lay_out(verse), verse);
        assert_eq!(
            Layout::Wrapped(10).lay_out("  a bcd efghij k\n\nlmn"),
            "  a bcd\nefghij k\n\nlmn"
        );
    }

    #[test]
    fn median_line_distinguishes_verse_from_prose() {
        assert_eq!(median_line("one\nthree\n\nseventeen\n"), 5);
        assert!(median_line(PROSE) > 200);
        assert_eq!(median_line(""), 0);
    }
}
