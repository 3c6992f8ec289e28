//! Comparing reports on the same texts: a base model with what was trained from it, a checkpoint before and after a filter or
//! unlearning, the sizes of one family.
//!
//! Every report is judged again by one policy, item is compared with item, and what moved is held against how far the
//! controls moved. Comparing is pure: reports in, a [`Comparison`] out, which holds ids, levels and numbers, never a text. It
//! decides nothing.

pub mod csv;
pub mod html;
pub mod json_v1;
pub mod markdown;
mod pair;
pub mod same;
mod statistics;
pub mod text;
mod words;

use crate::items::{ItemId, Kind};
use crate::policy::Level;
use crate::policy::Policy;
use crate::report::{Report, ReportItem, rejudge};
use crate::run::ModelIdentity;
use crate::verdict::Reason;
use same::Windows;
use std::collections::HashMap;

/// Two or more reports, compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What every report was judged by.
    pub policy: Policy,
    /// In the order given; the others are compared with the first.
    pub reports: Vec<ComparedReport>,
    /// One entry a report after the first.
    pub against_first: Vec<Against>,
    /// Every item of any report: opt-outs, canaries, controls; within each by what became of it, the worst first.
    pub items: Vec<ComparedItem>,
}

/// One report in short.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedReport {
    /// The path under which it was given.
    pub name: String,
    pub tool: String,
    /// When its run began: RFC 3339, UTC.
    pub created_at: String,
    pub model: ModelIdentity,
    /// SHA-256 over all its windows.
    pub plan_digest: crate::digest::Digest,
    /// SHA-256 of the policy under which it was written.
    pub policy_digest: crate::digest::Digest,
    /// Items by level, kind by kind: opt-outs, canaries, controls; only kinds that occur.
    pub levels: Vec<Levels>,
}

/// Items of one kind in one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    pub kind: Kind,
    pub items: u64,
    pub extractable: u64,
    pub memorized: u64,
    pub predictable: u64,
    pub clear: u64,
    pub inconclusive: u64,
}

/// A later report against the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Against {
    /// Its place in [`Comparison::reports`].
    pub report: usize,
    /// Whether the two cut texts into the same windows.
    pub windows: Windows,
    /// Opt-outs, canaries, controls; only kinds that occur in one of the two.
    pub kinds: Vec<KindChange>,
    /// What it comes to, in sentences.
    pub said: Vec<String>,
}

/// What became of the items of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct KindChange {
    pub kind: Kind,
    /// Items in either report.
    pub items: u64,
    /// One entry a standing, in the order of [`Standing::ALL`]; they add up to `items`.
    pub standings: [u64; 6],
    /// How the share of findings differs; of controls, that of those within the sample budget. Absent where no verdicts
    /// could be compared.
    pub found: Option<PairedShare>,
    /// How `ln p_z` differs. Absent where no windows could be compared.
    pub likelihood: Option<PairedShift>,
    /// How much more it differs than that of the controls. Absent of controls, and where either is.
    pub beyond_controls: Option<Interval>,
}

/// What became of an item's verdict, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// Extractable or memorized now, and neither before.
    New,
    /// Graver than before: memorized to extractable, or clear to predictable.
    Worse,
    /// Not to be compared: absent or inconclusive in one of them, another text, or probed otherwise.
    NotComparable,
    /// Extractable or memorized before, and now predictable or clear.
    Fixed,
    /// Less grave than before: extractable to memorized, or predictable to clear.
    Better,
    /// The same level in both.
    Unchanged,
}

impl Standing {
    /// In order of weight.
    pub const ALL: [Self; 6] = [
        Self::New,
        Self::Worse,
        Self::NotComparable,
        Self::Fixed,
        Self::Better,
        Self::Unchanged,
    ];

    /// As it stands in every format.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Worse => "worse",
            Self::NotComparable => "not comparable",
            Self::Fixed => "fixed",
            Self::Better => "better",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A number with the ends of its interval at confidence .95.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub value: f64,
    pub lower: f64,
    pub upper: f64,
}

/// A share of the same items in two reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedShare {
    /// Items whose verdicts can be compared.
    pub of: u64,
    /// Hits before and now, each with its share's Clopper-Pearson interval.
    pub old: (u64, Interval),
    pub new: (u64, Interval),
    /// Hits now that were none before, and the other way round.
    pub gained: u64,
    pub lost: u64,
    /// The share now less that before, with its bootstrap interval over items.
    pub difference: Interval,
    /// Two-sided p-value of the exact McNemar test over the flips ([`crate::metric::paired::fair_coin`]).
    pub p_value: f64,
}

/// `ln p_z` of the same items in two reports: of each item's likeliest window under plain sampling at T = 1, where no text is
/// impossible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedShift {
    /// Items whose windows can be compared.
    pub items: u64,
    /// Items whose windows could be compared, but whose likeliest one isn't known in one of them.
    pub unknown: u64,
    /// The mean over items of the difference in nats, now less before, with its bootstrap interval over items.
    pub difference: Interval,
    pub rose: u64,
    pub fell: u64,
    pub equal: u64,
    /// Two-sided p-value of the exact sign test, ties left out ([`crate::metric::paired::fair_coin`]).
    pub p_value: f64,
}

/// One item in every report.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedItem {
    pub id: ItemId,
    /// As in the first report that has it.
    pub kind: Kind,
    /// How often a canary stood in the training data.
    pub repetitions: Option<u32>,
    /// One a report; absent where the report doesn't have it.
    pub cells: Vec<Option<Cell>>,
    /// One a report after the first.
    pub changes: Vec<Change>,
}

/// An item in one report.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub level: Level,
    /// The deciding reason.
    pub reason: Option<Reason>,
    /// `ln p_z` of its likeliest window under the best of the policy's schemes, in nats; `-inf` = never sampled. This and all below is
    /// absent where it isn't known: not measured in full, or no more than a bound, since windows were left.
    pub log_p_z: Option<f64>,
    /// The same under plain sampling at T = 1.
    pub log_p_z_full: Option<f64>,
    /// Share of its characters that can be extracted, 0 to 1, under the tau and schemes of the run.
    pub coverage: Option<f64>,
    /// Longest verbatim run of any window, in tokens.
    pub verbatim_run: Option<u32>,
    /// A window is within the policy's sample budget.
    pub within_budget: bool,
}

/// What became of an item between the first report and a later one. Numbers are the later less the first; absent where one of
/// them is, or windows aren't the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub standing: Standing,
    /// Why it can't be compared, where it can't.
    pub why: Option<String>,
    /// Nats; `-inf` or `inf` where it became or was impossible, absent where it is impossible in both.
    pub log_p_z: Option<f64>,
    /// Nats.
    pub log_p_z_full: Option<f64>,
    /// Absent where the two were measured under other taus or schemes, too.
    pub coverage: Option<f64>,
    /// Tokens.
    pub verbatim_run: Option<i64>,
}

impl Comparison {
    /// Compares reports, each with the name that a reader is to see, after judging them again by `policy`.
    pub fn of(reports: &[(String, &Report)], policy: &Policy) -> Self {
        let judged: Vec<Report> = reports
            .iter()
            .map(|(_, report)| rejudge(report, policy))
            .collect();
        let by_id: Vec<HashMap<&ItemId, &ReportItem>> = judged
            .iter()
            // The first of several with one id, as everywhere.
            .map(|report| {
                report
                    .items
                    .iter()
                    .rev()
                    .map(|item| (&item.id, item))
                    .collect()
            })
            .collect();
        let windows: Vec<Windows> = judged
            .iter()
            .skip(1)
            .map(|report| Windows::of(&judged[0], report))
            .collect();
        let mut seen = std::collections::HashSet::new();
        let all = judged
            .iter()
            .flat_map(|report| &report.items)
            .filter(|item| seen.insert(&item.id));
        let mut items: Vec<ComparedItem> = all
            .map(|item| {
                let found: Vec<Option<&ReportItem>> = by_id
                    .iter()
                    .map(|items| items.get(&item.id).copied())
                    .collect();
                let cells: Vec<Option<Cell>> = found
                    .iter()
                    .map(|found| Some(pair::cell(policy, (*found)?)))
                    .collect();
                let changes = windows
                    .iter()
                    .enumerate()
                    .map(|(n, windows)| {
                        let side = |at: usize| pair::Side {
                            name: &reports[at].0,
                            report: &judged[at],
                            item: found[at],
                            cell: cells[at].as_ref(),
                        };
                        pair::change(&side(0), &side(n + 1), windows)
                    })
                    .collect();
                ComparedItem {
                    id: item.id.clone(),
                    kind: item.kind,
                    repetitions: item.repetitions,
                    cells,
                    changes,
                }
            })
            .collect();
        // Stable, so that ties stay in the reports' order.
        items.sort_by_key(|item| item.weight());
        let mut against_first: Vec<Against> = windows
            .into_iter()
            .enumerate()
            .map(|(n, windows)| Against {
                report: n + 1,
                windows,
                kinds: statistics::kinds(&items, n),
                said: Vec::new(),
            })
            .collect();
        let reports: Vec<ComparedReport> = reports
            .iter()
            .zip(&judged)
            .map(|((name, given), judged)| summary(name, given, judged))
            .collect();
        for against in &mut against_first {
            against.said = words::said(&reports, against);
        }
        Self {
            policy: policy.clone(),
            reports,
            against_first,
            items,
        }
    }

    /// Whether something of every later report could be compared with the first: the verdict or the likelihood of an item that
    /// is no control, or of a control where there is nothing else.
    pub fn is_complete(&self) -> bool {
        let only_controls = self.items.iter().all(|item| item.kind == Kind::Control);
        !self.against_first.is_empty()
            && self.against_first.iter().all(|against| {
                against.kinds.iter().any(|kind| {
                    (only_controls || kind.kind != Kind::Control)
                        && (kind.found.is_some() || kind.likelihood.is_some())
                })
            })
    }
}

impl ComparedItem {
    /// The worst of its changes.
    pub fn standing(&self) -> Standing {
        self.changes
            .iter()
            .map(|change| change.standing)
            .min()
            .unwrap_or(Standing::NotComparable)
    }

    /// Order among the items: by kind, standing, and the gravest level of any report.
    fn weight(&self) -> (u8, Standing, u8) {
        let kind = match self.kind {
            Kind::OptOut => 0,
            Kind::Canary => 1,
            Kind::Control => 2,
        };
        let gravest = self
            .cells
            .iter()
            .flatten()
            .map(|cell| rank(cell.level))
            .max()
            .unwrap_or_default();
        (kind, self.standing(), u8::MAX - gravest)
    }
}

/// How grave a level is. What isn't decided comes between findings and what is harmless.
fn rank(level: Level) -> u8 {
    match level {
        Level::Clear => 0,
        Level::Predictable => 1,
        Level::Inconclusive => 2,
        Level::Memorized => 3,
        Level::Extractable => 4,
    }
}

fn summary(name: &str, given: &Report, judged: &Report) -> ComparedReport {
    let of_kind = |kind: Kind| {
        let count = |level: Level| {
            judged
                .items
                .iter()
                .filter(|item| (item.kind, item.verdict.level) == (kind, level))
                .count() as u64
        };
        let items = judged.items.iter().filter(|item| item.kind == kind).count() as u64;
        (items > 0).then(|| Levels {
            kind,
            items,
            extractable: count(Level::Extractable),
            memorized: count(Level::Memorized),
            predictable: count(Level::Predictable),
            clear: count(Level::Clear),
            inconclusive: count(Level::Inconclusive),
        })
    };
    ComparedReport {
        name: name.to_owned(),
        tool: given.tool.clone(),
        created_at: given.created_at.clone(),
        model: given.model.clone(),
        plan_digest: given.plan_digest.clone(),
        policy_digest: given.policy.digest.clone(),
        levels: KINDS.into_iter().filter_map(of_kind).collect(),
    }
}

const KINDS: [Kind; 3] = [Kind::OptOut, Kind::Canary, Kind::Control];

#[cfg(test)]
mod tests;
