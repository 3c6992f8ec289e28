//! The files of a checkpoint: where they are, which ones they are, and what is read from them.

use anyhow::{Context, Result};
use byrote_candle::model::adapter::Adapter;
use byrote_candle::model::builtin;
use byrote_candle::model::gguf::{Gguf, Value};
use byrote_candle::model::load::{self, Checkpoint, LoadConfig};
use byrote_candle::model::source::{self, Format, LocateOptions, Located, identity, signing};
use byrote_candle::model::weights::WeightSource;
use byrote_core::digest::FileDigest;
use byrote_core::registry::Registry;
use byrote_core::run::AdapterIdentity;
use byrote_core::template::chat::ChatTemplate;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The file beside a checkpoint that holds its chat template.
const JINJA: &str = "chat_template.jinja";

/// Finds a model's files, fetching them if they are on the hub; an adapter is a folder.
///
/// # Errors
/// When they can't be found or fetched.
pub fn locate(
    reference: &str,
    registry: &Registry,
    options: &LocateOptions,
    adapter: Option<&Path>,
) -> Result<Located> {
    let mut located = source::locate(reference, registry, options)?;
    if let Some(folder) = adapter {
        // So that reports don't take it for the base.
        located.reference = format!("{} + adapter {}", located.reference, folder.display());
        located.adapter = Some(folder.to_owned());
    }
    Ok(located)
}

/// Digests of all of a model's files.
///
/// # Errors
/// When a file can't be read.
pub fn digests(located: &Located) -> Result<Vec<FileDigest>> {
    match located.format {
        Format::Builtin => Ok([builtin::digests(), identity::of_adapter(located)?].concat()),
        _ => Ok(identity::digests(located)?),
    }
}

/// Which adapter it is.
///
/// # Errors
/// When it can't be read.
pub fn adapter_identity(folder: &Path) -> Result<AdapterIdentity> {
    Ok(AdapterIdentity {
        source: folder.display().to_string(),
        base_model: Adapter::open(folder)?.base_model().map(str::to_owned),
        model_signing: signing::of_folder(folder, &[]).ok(),
    })
}

/// Reads the weights and the tokenizer of a located model.
///
/// # Errors
/// When they can't be read.
pub fn read(located: &Located, config: &LoadConfig) -> Result<load::Loaded> {
    Ok(match located.format {
        Format::Gguf => {
            let path = located.weights.first().context("there is no GGUF file")?;
            load::gguf(path, config)?
        }
        Format::Builtin | Format::Safetensors => load::safetensors(&safetensors(located)?, config)?,
    })
}

/// The files of a checkpoint of safetensors.
///
/// # Errors
/// When it has no `config.json`.
pub fn safetensors(located: &Located) -> Result<Checkpoint> {
    if located.format == Format::Builtin {
        return Ok(builtin::checkpoint());
    }
    let file = |path: &Option<PathBuf>| path.clone().map(WeightSource::File);
    Ok(Checkpoint {
        config: file(&located.config).context("there is no config.json")?,
        weights: located
            .weights
            .iter()
            .cloned()
            .map(WeightSource::File)
            .collect(),
        tokenizer: file(&located.tokenizer),
        tokenizer_config: file(&located.tokenizer_config),
    })
}

/// The chat template of a checkpoint, if it has one.
///
/// # Errors
/// When a file that may hold it can't be read.
pub fn chat_template(located: &Located) -> Result<Option<ChatTemplate>> {
    match located.format {
        Format::Builtin => Ok(None),
        Format::Gguf => {
            let path = located.weights.first().context("there is no GGUF file")?;
            chat_template_of_gguf(path)
        }
        Format::Safetensors => chat_template_of_folder(located),
    }
}

fn chat_template_of_folder(located: &Located) -> Result<Option<ChatTemplate>> {
    let unreadable = |path: &Path| format!("{}: can't be read", path.display());
    let config = match &located.tokenizer_config {
        Some(path) => {
            let bytes = fs::read(path).with_context(|| unreadable(path))?;
            Some((path.display().to_string(), bytes))
        }
        None => None,
    };
    let path = located.folder.join(JINJA);
    let name = path.display().to_string();
    let jinja = if path.is_file() {
        let source = fs::read_to_string(&path).with_context(|| unreadable(&path))?;
        Some((name.as_str(), source))
    } else {
        None
    };
    let config = config
        .as_ref()
        .map(|(file, bytes)| (file.as_str(), bytes.as_slice()));
    Ok(ChatTemplate::from_config(config, jinja)?)
}

fn chat_template_of_gguf(path: &Path) -> Result<Option<ChatTemplate>> {
    let gguf = Gguf::open(path)?;
    let Some(source) = gguf.text("tokenizer.chat_template") else {
        return Ok(None);
    };
    let mut tokens = BTreeMap::new();
    if let Some(Value::Texts(spellings)) = gguf.metadata.get("tokenizer.ggml.tokens") {
        for (name, key) in [
            ("bos", "bos"),
            ("eos", "eos"),
            ("unk", "unknown"),
            ("pad", "padding"),
        ] {
            let id = gguf.int(&format!("tokenizer.ggml.{key}_token_id"));
            let spelling = id.and_then(|id| spellings.get(usize::try_from(id).ok()?));
            tokens.extend(spelling.map(|spelling| (format!("{name}_token"), spelling.clone())));
        }
    }
    Ok(Some(ChatTemplate {
        file: path.display().to_string(),
        source: source.to_owned(),
        tokens,
    }))
}
