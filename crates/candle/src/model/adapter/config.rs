//! Reads and checks adapter_config.json. A setting that can't be merged as requested is refused.

use crate::model::ModelError;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// Fields about the training, and fields that repeat the shapes of the tensors.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "lora_ga_config",
    "loftq_config",
    "megatron_core",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
];

/// The checked config.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) base_model_name_or_path: Option<String>,
    pub(super) fan_in_fan_out: bool,
    pub(super) use_dora: bool,
    rank: usize,
    alpha: f64,
    use_rslora: bool,
    /// In the order of the file: the first pattern that matches a module applies.
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
}

#[derive(Deserialize)]
struct Raw {
    peft_type: Option<String>,
    r: Option<usize>,
    lora_alpha: Option<f64>,
    base_model_name_or_path: Option<String>,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    use_rslora: bool,
    init_lora_weights: Option<Value>,
    rank_pattern: Option<Map<String, Value>>,
    alpha_pattern: Option<Map<String, Value>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Config {
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read(path).map_err(|source| ModelError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|what| ModelError::BadFile {
            path: path.to_owned(),
            what,
        })
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(text)
            .map_err(|e| format!("{e}; correct it or fetch it again"))?;
        match raw.peft_type.as_deref() {
            Some("LORA") => {}
            Some(other) => {
                return Err(format!(
                    "byrote can't merge adapters of type \"{other}\", only LORA; merge it with PEFT"
                ));
            }
            None => {
                return Err(
                    "\"peft_type\" is missing; use the folder that PEFT's save_pretrained wrote"
                        .to_owned(),
                );
            }
        }
        // These initializations change the base model's weights, which the adapter's files don't
        // show.
        let init = raw.init_lora_weights.as_ref().and_then(Value::as_str);
        if let Some(kind) = init.filter(|kind| !["gaussian", "eva", "orthogonal"].contains(kind)) {
            return Err(format!(
                "\"init_lora_weights\" is \"{kind}\", which may have changed the base model's own weights; save it as plain LoRA \
                 (PEFT: path_initial_model_for_weight_conversion), or merge it with PEFT and probe the result"
            ));
        }
        if let Some((field, _)) = raw
            .rest
            .iter()
            .find(|(field, value)| !HARMLESS.contains(&field.as_str()) && is_set(value))
        {
            return Err(format!(
                "\"{field}\" is set, which byrote can't merge; merge the adapter with PEFT and probe the result"
            ));
        }
        let missing = |field: &str| format!("the number \"{field}\" is missing; fetch it again");
        let count = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
        Ok(Self {
            base_model_name_or_path: raw.base_model_name_or_path.filter(|name| !name.is_empty()),
            fan_in_fan_out: raw.fan_in_fan_out,
            use_dora: raw.use_dora,
            rank: raw.r.ok_or_else(|| missing("r"))?,
            alpha: raw.lora_alpha.ok_or_else(|| missing("lora_alpha"))?,
            use_rslora: raw.use_rslora,
            ranks: patterns("rank_pattern", raw.rank_pattern.unwrap_or_default(), count)?,
            alphas: patterns(
                "alpha_pattern",
                raw.alpha_pattern.unwrap_or_default(),
                Value::as_f64,
            )?,
        })
    }

    /// The factor on a module's change, whose tensors have the rank `rank`.
    ///
    /// # Errors
    /// If the config specifies another rank.
    pub(super) fn scale(&self, module: &str, rank: usize) -> Result<f64, String> {
        let stated = first(&self.ranks, module).unwrap_or(self.rank);
        if stated != rank || rank == 0 {
            return Err(format!(
                "\"{module}\" has rank {rank} but adapter_config.json says {stated}"
            ));
        }
        let alpha = first(&self.alphas, module).unwrap_or(self.alpha);
        Ok(alpha
            / if self.use_rslora {
                (rank as f64).sqrt()
            } else {
                rank as f64
            })
    }
}

/// True if a field's value isn't the same as its absence.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// PEFT compares a pattern with the end of a module's name: the whole name, or the part after a
/// dot.
fn patterns<T>(
    field: &str,
    raw: Map<String, Value>,
    of: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<(Regex, T)>, String> {
    let one = |(pattern, value): (String, Value)| {
        let number =
            of(&value).ok_or_else(|| format!("\"{field}\" has no number for \"{pattern}\""))?;
        match Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$")) {
            Ok(regex) => Ok((regex, number)),
            Err(_) => Err(format!(
                "\"{field}\" has the pattern \"{pattern}\", which can't be read; merge it with PEFT"
            )),
        }
    };
    raw.into_iter().map(one).collect()
}

fn first<T: Copy>(patterns: &[(Regex, T)], module: &str) -> Option<T> {
    patterns
        .iter()
        .find(|(regex, _)| regex.is_match(module))
        .map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> Result<Config, String> {
        Config::parse(
            format!(r#"{{"peft_type": "LORA", "r": 4, "lora_alpha": 8{fields}}}"#).as_bytes(),
        )
    }

    #[test]
    fn the_first_pattern_that_matches_the_end_of_a_module_gives_its_factor() {
        let config =
            parse(r#", "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers\\.1\\..*": 16, "q_proj": 1}"#).unwrap();
        for (module, rank, scale) in [
            ("model.layers.0.self_attn.q_proj", 2, 0.5),
            ("model.layers.1.self_attn.q_proj", 2, 8.0),
            ("model.layers.1.self_attn.v_proj", 4, 4.0),
            ("model.layers.0.self_attn.v_proj", 4, 2.0),
            ("model.layers.0.self_attn.not_q_proj", 4, 2.0),
        ] {
            assert_eq!(config.scale(module, rank), Ok(scale), "{module}");
        }
        assert!(
            config
                .scale("q_proj", 4)
                .unwrap_err()
                .contains("rank 4 but adapter_config.json says 2")
        );
        assert_eq!(
            parse(r#", "use_rslora": true"#).unwrap().scale("m", 4),
            Ok(4.0)
        );
    }

    #[test]
    fn settings_that_would_make_another_model_are_refused() {
        for (fields, expected) in [
            (
                r#", "init_lora_weights": "pissa_niter_4""#,
                "\"pissa_niter_4\"",
            ),
            (
                r#", "layer_replication": [[0, 2]]"#,
                "\"layer_replication\" is set",
            ),
            (r#", "lora_bias": true"#, "\"lora_bias\" is set"),
            (
                r#", "trainable_token_indices": [1]"#,
                "\"trainable_token_indices\" is set",
            ),
            (
                r#", "target_parameters": ["experts.up"]"#,
                "\"target_parameters\" is set",
            ),
            (r#", "something_new": {"a": 1}"#, "\"something_new\" is set"),
            (r#", "alpha_pattern": {"(": 1}"#, "can't be read"),
            (r#", "rank_pattern": {"q": "x"}"#, "no number"),
        ] {
            assert!(parse(fields).unwrap_err().contains(expected), "{fields}");
        }
        assert!(
            parse(r#", "init_lora_weights": true, "layer_replication": null, "use_qalora": false"#)
                .is_ok()
        );
        let parse_error = |json: &str| Config::parse(json.as_bytes()).unwrap_err();
        assert!(parse_error(r#"{"peft_type": "IA3"}"#).contains("type \"IA3\""));
        assert!(parse_error("{}").contains("\"peft_type\" is missing"));
        assert!(parse_error(r#"{"peft_type": "LORA"}"#).contains("\"r\""));
        assert!(parse_error("{").contains("fetch it again"));
    }
}
