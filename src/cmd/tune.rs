//! `byrote doctor --tune`: what is fastest on this machine, measured. Nothing is written, and nothing else goes by it.

use super::model::locate;
use super::out;
use crate::Outcome;
use crate::cli::OutputFormat;
use anyhow::{Context, Result, bail};
use byrote::checkpoint::read;
use byrote_candle::model::cpu;
use byrote_candle::model::cpu::packed::{Arithmetic, Packed};
use byrote_candle::model::cpu::product::{Target, product};
use byrote_candle::model::load::LoadConfig;
use byrote_candle::model::memory::MemoryBudget;
use byrote_candle::model::source::Format;
use byrote_candle::model::weights::Precision;
use byrote_candle::native::{Native, NativeConfig};
use byrote_core::backend::{Backend, Scheme, ScoreInput};
use byrote_core::pool::Pools;
use byrote_core::system;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::json;
use std::time::Instant;

/// Tokens of a window, half of them suffix, where the model's context allows.
const WINDOW: usize = 100;
/// Windows a batch.
const BATCHES: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// A measurement takes so long at least, or one pass where that takes longer.
const SECONDS: f64 = 0.5;
/// Every way is measured so often, all of them in turn, and its best counts: whatever else runs only slows it.
const ROUNDS: usize = 3;
/// What is slower than the fastest by less than this share is as fast: measurements differ by as much.
const NOISE: f64 = 0.03;

/// One way to score, and how fast it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    dtype: &'static str,
    /// Batches at a time.
    batches_at_once: usize,
    /// Threads for the products of one batch.
    threads_a_batch: usize,
    batch: usize,
    windows_per_second: f64,
    /// Absent where the system doesn't tell.
    cpu_seconds_a_window: Option<f64>,
}

pub(crate) fn run(model: &str, format: OutputFormat) -> Result<Outcome> {
    let registry = super::models::open(None)?;
    let located = locate(model, &registry, false, None)?;
    let cores = system::cores();
    let mut precisions = vec![Precision::F32, Precision::Bf16];
    precisions.extend((located.format == Format::Gguf).then_some(Precision::Quantized));
    let mut rows = Vec::new();
    for precision in precisions {
        let config = LoadConfig {
            precision: Some(precision),
            device: "cpu".to_owned(),
            family: located
                .entry
                .as_ref()
                .and_then(|entry| entry.family.clone()),
            budget: Some(MemoryBudget::of_machine(
                BATCHES[BATCHES.len() - 1],
                cores,
                WINDOW,
            )),
            ..LoadConfig::default()
        };
        let loaded = match read(&located, &config) {
            Ok(loaded) => loaded,
            // Too large, or computed in f32 only: the others are measured.
            Err(error) => {
                out::note(format_args!(
                    "{} is left out: {}",
                    precision.name(),
                    out::in_a_line(&error)
                ));
                continue;
            }
        };
        let native = NativeConfig {
            threads: cores,
            batch: 1,
            arithmetic: arithmetic(precision),
        };
        let backend = Native::new(loaded.model, precision.name(), Scheme::defaults(), native)?;
        measure(backend, precision.name(), cores, &mut rows)?;
    }
    let best = recommended(&rows).with_context(|| format!("{model}: nothing could be measured"))?;
    let peaks = [
        peak_gflops(cores, Arithmetic::F32)?,
        peak_gflops(cores, Arithmetic::Bf16)?,
    ];
    match format {
        OutputFormat::Json => {
            let told = json!({
                "model": located.reference, "cores": cores, "numa_nodes": system::numa_nodes(),
                "peak_gflops_f32": peaks[0], "peak_gflops_bf16": peaks[1], "measured": rows, "recommended": flags(&rows[best]),
            });
            out::print(format!("{}\n", serde_json::to_string_pretty(&told)?).as_bytes())
        }
        OutputFormat::Text => {
            out::print(text(&located.reference, cores, peaks, &rows, best).as_bytes())
        }
    }
}

/// One batch a thread in all sizes, all threads within one batch, and one thread alone.
fn measure(
    mut backend: Native,
    dtype: &'static str,
    cores: usize,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let within = [4, 16, 32].map(|batch| (1, cores, batch));
    let mut ways: Vec<(usize, usize, usize)> =
        BATCHES.iter().map(|batch| (cores, 1, *batch)).collect();
    if cores > 1 {
        // The CPU's own products aren't divided among threads.
        ways.extend(within.into_iter().filter(|_| !cpu::available()));
        ways.push((1, 1, 16));
    }
    let info = backend.info();
    let (vocab, length) = (
        u64::from(info.vocab_size),
        WINDOW.min(info.context_length as usize),
    );
    if length < 2 || vocab == 0 {
        bail!("a context of {length} tokens has no room for a window");
    }
    // Ids without order: what they are changes no product.
    let id = |i: usize| {
        ((i as u64)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695)
            >> 33)
            % vocab
    };
    let first = rows.len();
    for (number, (jobs, threads, batch)) in std::iter::repeat_n(&ways, ROUNDS)
        .flatten()
        .copied()
        .enumerate()
    {
        backend = backend.with_pools(jobs, threads)?.with_batch(batch);
        let ids: Vec<u32> = (0..jobs * batch * length).map(|i| id(i) as u32).collect();
        let windows: Vec<ScoreInput<'_>> = ids
            .chunks(length)
            .map(|token_ids| ScoreInput {
                token_ids,
                prefix_len: length / 2,
            })
            .collect();
        // The first pass fills caches and starts threads.
        let mut found = backend.score(&windows[..jobs.min(windows.len())]);
        let (started, cpu) = (Instant::now(), system::cpu_seconds());
        let mut passes = 0;
        while passes == 0 || started.elapsed().as_secs_f64() < SECONDS {
            found.extend(backend.score(&windows));
            passes += 1;
        }
        let (seconds, scored) = (
            started.elapsed().as_secs_f64(),
            (passes * windows.len()) as f64,
        );
        let cpu = system::cpu_seconds()
            .zip(cpu)
            .map(|(after, before)| (after - before) / scored);
        found.into_iter().collect::<Result<Vec<_>, _>>()?;
        out::note(format_args!(
            "{dtype}, {jobs} x {threads} threads, batches of {batch}: {:.2} windows a second",
            scored / seconds
        ));
        let row = Row {
            dtype,
            batches_at_once: jobs,
            threads_a_batch: threads,
            batch,
            windows_per_second: scored / seconds,
            cpu_seconds_a_window: cpu,
        };
        match rows.get_mut(first + number % ways.len()) {
            Some(before) if before.windows_per_second >= row.windows_per_second => {}
            Some(before) => *before = row,
            None => rows.push(row),
        }
    }
    Ok(())
}

/// The row to go by: of those with one thread a batch, which is how byrote scores, the smallest batch that is as fast as
/// the fastest; of two dtypes that are as fast the first, f32.
fn recommended(rows: &[Row]) -> Option<usize> {
    let usable = || {
        rows.iter()
            .enumerate()
            .filter(|(_, row)| row.threads_a_batch == 1)
    };
    let fastest = usable()
        .map(|(_, row)| row.windows_per_second)
        .fold(0.0, f64::max);
    let as_fast = usable().filter(|(_, row)| row.windows_per_second >= (1.0 - NOISE) * fastest);
    let first = as_fast.clone().map(|(_, row)| row.dtype).next()?;
    as_fast
        .filter(|(_, row)| row.dtype == first)
        .min_by_key(|(_, row)| row.batch)
        .map(|(index, _)| index)
}

fn flags(row: &Row) -> String {
    format!(
        "--dtype {} --threads {} --batch {}",
        row.dtype, row.batches_at_once, row.batch
    )
}

/// GFLOP a second of large f32 products, one a core: what no scoring in f32 can exceed.
fn peak_gflops(cores: usize, arithmetic: Arithmetic) -> Result<f64> {
    const N: usize = 1_024;
    let pools = Pools::new(cores)?;
    let numbers: Vec<f32> = (0..N * N)
        .map(|i| (i * 7_919 % 2_003) as f32 / 1_001.0 - 1.0)
        .collect();
    let mut packed = Packed::zeros(N, N, arithmetic);
    packed.fill(0, &numbers);
    let mut best: f64 = 0.0;
    for _ in 0..8 {
        let started = Instant::now();
        let work = |_: &usize| {
            let mut values = vec![0.0; N * N];
            product(
                &numbers,
                &packed,
                arithmetic,
                &mut Target {
                    values: &mut values,
                    stride: N,
                    column: 0,
                },
            );
            values.iter().step_by(N + 1).sum::<f32>()
        };
        pools.each(&(0..cores).collect::<Vec<_>>(), work, |_, sum| {
            std::hint::black_box(sum);
        });
        best = best.max((cores * 2 * N * N * N) as f64 / started.elapsed().as_secs_f64() / 1e9);
    }
    Ok(best)
}

/// What products are computed in by default.
fn arithmetic(precision: Precision) -> Arithmetic {
    if precision == Precision::Bf16 {
        Arithmetic::Bf16
    } else {
        Arithmetic::F32
    }
}

fn text(model: &str, cores: usize, [f32, bf16]: [f64; 2], rows: &[Row], best: usize) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "dtype",
        "batches at once",
        "threads a batch",
        "windows a batch",
        "windows/s",
        "CPU-ms a window",
    ]);
    for row in rows {
        let cpu = row
            .cpu_seconds_a_window
            .map_or("not told".to_owned(), |cpu| format!("{:.3}", 1e3 * cpu));
        table.add_row([
            row.dtype.to_owned(),
            row.batches_at_once.to_string(),
            row.threads_a_batch.to_string(),
            row.batch.to_string(),
            format!("{:.2}", row.windows_per_second),
            cpu,
        ]);
    }
    let table: Vec<String> = table
        .to_string()
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    let mut said = format!(
        "{model}, windows of {}+{} tokens, {cores} cores, {} NUMA nodes; large products: {f32:.0} GFLOP/s in f32, {bf16:.0} in bf16\n\n{}\n\n",
        WINDOW / 2,
        WINDOW / 2,
        system::numa_nodes(),
        table.join("\n"),
    );
    let row = &rows[best];
    let wide = rows
        .iter()
        .filter(|other| other.dtype == row.dtype && other.threads_a_batch > 1);
    let wide = wide.map(|row| row.windows_per_second).fold(0.0, f64::max);
    if wide > 0.0 {
        let ratio = row.windows_per_second / wide;
        said.push_str(&format!(
            "a batch a thread is {ratio:.2} times as fast as all threads within one batch\n"
        ));
    }
    let one = rows.iter().find(|other| {
        (other.dtype, other.batches_at_once, other.threads_a_batch) == (row.dtype, 1, 1)
            && cores > 1
    });
    if let Some(one) = one {
        let ratio = row.windows_per_second / one.windows_per_second;
        said.push_str(&format!(
            "{cores} cores are {ratio:.2} times as fast as one\n"
        ));
    }
    said.push_str(&format!("recommended here: {}\n", flags(row)));
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(
        dtype: &'static str,
        threads_a_batch: usize,
        batch: usize,
        windows_per_second: f64,
    ) -> Row {
        Row {
            dtype,
            batches_at_once: 2,
            threads_a_batch,
            batch,
            windows_per_second,
            cpu_seconds_a_window: None,
        }
    }

    #[test]
    fn the_smallest_batch_that_is_as_fast_is_recommended() {
        let rows = [
            row("f32", 1, 4, 90.0),
            row("f32", 1, 8, 99.0),
            row("f32", 1, 16, 100.0),
            row("f32", 2, 16, 500.0),
        ];
        assert_eq!(recommended(&rows), Some(1));
        assert_eq!(flags(&rows[1]), "--dtype f32 --threads 2 --batch 8");
    }

    #[test]
    fn a_narrower_dtype_must_be_faster_by_more_than_noise() {
        let with = |bf16| [row("f32", 1, 8, 100.0), row("bf16", 1, 8, bf16)];
        assert_eq!(recommended(&with(102.0)), Some(0));
        assert_eq!(recommended(&with(150.0)), Some(1));
        assert_eq!(recommended(&[]), None);
    }
}
