//! The JSON Schema of policy files, for completion and checks in editors:
//! `docs/schema/policy.v1.json`.

use super::{RawPolicy, SCHEMA};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// The JSON Schema of policy files, generated from the types that read them. It is slightly
/// stricter than TOML: where a file may contain a date, the schema expects the string that editors
/// turn it into.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(RawPolicy).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), Value::from(SCHEMA));
        // A field with a custom schema counts as required, though it may be omitted.
        object.insert("required".to_owned(), serde_json::json!(["schema"]));
    }
    for section in ["/$defs/FollowUp", "/$defs/Gate"] {
        if let Some(section) = schema.pointer_mut(section).and_then(Value::as_object_mut) {
            section.remove("required");
        }
    }
    schema
}

pub(super) fn version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": SCHEMA })
}

/// Strictly between 0 and 1.
pub(super) fn share(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 })
}

/// At least 0, below 1.
pub(super) fn floor(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number", "minimum": 0, "exclusiveMaximum": 1 })
}

/// From 0 to 1.
pub(super) fn unit(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
}

pub(super) fn positive(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number", "minimum": 0 })
}

pub(super) fn schemes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "minItems": 1, "items": { "type": "string" } })
}

pub(super) fn findings(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "enum": ["extractable", "memorized", "predictable"] } })
}

pub(super) fn day(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Policy, READY};
    use std::path::Path;

    /// A policy file as an editor sees it, with dates as strings.
    fn as_json(text: &str) -> Value {
        let text = text.replace("= 2027-12-31", "= \"2027-12-31\"");
        serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
    }

    #[test]
    fn the_committed_schema_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema/policy.v1.json");
        let current = format!("{:#}\n", schema());
        if std::env::var_os("BYROTE_BLESS").is_some_and(|bless| bless == "1") {
            std::fs::write(&path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap();
        assert!(
            committed == current,
            "docs/schema/policy.v1.json is out of date: run this test with BYROTE_BLESS=1"
        );
    }

    #[test]
    fn built_in_policies_match_the_schema_and_invalid_ones_do_not() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        for (name, text) in READY {
            let errors: Vec<String> = validator
                .iter_errors(&as_json(text))
                .map(|e| e.to_string())
                .collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
        }
        let waived = format!(
            "schema = {SCHEMA:?}\n[[waivers]]\nitem = \"a\"\nreason = \"b\"\nexpires = 2027-12-31\n"
        );
        assert!(Policy::parse("p", &waived).is_ok() && validator.is_valid(&as_json(&waived)));
        for right in [
            "max_findings = 3",
            "max_rate = 0",
            "max_rate_upper = 0.02\nconfidence = 0.9",
            "new_only = true",
        ] {
            let gated = format!("schema = {SCHEMA:?}\n[gate]\n{right}");
            assert!(
                Policy::parse("p", &gated).is_ok() && validator.is_valid(&as_json(&gated)),
                "{right}"
            );
        }
        for wrong in [
            "tau = 0.1",
            "schema = \"byrote.policy/v2\"",
            "schema = \"byrote.policy/v1\"\ntau = 0",
            "schema = \"byrote.policy/v1\"\nqq = 0.1",
            "schema = \"byrote.policy/v1\"\ndeny = [\"clear\"]",
            "schema = \"byrote.policy/v1\"\nschemes = []",
            "schema = \"byrote.policy/v1\"\nstatistic = \"loss\"",
            "schema = \"byrote.policy/v1\"\n[follow_up]\nedits = 2",
            "schema = \"byrote.policy/v1\"\n[follow_up]\nedit = 0.2",
            "schema = \"byrote.policy/v1\"\n[gate]\nmax_rate = 1",
            "schema = \"byrote.policy/v1\"\n[gate]\nmax_rates = 0.1",
            "schema = \"byrote.policy/v1\"\n[[waivers]]\nitem = \"a\"\nexpires = \"2027-12-31\"",
        ] {
            assert!(
                Policy::parse("p", wrong).is_err() && !validator.is_valid(&as_json(wrong)),
                "{wrong}"
            );
        }
    }
}
