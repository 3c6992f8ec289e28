//! Pseudo-prose: grammatical sentence frames whose slots are filled at random, so that a text reads like
//! a text but nobody can guess it. Canaries, controls and most of the background are made of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::rng::Rng;

const LEXICON: &str = include_str!("corpus/lexicon.txt");
const FRAMES: &str = include_str!("corpus/frames.txt");
const FORMS: &str = include_str!("corpus/boilerplate.txt");

const ONSETS: &str =
    "B Br C Ch Cl D Dr F Fl G Gl Gr H J K Kr L M N P Pr Qu R S Sk Sl St T Th Tr V W Z";
const VOWELS: &str = "a e i o u ae ai ea ei ia oa ou";
const MIDDLES: &str = "b d g l ld ll m mb n nd ng nn r rd rl rn rv s sk ss st t th tt v x";
const TOWN_ENDS: &str =
    "ford ham ton wick bury mouth gate stead minster dale haven thorpe by holm cliff marsh";
const FAMILY_ENDS: &str =
    "er in ov ane ess ick ot ale ey ings man sen ard ell orn ash eck ova ius ade";
const IRREGULAR: &[(&str, &str)] = &[
    ("goose", "geese"),
    ("calf", "calves"),
    ("wolf", "wolves"),
    ("scarf", "scarves"),
    ("sheep", "sheep"),
    ("bellows", "bellows"),
    ("salmon", "salmon"),
    ("trout", "trout"),
    ("bison", "bison"),
];

/// The word lists and frames, read once.
pub(crate) struct Prose {
    lists: BTreeMap<String, Vec<String>>,
    frames: Vec<String>,
    forms: Vec<(String, String)>,
}

impl Prose {
    pub(crate) fn load() -> Result<Self> {
        let mut lists = BTreeMap::new();
        for (name, body) in sections(LEXICON) {
            let separator = if body.contains('|') { '|' } else { ' ' };
            let words = body.split(separator).map(|w| w.trim().to_owned());
            lists.insert(name, words.filter(|w| !w.is_empty()).collect::<Vec<_>>());
        }
        let mut forms = sections(FORMS);
        let at = forms
            .iter()
            .position(|(name, _)| name == "weekday")
            .context("boilerplate.txt has no [weekday]")?;
        let days = forms.remove(at).1;
        lists.insert("weekday".into(), words(&days));
        Ok(Self {
            lists,
            frames: lines(FRAMES).map(str::to_owned).collect(),
            forms,
        })
    }

    /// One sentence.
    pub(crate) fn sentence(&self, rng: &mut Rng) -> Result<String> {
        let frame = rng.pick(&self.frames).clone();
        self.fill(&frame, rng)
    }

    /// Names of the form letters.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &str> {
        self.forms.iter().map(|(name, _)| name.as_str())
    }

    /// A form letter with fresh slots.
    pub(crate) fn form(&self, name: &str, rng: &mut Rng) -> Result<String> {
        let (_, frame) = self
            .forms
            .iter()
            .find(|(n, _)| n == name)
            .with_context(|| format!("no form letter called {name}"))?;
        self.fill(frame, rng)
    }

    /// A copy of `text` in which `edits` words have been replaced by others of the same list.
    pub(crate) fn edited(&self, text: &str, edits: usize, rng: &mut Rng) -> String {
        let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let mut places: Vec<usize> = (0..words.len())
            .filter(|&i| self.list_of(&words[i]).is_some())
            .collect();
        rng.shuffle(&mut places);
        for &i in places.iter().take(edits) {
            if let Some(list) = self.list_of(&words[i]) {
                let old = words[i].clone();
                while words[i] == old {
                    words[i] = rng.pick(list).clone();
                }
            }
        }
        words.join(" ")
    }

    /// The list that a bare lower-case word or a first name stands in.
    fn list_of(&self, word: &str) -> Option<&Vec<String>> {
        [
            "adj", "noun", "trade", "animal", "thing", "verb", "adv", "name",
        ]
        .iter()
        .filter_map(|name| self.lists.get(*name))
        .find(|list| list.iter().any(|w| w == word))
    }

    /// Fills every `{slot}` of a frame.
    fn fill(&self, frame: &str, rng: &mut Rng) -> Result<String> {
        let mut out = String::new();
        let mut rest = frame;
        while let Some((before, after)) = rest.split_once('{') {
            let (slot, tail) = after.split_once('}').context("a slot without its end")?;
            out.push_str(before);
            out.push_str(&self.slot(slot, rng)?);
            rest = tail;
        }
        out.push_str(rest);
        Ok(capitalized(&with_articles(&out)))
    }

    fn slot(&self, slot: &str, rng: &mut Rng) -> Result<String> {
        let pick = |name: &str, rng: &mut Rng| -> Result<String> {
            let list = self.lists.get(name);
            Ok(rng
                .pick(list.with_context(|| format!("no list called {name}"))?)
                .clone())
        };
        Ok(match slot {
            "town" => coined(TOWN_ENDS, rng),
            "family" => coined(FAMILY_ENDS, rng),
            "count" => (rng.below(970) + 21).to_string(),
            "year" => (rng.below(400) + 1500).to_string(),
            _ => match slot.strip_prefix("s:") {
                Some(name) => plural(&pick(name, rng)?),
                None => pick(slot, rng)?,
            },
        })
    }
}

/// An invented proper name.
fn coined(ends: &str, rng: &mut Rng) -> String {
    let mut part = |list: &str| rng.pick(&words(list)).clone();
    part(ONSETS) + &part(VOWELS) + &part(MIDDLES) + &part(ends)
}

fn plural(word: &str) -> String {
    if let Some((_, plural)) = IRREGULAR.iter().find(|(one, _)| *one == word) {
        return (*plural).to_owned();
    }
    if let Some(stem) = word.strip_suffix("man") {
        return format!("{stem}men");
    }
    if ["s", "x", "ch", "sh", "z"]
        .iter()
        .any(|e| word.ends_with(e))
    {
        return format!("{word}es");
    }
    match word.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{word}s"),
    }
}

/// `a` before a vowel becomes `an`.
fn with_articles(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let vowel = word.starts_with(['a', 'e', 'i', 'o', 'u']) && !word.starts_with("un");
        if let (true, Some(last)) = (vowel, out.last_mut())
            && (last == "a" || last == "A")
        {
            last.push('n');
        }
        out.push(word.to_owned());
    }
    out.join(" ")
}

/// The first letter of the sentence in upper case.
fn capitalized(text: &str) -> String {
    let at = text.find(|c: char| c.is_alphabetic()).unwrap_or(0);
    let mut out = text.to_owned();
    if let Some(first) = out.get_mut(at..=at) {
        first.make_ascii_uppercase();
    }
    out
}

/// `[name]` sections of a file, each with its lines joined by blanks.
fn sections(file: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in lines(file) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            out.push((name.to_owned(), String::new()));
        } else if let Some((_, body)) = out.last_mut() {
            if !body.is_empty() {
                body.push(' ');
            }
            body.push_str(line);
        }
    }
    out
}

fn lines(file: &str) -> impl Iterator<Item = &str> {
    file.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn words(list: &str) -> Vec<String> {
    list.split_whitespace().map(str::to_owned).collect()
}
