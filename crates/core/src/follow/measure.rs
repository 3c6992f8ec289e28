//! Follow-ups over a backend: jobs that can be done in any order and on any thread, each giving a row a window.

use super::select::{FollowUpRequest, distance, foreign_prefixes, sampled_scheme};
use super::{beam, foreign};
use crate::backend::{Backend, GreedyToken, ScoreError, ScoreInput, generate};
use crate::metric::near;
use crate::metric::window::{WindowEvidence, measure};
use crate::policy::Policy;
use crate::run::follow_up::{Continuation, FollowUp, NearProbability, ReferenceScore, Rescored};
use crate::run::{FollowUpRow, ScoredWindow};
use crate::window::TemplateId;
use crate::window::{Window, WindowId};
use std::collections::{BTreeMap, HashMap};

/// Windows that share a run over their foreign prefixes.
const SHARING: usize = 16;
/// Tokens continued together at most, which bounds memory.
const BATCH_TOKENS: usize = 2_048;

/// What jobs are done with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    pub backend: &'a dyn Backend,
    /// Token ids as text.
    pub decode: &'a (dyn Fn(&[u32]) -> String + Sync),
    pub policy: &'a Policy,
    /// Whether the text of continuations is kept.
    pub reveal: bool,
}

impl std::fmt::Debug for Tools<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools")
            .field("backend", self.backend.info())
            .finish_non_exhaustive()
    }
}

/// A window to be followed up, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    pub window: &'a Window,
    /// With the values scored again, where it was.
    pub evidence: &'a WindowEvidence,
}

/// A window as the reference checkpoint is to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Referred {
    pub window: WindowId,
    pub token_ids: Vec<u32>,
    pub prefix_len: usize,
    /// `ln p` of the suffix under the tested model.
    pub own: f64,
}

/// A piece of work.
#[derive(Clone, Debug)]
pub enum Job<'a> {
    /// Score a window alone.
    Rescore {
        window: &'a Window,
        scored: &'a ScoredWindow,
    },
    /// Continue windows of equal prefix and suffix lengths, with this many tokens of their suffixes taken as given.
    Continue { tasks: Vec<Task<'a>>, drafted: u32 },
    /// Bound the probability of a near-verbatim sample.
    Bound(Task<'a>),
    /// Run suffixes after prefixes of other texts, all of one length.
    Foreign {
        tasks: Vec<Task<'a>>,
        prefixes: Vec<&'a [u32]>,
    },
    /// Score a window under the reference, which is then the backend.
    Refer(Referred),
}

/// Jobs for the requests that have no result yet, except those for the reference. `controls` are the
/// windows of the run's controls, one list per text; `batch` is the maximum number of windows that
/// are continued together.
pub fn jobs<'a>(
    asked: &[(Task<'a>, FollowUpRequest)],
    found: &HashMap<WindowId, FollowUp>,
    controls: &[Vec<&'a Window>],
    policy: &Policy,
    batch: usize,
) -> Vec<Job<'a>> {
    let has =
        |task: &Task<'_>, part: fn(&FollowUp) -> bool| found.get(&task.window.id).is_some_and(part);
    let mut jobs = Vec::new();
    let mut alike: BTreeMap<(u32, usize, u32), Vec<Task<'a>>> = BTreeMap::new();
    let mut foreign: BTreeMap<(u32, &TemplateId), Vec<Task<'a>>> = BTreeMap::new();
    let mut bounds = Vec::new();
    for (task, asked) in asked {
        let window = task.window;
        if let Some(drafted) = asked
            .drafted
            .filter(|_| !has(task, |found| found.continuation.is_some()))
        {
            alike
                .entry((window.placement.prefix_len, window.token_ids.len(), drafted))
                .or_default()
                .push(*task);
        }
        if asked.near_probability && !has(task, |found| found.near_probability.is_some()) {
            bounds.push(Job::Bound(*task));
        }
        if asked.foreign_prefix && !has(task, |found| found.foreign_prefix.is_some()) {
            foreign
                .entry((window.placement.prefix_len, &window.placement.template))
                .or_default()
                .push(*task);
        }
    }
    for ((_, len, drafted), tasks) in alike {
        let batch = (BATCH_TOKENS / len.max(1)).clamp(1, batch.max(1));
        jobs.extend(tasks.chunks(batch).map(|tasks| Job::Continue {
            tasks: tasks.to_vec(),
            drafted,
        }));
    }
    jobs.extend(bounds);
    for ((prefix_len, template), tasks) in foreign {
        let prefixes: Vec<Vec<&[u32]>> = controls
            .iter()
            .map(|windows| prefixes_of(windows, prefix_len, template))
            .collect();
        let prefixes = foreign_prefixes(&prefixes, policy.follow_up.foreign_prefixes as usize);
        // Without controls of that layout there is nothing to compare with.
        if !prefixes.is_empty() {
            let job = |tasks: &[Task<'a>]| Job::Foreign {
                tasks: tasks.to_vec(),
                prefixes: prefixes.clone(),
            };
            jobs.extend(tasks.chunks(SHARING).map(job));
        }
    }
    jobs
}

fn prefixes_of<'a>(windows: &[&'a Window], len: u32, template: &TemplateId) -> Vec<&'a [u32]> {
    let of_len = windows.iter().filter(|window| {
        window.placement.prefix_len == len && window.placement.template == *template
    });
    of_len
        .filter_map(|window| window.token_ids.get(..len as usize))
        .collect()
}

/// From this p_z on it is its own bound: a search could at most double it.
const SURE: f64 = 0.5;

impl Job<'_> {
    /// Windows it is about.
    pub fn windows(&self) -> u64 {
        match self {
            Self::Continue { tasks, .. } | Self::Foreign { tasks, .. } => tasks.len() as u64,
            Self::Rescore { .. } | Self::Bound(_) | Self::Refer(_) => 1,
        }
    }

    /// Does it: a row a window, with what was found or why nothing was.
    pub fn run(&self, tools: &Tools<'_>) -> Vec<FollowUpRow> {
        let row = |window: &WindowId, found| FollowUpRow {
            window: window.clone(),
            found,
        };
        match self {
            Self::Rescore { window, scored } => {
                vec![row(
                    &window.id,
                    found(rescore(window, scored, tools), |it| FollowUp {
                        rescored: Some(it),
                        ..FollowUp::default()
                    }),
                )]
            }
            Self::Continue { tasks, drafted } => {
                let whole = one_or_each(tasks, |tasks| continue_all(tasks, *drafted, tools));
                let rows = tasks.iter().zip(whole).map(|(task, own)| {
                    let mut found = match own {
                        Ok(own) => FollowUp {
                            continuation: Some(own),
                            ..FollowUp::default()
                        },
                        Err(error) => {
                            failed(format!("could not be continued by generation: {error}"))
                        }
                    };
                    if task.evidence.greedy_exact && *drafted == 0 && found.continuation.is_none() {
                        found.unsettled = found
                            .errors
                            .first()
                            .map(|error| format!("its greedy verdict {error}"));
                    }
                    row(&task.window.id, found)
                });
                rows.collect()
            }
            Self::Bound(Task { window, evidence }) => {
                let (ids, prefix_len) = (&window.token_ids, window.placement.prefix_len as usize);
                let edits = distance(tools.policy, ids.len() - prefix_len);
                let (scheme, width) = (sampled_scheme(tools.policy), tools.policy.follow_up.beam);
                let bound = match evidence
                    .log_p_z(&scheme.id)
                    .filter(|log_p_z| *log_p_z >= SURE.ln())
                {
                    Some(log_p) => Ok(NearProbability {
                        scheme: scheme.id,
                        distance: edits,
                        beam: 0,
                        log_p,
                        sequences: 1,
                    }),
                    None => beam::near_probability(
                        tools.backend,
                        ids,
                        prefix_len,
                        &scheme,
                        edits,
                        width,
                    ),
                };
                let mut found = match bound {
                    Ok(bound) => FollowUp {
                        near_probability: Some(bound),
                        ..FollowUp::default()
                    },
                    Err(error) => failed(format!(
                        "its near-verbatim probability could not be bounded: {error}"
                    )),
                };
                if tools.policy.near_verbatim {
                    found.unsettled = found.errors.first().cloned();
                }
                vec![row(&window.id, found)]
            }
            Self::Foreign { tasks, prefixes } => {
                let deltas = one_or_each(tasks, |tasks| {
                    let suffixes: Vec<&[u32]> =
                        tasks.iter().map(|task| suffix(task.window)).collect();
                    let own: Vec<f64> =
                        tasks.iter().map(|task| task.evidence.sum_logprob).collect();
                    foreign::delta(tools.backend, prefixes, &suffixes, &own)
                });
                let rows = tasks.iter().zip(deltas).map(|(task, delta)| {
                    let found = match delta {
                        Ok(delta) => FollowUp {
                            foreign_prefix: Some(delta),
                            ..FollowUp::default()
                        },
                        Err(error) => {
                            failed(format!("could not be run after foreign prefixes: {error}"))
                        }
                    };
                    row(&task.window.id, found)
                });
                rows.collect()
            }
            Self::Refer(referred) => {
                let input = ScoreInput {
                    token_ids: &referred.token_ids,
                    prefix_len: referred.prefix_len,
                };
                let found = match score_alone(tools.backend, input) {
                    Ok(scores) => {
                        let sum_logprob = scores.logprob.iter().map(|lp| f64::from(*lp)).sum();
                        let suffix_len = scores.logprob.len() as u32;
                        let ratio = ratio(referred.own, sum_logprob);
                        let score = ReferenceScore {
                            sum_logprob,
                            suffix_len,
                            ratio,
                        };
                        FollowUp {
                            reference: Some(score),
                            ..FollowUp::default()
                        }
                    }
                    Err(error) => failed(unreferred(&error)),
                };
                vec![row(&referred.window, found)]
            }
        }
    }
}

/// Rows for windows that were to be scored again alone, where there is no f32 copy of the model to do it with.
pub fn not_rescored(windows: &[&Window], why: &str) -> Vec<FollowUpRow> {
    let row = |window: &&Window| FollowUpRow {
        window: window.id.clone(),
        found: found(Err(why.to_owned()), |it| it),
    };
    windows.iter().map(row).collect()
}

/// The row of a window that can't even be given to the reference.
pub fn not_referred(window: &WindowId, why: &str) -> FollowUpRow {
    FollowUpRow {
        window: window.clone(),
        found: failed(unreferred(&why)),
    }
}

fn unreferred(why: &dyn std::fmt::Display) -> String {
    format!("could not be scored under the reference: {why}")
}

fn failed(error: String) -> FollowUp {
    FollowUp {
        errors: vec![error],
        ..FollowUp::default()
    }
}

/// What scoring again gave; a verdict hangs on it, so without it the window is unsettled.
fn found<T>(rescored: Result<T, String>, of: fn(T) -> FollowUp) -> FollowUp {
    match rescored {
        Ok(rescored) => of(rescored),
        Err(why) => {
            let error = format!("a near tie that could not be scored again alone in f32: {why}");
            FollowUp {
                unsettled: Some(error.clone()),
                ..failed(error)
            }
        }
    }
}

fn suffix(window: &Window) -> &[u32] {
    window
        .token_ids
        .get(window.placement.prefix_len as usize..)
        .unwrap_or_default()
}

/// 1 where both are certain.
fn ratio(own: f64, reference: f64) -> f64 {
    if own == reference {
        1.0
    } else {
        own / reference
    }
}

fn score_alone(
    backend: &dyn Backend,
    input: ScoreInput<'_>,
) -> Result<crate::backend::TokenScores, ScoreError> {
    let none = || Err(ScoreError::Backend("no score came back".to_owned()));
    backend.score(&[input]).pop().unwrap_or_else(none)
}

fn rescore(window: &Window, scored: &ScoredWindow, tools: &Tools<'_>) -> Result<Rescored, String> {
    let input = ScoreInput {
        token_ids: &window.token_ids,
        prefix_len: window.placement.prefix_len as usize,
    };
    let scores = score_alone(tools.backend, input).map_err(|error| error.to_string())?;
    let again = ScoredWindow {
        scores: Ok(scores),
        ..scored.clone()
    };
    let evidence =
        measure(&again, &tools.backend.info().schemes).map_err(|unscored| unscored.reason)?;
    Ok(Rescored {
        greedy_exact: evidence.greedy_exact,
        verbatim_run: evidence.verbatim_run,
        sum_logprob: evidence.sum_logprob,
        min_margin: evidence.min_margin,
        schemes: evidence.schemes,
    })
}

/// Does tasks together, or each alone where that fails, so that one that can't be done doesn't disturb the others.
fn one_or_each<T>(
    tasks: &[Task<'_>],
    work: impl Fn(&[Task<'_>]) -> Result<Vec<T>, ScoreError>,
) -> Vec<Result<T, ScoreError>> {
    if let Ok(all) = work(tasks)
        && all.len() == tasks.len()
    {
        return all.into_iter().map(Ok).collect();
    }
    let alone = |task: &Task<'_>| {
        let none = || ScoreError::Backend("no outcome came back".to_owned());
        work(std::slice::from_ref(task))?.pop().ok_or_else(none)
    };
    tasks.iter().map(alone).collect()
}

fn continue_all(
    tasks: &[Task<'_>],
    drafted: u32,
    tools: &Tools<'_>,
) -> Result<Vec<Continuation>, ScoreError> {
    let Some(first) = tasks.first() else {
        return Ok(Vec::new());
    };
    let start = (first.window.placement.prefix_len + drafted) as usize;
    let tokens = first.window.token_ids.len() - start;
    let prompts: Vec<&[u32]> = tasks
        .iter()
        .map(|task| &task.window.token_ids[..start])
        .collect();
    let generated = generate::greedy(tools.backend, &prompts, tokens)?;
    let continuations = tasks.iter().zip(generated).map(|(task, generated)| {
        let own = compare(task, drafted, &generated, tools);
        // A draft that was taken too far would hide how far generation gets by itself.
        if !own.agrees && drafted > 0 {
            return Ok(continue_all(std::slice::from_ref(task), 0, tools)?
                .pop()
                .unwrap_or(own));
        }
        Ok(own)
    });
    continuations.collect()
}

/// The continuation of one window against its suffix.
fn compare(
    task: &Task<'_>,
    drafted: u32,
    generated: &[GreedyToken],
    tools: &Tools<'_>,
) -> Continuation {
    let truth = suffix(task.window);
    let own: Vec<u32> = truth
        .iter()
        .copied()
        .take(drafted as usize)
        .chain(generated.iter().map(|token| token.id))
        .collect();
    let verbatim_run = truth.iter().zip(&own).take_while(|(a, b)| a == b).count() as u32;
    let own_text = (tools.decode)(&own);
    Continuation {
        drafted,
        verbatim_run,
        memorization_score: near::equal_positions(truth, &own),
        agrees: verbatim_run == task.evidence.verbatim_run,
        near: near::compare(truth, &own, &(tools.decode)(truth), &own_text),
        text: tools.reveal.then_some(own_text),
    }
}

#[cfg(test)]
mod tests;
