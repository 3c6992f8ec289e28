//! Models whose sequences are walked one by one: the prefix in one call where the architecture can, then a token a call.
//!
//! Every decoder in candle-transformers gives the logits of its last position only, and a recurrence has no other order
//! than the tokens'. Slower than a decoder of our own, and right: each architecture is held against its reference, and
//! what candle-transformers computes otherwise is refused.

pub mod deepseek;
pub mod fields;
pub mod glm;
pub mod lfm2;
pub mod mamba;
pub mod recurrent_gemma;
pub mod rwkv;
pub mod rwkv7;
pub mod source;

use super::decoder::Cache;
use super::weights::{Precision, Weights};
use super::{CausalLm, Facts, ModelError, Pass};
use candle_core::{Device, Result, Tensor};
use fields::Fields;
use std::ops::Range;

/// `model_type`s of config.json that are read here.
pub const ARCHITECTURES: &[&str] = &[
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

/// What config.json says, checked.
#[derive(Clone, Debug)]
pub enum Config {
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
    /// When a field is missing, wrong, or asks for what can't be computed right.
    pub fn from_json(json: &[u8], file: &str, kind: &str) -> std::result::Result<Self, ModelError> {
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

    /// Whether the model is candle-transformers' own, whose activations are as narrow as its weights: f32 only.
    pub fn f32_only(&self) -> bool {
        !matches!(self, Self::Mamba(_))
    }

    /// Refuses weights narrower than f32 where [`Config::f32_only`].
    ///
    /// # Errors
    /// Says what to do instead.
    pub fn check(&self, precision: Precision, file: &str) -> std::result::Result<(), ModelError> {
        if precision == Precision::F32 || !self.f32_only() {
            return Ok(());
        }
        Err(ModelError::Config {
            file: file.to_owned(),
            what: format!(
                "\"--dtype {}\" would narrow this architecture's activations and rotary tables too, for it is computed by \
                 candle-transformers; use --dtype f32",
                precision.name()
            ),
        })
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or has no place.
    pub fn load(&self, weights: &Weights) -> std::result::Result<Stepwise, ModelError> {
        let (model, facts) = match self {
            Self::Mamba(config) => mamba::Mamba::load(config, weights).map(|(m, f)| (Model::Mamba(m), f))?,
            Self::RecurrentGemma(config) => {
                config.load(weights).map(|(m, f)| (Model::RecurrentGemma(Box::new(m)), f))?
            }
            Self::DeepSeek(config) => config.load(weights).map(|(m, f)| (Model::DeepSeek(m), f))?,
            Self::Glm(config) => config.load(weights).map(|(m, f)| (Model::Glm(Box::new(m)), f))?,
            Self::Lfm2(config) => config.load(weights).map(|(m, f)| (Model::Lfm2(Box::new(m)), f))?,
            Self::Rwkv(config) => config.load(weights).map(|(m, f)| (Model::Rwkv(m), f))?,
            Self::Rwkv7(config) => config.load(weights).map(|(m, f)| (Model::Rwkv7(m), f))?,
        };
        Ok(Stepwise { facts, device: weights.device().clone(), model })
    }
}

/// A model that is walked.
pub struct Stepwise {
    facts: Facts,
    device: Device,
    model: Model,
}

/// Weights, and where they hold a state too, one before its first token.
enum Model {
    Mamba(mamba::Mamba),
    RecurrentGemma(Box<recurrent_gemma::Model>),
    DeepSeek(deepseek::Models),
    Glm(Box<glm::Model>),
    Lfm2(Box<lfm2::Model>),
    Rwkv(rwkv::Model),
    Rwkv7(rwkv7::Model),
}

/// What a model has of one sequence.
#[derive(Default)]
pub struct State {
    /// Its tokens so far.
    seen: Vec<u32>,
    live: Option<Live>,
}

/// What the tokens so far have left behind.
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
        f.debug_struct("State").field("tokens", &self.seen.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Stepwise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stepwise").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Clone for State {
    /// A state that can't be copied is left out: the tokens are fed again when the sequence goes on.
    fn clone(&self) -> Self {
        let live = match &self.live {
            Some(Live::Mamba(layers)) => Some(Live::Mamba(layers.clone())),
            Some(Live::RecurrentGemma(model)) => Some(Live::RecurrentGemma(model.clone())),
            Some(Live::Lfm2(cache)) => Some(Live::Lfm2(cache.clone())),
            Some(Live::Rwkv(state)) => Some(Live::Rwkv(state.clone())),
            Some(Live::Rwkv7(state)) => Some(Live::Rwkv7(state.clone())),
            // Its copies would write into one buffer.
            Some(Live::Glm(model)) => model.copies().then(|| Live::Glm(model.clone())),
            Some(Live::DeepSeek(_)) | None => None,
        };
        Self { seen: self.seen.clone(), live }
    }
}

/// Goes on with these of the states, in this order; one may stand several times.
pub(super) fn select(states: &mut Vec<State>, sequences: &[u32]) {
    if states.is_empty() {
        return;
    }
    let mut old: Vec<Option<State>> = std::mem::take(states).into_iter().map(Some).collect();
    for (i, &from) in sequences.iter().enumerate() {
        let again = sequences[i + 1..].contains(&from);
        let state = old.get_mut(from as usize).and_then(|state| if again { state.clone() } else { state.take() });
        states.push(state.unwrap_or_default());
    }
}

impl CausalLm for Stepwise {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn cache(&self) -> Cache {
        Cache::default()
    }

    fn stepwise(&self) -> bool {
        true
    }

    fn hidden(&self, pass: &Pass<'_>, cache: Option<&mut Cache>) -> Result<Tensor> {
        let mut fresh = Cache::default();
        // Without a cache nothing follows: what comes after the last row asked for needn't be fed.
        let fed = if cache.is_some() { pass.len } else { pass.rows.end.min(pass.len) };
        let states = &mut cache.unwrap_or(&mut fresh).sequences;
        if states.is_empty() {
            states.resize_with(pass.batch, State::default);
        }
        let rows = pass.ids.chunks(pass.len).zip(states).map(|(ids, state)| {
            let ids = ids.get(..fed).unwrap_or(ids);
            self.walk(state, ids, &pass.rows)
        });
        Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)
    }

    /// Most architectures give logits at once, and these stand for the hidden states.
    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        match &self.model {
            Model::Mamba(model) => model.logits(hidden),
            _ => Ok(hidden.clone()),
        }
    }
}

impl Stepwise {
    /// Feeds `ids` after what the state has; what is wanted of `rows`, `[rows, hidden]` or `[rows, vocab]`.
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
            // Only an empty state takes several tokens at once: some models restart their convolutions at every call.
            let end = if before + at == 0 { rows.start.min(ids.len() - 1) + 1 } else { at + 1 };
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

    /// Logits of what follows the last of `ids`, `[vocab]`.
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
