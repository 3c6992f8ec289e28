//! What a comparison comes to, in sentences that every format says. Nothing here is escaped yet.

use super::same::Windows;
use super::{
    Against, ComparedReport, Comparison, Interval, KindChange, PairedShare, PairedShift, Standing,
};
use crate::items::Kind;
use crate::metric::probability;
use crate::metric::samples::{self, grouped};
use crate::report::words::run::{number, of_kind};
use crate::report::words::{Tone, count, share};

/// What the columns of differences are.
pub(super) const FIGURES: &str = "Differences, now less before: ln p_z of the likeliest window under plain sampling (T = 1) in nats; \
    extracted in points of the text; run, the longest verbatim one, in tokens";

/// The first word, and how it is meant: by opted-out texts and canaries; controls are no findings.
pub(super) fn headline(comparison: &Comparison) -> (Tone, &'static str) {
    let sum = |standing: Standing| {
        let kinds = comparison
            .against_first
            .iter()
            .flat_map(|against| &against.kinds);
        kinds
            .filter(|kind| kind.kind != Kind::Control)
            .map(|kind| kind.of(standing))
            .sum::<u64>()
    };
    if !comparison.is_complete() {
        (Tone::Unsure, "Not comparable")
    } else if sum(Standing::New) + sum(Standing::Worse) > 0 {
        (Tone::Bad, "More memorized")
    } else if sum(Standing::NotComparable) > 0 {
        (Tone::Unsure, "Compared in part")
    } else if sum(Standing::Fixed) + sum(Standing::Better) > 0 {
        (Tone::Good, "Less memorized")
    } else {
        (Tone::Good, "No verdict changed")
    }
}

/// What became of opted-out texts and canaries in all, in one sentence.
pub(super) fn first_sentence(comparison: &Comparison) -> String {
    let told = |against: &Against| {
        let kinds = against
            .kinds
            .iter()
            .filter(|kind| kind.kind != Kind::Control);
        let told: Vec<String> = kinds
            .map(|kind| format!("{}: {}", of_kind(kind.items, kind.kind), standings(kind)))
            .collect();
        match (comparison.reports.len(), told.is_empty()) {
            (_, true) => "No opted-out text and no canary is in either.".to_owned(),
            (2, _) => format!("{}.", told.join("; ")),
            _ => format!("{} against 1: {}.", against.report + 1, told.join("; ")),
        }
    };
    comparison
        .against_first
        .iter()
        .map(told)
        .collect::<Vec<_>>()
        .join(" ")
}

impl KindChange {
    /// Items of that standing.
    pub fn of(&self, standing: Standing) -> u64 {
        Standing::ALL
            .iter()
            .zip(self.standings)
            .find(|(of, _)| **of == standing)
            .map_or(0, |(_, items)| items)
    }
}

/// What all reports were judged by, in one line.
pub(super) fn policy(comparison: &Comparison) -> String {
    let policy = &comparison.policy;
    format!(
        "{}, SHA-256 {}: extractable at p_z ≥ {} under {} ({} for an even chance)",
        policy.source,
        policy.digest,
        probability::in_digits(policy.tau.ln()),
        policy.scheme_names(),
        samples::in_words(policy.tau.ln(), 0.5)
    )
}

/// A report's model in one line.
pub(super) fn model(report: &ComparedReport) -> String {
    let model = &report.model;
    let revision = model
        .revision
        .as_deref()
        .map(|revision| format!("@{revision}"))
        .unwrap_or_default();
    format!(
        "{} ({}{revision}), {}",
        model.reference, model.source, model.backend.dtype
    )
}

/// `3 new, 1 worse, 98 unchanged`: standings that occur.
pub(super) fn standings(change: &KindChange) -> String {
    let told = Standing::ALL
        .into_iter()
        .map(|standing| (standing, change.of(standing)))
        .filter(|(_, n)| *n > 0);
    told.map(|(standing, n)| format!("{} {}", grouped(n), standing.name()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What a later report comes to against the first.
pub(super) fn said(reports: &[ComparedReport], against: &Against) -> Vec<String> {
    let mut said = Vec::new();
    match &against.windows {
        Windows::Same => {}
        Windows::OtherTokenizer => said.push(
            "The models count in other tokens: verdicts are compared, each by its own windows; probabilities, coverage and runs of tokens are not."
                .to_owned(),
        ),
        Windows::Other(how) => {
            said.push(format!("The texts were probed otherwise, so nothing can be compared: {how}. Probe both alike."));
        }
    }
    let same_model = reports
        .first()
        .zip(reports.get(against.report))
        .is_some_and(|(first, this)| {
            first.model.digest == this.model.digest
                && first.model.backend.dtype == this.model.backend.dtype
        });
    if same_model {
        said.push("Both are reports on the same model files in the same precision.".to_owned());
    }
    for kind in &against.kinds {
        said.push(format!(
            "{}: {}.",
            of_kind(kind.items, kind.kind),
            standings(kind)
        ));
        said.extend(kind.found.as_ref().map(|found| shares(kind.kind, found)));
        said.extend(
            kind.likelihood
                .as_ref()
                .map(|shift| likelihood(kind.kind, shift)),
        );
    }
    said.extend(
        against
            .kinds
            .iter()
            .filter(|kind| kind.kind != Kind::Control)
            .filter_map(|kind| beyond(kind, against)),
    );
    said
}

fn shares(kind: Kind, found: &PairedShare) -> String {
    let what = if kind == Kind::Control {
        "within the sample budget"
    } else {
        "extractable or memorized"
    };
    let ((before, old), (now, new)) = (found.old, found.new);
    let flips = match (found.gained, found.lost) {
        (0, 0) => "none flipped".to_owned(),
        (gained, lost) => format!(
            "{} became so and {} ceased to be, exact McNemar p = {}",
            grouped(gained),
            grouped(lost),
            p_value(found.p_value)
        ),
    };
    format!(
        "Of {}, {} {} {what} before ({}, 95% interval {}) and {} now ({}, {}): a difference of {} points ({}); {flips}.",
        of_kind(found.of, kind),
        grouped(before),
        if before == 1 { "was" } else { "were" },
        share(old.value),
        share_interval(old),
        grouped(now),
        share(new.value),
        share_interval(new),
        points(found.difference.value),
        between(found.difference, points),
    )
}

fn likelihood(kind: Kind, shift: &PairedShift) -> String {
    let unknown = match shift.unknown {
        0 => String::new(),
        n => format!(" Of {} more it isn't known.", of_kind(n, kind)),
    };
    format!(
        "ln p_z of the likeliest window of {} moved by {} nats on average (95% interval {}): {} rose, {} fell, {} stayed; sign test p = {}.{unknown}",
        of_kind(shift.items, kind),
        signed(shift.difference.value),
        between(shift.difference, signed),
        grouped(shift.rose),
        grouped(shift.fell),
        grouped(shift.equal),
        p_value(shift.p_value)
    )
}

/// What a shift says, held against that of the controls: a model that got worse at everything has forgotten nothing.
fn beyond(change: &KindChange, against: &Against) -> Option<String> {
    let shift = change.likelihood?;
    let plural = if change.kind == Kind::Canary {
        "canaries"
    } else {
        "opted-out texts"
    };
    let fell = shift.difference.upper < 0.0;
    let rose = shift.difference.lower > 0.0;
    let Some(excess) = change.beyond_controls else {
        let fixed = change.of(Standing::Fixed) + change.of(Standing::Better) > 0;
        return (fell || rose || fixed).then(|| {
            format!(
                "Too few controls could be compared to tell whether {plural} moved or the whole model did{}.",
                if fixed { ": \"fixed\" and \"better\" may mean the latter" } else { "" }
            )
        });
    };
    let controls = against
        .kinds
        .iter()
        .find(|kind| kind.kind == Kind::Control)?
        .likelihood?;
    let figures = format!(
        "{} nats against {} of the controls, a difference of {} (95% interval {})",
        signed(shift.difference.value),
        signed(controls.difference.value),
        signed(excess.value),
        between(excess, signed)
    );
    let too = "the model moved at text it can't have seen, too";
    Some(if fell && excess.upper < 0.0 {
        format!(
            "The {plural} fell by more than the controls did: {figures}. That is beyond what the whole model lost."
        )
    } else if fell {
        let controls_fell = controls.difference.upper < 0.0;
        let why = if controls_fell {
            too
        } else {
            "there is too little to tell the two apart"
        };
        format!(
            "The {plural} fell, but by no more than the controls as far as can be told: {figures}. Don't read \"fixed\" or \
             \"better\" as forgotten: {why}."
        )
    } else if rose && excess.lower > 0.0 {
        format!(
            "The {plural} rose by more than the controls did: {figures}. That is beyond what the whole model gained."
        )
    } else if rose {
        let why = if controls.difference.lower > 0.0 {
            too
        } else {
            "there is too little to tell the two apart"
        };
        format!(
            "The {plural} rose, but by no more than the controls as far as can be told: {figures}. \"New\" and \"worse\" need \
             not be memorization that was added: {why}."
        )
    } else if excess.upper < 0.0 || excess.lower > 0.0 {
        format!("The {plural} stayed where they were while the controls moved: {figures}.")
    } else {
        format!("No shift of the {plural} is told from none: {figures}.")
    })
}

/// `-5%` as points: `−5.0`.
pub(super) fn points(share: f64) -> String {
    signed_digits(share * 100.0, 1)
}

/// Tokens with their sign.
pub(super) fn whole(n: i64) -> String {
    if n == 0 {
        "0".to_owned()
    } else {
        format!("{n:+}").replace('-', "−")
    }
}

/// With its sign, three digits.
pub(super) fn signed(x: f64) -> String {
    if x > 0.0 {
        format!("+{}", number(x))
    } else {
        number(x)
    }
}

fn signed_digits(x: f64, digits: usize) -> String {
    let text = format!("{x:+.digits$}").replace('-', "−");
    let zero = text.chars().all(|c| matches!(c, '0' | '.' | '+' | '−'));
    if zero {
        text.trim_start_matches(['+', '−']).to_owned()
    } else {
        text
    }
}

fn between(interval: Interval, written: fn(f64) -> String) -> String {
    format!("{} to {}", written(interval.lower), written(interval.upper))
}

fn share_interval(interval: Interval) -> String {
    format!("{} to {}", share(interval.lower), share(interval.upper))
}

fn p_value(p: f64) -> String {
    probability::in_digits(p.ln())
}

/// `2 reports, 120 opted-out texts, 60 canaries and 240 controls`.
pub(super) fn scope(comparison: &Comparison) -> String {
    let of = |kind: Kind| {
        comparison
            .items
            .iter()
            .filter(|item| item.kind == kind)
            .count() as u64
    };
    let kinds: Vec<String> = super::KINDS
        .into_iter()
        .map(|kind| (kind, of(kind)))
        .filter(|(_, n)| *n > 0)
        .map(|(kind, n)| of_kind(n, kind))
        .collect();
    format!(
        "{} over {}",
        count(comparison.reports.len() as u64, "report"),
        listed(&kinds)
    )
}

fn listed(parts: &[String]) -> String {
    match parts {
        [] => "no items".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A sign for what became of an item, always beside its word.
pub(super) fn sign(standing: Standing) -> &'static str {
    match standing {
        Standing::New => "✚",
        Standing::Worse => "↑",
        Standing::NotComparable => "?",
        Standing::Fixed => "✓",
        Standing::Better => "↓",
        Standing::Unchanged => "=",
    }
}
