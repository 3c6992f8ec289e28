//! What a window's text shows without any model: how predictable it is, and how much of it only repeats
//! its own prefix.

use crate::run::TextStats;
use flate2::{Compress, Compression, FlushCompress};
use std::collections::HashSet;

/// Length in tokens of the n-grams of [`copied_from_prefix`]. Three tokens in a row recur in any prose ("one of
/// the"); five would miss most of what a suffix of 50 tokens takes over from its prefix in lists and refrains.
pub const COPY_NGRAM: usize = 4;

/// Bits a character of `text` under zlib, level 9: `8 len(zlib(text)) / chars(text)`, the entropy of the
/// membership literature (arXiv 2012.07805). Low for repetitive text. 0 for the empty text, which has no characters.
pub fn zlib_bits_per_char(text: &str) -> f64 {
    let chars = text.chars().count();
    if chars == 0 {
        return 0.0;
    }
    // zlib expands what it can't compress by less than this, so that one call is enough.
    let mut bytes = Vec::with_capacity(text.len() + text.len() / 1000 + 64);
    let finished = Compress::new(Compression::best(), true).compress_vec(
        text.as_bytes(),
        &mut bytes,
        FlushCompress::Finish,
    );
    debug_assert!(
        matches!(finished, Ok(flate2::Status::StreamEnd)),
        "{finished:?}"
    );
    bytes.len() as f64 * 8.0 / chars as f64
}

/// Share (0 to 1) of the suffix's n-grams of [`COPY_NGRAM`] tokens that already stand in the prefix: copying
/// from context is no memory. A shorter suffix counts as one n-gram; an empty one has none of it copied.
pub fn copied_from_prefix(prefix: &[u32], suffix: &[u32]) -> f64 {
    let n = COPY_NGRAM.min(suffix.len());
    if n == 0 {
        return 0.0;
    }
    let known: HashSet<&[u32]> = prefix.windows(n).collect();
    let copied = suffix
        .windows(n)
        .filter(|ngram| known.contains(ngram))
        .count();
    copied as f64 / suffix.windows(n).count() as f64
}

/// The statistics of one window: `suffix_text` is the text of its suffix, `token_ids` are all its tokens, the
/// first `prefix_len` of which are context.
pub fn text_stats(suffix_text: &str, token_ids: &[u32], prefix_len: usize) -> TextStats {
    let (prefix, suffix) = token_ids.split_at(prefix_len.min(token_ids.len()));
    TextStats {
        suffix_chars: suffix_text.chars().count() as u32,
        zlib_bits_per_char: zlib_bits_per_char(suffix_text),
        copied_from_prefix: copied_from_prefix(prefix, suffix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZLIB: &[(&str, f64)] = &[
        ("a", 9.0 * 8.0 / 1.0),
        ("été", 13.0 * 8.0 / 3.0),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            12.0 * 8.0 / 64.0,
        ),
        (
            "When in the Course of human events, it becomes necessary for one people to dissolve the political bands",
            88.0 * 8.0 / 103.0,
        ),
        ("😀😀😀 日本語のテキスト", 42.0 * 8.0 / 12.0),
        (
            "The rain came. The rain came. The rain came. The rain came again.",
            32.0 * 8.0 / 65.0,
        ),
    ];

    #[test]
    fn zlib_bits_equal_those_of_python() {
        // len(zlib.compress(text.encode(), 9)) * 8 / len(text)
        for (text, expected) in ZLIB {
            let bits = zlib_bits_per_char(text);
            assert!((bits - expected).abs() < 1e-12, "{text:?}: {bits}");
        }
        let long: String = (0..400u32)
            .map(|i| format!("{} bottles, ", i * i))
            .collect();
        assert!((zlib_bits_per_char(&long) - 1233.0 * 8.0 / 5937.0).abs() < 1e-12);
    }

    #[test]
    fn share_of_copied_ngrams_counts_only_what_stands_in_the_prefix() {
        for (prefix, suffix, share) in [
            (&[1, 2, 3, 4, 5][..], &[1, 2, 3, 4, 5][..], 1.0),
            (&[1, 2, 3, 4, 5], &[9, 2, 3, 4, 5], 0.5),
            (&[1, 2, 3], &[1, 2, 3, 4], 0.0),
            // Repetition inside the suffix isn't copied from the prefix.
            (&[9, 9, 9, 9], &[1, 1, 1, 1, 1, 1], 0.0),
            (&[7, 8, 9], &[8, 9], 1.0),
            (&[7, 8, 9], &[9, 8], 0.0),
            (&[1, 2], &[], 0.0),
            (&[], &[1, 2, 3, 4], 0.0),
        ] {
            assert!(
                (copied_from_prefix(prefix, suffix) - share).abs() < 1e-12,
                "{prefix:?} {suffix:?}"
            );
        }
    }

    #[test]
    fn statistics_of_a_window_are_those_of_its_suffix() {
        let stats = text_stats("été", &[0, 1, 2, 3, 4, 1, 2, 3, 4], 5);
        assert_eq!(stats.suffix_chars, 3);
        assert!((stats.copied_from_prefix - 1.0).abs() < 1e-12);
        assert!((stats.zlib_bits_per_char - zlib_bits_per_char("été")).abs() < 1e-12);
    }
}
