//! `sweep.json`.

use super::Sweep;
use serde::Serialize;

/// The format that [`render`] writes.
pub const SCHEMA: &str = "byrote.sweep/v1";

#[derive(Serialize)]
struct Written<'a> {
    schema: &'static str,
    /// Program and version.
    tool: &'static str,
    #[serde(flatten)]
    sweep: &'a Sweep,
}

/// The sweep as JSON, indented, with a line end. Infinite numbers are the words `"inf"` and `"-inf"`.
pub fn render(sweep: &Sweep) -> Vec<u8> {
    let written = Written {
        schema: SCHEMA,
        tool: crate::run::TOOL,
        sweep,
    };
    // Can't fail with string keys and checked numbers; if it does, the outcome is no sweep.
    let mut json = serde_json::to_vec_pretty(&written).unwrap_or_else(|error| {
        serde_json::json!({ "error": error.to_string() })
            .to_string()
            .into()
    });
    json.push(b'\n');
    json
}
