//! The tokenizer in a GGUF file: `tokenizer.ggml.model` = `gpt2` (byte-level BPE with merges) or
//! `llama` (SentencePiece BPE with scores).

use super::pretokenize;
use super::sentencepiece::{Entry, SentencePiece};
use super::token_bytes::{self, TokenBytes};
use super::tokenizer::TokenizerError;
use byrote_core::digest::Digest;
use std::collections::HashSet;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

/// The tokenizer's GGUF metadata, under `tokenizer.ggml.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufVocab {
    /// `general.architecture`: determines how text is cut if `pre` doesn't.
    pub architecture: Option<String>,
    /// `model`: `gpt2` or `llama`.
    pub model: String,
    /// `pre`: the pattern that cuts text into words before merging.
    pub pre: Option<String>,
    pub tokens: Vec<String>,
    pub scores: Option<Vec<f32>>,
    /// `left right`, best first.
    pub merges: Option<Vec<String>>,
    /// `token_type`: 1 ordinary, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Option<Vec<i32>>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `unknown_token_id`.
    pub unk: Option<u32>,
    /// `add_bos_token`.
    pub add_bos: Option<bool>,
    /// `add_space_prefix`.
    pub add_space_prefix: Option<bool>,
}

/// The encoder made from a [`GgufVocab`].
pub(super) enum Made {
    Library(Box<tokenizers::Tokenizer>),
    SentencePiece(Box<SentencePiece>),
}

const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

impl GgufVocab {
    /// SHA-256 over every field, each preceded by its length.
    pub(super) fn digest(&self) -> Digest {
        let mut bytes = Vec::with_capacity(self.tokens.len() * 24);
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        bytes.extend(b"byrote.tokenizer.gguf/v1\n");
        text(&mut bytes, &self.model);
        let flags = (
            &self.pre,
            self.bos,
            self.unk,
            self.add_bos,
            self.add_space_prefix,
        );
        text(&mut bytes, &format!("{flags:?}"));
        if self.model == "gpt2" && matches!(self.pre.as_deref(), None | Some("default")) {
            text(&mut bytes, self.architecture.as_deref().unwrap_or_default());
        }
        for list in [Some(&self.tokens), self.merges.as_ref()] {
            bytes.extend((list.map_or(0, Vec::len) as u64).to_le_bytes());
            list.into_iter()
                .flatten()
                .for_each(|token| text(&mut bytes, token));
        }
        let scores = self.scores.iter().flatten();
        bytes.extend(scores.flat_map(|score| score.to_le_bytes()));
        let types = self.token_types.iter().flatten();
        bytes.extend(types.flat_map(|kind| kind.to_le_bytes()));
        Digest::of_bytes(&bytes)
    }

    /// Adds the ids of BOS and of the unknown token, as in Llama's SentencePiece files, if the
    /// metadata don't contain them.
    pub(super) fn with_defaults(mut self) -> Self {
        if self.model == "llama" {
            let is = |id: usize, kind: i32| self.token_types.is_some() && self.kind(id) == kind;
            let (unk, bos) = (is(0, UNKNOWN).then_some(0), is(1, CONTROL).then_some(1));
            self.unk = self.unk.or(unk);
            self.bos = self.bos.or(bos);
        }
        self
    }

    /// Builds the encoder, the bytes of every token, and whether text gets a BOS by default.
    pub(super) fn build(self, file: &str) -> Result<(Made, TokenBytes, bool), TokenizerError> {
        let damaged = |what: String| TokenizerError::Damaged {
            file: file.to_owned(),
            what,
        };
        if self.tokens.is_empty() {
            return Err(damaged("tokenizer.ggml.tokens is empty".to_owned()));
        }
        let lengths = [
            ("token_type", self.token_types.as_ref().map(Vec::len)),
            ("scores", self.scores.as_ref().map(Vec::len)),
        ];
        for (key, len) in lengths {
            if len.is_some_and(|len| len != self.tokens.len()) {
                return Err(damaged(format!(
                    "tokenizer.ggml.{key} has {} entries for {} tokens",
                    len.unwrap_or_default(),
                    self.tokens.len()
                )));
            }
        }
        for (key, id) in [("bos", self.bos), ("eos", self.eos), ("unknown", self.unk)] {
            if let Some(id) = id.filter(|&id| id as usize >= self.tokens.len()) {
                return Err(damaged(format!(
                    "tokenizer.ggml.{key}_token_id is {id}, but there are {} tokens",
                    self.tokens.len()
                )));
            }
        }
        match self.model.as_str() {
            "gpt2" => self.byte_level(file),
            "llama" => self.sentencepiece(file),
            _ => Err(TokenizerError::UnknownModel {
                file: file.to_owned(),
                model: self.model,
            }),
        }
    }

    fn kind(&self, id: usize) -> i32 {
        self.token_types
            .as_ref()
            .and_then(|kinds| kinds.get(id))
            .copied()
            .unwrap_or(1)
    }

    fn sentencepiece(mut self, file: &str) -> Result<(Made, TokenBytes, bool), TokenizerError> {
        let Some(scores) = self.scores.take() else {
            let what =
                "tokenizer.ggml.scores is missing, and a vocabulary of this kind merges by score";
            return Err(TokenizerError::Damaged {
                file: file.to_owned(),
                what: what.to_owned(),
            });
        };
        let mut table = TokenBytes::default();
        let mut entries = Vec::with_capacity(self.tokens.len());
        let tokens = std::mem::take(&mut self.tokens);
        let size = tokens.len();
        for (index, (token, score)) in tokens.into_iter().zip(scores).enumerate() {
            // Tables of 2^32 tokens don't exist: lengths were checked when the file was read.
            let id = index as u32;
            match (self.kind(index), token_bytes::fallback_byte(&token)) {
                (BYTE, Some(byte)) => {
                    table.push([byte]);
                    entries.push((id, Entry::Byte(byte)));
                }
                (UNKNOWN | CONTROL | UNUSED | BYTE, _) => table.push(token.into_bytes()),
                (USER_DEFINED, _) => {
                    table.push(token_bytes::spaced(&token));
                    entries.push((id, Entry::UserDefined { token }));
                }
                _ => {
                    table.push(token_bytes::spaced(&token));
                    entries.push((id, Entry::Ordinary { token, score }));
                }
            }
        }
        let space_prefix = self.add_space_prefix.unwrap_or(true);
        let made = SentencePiece::new(entries, size, self.unk, space_prefix);
        Ok((Made::SentencePiece(Box::new(made)), table, true))
    }

    fn byte_level(mut self, file: &str) -> Result<(Made, TokenBytes, bool), TokenizerError> {
        let damaged = |what: String| TokenizerError::Damaged {
            file: file.to_owned(),
            what,
        };
        let Some(pre) = pretokenize::find(self.pre.as_deref(), self.architecture.as_deref()) else {
            let file = file.to_owned();
            return Err(match self.pre {
                Some(pre) => TokenizerError::UnknownPre {
                    file,
                    pre,
                    known: pretokenize::known(),
                },
                None => TokenizerError::NoPre { file },
            });
        };
        let Some(merges) = self.merges.take() else {
            return Err(damaged("tokenizer.ggml.merges is missing".to_owned()));
        };
        let merges = merges
            .into_iter()
            .map(|merge| match merge.split_once(' ') {
                Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
                None => Err(damaged(format!(
                    "tokenizer.ggml.merges has {merge:?}, which isn't two tokens"
                ))),
            })
            .collect::<Result<Vec<_>, _>>()?;

        let mut table = TokenBytes::default();
        let mut vocab = Vocab::with_capacity(self.tokens.len());
        let mut user_defined = Vec::new();
        let tokens = std::mem::take(&mut self.tokens);
        let control = |index: usize| matches!(self.kind(index), UNKNOWN | CONTROL);
        let mut unmade: HashSet<&str> = tokens
            .iter()
            .enumerate()
            .filter(|(i, _)| control(*i))
            .map(|(_, t)| t.as_str())
            .collect();
        let mut joined = String::new();
        for (left, right) in &merges {
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            unmade.remove(joined.as_str());
        }
        let unmade: HashSet<String> = unmade.into_iter().map(str::to_owned).collect();
        for (index, token) in tokens.into_iter().enumerate() {
            let id = index as u32;
            // Without control tokens, the vocabulary can't produce one for any text.
            if control(index) && unmade.contains(&token) {
                table.push(token.into_bytes());
                continue;
            }
            if self.kind(index) == USER_DEFINED {
                table.push(token.bytes());
                user_defined.push(AddedToken::from(token.clone(), false).normalized(false));
            } else {
                table.push(token_bytes::byte_level(&token));
            }
            vocab.insert(token, id);
        }
        let library = |e: tokenizers::Error| damaged(e.to_string());
        let model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(pre.ignore_merges)
            .build()
            .map_err(library)?;
        let mut made = tokenizers::Tokenizer::new(model);
        if pre.nfc {
            made.with_normalizer(Some(NFC)).map_err(library)?;
        }
        let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
        for pattern in pre.patterns {
            let pattern = SplitPattern::Regex((*pattern).to_owned());
            steps.push(
                Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                    .map_err(library)?
                    .into(),
            );
        }
        let space_prefix = self.add_space_prefix.unwrap_or(false);
        steps.push(ByteLevel::new(space_prefix, false, false).into());
        made.with_pre_tokenizer(Some(Sequence::new(steps)));
        made.add_tokens(user_defined).map_err(library)?;
        Ok((Made::Library(Box::new(made)), table, pre.bos))
    }
}
