//! Scoring a run's windows: a first pass where there is one, then part by part what the run directory doesn't hold yet.

use super::fewer::{Fate, First, Screening};
use super::model::Ready;
use super::probe::STOP;
use crate::output;
use anyhow::{Context, Result};
use byrote_core::backend::exit::Exit;
use byrote_core::backend::{Backend, ScoreError, ScoreInput, TokenScores};
use byrote_core::follow::exit::in_full;
use byrote_core::items::ItemId;
use byrote_core::metric::text::text_stats;
use byrote_core::policy::Policy;
use byrote_core::run::directory::{Missing, RunDir};
use byrote_core::run::first::FirstPass;
use byrote_core::run::twins::{Held, Twins};
use byrote_core::run::{Left, Plan, ProbedItem, ScoredWindow};
use byrote_core::window::{Form, ProbedForm, Window};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

/// A run whose windows are to be scored.
pub(super) struct Scoring<'a> {
    pub(super) dir: &'a RunDir,
    pub(super) windows: &'a [Window],
    pub(super) texts: Texts<'a>,
    pub(super) model: &'a Ready,
    pub(super) policy: &'a Policy,
}

/// How it went.
pub(super) struct Done {
    /// Windows given to the model in this call.
    pub(super) computed: u64,
    /// Windows of the whole run that took over the scores of an identical one.
    pub(super) shared: u64,
    pub(super) screening: Option<Screening>,
}

/// What is known of the texts beside their windows.
pub(super) struct Texts<'a> {
    forms: HashMap<(&'a ItemId, Form), &'a ProbedForm>,
    in_full: HashSet<&'a ItemId>,
}

impl<'a> Texts<'a> {
    pub(super) fn of(items: &'a [ProbedItem], policy: &Policy) -> Self {
        let forms = items.iter().flat_map(|probed| {
            probed
                .forms
                .iter()
                .map(move |form| ((&probed.item.id, form.form), form))
        });
        let in_full = items
            .iter()
            .map(|probed| &probed.item)
            .filter(|item| in_full(item.kind, &item.id, &item.tags, policy));
        Self {
            forms: forms.collect(),
            in_full: in_full.map(|item| &item.id).collect(),
        }
    }

    /// Whether all of the item's windows are scored to their ends: what others are compared with, and what must be found.
    pub(super) fn in_full(&self, window: &Window) -> bool {
        self.in_full.contains(&window.item)
    }
}

/// What was found for one window.
#[derive(Clone, Debug)]
struct Found {
    scores: Result<TokenScores, String>,
    left: Option<Left>,
}

impl From<&ScoredWindow> for Found {
    fn from(row: &ScoredWindow) -> Self {
        Self {
            scores: row.scores.clone(),
            left: row.left,
        }
    }
}

impl Scoring<'_> {
    /// Scores what the run directory doesn't hold yet; `None` if it was stopped.
    pub(super) fn run(&self) -> Result<Option<Done>> {
        let fewer = self.dir.manifest().settings.fewer.as_ref();
        let first = First::of(fewer, self.windows, &self.texts, self.dir)?;
        let mut found = FirstPass::open(self.dir, &first.windows)?;
        let whole = matches!(fewer, Some(byrote_core::run::Fewer::Screen { .. }));
        let Some(passed) = self.first_pass(&first, &mut found, whole)? else {
            return Ok(None);
        };
        let (fates, screening) = first.fates(
            self.windows,
            &self.texts,
            &mut found,
            self.model,
            self.policy,
        )?;
        let Some((computed, shared)) = self.rest(&fates, &mut found)? else {
            return Ok(None);
        };
        let passed = if whole { 0 } else { passed };
        Ok(Some(Done {
            computed: passed + computed,
            shared,
            screening,
        }))
    }

    /// Scores the first pass; gives the number of its windows given to the model. `whole` = they are pieces of text, not
    /// windows of the run.
    fn first_pass(
        &self,
        first: &First<'_>,
        found: &mut FirstPass<'_>,
        whole: bool,
    ) -> Result<Option<u64>> {
        let of = |place: usize| (place, &*first.windows[place]);
        let twins = Twins::of((0..first.windows.len()).map(of), |_| ());
        let missing = found.missing();
        let Some(bar) = begin(&missing, found.plan(), "of the first pass ") else {
            return Ok(Some(0));
        };
        let pending = |part: &u64| found.plan().part_range(*part);
        let mut held = Held::for_twins(&twins, missing.parts.iter().flat_map(pending));
        for place in 0..first.windows.len() {
            if held.wants(place)
                && missing
                    .parts
                    .binary_search(&found.plan().part_of(place))
                    .is_err()
            {
                held.put(
                    place,
                    &found
                        .row(place)?
                        .context("a part of the first pass is too short")?
                        .into(),
                );
            }
        }
        let mut computed = 0;
        for part in missing.parts {
            if STOP.load(Ordering::Relaxed) {
                bar.abandon();
                return Ok(None);
            }
            let places: Vec<(usize, &Window)> = found.plan().part_range(part).map(of).collect();
            let (answers, asked) = self.ask(&places, &twins, &mut held, whole);
            let rows: Vec<ScoredWindow> = places
                .iter()
                .zip(answers)
                .map(|((_, window), answer)| {
                    if whole {
                        piece(window, answer)
                    } else {
                        self.row(window, answer)
                    }
                })
                .collect();
            found.write(part, &rows)?;
            computed += asked;
            bar.inc(rows.len() as u64);
        }
        bar.finish_and_clear();
        Ok(Some(computed))
    }

    /// Scores all else and writes every part that is missing. Gives the number of windows given to the model, and how many of
    /// the run took scores over.
    fn rest(&self, fates: &[Fate], found: &mut FirstPass<'_>) -> Result<Option<(u64, u64)>> {
        let plan = &self.dir.manifest().plan;
        let of = |place: usize| (place, &self.windows[place]);
        let with = |wanted: fn(&Fate) -> bool| {
            (0..fates.len())
                .filter(move |place| wanted(&fates[*place]))
                .map(of)
        };
        // What was scored first is there to be taken over first.
        let order =
            with(|fate| matches!(fate, Fate::Scored(_))).chain(with(|fate| *fate == Fate::Score));
        let twins = Twins::of(order, |window| self.texts.in_full(window));
        let shared = twins.len() as u64;
        let missing = self.dir.missing_parts();
        let Some(bar) = begin(&missing, plan, "") else {
            return Ok(Some((0, shared)));
        };
        let to_score = |place: &usize| fates[*place] == Fate::Score;
        let pending = missing
            .parts
            .iter()
            .flat_map(|part| plan.part_range(*part))
            .filter(to_score);
        let mut held = Held::for_twins(&twins, pending);
        self.hold(fates, &missing, found, &mut held)?;
        let mut computed = 0;
        for part in missing.parts {
            if STOP.load(Ordering::Relaxed) {
                bar.abandon();
                return Ok(None);
            }
            let range = plan.part_range(part);
            let places: Vec<(usize, &Window)> = range.clone().filter(to_score).map(of).collect();
            let (answers, asked) = self.ask(&places, &twins, &mut held, false);
            let mut answers = answers.into_iter();
            let mut rows = Vec::with_capacity(range.len());
            for place in range {
                let window = &self.windows[place];
                rows.push(match fates[place] {
                    Fate::Scored(at) => found
                        .row(at)?
                        .context("a part of the first pass is too short")?
                        .clone(),
                    Fate::Leave(reason) => self.row(window, self.left(reason)),
                    Fate::Score => {
                        self.row(window, answers.next().context("a window has no answer")?)
                    }
                });
            }
            self.dir.write_part(part, &rows)?;
            computed += asked;
            bar.inc(rows.len() as u64);
        }
        bar.finish_and_clear();
        Ok(Some((computed, shared)))
    }

    /// Takes from disk what twins that are still to come will take over.
    fn hold(
        &self,
        fates: &[Fate],
        missing: &Missing,
        found: &mut FirstPass<'_>,
        held: &mut Held<Found>,
    ) -> Result<()> {
        for (place, fate) in fates.iter().enumerate() {
            if let (Fate::Scored(at), true) = (fate, held.wants(place)) {
                held.put(
                    place,
                    &found
                        .row(*at)?
                        .context("a part of the first pass is too short")?
                        .into(),
                );
            }
        }
        let plan = &self.dir.manifest().plan;
        let done = (0..plan.parts()).filter(|part| missing.parts.binary_search(part).is_err());
        for part in done
            .filter(|part| plan.part_range(*part).any(|place| held.wants(place)))
            .collect::<Vec<_>>()
        {
            for (place, row) in plan.part_range(part).zip(self.dir.read_part(part)?) {
                held.put(place, &(&row).into());
            }
        }
        Ok(())
    }

    /// What is found for windows, by their places in a list of which `twins` knows: each once, its twins as it. Also how many
    /// were given to the model.
    ///
    /// Which windows these are follows from their places alone, so that a resumed run makes up the same batches.
    fn ask(
        &self,
        places: &[(usize, &Window)],
        twins: &Twins,
        held: &mut Held<Found>,
        whole: bool,
    ) -> (Vec<Found>, u64) {
        let here: HashSet<usize> = places.iter().map(|(place, _)| *place).collect();
        let taken = |place: usize, held: &Held<Found>| {
            twins
                .first(place)
                .filter(|first| held.has(*first) || here.contains(first))
        };
        let own: Vec<&Window> = places
            .iter()
            .filter(|(place, _)| taken(*place, held).is_none())
            .map(|(_, window)| *window)
            .collect();
        let mut answers = self.score(&own, whole).into_iter();
        let missing = || Found {
            scores: Err("no score came back".to_owned()),
            left: None,
        };
        let found = places.iter().map(|(place, _)| {
            let found = match taken(*place, held) {
                Some(first) => held.take(first),
                None => answers.next(),
            };
            let found = found.unwrap_or_else(missing);
            held.put(*place, &found);
            found
        });
        (found.collect(), own.len() as u64)
    }

    /// Gives windows to the model.
    fn score(&self, windows: &[&Window], whole: bool) -> Vec<Found> {
        let exit = self
            .dir
            .manifest()
            .settings
            .exit
            .as_ref()
            .filter(|_| !whole);
        let scores = scores(windows, &self.model.backend, exit, |window| {
            self.texts.in_full(window)
        });
        let found = |(window, scores): (&&Window, Result<TokenScores, ScoreError>)| {
            let suffix_len = window.token_ids.len() - window.placement.prefix_len as usize;
            let left = scores
                .as_ref()
                .ok()
                .filter(|own| own.logprob.len() < suffix_len)
                .map(|_| Left::Floor);
            Found {
                scores: scores.map_err(|e| e.to_string()),
                left,
            }
        };
        windows.iter().zip(scores).map(found).collect()
    }

    /// A window of which nothing was scored.
    fn left(&self, reason: Left) -> Found {
        let schemes = self.model.backend.info().schemes.len();
        let scores = TokenScores {
            scheme_logprob: vec![Vec::new(); schemes],
            ..TokenScores::default()
        };
        Found {
            scores: Ok(scores),
            left: Some(reason),
        }
    }

    fn row(&self, window: &Window, found: Found) -> ScoredWindow {
        let form = self.texts.forms.get(&(&window.item, window.placement.form));
        let suffix = form
            .map(|form| suffix_text(form, window))
            .unwrap_or_default();
        let reveal = self.dir.manifest().settings.reveal;
        ScoredWindow {
            text: text_stats(&suffix, &window.token_ids, window.placement.prefix_len as usize),
            token_ids: reveal.then(|| window.token_ids.clone()),
            ..piece(window, found)
        }
    }
}

/// Scores windows in order: those that are to `stay` to their end, the others until they may leave.
fn scores(
    windows: &[&Window],
    backend: &impl Backend,
    exit: Option<&Exit>,
    stay: impl Fn(&Window) -> bool,
) -> Vec<Result<TokenScores, ScoreError>> {
    let inputs = |places: &[usize]| -> Vec<ScoreInput<'_>> {
        let input = |&place: &usize| {
            let window = windows[place];
            ScoreInput {
                token_ids: &window.token_ids,
                prefix_len: window.placement.prefix_len as usize,
            }
        };
        places.iter().map(input).collect()
    };
    let (whole, may_leave): (Vec<usize>, Vec<usize>) =
        (0..windows.len()).partition(|&place| exit.is_none() || stay(windows[place]));
    let mut scored: Vec<(usize, Result<TokenScores, ScoreError>)> = whole
        .iter()
        .copied()
        .zip(backend.score(&inputs(&whole)))
        .collect();
    if let Some(exit) = exit {
        scored.extend(
            may_leave
                .iter()
                .copied()
                .zip(backend.score_until(&inputs(&may_leave), exit)),
        );
    }
    scored.sort_by_key(|(place, _)| *place);
    scored.into_iter().map(|(_, scores)| scores).collect()
}

/// Says what is done already; a bar for the rest, if there is any.
fn begin(missing: &Missing, plan: &Plan, of_what: &str) -> Option<ProgressBar> {
    for warning in &missing.warnings {
        output::note(format_args!("warning: {warning}"));
    }
    let todo: u64 = missing
        .parts
        .iter()
        .map(|part| plan.part_range(*part).len() as u64)
        .sum();
    if todo < plan.windows {
        let done = plan.windows - todo;
        output::note(format_args!(
            "{done} of {} windows {of_what}are scored already",
            plan.windows
        ));
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} windows, {per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    (todo > 0).then(|| ProgressBar::new(todo).with_style(style))
}

/// A window's row without what follows from its text.
fn piece(window: &Window, found: Found) -> ScoredWindow {
    ScoredWindow {
        item: window.item.clone(),
        window: window.id.clone(),
        placement: window.placement.clone(),
        text: Default::default(),
        token_ids: None,
        left: found.left,
        scores: found.scores,
    }
}

/// The text of a window's suffix. A token may end inside a character, which then counts as a whole.
fn suffix_text(form: &ProbedForm, window: &Window) -> String {
    let bytes = form.text.as_bytes();
    let (start, end) = (window.placement.suffix_byte as usize, window.placement.end_byte as usize);
    String::from_utf8_lossy(bytes.get(start..end).unwrap_or_default()).into_owned()
}
