//! Words and runs of words, to find text that two texts share.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use unicode_normalization::UnicodeNormalization as _;

/// Two texts that share this many words in a row come from one source or one template.
pub const SHARED: usize = 8;
/// Words per run when measuring the similarity of two texts.
pub const SIMILAR: usize = 5;

/// The words of a text, each as a hash. Ignores case, punctuation and white space (Unicode NFKC,
/// lower case); each Chinese or Japanese character is a word.
pub(super) fn words(text: &str) -> Vec<u64> {
    // First, so that a combining accent doesn't end its word.
    let text: String = text.nfkc().collect();
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        let alone = unspaced(c);
        if let Some(from) = start.take_if(|_| alone || !c.is_alphanumeric()) {
            words.push(hash(&text[from..at]));
        }
        if alone {
            words.push(hash(&text[at..at + c.len_utf8()]));
        } else if c.is_alphanumeric() {
            start.get_or_insert(at);
        }
    }
    words.extend(start.map(|from| hash(&text[from..])));
    words
}

/// Every run of `n` words, as a hash.
pub(super) fn runs(words: &[u64], n: usize) -> impl Iterator<Item = u64> {
    words.windows(n).map(|run| {
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        hasher.finish()
    })
}

/// Which text contains a run of [`SHARED`] words.
#[derive(Debug, Default)]
pub(super) struct Index {
    owners: HashMap<u64, usize>,
}

/// Text shared with another text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    /// The other text.
    pub(super) owner: usize,
    /// Number of this text's runs of [`SHARED`] words that the other text contains.
    pub(super) runs: usize,
    /// The first word of the first shared run, counted from 1.
    pub(super) first: usize,
}

impl Index {
    /// Adds a text; a run that is already known stays attributed to the earlier text.
    pub(super) fn add(&mut self, owner: usize, words: &[u64]) {
        for run in runs(words, SHARED) {
            self.owners.entry(run).or_insert(owner);
        }
    }

    /// The first text that shares a run with `words`, if any.
    pub(super) fn overlap(&self, words: &[u64]) -> Option<Overlap> {
        let mut found: Option<Overlap> = None;
        for (at, run) in runs(words, SHARED).enumerate() {
            match (self.owners.get(&run), &mut found) {
                (Some(&owner), None) => {
                    found = Some(Overlap {
                        owner,
                        runs: 1,
                        first: at + 1,
                    })
                }
                (Some(&owner), Some(found)) if found.owner == owner => found.runs += 1,
                _ => {}
            }
        }
        found
    }
}

fn hash(word: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    word.chars()
        .flat_map(char::to_lowercase)
        .for_each(|c| c.hash(&mut hasher));
    hasher.finish()
}

/// Scripts without spaces between words.
fn unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ignore_case_punctuation_and_white_space() {
        for (text, other, same) in [
            ("One two; THREE", "one\n\n(two) three.", true),
            ("caf\u{e9} \u{fb01}n", "cafe\u{301} fin", true),
            ("don't", "don t", true),
            ("one two", "onetwo", false),
            ("日本語です", "日 本、語で す", true),
            ("in 1999", "in 1998", false),
            ("", " . ", true),
        ] {
            assert_eq!(words(text) == words(other), same, "{text}: {other}");
        }
        assert_eq!(words("a1 b-c 日本x").len(), 6);
    }

    #[test]
    fn overlaps_report_the_text_the_position_and_the_amount() {
        let mut index = Index::default();
        index.add(0, &words("zero zero"));
        index.add(1, &words("a b c d e f g h i j"));
        index.add(2, &words("b c d e f g h i x"));
        let overlap = |text: &str| {
            index
                .overlap(&words(text))
                .map(|o| (o.owner, o.runs, o.first))
        };
        assert_eq!(overlap("q A B, c d e f g h! y"), Some((1, 1, 2)));
        assert_eq!(overlap("a b c d e f g h i"), Some((1, 2, 1)));
        assert_eq!(overlap("c d e f g h i x"), Some((2, 1, 1)));
        assert_eq!(overlap("a b c d e f g x h i j"), None);
        assert_eq!(overlap("zero zero"), None);
    }
}
