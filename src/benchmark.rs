//! Measures how fast a model scores on this machine, by dtype, batch size and use of threads.

use crate::output;
use anyhow::{Result, bail};
use byrote_candle::model::cpu;
use byrote_candle::model::cpu::packed::{Arithmetic, Packed};
use byrote_candle::model::cpu::product::{Target, product};
use byrote_candle::native::Native;
use byrote_core::backend::{Backend, ScoreInput};
use byrote_core::pool::Pools;
use byrote_core::system;
use serde::Serialize;
use std::time::Instant;

/// Tokens per window, half of them suffix, if the model's context allows.
pub(crate) const WINDOW: usize = 100;
/// Windows per batch.
const BATCHES: [usize; 6] = [1, 2, 4, 8, 16, LARGEST_BATCH];
pub(crate) const LARGEST_BATCH: usize = 32;
/// Minimum duration of a measurement, unless one pass takes longer.
const SECONDS: f64 = 0.5;
/// Number of measurements of each setting, taken in turn. The fastest counts, since other load only slows them down.
const ROUNDS: usize = 3;
/// Relative difference below which two speeds are equal: measurements differ by as much.
const NOISE: f64 = 0.03;

/// One setting, and its speed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) dtype: &'static str,
    /// Batches that are scored at the same time.
    pub(crate) batches_at_once: usize,
    /// Threads that share the matrix products of one batch.
    pub(crate) threads_per_batch: usize,
    pub(crate) batch: usize,
    pub(crate) windows_per_second: f64,
    /// Absent where the system doesn't report it.
    pub(crate) cpu_seconds_per_window: Option<f64>,
}

/// Measures one batch per thread in all sizes, all threads within one batch, and one thread alone.
pub(crate) fn measure(
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
    // Arbitrary ids: the speed of products doesn't depend on them.
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
        output::note(format_args!(
            "{dtype}, {jobs} x {threads} threads, batches of {batch}: {:.2} windows per second",
            scored / seconds
        ));
        let row = Row {
            dtype,
            batches_at_once: jobs,
            threads_per_batch: threads,
            batch,
            windows_per_second: scored / seconds,
            cpu_seconds_per_window: cpu,
        };
        match rows.get_mut(first + number % ways.len()) {
            Some(before) if before.windows_per_second >= row.windows_per_second => {}
            Some(before) => *before = row,
            None => rows.push(row),
        }
    }
    Ok(())
}

/// The recommended row: among those with one thread per batch, which is how byrote scores, the smallest batch that is as fast
/// as the fastest. If two dtypes are equally fast, the first one, f32.
pub(crate) fn recommended(rows: &[Row]) -> Option<usize> {
    let usable = || {
        rows.iter()
            .enumerate()
            .filter(|(_, row)| row.threads_per_batch == 1)
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

pub(crate) fn flags(row: &Row) -> String {
    format!(
        "--dtype {} --threads {} --batch {}",
        row.dtype, row.batches_at_once, row.batch
    )
}

/// Speed of large matrix products on all cores: an upper bound for scoring.
pub(crate) fn peak_gflops(cores: usize, arithmetic: Arithmetic) -> Result<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(
        dtype: &'static str,
        threads_per_batch: usize,
        batch: usize,
        windows_per_second: f64,
    ) -> Row {
        Row {
            dtype,
            batches_at_once: 2,
            threads_per_batch,
            batch,
            windows_per_second,
            cpu_seconds_per_window: None,
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
