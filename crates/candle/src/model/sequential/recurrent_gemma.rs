//! RecurrentGemma (arXiv 2404.07839), by candle-transformers.
//!
//! candle-transformers differs from the reference in two points. It scales embeddings by the square
//! root of the hidden size, which the reference rounds to bf16; adjusted weights compensate for
//! that. And it has no attention window, so sequences are limited to the window's length.

use super::fields::Fields;
use super::source;
use crate::model::weights::Weights;
use crate::model::{ModelError, ModelInfo};
use candle_core::{DType, Tensor};
pub(crate) use candle_transformers::models::recurrent_gemma::Model;
use candle_transformers::models::recurrent_gemma::{Config as Theirs, TemporalBlockType};

/// The last position of candle-transformers' rotary tables.
const POSITIONS: usize = 8192;

/// The checked config.json.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    theirs: Theirs,
}

impl Config {
    /// Reads and checks config.json.
    ///
    /// # Errors
    /// If a field is missing or asks for something that candle-transformers doesn't support.
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ModelError> {
        let (hidden, heads) = (
            fields.size("hidden_size")?,
            fields.size("num_attention_heads")?,
        );
        fields.only(
            "tie_word_embeddings",
            &[true],
            "candle-transformers has no separate output matrix here",
        )?;
        fields.no_rope_scaling()?;
        let types = vec!["recurrent", "recurrent", "attention"];
        for (key, value) in [
            ("num_key_value_heads", heads.into()),
            ("head_dim", (hidden / heads).into()),
            ("lru_width", hidden.into()),
            ("conv1d_width", 4.into()),
            ("attention_window_size", 2048.into()),
            ("logits_soft_cap", 30.0.into()),
            ("rms_norm_eps", 1e-6.into()),
            ("rope_theta", 10_000.0.into()),
            ("partial_rotary_factor", 0.5.into()),
            ("hidden_activation", "gelu_pytorch_tanh".into()),
            ("attention_bias", false.into()),
        ] {
            let value: serde_json::Value = value;
            fields.default(key, value);
        }
        // Under either name, but not both.
        if fields.get::<serde_json::Value>("_block_types")?.is_none() {
            fields.default("block_types", types);
        }
        fields.layers("num_hidden_layers")?;
        for key in [
            "num_key_value_heads",
            "head_dim",
            "lru_width",
            "conv1d_width",
            "attention_window_size",
        ] {
            fields.size(key)?;
        }
        fields.only(
            "partial_rotary_factor",
            &[0.5],
            "candle-transformers rotates half of a head here",
        )?;
        let theirs: Theirs = fields.parsed()?;
        let attends = theirs
            .block_types
            .iter()
            .any(|block| matches!(block, TemporalBlockType::Attention));
        let whole = theirs.num_attention_heads * theirs.head_dim == hidden;
        let split = theirs.lru_width.unwrap_or(hidden).is_multiple_of(heads)
            && heads.is_multiple_of(theirs.num_key_value_heads);
        if theirs.block_types.is_empty()
            || !theirs.head_dim.is_multiple_of(4)
            || !split
            || (attends && !whole)
        {
            return Err(fields.wrong("its numbers of heads, widths and blocks don't match"));
        }
        Ok(Self { theirs })
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// If a tensor is missing, unexpected, or of another shape.
    pub(crate) fn load(&self, weights: &Weights) -> Result<(Model, ModelInfo), ModelError> {
        let c = &self.theirs;
        let root = (c.hidden_size as f64).sqrt();
        let rounded = Tensor::new(root, &candle_core::Device::Cpu)?
            .to_dtype(DType::BF16)?
            .to_dtype(DType::F64)?;
        let factor = rounded.to_scalar::<f64>()? / root;
        // The embedding's scale applies to token vectors. The tied output matrix grows with them,
        // so the weights of the final norm, stored minus one, shrink by the same factor.
        let change = |name: &str, tensor: Tensor| match name {
            "embed_tokens.weight" => tensor * factor,
            "final_norm.weight" => ((tensor + 1.0)? / factor)? - 1.0,
            _ => Ok(tensor),
        };
        let model = source::build(
            weights,
            |name| vec![format!("model.{name}")],
            change,
            |vb| Model::new(c, vb),
        )?;
        let info = ModelInfo {
            architecture: "recurrent_gemma".to_owned(),
            vocab_size: c.vocab_size,
            context_length: c.attention_window_size.min(POSITIONS),
            parameters: weights.finish(&["lm_head.weight"])?,
        };
        Ok((model, info))
    }
}
