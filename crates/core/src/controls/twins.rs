//! Twins: an item with its names and numbers replaced and its sentences in another order. The
//! weaker kind of control.
//!
//! A twin keeps most phrases of its item. A model that memorized the item also recites those
//! phrases in the twin, which hides memorization; and the replaced names are less plausible than
//! the real ones, which can fake it. So twins are for cases where nothing better exists, and are
//! marked.

use super::layout::{Layout, plain};
use super::names::Swaps;
use super::ngrams::{SIMILAR, runs, words};
use super::random::Random;
use super::sentences::{is_opening, sentences};
use super::{ControlsError, LeftOut, asked_for, text};
use crate::items::{Content, Item, ItemId, Kind};
use std::collections::HashSet;
use std::ops::Range;

/// Tags of every twin.
pub const TAGS: [&str; 3] = ["twin", "weaker", "made-by:byrote controls twins"];
/// Number of sentence orders to try; the one that keeps the fewest neighbours is used.
const ORDERS: usize = 8;
/// If more than this percentage of the distinct words inside sentences is capitalized, capitals
/// don't mark names: German, titles.
const CAPITALS: usize = 30;

/// The result.
#[derive(Debug)]
pub struct Twins {
    pub controls: Vec<Item>,
    /// Share of the item's distinct runs of [`SIMILAR`] words that its twin still contains, 0 to 1;
    /// in the order of `controls`.
    pub kept: Vec<f64>,
    /// Items with fewer twins than requested.
    pub left_out: Vec<LeftOut>,
    pub warnings: Vec<String>,
}

/// Makes `each` twins of every opted-out item or canary in `like`.
///
/// # Errors
/// When no twin could be made, with the reasons.
pub fn twins(like: &[Item], each: usize, seed: u64) -> Result<Twins, ControlsError> {
    let mut made = Twins {
        controls: Vec::new(),
        kept: Vec::new(),
        left_out: Vec::new(),
        warnings: Vec::new(),
    };
    for item in asked_for(like)? {
        let given = text(item);
        let parts = Parts::new(&given);
        if parts.too_many_capitals {
            made.warnings.push(format!(
                "{}: too many capitals to recognize names; they are unchanged",
                item.origin
            ));
        }
        let own: HashSet<u64> = runs(&words(&given), SIMILAR).collect();
        let mut seen = HashSet::from([words(&given)]);
        let mut count = 0;
        // A short text has few orders, so the same twin may come up twice.
        for attempt in 0..each.saturating_mul(4) {
            if count == each {
                break;
            }
            let twin = parts.twin(&mut Random::new(seed, &format!("{}\0{attempt}", item.id)));
            let words = words(&twin);
            if seen.contains(&words) {
                continue;
            }
            count += 1;
            let theirs: HashSet<u64> = runs(&words, SIMILAR).collect();
            let kept = own.intersection(&theirs).count() as f64 / own.len().max(1) as f64;
            seen.insert(words);
            made.controls.push(control(item, count, twin, kept));
            made.kept.push(kept);
        }
        if count < each {
            let reason = format!(
                "{count} of {each} twins could be made: it has too few names, numbers and sentences to change; use other \
                 texts of its kind as controls"
            );
            made.left_out.push(LeftOut {
                id: item.id.clone(),
                origin: item.origin.clone(),
                reason,
            });
        }
    }
    if made.controls.is_empty() {
        Err(ControlsError::NoneMade(made.left_out))
    } else {
        Ok(made)
    }
}

/// Whether a control is a twin.
pub(super) fn is_twin(control: &Item) -> bool {
    control.tags.iter().any(|tag| tag == TAGS[0])
}

/// Whether a control is a twin of this particular item.
pub(super) fn is_twin_of(control: &Item, item: &Item) -> bool {
    is_twin(control) && control.matches.contains(&item.id.0)
}

/// Whether two controls are twins of the same item.
pub(super) fn are_twins(one: &Item, other: &Item) -> bool {
    is_twin(one) && is_twin(other) && one.matches.iter().any(|item| other.matches.contains(item))
}

fn control(item: &Item, number: usize, twin: String, kept: f64) -> Item {
    let id = ItemId(format!("{}~{number}", item.id));
    let mut control = Item::new(id, Content::Text(twin), item.origin.clone());
    control.kind = Kind::Control;
    control.license = item.license.clone();
    control.tags = TAGS.map(str::to_owned).to_vec();
    control.tags.push(format!("kept:{:.0}%", 100.0 * kept));
    control.matches = vec![item.id.0.clone()];
    control
}

/// An item's text, split into parts.
struct Parts {
    plain: String,
    layout: Layout,
    sentences: Vec<Range<usize>>,
    /// Names and numbers, in order.
    swapped: Vec<(Range<usize>, What)>,
    own: HashSet<String>,
    too_many_capitals: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Name,
    Number,
}

impl Parts {
    fn new(given: &str) -> Self {
        let plain = plain(given).into_owned();
        let sentences = sentences(&plain);
        let tokens = tokens(&plain);
        let own: HashSet<String> = tokens
            .iter()
            .map(|range| plain[range.clone()].to_owned())
            .collect();
        let begins = |range: &Range<usize>| {
            let first = sentences
                .partition_point(|sentence| sentence.start <= range.start)
                .saturating_sub(1);
            let start = sentences.get(first).map_or(0, |sentence| sentence.start);
            let before = plain[start..range.start].trim_end();
            // After a quotation mark or a colon a capital says nothing either.
            before.chars().all(is_opening)
                || before.ends_with(':')
                || plain[start..range.start].ends_with(['"', '“', '‘', '„', '«'])
        };
        let inside: Vec<&Range<usize>> = tokens.iter().filter(|range| !begins(range)).collect();
        let capitals: HashSet<&str> = inside
            .iter()
            .map(|range| &plain[(*range).clone()])
            .filter(|word| is_capitalized(word))
            .collect();
        // Distinct words: a text about few people may name them in every sentence.
        let different: HashSet<&str> = inside
            .iter()
            .map(|range| &plain[(*range).clone()])
            .collect();
        let too_many_capitals = capitals.len() * 100 > different.len() * CAPITALS;
        // A word that also occurs uncapitalized is not a name.
        let names: HashSet<&str> = capitals
            .into_iter()
            .filter(|word| !own.contains(&word.to_lowercase()))
            .collect();
        let what = |range: Range<usize>| {
            let word = &plain[range.clone()];
            if word.bytes().all(|byte| byte.is_ascii_digit()) {
                Some((range, What::Number))
            } else {
                (!too_many_capitals && names.contains(word)).then_some((range, What::Name))
            }
        };
        let swapped = tokens.iter().cloned().filter_map(what).collect();
        Self {
            layout: Layout::new(given),
            sentences,
            swapped,
            own,
            too_many_capitals,
            plain,
        }
    }

    fn twin(&self, random: &mut Random) -> String {
        let mut swaps = Swaps::new(self.own.clone());
        let mut sentences: Vec<String> = Vec::new();
        let mut swapped = self.swapped.iter().peekable();
        for sentence in &self.sentences {
            let (mut out, mut at) = (String::new(), sentence.start);
            while let Some((range, what)) = swapped.next_if(|(range, _)| range.start < sentence.end)
            {
                out.push_str(&self.plain[at..range.start]);
                let old = &self.plain[range.clone()];
                out.push_str(&match what {
                    What::Name => swaps.name(old, random),
                    What::Number => swaps.number(old, random),
                });
                at = range.end;
            }
            out.push_str(&self.plain[at..sentence.end]);
            sentences.push(out);
        }
        let order = order(sentences.len(), random);
        // Everything between sentences (line breaks, indentation) stays where it is.
        let (mut twin, mut at) = (String::new(), 0);
        for (index, sentence) in self.sentences.iter().enumerate() {
            twin.push_str(&self.plain[at..sentence.start]);
            twin.push_str(&sentences[order[index]]);
            at = sentence.end;
        }
        twin.push_str(&self.plain[at..]);
        self.layout.lay_out(&twin)
    }
}

/// Of several orders, the one that keeps the fewest neighbours.
fn order(count: usize, random: &mut Random) -> Vec<usize> {
    let orders = (0..ORDERS).map(|_| {
        let mut order: Vec<usize> = (0..count).collect();
        random.shuffle(&mut order);
        order
    });
    orders
        .min_by_key(|order| {
            order
                .windows(2)
                .filter(|pair| pair[0] + 1 == pair[1])
                .count()
        })
        .unwrap_or_default()
}

/// Words and numbers: runs of letters or of digits. Mixtures such as `x86` or `3rd` are neither.
fn tokens(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        if inside(c) {
            start.get_or_insert(at);
        } else if let Some(from) = start.take() {
            let word: &str = &text[from..at];
            if word.chars().all(char::is_alphabetic)
                || word.bytes().all(|byte| byte.is_ascii_digit())
            {
                found.push(from..at);
            }
        }
    }
    found
}

/// Whether a word looks like a name: a capital and at least two lower-case letters.
fn is_capitalized(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(char::is_uppercase)
        && word.chars().count() >= 3
        && letters.all(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::Origin;
    use crate::window::reflow::looks_wrapped;

    const TEXT: &str = "In the spring of 1887 the widow Harriet Colby sold nine cows to Tobias Crane. Crane paid 420 dollars. \
                        \"Come again,\" said Harriet, and Tobias said that he would. Nobody saw the cows after March 14. \
                        Colby's brother went to look for them in Danbury. The Danbury road was under water by then.";

    fn item(id: &str, text: &str) -> Item {
        let origin = Origin {
            file: format!("{id}.txt"),
            line: None,
        };
        Item::new(
            ItemId(id.to_owned()),
            Content::Text(text.to_owned()),
            origin,
        )
    }

    fn twin(text: &str, seed: u64) -> (String, f64) {
        let made = twins(&[item("a", text)], 1, seed).unwrap();
        (super::text(&made.controls[0]).into_owned(), made.kept[0])
    }

    #[test]
    fn twins_change_names_numbers_and_order_and_keep_the_rest() {
        for seed in 0..20 {
            let (twin, kept) = twin(TEXT, seed);
            for gone in [
                "Harriet",
                "Colby",
                "Tobias",
                "Crane",
                "Danbury",
                "1887",
                "420",
                "March 14.",
            ] {
                assert!(!twin.contains(gone), "{gone}: {twin}");
            }
            for stays in [
                "In the spring of 18",
                "Come again",
                "March",
                "Nobody saw the cows after",
                "the widow",
                "'s brother",
            ] {
                assert!(twin.contains(stays), "{stays}: {twin}");
            }
            let sentences: Vec<&str> = sentences(&twin)
                .into_iter()
                .map(|range| &twin[range])
                .collect();
            assert_eq!(sentences.len(), super::sentences(TEXT).len());
            assert_eq!(twin.len(), TEXT.len());
            assert!(kept > 0.1 && kept < 0.7, "{kept}: {twin}");
            // Each name has one replacement: the buyer in the first sentence is the payer in the
            // second.
            let buyer = sentences
                .iter()
                .find_map(|s| s.split("nine cows to ").nth(1))
                .unwrap();
            let payer = sentences
                .iter()
                .find_map(|s| s.split(" paid ").next().filter(|_| s.contains(" paid ")))
                .unwrap();
            assert_eq!(
                buyer.trim_end_matches('.').split(' ').next_back(),
                Some(payer)
            );
        }
        assert_eq!(twin(TEXT, 1), twin(TEXT, 1));
        assert_ne!(twin(TEXT, 1), twin(TEXT, 2));
    }

    #[test]
    fn twins_are_tagged_and_match_their_item() {
        let made = twins(
            &[item("a", TEXT), item("b", &TEXT.replace("cows", "ewes"))],
            3,
            0,
        )
        .unwrap();
        let ids: Vec<&str> = made
            .controls
            .iter()
            .map(|control| control.id.0.as_str())
            .collect();
        assert_eq!(ids, ["a~1", "a~2", "a~3", "b~1", "b~2", "b~3"]);
        for (control, kept) in made.controls.iter().zip(&made.kept) {
            assert_eq!(
                (control.kind, control.matches.as_slice()),
                (Kind::Control, &[control.id.0[..1].to_owned()][..])
            );
            assert_eq!(control.tags[..3], TAGS);
            assert_eq!(control.tags[3], format!("kept:{:.0}%", 100.0 * kept));
        }
        assert!(
            is_twin_of(&made.controls[0], &item("a", ""))
                && !is_twin_of(&made.controls[0], &item("b", ""))
        );
        assert!(
            are_twins(&made.controls[0], &made.controls[1])
                && !are_twins(&made.controls[0], &made.controls[3])
        );
    }

    #[test]
    fn line_breaks_and_wrapping_are_kept() {
        let verse =
            "The Tilly of Marl\nput out in the rain,\nwith Tilly aboard\nand her crew of 12 men.\n";
        let (twin_of_verse, _) = twin(verse, 3);
        assert_eq!(twin_of_verse.lines().count(), 4);
        assert!(twin_of_verse.ends_with('\n'));
        let wrapped = Layout::Wrapped(60).lay_out(TEXT);
        assert!(looks_wrapped(&wrapped));
        assert!(looks_wrapped(&twin(&wrapped, 3).0));
    }

    #[test]
    fn names_are_kept_in_texts_with_too_many_capitals() {
        let german = "Der Hund sah den Mann mit dem Hut. Die Frau gab dem Kind das Brot. Am Abend kam der Wind vom Meer.";
        let made = twins(&[item("a", german)], 1, 0).unwrap();
        let twin = super::text(&made.controls[0]).into_owned();
        assert!(twin.contains("Die Frau gab dem Kind das Brot.") && twin != german);
        assert!(
            made.warnings[0].contains("too many capitals"),
            "{:?}",
            made.warnings
        );
    }

    #[test]
    fn items_with_nothing_to_change_have_no_twin() {
        let error = twins(&[item("a", "nothing here to swap or to shuffle")], 2, 0)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a.txt: \"a\": 0 of 2 twins could be made"),
            "{error}"
        );
        let made = twins(
            &[
                item("a", "one thing here. Two things there."),
                item("b", TEXT),
            ],
            3,
            0,
        )
        .unwrap();
        assert!(
            made.left_out[0].reason.starts_with("1 of 3 twins"),
            "{:?}",
            made.left_out
        );
        assert_eq!(made.controls.len(), 4);
    }
}
