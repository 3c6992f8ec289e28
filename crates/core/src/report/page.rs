//! Shared by all pages of byrote: rendering of templates, the content security policy, and the pieces in `html/`.
//!
//! Every string that isn't marked safe goes through `escape`.

use super::escape;
use super::words::Tone;
use crate::digest::sha256_base64;
use minijinja::{Environment, Output, State, UndefinedBehavior, Value};

/// The style sheet of a report; other pages put their own rules after it.
pub(crate) const STYLE: &str = include_str!("html/style.css");

/// Pieces that a page's own templates include.
const PIECES: [(&str, &str); 3] = [
    ("head.html", include_str!("html/head.html")),
    ("icons.html", include_str!("html/icons.html")),
    ("macros.html", include_str!("html/macros.html")),
];

/// A template didn't render: a defect of byrote, never of the data.
#[derive(Debug, thiserror::Error)]
#[error("{page} can't be rendered; please report this as a defect of byrote")]
pub struct RenderError {
    page: &'static str,
    source: minijinja::Error,
}

/// The first of `templates`, which may include the others and [`PIECES`], with its values. Errors name the `page`.
pub(crate) fn render(
    page: &'static str,
    templates: &'static [(&'static str, &'static str)],
    values: Value,
) -> Result<String, RenderError> {
    rendered(templates, values).map_err(|source| RenderError { page, source })
}

fn rendered(
    templates: &'static [(&'static str, &'static str)],
    values: Value,
) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_formatter(print);
    environment.add_filter("prose", |text: String| {
        Value::from_safe_string(escape::html_prose(&text))
    });
    for (name, source) in templates.iter().chain(&PIECES) {
        environment.add_template(name, source)?;
    }
    let (first, _) = templates.first().unwrap_or(&PIECES[0]);
    environment.get_template(first)?.render(values)
}

/// Writes a value of the template: safe strings as they are, all else made inert.
fn print(out: &mut Output<'_>, _: &State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    let text = if value.is_safe() {
        text
    } else {
        escape::html(&text)
    };
    out.write_str(&text).map_err(minijinja::Error::from)
}

/// Nothing may be loaded, and nothing may run but the script, if there is one; it and the style sheet are named by their hashes.
pub(crate) fn content_security_policy(style: &str, script: Option<&str>) -> Value {
    let named = |kind: &str, source: &str| {
        format!("{kind}-src 'sha256-{}'; ", sha256_base64(source.as_bytes()))
    };
    let script = script
        .map(|script| named("script", script))
        .unwrap_or_default();
    let style = named("style", style);
    Value::from_safe_string(format!(
        "default-src 'none'; {script}{style}base-uri 'none'; form-action 'none'"
    ))
}

/// The class by which the style sheet colours a first sentence.
pub(crate) fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Bad => "bad",
        Tone::Unsure => "unsure",
        Tone::Good => "good",
    }
}

/// A round number, 1 at least, that divides an axis of `range` into at most `most` steps.
pub(crate) fn round_step(range: f64, most: f64) -> f64 {
    let least = (range / most).max(1.0);
    let magnitude = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|n| n * magnitude)
        .find(|step| *step >= least)
        .unwrap_or(10.0 * magnitude)
}
