//! A sweep: the same texts probed several times, in other precisions, after other prefixes, with another token at the
//! start, in several models; and what of a verdict depends on which.
//!
//! Comparing is pure: reports in, a [`Sweep`] out, which holds ids, levels and numbers, never a text.

mod agreement;
mod flip;
mod growth;
pub mod html;
pub mod json;
pub mod markdown;
mod size;
mod table;
mod told;

use crate::float_serde;
use crate::items::{ItemId, Kind};
use crate::policy::Level;
use crate::policy::decision::Outcome;
use crate::report::{LevelCount, Report, ReportItem};
use crate::tokens::BosChoice;
use crate::verdict::not_measured;
pub use agreement::Agreement;
pub use flip::Flip;
pub use growth::{Growth, GrowthPoint, Medians};
use serde::Serialize;
pub use size::{SizeGrowth, SizePoint};
use std::collections::{BTreeMap, HashMap};

/// How one run of a sweep differs from the others: what was asked for, not what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The model as the user named it.
    pub model: String,
    /// The precision asked for, such as `f32` or `q4_k_m`.
    pub dtype: String,
    /// Tokens of prefix, BOS not counted.
    pub prefix: u32,
    pub bos: BosChoice,
}

/// A dimension of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    Model,
    Dtype,
    Prefix,
    Bos,
}

/// One run of a sweep, for [`Sweep::of`].
#[derive(Clone, Debug)]
pub struct SweptRun<'a> {
    pub setting: Setting,
    /// Where it lies, below the sweep's own folder.
    pub folder: String,
    /// Its report, or why there is none.
    pub report: Result<&'a Report, String>,
}

/// Runs over the same texts, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sweep {
    /// Dimensions in which the runs differ.
    pub axes: Vec<Axis>,
    pub runs: Vec<RunSummary>,
    /// Unstable ones first, then those that differ by model, then those missing in a run; opt-outs before canaries before
    /// controls within each, and in the reports' order within those.
    pub items: Vec<SweptItem>,
    /// One entry a kind and a choice of all settings but the prefix; empty where the prefix doesn't vary.
    pub growth: Vec<Growth>,
    /// One entry a kind and a choice of all settings but the model; empty where no two models of known size differ in it.
    pub growth_with_size: Vec<SizeGrowth>,
    /// One entry a pair of values of a dimension.
    pub agreement: Vec<Agreement>,
    /// Absent where no run was gated.
    pub decision: Option<SweepDecision>,
}

/// One run in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// Names the run among the others, by the dimensions that vary.
    pub name: String,
    #[serde(flatten)]
    pub setting: Setting,
    pub folder: String,
    /// Why there is no report, if there is none; what follows is then empty.
    pub failed: Option<String>,
    /// Parameters of the model, where they are known.
    pub parameters: Option<u64>,
    /// Data type of the weights in memory, which is what `auto` came to.
    pub kept_as: Option<String>,
    /// How many matrices are kept as what, where they were quantized at load.
    pub mixture: Option<String>,
    /// The token before every window, once the setting was applied.
    pub bos_token: Option<u32>,
    pub windows: u64,
    pub scored: u64,
    /// Items by kind and level.
    pub counts: Vec<Count>,
    pub outcome: Option<Outcome>,
}

/// Items of one kind at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    pub kind: Kind,
    pub level: Level,
    pub items: u64,
}

/// Whether an item's verdict depends on the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its verdict differs between runs of one model. No level is passed over: inconclusive differs from all others.
    Unstable,
    /// Its verdict is the same in all runs of each model, but not in all models.
    DiffersByModel,
    /// It is missing in some run, and the others agree.
    Incomplete,
    /// All runs agree.
    Stable,
}

/// One item in every run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweptItem {
    pub id: ItemId,
    pub kind: Kind,
    /// How often a canary stood in the training data.
    pub repetitions: Option<u32>,
    pub standing: Standing,
    /// One a run; absent where the run failed or hasn't the item.
    pub levels: Vec<Option<Level>>,
    /// One a run; absent where the item wasn't measured in full.
    pub values: Vec<Option<Values>>,
    /// Along which dimensions its verdict changes.
    pub flips: Vec<Flip>,
}

/// What was measured of an item in one run, over all its layouts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Values {
    /// `ln p_z` of its likeliest window under `full` (T = 1), in nats.
    #[serde(with = "float_serde")]
    pub best_log_p_z: f64,
    /// Share of its characters that are within the policy's budget, 0 to 1; absent where the budget wasn't scored.
    pub coverage: Option<f64>,
    /// Longest verbatim run of any window, in tokens.
    pub verbatim_run: u32,
    /// Windows that greedy decoding yields.
    pub greedily_extracted: u64,
    /// Windows scored.
    pub windows: u64,
}

/// What a policy makes of all runs together: the gravest of their decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SweepDecision {
    /// A block in any run blocks; else anything undecided, a failed run too, leaves all undecided.
    pub outcome: Outcome,
    /// The deciding runs first, unstable items after them. Never empty.
    pub reasons: Vec<String>,
}

impl Axis {
    /// All, in the order in which runs are named.
    pub const ALL: [Self; 4] = [Self::Model, Self::Dtype, Self::Prefix, Self::Bos];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dtype => "dtype",
            Self::Prefix => "prefix",
            Self::Bos => "bos",
        }
    }

    fn value(self, setting: &Setting) -> String {
        match self {
            Self::Model => setting.model.clone(),
            Self::Dtype => setting.dtype.clone(),
            Self::Prefix => setting.prefix.to_string(),
            Self::Bos => bos_name(setting.bos).to_owned(),
        }
    }

    /// The value in the name of a run.
    fn label(self, setting: &Setting) -> String {
        match self {
            Self::Model | Self::Dtype => self.value(setting),
            Self::Prefix => format!("prefix {}", setting.prefix),
            Self::Bos => format!("BOS {}", bos_name(setting.bos)),
        }
    }
}

/// As `--bos` has it.
pub fn bos_name(bos: BosChoice) -> &'static str {
    match bos {
        BosChoice::Auto => "auto",
        BosChoice::Always => "always",
        BosChoice::Never => "never",
    }
}

/// A setting in the dimensions given: `q4_k, prefix 50`.
fn label(setting: &Setting, axes: &[Axis]) -> String {
    let parts: Vec<String> = axes.iter().map(|axis| axis.label(setting)).collect();
    parts.join(", ")
}

impl Sweep {
    /// Compares runs.
    pub fn of(runs: &[SweptRun<'_>]) -> Self {
        let settings: Vec<&Setting> = runs.iter().map(|run| &run.setting).collect();
        let varies = |axis: &Axis| {
            settings
                .windows(2)
                .any(|pair| axis.value(pair[0]) != axis.value(pair[1]))
        };
        let axes: Vec<Axis> = Axis::ALL.into_iter().filter(varies).collect();
        let summaries: Vec<RunSummary> = runs.iter().map(|run| summary(run, &axes)).collect();
        let items = items(runs, &axes);
        Self {
            growth: growth::growth(runs, &items, &axes),
            growth_with_size: size::growth_with_size(runs, &items, &axes),
            agreement: agreement::agreement(runs, &items, &axes),
            decision: decision(&summaries, runs, &items),
            axes,
            runs: summaries,
            items,
        }
    }

    /// Items of one standing, in order.
    pub fn standing(&self, standing: Standing) -> impl Iterator<Item = &SweptItem> {
        self.items
            .iter()
            .filter(move |item| item.standing == standing)
    }
}

fn summary(run: &SweptRun<'_>, axes: &[Axis]) -> RunSummary {
    let name = if axes.is_empty() {
        run.setting.model.clone()
    } else {
        label(&run.setting, axes)
    };
    let report = run.report.as_ref().ok();
    let count = |count: &LevelCount| Count {
        kind: count.kind,
        level: count.level,
        items: count.items,
    };
    RunSummary {
        name,
        setting: run.setting.clone(),
        folder: run.folder.clone(),
        failed: run.report.as_ref().err().cloned(),
        parameters: size::parameters(run),
        kept_as: report.map(|report| report.model.backend.dtype.clone()),
        mixture: report.and_then(|report| report.model.backend.mixture.clone()),
        bos_token: report.and_then(|report| report.settings.bos_token),
        windows: report.map_or(0, |report| report.summary.windows.planned),
        scored: report.map_or(0, |report| report.summary.windows.scored),
        counts: report
            .map(|report| report.summary.counts.iter().map(count).collect())
            .unwrap_or_default(),
        outcome: report
            .and_then(|report| report.decision.as_ref())
            .map(|decision| decision.outcome),
    }
}

fn items(runs: &[SweptRun<'_>], axes: &[Axis]) -> Vec<SweptItem> {
    let mut order: Vec<&ReportItem> = Vec::new();
    let mut found: HashMap<&ItemId, Vec<Option<&ReportItem>>> = HashMap::new();
    for (at, run) in runs.iter().enumerate() {
        for item in run.report.iter().flat_map(|report| &report.items) {
            let in_runs = found.entry(&item.id).or_insert_with(|| {
                order.push(item);
                vec![None; runs.len()]
            });
            in_runs[at] = Some(item);
        }
    }
    let mut items: Vec<SweptItem> = order
        .into_iter()
        .map(|item| {
            let in_runs = found.remove(&item.id).unwrap_or_default();
            let levels: Vec<Option<Level>> = in_runs
                .iter()
                .map(|item| item.map(|item| item.verdict.level))
                .collect();
            SweptItem {
                id: item.id.clone(),
                kind: item.kind,
                repetitions: item.repetitions,
                standing: standing(runs, &levels),
                flips: flip::flips(runs, &levels, axes),
                values: in_runs.iter().map(|item| item.and_then(values)).collect(),
                levels,
            }
        })
        .collect();
    // Stable: items of one standing and kind keep their order.
    items.sort_by_key(|item| (item.standing, kind_order(item.kind)));
    items
}

fn kind_order(kind: Kind) -> u8 {
    match kind {
        Kind::OptOut => 0,
        Kind::Canary => 1,
        Kind::Control => 2,
    }
}

fn standing(runs: &[SweptRun<'_>], levels: &[Option<Level>]) -> Standing {
    let mut by_model: BTreeMap<&str, Vec<Level>> = BTreeMap::new();
    for (run, level) in runs.iter().zip(levels) {
        by_model
            .entry(&run.setting.model)
            .or_default()
            .extend(level);
    }
    let differ = |levels: &[Level]| levels.windows(2).any(|pair| pair[0] != pair[1]);
    if by_model.values().any(|levels| differ(levels)) {
        Standing::Unstable
    } else if differ(&by_model.into_values().flatten().collect::<Vec<_>>()) {
        Standing::DiffersByModel
    } else if levels.iter().any(Option::is_none) {
        Standing::Incomplete
    } else {
        Standing::Stable
    }
}

fn values(item: &ReportItem) -> Option<Values> {
    if not_measured(&item.evidence).is_some() {
        return None;
    }
    let (_, best) = item.evidence.best("full")?;
    let forms = || item.evidence.values().map(|(_, values)| values);
    Some(Values {
        best_log_p_z: best.best.log_p_z,
        coverage: forms()
            .filter_map(|values| Some(values.extraction.as_ref()?.coverage))
            .reduce(f64::max),
        verbatim_run: forms()
            .filter_map(|values| values.max_verbatim_run)
            .max()
            .unwrap_or_default(),
        greedily_extracted: forms().map(|values| values.greedily_extracted).sum(),
        windows: item.evidence.scored(),
    })
}

/// Items named in a reason.
const NAMED: usize = 5;

fn decision(
    summaries: &[RunSummary],
    runs: &[SweptRun<'_>],
    items: &[SweptItem],
) -> Option<SweepDecision> {
    if summaries.iter().all(|run| run.outcome.is_none()) {
        return None;
    }
    // A run without a decision among gated ones decides nothing.
    let outcome = |run: &RunSummary| run.outcome.unwrap_or(Outcome::Undecided);
    let worst = [Outcome::Block, Outcome::Undecided]
        .into_iter()
        .find(|grave| summaries.iter().any(|run| outcome(run) == *grave))
        .unwrap_or(Outcome::Pass);
    let reason = |(summary, run): (&RunSummary, &SweptRun<'_>)| {
        let said = match &run.report {
            Err(failed) => Some(failed.clone()),
            Ok(report) => report
                .decision
                .as_ref()
                .and_then(|decision| decision.reasons.first().cloned()),
        };
        format!(
            "{}: {}",
            summary.name,
            said.unwrap_or_else(|| "it was not decided".to_owned())
        )
    };
    let mut reasons: Vec<String> = summaries
        .iter()
        .zip(runs)
        .filter(|(summary, _)| outcome(summary) == worst)
        .map(reason)
        .collect();
    for (standing, what) in [
        (Standing::Unstable, "unstable"),
        (
            Standing::DiffersByModel,
            "with another verdict in another model",
        ),
    ] {
        let ids: Vec<String> = items
            .iter()
            .filter(|item| item.standing == standing)
            .map(|item| format!("`{}`", item.id))
            .collect();
        if !ids.is_empty() {
            let more = if ids.len() > NAMED { ", ..." } else { "" };
            let noun = if ids.len() == 1 { "item" } else { "items" };
            let named = ids
                .iter()
                .take(NAMED)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            reasons.push(format!("{} {noun} {what}: {named}{more}", ids.len()));
        }
    }
    Some(SweepDecision {
        outcome: worst,
        reasons,
    })
}

/// Runs that differ in nothing but one dimension, with what they share in the others that vary: `(shared, runs)`.
fn along(runs: &[SweptRun<'_>], axis: Axis, axes: &[Axis]) -> Vec<(String, Vec<usize>)> {
    let others: Vec<Axis> = axes
        .iter()
        .copied()
        .filter(|other| *other != axis)
        .collect();
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let shared = label(&run.setting, &others);
        match groups.iter_mut().find(|(other, _)| *other == shared) {
            Some((_, group)) => group.push(at),
            None => groups.push((shared, vec![at])),
        }
    }
    groups
}

/// The median; the mean of the middle two for an even count. `None` of nothing.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    // Two infinities of one sign have no mean but themselves.
    Some(if lower.to_bits() == upper.to_bits() {
        upper
    } else {
        (lower + upper) / 2.0
    })
}

#[cfg(test)]
mod tests;
