//! What byrote's time goes to, each alone: matrix products, and all beside them. `cargo bench --bench kernels [-- FILTER]`.
//!
//! Figures of whole runs, beside other programs, come from `benches/peers/compare.py`.
#![allow(
    clippy::unwrap_used,
    missing_debug_implementations,
    reason = "a benchmark fails by panicking"
)]

use byrote_candle::model::builtin;
use byrote_candle::model::cpu::packed::{Arithmetic, Packed};
use byrote_candle::model::cpu::product::{Target, product};
use byrote_candle::model::load::{self, LoadConfig};
use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::backend::Scheme;
use byrote_core::backend::logits::score_row;
use byrote_core::items::{Content, Item, ItemId, Origin};
use byrote_core::run::directory::RunDir;
use byrote_core::run::{ScoredWindow, parquet};
use byrote_core::window::{Reflow, Stride, WindowConfig, cut};
use candle_core::{DType, Device, Tensor};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::process::Command;

/// One row of logits: log-sum-exp, rank, margin, moments, top-k 40. Elements are logits.
fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("score_row");
    let schemes = Scheme::defaults();
    for vocab in [32_000, 131_072, 262_144] {
        let row: Vec<f32> = (0..vocab)
            .map(|i| ((i * 7_919 % 10_007) as f32 / 600.0).sin() * 9.0)
            .collect();
        group.throughput(Throughput::Elements(vocab as u64));
        group.bench_with_input(BenchmarkId::from_parameter(vocab), &row, |b, row| {
            b.iter(|| score_row(black_box(row), vocab / 3, &schemes).unwrap());
        });
    }
    group.finish();
}

/// Products of a batch's activations with weights of SmolLM2-135M's and Gemma-3-270M's shapes, one thread. Elements are
/// multiplications and additions; two of them a weight and row.
fn products(c: &mut Criterion) {
    // Candle divides a product among the threads of the pool it runs in.
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let mut group = c.benchmark_group("product");
    for (rows, inputs, outputs) in [
        (1_584, 576, 960),
        (1_584, 576, 3_072),
        (1_584, 1_536, 576),
        (1_584, 640, 4_096),
        (1_584, 2_048, 640),
        (800, 576, 8_192),
    ] {
        let numbers = |count: usize| -> Vec<f32> {
            (0..count)
                .map(|i| (i * 7_919 % 2_003) as f32 / 1_001.0 - 1.0)
                .collect()
        };
        let (x, weights) = (numbers(rows * inputs), numbers(outputs * inputs));
        let mut y = vec![0.0; rows * outputs];
        let shape = format!("{rows}x{inputs}x{outputs}");
        group.throughput(Throughput::Elements(2 * (rows * inputs * outputs) as u64));
        for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
            let mut packed = Packed::zeros(outputs, inputs, arithmetic);
            packed.fill(0, &weights);
            group.bench_function(
                BenchmarkId::new(format!("packed {}", arithmetic.name()), &shape),
                |b| {
                    b.iter(|| {
                        product(
                            black_box(&x),
                            &packed,
                            arithmetic,
                            &mut Target {
                                values: &mut y,
                                stride: outputs,
                                column: 0,
                            },
                        )
                    });
                },
            );
        }
        let x = Tensor::from_slice(&x, (rows, inputs), &Device::Cpu).unwrap();
        let weights = Tensor::from_slice(&weights, (outputs, inputs), &Device::Cpu).unwrap();
        for dtype in [DType::F32, DType::BF16] {
            let (x, weights) = (
                x.to_dtype(dtype).unwrap(),
                weights.to_dtype(dtype).unwrap().t().unwrap(),
            );
            group.bench_function(
                BenchmarkId::new(format!("candle {}", dtype.as_str()), &shape),
                |b| {
                    one.install(|| b.iter(|| black_box(&x).matmul(&weights).unwrap()));
                },
            );
        }
    }
    group.finish();
}

fn tokenizer() -> Tokenizer {
    let config = LoadConfig {
        device: "cpu".to_owned(),
        ..LoadConfig::default()
    };
    load::safetensors(&builtin::checkpoint(), &config)
        .unwrap()
        .tokenizer
        .unwrap()
}

/// Some 100 kB of prose: the built-in controls, without their JSON.
fn prose() -> String {
    let lines = include_str!("../prompts/builtin/controls.jsonl");
    let texts = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let once: String = texts
        .filter_map(|item| item["text"].as_str().map(|text| format!("{text}\n")))
        .collect();
    once.repeat(100_000_usize.div_ceil(once.len().max(1)))
}

/// Text to tokens, and tokens to windows. Elements are bytes.
fn texts(c: &mut Criterion) {
    let (tokenizer, text) = (tokenizer(), prose());
    let mut group = c.benchmark_group("text");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("tokenize", |b| {
        b.iter(|| tokenizer.encode(black_box(&text)).unwrap())
    });
    let origin = Origin {
        file: String::new(),
        line: None,
    };
    let item = Item::new(
        ItemId("prose".to_owned()),
        Content::Text(text.clone()),
        origin,
    );
    for stride in [Stride::Tokens(50), Stride::Tokens(10), Stride::Chars(100)] {
        let config = WindowConfig {
            prefix: 50,
            suffix: 50,
            lead: None,
            stride,
            reflow: Reflow::Off,
        };
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
    let probed = Command::new(env!("CARGO_BIN_EXE_byrote"))
        .args(["probe", "--out"])
        .arg(&out)
        .output()
        .unwrap();
    assert!(
        probed.status.success(),
        "{}",
        String::from_utf8_lossy(&probed.stderr)
    );
    let run = RunDir::load(&out).unwrap();
    let (scored, schemes) = (
        run.read_part(0).unwrap(),
        &run.manifest().model.backend.schemes,
    );
    let mut group = c.benchmark_group("parquet");
    for count in [256, 4_096] {
        let rows: Vec<ScoredWindow> = scored.iter().cycle().take(count).cloned().collect();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("write", count), &rows, |b, rows| {
            b.iter_batched(
                Vec::new,
                |mut bytes| parquet::write(rows, schemes, &mut bytes).unwrap(),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(kernels, products, rows, texts, parts);
criterion_main!(kernels);
