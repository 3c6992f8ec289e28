//! Split GGUF: one model in several files called `NAME-00001-of-00003.gguf`. The first contains all
//! metadata, and every part contains some of the tensors. Each part states its number (`split.no`,
//! from 0) and the number of parts (`split.count`).

use super::{Gguf, ModelError};
use std::path::Path;

/// The parsed name of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartName {
    stem: String,
    /// From 1.
    pub number: u32,
    pub count: u32,
}

impl PartName {
    /// Parses `name`, if it is the name of one of several parts.
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| {
            let five = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
            five.then(|| text.parse().ok()).flatten()
        };
        let (number, count) = (digits(number)?, digits(count)?);
        (count > 1 && (1..=count).contains(&number)).then(|| Self {
            stem: stem.to_owned(),
            number,
            count,
        })
    }

    /// The names of all parts, in order.
    pub fn all(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.count)
            .map(|number| format!("{}-{number:05}-of-{:05}.gguf", self.stem, self.count))
    }
}

/// Joins all parts of the split file that `one`, read from `path`, belongs to.
pub(super) fn join(path: &Path, one: Gguf) -> Result<Gguf, ModelError> {
    let bad = |path: &Path, what: String| ModelError::BadFile {
        path: path.to_owned(),
        what,
    };
    let count = one.int("split.count").unwrap_or_default();
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let Some(named) = PartName::parse(&name).filter(|named| u64::from(named.count) == count) else {
        let what = format!(
            "it is one of {count} parts of a model, but its name isn't like NAME-00001-of-{count:05}.gguf, from which the names of the others \
             follow; restore its original name"
        );
        return Err(bad(path, what));
    };
    drop(one);
    let mut whole: Option<Gguf> = None;
    for (number, name) in named.all().enumerate() {
        let path = path.with_file_name(name);
        if !path.is_file() {
            return Err(bad(
                &path,
                format!("this part of {count} is missing; fetch it, too"),
            ));
        }
        let part = Gguf::open_one(&path)?;
        let found = (part.int("split.no"), part.int("split.count"));
        if found != (Some(number as u64), Some(count)) {
            let shown = |n: Option<u64>| n.map_or("none".to_owned(), |n| n.to_string());
            let what = format!(
                "its metadata says part {} (from 0) of {}, but its name says part {number} of {count}; fetch all parts again",
                shown(found.0),
                shown(found.1)
            );
            return Err(bad(&path, what));
        }
        let Some(whole) = &mut whole else {
            whole = Some(part);
            continue;
        };
        for (tensor, mut entry) in part.tensors {
            entry.part = number;
            if whole.tensors.insert(tensor.clone(), entry).is_some() {
                return Err(bad(
                    &path,
                    format!("tensor \"{tensor}\" is also in another part; fetch all parts again"),
                ));
            }
        }
        whole.parts.push(path);
    }
    let whole = whole.ok_or_else(|| bad(path, "it has no parts".to_owned()))?;
    match whole.int("split.tensors.count") {
        Some(found) if found != whole.tensors.len() as u64 => Err(bad(
            whole.path(),
            format!(
                "its metadata says {found} tensors, but all parts together have {}; fetch them again",
                whole.tensors.len()
            ),
        )),
        _ => Ok(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_parsed() {
        for (name, expected) in [
            ("m-q4-00002-of-00003.gguf", Some((2, 3))),
            ("q4/m-00001-of-00002.gguf", Some((1, 2))),
            ("m-00001-of-00001.gguf", None),
            ("m-00004-of-00003.gguf", None),
            ("m-00000-of-00003.gguf", None),
            ("m-2-of-3.gguf", None),
            ("m.gguf", None),
            ("m-00002-of-00003.bin", None),
        ] {
            assert_eq!(
                PartName::parse(name).map(|part| (part.number, part.count)),
                expected,
                "{name}"
            );
        }
        let names: Vec<String> = PartName::parse("a-00002-of-00002.gguf")
            .unwrap()
            .all()
            .collect();
        assert_eq!(names, ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]);
    }
}
