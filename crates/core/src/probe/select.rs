//! Which windows are scored: all of them, or those that a coarse pass selects.

use super::score::Texts;
use super::{ProbeError, ProbeModel};
use crate::follow::select::hit;
use crate::metric::recall::{Counts, Screened, of as recall_of};
use crate::policy::Policy;
use crate::random::SplitMix64;
use crate::run::directory::RunDir;
use crate::run::pass::PassScores;
use crate::run::rows::Rows;
use crate::run::{Left, ScoredWindow, WindowSelection};
use crate::window::Window;
use crate::window::coarse::{Coarse, sequences};
use crate::window::screen::{self, Threshold, Token};
use std::borrow::Cow;
use std::ops::Range;

/// What is done with a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowAction {
    Score,
    /// Its scores are those of the coarse pass, at this index.
    Reuse(usize),
    Skip(Left),
}

/// The windows that are scored first, by whose scores the others are selected.
pub(super) struct CoarsePass<'a> {
    pub(super) windows: Vec<Cow<'a, Window>>,
    kind: PassKind,
}

enum PassKind {
    /// There is no pass: every window is scored.
    None,
    /// A grid of windows of the run.
    Grid(Coarse),
    /// Long pieces of the text; with every sequence of windows goes the range of its pieces.
    Screen(Threshold, Vec<(Range<usize>, Range<usize>)>),
}

/// What a screen selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Screening {
    /// Tokens that the screen scored.
    tokens: u64,
    /// Indices of the windows it kept.
    kept: Vec<usize>,
    /// How many windows it passed over.
    passed_over: u64,
    /// Indices of those that are scored all the same, as a sample.
    sampled: Vec<usize>,
}

impl<'a> CoarsePass<'a> {
    /// The coarse pass over a run's windows.
    pub(super) fn new(
        windows: &'a [Window],
        texts: &Texts<'_>,
        run: &RunDir,
    ) -> Result<Self, ProbeError> {
        let settings = &run.manifest().settings;
        let selectable = selectable(windows, texts);
        match settings.fewer {
            None => Ok(Self {
                windows: Vec::new(),
                kind: PassKind::None,
            }),
            Some(WindowSelection::CoarseToFine { tokens, .. }) => {
                let grid = Coarse::new(tokens, settings.window.suffix, settings.window.stride)?;
                Ok(Self::grid(windows, selectable, grid))
            }
            Some(WindowSelection::Screened {
                piece,
                first_choices,
                log_p,
                ..
            }) => {
                let threshold = Threshold {
                    first_choices,
                    log_p,
                };
                Self::screen(
                    windows,
                    selectable,
                    settings.window.prefix,
                    piece,
                    threshold,
                )
            }
        }
    }

    fn grid(
        windows: &'a [Window],
        selectable: impl Iterator<Item = Range<usize>>,
        grid: Coarse,
    ) -> Self {
        let mut first = Vec::new();
        for range in selectable {
            for (offset, window) in windows[range.clone()].iter().enumerate() {
                if grid.is_first(offset, range.len()) {
                    first.push(Cow::Borrowed(window));
                }
            }
        }
        Self {
            windows: first,
            kind: PassKind::Grid(grid),
        }
    }

    fn screen(
        windows: &'a [Window],
        selectable: impl Iterator<Item = Range<usize>>,
        prefix: u32,
        piece: u32,
        threshold: Threshold,
    ) -> Result<Self, ProbeError> {
        let (mut pieces, mut sequences) = (Vec::new(), Vec::new());
        for range in selectable {
            // One window is cheaper than the text around it.
            if range.len() == 1 {
                continue;
            }
            let Some(own) = screen::pieces(&windows[range.clone()], prefix, piece as usize) else {
                return Err(ProbeError::Selection(format!(
                    "--screen: pieces of {piece} tokens have no room beside a prefix of {prefix}; shorten --prefix"
                )));
            };
            sequences.push((range, pieces.len()..pieces.len() + own.len()));
            pieces.extend(own.into_iter().map(Cow::Owned));
        }
        Ok(Self {
            windows: pieces,
            kind: PassKind::Screen(threshold, sequences),
        })
    }

    /// Whether its windows are pieces of text, not windows of the run.
    pub(super) fn scores_pieces(&self) -> bool {
        matches!(self.kind, PassKind::Screen(..))
    }

    /// What is done with every window, by the scores of the pass.
    pub(super) fn actions(
        &self,
        windows: &[Window],
        texts: &Texts<'_>,
        scores: &mut PassScores<'_>,
        model: &ProbeModel,
        policy: &Policy,
    ) -> Result<(Vec<WindowAction>, Option<Screening>), ProbeError> {
        let mut actions = vec![WindowAction::Score; windows.len()];
        match &self.kind {
            PassKind::None => Ok((actions, None)),
            PassKind::Grid(grid) => {
                let mut first = 0;
                for range in selectable(windows, texts) {
                    let actions = &mut actions[range];
                    first = refine(*grid, first, actions, scores, model, policy)?;
                }
                Ok((actions, None))
            }
            PassKind::Screen(threshold, sequences) => {
                let mut screening = Screening::default();
                let mut passed_over = Vec::new();
                for (range, pieces) in sequences {
                    let mut tokens = Vec::new();
                    for piece in pieces.clone() {
                        let window = &self.windows[piece];
                        let length = window.token_ids.len() - window.placement.prefix_len as usize;
                        tokens.extend(screened(scores.row(piece)?, length, model, policy));
                    }
                    screening.tokens += tokens.len() as u64;
                    let kept = screen::kept(&windows[range.clone()], &tokens, *threshold);
                    for (index, kept) in range.clone().zip(kept) {
                        if kept {
                            screening.kept.push(index);
                        } else {
                            passed_over.push(index);
                        }
                    }
                }
                for &index in &passed_over {
                    actions[index] = WindowAction::Skip(Left::Screen);
                }
                let mut random = SplitMix64::new(seed(scores));
                let size = screen::sample_size(passed_over.len());
                screening.sampled = screen::sample(&passed_over, size, |n| random.below(n));
                for &index in &screening.sampled {
                    actions[index] = WindowAction::Score;
                }
                screening.passed_over = passed_over.len() as u64;
                Ok((actions, Some(screening)))
            }
        }
    }
}

/// The sequences of windows from which a pass may select: those of items that needn't be scored completely.
fn selectable<'a>(
    windows: &'a [Window],
    texts: &'a Texts<'_>,
) -> impl Iterator<Item = Range<usize>> + 'a {
    let all = sequences(windows).into_iter();
    all.filter(|range| !texts.always_complete(&windows[range.start]))
}

/// Reuses the grid's scores in one sequence of windows and skips what no hit asks for. The sequence's windows of the grid
/// begin at index `first` of the pass; gives the index after them.
fn refine(
    grid: Coarse,
    first: usize,
    actions: &mut [WindowAction],
    scores: &mut PassScores<'_>,
    model: &ProbeModel,
    policy: &Policy,
) -> Result<usize, ProbeError> {
    let count = actions.len();
    let mut next = first;
    let mut hits = vec![false; count];
    for (offset, action) in actions.iter_mut().enumerate() {
        if grid.is_first(offset, count) {
            *action = WindowAction::Reuse(next);
            let row = scores.row(next)?;
            hits[offset] = row.is_some_and(|row| hit(row, model.backend.info(), policy));
            next += 1;
        }
    }
    for (action, scored) in actions
        .iter_mut()
        .zip(grid.scored(count, |offset| hits[offset]))
    {
        if !scored {
            *action = WindowAction::Skip(Left::Coarse);
        }
    }
    Ok(next)
}

/// What the screen found for the tokens of a piece: nothing where it couldn't be scored.
fn screened(
    row: Option<&ScoredWindow>,
    length: usize,
    model: &ProbeModel,
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
    let token = |i: usize| {
        let mut logprob = vec![*scores.logprob.get(i)?];
        for way in &ways {
            logprob.push(way.get(i).copied().unwrap_or(f32::NEG_INFINITY));
        }
        Some(Token {
            first_choice: scores.rank.get(i) == Some(&0),
            logprob,
        })
    };
    (0..length).map(token).collect()
}

/// From the digest of what was screened: the same run draws the same sample.
fn seed(scores: &PassScores<'_>) -> u64 {
    let digits = scores.plan().digest.as_str().get(..16).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

impl Screening {
    /// How many of the hits the screen kept, by the scores of the run.
    pub(super) fn recall(
        &self,
        scores: &mut Rows<'_>,
        model: &ProbeModel,
        policy: &Policy,
    ) -> Result<Screened, ProbeError> {
        let mut hits = |indices: &[usize]| -> Result<u64, ProbeError> {
            let mut hits = 0;
            for index in indices {
                let row = scores.row(*index)?;
                hits += u64::from(row.is_some_and(|row| hit(row, model.backend.info(), policy)));
            }
            Ok(hits)
        };
        Ok(recall_of(Counts {
            tokens: self.tokens,
            kept: self.kept.len() as u64,
            kept_hits: hits(&self.kept)?,
            left: self.passed_over,
            sampled: self.sampled.len() as u64,
            sampled_hits: hits(&self.sampled)?,
        }))
    }
}
