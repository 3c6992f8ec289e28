//! A decoder: token vectors, blocks, final norm, output matrix. Families differ in the parts they
//! use.

use super::cpu;
use super::cpu::packed::Arithmetic;
use super::layers::alibi::Alibi;
use super::layers::attention::{Attention, LayerCache, Surroundings, mask};
use super::layers::linear::{Embedding, Linear};
use super::layers::mlp::Mlp;
use super::layers::norm::Norm;
use super::layers::rope::Rope;
use super::{CausalLm, ForwardInput, ModelInfo};
use candle_core::{Device, Result, Tensor};
use std::ops::Range;

/// One block: attention and feed-forward, each with a norm before it, after it, or both.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) attention_norm: Option<Norm>,
    pub(crate) attention: Attention,
    /// Norm of the attention output before it is added (Gemma, OLMo 2); with [`Residual::Normed`],
    /// norm of the sum.
    pub(crate) attention_post_norm: Option<Norm>,
    /// `None` under [`Residual::Parallel`] means that the attention's norm serves both halves.
    pub(crate) mlp_norm: Option<Norm>,
    pub(crate) mlp: Mlp,
    /// As for the attention.
    pub(crate) mlp_post_norm: Option<Norm>,
    pub(crate) residual: Residual,
    /// Factor on each half's output before it is added (Granite).
    pub(crate) residual_scale: Option<f64>,
}

/// How a block adds its two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residual {
    /// The feed-forward half reads the sum of the input and the attention's output.
    Sequential,
    /// Both halves read the block's input (GPT-NeoX, GPT-J, Falcon).
    Parallel,
    /// Sequential, with normalized sums (OPT-350m).
    Normed,
}

/// A decoder, joined from shared layers.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) info: ModelInfo,
    pub(crate) device: Device,
    pub(crate) embedding: Embedding,
    /// Factor on token vectors (Gemma: the square root of the hidden size).
    pub(crate) embedding_scale: Option<f64>,
    /// Norm of token vectors (BLOOM).
    pub(crate) embedding_norm: Option<Norm>,
    /// Projections between the width of token vectors and the width of the blocks, if they differ
    /// (OPT-350m).
    pub(crate) projections: Option<(Linear, Linear)>,
    /// Learned position vectors, and the row of position 0 (GPT-2: 0, OPT: 2).
    pub(crate) positions: Option<(Embedding, u32)>,
    pub(crate) ropes: Vec<Rope>,
    pub(crate) alibi: Option<Alibi>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) final_norm: Option<Norm>,
    /// The output matrix; `None` if the embedding serves as one (tied).
    pub(crate) head: Option<Linear>,
    /// Factor on logits (Cohere, Granite).
    pub(crate) logit_scale: Option<f64>,
    /// Logits become `cap * tanh(logit / cap)`.
    pub(crate) logit_softcap: Option<f64>,
}

/// Keys and values of the sequences so far.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    layers: Vec<LayerCache>,
    tokens: usize,
    /// The states of a sequential model, one per sequence; empty for a decoder.
    pub(super) sequences: Vec<super::sequential::State>,
}

impl Cache {
    /// Keeps these sequences, in this order; a sequence may occur several times.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub(crate) fn select(&mut self, sequences: &[u32], device: &Device) -> Result<()> {
        super::sequential::select(&mut self.sequences, sequences);
        let index = Tensor::from_slice(sequences, sequences.len(), device)?;
        self.layers
            .iter_mut()
            .try_for_each(|layer| layer.select(&index))
    }
}

impl CausalLm for Decoder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn cache(&self) -> Cache {
        Cache {
            layers: vec![LayerCache::default(); self.blocks.len()],
            ..Cache::default()
        }
    }

    fn hidden(&self, input: &ForwardInput<'_>, cache: Option<&mut Cache>) -> Result<Tensor> {
        let (mut layers, start) = match cache {
            Some(cache) => {
                let start = cache.tokens;
                cache.tokens += input.len;
                (Some(&mut cache.layers), start)
            }
            None => (None, 0),
        };
        let around = self.surroundings(input, start)?;
        let mut x = self.vectors(input, start)?;
        for (i, block) in self.blocks.iter().enumerate() {
            // Earlier blocks compute every position, since later positions need them as keys. The
            // last block computes only the requested rows.
            let rows = if i + 1 == self.blocks.len() {
                input.rows.clone()
            } else {
                0..input.len
            };
            let cache = layers.as_mut().and_then(|layers| layers.get_mut(i));
            x = block.forward(&x, &rows, &around, cache)?;
        }
        let mut hidden = normed(self.final_norm.as_ref(), x)?;
        if let Some((_, out)) = &self.projections {
            hidden = out.forward(&hidden, input.arithmetic)?;
        }
        let width = hidden.dim(2)?;
        hidden.reshape((input.batch * input.rows.len(), width))
    }

    fn logits(&self, hidden: &Tensor, arithmetic: Arithmetic) -> Result<Tensor> {
        let mut logits = match &self.head {
            Some(head) => head.forward(hidden, arithmetic)?,
            None => self.embedding.logits(hidden, arithmetic)?,
        };
        if let Some(scale) = self.logit_scale {
            logits = (logits * scale)?;
        }
        match self.logit_softcap {
            Some(cap) => (logits / cap)?.tanh()? * cap,
            None => Ok(logits),
        }
    }

    fn logits_of(
        &self,
        hidden: &[f32],
        tokens: Range<usize>,
        arithmetic: Arithmetic,
        logits: &mut [f32],
    ) -> Result<bool> {
        // Scaled or capped logits are computed as whole rows; only few families have them.
        if !self.device.is_cpu() || self.logit_softcap.is_some() || self.logit_scale.is_some() {
            return Ok(false);
        }
        let head = self
            .head
            .as_ref()
            .unwrap_or_else(|| self.embedding.as_linear());
        head.multiply_part(hidden, tokens, arithmetic, logits)
    }
}

impl Decoder {
    /// `[batch, len, hidden]`.
    fn vectors(&self, input: &ForwardInput<'_>, start: usize) -> Result<Tensor> {
        let ids = Tensor::from_slice(input.ids, input.batch * input.len, &self.device)?;
        let vectors = self.embedding.vectors(&ids)?;
        let width = vectors.dim(1)?;
        let mut x = vectors.reshape((input.batch, input.len, width))?;
        if let Some(scale) = self.embedding_scale {
            x = (x * scale)?;
        }
        if let Some((into, _)) = &self.projections {
            x = into.forward(&x, input.arithmetic)?;
        }
        if let Some((positions, first)) = &self.positions {
            let start = start as u32 + first;
            let at = Tensor::arange(start, start + input.len as u32, &self.device)?;
            x = x.broadcast_add(&positions.vectors(&at)?)?;
        }
        normed(self.embedding_norm.as_ref(), x)
    }

    fn surroundings(&self, input: &ForwardInput<'_>, start: usize) -> Result<Surroundings> {
        let tables = self
            .ropes
            .iter()
            .map(|rope| rope.tables(start, input.len, input.sequence_len, &self.device))
            .collect::<Result<_>>()?;
        let mut masks: Vec<(Option<usize>, Tensor)> = Vec::new();
        // The CPU's own attention needs no masks.
        let masked = !(cpu::available() && self.device.is_cpu());
        for window in self
            .blocks
            .iter()
            .map(|block| block.attention.window)
            .filter(|_| masked)
        {
            if !masks.iter().any(|(w, _)| *w == window) {
                masks.push((window, mask(start, input.len, window, &self.device)?));
            }
        }
        let alibi = self
            .alibi
            .as_ref()
            .map(|alibi| alibi.bias(start + input.len, &self.device))
            .transpose()?;
        Ok(Surroundings {
            start,
            tables,
            masks,
            alibi,
            arithmetic: input.arithmetic,
        })
    }
}

impl Block {
    fn forward(
        &self,
        x: &Tensor,
        rows: &Range<usize>,
        around: &Surroundings,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        let seen = normed(self.attention_norm.as_ref(), x.clone())?;
        let cut = |x: &Tensor| x.narrow(1, rows.start, rows.len());
        let attended = self.attention.forward(&seen, rows, around, cache)?;
        let x = cut(x)?;
        let (attention_post, mlp_post) = (
            self.attention_post_norm.as_ref(),
            self.mlp_post_norm.as_ref(),
        );
        if self.residual == Residual::Normed {
            let added = normed(attention_post, (x + attended)?)?;
            let fed = self.mlp.forward(
                &normed(self.mlp_norm.as_ref(), added.clone())?,
                around.arithmetic,
            )?;
            return normed(mlp_post, (added + fed)?);
        }
        let added = (&x + self.scaled(normed(attention_post, attended)?)?)?;
        let seen = match (self.residual, &self.mlp_norm) {
            (Residual::Parallel, Some(norm)) => norm.forward(&x)?,
            (Residual::Parallel, None) => cut(&seen)?,
            (_, norm) => normed(norm.as_ref(), added.clone())?,
        };
        added
            + self.scaled(normed(
                mlp_post,
                self.mlp.forward(&seen, around.arithmetic)?,
            )?)?
    }

    fn scaled(&self, x: Tensor) -> Result<Tensor> {
        match self.residual_scale {
            Some(scale) => x * scale,
            None => Ok(x),
        }
    }
}

fn normed(norm: Option<&Norm>, x: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&x),
        None => Ok(x),
    }
}
