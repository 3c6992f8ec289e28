//! Tokenizers of checkpoints without a tokenizer.json: `vocab.json` with `merges.txt` (byte-level
//! BPE), or `tokenizer.model` (SentencePiece), with the small files that may accompany them.

use super::gguf::GgufVocab;
use super::pretokenize;
use super::proto::{self, Model, Piece};
use super::tokenizer::{Tokenizer, TokenizerError};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};

/// The files of such a tokenizer.
#[derive(Debug, Default)]
pub struct SlowFiles {
    /// `vocab.json` or `tokenizer.model`.
    pub main: Vec<u8>,
    /// `merges.txt`, which accompanies `vocab.json`.
    pub merges: Option<Vec<u8>>,
    /// `tokenizer_config.json`.
    pub config: Option<Vec<u8>>,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<Vec<u8>>,
    /// `added_tokens.json`.
    pub added_tokens: Option<Vec<u8>>,
    /// `model_type` of config.json: determines the kind if tokenizer_config.json doesn't.
    pub model_type: Option<String>,
}

/// Possible main files of a checkpoint's tokenizer, best first. The last two are found only to be
/// refused: an unsupported tokenizer isn't the same as none.
pub const MAIN_FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "qwen.tiktoken",
    "tekken.json",
];
/// Files that may accompany a main file other than tokenizer.json, besides tokenizer_config.json.
pub const BESIDE: &[&str] = &["merges.txt", "special_tokens_map.json", "added_tokens.json"];

/// A token beyond the vocabulary, or one with flags.
struct Added {
    content: String,
    special: bool,
    flags: [bool; 4],
}
const FLAGS: [&str; 4] = ["single_word", "lstrip", "rstrip", "normalized"];

/// The contents of the small files.
struct Said {
    config: Map<String, Value>,
    added: BTreeMap<u32, Added>,
    /// Tokens that any of the files calls special.
    special: HashSet<String>,
}

/// The tokens listed under `additional_special_tokens` and under the names of roles.
const ROLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "pad_token",
    "sep_token",
    "cls_token",
    "mask_token",
];
/// Far more than any tokenizer has; ids are indices into tables.
pub(super) const MOST_TOKENS: usize = 1 << 24;

/// How a byte-level tokenizer's class cuts text, as the equivalent value of `tokenizer.ggml.pre`.
const BYTE_LEVEL: &[(&[&str], &str)] = &[
    (
        &[
            "GPT2Tokenizer",
            "CodeGenTokenizer",
            "gpt2",
            "opt",
            "gpt_neo",
            "gptj",
            "codegen",
            "phi",
        ],
        "gpt-2",
    ),
    (
        &["Qwen2Tokenizer", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe"],
        "qwen2",
    ),
    (&["GPTNeoXTokenizer", "gpt_neox"], "gpt-neox"),
];
/// Kinds whose SentencePiece text begins with BOS unless `add_bos_token` says otherwise.
const BEGIN_WITH_BOS: &[&str] = &[
    "LlamaTokenizer",
    "CodeLlamaTokenizer",
    "GemmaTokenizer",
    "MistralTokenizer",
    "MistralCommonTokenizer",
    "InternLM2Tokenizer",
    "llama",
    "mistral",
    "mixtral",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "phi3",
    "internlm2",
];

impl Tokenizer {
    /// The tokenizer of a checkpoint that has no tokenizer.json. `file` is the name of the main
    /// file in messages.
    ///
    /// SentencePiece text is encoded as SentencePiece itself does it.
    ///
    /// # Errors
    /// If a file can't be read, parts don't fit together, or the kind isn't supported.
    pub fn from_slow(files: &SlowFiles, file: &str) -> Result<Self, TokenizerError> {
        let said = Said::read(files, file)?;
        let refuse = |what: &str| {
            Err(TokenizerError::Unsupported {
                file: file.to_owned(),
                what: what.to_owned(),
            })
        };
        if file.ends_with("vocab.json") {
            byte_level(files, said, file)
        } else if file.ends_with("tekken.json") {
            refuse("it is Mistral's own format")
        } else if file.ends_with(".tiktoken") || looks_like_tiktoken(&files.main) {
            refuse("it is a tiktoken vocabulary, which doesn't determine how text is cut")
        } else {
            sentencepiece(files, &said, file)
        }
    }
}

impl Said {
    fn read(files: &SlowFiles, file: &str) -> Result<Self, TokenizerError> {
        let object =
            |bytes: &Option<Vec<u8>>, name: &str| -> Result<Map<String, Value>, TokenizerError> {
                let Some(bytes) = bytes else {
                    return Ok(Map::new());
                };
                serde_json::from_slice(bytes)
                    .map_err(|e| damaged(file, format!("{name} beside it: {e}")))
            };
        let mut config = object(&files.config, "tokenizer_config.json")?;
        let map = object(&files.special_tokens_map, "special_tokens_map.json")?;
        let mut special = HashSet::new();
        for source in [&config, &map] {
            let several = source
                .get("additional_special_tokens")
                .and_then(Value::as_array);
            let one = ROLES.iter().filter_map(|role| source.get(*role));
            special.extend(
                one.chain(several.into_iter().flatten())
                    .filter_map(content)
                    .map(str::to_owned),
            );
        }
        for (role, token) in map {
            config.entry(role).or_insert(token);
        }
        let mut added = BTreeMap::new();
        for (content, id) in object(&files.added_tokens, "added_tokens.json")? {
            let id = index(&id).ok_or_else(|| {
                damaged(file, format!("added_tokens.json: {content:?} has id {id}"))
            })?;
            let special = special.contains(&content);
            added.insert(
                id,
                Added {
                    content,
                    special,
                    flags: [false; 4],
                },
            );
        }
        for (key, token) in config
            .get("added_tokens_decoder")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let wrong = || {
                damaged(
                    file,
                    format!("tokenizer_config.json: added_tokens_decoder has {key:?}: {token}"),
                )
            };
            let id =
                index(&Value::from(key.parse::<u64>().map_err(|_| wrong())?)).ok_or_else(wrong)?;
            let flag = |name: &str| token.get(name).and_then(Value::as_bool).unwrap_or(false);
            let content = content(token).ok_or_else(wrong)?.to_owned();
            added.insert(
                id,
                Added {
                    content,
                    special: flag("special"),
                    flags: FLAGS.map(flag),
                },
            );
        }
        special.extend(
            added
                .values()
                .filter(|token| token.special)
                .map(|token| token.content.clone()),
        );
        Ok(Self {
            config,
            added,
            special,
        })
    }

    /// The fields that may determine the kind of the tokenizer, best first.
    fn kinds<'a>(&'a self, files: &'a SlowFiles) -> Vec<&'a str> {
        let class = self.config.get("tokenizer_class").and_then(Value::as_str);
        match (
            class.map(|class| class.trim_end_matches("Fast")),
            &files.model_type,
        ) {
            (Some(class), _) if class != "PreTrainedTokenizer" && class != "TokenizersBackend" => {
                vec![class]
            }
            (_, model_type) => model_type.as_deref().into_iter().collect(),
        }
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.config.get(name).and_then(Value::as_bool)
    }
}

/// A byte-level BPE, assembled as the tokenizer.json that transformers would write.
fn byte_level(files: &SlowFiles, mut said: Said, file: &str) -> Result<Tokenizer, TokenizerError> {
    let kinds = said.kinds(files);
    let Some((_, pre)) = BYTE_LEVEL
        .iter()
        .find(|(names, _)| kinds.iter().any(|kind| names.contains(kind)))
    else {
        let kind = kinds
            .first()
            .map_or_else(|| "nothing".to_owned(), |kind| format!("{kind:?}"));
        let what = format!("how it cuts text depends on {kind}, which byrote doesn't support");
        return Err(TokenizerError::Unsupported {
            file: file.to_owned(),
            what,
        });
    };
    let Some(pre) = pretokenize::find(Some(pre), None) else {
        return Err(damaged(file, "its kind has no pattern".to_owned()));
    };
    let vocab: Map<String, Value> =
        serde_json::from_slice(&files.main).map_err(|e| damaged(file, e.to_string()))?;
    if let Some((token, id)) = vocab.iter().find(|(_, id)| index(id).is_none()) {
        return Err(damaged(file, format!("{token:?} has id {id}")));
    }
    let merges = files
        .merges
        .as_deref()
        .ok_or_else(|| damaged(file, "merges.txt beside it is missing".to_owned()))?;
    let merges =
        std::str::from_utf8(merges).map_err(|e| damaged(file, format!("merges.txt: {e}")))?;
    let mut pairs = Vec::new();
    for (number, line) in merges.lines().enumerate() {
        if line.trim().is_empty() || (number == 0 && line.starts_with("#version")) {
            continue;
        }
        match line.trim_end().split_once(' ') {
            Some((left, right)) if !right.contains(' ') => pairs.push(json!([left, right])),
            _ => {
                return Err(damaged(
                    file,
                    format!("merges.txt:{}: {line:?} isn't two tokens", number + 1),
                ));
            }
        }
    }
    // Special tokens in the vocabulary are marked, so that a text can't produce one.
    for (token, id) in vocab
        .iter()
        .filter(|(token, _)| said.special.contains(*token))
    {
        let id = index(id).unwrap_or_default();
        said.added.entry(id).or_insert(Added {
            content: token.clone(),
            special: true,
            flags: [false; 4],
        });
    }
    let added = said.added.iter().map(|(id, token)| {
        let mut entry = json!({"id": id, "content": token.content, "special": token.special});
        FLAGS
            .iter()
            .zip(token.flags)
            .for_each(|(name, on)| entry[*name] = on.into());
        entry
    });
    let mut steps: Vec<Value> = Vec::new();
    let space = said.flag("add_prefix_space").unwrap_or(false);
    // GPT-2's pattern is part of the step itself. Other patterns come first, and then this step
    // only maps bytes.
    let own = pre.patterns == pretokenize::GPT2_ONLY;
    if !own {
        steps.extend(pre.patterns.iter().map(
            |pattern| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}),
        ));
    }
    steps.push(json!({"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": own}));
    let whole = json!({
        "version": "1.0",
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": pre.nfc.then(|| json!({"type": "NFC"})),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": pairs},
    });
    // OPT was trained with </s> in front. Checkpoints without the setting are older than it.
    if files.model_type.as_deref() == Some("opt") {
        said.config.entry("add_bos_token").or_insert(true.into());
        said.config.entry("bos_token").or_insert("</s>".into());
    }
    let config = Value::Object(std::mem::take(&mut said.config)).to_string();
    let tokenizer =
        Tokenizer::from_json(whole.to_string().as_bytes(), Some(config.as_bytes()), file)?;
    match said
        .added
        .iter()
        .find(|(id, token)| tokenizer.token_bytes(**id) != token.content.as_bytes())
    {
        Some((id, token)) => Err(damaged(
            file,
            format!("the added token {:?} can't have id {id}", token.content),
        )),
        None => Ok(tokenizer),
    }
}

fn sentencepiece(files: &SlowFiles, said: &Said, file: &str) -> Result<Tokenizer, TokenizerError> {
    let model = Model::read(&files.main).map_err(|what| damaged(file, what))?;
    let refuse = |what: &str| {
        Err(TokenizerError::Unsupported {
            file: file.to_owned(),
            what: what.to_owned(),
        })
    };
    match model.kind {
        proto::BPE => {}
        proto::UNIGRAM => {
            return refuse(
                "it is a unigram model of SentencePiece; byrote supports only its BPE models",
            );
        }
        _ => {
            return refuse(
                "it is a word or character model of SentencePiece; byrote supports only its BPE models",
            );
        }
    }
    if model.normalizes {
        return refuse("its SentencePiece model normalizes text with a custom table");
    }
    let Model {
        mut pieces,
        add_dummy_prefix,
        bos,
        unk,
        ..
    } = model;
    for (&id, token) in &said.added {
        let id = id as usize;
        let kind = if token.special {
            proto::CONTROL
        } else {
            proto::USER_DEFINED
        };
        if let Some(piece) = pieces.get_mut(id) {
            if piece.text != token.content {
                let what = format!(
                    "token {id} is {:?} in it and {:?} beside it",
                    piece.text, token.content
                );
                return Err(damaged(file, what));
            }
            // The unknown token is also among the added tokens, and keeps its kind.
            if piece.kind == proto::NORMAL || piece.kind == proto::USER_DEFINED {
                piece.kind = kind;
            }
            continue;
        }
        pieces.resize_with(id, || Piece {
            text: String::new(),
            score: 0.0,
            kind: proto::UNUSED,
        });
        pieces.push(Piece {
            text: token.content.clone(),
            score: 0.0,
            kind,
        });
    }
    let named = said.config.get("bos_token").and_then(content);
    let find = |name: &str| {
        pieces
            .iter()
            .position(|piece| piece.text == name)
            .map(|at| at as u32)
    };
    let kinds = said.kinds(files);
    let by_kind = kinds.iter().any(|kind| BEGIN_WITH_BOS.contains(kind));
    let vocab = GgufVocab {
        model: "llama".to_owned(),
        bos: named.and_then(find).or(bos),
        unk,
        add_bos: Some(said.flag("add_bos_token").unwrap_or(by_kind)),
        add_space_prefix: Some(add_dummy_prefix && said.flag("add_prefix_space").unwrap_or(true)),
        scores: Some(pieces.iter().map(|piece| piece.score).collect()),
        token_types: Some(pieces.iter().map(|piece| piece.kind).collect()),
        tokens: pieces.into_iter().map(|piece| piece.text).collect(),
        ..GgufVocab::default()
    };
    let mut tokenizer = Tokenizer::from_gguf(vocab, file)?;
    if said.flag("add_bos_token").is_none() && !by_kind {
        let kind = kinds.first().map_or_else(
            || "no tokenizer_class".to_owned(),
            |kind| format!("{kind:?}"),
        );
        let reason = format!(
            "it is unknown whether text begins with BOS: there is no add_bos_token, and {kind}; use --bos always, or"
        );
        tokenizer.forget_bos(reason);
    }
    Ok(tokenizer)
}

fn damaged(file: &str, what: String) -> TokenizerError {
    TokenizerError::Damaged {
        file: file.to_owned(),
        what,
    }
}

/// The spelling of a token that is given as a string or with its flags.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

fn index(id: &Value) -> Option<u32> {
    id.as_u64()
        .filter(|&id| id < MOST_TOKENS as u64)
        .map(|id| id as u32)
}

/// Lines of Base64 and a rank.
fn looks_like_tiktoken(bytes: &[u8]) -> bool {
    let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    let Some((token, rank)) = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.split_once(' '))
    else {
        return false;
    };
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    !token.is_empty() && token.bytes().all(base64) && rank.trim_end().parse::<u32>().is_ok()
}
