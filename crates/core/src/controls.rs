//! Control texts, which show the scores that mere predictability gives: the built-in sets, and
//! making and checking other sets.
//!
//! Knows items and line breaks. Knows nothing about tokens, models or verdicts, so lengths are in
//! characters.

pub mod check;
pub mod make;
pub mod ngrams;
pub mod twins;

mod layout;
mod names;
mod random;
mod sentences;

use crate::items::error::ItemError;
use crate::items::{self, Content, Dropped, Item, ItemId, Kind, Origin, Source};
use serde::Serialize;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A built-in control set: thirty texts of one genre.
#[derive(Clone, Copy, Debug)]
pub struct BuiltinSet {
    pub genre: &'static str,
    /// The name in reports.
    pub name: &'static str,
    /// JSONL.
    pub bytes: &'static [u8],
}

macro_rules! sets {
    ($($genre:literal),*) => {
        [$(BuiltinSet {
            genre: $genre,
            name: concat!("builtin:controls/", $genre, ".jsonl"),
            bytes: include_bytes!(concat!("../../../prompts/controls/", $genre, ".jsonl")),
        }),*]
    };
}

/// The control sets inside the program. None of their texts was published before the date in its
/// tags.
pub const BUILTIN: [BuiltinSet; 8] = sets![
    "code",
    "dialogue",
    "legal",
    "news",
    "personal",
    "prose",
    "technical",
    "verse"
];

/// Why controls can't be found, made or checked.
#[derive(Debug, thiserror::Error)]
pub enum ControlsError {
    #[error(
        "{reference}: there is no built-in control set {genre:?}; the sets are {}",
        genres()
    )]
    UnknownGenre { reference: String, genre: String },
    #[error(
        "{file} contains only controls, so there are no texts to imitate; name opted-out texts with --like"
    )]
    NothingLike { file: String },
    /// No piece of any text became a control; one reason per line.
    #[error("no control could be made:\n{}", listing(.0))]
    NoneMade(Vec<LeftOut>),
    #[error(transparent)]
    Items(#[from] ItemError),
}

/// A text, or a piece of one, that gave no control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub id: ItemId,
    pub origin: Origin,
    /// The reason, in words.
    pub reason: String,
}

impl From<&Dropped> for LeftOut {
    fn from(dropped: &Dropped) -> Self {
        let Dropped { id, origin, reason } = dropped.clone();
        Self { id, origin, reason }
    }
}

/// The sources for `--controls` and similar options: `builtin`, `builtin:GENRE,GENRE`, or a path. A
/// file that is really called `builtin` is `./builtin`.
///
/// # Errors
/// When there is no such built-in set.
pub fn sources(references: &[PathBuf]) -> Result<Vec<Source<'_>>, ControlsError> {
    let mut taken = [false; BUILTIN.len()];
    let mut sources = Vec::new();
    for reference in references {
        let Some(wanted) = builtin(reference)? else {
            sources.push(Source::Path(reference));
            continue;
        };
        for index in wanted {
            // A set that is requested twice is included once.
            if !std::mem::replace(&mut taken[index], true) {
                sources.push(Source::Embedded {
                    name: BUILTIN[index].name,
                    bytes: BUILTIN[index].bytes,
                });
            }
        }
    }
    Ok(sources)
}

/// The built-in sets that a reference names; `None` if it is a path.
fn builtin(reference: &Path) -> Result<Option<Vec<usize>>, ControlsError> {
    let Some(rest) = reference
        .to_str()
        .and_then(|reference| reference.strip_prefix("builtin"))
    else {
        return Ok(None);
    };
    let Some(asked) = rest.strip_prefix(':') else {
        return Ok(rest.is_empty().then(|| (0..BUILTIN.len()).collect()));
    };
    let find = |genre: &str| {
        BUILTIN
            .iter()
            .position(|set| set.genre == genre.trim())
            .ok_or_else(|| ControlsError::UnknownGenre {
                reference: reference.display().to_string(),
                genre: genre.trim().to_owned(),
            })
    };
    asked
        .split(',')
        .map(find)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// The texts of the built-in control sets.
///
/// # Errors
/// Never, except in a broken build.
pub fn builtin_items() -> Result<Vec<Item>, ItemError> {
    let sources = BUILTIN.map(|set| Source::Embedded {
        name: set.name,
        bytes: set.bytes,
    });
    Ok(items::read_sources(&sources)?.items)
}

/// Items as JSONL, one line per item, as `byrote probe` reads it.
pub fn jsonl(items: &[Item]) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        id: &'a ItemId,
        kind: Kind,
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        license: &'a Option<String>,
        tags: &'a [String],
        matches: &'a [String],
    }
    items
        .iter()
        .map(|item| {
            let Item {
                id,
                kind,
                license,
                tags,
                matches,
                ..
            } = item;
            let line = Line {
                id,
                kind: *kind,
                text: text(item),
                license,
                tags,
                matches,
            };
            // Strings and lists of strings can't fail to serialize.
            serde_json::to_string(&line).unwrap_or_default() + "\n"
        })
        .collect()
}

/// The items of a probe set that controls are compared with: all except the controls.
///
/// # Errors
/// When there are none.
pub fn asked_for(items: &[Item]) -> Result<Vec<&Item>, ControlsError> {
    let asked: Vec<&Item> = items
        .iter()
        .filter(|item| item.kind != Kind::Control)
        .collect();
    if asked.is_empty() {
        let file = items
            .first()
            .map(|item| item.origin.file.clone())
            .unwrap_or_default();
        return Err(ControlsError::NothingLike { file });
    }
    Ok(asked)
}

/// An item's whole text.
pub fn text(item: &Item) -> Cow<'_, str> {
    match &item.content {
        Content::Text(text) => Cow::Borrowed(text),
        Content::Split { prefix, suffix } => Cow::Owned(format!("{prefix}{suffix}")),
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

/// The middle one of several lengths; 0 if there are none.
fn median(mut lengths: Vec<usize>) -> usize {
    lengths.sort_unstable();
    lengths.get(lengths.len() / 2).copied().unwrap_or(0)
}

/// A number with thousands separators.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn genres() -> String {
    BUILTIN.map(|set| set.genre).join(", ")
}

fn listing(left_out: &[LeftOut]) -> String {
    const SHOWN: usize = 20;
    let mut lines: Vec<String> = left_out
        .iter()
        .take(SHOWN)
        .map(|out| format!("{}: {:?}: {}", out.origin, out.id.0, out.reason))
        .collect();
    if left_out.len() > SHOWN {
        lines.push(format!("... and {} more", left_out.len() - SHOWN));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(references: &[&str]) -> Result<Vec<String>, String> {
        let references: Vec<PathBuf> = references.iter().map(PathBuf::from).collect();
        let sources = sources(&references).map_err(|error| error.to_string())?;
        let name = |source: &Source<'_>| match source {
            Source::Path(path) => path.display().to_string(),
            Source::Embedded { name, .. } => name.rsplit('/').next().unwrap().to_owned(),
        };
        Ok(sources.iter().map(name).collect())
    }

    #[test]
    fn builtin_references_name_genres_and_others_are_paths() {
        assert_eq!(named(&["builtin"]).unwrap().len(), 8);
        for (references, expected) in [
            (
                &["builtin:legal,prose"][..],
                &["legal.jsonl", "prose.jsonl"][..],
            ),
            (
                &["builtin:prose", "x.txt", "builtin: prose , verse"],
                &["prose.jsonl", "x.txt", "verse.jsonl"],
            ),
            (
                &["./builtin", "builtins", "builtin.jsonl"],
                &["./builtin", "builtins", "builtin.jsonl"],
            ),
            (&[], &[]),
        ] {
            assert_eq!(named(references).unwrap(), expected);
        }
        let sets = "the sets are code, dialogue, legal, news, personal, prose, technical, verse";
        for (reference, genre) in [
            ("builtin:poems", "poems"),
            ("builtin:", ""),
            ("builtin:legal,", ""),
        ] {
            let message =
                format!("{reference}: there is no built-in control set {genre:?}; {sets}");
            assert_eq!(named(&[reference]), Err(message));
        }
    }

    #[test]
    fn written_lines_are_read_back_unchanged() {
        let items = builtin_items().unwrap();
        let again = items::read_bytes("again.jsonl", jsonl(&items).as_bytes())
            .unwrap()
            .items;
        assert_eq!(items.len(), 240);
        for (item, again) in items.iter().zip(&again) {
            let parts = |item: &Item| {
                (
                    item.id.clone(),
                    item.kind,
                    item.content.clone(),
                    item.tags.clone(),
                    item.matches.clone(),
                )
            };
            assert_eq!(parts(item), parts(again));
        }
    }

    #[test]
    fn grouped_numbers_have_thousands_separators() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(n), text);
        }
    }
}
