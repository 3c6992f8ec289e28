//! Which windows are followed up, and how: from scores and policy alone.

use crate::backend::{BackendInfo, Scheme};
use crate::items::Kind;
use crate::metric::window::{WindowEvidence, likeliest_first, measure};
use crate::policy::Policy;
use crate::run::ScoredWindow;
use serde_json::{Value, json};

/// Drafts are cut to a multiple of this many tokens. Windows of equal drafts are continued together, and what is drafted
/// mustn't depend on which windows happen to stand in a batch. The last few tokens before a first miss are thereby
/// generated, too, and show whether generation gets as far as teacher forcing says.
pub const DRAFT_STEP: u32 = 8;

/// With fewer first choices than this a sample within a tenth of the suffix is out of reach, and its bound says nothing.
const HOPEFUL: f64 = 0.5;

/// What is asked of one window once all are scored and near ties are scored again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowUpRequest {
    /// Continue it, with so many tokens of the true suffix taken as given; 0 = the whole suffix is generated.
    pub drafted: Option<u32>,
    /// Bound the probability of a near-verbatim sample.
    pub near_probability: bool,
    /// Compare its prefix with foreign ones.
    pub foreign_prefix: bool,
    /// Score it under the reference checkpoint.
    pub reference: bool,
}

/// Whether rounding could decide about a window: its smallest margin is below the policy's, or its `ln p_z` under one of
/// the policy's schemes is within epsilon of `ln tau`. Greedy decoding has no `p_z` but 0 and 1; its margin says it all.
pub fn near_tie(window: &WindowEvidence, policy: &Policy) -> bool {
    let edge = policy.tau.ln();
    let at_the_edge = |scheme: &Scheme| {
        scheme.temperature > 0.0
            && window
                .log_p_z(&scheme.id)
                .is_some_and(|log_p_z| (log_p_z - edge).abs() <= policy.follow_up.epsilon)
    };
    window.min_margin < policy.follow_up.margin || policy.schemes.iter().any(at_the_edge)
}

/// Products in bf16 move the log-probability of one token by less than this, and of a window of 50 by less than
/// [`WINDOW_ERROR`], in nats: on 15,000 tokens of 300 windows the worst were .56 and .99 (docs/performance.md).
pub const TOKEN_ERROR: f64 = 0.7;
/// See [`TOKEN_ERROR`].
pub const WINDOW_ERROR: f64 = 1.5;

/// A text of a run whose products were in bf16.
#[derive(Clone, Debug)]
pub struct InBf16 {
    pub kind: Kind,
    /// Its windows that could be measured.
    pub windows: Vec<Rounded>,
}

/// What matters of a window scored by products in bf16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounded {
    /// Where it stands in the run's plan.
    pub place: usize,
    /// As [`WindowEvidence::sum_logprob`].
    pub sum_logprob: f64,
    /// Its greedy verdict or its place on either side of the sample budget could be an error of the products.
    pub turns: bool,
}

impl Rounded {
    /// `margins` are those of its suffix tokens.
    pub fn of(place: usize, window: &WindowEvidence, margins: &[f32], policy: &Policy) -> Self {
        let turns = near_tie(window, policy) || turns(window, margins, policy);
        Self {
            place,
            sum_logprob: window.sum_logprob,
            turns,
        }
    }
}

/// The places of windows that products in bf16 can't be trusted with: those whose greedy verdict or place on either side of the
/// sample budget they could have turned, and those on which a text's statistic may hang. `matched` = some controls stand for
/// particular items.
///
/// A text below the median of the controls can't be significant at any q up to one half, whatever its last digits: of the others
/// every window is settled that may be the best one.
pub fn unsure_in_bf16(texts: &[InBf16], matched: bool, policy: &Policy) -> Vec<usize> {
    let best = |text: &InBf16| {
        text.windows
            .iter()
            .map(|window| window.sum_logprob)
            .reduce(f64::max)
    };
    let mut controls: Vec<f64> = texts
        .iter()
        .filter(|text| text.kind == Kind::Control)
        .filter_map(best)
        .collect();
    controls.sort_by(f64::total_cmp);
    let median = controls.get(controls.len() / 2).copied();
    let floor = if matched {
        Some(f64::NEG_INFINITY)
    } else {
        median.map(|median| median - 2.0 * WINDOW_ERROR)
    };
    let mut unsure = Vec::new();
    for text in texts {
        let best = best(text).unwrap_or(f64::NEG_INFINITY);
        // Below the policy's floor nothing is told apart.
        let least = policy.ln_floor() - 2.0 * WINDOW_ERROR;
        let counts = floor.is_some_and(|floor| best >= floor.max(least));
        let decides = |window: &Rounded| counts && window.sum_logprob >= best - 2.0 * WINDOW_ERROR;
        let of_text = text
            .windows
            .iter()
            .filter(|window| window.turns || decides(window));
        unsure.extend(of_text.map(|window| window.place));
    }
    unsure
}

/// Whether errors of that size could make or unmake a greedy extraction, or carry a window over the edge of the budget.
fn turns(window: &WindowEvidence, margins: &[f32], policy: &Policy) -> bool {
    let edge = policy.tau.ln();
    let over_the_edge = |scheme: &Scheme| {
        let log_p_z = window.log_p_z(&scheme.id).unwrap_or(f64::NEG_INFINITY);
        // A token that just misses a top-k makes a window impossible that is likely enough without the cut.
        let possible = log_p_z.max(window.sum_logprob);
        scheme.temperature > 0.0
            && possible >= edge - WINDOW_ERROR
            && log_p_z <= edge + WINDOW_ERROR
    };
    margins
        .iter()
        .all(|margin| f64::from(*margin) > -TOKEN_ERROR)
        || policy.schemes.iter().any(over_the_edge)
}

/// By how much the scores of one token and of one window may be off, in nats, in products of this arithmetic; in f32 `exact`.
pub fn errors(arithmetic: &str, exact: (f64, f64)) -> (f64, f64) {
    if arithmetic == "f32" {
        exact
    } else {
        (TOKEN_ERROR, WINDOW_ERROR)
    }
}

/// Whether a window is a hit: within the policy's sample budget under one of its schemes, or greedily exact. What misses either
/// by no more than rounding may decide, in this backend's products, is one as well.
pub fn hit(scored: &ScoredWindow, info: &BackendInfo, policy: &Policy) -> bool {
    let (Ok(evidence), Ok(scores)) = (measure(scored, &info.schemes), &scored.scores) else {
        return false;
    };
    let wanted = &policy.follow_up;
    let (of_token, of_window) = errors(&info.arithmetic, (wanted.margin, wanted.epsilon));
    let exact = scores
        .margin
        .iter()
        .all(|margin| f64::from(*margin) >= -of_token);
    exact
        || evidence
            .best_log_p_z(&policy.schemes)
            .is_some_and(|log_p_z| log_p_z >= policy.tau.ln() - of_window)
}

/// What is asked of the windows of one item (all its forms), the likeliest first; windows of which nothing is asked are
/// left out. `has_reference` = there is a reference checkpoint.
///
/// The likeliest few of an item that is no control are continued (in full where they are greedily exact, which confirms
/// it), bounded, compared with foreign prefixes and with the reference. Near misses of every item are continued, since
/// what controls come near to says what predictability comes near to; those of items that are no controls are bounded, too.
pub fn requests<'a>(
    kind: Kind,
    windows: &'a mut [WindowEvidence],
    policy: &Policy,
    has_reference: bool,
) -> Vec<(&'a WindowEvidence, FollowUpRequest)> {
    let wanted = &policy.follow_up;
    likeliest_first(windows, &policy.schemes);
    let top = if kind == Kind::Control {
        0
    } else {
        wanted.windows as usize
    };
    let ask = |(place, window): (usize, &'a WindowEvidence)| {
        let is_top = place < top;
        let near_miss = window.em >= wanted.near_miss;
        let in_full = wanted.everything || (is_top && window.greedy_exact);
        let asked = FollowUpRequest {
            drafted: (in_full || is_top || near_miss)
                .then(|| if in_full { 0 } else { draft(window) }),
            near_probability: (is_top && window.em >= HOPEFUL
                || near_miss && kind != Kind::Control)
                && wanted.beam > 0,
            foreign_prefix: is_top && wanted.foreign_prefixes > 0,
            reference: is_top && has_reference,
        };
        (asked != FollowUpRequest::default()).then_some((window, asked))
    };
    windows.iter().enumerate().filter_map(ask).collect()
}

/// Tokens up to the first miss, as [`DRAFT_STEP`] cuts them.
fn draft(window: &WindowEvidence) -> u32 {
    window.verbatim_run - window.verbatim_run % DRAFT_STEP
}

/// The way of sampling whose near-verbatim probability is bounded: the policy's first that isn't greedy, or else top-k 40.
pub fn sampled_scheme(policy: &Policy) -> Scheme {
    let sampling = policy
        .schemes
        .iter()
        .find(|scheme| scheme.temperature > 0.0);
    sampling.cloned().unwrap_or_else(|| Scheme::top_k(40))
}

/// Edits that a near-verbatim suffix of so many tokens may have.
pub fn distance(policy: &Policy, suffix_len: usize) -> u32 {
    (policy.follow_up.edits * suffix_len as f64) as u32
}

/// Up to `count` foreign prefixes: from each control (its prefixes in order) the first before any the second, and so on;
/// where a round has more than are wanted, spread evenly over the controls.
pub fn foreign_prefixes<'a>(controls: &[Vec<&'a [u32]>], count: usize) -> Vec<&'a [u32]> {
    let mut chosen = Vec::with_capacity(count);
    for round in 0.. {
        let offered: Vec<&[u32]> = controls
            .iter()
            .filter_map(|prefixes| prefixes.get(round).copied())
            .collect();
        let wanted = count - chosen.len();
        if offered.is_empty() || wanted == 0 {
            break;
        }
        let taken = wanted.min(offered.len());
        chosen.extend((0..taken).map(|i| offered[i * offered.len() / taken]));
    }
    chosen
}

/// Everything besides model, windows and scores that follow-ups depend on: what was found under other settings than these
/// is measured anew.
pub fn settings(policy: &Policy) -> Value {
    let wanted = &policy.follow_up;
    let schemes: Vec<&str> = policy
        .schemes
        .iter()
        .map(|scheme| scheme.id.as_str())
        .collect();
    json!({
        "tau": policy.tau,
        "schemes": schemes,
        "windows": wanted.windows,
        "near_miss": wanted.near_miss,
        "everything": wanted.everything,
        "beam": wanted.beam,
        "edits": wanted.edits,
        "foreign_prefixes": wanted.foreign_prefixes,
        "margin": wanted.margin,
        "epsilon": wanted.epsilon,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::window::{measure, tests::scored};

    const MISS: f32 = -9.0;

    /// A window of 20 tokens with misses at these positions; every token has the log-probability `lp`.
    fn window(n: u64, lp: f32, misses: &[usize]) -> WindowEvidence {
        let rank: Vec<u32> = (0..20).map(|i| u32::from(misses.contains(&i))).collect();
        let lps: Vec<f32> = rank
            .iter()
            .map(|r| if *r == 0 { lp } else { MISS })
            .collect();
        let greedy: Vec<f32> = rank
            .iter()
            .map(|r| if *r == 0 { 0.0 } else { f32::NEG_INFINITY })
            .collect();
        let mut window = scored("a", n, &rank, &lps, &lps);
        if let Ok(scores) = &mut window.scores {
            scores.scheme_logprob.push(greedy);
        }
        measure(&window, &Scheme::with_defaults(&[Scheme::greedy()])).unwrap()
    }

    fn policy(change: fn(&mut Policy)) -> Policy {
        let mut policy = Policy::default();
        change(&mut policy);
        policy
    }

    #[test]
    fn a_near_tie_is_a_small_margin_or_a_probability_at_the_edge_of_the_budget() {
        let at = |log_p_z: f64, margin: f64| {
            let mut window = window(0, -0.1, &[]);
            window.min_margin = margin;
            window.schemes[1].log_p_z = log_p_z;
            window
        };
        let edge = Policy::default().tau.ln();
        for (log_p_z, margin, near) in [
            (-20.0, 0.5, false),
            (-20.0, 0.001, false),
            (-20.0, 0.0009, true),
            (edge + 0.0099, 0.5, true),
            (edge - 0.0099, 0.5, true),
            (edge + 0.011, 0.5, false),
            (f64::NEG_INFINITY, 0.5, false),
        ] {
            assert_eq!(
                near_tie(&at(log_p_z, margin), &Policy::default()),
                near,
                "{log_p_z} {margin}"
            );
        }
        let only_greedy = policy(|p| p.schemes = vec![Scheme::greedy()]);
        assert!(!near_tie(&at(edge, 0.5), &only_greedy));
        let never = policy(|p| (p.follow_up.margin, p.follow_up.epsilon) = (0.0, 0.0));
        assert!(!near_tie(&at(edge - 1e-9, 0.0), &never));
    }

    #[test]
    fn what_bf16_could_turn_is_unsure() {
        let margins = |near: f32| {
            let mut margins = vec![2.0f32; 20];
            margins[7] = near;
            margins
        };
        let far = window(0, -9.0, &[7]);
        let mut edge = window(0, -0.35, &[]);
        assert!(
            !turns(&far, &margins(-0.8), &Policy::default()),
            "a clear miss, far from the budget"
        );
        assert!(
            turns(&far, &margins(-0.6), &Policy::default()),
            "the miss may be none"
        );
        assert!(
            turns(&edge, &margins(-3.0), &Policy::default()),
            "ln p_z = -7, next to ln .001"
        );
        // A rank just outside the top 40: impossible as scored, but perhaps not.
        edge.schemes[1].log_p_z = f64::NEG_INFINITY;
        assert!(turns(&edge, &margins(-3.0), &Policy::default()));
        edge.sum_logprob = -30.0;
        assert!(!turns(&edge, &margins(-3.0), &Policy::default()));
    }

    #[test]
    fn the_windows_on_which_statistics_hang_are_unsure_unless_they_are_out_of_the_running() {
        let of = |place: usize, sum_logprob: f64| Rounded {
            place,
            sum_logprob,
            turns: false,
        };
        let text = |kind, windows: &[Rounded]| InBf16 {
            kind,
            windows: windows.to_vec(),
        };
        let controls = [-28.0, -47.0, -66.0, -85.0, -104.0];
        let mut texts: Vec<InBf16> = controls
            .into_iter()
            .enumerate()
            .map(|(n, sum)| text(Kind::Control, &[of(n, sum)]))
            .collect();
        texts.push(text(
            Kind::OptOut,
            &[of(5, -56.5), of(6, -94.5), of(7, -57.5)],
        ));
        texts.push(text(
            Kind::OptOut,
            &[
                of(8, -94.5),
                Rounded {
                    turns: true,
                    ..of(9, -120.0)
                },
            ],
        ));
        // The median of the controls is -66.
        assert_eq!(
            unsure_in_bf16(&texts, false, &Policy::default()),
            [0, 1, 2, 5, 7, 9]
        );
        assert_eq!(
            unsure_in_bf16(&texts, true, &Policy::default()),
            [0, 1, 2, 3, 4, 5, 7, 8, 9]
        );
    }

    #[test]
    fn the_likeliest_windows_of_an_item_and_all_near_misses_are_followed_up() {
        // By likelihood: 3 (exact), 0 (exact), 2 (one miss at 17), 1 (misses from 5 on).
        let four = || {
            vec![
                window(0, -0.02, &[]),
                window(1, -0.3, &[5, 9, 14]),
                window(2, -0.02, &[17]),
                window(3, -0.01, &[]),
            ]
        };
        let full = FollowUpRequest {
            drafted: Some(0),
            near_probability: true,
            foreign_prefix: true,
            reference: false,
        };
        let near = FollowUpRequest {
            drafted: Some(16),
            near_probability: true,
            ..FollowUpRequest::default()
        };
        let exact_but_not_top = near;
        let of_control = FollowUpRequest {
            near_probability: false,
            ..near
        };
        type Case = (Kind, fn(&mut Policy), bool, Vec<(u64, FollowUpRequest)>);
        let cases: Vec<Case> = vec![
            (
                Kind::OptOut,
                |p| p.follow_up.windows = 2,
                false,
                vec![(3, full), (0, full), (2, near)],
            ),
            (
                Kind::Canary,
                |p| p.follow_up.windows = 2,
                true,
                vec![
                    (
                        3,
                        FollowUpRequest {
                            reference: true,
                            ..full
                        },
                    ),
                    (
                        0,
                        FollowUpRequest {
                            reference: true,
                            ..full
                        },
                    ),
                    (2, near),
                ],
            ),
            (
                Kind::OptOut,
                |_| (),
                false,
                vec![(3, full), (0, exact_but_not_top), (2, near)],
            ),
            (
                Kind::Control,
                |_| (),
                true,
                vec![(3, of_control), (0, of_control), (2, of_control)],
            ),
            (
                Kind::OptOut,
                |p| (p.follow_up.windows, p.follow_up.near_miss) = (0, 1.0),
                true,
                vec![(3, near), (0, near)],
            ),
            (
                Kind::OptOut,
                |p| {
                    (
                        p.follow_up.beam,
                        p.follow_up.foreign_prefixes,
                        p.follow_up.windows,
                    ) = (0, 0, 4)
                },
                false,
                [(3, 0), (0, 0), (2, 16), (1, 0)]
                    .map(|(n, drafted)| {
                        (
                            n,
                            FollowUpRequest {
                                drafted: Some(drafted),
                                ..FollowUpRequest::default()
                            },
                        )
                    })
                    .to_vec(),
            ),
            (
                Kind::Control,
                |p| p.follow_up.everything = true,
                false,
                [3, 0, 2, 1]
                    .map(|n| {
                        (
                            n,
                            FollowUpRequest {
                                drafted: Some(0),
                                ..FollowUpRequest::default()
                            },
                        )
                    })
                    .to_vec(),
            ),
        ];
        for (case, (kind, change, reference, expected)) in cases.into_iter().enumerate() {
            let mut windows = four();
            let found: Vec<(u64, FollowUpRequest)> =
                requests(kind, &mut windows, &policy(change), reference)
                    .into_iter()
                    .map(|(window, asked)| (window.placement.suffix_char / 10, asked))
                    .collect();
            assert_eq!(found, expected, "case {case}");
        }
    }

    #[test]
    fn foreign_prefixes_are_spread_over_controls_one_a_text_first() {
        let ids: Vec<[u32; 1]> = (0..30).map(|i| [i]).collect();
        // Control c has the prefixes 10 c, 10 c + 1, ...
        let control = |c: usize, n: usize| (0..n).map(|i| &ids[10 * c + i][..]).collect::<Vec<_>>();
        let controls = [control(0, 2), control(1, 1), control(2, 3)];
        for (count, expected) in [
            (0, vec![]),
            (1, vec![0]),
            (2, vec![0, 10]),
            (3, vec![0, 10, 20]),
            (4, vec![0, 10, 20, 1]),
            (9, vec![0, 10, 20, 1, 21, 22]),
        ] {
            let chosen: Vec<u32> = foreign_prefixes(&controls, count)
                .iter()
                .map(|prefix| prefix[0])
                .collect();
            assert_eq!(chosen, expected);
        }
        let many: Vec<Vec<&[u32]>> = ids.iter().map(|id| vec![&id[..]]).collect();
        let chosen: Vec<u32> = foreign_prefixes(&many, 4)
            .iter()
            .map(|prefix| prefix[0])
            .collect();
        assert_eq!(chosen, [0, 7, 15, 22]);
        assert!(foreign_prefixes(&[], 4).is_empty());
    }

    #[test]
    fn the_bound_is_for_the_first_way_of_sampling_and_a_tenth_of_the_tokens() {
        assert_eq!(sampled_scheme(&Policy::default()), Scheme::top_k(40));
        assert_eq!(
            sampled_scheme(&policy(|p| p.schemes = vec![Scheme::greedy()])),
            Scheme::top_k(40)
        );
        assert_eq!(
            sampled_scheme(&policy(|p| p.schemes = vec![Scheme::full()])),
            Scheme::full()
        );
        assert_eq!(
            [9, 10, 50, 55].map(|len| distance(&Policy::default(), len)),
            [0, 1, 5, 5]
        );
    }
}
