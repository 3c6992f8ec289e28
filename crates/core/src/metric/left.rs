//! Windows that were left before their end: measured as far as was needed to know that they don't matter.
//!
//! A left window is neither scored nor unscored. What is known of it is a bound: the log-probabilities of its first tokens
//! add up to at least that of the whole suffix. A bound is never used as a value.

use crate::backend::Scheme;
use crate::metric::item::{FormValues, ItemEvidence, SchemeEvidence};
use crate::metric::window::UnscoredWindow;
use crate::metric::{greedy, probability};
use crate::run::follow_up::SchemeLogP;
use crate::run::{Left, ScoredWindow};
use crate::window::TemplateId;
use crate::window::WindowId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One window that was left.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftWindow {
    pub window: WindowId,
    pub template: TemplateId,
    /// Why.
    pub reason: Left,
    /// Tokens of the suffix that were scored.
    pub after: u32,
    /// Tokens of the suffix.
    pub suffix_len: u32,
    /// Upper bounds on `ln p_z`, one a scheme in the backend's order: the sums over the tokens scored. 0 where none was.
    pub bounds: Vec<SchemeLogP>,
    /// Its verbatim run, where a miss is among the tokens scored; otherwise it isn't known.
    pub verbatim_run: Option<u32>,
}

/// The windows of one form that were left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeftWindows {
    /// Left because their probability is below the policy's floor, whatever follows.
    pub floor: u64,
    /// Left because they lie between two windows of a first pass that were no hits; they have no bound.
    pub coarse: u64,
    /// Left because a long pass over the whole text had no reason to ask for them; they have no bound.
    pub screen: u64,
    /// Upper bounds, not values: the greatest ln p_z that a window left by the floor may have.
    pub bounds: Vec<SchemeLogP>,
    /// Longest verbatim run among them, in tokens; absent if it isn't known of every left window.
    pub verbatim_run: Option<u32>,
    /// Shortest and longest suffix among them, in tokens; 0 if none was left.
    pub min_suffix_len: u32,
    pub max_suffix_len: u32,
    /// Templates under which the form was probed, those counted of which every window was left; 0 if none was left.
    pub templates: u64,
}

/// What is known of a window that was left; `None` if it wasn't.
///
/// # Errors
/// When its scores can't be: lists of different lengths or as long as the suffix, a NaN, a probability above 1, none at
/// all. Such a window is unscored.
pub fn measure(
    scored: &ScoredWindow,
    schemes: &[Scheme],
) -> Option<Result<LeftWindow, UnscoredWindow>> {
    let reason = scored.left?;
    let unscored = |reason| UnscoredWindow {
        window: scored.window.clone(),
        reason,
    };
    Some(known(scored, reason, schemes).map_err(unscored))
}

fn known(scored: &ScoredWindow, reason: Left, schemes: &[Scheme]) -> Result<LeftWindow, String> {
    let scores = scored.scores.as_ref().map_err(String::clone)?;
    let after = scores.logprob.len() as u32;
    if after >= scored.placement.suffix_len {
        return Err(format!(
            "left after {after} of {} suffix tokens, which is its end",
            scored.placement.suffix_len
        ));
    }
    crate::metric::window::check(scores, after, schemes)?;
    let bound = |(scheme, logprob): (&Scheme, &Vec<f32>)| SchemeLogP {
        scheme: scheme.id.clone(),
        log_p_z: probability::log_p_z(logprob),
    };
    let run = greedy::verbatim_run(&scores.rank);
    Ok(LeftWindow {
        window: scored.window.clone(),
        template: scored.placement.template.clone(),
        reason,
        after,
        suffix_len: scored.placement.suffix_len,
        bounds: schemes
            .iter()
            .zip(&scores.scheme_logprob)
            .map(bound)
            .collect(),
        verbatim_run: (run < after).then_some(run),
    })
}

impl LeftWindows {
    /// Whether no window was left.
    pub(crate) fn is_none(&self) -> bool {
        self.total() == 0
    }

    /// Brings left windows together; `scored` are the templates of the windows that were scored.
    pub fn of<'a>(left: &'a [LeftWindow], scored: impl Iterator<Item = &'a TemplateId>) -> Self {
        if left.is_empty() {
            return Self::default();
        }
        let count = |reason| left.iter().filter(|window| window.reason == reason).count() as u64;
        let mut bounds: Vec<SchemeLogP> = Vec::new();
        for bound in left
            .iter()
            .filter(|window| window.reason == Left::Floor)
            .flat_map(|window| &window.bounds)
        {
            match bounds.iter_mut().find(|known| known.scheme == bound.scheme) {
                Some(known) => known.log_p_z = known.log_p_z.max(bound.log_p_z),
                None => bounds.push(bound.clone()),
            }
        }
        let runs: Option<Vec<u32>> = left.iter().map(|window| window.verbatim_run).collect();
        let templates: BTreeSet<&TemplateId> = left
            .iter()
            .map(|window| &window.template)
            .chain(scored)
            .collect();
        Self {
            floor: count(Left::Floor),
            coarse: count(Left::Coarse),
            screen: count(Left::Screen),
            bounds,
            verbatim_run: runs.and_then(|runs| runs.into_iter().max()),
            min_suffix_len: left
                .iter()
                .map(|window| window.suffix_len)
                .min()
                .unwrap_or_default(),
            max_suffix_len: left
                .iter()
                .map(|window| window.suffix_len)
                .max()
                .unwrap_or_default(),
            templates: templates.len() as u64,
        }
    }

    /// Windows left, for whatever reason.
    pub fn total(&self) -> u64 {
        self.floor + self.coarse + self.screen
    }

    /// Windows of which nothing is known: those between the windows of a first pass, and those that a screen left.
    pub fn unseen(&self) -> u64 {
        self.coarse + self.screen
    }

    /// Greatest `ln p_z` that a left window may have under the scheme of that id: `-inf` if none was left, `None` if it
    /// isn't bounded.
    pub fn bound(&self, scheme: &str) -> Option<f64> {
        if self.unseen() > 0 {
            None
        } else {
            self.floor_bound(scheme)
        }
    }

    /// The same for those that were seen and left at the floor.
    fn floor_bound(&self, scheme: &str) -> Option<f64> {
        match self.floor {
            0 => Some(f64::NEG_INFINITY),
            _ => self
                .bounds
                .iter()
                .find(|bound| bound.scheme == scheme)
                .map(|bound| bound.log_p_z),
        }
    }
}

impl ItemEvidence {
    /// Greatest `ln p_z` that a left window of any form may have under a scheme: `-inf` if none was left, `None` if it isn't
    /// bounded.
    pub fn left_bound(&self, scheme: &str) -> Option<f64> {
        let bounds = self.forms.iter().map(|form| form.left.bound(scheme));
        bounds.reduce(|a, b| Some(a?.max(b?))).flatten()
    }

    /// The same for windows that were seen and left at the floor, whatever others may have.
    pub fn floor_bound(&self, scheme: &str) -> Option<f64> {
        let bounds = self.forms.iter().map(|form| form.left.floor_bound(scheme));
        bounds.reduce(|a, b| Some(a?.max(b?))).flatten()
    }

    /// Windows of which nothing is known, over all forms.
    pub fn unseen(&self) -> u64 {
        self.forms.iter().map(|form| form.left.unseen()).sum()
    }

    /// What a left window may reach under any of these schemes, where that is more than any scored one has: the best
    /// `ln p_z` is then no more than this. The scheme, and the bound.
    pub fn at_most<'a>(&self, schemes: &'a [Scheme]) -> Option<(&'a Scheme, f64)> {
        if self.left() == 0 {
            return None;
        }
        let bounds = schemes
            .iter()
            .filter_map(|scheme| Some((scheme, self.left_bound(&scheme.id)?)));
        let greatest = bounds.reduce(|a, b| if b.1 > a.1 { b } else { a })?;
        let best = self.cheapest(schemes).map(|(_, best)| best.best.log_p_z);
        best.is_none_or(|best| greatest.1 > best)
            .then_some(greatest)
    }

    /// Shortest and longest suffix of each form with windows that were scored or left.
    pub fn suffix_lens(&self) -> impl Iterator<Item = (u32, u32)> {
        let scored = self
            .values()
            .map(|(_, values)| (values.min_suffix_len, values.max_suffix_len));
        let left = self
            .forms
            .iter()
            .map(|form| &form.left)
            .filter(|left| left.total() > 0);
        scored.chain(left.map(|left| (left.min_suffix_len, left.max_suffix_len)))
    }
}

impl FormValues {
    /// Takes back what is no value once windows were left: means and maxima over windows that aren't all there. What a
    /// left window's first tokens settle stays.
    pub(super) fn without(self, left: &LeftWindows) -> Self {
        if left.total() == 0 {
            return self;
        }
        let scheme = |mut found: SchemeEvidence| {
            found.median_log_p_z = None;
            found.at_most = left
                .bound(&found.scheme)
                .filter(|&bound| bound > found.best.log_p_z);
            found
        };
        Self {
            schemes: self.schemes.into_iter().map(scheme).collect(),
            max_verbatim_run: self
                .max_verbatim_run
                .zip(left.verbatim_run)
                .map(|(scored, left)| scored.max(left)),
            mean_em: None,
            mean_logprob: None,
            min_margin: None,
            extraction_strength: None,
            membership: None,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::window;
    use crate::metric::window::tests::scored;

    /// Window `n`, left after as many tokens as are given, of ten.
    fn left(n: u64, reason: Left, rank: &[u32], full: &[f32]) -> ScoredWindow {
        let mut row = scored("a", n, rank, full, full);
        row.left = Some(reason);
        row.placement.suffix_len = 10;
        row
    }

    fn known(window: &ScoredWindow) -> LeftWindow {
        measure(window, &Scheme::defaults()).unwrap().unwrap()
    }

    #[test]
    fn a_left_window_is_bounded_and_never_measured_as_a_score() {
        let window = left(0, Left::Floor, &[0, 9, 0], &[-1.0, -12.0, -2.0]);
        let found = known(&window);
        assert_eq!(
            (found.after, found.suffix_len, found.verbatim_run),
            (3, 10, Some(1))
        );
        assert_eq!(
            found
                .bounds
                .iter()
                .map(|bound| bound.log_p_z)
                .collect::<Vec<_>>(),
            [-15.0, -15.0]
        );
        assert!(
            window::measure(&window, &Scheme::defaults())
                .unwrap_err()
                .reason
                .contains("left")
        );
        assert_eq!(known(&left(0, Left::Screen, &[], &[])).verbatim_run, None);
        assert!(measure(&scored("a", 0, &[0], &[-1.0], &[-1.0]), &Scheme::defaults()).is_none());
    }

    #[test]
    fn a_left_window_with_scores_that_cannot_be_is_unscored() {
        let good = || left(0, Left::Floor, &[0, 9], &[-1.0, -15.0]);
        type Damage = fn(&mut ScoredWindow);
        let broken: [(&str, Damage); 5] = [
            ("which is its end", |w| w.placement.suffix_len = 2),
            ("too long", |w| w.scores = Err("too long".to_owned())),
            ("NaN", |w| w.scores.as_mut().unwrap().logprob[1] = f32::NAN),
            ("1 scores for 2", |w| {
                w.scores.as_mut().unwrap().margin.truncate(1)
            }),
            ("under 1 schemes", |w| {
                w.scores.as_mut().unwrap().scheme_logprob.truncate(1)
            }),
        ];
        for (expected, damage) in broken {
            let mut window = good();
            damage(&mut window);
            let reason = measure(&window, &Scheme::defaults())
                .unwrap()
                .unwrap_err()
                .reason;
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn left_windows_are_counted_by_reason_and_bounded_by_the_greatest() {
        let none = LeftWindows::of(&[], std::iter::empty());
        assert_eq!(
            (none.total(), none.bound("full")),
            (0, Some(f64::NEG_INFINITY))
        );
        let floor = [
            known(&left(0, Left::Floor, &[0, 9], &[-1.0, -15.0])),
            known(&left(1, Left::Floor, &[0, 0, 9], &[-1.0, -2.0, -11.5])),
        ];
        let bare = TemplateId::default();
        let both = LeftWindows::of(&floor, std::iter::once(&bare));
        assert_eq!(
            (both.floor, both.total(), both.verbatim_run, both.templates),
            (2, 2, Some(2), 1)
        );
        assert_eq!(
            (both.bound("full"), both.bound("top_k5")),
            (Some(-14.5), None)
        );
        let chat = TemplateId("chat".to_owned());
        let mut windows = floor.to_vec();
        windows.push(LeftWindow {
            template: chat,
            ..known(&left(2, Left::Coarse, &[], &[]))
        });
        let all = LeftWindows::of(&windows, std::iter::empty());
        assert_eq!(
            (all.floor, all.coarse, all.verbatim_run, all.templates),
            (2, 1, None, 2)
        );
        assert_eq!(all.bound("full"), None, "a coarse look bounds nothing");
        assert_eq!((all.unseen(), all.floor_bound("full")), (1, Some(-14.5)));
        assert_eq!(all.bounds[0].log_p_z, -14.5);
    }
}
