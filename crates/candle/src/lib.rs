//! Runs open language models on Candle, with logits at every position: checkpoints, tokenizers,
//! layers, kernels and the hub client.
//!
//! [`native::Native`] is the backend that byrote scores with. This crate doesn't depend on items,
//! metrics or reports.

pub mod model;
pub mod native;
pub mod tokens;

#[cfg(feature = "hub")]
pub use model::source::hub;
