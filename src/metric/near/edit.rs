//! Levenshtein distance in tokens, one token of a sample at a time.

/// One row of the edit-distance table: how far the sample so far is from every beginning of the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(Vec<u32>);

impl Row {
    /// The row of the empty sample, for a reference of `len` tokens.
    pub fn start(len: usize) -> Self {
        Self((0..).take(len + 1).collect())
    }

    /// The row after one more token of the sample.
    #[must_use]
    pub fn push(&self, reference: &[u32], token: u32) -> Self {
        let mut next = Vec::with_capacity(self.0.len());
        let mut left = self.0.first().map_or(0, |first| first + 1);
        next.push(left);
        for (known, above) in reference.iter().zip(self.0.windows(2)) {
            left = (above[0] + u32::from(*known != token)).min(above[1] + 1).min(left + 1);
            next.push(left);
        }
        Self(next)
    }

    /// The smallest entry: no continuation of the sample comes nearer to the reference.
    pub fn least(&self) -> u32 {
        self.0.iter().copied().min().unwrap_or(0)
    }

    /// Distance of the sample from the whole reference.
    pub fn last(&self) -> u32 {
        self.0.last().copied().unwrap_or(0)
    }

    /// Entry j is the distance from the first j tokens of the reference.
    pub fn distances(&self) -> &[u32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the recursive definition.
    fn distance(a: &[u32], b: &[u32]) -> u32 {
        match (a.split_first(), b.split_first()) {
            (None, _) => b.len() as u32,
            (_, None) => a.len() as u32,
            (Some((x, a_rest)), Some((y, b_rest))) if x == y => distance(a_rest, b_rest),
            (Some((_, a_rest)), Some((_, b_rest))) => {
                1 + distance(a_rest, b).min(distance(a, b_rest)).min(distance(a_rest, b_rest))
            }
        }
    }

    #[test]
    fn a_row_holds_the_distances_from_all_beginnings_of_the_reference() {
        let reference = [1, 2, 1, 3, 2];
        for code in 0..4u32.pow(5) {
            let sample: Vec<u32> = (0..5).map(|i| code / 4u32.pow(i) % 4).collect();
            let mut row = Row::start(reference.len());
            for (i, token) in sample.iter().enumerate() {
                row = row.push(&reference, *token);
                let expected: Vec<u32> = (0..=5).map(|j| distance(&sample[..=i], &reference[..j])).collect();
                assert_eq!(row.distances(), expected);
            }
            assert_eq!(row.last(), distance(&sample, &reference));
            assert!(row.least() <= row.last());
        }
    }
}
