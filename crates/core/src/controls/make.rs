//! Makes controls from a user's own unpublished texts: pieces as long as the items and laid out
//! like them.

use super::layout::{Layout, median_line, plain};
use super::ngrams::{Index, SHARED, words};
use super::random::Random;
use super::sentences::sentences;
use super::{ControlsError, LeftOut, asked_for, chars, grouped, median, text};
use crate::items::{Content, Item, ItemId, Kind};
use std::ops::Range;

/// The tag of every control made here.
pub const MADE_BY: &str = "made-by:byrote controls make";
/// Number of positions in one text to try for a piece before giving up on the text.
const TRIES: usize = 10;
/// A piece may exceed its item's length by this percentage, to end with a sentence.
const LONGER: usize = 25;
/// If median line lengths differ by more than this factor, layouts differ: verse against prose.
const OTHER_LINES: usize = 3;

/// How to cut pieces.
#[derive(Clone, Debug)]
pub struct MakeSettings {
    /// Maximum number of pieces per text. Pieces of one text are not independent, so one is best.
    pub per_text: usize,
    /// The tag of the items that the controls are comparable with. Without it they match any item.
    pub genre: Option<String>,
    /// Characters per piece, instead of the items' own lengths.
    pub length: Option<usize>,
    /// Another seed cuts at other positions.
    pub seed: u64,
}

/// The result.
#[derive(Debug)]
pub struct Made {
    pub controls: Vec<Item>,
    /// Rejected pieces and texts.
    pub left_out: Vec<LeftOut>,
    pub warnings: Vec<String>,
    /// Number of texts that gave at least one control.
    pub texts: usize,
    /// Median length of the items in characters, and of the controls.
    pub item_chars: usize,
    pub control_chars: usize,
}

/// Cuts controls from `texts`, similar to the opted-out items in `like`.
///
/// Each piece begins at a paragraph or a sentence, is at least as long as its item (fewer windows
/// than the item has would cost power) and ends with a sentence if one ends soon. Items are matched
/// evenly: each serves as a model before any serves again. A piece that shares [`SHARED`] words in
/// a row with an item, with another piece, or with one of the `known` texts is rejected.
///
/// # Errors
/// When nothing could be made, with the reasons.
pub fn make(
    like: &[Item],
    texts: &[Item],
    known: &[Item],
    settings: &MakeSettings,
) -> Result<Made, ControlsError> {
    let items = asked_for(like)?;
    let mut targets: Vec<Target> = items
        .iter()
        .map(|item| {
            let text = text(item);
            let chars = settings.length.unwrap_or_else(|| chars(text.trim()));
            Target {
                chars,
                layout: Layout::new(&text),
                median_line: median_line(&plain(&text)),
                uses: 0,
            }
        })
        .collect();
    let mut index = Index::default();
    let mut owners = Vec::new();
    for (item, what) in items
        .iter()
        .map(|item| (*item, "the item"))
        .chain(known.iter().map(|k| (k, "the known text")))
    {
        index.add(owners.len(), &words(&text(item)));
        owners.push(format!("{what} {:?}", item.id.0));
    }

    let mut made = Made {
        controls: Vec::new(),
        left_out: Vec::new(),
        warnings: Vec::new(),
        texts: 0,
        item_chars: median(targets.iter().map(|target| target.chars).collect()),
        control_chars: 0,
    };
    for source in texts {
        let mut cutting = Cutting::new(source, settings);
        let before = made.controls.len();
        while made.controls.len() - before < settings.per_text {
            let Some(target) = cutting.best(&targets) else {
                break;
            };
            let Some(piece) = cutting.piece(&targets[target], &index, &owners, &mut made.left_out)
            else {
                break;
            };
            targets[target].uses += 1;
            index.add(owners.len(), &words(&piece));
            let number = made.controls.len() - before + 1;
            owners.push(format!("the control \"{}#{number}\"", source.id));
            made.controls.push(control(source, number, piece, settings));
        }
        if made.controls.len() > before {
            made.texts += 1;
            made.warnings.extend(cutting.other_layout(&targets));
        } else if !cutting.tried {
            let reason = cutting.too_short(&targets);
            made.left_out.push(LeftOut {
                id: source.id.clone(),
                origin: source.origin.clone(),
                reason,
            });
        }
    }
    if made.controls.is_empty() {
        return Err(ControlsError::NoneMade(made.left_out));
    }
    made.control_chars = median(
        made.controls
            .iter()
            .map(|control| chars(&text(control)))
            .collect(),
    );
    Ok(made)
}

/// An item's length and layout, and how many pieces were modelled on it.
struct Target {
    chars: usize,
    layout: Layout,
    median_line: usize,
    uses: usize,
}

/// A text from which pieces are taken.
struct Cutting<'a> {
    source: &'a Item,
    plain: String,
    /// Sentences, each with the number of characters before it.
    sentences: Vec<(Range<usize>, usize)>,
    chars: usize,
    /// Byte ranges that earlier pieces use.
    taken: Vec<Range<usize>>,
    random: Random,
    tried: bool,
}

impl<'a> Cutting<'a> {
    fn new(source: &'a Item, settings: &MakeSettings) -> Self {
        let plain = plain(text(source).trim()).into_owned();
        let (mut at, mut before) = (0, 0);
        let mut counted = Vec::new();
        for range in sentences(&plain) {
            before += chars(&plain[at..range.start]);
            at = range.start;
            counted.push((range, before));
        }
        let random = Random::new(settings.seed, &source.id.0);
        Self {
            source,
            chars: chars(&plain),
            plain,
            sentences: counted,
            taken: Vec::new(),
            random,
            tried: false,
        }
    }

    /// The item for the next piece: among those that fit, the least used, and among these the
    /// longest.
    fn best(&self, targets: &[Target]) -> Option<usize> {
        let fits = |target: &Target| {
            (0..self.sentences.len()).any(|first| self.range(first, target).is_some())
        };
        let fitting = targets
            .iter()
            .enumerate()
            .filter(|(_, target)| fits(target));
        fitting
            .min_by_key(|(_, target)| (target.uses, std::cmp::Reverse(target.chars)))
            .map(|(index, _)| index)
    }

    /// The byte range of a piece that begins with sentence `first`; `None` if the text, or its free
    /// part, ends too early.
    fn range(&self, first: usize, target: &Target) -> Option<Range<usize>> {
        let (ref sentence, before) = self.sentences[first];
        let start = sentence.start;
        if self.chars < before + target.chars {
            return None;
        }
        // The sentence in which the target's length is reached: cut at its end, or else at the end
        // of the word.
        let last = self
            .sentences
            .partition_point(|(_, before_it)| *before_it < before + target.chars)
            .saturating_sub(1);
        let (ref last, before_last) = self.sentences[last.max(first)];
        let to_sentence = before_last - before + chars(&self.plain[last.clone()]);
        let free = |end: usize| {
            !self
                .taken
                .iter()
                .any(|taken| start < taken.end && taken.start < end)
        };
        if to_sentence >= target.chars
            && to_sentence <= target.chars + target.chars * LONGER / 100
            && free(last.end)
        {
            return Some(start..last.end);
        }
        let rest = &self.plain[start..];
        let exact = rest
            .char_indices()
            .nth(target.chars)
            .map_or(rest.len(), |(at, _)| at);
        let word = rest[exact..]
            .find(char::is_whitespace)
            .unwrap_or(rest.len() - exact);
        let end = start + if word > MAX_WORD { exact } else { exact + word };
        free(end).then_some(start..end)
    }

    /// A piece similar to the target that shares nothing with known texts. Lists the rejected
    /// pieces.
    fn piece(
        &mut self,
        target: &Target,
        index: &Index,
        owners: &[String],
        left_out: &mut Vec<LeftOut>,
    ) -> Option<String> {
        self.tried = true;
        let room = |first: &usize| self.sentences[*first].1 + target.chars <= self.chars;
        let mut starts: Vec<usize> = (0..self.sentences.len()).filter(room).collect();
        self.random.shuffle(&mut starts);
        // Paragraphs first: few texts begin in the middle of one.
        starts.sort_by_key(|&first| !self.begins_line(first));
        let mut tries = 0;
        for first in starts {
            let Some(range) = self.range(first, target) else {
                continue;
            };
            if tries == TRIES {
                break;
            }
            tries += 1;
            let piece = &self.plain[range.clone()];
            let Some(overlap) = index.overlap(&words(piece)) else {
                let piece = target.layout.lay_out(piece);
                self.taken.push(range);
                return Some(piece);
            };
            let (character, owner, runs) = (
                self.sentences[first].1 + 1,
                &owners[overlap.owner],
                overlap.runs,
            );
            let reason = format!(
                "the piece from character {} on shares {SHARED} words in a row with {owner}{}",
                grouped(character),
                if runs > 1 {
                    format!(", in {runs} places")
                } else {
                    String::new()
                }
            );
            left_out.push(LeftOut {
                id: self.source.id.clone(),
                origin: self.source.origin.clone(),
                reason,
            });
        }
        None
    }

    fn begins_line(&self, sentence: usize) -> bool {
        let start = self.sentences[sentence].0.start;
        self.plain[..start]
            .trim_end_matches([' ', '\t'])
            .chars()
            .next_back()
            .is_none_or(|c| c == '\n')
    }

    fn too_short(&self, targets: &[Target]) -> String {
        let shortest = targets.iter().map(|target| target.chars).min().unwrap_or(0);
        format!(
            "{} characters, and the shortest item has {}: {} more are needed",
            grouped(self.chars),
            grouped(shortest),
            grouped(shortest.saturating_sub(self.chars).max(1))
        )
    }

    /// A warning if its lines differ greatly from those of every item.
    fn other_layout(&self, targets: &[Target]) -> Option<String> {
        let own = median_line(&self.plain).max(1);
        let alike = |target: &&Target| {
            let theirs = target.median_line.max(1);
            own <= theirs * OTHER_LINES && theirs <= own * OTHER_LINES
        };
        // A text on one line has no lines to compare.
        let odd = !targets
            .iter()
            .any(|target| target.layout == Layout::OneLine)
            && !targets.iter().any(|t| alike(&t));
        odd.then(|| {
            format!(
                "{}: the median line has {own} characters, and those of the items have {}; verse, code and running prose are \
                 no match for each other",
                self.source.origin,
                median(targets.iter().map(|target| target.median_line).collect())
            )
        })
    }
}

/// Longer words aren't completed: scripts without spaces.
const MAX_WORD: usize = 60;

fn control(source: &Item, number: usize, piece: String, settings: &MakeSettings) -> Item {
    let id = ItemId(format!("{}#{number}", source.id));
    let mut item = Item::new(id, Content::Text(piece), source.origin.clone());
    item.kind = Kind::Control;
    item.license = source.license.clone();
    item.tags = source.tags.clone();
    item.tags.extend(
        settings
            .genre
            .iter()
            .filter(|genre| !source.tags.contains(genre))
            .cloned(),
    );
    if settings.per_text > 1 {
        item.tags
            .push(format!("{}{}", super::check::PART_OF, source.id));
    }
    item.tags.push(MADE_BY.to_owned());
    item.matches = settings.genre.iter().cloned().collect();
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::Origin;
    use crate::window::reflow::looks_wrapped;

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

    /// Sentences that share no words with those of another name.
    fn story(name: &str, sentences: usize) -> String {
        let sentence = |n: usize| {
            format!(
                "{name}{n} went over the {name}hill{n} with {name}friend{n} and {name}dog{n} at noon."
            )
        };
        let paragraphs: Vec<String> = (0..sentences)
            .collect::<Vec<_>>()
            .chunks(3)
            .map(|chunk| {
                chunk
                    .iter()
                    .map(|&n| sentence(n))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        paragraphs.join("\n\n")
    }

    const ONE: MakeSettings = MakeSettings {
        per_text: 1,
        genre: None,
        length: None,
        seed: 0,
    };

    fn texts(made: &Made) -> Vec<String> {
        made.controls
            .iter()
            .map(|control| text(control).into_owned())
            .collect()
    }

    #[test]
    fn pieces_are_as_long_as_the_items_and_begin_and_end_with_sentences() {
        let like = [item("short", &story("a", 6)), item("long", &story("b", 12))];
        let from: Vec<Item> = ["q", "r", "s", "t"]
            .iter()
            .map(|name| item(name, &story(name, 40)))
            .collect();
        let made = make(&like, &from, &[], &ONE).unwrap();
        let lengths: Vec<usize> = like.iter().map(|item| chars(&text(item))).collect();
        let mut near = [0; 2];
        for (control, text) in made.controls.iter().zip(texts(&made)) {
            assert!(
                text.ends_with(" at noon.") && text.starts_with(char::is_alphabetic),
                "{text}"
            );
            let fits = |length: usize| (length..=length * 5 / 4).contains(&chars(&text));
            lengths
                .iter()
                .zip(&mut near)
                .for_each(|(&length, near)| *near += usize::from(fits(length)));
            assert_eq!(control.kind, Kind::Control);
            assert_eq!(control.tags, [MADE_BY]);
            assert!(control.matches.is_empty());
        }
        assert_eq!(
            near,
            [2, 2],
            "every item is the model of equally many pieces"
        );
        let ids: Vec<&str> = made
            .controls
            .iter()
            .map(|control| control.id.0.as_str())
            .collect();
        assert_eq!(ids, ["q#1", "r#1", "s#1", "t#1"]);
        assert!(
            made.left_out.is_empty() && made.warnings.is_empty(),
            "{:?}",
            made.warnings
        );

        // Another seed gives other pieces, the same seed the same ones; other texts don't affect
        // the rest.
        let other = make(&like, &from, &[], &MakeSettings { seed: 5, ..ONE }).unwrap();
        assert_ne!(texts(&made), texts(&other));
        assert_eq!(texts(&made), texts(&make(&like, &from, &[], &ONE).unwrap()));
        assert_eq!(
            texts(&made)[..2],
            texts(&make(&like, &from[..2], &[], &ONE).unwrap())
        );
    }

    #[test]
    fn pieces_have_the_layout_of_the_items() {
        let running = story("q", 30);
        let wrapped = Layout::Wrapped(70).lay_out(&story("a", 9));
        assert!(looks_wrapped(&wrapped));
        let one_line = story("a", 9).replace("\n\n", " ");
        for (like, from) in [
            (&wrapped, &running),
            (&one_line, &running),
            (&one_line, &Layout::Wrapped(60).lay_out(&running)),
        ] {
            let made = make(&[item("a", like)], &[item("q", from)], &[], &ONE).unwrap();
            let piece = &texts(&made)[0];
            assert_eq!(
                Layout::new(piece) == Layout::OneLine,
                like == &one_line,
                "{piece}"
            );
            assert_eq!(looks_wrapped(piece), looks_wrapped(like), "{piece}");
        }
        // When paragraphs are wanted, wrapped text is unwrapped first.
        let made = make(
            &[item("a", &story("a", 9))],
            &[item("q", &wrapped.replace('a', "e"))],
            &[],
            &ONE,
        )
        .unwrap();
        assert!(!looks_wrapped(&texts(&made)[0]) && made.warnings.is_empty());
    }

    #[test]
    fn verse_as_controls_for_prose_gives_a_warning() {
        let verse: String = (0..90).map(|n| format!("rhyme{n} by day{n}\n")).collect();
        let made = make(
            &[item("a", &story("a", 9))],
            &[item("q", &verse)],
            &[],
            &ONE,
        )
        .unwrap();
        assert!(
            made.warnings[0].starts_with("q.txt: the median line has 16 characters"),
            "{:?}",
            made.warnings
        );
    }

    #[test]
    fn pieces_that_quote_an_item_a_known_text_or_another_piece_are_rejected() {
        let like = [item("a", &story("a", 6))];
        let known = [item("k", &story("k", 3))];
        let quoting = format!("{} {}", story("q", 3), &story("a", 9)[..400]);
        let cases = [
            ("all of it", story("a", 6), "the item \"a\""),
            ("a part", quoting, "the item \"a\""),
            (
                "a known text",
                format!("{} {}", story("q", 4), story("k", 3)),
                "the known text \"k\"",
            ),
        ];
        for (name, text, owner) in cases {
            let Err(ControlsError::NoneMade(left_out)) =
                make(&like, &[item("q", &text)], &known, &ONE)
            else {
                panic!("{name}: a control was made");
            };
            assert!(
                left_out[0]
                    .reason
                    .contains(&format!("shares 8 words in a row with {owner}")),
                "{left_out:?}"
            );
        }
        // If the rest of the text is free, a piece is found there; rejections are listed.
        let mixed = format!("{}\n\n{}", story("a", 6), story("z", 30));
        let twice = [item("q", &mixed), item("r", &story("z", 30))];
        let mut refused = 0;
        for seed in 0..20 {
            let made = make(&like, &twice, &known, &MakeSettings { seed, ..ONE }).unwrap();
            let mut pieces = Index::default();
            for (index, piece) in texts(&made).iter().enumerate() {
                assert_eq!(pieces.overlap(&words(piece)), None);
                assert!(!piece.contains("afriend"));
                pieces.add(index, &words(piece));
            }
            refused += made.left_out.len();
        }
        assert!(refused > 0);
    }

    #[test]
    fn pieces_of_one_text_do_not_overlap_and_are_tagged() {
        let settings = MakeSettings {
            per_text: 5,
            genre: Some("diary".to_owned()),
            ..ONE
        };
        let mut from = item("q", &story("q", 40));
        from.tags = vec!["written:2026-01-01".to_owned()];
        let made = make(&[item("a", &story("a", 6))], &[from], &[], &settings).unwrap();
        assert_eq!((made.texts, made.controls.len()), (1, 5));
        let tags = ["written:2026-01-01", "diary", "part-of:q", MADE_BY];
        assert!(
            made.controls
                .iter()
                .all(|control| control.tags == tags && control.matches == ["diary"])
        );
        let whole = texts(&made).join(" ");
        let names: Vec<&str> = whole
            .split_whitespace()
            .filter(|word| word.starts_with("qhill"))
            .collect();
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(names.len(), distinct.len(), "no sentence is in two pieces");
    }

    #[test]
    fn texts_that_are_too_short_say_how_much_is_missing() {
        let like = [item("a", &"x".repeat(1200)), item("b", &"y".repeat(5000))];
        let error = make(&like, &[item("q", "Too short.")], &[], &ONE)
            .unwrap_err()
            .to_string();
        let reason = "10 characters, and the shortest item has 1,200: 1,190 more are needed";
        assert_eq!(
            error,
            format!("no control could be made:\nq.txt: \"q\": {reason}")
        );
        // Unless a length is given.
        let short = MakeSettings {
            length: Some(10),
            ..ONE
        };
        assert_eq!(
            texts(&make(&like, &[item("q", "Too short.")], &[], &short).unwrap()),
            ["Too short."]
        );
        let mut control = item("c", "text");
        control.kind = Kind::Control;
        let error = make(&[control], &[], &[], &ONE).unwrap_err().to_string();
        assert_eq!(
            error,
            "c.txt contains only controls, so there are no texts to imitate; name opted-out texts with --like"
        );
    }

    #[test]
    fn texts_without_sentences_or_spaces_are_cut_too() {
        let like = [item("a", &"x".repeat(300))];
        for text in [
            "日本語".repeat(400),
            "word ".repeat(400),
            "\u{1f600}".repeat(1000),
        ] {
            let made = make(&like, &[item("q", &text)], &[], &ONE).unwrap();
            assert!(
                (300..=375).contains(&chars(&texts(&made)[0])),
                "{}",
                texts(&made)[0]
            );
        }
    }
}
