//! What byrote measures and decides: texts, windows, metrics, policies, verdicts and reports. It knows no model and no
//! command line; scores come in through [`backend::Backend`], token ids through [`tokens::TextEncoder`].
//!
//! docs/architecture.md shows how the modules depend on each other, and where to add what.
//!
//! Natural logarithms throughout; ranks count from 0; line numbers from 1.

pub mod backend;
pub mod compare;
pub mod controls;
pub mod digest;
pub mod error_line;
pub mod float_serde;
pub mod follow;
pub mod gate;
pub mod items;
pub mod metric;
pub mod percent;
pub mod policy;
#[cfg(feature = "threads")]
pub mod pool;
#[cfg(feature = "probe")]
pub mod probe;
pub mod random;
pub mod registry;
pub mod report;
pub mod run;
pub mod simd;
pub mod sweep;
pub mod system;
pub mod template;
pub mod tokens;
pub mod verdict;
pub mod window;
