//! The text of single tokens, for reports that may hold text.

use super::Spelled;
use crate::window::Window;
use std::fmt::Write as _;

impl Spelled {
    /// The tokens of a window, by the bytes of each. `None` if the window has no tokens.
    pub(super) fn new(window: &Window, token_bytes: impl Fn(u32) -> Vec<u8>) -> Option<Self> {
        let at = window.placement.prefix_len as usize;
        let (prefix, suffix) = window.token_ids.split_at_checked(at)?;
        let spell = |ids: &[u32]| ids.iter().map(|&id| printable(&token_bytes(id))).collect();
        Some(Self {
            window: window.id.clone(),
            prefix: spell(prefix),
            suffix: spell(suffix),
        })
    }
}

/// UTF-8 as it is; anything else byte by byte.
fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold(String::new(), |mut out, byte| {
            // Writing to a String can't fail.
            let _ = write!(out, "\\x{byte:02x}");
            out
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_token_that_ends_inside_a_character_is_spelled_byte_by_byte() {
        assert_eq!(printable(b" a"), " a");
        assert_eq!(printable("漢".as_bytes()), "漢");
        assert_eq!(printable(&"漢".as_bytes()[..2]), "\\xe6\\xbc");
        assert_eq!(printable(b""), "");
    }
}
