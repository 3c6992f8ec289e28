//! Numbers that may be infinite, in JSON, which has no infinity: `"-inf"`, `"inf"`, and `"nan"` for what is no number.
//! For fields: `#[serde(with = "Real")]`, with `#[schemars(with = "Option<Real>")]` where it isn't a single number.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

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

/// A number that may be infinite, as serde and schemars see a field of type `f64`, `f32`, or an option or list of either.
#[derive(Debug)]
pub struct Real;

impl Real {
    /// Writes a field.
    ///
    /// # Errors
    /// As the serializer's.
    pub fn serialize<T: Field, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        value.write(serializer)
    }

    /// Reads a field.
    ///
    /// # Errors
    /// When it holds neither a number nor one of the three words.
    pub fn deserialize<'de, T: Field, D: Deserializer<'de>>(reader: D) -> Result<T, D::Error> {
        T::read(reader)
    }
}

impl JsonSchema for Real {
    fn schema_name() -> Cow<'static, str> {
        "Real".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schema(generator)
    }
}

/// What a field of such numbers may be.
pub trait Field: Sized {
    /// Writes it.
    ///
    /// # Errors
    /// As the serializer's.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads it.
    ///
    /// # Errors
    /// When it holds neither a number nor one of the three words.
    fn read<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error>;
}

impl Field for f64 {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self, serializer)
    }

    fn read<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        deserialize(reader)
    }
}

/// In the fewest digits that tell it from its neighbours.
impl Field for f32 {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_finite() {
            serializer.serialize_f32(*self)
        } else {
            serialize(&f64::from(*self), serializer)
        }
    }

    fn read<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        deserialize(reader).map(|value| value as Self)
    }
}

impl<T: Field + Copy> Field for Vec<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().copied().map(Number))
    }

    fn read<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let numbers = Vec::<Number<T>>::deserialize(reader)?;
        Ok(numbers.into_iter().map(|number| number.0).collect())
    }
}

impl<T: Field> Field for Option<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(serializer),
            None => serializer.serialize_none(),
        }
    }

    fn read<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        Ok(Option::<Number<T>>::deserialize(reader)?.map(|number| number.0))
    }
}

/// One value within an option or a list.
struct Number<T>(T);

impl<T: Field> Serialize for Number<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

impl<'de, T: Field> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        T::read(reader).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_precision_comes_back_to_the_last_bit_and_the_rest_are_words() {
        let mut seed = 7_u32;
        let odd = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(seed)
        });
        for value in odd.take(10_000).chain([
            0.0,
            -0.0,
            f32::MIN_POSITIVE,
            f32::NEG_INFINITY,
            f32::NAN,
            -0.1,
        ]) {
            let text = serde_json::to_string(&Number(value)).unwrap();
            let back: Number<f32> = serde_json::from_str(&text).unwrap();
            assert!(
                back.0.to_bits() == value.to_bits() || (value.is_nan() && text == "\"nan\""),
                "{value} as {text}"
            );
        }
        assert_eq!(
            serde_json::to_string(&[Number(-0.1_f32), Number(f32::NEG_INFINITY)]).unwrap(),
            "[-0.1,\"-inf\"]"
        );
    }
}
