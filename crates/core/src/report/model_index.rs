//! The run's rates as `model-index` metadata: YAML for the front matter of a model card on the Hugging Face hub, as
//! `huggingface_hub`'s `ModelCardData` reads and writes it. Never holds text, revealed or not.

use super::{Rate, Report, escape, words};
use crate::items::Kind;
use crate::policy::Level;
use std::fmt::Write as _;

/// YAML in UTF-8. Pure: the same report gives the same text.
pub fn render(report: &Report) -> String {
    let mut out = String::from(
        "# For the front matter of a model card (README.md), between its two lines of ---.\n",
    );
    let _ = writeln!(
        out,
        "# Memorization of probed texts, as byrote measured it: {}.",
        words::headline(report).word
    );
    out.push_str(
        "# Rates are over texts, with Clopper-Pearson intervals; undecided texts count in `of`, never as found.\n",
    );
    let _ = writeln!(
        out,
        "model-index:\n  - name: {}",
        escape::yaml(name(&report.model.reference))
    );
    let results: Vec<String> = words::KINDS
        .into_iter()
        .filter_map(|kind| result(report, kind))
        .collect();
    // The hub's reader wants a list, be it empty.
    out.push_str(if results.is_empty() {
        "    results: []\n"
    } else {
        "    results:\n"
    });
    out.extend(results);
    out
}

/// A result a kind of text: the hub tells results apart by task and data set.
fn result(report: &Report, kind: Kind) -> Option<String> {
    let rates: Vec<&Rate> = report
        .summary
        .rates
        .iter()
        .filter(|rate| rate.kind == kind && rate.of > 0)
        .collect();
    let of = rates.first()?.of;
    let mut out = String::new();
    let window = &report.settings.window;
    let set = match kind {
        Kind::OptOut => "byrote-opt-outs",
        Kind::Canary => "byrote-canaries",
        Kind::Control => "byrote-controls",
    };
    out.push_str(
        "      - task:\n          type: text-generation\n          name: Verbatim memorization\n",
    );
    let _ = writeln!(
        out,
        "        dataset:\n          type: {set}\n          name: {}",
        escape::yaml(words::kinds(kind))
    );
    let _ = writeln!(
        out,
        "          args:\n            texts: {of}\n            plan_sha256: {}",
        report.plan_digest
    );
    let _ = writeln!(
        out,
        "            prefix_tokens: {}\n            suffix_tokens: {}",
        window.prefix, window.suffix
    );
    let model = &report.model;
    let _ = writeln!(
        out,
        "            model_sha256: {}\n            policy_sha256: {}",
        model.digest, report.policy.digest
    );
    out.push_str("        metrics:\n");
    for rate in rates {
        let value = rate.hits as f64 / rate.of as f64;
        metric(
            &mut out,
            &rate.name,
            value,
            &[
                ("hits", rate.hits as f64),
                ("of", rate.of as f64),
                ("lower", rate.lower),
                ("upper", rate.upper),
            ],
        );
    }
    let inconclusive =
        |count: &&super::LevelCount| (count.kind, count.level) == (kind, Level::Inconclusive);
    let undecided = report
        .summary
        .counts
        .iter()
        .find(inconclusive)
        .map_or(0, |count| count.items);
    metric(
        &mut out,
        "inconclusive",
        undecided as f64 / of as f64,
        &[("hits", undecided as f64), ("of", of as f64)],
    );
    for mean in report.summary.means.iter().filter(|mean| mean.kind == kind) {
        let args = [
            ("texts", mean.items as f64),
            ("lower", mean.lower),
            ("upper", mean.upper),
        ];
        metric(&mut out, &format!("mean {}", mean.name), mean.mean, &args);
    }
    Some(out)
}

fn metric(out: &mut String, name: &str, value: f64, args: &[(&str, f64)]) {
    // Types are identifiers on the hub: `extractable_or_memorized`.
    let kind: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    let _ = writeln!(
        out,
        "          - type: byrote_{kind}\n            name: {}",
        escape::yaml(name)
    );
    let _ = writeln!(
        out,
        "            value: {}\n            args:",
        number(value)
    );
    for (name, value) in args {
        let _ = writeln!(out, "              {name}: {}", number(*value));
    }
}

/// A number of YAML; what isn't finite has words of its own there.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => ".inf".to_owned(),
        f64::NEG_INFINITY => "-.inf".to_owned(),
        nan if nan.is_nan() => ".nan".to_owned(),
        finite => finite.to_string(),
    }
}

/// The last part of a reference: a repository without its owner, a folder without those above it.
fn name(reference: &str) -> &str {
    let reference = reference.trim_end_matches('/');
    reference.rsplit('/').next().unwrap_or(reference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn rates_are_metrics_of_a_result_a_kind() {
        let report = fixture::report();
        let text = render(&report);
        let rate = &report.summary.rates[0];
        for part in [
            "model-index:\n  - name: \"gemma-3-270m\"\n    results:\n      - task:\n          type: text-generation\n",
            "          type: byrote-opt-outs\n          name: \"Opted-out texts\"\n",
            "          - type: byrote_extractable_or_memorized\n            name: \"extractable or memorized\"\n",
            &format!("            value: {}\n", rate.hits as f64 / rate.of as f64),
            &format!(
                "              hits: {}\n              of: {}\n",
                rate.hits, rate.of
            ),
            "          type: byrote-canaries\n",
            "          - type: byrote_inconclusive\n",
        ] {
            assert!(text.contains(part), "{part:?} isn't in\n{text}");
        }
        fixture::assert_inert_and_redacted(&text);
    }

    #[test]
    fn a_run_that_measured_nothing_has_no_results() {
        assert!(render(&fixture::empty()).ends_with("    results: []\n"));
    }
}
