//! What is known of one item: its windows' metrics brought together, form by form.

use crate::metric::samples::Cost;
use crate::metric::window::UnscoredWindow;
use crate::window::{Form, WindowId};

/// All that was measured of an item. Nothing in it depends on text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemEvidence {
    /// Why no window could be cut, if none could.
    pub unprobed: Option<String>,
    /// One entry a layout in which the item was probed.
    pub forms: Vec<FormEvidence>,
    /// The form that counts: the one with the greatest coverage, then the greatest `ln p_z`. Absent
    /// if no window of the item was scored.
    pub worst_form: Option<Form>,
}

/// One layout of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct FormEvidence {
    pub form: Form,
    /// Size of the text in this layout.
    pub bytes: u64,
    pub chars: u64,
    pub tokens: u64,
    /// Windows that were cut; `scored`, `unscored` and windows that are missing altogether add up to it.
    pub windows: u64,
    pub scored: u64,
    /// Windows that were given to the model and have no scores.
    pub unscored: Vec<UnscoredWindow>,
    /// Absent if no window of this form was scored.
    pub values: Option<FormValues>,
}

/// Metrics over the scored windows of one form.
#[derive(Clone, Debug, PartialEq)]
pub struct FormValues {
    /// One entry a scheme, in the backend's order.
    pub schemes: Vec<SchemeEvidence>,
    /// Longest verbatim run of any window, in tokens.
    pub max_verbatim_run: u32,
    /// Mean over windows of the teacher-forced share of first choices, 0 to 1.
    pub mean_em: f64,
    /// Mean log-probability a suffix token at T = 1, over all windows' tokens, in nats.
    pub mean_logprob: f64,
    /// Smallest distance to a tie at the top over all windows, in nats.
    pub min_margin: f64,
    /// Windows that greedy decoding extracts.
    pub greedily_extracted: u64,
    /// Windows whose suffix begins inside a token (pre-split items).
    pub straddling: u64,
    /// Shortest and longest suffix, in tokens.
    pub min_suffix_len: u32,
    pub max_suffix_len: u32,
    /// What can be extracted within the sample budget. Absent if the budget's scheme wasn't scored.
    pub extraction: Option<Extraction>,
}

/// `ln p_z` over the windows of a form, under one scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemeEvidence {
    /// The scheme's id, such as `top_k40`.
    pub scheme: String,
    /// The window with the greatest `ln p_z`; the first of them in a tie.
    pub best_window: WindowId,
    /// What that window costs.
    pub best: Cost,
    /// Median over windows of `ln p_z`; `-inf` possible.
    pub median_log_p_z: f64,
}

/// The part of a form that can be extracted at `p_z >= tau` under `scheme`.
#[derive(Clone, Debug, PartialEq)]
pub struct Extraction {
    pub scheme: String,
    /// The least probability that counts as extracted.
    pub tau: f64,
    /// Windows with `p_z >= tau`.
    pub windows: u64,
    /// Characters in the union of their suffixes.
    pub covered_chars: u64,
    /// `covered_chars` by the characters of the text in this form, 0 to 1.
    pub coverage: f64,
    /// That union, in order, touching suffixes merged.
    pub spans: Vec<Span>,
    /// Characters of the longest span; 0 if there is none.
    pub longest_span_chars: u64,
}

/// A stretch of an item's text, as half-open ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start_byte: u64,
    pub end_byte: u64,
    pub start_char: u64,
    pub end_char: u64,
    /// Windows whose suffixes make it up.
    pub windows: u64,
}
