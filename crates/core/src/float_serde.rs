//! Numbers that may be infinite, in JSON, which has no infinity: `"-inf"`, `"inf"`, and `"nan"` for what is no number.
//! For fields: `#[serde(with = "crate::float_serde")]`.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serializer};

/// Writes a number.
///
/// # Errors
/// As the serializer's.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match *value {
        f64::INFINITY => serializer.serialize_str("inf"),
        f64::NEG_INFINITY => serializer.serialize_str("-inf"),
        nan if nan.is_nan() => serializer.serialize_str("nan"),
        finite => serializer.serialize_f64(finite),
    }
}

/// Reads a number.
///
/// # Errors
/// When it is neither a number nor one of the three words.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Word(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Word(word) => match word.as_str() {
            "inf" => Ok(f64::INFINITY),
            "-inf" => Ok(f64::NEG_INFINITY),
            "nan" => Ok(f64::NAN),
            _ => Err(serde::de::Error::custom(format!(
                "{word:?} isn't a number, \"inf\", \"-inf\" or \"nan\""
            ))),
        },
    }
}

/// The JSON Schema of such a number.
pub fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "A number; infinities and what is no number as words, since JSON has none.",
        "anyOf": [{ "type": "number" }, { "enum": ["-inf", "inf", "nan"] }]
    })
}
