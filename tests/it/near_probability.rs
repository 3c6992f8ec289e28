//! The bound on near-verbatim probability against samples of the built-in model, whose texts were planted a known
//! number of times: never above what sampling finds, never below `p_z`.
//!
//! A few windows as a rule; `BYROTE_NEAR_SAMPLES=100000` takes all of the golden file and so many samples of each.

use crate::support::golden::{Golden, read};
use byrote_candle::model::{builtin, load};
use byrote_candle::native::{Native, NativeConfig};
use byrote_core::backend::logits::support;
use byrote_core::backend::{Backend, Branch, Scheme};
use byrote_core::follow::beam::near_probability;
use byrote_core::metric::near::edit::Row;
use byrote_core::random::SplitMix64;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// A tenth of 50 tokens: what counts as near-verbatim.
const DISTANCE: u32 = 5;
const WIDTH: u32 = 32;

/// From recited to never seen.
const WINDOWS: [&str; 6] = [
    "canary-r64-06@0",
    "canary-r16-01@0",
    "canary-r08-06@0",
    "near-01-original@0",
    "canary-r04-01@0",
    "control-121@0",
];
const SAMPLES: u64 = 10_000;

/// How many of `samples` samples end within the distance. Samples with the same beginning share one row; one whose
/// outcome is settled, since it can't end within the distance or can't miss it any more, isn't drawn to its end.
fn hits(
    backend: &Native,
    window: &Golden,
    scheme: &Scheme,
    samples: u64,
    random: &mut SplitMix64,
) -> u64 {
    let (prefix, suffix) = window.token_ids.split_at(window.prefix_len);
    let mut live = vec![(Row::start(suffix.len()), samples)];
    let (mut step, mut hits) = (0, 0);
    backend
        .decode(&[prefix], &mut |rows| {
            step += 1;
            let (mut branches, mut next) = (Vec::new(), Vec::new());
            for (parent, (row, (edits, count))) in rows.iter().zip(&live).enumerate() {
                let tokens = support(row, scheme);
                let mut sum = 0.0;
                let cumulative: Vec<f64> = tokens
                    .iter()
                    .map(|(_, lp)| {
                        sum += f64::from(*lp).exp();
                        sum
                    })
                    .collect();
                let mut drawn: BTreeMap<usize, u64> = BTreeMap::new();
                for _ in 0..*count {
                    let at = random.uniform() * sum;
                    *drawn
                        .entry(
                            cumulative
                                .partition_point(|c| *c <= at)
                                .min(tokens.len() - 1),
                        )
                        .or_default() += 1;
                }
                for (place, count) in drawn {
                    let edits = edits.push(tokens[place].0, suffix);
                    let left = suffix.len() - step;
                    if edits.most_after(left) <= DISTANCE {
                        hits += count;
                    } else if edits.least_after(left) <= DISTANCE {
                        branches.push(Branch {
                            parent,
                            token: tokens[place].0,
                        });
                        next.push((edits, count));
                    }
                }
            }
            live = next;
            branches
        })
        .unwrap();
    hits
}

/// The Clopper-Pearson interval for `hits` of `samples` that leaves out `miss` on either side.
fn interval(hits: u64, samples: u64, miss: f64) -> (f64, f64) {
    // P(X <= k) for X binomial, terms from the largest index down.
    let ln_choose = |k: u64| {
        (1..=k)
            .map(|i| ((samples - k + i) as f64 / i as f64).ln())
            .sum::<f64>()
    };
    let at_most = |k: u64, ln_choose: f64, p: f64| {
        let (mut term, mut sum) = (
            ln_choose + k as f64 * p.ln() + (samples - k) as f64 * (-p).ln_1p(),
            0.0,
        );
        for i in (0..=k).rev() {
            sum += f64::exp(term);
            term += (i.max(1) as f64 / (samples - i + 1) as f64).ln() + (-p).ln_1p() - p.ln();
        }
        sum
    };
    let bisect = |above: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if above(middle) {
                low = middle
            } else {
                high = middle
            }
        }
        f64::midpoint(low, high)
    };
    let of_hits = ln_choose(hits);
    let upper = if hits == samples {
        1.0
    } else {
        bisect(&|p| at_most(hits, of_hits, p) > miss)
    };
    let below = if hits == 0 { 0.0 } else { ln_choose(hits - 1) };
    let lower = if hits == 0 {
        0.0
    } else {
        bisect(&|p| 1.0 - at_most(hits - 1, below, p) < miss)
    };
    (lower, upper)
}

#[test]
fn the_interval_is_that_of_clopper_and_pearson() {
    // 1 - .025^(1/10); and the textbook's 3 of 10.
    let (lower, upper) = interval(0, 10, 0.025);
    assert!(lower == 0.0 && (upper - (1.0 - 0.025f64.powf(0.1))).abs() < 1e-9);
    let (lower, upper) = interval(3, 10, 0.025);
    assert!(
        (lower - 0.066_739_5).abs() < 1e-6 && (upper - 0.652_452_9).abs() < 1e-6,
        "{lower} {upper}"
    );
    let (lower, upper) = interval(10, 10, 0.025);
    assert!((lower - 0.025f64.powf(0.1)).abs() < 1e-9 && upper == 1.0);
}

#[test]
fn the_bound_lies_between_p_z_and_what_sampling_finds() {
    let asked = std::env::var("BYROTE_NEAR_SAMPLES")
        .ok()
        .map(|samples| samples.parse::<u64>().unwrap());
    let samples = asked.unwrap_or(SAMPLES);
    let loaded = load::safetensors(&builtin::checkpoint(), &load::LoadConfig::default()).unwrap();
    let config = NativeConfig {
        threads: 1,
        batch: 16,
        arithmetic: byrote_candle::model::Arithmetic::F32,
    };
    let scheme = Scheme::top_k(40);
    let backend = Native::new(loaded.model, "f32", vec![scheme.clone()], config).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/builtin/golden.jsonl");
    let windows: Vec<Golden> = read(&path)
        .into_iter()
        .filter(|w| asked.is_some() || WINDOWS.contains(&w.id.as_str()))
        .collect();
    assert!(windows.len() >= WINDOWS.len());
    let mut wider = 0;
    for window in &windows {
        let began = Instant::now();
        let scores = backend.score(&[window.input()]).remove(0).unwrap();
        let log_p_z: f64 = scores.scheme_logprob[0]
            .iter()
            .map(|lp| f64::from(*lp))
            .sum();
        let bound = near_probability(
            &backend,
            &window.token_ids,
            window.prefix_len,
            &scheme,
            DISTANCE,
            WIDTH,
        )
        .unwrap();
        let searched = began.elapsed().as_secs_f64();
        // Samples share more rows the more of them go together, but each row holds its keys and values: 100 kB.
        let chunk = if log_p_z > -2.0 { 40_000 } else { 5_000 };
        let mut random = SplitMix64::new(17);
        let (mut found, mut drawn) = (0, 0);
        while drawn < samples {
            let some = chunk.min(samples - drawn);
            found += hits(&backend, window, &scheme, some, &mut random);
            drawn += some;
        }
        let estimate = found as f64 / samples as f64;
        let (lower, upper) = interval(found, samples, 0.0005);
        println!(
            "{:30} ln p_z {log_p_z:9.3}  p_z {:.3e}  bound {:.3e} of {:4}  estimate {estimate:.5} [{lower:.5}, {upper:.5}]  \
             bound/p_z {:.3e}  bound/estimate {:.3}  beam {searched:.2} s, samples {:.1} s",
            window.id,
            log_p_z.exp(),
            bound.log_p.exp(),
            bound.sequences,
            (bound.log_p - log_p_z).exp(),
            bound.log_p.exp() / estimate,
            began.elapsed().as_secs_f64() - searched,
        );
        assert!(
            bound.log_p.exp() <= upper,
            "{}: {bound:?} is above {upper}",
            window.id
        );
        assert!(
            bound.log_p >= log_p_z - 1e-3,
            "{}: {bound:?} is below {log_p_z}",
            window.id
        );
        wider += usize::from(bound.log_p > log_p_z + 0.1);
    }
    assert!(
        wider * 2 >= windows.len(),
        "the bound hardly ever says more than p_z"
    );
}
