//! Metrics: pure functions of one observation. They know no file, clock, model or policy.
//!
//! A metric is its function, with formula and citation in its doc comment, and a line in [`METRICS`],
//! from which the documentation and the legends of reports are made.

pub mod greedy;
pub mod item;
pub mod probability;
pub mod samples;
pub mod window;
