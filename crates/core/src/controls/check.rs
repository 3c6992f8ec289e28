//! Finds problems in a control set: texts that repeat each other, share a template, are too short,
//! or quote the items.

use super::ngrams::{Index, SHARED, SIMILAR, runs, words};
use super::{ControlsError, asked_for, chars, median, text, twins};
use crate::items::{Item, ItemId, Origin, ProbeSet};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// Prefix of the tag that names the text a control was cut from.
pub const PART_OF: &str = "part-of:";
/// Texts with fewer words may have fewer than the 101 tokens of one window of 50 + 50 with a BOS
/// token.
pub const SHORTEST: usize = 105;
/// Texts that share at least this fraction of their runs of [`SIMILAR`] words (Jaccard) are
/// near-duplicates.
pub const ALIKE: f64 = 0.1;
/// Texts that begin with this many identical words seem to come from one template.
const OPENING: usize = 5;

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    pub controls: u64,
    /// Number of independent texts: pieces of one text count once.
    pub texts: u64,
    /// Number of controls that are twins of an item, the weaker kind. Overlap with their own item
    /// and its other twins isn't reported.
    pub twins: u64,
    /// Median length of the controls.
    pub median_chars: u64,
    /// Median length of the items, if items were given.
    pub item_median_chars: Option<u64>,
    pub findings: Vec<Finding>,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub problem: Problem,
    pub id: ItemId,
    pub origin: Origin,
    /// The description.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The same text as another control.
    Duplicate,
    /// Nearly the same text as another control.
    NearDuplicate,
    /// Shares words in a row with another control.
    Template,
    /// Begins like another control.
    Opening,
    /// Too short for one window.
    Short,
    /// Cut from the same text as another control.
    Dependent,
    /// Shares words in a row with an item.
    Overlap,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duplicate => "duplicate",
            Self::NearDuplicate => "near-duplicate",
            Self::Template => "template",
            Self::Opening => "opening",
            Self::Short => "short",
            Self::Dependent => "dependent",
            Self::Overlap => "overlap",
        })
    }
}

/// Checks controls against each other and, if items are given, against those.
///
/// # Errors
/// When `like` contains only controls.
pub fn check(set: &ProbeSet, like: Option<&[Item]>) -> Result<Checked, ControlsError> {
    let like = like.map(asked_for).transpose()?;
    let controls = &set.items;
    let texts: Vec<_> = controls.iter().map(text).collect();
    let words: Vec<Vec<u64>> = texts.iter().map(|text| words(text)).collect();
    let mut findings = Vec::new();
    let mut found = |problem, control: &Item, detail: String| {
        findings.push(Finding {
            problem,
            id: control.id.clone(),
            origin: control.origin.clone(),
            detail,
        });
    };

    for (control, words) in controls.iter().zip(&words) {
        if words.len() < SHORTEST {
            let detail = format!(
                "{} words; at least {SHORTEST} are needed to fill a window of 50 + 50 tokens for certain",
                words.len()
            );
            found(Problem::Short, control, detail);
        }
    }

    let mut parts: BTreeMap<&str, &Item> = BTreeMap::new();
    for control in controls {
        let Some(whole) = control
            .tags
            .iter()
            .find_map(|tag| tag.strip_prefix(PART_OF))
        else {
            continue;
        };
        match parts.get(whole) {
            Some(first) => {
                let detail = format!(
                    "a piece of {whole:?}, like {:?}; pieces of one text count as one",
                    first.id.0
                );
                found(Problem::Dependent, control, detail);
            }
            None => _ = parts.insert(whole, control),
        }
    }

    for Pair {
        earlier,
        later,
        similarity,
        shared,
        opening,
    } in pairs(controls, &words)
    {
        let (first, control) = (&controls[earlier], &controls[later]);
        let other = format!("{:?} ({})", first.id.0, first.origin);
        if similarity >= ALIKE {
            let detail = format!(
                "shares {:.0}% of its runs of {SIMILAR} words with {other}",
                100.0 * similarity
            );
            found(Problem::NearDuplicate, control, detail);
        } else if shared {
            found(
                Problem::Template,
                control,
                format!("shares {SHARED} words in a row with {other}"),
            );
        } else if opening {
            found(
                Problem::Opening,
                control,
                format!("begins with the same {OPENING} words as {other}"),
            );
        }
    }

    let mut item_median_chars = None;
    if let Some(items) = &like {
        item_median_chars =
            Some(median(items.iter().map(|item| chars(&text(item))).collect()) as u64);
        let mut index = Index::default();
        items
            .iter()
            .enumerate()
            .for_each(|(owner, item)| index.add(owner, &super::ngrams::words(&text(item))));
        for (control, words) in controls.iter().zip(&words) {
            let Some(overlap) = index.overlap(words) else {
                continue;
            };
            let item = items[overlap.owner];
            if twins::is_twin_of(control, item) {
                continue;
            }
            let detail = format!(
                "shares {SHARED} words in a row with {:?} ({}), from word {} on",
                item.id.0, item.origin, overlap.first
            );
            found(Problem::Overlap, control, detail);
        }
    }

    for dropped in &set.manifest.dropped {
        let (id, origin, detail) = (
            dropped.id.clone(),
            dropped.origin.clone(),
            dropped.reason.clone(),
        );
        findings.push(Finding {
            problem: Problem::Duplicate,
            id,
            origin,
            detail,
        });
    }
    // Findings are grouped by text, in the order in which the texts were read.
    let places: HashMap<&ItemId, usize> = controls
        .iter()
        .enumerate()
        .map(|(at, control)| (&control.id, at))
        .collect();
    findings.sort_by_key(|finding| {
        (
            places.get(&finding.id).copied().unwrap_or(usize::MAX),
            finding.problem,
        )
    });
    let dependent = findings
        .iter()
        .filter(|finding| finding.problem == Problem::Dependent)
        .count();
    Ok(Checked {
        controls: controls.len() as u64,
        texts: (controls.len() - dependent) as u64,
        twins: controls
            .iter()
            .filter(|control| twins::is_twin(control))
            .count() as u64,
        median_chars: median(texts.iter().map(|text| chars(text)).collect()) as u64,
        item_median_chars,
        findings,
    })
}

/// Two controls that have something in common.
struct Pair {
    earlier: usize,
    later: usize,
    /// Jaccard similarity of their runs of [`SIMILAR`] words.
    similarity: f64,
    /// Whether they share [`SHARED`] words in a row.
    shared: bool,
    /// Whether they begin with the same words.
    opening: bool,
}

/// Pairs of controls with anything in common, found through what they share, so that unrelated
/// texts cost nothing. Exact: sets of this size need no MinHash. Each text is compared with the
/// first twenty texts that share a run with it.
fn pairs(controls: &[Item], words: &[Vec<u64>]) -> Vec<Pair> {
    let similar: Vec<HashSet<u64>> = words
        .iter()
        .map(|words| runs(words, SIMILAR).collect())
        .collect();
    let longer: Vec<HashSet<u64>> = words
        .iter()
        .map(|words| runs(words, SHARED).collect())
        .collect();
    let mut holders: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut pairs = Vec::new();
    for (later, runs) in similar.iter().enumerate() {
        let mut earlier: Vec<usize> = runs
            .iter()
            .filter_map(|run| holders.get(run))
            .flatten()
            .copied()
            .collect();
        earlier.sort_unstable();
        earlier.dedup();
        earlier.retain(|&earlier| !twins::are_twins(&controls[earlier], &controls[later]));
        for earlier in earlier {
            let both = similar[earlier].intersection(runs).count();
            pairs.push(Pair {
                earlier,
                later,
                similarity: both as f64 / (similar[earlier].len() + runs.len() - both) as f64,
                shared: !longer[earlier].is_disjoint(&longer[later]),
                opening: words[earlier].len() >= OPENING
                    && words[later].starts_with(&words[earlier][..OPENING]),
            });
        }
        for run in runs {
            let holders = holders.entry(*run).or_default();
            if holders.len() < HOLDERS {
                holders.push(later);
            }
        }
    }
    pairs
}

/// A run in more texts than this is attributed to the first ones only.
const HOLDERS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::read_bytes;

    /// Words that are unique to a name.
    fn some(name: &str, words: usize) -> String {
        (0..words)
            .map(|n| format!("{name}{n}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn set(lines: &[(&str, String, &[&str], &[&str])]) -> ProbeSet {
        let line = |(id, text, tags, matches): &(&str, String, &[&str], &[&str])| {
            serde_json::json!({ "id": id, "kind": "control", "text": text, "tags": tags, "matches": matches })
                .to_string()
        };
        read_bytes(
            "c.jsonl",
            lines
                .iter()
                .map(line)
                .collect::<Vec<_>>()
                .join("\n")
                .as_bytes(),
        )
        .unwrap()
    }

    fn found(set: &ProbeSet, like: Option<&[Item]>) -> Vec<String> {
        let said =
            |finding: &Finding| format!("{} {}: {}", finding.id, finding.problem, finding.detail);
        check(set, like)
            .unwrap()
            .findings
            .iter()
            .map(said)
            .collect()
    }

    #[test]
    fn every_problem_is_found_and_names_both_texts() {
        let long = some("x", 120);
        let clean = ("a", long.clone(), &[][..], &[][..]);
        let first = |words: usize| some("x", words);
        for (other, expected) in [
            (("b", some("y", 120), &[][..], &[][..]), None),
            (
                ("b", some("y", 104), &[], &[]),
                Some(
                    "b short: 104 words; at least 105 are needed to fill a window of 50 + 50 tokens for certain",
                ),
            ),
            (
                ("b", format!("{} {}", first(60), some("y", 60)), &[], &[]),
                Some("b near-duplicate: shares 32% of its runs of 5 words with \"a\" (c.jsonl:1)"),
            ),
            (
                ("b", format!("{} {}", some("y", 120), first(8)), &[], &[]),
                Some("b template: shares 8 words in a row with \"a\" (c.jsonl:1)"),
            ),
            (
                ("b", format!("{} {}", some("y", 120), first(7)), &[], &[]),
                None,
            ),
            (
                ("b", format!("{} {}", first(5), some("y", 120)), &[], &[]),
                Some("b opening: begins with the same 5 words as \"a\" (c.jsonl:1)"),
            ),
            (
                ("b", long.to_uppercase(), &[], &[]),
                Some("b near-duplicate: shares 100% of its runs of 5 words with \"a\" (c.jsonl:1)"),
            ),
            (
                ("b", long.clone(), &[], &[]),
                Some("b duplicate: same text as \"a\" (c.jsonl:1)"),
            ),
        ] {
            assert_eq!(
                found(&set(&[clean.clone(), other]), None),
                expected.into_iter().collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn pieces_of_one_text_count_as_one() {
        let set = set(&[
            ("a", some("a", 120), &["part-of:book"], &[]),
            ("b", some("b", 120), &["part-of:book"], &[]),
            ("c", some("c", 120), &["part-of:letter"], &[]),
        ]);
        assert_eq!(
            found(&set, None),
            ["b dependent: a piece of \"book\", like \"a\"; pieces of one text count as one"]
        );
        let checked = check(&set, None).unwrap();
        assert_eq!((checked.controls, checked.texts), (3, 2));
    }

    #[test]
    fn controls_that_quote_an_item_are_found_except_its_own_twins() {
        let items = set(&[("item", some("i", 300), &[], &[])]).items;
        let items: Vec<Item> = items
            .into_iter()
            .map(|item| Item {
                kind: Default::default(),
                ..item
            })
            .collect();
        let quote = format!("{} {}", some("q", 120), some("i", 9));
        let twin = |name: &str| format!("{} {}", some("i", 100), some(name, 20));
        let set = set(&[
            ("plain", some("p", 120), &[], &[]),
            ("quoting", quote, &[], &[]),
            ("one", twin("v"), &["twin"], &["item"]),
            ("two", twin("w"), &["twin"], &["item"]),
            (
                "stray",
                some("s", 120) + " " + &some("i", 20),
                &["twin"],
                &["other"],
            ),
        ]);
        let checked = check(&set, Some(&items)).unwrap();
        let overlaps: Vec<String> = found(&set, Some(&items))
            .into_iter()
            .filter(|found| found.contains(" overlap: "))
            .collect();
        let overlap = |id: &str, word: u32| {
            format!(
                "{id} overlap: shares 8 words in a row with \"item\" (c.jsonl:1), from word {word} on"
            )
        };
        assert_eq!(overlaps, [overlap("quoting", 121), overlap("stray", 121)]);
        let pairs = checked
            .findings
            .iter()
            .filter(|finding| finding.id.0 == "two");
        assert!(
            pairs
                .clone()
                .all(|finding| !finding.detail.contains("\"one\"")),
            "two twins of one item"
        );
        assert_eq!(
            (checked.twins, checked.item_median_chars),
            (
                3,
                Some(items.iter().map(|i| chars(&text(i))).sum::<usize>() as u64)
            )
        );
    }

    #[test]
    fn runs_in_many_texts_take_bounded_time() {
        let common = some("common", 10);
        let texts: Vec<(String, String)> = (0..300)
            .map(|n| {
                (
                    format!("t{n}"),
                    format!("{} {common}", some(&format!("u{n}x"), 120)),
                )
            })
            .collect();
        let lines: Vec<_> = texts
            .iter()
            .map(|(id, text)| (id.as_str(), text.clone(), &[][..], &[][..]))
            .collect();
        let found = check(&set(&lines), None).unwrap().findings;
        assert!(
            found
                .iter()
                .all(|finding| finding.problem == Problem::Template)
        );
        let named: HashSet<&ItemId> = found.iter().map(|finding| &finding.id).collect();
        assert_eq!(named.len(), 299, "each but the first is named");
    }
}
