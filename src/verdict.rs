//! Verdicts: validity (against controls) by extraction cost (samples).
//!
//! What was not measured in full is [`Level::Inconclusive`], never clear. The rules stand in [`judge`].

mod conformal;
mod reasons;

use crate::items::{ItemId, Kind};
use crate::metric::item::{Budget, ItemEvidence};
use crate::policy::Policy;
use conformal::{Comparison, Sample};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What was found out about an item. In order of weight, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Likelier than controls explain, and within the policy's sample budget.
    Extractable,
    /// Likelier than controls explain, but dearer than the budget.
    Memorized,
    /// Within the budget, but so are texts the model can't have seen.
    Predictable,
    /// Measured in full; no evidence of memorization.
    Clear,
    /// Can't tell; the reasons say what is missing.
    Inconclusive,
}

/// The statistic by which an item is compared with controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// The best window's `ln p_z` under the scheme `full`.
    MaxLogPZ,
    /// Mean log-probability a token over all windows at T = 1.
    MeanLogProb,
    /// The longest verbatim run of any window, in tokens.
    VerbatimRun,
}

/// One item's verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub item: ItemId,
    pub level: Level,
    /// In words and numbers, the deciding one first. Never empty.
    pub reasons: Vec<String>,
    /// The comparison with controls; absent for controls themselves and where there was nothing to compare.
    pub validity: Option<Validity>,
}

/// An item's comparison with the controls of its run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validity {
    pub statistic: Statistic,
    /// The item's value of the statistic.
    pub value: f64,
    /// Controls it was compared with (texts, not windows).
    pub controls: u64,
    /// How many of them reach the item's value.
    pub controls_at_least: u64,
    /// Factor that pays for the item's having more windows than the controls; 1 = none.
    pub window_factor: u64,
    /// Conformal p-value, 0 to 1.
    pub p_value: f64,
    /// The smallest p-value this comparison could have given.
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

/// A p-value extrapolated by a generalized Pareto tail: model-based.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TailFit {
    /// At least 0, below what conformal p-values can say.
    pub p_value: f64,
    /// Shape (xi), held at 0 or above, so that no value is impossible.
    pub shape: f64,
    /// Scale (sigma), in units of the statistic.
    pub scale: f64,
    /// Value above which controls count as the tail.
    pub threshold: f64,
    /// Controls above it.
    pub exceedances: u64,
}

/// Canary exposure (arXiv 1802.08232) with the controls as sample of the space of candidates: `-log2` of the share of
/// controls that reach the canary's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposure {
    /// `-log2((1 + at least) / (n + 1))`, in bits; at most `log2(n + 1)`.
    pub bits: f64,
    /// From the Clopper-Pearson interval of that share at confidence .95; `upper` is infinite if no control reaches it.
    pub lower: f64,
    pub upper: f64,
}

/// Control texts needed before one finding among `items` can stand at false discovery rate `q`: the least n with
/// `1/(n + 1) <= q/m`, thus `m/q - 1`. Several findings at once need fewer.
pub fn controls_needed(items: u64, q: f64) -> u64 {
    conformal::controls_needed(1, items, q)
}

/// An item to be judged: no text, only evidence.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub id: &'a ItemId,
    pub kind: Kind,
    /// The item's tags.
    pub tags: &'a [String],
    /// A control's: ids and tags of what it stands for; empty = anything.
    pub matches: &'a [String],
    pub evidence: &'a ItemEvidence,
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
    /// Control texts needed so that one finding among the run's items could stand.
    pub needed_controls: u64,
}

/// Judges all items of a run together.
///
/// For an item, the first that holds:
/// 1. Something of it was not measured: `inconclusive`.
/// 2. No comparable controls, fewer than the policy asks for, or so few that no p-value could reach q: `inconclusive`.
/// 3. Its p-value is rejected by Benjamini-Hochberg at q over all `m` items that aren't controls (an item without a
///    p-value counts with p = 1): `extractable` if its best window has `p_z >= tau`, else `memorized`.
/// 4. Its p-value is at most q, but there are too few controls for even one rejection among m: `inconclusive`.
/// 5. Its best window has `p_z >= tau`: `predictable`. Otherwise `clear`.
///
/// A control is `predictable` within the budget and `clear` outside it. If a positive control of the policy isn't found,
/// the probe is broken and every verdict becomes `inconclusive`.
pub fn judge(policy: &Policy, subjects: &[Subject<'_>]) -> Judgement {
    let samples: Vec<Result<Sample, String>> =
        subjects.iter().map(|subject| measured(policy, subject.evidence)).collect();
    let is_control = |subject: &Subject<'_>| subject.kind == Kind::Control;
    let controls: Vec<Sample> =
        subjects.iter().zip(&samples).filter(|(s, _)| is_control(s)).filter_map(|(_, x)| x.clone().ok()).collect();
    let m = subjects.iter().filter(|subject| !is_control(subject)).count() as u64;
    let enough = policy.min_controls.max(conformal::controls_needed(1, 1, policy.q));

    let compare = |subject: &Subject<'_>, sample: &Result<Sample, String>| {
        let sample = sample.as_ref().ok().filter(|_| !is_control(subject))?;
        conformal::compare(policy.statistic, sample, &controls, enough)
    };
    let comparisons: Vec<Option<Comparison>> = subjects.iter().zip(&samples).map(|(s, x)| compare(s, x)).collect();
    let family: Vec<f64> = subjects
        .iter()
        .zip(&comparisons)
        .filter(|(subject, _)| !is_control(subject))
        .map(|(_, comparison)| comparison.map_or(1.0, |comparison| comparison.p))
        .collect();
    let mut rejected = conformal::benjamini_hochberg(&family, policy.q).into_iter();

    let run = Run { policy, items: m, controls: controls.len() as u64, enough };
    let mut verdicts = Vec::with_capacity(subjects.len());
    for ((subject, sample), comparison) in subjects.iter().zip(&samples).zip(comparisons) {
        let significant = !is_control(subject) && rejected.next().unwrap_or(false);
        verdicts.push(run.verdict(subject, sample, comparison, significant));
    }
    let positive_controls: Vec<bool> = policy.positive_controls.iter().map(|id| found(id, &verdicts)).collect();
    let missed: Vec<&ItemId> = policy
        .positive_controls
        .iter()
        .zip(&positive_controls)
        .filter(|(_, found)| !**found)
        .map(|(id, _)| id)
        .collect();
    if !missed.is_empty() {
        let reason = reasons::positive_controls_missed(&missed, &verdicts);
        for verdict in &mut verdicts {
            verdict.reasons.insert(0, reason.clone());
            verdict.level = Level::Inconclusive;
        }
    }
    let needed_controls = enough.max(conformal::controls_needed(1, m, policy.q));
    Judgement { verdicts, positive_controls, usable_controls: run.controls, needed_controls }
}

impl Level {
    /// Whether it says that the model memorized the text.
    pub fn is_memorization(self) -> bool {
        matches!(self, Self::Extractable | Self::Memorized)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extractable => "extractable",
            Self::Memorized => "memorized",
            Self::Predictable => "predictable",
            Self::Clear => "clear",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// Whether an item was found to be memorized. One that isn't in the run was not.
fn found(id: &ItemId, verdicts: &[Verdict]) -> bool {
    verdicts.iter().any(|verdict| verdict.item == *id && verdict.level.is_memorization())
}

/// What an item's verdict depends on besides the item.
struct Run<'a> {
    policy: &'a Policy,
    /// Items that aren't controls.
    items: u64,
    /// Usable controls.
    controls: u64,
    /// Fewer comparable controls than this decide nothing.
    enough: u64,
}

impl Run<'_> {
    fn verdict(
        &self,
        subject: &Subject<'_>,
        sample: &Result<Sample, String>,
        comparison: Option<Comparison>,
        significant: bool,
    ) -> Verdict {
        let policy = self.policy;
        let of = |level, reasons, validity| Verdict { item: subject.id.clone(), level, reasons, validity };
        let sample = match sample {
            Ok(sample) => sample,
            Err(problem) => return of(Level::Inconclusive, vec![problem.clone()], None),
        };
        let within = within_budget(policy, subject.evidence);
        let cost = reasons::cost(policy, subject.evidence);
        if subject.kind == Kind::Control {
            let level = if within { Level::Predictable } else { Level::Clear };
            return of(level, vec![reasons::control(within), cost], None);
        }
        let Some(comparison) = comparison else {
            let reason = if self.controls == 0 { reasons::no_controls() } else { reasons::no_match(self.controls) };
            return of(Level::Inconclusive, vec![reason, reasons::unknown_validity(&cost, within)], None);
        };
        let validity = Validity {
            statistic: policy.statistic,
            value: sample.value,
            controls: comparison.controls,
            controls_at_least: comparison.at_least,
            window_factor: comparison.factor,
            p_value: comparison.p,
            smallest_p: comparison.smallest,
            significant,
            matched: false,
            tail: None,
            exposure: None,
        };
        let alone = self.enough.max(conformal::controls_needed(comparison.factor, 1, policy.q));
        if comparison.controls < alone {
            let reason = reasons::too_few_controls(&comparison, alone, sample.windows);
            let validity = Validity { significant: false, ..validity };
            return of(Level::Inconclusive, vec![reason, reasons::unknown_validity(&cost, within)], Some(validity));
        }
        let standing = reasons::standing(policy, &validity, self.items);
        let (level, reasons) = if significant {
            if within { (Level::Extractable, vec![cost, standing]) } else { (Level::Memorized, vec![standing, cost]) }
        } else {
            let needed = conformal::controls_needed(comparison.factor, self.items, policy.q);
            if conformal::at_most(comparison.p, policy.q) && comparison.controls < needed {
                (Level::Inconclusive, vec![reasons::unattainable(self.items, needed, &comparison), standing, cost])
            } else if within {
                (Level::Predictable, vec![cost, standing])
            } else {
                (Level::Clear, vec![standing, cost])
            }
        };
        of(level, reasons, Some(validity))
    }
}

/// Whether the best window is within the policy's sample budget.
pub fn within_budget(policy: &Policy, evidence: &ItemEvidence) -> bool {
    let budget = Budget { schemes: &policy.schemes, tau: policy.tau };
    evidence.cheapest(&policy.schemes).is_some_and(|(_, best)| budget.holds(best.best.log_p_z))
}

/// Why an item's measurement isn't complete, in words, whatever the policy; `None` if it is.
pub fn not_measured(evidence: &ItemEvidence) -> Option<String> {
    if let Some(reason) = &evidence.unprobed {
        return Some(format!("not probed: {reason}"));
    }
    let windows = evidence.windows();
    if windows == 0 {
        return Some("not probed: no window was cut from it".to_owned());
    }
    let unscored: Vec<_> = evidence.forms.iter().flat_map(|form| &form.unscored).collect();
    if let Some(first) = unscored.first() {
        let count = unscored.len();
        return Some(format!("{count} of {windows} windows could not be scored ({}: {})", first.window, first.reason));
    }
    if evidence.forms.iter().any(|form| form.scored > form.windows) {
        return Some("it has more scores than windows: parts of different runs are mixed".to_owned());
    }
    let missing: u64 = evidence.forms.iter().map(|form| form.missing()).sum();
    if missing > 0 {
        return Some(format!(
            "{missing} of {windows} windows have no scores: the run was cut short or a part is missing"
        ));
    }
    let complete = evidence.forms.iter().all(|form| form.values.is_some() == (form.scored > 0));
    (!complete).then(|| "its windows are counted as scored, but there are no values".to_owned())
}

/// The item's value of the policy's statistic, or why it has none.
fn measured(policy: &Policy, evidence: &ItemEvidence) -> Result<Sample, String> {
    if let Some(problem) = not_measured(evidence) {
        return Err(problem);
    }
    let best = |scheme: &str| {
        let every_form = evidence.values().all(|(_, values)| values.schemes.iter().any(|value| value.scheme == scheme));
        let best = evidence.best(scheme).filter(|_| every_form).map(|(_, best)| best.best.log_p_z);
        best.ok_or_else(|| format!("not scored under the scheme {scheme:?}, which the policy asks for"))
    };
    let over_forms = |value: fn(&crate::metric::item::FormValues) -> f64| {
        evidence.values().map(|(_, values)| value(values)).reduce(|a, b| if b.is_nan() || b > a { b } else { a })
    };
    let value = match policy.statistic {
        Statistic::MaxLogPZ => best("full")?,
        Statistic::MeanLogProb => over_forms(|values| values.mean_logprob).unwrap_or(f64::NAN),
        Statistic::VerbatimRun => over_forms(|values| f64::from(values.max_verbatim_run)).unwrap_or(f64::NAN),
    };
    let log_p_zs = evidence.values().flat_map(|(_, values)| values.schemes.iter().map(|value| value.best.log_p_z));
    for scheme in &policy.schemes {
        best(&scheme.id)?;
    }
    if value.is_nan() || log_p_zs.into_iter().any(f64::is_nan) {
        return Err("its scores hold a NaN".to_owned());
    }
    let scored = evidence.forms.iter().map(|form| form.scored);
    Ok(Sample {
        value,
        windows: evidence.scored(),
        windows_of_a_form: scored.clone().max().unwrap_or_default(),
        forms: scored.filter(|&windows| windows > 0).count() as u64,
        suffix_len: (
            evidence.values().map(|(_, values)| values.min_suffix_len).min().unwrap_or_default(),
            evidence.values().map(|(_, values)| values.max_suffix_len).max().unwrap_or_default(),
        ),
    })
}

#[cfg(test)]
pub(crate) mod tests;
