//! One run: what was tested and how, and the directory that keeps its scores.
//!
//! The types stand here and build everywhere; the run directory with its Parquet parts is in
//! `run/directory.rs` and `run/parquet.rs`.

#[cfg(feature = "probe")]
mod atomic;
pub mod dedup;
#[cfg(feature = "probe")]
mod difference;
#[cfg(feature = "probe")]
pub mod directory;
#[cfg(all(test, feature = "probe"))]
mod fixture;
pub mod follow_up;
#[cfg(feature = "probe")]
pub mod journal;
#[cfg(feature = "probe")]
pub mod parquet;
#[cfg(feature = "probe")]
pub mod pass;
pub mod plan;
#[cfg(feature = "probe")]
pub mod rows;

use crate::backend::exit::Exit;
use crate::backend::{BackendInfo, TokenScores};
use crate::digest::{Digest, FileDigest};
use crate::float_serde::Real;
use crate::items::{InputManifest, Item, ItemId};
use crate::run::follow_up::FollowUp;
use crate::template::TemplateInfo;
use crate::tokens::BosChoice;
use crate::window::{Placement, ProbedForm, WindowConfig, WindowId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// [`RunManifest::schema`] of the runs this version writes and reads.
pub const RUN_SCHEMA: &str = "byrote.run/v1";
/// [`RunManifest::tool`] of this version.
pub const TOOL: &str = concat!("byrote ", env!("CARGO_PKG_VERSION"));

/// Exactly which model was tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ModelIdentity {
    /// The model as the user named it.
    pub reference: String,
    /// Where it came from: `builtin`, a folder, a file, or `hub:org/name`.
    pub source: String,
    /// The commit of a hub repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Every file that was read: weights, config, tokenizer.
    pub files: Vec<FileDigest>,
    /// SHA-256 over the per-file digests in order of their names.
    pub digest: Digest,
    pub backend: BackendInfo,
    /// SHA-256 of the tokenizer as it is used (vocabulary, merges, normalization, special tokens).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer_fingerprint: Option<Digest>,
    /// Root digest of the model's folder by OpenSSF model-signing: of every file in it, read or not. Of a model that is one
    /// file, that of the file. Absent for the built-in model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_signing: Option<Digest>,
    /// The LoRA adapter that was merged into it. Its files stand in `files`, named `adapter/...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterIdentity>,
}

/// An adapter that was merged into a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AdapterIdentity {
    /// The folder as the user named it.
    pub source: String,
    /// The model that it was trained on, as its own config has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// Root digest of its folder by OpenSSF model-signing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_signing: Option<Digest>,
}

/// How it was tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Settings {
    pub window: WindowConfig,
    pub bos: BosChoice,
    /// The token that was put in front of every bare window, after `bos` was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos_token: Option<u32>,
    /// The templates under each of which every text was probed, the worst of them counting; empty = the bare prefix only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<TemplateInfo>,
    /// When windows of items that aren't controls were left before their end; absent = every window was scored to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Of those items, the ones whose windows were scored to their end all the same, as the policy names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_full: Vec<ItemId>,
    /// Whether text and token ids are kept in the scores and shown in reports.
    pub reveal: bool,
    /// How it is found out which windows are worth scoring; absent = all of them are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fewer: Option<WindowSelection>,
}

/// A way to score fewer windows. Controls and the policy's positive controls are scored in full all the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WindowSelection {
    /// Coarse to fine.
    #[serde(rename = "find_runs")]
    CoarseToFine {
        /// Memorized runs of so many tokens or more are found.
        tokens: u32,
        /// Tokens between the starts of the windows of the first pass.
        stride: u32,
        hits: Hits,
    },
    /// A long pass over the whole text.
    #[serde(rename = "screen")]
    Screened {
        /// Tokens a piece at most, with its context.
        piece: u32,
        /// A window is scored if at least this share of its suffix tokens are the model's first choice,
        first_choices: f64,
        /// or the natural log of its suffix's probability is at least this, under plain sampling or one of the policy's ways.
        log_p: f64,
        hits: Hits,
    },
}

/// Which windows are hits: within the sample budget, or greedily exact. It follows from the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Hits {
    /// The least probability of one sample.
    pub tau: f64,
    /// Ids of the ways of sampling.
    pub schemes: Vec<String>,
    /// A suffix that misses exactness by less than this at the top is a hit, in nats,
    pub margin: f64,
    /// and so is one that misses tau by no more than this.
    pub epsilon: f64,
}

impl WindowSelection {
    /// Which windows are hits.
    pub fn hits(&self) -> &Hits {
        match self {
            Self::CoarseToFine { hits, .. } | Self::Screened { hits, .. } => hits,
        }
    }
}

/// Text statistics of one window's suffix. They need the text, so they are taken while it is at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TextStats {
    /// Unicode characters in the suffix.
    pub suffix_chars: u32,
    /// Bits a character of the suffix under zlib, level 9.
    #[serde(with = "Real")]
    pub zlib_bits_per_char: f64,
    /// Share of the suffix's token n-grams that already stand in the prefix: copying, not memory.
    #[serde(with = "Real")]
    pub copied_from_prefix: f64,
}

/// Why a window was left before it was scored to its end. It is neither scored nor unscored.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// Its probability is below the policy's floor, whatever follows.
    Floor,
    /// It lies between two windows of a first pass that were no hits ([`crate::window::coarse`]). Nothing else is known of it.
    Coarse,
    /// A long pass over the whole text had no reason to ask for it ([`crate::window::screen`]). Nothing else is known of it.
    Screen,
}

/// One window with its scores: a row of `scores/part-*.parquet`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredWindow {
    pub item: ItemId,
    pub window: WindowId,
    pub placement: Placement,
    pub text: TextStats,
    /// Only with `--reveal`: token ids are text.
    pub token_ids: Option<Vec<u32>>,
    /// Why it was left before its end: the scores are then those of its first tokens (0 to all but one). Absent = it was
    /// scored to its end, or not at all.
    pub left: Option<Left>,
    /// The scores, or why there are none.
    pub scores: Result<TokenScores, String>,
}

/// An item as it was probed: what a report may know of it, and its text only with `--reveal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedItem {
    /// The item itself. Reports take its id, kind, provenance and counts; its text never.
    pub item: Item,
    /// SHA-256 over the run's salt and the item's text.
    pub salted_digest: Digest,
    /// The layouts in which it was probed. Empty if it couldn't be probed at all.
    pub forms: Vec<ProbedForm>,
    /// Why no window could be cut, if none could: the item is then inconclusive, never clear.
    pub unprobed: Option<String>,
}

/// `run.json`: all that identifies a run. Two runs with equal manifests (but for `created_at`,
/// `command` and `salt`) score the same windows of the same texts with the same weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// [`RUN_SCHEMA`].
    pub schema: String,
    /// [`TOOL`].
    pub tool: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// The command line, for the record.
    pub command: Vec<String>,
    /// Random, 32 hexadecimal digits; salts the content digests of reports and never leaves this file.
    pub salt: String,
    pub model: ModelIdentity,
    /// The reference checkpoint, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ModelIdentity>,
    pub probe_set: InputManifest,
    pub settings: Settings,
    pub plan: Plan,
}

/// What was found out about one window beyond its scores: a line of `follow-up.jsonl`, or several of one window joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowUpRow {
    pub window: WindowId,
    pub found: FollowUp,
}

/// The windows of a run and how they are divided into parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Windows in all.
    pub windows: u64,
    /// Windows a part; the last part may be shorter.
    pub part_size: u64,
    /// SHA-256 over all windows' ids, token ids and prefix lengths, in order.
    pub digest: Digest,
    /// One SHA-256 a part over the ids of its windows, in order: by these a part on disk is known to hold
    /// the windows planned for it.
    pub part_ids: Vec<Digest>,
}
