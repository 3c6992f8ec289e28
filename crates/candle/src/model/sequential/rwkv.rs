//! RWKV 5 and 6 (arXiv 2404.05892) in the layout of their Hugging Face releases, by
//! candle-transformers.
//!
//! candle-transformers omits the divisor before the norm of each head. The receptance is a factor
//! of that norm's input, so its weights are divided instead. The divisor is a power of two.

use super::fields::Fields;
use super::source;
use crate::model::weights::Weights;
use crate::model::{ModelError, ModelInfo};
use candle_core::{DType, Device, Result, Tensor};
use candle_transformers::models::rwkv_v5::{
    Config as Theirs, Model as Fifth, State as TheirState, StatePerLayer,
};
use candle_transformers::models::rwkv_v6::Model as Sixth;

/// The checked config.json.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    kind: String,
    theirs: Theirs,
    divisor: f64,
}

/// A model, and the sizes of its state.
#[derive(Debug)]
pub(crate) struct Model {
    model: Version,
    config: Theirs,
    device: Device,
}

#[derive(Debug)]
enum Version {
    Fifth(Fifth),
    Sixth(Sixth),
}

impl Config {
    /// Reads and checks config.json.
    ///
    /// # Errors
    /// If a field is missing or asks for something that candle-transformers doesn't support.
    pub(crate) fn read(fields: &Fields, kind: &str) -> std::result::Result<Self, ModelError> {
        let (hidden, head_size) = (
            fields.size("hidden_size")?,
            fields.size_or("head_size", 64)?,
        );
        fields.only(
            "tie_word_embeddings",
            &[false],
            "candle-transformers always has a separate output matrix here",
        )?;
        fields.only(
            "layer_norm_epsilon",
            &[1e-5],
            "candle-transformers always uses 1e-5 in its last norm",
        )?;
        let attention = fields.size_or("attention_hidden_size", hidden)?;
        if hidden % head_size != 0 || attention != hidden {
            return Err(fields.wrong("its heads don't add up to the hidden size"));
        }
        let width = match fields.get("intermediate_size")? {
            Some(width) => width,
            None => (hidden as f64 * 3.5) as usize / 32 * 32,
        };
        let divisor = fields.or("head_size_divisor", 8.0)?;
        if divisor <= 0.0 {
            return Err(fields.wrong(format!("\"head_size_divisor\" is {divisor}")));
        }
        let theirs = Theirs {
            vocab_size: fields.size("vocab_size")?,
            hidden_size: hidden,
            num_hidden_layers: fields.layers("num_hidden_layers")?,
            attention_hidden_size: hidden,
            num_attention_heads: head_size,
            head_size,
            intermediate_size: Some(width),
            layer_norm_epsilon: 1e-5,
            rescale_every: 0,
        };
        Ok(Self {
            kind: kind.to_owned(),
            theirs,
            divisor,
        })
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// If a tensor is missing, unexpected, or of another shape.
    pub(crate) fn load(
        &self,
        weights: &Weights,
    ) -> std::result::Result<(Model, ModelInfo), ModelError> {
        let (c, sixth) = (&self.theirs, self.kind == "rwkv6");
        if sixth {
            self.check_ranks(weights)?;
        }
        let change =
            |name: &str, tensor: Tensor| match name.ends_with("attention.receptance.weight") {
                true => tensor / self.divisor,
                false => Ok(tensor),
            };
        let model = source::build(weights, source::same, change, |vb| {
            Ok(if sixth {
                Version::Sixth(Sixth::new(c, vb)?)
            } else {
                Version::Fifth(Fifth::new(c, vb)?)
            })
        })?;
        let info = ModelInfo {
            architecture: self.kind.clone(),
            vocab_size: c.vocab_size,
            // A recurrence has no maximum length.
            context_length: u32::MAX as usize,
            parameters: weights.finish(&[])?,
        };
        Ok((
            Model {
                model,
                config: c.clone(),
                device: weights.device().clone(),
            },
            info,
        ))
    }

    /// candle-transformers derives the low ranks from the number of heads, which is correct for
    /// 1.6B and 7B but not for 3B.
    fn check_ranks(&self, weights: &Weights) -> std::result::Result<(), ModelError> {
        let heads = self.theirs.hidden_size / self.theirs.head_size;
        let found = weights
            .root()
            .any("rwkv.blocks.0.attention.time_decay_w1")?
            .dims()
            .to_vec();
        if found.last() == Some(&(2 * heads)) {
            return Ok(());
        }
        Err(ModelError::Config {
            file: "config.json".to_owned(),
            what: format!(
                "the low rank of its time decay is {found:?}, but candle-transformers supports RWKV 6 only if it is twice the \
                 number of heads, {}",
                2 * heads
            ),
        })
    }
}

/// The state of a sequence.
pub(crate) struct State(TheirState);

impl Clone for State {
    fn clone(&self) -> Self {
        let copy = |layer: &StatePerLayer| StatePerLayer {
            extract_key_value: layer.extract_key_value.clone(),
            linear_attention: layer.linear_attention.clone(),
            feed_forward: layer.feed_forward.clone(),
        };
        Self(TheirState {
            per_layer: self.0.per_layer.iter().map(copy).collect(),
            pos: self.0.pos,
        })
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("tokens", &self.0.pos)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// The state before the first token.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub(crate) fn start(&self) -> Result<State> {
        let (hidden, size) = (self.config.hidden_size, self.config.head_size);
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &self.device);
        let layer = |_| {
            Ok(StatePerLayer {
                extract_key_value: zeros(&[1, hidden])?,
                linear_attention: zeros(&[1, hidden / size, size, size])?,
                feed_forward: zeros(&[1, hidden])?,
            })
        };
        Ok(State(TheirState {
            per_layer: (0..self.config.num_hidden_layers)
                .map(layer)
                .collect::<Result<_>>()?,
            pos: 0,
        }))
    }

    /// Logits of the token after the last of `ids`, shape `[1, n]`.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub(crate) fn forward(&self, ids: &Tensor, state: &mut State) -> Result<Tensor> {
        let mut logits = None;
        for i in 0..ids.dim(1)? {
            let id = ids.narrow(1, i, 1)?;
            logits = Some(match &self.model {
                Version::Fifth(model) => model.forward(&id, &mut state.0)?,
                Version::Sixth(model) => model.forward(&id, &mut state.0)?,
            });
        }
        logits.ok_or_else(|| candle_core::Error::Msg("no tokens".to_owned()))
    }
}
