//! Windows that were left, as they stand in `report.json`.

use super::mirror::{Mirror, mirrored};
use crate::metric::left::LeftWindows;
use crate::run::follow_up::SchemeLogP;

mirrored! {
    LeftV1 = LeftWindows {
        /// Left because their probability is below the policy's floor, whatever follows.
        floor: u64,
        /// Left because they lie between two windows of a first pass that were no hits; they have no bound.
        coarse: u64,
        /// Left because a long pass over the whole text had no reason to ask for them; they have no bound.
        screen: u64,
        /// Upper bounds, not values: the greatest ln p_z that a window left by the floor may have.
        bounds: Vec<SchemeLogP>,
        /// Longest verbatim run among them, in tokens; null if it isn't known of every one.
        verbatim_run: Option<u32>,
        /// Tokens.
        min_suffix_len: u32,
        max_suffix_len: u32,
        /// Templates under which the form was probed.
        templates: u64,
    }
}

impl LeftV1 {
    pub(super) fn is_none(&self) -> bool {
        self.floor + self.coarse + self.screen == 0
    }
}

impl Default for LeftV1 {
    fn default() -> Self {
        Self::mirror(&LeftWindows::default())
    }
}
