//! `byrote doctor --tune`: measures which options are fastest here. It changes nothing.

use super::model::locate;
use crate::benchmark::{LARGEST_BATCH, WINDOW, flags, measure, peak_gflops, recommended};
use crate::cli::OutputFormat;
use crate::render::benchmark::Benchmark;
use crate::{Outcome, output};
use anyhow::{Context, Result};
use byrote::checkpoint::read;
use byrote_candle::model::Arithmetic;
use byrote_candle::model::load::LoadConfig;
use byrote_candle::model::memory::MemoryBudget;
use byrote_candle::model::source::{Format, Located};
use byrote_candle::model::weights::Precision;
use byrote_candle::native::{Native, NativeConfig};
use byrote_core::{backend::Scheme, system};

pub(crate) fn run(model: &str, format: OutputFormat) -> Result<Outcome> {
    let located = locate(model, &super::models::open(None)?, false, None)?;
    let cores = system::cores();
    let mut precisions = vec![Precision::F32, Precision::Bf16];
    if located.format == Format::Gguf {
        precisions.push(Precision::Quantized);
    }
    let mut rows = Vec::new();
    for precision in precisions {
        let backend = match load(&located, precision, cores) {
            Ok(backend) => backend,
            // Too large, or for f32 only: the other precisions are measured.
            Err(error) => {
                let (name, why) = (precision.name(), output::in_a_line(&error));
                output::note(format_args!("{name} is not measured: {why}"));
                continue;
            }
        };
        measure(backend, precision.name(), cores, &mut rows)?;
    }
    let best = recommended(&rows).with_context(|| format!("{model}: nothing could be measured"))?;
    let benchmark = Benchmark {
        model: located.reference,
        cores,
        numa_nodes: system::numa_nodes(),
        peak_gflops_f32: peak_gflops(cores, Arithmetic::F32)?,
        peak_gflops_bf16: peak_gflops(cores, Arithmetic::Bf16)?,
        recommended: flags(&rows[best]),
        measured: rows,
        best,
    };
    output::record(format, &benchmark, Benchmark::text)
}

fn load(located: &Located, precision: Precision, cores: usize) -> Result<Native> {
    let config = LoadConfig {
        precision: Some(precision),
        device: "cpu".to_owned(),
        family: located
            .entry
            .as_ref()
            .and_then(|entry| entry.family.clone()),
        budget: Some(MemoryBudget::of_machine(LARGEST_BATCH, cores, WINDOW)),
        ..LoadConfig::default()
    };
    let loaded = read(located, &config)?;
    let arithmetic = if precision == Precision::Bf16 {
        Arithmetic::Bf16
    } else {
        Arithmetic::F32
    };
    let native = NativeConfig {
        threads: cores,
        batch: 1,
        arithmetic,
    };
    Ok(Native::new(
        loaded.model,
        precision.name(),
        Scheme::defaults(),
        native,
    )?)
}
