//! A model's tokenizer, from `tokenizer.json` or from GGUF metadata, with byte ranges that are
//! exact inside characters.

mod special;

use super::gguf::{GgufVocab, Made};
use super::sentencepiece::SentencePiece;
use super::slow::MOST_TOKENS;
use super::token_bytes::TokenBytes;
use super::workarounds::{has_run_of_space, no_panic_ahead, spell};
use super::{BosChoice, Encoding};
use byrote_core::digest::Digest;
use byrote_core::tokens::{EncodeError, TextEncoder};
use serde::Deserialize;
use serde_json::Value;
use special::Specials;
use std::fmt;
use std::sync::OnceLock;
use tokenizers::{ModelWrapper, PostProcessorWrapper};

/// The reason why a tokenizer is unusable, or can't encode a text.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error("{file}: this tokenizer.json can't be read: {reason}; fetch the model's files again")]
    Json { file: String, reason: String },
    #[error(
        "{file}: its tokenizer_config.json can't be read: {source}; fetch the model's files again"
    )]
    Config {
        file: String,
        source: serde_json::Error,
    },
    #[error(
        "{file}: tokenizer.ggml.model is {model:?}; byrote supports gpt2 and llama. Use the model's safetensors files"
    )]
    UnknownModel { file: String, model: String },
    #[error(
        "{file}: tokenizer.ggml.pre is {pre:?}, which byrote doesn't support; it supports {known}. Use the model's safetensors files"
    )]
    UnknownPre {
        file: String,
        pre: String,
        known: String,
    },
    #[error(
        "{file}: it has no tokenizer.ggml.pre, like all files from before May 2024, and its architecture doesn't determine how text is cut; convert the model again with a newer llama.cpp, or use its safetensors files"
    )]
    NoPre { file: String },
    #[error("{file}: the tokenizer in it is damaged: {what}; fetch the file again")]
    Damaged { file: String, what: String },
    #[error(
        "{file}: {what}; make a tokenizer.json from it with transformers, AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR), and put it into the same folder"
    )]
    Unsupported { file: String, what: String },
    #[error("{file}: {reason}; use --bos never")]
    NoBos { file: String, reason: String },
    #[error("{file}: the tokenizer can't encode a text: {reason}")]
    Encode { file: String, reason: String },
}

/// The longest run of white space that a pattern is sure to cut. At 1,000,000 characters the
/// pattern engine gives up, and the library would silently leave the rest of the text uncut.
pub const LONGEST_SPACE: usize = 900_000;

/// The encoder.
enum Engine {
    Library(Box<tokenizers::Tokenizer>),
    SentencePiece(Box<SentencePiece>),
}

/// The beginning-of-sequence token.
#[derive(Debug)]
struct BosRule {
    token: Option<u32>,
    /// The token that the tokenizer itself inserts before text, or why it is unknown.
    own: Result<Option<u32>, String>,
}

/// A model's tokenizer.
pub struct Tokenizer {
    file: String,
    engine: Engine,
    pieces: TokenBytes,
    /// True if the tokens' bytes are known; otherwise only the library can decode.
    spelled: bool,
    fingerprint: Digest,
    bos: BosRule,
    specials: Specials,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Tokenizer");
        out.field("file", &self.file)
            .field("vocab_size", &self.vocab_size())
            .field("bos", &self.bos);
        out.field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// The fields of tokenizer_config.json that determine how text begins.
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
    /// The tokenizer of a `tokenizer.json`, with its `tokenizer_config.json` if there is one.
    /// `file` is the name of the former in messages.
    ///
    /// # Errors
    /// If either can't be read.
    pub fn from_json(
        json: &[u8],
        config: Option<&[u8]>,
        file: &str,
    ) -> Result<Self, TokenizerError> {
        let bad = |reason: String| TokenizerError::Json {
            file: file.to_owned(),
            reason,
        };
        no_panic_ahead(json).map_err(|e| bad(e.to_string()))?;
        let mut library =
            tokenizers::Tokenizer::from_bytes(json).map_err(|e| bad(e.to_string()))?;
        let config: Config = match config {
            Some(bytes) => {
                serde_json::from_slice(bytes).map_err(|source| TokenizerError::Config {
                    file: file.to_owned(),
                    source,
                })?
            }
            None => Config::default(),
        };
        let largest = library.get_vocab(true).into_values().max().unwrap_or(0) as usize;
        if largest >= MOST_TOKENS {
            return Err(bad(format!("it has a token with the id {largest}")));
        }
        let canonical = library.to_string(false).map_err(|e| bad(e.to_string()))?;
        let bos = bos_rule(&library, &config).map_err(|e| bad(e.to_string()))?;
        // Texts are encoded whole, and the same text always in the same way.
        library
            .with_padding(None)
            .with_truncation(None)
            .map_err(|e| bad(e.to_string()))?;
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
        let fingerprint =
            Digest::of_bytes(format!("byrote.tokenizer.json/v1\n{bos:?}\n{canonical}").as_bytes());
        Ok(Self {
            file: file.to_owned(),
            engine: Engine::Library(Box::new(library)),
            pieces,
            spelled,
            fingerprint,
            bos,
            specials: Specials::Library(OnceLock::new()),
        })
    }

    /// The tokenizer inside the GGUF file named `file`.
    ///
    /// # Errors
    /// If its kind is unknown or its parts don't fit together.
    pub fn from_gguf(vocab: GgufVocab, file: &str) -> Result<Self, TokenizerError> {
        let fingerprint = vocab.digest();
        let vocab = vocab.with_defaults();
        let (bos, add_bos) = (vocab.bos, vocab.add_bos);
        let specials = Specials::of_gguf(&vocab);
        let (made, pieces, by_default) = vocab.build(file)?;
        let own = match (add_bos.unwrap_or(by_default), bos) {
            (false, _) => Ok(None),
            (true, Some(bos)) => Ok(Some(bos)),
            (true, None) => Err(
                "text must begin with a BOS token, but tokenizer.ggml.bos_token_id is missing"
                    .to_owned(),
            ),
        };
        let engine = match made {
            Made::Library(mut library) => {
                library.set_encode_special_tokens(true);
                Engine::Library(library)
            }
            Made::SentencePiece(model) => Engine::SentencePiece(model),
        };
        let bos = BosRule { token: bos, own };
        Ok(Self {
            file: file.to_owned(),
            engine,
            pieces,
            spelled: true,
            fingerprint,
            bos,
            specials,
        })
    }

    /// Records the reason why it is unknown whether text gets a BOS.
    pub(super) fn forget_bos(&mut self, reason: String) {
        self.bos.own = Err(reason);
    }

    /// Encodes a text as plain text. No special token is added, and the name of a special token in
    /// the text is encoded as ordinary characters.
    ///
    /// # Errors
    /// If the vocabulary can't spell a character of it.
    pub fn encode(&self, text: &str) -> Result<Encoding, TokenizerError> {
        let fail = |reason: String| TokenizerError::Encode {
            file: self.file.clone(),
            reason,
        };
        match &self.engine {
            Engine::SentencePiece(model) => model.encode(text, &self.pieces).ok_or_else(|| {
                fail(
                    "it contains a character without a token, and there is no unknown token"
                        .to_owned(),
                )
            }),
            Engine::Library(library) => {
                if has_run_of_space(text) {
                    return Err(fail(format!(
                        "it has more than {LONGEST_SPACE} consecutive characters of white space; shorten them"
                    )));
                }
                let quick = library
                    .encode_fast(text, false)
                    .map_err(|e| fail(e.to_string()))?;
                let ids = quick.get_ids().to_vec();
                if let Some(bytes) = self.pieces.ranges(&ids, text) {
                    return Ok(Encoding {
                        ids,
                        bytes,
                        exact: true,
                    });
                }
                let slow = library
                    .encode(text, false)
                    .map_err(|e| fail(e.to_string()))?;
                Ok(Encoding {
                    ids,
                    bytes: slow.get_offsets().to_vec(),
                    exact: false,
                })
            }
        }
    }

    /// The text of `ids`, with U+FFFD if they begin or end inside a character. Includes a space
    /// that the tokenizer inserts before a text.
    pub fn decode(&self, ids: &[u32]) -> String {
        match &self.engine {
            Engine::Library(library) if !self.spelled => {
                library.decode(ids, false).unwrap_or_default()
            }
            _ => self.pieces.decode(ids),
        }
    }

    /// The bytes of a token: the name of a special token, nothing for an unused id.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.pieces.get(id)
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// SHA-256 of everything that affects ids: vocabulary, merges or scores, normalization, special
    /// tokens, BOS. The fingerprints of the same tokenizer as `tokenizer.json` and as GGUF differ.
    pub fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }

    /// The token to insert before text under `choice`.
    ///
    /// # Errors
    /// If one is requested and it is unknown which.
    pub fn bos(&self, choice: BosChoice) -> Result<Option<u32>, TokenizerError> {
        let fail = |reason: String| TokenizerError::NoBos {
            file: self.file.clone(),
            reason,
        };
        match choice {
            BosChoice::Never => Ok(None),
            BosChoice::Auto => self.bos.own.clone().map_err(fail),
            BosChoice::Always => match self.bos.token {
                Some(token) => Ok(Some(token)),
                None => Err(fail(
                    "--bos always was given, but the tokenizer has no BOS token".to_owned(),
                )),
            },
        }
    }
}

/// The token that the tokenizer inserts before text: according to `add_bos_token` if present, else
/// to its post-processor.
fn bos_rule(
    library: &tokenizers::Tokenizer,
    config: &Config,
) -> Result<BosRule, tokenizers::Error> {
    let plain = library.encode_fast("a", false)?;
    let with = library.encode_fast("a", true)?;
    let (plain, with) = (plain.get_ids(), with.get_ids());
    // The position of the text's own ids among the special ones.
    let before = with
        .windows(plain.len().max(1))
        .position(|ids| ids == plain)
        .unwrap_or(0);
    let added = &with[..before];
    let named = config
        .bos_token()
        .and_then(|name| library.token_to_id(name));
    let token = named.or_else(|| added.first().copied());
    let own = match (config.add_bos_token, added) {
        (Some(false), _) | (None, []) => Ok(None),
        (Some(true), _) => match token {
            Some(token) => Ok(Some(token)),
            None => Err(
                "add_bos_token is true in tokenizer_config.json, but bos_token is missing"
                    .to_owned(),
            ),
        },
        (None, [bos]) => Ok(Some(*bos)),
        (None, _) => Err(format!(
            "the tokenizer puts {} special tokens before text, not one",
            added.len()
        )),
    };
    Ok(BosRule { token, own })
}

impl TextEncoder for Tokenizer {
    fn encode(&self, text: &str) -> Result<Encoding, EncodeError> {
        Self::encode(self, text).map_err(EncodeError::new)
    }

    fn encode_template(&self, parts: &[(&str, bool)]) -> Result<Encoding, EncodeError> {
        Self::encode_template(self, parts).map_err(EncodeError::new)
    }

    fn decode(&self, ids: &[u32]) -> String {
        Self::decode(self, ids)
    }

    fn token_bytes(&self, id: u32) -> &[u8] {
        Self::token_bytes(self, id)
    }

    fn bos(&self, choice: BosChoice) -> Result<Option<u32>, EncodeError> {
        Self::bos(self, choice).map_err(EncodeError::new)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::token_bytes;
    use super::*;
    use candle_core::quantized::gguf_file::{self, Value as Gguf};
    use std::path::{Path, PathBuf};
    use std::time::Instant;

    pub(crate) const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
    pub(crate) const GEMMA3: &str = "gemma-3-270m-q4_k_m.gguf";

    /// Texts that tokenizers get wrong.
    fn hard_texts() -> Vec<String> {
        serde_json::from_str(include_str!("../../../../tests/fixtures/texts/hard.json")).unwrap()
    }

    /// The folder of the real checkpoints. A test that lacks them fails if `BYROTE_TEST_REQUIRED` names them, as in
    /// tests/it/support/resource.rs.
    pub(crate) fn models() -> Option<PathBuf> {
        let folder = std::env::var_os("BYROTE_TEST_MODELS").map(PathBuf::from);
        if folder.is_none() {
            let required = std::env::var("BYROTE_TEST_REQUIRED").unwrap_or_default();
            let models_required = required.split(',').any(|name| name.trim() == "models");
            assert!(
                !models_required,
                "BYROTE_TEST_MODELS is not set, but BYROTE_TEST_REQUIRED names models"
            );
            // Written to stderr itself: the test harness hides what passing tests print.
            let thread = std::thread::current();
            let test = thread.name().unwrap_or_default();
            let line = format!("NOT TESTED: {test}: BYROTE_TEST_MODELS is not set\n");
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
        }
        folder
    }

    fn read_gguf(path: &Path) -> GgufVocab {
        let mut file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
        let content = gguf_file::Content::read(&mut file).unwrap();
        let get = |key: &str| content.metadata.get(&format!("tokenizer.ggml.{key}"));
        let list = |key: &str| get(key).map(|value| value.to_vec().unwrap());
        let texts = |key: &str| {
            list(key).map(|l| {
                l.iter()
                    .map(|v| v.to_string().unwrap().clone())
                    .collect::<Vec<_>>()
            })
        };
        let flag = |key: &str| get(key).map(|value| value.to_bool().unwrap());
        let id = |key: &str| get(key).map(|value| value.to_u32().unwrap());
        GgufVocab {
            architecture: None,
            model: get("model").unwrap().to_string().unwrap().clone(),
            pre: get("pre").map(|value| value.to_string().unwrap().clone()),
            tokens: texts("tokens").unwrap(),
            scores: list("scores").map(|l| l.iter().map(|v| v.to_f32().unwrap()).collect()),
            merges: texts("merges"),
            token_types: list("token_type")
                .map(|l| l.iter().map(|v: &Gguf| v.to_i32().unwrap()).collect()),
            bos: id("bos_token_id"),
            eos: id("eos_token_id"),
            unk: id("unknown_token_id"),
            add_bos: flag("add_bos_token"),
            add_space_prefix: flag("add_space_prefix"),
        }
    }

    pub(crate) fn checkpoint(folder: &Path, name: &str) -> Tokenizer {
        let vocab = read_gguf(&folder.join(name));
        let start = Instant::now();
        let tokenizer = Tokenizer::from_gguf(vocab, name).unwrap();
        println!("{name}: tokenizer built in {:?}", start.elapsed());
        tokenizer
    }

    /// A byte-level tokenizer of 256 bytes and a few merges, as tokenizer.json.
    fn small_json(extra: &str) -> String {
        let alphabet: Vec<char> = (0u32..0x180)
            .filter_map(char::from_u32)
            .filter(|&c| token_bytes::byte_of(c).is_some())
            .collect();
        let mut vocab = serde_json::Map::new();
        for c in alphabet {
            vocab.insert(c.to_string(), vocab.len().into());
        }
        for merged in ["th", "the", "Ġthe"] {
            vocab.insert(merged.to_owned(), vocab.len().into());
        }
        let end = vocab.len();
        vocab.insert("<|end|>".to_owned(), end.into());
        format!(
            r#"{{"version":"1.0","truncation":null,"padding":null,
            "added_tokens":[{{"id":{end},"content":"<|end|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}}],
            "normalizer":null,"pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}},
            "decoder":{{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}},
            "model":{{"type":"BPE","vocab":{},"merges":["t h","th e","Ġ the"]}}{extra}}}"#,
            Value::Object(vocab)
        )
    }

    const BOS_PROCESSOR: &str = r#","post_processor":{"type":"TemplateProcessing",
        "single":[{"SpecialToken":{"id":"<|end|>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
        "special_tokens":{"<|end|>":{"id":"<|end|>","ids":[259],"tokens":["<|end|>"]}}}"#;

    fn assert_spells(tokenizer: &Tokenizer, text: &str) {
        let encoding = tokenizer.encode(text).unwrap();
        assert!(encoding.exact, "{text:?}");
        assert_eq!(tokenizer.decode(&encoding.ids), text);
        let mut at = 0;
        for (&id, &(start, end)) in encoding.ids.iter().zip(&encoding.bytes) {
            assert_eq!(start, at, "{text:?}");
            assert_eq!(
                tokenizer.token_bytes(id),
                &text.as_bytes()[start..end],
                "{text:?}"
            );
            at = end;
        }
        assert_eq!(at, text.len(), "{text:?}");
    }

    #[test]
    fn byte_ranges_of_a_json_tokenizer_are_exact_on_any_text() {
        let tokenizer = Tokenizer::from_json(small_json("").as_bytes(), None, "t.json").unwrap();
        for text in &hard_texts() {
            assert_spells(&tokenizer, text);
        }
        assert_eq!(tokenizer.encode("the the").unwrap().ids, [257, 258]);
    }

    #[test]
    fn the_name_of_a_special_token_in_a_text_is_plain_text() {
        let tokenizer = Tokenizer::from_json(small_json("").as_bytes(), None, "t.json").unwrap();
        let ids = tokenizer.encode("a<|end|>b").unwrap().ids;
        assert!(!ids.contains(&259), "{ids:?}");
        assert_eq!(tokenizer.decode(&ids), "a<|end|>b");
    }

    #[test]
    fn normalized_text_falls_back_to_whole_characters_and_reports_it() {
        let json = small_json("").replace(r#""normalizer":null"#, r#""normalizer":{"type":"NFC"}"#);
        let tokenizer = Tokenizer::from_json(json.as_bytes(), None, "t.json").unwrap();
        let encoding = tokenizer.encode("e\u{301}a").unwrap();
        assert!(!encoding.exact);
        assert_eq!(encoding.bytes.last(), Some(&(3, 4)));
        assert!(tokenizer.encode("\u{e9}a").unwrap().exact);
    }

    #[test]
    fn bos_follows_the_configuration_else_the_post_processor() {
        let bos = |extra: &str, config: Option<&str>, choice| {
            let json = small_json(extra);
            Tokenizer::from_json(json.as_bytes(), config.map(str::as_bytes), "t.json")
                .unwrap()
                .bos(choice)
        };
        let named = Some(r#"{"bos_token":{"content":"<|end|>"}}"#);
        let off = Some(r#"{"add_bos_token":false,"bos_token":"<|end|>"}"#);
        let on = Some(r#"{"add_bos_token":true,"bos_token":"<|end|>"}"#);
        for (extra, config, auto, always) in [
            ("", None, Some(None), None),
            ("", named, Some(None), Some(259)),
            ("", on, Some(Some(259)), Some(259)),
            (BOS_PROCESSOR, None, Some(Some(259)), Some(259)),
            (BOS_PROCESSOR, off, Some(None), Some(259)),
            ("", Some(r#"{"add_bos_token":true}"#), None, None),
        ] {
            assert_eq!(
                bos(extra, config, BosChoice::Auto).ok(),
                auto,
                "{extra} {config:?}"
            );
            assert_eq!(
                bos(extra, config, BosChoice::Always).ok(),
                always.map(Some),
                "{extra} {config:?}"
            );
            assert_eq!(bos(extra, config, BosChoice::Never).unwrap(), None);
        }
        let error = bos("", None, BosChoice::Always).unwrap_err().to_string();
        assert!(
            error.starts_with("t.json: ") && error.ends_with("use --bos never"),
            "{error}"
        );
    }

    #[test]
    fn fingerprint_depends_on_content_and_not_on_layout() {
        let json = small_json("");
        let fingerprint = |json: &str| {
            Tokenizer::from_json(json.as_bytes(), None, "t")
                .unwrap()
                .fingerprint()
                .clone()
        };
        let laid_out =
            serde_json::to_string_pretty(&serde_json::from_str::<Value>(&json).unwrap()).unwrap();
        assert_ne!(json, laid_out);
        assert_eq!(fingerprint(&json), fingerprint(&laid_out));
        assert_ne!(
            fingerprint(&json),
            fingerprint(&json.replace(r#""t h","th e""#, r#""th e","t h""#))
        );
        assert_ne!(fingerprint(&json), fingerprint(&small_json(BOS_PROCESSOR)));
    }

    #[test]
    fn unusable_gguf_tokenizers_are_named_with_a_fix() {
        let words = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
        let good = GgufVocab {
            model: "gpt2".to_owned(),
            pre: Some("gpt-2".to_owned()),
            tokens: words(&["a", "b", "ab"]),
            merges: Some(words(&["a b"])),
            ..GgufVocab::default()
        };
        assert_eq!(
            Tokenizer::from_gguf(good.clone(), "m.gguf")
                .unwrap()
                .encode("abab")
                .unwrap()
                .ids,
            [2, 2]
        );
        for (vocab, part) in [
            (
                GgufVocab {
                    model: "bert".to_owned(),
                    ..good.clone()
                },
                "tokenizer.ggml.model is \"bert\"",
            ),
            (
                GgufVocab {
                    pre: Some("newest".to_owned()),
                    ..good.clone()
                },
                "tokenizer.ggml.pre is \"newest\"",
            ),
            (
                GgufVocab {
                    pre: None,
                    ..good.clone()
                },
                "has no tokenizer.ggml.pre",
            ),
            (
                GgufVocab {
                    merges: None,
                    ..good.clone()
                },
                "merges is missing",
            ),
            (
                GgufVocab {
                    merges: Some(words(&["ab"])),
                    ..good.clone()
                },
                "isn't two tokens",
            ),
            (
                GgufVocab {
                    merges: Some(words(&["a c"])),
                    ..good.clone()
                },
                "damaged",
            ),
            (
                GgufVocab {
                    token_types: Some(vec![1]),
                    ..good.clone()
                },
                "1 entries for 3 tokens",
            ),
            (
                GgufVocab {
                    bos: Some(3),
                    ..good.clone()
                },
                "bos_token_id is 3",
            ),
            (
                GgufVocab {
                    tokens: vec![],
                    ..good.clone()
                },
                "tokens is empty",
            ),
            (
                GgufVocab {
                    model: "llama".to_owned(),
                    ..good
                },
                "scores is missing",
            ),
        ] {
            let error = Tokenizer::from_gguf(vocab, "m.gguf")
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("m.gguf: ") && error.contains(part),
                "{error}"
            );
        }
    }

    #[test]
    fn every_known_pattern_compiles_and_covers_all_bytes_of_the_text() {
        let alphabet: Vec<String> = (0u32..0x180)
            .filter_map(char::from_u32)
            .filter(|&c| token_bytes::byte_of(c).is_some())
            .map(String::from)
            .collect();
        let names = [
            "default",
            "gpt-2",
            "smollm",
            "llama-bpe",
            "qwen2",
            "olmo",
            "dbrx",
            "gpt-4o",
            "tekken",
            "falcon",
            "bloom",
            "viking",
            "deepseek-llm",
            "deepseek-coder",
            "deepseek-v3",
        ];
        for name in names {
            let vocab = GgufVocab {
                model: "gpt2".to_owned(),
                pre: Some(name.to_owned()),
                tokens: alphabet.clone(),
                merges: Some(vec![]),
                ..GgufVocab::default()
            };
            let tokenizer = Tokenizer::from_gguf(vocab, name).unwrap();
            for text in hard_texts().iter().filter(|text| !text.contains('\u{301}')) {
                assert_spells(&tokenizer, text);
            }
        }
    }

    #[test]
    fn ids_of_real_checkpoints_equal_the_golden_ones() {
        let Some(folder) = models() else { return };
        let fixtures =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tokenizers");
        for (name, golden) in [(SMOLLM2, "smollm2.jsonl"), (GEMMA3, "gemma3.jsonl")] {
            let tokenizer = checkpoint(&folder, name);
            let lines = std::fs::read_to_string(fixtures.join(golden)).unwrap();
            let mut differing = Vec::new();
            for line in lines.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                let text = line["text"].as_str().unwrap();
                let ids: Vec<u32> = line["ids"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|id| id.as_u64().unwrap() as u32)
                    .collect();
                let encoding = tokenizer.encode(text).unwrap();
                if encoding.ids != ids {
                    differing.push(format!("{text:?}: {:?} and not {ids:?}", encoding.ids));
                }
            }
            assert!(differing.is_empty(), "{golden}: {differing:#?}");
            assert!(
                lines.lines().count() > 50,
                "{golden} is too short to show anything"
            );
        }
    }

    #[test]
    fn real_checkpoints_spell_difficult_text_and_never_produce_a_special_token() {
        let Some(folder) = models() else { return };
        for (name, specials, bos) in [
            (SMOLLM2, vec![0, 1, 2], None),
            (GEMMA3, vec![0, 1, 2, 3, 105, 106], Some(2)),
        ] {
            let tokenizer = checkpoint(&folder, name);
            for text in &hard_texts() {
                assert_spells(&tokenizer, text);
            }
            let text: String = specials.iter().map(|&id| tokenizer.decode(&[id])).collect();
            let ids = tokenizer.encode(&text).unwrap().ids;
            assert!(
                specials.iter().all(|id| !ids.contains(id)),
                "{name}: {text:?} gave {ids:?}"
            );
            assert_eq!(tokenizer.decode(&ids), text);
            assert_eq!(tokenizer.bos(BosChoice::Auto).unwrap(), bos, "{name}");
            println!("{name}: {}", tokenizer.fingerprint());
        }
    }
}
