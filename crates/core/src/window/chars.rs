//! Converts byte offsets to character offsets.

/// Counts the characters of a text that begin before a given byte.
pub(super) struct Chars<'a> {
    text: &'a [u8],
    /// The count at every multiple of [`Chars::STEP`].
    counts: Vec<u64>,
}

impl<'a> Chars<'a> {
    const STEP: usize = 256;

    pub(super) fn new(text: &'a str) -> Self {
        let text = text.as_bytes();
        let mut counts = vec![0];
        let mut total = 0;
        for block in text.chunks(Self::STEP) {
            total += first_bytes(block);
            counts.push(total);
        }
        Self { text, counts }
    }

    pub(super) fn before(&self, byte: usize) -> u64 {
        let block = byte / Self::STEP;
        self.counts[block] + first_bytes(&self.text[block * Self::STEP..byte])
    }
}

/// Number of characters that begin in `bytes`.
fn first_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_across_blocks() {
        let text = "é😀".repeat(200);
        let chars = Chars::new(&text);
        for (count, (byte, _)) in text.char_indices().enumerate() {
            assert_eq!(chars.before(byte), count as u64);
            assert_eq!(chars.before(byte + 1), count as u64 + 1);
        }
        assert_eq!(chars.before(text.len()), 400);
    }
}
