//! Levenshtein distance over tokens: insertions, deletions and substitutions, each at cost 1.
//!
//! The table of Wagner and Fischer 1974, of which one row at a time is kept. A search over continuations keeps a [`Row`]
//! for each of them and gives up those whose [`Row::least`] is beyond its limit.

/// The distances of one continuation from every beginning of the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Cell j: distance from the first j tokens of the truth; one more cell than the truth has tokens.
    cells: Box<[u32]>,
}

impl Row {
    /// The row of the empty continuation: j tokens are missing.
    pub fn start(truth_len: usize) -> Self {
        Self {
            cells: (0..=truth_len as u32).collect(),
        }
    }

    /// The row of the continuation with one more token. `truth` must be as long as it was at the start.
    #[must_use]
    pub fn push(&self, token: u32, truth: &[u32]) -> Self {
        debug_assert_eq!(
            truth.len() + 1,
            self.cells.len(),
            "a row belongs to one truth"
        );
        let mut next = self.clone();
        advance(&mut next.cells, token, truth);
        next
    }

    /// The least distance that any continuation of this one can have: that of going on with the rest of the truth from the
    /// best place in it. Never sinks by a push.
    pub fn least(&self) -> u32 {
        // The first cell alone would do for an empty truth; a row is never empty.
        self.cells.iter().copied().min().unwrap_or_default()
    }

    /// The least distance that this can have after exactly `more` tokens: what is [`least`](Self::least) and what the
    /// lengths alone then cost. `least_after(0)` is [`last`](Self::last).
    pub fn least_after(&self, more: usize) -> u32 {
        let rest = |j: usize| self.cells.len() - 1 - j;
        let after = self
            .cells
            .iter()
            .enumerate()
            .map(|(j, cell)| cell + rest(j).abs_diff(more) as u32);
        after.min().unwrap_or_default()
    }

    /// The greatest distance that this can have after exactly `more` tokens, or somewhat above it: from the best place in
    /// the truth on, all that is left of either is replaced or goes without a match. `most_after(0)` is
    /// [`last`](Self::last).
    pub fn most_after(&self, more: usize) -> u32 {
        let rest = |j: usize| self.cells.len() - 1 - j;
        let after = self
            .cells
            .iter()
            .enumerate()
            .map(|(j, cell)| cell + rest(j).max(more) as u32);
        after.min().unwrap_or_default()
    }

    /// The distance from the whole truth.
    pub fn last(&self) -> u32 {
        self.cells.last().copied().unwrap_or_default()
    }
}

/// Levenshtein distance of two token sequences. Memory is linear in the shorter one.
pub fn distance(a: &[u32], b: &[u32]) -> u32 {
    // What both begin or end with costs nothing and needs no row.
    let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[head..], &b[head..]);
    let tail = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (a, b) = (&a[..a.len() - tail], &b[..b.len() - tail]);
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    let mut row = Row::start(short.len());
    for &token in long {
        advance(&mut row.cells, token, short);
    }
    row.last()
}

/// `1 - distance / max(lengths)`, 0 to 1; two empty sequences are equal.
pub fn similarity(distance: u32, a_len: usize, b_len: usize) -> f64 {
    let longer = a_len.max(b_len);
    if longer == 0 {
        1.0
    } else {
        1.0 - f64::from(distance) / longer as f64
    }
}

/// Turns a row into that of one more token.
fn advance(cells: &mut [u32], token: u32, truth: &[u32]) {
    let Some(first) = cells.first_mut() else {
        return;
    };
    // The cell above and to the left, before it was overwritten.
    let mut diagonal = *first;
    *first += 1;
    let mut left = *first;
    for (cell, &wanted) in cells[1..].iter_mut().zip(truth) {
        left = (diagonal + u32::from(wanted != token))
            .min(left + 1)
            .min(*cell + 1);
        diagonal = std::mem::replace(cell, left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(text: &str) -> Vec<u32> {
        text.chars().map(u32::from).collect()
    }

    #[test]
    fn distances_are_the_textbook_ones() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("saturday", "sunday", 3),
            ("aaaa", "aa", 2),
            ("abcd", "dabc", 2),
            ("abc", "xyz", 3),
        ] {
            assert_eq!(distance(&ids(a), &ids(b)), expected, "{a} {b}");
            assert_eq!(distance(&ids(b), &ids(a)), expected, "{b} {a}");
        }
        assert_eq!(
            [
                similarity(0, 0, 0),
                similarity(3, 3, 0),
                similarity(1, 3, 4)
            ],
            [1.0, 0.0, 0.75]
        );
    }

    #[test]
    fn a_row_knows_what_can_still_be_reached() {
        let truth = ids("abcd");
        let row = ids("xb")
            .iter()
            .fold(Row::start(4), |row, &token| row.push(token, &truth));
        // "xb" + "cd" is one edit away; if nothing follows it is 3.
        assert_eq!((row.least(), row.last()), (1, 3));
        assert_eq!(
            [0, 1, 2, 3, 9].map(|more| row.least_after(more)),
            [3, 2, 1, 2, 7]
        );
        assert_eq!(
            (
                Row::start(0).least(),
                Row::start(0).last(),
                Row::start(0).least_after(2)
            ),
            (0, 0, 2)
        );
    }

    proptest! {
        #[test]
        fn a_row_bounds_every_continuation_and_meets_the_bound(
            truth in prop::collection::vec(0u32..4, 0..12),
            own in prop::collection::vec(0u32..4, 0..12),
            more in prop::collection::vec(0u32..4, 0..8),
        ) {
            let mut row = Row::start(truth.len());
            for &token in &own {
                let next = row.push(token, &truth);
                prop_assert!(next.least() >= row.least());
                row = next;
            }
            prop_assert_eq!(row.last(), distance(&own, &truth));
            let longer = [own.clone(), more.clone()].concat();
            prop_assert!(distance(&longer, &truth) >= row.least_after(more.len()));
            prop_assert!(row.least_after(more.len()) >= row.least());
            // The bound is met by going on with some end of the truth.
            let met = (0..=truth.len()).map(|j| distance(&[&own, &truth[j..]].concat(), &truth)).min();
            prop_assert_eq!(met, Some(row.least()));
        }
    }

    #[test]
    fn what_a_row_says_of_its_ends_holds_for_all_of_them() {
        let truth = [1, 2, 1, 3];
        for more in 0..=3usize {
            for code in 0..4u32.pow(4 - more as u32) {
                let row = (0..4 - more).fold(Row::start(4), |row, i| {
                    row.push(code / 4u32.pow(i as u32) % 4, &truth)
                });
                let end = |code: u32| {
                    (0..more).fold(row.clone(), |row, i| {
                        row.push(code / 4u32.pow(i as u32) % 4, &truth)
                    })
                };
                let ends: Vec<u32> = (0..4u32.pow(more as u32))
                    .map(|code| end(code).last())
                    .collect();
                assert_eq!(Some(&row.least_after(more)), ends.iter().min());
                assert!(Some(&row.most_after(more)) >= ends.iter().max());
                assert!(more > 0 || row.most_after(0) == row.last());
            }
        }
    }
}
