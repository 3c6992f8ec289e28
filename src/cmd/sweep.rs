//! Several probes in one: every model in every precision, after every prefix, with every token at the start.

use super::model::{Loading, Ready, announce, locate, ready};
use super::probe::{Asked, Job, Probed, Variant, asked_for, decide_by, graver, probe};
use crate::Outcome;
use crate::cli::{Bos, Dtype, OutputFormat};
use crate::output;
use anyhow::{Context, Result};
use byrote_candle::model::source::Located;
use byrote_core::backend::Scheme;
use byrote_core::digest::Digest;
use byrote_core::report::Report;
use byrote_core::sweep::{Setting, Standing, Sweep, SweptRun, bos_name, html, json, markdown};
use byrote_core::tokens::BosChoice;
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What is to be run: every combination.
pub(super) struct Cells {
    models: Vec<String>,
    dtypes: Vec<Dtype>,
    prefixes: Vec<u32>,
    bos: Vec<Bos>,
    lead: Option<u32>,
}

/// One combination that was run.
struct Done {
    setting: Setting,
    folder: String,
    report: Result<Report, String>,
}

/// The same models, precisions and so on once each, in the order in which they were given.
fn once<T: PartialEq + Clone>(given: &[T]) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for value in given {
        if !kept.contains(value) {
            kept.push(value.clone());
        }
    }
    kept
}

impl Cells {
    pub(super) fn of(job: &Job<'_>) -> Self {
        let args = job.args;
        let prefixes = once(&args.prefix);
        // One lead for all, so that every prefix is followed by the same suffixes.
        let lead = args.lead.or_else(|| {
            prefixes
                .iter()
                .max()
                .copied()
                .filter(|_| prefixes.len() > 1)
        });
        Self {
            models: once(&job.references),
            dtypes: once(&args.dtype),
            prefixes,
            bos: once(&args.bos),
            lead,
        }
    }

    /// The only combination, where there is but one: no sweep.
    pub(super) fn single(&self) -> Option<(&str, Variant)> {
        match (&*self.models, &*self.dtypes, &*self.prefixes, &*self.bos) {
            ([model], &[dtype], &[prefix], &[bos]) => Some((
                model,
                Variant {
                    dtype,
                    prefix,
                    bos,
                    lead: self.lead,
                },
            )),
            _ => None,
        }
    }

    /// How many runs there are of one model.
    fn of_a_model(&self) -> usize {
        self.dtypes.len() * self.prefixes.len() * self.bos.len()
    }

    fn variants(&self, dtype: Dtype) -> impl Iterator<Item = Variant> {
        let of_bos = move |bos| self.prefixes.iter().map(move |prefix| (bos, *prefix));
        self.bos
            .iter()
            .flat_map(of_bos)
            .map(move |(&bos, prefix)| Variant {
                dtype,
                prefix,
                bos,
                lead: self.lead,
            })
    }

    /// A folder's name below that of the sweep: the model where there are several, then the settings where there are.
    fn folder(&self, model: usize, variant: Variant) -> PathBuf {
        let mut folder = PathBuf::new();
        if self.models.len() > 1 {
            folder.push(self.model_folder(model));
        }
        if self.of_a_model() > 1 {
            folder.push(variant.name());
        }
        folder
    }

    /// The model's own name; with a number where two of them have the same.
    fn model_folder(&self, model: usize) -> String {
        let name = |model: &String| super::probe::slug(model);
        let own = self.models.get(model).map(name).unwrap_or_default();
        match self
            .models
            .iter()
            .take(model)
            .filter(|other| name(other) == own)
            .count()
        {
            0 => own,
            before => format!("{own}-{}", before + 1),
        }
    }
}

impl Variant {
    fn name(self) -> String {
        format!(
            "{}-p{}-bos-{}",
            word(self.dtype),
            self.prefix,
            word(self.bos)
        )
    }

    fn setting(self, model: &str) -> Setting {
        let bos = match self.bos {
            Bos::Auto => BosChoice::Auto,
            Bos::Always => BosChoice::Always,
            Bos::Never => BosChoice::Never,
        };
        debug_assert_eq!(bos_name(bos), word(self.bos));
        Setting {
            model: model.to_owned(),
            dtype: word(self.dtype),
            prefix: self.prefix,
            bos,
        }
    }
}

/// A choice as it is written on the command line.
fn word(choice: impl ValueEnum) -> String {
    choice
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// Runs every combination, each in a folder of its own, then compares them.
pub(super) fn run(job: &Job<'_>, cells: &Cells) -> Result<Outcome> {
    let root = job
        .args
        .out
        .clone()
        .unwrap_or_else(|| Path::new(super::probe::RUNS).join(default_name(job, cells)));
    std::fs::create_dir_all(&root)
        .with_context(|| format!("{}: the folder can't be made", root.display()))?;
    let mut done = Vec::new();
    let mut worst = Outcome::Done;
    for (at, model) in cells.models.iter().enumerate() {
        let outcome = of_model(job, cells, (at, model), &root, &mut done);
        if outcome == Outcome::Interrupted {
            return Ok(outcome);
        }
        worst = graver(worst, outcome);
    }
    let runs: Vec<SweptRun<'_>> = done
        .iter()
        .map(|run| SweptRun {
            setting: run.setting.clone(),
            folder: run.folder.clone(),
            report: run.report.as_ref().map_err(Clone::clone),
        })
        .collect();
    let sweep = Sweep::of(&runs);
    let (json, markdown, html) = (
        json::render(&sweep),
        markdown::render(&sweep),
        html::render(&sweep)?,
    );
    write(&root.join("sweep.json"), &json)?;
    write(&root.join("sweep.md"), markdown.as_bytes())?;
    write(&root.join("sweep.html"), html.as_bytes())?;
    match job.args.format {
        OutputFormat::Json => output::print(&json)?,
        OutputFormat::Text => output::print(markdown.as_bytes())?,
    };
    let unstable = sweep.standing(Standing::Unstable).count();
    let of = sweep.items.len();
    let [page, table] = ["sweep.html", "sweep.md"].map(|name| root.join(name));
    output::note(format_args!(
        "{unstable} of {of} items are unstable. Sweep: {}, {}",
        page.display(),
        table.display()
    ));
    Ok(worst)
}

/// All combinations of one model. What can't be run is noted and leaves the sweep undecided; the rest stands.
fn of_model(
    job: &Job<'_>,
    cells: &Cells,
    model: (usize, &str),
    root: &Path,
    done: &mut Vec<Done>,
) -> Outcome {
    let mut worst = Outcome::Done;
    let failed = |variants: Vec<Variant>, error: &anyhow::Error, done: &mut Vec<Done>| {
        output::error(error);
        for variant in variants {
            done.push(cells.done(model, variant, Err(output::in_a_line(error))));
        }
        Outcome::Undecided
    };
    let given = &job.args.load;
    let located = locate(
        model.1,
        job.registry,
        given.offline,
        given.adapter.as_deref(),
    );
    let found = located.and_then(|located| Ok((asked_for(job, &located)?, located)));
    let (asked, located) = match found {
        Ok(found) => found,
        Err(error) => {
            let all = cells
                .dtypes
                .iter()
                .flat_map(|dtype| cells.variants(*dtype))
                .collect();
            return failed(all, &error, done);
        }
    };
    for &dtype in &cells.dtypes {
        // Weights are read, and quantized, once for all prefixes and tokens at the start.
        let started = Instant::now();
        let mut loaded = match load(job, &located, dtype, cells) {
            Ok(loaded) => loaded,
            Err(error) => {
                worst = graver(worst, failed(cells.variants(dtype).collect(), &error, done));
                continue;
            }
        };
        let mut load_s = started.elapsed().as_secs_f64();
        for variant in cells.variants(dtype) {
            let folder = cells.folder(model.0, variant);
            output::note(format_args!("run {}: {}", done.len() + 1, folder.display()));
            match cell(
                job,
                variant,
                (&located, &mut loaded),
                &asked,
                root.join(&folder),
                load_s,
            ) {
                Ok((Outcome::Interrupted, _)) => return Outcome::Interrupted,
                Ok((outcome, report)) => {
                    worst = graver(worst, outcome);
                    let report = report
                        .map(|report| *report)
                        .ok_or_else(|| "it was cut short".to_owned());
                    done.push(cells.done(model, variant, report));
                }
                Err(error) => worst = graver(worst, failed(vec![variant], &error, done)),
            }
            load_s = 0.0;
        }
    }
    worst
}

impl Cells {
    fn done(&self, model: (usize, &str), variant: Variant, report: Result<Report, String>) -> Done {
        let folder = self.folder(model.0, variant).display().to_string();
        Done {
            setting: variant.setting(model.1),
            folder,
            report,
        }
    }
}

fn load(job: &Job<'_>, located: &Located, dtype: Dtype, cells: &Cells) -> Result<Ready> {
    let bos = cells.bos.first().copied().unwrap_or(Bos::Auto);
    let schemes = Scheme::with_defaults(&job.policy.schemes);
    let loading = Loading {
        dtype,
        bos,
        window: job.args.window(),
        keeps: true,
    };
    let mut loaded = ready(located, &job.args.load, loading, schemes)?;
    decide_by(job.policy, &mut loaded);
    announce(&loaded);
    Ok(loaded)
}

fn cell(
    job: &Job<'_>,
    variant: Variant,
    (located, model): (&Located, &mut Ready),
    asked: &Asked,
    folder: PathBuf,
    load_s: f64,
) -> Result<Probed> {
    model.set_bos(variant.bos)?;
    probe(
        job,
        variant,
        (located, model),
        asked.clone(),
        Some(folder),
        load_s,
    )
}

/// A folder's name for a sweep without `--out`: another sweep, another folder; the same one, the same.
fn default_name(job: &Job<'_>, cells: &Cells) -> String {
    let args = job.args;
    let settings: Vec<String> = cells
        .dtypes
        .iter()
        .flat_map(|dtype| cells.variants(*dtype))
        .map(Variant::name)
        .collect();
    let identity = serde_json::json!([
        cells.models,
        settings,
        cells.lead,
        job.given.as_ref().map(|set| &set.manifest.files),
        [Some(args.suffix), args.stride, args.stride_chars],
        word(args.reflow),
        args.reveal,
        args.load.adapter,
        // Absent where only the bare prefix is used: such a sweep has the name it always had.
        job.templates
            .iter()
            .any(|template| !template.id.is_none())
            .then(|| job
                .templates
                .iter()
                .map(|template| &template.digest)
                .collect::<Vec<_>>()),
        byrote_core::run::TOOL,
    ]);
    format!(
        "sweep-{}",
        &Digest::of_bytes(identity.to_string().as_bytes()).as_str()[..8]
    )
}

/// Under a temporary name first, so that what is there is whole.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = path.with_extension("tmp");
    std::fs::write(&written, bytes)
        .and_then(|()| std::fs::rename(&written, path))
        .with_context(|| format!("{}: can't be written", path.display()))
}
