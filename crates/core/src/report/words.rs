//! The sentences that every format for people says, so that they say the same. Nothing here is escaped yet.

pub(crate) mod evidence;
pub(crate) mod fewer;
pub(crate) mod run;
pub(crate) mod templates;

use super::{Recall, Report, ReportItem};
use crate::items::Kind;
use crate::metric::{probability, samples};
use crate::policy::Level;
use crate::policy::decision::Outcome;
use crate::tokens::BosChoice;
use crate::verdict;
use crate::window::TemplateId;
use crate::window::{Form, Reflow, Stride};

/// How the first sentence is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Memorized text was found, or the policy blocks.
    Bad,
    /// Something that was asked for could not be decided.
    Unsure,
    /// Everything was measured and nothing was found.
    Good,
}

/// What a reader must take away who reads nothing else.
#[derive(Debug)]
pub(crate) struct Headline {
    pub(crate) tone: Tone,
    /// The decision, or what was found where no policy decided.
    pub(crate) word: &'static str,
    /// The deciding reason; the finding itself where no policy decided.
    pub(crate) reason: String,
    /// What was found, where `reason` doesn't say it already.
    pub(crate) found: Option<String>,
    /// Further reasons of the decision.
    pub(crate) more: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// The decision, if there is one, else what was found.
pub(crate) fn headline(report: &Report) -> Headline {
    let found = found(report);
    let Some(decision) = &report.decision else {
        let (tone, word) = undecided_tone(report);
        return Headline {
            tone,
            word,
            reason: found,
            found: None,
            more: vec![],
            warnings: vec![],
        };
    };
    let (tone, word) = match decision.outcome {
        Outcome::Pass => (Tone::Good, "Pass"),
        Outcome::Block => (Tone::Bad, "Blocked"),
        Outcome::Undecided => (Tone::Unsure, "Undecided"),
    };
    let mut reasons = decision.reasons.iter().cloned();
    Headline {
        tone,
        word,
        reason: reasons
            .next()
            .map_or_else(|| "no reason given".to_owned(), |reason| sentence(&reason)),
        found: Some(found),
        more: reasons.map(|reason| sentence(&reason)).collect(),
        warnings: decision
            .warnings
            .iter()
            .map(|warning| sentence(warning))
            .collect(),
    }
}

/// Items of one kind, summed over [`super::Summary::counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) items: u64,
    pub(crate) extractable: u64,
    pub(crate) memorized: u64,
    pub(crate) inconclusive: u64,
}

impl Tally {
    pub(crate) fn of(report: &Report, kind: Kind) -> Self {
        let mut tally = Self::default();
        for count in report
            .summary
            .counts
            .iter()
            .filter(|count| count.kind == kind)
        {
            tally.items += count.items;
            match count.level {
                Level::Extractable => tally.extractable += count.items,
                Level::Memorized => tally.memorized += count.items,
                Level::Inconclusive => tally.inconclusive += count.items,
                Level::Predictable | Level::Clear => {}
            }
        }
        tally
    }

    /// Extractable or memorized.
    pub(crate) fn found(&self) -> u64 {
        self.extractable + self.memorized
    }
}

fn undecided_tone(report: &Report) -> (Tone, &'static str) {
    let opt_outs = Tally::of(report, Kind::OptOut);
    let windows = &report.summary.windows;
    let whole = windows.scored + windows.left > 0
        && windows.unscored + windows.missing + windows.stray == 0;
    let sound = report
        .summary
        .positive_controls
        .iter()
        .all(|control| control.found);
    if opt_outs.found() > 0 {
        (Tone::Bad, "Memorized text found")
    } else if opt_outs.items == 0 {
        let canaries = Tally::of(report, Kind::Canary).items;
        (
            Tone::Unsure,
            if canaries > 0 {
                "Calibration only"
            } else {
                "Nothing tested"
            },
        )
    } else if opt_outs.inconclusive > 0 || !whole || !sound {
        (Tone::Unsure, "Inconclusive")
    } else {
        (Tone::Good, "Nothing found")
    }
}

/// What was found among opted-out texts, then among canaries.
pub(crate) fn found(report: &Report) -> String {
    let (opt_outs, canaries) = (
        Tally::of(report, Kind::OptOut),
        Tally::of(report, Kind::Canary),
    );
    let texts = count(opt_outs.items, "opted-out text");
    let mut out = if opt_outs.items == 0 {
        "No opted-out text was probed.".to_owned()
    } else if opt_outs.inconclusive == opt_outs.items {
        format!("None of {texts} could be decided.")
    } else if opt_outs.found() == 0 {
        let undecided = match opt_outs.inconclusive {
            0 => String::new(),
            n => format!("; {n} could not be decided"),
        };
        format!("None of {texts} was found to be memorized{undecided}.")
    } else {
        let was = if opt_outs.found() == 1 { "is" } else { "are" };
        let budget = samples::in_words(report.policy.tau.ln(), 0.5);
        let undecided = match opt_outs.inconclusive {
            0 => String::new(),
            n => format!("; {} could not be decided", samples::grouped(n)),
        };
        format!(
            "{} of {texts} {was} memorized, {} of them extractable within {budget}{undecided}.",
            samples::grouped(opt_outs.found()),
            if opt_outs.extractable == 0 {
                "none".to_owned()
            } else {
                samples::grouped(opt_outs.extractable)
            },
        )
    };
    if canaries.items > 0 {
        let canaries = format!(
            " {} of {} found.",
            samples::grouped(canaries.found()),
            planted(canaries.items)
        );
        out.push_str(&canaries);
    }
    out
}

fn planted(n: u64) -> String {
    if n == 1 {
        "1 planted canary was".to_owned()
    } else {
        format!("{} planted canaries were", samples::grouped(n))
    }
}

/// Model, device and windows in one line.
pub(crate) fn settings(report: &Report) -> String {
    let settings = &report.settings;
    let window = &settings.window;
    let stride = match window.stride {
        Stride::Tokens(n) => every(u64::from(n), "token"),
        Stride::Chars(n) => format!(
            "{}, encoded anew from each",
            every(u64::from(n), "character")
        ),
    };
    let bos = match (settings.bos, settings.bos_token) {
        (BosChoice::Never, _) => "no BOS (--bos never)".to_owned(),
        (_, None) => "no BOS".to_owned(),
        (BosChoice::Auto, Some(token)) => format!("BOS {token} as the tokenizer has it"),
        (BosChoice::Always, Some(token)) => format!("BOS {token} (--bos always)"),
    };
    let forms = match window.reflow {
        Reflow::Auto => "as given, and reflowed where hard-wrapped",
        Reflow::Off => "as given only",
        Reflow::Only => "reflowed only",
    };
    let backend = &report.model.backend;
    let templates = templates::ids(settings)
        .map(|ids| format!(" · templates {ids}"))
        .unwrap_or_default();
    format!(
        "{} + {} tokens {stride} · {bos} · {forms}{templates} · {} on {}{}",
        window.prefix,
        window.suffix,
        backend.dtype,
        backend.device,
        backend.pace()
    )
}

/// When something counts as found, in one line.
pub(crate) fn thresholds(report: &Report) -> String {
    let policy = &report.policy;
    let floor = match policy.floor {
        0.0 => String::new(),
        _ => format!(
            " · nothing told apart below p_z {}",
            probability::in_digits(policy.ln_floor())
        ),
    };
    format!(
        "extractable at p_z ≥ {} under {} ({} for an even chance){floor} · false discovery rate {} · policy {}",
        probability::in_digits(policy.tau.ln()),
        policy.scheme_names(),
        samples::in_words(policy.tau.ln(), 0.5),
        share(policy.q),
        policy.source,
    )
}

/// How many controls there were, what they reach, and how small a p-value they allow.
pub(crate) fn controls(report: &Report) -> Vec<String> {
    let controls = &report.summary.controls;
    if controls.items == 0 {
        return vec![
            "No controls: nothing shows what plain predictability scores, so no finding can be valid.".to_owned(),
        ];
    }
    let within = match controls.within_budget {
        0 => "none of them is".to_owned(),
        1 => "1 of them is".to_owned(),
        n => format!("{} of them are", samples::grouped(n)),
    };
    let mut out = vec![format!(
        "{} that the model can't have memorized, {} scored in full; {within} within the sample budget.",
        count(controls.items, "text"),
        samples::grouped(controls.usable),
    )];
    if !report.summary.power.is_empty() {
        out.extend(run::power(report));
    } else if controls.usable > 0 {
        let p = probability::in_digits(-((controls.usable + 1) as f64).ln());
        out.push(format!(
            "The smallest p-value that {} allow is {p}.",
            count(controls.usable, "control")
        ));
    }
    if report.summary.power.is_empty() && controls.usable < controls.needed {
        out.push(format!(
            "A single finding in this run would need {} to stand; several findings need fewer.",
            count(controls.needed, "control"),
        ));
    }
    for control in &report.summary.positive_controls {
        let state = if control.found {
            "was found, as it must be"
        } else {
            "was NOT found: the probe is broken"
        };
        out.push(format!("The positive control {} {state}.", control.item));
    }
    out
}

/// What was asked for and not measured, in sentences; items and dropped items are listed apart.
pub(crate) fn not_tested(report: &Report) -> Vec<String> {
    let mut out = Vec::new();
    let windows = &report.summary.windows;
    if windows.planned == 0 {
        out.push("No window was cut: nothing was measured.".to_owned());
    }
    let planned = count(windows.planned, "window");
    for (n, what) in [
        (windows.unscored, "could not be scored"),
        (
            windows.missing,
            if windows.missing == 1 {
                "has no scores: the run was cut short or a part is missing"
            } else {
                "have no scores: the run was cut short or a part is missing"
            },
        ),
    ] {
        if n > 0 {
            out.push(format!("{} of {planned} {what}.", samples::grouped(n)));
        }
    }
    if windows.stray > 0 {
        let was = if windows.stray == 1 { "was" } else { "were" };
        out.push(format!(
            "{} of no item of this run {was} set aside.",
            count(windows.stray, "score")
        ));
    }
    match report.probe_set.dropped.len() as u64 {
        0 => {}
        1 => out.push("1 item was left out before the run.".to_owned()),
        n => out.push(format!(
            "{} were left out before the run.",
            count(n, "item")
        )),
    }
    out
}

/// What a probe of this kind never tests.
pub(crate) fn scope(report: &Report) -> String {
    let continued = |item: &ReportItem| {
        item.evidence
            .follow_up
            .as_ref()
            .is_some_and(|found| found.continued > 0)
    };
    let (near, tested) = if report.items.iter().any(continued) {
        (
            "",
            " Near-verbatim recall was looked for in the windows that were followed up, and nowhere else.",
        )
    } else {
        (" and near-verbatim recall", "")
    };
    format!(
        "Tested is word-for-word recall of the listed texts by the files named here, at the windows and under the \
         sampling named here.{tested} Not tested: paraphrase{near}, other prompts, other texts, other precisions of the \
         same model."
    )
}

/// Whether a p-value of the report is extrapolated, so that [`run::MODEL_BASED`] is to be told.
pub(crate) fn model_based(report: &Report) -> bool {
    report.items.iter().any(|item| {
        item.verdict
            .validity
            .is_some_and(|validity| validity.tail.is_some())
    })
}

/// The reference checkpoint in one line, if there was one.
pub(crate) fn reference(report: &Report) -> Option<String> {
    let model = report.reference.as_ref()?;
    let revision = model
        .revision
        .as_deref()
        .map(|revision| format!("@{revision}"))
        .unwrap_or_default();
    Some(format!(
        "{} ({}{revision}), SHA-256 {}",
        model.reference,
        model.source,
        model.digest.as_str()
    ))
}

/// Items that were not measured in full, each with the reason, in the report's order.
pub(crate) fn unmeasured(report: &Report) -> Vec<(&ReportItem, String)> {
    report
        .items
        .iter()
        .filter_map(|item| Some((item, verdict::not_measured(&item.evidence)?.message)))
        .collect()
}

/// A sign for a verdict, always beside its word.
pub(crate) fn sign(level: Level) -> &'static str {
    match level {
        Level::Extractable => "■",
        Level::Memorized => "▲",
        Level::Predictable => "≈",
        Level::Clear => "✓",
        Level::Inconclusive => "?",
    }
}

/// What a verdict says, for readers who have never seen one.
pub(crate) fn meaning(level: Level) -> &'static str {
    match level {
        Level::Extractable => {
            "likelier than controls explain, and sampling yields it within the policy's budget"
        }
        Level::Memorized => {
            "likelier than controls explain, but it takes more samples than the budget"
        }
        Level::Predictable => {
            "within the budget, but not beyond what texts score that the model can't have seen"
        }
        Level::Clear => {
            "measured in full, no evidence of memorization in these windows; not a proof of absence"
        }
        Level::Inconclusive => "can't tell; the reasons say what is missing",
    }
}

pub(crate) const LEVELS: [Level; 5] = [
    Level::Extractable,
    Level::Memorized,
    Level::Predictable,
    Level::Clear,
    Level::Inconclusive,
];

/// The plural of a kind, as a heading.
pub(crate) fn kinds(kind: Kind) -> &'static str {
    match kind {
        Kind::OptOut => "Opted-out texts",
        Kind::Canary => "Canaries",
        Kind::Control => "Controls",
    }
}

/// Kinds in the order in which readers want them.
pub(crate) const KINDS: [Kind; 3] = [Kind::OptOut, Kind::Canary, Kind::Control];

pub(crate) fn form(form: Form) -> &'static str {
    match form {
        Form::AsGiven => "as given",
        Form::Reflowed => "reflowed",
    }
}

/// The form, and the template unless it is the bare prefix.
pub(crate) fn layout(of: Form, template: &TemplateId) -> String {
    if template.is_none() {
        form(of).to_owned()
    } else {
        format!("{}, template {template}", form(of))
    }
}

/// `8×`, or `unknown`.
pub(crate) fn repetitions(repetitions: Option<u32>) -> String {
    repetitions.map_or_else(|| "unknown".to_owned(), |n| format!("{n}×"))
}

/// Found canaries as a bar of `width` cells; undecided ones are dotted.
pub(crate) fn bar(recall: &Recall, width: usize) -> String {
    let cells = |n: u64| (n as f64 / recall.items.max(1) as f64 * width as f64).round() as usize;
    let found = cells(recall.found).min(width);
    let undecided = cells(recall.inconclusive).min(width - found);
    format!(
        "{}{}{}",
        "█".repeat(found),
        "▒".repeat(undecided),
        "·".repeat(width - found - undecided)
    )
}

/// A bound on a probability, such as `≤ 4.3e-7`.
pub(crate) fn at_most(log_p_z: f64) -> String {
    format!("≤ {}", probability::in_digits(log_p_z))
}

/// `12 of 50`, or a dash where the run isn't known.
pub(crate) fn run_of(run: Option<u32>, suffix_len: u32) -> String {
    run.map_or_else(|| "–".to_owned(), |run| format!("{run} of {suffix_len}"))
}

/// A share as a percentage with one decimal. What isn't 0 or 1 never looks like it.
pub(crate) fn share(share: f64) -> String {
    if !share.is_finite() {
        return "unknown".to_owned();
    }
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.1 {
        return "< 0.1%".to_owned();
    }
    if percent < 100.0 && percent > 99.9 {
        return "> 99.9%".to_owned();
    }
    let digits = format!("{percent:.1}");
    format!("{}%", digits.strip_suffix(".0").unwrap_or(&digits))
}

/// `every token`, `every 50 tokens`.
pub(crate) fn every(n: u64, noun: &str) -> String {
    if n == 1 {
        format!("every {noun}")
    } else {
        format!("every {}", count(n, noun))
    }
}

/// `never`, `once`, `twice`, `12 times`.
pub(crate) fn times(n: u64) -> String {
    match n {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        n => format!("{} times", samples::grouped(n)),
    }
}

/// `1 text`, `1,200 texts`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        samples::grouped(n),
        if n == 1 { "" } else { "s" }
    )
}

/// With a capital letter and a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars
        .next()
        .map(|c| c.to_uppercase().collect())
        .unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{first}{}{stop}", chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_headline_is_the_decision_and_its_first_reason() {
        let headline = headline(&fixture::report());
        assert_eq!((headline.tone, headline.word), (Tone::Bad, "Blocked"));
        assert!(
            headline.reason.contains("extractable, denied"),
            "{}",
            headline.reason
        );
        assert!(
            headline
                .found
                .unwrap()
                .contains("of 17 opted-out texts are memorized")
        );
    }

    #[test]
    fn a_run_that_measured_nothing_is_never_good() {
        for (report, word) in [
            (fixture::empty(), "Nothing tested"),
            (fixture::calibration(), "Calibration only"),
        ] {
            let headline = headline(&report);
            assert_eq!((headline.tone, headline.word), (Tone::Unsure, word));
        }
        assert_eq!(found(&fixture::empty()), "No opted-out text was probed.");
        assert_eq!(
            not_tested(&fixture::empty()),
            ["No window was cut: nothing was measured."]
        );
    }

    #[test]
    fn without_a_decision_anything_unmeasured_spoils_a_good_word() {
        let mut report = fixture::report();
        report.decision = None;
        assert_eq!(undecided_tone(&report), (Tone::Bad, "Memorized text found"));
        report.summary.counts = vec![super::super::LevelCount {
            kind: Kind::OptOut,
            level: Level::Clear,
            items: 9,
        }];
        assert_eq!(
            undecided_tone(&report).0,
            Tone::Unsure,
            "a window is unscored"
        );
        report.summary.windows.unscored = 0;
        assert_eq!(undecided_tone(&report), (Tone::Good, "Nothing found"));
        report.summary.positive_controls = vec![super::super::PositiveControl {
            item: report.items[0].id.clone(),
            found: false,
        }];
        assert_eq!(undecided_tone(&report).0, Tone::Unsure);
    }

    #[test]
    fn one_is_told_as_one() {
        assert_eq!(
            [0, 1, 2, 3].map(times),
            ["never", "once", "twice", "3 times"]
        );
        assert_eq!(
            [1, 50].map(|n| every(n, "token")),
            ["every token", "every 50 tokens"]
        );
        let mut report = fixture::report();
        report.summary.windows.missing = 1;
        report.summary.windows.stray = 1;
        let told = not_tested(&report).join("\n");
        assert!(
            told.contains(" has no scores")
                && told.contains("1 score of no item of this run was set"),
            "{told}"
        );
    }

    #[test]
    fn near_verbatim_recall_counts_as_tested_only_where_it_was() {
        let mut report = fixture::report();
        assert!(scope(&report).contains("and nowhere else. Not tested: paraphrase, other prompts"));
        report
            .items
            .iter_mut()
            .for_each(|item| item.evidence.follow_up = None);
        assert!(scope(&report).ends_with(
            "Not tested: paraphrase and near-verbatim recall, other prompts, other texts, other precisions of the same model."
        ));
    }

    #[test]
    fn shares_that_are_not_whole_never_look_whole() {
        let cases = [
            (0.0, "0%"),
            (0.0001, "< 0.1%"),
            (0.05, "5%"),
            (0.1234, "12.3%"),
            (0.99999, "> 99.9%"),
            (1.0, "100%"),
            (f64::NAN, "unknown"),
        ];
        for (value, expected) in cases {
            assert_eq!(share(value), expected);
        }
    }
}
