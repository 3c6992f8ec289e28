//! Encodes text in which the spelling of a special token is that token, as in chat templates.

use super::{Encoding, Engine, Tokenizer, TokenizerError};
use crate::tokens::gguf::GgufVocab;
use std::fmt;
use std::sync::OnceLock;

/// The source of a tokenizer's special tokens.
pub(super) enum Specials {
    /// The library, in a copy that recognizes special tokens, made on first use.
    Library(OnceLock<Box<tokenizers::Tokenizer>>),
    /// Spellings and ids, longest first.
    Table(Vec<(String, u32)>),
}

impl fmt::Debug for Specials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(_) => f.write_str("Library"),
            Self::Table(table) => write!(f, "Table({})", table.len()),
        }
    }
}

const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

impl Specials {
    /// Control and user-defined tokens of a GGUF.
    pub(super) fn of_gguf(vocab: &GgufVocab) -> Self {
        let kinds = vocab.token_types.as_deref().unwrap_or_default();
        let special =
            |kind: Option<&i32>| kind.is_some_and(|kind| [CONTROL, USER_DEFINED].contains(kind));
        let tokens = vocab
            .tokens
            .iter()
            .zip(0u32..)
            .filter(|(token, id)| !token.is_empty() && special(kinds.get(*id as usize)));
        let mut table: Vec<(String, u32)> = tokens.map(|(token, id)| (token.clone(), id)).collect();
        table.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.cmp(b)));
        Self::Table(table)
    }
}

impl Tokenizer {
    /// The id of a special token by its spelling.
    pub fn special(&self, spelling: &str) -> Option<u32> {
        match (&self.specials, &self.engine) {
            (Specials::Table(table), _) => table
                .iter()
                .find(|(token, _)| token == spelling)
                .map(|(_, id)| *id),
            (Specials::Library(_), Engine::Library(library)) => {
                let added = library.get_added_tokens_decoder();
                let id = library.token_to_id(spelling)?;
                added.contains_key(&id).then_some(id)
            }
            _ => None,
        }
    }

    /// Encodes text that consists of several parts. In parts marked true, the spelling of a special
    /// token is that token; in the others it is ordinary text, as in [`Tokenizer::encode`]. Nothing
    /// is added. Byte ranges refer to the whole text.
    ///
    /// # Errors
    /// If the vocabulary can't spell a character of it.
    pub fn encode_template(&self, parts: &[(&str, bool)]) -> Result<Encoding, TokenizerError> {
        let mut out = Encoding::default();
        let mut at = 0;
        // Adjacent parts are encoded together as long as no plain one could be mistaken for special
        // tokens.
        let mut rest = parts;
        while !rest.is_empty() {
            let safe = rest
                .iter()
                .take_while(|(text, literal)| *literal || !self.names_a_special(text))
                .count();
            let (run, literal) = if safe == 0 {
                (&rest[..1], false)
            } else {
                (&rest[..safe], true)
            };
            let text: String = run.iter().map(|(text, _)| *text).collect();
            let encoding = if literal {
                self.encode_with_specials(&text)?
            } else {
                self.encode(&text)?
            };
            out.ids.extend(encoding.ids);
            out.bytes.extend(
                encoding
                    .bytes
                    .iter()
                    .map(|(start, end)| (at + start, at + end)),
            );
            at += text.len();
            rest = &rest[run.len()..];
        }
        Ok(out)
    }

    fn names_a_special(&self, text: &str) -> bool {
        match (&self.specials, &self.engine) {
            (Specials::Table(table), _) => table.iter().any(|(token, _)| text.contains(token)),
            (Specials::Library(_), Engine::Library(library)) => library
                .get_added_tokens_decoder()
                .values()
                .any(|token| text.contains(&token.content)),
            _ => false,
        }
    }

    fn encode_with_specials(&self, text: &str) -> Result<Encoding, TokenizerError> {
        match (&self.specials, &self.engine) {
            (Specials::Library(copy), Engine::Library(library)) => {
                let library = copy.get_or_init(|| {
                    let mut copy = library.clone();
                    copy.set_encode_special_tokens(false);
                    copy
                });
                let fail = |e: tokenizers::Error| TokenizerError::Encode {
                    file: self.file.clone(),
                    reason: e.to_string(),
                };
                let encoding = library.encode(text, false).map_err(fail)?;
                Ok(Encoding {
                    ids: encoding.get_ids().to_vec(),
                    bytes: encoding.get_offsets().to_vec(),
                    exact: false,
                })
            }
            (Specials::Table(table), _) => self.encode_around(text, table),
            _ => self.encode(text),
        }
    }

    /// Cuts out special tokens, the leftmost first and the longest among those, and encodes the
    /// text between them.
    fn encode_around(
        &self,
        text: &str,
        table: &[(String, u32)],
    ) -> Result<Encoding, TokenizerError> {
        let mut out = Encoding::default();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            // Among those that begin at the same index, the longest is first in the table.
            let next = table
                .iter()
                .filter_map(|(token, id)| Some((rest.find(token)?, token.len(), *id)));
            let next = next.min_by_key(|(index, len, _)| (*index, std::cmp::Reverse(*len)));
            let plain = next.map_or(rest.len(), |(index, ..)| index);
            if plain > 0 {
                let encoding = self.encode(&rest[..plain])?;
                out.ids.extend(encoding.ids);
                out.bytes.extend(
                    encoding
                        .bytes
                        .iter()
                        .map(|(start, end)| (at + start, at + end)),
                );
            }
            at += plain;
            if let Some((_, len, id)) = next {
                out.ids.push(id);
                out.bytes.push((at, at + len));
                at += len;
            }
        }
        Ok(out)
    }
}
