//! Several runs over the same texts: every model in every precision, after every prefix, with every token at the start.

use super::{ProbeConfig, folder_name};
use crate::digest::Digest;
use crate::report::Report;
use crate::run::TOOL;
use crate::sweep::{Setting, Sweep, SweptRun, bos_name};
use crate::tokens::BosChoice;
use std::path::PathBuf;

/// What is to be run: every combination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepGrid {
    pub models: Vec<String>,
    /// Precisions by name, such as `auto` or `bf16`.
    pub dtypes: Vec<String>,
    /// Prefix lengths in tokens.
    pub prefixes: Vec<u32>,
    pub bos: Vec<BosChoice>,
}

/// One combination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepPoint {
    /// Index into the grid's models.
    pub model: usize,
    pub dtype: String,
    pub prefix: u32,
    pub bos: BosChoice,
}

/// A run of one combination, and its report or why there is none.
#[derive(Clone, Debug)]
pub struct SweepResult {
    pub point: SweepPoint,
    pub report: Result<Report, String>,
}

impl SweepGrid {
    /// Every combination of these, each once, in the order in which they were given.
    pub fn new(models: &[String], dtypes: &[String], prefixes: &[u32], bos: &[BosChoice]) -> Self {
        Self {
            models: once(models),
            dtypes: once(dtypes),
            prefixes: once(prefixes),
            bos: once(bos),
        }
    }

    /// The only combination, where there is but one: then it's no sweep.
    pub fn single(&self) -> Option<SweepPoint> {
        if self.models.len() == 1 && self.per_model() == 1 {
            self.points(0, self.dtypes.first()?).pop()
        } else {
            None
        }
    }

    /// Runs per model.
    fn per_model(&self) -> usize {
        self.dtypes.len() * self.prefixes.len() * self.bos.len()
    }

    /// The combinations that need the model, at its index, in one precision.
    pub fn points(&self, model: usize, dtype: &str) -> Vec<SweepPoint> {
        let mut points = Vec::new();
        for &bos in &self.bos {
            for &prefix in &self.prefixes {
                points.push(SweepPoint {
                    model,
                    dtype: dtype.to_owned(),
                    prefix,
                    bos,
                });
            }
        }
        points
    }

    /// The configuration of one run. Without a minimum of context of its own,
    /// a sweep takes the longest prefix for all, so that every prefix is followed by the same suffixes.
    pub fn config(&self, base: &ProbeConfig, prefix: u32) -> ProbeConfig {
        let mut config = base.clone();
        config.window.prefix = prefix;
        // A sweep compares values, which windows have only if they are scored to their ends.
        config.exhaustive |= self.single().is_none();
        if self.prefixes.len() > 1 && config.window.lead.is_none() {
            config.window.lead = self.prefixes.iter().max().copied();
        }
        config
    }

    /// The name of a run's folder below that of the sweep: the model where there are several, then the settings where there
    /// are.
    pub fn folder(&self, point: &SweepPoint) -> PathBuf {
        let mut folder = PathBuf::new();
        if self.models.len() > 1 {
            folder.push(self.model_folder(point.model));
        }
        if self.per_model() > 1 {
            folder.push(point.name());
        }
        folder
    }

    /// The model's own name; with a number where another one before has the same.
    fn model_folder(&self, model: usize) -> String {
        let name = folder_name(&self.models[model]);
        let before = self.models[..model].iter();
        match before.filter(|other| folder_name(other) == name).count() {
            0 => name,
            before => format!("{name}-{}", before + 1),
        }
    }

    /// All combinations of the model at this index.
    pub fn of_model(&self, model: usize) -> Vec<SweepPoint> {
        let dtypes = self.dtypes.iter();
        dtypes.flat_map(|dtype| self.points(model, dtype)).collect()
    }

    /// Compares the runs.
    pub fn compare(&self, results: &[SweepResult]) -> Sweep {
        let runs: Vec<SweptRun<'_>> = results.iter().map(|result| self.swept(result)).collect();
        Sweep::of(&runs)
    }

    fn swept<'a>(&self, result: &'a SweepResult) -> SweptRun<'a> {
        let point = &result.point;
        SweptRun {
            setting: Setting {
                model: self.models[point.model].clone(),
                dtype: point.dtype.clone(),
                prefix: point.prefix,
                bos: point.bos,
            },
            folder: self.folder(point).display().to_string(),
            report: result.report.as_ref().map_err(Clone::clone),
        }
    }

    /// The folder's name of a sweep without one: the same for the same sweep, another for others. `inputs` identifies the
    /// texts and whatever else isn't in the configuration.
    pub fn default_name(&self, base: &ProbeConfig, inputs: &serde_json::Value) -> String {
        let settings: Vec<String> = self.of_model(0).iter().map(SweepPoint::name).collect();
        let identity = serde_json::json!([
            self.models,
            settings,
            base.window,
            base.reveal,
            inputs,
            TOOL
        ]);
        let digest = Digest::of_bytes(identity.to_string().as_bytes());
        format!("sweep-{}", &digest.as_str()[..8])
    }
}

impl SweepPoint {
    fn name(&self) -> String {
        let Self {
            dtype, prefix, bos, ..
        } = self;
        format!("{dtype}-p{prefix}-bos-{}", bos_name(*bos))
    }
}

/// The same values once each, in the order in which they were given.
fn once<T: PartialEq + Clone>(given: &[T]) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for value in given {
        if !kept.contains(value) {
            kept.push(value.clone());
        }
    }
    kept
}
