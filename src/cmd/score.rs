//! `byrote score`: token scores for given windows, and nothing else.

use super::model::{announce, locate};
use super::out;
use crate::Outcome;
use crate::cli::ScoreArgs;
use anyhow::{Context, Result};
use byrote::checkpoint::{LoadOptions, LoadedModel};
use byrote_core::backend::exit::Exit;
use byrote_core::backend::{Backend, Scheme, ScoreInput, TokenScores};
use byrote_core::follow::select::errors;
use byrote_core::run::dedup::once;
use byrote_core::system;
use byrote_core::window::cut::cut_split;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

/// Lines scored together: what a kill may lose, and enough for every thread to have batches.
const LINES: usize = 256;

/// A line of input. Other fields are passed over, so that scores can be scored again.
#[derive(Deserialize)]
struct Asked {
    id: Value,
    token_ids: Option<Vec<u32>>,
    prefix_len: Option<usize>,
    prefix: Option<String>,
    suffix: Option<String>,
}

/// A line of output.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a Value,
    token_ids: &'a [u32],
    prefix_len: usize,
    /// Suffix tokens that were scored, where the window was left before its end: every list has so many entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_after: Option<usize>,
    logprobs: &'a [f32],
    ranks: &'a [u32],
    greedy_match: Vec<bool>,
    /// Null for a window that was left: it isn't known.
    sum_logprob: Option<f64>,
    /// Null for a window that was left without a miss.
    greedy_exact: Option<bool>,
}

#[derive(Serialize)]
struct Failed<'a> {
    id: &'a Value,
    error: &'a str,
}

/// A line that was understood.
struct Window {
    line: usize,
    token_ids: Vec<u32>,
    prefix_len: usize,
}

pub(crate) fn run(args: &ScoreArgs) -> Result<Outcome> {
    // Both ends are opened before the model is: what can't be read or written shows at once.
    let input = reader(&args.input)?;
    let registry = super::models::open(args.load.registry.as_deref())?;
    let located = locate(
        &args.model,
        &registry,
        args.load.offline,
        args.load.adapter.as_deref(),
    )?;
    let mut output = writer(&args.output)?;
    let options = LoadOptions {
        precision: args.dtype.precision(),
        bos: args.bos.into(),
        keeps_state: args.exit_at_miss || args.exit_below.is_some(),
        ..LoadOptions::from(&args.load)
    };
    let model = LoadedModel::load(&located, &options, Scheme::defaults())?;
    announce(&model);
    let name = args.input.display().to_string();
    let (mut scored, mut failed) = (0u64, 0u64);
    let mut left = 0u64;
    let exit = match args.exit_below {
        Some(below) => Some(Exit {
            below,
            stakes: None,
        }),
        // What rounding to bf16 could turn into a first choice is no certain miss.
        None => args
            .exit_at_miss
            .then(|| Exit::at_miss(errors(&model.backend.info().arithmetic, (0.0, 0.0)).0)),
    };
    let (mut seconds, mut cpu) = (0.0, 0.0);
    let mut lines = Vec::with_capacity(LINES);
    let mut rest = input.split(b'\n').enumerate().peekable();
    while rest.peek().is_some() {
        lines.clear();
        for (number, line) in rest.by_ref().take(LINES) {
            let line = line.with_context(|| format!("{name}: can't be read"))?;
            if !line.trim_ascii().is_empty() {
                lines.push(understand(&line, number + 1, &name, &model));
            }
        }
        let inputs: Vec<ScoreInput<'_>> = lines
            .iter()
            .filter_map(|(_, window)| window.as_ref().ok())
            .map(|w| ScoreInput {
                token_ids: &w.token_ids,
                prefix_len: w.prefix_len,
            })
            .collect();
        let (started, before) = (Instant::now(), system::cpu_seconds());
        // Equal lines are scored once.
        let mut scores = once(&inputs, |inputs| match &exit {
            Some(exit) => model.backend.score_until(inputs, exit),
            None => model.backend.score(inputs),
        })
        .into_iter();
        seconds += started.elapsed().as_secs_f64();
        cpu += system::cpu_seconds()
            .zip(before)
            .map_or(f64::NAN, |(after, before)| after - before);
        for (id, window) in &lines {
            let told = match window {
                Ok(window) => match scores.next() {
                    Some(Ok(scores)) => Ok((window, scores)),
                    Some(Err(error)) => Err(format!("{name}:{}: {error}", window.line)),
                    None => Err(format!("{name}:{}: no score came back", window.line)),
                },
                Err(error) => Err(error.clone()),
            };
            match told {
                Ok((window, scores)) => {
                    let told = tell(id, window, &scores);
                    scored += 1;
                    left += u64::from(told.left_after.is_some());
                    serde_json::to_writer(&mut output, &told)?;
                }
                Err(error) => {
                    failed += 1;
                    serde_json::to_writer(&mut output, &Failed { id, error: &error })?;
                }
            }
            output.write_all(b"\n")?;
        }
        output
            .flush()
            .with_context(|| format!("{}: can't be written", args.output.display()))?;
    }
    let rate = scored as f64 / f64::max(seconds, 1e-9);
    let cpu = if cpu.is_finite() {
        format!(", {cpu:.2} s of processor time")
    } else {
        String::new()
    };
    let exits = exit.map_or_else(String::new, |_| format!(", {left} left before their end"));
    out::note(format_args!(
        "{scored} windows scored in {seconds:.3} s ({rate:.2} a second{cpu}), {failed} not{exits}"
    ));
    if scored + failed == 0 {
        out::note(format_args!("{name}: there is no window in it"));
        return Ok(Outcome::Undecided);
    }
    Ok(if failed == 0 {
        Outcome::Done
    } else {
        Outcome::Undecided
    })
}

fn reader(path: &Path) -> Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("{}: can't be read", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

fn writer(path: &Path) -> Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let file =
        File::create(path).with_context(|| format!("{}: can't be written", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

/// A line's id, and its window or what is wrong with it.
fn understand(
    line: &[u8],
    number: usize,
    file: &str,
    model: &LoadedModel,
) -> (Value, Result<Window, String>) {
    let at = |what: String| format!("{file}:{number}: {what}");
    let asked: Asked = match serde_json::from_slice(line) {
        Ok(asked) => asked,
        Err(error) => {
            let id = serde_json::from_slice::<Value>(line)
                .ok()
                .and_then(|v| v.get("id").cloned())
                .unwrap_or(Value::Null);
            return (id, Err(at(error.to_string())));
        }
    };
    let window = match (
        asked.token_ids,
        asked.prefix_len,
        asked.prefix,
        asked.suffix,
    ) {
        (Some(token_ids), Some(prefix_len), None, None) => Ok(Window {
            line: number,
            token_ids,
            prefix_len,
        }),
        (None, None, Some(prefix), Some(suffix)) => encode(prefix, suffix, model)
            .map(|window| Window {
                line: number,
                token_ids: window.token_ids,
                prefix_len: window.placement.prefix_len as usize,
            })
            .map_err(at),
        _ => Err(at(
            "give \"token_ids\" and \"prefix_len\", or \"prefix\" and \"suffix\"".to_owned(),
        )),
    };
    (asked.id, window)
}

/// Prefix and suffix encoded as one text.
fn encode(
    prefix: String,
    suffix: String,
    model: &LoadedModel,
) -> Result<byrote_core::window::Window, String> {
    let tokenizer = model
        .tokenizer
        .as_deref()
        .ok_or("the model has no tokenizer; give \"token_ids\"")?;
    cut_split(prefix, suffix, tokenizer, model.bos_token)
}

fn tell<'a>(id: &'a Value, window: &'a Window, scores: &'a TokenScores) -> Told<'a> {
    let greedy_match: Vec<bool> = scores.rank.iter().map(|rank| *rank == 0).collect();
    let (scored, missed) = (scores.logprob.len(), greedy_match.contains(&false));
    let whole = scored >= window.token_ids.len() - window.prefix_len;
    Told {
        id,
        token_ids: &window.token_ids,
        prefix_len: window.prefix_len,
        left_after: (!whole).then_some(scored),
        logprobs: &scores.logprob,
        ranks: &scores.rank,
        greedy_exact: (whole || missed).then_some(!missed),
        greedy_match,
        sum_logprob: whole.then(|| scores.logprob.iter().map(|lp| f64::from(*lp)).sum()),
    }
}
