//! Replacement names and numbers of the same shape, for twins.

use super::random::Random;
use std::collections::{HashMap, HashSet};

/// Invented names, indexed by their number of letters from 3 on.
const NAMES: [&[&str]; 9] = [
    &[
        "Ald", "Bru", "Cey", "Dov", "Eno", "Fal", "Gorm", "Hux", "Ilo", "Jem", "Kip", "Lun", "Mog",
        "Nif", "Orr", "Pel",
    ],
    &[
        "Arlo", "Bryd", "Cald", "Dunl", "Esko", "Fenn", "Gask", "Hobb", "Irsa", "Jory", "Kest",
        "Lorn", "Mabb", "Nerl",
    ],
    &[
        "Askel", "Brint", "Corvy", "Delph", "Errol", "Farro", "Gwint", "Holme", "Ilven", "Jaspo",
        "Kerth", "Lodan", "Marle",
    ],
    &[
        "Arbell", "Brigan", "Corvin", "Deston", "Elwick", "Farley", "Gantry", "Hollis", "Imbert",
        "Jessop", "Kelmar",
    ],
    &[
        "Ashwell", "Bramble", "Corwick", "Dunmore", "Elstree", "Fenwick", "Garland", "Halloth",
        "Ingmere", "Jorvale",
    ],
    &[
        "Aldermoy", "Brackley", "Carhaven", "Dunstead", "Eastmoor", "Fallaway", "Grindell",
        "Hartwick", "Ivelmere",
    ],
    &[
        "Abernoyle",
        "Brantwick",
        "Casterley",
        "Dunhallow",
        "Elverstow",
        "Fairhaven",
        "Gillstrop",
        "Harbottle",
    ],
    &[
        "Aldersgill",
        "Blackmarsh",
        "Calderwick",
        "Dunmarrow",
        "Ellingford",
        "Farthingoe",
        "Greystoker",
    ],
    &[
        "Abbotswater",
        "Bellhampton",
        "Corringdale",
        "Dunnamanagh",
        "Eddlestoney",
        "Fotherwicke",
    ],
];

/// Capitalized words that aren't names.
const NOT_SWAPPED: &[&str] = &[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// The replacements in one text: the same one for every occurrence of a name or number.
#[derive(Debug)]
pub(super) struct Swaps {
    names: HashMap<String, String>,
    numbers: HashMap<String, String>,
    taken: HashSet<String>,
}

impl Swaps {
    /// `own`: the text's own words, which no replacement may equal.
    pub(super) fn new(own: HashSet<String>) -> Self {
        Self {
            names: HashMap::new(),
            numbers: HashMap::new(),
            taken: own,
        }
    }

    /// A replacement with the same number of letters: from the list if it still has one, otherwise
    /// built from syllables.
    pub(super) fn name(&mut self, name: &str, random: &mut Random) -> String {
        if NOT_SWAPPED.contains(&name) {
            return name.to_owned();
        }
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let letters = name.chars().count();
        let listed = NAMES.iter().flat_map(|names| names.iter());
        let mut free: Vec<&str> = listed
            .copied()
            .filter(|name| name.len() == letters && !self.taken.contains(*name))
            .collect();
        random.shuffle(&mut free);
        let mut chosen = free
            .first()
            .map_or_else(|| syllables(letters, random), |name| (*name).to_owned());
        // No text has that many names, but a built one might be taken.
        for _ in 0..100 {
            if !self.taken.contains(&chosen) {
                break;
            }
            chosen = syllables(letters, random);
        }
        self.taken.insert(chosen.clone());
        self.names.insert(name.to_owned(), chosen.clone());
        chosen
    }

    /// A replacement with the same number of digits: a year stays in its century, a possible month,
    /// day or hour stays one, and round numbers stay as round.
    pub(super) fn number(&mut self, digits: &str, random: &mut Random) -> String {
        if let Some(known) = self.numbers.get(digits) {
            return known.clone();
        }
        let other = (0..100)
            .map(|_| other_number(digits, random))
            .find(|other| other != digits);
        // A run of zeros has no replacement.
        let other = other.unwrap_or_else(|| digits.to_owned());
        self.numbers.insert(digits.to_owned(), other.clone());
        other
    }
}

fn other_number(digits: &str, random: &mut Random) -> String {
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    let value = &digits[zeros..];
    let round = value.len() - value.trim_end_matches('0').len();
    let mut within = |least: usize, most: usize| least + random.below(most - least + 1);
    match value.parse::<usize>() {
        Err(_) if value.is_empty() => return digits.to_owned(),
        // The smallest numbers that can be months and hours, days, minutes and the rest.
        Ok(n) if n <= 59 && digits.len() <= 2 => {
            let (least, most) = match n {
                ..=9 if zeros == 0 => (1, 9),
                ..=9 => (1, 9),
                10..=12 => (10, 12),
                13..=31 => (13, 31),
                _ => (32, 59),
            };
            let other = within(least, most).to_string();
            return format!("{}{other}", "0".repeat(digits.len() - other.len()));
        }
        Ok(n) if zeros == 0 && (1100..2100).contains(&n) => {
            return format!("{}{:02}", n / 100, within(0, 99));
        }
        _ => {}
    }
    let mut out = "0".repeat(zeros);
    for index in 0..value.len() - round {
        let first_or_last = index == 0 || (round > 0 && index + 1 == value.len() - round);
        out.push(char::from(
            b'0' + within(usize::from(first_or_last), 9) as u8,
        ));
    }
    out + &"0".repeat(round)
}

/// A name with this many letters, alternating consonants and vowels.
fn syllables(letters: usize, random: &mut Random) -> String {
    let mut name = String::with_capacity(letters);
    for index in 0..letters {
        let from: &[u8] = if index % 2 == 0 {
            b"bdfgklmnprstv"
        } else {
            b"aeiou"
        };
        let letter = char::from(from[random.below(from.len())]);
        name.push(if index == 0 {
            letter.to_ascii_uppercase()
        } else {
            letter
        });
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_a_consistent_replacement_of_the_same_length() {
        let mut random = Random::new(1, "x");
        let mut swaps = Swaps::new(HashSet::from(["Kip".to_owned()]));
        let mut seen = HashSet::new();
        for name in [
            "Tom",
            "Anna",
            "Berta",
            "Conrad",
            "Dorothy",
            "Bartholomew",
            "Constantinople",
            "Zoë",
        ] {
            let other = swaps.name(name, &mut random);
            assert_eq!(other.chars().count(), name.chars().count());
            assert!(
                other != name
                    && other.starts_with(char::is_uppercase)
                    && seen.insert(other.clone()),
                "{other}"
            );
            assert_eq!(swaps.name(name, &mut random), other);
        }
        assert_eq!(swaps.name("March", &mut random), "March");
        // More names than the list has: built from syllables, all different.
        for n in 0..200 {
            let other = swaps.name(&format!("{}{}{}", 'a' as u32 + n, "x", n), &mut random);
            assert!(seen.insert(other.clone()) && other != "Kip", "{other}");
        }
    }

    #[test]
    fn replaced_numbers_keep_their_length_and_kind() {
        for seed in 0..50 {
            let mut random = Random::new(seed, "x");
            let mut swaps = Swaps::new(HashSet::new());
            let mut other = |digits: &str| swaps.number(digits, &mut random);
            for digits in [
                "7",
                "12",
                "24",
                "45",
                "99",
                "05",
                "123",
                "1988",
                "2024",
                "007",
                "5000",
                "14",
                "200",
                "31415926535",
            ] {
                let other = other(digits);
                assert!(
                    other.len() == digits.len() && other != digits,
                    "{digits}: {other}"
                );
            }
            assert_eq!(other("000"), "000");
            assert_eq!(other("1988")[..2], *"19");
            assert!(
                other("24")
                    .parse::<u32>()
                    .is_ok_and(|day| (13..=31).contains(&day))
            );
            assert!(other("05").starts_with('0') && other("5000").ends_with("000"));
            assert_eq!(other("12"), other("12"));
        }
    }
}
