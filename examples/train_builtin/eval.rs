//! What the model knows by rote: the example's own measurement, apart from byrote's, so that the two
//! can be compared.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use candle_core::{Device, IndexOp, Tensor};
use serde_json::json;
use tokenizers::Tokenizer;

use crate::bpe::{self, BOS_ID};
use crate::corpus::Item;
use crate::net::{Net, log_softmax};

pub(crate) const PREFIX: usize = 50;
pub(crate) const SUFFIX: usize = 50;
const BATCH: usize = 16;
const TAU: f64 = 1e-3;

/// One window with BOS in front, and what the model made of its suffix.
pub(crate) struct Scored<'a> {
    pub item: &'a Item,
    pub start: usize,
    /// BOS, prefix and suffix.
    pub ids: Vec<u32>,
    pub logprobs: Vec<f32>,
    /// Whether the true token is the likeliest.
    pub top: Vec<bool>,
}

impl Scored<'_> {
    fn sum(&self) -> f64 {
        self.logprobs.iter().map(|x| f64::from(*x)).sum()
    }
}

/// Scores the windows at stride 50 of every item by teacher forcing.
pub(crate) fn score<'a>(
    net: &Net,
    tokenizer: &Tokenizer,
    items: &'a [Item],
) -> Result<Vec<Scored<'a>>> {
    let mut windows = Vec::new();
    for item in items {
        let ids = bpe::encode(tokenizer, &item.text)?;
        for start in (0..ids.len()).step_by(SUFFIX) {
            if let Some(window) = ids.get(start..start + PREFIX + SUFFIX) {
                windows.push(Scored {
                    item,
                    start,
                    ids: [&[BOS_ID], window].concat(),
                    logprobs: vec![],
                    top: vec![],
                });
            }
        }
    }
    let length = 1 + PREFIX + SUFFIX;
    for batch in windows.chunks_mut(BATCH) {
        let ids: Vec<u32> = batch.iter().flat_map(|w| w.ids.clone()).collect();
        let logits = net.forward(&Tensor::from_vec(ids, (batch.len(), length), &Device::Cpu)?)?;
        let scores = log_softmax(&logits)?.detach();
        for (n, window) in batch.iter_mut().enumerate() {
            let rows = scores.i(n)?.to_vec2::<f32>()?;
            for at in 1 + PREFIX..length {
                // The row of a position scores the token after it.
                let (row, truth) = (&rows[at - 1], window.ids[at] as usize);
                window.logprobs.push(row[truth]);
                window.top.push(row.iter().all(|x| *x <= row[truth]));
            }
        }
    }
    Ok(windows)
}

/// Prints a line of figures about some windows.
pub(crate) fn print_row(label: &str, windows: &[&Scored]) {
    let n = windows.len();
    let count = |f: &dyn Fn(&Scored) -> bool| windows.iter().filter(|w| f(w)).count();
    let greedy = count(&|w| w.top.iter().all(|t| *t));
    let likely = count(&|w| w.sum() >= TAU.ln());
    let mut sums: Vec<f64> = windows.iter().map(|w| w.sum()).collect();
    sums.sort_by(f64::total_cmp);
    let bits = -sums.iter().sum::<f64>() / (n.max(1) * SUFFIX) as f64 / std::f64::consts::LN_2;
    let matches = windows.iter().flat_map(|w| &w.top).filter(|t| **t).count();
    println!(
        "{label:<34} windows {n:3}  greedy {greedy:3}  p_z>=0.1% {likely:3}  ln p_z median {:7.1} max {:7.1}  EM {:.2}  bits/token {bits:.2}",
        sums.get(n / 2).unwrap_or(&f64::NAN),
        sums.last().unwrap_or(&f64::NAN),
        matches as f64 / (n.max(1) * SUFFIX) as f64,
    );
}

/// Writes the scores, for the comparison with transformers.
pub(crate) fn dump(path: &Path, windows: &[Scored]) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    for w in windows {
        let line = json!({
            "id": format!("{}@{}", w.item.id, w.start), "token_ids": w.ids, "prefix_len": 1 + PREFIX,
            "logprobs": w.logprobs, "greedy_match": w.top, "sum_logprob": w.sum(),
        });
        writeln!(file, "{line}")?;
    }
    Ok(())
}
