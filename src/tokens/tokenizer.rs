//! A model's tokenizer, from `tokenizer.json` or from GGUF metadata, with byte ranges exact inside characters.

use super::gguf::{GgufVocab, Made};
use super::pieces::{self, Pieces};
use super::sentencepiece::SentencePiece;
use super::{BosChoice, Encoding};
use crate::digest::Digest;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use tokenizers::{ModelWrapper, PostProcessorWrapper};

/// Why a tokenizer can't be had, or can't encode.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error("{file}: not a tokenizer.json that can be read: {reason}; fetch the model's files again")]
    Json { file: String, reason: String },
    #[error("{file}: its tokenizer_config.json can't be read: {source}; fetch the model's files again")]
    Config { file: String, source: serde_json::Error },
    #[error("{file}: tokenizer.ggml.model is {model:?}; known are gpt2 and llama. Use the model's safetensors files")]
    UnknownModel { file: String, model: String },
    #[error(
        "{file}: tokenizer.ggml.pre is {pre:?}, and how it cuts text isn't known; known are {known}. Use the model's safetensors files"
    )]
    UnknownPre { file: String, pre: String, known: String },
    #[error("{file}: the tokenizer in it is damaged: {what}; fetch the file again")]
    Damaged { file: String, what: String },
    #[error("{file}: {reason}; use --bos never")]
    NoBos { file: String, reason: String },
    #[error("{file}: the tokenizer can't encode a text: {reason}")]
    Encode { file: String, reason: String },
}

/// What turns text into ids.
enum Engine {
    Library(Box<tokenizers::Tokenizer>),
    SentencePiece(Box<SentencePiece>),
}

/// What is known of the beginning-of-sequence token.
#[derive(Debug)]
struct BosRule {
    token: Option<u32>,
    /// What the tokenizer itself puts before text, or why that can't be done.
    own: Result<Option<u32>, String>,
}

/// A model's tokenizer.
pub struct Tokenizer {
    file: String,
    engine: Engine,
    pieces: Pieces,
    /// The tokens' bytes are known; otherwise only the library can decode.
    spelled: bool,
    fingerprint: Digest,
    bos: BosRule,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Tokenizer");
        out.field("file", &self.file).field("vocab_size", &self.vocab_size()).field("bos", &self.bos);
        out.field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// The parts of tokenizer_config.json that say how text begins.
#[derive(Deserialize, Default)]
struct Config {
    add_bos_token: Option<bool>,
    bos_token: Option<Value>,
}

impl Config {
    fn bos_token(&self) -> Option<&str> {
        let token = self.bos_token.as_ref()?;
        token.as_str().or_else(|| token.get("content")?.as_str())
    }
}

impl Tokenizer {
    /// The tokenizer of a `tokenizer.json`, with its `tokenizer_config.json` if there is one. `file` names
    /// the former in messages.
    ///
    /// # Errors
    /// When either can't be read.
    pub fn from_json(json: &[u8], config: Option<&[u8]>, file: &str) -> Result<Self, TokenizerError> {
        let bad = |reason: String| TokenizerError::Json { file: file.to_owned(), reason };
        let mut library = tokenizers::Tokenizer::from_bytes(json).map_err(|e| bad(e.to_string()))?;
        let config: Config = match config {
            Some(bytes) => serde_json::from_slice(bytes)
                .map_err(|source| TokenizerError::Config { file: file.to_owned(), source })?,
            None => Config::default(),
        };
        let canonical = library.to_string(false).map_err(|e| bad(e.to_string()))?;
        let bos = bos_rule(&library, &config).map_err(|e| bad(e.to_string()))?;
        // Texts are encoded whole, and the same text always the same way.
        library.with_padding(None).with_truncation(None).map_err(|e| bad(e.to_string()))?;
        library.with_post_processor(None::<PostProcessorWrapper>);
        library.set_encode_special_tokens(true);
        if let ModelWrapper::BPE(bpe) = library.get_model()
            && bpe.dropout.is_some()
        {
            let mut bpe = bpe.clone();
            bpe.dropout = None;
            library.with_model(bpe);
        }
        let (pieces, spelled) = spell(&library);
        let fingerprint = Digest::of_bytes(format!("byrote.tokenizer.json/v1\n{bos:?}\n{canonical}").as_bytes());
        Ok(Self {
            file: file.to_owned(),
            engine: Engine::Library(Box::new(library)),
            pieces,
            spelled,
            fingerprint,
            bos,
        })
    }

    /// The tokenizer inside the GGUF file named `file`.
    ///
    /// # Errors
    /// When its kind isn't known or its parts don't fit together.
    pub fn from_gguf(vocab: GgufVocab, file: &str) -> Result<Self, TokenizerError> {
        let fingerprint = vocab.digest();
        let (bos, add_bos) = (vocab.bos, vocab.add_bos);
        let (made, pieces, by_default) = vocab.build(file)?;
        let own = match (add_bos.unwrap_or(by_default), bos) {
            (false, _) => Ok(None),
            (true, Some(bos)) => Ok(Some(bos)),
            (true, None) => {
                Err("text is to begin with a BOS token, but tokenizer.ggml.bos_token_id is missing".to_owned())
            }
        };
        let engine = match made {
            Made::Library(mut library) => {
                library.set_encode_special_tokens(true);
                Engine::Library(library)
            }
            Made::SentencePiece(model) => Engine::SentencePiece(model),
        };
        let bos = BosRule { token: bos, own };
        Ok(Self { file: file.to_owned(), engine, pieces, spelled: true, fingerprint, bos })
    }

    /// Encodes a text as plain text: no special token is added, and a special token's name in the text is
    /// so many characters.
    ///
    /// # Errors
    /// When the vocabulary has no way to spell some character of it.
    pub fn encode(&self, text: &str) -> Result<Encoding, TokenizerError> {
        let fail = |reason: String| TokenizerError::Encode { file: self.file.clone(), reason };
        match &self.engine {
            Engine::SentencePiece(model) => model
                .encode(text, &self.pieces)
                .ok_or_else(|| fail("it has a character without token, and there is no unknown token".to_owned())),
            Engine::Library(library) => {
                let quick = library.encode_fast(text, false).map_err(|e| fail(e.to_string()))?;
                let ids = quick.get_ids().to_vec();
                if let Some(bytes) = self.pieces.ranges(&ids, text) {
                    return Ok(Encoding { ids, bytes, exact: true });
                }
                let slow = library.encode(text, false).map_err(|e| fail(e.to_string()))?;
                Ok(Encoding { ids, bytes: slow.get_offsets().to_vec(), exact: false })
            }
        }
    }

    /// The text of `ids`, U+FFFD where they begin or end inside a character. A space that the tokenizer
    /// puts before a text stays.
    pub fn decode(&self, ids: &[u32]) -> String {
        match &self.engine {
            Engine::Library(library) if !self.spelled => library.decode(ids, false).unwrap_or_default(),
            _ => self.pieces.decode(ids),
        }
    }

    /// The bytes a token stands for: its name for a special token, none for an id that isn't taken.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.pieces.get(id)
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// SHA-256 of all that decides about ids: vocabulary, merges or scores, normalization, special tokens,
    /// BOS. The same tokenizer as `tokenizer.json` and as GGUF has two fingerprints.
    pub fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }

    /// The token to put before text under `choice`.
    ///
    /// # Errors
    /// When one is wanted and it isn't known which.
    pub fn bos(&self, choice: BosChoice) -> Result<Option<u32>, TokenizerError> {
        let fail = |reason: String| TokenizerError::NoBos { file: self.file.clone(), reason };
        match choice {
            BosChoice::Never => Ok(None),
            BosChoice::Auto => self.bos.own.clone().map_err(fail),
            BosChoice::Always => match self.bos.token {
                Some(token) => Ok(Some(token)),
                None => Err(fail("--bos always was given, but the tokenizer names no BOS token".to_owned())),
            },
        }
    }
}

/// What the tokenizer puts before text: `add_bos_token` where it is given, else what its post-processor does.
fn bos_rule(library: &tokenizers::Tokenizer, config: &Config) -> Result<BosRule, tokenizers::Error> {
    let plain = library.encode_fast("a", false)?;
    let with = library.encode_fast("a", true)?;
    let (plain, with) = (plain.get_ids(), with.get_ids());
    // Where the text's own ids begin among the special ones.
    let before = with.windows(plain.len().max(1)).position(|ids| ids == plain).unwrap_or(0);
    let added = &with[..before];
    let named = config.bos_token().and_then(|name| library.token_to_id(name));
    let token = named.or_else(|| added.first().copied());
    let own = match (config.add_bos_token, added) {
        (Some(false), _) | (None, []) => Ok(None),
        (Some(true), _) => match token {
            Some(token) => Ok(Some(token)),
            None => Err("add_bos_token is true in tokenizer_config.json, but no bos_token is named".to_owned()),
        },
        (None, [bos]) => Ok(Some(*bos)),
        (None, _) => Err(format!("the tokenizer puts {} special tokens before text, not one", added.len())),
    };
    Ok(BosRule { token, own })
}

/// The bytes of every token of a library tokenizer, and whether they are known for sure.
fn spell(library: &tokenizers::Tokenizer) -> (Pieces, bool) {
    let mut steps = Vec::new();
    for part in [
        serde_json::to_value(library.get_decoder()),
        serde_json::to_value(library.get_pre_tokenizer()),
        serde_json::to_value(library.get_normalizer()),
    ] {
        step_types(&part.unwrap_or_default(), &mut steps);
    }
    let has = |name: &str| steps.iter().any(|step| step == name);
    let byte_level = has("ByteLevel");
    // Replace is how the fast tokenizers of SentencePiece models turn U+2581 into spaces.
    let spaced = has("Metaspace") || has("Replace");
    let fallback = has("ByteFallback");

    let added = library.get_added_tokens_decoder();
    let size = library.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
    let mut pieces = Pieces::default();
    for id in 0..size as u32 {
        if let Some(token) = added.get(&id) {
            pieces.push(token.content.bytes());
            continue;
        }
        let token = library.id_to_token(id).unwrap_or_default();
        match pieces::fallback_byte(&token) {
            Some(byte) if fallback => pieces.push([byte]),
            _ if byte_level => pieces.push(pieces::byte_level(&token)),
            _ if spaced => pieces.push(pieces::spaced(&token)),
            _ => pieces.push(token.into_bytes()),
        }
    }
    (pieces, byte_level || spaced)
}

/// Collects the `type` of every step of a serialized normalizer, pre-tokenizer or decoder.
fn step_types(part: &Value, out: &mut Vec<String>) {
    match part {
        Value::Object(fields) => {
            out.extend(fields.get("type").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| step_types(value, out));
        }
        Value::Array(list) => list.iter().for_each(|value| step_types(value, out)),
        _ => {}
    }
}
