//! What is found out about a few windows beyond their scores.

pub mod beam;
pub mod foreign;
