//! SentencePiece's BPE over a vocabulary with scores: of all adjacent pieces that form a token, the
//! pair with the highest score is joined first, the leftmost among equals, until no such pair is
//! left.
//!
//! Merging by score needs no list of merges. GGUF doesn't have one, and deriving it takes seconds
//! for 262,144 tokens.

use super::Encoding;
use super::token_bytes::{SPACE_MARK, TokenBytes};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// The data for encoding text with a SentencePiece vocabulary.
#[derive(Debug)]
pub(super) struct SentencePiece {
    /// Ordinary tokens, as spelled in the vocabulary: id and score.
    tokens: HashMap<String, (u32, f32)>,
    /// Length in bytes of the longest of them.
    longest: usize,
    /// The token of every byte, for characters without a token.
    fallback: [Option<u32>; 256],
    unk: Option<u32>,
    /// Tokens that are cut out of the text first, by their first byte, longest first.
    user_defined: HashMap<u8, Vec<(String, u32)>>,
    /// True if a space is inserted before the text.
    space_prefix: bool,
}

/// A token in the vocabulary.
pub(super) enum Entry {
    Ordinary { token: String, score: f32 },
    UserDefined { token: String },
    Byte(u8),
}

/// A character, or several joined ones.
#[derive(Clone, Copy)]
struct Symbol {
    /// Bytes of the segment as spelled in the vocabulary; empty once it is joined to its left
    /// neighbour.
    start: usize,
    end: usize,
    /// Start in the text.
    origin: usize,
    prev: usize,
    next: usize,
}

const NONE: usize = usize::MAX;

/// Two neighbours that could be joined.
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    /// Length of the pair when it was found. If the current length differs, the pair is out of
    /// date.
    len: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl SentencePiece {
    pub(super) fn new(
        entries: impl IntoIterator<Item = (u32, Entry)>,
        size: usize,
        unk: Option<u32>,
        space_prefix: bool,
    ) -> Self {
        let mut this = Self {
            tokens: HashMap::with_capacity(size),
            longest: 0,
            fallback: [None; 256],
            unk,
            user_defined: HashMap::new(),
            space_prefix,
        };
        for (id, entry) in entries {
            match entry {
                Entry::Ordinary { token, score } => {
                    this.longest = this.longest.max(token.len());
                    this.tokens.insert(token, (id, score));
                }
                Entry::UserDefined { token } => {
                    // tokenizer.model spells their spaces as U+2581, GGUF as spaces.
                    let token = token.replace(SPACE_MARK, " ");
                    if let Some(&first) = token.as_bytes().first() {
                        this.user_defined
                            .entry(first)
                            .or_default()
                            .push((token, id));
                    }
                }
                Entry::Byte(byte) => this.fallback[usize::from(byte)] = Some(id),
            }
        }
        for list in this.user_defined.values_mut() {
            list.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.1.cmp(&b.1)));
        }
        this
    }

    /// Encodes `text`. `None` if a character has no token and the vocabulary has neither byte
    /// tokens nor an unknown token.
    pub(super) fn encode(&self, text: &str, pieces: &TokenBytes) -> Option<Encoding> {
        let mut out = Encoding {
            exact: true,
            ..Encoding::default()
        };
        let mut pending = 0;
        let mut at = 0;
        while at < text.len() {
            match self.user_defined_at(text, at) {
                Some((len, id)) => {
                    self.segment(text, pending, at, &mut out)?;
                    out.ids.push(id);
                    out.bytes.push((at, at + len));
                    at += len;
                    pending = at;
                }
                None => at += text[at..].chars().next().map_or(1, char::len_utf8),
            }
        }
        self.segment(text, pending, text.len(), &mut out)?;
        out.exact = pieces
            .ranges(&out.ids, text)
            .is_some_and(|ranges| ranges == out.bytes);
        Some(out)
    }

    /// The longest user-defined token at `at`: its length in the text, and its id. U+2581 in a text
    /// is a space.
    fn user_defined_at(&self, text: &str, at: usize) -> Option<(usize, u32)> {
        let rest = &text[at..];
        let first = if rest.starts_with(SPACE_MARK) {
            b' '
        } else {
            *rest.as_bytes().first()?
        };
        let list = self.user_defined.get(&first)?;
        list.iter()
            .find_map(|(token, id)| Some((spans(token, rest)?, *id)))
    }

    /// Encodes the part `start..end` of `text`, which contains no user-defined token.
    fn segment(&self, text: &str, start: usize, end: usize, out: &mut Encoding) -> Option<()> {
        if start == end {
            return Some(());
        }
        let mut spelled = String::with_capacity((end - start) * 5 / 4);
        let mut symbols: Vec<Symbol> = Vec::with_capacity(end - start);
        let mut add = |c: char, origin: usize| {
            let from = spelled.len();
            spelled.push(if c == ' ' { SPACE_MARK } else { c });
            let n = symbols.len();
            symbols.push(Symbol {
                start: from,
                end: spelled.len(),
                origin,
                prev: n.checked_sub(1).unwrap_or(NONE),
                next: n + 1,
            });
        };
        if self.space_prefix && start == 0 {
            add(' ', 0);
        }
        for (i, c) in text[start..end].char_indices() {
            add(c, start + i);
        }
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        self.merge(&spelled, &mut symbols);

        let mut i = 0;
        while i != NONE {
            let symbol = symbols[i];
            i = symbol.next;
            let origin_end = if i == NONE { end } else { symbols[i].origin };
            let piece = &spelled[symbol.start..symbol.end];
            if let Some(&(id, _)) = self.tokens.get(piece) {
                out.ids.push(id);
                out.bytes.push((symbol.origin, origin_end));
                continue;
            }
            // Only single characters can lack a token. A space without one falls back as a space.
            let own = if piece.starts_with(SPACE_MARK) {
                " "
            } else {
                &text[symbol.origin..origin_end]
            };
            let bytes: Option<Vec<u32>> =
                own.bytes().map(|b| self.fallback[usize::from(b)]).collect();
            match bytes {
                Some(ids) => {
                    for (k, id) in ids.into_iter().enumerate() {
                        let at = (symbol.origin + k).min(origin_end);
                        out.ids.push(id);
                        out.bytes.push((at, (at + 1).min(origin_end)));
                    }
                }
                None => {
                    out.ids.push(self.unk?);
                    out.bytes.push((symbol.origin, origin_end));
                }
            }
        }
        Some(())
    }

    fn merge(&self, spelled: &str, symbols: &mut [Symbol]) {
        let mut queue = BinaryHeap::with_capacity(symbols.len());
        let candidate = |symbols: &[Symbol], left: usize, right: usize| {
            if left == NONE || right == NONE {
                return None;
            }
            let (start, end) = (symbols[left].start, symbols[right].end);
            if end - start > self.longest {
                return None;
            }
            let &(_, score) = self.tokens.get(&spelled[start..end])?;
            Some(Candidate {
                score,
                left,
                right,
                len: end - start,
            })
        };
        for right in 1..symbols.len() {
            queue.extend(candidate(symbols, right - 1, right));
        }
        while let Some(Candidate {
            left, right, len, ..
        }) = queue.pop()
        {
            let (a, b) = (symbols[left], symbols[right]);
            // Either may have been joined to another since.
            if a.start == a.end || b.start == b.end || b.end - a.start != len || a.next != right {
                continue;
            }
            symbols[left].end = b.end;
            symbols[left].next = b.next;
            symbols[right].start = b.end;
            if b.next != NONE {
                symbols[b.next].prev = left;
            }
            queue.extend(candidate(symbols, a.prev, left));
            queue.extend(candidate(symbols, left, b.next));
        }
    }
}

/// Number of bytes at the beginning of `text` that `token` covers.
fn spans(token: &str, text: &str) -> Option<usize> {
    if text.as_bytes().starts_with(token.as_bytes()) {
        return Some(token.len());
    }
    let mut rest = text.chars();
    for wanted in token.chars() {
        let found = rest.next()?;
        if found != wanted && !(wanted == ' ' && found == SPACE_MARK) {
            return None;
        }
    }
    Some(text.len() - rest.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(space_prefix: bool, fallback: bool) -> (SentencePiece, TokenBytes) {
        let words = ["\u{2581}", "a", "b", "ab", "\u{2581}ab", "aa", "abb"];
        let scores = [-9.0, -9.0, -9.0, -1.0, -2.0, -1.0, -0.5];
        let mut pieces = TokenBytes::default();
        let mut entries = Vec::new();
        for (id, (word, score)) in words.into_iter().zip(scores).enumerate() {
            pieces.push(super::super::token_bytes::spaced(word));
            entries.push((
                id as u32,
                Entry::Ordinary {
                    token: word.to_owned(),
                    score,
                },
            ));
        }
        pieces.push(*b"<b>");
        entries.push((
            7,
            Entry::UserDefined {
                token: "<b>".to_owned(),
            },
        ));
        pieces.push(*b"?");
        for byte in 0..=255u8 {
            pieces.push([byte]);
            if fallback {
                entries.push((9 + u32::from(byte), Entry::Byte(byte)));
            }
        }
        (
            SentencePiece::new(entries, 265, Some(8), space_prefix),
            pieces,
        )
    }

    #[test]
    fn the_highest_score_is_joined_first_and_the_leftmost_among_equals() {
        let (model, pieces) = small(false, true);
        for (text, ids) in [
            ("ab ab", vec![3, 4]),
            ("aaa", vec![5, 1]),
            // "aa" and "ab" have equal scores, so the left pair is joined, and "abb" never forms.
            ("aabb", vec![5, 2, 2]),
            ("abb", vec![6]),
            ("a<b>b", vec![1, 7, 2]),
        ] {
            let encoding = model.encode(text, &pieces).unwrap();
            assert_eq!(encoding.ids, ids, "{text}");
            assert!(encoding.exact, "{text}");
        }
    }

    #[test]
    fn characters_without_a_token_fall_back_to_bytes_with_exact_ranges() {
        let (model, pieces) = small(false, true);
        let encoding = model.encode("aé", &pieces).unwrap();
        assert_eq!(encoding.ids, [1, 9 + 0xc3, 9 + 0xa9]);
        assert_eq!(encoding.bytes, [(0, 1), (1, 2), (2, 3)]);
        assert!(encoding.exact);
    }

    #[test]
    fn the_unknown_token_covers_what_it_replaces_and_is_inexact() {
        let (model, pieces) = small(false, false);
        let encoding = model.encode("aéa", &pieces).unwrap();
        assert_eq!(
            (encoding.ids, encoding.bytes, encoding.exact),
            (vec![1, 8, 1], vec![(0, 1), (1, 3), (3, 4)], false)
        );
    }

    #[test]
    fn an_inserted_space_covers_no_byte_of_the_text() {
        let (model, pieces) = small(true, true);
        let encoding = model.encode("ab ab", &pieces).unwrap();
        assert_eq!(
            (encoding.ids, encoding.bytes, encoding.exact),
            (vec![4, 4], vec![(0, 2), (2, 5)], true)
        );
        assert_eq!(model.encode("", &pieces).unwrap().ids, [] as [u32; 0]);
    }
}
