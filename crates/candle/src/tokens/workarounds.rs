//! Workarounds for the library `tokenizers`: damaged files on which it panics, texts that it
//! silently cuts wrongly, and the bytes of its tokens.

use super::token_bytes::{self, TokenBytes};
use super::tokenizer::LONGEST_SPACE;
use serde::Deserialize;
use serde_json::Value;
use tokenizers::normalizers::Precompiled;

/// Rejects files on which the library would panic: a decoder that isn't JSON, a normalizer with a
/// damaged table, and merges whose right side lacks the prefix that is to be cut off it.
pub(super) fn no_panic_ahead(json: &[u8]) -> serde_json::Result<()> {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(default)]
        normalizer: Value,
        #[serde(default, rename = "decoder")]
        _decoder: Value,
        #[serde(default)]
        model: Model,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Model {
        continuing_subword_prefix: Value,
        merges: Value,
    }
    fn tables(part: &Value) -> serde_json::Result<()> {
        if part.get("type").and_then(Value::as_str) == Some("Precompiled") {
            Precompiled::deserialize(part)?;
        }
        match part {
            Value::Object(fields) => fields.values().try_for_each(tables),
            Value::Array(list) => list.iter().try_for_each(tables),
            _ => Ok(()),
        }
    }
    let shape: Shape = serde_json::from_slice(json)?;
    if let Some(prefix) = shape
        .model
        .continuing_subword_prefix
        .as_str()
        .filter(|prefix| !prefix.is_empty())
    {
        let merges = shape.model.merges.as_array().into_iter().flatten();
        let right = |merge: &Value| match merge {
            Value::String(both) => both.split_once(' ').map(|(_, right)| right.to_owned()),
            pair => pair.get(1).and_then(Value::as_str).map(str::to_owned),
        };
        if let Some(right) = merges
            .filter_map(right)
            .find(|right| !right.starts_with(prefix))
        {
            let what = format!(
                "the merge with {right:?} lacks the \"continuing_subword_prefix\" {prefix:?}"
            );
            return Err(serde::de::Error::custom(what));
        }
    }
    tables(&shape.normalizer)
}

/// True if a run of white space in `text` is longer than [`LONGEST_SPACE`].
pub(super) fn has_run_of_space(text: &str) -> bool {
    let mut run = 0;
    // Most texts are shorter than that altogether.
    text.len() > LONGEST_SPACE
        && text.chars().any(|c| {
            run = if c.is_whitespace() { run + 1 } else { 0 };
            run > LONGEST_SPACE
        })
}

/// The bytes of every token of a library tokenizer, and whether they are certain.
pub(super) fn spell(library: &tokenizers::Tokenizer) -> (TokenBytes, bool) {
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
    // Fast tokenizers of SentencePiece models turn U+2581 into spaces with a Replace step.
    let spaced = has("Metaspace") || has("Replace");
    let fallback = has("ByteFallback");

    let added = library.get_added_tokens_decoder();
    let size = library
        .get_vocab(true)
        .into_values()
        .max()
        .map_or(0, |id| id as usize + 1);
    let mut pieces = TokenBytes::default();
    for id in 0..size as u32 {
        if let Some(token) = added.get(&id) {
            // Gemma's runs of spaces are added tokens, which the library searches in the text after
            // normalization.
            pieces.push(if spaced && !token.special {
                token_bytes::spaced(&token.content)
            } else {
                token.content.clone().into()
            });
            continue;
        }
        let token = library.id_to_token(id).unwrap_or_default();
        match token_bytes::fallback_byte(&token) {
            Some(byte) if fallback => pieces.push([byte]),
            _ if byte_level => pieces.push(token_bytes::byte_level(&token)),
            _ if spaced => pieces.push(token_bytes::spaced(&token)),
            _ => pieces.push(token.into_bytes()),
        }
    }
    (pieces, byte_level || spaced)
}

/// Collects the `type` of every step of a serialized normalizer, pre-tokenizer or decoder.
fn step_types(part: &Value, out: &mut Vec<String>) {
    match part {
        Value::Object(fields) => {
            out.extend(
                fields
                    .get("type")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields.values().for_each(|value| step_types(value, out));
        }
        Value::Array(list) => list.iter().for_each(|value| step_types(value, out)),
        _ => {}
    }
}
