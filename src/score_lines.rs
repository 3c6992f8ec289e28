//! Scores windows line by line: JSON in, JSON out.

use anyhow::{Context, Result};
use byrote::checkpoint::LoadedModel;
use byrote_core::backend::exit::Exit;
use byrote_core::backend::{Backend, ScoreError, ScoreInput, TokenScores};
use byrote_core::run::dedup::once;
use byrote_core::system;
use byrote_core::window::cut::cut_split;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

/// Lines scored together: the most that a kill loses, and enough to give every thread batches.
const LINES: usize = 256;

/// A line of input. Other fields are ignored, so that output can be input again.
#[derive(Deserialize)]
struct InputLine {
    id: Value,
    token_ids: Option<Vec<u32>>,
    prefix_len: Option<usize>,
    prefix: Option<String>,
    suffix: Option<String>,
}

/// A line of output.
#[derive(Serialize)]
struct OutputLine<'a> {
    id: &'a Value,
    token_ids: &'a [u32],
    prefix_len: usize,
    /// Number of scored suffix tokens, and the length of every list, if scoring stopped early.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_after: Option<usize>,
    logprobs: &'a [f32],
    ranks: &'a [u32],
    greedy_match: Vec<bool>,
    /// Null if scoring stopped early.
    sum_logprob: Option<f64>,
    /// Null if scoring stopped early without a miss.
    greedy_exact: Option<bool>,
}

#[derive(Serialize)]
struct FailedLine<'a> {
    id: &'a Value,
    error: &'a str,
}

/// The window of a valid line.
struct Window {
    line: usize,
    token_ids: Vec<u32>,
    prefix_len: usize,
}

/// Scores the lines of a file, and counts them.
pub(crate) struct LineScorer<'a> {
    model: &'a LoadedModel,
    /// When to stop scoring a window.
    exit: Option<Exit>,
    /// The input's name, for errors.
    file: &'a str,
    scored: u64,
    pub(crate) failed: u64,
    stopped: u64,
    seconds: f64,
    cpu_seconds: f64,
}

impl<'a> LineScorer<'a> {
    pub(crate) fn new(model: &'a LoadedModel, exit: Option<Exit>, file: &'a str) -> Self {
        let (scored, failed, stopped) = (0, 0, 0);
        let (seconds, cpu_seconds) = (0.0, 0.0);
        Self {
            model,
            exit,
            file,
            scored,
            failed,
            stopped,
            seconds,
            cpu_seconds,
        }
    }

    /// Scores all lines, in their order.
    pub(crate) fn run(
        &mut self,
        input: impl BufRead,
        (output, output_file): (&mut dyn Write, &Path),
    ) -> Result<()> {
        let file = self.file;
        let mut rest = input.split(b'\n').enumerate().peekable();
        while rest.peek().is_some() {
            let mut lines = Vec::with_capacity(LINES);
            for (number, line) in rest.by_ref().take(LINES) {
                let line = line.with_context(|| format!("{file}: can't be read"))?;
                if !line.trim_ascii().is_empty() {
                    lines.push(parse(&line, number + 1, file, self.model));
                }
            }
            let scores = self.score(&lines);
            self.write(&lines, scores, output)
                .with_context(|| format!("{}: can't be written", output_file.display()))?;
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.scored + self.failed == 0
    }

    /// How many windows were scored, and how fast.
    pub(crate) fn summary(&self) -> String {
        let Self {
            scored,
            failed,
            stopped,
            seconds,
            cpu_seconds,
            ..
        } = self;
        let rate = *scored as f64 / f64::max(*seconds, 1e-9);
        let cpu = if cpu_seconds.is_finite() {
            format!(", {cpu_seconds:.2} s of processor time")
        } else {
            String::new()
        };
        let exits = match self.exit {
            Some(_) => format!(", {stopped} left before their end"),
            None => String::new(),
        };
        format!(
            "{scored} windows scored in {seconds:.3} s ({rate:.2} a second{cpu}), {failed} not{exits}"
        )
    }

    /// Scores of the valid lines. Equal windows are scored once.
    fn score(&mut self, lines: &[ParsedLine]) -> Vec<Result<TokenScores, ScoreError>> {
        let windows = lines.iter().filter_map(|(_, window)| window.as_ref().ok());
        let inputs: Vec<ScoreInput<'_>> = windows
            .map(|window| ScoreInput {
                token_ids: &window.token_ids,
                prefix_len: window.prefix_len,
            })
            .collect();
        let (started, before) = (Instant::now(), system::cpu_seconds());
        let scores = once(&inputs, |inputs| match &self.exit {
            Some(exit) => self.model.backend.score_until(inputs, exit),
            None => self.model.backend.score(inputs),
        });
        self.seconds += started.elapsed().as_secs_f64();
        self.cpu_seconds += match (before, system::cpu_seconds()) {
            (Some(before), Some(after)) => after - before,
            _ => f64::NAN,
        };
        scores
    }

    fn write(
        &mut self,
        lines: &[ParsedLine],
        scores: Vec<Result<TokenScores, ScoreError>>,
        output: &mut dyn Write,
    ) -> Result<()> {
        let mut scores = scores.into_iter();
        for (id, window) in lines {
            let scored = match window {
                Ok(window) => match scores.next() {
                    Some(Ok(scores)) => Ok((window, scores)),
                    Some(Err(error)) => Err(format!("{}:{}: {error}", self.file, window.line)),
                    None => Err(format!("{}:{}: no score came back", self.file, window.line)),
                },
                Err(error) => Err(error.clone()),
            };
            match scored {
                Ok((window, scores)) => {
                    let line = output_line(id, window, &scores);
                    self.scored += 1;
                    self.stopped += u64::from(line.left_after.is_some());
                    serde_json::to_writer(&mut *output, &line)?;
                }
                Err(error) => {
                    self.failed += 1;
                    serde_json::to_writer(&mut *output, &FailedLine { id, error: &error })?;
                }
            }
            output.write_all(b"\n")?;
        }
        Ok(output.flush()?)
    }
}

/// A line's id, and its window or an error.
type ParsedLine = (Value, Result<Window, String>);

/// Reads a line: its id, and its window or an error.
fn parse(line: &[u8], number: usize, file: &str, model: &LoadedModel) -> ParsedLine {
    let at = |error: String| format!("{file}:{number}: {error}");
    let input: InputLine = match serde_json::from_slice(line) {
        Ok(input) => input,
        Err(error) => {
            let id = serde_json::from_slice::<Value>(line)
                .ok()
                .and_then(|v| v.get("id").cloned())
                .unwrap_or(Value::Null);
            return (id, Err(at(error.to_string())));
        }
    };
    let window = match (
        input.token_ids,
        input.prefix_len,
        input.prefix,
        input.suffix,
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
    (input.id, window)
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

fn output_line<'a>(id: &'a Value, window: &'a Window, scores: &'a TokenScores) -> OutputLine<'a> {
    let greedy_match: Vec<bool> = scores.rank.iter().map(|rank| *rank == 0).collect();
    let (scored, missed) = (scores.logprob.len(), greedy_match.contains(&false));
    let whole = scored >= window.token_ids.len() - window.prefix_len;
    OutputLine {
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
