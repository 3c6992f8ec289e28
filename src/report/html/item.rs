//! One item of the HTML report: its row, and what unfolds below it.

use super::{chart, code, fact};
use crate::metric::item::{FormEvidence, Span};
use crate::metric::window::WindowEvidence;
use crate::metric::{probability, samples};
use crate::report::order::Figures;
use crate::report::{Report, ReportItem, Revealed, escape, words};
use crate::verdict::{Statistic, Validity};
use minijinja::{Value, context};
use std::fmt::Write as _;

/// Windows without scores that are listed for one item.
const LISTED: usize = 10;

/// Everything the template shows of an item.
pub(super) fn row(report: &Report, item: &ReportItem) -> Value {
    let figures = Figures::of(&report.policy, item);
    let action = report.decision.iter().flat_map(|decision| &decision.findings).find(|finding| finding.item == item.id);
    let unscored: Vec<Value> = item
        .evidence
        .forms
        .iter()
        .flat_map(|form| &form.unscored)
        .take(LISTED)
        .map(|window| context! { window => window.window, reason => window.reason })
        .collect();
    let schemes: Vec<&str> = report.model.backend.schemes.iter().map(|scheme| scheme.id.as_str()).collect();
    context! {
        id => item.id,
        level => item.verdict.level.to_string(),
        action => action.map(|finding| format!("{:?}", finding.action).to_lowercase()),
        figures => context! {
            p_z => figures.p_z,
            samples => figures.samples,
            p_value => figures.p_value,
            run => figures.run,
            em => figures.em,
            coverage => figures.coverage,
        },
        why => item.verdict.reasons.first(),
        more_reasons => item.verdict.reasons.iter().skip(1).collect::<Vec<_>>(),
        facts => facts(item),
        forms => item.evidence.forms.iter().map(|form| layout(item, form)).collect::<Vec<_>>(),
        windows => item.windows.iter().map(|w| window(w, &schemes)).collect::<Vec<_>>(),
        schemes,
        unscored,
        revealed => item.revealed.as_ref().filter(|_| report.settings.reveal).map(|text| revealed(item, text)),
    }
}

fn facts(item: &ReportItem) -> Vec<Value> {
    let mut facts = vec![
        code("Read from", item.origin.to_string()),
        code("Salted SHA-256 of the text", item.salted_digest.as_str()),
    ];
    if let Some(repetitions) = item.repetitions {
        facts.push(fact("Copies in training", samples::grouped(u64::from(repetitions))));
    }
    if let Some(opt_out) = &item.opt_out {
        let fields = [
            ("Rights holder", &opt_out.holder),
            ("Opted out by", &opt_out.signal),
            ("Declared at", &opt_out.locator),
            ("Declared on", &opt_out.declared_at),
        ];
        facts.extend(fields.into_iter().filter_map(|(name, value)| Some(fact(name, value.as_ref()?))));
    }
    if let Some(validity) = &item.verdict.validity {
        facts.push(fact("Against controls", comparison(validity)));
    }
    facts
}

fn comparison(validity: &Validity) -> String {
    let statistic = match validity.statistic {
        Statistic::MaxLogPZ => "ln p_z of the best window under full",
        Statistic::MeanLogProb => "mean ln p a token",
        Statistic::VerbatimRun => "longest verbatim run",
        Statistic::Census => "mean rank of all windows by ln p_z under full, as a share",
    };
    let digits = |p: f64| probability::in_digits(p.ln());
    format!(
        "{statistic} {:.2}; {} of {} controls reach it; p = {}, at best {} with these controls; {}significant",
        validity.value,
        samples::grouped(validity.controls_at_least),
        samples::grouped(validity.controls),
        digits(validity.p_value),
        digits(validity.smallest_p),
        if validity.significant { "" } else { "not " }
    )
}

/// One layout of the text as a bar, with the same in words.
fn layout(item: &ReportItem, form: &FormEvidence) -> Value {
    let extraction = form.values.as_ref().and_then(|values| values.extraction.as_ref());
    let spans: &[Span] = extraction.map_or(&[], |extraction| &extraction.spans);
    let windows: Vec<(u64, u64)> = item
        .windows
        .iter()
        .filter(|window| window.form == form.form)
        .map(|window| (window.suffix_char, window.end_char))
        .collect();
    let label = match extraction {
        None => "not measured".to_owned(),
        Some(extraction) if extraction.spans.is_empty() => {
            format!("none of {} can be extracted", words::count(form.chars, "character"))
        }
        Some(extraction) => format!(
            "{} of {} can be extracted, the longest stretch has {}: {}",
            samples::grouped(extraction.covered_chars),
            words::count(form.chars, "character"),
            samples::grouped(extraction.longest_span_chars),
            stretches(&extraction.spans),
        ),
    };
    context! {
        name => words::form(form.form),
        counts => item.evidence.worst_form == Some(form.form) && item.evidence.forms.len() > 1,
        size => format!("{}, {}", words::count(form.tokens, "token"), words::count(form.windows, "window")),
        scored => form.scored == form.windows,
        scored_windows => samples::grouped(form.scored),
        bar => Value::from_safe_string(chart::spans(form.chars, spans, &windows, &label)),
        label => words::sentence(&label),
    }
}

/// The first spans as `120–480`, in characters.
fn stretches(spans: &[Span]) -> String {
    const LISTED: usize = 8;
    let list: Vec<String> =
        spans.iter().take(LISTED).map(|span| format!("{}–{}", span.start_char, span.end_char)).collect();
    let more = if spans.len() > LISTED { ", …" } else { "" };
    format!("characters {}{more}", list.join(", "))
}

fn window(window: &WindowEvidence, schemes: &[&str]) -> Value {
    let of_scheme = |scheme: &&str| {
        let found = window.schemes.iter().find(|value| value.scheme == *scheme);
        found.map_or_else(|| "–".to_owned(), |value| probability::in_digits(value.log_p_z))
    };
    context! {
        id => window.window,
        place => format!("{}–{}", samples::grouped(window.suffix_char), samples::grouped(window.end_char)),
        form => words::form(window.form),
        greedy => if window.greedy_exact { "yes" } else { "no" },
        run => format!("{} of {}", window.verbatim_run, window.suffix_len),
        em => format!("{:.2}", window.em),
        p_z => schemes.iter().map(of_scheme).collect::<Vec<_>>(),
        margin => format!("{:.3}", window.min_margin),
        zlib => format!("{:.1}", window.text.zlib_bits_per_char),
        copied => words::share(window.text.copied_from_prefix),
        straddles => window.straddles,
    }
}

fn revealed(item: &ReportItem, revealed: &Revealed) -> Value {
    let fields = [
        ("Title", &revealed.title),
        ("Author", &revealed.author),
        ("Source", &revealed.source_url),
        ("Licence", &revealed.license),
    ];
    let texts = revealed.texts.iter().map(|(form, text)| {
        let evidence = item.evidence.forms.iter().find(|evidence| evidence.form == *form);
        let extraction = evidence.and_then(|form| form.values.as_ref()).and_then(|values| values.extraction.as_ref());
        let spans: &[Span] = extraction.map_or(&[], |extraction| &extraction.spans);
        context! { form => words::form(*form), text => Value::from_safe_string(marked(text, spans)) }
    });
    context! {
        facts => fields.into_iter().filter_map(|(name, value)| Some(fact(name, value.as_ref()?))).collect::<Vec<_>>(),
        texts => texts.collect::<Vec<_>>(),
    }
}

/// The text with its extracted spans marked, escaped. Spans are in characters and don't overlap.
fn marked(text: &str, spans: &[Span]) -> String {
    let mut chars = text.chars();
    let mut at = 0;
    let mut out = String::new();
    for span in spans {
        let mut take = |to: u64| {
            let piece: String = chars.by_ref().take(to.saturating_sub(at) as usize).collect();
            at = at.max(to);
            escape::html_text(&piece)
        };
        let (before, inside) = (take(span.start_char), take(span.end_char));
        let _ = write!(out, "{before}<mark>{inside}</mark>");
    }
    out + &escape::html_text(chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_marked_by_characters_and_nothing_is_lost() {
        let span = |start, end| Span { start_byte: 0, end_byte: 0, start_char: start, end_char: end, windows: 1 };
        let cases: [(&[Span], &str); 4] = [
            (&[], "é&lt;b&gt;漢字"),
            (&[span(1, 4)], "é<mark>&lt;b&gt;</mark>漢字"),
            (&[span(0, 1), span(5, 6)], "<mark>é</mark>&lt;b&gt;漢<mark>字</mark>"),
            (&[span(4, 900)], "é&lt;b&gt;<mark>漢字</mark>"),
        ];
        for (spans, expected) in cases {
            assert_eq!(marked("é<b>漢字", spans), expected);
        }
    }
}
