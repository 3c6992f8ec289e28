//! DeepSeek-V2 (arXiv 2405.04434), by candle-transformers, for the models that it routes correctly:
//! V2-Lite and similar ones.

use super::fields::Fields;
use super::source;
use crate::model::weights::Weights;
use crate::model::{ModelError, ModelInfo};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::deepseek2::{DeepSeekV2, DeepSeekV2Config};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The reference's epsilon of the norms inside attention, which isn't part of the config.
/// candle-transformers has one epsilon for all norms.
const INNER_EPS: f64 = 1e-6;

/// The checked config.json.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    theirs: DeepSeekV2Config,
    vocab_size: usize,
    positions: usize,
    tied: bool,
}

impl Config {
    /// Reads and checks config.json.
    ///
    /// # Errors
    /// If a field is missing or asks for something that candle-transformers doesn't support.
    pub(crate) fn read(mut fields: Fields) -> std::result::Result<Self, ModelError> {
        let text = |t: &str| t.to_owned();
        fields.only(
            "topk_method",
            &[text("greedy")],
            "candle-transformers chooses groups by the scores of single experts",
        )?;
        fields.only(
            "scoring_func",
            &[text("softmax")],
            "candle-transformers supports no other",
        )?;
        fields.only("norm_topk_prob", &[false], "the references differ on it")?;
        fields.only("moe_layer_freq", &[1], "the references differ on it")?;
        fields.only("mlp_bias", &[false], "candle-transformers has none")?;
        fields.only(
            "rms_norm_eps",
            &[INNER_EPS],
            "the norms inside attention always use 1e-6",
        )?;
        for key in [
            "num_attention_heads",
            "qk_rope_head_dim",
            "qk_nope_head_dim",
            "kv_lora_rank",
            "v_head_dim",
        ] {
            fields.size(key)?;
        }
        fields.layers("num_hidden_layers")?;
        if fields.get::<usize>("n_routed_experts")?.is_some() {
            let experts = fields.layers("n_routed_experts")?;
            if fields.size("num_experts_per_tok")? > experts
                || fields.size("n_shared_experts")? > experts
            {
                return Err(fields.wrong("there are fewer experts than each token uses"));
            }
        }
        if fields.head("qk_rope_head_dim")? % 2 == 1 {
            return Err(fields.wrong("\"qk_rope_head_dim\" is odd"));
        }
        for (key, value) in [("n_group", 1), ("topk_group", 1)] {
            fields.default(key, value);
        }
        fields.default("rope_theta", 10_000.0);
        fields.default("rms_norm_eps", INNER_EPS);
        fields.default("attention_bias", false);
        Ok(Self {
            vocab_size: fields.size("vocab_size")?,
            positions: fields.positions("max_position_embeddings")?,
            tied: fields.or("tie_word_embeddings", false)?,
            theirs: fields.parsed()?,
        })
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// If a tensor is missing, unexpected, or of another shape.
    pub(crate) fn load(
        &self,
        weights: &Weights,
    ) -> std::result::Result<(Models, ModelInfo), ModelError> {
        let taken: Mutex<HashMap<String, Tensor>> = Mutex::default();
        let keep = |name: &str, tensor: Tensor| {
            taken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(name.to_owned(), tensor.clone());
            Ok(tensor)
        };
        let first = source::build(weights, source::same, keep, |vb| {
            DeepSeekV2::new(&self.theirs, vb)
        })?;
        let ignorable: &[&str] = if self.tied {
            &["rotary_emb.inv_freq", "lm_head.weight"]
        } else {
            &["rotary_emb.inv_freq"]
        };
        let info = ModelInfo {
            architecture: "deepseek_v2".to_owned(),
            vocab_size: self.vocab_size,
            context_length: self.positions,
            parameters: weights.finish(ignorable)?,
        };
        let models = Models {
            config: self.theirs.clone(),
            tensors: taken.into_inner().unwrap_or_else(PoisonError::into_inner),
            device: weights.device().clone(),
            idle: Arc::new(Mutex::new(vec![first])),
        };
        Ok((models, info))
    }
}

/// Models over the same weights. candle-transformers' model can't be copied and contains its
/// sequence, so each sequence gets its own model.
pub(crate) struct Models {
    config: DeepSeekV2Config,
    tensors: HashMap<String, Tensor>,
    device: Device,
    idle: Arc<Mutex<Vec<DeepSeekV2>>>,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").finish_non_exhaustive()
    }
}

impl Models {
    /// A model before its first token.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub(crate) fn one(&self) -> Result<Model> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let model = match idle {
            Some(model) => model,
            None => {
                let weights =
                    VarBuilder::from_tensors(self.tensors.clone(), DType::F32, &self.device);
                DeepSeekV2::new(&self.config, weights)?
            }
        };
        Ok(Model {
            model: Some(model),
            home: Arc::clone(&self.idle),
        })
    }
}

/// A model with one sequence. It becomes idle again when it is dropped.
pub(crate) struct Model {
    model: Option<DeepSeekV2>,
    home: Arc<Mutex<Vec<DeepSeekV2>>>,
}

impl Model {
    /// Logits of the token after the last one.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub(crate) fn forward(&mut self, ids: &Tensor, seen: usize) -> Result<Tensor> {
        match &mut self.model {
            Some(model) => model.forward(ids, seen),
            None => candle_core::bail!("the model was given back"),
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if let Some(mut model) = self.model.take() {
            model.clear_kv_cache();
            self.home
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(model);
        }
    }
}
