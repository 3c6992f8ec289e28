//! `report.json`, version 1: the report itself as serde writes it.
//!
//! An item has a struct of its own in `json_v1/item.rs`; everything else derives its form. The JSON Schema is
//! `docs/schema/report.v1.json`; a test keeps it current. Fields may be added within version 1, so a reader must ignore those it
//! doesn't know.
//!
//! JSON has no infinity: where a number may be infinite it is written as `"-inf"` or `"inf"`, and a number that isn't one as
//! `"nan"`. `null` always means "not measured".

pub mod inspect;
mod item;

use crate::report::{Report, escape};
pub(super) use item::ItemV1;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The `schema` of these reports.
pub const SCHEMA: &str = "byrote.report/v1";

/// What one run of byrote found out. Natural logarithms throughout. Null means not measured.
#[derive(Serialize, JsonSchema)]
struct ReportV1<'a> {
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    #[serde(flatten)]
    report: &'a Report,
}

/// Why a file can't be read as a report.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("not a byrote report: {0}; give the report.json of a run")]
    Json(#[from] serde_json::Error),
    #[error(
        "its schema is {found:?}, this byrote reads {SCHEMA:?}; write the report again with `byrote report`"
    )]
    Schema { found: String },
}

/// The report as JSON, indented, with a line feed at the end.
pub fn render(report: &Report) -> Vec<u8> {
    let written = escape::json::pretty(&ReportV1 {
        schema: SCHEMA,
        report,
    });
    // Can't happen with string keys and checked numbers; if it does, the outcome is no report.
    written.unwrap_or_else(|error| {
        format!("{}\n", serde_json::json!({ "error": error.to_string() })).into()
    })
}

/// Reads a report back, to the last bit of every number.
///
/// # Errors
/// When it isn't JSON, or of another schema, or lacks a field.
pub fn parse(bytes: &[u8]) -> Result<Report, ParseError> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    let head: Head = serde_json::from_slice(bytes)?;
    if head.schema != SCHEMA {
        return Err(ParseError::Schema { found: head.schema });
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// The JSON Schema of these reports, made from the types that write them.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(ReportV1).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), Value::from(SCHEMA));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::item::templates::TemplateEvidence;
    use crate::report::tests::full_report;
    use crate::report::{Report, Summary};
    use crate::template::TemplateInfo;
    use crate::window::TemplateId;
    use std::path::Path;

    fn validated(bytes: &[u8]) -> Value {
        let json: Value = serde_json::from_slice(bytes).unwrap();
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&json)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
        json
    }

    #[test]
    fn the_committed_schema_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema/report.v1.json");
        let current = format!("{:#}\n", schema());
        if std::env::var_os("BYROTE_BLESS").is_some_and(|bless| bless == "1") {
            std::fs::write(&path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap();
        assert!(
            committed == current,
            "docs/schema/report.v1.json is out of date: run this test with BYROTE_BLESS=1"
        );
    }

    #[test]
    fn reports_validate_and_come_back_the_same() {
        for reveal in [false, true] {
            let report = full_report(reveal);
            let bytes = render(&report);
            validated(&bytes);
            assert_eq!(parse(&bytes).unwrap(), report);
        }
    }

    #[test]
    fn a_report_under_templates_validates_and_comes_back_the_same() {
        let mut report = full_report(false);
        let (none, chat) = (TemplateId::default(), TemplateId("chat".to_owned()));
        let digest = crate::digest::Digest::of_bytes(b"chat");
        report.settings.templates = [(&none, None), (&chat, Some(digest.clone()))]
            .map(|(id, chat_template)| TemplateInfo {
                id: id.clone(),
                about: "How".to_owned(),
                digest: digest.clone(),
                chat_template,
            })
            .to_vec();
        let item = &mut report.items[0];
        item.evidence.worst_template = Some(chat.clone());
        item.windows
            .iter_mut()
            .for_each(|window| window.placement.template = chat.clone());
        let form = &mut item.evidence.forms[0];
        form.values.as_mut().unwrap().schemes[0].template = chat.clone();
        let schemes = form.values.as_ref().unwrap().schemes.clone();
        let of = |template: TemplateId| TemplateEvidence {
            template,
            scored: 1,
            schemes: schemes.clone(),
            max_verbatim_run: Some(1),
            mean_em: Some(0.5),
            mean_logprob: Some(f64::NEG_INFINITY),
            greedily_extracted: 0,
            extracted: None,
            coverage: Some(0.5),
            window_log_p_z: Some(vec![f64::NEG_INFINITY]),
        };
        form.templates = vec![of(none), of(chat)];
        let bytes = render(&report);
        let json = validated(&bytes);
        assert_eq!(json["items"][0]["evidence"]["worst_template"], "chat");
        assert_eq!(parse(&bytes).unwrap(), report);
    }

    #[test]
    fn a_report_with_left_windows_validates_and_comes_back_the_same() {
        let mut report = full_report(false);
        report.summary.windows.left = 3;
        report.settings.exit =
            crate::follow::exit::exit(&crate::policy::Policy::open("quick").unwrap(), "f32");
        report.policy.floor = 1e-6;
        let form = &mut report.items[0].evidence.forms[0];
        form.left = crate::metric::left::LeftWindows {
            floor: 3,
            bounds: form
                .values
                .as_ref()
                .unwrap()
                .schemes
                .iter()
                .map(|own| crate::run::follow_up::SchemeLogP {
                    scheme: own.scheme.clone(),
                    log_p_z: f64::NEG_INFINITY,
                })
                .collect(),
            verbatim_run: Some(4),
            min_suffix_len: 2,
            max_suffix_len: 2,
            templates: 1,
            ..Default::default()
        };
        let values = form.values.as_mut().unwrap();
        (values.mean_em, values.mean_logprob, values.min_margin) = (None, None, None);
        (
            values.max_verbatim_run,
            values.extraction_strength,
            values.membership,
        ) = (None, None, None);
        (values.schemes[0].median_log_p_z, values.schemes[0].at_most) = (None, Some(-14.0));
        let bytes = render(&report);
        let json = validated(&bytes);
        let form = &json["items"][0]["evidence"]["forms"][0];
        assert_eq!(
            (
                &form["left"]["floor"],
                &form["left"]["bounds"][0]["log_p_z"]
            ),
            (&3.into(), &"-inf".into())
        );
        assert!(form["values"]["mean_em"].is_null() && form["values"]["membership"].is_null());
        assert_eq!(parse(&bytes).unwrap(), report);
        // A report from before there were such windows.
        let mut old: Value = serde_json::from_slice(&render(&full_report(false))).unwrap();
        assert!(
            old["items"][0]["evidence"]["forms"][0]
                .get("left")
                .is_none()
        );
        old["summary"]["windows"]
            .as_object_mut()
            .unwrap()
            .remove("left");
        old["policy"].as_object_mut().unwrap().remove("floor");
        assert_eq!(
            parse(old.to_string().as_bytes()).unwrap(),
            full_report(false)
        );
    }

    #[test]
    fn an_empty_report_validates() {
        let full = full_report(false);
        let empty = Report {
            items: vec![],
            summary: Summary::default(),
            decision: None,
            timings: None,
            ..full
        };
        validated(&render(&empty));
        assert_eq!(parse(&render(&empty)).unwrap(), empty);
    }

    #[test]
    fn infinite_and_undefined_numbers_are_words_and_never_null() {
        let mut report = full_report(false);
        let evidence = &mut report.items[0].evidence.forms[0]
            .values
            .as_mut()
            .unwrap()
            .schemes[1];
        evidence.best = crate::metric::samples::Cost::of(f64::NEG_INFINITY);
        evidence.median_log_p_z = Some(f64::NAN);
        let json = validated(&render(&report));
        let scheme = &json["items"][0]["evidence"]["forms"][0]["values"]["schemes"][1];
        assert_eq!(scheme["best"]["log_p_z"], "-inf");
        assert_eq!(scheme["best"]["samples_p50"], "inf");
        assert_eq!(scheme["median_log_p_z"], "nan");
    }

    #[test]
    fn the_schema_refuses_what_is_no_report() {
        let json: Value = serde_json::from_slice(&render(&full_report(false))).unwrap();
        let validator = jsonschema::validator_for(&schema()).unwrap();
        assert!(validator.is_valid(&json));
        let broken: [fn(&mut Value); 4] = [
            |json| json["schema"] = "byrote.report/v2".into(),
            |json| json["items"][0]["verdict"] = "fine".into(),
            |json| json["items"][0]["evidence"]["forms"][0]["values"]["mean_em"] = "much".into(),
            |json| {
                json.as_object_mut().unwrap().remove("summary");
            },
        ];
        for damage in broken {
            let mut json = json.clone();
            damage(&mut json);
            assert!(!validator.is_valid(&json));
            assert!(parse(json.to_string().as_bytes()).is_err());
        }
    }

    #[test]
    fn timings_stand_last() {
        let json = String::from_utf8(render(&full_report(false))).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            json.as_object()
                .unwrap()
                .keys()
                .next_back()
                .map(String::as_str),
            Some("timings")
        );
    }

    #[test]
    fn files_that_are_no_report_say_so() {
        let cases: [(&[u8], &str); 4] = [
            (b"{", "not a byrote report: EOF"),
            (b"{}", "not a byrote report: missing field `schema`"),
            (
                b"{\"schema\": \"byrote.report/v9\"}",
                "its schema is \"byrote.report/v9\", this byrote reads",
            ),
            (
                b"{\"schema\": \"byrote.report/v1\"}",
                "not a byrote report: missing field `tool`",
            ),
        ];
        for (bytes, expected) in cases {
            let message = parse(bytes).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
