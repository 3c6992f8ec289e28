//! One item as JSON, its structs those of `report.json`.

use crate::digest::Digest;
use crate::metric::window::WindowEvidence;
use crate::report::{Report, ReportItem};
use serde::Serialize;

/// The `schema` of these.
pub const SCHEMA: &str = "byrote.inspect/v1";

#[derive(Serialize)]
struct InspectV1<'a> {
    schema: &'static str,
    tool: &'a str,
    created_at: &'a str,
    /// The model as the user named it, and the root digest of its files.
    model: &'a str,
    model_digest: &'a Digest,
    /// As in `report.json`.
    item: &'a ReportItem,
    /// The window that was asked for, or the likeliest; with its tokens where they are at hand. Null where none was scored.
    window: Option<&'a WindowEvidence>,
    /// What isn't at hand, what wasn't scored.
    notes: &'a [String],
}

/// An item and one of its windows, as an indented object with a line feed at the end. `item` may list more windows than the report.
pub fn render(
    report: &Report,
    item: &ReportItem,
    window: Option<&WindowEvidence>,
    notes: &[String],
) -> Vec<u8> {
    let written = serde_json::to_vec_pretty(&InspectV1 {
        schema: SCHEMA,
        tool: &report.tool,
        created_at: &report.created_at,
        model: &report.model.reference,
        model_digest: &report.model.digest,
        item,
        window,
        notes,
    });
    // Can't happen with string keys and checked numbers; if it does, the outcome is no item.
    let mut bytes = written.unwrap_or_else(|error| {
        serde_json::json!({ "error": error.to_string() })
            .to_string()
            .into()
    });
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn an_item_stands_as_in_the_report_with_the_tokens_of_one_window() {
        let report = fixture::report();
        let item = &report.items[0];
        let json: serde_json::Value = serde_json::from_slice(&render(
            &report,
            item,
            item.windows.first(),
            &["note".to_owned()],
        ))
        .unwrap();
        assert_eq!(
            (&json["schema"], &json["item"]["id"]),
            (&SCHEMA.into(), &"novels/moby-1".into())
        );
        assert_eq!(
            json["window"]["tokens"]["logprob"].as_array().map(Vec::len),
            Some(50)
        );
        assert_eq!(json["notes"][0], "note");
    }
}
