//! The stage between scores and report: some windows are looked at further, and the reference checkpoint is asked.

use super::prepare::forms;
use super::{Checkpoints, ProbeError, ProbeModel, Progress};
use crate::backend::Backend;
use crate::error_line::error_line;
use crate::follow::evidence::replace_scores;
use crate::follow::measure::{Job, Referred, Task, Tools, jobs, not_referred, not_rescored};
use crate::follow::select::{
    FollowUpRequest, InBf16, Rounded, near_tie, requests, settings, unsure_in_bf16,
};
use crate::items::{ItemId, Kind};
use crate::metric::window::{WindowEvidence, measure};
use crate::policy::Policy;
use crate::pool::Pools;
use crate::run::directory::RunDir;
use crate::run::follow_up::FollowUp;
use crate::run::journal::Journal;
use crate::run::{FollowUpRow, ProbedItem};
use crate::tokens::TextEncoder;
use crate::window::cut::cut_split;
use crate::window::{ProbedForm, Window, WindowId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// A run whose windows are scored.
pub(super) struct ScoredRun<'a> {
    pub(super) dir: &'a RunDir,
    pub(super) policy: &'a Policy,
    pub(super) items: &'a [ProbedItem],
    /// In the plan's order, as the run directory has their scores.
    pub(super) windows: &'a [Window],
    pub(super) model: &'a ProbeModel,
    pub(super) checkpoints: &'a dyn Checkpoints,
    /// Maximum number of windows that are continued together.
    pub(super) batch: usize,
    pub(super) progress: &'a dyn Progress,
}

/// A window, what is known of it, and what is asked of it.
type Wanted<'a> = (&'a Window, WindowEvidence, FollowUpRequest);

impl<'a> ScoredRun<'a> {
    /// Follows up what the run directory lacks; `None` if it was stopped.
    pub(super) fn follow_up(&self) -> Result<Option<Vec<FollowUpRow>>, ProbeError> {
        let mut journal = Journal::open(self.dir, settings(self.policy))?;
        let mut near_ties = self.near_ties()?;
        near_ties.retain(|index| {
            let found = journal.found().get(&self.windows[*index].id);
            found.is_none_or(|found| found.rescored.is_none())
        });
        if !self.rescore(&near_ties, &mut journal)? {
            return Ok(None);
        }
        let wanted = self.wanted(journal.found())?;
        let tasks: Vec<(Task<'_>, FollowUpRequest)> = wanted
            .iter()
            .map(|(window, evidence, request)| (Task { window, evidence }, *request))
            .collect();
        let todo = jobs(
            &tasks,
            journal.found(),
            &self.controls(),
            self.policy,
            self.batch,
        );
        let backend = &*self.model.in_f32;
        let encoder = self.model.encoder.as_deref();
        let what = "windows followed up";
        if !self.carry_out(what, backend, encoder, &todo, &mut journal)? {
            return Ok(None);
        }
        drop(todo);
        if !self.refer(&tasks, &mut journal)? {
            return Ok(None);
        }
        journal.sync()?;
        Ok(Some(journal.into_rows()))
    }

    /// The indices of windows whose verdict rounding could change.
    fn near_ties(&self) -> Result<Vec<usize>, ProbeError> {
        let info = self.model.backend.info();
        let exact = info.arithmetic == "f32";
        let mut near_ties = Vec::new();
        let mut texts: HashMap<&ItemId, InBf16> = HashMap::new();
        for ProbedItem { item, .. } in self.items {
            let text = InBf16 {
                kind: item.kind,
                windows: Vec::new(),
            };
            texts.insert(&item.id, text);
        }
        for (index, row) in self.dir.each().enumerate() {
            let row = row?;
            // What can't be measured is inconclusive already.
            let (Ok(evidence), Ok(scores)) = (measure(&row, &info.schemes), &row.scores) else {
                continue;
            };
            if exact {
                if near_tie(&evidence, self.policy) {
                    near_ties.push(index);
                }
            } else if let Some(text) = texts.get_mut(&row.item) {
                let rounded = Rounded::of(index, &evidence, &scores.margin, self.policy);
                text.windows.push(rounded);
            }
        }
        if exact {
            return Ok(near_ties);
        }
        let texts: Vec<InBf16> = texts.into_values().collect();
        let matched = self.items.iter().any(|it| !it.item.matches.is_empty());
        let mut unsure = unsure_in_bf16(&texts, matched, self.policy);
        unsure.sort_unstable();
        Ok(unsure)
    }

    /// What is asked of which windows, text by text.
    fn wanted(&self, found: &HashMap<WindowId, FollowUp>) -> Result<Vec<Wanted<'a>>, ProbeError> {
        let schemes = &self.model.backend.info().schemes;
        let has_reference = self.checkpoints.reference().is_some();
        let mut kinds: HashMap<&ItemId, Kind> = HashMap::new();
        for ProbedItem { item, .. } in self.items {
            kinds.insert(&item.id, item.kind);
        }
        let mut rows = self.dir.each();
        let mut wanted = Vec::new();
        // The windows of a text are next to each other.
        for text in self.windows.chunk_by(|a, b| a.item == b.item) {
            let mut evidence = Vec::new();
            // `zip` asks the text before the rows, so it leaves the first row of the next text alone.
            for (window, row) in text.iter().zip(rows.by_ref()) {
                let Ok(mut measured) = measure(&row?, schemes) else {
                    continue;
                };
                let rescored = found.get(&window.id).and_then(|it| it.rescored.as_ref());
                if let Some(rescored) = rescored {
                    replace_scores(&mut measured, rescored);
                }
                evidence.push(measured);
            }
            let Some(kind) = kinds.get(&text[0].item) else {
                continue;
            };
            let by_id: HashMap<&WindowId, &'a Window> =
                text.iter().map(|window| (&window.id, window)).collect();
            for (evidence, request) in requests(*kind, &mut evidence, self.policy, has_reference) {
                if let Some(window) = by_id.get(&evidence.window) {
                    wanted.push((*window, evidence.clone(), request));
                }
            }
        }
        Ok(wanted)
    }

    /// The windows of every control, one list per text.
    fn controls(&self) -> Vec<Vec<&'a Window>> {
        let mut windows: HashMap<&ItemId, Vec<&'a Window>> = HashMap::new();
        for window in self.windows {
            windows.entry(&window.item).or_default().push(window);
        }
        let controls = self.items.iter().map(|probed| &probed.item);
        controls
            .filter(|item| item.kind == Kind::Control)
            .filter_map(|item| windows.remove(&item.id))
            .collect()
    }

    /// Scores near ties again, each alone, with products in f32. False if it was stopped.
    fn rescore(&self, near_ties: &[usize], journal: &mut Journal) -> Result<bool, ProbeError> {
        if near_ties.is_empty() {
            return Ok(true);
        }
        let windows: Vec<&Window> = near_ties.iter().map(|at| &self.windows[*at]).collect();
        let copy = match self.checkpoints.f32_copy() {
            Ok(copy) => copy,
            Err(error) => {
                let why = error_line(&*error);
                self.progress.note(&format!(
                    "warning: near ties can't be scored again in f32: {why}"
                ));
                journal.add(not_rescored(&windows, &why))?;
                return Ok(true);
            }
        };
        let mut rows = self.dir.rows();
        let mut scores = Vec::with_capacity(near_ties.len());
        for index in near_ties {
            let row = rows
                .row(*index)?
                .ok_or(ProbeError::ShortPart("the scores"))?;
            scores.push(row.clone());
        }
        let jobs: Vec<Job<'_>> = windows
            .into_iter()
            .zip(&scores)
            .map(|(window, scored)| Job::Rescore { window, scored })
            .collect();
        let backend = match &copy {
            Some(copy) => &**copy,
            None => &*self.model.in_f32,
        };
        let encoder = self.model.encoder.as_deref();
        self.carry_out("near ties scored again", backend, encoder, &jobs, journal)
    }

    /// Scores windows under the reference checkpoint, if there is one. False if it was stopped.
    fn refer(
        &self,
        tasks: &[(Task<'_>, FollowUpRequest)],
        journal: &mut Journal,
    ) -> Result<bool, ProbeError> {
        let Some(identity) = self.checkpoints.reference() else {
            return Ok(true);
        };
        let mut todo: Vec<Task<'_>> = Vec::new();
        for (task, request) in tasks {
            let found = journal.found().get(&task.window.id);
            if request.reference && found.is_none_or(|found| found.reference.is_none()) {
                todo.push(*task);
            }
        }
        if todo.is_empty() {
            return Ok(true);
        }
        let reference = match self.checkpoints.load_reference() {
            Ok(reference) => reference,
            Err(error) => {
                let why = error_line(&*error);
                self.progress.note(&format!(
                    "warning: {}: the reference can't be loaded: {why}",
                    identity.reference
                ));
                for task in &todo {
                    journal.add(vec![not_referred(&task.window.id, &why)])?;
                }
                return Ok(true);
            }
        };
        let forms = forms(self.items);
        let mut jobs = Vec::new();
        for Task { window, evidence } in todo {
            let form = forms.get(&(&window.item, window.placement.form)).copied();
            match self.encode_for(&reference, window, form) {
                Ok((token_ids, prefix_len)) => jobs.push(Job::Refer(Referred {
                    window: window.id.clone(),
                    token_ids,
                    prefix_len,
                    own: evidence.sum_logprob,
                })),
                Err(why) => journal.add(vec![not_referred(&window.id, &why)])?,
            }
        }
        let (what, encoder) = ("windows under the reference", reference.encoder.as_deref());
        self.carry_out(what, &*reference.backend, encoder, &jobs, journal)
    }

    /// A window's token ids and prefix length under the reference.
    fn encode_for(
        &self,
        reference: &ProbeModel,
        window: &Window,
        form: Option<&ProbedForm>,
    ) -> Result<(Vec<u32>, usize), String> {
        // Ids are those of the same tokens only where both tokenizers, and their BOS, are the same.
        let fingerprint = &self.model.identity.tokenizer_fingerprint;
        let same = fingerprint.is_some()
            && *fingerprint == reference.identity.tokenizer_fingerprint
            && self.model.bos_token == reference.bos_token;
        if same {
            return Ok((
                window.token_ids.clone(),
                window.placement.prefix_len as usize,
            ));
        }
        if !window.placement.template.is_none() {
            return Err(format!(
                "its tokenizer is another one, in which the template \"{}\" was not rendered",
                window.placement.template
            ));
        }
        let form = form.ok_or("its text is gone")?;
        encode_again(&form.text, window, reference)
    }

    /// Does jobs on as many threads as the backend uses; every row is on disk before the next job begins. False if it was
    /// stopped.
    fn carry_out(
        &self,
        what: &'static str,
        backend: &dyn Backend,
        encoder: Option<&(dyn TextEncoder + Send)>,
        jobs: &[Job<'_>],
        journal: &mut Journal,
    ) -> Result<bool, ProbeError> {
        if jobs.is_empty() {
            return Ok(true);
        }
        let encoder = encoder.ok_or_else(|| ProbeError::NoTokenizer {
            model: self.model.identity.reference.clone(),
        })?;
        let tools = Tools {
            backend,
            decode: &|ids| encoder.decode(ids),
            policy: self.policy,
            reveal: self.dir.manifest().settings.reveal,
        };
        self.progress
            .begin(jobs.iter().map(Job::windows).sum(), what);
        let halted = AtomicBool::new(false);
        let (mut done, mut stopped, mut failure) = (0, false, None);
        let work = |job: &Job<'_>| {
            let go_on = !self.progress.should_stop() && !halted.load(Ordering::Relaxed);
            go_on.then(|| job.run(&tools))
        };
        let pools = Pools::new(backend.threads()).map_err(ProbeError::Threads)?;
        pools.each(jobs, work, |index, rows| {
            done += 1;
            match rows.map(|rows| journal.add(rows)) {
                Some(Ok(())) => self.progress.advance(jobs[index].windows()),
                Some(Err(error)) => {
                    halted.store(true, Ordering::Relaxed);
                    failure.get_or_insert(error);
                }
                None => stopped = true,
            }
        });
        self.progress.end(failure.is_none() && !stopped);
        if let Some(error) = failure {
            return Err(error.into());
        }
        if stopped {
            journal.sync()?;
            return Ok(false);
        }
        if done < jobs.len() {
            return Err(ProbeError::ThreadDied { what });
        }
        Ok(true)
    }
}

/// A window's prefix and suffix under another tokenizer. Where a token ends inside a character, the character goes to
/// what follows.
fn encode_again(
    text: &str,
    window: &Window,
    model: &ProbeModel,
) -> Result<(Vec<u32>, usize), String> {
    let encoder = model
        .encoder
        .as_deref()
        .ok_or("the model has no tokenizer")?;
    let [start, suffix, end] = [
        window.placement.start_byte,
        window.placement.suffix_byte,
        window.placement.end_byte,
    ]
    .map(|byte| text.floor_char_boundary(byte as usize));
    let (prefix, suffix) = (text[start..suffix].to_owned(), text[suffix..end].to_owned());
    let window = cut_split(prefix, suffix, encoder, model.bos_token)?;
    Ok((window.token_ids, window.placement.prefix_len as usize))
}
