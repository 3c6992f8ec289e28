//! Which controls an item is compared with.

use crate::items::{ItemId, Kind};
use crate::policy::{Matching, Policy, TAG};
use std::collections::HashSet;

/// What matching looks at: names, no scores. So the choice of controls can't favour any verdict.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    pub id: &'a ItemId,
    pub kind: Kind,
    /// The item's tags.
    pub tags: &'a [String],
    /// A control's: ids and tags of what it stands for; empty = anything.
    pub matches: &'a [String],
}

impl Labels<'_> {
    /// Whether an entry of the policy's `positive_controls` means this item: its id, or `tag:` and one of its tags. A tag
    /// never means a control, which can't be found.
    pub(super) fn is_named_by(&self, entry: &ItemId) -> bool {
        let by_tag = Policy::positive_control(entry).0.starts_with(TAG);
        Policy::names_positive_control(entry, self.id, self.tags)
            && !(by_tag && self.kind == Kind::Control)
    }
}

/// The controls of a run, ready to be chosen from.
pub(super) struct Pools<'a> {
    matching: Matching,
    controls: Vec<Control<'a>>,
}

struct Control<'a> {
    /// Its place among the labels.
    index: usize,
    stands_for: HashSet<&'a str>,
    /// Whether it names the id of an item of the run.
    particular: bool,
}

/// An item's controls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pool {
    /// Their places among the labels, in order.
    pub(super) controls: Vec<usize>,
    /// Whether they were chosen for the item.
    pub(super) matched: bool,
}

impl<'a> Pools<'a> {
    pub(super) fn of(matching: Matching, labels: &[Labels<'a>]) -> Self {
        let items: HashSet<&str> = labels
            .iter()
            .filter(|label| label.kind != Kind::Control)
            .map(|label| label.id.0.as_str())
            .collect();
        let controls = labels
            .iter()
            .enumerate()
            .filter(|(_, label)| label.kind == Kind::Control);
        let control = |(index, label): (usize, &Labels<'a>)| {
            let stands_for: HashSet<&str> = label.matches.iter().map(String::as_str).collect();
            Control {
                index,
                particular: stands_for.iter().any(|name| items.contains(name)),
                stands_for,
            }
        };
        Self {
            matching,
            controls: controls.map(control).collect(),
        }
    }

    /// The controls of an item.
    ///
    /// `tags`: those that name its id or one of its tags, if there are any, measured or not; otherwise all that name the
    /// id of no item of the run. `all`: all that name its id or the id of no item of the run.
    pub(super) fn of_item(&self, item: &Labels<'_>) -> Pool {
        let named = |control: &&Control<'_>, tags: bool| {
            let stands_for = |name: &String| control.stands_for.contains(name.as_str());
            stands_for(&item.id.0) || (tags && item.tags.iter().any(stands_for))
        };
        let chosen = |keep: &dyn Fn(&&Control<'_>) -> bool| -> Vec<usize> {
            self.controls
                .iter()
                .filter(keep)
                .map(|control| control.index)
                .collect()
        };
        match self.matching {
            Matching::Tags => {
                let matched = chosen(&|control| named(control, true));
                if matched.is_empty() {
                    return Pool {
                        controls: chosen(&|control| !control.particular),
                        matched: false,
                    };
                }
                Pool {
                    controls: matched,
                    matched: true,
                }
            }
            Matching::All => {
                let controls = chosen(&|control| !control.particular || named(control, false));
                Pool {
                    controls,
                    matched: false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_chosen_by_id_and_tag_and_otherwise_stand_for_anything() {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let run = [
            ("poem", Kind::OptOut, words(&["verse", "de"]), words(&[])),
            ("law", Kind::OptOut, words(&["legal"]), words(&[])),
            ("song", Kind::Canary, words(&["verse"]), words(&[])),
            ("plain", Kind::Control, words(&["verse"]), words(&[])),
            ("of-verse", Kind::Control, words(&[]), words(&["verse"])),
            (
                "of-absent-item",
                Kind::Control,
                words(&[]),
                words(&["no-such-item"]),
            ),
            ("twin-of-law", Kind::Control, words(&[]), words(&["law"])),
            ("twin-of-song", Kind::Control, words(&[]), words(&["song"])),
        ];
        let ids: Vec<ItemId> = run
            .iter()
            .map(|(id, ..)| ItemId((*id).to_owned()))
            .collect();
        let labels: Vec<Labels<'_>> = run
            .iter()
            .zip(&ids)
            .map(|((_, kind, tags, matches), id)| Labels {
                id,
                kind: *kind,
                tags,
                matches,
            })
            .collect();
        let cases: [(Matching, usize, &[usize], bool); 6] = [
            (Matching::Tags, 0, &[4], true),
            (Matching::Tags, 1, &[6], true),
            (Matching::Tags, 2, &[4, 7], true),
            (Matching::All, 0, &[3, 4, 5], false),
            (Matching::All, 1, &[3, 4, 5, 6], false),
            (Matching::All, 2, &[3, 4, 5, 7], false),
        ];
        for (matching, item, controls, matched) in cases {
            let pool = Pools::of(matching, &labels).of_item(&labels[item]);
            assert_eq!(
                pool,
                Pool {
                    controls: controls.to_vec(),
                    matched
                },
                "{matching:?} {item}"
            );
        }
        // An item that no control names: all but the twins of others, also those that stand for a kind of text.
        let id = ItemId("stray".to_owned());
        let stray = Labels {
            id: &id,
            kind: Kind::OptOut,
            tags: &[],
            matches: &[],
        };
        let pool = Pools::of(Matching::Tags, &labels).of_item(&stray);
        assert_eq!(
            pool,
            Pool {
                controls: vec![3, 4, 5],
                matched: false
            }
        );
    }
}
