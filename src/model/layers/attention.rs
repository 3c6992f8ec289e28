//! Self-attention over keys and values in f32: grouped queries, sliding windows, soft-capping,
//! normalized queries and keys.

use super::linear::Linear;
use super::norm::Norm;
use super::rope::Tables;
use candle_core::{D, Device, Result, Tensor};
use std::ops::Range;

/// One layer's attention.
#[derive(Debug)]
pub struct Attention {
    /// Queries, keys and values in one product: all heads' queries, then keys, then values.
    pub qkv: Linear,
    pub out: Linear,
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` heads of queries.
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Factor on the scores, usually `head_dim^-0.5`.
    pub scale: f64,
    /// Scores become `cap * tanh(score / cap)`.
    pub softcap: Option<f64>,
    /// A position sees this many positions, itself included; all earlier ones if absent.
    pub window: Option<usize>,
    /// Which of the decoder's rotary embeddings; none where positions are learned.
    pub rope: Option<usize>,
    pub qk_norm: Option<QkNorm>,
    /// Queries, keys and values, normalized where they are, are held between minus this and this (OLMo, MPT).
    pub clip: Option<f64>,
    /// Adds the decoder's linear biases to the scores.
    pub alibi: bool,
    /// A score for each head that takes part in the softmax without a value, `[heads]` (gpt-oss).
    pub sinks: Option<Tensor>,
}

/// Norms of queries and keys.
#[derive(Debug)]
pub struct QkNorm {
    pub q: Norm,
    pub k: Norm,
    /// Over all heads at once (OLMo 2) in place of each head (Qwen 3).
    pub whole: bool,
}

/// What all layers of a pass share.
#[derive(Debug)]
pub struct Surroundings {
    /// One set of tables for each of the decoder's rotary embeddings.
    pub tables: Vec<Tables>,
    /// Masks by window, `[len, keys]`.
    pub masks: Vec<(Option<usize>, Tensor)>,
    /// Linear biases, `[heads, 1, keys]`.
    pub alibi: Option<Tensor>,
}

/// Keys and values of the tokens seen so far, `[batch, kv_heads, tokens, head_dim]`.
#[derive(Clone, Debug, Default)]
pub struct LayerCache(Option<(Tensor, Tensor)>);

impl LayerCache {
    /// Keeps these sequences of the batch, in this order.
    ///
    /// # Errors
    /// When the device has no memory for it.
    pub fn select(&mut self, sequences: &Tensor) -> Result<()> {
        if let Some((keys, values)) = &mut self.0 {
            *keys = keys.index_select(sequences, 0)?;
            *values = values.index_select(sequences, 0)?;
        }
        Ok(())
    }
}

impl Attention {
    /// `x` is `[batch, len, hidden]`; the outcome has only the positions `rows`.
    ///
    /// # Errors
    /// On a shape mismatch or want of memory.
    pub fn forward(
        &self,
        x: &Tensor,
        rows: &Range<usize>,
        around: &Surroundings,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        let (batch, len, _) = x.dims3()?;
        let qkv = self.qkv.forward(x)?;
        let part = |start: usize, heads: usize, rows: &Range<usize>, norm: Option<&Norm>| {
            let mut part = qkv.narrow(D::Minus1, start * self.head_dim, heads * self.head_dim)?;
            part = part.narrow(1, rows.start, rows.len())?;
            let split = (batch, rows.len(), heads, self.head_dim);
            let part = match norm {
                Some(norm) if self.qk_norm.as_ref().is_some_and(|n| n.whole) => norm.forward(&part)?.reshape(split)?,
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
        if let Some(LayerCache(held)) = cache {
            if let Some((old_k, old_v)) = held.take() {
                k = Tensor::cat(&[&old_k, &k], 2)?;
                v = Tensor::cat(&[&old_v, &v], 2)?;
            }
            *held = Some((k.clone(), v.clone()));
        }
        let scores = self.scores(&(q.contiguous()? * self.scale)?, &k, rows, around)?;
        self.out.forward(&self.mix(&scores, &v)?)
    }

    /// `[batch, heads, rows, d]` and `[batch, kv_heads, keys, d]` to `[batch, heads, rows, keys]`, masked. Heads that share
    /// keys are stacked along the rows, so that no key is copied.
    fn scores(&self, q: &Tensor, k: &Tensor, rows: &Range<usize>, around: &Surroundings) -> Result<Tensor> {
        let (batch, heads, count, d) = q.dims4()?;
        let keys = k.dim(2)?;
        let (groups, stacked) = (batch * self.kv_heads, heads / self.kv_heads * count);
        let mut scores = q.reshape((groups, stacked, d))?.matmul(&k.reshape((groups, keys, d))?.t()?)?;
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
                let sinks = sinks.reshape((1, heads, 1, 1))?.broadcast_as((batch, heads, count, 1))?;
                let all = Tensor::cat(&[scores, &sinks.contiguous()?], 3)?;
                candle_nn::ops::softmax_last_dim(&all)?.narrow(3, 0, keys)?.contiguous()?
            }
            None => candle_nn::ops::softmax_last_dim(scores)?,
        };
        let mixed = weights.reshape((groups, stacked, keys))?.matmul(&v.reshape((groups, keys, d))?)?;
        mixed.reshape((batch, heads, count, d))?.transpose(1, 2)?.reshape((batch, count, heads * d))
    }
}

impl Surroundings {
    fn mask(&self, window: Option<usize>, rows: &Range<usize>) -> Result<Option<Tensor>> {
        let Some((_, mask)) = self.masks.iter().find(|(w, _)| *w == window) else { return Ok(None) };
        mask.narrow(0, rows.start, rows.len()).map(Some)
    }
}

/// 0 where position `start + i` sees position `j`, minus infinity elsewhere: `[len, start + len]`.
///
/// # Errors
/// When the device has no memory for it.
pub fn mask(start: usize, len: usize, window: Option<usize>, device: &Device) -> Result<Tensor> {
    let keys = start + len;
    let sees = |at: usize, key: usize| key <= at && window.is_none_or(|w| key.saturating_add(w) > at);
    let values: Vec<f32> = (start..keys)
        .flat_map(|at| (0..keys).map(move |key| if sees(at, key) { 0.0 } else { f32::NEG_INFINITY }))
        .collect();
    Tensor::from_vec(values, (len, keys), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_sees_itself_and_what_came_before_within_the_window() {
        let seen = |start, len, window| -> Vec<String> {
            let rows = mask(start, len, window, &Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            rows.iter().map(|r| r.iter().map(|x| if *x == 0.0 { 'x' } else { '.' }).collect()).collect()
        };
        assert_eq!(seen(0, 3, None), ["x..", "xx.", "xxx"]);
        assert_eq!(seen(0, 4, Some(2)), ["x...", "xx..", ".xx.", "..xx"]);
        assert_eq!(seen(3, 1, Some(2)), ["..xx"]);
        assert_eq!(seen(2, 2, None), ["xxx.", "xxxx"]);
    }
}
