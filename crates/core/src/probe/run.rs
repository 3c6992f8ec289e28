//! One run, from texts to a report.

use super::follow_up::ScoredRun;
use super::prepare::{check, cut_all, default_name, probed_items};
use super::score::{Scoring, ScoringSummary, Texts};
use super::{Checkpoints, ProbeConfig, ProbeError, ProbeModel, Progress, RUNS};
use crate::gate::decide;
use crate::items::ProbeSet;
use crate::policy::Policy;
use crate::report::{Assembly, Judged, Report, Timings, html, json_v1, markdown};
use crate::run::directory::{RunDir, salt};
use crate::run::{FollowUpRow, Plan, ProbedItem, RUN_SCHEMA, RunManifest, TOOL};
use crate::verdict::{Labels, not_measured, power};
use crate::window::Window;
use jiff::Zoned;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A run that was carried out to its end.
#[derive(Clone, Debug)]
pub struct Probed {
    pub report: Report,
    /// The folder with the report's files, the scores and the follow-ups.
    pub folder: PathBuf,
}

/// Probes a model with texts; `None` if it was stopped, and the same call then resumes it.
///
/// Writes `report.json`, `report.md` and `report.html` beside the scores.
///
/// # Errors
/// When the texts can't be cut into windows for this model, or the run directory can't be used.
pub fn run(
    config: &ProbeConfig,
    texts: &ProbeSet,
    model: &ProbeModel,
    checkpoints: &dyn Checkpoints,
    progress: &dyn Progress,
) -> Result<Option<Probed>, ProbeError> {
    let (policy, started) = (&config.policy, Instant::now());
    let settings = config.settings(model, checkpoints.reference().is_some())?;
    let mut cuts = cut_all(texts, model, &settings.window)?;
    let windows: Vec<Window> = cuts
        .iter_mut()
        .flat_map(|cut| take(&mut cut.windows))
        .collect();
    check(&windows, model)?;
    let manifest = RunManifest {
        schema: RUN_SCHEMA.to_owned(),
        tool: TOOL.to_owned(),
        created_at: config.created_at.to_string(),
        command: config.command.clone(),
        salt: salt()?,
        model: model.identity.clone(),
        reference: checkpoints.reference().cloned(),
        probe_set: texts.manifest.clone(),
        settings,
        plan: Plan::of(&windows),
    };
    let folder = match &config.folder {
        Some(folder) => folder.clone(),
        None => Path::new(RUNS).join(default_name(&manifest)),
    };
    let dir = RunDir::open(&folder, manifest)?;
    // A resumed run keeps its first salt.
    let items = probed_items(texts, cuts, &dir.manifest().salt);

    let scoring = Instant::now();
    let scored = Scoring {
        dir: &dir,
        windows: &windows,
        texts: Texts::new(&items, policy),
        model,
        policy,
        progress,
    }
    .run()?;
    let scoring_s = scoring.elapsed().as_secs_f64();
    let Some(scored) = scored else {
        return Ok(stopped(&folder, progress));
    };
    let follow_ups = ScoredRun {
        dir: &dir,
        policy,
        items: &items,
        windows: &windows,
        model,
        checkpoints,
        batch: config.batch,
        progress,
    }
    .follow_up()?;
    let Some(follow_ups) = follow_ups else {
        return Ok(stopped(&folder, progress));
    };
    let judged = judge(&dir, &items, &windows, &scored, &follow_ups, model, policy)?;
    let decision = config
        .decide
        .then(|| decide(judged.report(), policy, Zoned::now().date()));
    let timings = Timings {
        total_s: model.load_s + started.elapsed().as_secs_f64(),
        load_s: model.load_s,
        scoring_s,
        windows_scored: scored.computed,
        windows_per_second: (scored.computed > 0).then(|| scored.computed as f64 / scoring_s),
    };
    let report = judged.into_report(decision, Some(timings));
    dir.write_file("report.json", &json_v1::render(&report))?;
    dir.write_file("report.md", markdown::render(&report).as_bytes())?;
    dir.write_file("report.html", html::render(&report)?.as_bytes())?;
    Ok(Some(Probed { report, folder }))
}

fn stopped(folder: &Path, progress: &dyn Progress) -> Option<Probed> {
    progress.note(&format!(
        "stopped; what was scored is in {}, the same command resumes there",
        folder.display()
    ));
    None
}

fn judge(
    dir: &RunDir,
    items: &[ProbedItem],
    windows: &[Window],
    scored: &ScoringSummary,
    follow_ups: &[FollowUpRow],
    model: &ProbeModel,
    policy: &Policy,
) -> Result<Judged, ProbeError> {
    let mut assembly = Assembly::new(dir.manifest(), items, follow_ups, policy);
    for row in dir.each() {
        assembly.add(&row?);
    }
    let mut evidence = assembly.evidence();
    evidence.shared = scored.shared;
    if let Some(screening) = &scored.screening {
        evidence.screened = Some(screening.recall(&mut dir.rows(), model, policy)?);
    }
    if let Some(encoder) = &model.encoder {
        evidence.spell(windows, |id| encoder.token_bytes(id).to_vec());
    }
    Ok(evidence.judge())
}

impl Probed {
    /// Why the run, though complete, hasn't measured everything that was asked for; `None` if it has.
    pub fn unmeasured(&self) -> Option<String> {
        let counts = &self.report.summary.windows;
        let measured = counts.scored + counts.left;
        if measured == counts.planned && counts.planned > 0 {
            return None;
        }
        let mut reasons = self.report.items.iter().filter_map(|item| {
            not_measured(&item.evidence).map(|reason| format!("\"{}\": {reason}", item.id))
        });
        let reason = reasons
            .next()
            .unwrap_or_else(|| "the probe set gave no window".to_owned());
        Some(format!(
            "{measured} of {} windows were scored, which decides nothing for the rest: {reason}",
            counts.planned
        ))
    }
}

/// What a user should know of the texts before anything is spent on a run: the probe set's warnings, and what its controls
/// let the run detect.
pub fn outlook(texts: &ProbeSet, policy: &Policy) -> Vec<String> {
    let warnings = texts.manifest.warnings.iter();
    let mut notes: Vec<String> = warnings
        .map(|warning| format!("warning: {warning}"))
        .collect();
    let labels: Vec<Labels<'_>> = texts
        .items
        .iter()
        .map(|item| Labels {
            id: &item.id,
            kind: item.kind,
            tags: &item.tags,
            matches: &item.matches,
        })
        .collect();
    let ahead = power::ahead(policy, &labels);
    notes.extend(ahead.iter().map(ToString::to_string));
    if texts.manifest.controls == 0 {
        notes.push(
            "warning: no control texts, so that nothing can be told from what is predictable and every verdict will be \
             inconclusive; add --controls builtin, or texts of your own (docs/controls.md)"
                .to_owned(),
        );
    }
    notes
}
