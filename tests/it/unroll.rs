//! Sequences that grow through the cache, and suffixes that share their prefixes' keys and values, against plain
//! scoring: every family, and the built-in model.

use crate::support::fixtures::{architecture, folders};
use crate::support::golden::{Golden, backend, load, read};
use crate::support::resource::resource;
use byrote_candle::model::weights::Precision;
use byrote_candle::model::{builtin, load as loading};
use byrote_candle::native::Native;
use byrote_core::backend::{Backend, Branch, ScoreError, ScoreInput, generate};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

/// Nats over a whole suffix, and the same for a logit: other paths to the same numbers differ in their last digits.
const BOUND: f64 = 1e-4;

/// A fixture of every architecture, all of the rotary scalings, and the built-in model: name, model, golden windows.
fn models() -> impl Iterator<Item = (String, Native, Vec<Golden>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut seen = BTreeSet::new();
    let families = folders().into_iter().filter_map(move |folder| {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let wanted = seen.insert(architecture(&folder)) || name.contains("_rope_");
        wanted.then_some((name, folder))
    });
    let families = families.map(|(name, folder)| {
        (
            name,
            backend(load(&folder, Some(Precision::F32)), 1, 16),
            read(&folder.join("golden.jsonl")),
        )
    });
    let own = std::iter::once_with(move || {
        let loaded =
            loading::safetensors(&builtin::checkpoint(), &loading::LoadConfig::default()).unwrap();
        (
            "builtin".to_owned(),
            backend(loaded, 1, 16),
            read(&root.join("builtin/golden.jsonl")),
        )
    });
    families.chain(own)
}

/// The logits that follow a sequence: fed whole, or its first `whole` tokens and then the others one by one.
fn logits(backend: &Native, ids: &[u32], whole: usize) -> Vec<f32> {
    let mut rest = ids[whole..].iter();
    let mut last = Vec::new();
    backend
        .decode(&[&ids[..whole]], &mut |rows| {
            last = rows[0].to_vec();
            rest.next()
                .map(|token| Branch {
                    parent: 0,
                    token: *token,
                })
                .into_iter()
                .collect()
        })
        .unwrap();
    last
}

fn differ(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, f64::max)
}

#[test]
fn greedy_continuations_of_a_batch_are_those_of_one_prompt_fed_anew_for_every_token() {
    for (name, backend, windows) in models() {
        // Longer than a sliding window, which is 32 where there is one.
        let prompts: Vec<&[u32]> = windows
            .iter()
            .filter(|w| w.prefix_len >= 40)
            .map(|w| &w.token_ids[..40])
            .collect();
        let prompts = &prompts[..prompts.len().min(4)];
        assert!(prompts.len() > 1, "{name}");
        let batch = generate::greedy(&backend, prompts, 12).unwrap();
        for (prompt, continuation) in prompts.iter().zip(batch) {
            let mut ids = prompt.to_vec();
            for token in continuation {
                let row = logits(&backend, &ids, ids.len());
                let (best, logprob) = byrote_core::backend::logits::top(&row).unwrap();
                // A tie may fall either way.
                let gap = row[best as usize] - row[token.id as usize];
                assert!(
                    gap < 1e-4,
                    "{name}: {} where {best} is {gap} likelier",
                    token.id
                );
                assert!((logprob - token.logprob).abs() < 1e-4 + gap, "{name}");
                ids.push(token.id);
            }
        }
    }
}

/// Runs branches that repeat, drop and swap their parents; gives every sequence that was live and its logits.
fn shuffled(backend: &Native, prompts: &[&[u32]], steps: usize) -> Vec<(Vec<u32>, Vec<f32>)> {
    let parents: [&[usize]; 6] = [
        &[2, 0, 0, 1, 1],
        &[4, 3, 2, 1, 0],
        &[0, 0, 2],
        &[0, 1, 2],
        &[2],
        &[0, 0, 0, 0],
    ];
    let vocab = backend.info().vocab_size;
    let mut live: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.to_vec()).collect();
    let mut seen = Vec::new();
    let mut step = 0;
    backend
        .decode(prompts, &mut |rows| {
            assert_eq!(rows.len(), live.len());
            seen.extend(
                live.iter()
                    .cloned()
                    .zip(rows.iter().map(|row| row.to_vec())),
            );
            if step == steps {
                return Vec::new();
            }
            let token = |i: usize| (step as u32 * 31 + i as u32 * 17 + 5) % vocab;
            let branches: Vec<Branch> = parents[step]
                .iter()
                .enumerate()
                .map(|(i, &parent)| Branch {
                    parent,
                    token: token(i),
                })
                .collect();
            live = branches
                .iter()
                .map(|b| live[b.parent].iter().copied().chain([b.token]).collect())
                .collect();
            step += 1;
            branches
        })
        .unwrap();
    assert_eq!(
        seen.len(),
        3 + parents[..steps].iter().map(|p| p.len()).sum::<usize>()
    );
    seen
}

#[test]
fn branches_that_repeat_drop_or_swap_parents_have_the_logits_of_their_own_sequence() {
    for (name, backend, windows) in models() {
        let long: Vec<&Golden> = windows.iter().filter(|w| w.prefix_len >= 50).collect();
        let prompts = |len: usize| -> Vec<&[u32]> {
            long.iter()
                .filter(|w| w.token_ids.len() > len)
                .take(3)
                .map(|w| &w.token_ids[..len])
                .collect()
        };
        let mut worst = 0.0f64;
        for (ids, row) in shuffled(&backend, &prompts(40), 6) {
            worst = worst.max(differ(&row, &logits(&backend, &ids, ids.len())));
        }
        // Beyond the length from which some rotary scalings change; there, keys stay as they were made.
        let far = prompts(300);
        if let Some(other) = far.first().filter(|_| far.len() < 3).copied() {
            let turned: Vec<u32> = other.iter().rev().copied().collect();
            let shifted = [&other[7..], &other[..7]].concat();
            for (ids, row) in shuffled(&backend, &[other, &turned, &shifted], 3) {
                worst = worst.max(differ(&row, &logits(&backend, &ids, 300)));
            }
        } else if far.len() == 3 {
            for (ids, row) in shuffled(&backend, &far, 3) {
                worst = worst.max(differ(&row, &logits(&backend, &ids, 300)));
            }
        }
        assert!(
            !far.is_empty() || name == "builtin",
            "{name}: no long window"
        );
        println!("{name}: {worst:.1e}");
        assert!(worst < BOUND, "{name}: {worst}");
    }
}

#[test]
fn suffixes_after_shared_prefixes_score_as_whole_windows_do() {
    for (name, backend, windows) in models() {
        let mut shapes: BTreeMap<usize, Vec<&Golden>> = BTreeMap::new();
        windows
            .iter()
            .for_each(|window| shapes.entry(window.prefix_len).or_default().push(window));
        let mut worst = 0.0f64;
        for (prefix_len, windows) in shapes {
            // A long prefix costs much and shows what two of them show.
            let windows = &windows[..windows.len().min(if prefix_len > 1_000 { 2 } else { 3 })];
            let prefixes: Vec<&[u32]> =
                windows.iter().map(|w| &w.token_ids[..prefix_len]).collect();
            let mut suffixes: Vec<&[u32]> =
                windows.iter().map(|w| &w.token_ids[prefix_len..]).collect();
            // Other lengths between those of one length.
            suffixes.insert(1, &suffixes[0][..1]);
            suffixes.insert(2, &suffixes[0][..suffixes[0].len() / 2]);
            let found = backend.sum_logprobs(&prefixes, &suffixes).unwrap();
            assert_eq!(found.len(), suffixes.len());
            for (suffix, found) in suffixes.iter().zip(&found) {
                let whole: Vec<Vec<u32>> = prefixes
                    .iter()
                    .map(|prefix| [*prefix, *suffix].concat())
                    .collect();
                let inputs: Vec<ScoreInput<'_>> = whole
                    .iter()
                    .map(|token_ids| ScoreInput {
                        token_ids,
                        prefix_len,
                    })
                    .collect();
                let plain = backend.score(&inputs).into_iter();
                let plain = plain.map(|scores| {
                    scores
                        .unwrap()
                        .logprob
                        .iter()
                        .map(|lp| f64::from(*lp))
                        .sum::<f64>()
                });
                assert_eq!(found.len(), prefixes.len());
                plain
                    .zip(found)
                    .for_each(|(plain, found)| worst = worst.max((plain - found).abs()));
            }
        }
        println!("{name}: {worst:.1e}");
        assert!(worst < BOUND, "{name}: {worst}");
    }
}

#[test]
fn what_cannot_be_run_is_an_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/gpt2");
    let backend = backend(load(&folder, Some(Precision::F32)), 1, 16);
    let info = backend.info().clone();
    let (context, vocab) = (info.context_length as usize, info.vocab_size);
    let once = |prompts: &[&[u32]], parent: usize, token: u32| {
        let mut asked = false;
        backend.decode(prompts, &mut |_| {
            asked = !asked;
            if asked {
                vec![
                    Branch {
                        parent: 0,
                        token: 1,
                    },
                    Branch { parent, token },
                ]
            } else {
                Vec::new()
            }
        })
    };
    assert_eq!(once(&[&[1, 2]], 0, 3), Ok(()));
    let ScoreError::Backend(what) = once(&[&[1, 2], &[3, 4]], 2, 3).unwrap_err() else {
        panic!("another error")
    };
    assert!(
        what.contains("sequence 2") && what.contains("only 2"),
        "{what}"
    );
    let unknown = ScoreError::UnknownToken { id: vocab, vocab };
    assert_eq!(once(&[&[1, 2]], 0, vocab), Err(unknown.clone()));
    assert_eq!(once(&[&[1, vocab]], 0, 1), Err(unknown.clone()));
    assert_eq!(once(&[], 0, 1), Err(ScoreError::EmptyPrefix));
    assert_eq!(once(&[&[]], 0, 1), Err(ScoreError::EmptyPrefix));
    assert!(matches!(
        once(&[&[1, 2], &[1]], 0, 1),
        Err(ScoreError::Backend(_))
    ));
    // The last token that fits may follow; the next one may not.
    assert_eq!(once(&[&vec![1; context - 1]], 0, 1), Ok(()));
    let long = ScoreError::TooLong {
        tokens: context + 1,
        context,
    };
    assert_eq!(once(&[&vec![1; context]], 0, 1), Err(long.clone()));

    let full = vec![1; context];
    assert_eq!(backend.sum_logprobs(&[&full], &[&[1]]), Err(long));
    assert_eq!(
        backend.sum_logprobs(&[&[1]], &[&[1], &[]]),
        Err(ScoreError::EmptySuffix)
    );
    assert_eq!(backend.sum_logprobs(&[&[1]], &[&[vocab]]), Err(unknown));
    assert_eq!(
        backend.sum_logprobs(&[], &[&[1]]),
        Err(ScoreError::EmptyPrefix)
    );
    assert_eq!(backend.sum_logprobs(&[&[1]], &[]), Ok(vec![]));
}

/// The speed of shared prefixes on a real checkpoint, where `BYROTE_TEST_MODELS` names its folder.
#[test]
fn shared_prefixes_agree_on_a_real_checkpoint_and_save_time() {
    let Some(folder) = resource("models") else {
        return;
    };
    let backend = backend(
        load(&folder.join("SmolLM2-135M-Instruct.Q4_1.gguf"), None),
        1,
        16,
    );
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden/smollm2-135m.jsonl");
    let windows: Vec<Golden> = read(&root)
        .into_iter()
        .filter(|w| w.prefix_len == 50 && w.token_ids.len() == 100)
        .collect();
    let prefixes: Vec<&[u32]> = windows
        .iter()
        .take(16)
        .map(|w| &w.token_ids[..50])
        .collect();
    let suffixes: Vec<&[u32]> = windows
        .iter()
        .rev()
        .take(20)
        .map(|w| &w.token_ids[50..])
        .collect();
    assert_eq!((prefixes.len(), suffixes.len()), (16, 20));
    let began = Instant::now();
    let shared = backend.sum_logprobs(&prefixes, &suffixes).unwrap();
    let fast = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let whole: Vec<Vec<u32>> = suffixes
        .iter()
        .flat_map(|suffix| prefixes.iter().map(|prefix| [*prefix, *suffix].concat()))
        .collect();
    let inputs: Vec<ScoreInput<'_>> = whole
        .iter()
        .map(|token_ids| ScoreInput {
            token_ids,
            prefix_len: 50,
        })
        .collect();
    let plain = backend.score(&inputs);
    let slow = began.elapsed().as_secs_f64();
    let differences = shared
        .concat()
        .into_iter()
        .zip(plain)
        .map(|(shared, plain)| {
            (shared
                - plain
                    .unwrap()
                    .logprob
                    .iter()
                    .map(|lp| f64::from(*lp))
                    .sum::<f64>())
            .abs()
        });
    let worst = differences.fold(0.0, f64::max);
    println!(
        "16 prefixes x 20 suffixes: {fast:.1} s shared, {slow:.1} s plain, {:.2} times; worst {worst:.1e}",
        slow / fast
    );
    assert!(worst < 1e-3, "{worst}");
    assert!(fast < slow);
}
