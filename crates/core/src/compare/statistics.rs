//! What became of all items of a kind together. Statistics are over items, never over windows of one text.

use super::{ComparedItem, Interval, KINDS, KindChange, PairedShare, PairedShift, Standing};
use crate::items::Kind;
use crate::metric::interval::{bootstrap_mean, clopper_pearson};
use crate::metric::paired::{bootstrap_difference, bootstrap_share, fair_coin};

/// Of every interval.
const CONFIDENCE: f64 = 0.95;
const RESAMPLES: u32 = 2_000;
/// Fixed, so that the same reports give the same intervals.
const SEED: u64 = 0x6279_726f_7465;

/// One entry a kind that occurs in the first report or in the later one of that place among the changes.
pub(super) fn kinds(items: &[ComparedItem], place: usize) -> Vec<KindChange> {
    let occurs = |item: &&ComparedItem| item.cells[0].is_some() || item.cells[place + 1].is_some();
    let shift_of_controls = shifts(items, Kind::Control, place);
    KINDS
        .into_iter()
        .filter_map(|kind| {
            let of_kind: Vec<&ComparedItem> = items
                .iter()
                .filter(|item| item.kind == kind)
                .filter(occurs)
                .collect();
            let standing = |of: Standing| {
                of_kind
                    .iter()
                    .filter(|item| item.changes[place].standing == of)
                    .count() as u64
            };
            let own = shifts(items, kind, place);
            let beyond = || {
                let enough = kind != Kind::Control && own.len() > 1 && shift_of_controls.len() > 1;
                let difference =
                    || bootstrap_difference(&own, &shift_of_controls, RESAMPLES, CONFIDENCE, SEED);
                enough.then(difference).map(interval)
            };
            (!of_kind.is_empty()).then(|| KindChange {
                kind,
                items: of_kind.len() as u64,
                standings: Standing::ALL.map(standing),
                found: share(&of_kind, kind, place),
                likelihood: likelihood(&of_kind, &own, place),
                beyond_controls: beyond(),
            })
        })
        .collect()
}

fn interval((value, lower, upper): (f64, f64, f64)) -> Interval {
    Interval {
        value,
        lower,
        upper,
    }
}

/// Differences of `ln p_z` under plain sampling, in order of the items.
fn shifts(items: &[ComparedItem], kind: Kind, place: usize) -> Vec<f64> {
    let of_kind = items.iter().filter(|item| item.kind == kind);
    of_kind
        .filter_map(|item| item.changes[place].log_p_z_full)
        .filter(|shift| shift.is_finite())
        .collect()
}

fn share(items: &[&ComparedItem], kind: Kind, place: usize) -> Option<PairedShare> {
    let pairs: Vec<(bool, bool)> = items
        .iter()
        .filter(|item| item.changes[place].standing != Standing::NotComparable)
        .filter_map(|item| item.cells[0].as_ref().zip(item.cells[place + 1].as_ref()))
        .map(|(old, new)| match kind {
            Kind::Control => (old.within_budget, new.within_budget),
            Kind::OptOut | Kind::Canary => {
                (old.level.is_memorization(), new.level.is_memorization())
            }
        })
        .collect();
    let of = pairs.len() as u64;
    let count =
        |holds: fn(&(bool, bool)) -> bool| pairs.iter().filter(|pair| holds(pair)).count() as u64;
    let rate = |hits: u64| {
        let (lower, upper) = clopper_pearson(hits, of, CONFIDENCE);
        (
            hits,
            Interval {
                value: hits as f64 / of as f64,
                lower,
                upper,
            },
        )
    };
    let (gained, lost) = (
        count(|&(old, new)| new && !old),
        count(|&(old, new)| old && !new),
    );
    (of > 0).then(|| PairedShare {
        of,
        old: rate(count(|&(old, _)| old)),
        new: rate(count(|&(_, new)| new)),
        gained,
        lost,
        difference: interval(bootstrap_share(&pairs, RESAMPLES, CONFIDENCE, SEED)),
        p_value: fair_coin(gained, gained + lost),
    })
}

fn likelihood(items: &[&ComparedItem], shifts: &[f64], place: usize) -> Option<PairedShift> {
    let count = |holds: fn(&f64) -> bool| shifts.iter().filter(|shift| holds(shift)).count() as u64;
    let (rose, fell) = (count(|&shift| shift > 0.0), count(|&shift| shift < 0.0));
    let compared = shifts.len() as u64;
    let could = items.iter().filter(|item| {
        let change = &item.changes[place];
        change.standing != Standing::NotComparable || change.log_p_z_full.is_some()
    });
    (compared > 0).then(|| PairedShift {
        items: compared,
        unknown: (could.count() as u64).saturating_sub(compared),
        difference: interval(bootstrap_mean(shifts, RESAMPLES, CONFIDENCE, SEED)),
        rose,
        fell,
        equal: compared - rose - fell,
        p_value: fair_coin(rose, rose + fell),
    })
}
