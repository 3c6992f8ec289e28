//! One text's value of a statistic, from its evidence.

use crate::metric::item::{FormEvidence, FormValues, ItemEvidence};
use crate::policy::Policy;
use crate::policy::Statistic;
use crate::verdict::{Reason, ReasonCode, left, not_measured};

/// One text's value of a statistic, and the layout it was taken over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// For the mean rank 0: its value depends on what the text is compared with.
    pub(super) value: f64,
    /// Places scored or left, over all forms. A place under several templates is one: the worst of them is its value, and a
    /// control's places have the same templates.
    pub(super) windows: u64,
    /// Places scored in the largest form. Two layouts of one text are nearly the same windows again, so a control
    /// is credited with one of them only.
    pub(super) windows_of_a_form: u64,
    pub(super) forms: u64,
    /// Shortest and longest suffix, in tokens.
    pub(super) suffix_len: (u32, u32),
    /// For the mean rank, every window's `ln p_z` under `full` in the form that counts, a list a template; otherwise empty.
    pub(super) window_log_p_z: Vec<Vec<f64>>,
}

/// The item's value of the policy's statistic, or why it has none.
pub(super) fn measured(policy: &Policy, evidence: &ItemEvidence) -> Result<Sample, Reason> {
    if let Some(problem) = not_measured(evidence) {
        return Err(problem);
    }
    if let Some(problem) = left::undetermined(policy, evidence) {
        return Err(problem);
    }
    let all_left = evidence.scored() == 0 && evidence.left() > 0;
    let best = |scheme: &str| {
        // Below the floor and outside the budget, whatever it is.
        if all_left {
            return Ok(f64::NEG_INFINITY);
        }
        let every_form = evidence
            .values()
            .all(|(_, values)| values.schemes.iter().any(|value| value.scheme == scheme));
        let best = evidence
            .best(scheme)
            .filter(|_| every_form)
            .map(|(_, best)| best.best.log_p_z);
        best.ok_or_else(|| {
            let why = format!("not scored under the scheme {scheme:?}, which the policy asks for");
            Reason::new(ReasonCode::SchemeNotScored, why)
        })
    };
    // NaN, and thus nothing decided, where it isn't known of a form.
    let over_forms = |value: fn(&FormValues) -> Option<f64>| {
        let values = evidence
            .values()
            .map(|(_, values)| value(values).unwrap_or(f64::NAN));
        values.reduce(|a, b| if b.is_nan() || b > a { b } else { a })
    };
    let mut window_log_p_z = Vec::new();
    let value = match policy.statistic {
        Statistic::MaxLogPZ => policy.censored(best("full")?),
        Statistic::MeanLogProb => over_forms(|values| values.mean_logprob).unwrap_or(f64::NAN),
        Statistic::VerbatimRun => {
            let run = |values: &FormValues| values.max_verbatim_run.map(f64::from);
            let left = evidence
                .forms
                .iter()
                .filter_map(|form| form.left.verbatim_run)
                .max()
                .map(f64::from);
            over_forms(run).or(left).unwrap_or(f64::NAN)
        }
        Statistic::MeanRank => {
            window_log_p_z = every_window(evidence)?;
            0.0
        }
    };
    let log_p_zs = evidence
        .values()
        .flat_map(|(_, values)| values.schemes.iter().map(|value| value.best.log_p_z));
    for scheme in &policy.schemes {
        best(&scheme.id)?;
    }
    if value.is_nan()
        || log_p_zs
            .chain(window_log_p_z.iter().flatten().copied())
            .any(f64::is_nan)
    {
        return Err(Reason::new(
            ReasonCode::InvalidScores,
            "its scores hold a NaN",
        ));
    }
    let scored = evidence.forms.iter().map(FormEvidence::places);
    Ok(Sample {
        value,
        windows: evidence.places(),
        windows_of_a_form: scored.clone().max().unwrap_or_default(),
        forms: scored.filter(|&windows| windows > 0).count() as u64,
        suffix_len: (
            evidence
                .suffix_lens()
                .map(|(shortest, _)| shortest)
                .min()
                .unwrap_or_default(),
            evidence
                .suffix_lens()
                .map(|(_, longest)| longest)
                .max()
                .unwrap_or_default(),
        ),
        window_log_p_z,
    })
}

/// `ln p_z` of every window of the form that counts, a list a template.
fn every_window(evidence: &ItemEvidence) -> Result<Vec<Vec<f64>>, Reason> {
    let Some(form) = evidence.worst() else {
        return Err(Reason::new(ReasonCode::ValuesMissing, NOT_KEPT));
    };
    let own = form
        .values
        .iter()
        .map(|values| (form.scored, values.window_log_p_z.as_ref()));
    let each = form
        .templates
        .iter()
        .map(|template| (template.scored, template.window_log_p_z.as_ref()));
    let lists: Vec<_> = if form.templates.is_empty() {
        own.collect()
    } else {
        each.collect()
    };
    let missing = |message: String| Err(Reason::new(ReasonCode::ValuesMissing, message));
    let whole = |(scored, kept): (u64, Option<&Vec<f64>>)| match kept {
        Some(kept) if kept.len() as u64 == scored => Ok(kept.clone()),
        Some(kept) => missing(format!(
            "the mean rank needs all of its {scored} windows, {} were kept",
            kept.len()
        )),
        None => missing(NOT_KEPT.to_owned()),
    };
    lists.into_iter().map(whole).collect()
}

const NOT_KEPT: &str = "the mean rank needs the value of every window, which this report doesn't hold: probe again with \
    --gate and this policy";
