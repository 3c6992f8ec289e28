//! From files to a model that can score: device, precision, family, weights, tokenizer.

use super::adapter::Adapter;
use super::families::Family;
use super::gguf::{Gguf, Value};
use super::memory::{self, MemoryBudget, MemoryEstimate, MemoryPlan, Packing, Widths};
use super::weights::{Precision, WeightSource, Weights};
use super::{CausalLm, ModelError};
use crate::tokens::gguf::GgufVocab;
use crate::tokens::slow::{BESIDE, MAIN_FILES, SlowFiles};
use crate::tokens::tokenizer::Tokenizer;
use candle_core::Device;
use std::path::{Path, PathBuf};

/// The files of a checkpoint in Hugging Face's layout.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub config: WeightSource,
    /// All shards.
    pub weights: Vec<WeightSource>,
    pub tokenizer: Option<WeightSource>,
    pub tokenizer_config: Option<WeightSource>,
}

/// How to load a model.
#[derive(Clone, Debug, Default)]
pub struct LoadConfig {
    /// Precision of the weights in memory. `None` means f32, or the precision of the files if f32
    /// would take more than half of the free memory, or more than the limit in `budget`.
    pub precision: Option<Precision>,
    /// `auto`, `cpu`, `cuda`, `cuda:N` or `metal`.
    pub device: String,
    /// Overrides `model_type`, for checkpoints whose config doesn't have one.
    pub family: Option<String>,
    /// The folder of a LoRA adapter to merge into the weights.
    pub adapter: Option<PathBuf>,
    /// The memory limit on the CPU; `None` for all memory of the machine, and batches of the usual
    /// size on every core.
    pub budget: Option<MemoryBudget>,
    /// Called with the memory plan before weights are read.
    pub announce: Option<fn(&MemoryPlan)>,
}

impl LoadConfig {
    fn budget(&self) -> MemoryBudget {
        self.budget
            .unwrap_or_else(|| MemoryBudget::of_machine(16, byrote_core::system::cores(), 128))
    }

    /// Chooses a precision and batches so that a model on `device` fits into memory. `None` on
    /// devices other than the CPU, whose memory isn't known.
    fn fit(
        &self,
        estimate: &MemoryEstimate,
        device: &Device,
    ) -> Result<Option<MemoryPlan>, ModelError> {
        if !device.is_cpu() {
            return Ok(None);
        }
        let plan = estimate.choose(self.precision, Packing::of_machine(), &self.budget())?;
        if let Some(announce) = self.announce {
            announce(&plan);
        }
        Ok(Some(plan))
    }
}

/// A model, ready to score.
pub struct Loaded {
    pub model: Box<dyn CausalLm>,
    /// Absent if the checkpoint has none; token ids can be scored without it.
    pub tokenizer: Option<Tokenizer>,
    pub precision: Precision,
    /// How many matrices have which type, if they were quantized at load.
    pub mixture: Option<String>,
    /// Its memory and batches; absent if it isn't on the CPU.
    pub plan: Option<MemoryPlan>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("info", self.model.info())
            .field("precision", &self.precision)
            .finish_non_exhaustive()
    }
}

/// Loads a safetensors checkpoint.
///
/// # Errors
/// If a file can't be read or is invalid.
pub fn safetensors(checkpoint: &Checkpoint, options: &LoadConfig) -> Result<Loaded, ModelError> {
    let device = device(&options.device)?;
    let (config, config_name) = (
        checkpoint.config.read_all()?,
        checkpoint.config.path().display().to_string(),
    );
    let family = Family::from_config(&config, &config_name, options.family.as_deref())?;
    if options.precision == Some(Precision::Quantized) {
        return Err(ModelError::Config {
            file: config_name,
            what:
                "\"--dtype quantized\" is for GGUF files; this checkpoint is safetensors: choose a type, such as q8_0 or \
                   q4_k_m, to quantize it at load"
                    .to_owned(),
        });
    }
    if let (Family::Sequential(config), Some(precision)) = (&family, options.precision) {
        config.check(precision, &config_name)?;
    }
    let plan = options.fit(&estimate(checkpoint, &family)?, &device)?;
    let precision = match (options.precision, &plan) {
        (Some(precision), _) => precision,
        (None, Some(plan)) => plan.precision,
        (None, None) if family.f32_only() => Precision::F32,
        (None, None) => Precision::Bf16,
    };
    let tokenizer = match &checkpoint.tokenizer {
        Some(source) => {
            let tokenizer_config = checkpoint
                .tokenizer_config
                .as_ref()
                .map(WeightSource::read_all)
                .transpose()?;
            Some(tokenizer(source, tokenizer_config, &config)?)
        }
        None => None,
    };
    let weights = Weights::safetensors(&checkpoint.weights, family.names(), precision, &device)?;
    let weights = adapted(weights, options)?;
    let model = family.load(&weights)?;
    Ok(Loaded {
        model,
        tokenizer,
        precision,
        mixture: weights.mixture()?,
        plan,
    })
}

/// Estimates the memory of a safetensors checkpoint from its headers.
///
/// # Errors
/// If a header can't be read, or the configuration is unusable.
fn estimate(checkpoint: &Checkpoint, family: &Family) -> Result<MemoryEstimate, ModelError> {
    let (widths, tied) = match family {
        Family::Native(recognized) => {
            let spec = recognized.spec()?;
            (Some(Widths::from_spec(&spec)), spec.tied)
        }
        Family::Sequential(_) => (None, false),
    };
    let headers = memory::of_safetensors(&checkpoint.weights, tied)?;
    let file = checkpoint
        .weights
        .first()
        .unwrap_or(&checkpoint.config)
        .path()
        .display()
        .to_string();
    Ok(MemoryEstimate::new(
        file,
        headers,
        widths,
        false,
        family.f32_only(),
    ))
}

fn adapted(weights: Weights, options: &LoadConfig) -> Result<Weights, ModelError> {
    match &options.adapter {
        Some(folder) => weights.with_adapter(Adapter::open(folder)?),
        None => Ok(weights),
    }
}

/// Loads a GGUF file, including its tokenizer and config.
///
/// # Errors
/// If it can't be read or is invalid.
pub fn gguf(path: &Path, options: &LoadConfig) -> Result<Loaded, ModelError> {
    let device = device(&options.device)?;
    let gguf = Gguf::open(path)?;
    let family = Family::from_gguf(&gguf)?;
    let tokenizer = vocabulary(&gguf)
        .map(|vocab| Tokenizer::from_gguf(vocab, &path.display().to_string()))
        .transpose()?;
    let widths = match &family {
        Family::Native(recognized) => Some(Widths::from_spec(&recognized.spec()?)),
        Family::Sequential(_) => None,
    };
    let estimate = MemoryEstimate::new(
        path.display().to_string(),
        memory::of_gguf(&gguf),
        widths,
        true,
        false,
    );
    let plan = options.fit(&estimate, &device)?;
    let precision = match (options.precision, &plan) {
        (Some(precision), _) => precision,
        (None, Some(plan)) => plan.precision,
        (None, None) => Precision::Quantized,
    };
    let names = family.names();
    let weights = adapted(Weights::gguf(gguf, names, precision, &device), options)?;
    let model = family.load(&weights)?;
    Ok(Loaded {
        model,
        tokenizer,
        precision,
        mixture: weights.mixture()?,
        plan,
    })
}

/// The tokenizer whose main file is `source`. If that isn't tokenizer.json, the small files beside
/// it are read, too.
pub(super) fn tokenizer(
    source: &WeightSource,
    config: Option<Vec<u8>>,
    model: &[u8],
) -> Result<Tokenizer, ModelError> {
    let path = source.path();
    let (main, file) = (source.read_all()?, path.display().to_string());
    if !MAIN_FILES[1..].iter().any(|name| path.ends_with(name)) {
        return Ok(Tokenizer::from_json(&main, config.as_deref(), &file)?);
    }
    let beside = |name: &str| {
        let path = path.with_file_name(name);
        if path.is_file() {
            WeightSource::File(path).read_all().map(Some)
        } else {
            Ok(None)
        }
    };
    let [merges, special_tokens_map, added_tokens] = [BESIDE[0], BESIDE[1], BESIDE[2]].map(beside);
    let model: serde_json::Value = serde_json::from_slice(model).unwrap_or_default();
    let files = SlowFiles {
        main,
        merges: merges?,
        config,
        special_tokens_map: special_tokens_map?,
        added_tokens: added_tokens?,
        model_type: model
            .get("model_type")
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned),
    };
    Ok(Tokenizer::from_slow(&files, &file)?)
}

/// The vocabulary in a GGUF's metadata, if any.
pub fn vocabulary(gguf: &Gguf) -> Option<GgufVocab> {
    let key = |key: &str| format!("tokenizer.ggml.{key}");
    let id = |name: &str| gguf.int(&key(name)).and_then(|n| u32::try_from(n).ok());
    let texts = |name: &str| match gguf.metadata.get(&key(name)) {
        Some(Value::Texts(texts)) => Some(texts.clone()),
        _ => None,
    };
    Some(GgufVocab {
        architecture: gguf.text("general.architecture").map(str::to_owned),
        model: gguf.text(&key("model"))?.to_owned(),
        pre: gguf.text(&key("pre")).map(str::to_owned),
        tokens: texts("tokens")?,
        scores: match gguf.metadata.get(&key("scores")) {
            Some(Value::Floats(scores)) => Some(scores.clone()),
            _ => None,
        },
        merges: texts("merges"),
        token_types: match gguf.metadata.get(&key("token_type")) {
            Some(Value::Ints(types)) => Some(
                types
                    .iter()
                    .map(|t| i32::try_from(*t).unwrap_or(0))
                    .collect(),
            ),
            _ => None,
        },
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        unk: id("unknown_token_id"),
        add_bos: gguf.bool(&key("add_bos_token")),
        add_space_prefix: gguf.bool(&key("add_space_prefix")),
    })
}

/// The device with this name on the command line.
///
/// # Errors
/// If this build doesn't support it or the machine doesn't have it.
pub fn device(name: &str) -> Result<Device, ModelError> {
    let fail = |what: String| ModelError::Device {
        name: name.to_owned(),
        what,
    };
    let unavailable = |e: candle_core::Error| fail(e.to_string());
    match name {
        "" | "auto" => {
            if cfg!(feature = "cuda") {
                // A build with CUDA must also run on a machine without CUDA.
                return Ok(Device::new_cuda(0).unwrap_or(Device::Cpu));
            }
            if cfg!(feature = "metal") {
                return Ok(Device::new_metal(0).unwrap_or(Device::Cpu));
            }
            Ok(Device::Cpu)
        }
        "cpu" => Ok(Device::Cpu),
        "metal" if cfg!(feature = "metal") => Device::new_metal(0).map_err(unavailable),
        "metal" => Err(fail(
            "this build has no Metal; build with --features metal".to_owned(),
        )),
        other => match other.strip_prefix("cuda") {
            Some(number) => {
                let number = number.strip_prefix(':').unwrap_or(if number.is_empty() {
                    "0"
                } else {
                    number
                });
                let number = number
                    .parse()
                    .map_err(|_| fail("write cuda or cuda:N".to_owned()))?;
                if !cfg!(feature = "cuda") {
                    return Err(fail(
                        "this build has no CUDA; build with --features cuda".to_owned(),
                    ));
                }
                Device::new_cuda(number).map_err(unavailable)
            }
            None => Err(fail("unknown; use auto, cpu, cuda:N or metal".to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_for_missing_devices_say_how_to_get_them() {
        for (name, said) in [
            ("tpu", "unknown; use auto"),
            ("cuda:x", "write cuda or cuda:N"),
        ] {
            let error = device(name).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(said), "{error}");
        }
        assert!(device("auto").is_ok());
        #[cfg(not(feature = "cuda"))]
        assert!(
            device("cuda:0")
                .unwrap_err()
                .to_string()
                .contains("--features cuda")
        );
    }
}
