//! Whether verdicts hold what they promise, on the built-in model, whose truth is known: false discoveries, p-values,
//! recall, boilerplate, near-duplicates. The model is run once; everything else is judged in memory.

use crate::support::finished::built_in;
use crate::support::program::{repository, run};
use byrote_candle::model::builtin::PROBE_SET;
use byrote_core::items::{ItemId, Kind, ProbeSet, Source, read_sources};
use byrote_core::metric::item::ItemEvidence;
use byrote_core::policy::{Level, Statistic};
use byrote_core::policy::{Policy, READY, Tail};
use byrote_core::random::SplitMix64;
use byrote_core::report::{Report, json_v1};
use byrote_core::verdict::{JudgedItem, Judgement, Verdict, judge, within_budget};
use std::collections::BTreeMap;
use std::sync::OnceLock;

const RESAMPLINGS: u64 = 200;

/// The report of `byrote probe`.
fn report() -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| {
        let finished = built_in();
        let need = "opted-out texts at q = 0.05 need 1379 control texts for a single finding to stand; there are 240: it takes";
        let stderr = &finished.printed.stderr;
        assert!(stderr.contains(need), "said before the model is loaded: {stderr}");
        json_v1::parse(&std::fs::read(finished.path().join("report.json")).unwrap()).unwrap()
    })
}

fn set() -> ProbeSet {
    read_sources(&PROBE_SET.map(|(name, bytes)| Source::Embedded { name, bytes })).unwrap()
}

/// Evidence of every text by id, with its tags and what it stands for.
struct Text {
    id: ItemId,
    kind: Kind,
    tags: Vec<String>,
    matches: Vec<String>,
    evidence: ItemEvidence,
}

fn texts() -> Vec<Text> {
    let report = report();
    let items = set().items;
    assert_eq!(items.len(), report.items.len());
    let text = |(item, found): (byrote_core::items::Item, &byrote_core::report::ReportItem)| {
        assert_eq!(item.id, found.id);
        Text {
            id: item.id,
            kind: item.kind,
            tags: item.tags,
            matches: item.matches,
            evidence: found.evidence.clone(),
        }
    };
    items.into_iter().zip(&report.items).map(text).collect()
}

fn judged<'a>(policy: &Policy, texts: impl IntoIterator<Item = (&'a Text, Kind)>) -> Judgement {
    let subject = |(text, kind): (&'a Text, Kind)| JudgedItem {
        id: &text.id,
        kind,
        tags: &text.tags,
        matches: &text.matches,
        evidence: &text.evidence,
    };
    judge(policy, &texts.into_iter().map(subject).collect::<Vec<_>>())
}

fn as_they_are(texts: &[Text]) -> impl Iterator<Item = (&Text, Kind)> {
    texts.iter().map(|text| (text, text.kind))
}

fn shuffled<'a, T>(random: &mut SplitMix64, list: &[&'a T]) -> Vec<&'a T> {
    let mut list = list.to_vec();
    for i in (1..list.len()).rev() {
        list.swap(i, (random.next_u64() % (i as u64 + 1)) as usize);
    }
    list
}

/// Texts that were never trained on, of the canaries' kind.
fn never_trained(texts: &[Text]) -> Vec<&Text> {
    let fresh: Vec<&Text> = texts
        .iter()
        .filter(|text| text.id.0.starts_with("control-"))
        .collect();
    assert_eq!(fresh.len(), 240);
    fresh
}

/// Canaries that stood in the training data at least four times.
fn trained(texts: &[Text]) -> Vec<&Text> {
    let often = |text: &&Text| {
        text.id.0.starts_with("canary-r") && text.id.0[8..10].parse::<u32>().unwrap() >= 4
    };
    texts.iter().filter(often).collect()
}

/// Over seeded resamplings: mean false discovery proportion, and share of true positives found, where `nulls` never-trained
/// texts and `positives` trained ones are judged as opt-outs against the rest of the never-trained texts.
fn false_discoveries(policy: &Policy, nulls: usize, positives: usize) -> (f64, f64) {
    let texts = texts();
    let (fresh, trained) = (never_trained(&texts), trained(&texts));
    let (mut proportion, mut recall) = (0.0, 0.0);
    for seed in 0..RESAMPLINGS {
        let mut random = SplitMix64::new(seed);
        let (fresh, trained) = (
            shuffled(&mut random, &fresh),
            shuffled(&mut random, &trained),
        );
        let items = fresh[..nulls]
            .iter()
            .chain(&trained[..positives])
            .map(|text| (*text, Kind::OptOut));
        let controls = fresh[nulls..].iter().map(|text| (*text, Kind::Control));
        let found: Vec<bool> = judged(policy, items.chain(controls)).verdicts[..nulls + positives]
            .iter()
            .map(|verdict| verdict.level.is_memorization())
            .collect();
        let count = |found: &[bool]| found.iter().filter(|found| **found).count() as f64;
        proportion += count(&found[..nulls]) / count(&found).max(1.0);
        recall += count(&found[nulls..]) / positives.max(1) as f64;
    }
    (proportion / RESAMPLINGS as f64, recall / RESAMPLINGS as f64)
}

#[test]
fn the_false_discovery_proportion_stays_below_q() {
    for statistic in [
        Statistic::MaxLogPZ,
        Statistic::MeanLogProb,
        Statistic::VerbatimRun,
    ] {
        let policy = Policy {
            statistic,
            ..Policy::default()
        };
        let (proportion, recall) = false_discoveries(&policy, 20, 10);
        println!(
            "{statistic:?}: mean FDP {proportion:.4} (q = {}), {recall:.3} of the trained texts found, {RESAMPLINGS} resamplings of \
             20 never-trained and 10 trained texts against 220 controls",
            policy.q
        );
        assert!(proportion <= policy.q, "{statistic:?}: {proportion}");
        assert!(
            recall > 0.95 || statistic == Statistic::VerbatimRun,
            "{statistic:?}: {recall}"
        );
    }
    let tail = Policy {
        tail: Tail::GeneralizedPareto,
        ..Policy::default()
    };
    let (proportion, recall) = false_discoveries(&tail, 20, 10);
    println!(
        "with a fitted tail: mean FDP {proportion:.4}, {recall:.3} of the trained texts found"
    );
    assert!(recall > 0.95, "{recall}");
    let (family_wise, _) = false_discoveries(&Policy::default(), 40, 0);
    println!(
        "40 never-trained texts alone: any is called memorized in {family_wise:.4} of the resamplings"
    );
}

/// The Kolmogorov-Smirnov p-value of values in 0 to 1 against the uniform law; `n` is the effective number of values
/// (Stephens 1970, JRSS B 32:115, for the correction to small n).
fn kolmogorov_smirnov(mut values: Vec<f64>, n: f64) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let distance = values
        .iter()
        .zip(0..)
        .map(|(value, i)| (value - f64::from(i) / count).max(f64::from(i + 1) / count - value))
        .fold(0.0, f64::max);
    let lambda = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
    let terms = (1..100).map(|j| {
        let (j, sign) = (f64::from(j), if j % 2 == 1 { 2.0 } else { -2.0 });
        sign * (-2.0 * j * j * lambda * lambda).exp()
    });
    (distance, terms.sum::<f64>().clamp(0.0, 1.0))
}

/// The p-value of a verdict, spread evenly down to the next smaller one that was possible: with it, under exchangeability,
/// the discrete law becomes the uniform one.
fn smoothed(verdict: &Verdict, random: &mut SplitMix64) -> f64 {
    let validity = verdict.validity.unwrap();
    assert_eq!(validity.window_factor, 1);
    validity.p_value - random.uniform() / (validity.controls + 1) as f64
}

#[test]
fn p_values_of_never_trained_texts_are_uniform() {
    let texts = texts();
    let fresh = never_trained(&texts);
    let policy = Policy::default();
    let mut random = SplitMix64::new(7);
    // One split in halves: 120 texts against the other 120, whose values they share, so that the law is that of two samples.
    let halves = shuffled(&mut random, &fresh);
    let kinds = |text: usize| {
        if text < 120 {
            Kind::Canary
        } else {
            Kind::Control
        }
    };
    let verdicts = judged(
        &policy,
        halves.iter().zip(0..).map(|(text, i)| (*text, kinds(i))),
    )
    .verdicts;
    let p: Vec<f64> = verdicts[..120]
        .iter()
        .map(|verdict| smoothed(verdict, &mut random))
        .collect();
    let (distance, halves_p) = kolmogorov_smirnov(p, 60.0);
    println!(
        "120 never-trained texts against 120 others: KS distance {distance:.3}, p = {halves_p:.3}"
    );
    // Blocks of ten, each one text against its nine: 24 independent p-values.
    let p: Vec<f64> = shuffled(&mut random, &fresh)
        .chunks(10)
        .map(|block| {
            let kinds = |i: usize| if i == 0 { Kind::Canary } else { Kind::Control };
            let judgement = judged(
                &policy,
                block.iter().zip(0..).map(|(text, i)| (*text, kinds(i))),
            );
            smoothed(&judgement.verdicts[0], &mut random)
        })
        .collect();
    let (distance, blocks_p) = kolmogorov_smirnov(p, 24.0);
    println!("24 independent texts against 9 each: KS distance {distance:.3}, p = {blocks_p:.3}");
    assert!(halves_p > 0.01 && blocks_p > 0.01);
    // The test can fail: trained texts are not uniform.
    let trained = trained(&texts).into_iter().map(|text| (text, Kind::Canary));
    let verdicts = judged(
        &policy,
        trained.chain(fresh.iter().map(|text| (*text, Kind::Control))),
    )
    .verdicts;
    let p: Vec<f64> = verdicts[..50]
        .iter()
        .map(|verdict| smoothed(verdict, &mut random))
        .collect();
    assert!(kolmogorov_smirnov(p, 50.0).1 < 1e-6);
}

#[test]
fn recall_grows_with_repetition_and_is_complete_from_four_copies_on() {
    let recall = &report().summary.recall;
    for entry in recall {
        println!(
            "{:>3} copies: {} of {} found (95% interval {:.2} to {:.2}), {} extractable",
            entry.repetitions.unwrap(),
            entry.found,
            entry.items,
            entry.lower,
            entry.upper,
            entry.extractable
        );
    }
    let copies: Vec<_> = recall
        .iter()
        .map(|entry| (entry.repetitions.unwrap(), entry.items))
        .collect();
    assert_eq!(copies, [1, 2, 4, 8, 16, 32, 64].map(|copies| (copies, 10)));
    assert!(
        recall.iter().map(|entry| entry.found).is_sorted()
            && recall.iter().map(|entry| entry.extractable).is_sorted()
    );
    assert!(
        recall
            .iter()
            .all(|entry| entry.inconclusive == 0 && entry.lower < entry.upper)
    );
    assert!(recall[2..].iter().all(|entry| entry.found == 10) && recall[0].found < 10);
}

fn levels<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for verdict in verdicts {
        *counts.entry(verdict.level.to_string()).or_default() += 1;
    }
    counts
}

#[test]
fn boilerplate_is_not_called_memorized_though_a_fixed_threshold_would() {
    let texts = texts();
    let policy = Policy::default();
    let planted = |id: &ItemId| id.0.starts_with("boilerplate-") && id.0.contains("-seen-");
    let threshold = texts
        .iter()
        .filter(|t| planted(&t.id) && within_budget(&policy, &t.evidence))
        .count();
    let with_controls = judged(&policy, as_they_are(&texts)).verdicts;
    assert_eq!(
        with_controls,
        report()
            .items
            .iter()
            .map(|item| item.verdict.clone())
            .collect::<Vec<_>>()
    );
    let counts = levels(
        with_controls
            .iter()
            .filter(|verdict| planted(&verdict.item)),
    );
    let ordinary = as_they_are(&texts).filter(|(text, _)| text.matches.is_empty());
    let without = levels(
        judged(&policy, ordinary)
            .verdicts
            .iter()
            .filter(|verdict| planted(&verdict.item)),
    );
    println!(
        "24 planted form letters: p_z >= tau in {threshold}; judged {counts:?}; against controls of another kind {without:?}"
    );
    assert_eq!(
        threshold, 24,
        "a fixed threshold calls all of them memorized"
    );
    assert_eq!(
        without.get("extractable"),
        Some(&24),
        "and so do controls of another kind"
    );
    assert!(
        !counts.contains_key("extractable") && !counts.contains_key("memorized"),
        "{counts:?}"
    );
    assert!(counts["predictable"] >= 18, "{counts:?}");
    let validity = |verdict: &Verdict| {
        verdict
            .validity
            .is_some_and(|v| v.matched && v.controls == 24)
    };
    assert!(
        with_controls
            .iter()
            .filter(|verdict| planted(&verdict.item))
            .all(validity)
    );
}

#[test]
fn texts_of_which_edited_copies_were_trained_are_found_and_their_twins_are_not() {
    let role = |verdict: &Verdict| {
        verdict
            .item
            .0
            .strip_prefix("near-")
            .map(|id| id[3..].to_owned())
    };
    let mut roles: BTreeMap<String, Vec<Level>> = BTreeMap::new();
    for verdict in report().items.iter().map(|item| &item.verdict) {
        if let Some(role) = role(verdict) {
            roles.entry(role).or_default().push(verdict.level);
        }
    }
    for (role, levels) in &roles {
        let count = |level| levels.iter().filter(|other| **other == level).count();
        let (extractable, memorized) = (count(Level::Extractable), count(Level::Memorized));
        println!(
            "{role}: {extractable} extractable, {memorized} memorized of {}",
            levels.len()
        );
        let related = !role.starts_with("twin");
        assert_eq!(
            extractable + memorized,
            if related { 9 } else { 0 },
            "{role}"
        );
        assert!(related || count(Level::Clear) == 9, "{role}: {levels:?}");
    }
    assert_eq!(
        roles.keys().collect::<Vec<_>>(),
        ["copy", "new-copy", "original", "twin", "twin-copy"]
    );
}

#[test]
fn with_too_few_controls_everything_is_inconclusive_and_the_number_needed_is_told() {
    let texts = texts();
    let mut controls = 0;
    let few = as_they_are(&texts).filter(|(text, kind)| {
        controls += u32::from(*kind == Kind::Control && text.matches.is_empty());
        *kind != Kind::Control || (text.matches.is_empty() && controls <= 18)
    });
    let judgement = judged(&Policy::default(), few);
    assert_eq!(
        (judgement.usable_controls, judgement.needed_controls),
        (18, 1399)
    );
    let items: Vec<_> = judgement
        .verdicts
        .iter()
        .filter(|verdict| !verdict.item.0.starts_with("control-"))
        .collect();
    assert_eq!(items.len(), 139);
    for verdict in items {
        assert_eq!(verdict.level, Level::Inconclusive);
        let reason = &verdict.reasons[0].message;
        assert!(
            reason.starts_with("too few controls: 18 comparable controls, needs "),
            "{reason}"
        );
    }
    assert!(
        judgement
            .power
            .iter()
            .all(|power| power.findings_needed.is_none())
    );
}

#[test]
fn a_positive_control_that_is_not_found_leaves_nothing_decided() {
    let texts = texts();
    let positive = |entry: &str| Policy {
        positive_controls: vec![ItemId(entry.to_owned())],
        ..Policy::default()
    };
    let sound = judged(&positive("tag:repetitions:64"), as_they_are(&texts));
    assert_eq!(sound.positive_controls, [true]);
    assert!(
        sound
            .verdicts
            .iter()
            .any(|verdict| verdict.level == Level::Memorized)
    );
    // Ten known texts fewer among the canaries.
    assert_eq!(
        sound
            .power
            .iter()
            .map(|power| power.items)
            .collect::<Vec<_>>(),
        [69, 60]
    );
    for broken in [
        "near-01-twin",
        "tag:repetitions:1",
        "tag:twin",
        "tag:no-such-tag",
    ] {
        let judgement = judged(&positive(broken), as_they_are(&texts));
        assert_eq!(judgement.positive_controls, [false], "{broken}");
        assert!(
            judgement
                .verdicts
                .iter()
                .all(|verdict| verdict.level == Level::Inconclusive),
            "{broken}"
        );
    }
}

#[test]
fn every_ready_policy_ends_in_a_clear_decision_on_the_built_in_model() {
    let dir = tempfile::tempdir().unwrap();
    let expected = [
        ("default", 1),
        ("strict", 1),
        ("quick", 1),
        ("research", 0),
        ("book-protocol", 1),
    ];
    assert!(
        READY
            .iter()
            .map(|(name, _)| *name)
            .eq(expected.map(|(name, _)| name))
    );
    for (name, code) in expected {
        let file = repository(&format!("prompts/policies/{name}.toml"));
        // Other schemes, other scores: a folder each.
        let ran = run(
            dir.path(),
            &["probe", "--out", name, "--gate", file.to_str().unwrap()],
        )
        .exits(code);
        println!("{name}: {}", ran.stderr.lines().last().unwrap());
    }
    // The last was the mean rank: all windows of a text against those of its controls.
    let mean_rank =
        json_v1::parse(&std::fs::read(dir.path().join("book-protocol/report.json")).unwrap())
            .unwrap();
    let most = mean_rank
        .items
        .iter()
        .filter(|item| item.id.0.starts_with("canary-r64-"));
    assert!(
        most.clone().count() == 10
            && most
                .clone()
                .all(|item| item.verdict.level == Level::Extractable)
    );
    let fresh = mean_rank
        .items
        .iter()
        .filter(|item| item.id.0.contains("-twin") && item.kind == Kind::OptOut);
    assert!(
        fresh.clone().count() == 18 && fresh.clone().all(|item| item.verdict.level == Level::Clear)
    );
    let validity = most
        .map(|item| item.verdict.validity.unwrap())
        .next()
        .unwrap();
    assert_eq!(validity.statistic, Statistic::MeanRank);
    assert!(validity.value > 0.9 && validity.value < 1.0, "{validity:?}");
}
