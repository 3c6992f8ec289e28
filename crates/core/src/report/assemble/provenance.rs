//! An opt-out's provenance as a report may show it: it says where a signal stands, and must not be a way round the redaction.

use crate::items::{Content, Item, OptOut};
use std::borrow::Cow;
use std::collections::HashSet;

/// So many words in a row that also stand in the text are a quotation of it. Fewer may be a title or a name.
const QUOTED: usize = 6;

/// What takes a quotation's place.
const WITHHELD: &str = "withheld: it quotes the text";

/// The provenance without what quotes the text: text directives of URLs (`#:~:text=...`), and fields with a run of its words.
pub(super) fn shown(item: &Item, reveal: bool) -> Option<OptOut> {
    let mut shown = item.opt_out.clone()?;
    if !reveal {
        let OptOut {
            signal,
            locator,
            holder,
            declared_at,
        } = &mut shown;
        for field in [signal, locator, holder, declared_at].into_iter().flatten() {
            if let Some(directive) = field.find(":~:") {
                field.truncate(directive);
                field.truncate(field.trim_end_matches('#').len());
            }
            if quotes(field, item) {
                WITHHELD.clone_into(field);
            }
        }
    }
    Some(shown)
}

fn quotes(field: &str, item: &Item) -> bool {
    let decoded = decoded(field);
    let said = words(&decoded);
    if said.len() < QUOTED {
        return false;
    }
    let said: HashSet<&[String]> = said.windows(QUOTED).collect();
    let text = match &item.content {
        Content::Text(text) => Cow::Borrowed(text.as_str()),
        Content::Split { prefix, suffix } => Cow::Owned(format!("{prefix}{suffix}")),
    };
    words(&text).windows(QUOTED).any(|run| said.contains(run))
}

/// Letters and digits in lower case, split at everything else.
fn words(text: &str) -> Vec<String> {
    let pieces = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    pieces.map(str::to_lowercase).collect()
}

/// With the bytes that `%20` and its like stand for.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::{ItemId, Origin};

    #[test]
    fn provenance_stays_unless_it_quotes_the_text() {
        let origin = Origin {
            file: "set.jsonl".to_owned(),
            line: Some(1),
        };
        let text = "The umber herons of Quire sang nine songs to the zyxomma larks.";
        let mut item = Item::new(
            ItemId("a".to_owned()),
            Content::Text(text.to_owned()),
            origin,
        );
        let withheld = "withheld: it quotes the text";
        for (locator, expected) in [
            (
                "https://e.org/.well-known/tdmrep.json#herons",
                "https://e.org/.well-known/tdmrep.json#herons",
            ),
            ("https://e.org/a#:~:text=umber%20herons", "https://e.org/a"),
            (
                "https://e.org/a#part:~:text=zyxomma",
                "https://e.org/a#part",
            ),
            (
                "https://e.org/the-umber-herons-of-quire",
                "https://e.org/the-umber-herons-of-quire",
            ),
            (
                "https://e.org/The%20Umber%20Herons%20of%20Quire%20sang",
                withheld,
            ),
            (
                "register no. 4: the umber herons of quire sang nine",
                withheld,
            ),
            ("100% of it, %zz and %", "100% of it, %zz and %"),
        ] {
            item.opt_out = Some(OptOut {
                locator: Some(locator.to_owned()),
                ..OptOut::default()
            });
            let of = |reveal| shown(&item, reveal).and_then(|opt_out| opt_out.locator);
            assert_eq!(
                (of(false).as_deref(), of(true).as_deref()),
                (Some(expected), Some(locator))
            );
        }
        item.content = Content::Split {
            prefix: "The umber he".to_owned(),
            suffix: "rons of Quire sang nine".to_owned(),
        };
        item.opt_out = Some(OptOut {
            holder: Some("the umber herons of quire sang".to_owned()),
            ..OptOut::default()
        });
        assert_eq!(
            shown(&item, false)
                .and_then(|opt_out| opt_out.holder)
                .as_deref(),
            Some(withheld)
        );
    }
}
