//! byrote finds out what a released language model knows by rote.
//!
//! Modules stand in the order in which data flows:
//!
//! ```text
//! item text -> Window{prefix, suffix ids} -> TokenScores per suffix token -> metric values -> Verdict -> Report -> json/html/md/..., exit code
//!   items        window                        backend (model inside)         metric            verdict    report      report/*     gate
//! ```
//!
//! Each part knows only what stands to its left, and `tests/tidy.rs` checks that:
//! `items` doesn't know Candle, `backend` is the last place where a tensor exists,
//! `metric` doesn't know files or models, `report` doesn't know exit codes.
//! [`backend::Backend`] and `model::CausalLm` are the only traits; everything else is plain data
//! and functions over it.
//!
//! Natural logarithms throughout; ranks count from 0; line numbers from 1.

pub mod backend;
pub mod digest;
pub mod gate;
pub mod items;
pub mod metric;
pub mod policy;
pub mod registry;
pub mod report;
pub mod run;
pub mod sweep;
pub mod tokens;
pub mod verdict;
pub mod window;

#[cfg(feature = "native")]
pub mod model;
