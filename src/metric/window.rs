//! What is known of one window: all its metrics, or why there are none.

use crate::run::TextStats;
use crate::window::{Form, WindowId};

/// One scored window: where it lies in its item and what was measured. Holds no text and no token ids.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowEvidence {
    pub window: WindowId,
    pub form: Form,
    /// Offset of the first token in the item's encoding, BOS not counted.
    pub start_token: u32,
    /// The prefix covers bytes `start_byte..suffix_byte` of the item's text in this form, the suffix
    /// `suffix_byte..end_byte`.
    pub start_byte: u64,
    pub suffix_byte: u64,
    pub end_byte: u64,
    /// The suffix in characters: `suffix_char..end_char`.
    pub suffix_char: u64,
    pub end_char: u64,
    /// Tokens of context, BOS included.
    pub prefix_len: u32,
    /// Tokens scored.
    pub suffix_len: u32,
    /// A pre-split item's boundary fell inside a token, which then belongs to the prefix.
    pub straddles: bool,
    /// Statistics of the text alone.
    pub text: TextStats,
    /// Greedy decoding from the prefix yields exactly the suffix.
    pub greedy_exact: bool,
    /// Suffix tokens before the first one that isn't the model's first choice.
    pub verbatim_run: u32,
    /// Share of suffix tokens that are the model's first choice under teacher forcing, 0 to 1.
    pub em: f64,
    /// Natural log of the suffix's probability under plain sampling at T = 1.
    pub sum_logprob: f64,
    /// Smallest distance to a tie at the top, in nats: how near a greedy verdict is to flipping.
    pub min_margin: f64,
    /// Natural log of the suffix's probability under each scheme, in the backend's order; `-inf` where
    /// the scheme never samples it.
    pub schemes: Vec<SchemeLogP>,
}

/// `ln p_z` under one scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemeLogP {
    /// The scheme's id, such as `top_k40`.
    pub scheme: String,
    /// Natural log, at most 0; `-inf` = the scheme never samples it.
    pub log_p_z: f64,
}

/// A window that has no scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnscoredWindow {
    pub window: WindowId,
    /// Why, in words.
    pub reason: String,
}
