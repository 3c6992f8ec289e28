//! Compares the model's text with the true text, word by word. Only for reports that may hold text.

use crate::report::escape;
use std::fmt::Write as _;

/// Words of either side that are compared; longer texts are shown one below the other.
const LONGEST: usize = 2_000;

/// A stretch of both texts.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// One word of both.
    Same(&'a str),
    /// Words of the first and the second that replace each other; either may be empty.
    Differs(Vec<&'a str>, Vec<&'a str>),
}

/// Both texts in pairs of words, one above the other, as safe HTML. Where they agree the lower word is for the eye only.
pub(super) fn pairs(target: &str, written: &str) -> Option<String> {
    let (target, written) = (split(target), split(written));
    if target.len() > LONGEST || written.len() > LONGEST {
        return None;
    }
    let mut out = String::new();
    for piece in diff(&target, &written) {
        match piece {
            Piece::Same(word) => {
                let word = shown(&[word]);
                let _ = write!(
                    out,
                    r#"<span class="pair"><span>{word}</span><span aria-hidden="true">{word}</span></span> "#
                );
            }
            Piece::Differs(target, written) => {
                let _ = write!(
                    out,
                    r#"<span class="pair differs"><del>{}</del><ins>{}</ins></span> "#,
                    shown(&target),
                    shown(&written)
                );
            }
        }
    }
    Some(out)
}

/// Words with the line breaks that follow them; other white space only parts them.
fn split(text: &str) -> Vec<&str> {
    text.split([' ', '\t'])
        .flat_map(|word| word.split_inclusive('\n'))
        .filter(|word| !word.is_empty())
        .collect()
}

fn shown(words: &[&str]) -> String {
    if words.is_empty() {
        return "–".to_owned();
    }
    let text: Vec<String> = words
        .iter()
        .map(|word| escape::html(&word.replace('\n', "⏎")))
        .collect();
    text.join(" ")
}

/// By a longest common subsequence of words.
fn diff<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<Piece<'a>> {
    // Cell (i, j): the length of the longest common subsequence of a[i..] and b[j..].
    let width = b.len() + 1;
    let mut common = vec![0_u16; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut pieces) = (0, 0, Vec::new());
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            flush(&mut pieces, &mut gone, &mut new);
            pieces.push(Piece::Same(a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len()
            || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            gone.push(a[i]);
            i += 1;
        } else {
            new.push(b[j]);
            j += 1;
        }
    }
    flush(&mut pieces, &mut gone, &mut new);
    pieces
}

fn flush<'a>(pieces: &mut Vec<Piece<'a>>, gone: &mut Vec<&'a str>, new: &mut Vec<&'a str>) {
    if !gone.is_empty() || !new.is_empty() {
        pieces.push(Piece::Differs(std::mem::take(gone), std::mem::take(new)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_stand_in_each_others_place() {
        let pieces = |a, b| {
            diff(&split(a), &split(b))
                .iter()
                .map(|piece| format!("{piece:?}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let cases = [
            ("a b c", "a b c", r#"Same("a") Same("b") Same("c")"#),
            (
                "a b c",
                "a x c",
                r#"Same("a") Differs(["b"], ["x"]) Same("c")"#,
            ),
            ("a b", "a b c", r#"Same("a") Same("b") Differs([], ["c"])"#),
            (
                "a  b\nc",
                "b\nc",
                r#"Differs(["a"], []) Same("b\n") Same("c")"#,
            ),
            ("", "", ""),
            ("a", "", r#"Differs(["a"], [])"#),
        ];
        for (a, b, expected) in cases {
            assert_eq!(pieces(a, b), expected, "{a:?} and {b:?}");
        }
    }

    #[test]
    fn pairs_are_inert_and_what_is_too_long_is_not_compared() {
        let html = pairs("one <b>two</b>", "one </span><script>").unwrap();
        assert!(
            html.contains(
                "<del>&lt;b&gt;two&lt;/b&gt;</del><ins>&lt;/span&gt;&lt;script&gt;</ins>"
            ),
            "{html}"
        );
        assert!(pairs(&"a ".repeat(LONGEST + 1), "a").is_none());
    }
}
