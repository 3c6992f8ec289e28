//! GLM-4 and ChatGLM, by candle-transformers: `chatglm` as first released, `glm` (the same in
//! Hugging Face's layout), and `glm4` (GLM-4-0414, with norms after each half of a block).

use super::fields::Fields;
use super::source::{self, Stored};
use crate::model::weights::Weights;
use crate::model::{ModelError, ModelInfo};
use candle_core::{Result, Tensor};
use candle_transformers::models::{glm4 as first, glm4_new as second};

/// The vocabulary of ChatGLM 2 and 3.
const EARLY_VOCABULARY: usize = 65_024;

/// The checked config.json.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    kind: String,
    theirs: Theirs,
    vocab_size: usize,
    positions: usize,
    tied: bool,
}

#[derive(Clone, Debug)]
enum Theirs {
    First(Box<first::Config>),
    Second(Box<second::Config>),
}

/// A GLM and its sequence.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    First(first::Model),
    Second(second::ModelForCausalLM),
}

impl Model {
    /// Logits of the token after the last one.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub(crate) fn forward(&mut self, ids: &Tensor, seen: usize) -> Result<Tensor> {
        match self {
            Self::First(model) => model.forward(ids),
            Self::Second(model) => model.forward(ids, seen),
        }
    }

    /// True if a copy has its own sequence; the newer model writes keys and values in place.
    pub(crate) fn copies(&self) -> bool {
        matches!(self, Self::First(_))
    }
}

impl Config {
    /// Reads and checks config.json.
    ///
    /// # Errors
    /// If a field is missing or asks for something that candle-transformers doesn't support.
    pub(crate) fn read(mut fields: Fields, kind: &str) -> std::result::Result<Self, ModelError> {
        if kind == "chatglm" {
            return Self::chatglm(&fields);
        }
        fields.no_rope_scaling()?;
        fields.only(
            "hidden_act",
            &["silu".to_owned()],
            "GLM has no other activation",
        )?;
        fields.layers("num_hidden_layers")?;
        fields.default("head_dim", 128);
        fields.default("partial_rotary_factor", 0.5);
        fields.default("attention_bias", true);
        fields.default("num_key_value_heads", 2);
        fields.default("rope_theta", 10_000.0);
        fields.default("rms_norm_eps", 1.5625e-7);
        fields.default("tie_word_embeddings", false);
        let (heads, kv_heads) = (
            fields.size("num_attention_heads")?,
            fields.size("num_key_value_heads")?,
        );
        let (head_dim, positions) = (
            fields.head("head_dim")?,
            fields.positions("max_position_embeddings")?,
        );
        let (vocab_size, tied) = (
            fields.size("vocab_size")?,
            fields.need("tie_word_embeddings")?,
        );
        let rotated = (fields.need::<f32>("partial_rotary_factor")? * head_dim as f32) as usize;
        if rotated == 0 || rotated % 2 == 1 || rotated > head_dim || heads % kv_heads != 0 {
            return Err(fields.wrong("its numbers of heads and rotated components don't match"));
        }
        let theirs = if kind == "glm4" {
            fields.default("hidden_act", "silu");
            let mut theirs: second::Config = fields.parsed()?;
            // A tied model has no output matrix, and candle-transformers' model has no window.
            theirs.sliding_window = None;
            Theirs::Second(Box::new(theirs))
        } else {
            fields.only(
                "tie_word_embeddings",
                &[false],
                "candle-transformers' GLM always has a separate output matrix",
            )?;
            fields.only(
                "partial_rotary_factor",
                &[0.5],
                "candle-transformers rotates half of a head here",
            )?;
            let hidden = fields.size("hidden_size")?;
            let ratio = fields.need::<f64>("rope_theta")? / 10_000.0;
            if head_dim % 4 != 0
                || heads * head_dim != hidden
                || ratio < 1.0
                || ratio.fract() != 0.0
            {
                return Err(fields.wrong(
                    "in candle-transformers' GLM, the heads must add up to the hidden size, and \"rope_theta\" must be a whole \
                     multiple of 10000",
                ));
            }
            Theirs::First(Box::new(first::Config {
                num_layers: fields.layers("num_hidden_layers")?,
                padded_vocab_size: vocab_size,
                hidden_size: hidden,
                ffn_hidden_size: fields.size("intermediate_size")?,
                kv_channels: head_dim,
                num_attention_heads: heads,
                seq_length: positions,
                layernorm_epsilon: fields.need("rms_norm_eps")?,
                rmsnorm: true,
                apply_residual_connection_post_layernorm: false,
                post_layer_norm: true,
                add_bias_linear: false,
                add_qkv_bias: fields.need("attention_bias")?,
                bias_dropout_fusion: true,
                multi_query_attention: true,
                multi_query_group_num: kv_heads,
                apply_query_key_layer_scaling: false,
                attention_softmax_in_fp32: true,
                fp32_residual_connection: false,
                rope_ratio: ratio as usize,
                eos_token_id: None,
            }))
        };
        Ok(Self {
            kind: kind.to_owned(),
            theirs,
            vocab_size,
            positions,
            tied,
        })
    }

    fn chatglm(fields: &Fields) -> std::result::Result<Self, ModelError> {
        fields.only(
            "multi_query_attention",
            &[true],
            "the first ChatGLM is another architecture",
        )?;
        let theirs: first::Config = fields.parsed()?;
        let positions = fields.positions("seq_length")?;
        fields.layers("num_layers")?;
        let (heads, kv_heads) = (
            fields.size("num_attention_heads")?,
            fields.size("multi_query_group_num")?,
        );
        let head_dim = fields.head("kv_channels")?;
        if head_dim % 4 != 0
            || heads % kv_heads != 0
            || heads.checked_mul(head_dim) != Some(fields.size("hidden_size")?)
        {
            return Err(fields.wrong("its numbers of heads and widths don't match"));
        }
        if theirs.rope_ratio != 1 && theirs.padded_vocab_size == EARLY_VOCABULARY {
            return Err(fields.wrong(
                "\"rope_ratio\" has another meaning in the long versions of ChatGLM 2 and 3 than in GLM-4, and \
                 candle-transformers does GLM-4's",
            ));
        }
        let vocab_size = theirs.padded_vocab_size;
        Ok(Self {
            kind: "chatglm".to_owned(),
            theirs: Theirs::First(Box::new(theirs)),
            vocab_size,
            positions,
            tied: false,
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
        let model = match &self.theirs {
            Theirs::First(c) if self.kind == "chatglm" => Model::First(source::build(
                weights,
                source::same,
                source::unchanged,
                |vb| first::Model::new(c, vb),
            )?),
            Theirs::First(c) => {
                Model::First(source::build(weights, stored, source::unchanged, |vb| {
                    first::Model::new(c, vb)
                })?)
            }
            Theirs::Second(c) => Model::Second(source::build(
                weights,
                source::same,
                source::unchanged,
                |vb| second::ModelForCausalLM::new(c, vb),
            )?),
        };
        let mut ignorable = vec!["rotary_emb.inv_freq", "rotary_pos_emb.inv_freq"];
        ignorable.extend(self.tied.then_some("lm_head.weight"));
        let info = ModelInfo {
            architecture: self.kind.clone(),
            vocab_size: self.vocab_size,
            context_length: self.positions,
            parameters: weights.finish(&ignorable)?,
        };
        Ok((model, info))
    }
}

/// Hugging Face's names for ChatGLM's tensors.
fn stored(name: &str) -> Stored {
    let name = name
        .trim_start_matches("transformer.")
        .trim_start_matches("encoder.");
    if let Some((layer, leaf)) = name.split_once(".self_attention.query_key_value.") {
        return ["q", "k", "v"]
            .map(|part| format!("model.{layer}.self_attn.{part}_proj.{leaf}"))
            .to_vec();
    }
    vec![match name {
        "embedding.word_embeddings.weight" => "model.embed_tokens.weight".to_owned(),
        "final_layernorm.weight" => "model.norm.weight".to_owned(),
        "output_layer.weight" => "lm_head.weight".to_owned(),
        name => {
            let name = name.replace("self_attention.dense", "self_attn.o_proj");
            format!(
                "model.{}",
                name.replace("dense_h_to_4h", "gate_up_proj")
                    .replace("dense_4h_to_h", "down_proj")
            )
        }
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chatglm_names_are_mapped_to_hugging_faces_layout() {
        let layer = "transformer.encoder.layers.7.";
        for (theirs, found) in [
            (
                "transformer.embedding.word_embeddings.weight",
                "model.embed_tokens.weight",
            ),
            (
                &format!("{layer}mlp.dense_4h_to_h.weight"),
                "model.layers.7.mlp.down_proj.weight",
            ),
            (
                &format!("{layer}self_attention.dense.weight"),
                "model.layers.7.self_attn.o_proj.weight",
            ),
            (
                &format!("{layer}input_layernorm.weight"),
                "model.layers.7.input_layernorm.weight",
            ),
        ] {
            assert_eq!(stored(theirs), [found]);
        }
        assert_eq!(
            stored(&format!("{layer}self_attention.query_key_value.bias"))[2],
            "model.layers.7.self_attn.v_proj.bias"
        );
    }
}
