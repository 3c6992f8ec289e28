//! The probe engine: cuts texts into windows, scores them with a model, follows some of them up, and reports.
//!
//! [`run`] does all of it in a run directory, part by part, and resumes there. It knows no command line, no terminal and no
//! way to load a model: a [`ProbeModel`] and a [`ProbeConfig`] come in, a [`Probed`] run comes out, and [`Progress`] shows
//! how far it is and says when to stop.

mod config;
mod error;
mod follow_up;
mod model;
mod prepare;
mod progress;
mod run;
mod score;
mod select;
pub mod sweep;

#[cfg(test)]
mod tests;

pub use config::{ProbeConfig, RUNS, SelectionRequest};
pub use error::ProbeError;
pub use model::{BoxError, Checkpoints, NoCheckpoints, ProbeModel, RenderedTemplates};
pub use prepare::folder_name;
pub use progress::{Progress, Silent};
pub use run::{Probed, outlook, run};
