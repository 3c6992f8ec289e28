//! The report: everything a run found out, decided before anything is rendered.
//!
//! A [`Report`] holds ids, offsets, counts, salted digests and scores. Text, titles and authors are in it
//! only when the run was made with `--reveal`, in [`ReportItem::revealed`] and nowhere else: a rendering
//! that prints every other field leaks nothing.

mod assemble;
pub mod columns;
pub(crate) mod command;
pub mod csv;
pub mod cyclonedx;
pub(crate) mod escape;
#[cfg(test)]
pub(crate) mod fixture;
pub mod formats;
pub mod github;
pub mod html;
pub mod in_toto;
pub mod json_v1;
pub mod junit;
pub mod markdown;
pub mod model_index;
pub(crate) mod order;
pub mod page;
pub mod parquet;
pub(crate) mod prose;
mod rates;
pub mod sarif;
mod standing;
pub(crate) mod svg;
pub mod terminal;
mod token_text;
pub(crate) mod words;

pub use crate::verdict::power::Power;
pub use assemble::{Assembly, Evidence, Judged, assemble, rejudge};

use crate::digest::Digest;
use crate::float_serde::Real;
use crate::items::{InputManifest, ItemId, Kind, OptOut, Origin};
use crate::metric::follow_up::Numerics;
use crate::metric::item::ItemEvidence;
use crate::metric::recall::Screened;
use crate::metric::window::WindowEvidence;
use crate::policy::Level;
use crate::policy::Policy;
use crate::policy::decision::Decision;
use crate::run::{ModelIdentity, Settings};
use crate::verdict::Verdict;
use crate::window::{Form, WindowId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One run's findings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `byrote 0.1.0`.
    pub tool: String,
    /// When the run began: RFC 3339, UTC.
    pub created_at: String,
    /// Exactly which model was tested.
    pub model: ModelIdentity,
    /// The reference checkpoint, if there was one.
    pub reference: Option<ModelIdentity>,
    /// What was read.
    pub probe_set: InputManifest,
    /// How it was tested.
    pub settings: Settings,
    /// SHA-256 over all windows' ids, tokens and prefix lengths: equal in two reports that scored the same.
    pub plan_digest: Digest,
    /// The policy under which the verdicts were reached, with its digest.
    pub policy: Policy,
    pub summary: Summary,
    /// In the order in which they were read.
    pub items: Vec<ReportItem>,
    /// Present where the run was gated.
    pub decision: Option<Decision>,
    /// All that may differ between two runs over the same inputs, but for `created_at`.
    pub timings: Option<Timings>,
}

/// One item's verdict and the evidence for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "json_v1::ItemV1", into = "json_v1::ItemV1")]
pub struct ReportItem {
    pub id: ItemId,
    pub kind: Kind,
    /// SHA-256 over the run's salt and the text; the salt stays in `run.json`.
    pub salted_digest: Digest,
    /// How and by whom the text was opted out.
    pub opt_out: Option<OptOut>,
    /// How often a canary stood in the training data.
    pub repetitions: Option<u32>,
    /// Its tags, as far as a control of the run names them in its `matches`, or the policy as a positive control.
    pub tags: Vec<String>,
    /// A control's: ids and tags of what it stands for.
    pub matches: Vec<String>,
    pub origin: Origin,
    /// Level, reasons and the comparison with controls. Its `item` is `id`.
    pub verdict: Verdict,
    /// Metrics form by form, with coverage and extracted spans.
    pub evidence: ItemEvidence,
    /// The few windows that are likeliest under the policy's scheme, the likeliest first.
    pub windows: Vec<WindowEvidence>,
    /// Only with `--reveal`.
    pub revealed: Option<Revealed>,
}

/// What a report says of an item only with `--reveal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revealed {
    pub title: Option<String>,
    pub author: Option<String>,
    pub source_url: Option<String>,
    pub license: Option<String>,
    /// The text in each form in which it was probed; the byte and char ranges of spans index into it.
    pub texts: Vec<RevealedText>,
    /// The tokens of the likeliest window; absent where their spellings aren't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spelled: Option<Spelled>,
}

/// The text of an item in one form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevealedText {
    pub form: Form,
    pub text: String,
}

/// A window's tokens in letters. What isn't UTF-8 by itself, as where a token ends inside a character, is spelled byte by
/// byte: `\xe2\x82`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spelled {
    pub window: WindowId,
    /// BOS and template included.
    pub prefix: Vec<String>,
    /// One entry a suffix token.
    pub suffix: Vec<String>,
}

/// Counts over the whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Items by kind and level, only pairs that occur, opt-outs first, the gravest level first.
    pub counts: Vec<LevelCount>,
    /// Canaries found by how often they were planted, rarest first; those of unknown count last.
    pub recall: Vec<Recall>,
    pub controls: ControlSummary,
    /// The policy's positive controls, and whether each was found.
    pub positive_controls: Vec<PositiveControl>,
    pub windows: WindowCounts,
    /// What the run could have detected at all, by kind.
    pub power: Vec<Power>,
    /// Rates over items, with their intervals.
    pub rates: Vec<Rate>,
    /// Means over items, with their intervals.
    pub means: Vec<MeanOverItems>,
    /// How far rounding could have decided anything.
    pub numerics: Numerics,
    /// What a screen left, and how many hits it missed; absent unless one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screened: Option<Screened>,
    /// Things a reader must know to read the numbers: BOS, layouts, stride, warnings.
    pub notes: Vec<String>,
}

/// Items of one kind at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LevelCount {
    pub kind: Kind,
    pub level: Level,
    pub items: u64,
}

/// Canaries planted equally often.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recall {
    /// Copies in the training data; absent where it isn't known.
    pub repetitions: Option<u32>,
    pub items: u64,
    /// Came out `extractable` or `memorized`.
    pub found: u64,
    /// Of those found, came out `extractable`: within the policy's sample budget.
    pub extractable: u64,
    /// Came out `inconclusive`: neither found nor missed.
    pub inconclusive: u64,
    /// Ends of the Clopper-Pearson interval of `found / items` at confidence .95.
    #[serde(with = "Real")]
    pub lower: f64,
    #[serde(with = "Real")]
    pub upper: f64,
}

/// The controls of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlSummary {
    /// Control texts in the run.
    pub items: u64,
    /// Control texts that were scored in full, so that items can be compared with them.
    pub usable: u64,
    /// Controls with a window within the sample budget: what plain predictability reaches.
    pub within_budget: u64,
    /// Controls with a window that greedy decoding yields.
    pub greedily_extracted: u64,
    /// Controls the policy needs so that one finding could stand in the larger family of this run's items.
    pub needed: u64,
}

/// A rate over items, with its Clopper-Pearson interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// What is counted, such as `extractable or memorized`.
    pub name: String,
    pub kind: Kind,
    pub hits: u64,
    pub of: u64,
    /// Ends of the two-sided interval at confidence .95.
    #[serde(with = "Real")]
    pub lower: f64,
    #[serde(with = "Real")]
    pub upper: f64,
}

/// A mean over items (windows of one text aren't independent), with its bootstrap interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeanOverItems {
    /// What is averaged, such as `coverage`.
    pub name: String,
    pub kind: Kind,
    pub items: u64,
    #[serde(with = "Real")]
    pub mean: f64,
    /// Ends of the percentile interval at confidence .95, items resampled.
    #[serde(with = "Real")]
    pub lower: f64,
    #[serde(with = "Real")]
    pub upper: f64,
}

/// A positive control of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PositiveControl {
    pub item: ItemId,
    pub found: bool,
}

/// Windows of the whole run, all kinds and forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WindowCounts {
    /// Windows that were cut.
    pub planned: u64,
    pub scored: u64,
    /// Left before their end: they can't matter, or were passed over (`--find-runs`, `--screen`).
    #[serde(default)]
    pub left: u64,
    /// Scored, or left before their end, as an identical window was, whose scores they took over.
    #[serde(default)]
    pub shared: u64,
    /// Given to the model, but without scores.
    pub unscored: u64,
    /// Cut, but found nowhere in the scores: the run was cut short or a shard is missing.
    pub missing: u64,
    /// Scores that belong to no item or form of this run.
    pub stray: u64,
    /// Windows that greedy decoding yields.
    pub greedily_extracted: u64,
    /// Windows within the policy's sample budget.
    pub extracted: u64,
}

/// How long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timings {
    /// Seconds from start to report.
    #[serde(with = "Real")]
    pub total_s: f64,
    /// Seconds to load the model.
    #[serde(with = "Real")]
    pub load_s: f64,
    /// Seconds of scoring, this call only (a resumed run scores less).
    #[serde(with = "Real")]
    pub scoring_s: f64,
    /// Windows given to the model in this call: those that took scores over aren't counted.
    pub windows_scored: u64,
    /// Scored windows a second; absent if none was scored in this call.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub windows_per_second: Option<f64>,
}

#[cfg(test)]
pub(crate) mod tests;
