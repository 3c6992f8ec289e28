//! The stage between scores and report: a few windows are looked at further, and the reference checkpoint is asked.

use super::model::{Loading, Ready, announce, f32_copy, locate, ready};
use super::probe::STOP;
use super::score;
use crate::cli::{Bos, Dtype, ModelArgs};
use crate::output;
use anyhow::{Context, Result, bail};
use byrote_candle::model::source::Located;
use byrote_candle::native::Native;
use byrote_candle::pool::Pools;
use byrote_core::backend::{Backend, Scheme};
use byrote_core::follow::evidence::replace_scores;
use byrote_core::follow::measure::{Job, Referred, Task, Tools, jobs, not_referred, not_rescored};
use byrote_core::follow::select::{
    Asked, InBf16, Rounded, asked, near_tie, settings, unsure_in_bf16,
};
use byrote_core::items::{ItemId, Kind};
use byrote_core::metric::window::{WindowEvidence, measure};
use byrote_core::policy::Policy;
use byrote_core::registry::Registry;
use byrote_core::run::directory::RunDir;
use byrote_core::run::follow_up::FollowUp;
use byrote_core::run::journal::Journal;
use byrote_core::run::{FollowUpRow, ModelIdentity, ProbedItem};
use byrote_core::window::{Form, ProbedForm, Window, WindowId};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// A checkpoint to compare with.
pub(crate) struct Reference {
    located: Located,
    pub(crate) identity: ModelIdentity,
}

/// A run whose windows are scored.
pub(crate) struct Scored<'a> {
    pub(crate) dir: &'a RunDir,
    pub(crate) policy: &'a Policy,
    pub(crate) items: &'a [ProbedItem],
    /// In the plan's order, as the run directory has their scores.
    pub(crate) windows: &'a [Window],
    pub(crate) located: &'a Located,
    pub(crate) load: &'a ModelArgs,
    pub(crate) reference: Option<&'a Reference>,
}

impl Reference {
    /// Finds the reference and loads it once, to know exactly which one it is before anything is paid for. It isn't kept:
    /// two models at a time may be more than fits.
    pub(crate) fn find(name: &str, registry: &Registry, load: &ModelArgs) -> Result<Self> {
        let located = locate(name, registry, load.offline, None)?;
        let loading = Loading {
            dtype: Dtype::Auto,
            bos: Bos::Auto,
            window: Loading::WINDOW,
            keeps: true,
        };
        let mut model =
            ready(&located, load, loading, Scheme::defaults()).context("--reference")?;
        model.multiply_in_f32();
        if model.tokenizer.is_none() {
            bail!(
                "--reference {name}: it has no tokenizer, so no text can be given to it; put its tokenizer.json beside it"
            );
        }
        Ok(Self {
            located,
            identity: model.identity,
        })
    }

    /// Loads it again, as it was loaded before.
    fn load(&self, args: &ModelArgs) -> Result<Ready> {
        let dtype = match self.identity.backend.dtype.as_str() {
            "f32" => Dtype::F32,
            "bf16" => Dtype::Bf16,
            "f16" => Dtype::F16,
            "quantized" => Dtype::Quantized,
            _ => Dtype::Auto,
        };
        let loading = Loading {
            dtype,
            bos: Bos::Auto,
            window: Loading::WINDOW,
            keeps: true,
        };
        let mut model = ready(&self.located, args, loading, Scheme::defaults())?;
        model.multiply_in_f32();
        // A folder's root digest covers files that aren't the model's.
        let model_signing = self.identity.model_signing.clone();
        if (ModelIdentity {
            model_signing,
            ..model.identity.clone()
        }) != self.identity
        {
            bail!("its files changed while the run went on");
        }
        Ok(model)
    }
}

/// Follows up what the run directory doesn't hold yet; `None` if it was stopped.
pub(crate) fn run(run: &Scored<'_>, model: &Ready) -> Result<Option<Vec<FollowUpRow>>> {
    let mut journal = Journal::open(run.dir, settings(run.policy))?;
    let mut near_ties = unsure(run, model)?;
    near_ties.retain(|place| {
        run.windows.get(*place).is_some_and(|window| {
            journal
                .found()
                .get(&window.id)
                .is_none_or(|found| found.rescored.is_none())
        })
    });
    if !rescore(run, model, &near_ties, &mut journal)? {
        return Ok(None);
    }

    let wanted = wanted(run, model, journal.found())?;
    let tasks: Vec<(Task<'_>, Asked)> = wanted
        .iter()
        .map(|(window, evidence, asked)| (Task { window, evidence }, *asked))
        .collect();
    let todo = jobs(
        &tasks,
        journal.found(),
        &controls(run),
        run.policy,
        run.load.batch as usize,
    );
    // Follow-ups are few, and what they find out is final.
    let exact = model.backend.in_f32();
    if !carry_out(
        run,
        "windows followed up",
        model,
        &exact,
        &todo,
        &mut journal,
    )? {
        return Ok(None);
    }
    drop(todo);

    if let Some(reference) = run.reference
        && !refer(run, reference, model, &tasks, &mut journal)?
    {
        return Ok(None);
    }
    journal.sync()?;
    Ok(Some(journal.into_rows()))
}

/// The places of windows whose scores are to be made sure of.
fn unsure(run: &Scored<'_>, model: &Ready) -> Result<Vec<usize>> {
    let exact = model.backend.info().arithmetic == "f32";
    let mut near_ties = Vec::new();
    let mut texts: HashMap<&ItemId, InBf16> = run
        .items
        .iter()
        .map(|probed| {
            (
                &probed.item.id,
                InBf16 {
                    kind: probed.item.kind,
                    windows: Vec::new(),
                },
            )
        })
        .collect();
    for (place, row) in run.dir.each().enumerate() {
        let row = row?;
        // What can't be measured is inconclusive already.
        let (Ok(evidence), Ok(scores)) =
            (measure(&row, &model.backend.info().schemes), &row.scores)
        else {
            continue;
        };
        if exact && near_tie(&evidence, run.policy) {
            near_ties.push(place);
        } else if let Some(text) = texts.get_mut(&row.item).filter(|_| !exact) {
            text.windows
                .push(Rounded::of(place, &evidence, &scores.margin, run.policy));
        }
    }
    if exact {
        return Ok(near_ties);
    }
    let texts: Vec<InBf16> = texts.into_values().collect();
    let matched = run
        .items
        .iter()
        .any(|probed| !probed.item.matches.is_empty());
    let mut unsure = unsure_in_bf16(&texts, matched, run.policy);
    unsure.sort_unstable();
    Ok(unsure)
}

/// A window, what is known of it, and what is asked of it.
type Wanted<'a> = (&'a Window, WindowEvidence, Asked);

/// What is asked of which windows, text by text.
fn wanted<'a>(
    run: &Scored<'a>,
    model: &Ready,
    found: &HashMap<WindowId, FollowUp>,
) -> Result<Vec<Wanted<'a>>> {
    let kinds: HashMap<&ItemId, Kind> = run
        .items
        .iter()
        .map(|probed| (&probed.item.id, probed.item.kind))
        .collect();
    let mut rows = run.dir.each();
    let mut wanted = Vec::new();
    // The windows of a text stand together.
    for text in run.windows.chunk_by(|a, b| a.item == b.item) {
        let mut evidence = Vec::new();
        // The text is asked before the rows, so the first row of the next text stays for it.
        for (window, row) in text.iter().zip(rows.by_ref()) {
            let Ok(mut measured) = measure(&row?, &model.backend.info().schemes) else {
                continue;
            };
            if let Some(rescored) = found
                .get(&window.id)
                .and_then(|found| found.rescored.as_ref())
            {
                replace_scores(&mut measured, rescored);
            }
            evidence.push(measured);
        }
        let Some(kind) = text.first().and_then(|window| kinds.get(&window.item)) else {
            continue;
        };
        let by_id: HashMap<&WindowId, &'a Window> =
            text.iter().map(|window| (&window.id, window)).collect();
        let asked = asked(*kind, &mut evidence, run.policy, run.reference.is_some());
        wanted.extend(asked.into_iter().filter_map(|(evidence, asked)| {
            Some((*by_id.get(&evidence.window)?, evidence.clone(), asked))
        }));
    }
    Ok(wanted)
}

/// The windows of every control, one list a text.
fn controls<'a>(run: &Scored<'a>) -> Vec<Vec<&'a Window>> {
    let mut windows: HashMap<&ItemId, Vec<&Window>> = HashMap::new();
    for window in run.windows {
        windows.entry(&window.item).or_default().push(window);
    }
    let controls = run
        .items
        .iter()
        .filter(|probed| probed.item.kind == Kind::Control);
    controls
        .filter_map(|probed| windows.remove(&probed.item.id))
        .collect()
}

/// Scores near ties again, each alone, with products in f32: on the CPU those of the model itself, elsewhere narrow weights need a
/// second copy. False if it was stopped.
fn rescore(
    run: &Scored<'_>,
    model: &Ready,
    near_ties: &[usize],
    journal: &mut Journal,
) -> Result<bool> {
    let todo: Vec<&Window> = near_ties
        .iter()
        .filter_map(|place| run.windows.get(*place))
        .collect();
    if todo.is_empty() {
        return Ok(true);
    }
    let copy = match f32_copy(run.located, run.load, &model.backend) {
        Ok(copy) => copy,
        Err(error) => {
            output::note(format_args!(
                "warning: near ties can't be scored again in f32: {error:#}"
            ));
            journal.add(not_rescored(&todo, &format!("{error:#}")))?;
            return Ok(true);
        }
    };
    let mut rows = run.dir.rows();
    let mut scores = Vec::with_capacity(near_ties.len());
    for place in near_ties {
        scores.push(
            rows.row(*place)?
                .context("a part of the scores is too short")?
                .clone(),
        );
    }
    let jobs: Vec<Job<'_>> = todo
        .into_iter()
        .zip(&scores)
        .map(|(window, scored)| Job::Rescore { window, scored })
        .collect();
    carry_out(
        run,
        "near ties scored again",
        model,
        copy.as_ref().unwrap_or(&model.backend),
        &jobs,
        journal,
    )
}

/// Scores windows under the reference. False if it was stopped.
fn refer(
    run: &Scored<'_>,
    reference: &Reference,
    tested: &Ready,
    tasks: &[(Task<'_>, Asked)],
    journal: &mut Journal,
) -> Result<bool> {
    let missing = |task: &Task<'_>| {
        journal
            .found()
            .get(&task.window.id)
            .is_none_or(|found| found.reference.is_none())
    };
    let todo: Vec<Task<'_>> = tasks
        .iter()
        .filter(|(task, asked)| asked.reference && missing(task))
        .map(|(task, _)| *task)
        .collect();
    if todo.is_empty() {
        return Ok(true);
    }
    let model = match reference.load(run.load) {
        Ok(model) => model,
        Err(error) => {
            output::note(format_args!(
                "warning: {}: the reference can't be loaded: {error:#}",
                reference.identity.reference
            ));
            for task in &todo {
                journal.add(vec![not_referred(&task.window.id, &format!("{error:#}"))])?;
            }
            return Ok(true);
        }
    };
    announce(&model);
    // Ids are those of the same tokens only where both tokenizers, and their BOS, are the same.
    let fingerprint = &tested.identity.tokenizer_fingerprint;
    let same = fingerprint.is_some()
        && *fingerprint == model.identity.tokenizer_fingerprint
        && tested.bos_token == model.bos_token;
    let forms: HashMap<(&ItemId, Form), &ProbedForm> = run
        .items
        .iter()
        .flat_map(|probed| {
            probed
                .forms
                .iter()
                .map(move |form| ((&probed.item.id, form.form), form))
        })
        .collect();
    let mut jobs = Vec::new();
    for task in todo {
        let window = task.window;
        let encoded = if same {
            Ok((window.token_ids.clone(), window.placement.prefix_len as usize))
        } else if !window.placement.template.is_none() {
            Err(anyhow::anyhow!(
                "its tokenizer is another one, in which the template \"{}\" was not rendered",
                window.placement.template
            ))
        } else {
            let form = forms
                .get(&(&window.item, window.placement.form))
                .context("its text is gone");
            form.and_then(|form| encode_again(&form.text, window, &model))
        };
        match encoded {
            Ok((token_ids, prefix_len)) => {
                let (window, own) = (window.id.clone(), task.evidence.sum_logprob);
                jobs.push(Job::Refer(Referred {
                    window,
                    token_ids,
                    prefix_len,
                    own,
                }));
            }
            Err(error) => journal.add(vec![not_referred(&window.id, &format!("{error:#}"))])?,
        }
    }
    carry_out(
        run,
        "windows under the reference",
        &model,
        &model.backend,
        &jobs,
        journal,
    )
}

/// A window's prefix and suffix under another tokenizer. Where a token ends inside a character, the character goes to
/// what follows.
fn encode_again(text: &str, window: &Window, model: &Ready) -> Result<(Vec<u32>, usize)> {
    let [start, suffix, end] = [window.placement.start_byte, window.placement.suffix_byte, window.placement.end_byte]
        .map(|byte| text.floor_char_boundary(byte as usize));
    let (prefix, suffix) = (text[start..suffix].to_owned(), text[suffix..end].to_owned());
    let window = score::encode(prefix, suffix, model).map_err(anyhow::Error::msg)?;
    Ok((window.token_ids, window.placement.prefix_len as usize))
}

/// Does jobs on as many threads as the model scores on; every row is on disk before the next is asked for. False if it was
/// stopped.
fn carry_out(
    run: &Scored<'_>,
    what: &str,
    model: &Ready,
    backend: &Native,
    jobs: &[Job<'_>],
    journal: &mut Journal,
) -> Result<bool> {
    if jobs.is_empty() {
        return Ok(true);
    }
    let tokenizer = model
        .tokenizer
        .as_ref()
        .context("the model has no tokenizer")?;
    let reveal = run.dir.manifest().settings.reveal;
    let tools = Tools {
        backend,
        decode: &|ids| tokenizer.decode(ids),
        policy: run.policy,
        reveal,
    };
    let bar = ProgressBar::new(jobs.iter().map(Job::windows).sum()).with_style(
        ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {what}, {{eta}} left"))
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let halted = AtomicBool::new(false);
    let go_on = || !STOP.load(Ordering::Relaxed) && !halted.load(Ordering::Relaxed);
    let (mut done, mut stopped, mut failure) = (0, false, None);
    let work = |job: &Job<'_>| go_on().then(|| job.run(&tools));
    Pools::new(backend.threads())?.each(jobs, work, |index, rows| {
        done += 1;
        match rows.map(|rows| journal.add(rows)) {
            Some(Ok(())) => bar.inc(jobs[index].windows()),
            Some(Err(error)) => {
                halted.store(true, Ordering::Relaxed);
                failure.get_or_insert(error);
            }
            None => stopped = true,
        }
    });
    if let Some(error) = failure {
        return Err(error.into());
    }
    if stopped {
        bar.abandon();
        journal.sync()?;
        return Ok(false);
    }
    bar.finish_and_clear();
    if done < jobs.len() {
        bail!("a thread died over {what}; run the same command again to go on");
    }
    Ok(true)
}
