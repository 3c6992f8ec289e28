//! The mixer of Mamba 2: one decay per head, and groups of heads that share the projections into
//! and out of the state.

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
    /// `-exp(A_log)`, `[heads]`.
    a: Tensor,
    d: Tensor,
    step_bias: Tensor,
    step_limit: (f64, f64),
    /// Over the width of a group, as in training.
    norm: Norm,
    norm_weight: Tensor,
    output: Linear,
    heads: usize,
    width: usize,
    groups: usize,
    state: usize,
}

impl Mixer {
    pub(super) fn load(
        c: &Config,
        [heads, width, groups]: [usize; 3],
        step_limit: (f64, f64),
        at: &TensorScope<'_>,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let mixed = c.inner + 2 * groups * c.state;
        Ok(Self {
            input: at.linear(
                &[("in_proj", c.inner + mixed + heads)],
                c.hidden,
                c.bias,
                Layout::OUT_IN,
            )?,
            conv: Convolution::load(c, mixed, at)?,
            a: at.tensor("A_log", &[heads])?.exp()?.neg()?,
            d: at.tensor("D", &[heads])?.unsqueeze(1)?,
            step_bias: at.tensor("dt_bias", &[heads])?,
            step_limit,
            norm: plain_norm(c.inner / groups, c.eps, device)?,
            norm_weight: at.tensor("norm.weight", &[c.inner])?,
            output: at.linear(&[("out_proj", c.hidden)], c.inner, c.bias, Layout::OUT_IN)?,
            heads,
            width,
            groups,
            state: c.state,
        })
    }

    pub(super) fn start(&self) -> Result<Layer> {
        let state = Tensor::zeros(
            (self.heads, self.width, self.state),
            DType::F32,
            self.a.device(),
        )?;
        Ok(Layer {
            inputs: self.conv.start()?,
            state,
        })
    }

    /// `[n, hidden]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor, layer: &mut Layer) -> Result<Tensor> {
        let n = x.dim(0)?;
        let (inner, shared) = (self.heads * self.width, self.groups * self.state);
        let all = self.input.forward(x, Arithmetic::F32)?;
        let gate = all.narrow(1, 0, inner)?.contiguous()?;
        let mixed = self.conv.forward(
            &all.narrow(1, inner, inner + 2 * shared)?,
            &mut layer.inputs,
        )?;
        let step = all
            .narrow(1, 2 * inner + 2 * shared, self.heads)?
            .broadcast_add(&self.step_bias)?;
        let step = softplus(&step)?.clamp(
            self.step_limit.0 as f32,
            self.step_limit.1.min(f64::from(f32::MAX)) as f32,
        )?;
        let x = mixed
            .narrow(1, 0, inner)?
            .reshape((n, self.heads, self.width))?;
        // Repeats a group's vector for each of its heads: `[n, heads, state]`.
        let spread = |start: usize| {
            let part = mixed
                .narrow(1, start, shared)?
                .reshape((n, self.groups, 1, self.state))?;
            let part = part.broadcast_as((n, self.groups, self.heads / self.groups, self.state))?;
            part.reshape((n, self.heads, self.state))
        };
        let y = self.scan(
            &x,
            &step,
            &spread(inner)?,
            &spread(inner + shared)?,
            &mut layer.state,
        )?;
        let y = (y + x.broadcast_mul(&self.d)?)?.reshape((n, inner))?;
        let y =
            (y * candle_nn::ops::silu(&gate)?)?.reshape((n, self.groups, inner / self.groups))?;
        let y = self
            .norm
            .forward(&y)?
            .reshape((n, inner))?
            .broadcast_mul(&self.norm_weight)?;
        self.output.forward(&y, Arithmetic::F32)
    }

    /// `h = exp(step * a) * h + step * x b^T` and `y = h c` per head, token by token; `y` is `[n,
    /// heads, width]`.
    fn scan(
        &self,
        x: &Tensor,
        step: &Tensor,
        b: &Tensor,
        c: &Tensor,
        state: &mut Tensor,
    ) -> Result<Tensor> {
        let n = x.dim(0)?;
        let decay = step
            .broadcast_mul(&self.a)?
            .exp()?
            .reshape((n, self.heads, 1, 1))?;
        let x = x.broadcast_mul(&step.unsqueeze(2)?)?;
        let mut outputs = Vec::new();
        for start in (0..n).step_by(CHUNK) {
            let len = CHUNK.min(n - start);
            let at_step = |t: &Tensor| t.narrow(0, start, len);
            let added = at_step(&x)?
                .unsqueeze(3)?
                .broadcast_mul(&at_step(b)?.unsqueeze(2)?)?;
            let mut states = Vec::with_capacity(len);
            for i in 0..len {
                *state = (state.broadcast_mul(&decay.get(start + i)?)? + added.get(i)?)?;
                states.push(state.clone());
            }
            let states = Tensor::stack(&states, 0)?;
            outputs.push(
                states
                    .matmul(&at_step(c)?.unsqueeze(3)?.contiguous()?)?
                    .squeeze(3)?,
            );
        }
        Tensor::cat(&outputs, 0)
    }
}
