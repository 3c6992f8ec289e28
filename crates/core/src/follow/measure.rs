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
    /// Continue windows of equal prefix and suffix lengths, with so many tokens of their suffixes taken as given.
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

/// Jobs for what is asked of windows and not found yet, but for the reference. `controls` are the windows of the run's
/// controls, one list a text; `batch` = windows continued together at most.
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
mod tests {
    use super::*;
    use crate::backend::scripted::Scripted;
    use crate::follow::evidence::settle;
    use crate::items::ItemId;
    use crate::run::TextStats;
    use crate::window::{Form, Placement};

    const PREFIX: usize = 6;

    /// A model that recites 10, 11, ... 49.
    fn model() -> Scripted {
        let mut model = Scripted::new(64, 64);
        model.memorize(&(10..50).collect::<Vec<_>>(), 20.0);
        model
    }

    /// Twenty tokens from 10 on, of which the one at `wrong` is another than the model recites.
    fn recited(wrong: Option<usize>) -> Vec<u32> {
        (0..20)
            .map(|i| {
                if wrong == Some(i as usize) {
                    60
                } else {
                    10 + i
                }
            })
            .collect()
    }

    fn window(id: &str, token_ids: Vec<u32>) -> Window {
        Window {
            id: WindowId(id.to_owned()),
            item: ItemId("a".to_owned()),
            placement: Placement {
                form: Form::AsGiven,
                template: Default::default(),
                start_token: 0,
                start_byte: 0,
                suffix_byte: 1,
                end_byte: 2,
                suffix_char: 1,
                end_char: 2,
                prefix_len: PREFIX as u32,
                suffix_len: token_ids.len() as u32 - PREFIX as u32,
                straddles: false,
            },
            token_ids,
        }
    }

    fn scored(window: &Window, backend: &Scripted) -> ScoredWindow {
        let input = ScoreInput {
            token_ids: &window.token_ids,
            prefix_len: PREFIX,
        };
        ScoredWindow {
            item: window.item.clone(),
            window: window.id.clone(),
            placement: window.placement.clone(),
            text: TextStats::default(),
            token_ids: None,
            left: None,
            scores: backend
                .score(&[input])
                .remove(0)
                .map_err(|error| error.to_string()),
        }
    }

    fn evidence(window: &Window, backend: &Scripted) -> WindowEvidence {
        measure(&scored(window, backend), &backend.info().schemes).unwrap()
    }

    fn decode(ids: &[u32]) -> String {
        ids.iter().map(|id| format!("w{id} ")).collect()
    }

    fn run(
        job: &Job<'_>,
        backend: &Scripted,
        change: fn(&mut Policy),
        reveal: bool,
    ) -> Vec<FollowUp> {
        let mut policy = Policy::default();
        change(&mut policy);
        let rows = job.run(&Tools {
            backend,
            decode: &decode,
            policy: &policy,
            reveal,
        });
        rows.into_iter().map(|row| row.found).collect()
    }

    fn continued(tasks: Vec<Task<'_>>, drafted: u32, backend: &Scripted) -> Vec<FollowUp> {
        run(&Job::Continue { tasks, drafted }, backend, |_| (), false)
    }

    #[test]
    fn a_draft_changes_nothing_of_what_is_generated() {
        let model = model();
        for wrong in [None, Some(6), Some(13), Some(14), Some(19)] {
            let window = window("a#0", recited(wrong));
            let evidence = evidence(&window, &model);
            assert_eq!(
                evidence.verbatim_run as usize,
                wrong.map_or(14, |at| at - PREFIX)
            );
            let task = Task {
                window: &window,
                evidence: &evidence,
            };
            let whole = continued(vec![task], 0, &model)
                .remove(0)
                .continuation
                .unwrap();
            assert!(whole.agrees && whole.text.is_none(), "{wrong:?}");
            assert_eq!(
                (whole.drafted, whole.verbatim_run),
                (0, evidence.verbatim_run)
            );
            if evidence.verbatim_run >= 8 {
                let drafted = continued(vec![task], 8, &model)
                    .remove(0)
                    .continuation
                    .unwrap();
                assert_eq!(
                    Continuation {
                        drafted: 0,
                        ..drafted
                    },
                    whole
                );
            }
        }
        let exact = window("a#0", recited(None));
        let evidence = evidence(&exact, &model);
        let task = Task {
            window: &exact,
            evidence: &evidence,
        };
        let revealed = run(
            &Job::Continue {
                tasks: vec![task],
                drafted: 8,
            },
            &model,
            |_| (),
            true,
        );
        let own = revealed[0].continuation.as_ref().unwrap();
        assert_eq!(
            own.text.as_deref(),
            Some(&decode(&exact.token_ids[PREFIX..])[..])
        );
        assert_eq!(
            (own.memorization_score, own.near.near_verbatim),
            (1.0, true)
        );
    }

    #[test]
    fn a_generation_that_disagrees_is_made_in_full_and_counts() {
        let model = model();
        // Teacher forcing, wrongly, says that the window is recited to its end; generation gets to its eleventh token.
        let (good, bad) = (
            window("a#0", recited(None)),
            window("a#1", recited(Some(16))),
        );
        let claimed = WindowEvidence {
            window: bad.id.clone(),
            ..evidence(&good, &model)
        };
        let task = Task {
            window: &bad,
            evidence: &claimed,
        };
        for drafted in [0, 8] {
            let found = continued(vec![task], drafted, &model).remove(0);
            let own = found.continuation.clone().unwrap();
            assert_eq!((own.drafted, own.verbatim_run, own.agrees), (0, 10, false));
            let settled = settle(WindowEvidence {
                follow_up: Some(found),
                ..claimed.clone()
            })
            .unwrap();
            assert_eq!((settled.greedy_exact, settled.verbatim_run), (false, 10));
        }
    }

    #[test]
    fn what_fails_fails_alone_and_only_what_a_verdict_hangs_on_unsettles_the_window() {
        let model = model();
        let exact = window("a#0", recited(None));
        let mut broken = window("a#1", recited(None));
        let sound = evidence(&exact, &model);
        broken.token_ids[0] = 64;
        let claimed = WindowEvidence {
            window: broken.id.clone(),
            ..sound.clone()
        };
        let inexact = WindowEvidence {
            greedy_exact: false,
            ..claimed.clone()
        };
        let (good, bad) = (
            Task {
                window: &exact,
                evidence: &sound,
            },
            Task {
                window: &broken,
                evidence: &claimed,
            },
        );
        let said = |found: &FollowUp, what: &str| {
            found.errors.len() == 1 && found.errors[0].contains(what)
        };

        let found = continued(
            vec![
                good,
                bad,
                Task {
                    evidence: &inexact,
                    ..bad
                },
            ],
            0,
            &model,
        );
        assert!(found[0].continuation.is_some() && found[0].errors.is_empty());
        for found in &found[1..] {
            assert!(
                said(found, "could not be continued by generation: token id 64"),
                "{:?}",
                found.errors
            );
        }
        assert!(
            found[1]
                .unsettled
                .as_ref()
                .unwrap()
                .starts_with("its greedy verdict could not be continued")
        );
        assert_eq!((&found[0].unsettled, &found[2].unsettled), (&None, &None));

        let mut unsure = claimed.clone();
        unsure
            .schemes
            .iter_mut()
            .for_each(|scheme| scheme.log_p_z = -9.0);
        let bad = Task {
            evidence: &unsure,
            ..bad
        };
        let found = run(&Job::Bound(bad), &model, |_| (), false).remove(0);
        assert!(said(&found, "near-verbatim probability") && found.unsettled.is_none());
        let found = run(
            &Job::Bound(bad),
            &model,
            |policy| policy.near_verbatim = true,
            false,
        )
        .remove(0);
        assert_eq!(found.unsettled.as_ref(), found.errors.first());

        let foreign = [0; PREFIX];
        let job = Job::Foreign {
            tasks: vec![good, bad],
            prefixes: vec![&foreign, &exact.token_ids[..PREFIX]],
        };
        let found = run(&job, &model, |_| (), false);
        // Its own prefix is among the two: half the foreign mean, so ln 2.
        let delta = found[0].foreign_prefix.as_ref().unwrap();
        assert!(
            (delta.delta - 2f64.ln()).abs() < 1e-3 && delta.prefixes == 2,
            "{delta:?}"
        );
        assert!(found.iter().all(|found| found.unsettled.is_none()));

        let mut failing = model.clone();
        failing.fail_on(&exact.token_ids, ScoreError::NonFinite { position: 3 });
        let first = scored(&exact, &model);
        let again = Job::Rescore {
            window: &exact,
            scored: &first,
        };
        let found = run(&again, &failing, |_| (), false).remove(0);
        assert!(said(
            &found,
            "a near tie that could not be scored again alone in f32: the model's logits"
        ));
        assert!(
            settle(WindowEvidence {
                follow_up: Some(found),
                ..sound.clone()
            })
            .is_err()
        );
        let found = run(&again, &model, |_| (), false).remove(0);
        assert_eq!(found.rescored.unwrap().schemes, sound.schemes);
        for row in not_rescored(&[&exact], "no memory") {
            assert!(said(&row.found, "no memory") && row.found.unsettled.is_some());
        }

        let job = |token_ids| {
            Job::Refer(Referred {
                window: exact.id.clone(),
                token_ids,
                prefix_len: PREFIX,
                own: sound.sum_logprob,
            })
        };
        let found = run(&job(exact.token_ids.clone()), &model, |_| (), false).remove(0);
        assert_eq!(found.reference.unwrap().ratio, 1.0);
        let found = run(&job(vec![64; 20]), &model, |_| (), false).remove(0);
        assert!(said(&found, "under the reference: token id 64") && found.unsettled.is_none());
    }

    #[test]
    fn jobs_hold_windows_of_one_shape_and_nothing_that_is_found_already() {
        let model = model();
        let windows: Vec<Window> = (0..5)
            .map(|i| window(&format!("a#{i}"), recited(None)))
            .collect();
        let mut control = window("c#0", (20..40).collect());
        control.placement.prefix_len = 6;
        let evidence: Vec<WindowEvidence> = windows
            .iter()
            .map(|window| evidence(window, &model))
            .collect();
        let full = FollowUpRequest {
            drafted: Some(0),
            near_probability: true,
            foreign_prefix: true,
            reference: true,
        };
        let mut asked: Vec<(Task<'_>, FollowUpRequest)> = windows
            .iter()
            .zip(&evidence)
            .map(|(window, evidence)| (Task { window, evidence }, full))
            .collect();
        asked[3].1 = FollowUpRequest {
            drafted: Some(8),
            ..FollowUpRequest::default()
        };
        let policy = Policy::default();
        let shape = |found: &HashMap<WindowId, FollowUp>, controls: &[Vec<&Window>], batch| {
            let jobs = jobs(&asked, found, controls, &policy, batch);
            let name = |job: &Job<'_>| match job {
                Job::Continue { tasks, drafted } => format!("{} from {drafted}", tasks.len()),
                Job::Bound(_) => "bound".to_owned(),
                Job::Foreign { tasks, prefixes } => {
                    format!("{} after {}", tasks.len(), prefixes.len())
                }
                Job::Rescore { .. } | Job::Refer(_) => "other".to_owned(),
            };
            jobs.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let none = HashMap::new();
        let controls = [vec![&control]];
        assert_eq!(
            shape(&none, &controls, 16),
            "4 from 0, 1 from 8, bound, bound, bound, bound, 4 after 1"
        );
        assert_eq!(
            shape(&none, &[], 3),
            "3 from 0, 1 from 0, 1 from 8, bound, bound, bound, bound"
        );
        let mut longer = control.clone();
        longer.placement.prefix_len = 7;
        assert!(
            !shape(&none, &[vec![&longer]], 16).contains("after"),
            "prefixes of another length"
        );

        let tools = Tools {
            backend: &model,
            decode: &decode,
            policy: &policy,
            reveal: false,
        };
        let mut found: HashMap<WindowId, FollowUp> = HashMap::new();
        for row in jobs(&asked, &none, &controls, &policy, 2)
            .iter()
            .flat_map(|job| job.run(&tools))
        {
            found.entry(row.window).or_default().join(row.found);
        }
        assert_eq!(shape(&found, &controls, 16), "");
        let one = found.get_mut(&windows[0].id).unwrap();
        assert!(
            one.continuation.is_some()
                && one.near_probability.is_some()
                && one.foreign_prefix.is_some()
        );
        one.near_probability = None;
        assert_eq!(shape(&found, &controls, 16), "bound");
    }
}
