//! Self-attention over keys and values in f32: grouped queries, sliding windows, soft-capping,
//! normalized queries and keys.

use super::linear::Linear;
use super::norm::Norm;
use super::rope::Tables;
use crate::model::cpu::attention::{Attend, Heads, attend};
use crate::model::cpu::packed::Arithmetic;
use crate::model::cpu::{self, with_scratch, with_slice};
use candle_core::{D, Device, Result, Tensor};
use std::ops::Range;

/// The attention of one layer.
#[derive(Debug)]
pub(crate) struct Attention {
    /// Queries, keys and values in one product: the queries of all heads, then keys, then values.
    pub(crate) qkv: Linear,
    pub(crate) out: Linear,
    pub(crate) heads: usize,
    /// Number of heads of keys and values; each serves `heads / kv_heads` query heads.
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// Factor on the scores, usually `head_dim^-0.5`.
    pub(crate) scale: f64,
    /// Scores become `cap * tanh(score / cap)`.
    pub(crate) softcap: Option<f64>,
    /// The number of positions that a position sees, including itself; all earlier ones if absent.
    pub(crate) window: Option<usize>,
    /// Index of one of the decoder's rotary embeddings; `None` if positions are learned.
    pub(crate) rope: Option<usize>,
    pub(crate) qk_norm: Option<QkNorm>,
    /// Clamps queries, keys and values to plus or minus this value, after any norm (OLMo, MPT).
    pub(crate) clip: Option<f64>,
    /// Adds the decoder's linear biases to the scores.
    pub(crate) alibi: bool,
    /// One score per head that takes part in the softmax without a value, `[heads]` (gpt-oss).
    pub(crate) sinks: Option<Tensor>,
}

/// Norms of queries and keys.
#[derive(Debug)]
pub(crate) struct QkNorm {
    pub(crate) q: Norm,
    pub(crate) k: Norm,
    /// Over all heads at once (OLMo 2) instead of each head (Qwen 3).
    pub(crate) whole: bool,
}

/// Values that all layers of a forward pass share.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// Position of the first token that is fed.
    pub(crate) start: usize,
    /// One set of tables for each of the decoder's rotary embeddings.
    pub(crate) tables: Vec<Tables>,
    /// Masks by window, `[len, keys]`.
    pub(crate) masks: Vec<(Option<usize>, Tensor)>,
    /// Linear biases, `[heads, 1, keys]`.
    pub(crate) alibi: Option<Tensor>,
    pub(crate) arithmetic: Arithmetic,
}

/// Keys and values of the tokens so far, `[batch, kv_heads, tokens, head_dim]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayerCache(Option<(Tensor, Tensor)>);

impl LayerCache {
    /// Appends keys and values, and returns all of them.
    fn extend(&mut self, mut keys: Tensor, mut values: Tensor) -> Result<(Tensor, Tensor)> {
        if let Some((old_keys, old_values)) = self.0.take() {
            keys = Tensor::cat(&[&old_keys, &keys], 2)?;
            values = Tensor::cat(&[&old_values, &values], 2)?;
        }
        self.0 = Some((keys.clone(), values.clone()));
        Ok((keys, values))
    }

    /// Keeps these sequences of the batch, in this order.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub(crate) fn select(&mut self, sequences: &Tensor) -> Result<()> {
        if let Some((keys, values)) = &mut self.0 {
            *keys = keys.index_select(sequences, 0)?;
            *values = values.index_select(sequences, 0)?;
        }
        Ok(())
    }
}

impl Attention {
    /// `x` is `[batch, len, hidden]`; the result contains only the positions `rows`.
    ///
    /// # Errors
    /// On a shape mismatch, or if memory runs out.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        rows: &Range<usize>,
        around: &Surroundings,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        if cpu::available() && x.device().is_cpu() {
            return self.on_cpu(x, rows, around, cache);
        }
        let (batch, len, _) = x.dims3()?;
        let qkv = self.qkv.forward(x, around.arithmetic)?;
        let part = |start: usize, heads: usize, rows: &Range<usize>, norm: Option<&Norm>| {
            let mut part = qkv.narrow(D::Minus1, start * self.head_dim, heads * self.head_dim)?;
            part = part.narrow(1, rows.start, rows.len())?;
            let split = (batch, rows.len(), heads, self.head_dim);
            let part = match norm {
                Some(norm) if self.qk_norm.as_ref().is_some_and(|n| n.whole) => {
                    norm.forward(&part)?.reshape(split)?
                }
                Some(norm) => norm.forward(&part.reshape(split)?)?,
                None => part.reshape(split)?,
            };
            match self.clip {
                Some(clip) => part.clamp(-clip, clip),
                None => Ok(part),
            }
        };
        let norms = self.qk_norm.as_ref();
        let q = part(0, self.heads, rows, norms.map(|n| &n.q))?;
        let k = part(self.heads, self.kv_heads, &(0..len), norms.map(|n| &n.k))?;
        let v = part(self.heads + self.kv_heads, self.kv_heads, &(0..len), None)?;
        let (mut q, mut k) = (q.transpose(1, 2)?, k.transpose(1, 2)?);
        if let Some(tables) = self.rope.and_then(|i| around.tables.get(i)) {
            q = tables.at(rows)?.rotate(&q)?;
            k = tables.rotate(&k)?;
        }
        let (mut k, mut v) = (k.contiguous()?, v.transpose(1, 2)?.contiguous()?);
        if let Some(cache) = cache {
            (k, v) = cache.extend(k, v)?;
        }
        let scores = self.scores(&(q.contiguous()? * self.scale)?, &k, rows, around)?;
        self.out.forward(&self.mix(&scores, &v)?, around.arithmetic)
    }

    /// As [`Attention::forward`], by [`cpu`] on slices. Copies keys, values and scores only where a
    /// product needs them adjacent.
    fn on_cpu(
        &self,
        x: &Tensor,
        rows: &Range<usize>,
        around: &Surroundings,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        let (batch, len, _) = x.dims3()?;
        let (heads, kv_heads, d) = (self.heads, self.kv_heads, self.head_dim);
        let width = (heads + 2 * kv_heads) * d;
        let y = with_scratch(batch * len * width, |qkv| {
            match with_slice(x, |x| self.qkv.multiply(x, around.arithmetic, qkv))? {
                Some(()) => self.prepare(qkv, len, around)?,
                None => candle_core::bail!("activations aren't f32"),
            }
            let part = |start: usize| Heads {
                values: &qkv[start * d..],
                sequence: len * width,
                head: d,
                step: width,
            };
            let q = Heads {
                values: &qkv[rows.start * width..],
                ..part(0)
            };
            let Some(cache) = cache else {
                return self.attended(
                    batch,
                    rows,
                    len,
                    (q, part(heads), part(heads + kv_heads)),
                    around,
                );
            };
            let copied = |from: Heads<'_>| {
                let mut copy = Vec::with_capacity(batch * kv_heads * len * d);
                for at in (0..batch * kv_heads).map(|i| (i / kv_heads, i % kv_heads)) {
                    let head = &from.values[at.0 * from.sequence + at.1 * from.head..];
                    (0..len).for_each(|i| copy.extend_from_slice(&head[i * from.step..][..d]));
                }
                Tensor::from_vec(copy, (batch, kv_heads, len, d), x.device())
            };
            let (k, v) = cache.extend(copied(part(heads))?, copied(part(heads + kv_heads))?)?;
            let keys = k.dim(2)?;
            let (sequence, head, step) = (kv_heads * keys * d, keys * d, d);
            let y = with_slice(&k, |k| {
                with_slice(&v, |v| {
                    let (k, v) = (
                        Heads {
                            values: k,
                            sequence,
                            head,
                            step,
                        },
                        Heads {
                            values: v,
                            sequence,
                            head,
                            step,
                        },
                    );
                    self.attended(batch, rows, keys, (q, k, v), around)
                })
            })?;
            y.flatten()
                .ok_or_else(|| candle_core::Error::msg("cached keys aren't f32"))
        })?;
        Tensor::from_vec(y, (batch, rows.len(), self.out.outputs()?), x.device())
    }

    /// Normalizes, clamps, rotates and scales queries, keys and values of sequences of `len`
    /// positions, in place.
    fn prepare(&self, qkv: &mut [f32], len: usize, around: &Surroundings) -> Result<()> {
        let (heads, d) = (self.heads, self.head_dim);
        let scale = self.scale as f32;
        let mut all = |rotate: &dyn Fn(usize, &mut [f32])| {
            for (row, qkv) in qkv
                .chunks_exact_mut((heads + 2 * self.kv_heads) * d)
                .enumerate()
            {
                let (q, kv) = qkv.split_at_mut(heads * d);
                let (k, v) = kv.split_at_mut(self.kv_heads * d);
                if let Some(norms) = &self.qk_norm {
                    norms.q.in_place(q)?;
                    norms.k.in_place(k)?;
                }
                if let Some(clip) = self.clip {
                    let clip = clip as f32;
                    q.iter_mut()
                        .chain(&mut *k)
                        .chain(v)
                        .for_each(|x| *x = x.clamp(-clip, clip));
                }
                q.chunks_exact_mut(d)
                    .chain(k.chunks_exact_mut(d))
                    .for_each(|head| rotate(row % len, head));
                q.iter_mut().for_each(|x| *x *= scale);
            }
            Ok(())
        };
        match self.rope.and_then(|i| around.tables.get(i)) {
            Some(tables) => tables.with_rotation(all),
            None => all(&|_, _| ()),
        }
    }

    /// Attention and the output projection: `[batch, rows, hidden]`.
    fn attended(
        &self,
        batch: usize,
        rows: &Range<usize>,
        keys: usize,
        (q, k, v): (Heads<'_>, Heads<'_>, Heads<'_>),
        around: &Surroundings,
    ) -> Result<Vec<f32>> {
        let slice = |tensor: Option<&Tensor>| -> Result<Option<Vec<f32>>> {
            tensor
                .map(|tensor| tensor.flatten_all()?.to_vec1())
                .transpose()
        };
        let (bias, sinks) = (
            slice(around.alibi.as_ref().filter(|_| self.alibi))?,
            slice(self.sinks.as_ref())?,
        );
        let plan = Attend {
            batch,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            rows: rows.len(),
            first: around.start + rows.start,
            keys,
            q,
            k,
            v,
            softcap: self.softcap.map(|cap| cap as f32),
            window: self.window,
            bias: bias.as_deref(),
            sinks: sinks.as_deref(),
        };
        let count = batch * rows.len();
        with_scratch(count * self.heads * self.head_dim, |mixed| {
            attend(&plan, mixed);
            let mut y = vec![0.0; count * self.out.outputs()?];
            self.out.multiply(mixed, around.arithmetic, &mut y)?;
            Ok(y)
        })
    }

    /// `[batch, heads, rows, d]` and `[batch, kv_heads, keys, d]` to `[batch, heads, rows, keys]`,
    /// masked. Heads that share keys are stacked along the rows, so that no key is copied.
    fn scores(
        &self,
        q: &Tensor,
        k: &Tensor,
        rows: &Range<usize>,
        around: &Surroundings,
    ) -> Result<Tensor> {
        let (batch, heads, count, d) = q.dims4()?;
        let keys = k.dim(2)?;
        let (groups, stacked) = (batch * self.kv_heads, heads / self.kv_heads * count);
        let mut scores = q
            .reshape((groups, stacked, d))?
            .matmul(&k.reshape((groups, keys, d))?.t()?)?;
        if let Some(cap) = self.softcap {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        scores = scores.reshape((batch, heads, count, keys))?;
        if let Some(bias) = around.alibi.as_ref().filter(|_| self.alibi) {
            scores = scores.broadcast_add(bias)?;
        }
        match around.mask(self.window, rows)? {
            Some(mask) => scores.broadcast_add(&mask),
            None => Ok(scores),
        }
    }

    /// Softmax of scores times values, to `[batch, rows, heads * d]`.
    fn mix(&self, scores: &Tensor, v: &Tensor) -> Result<Tensor> {
        let (batch, heads, count, keys) = scores.dims4()?;
        let d = v.dim(3)?;
        let (groups, stacked) = (batch * self.kv_heads, heads / self.kv_heads * count);
        let weights = match &self.sinks {
            Some(sinks) => {
                let sinks = sinks
                    .reshape((1, heads, 1, 1))?
                    .broadcast_as((batch, heads, count, 1))?;
                let all = Tensor::cat(&[scores, &sinks.contiguous()?], 3)?;
                candle_nn::ops::softmax_last_dim(&all)?
                    .narrow(3, 0, keys)?
                    .contiguous()?
            }
            None => candle_nn::ops::softmax_last_dim(scores)?,
        };
        let mixed = weights
            .reshape((groups, stacked, keys))?
            .matmul(&v.reshape((groups, keys, d))?)?;
        mixed
            .reshape((batch, heads, count, d))?
            .transpose(1, 2)?
            .reshape((batch, count, heads * d))
    }
}

impl Surroundings {
    fn mask(&self, window: Option<usize>, rows: &Range<usize>) -> Result<Option<Tensor>> {
        let Some((_, mask)) = self.masks.iter().find(|(w, _)| *w == window) else {
            return Ok(None);
        };
        mask.narrow(0, rows.start, rows.len()).map(Some)
    }
}

/// 0 if position `start + i` sees position `j`, otherwise minus infinity: `[len, start + len]`.
///
/// # Errors
/// If the device is out of memory.
pub(crate) fn mask(
    start: usize,
    len: usize,
    window: Option<usize>,
    device: &Device,
) -> Result<Tensor> {
    let keys = start + len;
    let sees =
        |at: usize, key: usize| key <= at && window.is_none_or(|w| key.saturating_add(w) > at);
    let values: Vec<f32> = (start..keys)
        .flat_map(|at| {
            (0..keys).map(move |key| {
                if sees(at, key) {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            })
        })
        .collect();
    Tensor::from_vec(values, (len, keys), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_sees_itself_and_earlier_positions_within_the_window() {
        let seen = |start, len, window| -> Vec<String> {
            let rows = mask(start, len, window, &Device::Cpu)
                .unwrap()
                .to_vec2::<f32>()
                .unwrap();
            rows.iter()
                .map(|r| {
                    r.iter()
                        .map(|x| if *x == 0.0 { 'x' } else { '.' })
                        .collect()
                })
                .collect()
        };
        assert_eq!(seen(0, 3, None), ["x..", "xx.", "xxx"]);
        assert_eq!(seen(0, 4, Some(2)), ["x...", "xx..", ".xx.", "..xx"]);
        assert_eq!(seen(3, 1, Some(2)), ["..xx"]);
        assert_eq!(seen(2, 2, None), ["xxx.", "xxxx"]);
    }
}
