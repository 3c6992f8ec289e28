//! From a rendered template to token ids around a window's own.

use super::file::{Shape, Template};
use super::{Known, Piece};
use crate::items::Item;
use crate::tokens::BosChoice;
use crate::tokens::{EncodeError, TextEncoder};
use crate::window::{Placement, TemplateId, Window, WindowId};
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
        tokenizer: &dyn TextEncoder,
        bos: Bos,
    ) -> Result<Vec<Window>, EncodeError> {
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
            let (context, suffix) = window
                .token_ids
                .split_at(window.placement.prefix_len as usize);
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
                placement: Placement {
                    template: self.id.clone(),
                    prefix_len,
                    ..window.placement.clone()
                },
                token_ids,
                ..window.clone()
            });
        }
        Ok(framed)
    }

    fn with_bos(&self, frame: Frame, tokenizer: &dyn TextEncoder, bos: Bos) -> Frame {
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

fn begins_with_space(tokenizer: &dyn TextEncoder, ids: &[u32]) -> bool {
    ids.first()
        .and_then(|id| tokenizer.token_bytes(*id).first())
        .is_some_and(u8::is_ascii_whitespace)
}

/// A rendered template with an item's title and author.
struct Words<'a> {
    pieces: &'a [Piece],
    title: &'a str,
    author: &'a str,
    tokenizer: &'a dyn TextEncoder,
}

impl Words<'_> {
    /// Encodes the words around prefix and suffix, which begin with a space or don't.
    fn encode(&self, (prefix_spaced, suffix_spaced): (bool, bool)) -> Result<Frame, EncodeError> {
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
                return Ok::<_, EncodeError>(Vec::new());
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
