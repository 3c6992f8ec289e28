//! From a rendered template to token ids around a window's own.

use super::file::{Shape, Template};
use super::{Known, Piece};
use crate::items::Item;
use crate::tokens::BosChoice;
use crate::tokens::{EncodeError, TextEncoder};
use crate::window::{Placement, TemplateId, Window, WindowId};
use std::collections::HashMap;

/// Placeholder for a text while encoding the words around it: their tokens can depend on whether a
/// space follows.
const WORD: &str = "text";

/// A template rendered for one checkpoint.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub id: TemplateId,
    /// Whether a chat template rendered it, which then also decides about BOS.
    turns: bool,
    pieces: HashMap<Known, Vec<Piece>>,
}

/// Token ids that a template puts before the prefix, and between prefix and suffix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub before: Vec<u32>,
    pub after: Vec<u32>,
}

/// The BOS convention of a run.
#[derive(Clone, Copy, Debug)]
pub struct Bos {
    pub choice: BosChoice,
    /// The token in front of every bare window, if any.
    pub token: Option<u32>,
}

impl Rendered {
    /// Combines the renderings of a template.
    pub fn new(template: &Template, pieces: HashMap<Known, Vec<Piece>>) -> Self {
        Self {
            id: template.id.clone(),
            turns: matches!(template.shape, Shape::Turns(_)),
            pieces,
        }
    }

    /// The bare windows of an item under this template.
    ///
    /// The ids of prefix and suffix stay unchanged. The tokens of the words around them come from
    /// one encoding with a placeholder for the text; spaces before a text that begins with a space
    /// itself are dropped. The spelling of a special token becomes that token in the template's
    /// words, and is plain text in title and author.
    ///
    /// A template without turns is text: it gets the same BOS as text. A chat template writes its
    /// own BOS or has none; `BosChoice::Always` adds a missing one, `Never` removes it. There are
    /// never two.
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
        // Chat templates trim their inputs, so white space at the ends is trimmed everywhere.
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
    /// Encodes the words around prefix and suffix; each of the two may begin with a space.
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
                // One token contains the end of the template's words and the beginning of the text,
                // so encode the words alone.
                _ => Ok(self.tokenizer.encode_template(&text.parts(start, end))?.ids),
            }
        };
        Ok(Frame {
            before: between(0, prefix.start)?,
            after: between(prefix.end, suffix.start)?,
        })
    }
}

/// A text, parts of which are a template's own words.
#[derive(Default)]
struct Spelled {
    whole: String,
    /// The end of each part, and whether it belongs to the template.
    ends: Vec<(usize, bool)>,
}

impl Spelled {
    fn push(&mut self, text: &str, literal: bool) {
        self.whole.push_str(text);
        self.ends.push((self.whole.len(), literal));
    }

    /// Adds the placeholder of a text; returns its position.
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

    /// The parts between two byte positions.
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
