//! Damaged and hostile files: whatever stands in them, loading ends in a model or in an error that names the file. It
//! never panics, never asks for more memory than a small file can account for, and never runs on.
//!
//! A few seconds in the ordinary run; `BYROTE_FUZZ_SECONDS=3600` for a night's worth, `BYROTE_FUZZ_SEED` to go on
//! elsewhere, `BYROTE_FUZZ_CASE` to see one case of a seed again.
#![cfg(feature = "native")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "it/support/files.rs"]
mod files;

use byrote_candle::model::load::{self, Checkpoint, LoadConfig, Loaded};
use byrote_candle::model::weights::{Precision, WeightSource};
use byrote_candle::native::{Native, NativeConfig};
use byrote_candle::tokens::slow::SlowFiles;
use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::backend::{Backend, Scheme, ScoreInput};
use byrote_core::random::SplitMix64;
use byrote_core::template::chat::{ChatTemplate, Message};
use files::files;
use serde_json::Value;
use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Refuses single allocations that no fixture needs, as a machine without the memory would, and remembers the largest.
struct Watched;

const LARGEST_ALLOWED: usize = 256 << 20;
static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code, reason = "an allocator can't be written otherwise")]
// SAFETY: every call is handed on to the system's allocator as it came, or answered with null, which is allowed.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Choices of the same kind for the same seed.
struct Random(SplitMix64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Numbers at which readers break.
const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    3,
    7,
    127,
    255,
    65_535,
    1 << 20,
    1 << 31,
    u32::MAX as u64,
    1 << 40,
    1 << 62,
    u64::MAX,
];

/// Changes bytes: single ones, whole numbers, cuts, repetitions. Mostly in the first part, where the headers are.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let reach = if random.below(4) == 0 {
            bytes.len()
        } else {
            bytes.len().min(4_096)
        };
        let at = random.below(reach);
        match random.below(8) {
            0 | 1 => bytes[at] = random.next() as u8,
            2 => bytes[at] ^= 1 << random.below(8),
            3 | 4 => {
                let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4)];
                for (to, from) in bytes[at..].iter_mut().zip(&number[..width]) {
                    *to = *from;
                }
            }
            5 => bytes.truncate(at),
            6 => {
                let end = (at + 1 + random.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => drop(bytes.drain(at..(at + 1 + random.below(16)).min(bytes.len()))),
        }
    }
}

/// Changes one value somewhere in a JSON document: to a number, a type, a depth that nobody expects; or removes it.
fn distort(value: &mut Value, random: &mut Random) {
    let children = match value {
        Value::Object(map) => map.len(),
        Value::Array(list) => list.len(),
        _ => 0,
    };
    if children > 0 && random.below(8) > 0 {
        let chosen = random.below(children);
        match value {
            Value::Object(map) => {
                let key = map.keys().nth(chosen).unwrap().clone();
                if random.below(12) == 0 {
                    map.remove(&key);
                } else {
                    distort(map.get_mut(&key).unwrap(), random);
                }
            }
            Value::Array(list) => distort(&mut list[chosen], random),
            _ => {}
        }
        return;
    }
    *value = match random.below(12) {
        0 => Value::Null,
        1 => Value::Bool(random.below(2) == 0),
        2 => Value::from("x".repeat(random.below(300))),
        3 => Value::from(-1),
        4 => Value::from(1e308),
        5 => Value::from(-0.5),
        6 => Value::Array(vec![value.clone(); random.below(5)]),
        7 => {
            serde_json::json!({ "type": "linear", "factor": random.below(3), "rope_type": value.clone() })
        }
        8 => Value::from(
            [
                "yarn", "longrope", "dynamic", "llama3", "relu", "gelu_new", "llama", "bloom",
            ][random.below(8)],
        ),
        _ => Value::from(NUMBERS[random.below(NUMBERS.len())]),
    };
}

/// Distorts a JSON document; damages one that isn't strict JSON, such as a config with Python's Infinity.
fn distort_file(bytes: &mut Vec<u8>, random: &mut Random) {
    let Ok(mut json) = serde_json::from_slice::<Value>(bytes) else {
        return damage(bytes, random);
    };
    (0..1 + random.below(2)).for_each(|_| distort(&mut json, random));
    *bytes = serde_json::to_vec(&json).unwrap();
}

/// The files of a small checkpoint.
#[derive(Clone)]
enum Sample {
    Folder { config: Vec<u8>, weights: Vec<u8> },
    Gguf(Vec<u8>),
    TokenizerJson(Vec<u8>),
    SentencePiece(Vec<u8>),
    ChatTemplate(String),
}

/// Bits of templates that real ones don't have.
const SNIPPETS: &[&str] = &[
    "{% for a in range(99999999) %}{% for b in range(99999999) %}x{% endfor %}{% endfor %}",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
    "{{ messages[99].content }}",
    "{{ messages[0]['role'] * 99999999 }}",
    "{{ raise_exception('no') }}",
    "{% set ns = namespace(x=0) %}{% for m in messages * 999999 %}{% set ns.x = ns.x + 1 %}{% endfor %}{{ ns.x }}",
    "{{ 1 // 0 }}{{ 9223372036854775807 + 1 }}",
    "{{ messages | tojson(indent=99999) }}",
    "{{ 'x'.__class__ }}{{ messages.append(1) }}",
    "{% if messages[0].content[99999:-5:0] %}{% endif %}",
    "{{ '%s' % messages }}{{ strftime_now('%Y%q%') }}",
    "{% generation %}",
    "{{",
];

fn samples() -> Vec<(String, Sample)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let folders = files(&root.join("models"))
        .into_iter()
        .filter(|dir| dir.join("model.safetensors").exists())
        .map(|dir| {
            let read = |file| std::fs::read(dir.join(file)).unwrap();
            (
                name(&dir),
                Sample::Folder {
                    config: read("config.json"),
                    weights: read("model.safetensors"),
                },
            )
        });
    let ggufs = files(&root.join("gguf"))
        .into_iter()
        .filter(|dir| dir.join("model.gguf").exists())
        .map(|dir| {
            (
                format!("gguf/{}", name(&dir)),
                Sample::Gguf(std::fs::read(dir.join("model.gguf")).unwrap()),
            )
        });
    let named = |folder: &str, ending: &str| -> Vec<PathBuf> {
        files(&root.join(folder))
            .into_iter()
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .collect()
    };
    let of = |make: fn(Vec<u8>) -> Sample, paths: Vec<PathBuf>| -> Vec<(String, Sample)> {
        paths
            .iter()
            .map(|path| (name(path), make(std::fs::read(path).unwrap())))
            .collect()
    };
    let text = |bytes: Vec<u8>| Sample::ChatTemplate(String::from_utf8(bytes).unwrap());
    folders
        .chain(ggufs)
        .chain(of(Sample::TokenizerJson, named("tokenizers/own", ".json")))
        .chain(of(Sample::SentencePiece, named("tokenizers/own", ".model")))
        .chain(of(text, named("templates", ".jinja")))
        .collect()
}

impl Sample {
    fn damaged(&self, random: &mut Random) -> Self {
        let mut damaged = self.clone();
        match &mut damaged {
            Self::Folder { config, weights } => match random.below(4) {
                0 => damage(weights, random),
                1 => damage(config, random),
                _ => distort_file(config, random),
            },
            Self::Gguf(bytes) | Self::SentencePiece(bytes) => damage(bytes, random),
            Self::TokenizerJson(bytes) => match random.below(3) {
                0 => damage(bytes, random),
                _ => distort_file(bytes, random),
            },
            Self::ChatTemplate(source) => {
                let mut bytes = source.clone().into_bytes();
                if random.below(2) == 0 {
                    damage(&mut bytes, random);
                }
                *source = String::from_utf8_lossy(&bytes).into_owned();
                let ends: Vec<usize> = source.char_indices().map(|(at, _)| at).collect();
                if let Some(at) = ends.get(random.below(ends.len())) {
                    source.insert_str(*at, SNIPPETS[random.below(SNIPPETS.len())]);
                }
            }
        }
        damaged
    }

    /// Writes the files into `dir` and loads them.
    fn load(&self, dir: &Path, random: &mut Random) -> Result<Loaded, String> {
        let kept = [Precision::F32, Precision::Bf16, Precision::Quantized][random.below(3)];
        let options = |precision| LoadConfig {
            precision: Some(precision),
            device: "cpu".to_owned(),
            ..LoadConfig::default()
        };
        let loaded = match self {
            Self::Folder { config, weights } => {
                std::fs::write(dir.join("config.json"), config).unwrap();
                std::fs::write(dir.join("model.safetensors"), weights).unwrap();
                let checkpoint = Checkpoint {
                    config: WeightSource::File(dir.join("config.json")),
                    weights: vec![WeightSource::File(dir.join("model.safetensors"))],
                    tokenizer: None,
                    tokenizer_config: None,
                };
                load::safetensors(
                    &checkpoint,
                    &options(if kept == Precision::Quantized {
                        Precision::F32
                    } else {
                        kept
                    }),
                )
            }
            Self::Gguf(bytes) => {
                std::fs::write(dir.join("model.gguf"), bytes).unwrap();
                load::gguf(&dir.join("model.gguf"), &options(kept))
            }
            _ => return Err("no model".to_owned()),
        };
        loaded.map_err(|e| e.to_string())
    }
}

/// What came of one case.
#[derive(Debug, Default)]
struct Tally {
    loaded: usize,
    refused: usize,
    scored: usize,
}

fn one(sample: &Sample, dir: &Path, random: &mut Random, tally: &mut Tally) {
    let tokenizer = match sample {
        Sample::TokenizerJson(json) => Tokenizer::from_json(json, None, "tokenizer.json"),
        Sample::SentencePiece(model) => {
            let files = SlowFiles {
                main: model.clone(),
                ..SlowFiles::default()
            };
            Tokenizer::from_slow(&files, "tokenizer.model")
        }
        Sample::ChatTemplate(source) => {
            let (file, tokens) = (
                "chat_template.jinja".to_owned(),
                [("bos_token".to_owned(), "<s>".to_owned())].into(),
            );
            let template = ChatTemplate {
                file,
                source: source.clone(),
                tokens,
            };
            let turn = |role: &str| Message {
                role: role.to_owned(),
                content: format!("What the {role} says."),
            };
            match template.render(&["system", "user", "assistant"].map(turn)) {
                Ok(_) => tally.scored += 1,
                Err(error) => assert!(error.to_string().contains("chat_template.jinja")),
            }
            return;
        }
        Sample::Folder { .. } | Sample::Gguf(_) => return of_model(sample, dir, random, tally),
    };
    match tokenizer {
        Ok(tokenizer) => {
            tally.scored += usize::from(encode(&tokenizer));
        }
        Err(error) => {
            tally.refused += 1;
            assert!(!error.to_string().is_empty());
        }
    }
}

/// Whether a text can be encoded; and decoded without a panic.
fn encode(tokenizer: &Tokenizer) -> bool {
    let encoding = tokenizer.encode("Some text, 123, and \u{1F600} more.\n\n\tEnd <s> </s>");
    encoding.is_ok_and(|encoding| !tokenizer.decode(&encoding.ids).is_empty())
}

fn of_model(sample: &Sample, dir: &Path, random: &mut Random, tally: &mut Tally) {
    match sample.load(dir, random) {
        Err(error) => {
            tally.refused += 1;
            assert!(!error.trim().is_empty());
        }
        Ok(loaded) => {
            tally.loaded += 1;
            let config = NativeConfig {
                threads: 1,
                batch: 4,
                arithmetic: byrote_candle::model::Arithmetic::F32,
            };
            let backend = Native::new(loaded.model, "f32", Scheme::defaults(), config).unwrap();
            let ids: Vec<u32> = (3..43).collect();
            tally.scored += usize::from(
                backend.score(&[ScoreInput {
                    token_ids: &ids,
                    prefix_len: 20,
                }])[0]
                    .is_ok(),
            );
            if let Some(tokenizer) = loaded.tokenizer {
                encode(&tokenizer);
            }
        }
    }
}

#[test]
fn no_file_makes_the_reader_panic_or_ask_for_all_memory() {
    let seconds = std::env::var("BYROTE_FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(8);
    let seed = std::env::var("BYROTE_FUZZ_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1);
    let (samples, dir) = (samples(), tempfile::tempdir().unwrap());
    let said: &'static Mutex<String> = Box::leak(Box::default());
    std::panic::set_hook(Box::new(|info| *said.lock().unwrap() = info.to_string()));
    let (start, mut tally, mut failures) = (Instant::now(), Tally::default(), Vec::new());
    let only = std::env::var("BYROTE_FUZZ_CASE")
        .ok()
        .and_then(|s| s.parse::<u64>().ok());
    for case in only.map_or(0..u64::MAX, |case| case..case + 1) {
        if start.elapsed() > Duration::from_secs(seconds) || failures.len() == 20 {
            break;
        }
        // Every case by its own number, so that one can be run again.
        let mut random = Random(SplitMix64::new(
            seed ^ case.wrapping_mul(0xd134_2543_de82_ef95),
        ));
        let (name, sample) = &samples[random.below(samples.len())];
        let damaged = sample.damaged(&mut random);
        LARGEST.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            one(&damaged, dir.path(), &mut random, &mut tally)
        }));
        let (largest, took) = (LARGEST.load(Ordering::Relaxed), begun.elapsed());
        let what = match outcome {
            Err(_) => said.lock().unwrap().clone(),
            Ok(()) if largest > LARGEST_ALLOWED => format!("asked for {largest} bytes at once"),
            Ok(()) if took > Duration::from_secs(20) => format!("took {took:?}"),
            Ok(()) => continue,
        };
        let config = match &damaged {
            Sample::Folder { config, .. } => String::from_utf8_lossy(config)
                .chars()
                .take(3_000)
                .collect(),
            Sample::TokenizerJson(json) => {
                String::from_utf8_lossy(json).chars().take(3_000).collect()
            }
            Sample::ChatTemplate(source) => source.clone(),
            Sample::Gguf(_) | Sample::SentencePiece(_) => String::new(),
        };
        println!("case {case}: {what}");
        failures.push(format!(
            "seed {seed} case {case} ({name}): {what}\n{config}"
        ));
    }
    drop(std::panic::take_hook());
    println!("{tally:?} in {:?}", start.elapsed());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(
        only.is_some() || (tally.refused > 20 && tally.loaded > 5),
        "hardly anything was tried: {tally:?}"
    );
}
