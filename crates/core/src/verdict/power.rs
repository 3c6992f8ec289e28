//! What a run can detect at all, before and after it.

use super::conformal::{at_most, controls_needed};
use super::matching::{Labels, Pools};
use crate::float_serde::Real;
use crate::items::{ItemId, Kind};
use crate::policy::{Policy, Tail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a run could have detected: its items of one kind are judged together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Power {
    pub kind: Kind,
    /// Items judged together.
    pub items: u64,
    /// The smallest p-value any of them could have had; absent where none could be compared, 0 where a tail was fitted.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub smallest_p: Option<f64>,
    /// So many of them must be at their smallest p-value before any can stand at the policy's q; absent where even all
    /// of them couldn't.
    pub findings_needed: Option<u64>,
    /// Control texts with which a single finding could stand.
    pub controls_needed: u64,
}

/// The kinds whose items are judged together, a family each.
pub(super) const FAMILIES: [Kind; 2] = [Kind::OptOut, Kind::Canary];

impl Power {
    /// From the smallest p-value of each item of a family (absent: it can't be compared) and the least factor by which a
    /// p-value is multiplied: k findings can stand together if `p_(k) <= k q / m`, p in order (Benjamini, Hochberg 1995).
    pub(super) fn of(policy: &Policy, kind: Kind, smallest: &[Option<f64>], factor: u64) -> Self {
        let m = smallest.len() as u64;
        let mut ordered: Vec<f64> = smallest.iter().flatten().copied().collect();
        ordered.sort_by(f64::total_cmp);
        let stands = |k: u64, p: f64| at_most(p, k as f64 * policy.q / m as f64);
        Self {
            kind,
            items: m,
            smallest_p: ordered.first().copied(),
            findings_needed: (1..)
                .zip(&ordered)
                .find(|&(k, &p)| stands(k, p))
                .map(|(k, _)| k),
            controls_needed: policy
                .min_controls
                .max(controls_needed(factor, m, policy.q)),
        }
    }
}

/// What a probe set lets a run detect, known before any model is loaded. That every control will be comparable is taken for
/// granted; controls shorter than the items allow less.
#[derive(Clone, Debug, PartialEq)]
pub struct Ahead {
    pub power: Power,
    /// The policy's level.
    pub q: f64,
    /// Whether the policy extrapolates p-values.
    pub tail: bool,
    /// Controls of the item that has the fewest, and that item.
    pub fewest: u64,
    pub worst_off: ItemId,
    /// Controls of the item that has the most.
    pub most: u64,
    /// Items with fewer controls than decide anything.
    pub undecidable: u64,
}

/// What a run over these items could detect, a family each; none for a family without items.
pub fn ahead(policy: &Policy, labels: &[Labels<'_>]) -> Vec<Ahead> {
    let pools = Pools::of(policy.matching, labels);
    let enough = enough(policy);
    let family = |kind: Kind| {
        let items = labels.iter().filter(|label| {
            label.kind == kind && !policy.is_positive_control(label.id, label.tags)
        });
        let sizes: Vec<(u64, &ItemId)> = items
            .map(|label| (pools.of_item(label).controls.len() as u64, label.id))
            .collect();
        let smallest: Vec<Option<f64>> = sizes
            .iter()
            .map(|(n, _)| (*n >= enough).then(|| 1.0 / (n + 1) as f64))
            .collect();
        let (fewest, worst_off) = sizes.iter().min_by_key(|(n, _)| *n)?;
        Some(Ahead {
            power: Power::of(policy, kind, &smallest, 1),
            q: policy.q,
            tail: policy.tail == Tail::GeneralizedPareto,
            fewest: *fewest,
            worst_off: (*worst_off).clone(),
            most: sizes.iter().map(|(n, _)| *n).max().unwrap_or_default(),
            undecidable: smallest.iter().filter(|p| p.is_none()).count() as u64,
        })
    };
    FAMILIES.into_iter().filter_map(family).collect()
}

/// Comparable controls below which nothing is decided: the policy's number, or as many as let a p-value reach q at all.
pub(super) fn enough(policy: &Policy) -> u64 {
    policy.min_controls.max(controls_needed(1, 1, policy.q))
}

/// `40 opted-out texts`, `1 canary`.
pub(super) fn count(kind: Kind, n: u64) -> String {
    let (one, many) = match kind {
        Kind::OptOut => ("opted-out text", "opted-out texts"),
        Kind::Canary => ("canary", "canaries"),
        Kind::Control => ("control", "controls"),
    };
    format!("{n} {}", if n == 1 { one } else { many })
}

impl fmt::Display for Ahead {
    /// One line, such as `40 opted-out texts at q = 0.05 need 799 control texts for a single finding to stand; there are
    /// 120: it takes 7 findings together`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Power {
            kind,
            items,
            findings_needed,
            controls_needed,
            ..
        } = self.power;
        let need = if items == 1 { "needs" } else { "need" };
        let texts = if controls_needed == 1 {
            "control text"
        } else {
            "control texts"
        };
        write!(
            f,
            "{} at q = {} {need} {controls_needed} {texts} for a single finding to stand; there are {}",
            count(kind, items),
            self.q,
            self.most
        )?;
        match findings_needed {
            Some(1) => {}
            Some(k) => write!(f, ": it takes {k} findings together")?,
            None => f.write_str(
                ": no item can be called memorized at this level. Add texts of kind \"control\": some of \
                 prompts/controls, or your own unpublished ones (byrote controls make)",
            )?,
        }
        if self.fewest < self.most {
            write!(f, "; only {} for \"{}\"", self.fewest, self.worst_off)?;
        }
        if findings_needed.is_some() && self.undecidable > 0 {
            write!(
                f,
                "; {} will be inconclusive, with too few controls of their own",
                count(kind, self.undecidable)
            )?;
        }
        if self.tail && findings_needed != Some(1) {
            f.write_str("; where a tail can be fitted, fewer do (model-based)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(policy: &Policy, items: u64, controls: u64, matched: u64) -> Vec<String> {
        let own = vec!["law".to_owned()];
        let ids: Vec<ItemId> = (0..items + controls + matched)
            .map(|n| ItemId(format!("t{n}")))
            .collect();
        let labels: Vec<Labels<'_>> = (0..)
            .zip(&ids)
            .map(|(n, id)| Labels {
                id,
                kind: if n < items {
                    Kind::OptOut
                } else {
                    Kind::Control
                },
                tags: if n == 0 && matched > 0 { &own } else { &[] },
                matches: if n >= items + controls { &own } else { &[] },
            })
            .collect();
        ahead(policy, &labels)
            .iter()
            .map(Ahead::to_string)
            .collect()
    }

    #[test]
    fn what_can_be_detected_is_said_before_the_run() {
        let need = "40 opted-out texts at q = 0.05 need 799 control texts for a single finding to stand; there are";
        let default = Policy::default();
        let cases = [
            (&default, 40, 799, 0, format!("{need} 799")),
            (&default, 40, 798, 0, format!("{need} 798: it takes 2 findings together")),
            (&default, 40, 120, 0, format!("{need} 120: it takes 7 findings together")),
            (&default, 40, 19, 0, format!("{need} 19: it takes 40 findings together")),
            (&default, 40, 18, 0, format!("{need} 18: no item can be called memorized at this level. Add texts of ")),
            (
                &default,
                1,
                0,
                0,
                "1 opted-out text at q = 0.05 needs 19 control texts for a single finding to stand; there are 0: no item"
                    .to_owned(),
            ),
            // One item has 20 controls of its own. It can only stand with the others' help, and they with its.
            (&default, 40, 120, 20, format!("{need} 140: it takes 6 findings together; only 20 for \"t0\"")),
            (
                &default,
                40,
                120,
                5,
                format!(
                    "{need} 125: it takes 7 findings together; only 5 for \"t0\"; 1 opted-out text will be inconclusive, \
                     with too few controls of their own"
                ),
            ),
        ];
        for (policy, items, controls, matched, expected) in cases {
            let lines = said(policy, items, controls, matched);
            assert_eq!(lines.len(), 1);
            assert!(lines[0].starts_with(&expected), "{}\n{expected}", lines[0]);
        }
        assert!(said(&default, 0, 50, 0).is_empty());
        let tail = Policy {
            tail: Tail::GeneralizedPareto,
            ..Policy::default()
        };
        assert!(
            said(&tail, 40, 120, 0)[0]
                .ends_with("where a tail can be fitted, fewer do (model-based)")
        );
    }

    #[test]
    fn as_many_findings_are_needed_as_benjamini_and_hochberg_ask_for() {
        use crate::verdict::conformal::benjamini_hochberg;
        let policy = Policy::default();
        for (m, p_min) in [
            (1, 0.05),
            (1, 0.051),
            (7, 1.0 / 121.0),
            (40, 1.0 / 121.0),
            (40, 0.001),
            (103, 1.0 / 241.0),
        ] {
            let power = Power::of(&policy, Kind::OptOut, &vec![Some(p_min); m], 1);
            let stands = |k: usize| {
                let p: Vec<f64> = (0..m).map(|i| if i < k { p_min } else { 1.0 }).collect();
                benjamini_hochberg(&p, policy.q)[0]
            };
            let least = (1..=m).find(|&k| stands(k)).map(|k| k as u64);
            assert_eq!(power.findings_needed, least, "{m} items at {p_min}");
        }
        let none = Power::of(&policy, Kind::Canary, &[None, None], 1);
        assert_eq!(
            (none.smallest_p, none.findings_needed, none.controls_needed),
            (None, None, 39)
        );
    }
}
