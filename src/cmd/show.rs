//! `byrote models show`: what a model is, without loading its weights.

use super::model::locate;
use super::out;
use crate::Outcome;
use crate::cli::{OutputFormat, ShowArgs};
use anyhow::{Context, Result, bail};
use byrote::checkpoint::{adapter_identity, digests, safetensors};
use byrote_candle::model::describe::{self, Description};
use byrote_candle::model::source::{Format, Located, identity, signing};
use byrote_core::tokens::BosChoice;
use comfy_table::{Table, presets};
use serde_json::{Map, Value, json};

pub(crate) fn run(args: &ShowArgs) -> Result<Outcome> {
    let registry = super::models::open(args.registry.as_deref())?;
    let located = &locate(
        &args.model,
        &registry,
        args.offline,
        args.adapter.as_deref(),
    )?;
    let entry = located.entry.as_ref();
    let described = match located.format {
        Format::Gguf => {
            if located.adapter.is_some() {
                bail!("an adapter can't be merged into a GGUF; give the base model's safetensors");
            }
            describe::gguf(located.weights.first().context("there is no GGUF file")?)?
        }
        _ => describe::safetensors(
            &safetensors(located)?,
            entry.and_then(|e| e.family.as_deref()),
            located.adapter.as_deref(),
        )?,
    };
    let told = tell(
        located,
        &described,
        entry.map_or(BosChoice::Auto, |e| e.bos),
    )?;
    match args.format {
        OutputFormat::Json => {
            out::print(format!("{}\n", serde_json::to_string_pretty(&told)?).as_bytes())
        }
        OutputFormat::Text => out::print(text(&told, &described).as_bytes()),
    }
}

/// All that is told, by name; null where it isn't known.
fn tell(located: &Located, described: &Description, bos: BosChoice) -> Result<Map<String, Value>> {
    let files = digests(located)?;
    let signing = match signing::root(located, &files) {
        Ok(digest) => json!(digest),
        Err(error) => {
            out::note(format_args!(
                "warning: no root digest by model-signing: {error}"
            ));
            Value::Null
        }
    };
    let bos = match &described.tokenizer {
        None => json!({"policy": bos, "comes_to": "no tokenizer"}),
        Some(tokenizer) => match tokenizer.bos(bos) {
            Ok(Some(id)) => {
                let token = String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned();
                json!({"policy": bos, "comes_to": "a token", "id": id, "token": token})
            }
            Ok(None) => json!({"policy": bos, "comes_to": "none"}),
            Err(error) => json!({"policy": bos, "comes_to": format!("an error: {error}")}),
        },
    };
    let told = json!({
        "reference": located.reference,
        "source": located.source,
        "revision": located.revision,
        "architecture": described.architecture,
        "unsupported": described.unsupported,
        "parameters": described.parameters,
        "layers": described.layers,
        "hidden_size": described.hidden,
        "heads": described.heads,
        "kv_heads": described.kv_heads,
        "context": described.context,
        "stored": described.stored,
        "memory_bytes": described.memory.iter().map(|(dtype, bytes)| ((*dtype).to_owned(), json!(bytes))).collect::<Map<_, _>>(),
        "bos": bos,
        "tokenizer_fingerprint": described.tokenizer.as_ref().map(|t| t.fingerprint()),
        "vocabulary": described.tokenizer.as_ref().map(|t| t.vocab_size()),
        "adapter": located.adapter.as_deref().map(adapter_identity).transpose()?,
        "digest": identity::root_digest(&files),
        "model_signing": signing,
        "files": files,
    });
    match told {
        Value::Object(fields) => Ok(fields),
        _ => bail!("a table was made of something else"),
    }
}

/// The same as a table; sizes in the units of people.
fn text(told: &Map<String, Value>, described: &Description) -> String {
    let plain = |name: &str| match told.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(value) => Some(value.to_string()),
    };
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let mut row = |name: &str, value: Option<String>| {
        table.add_row([
            name.to_owned(),
            value.unwrap_or_else(|| "not known".to_owned()),
        ]);
    };
    row("model", plain("reference"));
    row("source", plain("source"));
    if let Some(revision) = plain("revision") {
        row("revision", Some(revision));
    }
    row("architecture", plain("architecture"));
    if let Some(reason) = plain("unsupported") {
        row("can't be loaded", Some(reason));
    }
    row(
        "parameters",
        Some(format!(
            "{} ({:.1} M)",
            described.parameters,
            described.parameters as f64 / 1e6
        )),
    );
    for (name, field) in [
        ("layers", "layers"),
        ("hidden size", "hidden_size"),
        ("heads", "heads"),
        ("key/value heads", "kv_heads"),
        ("context", "context"),
    ] {
        row(name, plain(field));
    }
    let all = described.parameters.max(1) as f64;
    let share =
        |(dtype, count): (&String, &u64)| format!("{dtype} ({:.1}%)", 100.0 * *count as f64 / all);
    row(
        "stored as",
        Some(
            described
                .stored
                .iter()
                .map(share)
                .collect::<Vec<_>>()
                .join(", "),
        ),
    );
    for (dtype, bytes) in &described.memory {
        row(&format!("memory in {dtype}"), Some(size(*bytes)));
    }
    let bos = told.get("bos");
    let of_bos = |field: &str| bos.and_then(|bos| bos.get(field));
    row(
        "BOS",
        of_bos("comes_to").and_then(Value::as_str).map(|comes_to| {
            let policy = of_bos("policy").and_then(Value::as_str).unwrap_or("auto");
            match (of_bos("id"), of_bos("token").and_then(Value::as_str)) {
                (Some(id), Some(token)) => format!("{policy}: token {id}, {token:?}"),
                _ => format!("{policy}: {comes_to}"),
            }
        }),
    );
    row("vocabulary", plain("vocabulary"));
    row(
        "tokenizer",
        plain("tokenizer_fingerprint").or_else(|| Some("none".to_owned())),
    );
    if let Some(adapter) = told.get("adapter").filter(|adapter| !adapter.is_null()) {
        let of = |field: &str| {
            adapter
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or("not told")
        };
        row("adapter", Some(of("source").to_owned()));
        row("made for", Some(of("base_model").to_owned()));
    }
    row("SHA-256 of its files", plain("digest"));
    row(
        "model-signing root",
        plain("model_signing").or_else(|| Some("none".to_owned())),
    );
    let mut said = format!(
        "{}\n\n",
        table
            .to_string()
            .lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    );
    for file in told
        .get("files")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let of = |field: &str| file.get(field).and_then(Value::as_str).unwrap_or_default();
        said.push_str(&format!("{}  {}\n", of("sha256"), of("name")));
    }
    said
}

fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes >= 1e9 {
        format!("{:.2} GB", bytes / 1e9)
    } else {
        format!("{:.1} MB", bytes / 1e6)
    }
}
