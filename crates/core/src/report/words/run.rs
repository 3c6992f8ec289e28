//! What a run could find at all, and how sure its figures are.

use crate::items::Kind;
use crate::metric::{probability, samples};
use crate::report::words::{count, share};
use crate::report::{MeanOverItems, Power, Rate, Report};

/// Told wherever an extrapolated p-value stands, which has a star there.
pub(crate) const MODEL_BASED: &str = "* model-based: extrapolated by a tail fitted to the controls' highest values, \
    below what the controls alone could say.";

/// What the run could have detected, a sentence a kind.
pub(crate) fn power(report: &Report) -> Vec<String> {
    let sentence = |power: &Power| {
        let items = of_kind(power.items, power.kind);
        let alone = format!(
            "a single finding needs {}",
            count(power.controls_needed, "control")
        );
        let Some(smallest) = power.smallest_p else {
            return format!(
                "{items}: none could be compared, so no item can be called memorized ({alone})."
            );
        };
        let can = match power.findings_needed {
            None => format!("no item can be called memorized ({alone})"),
            Some(0 | 1) => "a single finding can stand".to_owned(),
            Some(n) => format!("it takes {n} findings together ({alone})"),
        };
        let smallest = if smallest > 0.0 {
            format!("smallest p {}", probability::in_digits(smallest.ln()))
        } else {
            "no smallest p, since a tail is fitted (model-based)".to_owned()
        };
        format!("{items}: {smallest}; {can}.")
    };
    report.summary.power.iter().map(sentence).collect()
}

/// `0 of 240 controls within the sample budget (95% interval 0% to 1.5%)`.
pub(crate) fn rate(rate: &Rate) -> String {
    format!(
        "{} of {} {} (95% interval {})",
        samples::grouped(rate.hits),
        of_kind(rate.of, rate.kind),
        rate.name,
        interval(rate)
    )
}

/// `0% to 1.5%`.
pub(crate) fn interval(rate: &Rate) -> String {
    format!("{} to {}", share(rate.lower), share(rate.upper))
}

/// `mean coverage of 17 opted-out texts 0.21 (95% interval 0.08 to 0.37)`.
pub(crate) fn mean(mean: &MeanOverItems) -> String {
    format!(
        "mean {} of {} {} (95% interval {} to {})",
        mean.name,
        of_kind(mean.items, mean.kind),
        number(mean.mean),
        number(mean.lower),
        number(mean.upper)
    )
}

/// How far rounding could have decided anything, and whether the model itself says what its scores say.
pub(crate) fn numerics(report: &Report) -> Vec<String> {
    let n = &report.summary.numerics;
    let mut out = Vec::new();
    let counted = |n: u64, one: &str, more: &str| match n {
        0 => None,
        1 => Some(one.to_owned()),
        n => Some(format!("{} {more}", samples::grouped(n))),
    };
    if n.rescored > 0 {
        let changes = [
            counted(
                n.greedy_flips,
                "1 greedy verdict changed",
                "greedy verdicts changed",
            ),
            counted(
                n.budget_flips,
                "1 window crossed the sample budget",
                "windows crossed the sample budget",
            ),
        ];
        let changes: Vec<String> = changes.into_iter().flatten().collect();
        let changed = if changes.is_empty() {
            "0 changed.".to_owned()
        } else {
            format!("{}. What was scored alone counts.", changes.join(", "))
        };
        out.push(format!(
            "{} scored again alone in f32: {changed}",
            count(n.rescored, "near tie")
        ));
    }
    if n.near_ties > n.rescored {
        let left = n.near_ties - n.rescored;
        let was = if left == 1 { "was" } else { "were" };
        out.push(format!(
            "{} of {} {was} not scored again: rounding may have decided there.",
            samples::grouped(left),
            count(n.near_ties, "near tie")
        ));
    }
    if n.generated > 0 {
        let verb = if n.disagreements == 1 {
            "disagrees"
        } else {
            "disagree"
        };
        out.push(format!(
            "{} of {} confirmed by real generation, {} {verb}.",
            samples::grouped(n.generated.saturating_sub(n.disagreements)),
            count(n.generated, "greedy verdict"),
            samples::grouped(n.disagreements)
        ));
    }
    out
}

/// `1 control`, `17 opted-out texts`.
pub(crate) fn of_kind(n: u64, kind: Kind) -> String {
    match kind {
        Kind::OptOut => count(n, "opted-out text"),
        Kind::Control => count(n, "control"),
        Kind::Canary if n == 1 => "1 canary".to_owned(),
        Kind::Canary => format!("{} canaries", samples::grouped(n)),
    }
}

/// Three digits of a number that may be of any size.
pub(crate) fn number(x: f64) -> String {
    match x {
        f64::INFINITY => "∞".to_owned(),
        f64::NEG_INFINITY => "−∞".to_owned(),
        nan if nan.is_nan() => "unknown".to_owned(),
        x if x.abs() >= 1e6 || (x != 0.0 && x.abs() < 1e-3) => format!("{x:.1e}").replace('-', "−"),
        x if x.abs() >= 100.0 => format!("{x:.0}").replace('-', "−"),
        x => format!("{x:.2}").replace('-', "−"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::follow_up::Numerics;
    use crate::report::fixture;

    #[test]
    fn power_says_what_could_have_been_found() {
        let mut report = fixture::report();
        report.summary.controls.usable = 240;
        let cases = [
            (
                12,
                Some(1.0 / 241.0),
                Some(1),
                "12 opted-out texts: smallest p 0.0041; a single finding can stand.",
            ),
            (
                40,
                Some(1.0 / 241.0),
                Some(4),
                "40 opted-out texts: smallest p 0.0041; it takes 4 findings together (a single finding needs 799 controls).",
            ),
            (
                1,
                Some(0.1),
                None,
                "1 opted-out text: smallest p 0.1; no item can be called memorized (a single finding needs 799 controls).",
            ),
            (
                3,
                Some(0.0),
                Some(1),
                "3 opted-out texts: no smallest p, since a tail is fitted (model-based); a single finding can stand.",
            ),
            (
                2,
                None,
                None,
                "2 opted-out texts: none could be compared, so no item can be called memorized (a single finding needs 799 controls).",
            ),
        ];
        for (items, smallest_p, findings_needed, expected) in cases {
            report.summary.power = vec![Power {
                kind: Kind::OptOut,
                items,
                smallest_p,
                findings_needed,
                controls_needed: 799,
            }];
            assert_eq!(power(&report), [expected]);
        }
    }

    #[test]
    fn rates_and_means_stand_with_their_intervals() {
        let controls = Rate {
            name: "within the sample budget".to_owned(),
            kind: Kind::Control,
            hits: 0,
            of: 240,
            lower: 0.0,
            upper: 0.0152,
        };
        assert_eq!(
            rate(&controls),
            "0 of 240 controls within the sample budget (95% interval 0% to 1.5%)"
        );
        let coverage = MeanOverItems {
            name: "coverage".to_owned(),
            kind: Kind::Canary,
            items: 1,
            mean: 0.214,
            lower: 0.08,
            upper: -1234.5,
        };
        assert_eq!(
            mean(&coverage),
            "mean coverage of 1 canary 0.21 (95% interval 0.08 to −1234)"
        );
    }

    #[test]
    fn numerics_name_every_change_and_are_silent_where_nothing_was_checked() {
        let cases: [(Numerics, &[&str]); 5] = [
            (Numerics::default(), &[]),
            (
                Numerics {
                    near_ties: 3,
                    rescored: 3,
                    generated: 17,
                    ..Numerics::default()
                },
                &[
                    "3 near ties scored again alone in f32: 0 changed.",
                    "17 of 17 greedy verdicts confirmed by real generation, 0 disagree.",
                ],
            ),
            (
                Numerics {
                    near_ties: 1,
                    rescored: 1,
                    greedy_flips: 1,
                    budget_flips: 2,
                    ..Numerics::default()
                },
                &[
                    "1 near tie scored again alone in f32: 1 greedy verdict changed, 2 windows crossed the sample budget. What was scored alone counts.",
                ],
            ),
            (
                Numerics {
                    near_ties: 4,
                    rescored: 0,
                    ..Numerics::default()
                },
                &["4 of 4 near ties were not scored again: rounding may have decided there."],
            ),
            (
                Numerics {
                    generated: 1,
                    disagreements: 1,
                    ..Numerics::default()
                },
                &["0 of 1 greedy verdict confirmed by real generation, 1 disagrees."],
            ),
        ];
        let mut report = fixture::report();
        for (numerics_of_run, expected) in cases {
            report.summary.numerics = numerics_of_run;
            assert_eq!(numerics(&report), expected);
        }
    }

    #[test]
    fn numbers_of_any_size_are_short() {
        let cases = [
            (0.0, "0.00"),
            (0.214, "0.21"),
            (-81.25, "−81.25"),
            (2.5e-5, "2.5e−5"),
            (f64::INFINITY, "∞"),
            (f64::NAN, "unknown"),
        ];
        for (x, expected) in cases {
            assert_eq!(number(x), expected);
        }
    }
}
