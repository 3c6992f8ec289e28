//! What is kept of an item while its windows come in: evidence, not scores.

use crate::backend::Scheme;
use crate::follow::evidence;
use crate::items::Kind;
use crate::metric::follow_up::Numerics;
use crate::metric::left::{self, LeftWindow};
use crate::metric::tokens::TokenEvidence;
use crate::metric::window::{self, UnscoredWindow, WindowEvidence};
use crate::policy::Policy;
use crate::run::follow_up::FollowUp;
use crate::run::{ProbedItem, ScoredWindow};
use crate::window::WindowId;
use std::collections::HashSet;

/// How many windows of an item a report shows.
const SHOWN: usize = 5;

/// The windows of one form: those that were scored or should have been, and those that were left.
type Measured = (Vec<Result<WindowEvidence, UnscoredWindow>>, Vec<LeftWindow>);

/// The windows of one item that have come so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    seen: HashSet<WindowId>,
    /// A list a form, as verdicts may use it.
    pub(super) measured: Vec<Measured>,
    /// Windows about which more was found out, as first scored.
    pub(super) followed: Vec<WindowEvidence>,
    pub(super) numerics: Numerics,
    /// The likeliest windows, the likeliest first; with their tokens, unless the item is a control.
    pub(super) shown: Vec<WindowEvidence>,
}

impl Gathered {
    pub(super) fn of(probed: &ProbedItem) -> Self {
        Self {
            measured: probed.forms.iter().map(|_| Measured::default()).collect(),
            ..Self::default()
        }
    }

    /// Whether every window that was cut has come.
    pub(super) fn is_whole(&self, probed: &ProbedItem) -> bool {
        let planned: u64 = probed.forms.iter().map(|form| form.windows).sum();
        self.seen.len() as u64 == planned
    }

    /// Takes a window of an item; false if it isn't of one of its forms, or has come before.
    pub(super) fn add(
        &mut self,
        probed: &ProbedItem,
        scored: &ScoredWindow,
        found: Option<&FollowUp>,
        schemes: &[Scheme],
        policy: &Policy,
    ) -> bool {
        let form = probed
            .forms
            .iter()
            .position(|form| form.form == scored.placement.form);
        let Some((windows, left)) = form.and_then(|form| self.measured.get_mut(form)) else {
            return false;
        };
        if !self.seen.insert(scored.window.clone()) {
            return false;
        }
        match left::measure(scored, schemes) {
            Some(Ok(window)) => left.push(window),
            Some(Err(unscored)) => windows.push(Err(unscored)),
            None => {
                let measured = window::measure(scored, schemes).and_then(|measured| {
                    let first = WindowEvidence {
                        follow_up: found.cloned(),
                        ..measured
                    };
                    self.numerics = self.numerics.plus(evidence::numerics(&first, policy));
                    if first.follow_up.is_some() {
                        self.followed.push(first.clone());
                    }
                    // What was found out about a window counts from here on, or the window doesn't.
                    evidence::apply_follow_up(first)
                });
                if let Ok(window) = &measured {
                    show(&mut self.shown, window, scored, policy, probed.item.kind);
                }
                windows.push(measured);
            }
        }
        true
    }
}

/// Keeps a window that is among the likeliest so far.
fn show(
    shown: &mut Vec<WindowEvidence>,
    window: &WindowEvidence,
    scored: &ScoredWindow,
    policy: &Policy,
    kind: Kind,
) {
    let place =
        shown.partition_point(|other| window::likelier(other, window, &policy.schemes).is_lt());
    if place < SHOWN {
        let tokens = scored
            .scores
            .as_ref()
            .ok()
            .filter(|_| kind != Kind::Control)
            .map(TokenEvidence::of);
        shown.insert(
            place,
            WindowEvidence {
                tokens,
                ..window.clone()
            },
        );
        shown.truncate(SHOWN);
    }
}
