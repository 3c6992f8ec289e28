//! Metrics: pure functions of one observation. They know no file, clock, model or policy.

pub mod text;
