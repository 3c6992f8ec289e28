//! The tokens of likeliest windows in letters, for reports that may hold text.

use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::report::{Report, Spelled};
use byrote_core::window::{Window, WindowId};
use std::collections::HashMap;
use std::fmt::Write as _;

/// Spells the likeliest window of every item whose text is revealed.
pub(crate) fn spell(report: &mut Report, windows: &[Window], tokenizer: &Tokenizer) {
    let wanted = report.items.iter_mut().filter_map(|item| {
        let window = item
            .windows
            .first()
            .filter(|window| window.tokens.is_some())?;
        Some((window.window.clone(), item.revealed.as_mut()?))
    });
    let mut wanted: HashMap<WindowId, _> = wanted.collect();
    for window in windows {
        let Some(revealed) = wanted.remove(&window.id) else {
            continue;
        };
        let Some((prefix, suffix)) = window
            .token_ids
            .split_at_checked(window.placement.prefix_len as usize)
        else {
            continue;
        };
        let letters = |ids: &[u32]| {
            ids.iter()
                .map(|&id| in_letters(tokenizer.token_bytes(id)))
                .collect()
        };
        revealed.spelled = Some(Spelled {
            window: window.id.clone(),
            prefix: letters(prefix),
            suffix: letters(suffix),
        });
    }
}

/// UTF-8 as it is; anything else byte by byte.
fn in_letters(bytes: &[u8]) -> String {
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
    use super::in_letters;

    #[test]
    fn a_token_that_ends_inside_a_character_is_spelled_byte_by_byte() {
        assert_eq!(in_letters(b" a"), " a");
        assert_eq!(in_letters("漢".as_bytes()), "漢");
        assert_eq!(in_letters(&"漢".as_bytes()[..2]), "\\xe6\\xbc");
        assert_eq!(in_letters(b""), "");
    }
}
