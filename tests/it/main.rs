//! The integration tests, as one binary: a binary per file would link Candle and Arrow each time. Two tests have a binary
//! of their own: `hostile`, which replaces the allocator and the panic hook of its process, and `tidy`, which needs nothing built.
#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and prints its figures"
)]

#[cfg(all(feature = "native", unix))]
mod action;
#[cfg(feature = "native")]
mod bad_input;
#[cfg(feature = "native")]
mod bf16;
#[cfg(all(feature = "native", unix))]
mod book;
#[cfg(feature = "native")]
mod browser;
#[cfg(feature = "native")]
mod checkpoints;
#[cfg(feature = "hub")]
mod cli;
#[cfg(feature = "native")]
mod compare;
mod control_sets;
mod controls;
#[cfg(feature = "native")]
mod docs;
#[cfg(feature = "native")]
mod exit;
#[cfg(feature = "native")]
mod exit_codes;
#[cfg(target_os = "linux")]
mod features;
#[cfg(feature = "native")]
mod fewer;
#[cfg(feature = "native")]
mod follow;
#[cfg(feature = "native")]
mod formats;
#[cfg(feature = "native")]
mod gate;
#[cfg(feature = "native")]
mod gemma_verdicts;
#[cfg(feature = "native")]
mod gguf_types;
#[cfg(feature = "hub")]
mod hub;
#[cfg(all(feature = "native", unix))]
mod kill;
mod metrics;
#[cfg(feature = "native")]
mod near_probability;
#[cfg(feature = "native")]
mod nothing_lost;
#[cfg(feature = "native")]
mod oracle;
#[cfg(feature = "native")]
mod parity;
#[cfg(feature = "native")]
mod quantized;
#[cfg(feature = "native")]
mod redaction;
#[cfg(all(feature = "native", target_os = "linux"))]
mod resources;
#[cfg(feature = "native")]
mod same_answer;
#[cfg(feature = "native")]
mod score;
#[cfg(feature = "native")]
mod sources;
mod support;
#[cfg(feature = "native")]
mod sweep;
#[cfg(feature = "native")]
mod template_frames;
#[cfg(feature = "native")]
mod templates;
#[cfg(feature = "native")]
mod tokenizers;
#[cfg(feature = "native")]
mod unroll;
#[cfg(feature = "native")]
mod validity;
#[cfg(feature = "native")]
mod windows;
