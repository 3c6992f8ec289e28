//! Which windows are scored: all, coarse to fine, or what a screen keeps.

use super::model::Ready;
use super::scoring::Texts;
use crate::cli::ProbeArgs;
use anyhow::{Context, Result, bail};
use byrote_core::backend::Backend as _;
use byrote_core::follow::select::hit;
use byrote_core::metric::random::SplitMix64;
use byrote_core::metric::recall::{self, Screened};
use byrote_core::policy::Policy;
use byrote_core::policy::Statistic;
use byrote_core::run::directory::RunDir;
use byrote_core::run::first::FirstPass;
use byrote_core::run::rows::Rows;
use byrote_core::run::{Fewer, Hits, Left, ScoredWindow};
use byrote_core::window::coarse::{Coarse, sequences};
use byrote_core::window::screen::{self, Threshold, Token};
use byrote_core::window::{Stride, Window};
use std::ops::Range;

/// Hits have at most this share of their tokens elsewhere than at the top, and the screen allows for twice as many
/// (docs/engine.md says why, and what was measured).
const SLACK: f64 = 2.0;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is scored.
    Score,
    /// It was scored in the first pass, at this place.
    Scored(usize),
    /// It is left.
    Leave(Left),
}

/// The windows of a first pass, and which windows of the run they stand for.
pub(super) struct First<'a> {
    pub(super) windows: Vec<std::borrow::Cow<'a, Window>>,
    how: How,
}

enum How {
    /// There is none.
    All,
    Coarse(Coarse),
    /// By sequence, the pieces of each.
    Screen(Threshold, Vec<(Range<usize>, Range<usize>)>),
}

/// What the screen chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Screening {
    /// Tokens it scored.
    tokens: u64,
    kept: Vec<usize>,
    left: u64,
    sampled: Vec<usize>,
}

/// What was asked for, as far as it can be checked before a model is there; `context` is the model's, where it is known.
pub(super) fn asked(
    args: &ProbeArgs,
    prefix: u32,
    policy: &Policy,
    context: Option<u32>,
) -> Result<Option<Fewer>> {
    let name = match (args.find_runs, args.screen) {
        (None, None) => return Ok(None),
        (Some(_), _) => "--find-runs",
        (None, Some(_)) => "--screen",
    };
    if policy.statistic != Statistic::MaxLogPZ {
        bail!(
            "{name} leaves windows unscored, and the policy's statistic needs all of them: the best of a subset is never too \
             high, a mean or a rank over a subset may be; use statistic = \"max_log_p_z\", or score all windows"
        );
    }
    if policy.near_verbatim {
        bail!(
            "{name} looks for what is word for word, and the policy counts near-verbatim samples, which are bounded for scored \
             windows only; use near_verbatim = false, or score all windows"
        );
    }
    let follow_up = &policy.follow_up;
    let hits = Hits {
        tau: policy.tau,
        schemes: policy
            .schemes
            .iter()
            .map(|scheme| scheme.id.clone())
            .collect(),
        margin: follow_up.margin,
        epsilon: follow_up.epsilon,
    };
    let stride = match args.stride_chars {
        Some(chars) => Stride::Chars(chars),
        None => Stride::Tokens(args.stride.unwrap_or(args.suffix)),
    };
    if let Some(tokens) = args.find_runs {
        let coarse = Coarse::new(tokens, args.suffix, stride).context("--find-runs")?;
        let stride = coarse.step() as u32 * args.stride.unwrap_or(args.suffix);
        return Ok(Some(Fewer::FindRuns {
            tokens,
            stride,
            hits,
        }));
    }
    match stride {
        Stride::Chars(_) => {
            bail!(
                "--screen reads one encoding of the text, and --stride-chars encodes every window anew; give --stride"
            )
        }
        Stride::Tokens(stride) if stride > prefix + args.suffix => bail!(
            "--screen reads every token of a text, and with a stride of {stride} windows don't: it would cost more than they \
             do; leave it out"
        ),
        Stride::Tokens(_) => {}
    }
    if args.template.iter().any(|name| name != "none") {
        bail!(
            "--screen reads texts as they are, which says little of windows in a template; leave one of them out"
        );
    }
    let wanted = args.screen.unwrap_or(screen::PIECE as u32);
    let piece = wanted.min(context.unwrap_or(wanted));
    // A piece should hold more tokens to score than context.
    if piece < 2 * prefix + args.suffix {
        let (least, known) = (
            2 * prefix + args.suffix,
            context.filter(|context| *context < wanted),
        );
        match known {
            Some(context) => {
                bail!(
                    "--screen: the model takes {context} tokens, and a piece needs {least}; shorten --prefix"
                )
            }
            None => bail!(
                "--screen {wanted}: a piece that holds more to score than context needs {least}"
            ),
        }
    }
    Ok(Some(Fewer::Screen {
        piece,
        first_choices: first_choices(policy.tau, args.suffix),
        log_p: SLACK * policy.tau.ln(),
        hits,
    }))
}

/// A token that isn't the first choice has a probability below 1/2. So a suffix of probability tau has at most
/// `log2(1/tau)` of them, and half as much room again and more is left for what differs after longer context.
fn first_choices(tau: f64, suffix: u32) -> f64 {
    let misses = SLACK * -tau.log2();
    (1.0 - misses / f64::from(suffix)).max(0.5)
}

impl<'a> First<'a> {
    /// The first pass over a run's windows.
    pub(super) fn of(
        fewer: Option<&Fewer>,
        windows: &'a [Window],
        texts: &Texts<'_>,
        run: &RunDir,
    ) -> Result<Self> {
        let asked = &run.manifest().settings.window;
        let partly = || {
            sequences(windows)
                .into_iter()
                .filter(|range| !texts.in_full(&windows[range.start]))
        };
        match fewer {
            None => Ok(Self {
                windows: Vec::new(),
                how: How::All,
            }),
            Some(Fewer::FindRuns { tokens, .. }) => {
                let coarse = Coarse::new(*tokens, asked.suffix, asked.stride)?;
                let first = partly().flat_map(|range| {
                    let (start, count) = (range.start, range.len());
                    range.filter(move |place| coarse.is_first(place - start, count))
                });
                let windows = first
                    .map(|place| std::borrow::Cow::Borrowed(&windows[place]))
                    .collect();
                Ok(Self {
                    windows,
                    how: How::Coarse(coarse),
                })
            }
            Some(Fewer::Screen {
                piece,
                first_choices,
                log_p,
                ..
            }) => {
                let (mut pieces, mut ranges) = (Vec::new(), Vec::new());
                // One window is cheaper than the text around it.
                for range in partly().filter(|range| range.len() > 1) {
                    let own = screen::pieces(&windows[range.clone()], asked.prefix, *piece as usize).with_context(|| {
                        format!(
                            "--screen: pieces of {piece} tokens have no room beside a prefix of {}; shorten --prefix",
                            asked.prefix
                        )
                    })?;
                    ranges.push((range, pieces.len()..pieces.len() + own.len()));
                    pieces.extend(own.into_iter().map(std::borrow::Cow::Owned));
                }
                let threshold = Threshold {
                    first_choices: *first_choices,
                    log_p: *log_p,
                };
                Ok(Self {
                    windows: pieces,
                    how: How::Screen(threshold, ranges),
                })
            }
        }
    }

    /// What becomes of every window, by what the first pass found.
    pub(super) fn fates(
        &self,
        windows: &[Window],
        texts: &Texts<'_>,
        found: &mut FirstPass<'_>,
        model: &Ready,
        policy: &Policy,
    ) -> Result<(Vec<Fate>, Option<Screening>)> {
        let mut fates = vec![Fate::Score; windows.len()];
        match &self.how {
            How::All => Ok((fates, None)),
            How::Coarse(coarse) => {
                let mut next = 0;
                for range in sequences(windows)
                    .into_iter()
                    .filter(|range| !texts.in_full(&windows[range.start]))
                {
                    let count = range.len();
                    let first: Vec<usize> = (0..count)
                        .filter(|place| coarse.is_first(*place, count))
                        .collect();
                    let mut hits = Vec::with_capacity(first.len());
                    for (i, place) in first.iter().enumerate() {
                        fates[range.start + place] = Fate::Scored(next + i);
                        let row = found.row(next + i)?;
                        hits.push(row.is_some_and(|row| hit(row, model.backend.info(), policy)));
                    }
                    next += first.len();
                    let is_hit = |place: usize| first.binary_search(&place).is_ok_and(|i| hits[i]);
                    for (place, scored) in coarse.scored(count, is_hit).into_iter().enumerate() {
                        if !scored {
                            fates[range.start + place] = Fate::Leave(Left::Coarse);
                        }
                    }
                }
                Ok((fates, None))
            }
            How::Screen(threshold, sequences) => {
                let mut chosen = Screening {
                    tokens: 0,
                    kept: Vec::new(),
                    left: 0,
                    sampled: Vec::new(),
                };
                let mut left = Vec::new();
                let prefix = |window: &Window| window.placement.prefix_len;
                for (range, pieces) in sequences {
                    let mut tokens = Vec::new();
                    for piece in pieces.clone() {
                        let length = self.windows[piece].token_ids.len()
                            - prefix(&self.windows[piece]) as usize;
                        tokens.extend(screened(found.row(piece)?, length, model, policy));
                    }
                    chosen.tokens += tokens.len() as u64;
                    let kept = screen::kept(&windows[range.clone()], &tokens, *threshold);
                    for (place, kept) in range.clone().zip(kept) {
                        if kept { &mut chosen.kept } else { &mut left }.push(place);
                    }
                }
                for place in &left {
                    fates[*place] = Fate::Leave(Left::Screen);
                }
                let mut random = SplitMix64::new(seed(found));
                chosen.sampled =
                    screen::sample(&left, screen::sample_size(left.len()), |n| random.below(n));
                for place in &chosen.sampled {
                    fates[*place] = Fate::Score;
                }
                chosen.left = left.len() as u64;
                Ok((fates, Some(chosen)))
            }
        }
    }
}

/// What the screen found for the tokens of a piece: nothing, where it couldn't be scored.
fn screened(
    row: Option<&ScoredWindow>,
    length: usize,
    model: &Ready,
    policy: &Policy,
) -> Vec<Option<Token>> {
    let Some(Ok(scores)) = row.map(|row| &row.scores) else {
        return vec![None; length];
    };
    let all = &model.backend.info().schemes;
    let wanted = |id: &str| policy.schemes.iter().any(|scheme| scheme.id == id);
    let ways: Vec<&Vec<f32>> = all
        .iter()
        .zip(&scores.scheme_logprob)
        .filter(|(scheme, _)| wanted(&scheme.id))
        .map(|(_, list)| list)
        .collect();
    let of = |i: usize| {
        let mut logprob = vec![*scores.logprob.get(i)?];
        logprob.extend(
            ways.iter()
                .map(|way| way.get(i).copied().unwrap_or(f32::NEG_INFINITY)),
        );
        Some(Token {
            first_choice: scores.rank.get(i) == Some(&0),
            logprob,
        })
    };
    (0..length).map(of).collect()
}

/// From the digest of what was screened: the same run draws the same sample.
fn seed(found: &FirstPass<'_>) -> u64 {
    u64::from_str_radix(
        found.plan().digest.as_str().get(..16).unwrap_or_default(),
        16,
    )
    .unwrap_or_default()
}

impl Screening {
    /// How many of the hits the screen kept, by the scores of the run.
    pub(super) fn recall(
        &self,
        scores: &mut Rows<'_>,
        model: &Ready,
        policy: &Policy,
    ) -> Result<Screened> {
        let mut hits = |places: &[usize]| -> Result<u64> {
            let mut hits = 0;
            for place in places {
                let is_hit = scores
                    .row(*place)?
                    .is_some_and(|row| hit(row, model.backend.info(), policy));
                hits += u64::from(is_hit);
            }
            Ok(hits)
        };
        Ok(recall::of(recall::Counts {
            tokens: self.tokens,
            kept: self.kept.len() as u64,
            kept_hits: hits(&self.kept)?,
            left: self.left,
            sampled: self.sampled.len() as u64,
            sampled_hits: hits(&self.sampled)?,
        }))
    }
}
