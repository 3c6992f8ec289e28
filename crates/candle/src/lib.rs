//! Open language models, with logits at every position: checkpoints, tokenizers, layers, kernels and the hub, on Candle.
//!
//! [`native::Native`] is the backend that byrote scores with. This crate knows no items, no metrics and no reports.

#[cfg(feature = "hub")]
pub mod hub;
pub mod model;
pub mod native;
pub mod pool;
pub mod tokens;
