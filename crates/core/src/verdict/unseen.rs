//! What windows that weren't looked at at all leave of a verdict.

use crate::metric::item::ItemEvidence;
use crate::metric::left::LeftWindows;
use crate::metric::samples::grouped;
use crate::policy::Level;
use crate::policy::Policy;
use crate::run::{Hits, WindowSelection};
use crate::verdict::{Reason, ReasonCode, Verdict};

impl Verdict {
    /// What is left of it where windows of the item weren't looked at. Findings stand: the best of a subset is never too high.
    ///
    /// Coarse to fine, what isn't found is clear of memorized runs of the stated length, if the first pass looked for all that
    /// is within the budget of this policy. A screen proves nothing: what it doesn't find is inconclusive.
    pub fn where_unseen(
        &mut self,
        policy: &Policy,
        evidence: &ItemEvidence,
        fewer: Option<&WindowSelection>,
    ) {
        let sum =
            |of: fn(&LeftWindows) -> u64| evidence.forms.iter().map(|f| of(&f.left)).sum::<u64>();
        let (coarse, screen) = (sum(|left| left.coarse), sum(|left| left.screen));
        let windows = grouped(evidence.windows());
        let (code, message) = match fewer {
            _ if coarse + screen == 0 => return,
            Some(WindowSelection::CoarseToFine { tokens, hits, .. })
                if screen == 0 && hits.cover(policy) =>
            {
                let message = format!(
                    "no memorized run of {} tokens or more: the {} of {windows} windows that weren't scored lie between such \
                     that are no hits; shorter runs weren't looked for",
                    grouped(u64::from(*tokens)),
                    grouped(coarse)
                );
                (ReasonCode::NoLongRuns, message)
            }
            Some(WindowSelection::CoarseToFine { .. }) if screen == 0 => {
                let message = format!(
                    "{} of {windows} windows weren't scored, by a first pass that looked for less than what is within the budget \
                     of this policy; probe again with --gate and this policy",
                    grouped(coarse)
                );
                (ReasonCode::FirstPassTooNarrow, message)
            }
            _ => {
                let message = format!(
                    "screened only: {} of {windows} windows weren't scored, since a long pass over the text found them unlikely; \
                     not found is weaker than clear (the notes say how many hits the screen misses)",
                    grouped(coarse + screen)
                );
                (ReasonCode::ScreenedOnly, message)
            }
        };
        match self.level {
            Level::Clear => {
                if code != ReasonCode::NoLongRuns {
                    self.level = Level::Inconclusive;
                }
                self.reasons.insert(0, Reason::new(code, message));
            }
            _ => {
                let message = format!(
                    "{} of {windows} windows weren't scored, so that there may be more than was found",
                    grouped(coarse + screen)
                );
                self.reasons
                    .push(Reason::new(ReasonCode::WindowsNotScored, message));
            }
        }
    }
}

impl Hits {
    /// Whether every window within the policy's budget is a hit.
    fn cover(&self, policy: &Policy) -> bool {
        policy.tau >= self.tau
            && policy
                .schemes
                .iter()
                .all(|scheme| self.schemes.contains(&scheme.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Scheme;
    use crate::items::ItemId;
    use crate::policy::Statistic;
    use crate::verdict::left::undetermined;
    use crate::verdict::tests::evidence;

    fn unseen(coarse: u64, screen: u64) -> ItemEvidence {
        let mut evidence = evidence(10, -40.0, -30.0);
        let form = &mut evidence.forms[0];
        form.windows += coarse + screen;
        form.left = LeftWindows {
            coarse,
            screen,
            templates: 1,
            ..LeftWindows::default()
        };
        evidence
    }

    fn hits(tau: f64) -> Hits {
        let schemes = ["greedy", "top_k40"].map(str::to_owned).to_vec();
        Hits {
            tau,
            schemes,
            margin: 0.001,
            epsilon: 0.01,
        }
    }

    fn find_runs(tau: f64) -> WindowSelection {
        WindowSelection::CoarseToFine {
            tokens: 99,
            stride: 50,
            hits: hits(tau),
        }
    }

    fn screen() -> WindowSelection {
        WindowSelection::Screened {
            piece: 1024,
            first_choices: 0.6,
            log_p: -13.8,
            hits: hits(0.001),
        }
    }

    #[test]
    fn what_was_not_looked_at_is_clear_of_long_runs_only_and_of_nothing_after_a_screen() {
        let full = Policy {
            schemes: vec![Scheme::full()],
            ..Policy::default()
        };
        let laxer = Policy {
            tau: 0.01,
            ..Policy::default()
        };
        let stricter = Policy {
            tau: 1e-4,
            ..Policy::default()
        };
        for (found, fewer, policy, level, expected, level_then) in [
            (
                (30, 0),
                Some(find_runs(0.001)),
                Policy::default(),
                Level::Clear,
                "no memorized run of 99 tokens",
                Level::Clear,
            ),
            (
                (30, 0),
                Some(find_runs(0.001)),
                laxer,
                Level::Clear,
                "no memorized run of 99 tokens",
                Level::Clear,
            ),
            (
                (30, 0),
                Some(find_runs(0.001)),
                stricter,
                Level::Clear,
                "looked for less",
                Level::Inconclusive,
            ),
            (
                (30, 0),
                Some(find_runs(0.001)),
                full,
                Level::Clear,
                "looked for less",
                Level::Inconclusive,
            ),
            (
                (0, 30),
                Some(screen()),
                Policy::default(),
                Level::Clear,
                "screened only: 30 of 40",
                Level::Inconclusive,
            ),
            (
                (30, 0),
                None,
                Policy::default(),
                Level::Clear,
                "screened only",
                Level::Inconclusive,
            ),
            (
                (0, 30),
                Some(screen()),
                Policy::default(),
                Level::Predictable,
                "there may be more",
                Level::Predictable,
            ),
            (
                (30, 0),
                Some(find_runs(0.001)),
                Policy::default(),
                Level::Extractable,
                "there may be more",
                Level::Extractable,
            ),
            (
                (0, 0),
                Some(screen()),
                Policy::default(),
                Level::Clear,
                "as judged",
                Level::Clear,
            ),
        ] {
            let reasons = vec![Reason::new(ReasonCode::NotBeyondControls, "as judged")];
            let mut verdict = Verdict {
                item: ItemId("a".to_owned()),
                level,
                reasons,
                validity: None,
            };
            verdict.where_unseen(&policy, &unseen(found.0, found.1), fewer.as_ref());
            assert_eq!(verdict.level, level_then, "{expected}");
            let told = if level == Level::Clear {
                verdict.reasons.first()
            } else {
                verdict.reasons.last()
            };
            assert!(
                told.unwrap().message.contains(expected),
                "{:?}",
                verdict.reasons
            );
        }
    }

    #[test]
    fn the_best_of_a_subset_decides_and_any_other_statistic_of_it_does_not() {
        let evidence = unseen(30, 0);
        for (statistic, open) in [
            (Statistic::MaxLogPZ, false),
            (Statistic::MeanLogProb, true),
            (Statistic::VerbatimRun, true),
            (Statistic::MeanRank, true),
        ] {
            let policy = Policy {
                statistic,
                ..Policy::default()
            };
            assert_eq!(
                undetermined(&policy, &evidence).is_some(),
                open,
                "{statistic:?}"
            );
        }
        let near = Policy {
            near_verbatim: true,
            ..Policy::default()
        };
        assert!(
            undetermined(&near, &evidence)
                .unwrap()
                .message
                .contains("without --find-runs")
        );
    }
}
