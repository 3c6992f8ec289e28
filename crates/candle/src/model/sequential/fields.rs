//! A checked reader of config.json: a field that changes the numbers is either supported or
//! refused.

use crate::model::ModelError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt::Debug;

/// Upper limit for the number of layers, so that a damaged config can't reserve much memory.
const MOST_LAYERS: usize = 10_000;

/// Upper limit for the positions of rotary tables.
const MOST_POSITIONS: usize = 1 << 22;

/// Upper limit for the components of a head: rotary tables are computed before the shape of a
/// tensor can disprove the config.
const MOST_OF_A_HEAD: usize = 4_096;

/// A config.json.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    file: String,
    map: Map<String, Value>,
}

impl Fields {
    /// Reads a JSON object. Fields that transformers 5 stores in `rope_parameters` are moved to
    /// their older places.
    ///
    /// # Errors
    /// If it isn't an object.
    pub(crate) fn read(json: &[u8], file: &str) -> Result<Self, ModelError> {
        let mut map: Map<String, Value> =
            serde_json::from_slice(json).map_err(|e| ModelError::Config {
                file: file.to_owned(),
                what: format!("{e}; correct it or fetch it again"),
            })?;
        if let Some(Value::Object(mut rope)) = map.remove("rope_parameters") {
            for key in ["rope_theta", "partial_rotary_factor"] {
                if let Some(value) = rope.remove(key) {
                    map.entry(key).or_insert(value);
                }
            }
            if rope.get("rope_type").is_some_and(|kind| kind != "default") {
                if let Some(kind) = rope.get("rope_type").cloned() {
                    rope.insert("type".to_owned(), kind);
                }
                map.insert("rope_scaling".to_owned(), Value::Object(rope));
            }
        }
        Ok(Self {
            file: file.to_owned(),
            map,
        })
    }

    /// An error about this config.
    pub(crate) fn wrong(&self, what: impl Into<String>) -> ModelError {
        ModelError::Config {
            file: self.file.clone(),
            what: what.into(),
        }
    }

    /// A field, if it is present and not null.
    ///
    /// # Errors
    /// If it is of another type.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ModelError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|e| self.wrong(format!("\"{key}\": {e}"))),
        }
    }

    /// A field, or the default of transformers if it is missing.
    ///
    /// # Errors
    /// As for [`Fields::get`].
    pub(crate) fn or<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T, ModelError> {
        Ok(self.get(key)?.unwrap_or(default))
    }

    /// A required field.
    ///
    /// # Errors
    /// If it is missing.
    pub(crate) fn need<T: DeserializeOwned>(&self, key: &str) -> Result<T, ModelError> {
        self.get(key)?
            .ok_or_else(|| self.wrong(format!("\"{key}\" is missing")))
    }

    /// A required size of at least 1.
    ///
    /// # Errors
    /// If it is missing or 0.
    pub(crate) fn size(&self, key: &str) -> Result<usize, ModelError> {
        self.positive(key, self.need(key)?)
    }

    /// A size of at least 1, or the default of transformers if it is missing.
    ///
    /// # Errors
    /// If it is 0.
    pub(crate) fn size_or(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        self.positive(key, self.or(key, default)?)
    }

    fn positive(&self, key: &str, n: usize) -> Result<usize, ModelError> {
        if n == 0 || n > u32::MAX as usize {
            Err(self.wrong(format!("\"{key}\" is {n}")))
        } else {
            Ok(n)
        }
    }

    /// The number of layers.
    ///
    /// # Errors
    /// If it is missing or implausible.
    pub(crate) fn layers(&self, key: &str) -> Result<usize, ModelError> {
        match self.size(key)? {
            n if n > MOST_LAYERS => Err(self.wrong(format!("\"{key}\" is {n}"))),
            n => Ok(n),
        }
    }

    /// The number of components per head.
    ///
    /// # Errors
    /// If it is missing or implausible.
    pub(crate) fn head(&self, key: &str) -> Result<usize, ModelError> {
        match self.size(key)? {
            n if n > MOST_OF_A_HEAD => Err(self.wrong(format!("\"{key}\" is {n}"))),
            n => Ok(n),
        }
    }

    /// The number of positions of the rotary tables.
    ///
    /// # Errors
    /// If it is missing or implausible.
    pub(crate) fn positions(&self, key: &str) -> Result<usize, ModelError> {
        match self.size(key)? {
            n if n > MOST_POSITIONS => Err(self.wrong(format!("\"{key}\" is {n}"))),
            n => Ok(n),
        }
    }

    /// Refuses every value of a field except one, which is also the value of a missing field.
    ///
    /// # Errors
    /// The error names the supported values and the reason.
    pub(crate) fn only<T: DeserializeOwned + PartialEq + Debug>(
        &self,
        key: &str,
        allowed: &[T],
        why: &str,
    ) -> Result<(), ModelError> {
        match self.get::<T>(key)? {
            Some(value) if !allowed.contains(&value) => Err(self.wrong(format!(
                "\"{key}\" is {value:?}, but byrote supports only {allowed:?}: {why}"
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses scaled rotary embeddings.
    ///
    /// # Errors
    /// If there is a scaling.
    pub(crate) fn no_rope_scaling(&self) -> Result<(), ModelError> {
        match self.map.get("rope_scaling") {
            None | Some(Value::Null) => Ok(()),
            Some(scaling) => Err(self.wrong(format!(
                "\"rope_scaling\" is {scaling}, which candle-transformers doesn't do here"
            ))),
        }
    }

    /// Sets a field if it is missing or null.
    pub(crate) fn default(&mut self, key: &str, value: impl Into<Value>) {
        let at = self.map.entry(key).or_insert(Value::Null);
        if at.is_null() {
            *at = value.into();
        }
    }

    /// All fields as a config of candle-transformers.
    ///
    /// # Errors
    /// If a field is missing or wrong.
    pub(crate) fn parsed<T: DeserializeOwned>(&self) -> Result<T, ModelError> {
        T::deserialize(Value::Object(self.map.clone())).map_err(|e| self.wrong(e.to_string()))
    }
}

/// Python writes `Infinity` into JSON (every config of Mamba 2 contains it). A number beyond the
/// range of floats replaces it.
pub(crate) fn finite(json: &[u8]) -> Cow<'_, [u8]> {
    const WORD: &[u8] = b"Infinity";
    if !json.windows(WORD.len()).any(|at| at == WORD) {
        return Cow::Borrowed(json);
    }
    let (mut out, mut quoted, mut i) = (Vec::with_capacity(json.len()), false, 0);
    while let Some(&byte) = json.get(i) {
        if !quoted && json[i..].starts_with(WORD) {
            out.extend_from_slice(b"1e308");
            i += WORD.len();
            continue;
        }
        if quoted && byte == b'\\' {
            out.push(byte);
            i += 1;
        } else if byte == b'"' {
            quoted = !quoted;
        }
        out.extend(json.get(i));
        i += 1;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinity_becomes_a_number_except_inside_strings() {
        let json = br#"{"a": [0.0, Infinity], "b\"Infinity": "Infinity", "c": -Infinity}"#;
        let read: Value = serde_json::from_slice(&finite(json)).unwrap();
        assert_eq!(read["a"][1], 1e308);
        assert_eq!(read["c"], -1e308);
        assert_eq!(read["b\"Infinity"], "Infinity");
        assert!(matches!(finite(b"{}"), Cow::Borrowed(_)));
    }

    #[test]
    fn implausible_fields_are_refused_by_name() {
        let json = br#"{"a": 0, "b": "x", "n": 99999999, "act": "relu", "rope_parameters": {"rope_type": "yarn", "rope_theta": 5.0}}"#;
        let fields = Fields::read(json, "m/config.json").unwrap();
        for (error, expected) in [
            (fields.size("a").unwrap_err(), "\"a\" is 0"),
            (fields.size("b").unwrap_err(), "\"b\": invalid type"),
            (fields.size("none").unwrap_err(), "\"none\" is missing"),
            (fields.layers("n").unwrap_err(), "99999999"),
            (
                fields.only("act", &["silu".to_owned()], "why").unwrap_err(),
                "why",
            ),
            (fields.no_rope_scaling().unwrap_err(), "yarn"),
        ] {
            let error = error.to_string();
            assert!(
                error.contains(expected) && error.contains("m/config.json"),
                "{error}"
            );
        }
        assert_eq!(fields.need::<f64>("rope_theta").unwrap(), 5.0);
    }
}
