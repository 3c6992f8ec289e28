//! Seeded choices: the same seed and text give the same controls on every system.

use crate::digest::Digest;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Choices for one text, independent of the other texts.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        let digest = Digest::of_bytes(format!("{seed}\0{name}").as_bytes());
        // Always 64 hexadecimal digits; the fallback only satisfies the type.
        Self(u64::from_str_radix(&digest.as_str()[..16], 16).unwrap_or(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is at least 1.
    pub(super) fn below(&mut self, n: usize) -> usize {
        // The bias is below 2^-40 for any list that comes from a text.
        (self.next() % n.max(1) as u64) as usize
    }

    /// Shuffles a list (Fisher, Yates).
    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_depend_only_on_seed_and_name() {
        let order = |seed, name: &str| {
            let mut list: Vec<usize> = (0..20).collect();
            Random::new(seed, name).shuffle(&mut list);
            list
        };
        assert_eq!(order(1, "a"), order(1, "a"));
        assert!(order(1, "a") != order(2, "a") && order(1, "a") != order(1, "b"));
        let mut sorted = order(3, "c");
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_are_uniformly_distributed() {
        let mut random = Random::new(7, "x");
        let mut counts = [0; 6];
        (0..6000).for_each(|_| counts[random.below(6)] += 1);
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }
}
