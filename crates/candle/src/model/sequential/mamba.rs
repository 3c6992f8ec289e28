//! Mamba 1 (arXiv 2312.00752), Falcon-Mamba (arXiv 2410.05355) and Mamba 2 (arXiv 2405.21060),
//! implemented by byrote.
//!
//! candle-transformers supports only one shape of Mamba 1, without a separate output matrix and
//! without Falcon's norms. Its Mamba 2 normalizes over all groups at once, and both lose small time
//! steps in `log(exp(x) + 1)`.

mod heads;
mod selective;

use super::fields::Fields;
use crate::model::Arithmetic;
use crate::model::layers::linear::{Embedding, Linear};
use crate::model::layers::norm::Norm;
use crate::model::weights::Weights;
use crate::model::weights::scope::{Layout, TensorScope};
use crate::model::{ModelError, ModelInfo};
use candle_core::{Device, Result, Tensor};

/// Number of tokens whose states are in memory at once.
const CHUNK: usize = 32;

/// The checked config.json.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    kind: String,
    vocab_size: usize,
    hidden: usize,
    /// Width inside a mixer.
    inner: usize,
    state: usize,
    layers: usize,
    eps: f64,
    kernel: usize,
    bias: bool,
    conv_bias: bool,
    tied: bool,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    /// Mamba 1: one state per channel. `norms` is the epsilon of Falcon's norms.
    Selective { rank: usize, norms: Option<f64> },
    /// Mamba 2: one decay per head. The heads of a group share the projections into and out of the
    /// state.
    Heads {
        heads: usize,
        width: usize,
        groups: usize,
        limit: (f64, f64),
    },
}

impl Config {
    /// Reads and checks config.json.
    ///
    /// # Errors
    /// If a field is missing or asks for something that isn't supported here.
    pub(crate) fn read(fields: &Fields, kind: &str) -> std::result::Result<Self, ModelError> {
        let second = kind == "mamba2";
        fields.only(
            "hidden_act",
            &["silu".to_owned()],
            "Mamba has no other activation",
        )?;
        fields.only("rms_norm", &[true], "Mamba 2 has no other norm")?;
        let hidden = fields.size("hidden_size")?;
        let inner = match fields.or("expand", 2.0)? {
            expand if (1.0..=64.0).contains(&expand) => (expand * hidden as f64) as usize,
            expand => return Err(fields.wrong(format!("\"expand\" is {expand}"))),
        };
        let form = if second {
            let (heads, width) = (
                fields.size_or("num_heads", 128)?,
                fields.size_or("head_dim", 64)?,
            );
            let groups = fields.size_or("n_groups", 8)?;
            if heads.saturating_mul(width) != inner || heads % groups != 0 {
                return Err(fields.wrong(format!(
                    "{heads} heads of {width} in {groups} groups don't add up to the width {inner} given by \"expand\""
                )));
            }
            Form::Heads {
                heads,
                width,
                groups,
                limit: fields.or("time_step_limit", (0.0, f64::MAX))?,
            }
        } else {
            let rank = match fields.get::<serde_json::Value>("time_step_rank")? {
                Some(serde_json::Value::Number(_)) => fields.size("time_step_rank")?,
                _ => hidden.div_ceil(16),
            };
            let falcon = kind == "falcon_mamba";
            Form::Selective {
                rank,
                norms: falcon
                    .then(|| fields.or("mixer_rms_eps", 1e-6))
                    .transpose()?,
            }
        };
        Ok(Self {
            kind: kind.to_owned(),
            vocab_size: fields.size("vocab_size")?,
            hidden,
            inner,
            state: fields.size_or("state_size", if second { 128 } else { 16 })?,
            layers: fields.layers("num_hidden_layers")?,
            eps: fields.or("layer_norm_epsilon", 1e-5)?,
            kernel: fields.size_or("conv_kernel", 4)?,
            bias: fields.or("use_bias", false)?,
            conv_bias: fields.or("use_conv_bias", true)?,
            tied: fields.or("tie_word_embeddings", !second)?,
            form,
        })
    }
}

/// A Mamba.
#[derive(Debug)]
pub(crate) struct Mamba {
    embedding: Embedding,
    layers: Vec<(Norm, Mixer)>,
    norm: Norm,
    head: Option<Linear>,
}

#[derive(Debug)]
enum Mixer {
    Selective(selective::Mixer),
    Heads(heads::Mixer),
}

/// The state of a sequence in one layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// The last inputs of the convolution, `[kernel - 1, channels]`.
    inputs: Tensor,
    /// The state of the recurrence.
    state: Tensor,
}

impl Mamba {
    /// Loads the weights.
    ///
    /// # Errors
    /// If a tensor is missing, unexpected, or of another shape.
    pub(crate) fn load(
        c: &Config,
        weights: &Weights,
    ) -> std::result::Result<(Self, ModelInfo), ModelError> {
        let root = weights.root();
        let body = root.at("backbone");
        // The first releases call it "embedding".
        let table = if body.has("embedding.weight") {
            "embedding"
        } else {
            "embeddings"
        };
        let layer =
            |i: usize| {
                let layer = body.at("layers").at(i);
                let mixer = layer.at("mixer");
                let mixer =
                    match &c.form {
                        Form::Selective { rank, norms } => Mixer::Selective(
                            selective::Mixer::load(c, *rank, *norms, &mixer, weights.device())?,
                        ),
                        Form::Heads {
                            heads,
                            width,
                            groups,
                            limit,
                        } => Mixer::Heads(heads::Mixer::load(
                            c,
                            [*heads, *width, *groups],
                            *limit,
                            &mixer,
                            weights.device(),
                        )?),
                    };
                Ok((
                    Norm::Rms {
                        weight: layer.tensor("norm.weight", &[c.hidden])?,
                        eps: c.eps as f32,
                    },
                    mixer,
                ))
            };
        let mamba = Self {
            embedding: Embedding::new(body.matrix(table, c.vocab_size, c.hidden)?),
            layers: (0..c.layers)
                .map(layer)
                .collect::<std::result::Result<_, ModelError>>()?,
            norm: Norm::Rms {
                weight: body.tensor("norm_f.weight", &[c.hidden])?,
                eps: c.eps as f32,
            },
            head: match c.tied {
                true => None,
                false => Some(root.linear(
                    &[("lm_head", c.vocab_size)],
                    c.hidden,
                    false,
                    Layout::OUT_IN,
                )?),
            },
        };
        let info = ModelInfo {
            architecture: c.kind.clone(),
            vocab_size: c.vocab_size,
            // A recurrence has no maximum length.
            context_length: u32::MAX as usize,
            parameters: weights.finish(if c.tied { &["lm_head.weight"] } else { &[] })?,
        };
        Ok((mamba, info))
    }

    /// The state before the first token.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub(crate) fn start(&self) -> Result<Vec<Layer>> {
        let start = |(_, mixer): &(Norm, Mixer)| match mixer {
            Mixer::Selective(mixer) => mixer.start(),
            Mixer::Heads(mixer) => mixer.start(),
        };
        self.layers.iter().map(start).collect()
    }

    /// Hidden states, after the final norm, of tokens that continue a sequence: `[ids, hidden]`.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub(crate) fn forward(&self, ids: &Tensor, layers: &mut [Layer]) -> Result<Tensor> {
        let mut x = self.embedding.vectors(ids)?;
        for ((norm, mixer), layer) in self.layers.iter().zip(layers) {
            let normed = norm.forward(&x)?;
            let mixed = match mixer {
                Mixer::Selective(mixer) => mixer.forward(&normed, layer)?,
                Mixer::Heads(mixer) => mixer.forward(&normed, layer)?,
            };
            x = (x + mixed)?;
        }
        self.norm.forward(&x)
    }

    /// `[n, hidden]` to `[n, vocab]`.
    ///
    /// # Errors
    /// As for [`Mamba::forward`].
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        match &self.head {
            Some(head) => head.forward(hidden, Arithmetic::F32),
            None => self.embedding.logits(hidden, Arithmetic::F32),
        }
    }
}

/// A causal convolution of each channel.
#[derive(Debug)]
struct Convolution {
    /// `[kernel, channels]`.
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Convolution {
    fn load(
        c: &Config,
        channels: usize,
        at: &TensorScope<'_>,
    ) -> std::result::Result<Self, ModelError> {
        let weight = at
            .tensor("conv1d.weight", &[channels, 1, c.kernel])?
            .squeeze(1)?
            .t()?
            .contiguous()?;
        let bias = c
            .conv_bias
            .then(|| at.tensor("conv1d.bias", &[channels]))
            .transpose()?;
        Ok(Self { weight, bias })
    }

    fn start(&self) -> Result<Tensor> {
        let (kernel, channels) = self.weight.dims2()?;
        Tensor::zeros(
            (kernel - 1, channels),
            self.weight.dtype(),
            self.weight.device(),
        )
    }

    /// `[n, channels]` to the same shape, with SiLU. `before` are the preceding inputs, which are
    /// updated.
    fn forward(&self, x: &Tensor, before: &mut Tensor) -> Result<Tensor> {
        let (n, kernel) = (x.dim(0)?, self.weight.dim(0)?);
        let inputs = Tensor::cat(&[&*before, x], 0)?;
        let mut sum = inputs
            .narrow(0, 0, n)?
            .broadcast_mul(&self.weight.get(0)?)?;
        for i in 1..kernel {
            sum = (sum
                + inputs
                    .narrow(0, i, n)?
                    .broadcast_mul(&self.weight.get(i)?)?)?;
        }
        if let Some(bias) = &self.bias {
            sum = sum.broadcast_add(bias)?;
        }
        *before = inputs.narrow(0, n, kernel - 1)?.copy()?;
        candle_nn::ops::silu(&sum)
    }
}

/// `ln(1 + e^x)`, accurate for small results, too: time steps are small, and adding 1 would round
/// them to 1e-7.
fn softplus(x: &Tensor) -> Result<Tensor> {
    let small = x.abs()?.neg()?.exp()?;
    // ln(1 + u) = u * ln(w) / (w - 1) with w = 1 + u as rounded (Kahan), or u itself if w is 1.
    let w = (&small + 1.0)?;
    let off = (&w - 1.0)?;
    let none = off.eq(0f64)?;
    let safe = none.where_cond(&off.ones_like()?, &off)?;
    let ln = none.where_cond(&small, &((&small * w.log()?)? / safe)?)?;
    x.relu()? + ln
}

/// A norm without weights over the last `width` components.
fn plain_norm(width: usize, eps: f64, device: &Device) -> Result<Norm> {
    Ok(Norm::Rms {
        weight: Tensor::ones(width, candle_core::DType::F32, device)?,
        eps: eps as f32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softplus_is_accurate_for_small_and_large_values() {
        let x = [-80f32, -30.0, -12.5, -5.0, -0.1, 0.0, 3.0, 30.0, 200.0];
        let got = softplus(&Tensor::new(&x, &Device::Cpu).unwrap())
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        for (x, got) in x.iter().zip(got) {
            let want = if *x > 30.0 {
                f64::from(*x)
            } else {
                f64::from(*x).exp().ln_1p()
            };
            assert!(
                (f64::from(got) - want).abs() <= 5e-7 * want,
                "{x}: {got} for {want}"
            );
        }
    }
}
