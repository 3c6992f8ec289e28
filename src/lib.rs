//! byrote finds out what a released language model knows by rote.
//!
//! This crate is the program, and the parts of it that a program of your own needs. `byrote_core` measures and decides;
//! `byrote_candle` loads models. docs/architecture.md shows how they fit together.

#[cfg(feature = "native")]
pub mod checkpoint;

pub use byrote_core::{
    backend, controls, gate, items, metric, policy, report, run, verdict, window,
};

#[cfg(feature = "native")]
pub use byrote_core::probe::{self, ProbeConfig, ProbeModel};

#[cfg(feature = "native")]
pub use byrote_candle::{model, native};
#[cfg(feature = "native")]
pub use checkpoint::open_model;
