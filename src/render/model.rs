//! The record of `byrote models show`.

use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::digest::{Digest, FileDigest};
use byrote_core::run::AdapterIdentity;
use byrote_core::tokens::BosChoice;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A model, as the headers of its files describe it. Null fields are unknown.
#[derive(Serialize)]
pub(crate) struct ModelSummary {
    pub(crate) reference: String,
    pub(crate) source: String,
    pub(crate) revision: Option<String>,
    pub(crate) architecture: String,
    pub(crate) unsupported: Option<String>,
    pub(crate) parameters: u64,
    pub(crate) layers: Option<u64>,
    pub(crate) hidden_size: Option<u64>,
    pub(crate) heads: Option<u64>,
    pub(crate) kv_heads: Option<u64>,
    pub(crate) context: Option<u64>,
    /// Parameters by stored type.
    pub(crate) stored: BTreeMap<String, u64>,
    /// Size of the weights in memory by `--dtype`.
    pub(crate) memory_bytes: Map<String, Value>,
    pub(crate) bos: Bos,
    pub(crate) tokenizer_fingerprint: Option<Digest>,
    pub(crate) vocabulary: Option<usize>,
    pub(crate) adapter: Option<AdapterIdentity>,
    pub(crate) digest: Digest,
    pub(crate) model_signing: Option<Digest>,
    pub(crate) files: Vec<FileDigest>,
}

/// The beginning-of-sequence token that `--bos` results in.
#[derive(Serialize)]
pub(crate) struct Bos {
    policy: BosChoice,
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl Bos {
    pub(crate) fn new(policy: BosChoice, tokenizer: Option<&Tokenizer>) -> Self {
        let bare = |result: String| Self {
            policy,
            result,
            id: None,
            token: None,
        };
        let Some(tokenizer) = tokenizer else {
            return bare("no tokenizer".to_owned());
        };
        match tokenizer.bos(policy) {
            Ok(Some(id)) => Self {
                policy,
                result: "a token".to_owned(),
                id: Some(id),
                token: Some(String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned()),
            },
            Ok(None) => bare("none".to_owned()),
            Err(error) => bare(format!("an error: {error}")),
        }
    }

    fn text(&self) -> String {
        let policy = match self.policy {
            BosChoice::Auto => "auto",
            BosChoice::Always => "always",
            BosChoice::Never => "never",
        };
        match (self.id, &self.token) {
            (Some(id), Some(token)) => format!("{policy}: token {id}, {token:?}"),
            _ => format!("{policy}: {}", self.result),
        }
    }
}

impl ModelSummary {
    /// A table, then the files with their digests.
    pub(crate) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        for (name, value) in self.rows() {
            table.add_row([name, value]);
        }
        let mut text = String::new();
        for line in table.to_string().lines() {
            text += &format!("{}\n", line.trim_end());
        }
        text.push('\n');
        for file in &self.files {
            text += &format!("{}  {}\n", file.sha256, file.name);
        }
        text
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        row("model", self.reference.clone());
        row("source", self.source.clone());
        if let Some(revision) = &self.revision {
            row("revision", revision.clone());
        }
        row("architecture", self.architecture.clone());
        if let Some(reason) = &self.unsupported {
            row("can't be loaded", reason.clone());
        }
        row(
            "parameters",
            format!(
                "{} ({:.1} M)",
                self.parameters,
                self.parameters as f64 / 1e6
            ),
        );
        row("layers", number(self.layers));
        row("hidden size", number(self.hidden_size));
        row("heads", number(self.heads));
        row("key/value heads", number(self.kv_heads));
        row("context", number(self.context));
        row("stored as", self.stored_types());
        for (dtype, bytes) in &self.memory_bytes {
            row(
                &format!("memory in {dtype}"),
                size(bytes.as_u64().unwrap_or(0)),
            );
        }
        row("BOS", self.bos.text());
        row("vocabulary", number(self.vocabulary));
        row("tokenizer", or_none(self.tokenizer_fingerprint.as_ref()));
        if let Some(adapter) = &self.adapter {
            row("adapter", adapter.source.clone());
            row(
                "made for",
                adapter
                    .base_model
                    .clone()
                    .unwrap_or_else(|| "not known".to_owned()),
            );
        }
        row("SHA-256 of its files", self.digest.to_string());
        row("model-signing root", or_none(self.model_signing.as_ref()));
        rows
    }

    fn stored_types(&self) -> String {
        let all = self.parameters.max(1) as f64;
        let share = |(dtype, count): (&String, &u64)| {
            format!("{dtype} ({:.1}%)", 100.0 * *count as f64 / all)
        };
        self.stored.iter().map(share).collect::<Vec<_>>().join(", ")
    }
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "not known".to_owned(), |value| value.to_string())
}

fn or_none(digest: Option<&Digest>) -> String {
    digest.map_or_else(|| "none".to_owned(), Digest::to_string)
}

fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes >= 1e9 {
        format!("{:.2} GB", bytes / 1e9)
    } else {
        format!("{:.1} MB", bytes / 1e6)
    }
}
