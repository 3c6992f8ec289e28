//! One item of the HTML report: its row, and what unfolds below it.

use super::{chart, code, evidence, fact, heat, tokens};
use crate::items::Kind;
use crate::metric::item::{FormEvidence, Heat, Span};
use crate::metric::window::WindowEvidence;
use crate::metric::{probability, samples};
use crate::report::order::{self, Figures};
use crate::report::{Report, ReportItem, Revealed, RevealedText, command, words};
use minijinja::{Value, context};

/// Windows without scores that are listed for one item.
const LISTED: usize = 10;
/// Schemes that have a column in the table of windows; the others are in the table of costs.
const COLUMNS: usize = 4;

/// Everything the template shows of an item; `number` tells it from the others of the page.
pub(super) fn row(report: &Report, item: &ReportItem, number: usize) -> Value {
    let figures = Figures::of(&report.policy, item);
    let action = report
        .decision
        .iter()
        .flat_map(|decision| &decision.findings)
        .find(|finding| finding.item == item.id);
    let unscored: Vec<Value> = item
        .evidence
        .forms
        .iter()
        .flat_map(|form| &form.unscored)
        .take(LISTED)
        .map(|window| context! { window => window.window, reason => window.reason })
        .collect();
    let schemes = columns(report);
    let values = item.evidence.worst().and_then(|form| form.values.as_ref());
    context! {
        id => item.id,
        number,
        kind => words::kinds(item.kind),
        keys => keys(report, item),
        waiver => waiver(report, item),
        tokens => tokens::map(report, item, number),
        command => command::inspect(item, item.windows.first().map(|window| &window.window)),
        inspected => item.kind != Kind::Control || !item.windows.is_empty(),
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
        why => item.verdict.reasons.first().map(|reason| &reason.message),
        more_reasons => item.verdict.reasons.iter().skip(1).map(|reason| &reason.message).collect::<Vec<_>>(),
        validity => evidence::validity(item),
        costs => evidence::costs(report, item),
        follow_up => evidence::follow_up(item),
        errors => evidence::errors(item),
        continuations => evidence::continuations(report, item),
        further => evidence::further(item),
        supporting => values.and_then(|values| values.membership).map(|own| evidence::supporting(&own)).unwrap_or_default(),
        strength => values.and_then(|values| values.extraction_strength).map(|strength| format!("{strength:.2}")),
        facts => facts(report, item),
        forms => item.evidence.forms.iter().map(|form| layout(item, form)).collect::<Vec<_>>(),
        windows => item.windows.iter().map(|w| window(w, &schemes)).collect::<Vec<_>>(),
        schemes,
        unscored,
        revealed => item.revealed.as_ref().filter(|_| report.settings.reveal).map(|text| revealed(item, text)),
    }
}

/// What the columns are sorted by, in their order: numbers, the item's id by itself, and nothing where there is none. Greater is
/// graver but for the p-value.
fn keys(report: &Report, item: &ReportItem) -> String {
    let values = item.evidence.worst().and_then(|form| form.values.as_ref());
    let best = order::best_log_p_z(&report.policy, item);
    let p = item.verdict.validity.map(|validity| validity.effective_p());
    let numbers = [
        Some(f64::from(order::gravity(item.verdict.level))),
        best,
        p,
        values
            .and_then(|values| values.max_verbatim_run)
            .map(f64::from),
        values.and_then(|values| values.mean_em),
        order::extraction(item).map(|extraction| extraction.coverage),
    ];
    let key = |number: Option<f64>| match number {
        Some(number) if number.is_finite() => format!("{number:.6e}"),
        Some(f64::NEG_INFINITY) => "-Infinity".to_owned(),
        _ => String::new(),
    };
    numbers.map(key).join("|")
}

/// The waiver that accepts a finding, or did.
fn waiver(report: &Report, item: &ReportItem) -> Option<String> {
    let waiver = report
        .policy
        .waivers
        .iter()
        .find(|waiver| waiver.item == item.id)?;
    let by = waiver
        .approver
        .as_ref()
        .map(|approver| format!(", approved by {approver}"))
        .unwrap_or_default();
    Some(format!("{} (until {}{by})", waiver.reason, waiver.expires))
}

/// The schemes of the table of windows: all of them if there is room, else those of the policy and `full`. Greedy decoding
/// has a column anyway.
fn columns(report: &Report) -> Vec<&str> {
    let all = report
        .model
        .backend
        .schemes
        .iter()
        .map(|scheme| scheme.id.as_str())
        .filter(|id| *id != "greedy");
    let mut columns: Vec<&str> = all.collect();
    if columns.len() > COLUMNS {
        columns.retain(|id| {
            *id == "full" || report.policy.schemes.iter().any(|scheme| scheme.id == *id)
        });
        columns.truncate(COLUMNS);
    }
    columns
}

fn facts(report: &Report, item: &ReportItem) -> Vec<Value> {
    let mut facts = vec![
        code("Read from", item.origin.to_string()),
        code("Salted SHA-256 of the text", item.salted_digest.as_str()),
    ];
    if let Some(templates) = words::templates::of_item(&report.policy, item) {
        facts.push(fact("Templates", words::sentence(&templates)));
    }
    if let Some(repetitions) = item.repetitions {
        facts.push(fact(
            "Copies in training",
            samples::grouped(u64::from(repetitions)),
        ));
    }
    if let Some(opt_out) = &item.opt_out {
        let fields = [
            ("Rights holder", &opt_out.holder),
            ("Opted out by", &opt_out.signal),
            ("Declared at", &opt_out.locator),
            ("Declared on", &opt_out.declared_at),
        ];
        facts.extend(
            fields
                .into_iter()
                .filter_map(|(name, value)| Some(fact(name, value.as_ref()?))),
        );
    }
    facts
}

/// One layout of the text as a bar with a description.
fn layout(item: &ReportItem, form: &FormEvidence) -> Value {
    let extraction = form
        .values
        .as_ref()
        .and_then(|values| values.extraction.as_ref());
    let spans: &[Span] = extraction.map_or(&[], |extraction| &extraction.spans);
    let windows: Vec<(u64, u64)> = item
        .windows
        .iter()
        .filter(|window| window.placement.form == form.form)
        .map(|window| (window.placement.suffix_char, window.placement.end_char))
        .collect();
    let label = match extraction {
        // Every window was left: none of them is within the budget.
        None if form.left.total() > 0 => format!(
            "none of {} can be extracted",
            words::count(form.chars, "character")
        ),
        None => "not measured".to_owned(),
        Some(extraction) if extraction.spans.is_empty() => {
            format!(
                "none of {} can be extracted",
                words::count(form.chars, "character")
            )
        }
        Some(extraction) => format!(
            "{} of {} can be extracted, the longest stretch has {}: {}",
            samples::grouped(extraction.covered_chars),
            words::count(form.chars, "character"),
            samples::grouped(extraction.longest_span_chars),
            stretches(&extraction.spans),
        ),
    };
    let heat: &[Heat] = extraction.map_or(&[], |extraction| &extraction.heat);
    context! {
        heat => heat::bar(form.chars, heat).map(Value::from_safe_string),
        hottest => heat::hottest(heat).map(|text| words::sentence(&text)),
        name => words::form(form.form),
        counts => item.evidence.worst_form == Some(form.form) && item.evidence.forms.len() > 1,
        size => format!("{}, {}", words::count(form.tokens, "token"), words::count(form.windows, "window")),
        scored => form.scored == form.windows,
        scored_windows => samples::grouped(form.scored),
        left => evidence::left(&form.left),
        bar => Value::from_safe_string(chart::spans(form.chars, spans, &windows, &label)),
        label => words::sentence(&label),
    }
}

/// The first spans as `120–480`, in characters.
fn stretches(spans: &[Span]) -> String {
    const LISTED: usize = 8;
    let list: Vec<String> = spans
        .iter()
        .take(LISTED)
        .map(|span| format!("{}–{}", span.start_char, span.end_char))
        .collect();
    let more = if spans.len() > LISTED { ", …" } else { "" };
    format!("characters {}{more}", list.join(", "))
}

fn window(window: &WindowEvidence, schemes: &[&str]) -> Value {
    let of_scheme = |scheme: &&str| {
        let found = window.schemes.iter().find(|value| value.scheme == *scheme);
        found.map_or_else(
            || "–".to_owned(),
            |value| probability::in_digits(value.log_p_z),
        )
    };
    context! {
        id => window.window,
        place => evidence::place(window),
        form => words::layout(window.placement.form, &window.placement.template),
        greedy => if window.greedy_exact { "yes" } else { "no" },
        run => format!("{} of {}", window.verbatim_run, window.placement.suffix_len),
        em => format!("{:.2}", window.em),
        p_z => schemes.iter().map(of_scheme).collect::<Vec<_>>(),
        margin => format!("{:.3}", window.min_margin),
        zlib => format!("{:.1}", window.text.zlib_bits_per_char),
        copied => words::share(window.text.copied_from_prefix),
        straddles => window.placement.straddles,
    }
}

fn revealed(item: &ReportItem, revealed: &Revealed) -> Value {
    let fields = [
        ("Title", &revealed.title),
        ("Author", &revealed.author),
        ("Source", &revealed.source_url),
        ("Licence", &revealed.license),
    ];
    let texts = revealed.texts.iter().map(|RevealedText { form, text }| {
        let evidence = item.evidence.forms.iter().find(|evidence| evidence.form == *form);
        let extraction = evidence.and_then(|form| form.values.as_ref()).and_then(|values| values.extraction.as_ref());
        let heat: &[Heat] = extraction.map_or(&[], |extraction| &extraction.heat);
        context! { form => words::form(*form), text => Value::from_safe_string(heat::shaded(text, heat)) }
    });
    context! {
        facts => fields.into_iter().filter_map(|(name, value)| Some(fact(name, value.as_ref()?))).collect::<Vec<_>>(),
        texts => texts.collect::<Vec<_>>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Scheme;
    use crate::report::fixture;

    #[test]
    fn many_schemes_leave_room_for_those_that_decide() {
        let mut report = fixture::report();
        assert_eq!(columns(&report), ["full", "top_k40", "t0.7_top_p0.9"]);
        report
            .model
            .backend
            .schemes
            .extend(["t0.5", "t0.8", "t0.9"].map(|id| Scheme::parse(id).unwrap()));
        assert_eq!(columns(&report), ["full", "top_k40"]);
    }
}
