//! Describes a model by the headers of its files: shapes, types and settings. Doesn't read the
//! weights.

use super::ModelError;
use super::adapter::Adapter;
use super::families::Family;
use super::gguf::Gguf;
use super::load::{Checkpoint, vocabulary};
use super::memory::{self, Header, Packing};
use super::sequential::fields::finite;
use super::weights::Precision;
use crate::tokens::tokenizer::Tokenizer;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A description of a model. A count is absent if the files don't contain it.
#[derive(Debug)]
pub struct Description {
    /// `model_type` of config.json or `general.architecture` of a GGUF.
    pub architecture: String,
    /// The reason why byrote can't load it, if any.
    pub unsupported: Option<String>,
    /// Number of values in all tensors, without buffers and a second copy of a tied output matrix.
    pub parameters: u64,
    pub layers: Option<u64>,
    pub heads: Option<u64>,
    /// Number of heads of keys and values.
    pub kv_heads: Option<u64>,
    pub hidden: Option<u64>,
    /// Longest sequence in tokens.
    pub context: Option<u64>,
    /// Parameters by their type in the files, such as `bf16` or `q4_k`.
    pub stored: BTreeMap<String, u64>,
    /// Bytes that the weights take in memory, by value of `--dtype`.
    pub memory: Vec<(&'static str, u64)>,
    pub tokenizer: Option<Tokenizer>,
}

/// Describes a safetensors checkpoint, and checks that an adapter's tensors match it.
///
/// # Errors
/// If a file can't be read or is damaged, or the adapter belongs to another model.
pub fn safetensors(
    checkpoint: &Checkpoint,
    family: Option<&str>,
    adapter: Option<&Path>,
) -> Result<Description, ModelError> {
    let file = checkpoint.config.path().display().to_string();
    let json = checkpoint.config.read_all()?;
    let config: Value = serde_json::from_slice(&finite(&json)).map_err(|e| ModelError::Config {
        file: file.clone(),
        what: format!("{e}; correct it or fetch it again"),
    })?;
    let tied = field(&config, &["tie_word_embeddings"]).and_then(Value::as_bool) == Some(true);
    let tensors = memory::of_safetensors(&checkpoint.weights, tied)?;
    if let Some(folder) = adapter {
        Adapter::open(folder)?.bind(tensors.iter().map(|tensor| tensor.name.as_str()))?;
    }
    let number = |names: &[&str]| field(&config, names).and_then(Value::as_u64);
    let tokenizer = match &checkpoint.tokenizer {
        Some(source) => {
            let config = checkpoint
                .tokenizer_config
                .as_ref()
                .map(super::weights::WeightSource::read_all)
                .transpose()?;
            Some(super::load::tokenizer(source, config, &json)?)
        }
        None => None,
    };
    let kind = family
        .map(str::to_owned)
        .or_else(|| field(&config, &["model_type"])?.as_str().map(str::to_owned));
    let heads = number(&["num_attention_heads", "n_head", "n_heads", "num_heads"]);
    Ok(Description {
        architecture: kind.unwrap_or_else(|| "unknown".to_owned()),
        unsupported: Family::from_config(&json, &file, family)
            .and_then(|f| f.check())
            .err()
            .map(|e| e.to_string()),
        layers: number(&["num_hidden_layers", "n_layer", "n_layers", "num_layers"]),
        heads,
        kv_heads: number(&["num_key_value_heads", "num_kv_heads", "n_head_kv"]).or(heads),
        hidden: number(&["hidden_size", "n_embd", "d_model", "n_embed"]),
        context: number(&[
            "max_position_embeddings",
            "n_positions",
            "n_ctx",
            "max_seq_len",
            "seq_length",
        ]),
        memory: in_memory(&tensors, false),
        parameters: tensors.iter().map(Header::elements).sum(),
        stored: stored(&tensors),
        tokenizer,
    })
}

/// Describes a GGUF file, given by any of its parts if it is split.
///
/// # Errors
/// If it can't be read or is damaged.
pub fn gguf(path: &Path) -> Result<Description, ModelError> {
    let gguf = Gguf::open(path)?;
    let architecture = gguf
        .text("general.architecture")
        .unwrap_or("unknown")
        .to_owned();
    let tensors = memory::of_gguf(&gguf);
    let number = |key: &str| gguf.int(&format!("{architecture}.{key}"));
    let heads = number("attention.head_count");
    let tokenizer = vocabulary(&gguf)
        .map(|vocab| Tokenizer::from_gguf(vocab, &path.display().to_string()))
        .transpose()?;
    Ok(Description {
        unsupported: Family::from_gguf(&gguf)
            .and_then(|f| f.check())
            .err()
            .map(|e| e.to_string()),
        layers: number("block_count"),
        heads,
        kv_heads: number("attention.head_count_kv").or(heads),
        hidden: number("embedding_length"),
        context: number("context_length"),
        memory: in_memory(&tensors, true),
        parameters: tensors.iter().map(Header::elements).sum(),
        stored: stored(&tensors),
        architecture,
        tokenizer,
    })
}

/// The first of `names` in config.json, at its top level or under `text_config`.
fn field<'a>(config: &'a Value, names: &[&str]) -> Option<&'a Value> {
    let tables = [Some(config), config.get("text_config")];
    let find = |table: &'a Value| {
        names
            .iter()
            .find_map(|name| table.get(name))
            .filter(|value| !value.is_null())
    };
    tables.into_iter().flatten().find_map(find)
}

fn stored(tensors: &[Header]) -> BTreeMap<String, u64> {
    let mut stored = BTreeMap::new();
    for tensor in tensors {
        *stored.entry(tensor.dtype.clone()).or_default() += tensor.elements();
    }
    stored
}

fn in_memory(tensors: &[Header], gguf: bool) -> Vec<(&'static str, u64)> {
    let mut precisions = vec![Precision::F32, Precision::Bf16, Precision::F16];
    precisions.extend(gguf.then_some(Precision::Quantized));
    precisions
        .into_iter()
        .map(|p| (p.name(), memory::weights(tensors, p, Packing::None)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::builtin;
    use crate::model::load::{self, LoadConfig};

    #[test]
    fn headers_describe_the_model_as_loading_does() {
        let checkpoint = builtin::checkpoint();
        let description = safetensors(&checkpoint, None, None).unwrap();
        let loaded = load::safetensors(
            &checkpoint,
            &LoadConfig {
                device: "cpu".to_owned(),
                ..Default::default()
            },
        );
        let loaded = loaded.unwrap();
        let info = loaded.model.info();
        assert_eq!(
            (description.architecture.as_str(), description.parameters),
            (info.architecture.as_str(), info.parameters)
        );
        assert_eq!(description.context, Some(info.context_length as u64));
        assert_eq!(
            description.tokenizer.unwrap().fingerprint(),
            loaded.tokenizer.unwrap().fingerprint()
        );
        assert_eq!(description.unsupported, None);
        assert_eq!(
            description.stored.values().sum::<u64>(),
            description.parameters
        );
        let bytes: BTreeMap<_, _> = description.memory.into_iter().collect();
        assert_eq!(bytes["f32"], 4 * description.parameters);
        assert!(bytes["bf16"] >= 2 * description.parameters && bytes["bf16"] < bytes["f32"]);
    }

    #[test]
    fn every_architecture_can_be_described() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models");
        for folder in std::fs::read_dir(fixtures)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            let file = |name: &str| crate::model::weights::WeightSource::File(folder.join(name));
            let weights = if folder.join("model.safetensors").exists() {
                vec![file("model.safetensors")]
            } else {
                vec![]
            };
            let checkpoint = Checkpoint {
                config: file("config.json"),
                weights,
                tokenizer: None,
                tokenizer_config: None,
            };
            let description = safetensors(&checkpoint, None, None).unwrap();
            assert_eq!(description.unsupported, None, "{}", folder.display());
        }
    }

    #[test]
    fn numbers_are_found_under_all_their_names() {
        let config =
            serde_json::json!({"text_config": {"n_layer": 3, "hidden_size": null}, "n_embd": 8});
        assert_eq!(
            field(&config, &["num_hidden_layers", "n_layer"]).and_then(Value::as_u64),
            Some(3)
        );
        assert_eq!(
            field(&config, &["hidden_size", "n_embd"]).and_then(Value::as_u64),
            Some(8)
        );
        assert_eq!(field(&config, &["n_ctx"]), None);
    }
}
