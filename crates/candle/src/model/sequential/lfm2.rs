//! LFM2 (Liquid AI's hybrid of short convolutions and attention), by candle-transformers.

use super::fields::Fields;
use super::source;
use crate::model::weights::Weights;
use crate::model::{ModelError, ModelInfo};
use candle_core::DType;
pub(crate) use candle_transformers::models::lfm2::Cache;
use candle_transformers::models::lfm2::{Config as Theirs, LayerType, Model as TheirModel};

/// The checked config.json.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    theirs: Theirs,
}

/// The model, and a cache before the first token.
#[derive(Debug)]
pub(crate) struct Model {
    pub(super) model: TheirModel,
    pub(super) cache: Cache,
}

impl Config {
    /// Reads and checks config.json. The width of the feed-forward part is computed as in
    /// transformers, because candle-transformers ignores one field.
    ///
    /// # Errors
    /// If a field is missing or asks for something that candle-transformers doesn't support.
    pub(crate) fn read(fields: &Fields) -> Result<Self, ModelError> {
        fields.no_rope_scaling()?;
        fields.only(
            "conv_bias",
            &[false],
            "candle-transformers has no biases here",
        )?;
        let layers = fields.layers("num_hidden_layers")?;
        let layer_types: Vec<LayerType> = match fields.get("layer_types")? {
            Some(types) => types,
            None => {
                let all = (0..layers).collect();
                let attends: Vec<usize> = fields.or("full_attn_idxs", all)?;
                let kind = |i| {
                    if attends.contains(&i) {
                        LayerType::FullAttention
                    } else {
                        LayerType::Conv
                    }
                };
                (0..layers).map(kind).collect()
            }
        };
        let mut width = match fields.get::<usize>("block_ff_dim")? {
            Some(width) => width,
            None => fields.size("intermediate_size")?,
        };
        if fields.or("block_auto_adjust_ff_dim", true)? {
            width = (2.0 * width as f64 / 3.0) as usize;
            if let Some(factor) = fields.get::<f64>("block_ffn_dim_multiplier")?.or(Some(1.0)) {
                width = (factor * width as f64) as usize;
                width = width.next_multiple_of(fields.size_or("block_multiple_of", 256)?);
            }
        }
        let (hidden, heads) = (
            fields.size("hidden_size")?,
            fields.size_or("num_attention_heads", 32)?,
        );
        let kv_heads = fields.size_or("num_key_value_heads", 8)?;
        if layer_types.len() != layers
            || hidden % heads != 0
            || (hidden / heads) % 2 == 1
            || heads % kv_heads != 0
        {
            return Err(fields.wrong("its numbers of layers, heads and widths don't match"));
        }
        let tied = fields
            .get("tie_embedding")?
            .map_or_else(|| fields.or("tie_word_embeddings", true), Ok)?;
        Ok(Self {
            theirs: Theirs {
                vocab_size: fields.size("vocab_size")?,
                hidden_size: hidden,
                intermediate_size: width,
                num_hidden_layers: layers,
                num_attention_heads: heads,
                num_key_value_heads: kv_heads,
                norm_eps: fields.or("norm_eps", 1e-5)?,
                rope_theta: fields.or("rope_theta", 1_000_000.0)?,
                max_position_embeddings: fields.positions("max_position_embeddings")?,
                conv_l_cache: fields.size_or("conv_L_cache", 3)?,
                conv_bias: false,
                layer_types,
                tie_embedding: tied,
                bos_token_id: None,
                eos_token_id: None,
                use_flash_attn: false,
            },
        })
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// If a tensor is missing, unexpected, or of another shape.
    pub(crate) fn load(&self, weights: &Weights) -> Result<(Model, ModelInfo), ModelError> {
        let c = &self.theirs;
        let model = source::build(weights, source::same, source::unchanged, |vb| {
            TheirModel::new(c, vb)
        })?;
        let cache = Cache::new(true, DType::F32, c, weights.device())?;
        let info = ModelInfo {
            architecture: "lfm2".to_owned(),
            vocab_size: c.vocab_size,
            context_length: c.max_position_embeddings,
            parameters: weights.finish(if c.tie_embedding {
                &["lm_head.weight"]
            } else {
                &[]
            })?,
        };
        Ok((Model { model, cache }, info))
    }
}
