//! RWKV 7 (arXiv 2503.14456) by candle-transformers, in the layout of flash-linear-attention, which
//! its Hugging Face releases use.

use super::fields::Fields;
use super::source::{self, Stored};
use crate::model::weights::Weights;
use crate::model::{ModelError, ModelInfo};
use candle_core::{Device, Result, Tensor};
use candle_transformers::models::rwkv_v7::State as TheirState;
use candle_transformers::models::rwkv_v7::{
    Config as Theirs, Model as TheirModel, ModelVersion, StatePerLayer,
};

/// The checked config.json.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    theirs: Theirs,
}

/// A model, and the sizes of its state.
#[derive(Debug)]
pub(crate) struct Model {
    model: TheirModel,
    config: Theirs,
    device: Device,
}

impl Config {
    /// Reads and checks config.json.
    ///
    /// # Errors
    /// If a field is missing or asks for something that candle-transformers doesn't support.
    pub(crate) fn read(fields: &Fields) -> std::result::Result<Self, ModelError> {
        let hidden = fields.size("hidden_size")?;
        let text = |t: &str| t.to_owned();
        fields.only(
            "head_dim",
            &[64],
            "candle-transformers uses the epsilon for heads of 64 in their norm",
        )?;
        fields.only("norm_eps", &[1e-5], "candle-transformers has 1e-5")?;
        fields.only("norm_bias", &[true], "candle-transformers has biases there")?;
        fields.only(
            "norm_first",
            &[true],
            "candle-transformers has a norm before the first block",
        )?;
        fields.only(
            "hidden_act",
            &[text("sqrelu")],
            "RWKV 7 has no other activation",
        )?;
        fields.only(
            "tie_word_embeddings",
            &[false],
            "candle-transformers always has a separate output matrix here",
        )?;
        if fields.get::<serde_json::Value>("attn")?.is_some() {
            return Err(fields.wrong("a hybrid with attention isn't RWKV 7"));
        }
        if hidden % 64 != 0 || fields.layers("num_hidden_layers")? < 2 {
            return Err(fields.wrong("an RWKV 7 has at least two layers and heads of 64"));
        }
        let widened = match fields.get::<serde_json::Value>("value_dim")? {
            Some(serde_json::Value::Array(all)) => all.iter().any(|n| *n != hidden),
            Some(n) => n != hidden,
            None => false,
        };
        if widened {
            return Err(
                fields.wrong("\"value_dim\" must be the hidden size in candle-transformers")
            );
        }
        let width = match fields.get("intermediate_size")? {
            Some(width) => width,
            None => {
                ((hidden as f64 * fields.or("hidden_ratio", 4.0)?) as usize).next_multiple_of(32)
            }
        };
        Ok(Self {
            theirs: Theirs {
                version: ModelVersion::V7,
                vocab_size: fields.size("vocab_size")?,
                hidden_size: hidden,
                num_hidden_layers: fields.layers("num_hidden_layers")?,
                head_size: 64,
                intermediate_size: Some(width),
                rescale_every: 0,
            },
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
        let c = &self.theirs;
        let model = source::build(weights, stored, shaped, |vb| TheirModel::new(c, vb))?;
        let info = ModelInfo {
            architecture: "rwkv7".to_owned(),
            vocab_size: c.vocab_size,
            // A recurrence has no maximum length.
            context_length: u32::MAX as usize,
            // The first layer has no earlier values to mix in, but some checkpoints contain weights
            // for it.
            parameters: weights.finish(&["layers.0.attn.v_lora."])?,
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
}

/// The parts of a low-rank map by the digit that candle-transformers uses: bias, down, up.
const LORA: [&str; 3] = ["2.bias", "0.weight", "2.weight"];

/// flash-linear-attention's names for RWKV's tensors.
fn stored(name: &str) -> Stored {
    let Some((layer, leaf)) = name
        .strip_prefix("blocks.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return vec![match name {
            "emb.weight" => "model.embeddings.weight".to_owned(),
            "head.weight" => "lm_head.weight".to_owned(),
            name => name.replace("ln_out", "model.norm"),
        }];
    };
    let found = match leaf.strip_prefix("att.") {
        None => leaf
            .replace("ln0", "pre_norm")
            .replace("ln1", "attn_norm")
            .replace("ln2", "ffn_norm"),
        Some(leaf) => match (leaf.as_bytes(), leaf.split_once('.')) {
            (&[map @ (b'w' | b'a' | b'v' | b'g'), digit @ b'0'..=b'2'], _) => {
                let part = LORA[usize::from(digit - b'0')];
                // In the first layer it is read for its rank only, and may be missing.
                let layer = if map == b'v' && layer == "0" {
                    "1"
                } else {
                    layer
                };
                return vec![format!(
                    "model.layers.{layer}.attn.{}_lora.lora.{part}",
                    char::from(map)
                )];
            }
            (_, Some(("ln_x", part))) => format!("attn.g_norm.{part}"),
            (_, Some((matrix, part))) => format!("attn.{}_proj.{part}", &matrix[..1]),
            _ => format!("attn.{leaf}"),
        },
    };
    vec![format!("model.layers.{layer}.{found}")]
}

/// Low-rank maps are stored transposed, and vectors in three dimensions.
fn shaped(name: &str, tensor: Tensor) -> Result<Tensor> {
    let leaf = name.rsplit('.').next().unwrap_or_default();
    match (leaf.as_bytes(), tensor.rank()) {
        (&[b'w' | b'a' | b'v' | b'g', b'1' | b'2'], 2) => tensor.t()?.contiguous(),
        (&[b'w' | b'a' | b'v', b'0'] | &[b'x' | b'k', b'_', _], 1) => tensor.reshape((1, 1, ())),
        _ => Ok(tensor),
    }
}

/// The state of a sequence.
pub(crate) struct State(TheirState);

impl Clone for State {
    fn clone(&self) -> Self {
        let copy = |layer: &StatePerLayer| StatePerLayer {
            att_x_prev: layer.att_x_prev.clone(),
            att_kv: layer.att_kv.clone(),
            ffn_x_prev: layer.ffn_x_prev.clone(),
        };
        Self(TheirState {
            per_layer: self.0.per_layer.iter().map(copy).collect(),
            dea: None,
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
        TheirState::new(&self.config, &self.device).map(State)
    }

    /// Logits of the token after the last of `ids`.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub(crate) fn forward(&self, ids: &[u32], state: &mut State) -> Result<Tensor> {
        self.model.forward_seq(ids, &mut state.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mapped_from_the_layout_of_flash_linear_attention() {
        for (theirs, found) in [
            ("emb.weight", "model.embeddings.weight"),
            ("ln_out.bias", "model.norm.bias"),
            ("blocks.0.ln0.weight", "model.layers.0.pre_norm.weight"),
            ("blocks.3.att.w0", "model.layers.3.attn.w_lora.lora.2.bias"),
            (
                "blocks.3.att.g1",
                "model.layers.3.attn.g_lora.lora.0.weight",
            ),
            (
                "blocks.0.att.v1",
                "model.layers.1.attn.v_lora.lora.0.weight",
            ),
            ("blocks.3.att.x_r", "model.layers.3.attn.x_r"),
            (
                "blocks.3.att.receptance.weight",
                "model.layers.3.attn.r_proj.weight",
            ),
            ("blocks.3.att.ln_x.bias", "model.layers.3.attn.g_norm.bias"),
            ("blocks.3.ffn.x_k", "model.layers.3.ffn.x_k"),
            ("blocks.3.ffn.key.weight", "model.layers.3.ffn.key.weight"),
        ] {
            assert_eq!(stored(theirs), [found]);
        }
    }
}
