//! Models that run one sequence at a time: the prefix in one call if the architecture allows it,
//! then one token per call.
//!
//! Every decoder in candle-transformers returns the logits of the last position only, and a
//! recurrence must follow the order of the tokens. This is slower than a decoder built from
//! byrote's layers, but equally correct: each architecture is tested against its reference, and
//! configurations that candle-transformers computes differently are refused.

pub(crate) mod deepseek;
pub(crate) mod fields;
pub(crate) mod glm;
pub(crate) mod lfm2;
pub(crate) mod mamba;
pub(crate) mod recurrent_gemma;
pub(crate) mod rwkv;
pub(crate) mod rwkv7;
pub(crate) mod source;

use super::decoder::Cache;
use super::weights::{Precision, Weights};
use super::{Arithmetic, CausalLm, ForwardInput, ModelError, ModelInfo};
use candle_core::{Device, Result, Tensor};
use fields::Fields;
use std::ops::Range;

/// The supported `model_type`s of config.json.
pub(crate) const ARCHITECTURES: &[&str] = &[
    "mamba",
    "mamba2",
    "falcon_mamba",
    "recurrent_gemma",
    "deepseek_v2",
    "glm",
    "chatglm",
    "glm4",
    "lfm2",
    "rwkv5",
    "rwkv6",
    "rwkv7",
];

/// A checked config.json.
#[derive(Clone, Debug)]
pub(crate) enum Config {
    Mamba(mamba::Config),
    RecurrentGemma(recurrent_gemma::Config),
    DeepSeek(deepseek::Config),
    Glm(glm::Config),
    Lfm2(lfm2::Config),
    Rwkv(rwkv::Config),
    Rwkv7(rwkv7::Config),
}

impl Config {
    /// Reads and checks config.json.
    ///
    /// # Errors
    /// If a field is missing or wrong, or asks for something that can't be computed correctly.
    pub(crate) fn from_json(
        json: &[u8],
        file: &str,
        kind: &str,
    ) -> std::result::Result<Self, ModelError> {
        let fields = Fields::read(json, file)?;
        Ok(match kind {
            "recurrent_gemma" => Self::RecurrentGemma(recurrent_gemma::Config::read(fields)?),
            "deepseek_v2" => Self::DeepSeek(deepseek::Config::read(fields)?),
            "glm" | "chatglm" | "glm4" => Self::Glm(glm::Config::read(fields, kind)?),
            "lfm2" => Self::Lfm2(lfm2::Config::read(&fields)?),
            "rwkv5" | "rwkv6" => Self::Rwkv(rwkv::Config::read(&fields, kind)?),
            "rwkv7" => Self::Rwkv7(rwkv7::Config::read(&fields)?),
            _ => Self::Mamba(mamba::Config::read(&fields, kind)?),
        })
    }

    /// True if candle-transformers implements the model. Its activations have the precision of the
    /// weights, so these must be f32.
    pub(crate) fn f32_only(&self) -> bool {
        !matches!(self, Self::Mamba(_))
    }

    /// Refuses weights narrower than f32 if [`Config::f32_only`].
    ///
    /// # Errors
    /// The error says what to do instead.
    pub(crate) fn check(
        &self,
        precision: Precision,
        file: &str,
    ) -> std::result::Result<(), ModelError> {
        if precision == Precision::F32 || !self.f32_only() {
            return Ok(());
        }
        Err(ModelError::Config {
            file: file.to_owned(),
            what: format!(
                "\"--dtype {}\" would also narrow this architecture's activations and rotary tables, because it is computed by \
                 candle-transformers; use --dtype f32",
                precision.name()
            ),
        })
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// If a tensor is missing, unexpected, or of another shape.
    pub(crate) fn load(&self, weights: &Weights) -> std::result::Result<Sequential, ModelError> {
        let (model, info) = match self {
            Self::Mamba(config) => {
                mamba::Mamba::load(config, weights).map(|(m, f)| (Model::Mamba(m), f))?
            }
            Self::RecurrentGemma(config) => config
                .load(weights)
                .map(|(m, f)| (Model::RecurrentGemma(Box::new(m)), f))?,
            Self::DeepSeek(config) => config.load(weights).map(|(m, f)| (Model::DeepSeek(m), f))?,
            Self::Glm(config) => config
                .load(weights)
                .map(|(m, f)| (Model::Glm(Box::new(m)), f))?,
            Self::Lfm2(config) => config
                .load(weights)
                .map(|(m, f)| (Model::Lfm2(Box::new(m)), f))?,
            Self::Rwkv(config) => config.load(weights).map(|(m, f)| (Model::Rwkv(m), f))?,
            Self::Rwkv7(config) => config.load(weights).map(|(m, f)| (Model::Rwkv7(m), f))?,
        };
        Ok(Sequential {
            info,
            device: weights.device().clone(),
            model,
        })
    }
}

/// A model that runs one token at a time.
pub(crate) struct Sequential {
    info: ModelInfo,
    device: Device,
    model: Model,
}

/// The weights. Models that contain their own state are kept in the state before the first token.
enum Model {
    Mamba(mamba::Mamba),
    RecurrentGemma(Box<recurrent_gemma::Model>),
    DeepSeek(deepseek::Models),
    Glm(Box<glm::Model>),
    Lfm2(Box<lfm2::Model>),
    Rwkv(rwkv::Model),
    Rwkv7(rwkv7::Model),
}

/// The state of one sequence.
#[derive(Default)]
pub(crate) struct State {
    /// The tokens so far.
    seen: Vec<u32>,
    live: Option<Live>,
}

/// The state after these tokens.
enum Live {
    Mamba(Vec<mamba::Layer>),
    RecurrentGemma(Box<recurrent_gemma::Model>),
    DeepSeek(deepseek::Model),
    Glm(Box<glm::Model>),
    Lfm2(Box<lfm2::Cache>),
    Rwkv(rwkv::State),
    Rwkv7(rwkv7::State),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("tokens", &self.seen.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sequential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sequential")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl Clone for State {
    /// A clone doesn't contain a state that can't be copied. Its tokens are fed again when the
    /// sequence continues.
    fn clone(&self) -> Self {
        let live = match &self.live {
            Some(Live::Mamba(layers)) => Some(Live::Mamba(layers.clone())),
            Some(Live::RecurrentGemma(model)) => Some(Live::RecurrentGemma(model.clone())),
            Some(Live::Lfm2(cache)) => Some(Live::Lfm2(cache.clone())),
            Some(Live::Rwkv(state)) => Some(Live::Rwkv(state.clone())),
            Some(Live::Rwkv7(state)) => Some(Live::Rwkv7(state.clone())),
            // A copy would write to the same buffer.
            Some(Live::Glm(model)) => model.copies().then(|| Live::Glm(model.clone())),
            Some(Live::DeepSeek(_)) | None => None,
        };
        Self {
            seen: self.seen.clone(),
            live,
        }
    }
}

/// Keeps these states, in this order; a state may occur several times.
pub(super) fn select(states: &mut Vec<State>, sequences: &[u32]) {
    if states.is_empty() {
        return;
    }
    let mut old: Vec<Option<State>> = std::mem::take(states).into_iter().map(Some).collect();
    for (i, &from) in sequences.iter().enumerate() {
        let again = sequences[i + 1..].contains(&from);
        let state = old
            .get_mut(from as usize)
            .and_then(|state| if again { state.clone() } else { state.take() });
        states.push(state.unwrap_or_default());
    }
}

impl CausalLm for Sequential {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn cache(&self) -> Cache {
        Cache::default()
    }

    fn sequential(&self) -> bool {
        true
    }

    fn hidden(&self, input: &ForwardInput<'_>, cache: Option<&mut Cache>) -> Result<Tensor> {
        let mut fresh = Cache::default();
        // Without a cache, the sequence doesn't continue, so tokens after the last requested row
        // aren't fed.
        let fed = if cache.is_some() {
            input.len
        } else {
            input.rows.end.min(input.len)
        };
        let states = &mut cache.unwrap_or(&mut fresh).sequences;
        if states.is_empty() {
            states.resize_with(input.batch, State::default);
        }
        let rows = input.ids.chunks(input.len).zip(states).map(|(ids, state)| {
            let ids = ids.get(..fed).unwrap_or(ids);
            self.walk(state, ids, &input.rows)
        });
        Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)
    }

    /// Most architectures return logits directly. These take the place of hidden states.
    fn logits(&self, hidden: &Tensor, _: Arithmetic) -> Result<Tensor> {
        match &self.model {
            Model::Mamba(model) => model.logits(hidden),
            _ => Ok(hidden.clone()),
        }
    }
}

impl Sequential {
    /// Feeds `ids` to the state and returns the requested `rows`: `[rows, hidden]` or `[rows,
    /// vocab]`.
    fn walk(&self, state: &mut State, ids: &[u32], rows: &Range<usize>) -> Result<Tensor> {
        let mut live = match state.live.take() {
            Some(live) => live,
            None => {
                let mut live = self.start()?;
                if !state.seen.is_empty() {
                    self.feed(&mut live, &state.seen, 0)?;
                }
                live
            }
        };
        let before = state.seen.len();
        state.seen.extend_from_slice(ids);
        if let (Model::Mamba(model), Live::Mamba(layers)) = (&self.model, &mut live) {
            let hidden = model.forward(&self.tensor(ids)?, layers)?;
            state.live = Some(live);
            return hidden.narrow(0, rows.start, rows.len());
        }
        let mut found = Vec::with_capacity(rows.len());
        let mut at = 0;
        while at < ids.len() {
            // Only an empty state takes several tokens at once: some models restart their
            // convolutions at every call.
            let end = if before + at == 0 {
                rows.start.min(ids.len() - 1) + 1
            } else {
                at + 1
            };
            let logits = self.feed(&mut live, &ids[at..end], before + at)?;
            at = end;
            if rows.contains(&(at - 1)) {
                found.push(logits);
            }
        }
        state.live = Some(live);
        Tensor::stack(&found, 0)
    }

    fn tensor(&self, ids: &[u32]) -> Result<Tensor> {
        Tensor::from_slice(ids, ids.len(), &self.device)
    }

    fn start(&self) -> Result<Live> {
        Ok(match &self.model {
            Model::Mamba(model) => Live::Mamba(model.start()?),
            Model::RecurrentGemma(model) => Live::RecurrentGemma(model.clone()),
            Model::DeepSeek(models) => Live::DeepSeek(models.one()?),
            Model::Glm(model) => Live::Glm(model.clone()),
            Model::Lfm2(model) => Live::Lfm2(Box::new(model.cache.clone())),
            Model::Rwkv(model) => Live::Rwkv(model.start()?),
            Model::Rwkv7(model) => Live::Rwkv7(model.start()?),
        })
    }

    /// Logits of the token after the last of `ids`, `[vocab]`.
    fn feed(&self, live: &mut Live, ids: &[u32], seen: usize) -> Result<Tensor> {
        let input = self.tensor(ids)?.unsqueeze(0)?;
        let logits = match (&self.model, live) {
            (Model::Mamba(model), Live::Mamba(layers)) => {
                let hidden = model.forward(&self.tensor(ids)?, layers)?;
                model.logits(&hidden.narrow(0, ids.len() - 1, 1)?)?
            }
            (_, Live::RecurrentGemma(model)) => model.forward(&input, seen)?,
            (_, Live::DeepSeek(model)) => model.forward(&input, seen)?,
            (_, Live::Glm(model)) => model.forward(&input, seen)?,
            (Model::Lfm2(model), Live::Lfm2(cache)) => model.model.forward(&input, seen, cache)?,
            (Model::Rwkv(model), Live::Rwkv(state)) => model.forward(&input, state)?,
            (Model::Rwkv7(model), Live::Rwkv7(state)) => model.forward(ids, state)?,
            _ => candle_core::bail!("a state of another model"),
        };
        logits.flatten_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::weights::WeightSource;
    use crate::model::weights::names::Names;
    use std::path::{Path, PathBuf};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/fixtures/models")
            .join(name)
    }

    fn config(
        name: &str,
        edit: impl Fn(&mut serde_json::Value),
    ) -> std::result::Result<Config, ModelError> {
        let json = std::fs::read(fixture(name).join("config.json")).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&fields::finite(&json)).unwrap();
        edit(&mut json);
        let kind = json["model_type"].as_str().unwrap().to_owned();
        Config::from_json(json.to_string().as_bytes(), "m/config.json", &kind)
    }

    fn load(name: &str, config: &Config) -> std::result::Result<Sequential, ModelError> {
        let file = WeightSource::File(fixture(name).join("model.safetensors"));
        config.load(
            &Weights::safetensors(&[file], Names::AS_STORED, Precision::F32, &Device::Cpu).unwrap(),
        )
    }

    fn logits(
        model: &Sequential,
        ids: &[u32],
        batch: usize,
        cache: Option<&mut Cache>,
    ) -> Vec<Vec<f32>> {
        let len = ids.len() / batch;
        let input = ForwardInput {
            ids,
            batch,
            len,
            rows: len - 1..len,
            sequence_len: 64,
            arithmetic: Arithmetic::F32,
        };
        model
            .logits(&model.hidden(&input, cache).unwrap(), Arithmetic::F32)
            .unwrap()
            .to_vec2()
            .unwrap()
    }

    #[test]
    fn diverging_sequences_do_not_affect_each_other() {
        for name in ARCHITECTURES {
            let model = load(name, &config(name, |_| ()).unwrap()).unwrap();
            let mut cache = model.cache();
            logits(&model, &[5, 6, 7, 50, 60, 70], 2, Some(&mut cache));
            // The second sequence continues twice, the first is dropped, and one copy stays behind.
            cache.select(&[1, 1], &Device::Cpu).unwrap();
            let mut copy = cache.clone();
            let parted = logits(&model, &[8, 9], 2, Some(&mut cache));
            let further = logits(&model, &[10, 11], 2, Some(&mut cache));
            let beside = logits(&model, &[80, 90, 81, 91], 2, Some(&mut copy));
            for (got, ids) in [
                (&parted[0], &[50, 60, 70, 8][..]),
                (&parted[1], &[50, 60, 70, 9]),
                (&further[0], &[50, 60, 70, 8, 10]),
                (&further[1], &[50, 60, 70, 9, 11]),
                (&beside[0], &[50, 60, 70, 80, 90]),
                (&beside[1], &[50, 60, 70, 81, 91]),
            ] {
                let alone = logits(&model, ids, 1, None).remove(0);
                let off = got
                    .iter()
                    .zip(&alone)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                assert!(off < 1e-4, "{name} {ids:?}: {off}");
            }
        }
    }

    #[test]
    fn unsupported_configurations_are_refused_with_the_reason() {
        let cases: [(&str, &str, serde_json::Value, &str); 12] = [
            ("mamba", "hidden_act", "relu".into(), "\"silu\""),
            ("mamba2", "n_groups", 3.into(), "in 3 groups"),
            (
                "recurrent_gemma",
                "partial_rotary_factor",
                1.0.into(),
                "half of a head",
            ),
            (
                "deepseek_v2",
                "topk_method",
                "group_limited_greedy".into(),
                "chooses groups",
            ),
            ("deepseek_v2", "rms_norm_eps", 1e-5.into(), "1e-6"),
            ("glm", "rope_theta", 12_345.0.into(), "multiple of 10000"),
            ("glm4", "num_hidden_layers", 1e9.into(), "num_hidden_layers"),
            ("lfm2", "conv_bias", true.into(), "no biases"),
            ("rwkv6", "layer_norm_epsilon", 1e-6.into(), "last norm"),
            ("rwkv7", "head_dim", 32.into(), "heads of 64"),
            (
                "chatglm",
                "multi_query_attention",
                false.into(),
                "another architecture",
            ),
            (
                "lfm2",
                "max_position_embeddings",
                1_000_000_000u64.into(),
                "max_position_embeddings",
            ),
        ];
        for (name, key, value, said) in cases {
            let error = config(name, |json| json[key] = value.clone())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(said) && error.contains("m/config.json"),
                "{error}"
            );
        }
        let narrow = config("lfm2", |_| ())
            .unwrap()
            .check(Precision::Bf16, "m/config.json")
            .unwrap_err();
        assert!(narrow.to_string().contains("use --dtype f32"));
        assert!(
            config("mamba", |_| ())
                .unwrap()
                .check(Precision::Bf16, "")
                .is_ok()
        );
    }

    #[test]
    fn missing_unexpected_and_misshapen_tensors_are_named() {
        for (name, layers) in [
            ("mamba", "num_hidden_layers"),
            ("lfm2", "num_hidden_layers"),
            ("chatglm", "num_layers"),
        ] {
            let with = |n: u64| {
                let config = config(name, |json| {
                    json[layers] = n.into();
                    json["full_attn_idxs"] = vec![1].into();
                });
                load(name, &config.unwrap()).unwrap_err().to_string()
            };
            assert!(
                with(4).contains("is missing") && with(4).contains("layers.3."),
                "{}",
                with(4)
            );
            assert!(
                with(2).contains("isn't used") && with(2).contains("layers.2."),
                "{}",
                with(2)
            );
        }
        let wider = config("glm4", |json| json["intermediate_size"] = 65.into()).unwrap();
        let error = load("glm4", &wider).unwrap_err().to_string();
        assert!(
            error.contains("has shape [128, 48], but the config requires [130, 48]"),
            "{error}"
        );
    }
}
