//! A checkpoint's own chat template: finding it, and rendering a conversation with it.

use super::{TemplateError, engine};
use crate::digest::Digest;
use minijinja::Value;
use serde::Serialize;
use std::collections::BTreeMap;

/// A turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    pub content: String,
}

/// A chat template, and the special tokens it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    /// Its file, for messages.
    pub file: String,
    pub source: String,
    /// `bos_token`, `eos_token` and so on, by these names.
    pub tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// The template of a checkpoint in Hugging Face's layout: `jinja` (the text of
    /// `chat_template.jinja`, with its name) takes precedence over `chat_template` in
    /// `tokenizer_config.json`, which is a template or a list of named ones, of which `default` is
    /// used. `None` if it has none.
    ///
    /// # Errors
    /// When the config can't be read, or has several templates and none is the default.
    pub fn from_config(
        config: Option<(&str, &[u8])>,
        jinja: Option<(&str, String)>,
    ) -> Result<Option<Self>, TemplateError> {
        let mut tokens = BTreeMap::new();
        let mut inside = None;
        if let Some((file, bytes)) = config {
            let bad = |reason: String| TemplateError::Chat {
                file: file.to_owned(),
                reason,
            };
            let json: serde_json::Value =
                serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
            for (name, value) in json
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, _)| name.ends_with("_token"))
            {
                let spelling = value.as_str().or_else(|| value.get("content")?.as_str());
                tokens.extend(spelling.map(|spelling| (name.clone(), spelling.to_owned())));
            }
            inside = choose(&json["chat_template"])
                .map_err(bad)?
                .map(|source| (file, source));
        }
        let found = jinja.or(inside);
        Ok(found.map(|(file, source)| Self {
            file: file.to_owned(),
            source,
            tokens,
        }))
    }

    /// SHA-256 of the template's text.
    pub fn digest(&self) -> Digest {
        Digest::of_bytes(self.source.as_bytes())
    }

    /// The conversation in the format that the model was trained on, up to the end of the last turn
    /// and its closing tokens.
    ///
    /// Variables are those of transformers' `apply_chat_template` without tools; `enable_thinking`
    /// is false, so that a model that may think first is asked for the answer itself.
    ///
    /// # Errors
    /// When the template fails or exceeds its limits.
    pub fn render(&self, messages: &[Message]) -> Result<String, TemplateError> {
        let tokens = self
            .tokens
            .iter()
            .map(|(name, spelling)| (name.clone(), Value::from(spelling.as_str())));
        let others = [
            ("messages", Value::from_serialize(messages)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(false)),
            ("enable_thinking", Value::from(false)),
        ];
        let context = tokens
            .chain(others.map(|(name, value)| (name.to_owned(), value)))
            .collect::<Value>();
        engine::render(&self.file, &self.source, context)
    }
}

/// The template under `chat_template`, if there is one.
fn choose(value: &serde_json::Value) -> Result<Option<String>, String> {
    let named = match value {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::String(source) => return Ok(Some(source.clone())),
        serde_json::Value::Array(list) => list
            .iter()
            .map(|entry| {
                Some((
                    entry.get("name")?.as_str()?,
                    entry.get("template")?.as_str()?,
                ))
            })
            .collect::<Option<Vec<_>>>(),
        _ => None,
    };
    match named.as_deref() {
        None => Err(
            "\"chat_template\" is neither a template nor a list of {\"name\", \"template\"}"
                .to_owned(),
        ),
        Some([]) => Ok(None),
        Some([(_, only)]) => Ok(Some((*only).to_owned())),
        Some(several) => match several.iter().find(|(name, _)| *name == "default") {
            Some((_, source)) => Ok(Some((*source).to_owned())),
            None => {
                let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
                Err(format!(
                    "\"chat_template\" has {}, and none is called \"default\"",
                    names.join(", ")
                ))
            }
        },
    }
}
