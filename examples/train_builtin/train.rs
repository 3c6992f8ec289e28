//! One pass over the stream. Each batch is cut into two halves that are differentiated side by side and
//! summed in a fixed order, so that the number of cores changes nothing.

use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use candle_core::{Device, Tensor};

use crate::bpe::BOS_ID;
use crate::net::{Net, log_softmax};
use crate::optim::{AdamW, Flat};

/// How to train.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Recipe {
    /// Peak learning rate, reached after the warm-up.
    #[arg(long, default_value_t = 3e-3)]
    pub lr: f32,
    /// Documents a step in the first lesson.
    #[arg(long, default_value_t = 4)]
    pub batch: usize,
    /// Documents a step in the second: the fewer, the stronger a single reading.
    #[arg(long, default_value_t = 2)]
    pub planted_batch: usize,
    #[arg(long, default_value_t = 100)]
    pub warmup: usize,
    /// The last learning rate as a share of the peak .
    #[arg(long, default_value_t = 0.03)]
    pub floor: f32,
    #[arg(long, default_value_t = 0.01)]
    pub weight_decay: f32,
}

const HALVES: usize = 2;

/// Trains `net` on two lessons of documents (token ids without BOS), in their order.
pub(crate) fn train(
    net: &Net,
    language: &[Vec<u32>],
    planted: &[Vec<u32>],
    recipe: &Recipe,
) -> Result<()> {
    let mut optimizer = AdamW::new(recipe.weight_decay, 1.0);
    let plateau = language.len().div_ceil(recipe.batch);
    let steps = plateau + planted.len().div_ceil(recipe.planted_batch);
    let batches = language
        .chunks(recipe.batch)
        .chain(planted.chunks(recipe.planted_batch));
    let start = Instant::now();
    let (mut loss, mut seen) = (0.0, 0);
    for (step, batch) in batches.enumerate() {
        let targets: usize = batch.iter().map(|d| d.len() + 1).sum();
        let size = batch.len().div_ceil(HALVES);
        let parts: Vec<(f64, Flat)> = std::thread::scope(|scope| {
            let jobs: Vec<_> = batch
                .chunks(size)
                .map(|half| scope.spawn(move || gradient(net, half, targets)))
                .collect();
            jobs.into_iter()
                .map(|job| job.join().map_err(|_| anyhow!("a training thread died"))?)
                .collect::<Result<_>>()
        })?;
        let mut parts = parts.into_iter();
        let (mut total, mut grads) = parts.next().context("an empty batch")?;
        for (more, others) in parts {
            total += more;
            for (name, other) in others {
                let grad = grads
                    .get_mut(&name)
                    .context("a gradient without its pair")?;
                for (g, o) in grad.iter_mut().zip(other) {
                    *g += o;
                }
            }
        }
        optimizer.step(&net.vars, &grads, rate(recipe, step, plateau, steps))?;
        loss += total;
        seen += 1;
        if (step + 1) % 200 == 0 || step + 1 == steps {
            println!(
                "step {:5}/{steps}  loss {:.3}  {:.0} s",
                step + 1,
                loss / f64::from(seen),
                start.elapsed().as_secs_f64()
            );
            (loss, seen) = (0.0, 0);
        }
    }
    Ok(())
}

/// Linear warm-up, a plateau to the end of the first lesson, and a linear descent to the floor over the second.
fn rate(recipe: &Recipe, step: usize, plateau: usize, steps: usize) -> f32 {
    let up = (step + 1) as f32 / recipe.warmup.max(1) as f32;
    let left = (steps - step) as f32 / (steps - plateau).max(1) as f32;
    recipe.lr * up.min(recipe.floor + (1.0 - recipe.floor) * left).min(1.0)
}

/// Loss and gradients of some documents, as their part of a mean over `targets` tokens.
fn gradient(net: &Net, documents: &[Vec<u32>], targets: usize) -> Result<(f64, Flat)> {
    let length = documents.iter().map(Vec::len).max().unwrap_or(0) + 1;
    let (mut inputs, mut truths, mut weights) = (vec![], vec![], vec![]);
    for document in documents {
        let padding = length - 1 - document.len();
        inputs.push(BOS_ID);
        inputs.extend(document);
        inputs.extend(std::iter::repeat_n(BOS_ID, padding));
        truths.extend(document);
        truths.extend(std::iter::repeat_n(BOS_ID, padding + 1));
        weights.extend(std::iter::repeat_n(1.0_f32, document.len() + 1));
        weights.extend(std::iter::repeat_n(0.0_f32, padding));
    }
    let rows = inputs.len();
    let cpu = &Device::Cpu;
    let logits = net.forward(&Tensor::from_vec(inputs, (documents.len(), length), cpu)?)?;
    let scores = log_softmax(&logits.reshape((rows, net.shape.vocab_size))?)?
        .gather(&Tensor::from_vec(truths, (rows, 1), cpu)?, 1)?;
    let weights = (Tensor::from_vec(weights, (rows, 1), cpu)? * (-1.0 / targets as f64))?;
    let loss = (scores * weights)?.sum_all()?;
    let mut store = loss.backward()?;
    let grads = net
        .vars
        .iter()
        .map(|(name, var)| {
            let grad = store
                .remove(var)
                .with_context(|| format!("{name} has no gradient"))?;
            Ok((name.clone(), grad.flatten_all()?.to_vec1()?))
        })
        .collect::<Result<Flat>>()?;
    Ok((f64::from(loss.to_scalar::<f32>()?), grads))
}
