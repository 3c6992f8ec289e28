//! The record of `byrote models show`.

use byrote_candle::model::describe::Description;
use byrote_candle::model::source::{Located, identity};
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
    reference: String,
    source: String,
    revision: Option<String>,
    architecture: String,
    unsupported: Option<String>,
    parameters: u64,
    layers: Option<u64>,
    hidden_size: Option<u64>,
    heads: Option<u64>,
    kv_heads: Option<u64>,
    context: Option<u64>,
    /// Parameters by stored type.
    stored: BTreeMap<String, u64>,
    /// Size of the weights in memory by `--dtype`.
    memory_bytes: Map<String, Value>,
    bos: Bos,
    tokenizer_fingerprint: Option<Digest>,
    vocabulary: Option<usize>,
    adapter: Option<AdapterIdentity>,
    digest: Digest,
    model_signing: Option<Digest>,
    files: Vec<FileDigest>,
}

/// The beginning-of-sequence token that `--bos` results in.
#[derive(Serialize)]
struct Bos {
    policy: BosChoice,
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl Bos {
    fn new(policy: BosChoice, tokenizer: Option<&Tokenizer>) -> Self {
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
    pub(crate) fn new(
        located: &Located,
        described: Description,
        adapter: Option<AdapterIdentity>,
        model_signing: Option<Digest>,
        files: Vec<FileDigest>,
    ) -> Self {
        let policy = located
            .entry
            .as_ref()
            .map_or(BosChoice::Auto, |entry| entry.bos);
        let memory = described.memory.into_iter();
        let tokenizer = described.tokenizer.as_ref();
        Self {
            reference: located.reference.clone(),
            source: located.source.clone(),
            revision: located.revision.clone(),
            architecture: described.architecture,
            unsupported: described.unsupported,
            parameters: described.parameters,
            layers: described.layers,
            hidden_size: described.hidden,
            heads: described.heads,
            kv_heads: described.kv_heads,
            context: described.context,
            stored: described.stored,
            memory_bytes: memory
                .map(|(dtype, bytes)| (dtype.to_owned(), bytes.into()))
                .collect(),
            bos: Bos::new(policy, tokenizer),
            tokenizer_fingerprint: tokenizer.map(|t| t.fingerprint().clone()),
            vocabulary: tokenizer.map(|t| t.vocab_size()),
            adapter,
            digest: identity::root_digest(&files),
            model_signing,
            files,
        }
    }

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
