//! `byrote probe`: the whole job, from opted-out text to a report and an exit code.

use super::follow::{self, Reference, Scored};
use super::model::{Loading, Ready, announce, locate, ready};
use super::scoring::{Scoring, Texts};
use super::sweep::{self, Cells};
use super::template::{self, Templates};
use super::{clock, fewer, gate, spell};
use crate::Outcome;
use crate::cli::{Bos, Dtype, OutputFormat, ProbeArgs, ReflowArg};
use crate::output;
use crate::reports as render;
use anyhow::{Context, Result, bail};
use byrote_candle::model::builtin;
use byrote_candle::model::source::{Format, Located};
use byrote_core::backend::{Backend, Scheme};
use byrote_core::controls;
use byrote_core::digest::Digest;
use byrote_core::follow::exit::exit;
use byrote_core::gate::decide;
use byrote_core::items::{self, ProbeSet, Source};
use byrote_core::policy::Policy;
use byrote_core::policy::Statistic;
use byrote_core::registry::Registry;
use byrote_core::report::{self, Assembly, Report, Timings, html, json_v1, markdown, terminal};
use byrote_core::run::directory::{RunDir, salt};
use byrote_core::run::{Plan, ProbedItem, RUN_SCHEMA, RunManifest, Settings, TOOL};
use byrote_core::template::encode;
use byrote_core::template::file::Template;
use byrote_core::verdict::{Labels, not_measured, power};
use byrote_core::window::{Reflow, Stride, Window, WindowConfig, cut};
use jiff::Zoned;
use rayon::prelude::*;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Where runs go unless `--out` says so.
pub(super) const RUNS: &str = "byrote-runs";

/// Set by Ctrl-C.
pub(super) static STOP: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(args: &ProbeArgs) -> Result<Outcome> {
    let policy = Policy::open(args.gate.as_deref().unwrap_or("default"))?;
    let registry = super::models::open(args.load.registry.as_deref())?;
    let references = if args.model.is_empty() {
        vec![registry.default.clone()]
    } else {
        args.model.clone()
    };
    // What can fail cheaply fails before any model is fetched or loaded.
    clock::begun()?;
    for prefix in &args.prefix {
        fewer::asked(args, *prefix, &policy, None)?;
    }
    let templates = template::open(&args.template)?;
    let controls = controls::sources(&args.controls)?;
    let given = if args.prompts.is_empty() {
        None
    } else {
        let prompts: Vec<Source<'_>> = args.prompts.iter().map(|path| Source::Path(path)).collect();
        Some(items::read_with_controls(&prompts, &controls)?)
    };
    let root = args.out.clone().unwrap_or_else(|| PathBuf::from(RUNS));
    writable(&root)?;
    stop_on_ctrl_c()?;
    let compared = args
        .reference
        .as_deref()
        .map(|name| Reference::find(name, &registry, &args.load))
        .transpose()?;
    let job = Job {
        args,
        policy: &policy,
        registry: &registry,
        references,
        given,
        templates,
        controls,
        compared,
        sweep: false,
    };
    let cells = Cells::of(&job);
    let Some((reference, variant)) = cells.single() else {
        return sweep::run(&Job { sweep: true, ..job }, &cells);
    };
    let started = Instant::now();
    let located = locate(
        reference,
        &registry,
        args.load.offline,
        args.load.adapter.as_deref(),
    )?;
    let asked = asked_for(&job, &located)?;
    let loading = Loading {
        dtype: variant.dtype,
        bos: variant.bos,
        window: args.window(),
        keeps: true,
    };
    let mut model = ready(
        &located,
        &args.load,
        loading,
        Scheme::with_defaults(&policy.schemes),
    )?;
    decide_by(&policy, &mut model);
    announce(&model);
    let load_s = started.elapsed().as_secs_f64();
    Ok(probe(
        &job,
        variant,
        (&located, &model),
        asked,
        args.out.clone(),
        load_s,
    )?
    .0)
}

/// Products in bf16 are for the one statistic that a few windows decide, which are then scored again in f32.
pub(super) fn decide_by(policy: &Policy, model: &mut Ready) {
    if policy.statistic != Statistic::MaxLogPZ && model.backend.info().arithmetic != "f32" {
        output::note(
            "every window counts under the policy's statistic: products are computed in f32",
        );
        model.multiply_in_f32();
    }
}

impl ProbeArgs {
    /// Tokens of the longest window, BOS and a short template included.
    pub(super) fn window(&self) -> usize {
        let prefix = self
            .prefix
            .iter()
            .max()
            .map_or(0, |prefix| *prefix as usize);
        (prefix + self.suffix as usize + 28).max(Loading::WINDOW)
    }
}

/// What was asked for, and what all of its runs share.
pub(super) struct Job<'a> {
    pub(super) args: &'a ProbeArgs,
    pub(super) policy: &'a Policy,
    pub(super) registry: &'a Registry,
    pub(super) references: Vec<String>,
    /// The probe set that was given, if one was.
    pub(super) given: Option<ProbeSet>,
    /// What `--template` names.
    pub(super) templates: Vec<Template>,
    /// What `--controls` names.
    pub(super) controls: Vec<Source<'a>>,
    /// The checkpoint to compare with.
    pub(super) compared: Option<Reference>,
    /// Whether a run is one of several: it then prints a line, not its report.
    pub(super) sweep: bool,
}

/// What may differ between the runs over one model's files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub(super) dtype: Dtype,
    pub(super) prefix: u32,
    pub(super) bos: Bos,
    pub(super) lead: Option<u32>,
}

/// How a run ended, and its report unless it was stopped.
pub(super) type Probed = (Outcome, Option<Box<Report>>);

/// What a model is asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    set: ProbeSet,
    templates: Templates,
}

/// The probe set and the templates for a model.
pub(super) fn asked_for(job: &Job<'_>, located: &Located) -> Result<Asked> {
    let templates = Templates::of(&job.templates, located)?;
    Ok(Asked {
        set: set_for(job, located)?,
        templates,
    })
}

fn set_for(job: &Job<'_>, located: &Located) -> Result<ProbeSet> {
    let set = match &job.given {
        Some(set) => set.clone(),
        None => builtin_set(located, &job.controls)?,
    };
    for warning in &set.manifest.warnings {
        output::note(format_args!("warning: {warning}"));
    }
    for line in detectable(&set, job.policy) {
        output::note(line);
    }
    if set.manifest.controls == 0 {
        output::note(
            "warning: no control texts, so that nothing can be told from what is predictable and every verdict will be \
             inconclusive; add --controls builtin, or texts of your own (docs/controls.md)",
        );
    }
    Ok(set)
}

/// A block is proven and stands, whatever else could not be decided.
pub(super) fn graver(a: Outcome, b: Outcome) -> Outcome {
    let weight = |outcome| match outcome {
        Outcome::Done => 0,
        Outcome::Undecided => 1,
        Outcome::Blocked => 2,
        Outcome::Interrupted => 3,
    };
    if weight(b) > weight(a) { b } else { a }
}

/// Probes a model that is ready; `load_s` is how long that took.
pub(super) fn probe(
    job: &Job<'_>,
    variant: Variant,
    (located, model): (&Located, &Ready),
    Asked { set, templates }: Asked,
    out: Option<PathBuf>,
    load_s: f64,
) -> Result<Probed> {
    let (args, policy, started) = (job.args, job.policy, Instant::now());
    let window = windows_asked(args, variant);
    // A sweep compares values, and a reference what windows score: every one is scored to its end there.
    let full = args.exhaustive || job.sweep || job.compared.is_some();
    let exit = exit(policy, &model.backend.info().arithmetic).filter(|_| !full);
    let fewer = fewer::asked(
        args,
        variant.prefix,
        policy,
        Some(model.backend.info().context_length),
    )?;
    let settings = Settings {
        window,
        in_full: if exit.is_some() || fewer.is_some() {
            policy.positive_controls.clone()
        } else {
            Vec::new()
        },
        exit,
        bos: model.bos,
        bos_token: model.bos_token,
        templates: templates.infos,
        reveal: args.reveal,
        fewer,
    };
    let (mut items, windows) = cut_all(&set, model, &settings.window, &templates.rendered)?;
    check_context(&windows, model)?;
    check_vocabulary(&windows, model)?;
    let plan = Plan::of(&windows);
    let manifest = RunManifest {
        schema: RUN_SCHEMA.to_owned(),
        tool: TOOL.to_owned(),
        created_at: clock::begun()?.to_string(),
        command: std::env::args().collect(),
        salt: salt()?,
        model: model.identity.clone(),
        reference: job
            .compared
            .as_ref()
            .map(|reference| reference.identity.clone()),
        probe_set: set.manifest,
        settings,
        plan,
    };
    let path = out.unwrap_or_else(|| Path::new(RUNS).join(default_name(&manifest)));
    let dir = RunDir::open(&path, manifest)?;
    for probed in &mut items {
        // A resumed run keeps its first salt.
        probed.salted_digest = items::digest_salted(&dir.manifest().salt, &probed.item);
    }
    let scoring = Instant::now();
    let texts = Texts::of(&items, policy);
    let scored = Scoring {
        dir: &dir,
        windows: &windows,
        texts,
        model,
        policy,
    }
    .run()?;
    let scoring_s = scoring.elapsed().as_secs_f64();
    let stopped = || {
        output::note(format_args!(
            "stopped; what was scored is in {}, the same command resumes there",
            path.display()
        ));
        Ok((Outcome::Interrupted, None))
    };
    let Some(done) = scored else { return stopped() };
    let scored = Scored {
        dir: &dir,
        policy,
        items: &items,
        windows: &windows,
        located,
        load: &args.load,
        reference: job.compared.as_ref(),
    };
    let Some(follow_ups) = follow::run(&scored, model)? else {
        return stopped();
    };
    let mut assembly = Assembly::new(dir.manifest(), &items, &follow_ups, policy);
    for row in dir.each() {
        assembly.add(&row?);
    }
    let mut report = assembly.report();
    report.summary.windows.shared = done.shared;
    let screening = done
        .screening
        .map(|chosen| chosen.recall(&mut dir.rows(), model, policy));
    report.summary.screened = screening.transpose()?;
    if let Some(tokenizer) = model
        .tokenizer
        .as_ref()
        .filter(|_| dir.manifest().settings.reveal)
    {
        spell::spell(&mut report, &windows, tokenizer);
    }
    // Once more, since a verdict and the notes say what was left and how.
    let mut report = report::rejudge(&report, policy);
    if args.gate.is_some() {
        report.decision = Some(decide(&report, policy, Zoned::now().date()));
    }
    report.timings = Some(Timings {
        total_s: load_s + started.elapsed().as_secs_f64(),
        load_s,
        scoring_s,
        windows_scored: done.computed,
        windows_per_second: (done.computed > 0).then(|| done.computed as f64 / scoring_s),
    });
    finish(&dir, &report, job)?;
    let outcome = match &report.decision {
        Some(decision) => gate::outcome(decision),
        // Without a gate nothing is decided, but what was asked for must have been measured.
        None if report.summary.windows.scored + report.summary.windows.left
            == report.summary.windows.planned
            && report.summary.windows.planned > 0 =>
        {
            Outcome::Done
        }
        None => {
            output::note(format_args!(
                "error: {}: {}",
                path.display(),
                unmeasured(&report)
            ));
            Outcome::Undecided
        }
    };
    Ok((outcome, Some(Box::new(report))))
}

/// What the run can detect with its controls, said before anything is spent on it.
fn detectable(set: &ProbeSet, policy: &Policy) -> Vec<power::Ahead> {
    let labels: Vec<Labels<'_>> = set
        .items
        .iter()
        .map(|item| Labels {
            id: &item.id,
            kind: item.kind,
            tags: &item.tags,
            matches: &item.matches,
        })
        .collect();
    power::ahead(policy, &labels)
}

/// Why a run that was scored to its end still hasn't measured what was asked for.
fn unmeasured(report: &Report) -> String {
    let mut items = report.items.iter();
    let first = items.find_map(|item| {
        not_measured(&item.evidence).map(|reason| format!("\"{}\": {reason}", item.id))
    });
    let counts = &report.summary.windows;
    format!(
        "{} of {} windows were scored, which decides nothing for the rest: {}",
        counts.scored + counts.left,
        counts.planned,
        first.unwrap_or_else(|| "the probe set gave no window".to_owned())
    )
}

/// Writes the reports and says where they are.
fn finish(dir: &RunDir, report: &Report, job: &Job<'_>) -> Result<()> {
    let json = json_v1::render(report);
    dir.write_file("report.json", &json)?;
    dir.write_file("report.md", markdown::render(report).as_bytes())?;
    dir.write_file("report.html", html::render(report)?.as_bytes())?;
    match job.args.format {
        // A sweep prints what it found as a whole.
        _ if job.sweep => {}
        OutputFormat::Json => output::show(&json)?,
        OutputFormat::Text => output::show(render::text(report).as_bytes())?,
    }
    output::note(format_args!(
        "{} Report: {}",
        terminal::verdict(report),
        dir.path().join("report.html").display()
    ));
    Ok(())
}

/// The built-in canaries and controls, which say nothing of any other model.
fn builtin_set(located: &Located, controls: &[Source<'_>]) -> Result<ProbeSet> {
    if located.format != Format::Builtin {
        bail!(
            "{}: which texts? The built-in canaries were planted in the built-in model only; give --prompts PATH",
            located.reference
        );
    }
    let sources = builtin::PROBE_SET.map(|(name, bytes)| Source::Embedded { name, bytes });
    Ok(items::read_with_controls(&sources, controls)?)
}

fn windows_asked(args: &ProbeArgs, variant: Variant) -> WindowConfig {
    WindowConfig {
        prefix: variant.prefix,
        suffix: args.suffix,
        lead: variant.lead,
        stride: match args.stride_chars {
            Some(chars) => Stride::Chars(chars),
            None => Stride::Tokens(args.stride.unwrap_or(args.suffix)),
        },
        reflow: match args.reflow {
            ReflowArg::Auto => Reflow::Auto,
            ReflowArg::Off => Reflow::Off,
            ReflowArg::Only => Reflow::Only,
        },
    }
}

/// Cuts every item, in order, puts its windows into every template, and takes what a report may know of it.
fn cut_all(
    set: &ProbeSet,
    model: &Ready,
    config: &WindowConfig,
    templates: &[encode::Rendered],
) -> Result<(Vec<ProbedItem>, Vec<Window>)> {
    let tokenizer = model.tokenizer.as_ref().with_context(|| {
        format!(
            "{}: the model has no tokenizer, so no text can be probed; put its tokenizer.json beside it",
            model.identity.reference
        )
    })?;
    let bos = encode::Bos {
        choice: model.bos,
        token: model.bos_token,
    };
    let cuts: Vec<(ProbedItem, Vec<Window>)> = set
        .items
        .par_iter()
        .map(|item| {
            let mut cut = cut::cut(item, tokenizer, model.bos_token, config)?;
            let framed = templates
                .iter()
                .map(|template| template.frame(item, &cut.windows, tokenizer, bos));
            let framed: Vec<Vec<Window>> = framed.collect::<Result<_, _>>().with_context(|| {
                format!("{}: item \"{}\" under a template", item.origin, item.id)
            })?;
            cut.forms
                .iter_mut()
                .for_each(|form| form.windows *= templates.len() as u64);
            let probed = ProbedItem {
                item: item.clone(),
                salted_digest: Digest::of_bytes(&[]),
                forms: cut.forms,
                unprobed: cut.unprobed,
            };
            Ok((probed, framed.concat()))
        })
        .collect::<Result<_>>()?;
    let (items, windows): (Vec<_>, Vec<_>) = cuts.into_iter().unzip();
    Ok((items, windows.into_iter().flatten().collect()))
}

fn check_context(windows: &[Window], model: &Ready) -> Result<()> {
    let context = model.backend.info().context_length as usize;
    let longest = windows.iter().map(|w| w.token_ids.len()).max().unwrap_or(0);
    if longest > context {
        bail!(
            "windows of {longest} tokens are more than the {context} that {} was made for; shorten --prefix or --suffix",
            model.identity.reference
        );
    }
    Ok(())
}

/// A tokenizer of another model gives ids that this one doesn't have, sooner or later.
fn check_vocabulary(windows: &[Window], model: &Ready) -> Result<()> {
    let vocab = model.backend.info().vocab_size;
    let unknown = windows.iter().find_map(|w| {
        w.token_ids
            .iter()
            .find(|id| **id >= vocab)
            .map(|id| (&w.item, id))
    });
    if let Some((item, id)) = unknown {
        bail!(
            "{}: its tokenizer gives item \"{item}\" the token id {id}, outside the model's vocabulary of {vocab}: it is the \
             tokenizer of another model; put the model's own beside the weights",
            model.identity.reference
        );
    }
    Ok(())
}

/// A folder's name for a run without `--out`: other inputs, another folder; the same inputs, the same one.
fn default_name(manifest: &RunManifest) -> String {
    let identity = serde_json::json!([
        manifest.model.digest,
        manifest.model.backend,
        manifest.probe_set.files,
        // The same files in other roles are another run.
        [
            manifest.probe_set.opt_outs,
            manifest.probe_set.controls,
            manifest.probe_set.canaries
        ],
        manifest.settings,
        manifest.plan.digest,
        manifest.tool,
    ]);
    let reference = manifest
        .reference
        .as_ref()
        .map_or("", |reference| reference.digest.as_str());
    let digest = Digest::of_bytes((identity.to_string() + reference).as_bytes());
    format!(
        "{}-{}",
        slug(&manifest.model.reference),
        &digest.as_str()[..8]
    )
}

/// A model's reference as a folder's name.
pub(super) fn slug(reference: &str) -> String {
    let name = reference
        .trim_end_matches('/')
        .rsplit(['/', ':'])
        .find(|part| !part.is_empty())
        .unwrap_or("model");
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    name.chars()
        .map(kept)
        .collect::<String>()
        .trim_matches('.')
        .to_owned()
}

/// Makes the folder that will hold the run, so that what can't be written shows before a model is loaded.
fn writable(root: &Path) -> Result<()> {
    let fix = "give another folder with --out";
    std::fs::create_dir_all(root)
        .with_context(|| format!("{}: the folder can't be made; {fix}", root.display()))?;
    // An empty file can be made on a full disk, too.
    let written = tempfile::tempfile_in(root).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    written.with_context(|| format!("{}: the folder can't be written to; {fix}", root.display()))
}

/// The first Ctrl-C ends the run after the part in hand; the second ends it at once.
fn stop_on_ctrl_c() -> Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            #[expect(
                clippy::exit,
                reason = "the user insists, and what is on disk is whole at any moment"
            )]
            std::process::exit(130);
        }
        output::note("stopping after the windows in hand; press Ctrl-C again to stop at once");
    })
    .context("Ctrl-C can't be caught")
}
