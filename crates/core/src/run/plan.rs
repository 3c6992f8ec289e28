//! Dividing a run's windows into parts, which are scored, written and resumed one by one.

use crate::digest::Digest;
use crate::run::Plan;
use crate::window::{Window, WindowId};
use std::borrow::Borrow;
use std::ops::Range;

/// A run has about this many parts, so that a kill loses about a sixty-fourth of the work.
const PARTS: usize = 64;
/// Fewer windows than this aren't worth a file of their own.
const SMALLEST_PART: usize = 64;
/// More would lose too much to a kill, however long the run.
const LARGEST_PART: usize = 1024;

impl Plan {
    /// The plan for `windows`. It depends on them and on nothing else, so that a resumed run divides them
    /// as it did before.
    pub fn of<W: Borrow<Window>>(windows: &[W]) -> Self {
        let part_size = (windows.len() / PARTS).clamp(SMALLEST_PART, LARGEST_PART);
        let mut contents = String::new();
        let mut part_ids = Vec::new();
        for part in windows.chunks(part_size) {
            // Digest of digests: the windows of a long run needn't stand in memory twice.
            contents.push_str(content_digest(part).as_str());
            part_ids.push(id_digest(part.iter().map(|w| &w.borrow().id)));
        }
        Self {
            windows: windows.len() as u64,
            part_size: part_size as u64,
            digest: Digest::of_bytes(contents.as_bytes()),
            part_ids,
        }
    }

    /// Number of parts.
    pub fn parts(&self) -> u64 {
        self.windows.div_ceil(self.part_size.max(1))
    }

    /// The windows of part `index`, counted from 0, as positions in the run's list of windows; empty past
    /// the last part.
    pub fn part_range(&self, index: u64) -> Range<usize> {
        let start = index.saturating_mul(self.part_size).min(self.windows);
        let end = start.saturating_add(self.part_size).min(self.windows);
        start as usize..end as usize
    }

    /// The part that window `place` is in.
    pub fn part_of(&self, place: usize) -> u64 {
        place as u64 / self.part_size.max(1)
    }

    /// Whether `ids` are the windows planned for part `index`, all of them and in order.
    pub fn is_part<'a>(&self, index: u64, ids: impl Iterator<Item = &'a WindowId>) -> bool {
        usize::try_from(index)
            .ok()
            .and_then(|i| self.part_ids.get(i))
            .is_some_and(|planned| *planned == id_digest(ids))
    }
}

fn content_digest<W: Borrow<Window>>(windows: &[W]) -> Digest {
    let mut bytes = Vec::new();
    for window in windows {
        let window = window.borrow();
        push_id(&mut bytes, &window.id);
        bytes.extend(window.placement.prefix_len.to_le_bytes());
        bytes.extend((window.token_ids.len() as u64).to_le_bytes());
        bytes.extend(window.token_ids.iter().flat_map(|id| id.to_le_bytes()));
    }
    Digest::of_bytes(&bytes)
}

fn id_digest<'a>(ids: impl Iterator<Item = &'a WindowId>) -> Digest {
    let mut bytes = Vec::new();
    ids.for_each(|id| push_id(&mut bytes, id));
    Digest::of_bytes(&bytes)
}

/// The length goes first, so that "ab", "c" and "a", "bc" differ.
fn push_id(bytes: &mut Vec<u8>, id: &WindowId) {
    bytes.extend((id.0.len() as u64).to_le_bytes());
    bytes.extend(id.0.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::ItemId;
    use crate::window::{Form, Placement};

    fn windows(count: u32) -> Vec<Window> {
        (0..count)
            .map(|i| Window {
                id: WindowId(format!("a#{i}")),
                item: ItemId("a".to_owned()),
                placement: Placement {
                    form: Form::AsGiven,
                    template: Default::default(),
                    start_token: i,
                    start_byte: 0,
                    suffix_byte: 1,
                    end_byte: 2,
                    suffix_char: 1,
                    end_char: 2,
                    prefix_len: 2,
                    suffix_len: 1,
                    straddles: false,
                },
                token_ids: vec![i, 7, 8],
            })
            .collect()
    }

    #[test]
    fn part_size_follows_from_the_number_of_windows() {
        for (count, size, parts) in [
            (0, 64, 0),
            (1, 64, 1),
            (64, 64, 1),
            (65, 64, 2),
            (8192, 128, 64),
            (100_000, 1024, 98),
        ] {
            let plan = Plan::of(&windows(count));
            assert_eq!(
                (plan.part_size, plan.parts()),
                (size, parts),
                "{count} windows"
            );
            assert_eq!(plan.part_ids.len() as u64, parts);
        }
    }

    #[test]
    fn parts_tile_the_windows_in_order() {
        let windows = windows(1041);
        let plan = Plan::of(&windows);
        let mut next = 0;
        for index in 0..plan.parts() {
            let range = plan.part_range(index);
            assert_eq!(range.start, next);
            assert_eq!(
                (plan.part_of(range.start), plan.part_of(range.end - 1)),
                (index, index)
            );
            assert!(plan.is_part(index, windows[range.clone()].iter().map(|w| &w.id)));
            next = range.end;
        }
        assert_eq!(next, 1041);
        assert!(plan.part_range(plan.parts()).is_empty());
        assert!(
            !plan.is_part(0, windows[16..32].iter().map(|w| &w.id)),
            "the ids of another part"
        );
        assert!(
            !plan.is_part(plan.parts(), std::iter::empty()),
            "a part past the end"
        );
    }

    #[test]
    fn the_digest_changes_with_ids_tokens_prefix_and_order() {
        let base = Plan::of(&windows(40)).digest;
        let changed = |change: fn(&mut Vec<Window>)| {
            let mut windows = windows(40);
            change(&mut windows);
            Plan::of(&windows).digest
        };
        assert_eq!(base, changed(|_| ()));
        assert_ne!(base, changed(|w| w[39].id.0.push('x')));
        assert_ne!(base, changed(|w| w[20].token_ids[2] = 9));
        assert_ne!(base, changed(|w| w[20].placement.prefix_len = 1));
        assert_ne!(base, changed(|w| w.swap(3, 4)));
        assert_ne!(base, changed(|w| drop(w.pop())));
    }
}
