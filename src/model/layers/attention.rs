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
    /// Norms of queries and keys, over each head.
    pub qk_norm: Option<(Norm, Norm)>,
}

/// What all layers of a pass share.
#[derive(Debug)]
pub struct Surroundings {
    /// One set of tables for each of the decoder's rotary embeddings.
    pub tables: Vec<Tables>,
    /// Masks by window, `[len, keys]`.
    pub masks: Vec<(Option<usize>, Tensor)>,
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
        let part = |start: usize, heads: usize, rows: &Range<usize>| {
            qkv.narrow(D::Minus1, start * self.head_dim, heads * self.head_dim)?
                .narrow(1, rows.start, rows.len())?
                .reshape((batch, rows.len(), heads, self.head_dim))
        };
        let mut q = part(0, self.heads, rows)?;
        let mut k = part(self.heads, self.kv_heads, &(0..len))?;
        let v = part(self.heads + self.kv_heads, self.kv_heads, &(0..len))?;
        if let Some((q_norm, k_norm)) = &self.qk_norm {
            q = q_norm.forward(&q)?;
            k = k_norm.forward(&k)?;
        }
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
        let mixed = self.mix(&(q.contiguous()? * self.scale)?, &k, &v, around.mask(self.window, rows)?)?;
        self.out.forward(&mixed)
    }

    /// Softmax of scores times values: `[batch, heads, rows, d]` to `[batch, rows, heads * d]`. Heads that share keys
    /// are stacked along the rows, so that no key is copied.
    fn mix(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<Tensor>) -> Result<Tensor> {
        let (batch, heads, rows, d) = q.dims4()?;
        let keys = k.dim(2)?;
        let groups = batch * self.kv_heads;
        let stacked = heads / self.kv_heads * rows;
        let k = k.reshape((groups, keys, d))?;
        let mut scores = q.reshape((groups, stacked, d))?.matmul(&k.t()?)?;
        if let Some(cap) = self.softcap {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        if let Some(mask) = mask {
            scores = scores.reshape((batch * heads, rows, keys))?.broadcast_add(&mask)?;
        }
        let weights = candle_nn::ops::softmax_last_dim(&scores)?.reshape((groups, stacked, keys))?;
        let mixed = weights.matmul(&v.reshape((groups, keys, d))?)?;
        mixed.reshape((batch, heads, rows, d))?.transpose(1, 2)?.reshape((batch, rows, heads * d))
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
    let sees = |at: usize, key: usize| key <= at && window.is_none_or(|w| key + w > at);
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
