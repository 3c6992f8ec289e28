//! The mixer of Mamba 1: a selective state space with a separate state for every channel.

use super::{CHUNK, Config, Convolution, Layer, plain_norm, softplus};
use crate::model::Arithmetic;
use crate::model::ModelError;
use crate::model::layers::linear::Linear;
use crate::model::layers::norm::Norm;
use crate::model::weights::scope::{Layout, TensorScope};
use candle_core::{DType, Device, Result, Tensor};

#[derive(Debug)]
pub(super) struct Mixer {
    input: Linear,
    conv: Convolution,
    /// Projects to the time step's low rank and to the vectors into and out of the state.
    select: Linear,
    step: Linear,
    /// `-exp(A_log)`, `[inner, state]`.
    a: Tensor,
    d: Tensor,
    output: Linear,
    /// Falcon's norms of the time step and of the vectors into and out of the state.
    norms: Option<[Norm; 2]>,
    rank: usize,
}

impl Mixer {
    pub(super) fn load(
        c: &Config,
        rank: usize,
        eps: Option<f64>,
        at: &TensorScope<'_>,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        // This comes after the tensors whose shapes confirm these sizes.
        let norms = |eps| {
            Ok::<_, ModelError>([
                plain_norm(rank, eps, device)?,
                plain_norm(c.state, eps, device)?,
            ])
        };
        Ok(Self {
            input: at.linear(
                &[("in_proj", 2 * c.inner)],
                c.hidden,
                c.bias,
                Layout::OUT_IN,
            )?,
            conv: Convolution::load(c, c.inner, at)?,
            select: at.linear(
                &[("x_proj", rank + 2 * c.state)],
                c.inner,
                false,
                Layout::OUT_IN,
            )?,
            step: at.linear(&[("dt_proj", c.inner)], rank, true, Layout::OUT_IN)?,
            a: at.tensor("A_log", &[c.inner, c.state])?.exp()?.neg()?,
            d: at.tensor("D", &[c.inner])?,
            output: at.linear(&[("out_proj", c.hidden)], c.inner, c.bias, Layout::OUT_IN)?,
            norms: eps.map(norms).transpose()?,
            rank,
        })
    }

    pub(super) fn start(&self) -> Result<Layer> {
        let state = Tensor::zeros(self.a.shape(), DType::F32, self.a.device())?;
        Ok(Layer {
            inputs: self.conv.start()?,
            state,
        })
    }

    /// `[n, hidden]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor, layer: &mut Layer) -> Result<Tensor> {
        let (inner, state) = self.a.dims2()?;
        let both = self.input.forward(x, Arithmetic::F32)?;
        let x = self
            .conv
            .forward(&both.narrow(1, 0, inner)?, &mut layer.inputs)?;
        let gate = both.narrow(1, inner, inner)?.contiguous()?;
        let selected = self.select.forward(&x, Arithmetic::F32)?;
        let part = |start: usize, width: usize, which: usize| {
            let part = selected.narrow(1, start, width)?.contiguous()?;
            self.norms
                .as_ref()
                .map_or(Ok(part.clone()), |norms| norms[which].forward(&part))
        };
        let step = softplus(
            &self
                .step
                .forward(&part(0, self.rank, 0)?, Arithmetic::F32)?,
        )?;
        let (b, c) = (
            part(self.rank, state, 1)?,
            part(self.rank + state, state, 1)?,
        );
        let y = self.scan(&x, &step, &b, &c, &mut layer.state)?;
        let y = (y + x.broadcast_mul(&self.d)?)?;
        self.output
            .forward(&(y * candle_nn::ops::silu(&gate)?)?, Arithmetic::F32)
    }

    /// `h = exp(step * a) * h + step * x * b` and `y = h . c`, token by token; `y` is `[n, inner]`.
    fn scan(
        &self,
        x: &Tensor,
        step: &Tensor,
        b: &Tensor,
        c: &Tensor,
        state: &mut Tensor,
    ) -> Result<Tensor> {
        let n = x.dim(0)?;
        let mut outputs = Vec::new();
        for start in (0..n).step_by(CHUNK) {
            let len = CHUNK.min(n - start);
            let at_step = |t: &Tensor| t.narrow(0, start, len);
            let decay = at_step(step)?.unsqueeze(2)?.broadcast_mul(&self.a)?.exp()?;
            let added = (at_step(step)? * at_step(x)?)?
                .unsqueeze(2)?
                .broadcast_mul(&at_step(b)?.unsqueeze(1)?)?;
            let mut states = Vec::with_capacity(len);
            for i in 0..len {
                *state = ((&*state * decay.get(i)?)? + added.get(i)?)?;
                states.push(state.clone());
            }
            let states = Tensor::stack(&states, 0)?;
            outputs.push(
                states
                    .matmul(&at_step(c)?.unsqueeze(2)?.contiguous()?)?
                    .squeeze(2)?,
            );
        }
        Tensor::cat(&outputs, 0)
    }
}
