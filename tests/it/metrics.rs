//! Every metric and statistic against other people's implementations, on the random cases that
//! `fixtures/metrics/make_metrics.py` made and stored. Each test prints its worst difference.
//!
//! False discoveries and conformal p-values are compared in `src/verdict/agreement.rs`, where they can be seen.

use crate::support::ks;
use byrote_core::backend::TokenScores;
use byrote_core::metric::exposure::{Exposure, exposure, rank_exposure};
use byrote_core::metric::interval::{bootstrap_mean, clopper_pearson};
use byrote_core::metric::text::{text_stats, zlib_bits_per_char};
use byrote_core::metric::{greedy, membership, near, samples, tail};
use serde::de::DeserializeOwned;
use std::path::Path;

const CASES: usize = 1000;

/// The cases of a fixture: inputs, then outputs.
fn cases<T: DeserializeOwned>(name: &str, count: usize) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/fixtures/metrics/{name}.jsonl.zst"));
    let packed = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let text = String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap();
    let cases: Vec<T> = text
        .lines()
        .zip(1..)
        .map(|(line, n)| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}, line {n}: {e}"))
        })
        .collect();
    assert_eq!(cases.len(), count, "{name}");
    cases
}

/// The greatest difference seen.
struct Worst {
    what: &'static str,
    bound: f64,
    seen: f64,
    count: usize,
}

impl Worst {
    fn of(what: &'static str, bound: f64) -> Self {
        Self {
            what,
            bound,
            seen: 0.0,
            count: 0,
        }
    }

    fn absolute(&mut self, ours: f64, theirs: f64) {
        self.note((ours - theirs).abs(), ours, theirs);
    }

    /// Relative to theirs where that is above 1.
    fn relative(&mut self, ours: f64, theirs: f64) {
        self.note((ours - theirs).abs() / theirs.abs().max(1.0), ours, theirs);
    }

    fn note(&mut self, difference: f64, ours: f64, theirs: f64) {
        self.count += 1;
        // Written so that a NaN fails.
        assert!(
            difference <= self.bound,
            "{}, comparison {}: {ours}, not {theirs}",
            self.what,
            self.count
        );
        self.seen = self.seen.max(difference);
    }
}

impl Drop for Worst {
    fn drop(&mut self) {
        println!(
            "{}: {} comparisons, worst difference {:.1e} (bound {:.0e})",
            self.what, self.count, self.seen, self.bound
        );
    }
}

#[test]
fn edit_distance_is_that_of_rapidfuzz() {
    let (mut similarity, mut positions) = (
        Worst::of("edit similarity", 1e-15),
        Worst::of("equal positions", 0.0),
    );
    for (truth, own, distance, similar, equal) in
        cases::<(Vec<u32>, Vec<u32>, u32, f64, f64)>("near_tokens", CASES)
    {
        let found = near::compare(&truth, &own, "", "");
        assert_eq!(found.edit_distance, distance, "{truth:?} {own:?}");
        assert_eq!(
            found.near_verbatim,
            10 * u64::from(distance) <= truth.len().max(own.len()) as u64
        );
        similarity.absolute(found.edit_similarity, similar);
        positions.absolute(near::equal_positions(&truth, &own), equal);
        let row = own
            .iter()
            .fold(near::edit::Row::start(truth.len()), |row, &token| {
                row.push(token, &truth)
            });
        assert_eq!(row.last(), distance);
    }
}

#[test]
fn bleu_rouge_and_substrings_are_those_of_sacrebleu_rouge_score_and_difflib() {
    let (mut bleu, mut rouge) = (Worst::of("BLEU", 1e-12), Worst::of("ROUGE-L", 1e-12));
    let mut partly = 0;
    for (truth, own, b, r, chars, words) in
        cases::<(String, String, f64, f64, u32, u32)>("near_texts", CASES)
    {
        let found = near::compare(&[], &[], &truth, &own);
        bleu.absolute(found.bleu, b);
        rouge.absolute(found.rouge_l, r);
        assert_eq!(
            (found.lcs_chars, found.lcs_words),
            (chars, words),
            "{truth:?} {own:?}"
        );
        partly += usize::from(b > 0.0 && b < 1.0 && r < 1.0);
    }
    assert!(
        partly > CASES / 3,
        "only {partly} cases are neither all nor nothing"
    );
}

#[test]
fn membership_scores_are_those_of_numpy_and_zlib() {
    type Case = (Vec<f32>, Vec<f32>, Vec<f32>, String, f64, f64, f64, f64);
    let mut loss = Worst::of("loss", 1e-12);
    let mut zlib = Worst::of("zlib ratio", 1e-12);
    let mut min_k = Worst::of("Min-K%", 1e-12);
    let mut min_k_plus_plus = Worst::of("Min-K%++", 1e-12);
    for (logprob, expected_logprob, logprob_sd, text, l, ratio, k, kpp) in
        cases::<Case>("membership", CASES)
    {
        let scores = TokenScores {
            logprob,
            expected_logprob,
            logprob_sd,
            ..TokenScores::default()
        };
        let found = membership::of(&scores, &text_stats(&text, &[], 0));
        loss.relative(found.loss, l);
        zlib.relative(found.zlib_ratio, ratio);
        min_k.relative(found.min_k, k);
        min_k_plus_plus.relative(found.min_k_plus_plus, kpp);
    }
}

#[test]
fn compressed_sizes_are_those_of_python() {
    let mut worst = Worst::of("zlib bits a character", 1e-12);
    for (text, bits) in cases::<(String, f64)>("zlib_bits", CASES) {
        worst.absolute(zlib_bits_per_char(&text), bits);
    }
}

#[test]
fn what_follows_from_ranks_is_what_numpy_counts() {
    let mut match_share = Worst::of("exact match", 1e-15);
    let mut strength = Worst::of("extraction strength", 1e-15);
    for (ranks, exact, run, em, es) in cases::<(Vec<u32>, bool, u32, f64, f64)>("ranks", CASES) {
        assert_eq!(
            (greedy::greedy_exact(&ranks), greedy::verbatim_run(&ranks)),
            (exact, run),
            "{ranks:?}"
        );
        match_share.absolute(greedy::exact_match(&ranks).unwrap(), em);
        strength.absolute(greedy::extraction_strength(&ranks), es);
    }
}

#[test]
fn intervals_of_rates_are_those_of_scipy() {
    let mut worst = Worst::of("Clopper-Pearson", 1e-9);
    for (hits, of, confidence, lower, upper) in
        cases::<(u64, u64, f64, f64, f64)>("clopper_pearson", CASES)
    {
        let found = clopper_pearson(hits, of, confidence);
        worst.absolute(found.0, lower);
        worst.absolute(found.1, upper);
    }
}

#[test]
fn bootstrap_intervals_are_those_of_scipy_within_the_error_of_resampling() {
    type Case = (Vec<f64>, f64, [f64; 3], [f64; 2], [f64; 2]);
    let mut means = Worst::of("mean", 1e-12);
    // Printed only: what is allowed is each case's own range of five standard errors.
    let mut ends = Worst::of("bootstrap ends, in widths", 0.5);
    let mut within = Worst::of("bootstrap ends outside of five standard errors", 1e-12);
    for (i, (values, confidence, theirs, lower, upper)) in
        cases::<Case>("bootstrap", CASES).into_iter().enumerate()
    {
        let found = bootstrap_mean(&values, 10_000, confidence, i as u64);
        means.relative(found.0, theirs[0]);
        let width = if theirs[2] > theirs[1] {
            theirs[2] - theirs[1]
        } else {
            1.0
        };
        for (end, their, [low, high]) in [(found.1, theirs[1], lower), (found.2, theirs[2], upper)]
        {
            ends.note((end - their).abs() / width, end, their);
            within.note((low - end).max(end - high).max(0.0) / width, end, their);
        }
    }
}

#[test]
fn exposure_is_that_of_scipy() {
    let (mut worst, mut rank) = (
        Worst::of("exposure", 1e-9),
        Worst::of("rank exposure", 1e-12),
    );
    for (at_least, controls, b, low, high, by_rank) in
        cases::<(u64, u64, f64, f64, Option<f64>, f64)>("exposure", CASES)
    {
        let Exposure { bits, lower, upper } = exposure(at_least, controls);
        worst.absolute(bits, b);
        worst.absolute(lower, low);
        match high {
            Some(high) => worst.relative(upper, high),
            None => assert_eq!(upper, f64::INFINITY),
        }
        rank.absolute(rank_exposure(at_least.max(1), controls).unwrap(), by_rank);
    }
}

#[test]
fn tails_are_at_least_as_likely_as_those_of_scipy_and_say_the_same() {
    type Case = (
        Vec<f64>,
        Vec<f64>,
        Option<bool>,
        Option<f64>,
        Option<Vec<f64>>,
    );
    let mut likelihood = Worst::of("log-likelihood of the tail, below scipy's", 1e-6);
    let mut p_values = Worst::of("p-value of the tail, relative", 0.01);
    let mut counts = [0; 3];
    for (values, places, positive, theirs, ps) in cases::<Case>("tail", CASES) {
        let found = tail::fit(&values);
        let (Some(positive), Some(theirs), Some(ps)) = (positive, theirs, ps) else {
            assert_eq!(found, None);
            counts[0] += 1;
            continue;
        };
        let found = found.unwrap();
        counts[if positive { 1 } else { 2 }] += 1;
        let excesses = values
            .iter()
            .filter(|&&value| value > found.threshold)
            .map(|value| value - found.threshold);
        let log_density = |y: f64| match found.shape {
            0.0 => -y / found.scale - found.scale.ln(),
            shape => -(1.0 + 1.0 / shape) * (shape * y / found.scale).ln_1p() - found.scale.ln(),
        };
        let ours: f64 = excesses.map(log_density).sum();
        likelihood.note((theirs - ours).max(0.0), ours, theirs);
        assert_eq!(found.shape > 0.0, positive, "{found:?}");
        for (x, p) in places.into_iter().zip(ps) {
            let own = found.p_value(x).unwrap();
            p_values.note((own / p - 1.0).abs(), own, p);
        }
    }
    println!(
        "tails: {} absent, {} with a positive shape, {} exponential",
        counts[0], counts[1], counts[2]
    );
    assert!(counts.iter().all(|&count| count > CASES / 20), "{counts:?}");
}

#[test]
fn sample_counts_are_those_of_exact_arithmetic() {
    let (mut whole, mut logs) = (
        Worst::of("n(p), relative", 1e-9),
        Worst::of("ln n(p)", 1e-9),
    );
    for (log_p_z, p, n, ln_n) in cases::<(f64, f64, Option<f64>, f64)>("samples", CASES) {
        let found = samples::samples(log_p_z, p);
        match n {
            Some(n) if n < 1e6 => assert_eq!(found, n, "ln p_z = {log_p_z}, p = {p}"),
            Some(n) => whole.note((found / n - 1.0).abs(), found, n),
            None => assert_eq!(found, f64::INFINITY),
        }
        logs.relative(samples::ln_samples(log_p_z, p), ln_n);
    }
}

#[test]
fn the_test_of_uniformity_is_that_of_scipy() {
    let mut statistics = Worst::of("Kolmogorov-Smirnov statistic", 1e-12);
    let mut p_values = Worst::of("its p-value", 1e-3);
    let mut small = Worst::of("its p-value from .001 to .05, relative", 0.03);
    let mut tiny = Worst::of("its p-value from 1e-6 to .001, relative", 0.1);
    for (values, statistic, p) in cases::<(Vec<f64>, f64, f64)>("kolmogorov_smirnov", 100) {
        let found = ks::ks_uniform(&values);
        statistics.absolute(found.0, statistic);
        p_values.absolute(found.1, p);
        match p {
            0.001..0.05 => small.note((found.1 / p - 1.0).abs(), found.1, p),
            1e-6..0.001 => tiny.note((found.1 / p - 1.0).abs(), found.1, p),
            _ => {}
        }
    }
    assert_eq!(ks::ks_uniform(&[]), (0.0, 1.0));
    assert!(
        small.count > 10 && tiny.count > 5,
        "{} {}",
        small.count,
        tiny.count
    );
}
