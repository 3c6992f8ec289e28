//! What an item's evidence is beyond its windows' scores: against controls, cost by scheme, near-verbatim, other prefixes
//! and models, and what is supporting only.

use super::{aligned, fact, marked};
use crate::metric::left::LeftWindows;
use crate::metric::membership::Membership;
use crate::metric::window::WindowEvidence;
use crate::metric::{probability, samples};
use crate::report::words::evidence as says;
use crate::report::words::run::number;
use crate::report::{Report, ReportItem, escape, words};
use minijinja::{Value, context};

/// The comparison with controls, with the tail marked as model-based.
pub(super) fn validity(item: &ReportItem) -> Vec<Value> {
    let Some(validity) = &item.verdict.validity else {
        return Vec::new();
    };
    let mut facts = vec![fact("Against controls", says::comparison(validity))];
    if let Some(tail) = &validity.tail {
        facts.push(marked(
            "Beyond the controls",
            says::tail(tail),
            "model-based",
        ));
    }
    if let Some(exposure) = &validity.exposure {
        facts.push(fact(
            "Exposure",
            says::exposure(exposure.bits, exposure.lower, exposure.upper),
        ));
    }
    facts
}

/// One row per scheme: the cost of the best window.
pub(super) fn costs(report: &Report, item: &ReportItem) -> Vec<Value> {
    let policy = &report.policy;
    let row = |scheme: &crate::backend::Scheme| {
        let (form, found) = item.evidence.best(&scheme.id)?;
        let cost = &found.best;
        Some(context! {
            scheme => scheme.id,
            budget => policy.schemes.iter().any(|asked| asked.id == scheme.id),
            form => words::layout(form, &found.template),
            p_z => probability::in_digits(cost.log_p_z),
            at_most => item.evidence.at_most(std::slice::from_ref(scheme)).map(|(_, bound)| words::at_most(bound)),
            ln_p_z => number(cost.log_p_z),
            bits => number(cost.bits),
            samples_p50 => of_samples(cost.log_p_z, 0.5),
            samples_p90 => of_samples(cost.log_p_z, 0.9),
            median => found.median_log_p_z.map_or_else(|| "–".to_owned(), number),
        })
    };
    report
        .model
        .backend
        .schemes
        .iter()
        .filter_map(row)
        .collect()
}

/// Samples without their unit, which the column's head has.
fn of_samples(log_p_z: f64, p: f64) -> String {
    match samples::in_words(log_p_z, p).as_str() {
        "no number of samples" => "never".to_owned(),
        n => n
            .trim_end_matches(" samples")
            .trim_end_matches(" sample")
            .to_owned(),
    }
}

/// A summary of the item's follow-up results.
pub(super) fn follow_up(item: &ReportItem) -> Vec<Value> {
    let mut facts = Vec::new();
    let mut tell =
        |name: &str, says: Option<String>| facts.extend(says.map(|says| fact(name, says)));
    if let Some(found) = &item.evidence.follow_up {
        let windows = item.evidence.windows();
        tell("Continuations", says::continued(found, windows));
        tell("Near-verbatim recall", says::nv_recall(found, windows));
        // The best window's own p_z is with that window below.
        tell(
            "Near-verbatim bound",
            found
                .near_probability
                .as_ref()
                .map(|near| says::near_probability(near, None)),
        );
        tell(
            "True prefix",
            found.foreign_prefix.as_ref().map(says::foreign_prefix),
        );
        tell(
            "Reference model",
            found.reference.as_ref().map(says::reference),
        );
    }
    tell("Rounding", says::item_numerics(&item.evidence.numerics));
    facts
}

/// Requested follow-ups that failed.
pub(super) fn errors(item: &ReportItem) -> Vec<&String> {
    item.evidence
        .follow_up
        .iter()
        .flat_map(|found| &found.errors)
        .collect()
}

/// One row per continued window.
pub(super) fn continuations(report: &Report, item: &ReportItem) -> Vec<Value> {
    let row = |window: &WindowEvidence| {
        let found = window.follow_up.as_ref()?.continuation.as_ref()?;
        let near = &found.near;
        let text = found.text.as_ref().filter(|_| report.settings.reveal);
        Some(context! {
            place => place(window),
            given => found.drafted,
            run => format!("{} of {}", found.verbatim_run, window.placement.suffix_len),
            same => words::share(found.memorization_score),
            edits => near.edit_distance,
            similarity => format!("{:.2}", near.edit_similarity),
            bleu => format!("{:.2}", near.bleu),
            rouge_l => format!("{:.2}", near.rouge_l),
            lcs => format!("{}, {}", words::count(u64::from(near.lcs_chars), "character"), words::count(u64::from(near.lcs_words), "word")),
            near_verbatim => near.near_verbatim,
            agreement => says::agreement(found),
            text => text.map(|text| Value::from_safe_string(escape::html_text(text))),
            pairs => text.and_then(|text| aligned::pairs(slice(item, window, window.placement.suffix_byte, window.placement.end_byte)?, text)).map(Value::from_safe_string),
            before => text.and_then(|_| slice(item, window, window.placement.start_byte, window.placement.suffix_byte)).map(|text| Value::from_safe_string(escape::html_text(text))),
        })
    };
    item.windows.iter().filter_map(row).collect()
}

/// A piece of the item's text in the window's layout. `None` where the ends fall inside a character or beyond the text.
fn slice<'a>(item: &'a ReportItem, window: &WindowEvidence, from: u64, to: u64) -> Option<&'a str> {
    let revealed = item
        .revealed
        .as_ref()?
        .texts
        .iter()
        .find(|revealed| revealed.form == window.placement.form)?;
    revealed
        .text
        .get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
}

/// Other follow-up results, one list per window.
pub(super) fn further(item: &ReportItem) -> Vec<Value> {
    let entry = |window: &WindowEvidence| {
        let lines = says::further(window, window.follow_up.as_ref()?);
        (!lines.is_empty()).then(|| context! { place => place(window), lines })
    };
    item.windows.iter().filter_map(entry).collect()
}

/// Scores of the membership literature; never part of a verdict.
pub(super) fn supporting(scores: &Membership) -> Vec<Value> {
    vec![
        fact("Loss", format!("{} nats a token", number(scores.loss))),
        fact(
            "zlib ratio",
            format!(
                "{} (the suffix's bits under the model by its bits under zlib)",
                number(scores.zlib_ratio)
            ),
        ),
        fact(
            "Min-K%",
            format!(
                "{} nats a token, over the 20% unlikeliest",
                number(scores.min_k)
            ),
        ),
        fact(
            "Min-K%++",
            format!(
                "{} standard deviations, over the 20% lowest",
                number(scores.min_k_plus_plus)
            ),
        ),
    ]
}

/// Windows of a layout that weren't scored to their end, with their bounds.
pub(super) fn left(left: &LeftWindows) -> Option<String> {
    let parts = says::left(left);
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A window by the characters of its suffix.
pub(super) fn place(window: &WindowEvidence) -> String {
    format!(
        "{}–{}",
        samples::grouped(window.placement.suffix_char),
        samples::grouped(window.placement.end_char)
    )
}
