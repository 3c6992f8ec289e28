//! How long loading a model takes beside reading its file, and how much memory at most:
//! `measure_load MODEL_FOLDER read|f32|bf16|f16`, where `read` only reads `model.safetensors` into memory.
#![allow(clippy::print_stdout, reason = "a program for people")]

use byrote_candle::model::load::{self, Checkpoint, LoadConfig};
use byrote_candle::model::weights::{Precision, WeightSource};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, what] = arguments.as_slice() else {
        return Err("give MODEL_FOLDER and read|f32|bf16|f16".into());
    };
    let folder = Path::new(folder);
    let weights = folder.join("model.safetensors");
    let precision = match what.as_str() {
        "f32" => Some(Precision::F32),
        "bf16" => Some(Precision::Bf16),
        "f16" => Some(Precision::F16),
        _ => None,
    };
    let started = Instant::now();
    let bytes = match precision {
        None => std::fs::read(&weights)?.len() as u64,
        Some(precision) => {
            let checkpoint = Checkpoint {
                config: WeightSource::File(folder.join("config.json")),
                weights: vec![WeightSource::File(weights)],
                tokenizer: None,
                tokenizer_config: None,
            };
            let device = "cpu".to_owned();
            let config = LoadConfig {
                precision: Some(precision),
                device,
                ..LoadConfig::default()
            };
            let width = if precision == Precision::F32 { 4 } else { 2 };
            load::safetensors(&checkpoint, &config)?
                .model
                .info()
                .parameters
                * width
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let peak = byrote_core::system::peak_resident().map_or("not told".to_owned(), |peak| {
        format!("{:.0} MB", peak as f64 / 1e6)
    });
    println!(
        "{what}: {seconds:.2} s, {:.0} MB of weights, peak memory {peak}",
        bytes as f64 / 1e6
    );
    Ok(())
}
