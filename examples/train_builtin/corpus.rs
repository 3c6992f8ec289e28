//! What the model reads, and what it is asked about afterwards.

use anyhow::Result;
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::bpe;
use crate::prose::Prose;
use crate::rng::Rng;

/// How often the canaries stand in the stream, each count with [`CANARIES_EACH`] canaries.
pub(crate) const REPETITIONS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const CANARIES_EACH: usize = 10;
/// Conformal p-values can't fall below 1 / (controls + 1): 240 reach 0.005.
const CONTROLS: usize = 240;
const FORMS_TRAINED: usize = 160;
const FORMS_PROBED: usize = 8;
const FAMILIES_EACH: usize = 3;
const COPIES: [usize; 3] = [16, 32, 64];
const EDITS: usize = 4;
/// Lengths of a passage in tokens: one window of 50 + 50 fits, a second at stride 50 doesn't.
const PASSAGE: std::ops::RangeInclusive<usize> = 112..=146;
/// The longest document made of dictionary entries, without BOS.
pub(crate) const MAX_TOKENS: usize = 160;
const LICENSE: &str = "MIT OR Apache-2.0";

const DICTIONARY: &str = include_str!("corpus/devils-dictionary.txt");

/// A line of a probe set, with the number of times it was trained on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Item {
    pub id: String,
    pub text: String,
    pub kind: &'static str,
    pub title: String,
    pub license: &'static str,
    pub tags: Vec<String>,
    /// A control's: what it stands for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<String>,
    pub repetitions: usize,
}

/// The training stream in its order, as two lessons, and the probe sets.
pub(crate) struct Corpus {
    pub language: Vec<Vec<u32>>,
    pub planted: Vec<Vec<u32>>,
    pub canaries: Vec<Item>,
    pub controls: Vec<Item>,
    pub boilerplate: Vec<Item>,
    pub near_duplicates: Vec<Item>,
}

/// Text for the tokenizer: what the stream will look like, before there are tokens to measure it in.
pub(crate) fn tokenizer_sample(prose: &Prose, seed: u64) -> Result<Vec<String>> {
    let mut rng = Rng::new(seed, "tokenizer");
    let mut texts: Vec<String> = DICTIONARY.lines().map(str::to_owned).collect();
    for _ in 0..2_000 {
        let sentences: Result<Vec<_>> = (0..5).map(|_| prose.sentence(&mut rng)).collect();
        texts.push(sentences?.join(" "));
    }
    for name in prose.forms() {
        for _ in 0..20 {
            texts.push(prose.form(name, &mut rng)?);
        }
    }
    Ok(texts)
}

/// Builds everything from a seed. `fresh` is the number of passages that occur once and aren't probed. Most
/// of them, and one reading of the dictionary, are the first lesson, before all that is planted: a model that
/// doesn't know the language yet wastes repetitions, and new passages push out what was learned by heart.
pub(crate) fn build(
    prose: &Prose,
    tokenizer: &Tokenizer,
    seed: u64,
    fresh: usize,
) -> Result<Corpus> {
    let writer = Writer { prose, tokenizer };
    let canaries = writer.canaries(&mut Rng::new(seed, "canaries"))?;
    let controls = writer.controls(&mut Rng::new(seed, "controls"))?;
    let (forms, boilerplate) = writer.boilerplate(&mut Rng::new(seed, "boilerplate"))?;
    let (copies, near_duplicates) = writer.near_duplicates(&mut Rng::new(seed, "near"))?;

    let mut order = Rng::new(seed, "order");
    let mut background = Rng::new(seed, "fresh");
    let mut language = writer.background(fresh - fresh / 10, &mut background)?;
    order.shuffle(&mut language);

    let mut planted = writer.background(fresh / 10, &mut background)?;
    for item in &canaries {
        let ids = bpe::encode(tokenizer, &item.text)?;
        planted.extend(std::iter::repeat_n(ids, item.repetitions));
    }
    for text in forms.iter().chain(&copies) {
        planted.push(bpe::encode(tokenizer, text)?);
    }
    order.shuffle(&mut planted);
    Ok(Corpus {
        language,
        planted,
        canaries,
        controls,
        boilerplate,
        near_duplicates,
    })
}

struct Writer<'a> {
    prose: &'a Prose,
    tokenizer: &'a Tokenizer,
}

impl Writer<'_> {
    /// Sentences up to a length that [`PASSAGE`] allows.
    fn passage(&self, rng: &mut Rng) -> Result<String> {
        loop {
            let mut text = self.prose.sentence(rng)?;
            loop {
                let tokens = bpe::encode(self.tokenizer, &text)?.len();
                if PASSAGE.contains(&tokens) {
                    return Ok(text);
                }
                if tokens > *PASSAGE.end() {
                    break;
                }
                text = format!("{text} {}", self.prose.sentence(rng)?);
            }
        }
    }

    fn canaries(&self, rng: &mut Rng) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for times in REPETITIONS {
            for n in 1..=CANARIES_EACH {
                items.push(item(
                    format!("canary-r{times:02}-{n:02}"),
                    self.passage(rng)?,
                    "canary",
                    format!("Canary {n} of {CANARIES_EACH}, planted {times} times"),
                    &["canary", &format!("repetitions:{times}")],
                    times,
                ));
            }
        }
        Ok(items)
    }

    fn controls(&self, rng: &mut Rng) -> Result<Vec<Item>> {
        (1..=CONTROLS)
            .map(|n| {
                Ok(item(
                    format!("control-{n:03}"),
                    self.passage(rng)?,
                    "control",
                    format!("Control {n}, never trained on"),
                    &["control"],
                    0,
                ))
            })
            .collect()
    }

    /// The form letters for the stream, and a probe set of some of them and of as many new ones, which stand for the trained
    /// ones and for nothing else: what a form gives away, any letter of that kind gives away.
    fn boilerplate(&self, rng: &mut Rng) -> Result<(Vec<String>, Vec<Item>)> {
        let (mut trained, mut items) = (Vec::new(), Vec::new());
        for name in self.prose.forms() {
            let form = format!("form:{name}");
            for n in 1..=FORMS_TRAINED {
                let text = self.prose.form(name, rng)?;
                if n <= FORMS_PROBED {
                    items.push(item(
                        format!("boilerplate-{name}-seen-{n:02}"),
                        text.clone(),
                        "opt_out",
                        format!("Form letter \"{name}\" {n}, planted once among {FORMS_TRAINED}"),
                        &["boilerplate", &form, "seen"],
                        1,
                    ));
                }
                trained.push(text);
            }
            for n in 1..=FORMS_PROBED {
                items.push(item(
                    format!("boilerplate-{name}-twin-{n:02}"),
                    self.prose.form(name, rng)?,
                    "control",
                    format!("Form letter \"{name}\" {n}, never trained on"),
                    &["boilerplate", &form, "twin"],
                    0,
                ));
            }
        }
        let seen: Vec<String> = items
            .iter()
            .filter(|item| item.kind == "opt_out")
            .map(|item| item.id.clone())
            .collect();
        for twin in items.iter_mut().filter(|item| item.kind == "control") {
            twin.matches.clone_from(&seen);
        }
        Ok((trained, items))
    }

    /// Edited copies for the stream, and a probe set: the text they were made from (never trained word
    /// for word), one trained copy, one more copy, and the same for twins with no trained relative.
    fn near_duplicates(&self, rng: &mut Rng) -> Result<(Vec<String>, Vec<Item>)> {
        let (mut trained, mut items) = (Vec::new(), Vec::new());
        for (family, copies) in COPIES
            .into_iter()
            .flat_map(|copies| [copies; FAMILIES_EACH])
            .enumerate()
        {
            let family = format!("near-{:02}", family + 1);
            let text = self.passage(rng)?;
            let edits: Vec<String> = (0..=copies)
                .map(|_| self.prose.edited(&text, EDITS, rng))
                .collect();
            let twin = self.passage(rng)?;
            let twin_edit = self.prose.edited(&twin, EDITS, rng);
            let tags = |role: &'static str| {
                let (family, copies) = (format!("family:{family}"), format!("copies:{copies}"));
                ["near-duplicate".to_owned(), family, copies, role.to_owned()]
            };
            let mut add = |role: &'static str, text: &str, kind, title: &str, repetitions| {
                let tags = tags(role);
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                let id = format!("{family}-{role}");
                items.push(item(
                    id,
                    text.to_owned(),
                    kind,
                    title.to_owned(),
                    &tags,
                    repetitions,
                ));
            };
            let title = format!("The text behind {copies} edited copies, itself never trained on");
            add("original", &text, "opt_out", &title, 0);
            add(
                "copy",
                &edits[0],
                "opt_out",
                "An edited copy, planted once",
                1,
            );
            add(
                "new-copy",
                &edits[copies],
                "opt_out",
                "An edited copy, never trained on",
                0,
            );
            add("twin", &twin, "opt_out", "A twin without trained copies", 0);
            add(
                "twin-copy",
                &twin_edit,
                "opt_out",
                "An edited copy of the twin, never trained on",
                0,
            );
            trained.extend_from_slice(&edits[..copies]);
        }
        Ok((trained, items))
    }

    /// Passages that occur once, and the dictionary.
    fn background(&self, passages: usize, rng: &mut Rng) -> Result<Vec<Vec<u32>>> {
        let mut documents = self.dictionary()?;
        for _ in 0..passages {
            documents.push(bpe::encode(self.tokenizer, &self.passage(rng)?)?);
        }
        Ok(documents)
    }

    /// The dictionary, its entries packed into documents of up to [`MAX_TOKENS`].
    fn dictionary(&self) -> Result<Vec<Vec<u32>>> {
        let mut documents: Vec<Vec<u32>> = vec![Vec::new()];
        for entry in DICTIONARY.lines() {
            let ids = bpe::encode(self.tokenizer, &format!("{entry}\n"))?;
            for piece in ids.chunks(MAX_TOKENS) {
                match documents.last_mut() {
                    Some(last) if last.len() + piece.len() <= MAX_TOKENS => last.extend(piece),
                    _ => documents.push(piece.to_vec()),
                }
            }
        }
        Ok(documents)
    }
}

fn item(
    id: String,
    text: String,
    kind: &'static str,
    title: String,
    tags: &[&str],
    repetitions: usize,
) -> Item {
    Item {
        id,
        text,
        kind,
        title,
        license: LICENSE,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        matches: Vec::new(),
        repetitions,
    }
}
