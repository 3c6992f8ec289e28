//! A checkpoint's configuration, field by field, from config.json or from GGUF metadata.
//!
//! GGUF metadata are converted back to the config.json that they were made from, so a family reads
//! the same field names for either format.

mod gguf;

use super::ModelError;
use super::layers::rope::{Pairing, RawScaling, Rope, Scaling};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Newer configs of families with two kinds of layers have one table for each kind.
#[derive(Deserialize)]
struct RopeByLayer {
    full_attention: Option<RawScaling>,
    sliding_attention: Option<RawScaling>,
}

/// Upper limit for widths, vocabulary and context.
const MOST: usize = 1 << 28;

/// Upper limit for the number of layers and of heads.
const MOST_OF_FEW: usize = 1 << 14;

const ROPE_BY_LAYER: &str = "rope_parameters";

/// A checked reader of fields. In a field name, `a|b` means the first of the two that is present;
/// null counts as absent.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The name of the file, for messages.
    pub(crate) file: String,
    /// `model_type` of config.json or `general.architecture` of a GGUF.
    pub(crate) kind: String,
    /// True if the configuration is from a GGUF file, whose tensors llama.cpp's converter has
    /// rearranged.
    pub(crate) gguf: bool,
    fields: Map<String, Value>,
}

impl Config {
    /// Reads a config.json. `named` overrides its `model_type`, for checkpoints that don't have
    /// one. For a multimodal checkpoint, its `text_config` is used.
    ///
    /// # Errors
    /// If it isn't a JSON object or has no `model_type`.
    pub(crate) fn from_json(
        json: &[u8],
        file: &str,
        named: Option<&str>,
    ) -> Result<Self, ModelError> {
        let bad = |what: String| ModelError::Config {
            file: file.to_owned(),
            what,
        };
        let mut fields: Map<String, Value> = serde_json::from_slice(json)
            .map_err(|e| bad(format!("{e}; correct it or fetch it again")))?;
        let kind = |fields: &Map<String, Value>| {
            fields
                .get("model_type")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let mut found = kind(&fields);
        if let Some(Value::Object(text)) = fields.remove("text_config") {
            found = kind(&text).or(found);
            for name in ["tie_word_embeddings", "quantization_config"] {
                if let (Some(value), false) = (fields.get(name), text.contains_key(name)) {
                    fields.insert(name.to_owned(), value.clone());
                }
            }
            fields.extend(text);
        }
        let method = fields
            .get("quantization_config")
            .and_then(|q| q.get("quant_method")?.as_str());
        if let Some(method) = method.filter(|method| *method != "mxfp4") {
            return Err(bad(format!(
                "the weights are quantized by {method}, which byrote can't read; use the unquantized checkpoint or a GGUF of it"
            )));
        }
        let kind = named.map(str::to_owned).or(found);
        let kind = kind.ok_or_else(|| {
            bad("there is no \"model_type\"; give \"family\" in models.toml".to_owned())
        })?;
        Ok(Self {
            file: file.to_owned(),
            kind,
            gguf: false,
            fields,
        })
    }

    /// A copy in which absent fields have these numbers.
    #[must_use]
    pub(crate) fn with_defaults(&self, defaults: &[(&str, u64)]) -> Self {
        let mut full = self.clone();
        for (name, value) in defaults
            .iter()
            .filter(|(name, _)| self.value(name).is_none())
        {
            full.fields.insert((*name).to_owned(), Value::from(*value));
        }
        full
    }

    fn value(&self, names: &str) -> Option<(&str, &Value)> {
        let known = names.split('|').find_map(|name| {
            self.fields
                .get_key_value(name)
                .filter(|(_, v)| !v.is_null())
        });
        known.map(|(name, value)| (name.as_str(), value))
    }

    /// An error about this configuration.
    pub(crate) fn error(&self, what: impl Into<String>) -> ModelError {
        ModelError::Config {
            file: self.file.clone(),
            what: what.into(),
        }
    }

    /// A field of any type.
    ///
    /// # Errors
    /// If it is present but of another type.
    pub(crate) fn get<T: DeserializeOwned>(&self, names: &str) -> Result<Option<T>, ModelError> {
        let Some((name, value)) = self.value(names) else {
            return Ok(None);
        };
        T::deserialize(value).map(Some).map_err(|e| {
            self.error(format!(
                "\"{name}\": {e}; correct it or fetch the file again"
            ))
        })
    }

    /// A field of any type, or the family's default if it is absent.
    ///
    /// # Errors
    /// As for [`Config::get`].
    pub(crate) fn or<T: DeserializeOwned>(&self, names: &str, default: T) -> Result<T, ModelError> {
        Ok(self.get(names)?.unwrap_or(default))
    }

    /// A field whose null means "none". If it is absent, the family's default applies.
    ///
    /// # Errors
    /// As for [`Config::get`].
    pub(crate) fn or_null<T: DeserializeOwned>(
        &self,
        name: &str,
        default: T,
    ) -> Result<Option<T>, ModelError> {
        if self.fields.contains_key(name) {
            self.get(name)
        } else {
            Ok(Some(default))
        }
    }

    /// A required field.
    ///
    /// # Errors
    /// If it is absent or of another type.
    pub(crate) fn need<T: DeserializeOwned>(&self, names: &str) -> Result<T, ModelError> {
        let name = names.split('|').next().unwrap_or(names);
        self.get(names)?
            .ok_or_else(|| self.error(format!("missing field \"{name}\"; fetch the file again")))
    }

    /// A required count other than 0.
    ///
    /// # Errors
    /// If it is absent, 0 or not a number.
    pub(crate) fn count(&self, names: &str) -> Result<usize, ModelError> {
        self.positive(names, self.need(names)?)
    }

    /// A count other than 0, or the family's default.
    ///
    /// # Errors
    /// If it is 0 or not a number.
    pub(crate) fn count_or(&self, names: &str, default: usize) -> Result<usize, ModelError> {
        self.positive(names, self.or(names, default)?)
    }

    /// As [`Config::count`], for things that a model has few of, such as layers, heads or experts.
    ///
    /// # Errors
    /// Also if the number is absurdly large, so that a damaged file can't make byrote allocate all
    /// memory.
    pub(crate) fn few(&self, names: &str) -> Result<usize, ModelError> {
        let n = self.count(names)?;
        if n > MOST_OF_FEW {
            Err(self.error(format!("\"{names}\" is {n}, which can't be")))
        } else {
            Ok(n)
        }
    }

    fn positive(&self, names: &str, n: usize) -> Result<usize, ModelError> {
        let sensible = (1..=MOST).contains(&n);
        if sensible {
            Ok(n)
        } else {
            Err(self.error(format!("\"{names}\" is {n}, which can't be")))
        }
    }

    /// A rotary embedding of `dims` components, from the older or newer fields `rope_theta` and
    /// `rope_scaling`. If the configuration has one embedding per kind of layer, this is the one of
    /// full layers.
    ///
    /// # Errors
    /// If a field is missing or the scaling is unknown.
    pub(crate) fn rope(
        &self,
        dims: usize,
        base: f32,
        pairing: Pairing,
    ) -> Result<Rope, ModelError> {
        let raw = match self.get::<RopeByLayer>(ROPE_BY_LAYER)? {
            Some(RopeByLayer {
                full_attention: Some(full),
                ..
            }) => Some(full),
            _ => self.get("rope_parameters|rope_scaling")?,
        };
        self.rope_of(
            raw.as_ref(),
            self.get("rope_theta|rotary_emb_base")?,
            dims,
            base,
            pairing,
        )
    }

    /// Rotary embeddings of full layers and of layers with a sliding window; the latter are never
    /// scaled. `bases` are the family's defaults. `local` is the older field for the base of the
    /// sliding layers, whose default is the base of the full ones.
    ///
    /// # Errors
    /// As for [`Config::rope`].
    pub(crate) fn ropes_by_layer(
        &self,
        dims: usize,
        bases: [f32; 2],
        local: Option<&str>,
        pairing: Pairing,
    ) -> Result<Vec<Rope>, ModelError> {
        let theta: Option<f32> = self.get("rope_theta")?;
        let local = match local {
            Some(field) => self.get(field)?,
            None => theta,
        };
        let (full, sliding) = match self.get::<RopeByLayer>(ROPE_BY_LAYER)? {
            Some(RopeByLayer {
                full_attention: Some(full),
                sliding_attention,
            }) => (Some(full), sliding_attention),
            _ => (self.get("rope_scaling")?, None),
        };
        Ok(vec![
            self.rope_of(full.as_ref(), theta, dims, bases[0], pairing)?,
            self.rope_of(sliding.as_ref(), local, dims, bases[1], pairing)?,
        ])
    }

    /// As [`Config::rope`], for a given scaling and base.
    ///
    /// # Errors
    /// As for [`Config::rope`].
    pub(crate) fn rope_of(
        &self,
        raw: Option<&RawScaling>,
        theta: Option<f32>,
        dims: usize,
        base: f32,
        pairing: Pairing,
    ) -> Result<Rope, ModelError> {
        let context = self.count_or("max_position_embeddings|n_positions", 2_048)?;
        let original = self.get("original_max_position_embeddings")?;
        let scaling = match raw {
            Some(raw) => raw
                .check(context, original, dims)
                .map_err(|what| self.error(what))?,
            None => Scaling::None,
        };
        let base = theta
            .or_else(|| raw.and_then(|raw| raw.rope_theta))
            .unwrap_or(base);
        Ok(Rope {
            base,
            dims,
            scaling,
            pairing,
        })
    }

    /// The share of a head's components that are rotated.
    ///
    /// # Errors
    /// If it isn't a number.
    pub(crate) fn rotated_share(&self, default: f32) -> Result<f32, ModelError> {
        let raw: Option<RawScaling> = self.get("rope_parameters|rope_scaling")?;
        let newer = raw.and_then(|raw| raw.partial_rotary_factor);
        Ok(self
            .get("partial_rotary_factor|rotary_pct|rope_pct")?
            .or(newer)
            .unwrap_or(default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_and_the_field() {
        let config = |json: &str| Config::from_json(json.as_bytes(), "m/config.json", None);
        let error_for = |json: &str| {
            config(json)
                .and_then(|c| c.count("hidden_size|n_embd"))
                .unwrap_err()
                .to_string()
        };
        assert!(error_for("[").contains("m/config.json"));
        assert!(error_for("{}").contains("no \"model_type\""));
        assert!(
            error_for(r#"{"quantization_config": {"quant_method": "gptq"}}"#)
                .contains("quantized by gptq")
        );
        assert!(error_for(r#"{"model_type": "x"}"#).contains("missing field \"hidden_size\""));
        assert!(
            error_for(r#"{"model_type": "x", "hidden_size": null, "n_embd": 0}"#).contains("is 0")
        );
        assert!(
            error_for(r#"{"model_type": "x", "n_embd": "8"}"#)
                .contains("m/config.json: \"n_embd\": invalid type")
        );
    }

    #[test]
    fn the_text_config_of_a_multimodal_model_is_used() {
        let json =
            br#"{"model_type": "big", "tie_word_embeddings": true, "text_config": {"model_type": "small", "x": 3}}"#;
        let config = Config::from_json(json, "config.json", None).unwrap();
        assert_eq!(
            (config.kind.as_str(), config.need::<u32>("x").unwrap()),
            ("small", 3)
        );
        assert!(config.need::<bool>("tie_word_embeddings").unwrap());
    }
}
