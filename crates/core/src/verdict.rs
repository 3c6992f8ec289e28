//! Verdicts: validity (against controls) by extraction cost (samples).
//!
//! What was not measured in full is [`Level::Inconclusive`], never clear. The rules stand in [`judge`]: an item's
//! controls are chosen (`matching`), its statistic is compared with theirs (`sample`, `conformal`), findings are held
//! to a false discovery rate (`judge`), what could have been found at all is counted (`power`), and everything is put
//! into words (`reasons`).

mod conformal;
mod judge;
mod left;
mod matching;
pub mod power;
mod reason;
mod reasons;
mod sample;
mod unseen;

pub use judge::judge;
pub use matching::Labels;

use crate::float_serde::Real;
use crate::items::{ItemId, Kind};
use crate::metric::exposure::Exposure;
use crate::metric::item::{Budget, ItemEvidence};
use crate::policy::{Level, Policy, Statistic};
use crate::run::follow_up::NearProbability;
use power::Power;
pub use reason::{REASONS, Reason, ReasonCode, ReasonInfo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One item's verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub item: ItemId,
    pub level: Level,
    /// The deciding one first. Never empty.
    pub reasons: Vec<Reason>,
    /// The comparison with controls; absent for controls themselves and where there was nothing to compare.
    pub validity: Option<Validity>,
}

/// An item's comparison with the controls of its run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Validity {
    pub statistic: Statistic,
    /// The item's value of the statistic.
    #[serde(with = "Real")]
    pub value: f64,
    /// Controls it was compared with (texts, not windows).
    pub controls: u64,
    /// How many of them reach the item's value.
    pub controls_at_least: u64,
    /// Factor that pays for the item's having more windows than the controls; 1 = none.
    pub window_factor: u64,
    /// Conformal p-value, 0 to 1.
    #[serde(with = "Real")]
    pub p_value: f64,
    /// The smallest p-value this comparison could have given.
    #[serde(with = "Real")]
    pub smallest_p: f64,
    /// Whether it stands after Benjamini-Hochberg at the policy's q.
    pub significant: bool,
    /// Whether the controls were chosen for the item by id or tag, rather than taken as they came.
    pub matched: bool,
    /// The p-value of a fitted tail, where the policy asks for one; it then counts in place of `p_value`.
    pub tail: Option<TailFit>,
    /// Canaries only: how far up among the controls it stands.
    pub exposure: Option<Exposure>,
}

impl Validity {
    /// The p-value that counts: that of the fitted tail where there is one.
    pub fn effective_p(&self) -> f64 {
        self.tail.map_or(self.p_value, |tail| tail.p_value)
    }
}

/// A p-value extrapolated by a generalized Pareto tail: model-based.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TailFit {
    /// At least 0, below what conformal p-values can say.
    #[serde(with = "Real")]
    pub p_value: f64,
    /// Shape (xi), held at 0 or above, so that no value is impossible.
    #[serde(with = "Real")]
    pub shape: f64,
    /// Scale (sigma), in units of the statistic.
    #[serde(with = "Real")]
    pub scale: f64,
    /// Value above which controls count as the tail.
    #[serde(with = "Real")]
    pub threshold: f64,
    /// Controls above it.
    pub exceedances: u64,
}

/// Control texts needed before one finding among `items` can stand at false discovery rate `q`: the least n with
/// `1/(n + 1) <= q/m`, thus `m/q - 1`. Several findings at once need fewer.
pub fn controls_needed(items: u64, q: f64) -> u64 {
    conformal::controls_needed(1, items, q)
}

/// An item to be judged: no text, only evidence.
#[derive(Clone, Copy, Debug)]
pub struct JudgedItem<'a> {
    pub id: &'a ItemId,
    pub kind: Kind,
    /// The item's tags.
    pub tags: &'a [String],
    /// A control's: ids and tags of what it stands for; empty = anything.
    pub matches: &'a [String],
    pub evidence: &'a ItemEvidence,
}

impl<'a> JudgedItem<'a> {
    /// What it is called by.
    pub fn labels(&self) -> Labels<'a> {
        Labels {
            id: self.id,
            kind: self.kind,
            tags: self.tags,
            matches: self.matches,
        }
    }
}

/// The verdicts of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// One a subject, in their order.
    pub verdicts: Vec<Verdict>,
    /// For each of the policy's positive controls, in its order, whether it was found.
    pub positive_controls: Vec<bool>,
    /// Control texts that were measured in full.
    pub usable_controls: u64,
    /// Control texts needed so that one finding among the run's items could stand, in the larger of its families.
    pub needed_controls: u64,
    /// What could have been detected, a family each: opt-outs, then canaries.
    pub power: Vec<Power>,
}

impl Verdict {
    /// What is left of it where the policy counts near-verbatim samples and the run bounded none: what isn't within the
    /// budget word for word may be so nearly, so that nothing is clear.
    pub fn without_near_verbatim(&mut self) {
        if self.level == Level::Clear {
            self.level = Level::Inconclusive;
            self.reasons
                .insert(0, reasons::near_verbatim_not_measured());
        }
    }
}

/// Whether the best window is within the policy's sample budget, or a near-verbatim sample where the policy counts those.
pub fn within_budget(policy: &Policy, evidence: &ItemEvidence) -> bool {
    let budget = Budget {
        schemes: &policy.schemes,
        tau: policy.tau,
    };
    let near = near_verbatim(policy, evidence).is_some_and(|near| budget.holds(near.log_p));
    near || evidence
        .cheapest(&policy.schemes)
        .is_some_and(|(_, best)| budget.holds(best.best.log_p_z))
}

/// The item's near-verbatim bound, if the policy counts such samples.
fn near_verbatim<'a>(policy: &Policy, evidence: &'a ItemEvidence) -> Option<&'a NearProbability> {
    evidence
        .follow_up
        .as_ref()
        .filter(|_| policy.near_verbatim)?
        .near_probability
        .as_ref()
}

/// Why an item's measurement isn't complete, in words, whatever the policy; `None` if it is.
pub fn not_measured(evidence: &ItemEvidence) -> Option<Reason> {
    let because = |code, message: String| Some(Reason::new(code, message));
    if let Some(reason) = &evidence.unprobed {
        return because(ReasonCode::NotProbed, format!("not probed: {reason}"));
    }
    let windows = evidence.windows();
    if windows == 0 {
        return because(
            ReasonCode::NotProbed,
            "not probed: no window was cut from it".to_owned(),
        );
    }
    let unscored: Vec<_> = evidence
        .forms
        .iter()
        .flat_map(|form| &form.unscored)
        .collect();
    if let Some(first) = unscored.first() {
        let count = unscored.len();
        let message = format!(
            "{count} of {windows} windows could not be scored ({}: {})",
            first.window, first.reason
        );
        return because(ReasonCode::WindowsUnscored, message);
    }
    if evidence
        .forms
        .iter()
        .any(|form| form.scored + form.left.total() > form.windows)
    {
        return because(
            ReasonCode::MixedRuns,
            "it has more scores than windows: parts of different runs are mixed".to_owned(),
        );
    }
    let missing: u64 = evidence.forms.iter().map(|form| form.missing()).sum();
    if missing > 0 {
        return because(
            ReasonCode::WindowsMissing,
            format!(
                "{missing} of {windows} windows have no scores: the run was cut short or a part is missing"
            ),
        );
    }
    let complete = evidence
        .forms
        .iter()
        .all(|form| form.values.is_some() == (form.scored > 0));
    if complete {
        return None;
    }
    because(
        ReasonCode::ValuesMissing,
        "its windows are counted as scored, but there are no values".to_owned(),
    )
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
pub(crate) mod tests;
