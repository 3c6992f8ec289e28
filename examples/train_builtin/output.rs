//! The files: a checkpoint as the hub would hold it, and probe sets.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Tensor;
use half::f16;
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use crate::bpe::{BOS, BOS_ID};
use crate::corpus::Item;
use crate::net::{MAX_POSITIONS, Net, RMS_NORM_EPS, ROPE_THETA};

/// Writes config.json, tokenizer.json, tokenizer_config.json and model.safetensors. The weights of `net`
/// are rounded to what was written, so that whatever is measured next is the artifact that ships.
pub(crate) fn checkpoint(folder: &Path, net: &Net, tokenizer: &Tokenizer) -> Result<()> {
    fs::create_dir_all(folder)?;
    let shape = &net.shape;
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "head_dim": shape.hidden_size / shape.num_attention_heads,
        "hidden_act": "silu",
        "max_position_embeddings": MAX_POSITIONS,
        // Written as a decimal: f32 -> f64 would print 9.999999747378752e-6.
        "rms_norm_eps": RMS_NORM_EPS.to_string().parse::<f64>()?,
        "rope_theta": ROPE_THETA,
        "rope_scaling": null,
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": true,
        "bos_token_id": BOS_ID,
        "eos_token_id": BOS_ID,
        "torch_dtype": "float16",
    });
    let bos = json!({
        "content": BOS, "lstrip": false, "normalized": false,
        "rstrip": false, "single_word": false, "special": true,
    });
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": true,
        "add_eos_token": false,
        "added_tokens_decoder": { BOS_ID.to_string(): bos },
        "bos_token": BOS,
        "eos_token": BOS,
        "clean_up_tokenization_spaces": false,
        "model_max_length": MAX_POSITIONS,
    });
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).with_context(|| format!("cannot write {name}"))
    };
    let pretty = |value: &Value| serde_json::to_string_pretty(value).map(|s| s + "\n");
    write("config.json", pretty(&config)?.as_bytes())?;
    write(
        "tokenizer_config.json",
        pretty(&tokenizer_config)?.as_bytes(),
    )?;
    let vocabulary = tokenizer
        .to_string(false)
        .map_err(|e| anyhow::anyhow!("tokenizer.json: {e}"))?;
    write("tokenizer.json", vocabulary.as_bytes())?;
    write("model.safetensors", &safetensors(net)?)
}

/// The weights as f16 in the safetensors format, with the metadata that transformers expects.
fn safetensors(net: &Net) -> Result<Vec<u8>> {
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!({"format": "pt"}))]);
    let mut data: Vec<u8> = Vec::new();
    for (name, var) in &net.vars {
        let rounded: Vec<f16> = var
            .flatten_all()?
            .to_vec1::<f32>()?
            .into_iter()
            .map(f16::from_f32)
            .collect();
        let start = data.len();
        data.extend(rounded.iter().flat_map(|x| x.to_le_bytes()));
        header.insert(
            name.clone(),
            json!({"dtype": "F16", "shape": var.dims(), "data_offsets": [start, data.len()]}),
        );
        let values: Vec<f32> = rounded.into_iter().map(f32::from).collect();
        var.set(&Tensor::from_vec(values, var.shape(), var.device())?)?;
    }
    let mut json = serde_json::to_vec(&header)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json);
    file.extend(data);
    Ok(file)
}

/// Writes one probe set, a line an item.
pub(crate) fn probe_set(path: &Path, items: &[Item]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let lines: Result<Vec<String>, _> = items.iter().map(serde_json::to_string).collect();
    fs::write(path, lines?.join("\n") + "\n")
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Number of parameters.
pub(crate) fn parameters(vars: &BTreeMap<String, candle_core::Var>) -> usize {
    vars.values().map(|var| var.elem_count()).sum()
}
