//! Finds items that repeat or contradict each other.

use super::error::{Faults, ItemError, Wrong, quoted};
use super::{Content, Dropped, Item, Kind};
use crate::digest::Digest;
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization as _;

/// Separates the items to keep from repetitions of an earlier text of the same kind.
///
/// Texts are equal if they match in Unicode NFC with each run of white space replaced by one space.
/// Split items are equal only if they are also split at the same position. The same text may appear
/// under two kinds, unless one of them is `control`: a text under test can't show how the model
/// treats unknown texts.
pub(super) fn settle(items: Vec<Item>) -> Result<(Vec<Item>, Vec<Dropped>), ItemError> {
    let mut faults = Faults::default();
    let mut by_id: HashMap<&str, &Item> = HashMap::new();
    for item in &items {
        if let Some(first) = by_id.insert(&item.id.0, item) {
            let problem = format!(
                "the id {} is already taken at {}",
                quoted(&item.id.0),
                first.origin
            );
            faults.push(
                &item.origin,
                Wrong::line(problem, "give every item an id of its own"),
            );
            by_id.insert(&first.id.0, first);
        }
    }

    let keys: Vec<Key> = items.iter().map(Key::new).collect();
    // For each text: the first control and the first item of another kind.
    let mut sides: HashMap<&Digest, [Option<usize>; 2]> = HashMap::new();
    let mut firsts: HashMap<(Kind, &Key), usize> = HashMap::new();
    let mut repeats: Vec<Option<usize>> = Vec::with_capacity(items.len());
    for (index, (item, key)) in items.iter().zip(&keys).enumerate() {
        let side = usize::from(item.kind == Kind::Control);
        let found = sides.entry(&key.text).or_default();
        if let Some(other) = found[1 - side] {
            let problem = format!(
                "the same text is {} here and {} at {} ({})",
                kind_phrase(item.kind),
                kind_phrase(items[other].kind),
                items[other].origin,
                quoted(&items[other].id.0)
            );
            let fix =
                "a control must be a text the model can't have seen, so remove one of the two";
            faults.push(&item.origin, Wrong::line(problem, fix));
        }
        found[side].get_or_insert(index);
        let first = *firsts.entry((item.kind, key)).or_insert(index);
        repeats.push((first != index).then_some(first));
    }
    if faults.total > 0 {
        return Err(ItemError::Clashes {
            faults: faults.kept,
            total: faults.total,
        });
    }

    let dropped = items
        .iter()
        .zip(&repeats)
        .filter_map(|(item, first)| {
            let first = &items[(*first)?];
            let reason = format!("same text as {:?} ({})", first.id.0, first.origin);
            Some(Dropped {
                id: item.id.clone(),
                origin: item.origin.clone(),
                reason,
            })
        })
        .collect();
    let kept = items
        .into_iter()
        .zip(repeats)
        .filter(|(_, first)| first.is_none())
        .map(|(item, _)| item)
        .collect();
    Ok((kept, dropped))
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    text: Digest,
    /// For a split item: the text before the split.
    prefix: Option<Digest>,
}

impl Key {
    fn new(item: &Item) -> Self {
        match &item.content {
            Content::Text(text) => Self {
                text: normalized(text),
                prefix: None,
            },
            Content::Split { prefix, suffix } => Self {
                text: normalized(&format!("{prefix}{suffix}")),
                prefix: Some(normalized(prefix)),
            },
        }
    }
}

fn normalized(text: &str) -> Digest {
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.extend(word.nfc());
    }
    Digest::of_bytes(plain.as_bytes())
}

fn kind_phrase(kind: Kind) -> &'static str {
    match kind {
        Kind::OptOut => "opted out",
        Kind::Control => "a control",
        Kind::Canary => "a canary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::read_bytes;

    fn settled(lines: &[&str]) -> Result<crate::items::ProbeSet, ItemError> {
        read_bytes("set.jsonl", lines.join("\n").as_bytes())
    }

    #[test]
    fn texts_that_differ_only_in_white_space_or_normalization_are_dropped() {
        let set = settled(&[
            r#"{"id":"a","text":"Caf\u00e9 noir,  s'il vous pla\u00eet"}"#,
            r#"{"id":"b","text":" Cafe\u0301\nnoir,\t\u00a0s'il vous plai\u0302t \n"}"#,
            r#"{"id":"c","text":"caf\u00e9 noir, s'il vous pla\u00eet"}"#,
            r#"{"id":"d","kind":"canary","text":"Caf\u00e9 noir, s'il vous pla\u00eet"}"#,
            r#"{"id":"e","text":"Caf\u00e9 noir, s'il vous pla\u00eet"}"#,
        ])
        .unwrap();
        let kept: Vec<&str> = set.items.iter().map(|item| item.id.0.as_str()).collect();
        assert_eq!(kept, ["a", "c", "d"]);
        let dropped: Vec<String> = set
            .manifest
            .dropped
            .iter()
            .map(|item| format!("{} {} {}", item.id, item.origin, item.reason))
            .collect();
        assert_eq!(
            dropped,
            [
                r#"b set.jsonl:2 same text as "a" (set.jsonl:1)"#,
                r#"e set.jsonl:5 same text as "a" (set.jsonl:1)"#
            ]
        );
        assert_eq!(
            (
                set.manifest.opt_outs,
                set.manifest.controls,
                set.manifest.canaries
            ),
            (2, 0, 1)
        );
    }

    #[test]
    fn split_items_are_duplicates_only_if_split_at_the_same_position() {
        let set = settled(&[
            r#"{"id":"whole","text":"one two three"}"#,
            r#"{"id":"early","prefix":"one","suffix":" two three"}"#,
            r#"{"id":"late","prefix":"one two","suffix":" three"}"#,
            r#"{"id":"again","prefix":"one  two","suffix":" three"}"#,
        ])
        .unwrap();
        assert_eq!(set.items.len(), 3);
        assert_eq!(set.manifest.dropped[0].id.0, "again");
        assert_eq!(
            set.manifest.dropped[0].reason,
            r#"same text as "late" (set.jsonl:3)"#
        );
    }

    #[test]
    fn a_text_cannot_be_both_an_item_and_a_control() {
        let fix = "a control must be a text the model can't have seen, so remove one of the two";
        let error = settled(&[
            r#"{"id":"a","text":"one two"}"#,
            r#"{"id":"b","kind":"control","prefix":"one","suffix":" two"}"#,
            r#"{"id":"c","kind":"control","text":"three"}"#,
            r#"{"id":"d","kind":"canary","text":"three"}"#,
        ])
        .unwrap_err();
        let expected = format!(
            "set.jsonl:2: the same text is a control here and opted out at set.jsonl:1 (\"a\"); {fix}\n\
             set.jsonl:4: the same text is a canary here and a control at set.jsonl:3 (\"c\"); {fix}"
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn duplicate_ids_name_the_first_use() {
        let error = settled(&[
            r#"{"id":"a","text":"one"}"#,
            r#"{"id":"a","text":"two"}"#,
            r#"{"id":"b","text":"three"}"#,
            r#"{"id":"a","text":"four"}"#,
        ])
        .unwrap_err();
        let rest =
            r#"the id "a" is already taken at set.jsonl:1; give every item an id of its own"#;
        assert_eq!(
            error.to_string(),
            format!("set.jsonl:2: {rest}\nset.jsonl:4: {rest}")
        );
    }
}
