//! What was found out about one item or window beyond its scores.

use crate::metric::follow_up::FollowUpEvidence;
use crate::metric::follow_up::Numerics;
use crate::metric::left::LeftWindows;
use crate::metric::window::WindowEvidence;
use crate::metric::{probability, samples};
use crate::policy::Statistic;
use crate::report::words::run::number;
use crate::report::words::{count, share};
use crate::report::{Report, ReportItem};
use crate::run::follow_up::{
    Continuation, FollowUp, ForeignPrefix, NearProbability, ReferenceScore,
};
use crate::verdict::{TailFit, Validity};
use std::f64::consts::{LN_2, LN_10};

/// The comparison that decides whether a finding is valid.
pub(crate) fn comparison(validity: &Validity) -> String {
    let statistic = match validity.statistic {
        Statistic::MaxLogPZ => "ln p_z of the best window under full",
        Statistic::MeanLogProb => "mean ln p a token",
        Statistic::VerbatimRun => "longest verbatim run",
        Statistic::MeanRank => "mean rank of all windows by ln p_z under full, as a share",
    };
    let chosen = if validity.matched {
        "controls chosen for it by id or tag"
    } else {
        "controls as they came"
    };
    let reach = if validity.controls_at_least == 1 {
        "reaches"
    } else {
        "reach"
    };
    let factor = match validity.window_factor {
        1 => String::new(),
        n => format!(", {n} times as many windows as theirs counted in"),
    };
    format!(
        "{statistic} {}; {} of {} {chosen} {reach} it{factor}; p = {}, at best {} with these controls; {}",
        number(validity.value),
        samples::grouped(validity.controls_at_least),
        samples::grouped(validity.controls),
        digits(validity.p_value),
        digits(validity.smallest_p),
        if validity.significant {
            "it stands after Benjamini-Hochberg"
        } else {
            "it doesn't stand after Benjamini-Hochberg"
        }
    )
}

/// The fitted tail, always beside the mark `model-based`.
pub(crate) fn tail(tail: &TailFit) -> String {
    format!(
        "p = {} by a generalized Pareto tail (shape {}, scale {}) fitted to the {} above {}; it counts in place of the \
         p-value above",
        digits(tail.p_value),
        number(tail.shape),
        number(tail.scale),
        count(tail.exceedances, "control"),
        number(tail.threshold),
    )
}

/// A canary's exposure with the ends of its interval: `7.64 bits (95% interval 5.10 bits or more), among the controls`.
pub(crate) fn exposure(bits: f64, lower: f64, upper: f64) -> String {
    let interval = match upper {
        f64::INFINITY => format!("{} bits or more", number(lower)),
        upper => format!("{} to {} bits", number(lower), number(upper)),
    };
    format!(
        "{} bits (95% interval {interval}), among the controls",
        number(bits)
    )
}

/// What the continuations of an item come to.
pub(crate) fn continued(found: &FollowUpEvidence, windows: u64) -> Option<String> {
    if found.continued == 0 {
        return None;
    }
    let mut out = format!(
        "{} of {} continued by the model itself, {} near-verbatim",
        samples::grouped(found.continued),
        count(windows, "window"),
        if found.near_verbatim == 0 {
            "none".to_owned()
        } else {
            samples::grouped(found.near_verbatim)
        },
    );
    if let Some(similarity) = found.best_similarity {
        out.push_str(&format!("; greatest edit similarity {similarity:.2}"));
    }
    if let Some(score) = found.memorization_score {
        out.push_str(&format!(
            "; the same token at up to {} of positions (memorization score)",
            share(score)
        ));
    }
    Some(out)
}

/// What an item's follow-ups come to, in one short line; `None` where it had none.
pub(crate) fn in_short(item: &ReportItem) -> Option<String> {
    let found = item.evidence.follow_up.as_ref()?;
    let near_verbatim = if found.near_verbatim == 0 {
        "none".to_owned()
    } else {
        samples::grouped(found.near_verbatim)
    };
    let windows = count(item.evidence.windows(), "window");
    let parts = [
        (found.continued > 0).then(|| {
            format!(
                "{} of {windows} continued, {near_verbatim} near-verbatim",
                samples::grouped(found.continued)
            )
        }),
        found.near_probability.as_ref().map(|near| {
            let edits = count(u64::from(near.distance), "edit");
            match near.log_p {
                f64::NEG_INFINITY => {
                    format!("no sequence found within {edits} under {}", near.scheme)
                }
                log_p => format!(
                    "within {edits} under {} at least {}",
                    near.scheme,
                    one_in(log_p)
                ),
            }
        }),
        found
            .foreign_prefix
            .as_ref()
            .map(|found| match found.delta {
                delta if delta.is_nan() => "unknown after foreign prefixes".to_owned(),
                delta if delta < LN_2 => "as likely after foreign prefixes".to_owned(),
                f64::INFINITY => "infinitely likelier than after foreign prefixes".to_owned(),
                delta => format!("{} likelier than after foreign prefixes", times(delta)),
            }),
        found
            .reference
            .as_ref()
            .map(|found| format!("{} of the reference model's surprise", share(found.ratio))),
        found
            .errors
            .first()
            .map(|error| format!("not everything could be found out: {error}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// How much of the text came out near-verbatim.
pub(crate) fn nv_recall(found: &FollowUpEvidence, windows: u64) -> Option<String> {
    (found.continued > 0).then(|| {
        let at_least = if found.continued < windows {
            "at least "
        } else {
            ""
        };
        format!("{at_least}{} of the text", share(found.nv_recall))
    })
}

/// `under top_k40: verbatim 1 in 4,000; near-verbatim (at most 5 edits) at least 1 in 900`. `log_p_z` is that of the
/// same window under the same scheme, where it is known.
pub(crate) fn near_probability(near: &NearProbability, log_p_z: Option<f64>) -> String {
    let verbatim = log_p_z
        .map(|log_p| format!("verbatim {}; ", one_in(log_p)))
        .unwrap_or_default();
    let edits = count(u64::from(near.distance), "edit");
    let found = if near.log_p == f64::NEG_INFINITY {
        format!("no sequence found within {edits}")
    } else {
        format!(
            "near-verbatim (at most {edits}) at least {}",
            one_in(near.log_p)
        )
    };
    let how = match near.beam {
        0 => "word for word alone, nothing searched".to_owned(),
        beam => format!(
            "{}, beam of {beam}",
            count(u64::from(near.sequences), "sequence")
        ),
    };
    format!("under {}: {verbatim}{found} ({how})", near.scheme)
}

/// What the true prefix adds.
pub(crate) fn foreign_prefix(found: &ForeignPrefix) -> String {
    let others = match found.prefixes {
        1 => "1 prefix of another text".to_owned(),
        n => format!("{n} prefixes of other texts"),
    };
    let delta = number(found.delta);
    if found.delta.is_nan() {
        return format!("unknown against {others}");
    }
    if found.delta.abs() < LN_2 {
        return format!(
            "the suffix is about as likely after {others} (delta {delta}): the prefix recalls nothing"
        );
    }
    if found.delta < 0.0 {
        return format!("the suffix is likelier after {others} than after its own (delta {delta})");
    }
    format!(
        "the true prefix makes the suffix {} likelier than {others} do (delta {delta})",
        if found.delta == f64::INFINITY {
            "infinitely".to_owned()
        } else {
            times(found.delta)
        }
    )
}

/// The same text under another checkpoint.
pub(crate) fn reference(found: &ReferenceScore) -> String {
    let there = format!(
        "ln p {} there, over {}",
        number(found.sum_logprob),
        count(u64::from(found.suffix_len), "token")
    );
    let says = if found.ratio.is_nan() {
        "no ratio".to_owned()
    } else if found.ratio < 1.0 {
        format!(
            "{} of its surprise here: likelier under the tested model",
            share(found.ratio)
        )
    } else {
        format!(
            "{} times its surprise here: no likelier under the tested model",
            number(found.ratio)
        )
    };
    format!("{says} ({there})")
}

/// How the item stands with rounding; `None` where nothing was near.
pub(crate) fn item_numerics(n: &Numerics) -> Option<String> {
    let mut out = Vec::new();
    if n.near_ties > 0 {
        let again = if n.rescored == n.near_ties {
            "all".to_owned()
        } else {
            samples::grouped(n.rescored)
        };
        out.push(format!(
            "{}, {again} scored again alone in f32",
            count(n.near_ties, "near tie")
        ));
    }
    if n.greedy_flips > 0 {
        out.push(format!(
            "{} changed by it",
            count(n.greedy_flips, "greedy verdict")
        ));
    }
    if n.budget_flips > 0 {
        out.push(format!(
            "{} crossed the sample budget",
            count(n.budget_flips, "window")
        ));
    }
    if n.generated > 0 {
        let disagreements = match n.disagreements {
            0 => "all agree".to_owned(),
            1 => "1 DISAGREES".to_owned(),
            n => format!("{n} DISAGREE"),
        };
        out.push(format!(
            "{} put to a real generation: {disagreements}",
            count(n.generated, "greedy verdict")
        ));
    }
    (!out.is_empty()).then(|| out.join("; "))
}

/// All that a window was put to besides its continuation, a sentence each.
pub(crate) fn further(window: &WindowEvidence, found: &FollowUp) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(near) = &found.near_probability {
        out.push(near_probability(near, window.log_p_z(&near.scheme)));
    }
    out.extend(found.foreign_prefix.as_ref().map(foreign_prefix));
    out.extend(
        found
            .reference
            .as_ref()
            .map(|found| format!("reference model: {}", reference(found))),
    );
    if let Some(again) = &found.rescored {
        out.push(format!(
            "scored again alone in f32: {}, first {} verbatim, ln p {} at T = 1; smallest margin {:.4}",
            if again.greedy_exact { "greedy decoding yields it" } else { "greedy decoding doesn't yield it" },
            count(u64::from(again.verbatim_run), "token"),
            number(again.sum_logprob),
            again.min_margin,
        ));
    }
    out.extend(found.errors.iter().map(|error| format!("failed: {error}")));
    out
}

/// Where the scores of a window's tokens aren't those that count, since it was scored again: what both come to.
pub(crate) fn first_scores(report: &Report, window: &WindowEvidence) -> Option<String> {
    let again = window.follow_up.as_ref()?.rescored.as_ref()?;
    let first: f64 = window
        .tokens
        .as_ref()?
        .logprob
        .iter()
        .map(|lp| f64::from(*lp))
        .sum();
    Some(format!(
        "These are the scores of the first pass ({} products, in a batch), ln p {} in all. Scored again alone in f32 the window comes \
         to {}, which is what counts.",
        report.model.backend.arithmetic,
        number(first),
        number(again.sum_logprob),
    ))
}

/// Whether generation says what the scores say, and how it was made.
pub(crate) fn agreement(found: &Continuation) -> &'static str {
    match (found.agrees, found.drafted) {
        (true, 0) => "agrees, nothing given",
        (true, _) => "agrees",
        (false, _) => "DISAGREES",
    }
}

/// Windows that were left before their end, a part a reason: why, and the bound on what they could score.
pub(crate) fn left(left: &LeftWindows) -> Vec<String> {
    let mut parts = Vec::new();
    if left.floor > 0 {
        let bounds: Vec<String> = left
            .bounds
            .iter()
            .map(|bound| format!("{} under {}", super::at_most(bound.log_p_z), bound.scheme))
            .collect();
        parts.push(format!(
            "{} left below the floor before their end (bounds, not values: p_z {})",
            samples::grouped(left.floor),
            bounds.join(", ")
        ));
    }
    for (n, why) in [
        (
            left.coarse,
            "between windows of the first pass that are no hits, not scored",
        ),
        (left.screen, "left by the screen, not scored"),
    ] {
        if n > 0 {
            parts.push(format!("{} {why}", samples::grouped(n)));
        }
    }
    parts
}

/// A probability as odds: `83%`, `1 in 4,000`, `1 in 10^23`, `never`.
pub(crate) fn one_in(log_p: f64) -> String {
    if log_p == f64::NEG_INFINITY {
        return "never".to_owned();
    }
    if log_p.is_nan() {
        return "unknown".to_owned();
    }
    if log_p > 0.1_f64.ln() {
        return share(log_p.exp().min(1.0));
    }
    format!("1 in {}", rounded(-log_p))
}

/// `3,200 times`, `10^23 times`.
fn times(ln: f64) -> String {
    if ln < 10_f64.ln() {
        format!("{:.1} times", ln.exp())
    } else {
        format!("{} times", rounded(ln))
    }
}

/// e to the power of `ln`, at least 10, to two digits; as a power of ten from a million on.
fn rounded(ln: f64) -> String {
    if ln >= 1e6_f64.ln() {
        return format!("10^{:.0}", ln / LN_10);
    }
    let value = ln.exp();
    let unit = 10_f64.powf(value.log10().floor() - 1.0).max(1.0);
    samples::grouped(((value / unit).round() * unit) as u64)
}

fn digits(p: f64) -> String {
    probability::in_digits(p.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_and_factors_have_two_digits_and_then_powers_of_ten() {
        for (p, expected) in [
            (1.0, "100%"),
            (0.83, "83%"),
            (0.1, "1 in 10"),
            (2.5e-4, "1 in 4,000"),
            (1.0 / 912.0, "1 in 910"),
        ] {
            assert_eq!(one_in(f64::ln(p)), expected);
        }
        assert_eq!(one_in(-23.0 * LN_10), "1 in 10^23");
        assert_eq!(one_in(f64::NEG_INFINITY), "never");
        assert_eq!(times(3.5_f64.ln()), "3.5 times");
        assert_eq!(times(3210_f64.ln()), "3,200 times");
        assert_eq!(times(53.0), "10^23 times");
    }

    #[test]
    fn a_window_scored_again_says_that_its_tokens_are_those_of_the_first_pass() {
        let mut report = crate::report::fixture::report();
        report.model.backend.arithmetic = "bf16".to_owned();
        let mut windows = report.items.iter().flat_map(|item| &item.windows);
        let mut window = windows
            .find(|window| window.tokens.is_some())
            .unwrap()
            .clone();
        window.follow_up = None;
        assert_eq!(first_scores(&report, &window), None);
        let again = crate::run::follow_up::Rescored {
            greedy_exact: false,
            verbatim_run: 3,
            sum_logprob: -1.25,
            min_margin: 0.5,
            schemes: Vec::new(),
        };
        window.follow_up = Some(FollowUp {
            rescored: Some(again),
            ..FollowUp::default()
        });
        window.tokens.as_mut().unwrap().logprob = vec![-0.5, -1.0];
        let told = first_scores(&report, &window).unwrap();
        assert!(
            told.contains("(bf16 products, in a batch), ln p −1.50 in all")
                && told.contains("to −1.25, which"),
            "{told}"
        );
        window.tokens = None;
        assert_eq!(first_scores(&report, &window), None);
    }

    #[test]
    fn a_near_verbatim_bound_stands_beside_the_verbatim_probability() {
        let near = |log_p| NearProbability {
            scheme: "top_k40".to_owned(),
            distance: 5,
            beam: 16,
            log_p,
            sequences: 12,
        };
        assert_eq!(
            near_probability(&near(f64::ln(1.0 / 900.0)), Some(f64::ln(1.0 / 4000.0))),
            "under top_k40: verbatim 1 in 4,000; near-verbatim (at most 5 edits) at least 1 in 900 (12 sequences, beam of 16)"
        );
        assert!(
            near_probability(&near(f64::NEG_INFINITY), None)
                .contains("no sequence found within 5 edits")
        );
    }

    #[test]
    fn a_prefix_that_adds_nothing_or_takes_away_is_told_so() {
        let says = |delta| {
            foreign_prefix(&ForeignPrefix {
                delta,
                prefixes: 16,
            })
        };
        assert_eq!(
            says(53.0),
            "the true prefix makes the suffix 10^23 times likelier than 16 prefixes of other texts do (delta 53.00)"
        );
        for (delta, expected) in [
            (0.2, "recalls nothing"),
            (-0.2, "recalls nothing"),
            (-3.0, "than after its own"),
            (f64::NAN, "unknown"),
        ] {
            assert!(says(delta).contains(expected), "{}", says(delta));
        }
    }

    #[test]
    fn exposure_without_a_control_above_has_no_upper_end() {
        let of = |upper| exposure(7.64, 5.1, upper);
        assert_eq!(
            of(9.2),
            "7.64 bits (95% interval 5.10 to 9.20 bits), among the controls"
        );
        assert!(of(f64::INFINITY).contains("5.10 bits or more"));
    }
}
