//! What is known of one window: all its metrics, or why there are none.

use crate::backend::{Scheme, TokenScores};
use crate::float_serde::Real;
use crate::metric::membership::{self, Membership};
use crate::metric::tokens::TokenEvidence;
use crate::metric::{greedy, probability};
use crate::run::follow_up::FollowUp;
use crate::run::follow_up::SchemeLogP;
use crate::run::{ScoredWindow, TextStats};
use crate::window::{Placement, WindowId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// One scored window: its place in the item and its metrics. Holds no text and no token ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowEvidence {
    pub window: WindowId,
    #[serde(flatten)]
    pub placement: Placement,
    /// Statistics of the text alone.
    pub text: TextStats,
    /// Greedy decoding from the prefix yields exactly the suffix.
    pub greedy_exact: bool,
    /// Suffix tokens before the first one that isn't the model's first choice.
    pub verbatim_run: u32,
    /// Share of suffix tokens that are the model's first choice under teacher forcing, 0 to 1.
    #[serde(with = "Real")]
    pub em: f64,
    /// Natural log of the suffix's probability under plain sampling at T = 1.
    #[serde(with = "Real")]
    pub sum_logprob: f64,
    /// Smallest distance to a tie at the top, in nats: how near a greedy verdict is to flipping.
    #[serde(with = "Real")]
    pub min_margin: f64,
    /// Natural log of the suffix's probability under each scheme, in the backend's order; `-inf` where
    /// the scheme never samples it.
    pub schemes: Vec<SchemeLogP>,
    /// `1 - (1/L) min{m : all r_t = 0 for t >= m}`, 0 to 1.
    #[serde(with = "Real")]
    pub extraction_strength: f64,
    /// Supporting evidence only.
    pub membership: Membership,
    /// What else was found out about it; absent for most windows.
    pub follow_up: Option<FollowUp>,
    /// Of the likeliest window of items that aren't controls; absent of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenEvidence>,
}

/// A window that has no scores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnscoredWindow {
    pub window: WindowId,
    /// Why, in words.
    pub reason: String,
}

/// Measures one window scored under `schemes` (the backend's, in its order).
///
/// # Errors
/// When it has no scores, was left before its end (see [`crate::metric::left`]), or scores can't be: lists of the wrong length, NaN, a probability above 1.
/// Such a window is unscored; it never counts as a low score.
pub fn measure(
    scored: &ScoredWindow,
    schemes: &[Scheme],
) -> Result<WindowEvidence, UnscoredWindow> {
    let unscored = |reason| UnscoredWindow {
        window: scored.window.clone(),
        reason,
    };
    let scores = scored
        .scores
        .as_ref()
        .map_err(|reason| unscored(reason.clone()))?;
    if scored.left.is_some() {
        return Err(unscored("it was left before its end".to_owned()));
    }
    check(scores, scored.placement.suffix_len, schemes).map_err(unscored)?;
    let em = greedy::exact_match(&scores.rank)
        .ok_or_else(|| unscored("the suffix is empty".to_owned()))?;
    let log_p = |(scheme, logprob): (&Scheme, &Vec<f32>)| SchemeLogP {
        scheme: scheme.id.clone(),
        log_p_z: probability::log_p_z(logprob),
    };
    Ok(WindowEvidence {
        window: scored.window.clone(),
        placement: scored.placement.clone(),
        text: scored.text,
        greedy_exact: greedy::greedy_exact(&scores.rank),
        verbatim_run: greedy::verbatim_run(&scores.rank),
        em,
        sum_logprob: probability::sum_logprob(&scores.logprob),
        min_margin: scores
            .margin
            .iter()
            .map(|&margin| f64::from(margin.abs()))
            .fold(f64::INFINITY, f64::min),
        schemes: schemes
            .iter()
            .zip(&scores.scheme_logprob)
            .map(log_p)
            .collect(),
        extraction_strength: greedy::extraction_strength(&scores.rank),
        membership: membership::of(scores, &scored.text),
        follow_up: None,
        tokens: None,
    })
}

impl WindowEvidence {
    /// The greatest `ln p_z` under any of these schemes; `None` unless all were scored.
    pub fn best_log_p_z(&self, schemes: &[Scheme]) -> Option<f64> {
        let values = schemes
            .iter()
            .map(|scheme| self.log_p_z(&scheme.id))
            .collect::<Option<Vec<f64>>>()?;
        values.into_iter().reduce(|best, next| {
            if next > best || next.is_nan() {
                next
            } else {
                best
            }
        })
    }

    /// `ln p_z` under the scheme of that id; `None` if it wasn't scored.
    pub fn log_p_z(&self, scheme: &str) -> Option<f64> {
        self.schemes
            .iter()
            .find(|value| value.scheme == scheme)
            .map(|value| value.log_p_z)
    }
}

/// Sorts by `ln p_z` under the best of the schemes, then by plain log-probability, then by place.
pub fn likeliest_first(windows: &mut [WindowEvidence], schemes: &[Scheme]) {
    windows.sort_by(|a, b| likelier(a, b, schemes));
}

/// `Less` if `a` comes first where the likeliest does.
pub(crate) fn likelier(a: &WindowEvidence, b: &WindowEvidence, schemes: &[Scheme]) -> Ordering {
    let value = |window: &WindowEvidence| window.best_log_p_z(schemes).unwrap_or(f64::NEG_INFINITY);
    let likelier = value(b)
        .total_cmp(&value(a))
        .then(b.sum_logprob.total_cmp(&a.sum_logprob));
    likelier.then_with(|| {
        (a.placement.form, a.placement.suffix_char, &a.window).cmp(&(
            b.placement.form,
            b.placement.suffix_char,
            &b.window,
        ))
    })
}

/// Whether every list has so many entries that can be.
pub(super) fn check(
    scores: &TokenScores,
    suffix_len: u32,
    schemes: &[Scheme],
) -> Result<(), String> {
    if scores.scheme_logprob.len() != schemes.len() {
        return Err(format!(
            "scores under {} schemes, not {}",
            scores.scheme_logprob.len(),
            schemes.len()
        ));
    }
    let moments = [scores.expected_logprob.len(), scores.logprob_sd.len()];
    let lists = [scores.logprob.len(), scores.rank.len(), scores.margin.len()]
        .into_iter()
        .chain(moments);
    let lists = lists.chain(scores.scheme_logprob.iter().map(Vec::len));
    for len in lists {
        if len != suffix_len as usize {
            return Err(format!("{len} scores for {suffix_len} suffix tokens"));
        }
    }
    // A log-probability may be -inf, and above 0 only by rounding.
    let logprobs = scores
        .logprob
        .iter()
        .chain(scores.scheme_logprob.iter().flatten());
    if logprobs.into_iter().any(|lp| lp.is_nan() || *lp > 1e-3)
        || scores.margin.iter().any(|margin| margin.is_nan())
    {
        return Err("the scores hold a NaN or a probability above 1".to_owned());
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::items::ItemId;
    use crate::window::Form;

    /// A window of `item` over characters `10 n .. 10 n + 10` with the given scores.
    pub(crate) fn scored(
        item: &str,
        n: u64,
        rank: &[u32],
        full: &[f32],
        top_k40: &[f32],
    ) -> ScoredWindow {
        ScoredWindow {
            item: ItemId(item.to_owned()),
            window: WindowId(format!("{item}/as_given/{n}")),
            placement: Placement {
                form: Form::AsGiven,
                template: Default::default(),
                start_token: n as u32 * 4,
                start_byte: 10 * n,
                suffix_byte: 10 * n,
                end_byte: 10 * n + 10,
                suffix_char: 10 * n,
                end_char: 10 * n + 10,
                prefix_len: 3,
                suffix_len: rank.len() as u32,
                straddles: false,
            },
            text: TextStats {
                suffix_chars: 10,
                zlib_bits_per_char: 7.5,
                copied_from_prefix: 0.25,
            },
            token_ids: None,
            left: None,
            scores: Ok(TokenScores {
                logprob: full.to_vec(),
                rank: rank.to_vec(),
                margin: vec![0.5; rank.len()],
                scheme_logprob: vec![full.to_vec(), top_k40.to_vec()],
                expected_logprob: vec![-1.5; rank.len()],
                logprob_sd: vec![0.5; rank.len()],
            }),
        }
    }

    #[test]
    fn scores_become_metrics_and_text_statistics_pass_through() {
        let mut window = scored(
            "a",
            2,
            &[0, 0, 5, 0],
            &[-0.5, -0.25, -3.0, -0.25],
            &[-0.25, -0.25, -2.0, 0.0],
        );
        if let Ok(scores) = &mut window.scores {
            scores.margin = vec![2.0, 0.5, -1.5, 0.125];
        }
        let evidence = measure(&window, &Scheme::defaults()).unwrap();
        assert!(!evidence.greedy_exact);
        assert_eq!((evidence.verbatim_run, evidence.em), (2, 0.75));
        assert_eq!((evidence.sum_logprob, evidence.min_margin), (-4.0, 0.125));
        assert_eq!(
            (evidence.log_p_z("full"), evidence.log_p_z("top_k40")),
            (Some(-4.0), Some(-2.5))
        );
        assert_eq!(evidence.log_p_z("top_k5"), None);
        assert_eq!(evidence.text, window.text);
    }

    #[test]
    fn what_was_not_measured_is_unscored_and_never_a_number() {
        let good = || scored("a", 0, &[0, 0], &[-0.5, -0.5], &[-0.5, f32::NEG_INFINITY]);
        assert_eq!(
            measure(&good(), &Scheme::defaults())
                .unwrap()
                .log_p_z("top_k40"),
            Some(f64::NEG_INFINITY)
        );

        type Damage = fn(&mut TokenScores);
        let broken: [(&str, Damage); 7] = [
            ("NaN", |s| s.logprob[1] = f32::NAN),
            ("NaN", |s| s.scheme_logprob[1][0] = f32::NAN),
            ("NaN", |s| s.margin[0] = f32::NAN),
            ("above 1", |s| s.logprob[0] = f32::INFINITY),
            ("1 scores for 2", |s| s.rank.truncate(1)),
            ("1 scores for 2", |s| s.scheme_logprob[0].truncate(1)),
            ("under 1 schemes", |s| s.scheme_logprob.truncate(1)),
        ];
        for (expected, damage) in broken {
            let mut window = good();
            damage(window.scores.as_mut().unwrap());
            let reason = measure(&window, &Scheme::defaults()).unwrap_err().reason;
            assert!(reason.contains(expected), "{reason}");
        }
        let mut failed = good();
        failed.scores = Err("too long".to_owned());
        assert_eq!(
            measure(&failed, &Scheme::defaults()).unwrap_err().reason,
            "too long"
        );
        assert!(measure(&scored("a", 0, &[], &[], &[]), &Scheme::defaults()).is_err());
    }
}
