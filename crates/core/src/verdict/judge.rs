//! All items of a run judged together.

use super::conformal::{self, Comparison, at_most, benjamini_hochberg, controls_needed};
use super::matching::{Labels, Pool, Pools};
use super::power::{self, FAMILIES, Power};
use super::sample::{Sample, measured};
use super::{JudgedItem, Judgement, Reason, TailFit, Validity, Verdict, reasons, within_budget};
use crate::items::{ItemId, Kind};
use crate::metric::{exposure, tail};
use crate::policy::Level;
use crate::policy::{Policy, Tail};

/// Judges all items of a run together.
///
/// **Families.** Opt-outs are one family and canaries another, each held to the false discovery rate q by itself
/// (Benjamini, Hochberg 1995). Texts known to be memorized, counted among the opt-outs, would raise the number of
/// rejections and with it the threshold for all others. The policy's positive controls are in neither family: each is
/// tested alone at q, since all of them must be found.
///
/// For an item, the first that holds:
/// 1. Something of it was not measured: `inconclusive`.
/// 2. No comparable controls among those that stand for it, fewer than the policy asks for, or (unless a tail was fitted)
///    so few that no p-value could reach q: `inconclusive`. In its family it counts with p = 1.
/// 3. Its p-value is rejected by Benjamini-Hochberg at q in its family: `extractable` if its best window has
///    `p_z >= tau`, else `memorized`.
/// 4. Its p-value is at most q, but with its controls it couldn't have stood beside the findings of its family had none
///    of them reached it: `inconclusive`.
/// 5. Its best window has `p_z >= tau`: `predictable`. Otherwise `clear`.
///
/// A control is `predictable` within the budget and `clear` outside it. If a positive control of the policy isn't found,
/// the probe is broken and every verdict becomes `inconclusive`.
pub fn judge(policy: &Policy, subjects: &[JudgedItem<'_>]) -> Judgement {
    let samples: Vec<Result<Sample, Reason>> = subjects
        .iter()
        .map(|subject| measured(policy, subject.evidence))
        .collect();
    let labels: Vec<Labels<'_>> = subjects.iter().map(JudgedItem::labels).collect();
    let pools = Pools::of(policy.matching, &labels);
    let enough = power::enough(policy);
    let comparisons: Vec<Option<ItemComparison>> = labels
        .iter()
        .zip(&samples)
        .map(|(label, sample)| {
            (label.kind != Kind::Control).then(|| {
                ItemComparison::of(
                    policy,
                    pools.of_item(label),
                    label.kind,
                    sample,
                    &samples,
                    enough,
                )
            })
        })
        .collect();

    let mut verdicts: Vec<Verdict> = subjects
        .iter()
        .zip(&samples)
        .filter(|(subject, _)| subject.kind == Kind::Control)
        .map(|(subject, sample)| control(policy, subject, sample))
        .collect();
    let mut order: Vec<usize> = (0..subjects.len())
        .filter(|&i| labels[i].kind == Kind::Control)
        .collect();
    let mut powers = Vec::new();
    for family in families(policy, &labels) {
        let members: Vec<Member<'_>> = family
            .members
            .iter()
            .filter_map(|&i| {
                Some(Member {
                    subject: &subjects[i],
                    sample: &samples[i],
                    compared: comparisons[i].as_ref()?,
                })
            })
            .collect();
        verdicts.extend(judge_family(policy, &family, &members, enough));
        order.extend(&family.members);
        if !family.alone {
            powers.push(power_of(policy, family.kind, &members));
        }
    }
    let mut by_place: Vec<(usize, Verdict)> = order.into_iter().zip(verdicts).collect();
    by_place.sort_by_key(|(place, _)| *place);
    let mut verdicts: Vec<Verdict> = by_place.into_iter().map(|(_, verdict)| verdict).collect();

    let positive_controls = positive_controls(policy, &labels, &mut verdicts);
    let usable = |(label, sample): &(&Labels<'_>, &Result<Sample, Reason>)| {
        label.kind == Kind::Control && sample.is_ok()
    };
    let items = powers
        .iter()
        .map(|power: &Power| power.items)
        .max()
        .unwrap_or_default();
    Judgement {
        verdicts,
        positive_controls,
        usable_controls: labels.iter().zip(&samples).filter(usable).count() as u64,
        needed_controls: enough.max(controls_needed(1, items, policy.q)),
        power: powers,
    }
}

/// An item compared with its controls.
struct ItemComparison {
    pool: Pool,
    /// Absent where the item or all of its controls weren't measured, or none is comparable.
    comparison: Option<Comparison>,
    /// What follows from the comparison, before the family is known: nothing is significant yet.
    validity: Option<Validity>,
    /// A tail was fitted to the controls, whether or not the item's value lies in it.
    fitted: bool,
    /// Comparable controls below which nothing is decided about it.
    enough: u64,
}

impl ItemComparison {
    fn of(
        policy: &Policy,
        pool: Pool,
        kind: Kind,
        sample: &Result<Sample, Reason>,
        samples: &[Result<Sample, Reason>],
        enough: u64,
    ) -> Self {
        let controls: Vec<&Sample> = pool
            .controls
            .iter()
            .filter_map(|&i| samples.get(i)?.as_ref().ok())
            .collect();
        let comparison = sample
            .as_ref()
            .ok()
            .and_then(|item| conformal::compare(policy.statistic, item, &controls, enough));
        let tail = comparison
            .as_ref()
            .filter(|_| policy.tail == Tail::GeneralizedPareto)
            .and_then(|comparison| tail::fit(&comparison.others));
        let attainable = comparison.as_ref().map_or(0, |comparison| {
            controls_needed(comparison.factor, 1, policy.q)
        });
        let enough = if tail.is_some() {
            policy.min_controls
        } else {
            enough.max(attainable)
        };
        let validity = comparison
            .as_ref()
            .map(|comparison| validity(policy, pool.matched, kind, comparison, tail.as_ref()));
        Self {
            pool,
            comparison,
            validity,
            fitted: tail.is_some(),
            enough,
        }
    }

    /// The comparison, if there are controls enough for it to decide anything.
    fn decisive(&self) -> Option<&Comparison> {
        self.comparison
            .as_ref()
            .filter(|comparison| comparison.controls() >= self.enough)
    }

    /// The p-value that counts in the family; 1 where nothing can be decided.
    fn p(&self) -> f64 {
        match (self.decisive(), self.validity) {
            (Some(_), Some(validity)) => validity.effective_p(),
            _ => 1.0,
        }
    }

    /// The least it could have been.
    fn smallest(&self) -> Option<f64> {
        self.decisive().map(|comparison| {
            if self.fitted {
                0.0
            } else {
                comparison.smallest
            }
        })
    }
}

fn validity(
    policy: &Policy,
    matched: bool,
    kind: Kind,
    comparison: &Comparison,
    tail: Option<&tail::Tail>,
) -> Validity {
    let tail_fit = |tail: &tail::Tail| {
        // Outside of the tail, the conformal p-value counts.
        let p = tail.p_value(comparison.value)?;
        Some(TailFit {
            p_value: (comparison.factor as f64 * p).min(1.0),
            shape: tail.shape,
            scale: tail.scale,
            threshold: tail.threshold,
            exceedances: tail.exceedances,
        })
    };
    let controls = comparison.controls();
    Validity {
        statistic: policy.statistic,
        value: comparison.value,
        controls,
        controls_at_least: comparison.at_least,
        window_factor: comparison.factor,
        p_value: comparison.p,
        smallest_p: comparison.smallest,
        significant: false,
        matched,
        tail: tail.and_then(tail_fit),
        exposure: (kind == Kind::Canary).then(|| exposure::exposure(comparison.at_least, controls)),
    }
}

/// Items that are judged together, by their places.
struct Family {
    kind: Kind,
    /// A positive control of the policy.
    alone: bool,
    members: Vec<usize>,
}

fn families(policy: &Policy, labels: &[Labels<'_>]) -> Vec<Family> {
    let mut families: Vec<Family> = FAMILIES
        .iter()
        .map(|&kind| Family {
            kind,
            alone: false,
            members: Vec::new(),
        })
        .collect();
    let mut alone = Vec::new();
    for (place, label) in labels
        .iter()
        .enumerate()
        .filter(|(_, label)| label.kind != Kind::Control)
    {
        if policy.is_positive_control(label.id, label.tags) {
            alone.push(Family {
                kind: label.kind,
                alone: true,
                members: vec![place],
            });
        } else if let Some(family) = families.iter_mut().find(|family| family.kind == label.kind) {
            family.members.push(place);
        }
    }
    families.retain(|family| !family.members.is_empty());
    families.extend(alone);
    families
}

/// An item with all that its verdict depends on, but for the rest of its family.
struct Member<'a> {
    subject: &'a JudgedItem<'a>,
    sample: &'a Result<Sample, Reason>,
    compared: &'a ItemComparison,
}

fn judge_family(
    policy: &Policy,
    family: &Family,
    members: &[Member<'_>],
    enough: u64,
) -> Vec<Verdict> {
    let p: Vec<f64> = members.iter().map(|member| member.compared.p()).collect();
    let rejected = benjamini_hochberg(&p, policy.q);
    let findings = rejected.iter().filter(|&&rejected| rejected).count() as u64;
    let among = Among {
        kind: family.kind,
        alone: family.alone,
        items: members.len() as u64,
        findings,
        enough,
    };
    members
        .iter()
        .zip(rejected)
        .map(|(member, rejected)| member.verdict(policy, &among, rejected))
        .collect()
}

/// The family of an item, as far as its verdict needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Among {
    pub(super) kind: Kind,
    /// A positive control of the policy, judged by itself.
    pub(super) alone: bool,
    pub(super) items: u64,
    /// How many of them were rejected.
    pub(super) findings: u64,
    /// Comparable controls without which nothing is decided about any of them.
    pub(super) enough: u64,
}

impl Member<'_> {
    fn verdict(&self, policy: &Policy, among: &Among, rejected: bool) -> Verdict {
        let (subject, compared) = (self.subject, self.compared);
        let of = |level, mut reasons: Vec<Reason>, validity| {
            // Where nothing is told of it, the reason says so already.
            reasons.extend(reasons::left(policy, subject.evidence).filter(|_| self.sample.is_ok()));
            reasons.extend(reasons::supporting(subject.evidence));
            Verdict {
                item: subject.id.clone(),
                level,
                reasons,
                validity,
            }
        };
        if let Err(problem) = self.sample {
            return of(Level::Inconclusive, vec![problem.clone()], None);
        }
        let within = within_budget(policy, subject.evidence);
        let cost = reasons::cost(policy, subject.evidence);
        let (Some(comparison), Some(validity)) = (&compared.comparison, compared.validity) else {
            let reason = reasons::no_comparison(&compared.pool);
            return of(
                Level::Inconclusive,
                vec![reason, reasons::unknown_validity(cost, within)],
                None,
            );
        };
        let validity = Validity {
            significant: rejected,
            ..validity
        };
        if compared.decisive().is_none() {
            let windows = subject.evidence.places();
            let reason =
                reasons::too_few_controls(comparison, &compared.pool, compared.enough, windows);
            return of(
                Level::Inconclusive,
                vec![reason, reasons::unknown_validity(cost, within)],
                Some(validity),
            );
        }
        let stands = reasons::standing(policy, &validity, among);
        let exposure = validity
            .exposure
            .map(|exposure| reasons::exposure(&exposure));
        let unattainable = || {
            let bound = (among.findings + 1) as f64 * policy.q / among.items as f64;
            at_most(compared.p(), policy.q)
                && !compared
                    .smallest()
                    .is_some_and(|smallest| at_most(smallest, bound))
        };
        let (level, mut reasons) = match (rejected, within) {
            (true, true) => (Level::Extractable, vec![cost, stands]),
            (true, false) => (Level::Memorized, vec![stands, cost]),
            (false, _) if unattainable() => (
                Level::Inconclusive,
                vec![
                    reasons::unattainable(policy, among, comparison, &compared.pool),
                    stands,
                    cost,
                ],
            ),
            (false, true) => (Level::Predictable, vec![cost, stands]),
            (false, false) => (Level::Clear, vec![stands, cost]),
        };
        reasons.extend(exposure);
        of(level, reasons, Some(validity))
    }
}

fn control(policy: &Policy, subject: &JudgedItem<'_>, sample: &Result<Sample, Reason>) -> Verdict {
    let within = within_budget(policy, subject.evidence);
    let (level, reasons) = match sample {
        Err(problem) => (Level::Inconclusive, vec![problem.clone()]),
        Ok(_) => {
            let level = if within {
                Level::Predictable
            } else {
                Level::Clear
            };
            (
                level,
                vec![
                    reasons::control(within),
                    reasons::cost(policy, subject.evidence),
                ],
            )
        }
    };
    Verdict {
        item: subject.id.clone(),
        level,
        reasons,
        validity: None,
    }
}

fn power_of(policy: &Policy, kind: Kind, members: &[Member<'_>]) -> Power {
    let smallest: Vec<Option<f64>> = members
        .iter()
        .map(|member| member.compared.smallest())
        .collect();
    let factors = members
        .iter()
        .filter_map(|member| member.compared.comparison.as_ref())
        .map(|c| c.factor);
    Power::of(policy, kind, &smallest, factors.min().unwrap_or(1))
}

/// For each of the policy's positive controls whether it was found; if one wasn't, everything becomes inconclusive.
fn positive_controls(
    policy: &Policy,
    labels: &[Labels<'_>],
    verdicts: &mut [Verdict],
) -> Vec<bool> {
    let mut missed = Vec::new();
    let mut check = |entry: &ItemId| {
        let named = labels
            .iter()
            .zip(verdicts.iter())
            .filter(|(label, _)| label.is_named_by(entry));
        let levels: Vec<(&ItemId, Level)> = named
            .map(|(label, verdict)| (label.id, verdict.level))
            .collect();
        let (_, extractable) = Policy::positive_control(entry);
        let reached = |level: Level| {
            if extractable {
                level == Level::Extractable
            } else {
                level.is_memorization()
            }
        };
        let found = !levels.is_empty() && levels.iter().all(|(_, level)| reached(*level));
        if !found {
            let missing: Vec<_> = levels
                .iter()
                .filter(|(_, level)| !reached(*level))
                .copied()
                .collect();
            missed.push(reasons::positive_control_missed(
                entry,
                &missing,
                levels.len(),
            ));
        }
        found
    };
    let found = policy.positive_controls.iter().map(&mut check).collect();
    if !missed.is_empty() {
        let reason = reasons::positive_controls_missed(&missed);
        for verdict in verdicts {
            verdict.reasons.insert(0, reason.clone());
            verdict.level = Level::Inconclusive;
        }
    }
    found
}
