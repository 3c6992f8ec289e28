//! The bytes of every token.

/// U+2581, which SentencePiece vocabularies write for a space.
pub(super) const SPACE_MARK: char = '\u{2581}';

/// The bytes of every token of a vocabulary, by id, in one block: a vocabulary has up to 262,144 of
/// them.
#[derive(Debug, Default)]
pub(super) struct TokenBytes {
    block: Vec<u8>,
    ends: Vec<usize>,
}

impl TokenBytes {
    pub(super) fn push(&mut self, piece: impl IntoIterator<Item = u8>) {
        self.block.extend(piece);
        self.ends.push(self.block.len());
    }

    /// One more than the largest id.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a token; empty for an id without one.
    pub(super) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else {
            return &[];
        };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.block[start..end]
    }

    /// The bytes of `text` that each token covers, if the tokens spell `text` byte for byte. A
    /// space that the tokenizer inserted before the text covers no byte of it.
    pub(super) fn ranges(&self, ids: &[u32], text: &str) -> Option<Vec<(usize, usize)>> {
        self.ranges_from(ids, text, 0)
            .or_else(|| self.ranges_from(ids, text, 1))
    }

    /// As [`TokenBytes::ranges`], for tokens whose first `added` bytes are spaces that aren't in
    /// the text.
    fn ranges_from(&self, ids: &[u32], text: &str, added: usize) -> Option<Vec<(usize, usize)>> {
        let text = text.as_bytes();
        let mut ranges = Vec::with_capacity(ids.len());
        let (mut at, mut skip) = (0, added);
        for &id in ids {
            let mut piece = self.get(id);
            if skip > 0 && !piece.is_empty() {
                piece = piece.strip_prefix(b" ")?;
                skip -= 1;
            }
            if !text[at..].starts_with(piece) {
                return None;
            }
            ranges.push((at, at + piece.len()));
            at += piece.len();
        }
        (at == text.len()).then_some(ranges)
    }

    /// The text of `ids`, with U+FFFD if they don't end with a whole character.
    pub(super) fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.get(id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The byte of a byte-fallback token such as `<0x0A>`.
pub(super) fn fallback_byte(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2)
        .then(|| u8::from_str_radix(hex, 16).ok())
        .flatten()
}

/// The byte of each character of the byte-level alphabet (GPT-2's printable spelling of bytes).
pub(super) fn byte_of(spelled: char) -> Option<u8> {
    // Printable bytes represent themselves; the other 68 are numbered from U+0100 on in order of
    // their value.
    let code = u32::from(spelled);
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u8::try_from(code).ok(),
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// The bytes of a token spelled in the byte-level alphabet; otherwise its own UTF-8.
pub(super) fn byte_level(token: &str) -> Vec<u8> {
    token
        .chars()
        .map(byte_of)
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| token.as_bytes().to_vec())
}

/// The bytes of a token of a SentencePiece vocabulary.
pub(super) fn spaced(token: &str) -> Vec<u8> {
    token.replace(SPACE_MARK, " ").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn byte_level_alphabet_has_one_character_for_every_byte() {
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let bytes: BTreeSet<u8> = alphabet.iter().filter_map(|&c| byte_of(c)).collect();
        assert_eq!((alphabet.len(), bytes.len()), (256, 256));
        assert_eq!(byte_level("Ġa"), b" a");
        assert_eq!(byte_level("Ċ"), b"\n");
        assert_eq!(byte_level("ł\u{143}"), [0xa0, 0xad]);
    }

    #[test]
    fn ranges_follow_tokens_that_end_inside_a_character() {
        let mut pieces = TokenBytes::default();
        for piece in [&b"a\xf0\x9f"[..], b"\x98\x80", b" a"] {
            pieces.push(piece.iter().copied());
        }
        assert_eq!(
            pieces.ranges(&[0, 1, 2], "a😀 a"),
            Some(vec![(0, 3), (3, 5), (5, 7)])
        );
        assert_eq!(
            pieces.ranges(&[2, 2], "a a"),
            Some(vec![(0, 1), (1, 3)]),
            "a space was inserted in front"
        );
        assert_eq!(pieces.ranges(&[2, 2], " a a"), Some(vec![(0, 2), (2, 4)]));
        assert_eq!(
            pieces.ranges(&[0, 1], "a😀 a"),
            None,
            "the tokens end before the text"
        );
        assert_eq!(pieces.decode(&[0]), "a\u{fffd}");
    }

    #[test]
    fn fallback_tokens_are_two_hexadecimal_digits() {
        assert_eq!(fallback_byte("<0x0A>"), Some(10));
        assert_eq!(
            [
                fallback_byte("<0x0>"),
                fallback_byte("<0xGG>"),
                fallback_byte("0x0A")
            ],
            [None; 3]
        );
    }
}
