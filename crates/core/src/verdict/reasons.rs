//! Reasons of verdicts, in words and numbers.

use crate::items::ItemId;
use crate::metric::item::{ItemEvidence, SchemeEvidence};
use crate::metric::{probability, samples};
use crate::policy::{Level, Statistic};
use crate::policy::{Policy, TAG};
use crate::verdict::conformal::{Comparison, controls_needed};
use crate::verdict::judge::Among;
use crate::verdict::matching::Pool;
use crate::verdict::power::{Power, count};
use crate::verdict::{Exposure, Reason, ReasonCode, Validity};
use crate::window::Form;

/// What the item's best window costs, such as `p_z = 0.83 under top_k40 (as given): 1 sample suffices at p = .5`.
pub(super) fn cost(policy: &Policy, evidence: &ItemEvidence) -> Reason {
    let outside = |message: String| Reason::new(ReasonCode::OutsideBudget, message);
    let bounded = evidence
        .at_most(&policy.schemes)
        .filter(|_| !super::within_budget(policy, evidence));
    if bounded.is_some_and(|(_, bound)| bound == f64::NEG_INFINITY) {
        return outside("p_z = 0: none of the policy's ways of sampling ever yields it".to_owned());
    }
    if let Some((scheme, bound)) = bounded {
        return outside(format!(
            "p_z is at most {} under {}: more than the budget of {} (tau = {})",
            probability::in_digits(bound),
            scheme.id,
            samples::in_words(policy.tau.ln(), 0.5),
            probability::in_digits(policy.tau.ln())
        ));
    }
    let Some((form, best)) = evidence.cheapest(&policy.schemes) else {
        return Reason::new(ReasonCode::CostUnknown, "p_z unknown");
    };
    let scheme = &best.scheme;
    let layout = layout(evidence, form, best);
    let log_p_z = best.best.log_p_z;
    let near = super::near_verbatim(policy, evidence).filter(|near| near.log_p >= policy.tau.ln());
    if let Some(near) = near.filter(|_| log_p_z < policy.tau.ln()) {
        let (p, p_z) = (
            probability::in_digits(near.log_p),
            probability::in_digits(log_p_z),
        );
        let message = format!(
            "p >= {p} under {} for a text within {} of it, which the policy counts: {} at p = .5 (to the letter p_z = {p_z} \
             under {scheme}, {layout})",
            near.scheme,
            edits(near.distance),
            suffices(near.log_p),
        );
        return Reason::new(ReasonCode::NearVerbatimWithinBudget, message);
    }
    let start = format!(
        "p_z = {} under {scheme} ({})",
        probability::in_digits(log_p_z),
        layout
    );
    if log_p_z == f64::NEG_INFINITY {
        return outside(match policy.schemes.len() {
            1 => format!("{start}: that way of sampling never yields it"),
            _ => format!("{start}: none of the policy's ways of sampling ever yields it"),
        });
    }
    if super::within_budget(policy, evidence) {
        let message = format!("{start}: {} at p = .5", suffices(log_p_z));
        return Reason::new(ReasonCode::WithinBudget, message);
    }
    let n = samples::in_words(log_p_z, 0.5);
    let budget = samples::in_words(policy.tau.ln(), 0.5);
    let tau = probability::in_digits(policy.tau.ln());
    outside(format!(
        "{start}: it takes {n} at p = .5, more than the budget of {budget} (tau = {tau})"
    ))
}

/// `1 sample suffices`, or `12 samples suffice`.
fn suffices(log_p: f64) -> String {
    match samples::in_words(log_p, 0.5) {
        n if n == "1 sample" => format!("{n} suffices"),
        n => format!("{n} suffice"),
    }
}

fn edits(distance: u32) -> String {
    if distance == 1 {
        "1 token edit".to_owned()
    } else {
        format!("{distance} token edits")
    }
}

pub(super) fn near_verbatim_not_measured() -> Reason {
    Reason::new(
        ReasonCode::NearVerbatimNotMeasured,
        "the policy counts near-verbatim samples, but this run bounded none (beam = 0): probe again under this policy",
    )
}

/// How the item stands among its controls.
pub(super) fn standing(policy: &Policy, validity: &Validity, among: &Among) -> Reason {
    let n = validity.controls;
    let what = match validity.statistic {
        Statistic::MaxLogPZ => "likelier",
        Statistic::MeanLogProb => "likelier on average",
        Statistic::VerbatimRun => "recited further",
        Statistic::MeanRank => "likelier over all its windows",
    };
    let controls = if validity.matched {
        "controls matched to it"
    } else {
        "controls"
    };
    let censored = policy.floor > 0.0
        && validity.statistic == Statistic::MaxLogPZ
        && validity.value == f64::NEG_INFINITY;
    let who = match validity.controls_at_least {
        _ if censored => format!(
            "below the floor of {}, where nothing is told apart from {n} {controls}",
            probability::in_digits(policy.ln_floor())
        ),
        0 => format!("{what} than all {n} {controls}"),
        1 => format!("1 of {n} {controls} reaches as much"),
        reaching => format!("{reaching} of {n} {controls} reach as much"),
    };
    let factor = match (validity.window_factor, validity.statistic) {
        (1, _) => String::new(),
        (factor, Statistic::MeanLogProb | Statistic::MeanRank) => {
            format!(", its {factor} layouts counted in")
        }
        (factor, _) => format!(", {factor} times as many windows as theirs counted in"),
    };
    let digits = |p: f64| probability::in_digits(p.ln());
    let p = match validity.tail {
        Some(tail) => format!(
            "p = {} by a fitted tail, model-based; conformal p = {}",
            digits(tail.p_value),
            digits(validity.p_value)
        ),
        None => format!("p = {}", digits(validity.p_value)),
    };
    let not = if validity.significant { "" } else { "not " };
    let within = if among.alone {
        "as a positive control".to_owned()
    } else {
        format!("among {}", family(among))
    };
    let message = format!(
        "{who} ({p}{factor}; {not}significant {within} at q = {})",
        digits(policy.q)
    );
    let code = if validity.significant {
        ReasonCode::BeyondControls
    } else {
        ReasonCode::NotBeyondControls
    };
    Reason::new(code, message)
}

/// `1 item`, or `40 opted-out texts`.
fn family(among: &Among) -> String {
    if among.items == 1 {
        "1 item".to_owned()
    } else {
        count(among.kind, among.items)
    }
}

pub(super) fn exposure(exposure: &Exposure) -> Reason {
    let upper = if exposure.upper.is_finite() {
        format!("to {:.1}", exposure.upper)
    } else {
        "with no upper end".to_owned()
    };
    let message = format!(
        "exposure {:.1} bits: stands out from the controls as 1 in 2^{:.1} (95% interval from {:.1} {upper})",
        exposure.bits, exposure.bits, exposure.lower
    );
    Reason::new(ReasonCode::Exposure, message)
}

/// What else is known of the item. It supports a verdict and decides none.
pub(super) fn supporting(evidence: &ItemEvidence) -> Vec<Reason> {
    let Some(found) = &evidence.follow_up else {
        return Vec::new();
    };
    let mut said = Vec::new();
    let mut say = |code, message| said.push(Reason { code, message });
    if found.continued > 0 {
        let similarity = found.best_similarity.map_or_else(String::new, |best| {
            format!("; best edit similarity {best:.2}")
        });
        let windows = if found.continued == 1 {
            "window that was"
        } else {
            "windows that were"
        };
        say(
            ReasonCode::Continuations,
            format!(
                "supporting: {} of {} {windows} continued came out near-verbatim{similarity}",
                found.near_verbatim, found.continued
            ),
        );
    }
    if let Some(near) = &found.near_probability {
        say(
            ReasonCode::NearVerbatimBound,
            format!(
                "supporting: a sample within {} of a window has probability of at least {} under {} (beam search, a lower \
             bound)",
                edits(near.distance),
                probability::in_digits(near.log_p),
                near.scheme
            ),
        );
    }
    if let Some(foreign) = &found.foreign_prefix {
        let what = if foreign.delta >= 0.0 {
            "adds"
        } else {
            "takes away"
        };
        say(
            ReasonCode::ForeignPrefix,
            format!(
                "supporting: the true prefix {what} {:.1} nats over the mean of {} foreign ones",
                foreign.delta.abs(),
                foreign.prefixes
            ),
        );
    }
    if let Some(reference) = &found.reference {
        let what = if reference.ratio < 1.0 {
            "less"
        } else {
            "no less"
        };
        say(
            ReasonCode::ReferenceModel,
            format!(
                "supporting: {what} surprising than to the reference checkpoint (ln p {:.2} times as large)",
                reference.ratio
            ),
        );
    }
    said
}

/// How many of its windows were left before their end, and why that decides nothing.
pub(super) fn left(policy: &Policy, evidence: &ItemEvidence) -> Option<Reason> {
    let left = evidence.left() - evidence.unseen();
    (left > 0).then(|| {
        let message = format!(
            "{} of {} windows were left before their end: whatever follows there, it is below the floor of {} and outside \
             the budget",
            samples::grouped(left),
            samples::grouped(evidence.windows()),
            probability::in_digits(policy.ln_floor())
        );
        Reason::new(ReasonCode::WindowsBelowFloor, message)
    })
}

pub(super) fn control(within: bool) -> Reason {
    if within {
        Reason::new(
            ReasonCode::ControlWithinBudget,
            "a control: within the sample budget without having been seen",
        )
    } else {
        Reason::new(
            ReasonCode::ControlOutsideBudget,
            "a control: outside the sample budget, as it should be",
        )
    }
}

/// Why an item that was measured was compared with nothing.
pub(super) fn no_comparison(pool: &Pool) -> Reason {
    let n = pool.controls.len();
    let matched = if pool.matched { " matched to it" } else { "" };
    match n {
        0 => Reason::new(
            ReasonCode::NoControls,
            "no controls: add texts the model can't have seen (kind \"control\"), or nothing can be told from \
             predictability",
        ),
        _ => Reason::new(
            ReasonCode::NoComparableControls,
            format!(
                "none of the {n} controls{matched} matches its window layout, or none was measured: add controls with the same \
                 prefix and suffix lengths"
            ),
        ),
    }
}

pub(super) fn too_few_controls(
    comparison: &Comparison,
    pool: &Pool,
    needed: u64,
    windows: u64,
) -> Reason {
    let n = comparison.controls();
    let longer = match comparison.factor {
        1 => String::new(),
        factor => format!(
            ", or controls as long as the item (its {windows} windows are {factor} times theirs)"
        ),
    };
    let noun = if n == 1 { "control" } else { "controls" };
    let matched = if pool.matched { " matched to it" } else { "" };
    let message =
        format!("too few controls: {n} comparable {noun}{matched}, needs {needed}{longer}");
    Reason::new(ReasonCode::TooFewControls, message)
}

/// Why a p-value of at most q decides nothing: with so few controls it couldn't have stood, however likely the text.
pub(super) fn unattainable(
    policy: &Policy,
    among: &Among,
    comparison: &Comparison,
    pool: &Pool,
) -> Reason {
    let alone = among
        .enough
        .max(controls_needed(comparison.factor, among.items, policy.q));
    let power = Power::of(
        policy,
        among.kind,
        &vec![Some(comparison.smallest); among.items as usize],
        1,
    );
    let together = match power.findings_needed {
        Some(k) => format!("{k} findings together"),
        None => "more".to_owned(),
    };
    let matched = if pool.matched { " matched to it" } else { "" };
    let message = format!(
        "too few controls for {}: {} comparable controls{matched}, with which it takes {together} and there are {}; needs \
         {alone} to stand alone",
        family(among),
        comparison.controls(),
        among.findings,
    );
    Reason::new(ReasonCode::TooFewControlsForFamily, message)
}

/// The cost of an item whose validity can't be told.
pub(super) fn unknown_validity(mut cost: Reason, within: bool) -> Reason {
    if within {
        cost.message
            .push_str(": within the sample budget, but its validity is unknown");
    }
    cost
}

/// What became of an entry of the policy's positive controls that wasn't found: which items of those it names.
pub(super) fn positive_control_missed(
    entry: &ItemId,
    missed: &[(&ItemId, Level)],
    of: usize,
) -> String {
    match (
        missed.first(),
        Policy::positive_control(entry).0.strip_prefix(TAG),
    ) {
        (None, None) => format!("`{entry}` isn't among the items"),
        (None, Some(_)) => {
            format!("`{entry}` is the tag of no item but controls, or none of this report")
        }
        (Some((_, level)), None) => format!("`{entry}` came out {level}"),
        (Some((first, level)), Some(_)) => {
            format!(
                "`{entry}`: {} of {} not found, `{first}` came out {level}",
                missed.len(),
                of
            )
        }
    }
}

pub(super) fn positive_controls_missed(missed: &[String]) -> Reason {
    let message = format!(
        "positive control not found ({}): the probe is broken, so nothing can be told from this run",
        missed.join(", ")
    );
    Reason::new(ReasonCode::PositiveControlMissed, message)
}

/// The form of a window, and its template where there were several to choose from or it isn't the bare prefix.
fn layout(evidence: &ItemEvidence, form: Form, best: &SchemeEvidence) -> String {
    match evidence.worst_template {
        None => form_name(form).to_owned(),
        Some(_) => format!("{}, template {}", form_name(form), best.template),
    }
}

fn form_name(form: Form) -> &'static str {
    match form {
        Form::AsGiven => "as given",
        Form::Reflowed => "reflowed",
    }
}
