//! Longest common substring: the longest run that stands in both, wherever it stands.

/// Its length, in characters or words, whatever the parts are.
pub fn longest_common<T: PartialEq>(a: &[T], b: &[T]) -> u32 {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    // Cell j: the longest common run that ends at the part of `long` in hand and at part j of `short`.
    let mut row = vec![0u32; short.len()];
    let mut longest = 0;
    for part in long {
        let mut diagonal = 0;
        for (cell, other) in row.iter_mut().zip(short) {
            let run = if part == other { diagonal + 1 } else { 0 };
            diagonal = std::mem::replace(cell, run);
            longest = longest.max(run);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_wherever_they_stand() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 0),
            ("abcdef", "zcdez", 3),
            ("aaaa", "aa", 2),
            ("axbxc", "abc", 1),
            ("日本語", "本語", 2),
        ] {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            assert_eq!(longest_common(&a, &b), expected);
            assert_eq!(longest_common(&b, &a), expected);
        }
    }
}
