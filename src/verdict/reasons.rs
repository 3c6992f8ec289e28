//! Verdicts in words and numbers.

use crate::items::ItemId;
use crate::metric::item::ItemEvidence;
use crate::metric::{probability, samples};
use crate::policy::Policy;
use crate::verdict::conformal::Comparison;
use crate::verdict::{Statistic, Validity, Verdict};
use crate::window::Form;

/// What the item's best window costs, such as `p_z = 0.83 under top_k40 (as given): 1 sample suffices at p = .5`.
pub(super) fn cost(policy: &Policy, evidence: &ItemEvidence) -> String {
    let Some((form, best)) = evidence.cheapest(&policy.schemes) else { return "p_z unknown".to_owned() };
    let scheme = &best.scheme;
    let log_p_z = best.best.log_p_z;
    let near = super::near_verbatim(policy, evidence).filter(|near| near.log_p >= policy.tau.ln());
    if let Some(near) = near.filter(|_| log_p_z < policy.tau.ln()) {
        let n = samples::in_words(near.log_p, 0.5);
        let verb = if n == "1 sample" { "suffices" } else { "suffice" };
        let (p, p_z) = (probability::in_digits(near.log_p), probability::in_digits(log_p_z));
        return format!(
            "p >= {p} under {} for a text within {} token edits of it, which the policy counts: {n} {verb} at p = .5 (to the \
             letter p_z = {p_z} under {scheme}, {})",
            near.scheme,
            near.distance,
            form_name(form)
        );
    }
    let start = format!("p_z = {} under {scheme} ({})", probability::in_digits(log_p_z), form_name(form));
    if log_p_z == f64::NEG_INFINITY {
        return match policy.schemes.len() {
            1 => format!("{start}: that way of sampling never yields it"),
            _ => format!("{start}: none of the policy's ways of sampling ever yields it"),
        };
    }
    let n = samples::in_words(log_p_z, 0.5);
    if super::within_budget(policy, evidence) {
        let verb = if n == "1 sample" { "suffices" } else { "suffice" };
        return format!("{start}: {n} {verb} at p = .5");
    }
    let budget = samples::in_words(policy.tau.ln(), 0.5);
    let tau = probability::in_digits(policy.tau.ln());
    format!("{start}: it takes {n} at p = .5, more than the budget of {budget} (tau = {tau})")
}

/// How the item stands among the controls.
pub(super) fn standing(policy: &Policy, validity: &Validity, items: u64) -> String {
    let n = validity.controls;
    let what = match validity.statistic {
        Statistic::MaxLogPZ => "likelier",
        Statistic::MeanLogProb => "likelier on average",
        Statistic::VerbatimRun => "recited further",
    };
    let who = match validity.controls_at_least {
        0 => format!("{what} than all {n} controls"),
        1 => format!("1 of {n} controls reaches as much"),
        reaching => format!("{reaching} of {n} controls reach as much"),
    };
    let factor = match validity.window_factor {
        1 => String::new(),
        factor => format!(", {factor} times as many windows as theirs counted in"),
    };
    let digits = |p: f64| probability::in_digits(p.ln());
    let (p, q) = (digits(validity.p_value), digits(policy.q));
    let not = if validity.significant { "" } else { "not " };
    let among = if items == 1 { "1 item".to_owned() } else { format!("{items} items") };
    format!("{who} (p = {p}{factor}; {not}significant among {among} at q = {q})")
}

pub(super) fn control(within: bool) -> String {
    if within {
        "a control: within the sample budget without having been seen".to_owned()
    } else {
        "a control: outside the sample budget, as it should be".to_owned()
    }
}

pub(super) fn no_controls() -> String {
    "no controls: add texts the model can't have seen (kind \"control\"), or nothing can be told from predictability"
        .to_owned()
}

pub(super) fn no_match(controls: u64) -> String {
    format!(
        "none of the {controls} controls matches its window layout: add controls with the same prefix and suffix lengths"
    )
}

pub(super) fn too_few_controls(comparison: &Comparison, needed: u64, windows: u64) -> String {
    let n = comparison.controls;
    let longer = match comparison.factor {
        1 => String::new(),
        factor => format!(", or controls as long as the item (its {windows} windows are {factor} times theirs)"),
    };
    let noun = if n == 1 { "control" } else { "controls" };
    format!("too few controls: {n} comparable {noun}, needs {needed}{longer}")
}

pub(super) fn unattainable(items: u64, needed: u64, comparison: &Comparison) -> String {
    format!("too few controls for {items} items: {} comparable controls, needs {needed}", comparison.controls)
}

/// The cost of an item whose validity can't be told.
pub(super) fn unknown_validity(cost: &str, within: bool) -> String {
    if within { format!("{cost}: within the sample budget, but its validity is unknown") } else { cost.to_owned() }
}

pub(super) fn positive_controls_missed(missed: &[&ItemId], verdicts: &[Verdict]) -> String {
    let one = |id: &&ItemId| match verdicts.iter().find(|verdict| verdict.item == **id) {
        Some(verdict) => format!("`{id}` came out {}", verdict.level),
        None => format!("`{id}` isn't among the items"),
    };
    let list: Vec<String> = missed.iter().map(one).collect();
    format!(
        "positive control not found ({}): the probe is broken, so nothing can be told from this run",
        list.join(", ")
    )
}

fn form_name(form: Form) -> &'static str {
    match form {
        Form::AsGiven => "as given",
        Form::Reflowed => "reflowed",
    }
}
