//! What byrote does beside matrix products, each alone: `cargo bench --bench kernels [-- FILTER]`.
//!
//! Figures of whole runs, beside other programs, come from `benches/peers/compare.py`.
#![allow(clippy::unwrap_used, missing_debug_implementations, reason = "a benchmark fails by panicking")]

use byrote::backend::Scheme;
use byrote::backend::logits::score_row;
use byrote::items::{Content, Item, ItemId, Origin};
use byrote::model::builtin;
use byrote::model::load::{self, LoadConfig};
use byrote::run::{ScoredWindow, parquet};
use byrote::tokens::tokenizer::Tokenizer;
use byrote::window::{Reflow, Stride, WindowConfig, cut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::fs::File;
use std::hint::black_box;
use std::process::Command;

/// One row of logits: log-sum-exp, rank, margin, moments, top-k 40. Elements are logits.
fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("score_row");
    let schemes = Scheme::defaults();
    for vocab in [32_000, 131_072, 262_144] {
        let row: Vec<f32> = (0..vocab).map(|i| ((i * 7_919 % 10_007) as f32 / 600.0).sin() * 9.0).collect();
        group.throughput(Throughput::Elements(vocab as u64));
        group.bench_with_input(BenchmarkId::from_parameter(vocab), &row, |b, row| {
            b.iter(|| score_row(black_box(row), vocab / 3, &schemes).unwrap());
        });
    }
    group.finish();
}

fn tokenizer() -> Tokenizer {
    let config = LoadConfig { device: "cpu".to_owned(), ..LoadConfig::default() };
    load::safetensors(&builtin::checkpoint(), &config).unwrap().tokenizer.unwrap()
}

/// Some 100 kB of prose: the built-in controls, without their JSON.
fn prose() -> String {
    let lines = include_str!("../prompts/builtin/controls.jsonl");
    let texts = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let once: String = texts.filter_map(|item| item["text"].as_str().map(|text| format!("{text}\n"))).collect();
    once.repeat(100_000_usize.div_ceil(once.len().max(1)))
}

/// Text to tokens, and tokens to windows. Elements are bytes.
fn texts(c: &mut Criterion) {
    let (tokenizer, text) = (tokenizer(), prose());
    let mut group = c.benchmark_group("text");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("tokenize", |b| b.iter(|| tokenizer.encode(black_box(&text)).unwrap()));
    let origin = Origin { file: String::new(), line: None };
    let item = Item::new(ItemId("prose".to_owned()), Content::Text(text.clone()), origin);
    for stride in [Stride::Tokens(50), Stride::Tokens(10), Stride::Chars(100)] {
        let config = WindowConfig { prefix: 50, suffix: 50, lead: None, stride, reflow: Reflow::Off };
        let name = BenchmarkId::new("cut", format!("{stride:?}"));
        group.bench_with_input(name, &config, |b, config| {
            b.iter(|| cut::cut(black_box(&item), &tokenizer, None, config).unwrap());
        });
    }
    group.finish();
}

/// A part of a run directory as it is written while scoring goes on: rows as a real run has them.
fn parts(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let probed = Command::new(env!("CARGO_BIN_EXE_byrote")).args(["probe", "--out"]).arg(&out).output().unwrap();
    assert!(probed.status.success(), "{}", String::from_utf8_lossy(&probed.stderr));
    let mut files: Vec<_> = std::fs::read_dir(out.join("scores")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let scored: Vec<ScoredWindow> = parquet::read(File::open(&files[0]).unwrap()).unwrap();
    let mut group = c.benchmark_group("parquet");
    for count in [256, 4_096] {
        let rows: Vec<ScoredWindow> = scored.iter().cycle().take(count).cloned().collect();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("write", count), &rows, |b, rows| {
            b.iter_batched(
                Vec::new,
                |mut bytes| parquet::write(rows, &Scheme::defaults(), &mut bytes).unwrap(),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(kernels, rows, texts, parts);
criterion_main!(kernels);
