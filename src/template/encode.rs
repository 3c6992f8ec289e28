//! From a rendered template to token ids around a window's own.

use super::file::{Shape, Template};
use super::{Known, Piece, TemplateId};
use crate::items::Item;
use crate::tokens::BosChoice;
use crate::tokens::tokenizer::{Tokenizer, TokenizerError};
use crate::window::{Window, WindowId};
use std::collections::HashMap;

/// What stands for text while the words around it are encoded: the tokens of those words can depend on whether a space
/// follows.
const WORD: &str = "text";

/// A template rendered for one checkpoint.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub id: TemplateId,
    /// Whether a chat template wrote it, which then decides about BOS, too.
    turns: bool,
    pieces: HashMap<Known, Vec<Piece>>,
}

/// Token ids of what a template puts before the prefix, and between prefix and suffix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub before: Vec<u32>,
    pub after: Vec<u32>,
}

/// The BOS convention of a run.
#[derive(Clone, Copy, Debug)]
pub struct Bos {
    pub choice: BosChoice,
    /// The token in front of every bare window, if there is one.
    pub token: Option<u32>,
}

impl Rendered {
    /// Brings the renderings of a template together.
    pub fn new(template: &Template, pieces: HashMap<Known, Vec<Piece>>) -> Self {
        Self {
            id: template.id.clone(),
            turns: matches!(template.shape, Shape::Turns(_)),
            pieces,
        }
    }

    /// The bare windows of an item under this template.
    ///
    /// Prefix and suffix stay the ids they are. Of the words around them the tokens are those of one encoding in which a
    /// stand-in has the text's place; spaces before a text that begins with one itself are left out. The spelling of a
    /// special token is that token in the template's words and plain text in title and author.
    ///
    /// A template without turns is text: it gets the BOS that text gets. A chat template writes its own BOS or does
    /// without; `BosChoice::Always` adds one it lacks, `Never` takes it away. It never stands there twice.
    ///
    /// # Errors
    /// When the tokenizer can't encode the template's words.
    pub fn frame(
        &self,
        item: &Item,
        windows: &[Window],
        tokenizer: &Tokenizer,
        bos: Bos,
    ) -> Result<Vec<Window>, TokenizerError> {
        if self.id.is_none() {
            return Ok(windows.to_vec());
        }
        // White space at its ends is trimmed wherever a chat template trims what it is given.
        let title = item
            .title
            .as_deref()
            .map(str::trim)
            .filter(|title| !title.is_empty());
        let author = item
            .author
            .as_deref()
            .map(str::trim)
            .filter(|author| !author.is_empty());
        let known = Known {
            title: title.is_some(),
            author: author.is_some(),
        };
        let pieces = self
            .pieces
            .get(&known)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let words = Words {
            pieces,
            title: title.unwrap_or_default(),
            author: author.unwrap_or_default(),
            tokenizer,
        };
        let mut frames: HashMap<(bool, bool), Frame> = HashMap::new();
        let mut framed = Vec::with_capacity(windows.len());
        for window in windows {
            let bare = usize::from(bos.token.is_some());
            let (context, suffix) = window.token_ids.split_at(window.prefix_len as usize);
            let prefix = context.get(bare..).unwrap_or_default();
            let spaced = (
                begins_with_space(tokenizer, prefix),
                begins_with_space(tokenizer, suffix),
            );
            let frame = match frames.get(&spaced) {
                Some(frame) => frame,
                None => {
                    let frame = self.with_bos(words.encode(spaced)?, tokenizer, bos);
                    frames.entry(spaced).or_insert(frame)
                }
            };
            let mut token_ids = [&frame.before, prefix, &frame.after].concat();
            let prefix_len = token_ids.len() as u32;
            token_ids.extend(suffix);
            framed.push(Window {
                id: WindowId(format!("{}@{}", window.id, self.id)),
                template: self.id.clone(),
                token_ids,
                prefix_len,
                ..window.clone()
            });
        }
        Ok(framed)
    }

    fn with_bos(&self, frame: Frame, tokenizer: &Tokenizer, bos: Bos) -> Frame {
        let Some(token) = tokenizer
            .bos(BosChoice::Always)
            .ok()
            .flatten()
            .or(bos.token)
        else {
            return frame;
        };
        let own = frame.before.first() == Some(&token);
        let wanted = match bos.choice {
            BosChoice::Never => false,
            BosChoice::Always => true,
            BosChoice::Auto => own || (!self.turns && bos.token.is_some()),
        };
        let mut before = frame.before;
        match (own, wanted) {
            (true, false) => drop(before.remove(0)),
            (false, true) => before.insert(0, token),
            _ => {}
        }
        Frame { before, ..frame }
    }
}

fn begins_with_space(tokenizer: &Tokenizer, ids: &[u32]) -> bool {
    ids.first()
        .and_then(|id| tokenizer.token_bytes(*id).first())
        .is_some_and(u8::is_ascii_whitespace)
}

/// A rendered template with an item's title and author.
struct Words<'a> {
    pieces: &'a [Piece],
    title: &'a str,
    author: &'a str,
    tokenizer: &'a Tokenizer,
}

impl Words<'_> {
    /// Encodes the words around prefix and suffix, which begin with a space or don't.
    fn encode(
        &self,
        (prefix_spaced, suffix_spaced): (bool, bool),
    ) -> Result<Frame, TokenizerError> {
        let mut text = Spelled::default();
        let (mut prefix, mut suffix) = (0..0, 0..0);
        for piece in self.pieces {
            match piece {
                Piece::Literal(literal) => text.push(literal, true),
                Piece::Title => text.push(self.title, false),
                Piece::Author => text.push(self.author, false),
                Piece::Prefix => prefix = text.stand_in(prefix_spaced),
                Piece::Suffix => suffix = text.stand_in(suffix_spaced),
            }
        }
        let whole = self
            .tokenizer
            .encode_template(&text.parts(0, text.whole.len()))?;
        let between = |start: usize, end: usize| {
            if start == end {
                return Ok(Vec::new());
            }
            let inside = |bytes: &(usize, usize)| bytes.0 >= start && bytes.1 <= end;
            let touches = |bytes: &(usize, usize)| bytes.0 < end && bytes.1 > start;
            let tokens = whole
                .ids
                .iter()
                .zip(&whole.bytes)
                .filter(|(_, bytes)| touches(bytes));
            let apart: Option<Vec<u32>> = tokens
                .map(|(id, bytes)| inside(bytes).then_some(*id))
                .collect();
            match apart {
                Some(ids) if !ids.is_empty() => Ok(ids),
                // A token holds the end of the template's words and the beginning of the text: by themselves, then.
                _ => Ok(self.tokenizer.encode_template(&text.parts(start, end))?.ids),
            }
        };
        Ok(Frame {
            before: between(0, prefix.start)?,
            after: between(prefix.end, suffix.start)?,
        })
    }
}

/// A text of which some stretches are a template's own words.
#[derive(Default)]
struct Spelled {
    whole: String,
    /// Where each stretch ends, and whether it is the template's.
    ends: Vec<(usize, bool)>,
}

impl Spelled {
    fn push(&mut self, text: &str, literal: bool) {
        self.whole.push_str(text);
        self.ends.push((self.whole.len(), literal));
    }

    /// Puts the stand-in of a text; gives its place.
    fn stand_in(&mut self, spaced: bool) -> std::ops::Range<usize> {
        if spaced {
            let trimmed = self.whole.trim_end_matches(' ').len();
            self.whole.truncate(trimmed);
            self.ends
                .iter_mut()
                .for_each(|(end, _)| *end = trimmed.min(*end));
        }
        let start = self.whole.len();
        self.push(if spaced { " " } else { "" }, false);
        self.push(WORD, false);
        start..self.whole.len()
    }

    /// The stretches between two of its bytes.
    fn parts(&self, start: usize, end: usize) -> Vec<(&str, bool)> {
        let mut from = 0;
        let mut parts = Vec::new();
        for &(to, literal) in &self.ends {
            let (a, b) = (from.max(start), to.min(end));
            if a < b {
                parts.push((&self.whole[a..b], literal));
            }
            from = to;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::{Content, ItemId, Origin};
    use crate::template::file::Template;
    use crate::tokens::gguf::GgufVocab;
    use crate::window::cut::cut;
    use crate::window::{Reflow, Stride, WindowConfig};
    use serde_json::json;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    const BOS: &str = "<s>";

    /// Bytes, a BOS and an end of turn: the same tokenizer as a GGUF and as a tokenizer.json.
    fn tokenizers() -> [Tokenizer; 2] {
        let mut tokens: Vec<String> = ByteLevel::alphabet()
            .into_iter()
            .map(String::from)
            .collect();
        tokens.sort();
        let plain = tokens.len() as u32;
        tokens.extend([BOS.to_owned(), "<|end|>".to_owned()]);
        let vocab: serde_json::Map<_, _> = tokens
            .iter()
            .zip(0u32..)
            .map(|(t, id)| (t.clone(), json!(id)))
            .collect();
        let added = |id: u32, content: &str| {
            json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false})
        };
        let json = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": [added(plain, BOS), added(plain + 1, "<|end|>")],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
            "model": {"type": "BPE", "vocab": vocab, "merges": []},
        });
        let config = json!({"bos_token": BOS, "add_bos_token": true}).to_string();
        let mut kinds = vec![1; tokens.len()];
        kinds[plain as usize..].fill(3);
        let vocab = GgufVocab {
            model: "gpt2".to_owned(),
            pre: Some("gpt-2".to_owned()),
            tokens,
            merges: Some(Vec::new()),
            token_types: Some(kinds),
            bos: Some(plain),
            add_bos: Some(true),
            ..GgufVocab::default()
        };
        [
            Tokenizer::from_gguf(vocab, "a.gguf").unwrap(),
            Tokenizer::from_json(
                json.to_string().as_bytes(),
                Some(config.as_bytes()),
                "tokenizer.json",
            )
            .unwrap(),
        ]
    }

    fn rendered(source: &str) -> Rendered {
        let source = format!("id = \"own\"\nabout = \"test\"\ntext = '''{source}'''");
        let template = Template::parse(&source, "own.toml").unwrap();
        let pieces = Known::ALL.map(|known| (known, template.render(known, None, "m").unwrap()));
        Rendered::new(&template, pieces.into())
    }

    fn item(title: &str) -> Item {
        let origin = Origin {
            file: "x".to_owned(),
            line: None,
        };
        let mut item = Item::new(
            ItemId("x".to_owned()),
            Content::Text("one two three four".to_owned()),
            origin,
        );
        item.title = Some(title.to_owned());
        item
    }

    /// The windows of an item under a template: bare, framed.
    fn frame(
        tokenizer: &Tokenizer,
        source: &str,
        title: &str,
        choice: BosChoice,
    ) -> (Vec<Window>, Vec<Window>) {
        let item = item(title);
        let bos = Bos {
            choice,
            token: tokenizer.bos(choice).unwrap(),
        };
        let config = WindowConfig {
            prefix: 3,
            suffix: 4,
            lead: None,
            stride: Stride::Tokens(1),
            reflow: Reflow::Off,
        };
        let bare = cut(&item, tokenizer, bos.token, &config).unwrap().windows;
        let framed = rendered(source)
            .frame(&item, &bare, tokenizer, bos)
            .unwrap();
        (bare, framed)
    }

    #[test]
    fn a_special_tokens_name_is_that_token_in_the_template_and_plain_text_in_a_title() {
        for tokenizer in tokenizers() {
            let end = tokenizer.special("<|end|>").unwrap();
            assert_eq!(
                (tokenizer.special("one"), tokenizer.special("a")),
                (None, None)
            );
            let source = "{{ title }}<|end|>{{ prefix }}<|end|>{{ suffix }}";
            for (title, ends) in [("T", 2), ("<|end|>", 2), ("a <s> <|end|> b", 2)] {
                let (bare, framed) = frame(&tokenizer, source, title, BosChoice::Never);
                for (bare, framed) in bare.iter().zip(&framed) {
                    let (context, suffix) = framed.token_ids.split_at(framed.prefix_len as usize);
                    assert_eq!(suffix, &bare.token_ids[bare.prefix_len as usize..]);
                    assert_eq!(
                        framed.token_ids.iter().filter(|id| **id == end).count(),
                        ends,
                        "{title}"
                    );
                    assert_eq!(context.last(), Some(&end));
                    let words = [
                        tokenizer.encode(title).unwrap().ids,
                        vec![end],
                        bare.token_ids[..3].to_vec(),
                        vec![end],
                    ];
                    assert_eq!(context, words.concat(), "{title}");
                    assert_eq!(
                        (&framed.id.0, &framed.template.0),
                        (&format!("{}@own", bare.id), &"own".to_owned())
                    );
                    assert_eq!(
                        (framed.suffix_byte, framed.start_byte),
                        (bare.suffix_byte, bare.start_byte)
                    );
                }
                assert_eq!(framed.len(), bare.len());
            }
        }
    }

    #[test]
    fn a_bos_stands_there_once_or_not_at_all() {
        for tokenizer in tokenizers() {
            let bos = tokenizer.special(BOS).unwrap();
            for source in [
                "a {{ prefix }}{{ suffix }}",
                "<s>a {{ prefix }}{{ suffix }}",
            ] {
                for (choice, count) in [
                    (BosChoice::Auto, 1),
                    (BosChoice::Always, 1),
                    (BosChoice::Never, 0),
                ] {
                    let (_, framed) = frame(&tokenizer, source, "", choice);
                    for window in framed {
                        assert_eq!(
                            window.token_ids.iter().filter(|id| **id == bos).count(),
                            count,
                            "{source} {choice:?}"
                        );
                        assert_eq!(window.token_ids[0] == bos, count == 1);
                    }
                }
            }
        }
    }

    #[test]
    fn a_space_between_template_and_text_is_there_once() {
        for tokenizer in tokenizers() {
            let (bare, framed) = frame(
                &tokenizer,
                "a: {{ prefix }}{{ suffix }}",
                "",
                BosChoice::Never,
            );
            let text = |window: &Window| tokenizer.decode(&window.token_ids);
            // Windows begin with a letter or with a space.
            for (bare, framed) in bare.iter().zip(&framed) {
                assert_eq!(
                    text(framed),
                    format!("a: {}", text(bare).trim_start()),
                    "{}",
                    bare.id
                );
            }
            assert!(bare.iter().any(|window| text(window).starts_with(' ')));
        }
    }

    #[test]
    fn the_bare_prefix_changes_nothing() {
        let [tokenizer, _] = tokenizers();
        let template = Template::open("none").unwrap();
        let pieces = Known::ALL.map(|known| (known, template.render(known, None, "m").unwrap()));
        let (bare, _) = frame(&tokenizer, "{{ prefix }}{{ suffix }}", "", BosChoice::Auto);
        let bos = Bos {
            choice: BosChoice::Auto,
            token: tokenizer.bos(BosChoice::Auto).unwrap(),
        };
        let none = Rendered::new(&template, pieces.into());
        assert_eq!(none.frame(&item(""), &bare, &tokenizer, bos).unwrap(), bare);
    }
}
