//! All runs of a sweep, model by model.

use super::{ProbeJob, Target};
use crate::Outcome;
use crate::cmd::probe::outcome;
use crate::output;
use anyhow::Error;
use byrote::checkpoint::LoadedModel;
use byrote_core::probe::sweep::{SweepPoint, SweepResult};
use std::path::Path;

/// A sweep that is under way.
struct Sweeping<'a> {
    job: &'a ProbeJob<'a>,
    /// The folder that holds the runs' folders.
    root: &'a Path,
    results: Vec<SweepResult>,
    worst: Outcome,
}

/// Runs every combination; gives the runs and the worst of their outcomes.
pub(crate) fn run_all(job: &ProbeJob<'_>, root: &Path) -> (Vec<SweepResult>, Outcome) {
    let mut sweeping = Sweeping {
        job,
        root,
        results: Vec::new(),
        worst: Outcome::Done,
    };
    for model in 0..job.grid.models.len() {
        if sweeping.worst != Outcome::Interrupted {
            sweeping.run_model(model);
        }
    }
    (sweeping.results, sweeping.worst)
}

impl Sweeping<'_> {
    /// Runs all combinations of one model. What can't be run leaves the sweep undecided; the rest counts.
    fn run_model(&mut self, model: usize) {
        let (job, grid) = (self.job, &self.job.grid);
        let target = match job.target(model) {
            Ok(target) => target,
            Err(error) => return self.fail(grid.of_model(model), &error),
        };
        for dtype in &grid.dtypes {
            // Weights are read, and quantized, once for all prefixes and tokens at the start.
            let points = grid.points(model, dtype);
            match job.load(&target, dtype, grid.bos[0]) {
                Ok(mut loaded) => self.run_points(points, &target, &mut loaded),
                Err(error) => self.fail(points, &error),
            }
            if self.worst == Outcome::Interrupted {
                return;
            }
        }
    }

    fn run_points(&mut self, points: Vec<SweepPoint>, target: &Target, model: &mut LoadedModel) {
        for point in points {
            let folder = self.job.grid.folder(&point);
            let number = self.results.len() + 1;
            output::note(format_args!("run {number}: {}", folder.display()));
            let mut config = self.job.grid.config(&self.job.config, point.prefix);
            config.folder = Some(self.root.join(folder));
            let set = model.set_bos(point.bos);
            match set.and_then(|()| self.job.probe(&config, target, model)) {
                Ok(Some(probed)) => {
                    self.worst = self.worst.max(outcome(&probed));
                    let report = Ok(probed.report);
                    self.results.push(SweepResult { point, report });
                }
                Ok(None) => return self.worst = Outcome::Interrupted,
                Err(error) => self.fail(vec![point], &error),
            }
            model.load_s = 0.0;
        }
    }

    fn fail(&mut self, points: Vec<SweepPoint>, error: &Error) {
        output::error(error);
        self.worst = self.worst.max(Outcome::Undecided);
        for point in points {
            let report = Err(output::in_a_line(error));
            self.results.push(SweepResult { point, report });
        }
    }
}
