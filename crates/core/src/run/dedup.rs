//! Windows that are the same question: equal token ids and prefix length. One is scored, its duplicates take its scores over.
//!
//! Boilerplate, quotations, near-duplicate items, and texts whose layouts or templates come to the same tokens make many of
//! them. Which window is scored depends on the order alone, so that a resumed run computes what it would have computed.

use crate::backend::ScoreInput;
use crate::window::Window;
use std::collections::HashMap;
use std::hash::Hash;

/// Which windows are duplicates of which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// Each duplicate's first, by places in the list of windows. Windows without duplicates aren't in it, nor are the first ones.
    first: HashMap<usize, usize>,
}

impl Duplicates {
    /// Finds duplicates among windows, given with their places in the order in which they are scored. Only windows of one
    /// `class` are duplicates: those that are scored in one manner, such as in full.
    pub fn of<'a, C: Hash + Eq>(
        order: impl IntoIterator<Item = (usize, &'a Window)>,
        class: impl Fn(&Window) -> C,
    ) -> Self {
        let mut seen: HashMap<(C, u32, &[u32]), usize> = HashMap::new();
        let mut first = HashMap::new();
        for (place, window) in order {
            let earlier = *seen
                .entry((
                    class(window),
                    window.placement.prefix_len,
                    &window.token_ids[..],
                ))
                .or_insert(place);
            if earlier != place {
                first.insert(place, earlier);
            }
        }
        Self { first }
    }

    /// The window whose scores this one takes over; `None` if it is to be scored itself.
    pub fn first(&self, place: usize) -> Option<usize> {
        self.first.get(&place).copied()
    }

    /// Windows that take scores over.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

/// What was found for windows that have duplicates still to come, and for no others.
#[derive(Clone, Debug)]
pub struct ScoreCache<T> {
    /// By the first duplicate's place: how many are still to come, and what was found.
    due: HashMap<usize, (usize, Option<T>)>,
}

impl<T: Clone> ScoreCache<T> {
    /// For the duplicates at these places, which are still to come.
    pub fn for_duplicates(
        duplicates: &Duplicates,
        places: impl IntoIterator<Item = usize>,
    ) -> Self {
        let mut due: HashMap<usize, (usize, Option<T>)> = HashMap::new();
        for first in places
            .into_iter()
            .filter_map(|place| duplicates.first(place))
        {
            due.entry(first).or_insert((0, None)).0 += 1;
        }
        Self { due }
    }

    /// Whether duplicates of the window at `place` are still to come, for which nothing is held yet.
    pub fn wants(&self, place: usize) -> bool {
        self.due.get(&place).is_some_and(|(_, held)| held.is_none())
    }

    /// Keeps what was found for the window at `place` if it has duplicates still to come.
    pub fn put(&mut self, place: usize, found: &T) {
        if let Some((_, held)) = self.due.get_mut(&place) {
            *held = Some(found.clone());
        }
    }

    /// What was found for the window at `first`, for one of its duplicates; the last of them takes it away. `None` if nothing is
    /// held.
    pub fn take(&mut self, first: usize) -> Option<T> {
        let (left, held) = self.due.get_mut(&first)?;
        *left -= 1;
        if *left > 0 {
            held.clone()
        } else {
            self.due.remove(&first).and_then(|(_, held)| held)
        }
    }

    /// Whether something is held for the duplicates of the window at `first`.
    pub fn has(&self, first: usize) -> bool {
        self.due.get(&first).is_some_and(|(_, held)| held.is_some())
    }

    /// How many findings are held.
    pub fn held(&self) -> usize {
        self.due.values().filter(|(_, held)| held.is_some()).count()
    }
}

/// Asks for each different input once: `ask` gets them in order of their first, and its answers are handed to all that are
/// equal.
pub fn once<'a, T: Clone>(
    inputs: &[ScoreInput<'a>],
    ask: impl FnOnce(&[ScoreInput<'a>]) -> Vec<T>,
) -> Vec<T> {
    let mut places: HashMap<(&[u32], usize), usize> = HashMap::new();
    let mut different = Vec::new();
    let of: Vec<usize> = inputs
        .iter()
        .map(|input| {
            *places
                .entry((input.token_ids, input.prefix_len))
                .or_insert_with(|| {
                    different.push(*input);
                    different.len() - 1
                })
        })
        .collect();
    let answers = ask(&different);
    of.into_iter()
        .filter_map(|place| answers.get(place).cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend as _;
    use crate::run::fixture;

    fn windows(tokens: &[(&[u32], u32)]) -> Vec<Window> {
        let mut windows = fixture::windows(tokens.len() as u32);
        for (window, (ids, prefix_len)) in windows.iter_mut().zip(tokens) {
            (window.token_ids, window.placement.prefix_len) = (ids.to_vec(), *prefix_len);
        }
        windows
    }

    fn firsts(duplicates: &Duplicates, count: usize) -> Vec<Option<usize>> {
        (0..count).map(|place| duplicates.first(place)).collect()
    }

    #[test]
    fn twins_have_the_same_tokens_and_prefix_and_are_scored_in_one_manner() {
        let windows = windows(&[
            (&[1, 2, 3], 1),
            (&[1, 2, 3], 2),
            (&[1, 2, 3], 1),
            (&[1, 2], 1),
            (&[1, 2, 3], 1),
            (&[1, 2, 3], 2),
        ]);
        let duplicates = Duplicates::of(windows.iter().enumerate(), |_| ());
        assert_eq!(
            firsts(&duplicates, 6),
            [None, None, Some(0), None, Some(0), Some(1)]
        );
        assert_eq!((duplicates.len(), duplicates.is_empty()), (3, false));

        let in_order = Duplicates::of([4, 2, 0, 5].map(|place| (place, &windows[place])), |_| ());
        assert_eq!(
            firsts(&in_order, 6),
            [Some(4), None, Some(4), None, None, None]
        );
        let apart = Duplicates::of(windows.iter().enumerate(), |window| {
            window.placement.start_token
        });
        assert!(apart.is_empty());
    }

    #[test]
    fn equal_inputs_are_asked_for_once_and_answered_alike_errors_too() {
        let lines: [(&[u32], usize); 6] = [
            (&[1, 2, 3], 1),
            (&[7, 1, 2, 10, 4], 2),
            (&[1, 2, 3], 2),
            (&[1, 2, 3], 1),
            (&[7, 1, 2, 10, 4], 2),
            (&[9], 1),
        ];
        let inputs = lines.map(|(token_ids, prefix_len)| ScoreInput {
            token_ids,
            prefix_len,
        });
        let backend = fixture::backend();
        let mut asked = Vec::new();
        let answers = once(&inputs, |different| {
            asked = different.to_vec();
            backend.score(different)
        });
        assert_eq!(asked, [inputs[0], inputs[1], inputs[2], inputs[5]]);
        assert_eq!(answers, backend.score(&inputs));
        assert!(answers[0].is_ok() && answers[4].is_err());
    }

    #[test]
    fn only_what_has_twins_to_come_is_held_and_only_until_the_last_of_them() {
        let windows = windows(&[
            (&[1, 2], 1),
            (&[3, 4], 1),
            (&[1, 2], 1),
            (&[1, 2], 1),
            (&[5, 6], 1),
        ]);
        let duplicates = Duplicates::of(windows.iter().enumerate(), |_| ());
        let mut held = ScoreCache::for_duplicates(&duplicates, 0..5);
        assert!(held.wants(0) && !held.wants(1));
        held.put(0, &"a");
        held.put(1, &"b");
        assert_eq!(
            (held.held(), held.has(0), held.has(1), held.wants(0)),
            (1, true, false, false)
        );
        assert_eq!(held.take(0), Some("a"));
        assert_eq!((held.take(0), held.held()), (Some("a"), 0));
        assert_eq!((held.take(0), held.take(1)), (None, None));

        // A resumed run waits only for those it still has to write.
        let rest: ScoreCache<&str> = ScoreCache::for_duplicates(&duplicates, 4..5);
        assert!(!rest.wants(0));
    }
}
