//! Attention over keys and values in their memory layout, one head and twelve positions at a time.

use super::packed::PANEL;
use super::product::tiles;
use byrote_core::simd::{exp, vectorized};
use std::cell::RefCell;

/// Positions that are computed together.
const TILE: usize = 12;

/// The vectors of heads in memory. Each head's vectors are `step` numbers apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads<'a> {
    pub(crate) values: &'a [f32],
    /// Distance between consecutive sequences of the batch.
    pub(crate) sequence: usize,
    /// Distance between consecutive heads.
    pub(crate) head: usize,
    /// Distance between consecutive positions.
    pub(crate) step: usize,
}

impl<'a> Heads<'a> {
    fn head(&self, sequence: usize, head: usize) -> &'a [f32] {
        &self.values[sequence * self.sequence + head * self.head..]
    }
}

/// The attention of one layer over a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attend<'a> {
    pub(crate) batch: usize,
    pub(crate) heads: usize,
    /// Number of heads of keys and values; each serves `heads / kv_heads` query heads.
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// Queries per sequence. The first is at position `first` and may see the keys up to this
    /// position.
    pub(crate) rows: usize,
    pub(crate) first: usize,
    /// Keys per sequence.
    pub(crate) keys: usize,
    /// Queries, already scaled.
    pub(crate) q: Heads<'a>,
    pub(crate) k: Heads<'a>,
    pub(crate) v: Heads<'a>,
    /// Scores become `cap * tanh(score / cap)`.
    pub(crate) softcap: Option<f32>,
    /// The number of positions that a position sees, including itself.
    pub(crate) window: Option<usize>,
    /// Added to the scores, `[heads, keys]`.
    pub(crate) bias: Option<&'a [f32]>,
    /// One score per head that takes part in the softmax without a value.
    pub(crate) sinks: Option<&'a [f32]>,
}

#[derive(Default)]
struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Softmax of scores times values: `[batch, rows, heads * head_dim]`.
///
/// # Panics
/// If a slice is shorter than its description says.
pub(crate) fn attend(plan: &Attend<'_>, out: &mut [f32]) {
    let &Attend {
        batch,
        heads,
        kv_heads,
        head_dim,
        rows,
        first,
        keys,
        ..
    } = plan;
    let (width, padded, panels) = (
        heads * head_dim,
        keys.next_multiple_of(PANEL),
        head_dim.div_ceil(PANEL),
    );
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.keys.resize(padded * head_dim, 0.0);
        scratch.values.resize(panels * keys * PANEL, 0.0);
        scratch.scores.resize(TILE * padded, 0.0);
        for sequence in 0..batch {
            for group in 0..kv_heads {
                keys_by_component(
                    plan.k.head(sequence, group),
                    plan.k.step,
                    keys,
                    head_dim,
                    &mut scratch.keys,
                );
                values_by_panel(
                    plan.v.head(sequence, group),
                    plan.v.step,
                    keys,
                    head_dim,
                    &mut scratch.values,
                );
                for head in group * heads / kv_heads..(group + 1) * heads / kv_heads {
                    let q = plan.q.head(sequence, head);
                    for row in (0..rows).step_by(TILE) {
                        let count = TILE.min(rows - row);
                        let seen = seen(plan, first + row, count);
                        let Scratch {
                            keys,
                            values,
                            scores,
                        } = &mut *scratch;
                        for panel in seen.start / PANEL..seen.end.div_ceil(PANEL) {
                            let weights = &keys[panel * head_dim * PANEL..][..head_dim * PANEL];
                            let target = &mut scores[panel * PANEL..];
                            tiles(
                                &q[row * plan.q.step..],
                                plan.q.step,
                                count,
                                weights,
                                target,
                                padded,
                                PANEL,
                            );
                        }
                        for (at, scores) in scores.chunks_exact_mut(padded).take(count).enumerate()
                        {
                            let own = self::seen(plan, first + row + at, 1);
                            weigh(plan, head, own.start, &mut scores[own.clone()]);
                            scores[seen.start..own.start].fill(0.0);
                            scores[own.end..seen.end].fill(0.0);
                        }
                        let begin = (sequence * rows + row) * width + head * head_dim;
                        for panel in 0..panels {
                            let weights = &values[(panel * plan.keys + seen.start) * PANEL..]
                                [..seen.len() * PANEL];
                            let columns = PANEL.min(head_dim - panel * PANEL);
                            let target = &mut out[begin + panel * PANEL..];
                            tiles(
                                &scores[seen.start..],
                                padded,
                                count,
                                weights,
                                target,
                                width,
                                columns,
                            );
                        }
                    }
                }
            }
        }
    });
}

/// The keys that are visible from at least one of `count` positions from `at` on.
fn seen(plan: &Attend<'_>, at: usize, count: usize) -> std::ops::Range<usize> {
    let end = (at + count).min(plan.keys);
    plan.window
        .map_or(0, |window| (at + 1).saturating_sub(window))
        .min(end)..end
}

/// Turns the scores of one position, over the keys from `first` on, into weights that sum to 1.
fn weigh(plan: &Attend<'_>, head: usize, first: usize, scores: &mut [f32]) {
    if let Some(cap) = plan.softcap {
        scores
            .iter_mut()
            .for_each(|score| *score = cap * (*score / cap).tanh());
    }
    if let Some(bias) = plan.bias {
        let bias = &bias[head * plan.keys + first..];
        scores
            .iter_mut()
            .zip(bias)
            .for_each(|(score, bias)| *score += bias);
    }
    softmax(
        scores,
        plan.sinks.map_or(f32::NEG_INFINITY, |sinks| sinks[head]),
    );
}

vectorized! {
    /// Softmax in place. `sink` is an additional score whose weight is dropped.
    fn softmax(scores: &mut [f32], sink: f32) {
        let mut tops = [sink; 16];
        let mut lanes = scores.chunks_exact(16);
        for lane in &mut lanes {
            for (top, score) in tops.iter_mut().zip(lane) {
                *top = if *score > *top { *score } else { *top };
            }
        }
        let top = tops.iter().chain(lanes.remainder()).fold(sink, |top, score| if *score > top { *score } else { top });
        let mut sums = [0f32; 16];
        let mut lanes = scores.chunks_exact_mut(16);
        for lane in &mut lanes {
            for (sum, score) in sums.iter_mut().zip(lane) {
                *score = exp(*score - top);
                *sum += *score;
            }
        }
        let mut sum = if sink == f32::NEG_INFINITY { 0.0 } else { exp(sink - top) };
        for score in lanes.into_remainder() {
            *score = exp(*score - top);
            sum += *score;
        }
        sum += sums.iter().sum::<f32>();
        let scale = 1.0 / sum;
        scores.iter_mut().for_each(|score| *score *= scale);
    }
}

vectorized! {
    /// Keys in panels of 32 positions, component by component.
    fn keys_by_component(from: &[f32], step: usize, keys: usize, head_dim: usize, to: &mut [f32]) {
        for (panel, to) in to.chunks_exact_mut(head_dim * PANEL).enumerate() {
            for lane in 0..PANEL {
                let key = panel * PANEL + lane;
                if key < keys {
                    for (component, value) in from[key * step..][..head_dim].iter().enumerate() {
                        to[component * PANEL + lane] = *value;
                    }
                } else {
                    to[lane..].iter_mut().step_by(PANEL).for_each(|to| *to = 0.0);
                }
            }
        }
    }
}

vectorized! {
    /// Values in panels of 32 components, position by position.
    fn values_by_panel(from: &[f32], step: usize, keys: usize, head_dim: usize, to: &mut [f32]) {
        for (panel, to) in to.chunks_exact_mut(keys * PANEL).enumerate() {
            let columns = PANEL.min(head_dim - panel * PANEL);
            for (key, to) in to.chunks_exact_mut(PANEL).enumerate() {
                to[..columns].copy_from_slice(&from[key * step + panel * PANEL..][..columns]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i + salt) * 7_919 % 2_003) as f32 / 1_001.0 - 1.0)
            .collect()
    }

    /// One component of the output at one position, by the definition, in f64.
    fn by_definition(
        plan: &Attend<'_>,
        sequence: usize,
        head: usize,
        row: usize,
        component: usize,
    ) -> f64 {
        let at = plan.first + row;
        let group = head / (plan.heads / plan.kv_heads);
        let vector = |heads: &Heads<'_>, head: usize, position: usize, i: usize| {
            f64::from(heads.head(sequence, head)[position * heads.step + i])
        };
        let seen = (0..plan.keys)
            .filter(|key| *key <= at && plan.window.is_none_or(|window| key + window > at));
        let score = |key: usize| {
            let dot = (0..plan.head_dim)
                .map(|i| vector(&plan.q, head, row, i) * vector(&plan.k, group, key, i));
            let dot: f64 = dot.sum();
            let capped = plan
                .softcap
                .map_or(dot, |cap| f64::from(cap) * (dot / f64::from(cap)).tanh());
            capped
                + plan
                    .bias
                    .map_or(0.0, |bias| f64::from(bias[head * plan.keys + key]))
        };
        let sink = plan.sinks.map_or(0.0, |sinks| f64::from(sinks[head]).exp());
        let total = seen.clone().map(|key| score(key).exp()).sum::<f64>() + sink;
        seen.map(|key| score(key).exp() / total * vector(&plan.v, group, key, component))
            .sum()
    }

    #[test]
    fn attention_agrees_with_its_definition() {
        let (batch, heads, kv_heads) = (2, 6, 2);
        for (head_dim, rows, first, keys) in [
            (3, 1, 0, 1),
            (32, 13, 0, 13),
            (40, 25, 20, 45),
            (64, 3, 67, 70),
        ] {
            // Queries in the layout of a fused product; keys and values in the layout of a cache.
            let width = heads * head_dim + 7;
            let q = numbers(batch * rows * width, 1);
            let (k, v) = (
                numbers(batch * kv_heads * keys * head_dim, 5),
                numbers(batch * kv_heads * keys * head_dim, 9),
            );
            let bias = numbers(heads * keys, 3);
            let sinks = numbers(heads, 4);
            let cached = |values| Heads {
                values,
                sequence: kv_heads * keys * head_dim,
                head: keys * head_dim,
                step: head_dim,
            };
            let plain = Attend {
                batch,
                heads,
                kv_heads,
                head_dim,
                rows,
                first,
                keys,
                q: Heads {
                    values: &q,
                    sequence: rows * width,
                    head: head_dim,
                    step: width,
                },
                k: cached(&k),
                v: cached(&v),
                softcap: None,
                window: None,
                bias: None,
                sinks: None,
            };
            let plans = [
                plain,
                Attend {
                    window: Some(5),
                    ..plain
                },
                Attend {
                    softcap: Some(0.5),
                    bias: Some(&bias),
                    ..plain
                },
                Attend {
                    sinks: Some(&sinks),
                    window: Some(40),
                    ..plain
                },
            ];
            for plan in &plans {
                let mut out = vec![f32::NAN; batch * rows * heads * head_dim];
                attend(plan, &mut out);
                for (i, found) in out.iter().enumerate() {
                    let (position, within) = (i / (heads * head_dim), i % (heads * head_dim));
                    let (sequence, row) = (position / rows, position % rows);
                    let want =
                        by_definition(plan, sequence, within / head_dim, row, within % head_dim);
                    let close = (f64::from(*found) - want).abs() < 2e-5;
                    assert!(
                        close,
                        "{head_dim} {rows} {first} {keys} {i}: {found} against {want}"
                    );
                }
            }
        }
    }
}
