//! A window token by token, as it stands in `report.json`.

use super::mirror::{Mirror, mirrored};
use crate::float_serde;
use crate::metric::tokens::TokenEvidence;
use crate::report::Spelled;
use crate::window::WindowId;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

mirrored! {
    /// One entry a suffix token in each list, in order.
    TokensV1 = TokenEvidence {
        /// Natural log of the true token's probability, plain sampling at T = 1.
        logprob: Vec<Real32>,
        /// How many tokens are likelier than the true one; 0 = the model's first choice.
        rank: Vec<u32>,
        /// Log-probability of the true token less that of the best other one, in nats.
        margin: Vec<Real32>,
    }

    /// The tokens of the likeliest window in letters. What isn't UTF-8 by itself is spelled byte by byte: \xe2\x82.
    SpelledV1 = Spelled {
        window: WindowId,
        /// BOS and template included.
        prefix: Vec<String>,
        /// One entry a suffix token.
        suffix: Vec<String>,
    }
}

/// A number of single precision that may be infinite, in the fewest digits that tell it from its neighbours.
struct Real32(f32);

impl Mirror<f32> for Real32 {
    fn mirror(value: &f32) -> Self {
        Self(*value)
    }

    fn back(self) -> f32 {
        self.0
    }
}

impl Serialize for Real32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f32(self.0)
        } else {
            float_serde::serialize(&f64::from(self.0), serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Real32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        float_serde::deserialize(deserializer).map(|value| Self(value as f32))
    }
}

impl JsonSchema for Real32 {
    fn schema_name() -> Cow<'static, str> {
        "Real32".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        float_serde::schema(generator)
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
            let text = serde_json::to_string(&Real32(value)).unwrap();
            let back: Real32 = serde_json::from_str(&text).unwrap();
            assert!(
                back.0.to_bits() == value.to_bits() || (value.is_nan() && text == "\"nan\""),
                "{value} as {text}"
            );
        }
        assert_eq!(
            serde_json::to_string(&[Real32(-0.1), Real32(f32::NEG_INFINITY)]).unwrap(),
            "[-0.1,\"-inf\"]"
        );
    }
}
