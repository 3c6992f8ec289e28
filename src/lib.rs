//! byrote finds out what a released language model knows by rote.
//!
//! Modules stand in the order in which data flows:
//!
//! ```text
//! item text -> Window{prefix, suffix ids} -> TokenScores per suffix token -> metric values -> FollowUp of a few -> Verdict -> Report -> json/html/md/..., exit code
//!   items        window                        backend (model inside)         metric            follow              verdict    report      report/*     gate
//! ```
//!
//! `template` stands beside `window`: how a window's prefix is put to a model other than bare.
//!
//! `compare` stands beside `report`: two or more reports on the same texts, item by item.
//!
//! `machine` tells what there is to compute with, and knows nothing else.
//!
//! `controls` stands beside `items`: the built-in control texts, and making and checking others. It knows texts only.
//!
//! Each part knows only what stands to its left, and `tests/tidy.rs` checks that:
//! `items` doesn't know Candle, `backend` is the last place where a tensor exists,
//! `metric` doesn't know files or models, `report` doesn't know exit codes.
//! [`backend::Backend`] and `model::CausalLm` are the only traits; everything else is plain data
//! and functions over it.
//!
//! Natural logarithms throughout; ranks count from 0; line numbers from 1.

pub mod backend;
pub mod compare;
pub mod controls;
pub mod digest;
pub mod follow;
pub mod gate;
pub mod items;
pub mod machine;
pub mod metric;
pub mod policy;
pub mod registry;
pub mod report;
pub mod run;
pub mod sweep;
pub mod template;
pub mod tokens;
mod vectorized;
pub mod verdict;
pub mod window;

#[cfg(feature = "native")]
pub mod model;
