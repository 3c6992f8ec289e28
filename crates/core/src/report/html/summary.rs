//! The part above the items: which model, how many were found and how sure that is, controls, waivers, settings, files.

use super::{chart, code, fact};
use crate::digest::FileDigest;
use crate::items::Kind;
use crate::metric::samples;
use crate::policy::Waiver;
use crate::policy::decision::Action;
use crate::report::words::{self, Tally};
use crate::report::{MeanOverItems, Rate, Recall, Report};
use minijinja::{Value, context};

/// Exactly what was tested, in three facts.
pub(super) fn identity(report: &Report) -> Vec<Value> {
    let model = &report.model;
    vec![
        code("Model", &model.reference),
        match &model.revision {
            Some(revision) => code("Revision", revision),
            None => fact(
                "Revision",
                "none given: the digest alone names what was tested",
            ),
        },
        code("Root digest (SHA-256)", model.digest.as_str()),
    ]
}

/// The model beyond its [`identity`].
pub(super) fn model(report: &Report) -> Vec<Value> {
    let model = &report.model;
    let backend = &model.backend;
    let mut facts = vec![
        code("Source", &model.source),
        fact(
            "Loaded as",
            format!(
                "{}, {} parameters, {} on {}{}",
                backend.architecture,
                samples::grouped(backend.parameters),
                backend.dtype,
                backend.device,
                backend.pace()
            ),
        ),
    ];
    facts.extend(
        model
            .model_signing
            .as_ref()
            .map(|root| code("Root digest by OpenSSF model-signing", root.as_str())),
    );
    facts.extend(
        model
            .adapter
            .as_ref()
            .map(|adapter| code("Adapter", &adapter.source)),
    );
    facts.extend(words::reference(report).map(|reference| code("Reference model", reference)));
    facts
}

/// Results of the controls, and whether a positive control shows that the probe finds memorized text.
pub(super) fn controls(report: &Report) -> Vec<String> {
    let mut lines = words::controls(report);
    if report.summary.positive_controls.is_empty() {
        let canaries = Tally::of(report, Kind::Canary);
        lines.push(match canaries.items {
            0 => {
                "No positive control: nothing in this run shows that the probe finds what is there."
                    .to_owned()
            }
            all => format!(
                "The policy names no positive control; {} of {} found.",
                samples::grouped(canaries.found()),
                if all == 1 {
                    "1 planted canary was".to_owned()
                } else {
                    format!("{} planted canaries were", samples::grouped(all))
                },
            ),
        });
    }
    lines
}

pub(super) fn rates(report: &Report) -> Vec<Value> {
    let row = |rate: &Rate| {
        let share = rate.hits as f64 / rate.of.max(1) as f64;
        context! {
            kind => words::kinds(rate.kind),
            name => rate.name,
            hits => samples::grouped(rate.hits),
            of => samples::grouped(rate.of),
            share => if rate.of == 0 { "–".to_owned() } else { words::share(share) },
            interval => words::run::interval(rate),
            picture => Value::from_safe_string(chart::interval(rate.lower, share, rate.upper)),
        }
    };
    report.summary.rates.iter().map(row).collect()
}

pub(super) fn means(report: &Report) -> Vec<Value> {
    let number = words::run::number;
    let row = |mean: &MeanOverItems| {
        context! {
            kind => words::kinds(mean.kind),
            name => mean.name,
            items => samples::grouped(mean.items),
            mean => number(mean.mean),
            interval => format!("{} to {}", number(mean.lower), number(mean.upper)),
        }
    };
    report.summary.means.iter().map(row).collect()
}

/// The figures that matter, each with its interval where it is a rate.
pub(super) fn tiles(report: &Report) -> Vec<Value> {
    let (opt_outs, canaries) = (
        Tally::of(report, Kind::OptOut),
        Tally::of(report, Kind::Canary),
    );
    let (controls, windows) = (&report.summary.controls, &report.summary.windows);
    let tile = |label: &str, figure: u64, of: u64, rate: Option<&Rate>, note: String| {
        context! {
            label,
            figure => samples::grouped(figure),
            of => samples::grouped(of),
            interval => rate.map(|rate| format!("95% interval {}", words::run::interval(rate))),
            picture => rate.map(|rate| {
                let share = rate.hits as f64 / rate.of.max(1) as f64;
                Value::from_safe_string(chart::interval(rate.lower, share, rate.upper))
            }),
            note,
        }
    };
    // A rate over other items than the tile's would be another claim.
    let rate = |name: &str, kind: Kind, hits: u64, of: u64| {
        let same = |rate: &&Rate| {
            rate.name == name && rate.kind == kind && (rate.hits, rate.of) == (hits, of)
        };
        report
            .summary
            .rates
            .iter()
            .find(same)
            .filter(|rate| rate.of > 0)
    };
    let levels = |tally: &Tally| {
        format!(
            "{} extractable, {} memorized, {} undecided",
            tally.extractable, tally.memorized, tally.inconclusive
        )
    };
    let found =
        |tally: &Tally, kind| rate("extractable or memorized", kind, tally.found(), tally.items);
    let of_opt_outs = found(&opt_outs, Kind::OptOut);
    let mut tiles = vec![tile(
        "opted-out texts memorized",
        opt_outs.found(),
        opt_outs.items,
        of_opt_outs,
        levels(&opt_outs),
    )];
    if canaries.items > 0 {
        let of_canaries = found(&canaries, Kind::Canary);
        tiles.push(tile(
            "planted canaries found",
            canaries.found(),
            canaries.items,
            of_canaries,
            levels(&canaries),
        ));
    }
    let within = rate(
        "within the sample budget",
        Kind::Control,
        controls.within_budget,
        controls.items,
    );
    let greedy = format!(
        "{} greedily extracted; {} scored in full",
        controls.greedily_extracted, controls.usable
    );
    tiles.push(tile(
        "controls within the sample budget",
        controls.within_budget,
        controls.items,
        within,
        greedy,
    ));
    let positive = &report.summary.positive_controls;
    if !positive.is_empty() {
        let fired = positive.iter().filter(|control| control.found).count();
        let note = if fired == positive.len() {
            "as it must be"
        } else {
            "the probe is broken"
        };
        tiles.push(tile(
            "positive controls found",
            fired as u64,
            positive.len() as u64,
            None,
            note.to_owned(),
        ));
    }
    let left = match windows.left {
        0 => String::new(),
        n => format!(", {} left before their end", samples::grouped(n)),
    };
    let greedy = format!(
        "{} greedily extracted{left}",
        samples::grouped(windows.greedily_extracted)
    );
    tiles.push(tile(
        "windows scored",
        windows.scored,
        windows.planned,
        None,
        greedy,
    ));
    tiles
}

/// The policy's waivers, and what each came to.
pub(super) fn waivers(report: &Report) -> Vec<Value> {
    let row = |waiver: &Waiver| {
        let findings = || {
            report
                .decision
                .iter()
                .flat_map(|decision| &decision.findings)
        };
        let finding = findings().find(|finding| finding.item == waiver.item);
        let state = match (&report.decision, finding.map(|finding| finding.action)) {
            (None, _) => "not gated: it accepts nothing here",
            (_, Some(Action::Waived)) => "accepted",
            (_, Some(Action::WaiverExpired)) => "EXPIRED: renew or remove it",
            (_, Some(Action::Known)) => "not needed: the baseline has the finding",
            (_, Some(Action::Denied | Action::Warned) | None) => "matches no finding: remove it",
        };
        context! {
            item => waiver.item,
            level => finding.map(|finding| finding.level.to_string()),
            reason => waiver.reason,
            expires => waiver.expires.to_string(),
            approver => waiver.approver,
            state,
        }
    };
    report.policy.waivers.iter().map(row).collect()
}

pub(super) fn counts(report: &Report) -> Vec<Value> {
    let row = |kind: Kind| {
        let of = |level| {
            report
                .summary
                .counts
                .iter()
                .find(|count| (count.kind, count.level) == (kind, level))
        };
        let cells =
            words::LEVELS.map(|level| samples::grouped(of(level).map_or(0, |count| count.items)));
        let items = Tally::of(report, kind).items;
        context! { kind => words::kinds(kind), cells, total => samples::grouped(items) }
    };
    words::KINDS.into_iter().map(row).collect()
}

pub(super) fn recall(report: &Report) -> Vec<Value> {
    let row = |entry: &Recall| {
        let share = words::share(entry.found as f64 / entry.items.max(1) as f64);
        context! {
            copies => words::repetitions(entry.repetitions),
            found => entry.found,
            items => entry.items,
            undecided => entry.inconclusive,
            share,
            interval => format!("{} to {}", words::share(entry.lower), words::share(entry.upper)),
        }
    };
    report.summary.recall.iter().map(row).collect()
}

pub(super) fn settings(report: &Report) -> Vec<Value> {
    let policy = &report.policy;
    let mut facts = vec![
        fact("Windows", words::settings(report)),
        fact("Thresholds", words::thresholds(report)),
        code("SHA-256 of the policy", policy.digest.as_str()),
        fact("Fewest controls", samples::grouped(policy.min_controls)),
        code("SHA-256 of the windows", report.plan_digest.as_str()),
        code(
            "Tokenizer fingerprint",
            report
                .model
                .tokenizer_fingerprint
                .as_ref()
                .map_or("none", |d| d.as_str()),
        ),
        fact("Begun", &report.created_at),
    ];
    if let Some(timings) = &report.timings {
        let speed = timings
            .windows_per_second
            .map(|n| format!(", {n:.1} windows a second"))
            .unwrap_or_default();
        facts.push(fact(
            "Took",
            format!(
                "{:.1} s, {:.1} s of it scoring{speed}",
                timings.total_s, timings.scoring_s
            ),
        ));
    }
    facts
}

pub(super) fn files(report: &Report) -> Vec<Value> {
    let rows = |what: &'static str, files: &[FileDigest]| {
        let row = |file: &FileDigest| {
            context! { what, name => file.name, bytes => samples::grouped(file.bytes), sha256 => file.sha256.as_str() }
        };
        files.iter().map(row).collect::<Vec<_>>()
    };
    let (model, probe_set) = (&report.model.files, &report.probe_set.files);
    rows("model", model)
        .into_iter()
        .chain(rows("probe set", probe_set))
        .collect()
}
