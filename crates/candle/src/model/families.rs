//! Model families. Each one maps GGUF's names of tensors to those in its checkpoints, and turns a
//! configuration into a spec. A family that uses existing layers is a row of `NATIVE` and a few
//! lines of code.

mod bloom;
mod cohere;
mod falcon;
mod gemma;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod llama;
mod mpt;
mod olmo;
mod opt;
mod phi;
mod qwen;
mod stablelm;
mod starcoder2;

use super::config::Config;
use super::gguf::Gguf;
use super::spec::ModelSpec;
use super::weights::Weights;
use super::weights::names::Names;
use super::{CausalLm, ModelError, build, sequential};

/// One architecture.
#[derive(Debug)]
struct Native {
    /// `model_type`s of config.json.
    config: &'static [&'static str],
    /// `general.architecture`s of GGUF.
    gguf: &'static [&'static str],
    names: fn(&Config) -> Names,
    spec: fn(&Config) -> Result<ModelSpec, ModelError>,
}

/// The architectures that byrote's own layers support.
const NATIVE: &[Native] = &[
    Native {
        config: &["llama"],
        gguf: &["llama"],
        names: llama::names,
        spec: llama::llama,
    },
    Native {
        config: &["mistral"],
        gguf: &["mistral"],
        names: llama::names,
        spec: llama::mistral,
    },
    Native {
        config: &["ministral"],
        gguf: &[],
        names: llama::names,
        spec: llama::ministral,
    },
    Native {
        config: &["ministral3"],
        gguf: &["mistral3"],
        names: llama::names,
        spec: llama::ministral3,
    },
    Native {
        config: &["mixtral"],
        gguf: &[],
        names: llama::mixtral_names,
        spec: llama::mixtral,
    },
    Native {
        config: &["smollm3"],
        gguf: &["smollm3"],
        names: llama::names,
        spec: llama::smollm3,
    },
    Native {
        config: &["internlm2"],
        gguf: &["internlm2"],
        names: llama::internlm2_names,
        spec: llama::internlm2,
    },
    Native {
        config: &["granite"],
        gguf: &["granite"],
        names: llama::names,
        spec: llama::granite,
    },
    Native {
        config: &["qwen2"],
        gguf: &["qwen2"],
        names: llama::names,
        spec: qwen::qwen2,
    },
    Native {
        config: &["qwen3"],
        gguf: &["qwen3"],
        names: llama::names,
        spec: qwen::qwen3,
    },
    Native {
        config: &["qwen2_moe"],
        gguf: &["qwen2moe"],
        names: qwen::moe_names,
        spec: qwen::qwen2_moe,
    },
    Native {
        config: &["qwen3_moe"],
        gguf: &["qwen3moe"],
        names: qwen::moe_names,
        spec: qwen::qwen3_moe,
    },
    Native {
        config: &["olmo"],
        gguf: &["olmo"],
        names: llama::names,
        spec: olmo::olmo,
    },
    Native {
        config: &["olmo2"],
        gguf: &[],
        names: olmo::after_names,
        spec: olmo::olmo2,
    },
    // llama.cpp writes both as OLMo 2; version 3 has a window.
    Native {
        config: &["olmo3"],
        gguf: &["olmo2"],
        names: olmo::after_names,
        spec: olmo::olmo3,
    },
    Native {
        config: &["olmoe"],
        gguf: &["olmoe"],
        names: qwen::moe_names,
        spec: olmo::olmoe,
    },
    Native {
        config: &["gemma"],
        gguf: &["gemma"],
        names: llama::names,
        spec: gemma::gemma,
    },
    Native {
        config: &["gemma2"],
        gguf: &["gemma2"],
        names: gemma::names,
        spec: gemma::gemma2,
    },
    Native {
        config: &["gemma3_text", "gemma3"],
        gguf: &["gemma3"],
        names: gemma::names,
        spec: gemma::gemma3,
    },
    Native {
        config: &["phi"],
        gguf: &["phi2"],
        names: phi::names,
        spec: phi::phi,
    },
    Native {
        config: &["phi3"],
        gguf: &["phi3"],
        names: phi::phi3_names,
        spec: phi::phi3,
    },
    Native {
        config: &["stablelm"],
        gguf: &["stablelm"],
        names: stablelm::names,
        spec: stablelm::spec,
    },
    Native {
        config: &["cohere"],
        gguf: &["command-r"],
        names: llama::names,
        spec: cohere::cohere,
    },
    Native {
        config: &["cohere2"],
        gguf: &["cohere2"],
        names: llama::names,
        spec: cohere::cohere2,
    },
    Native {
        config: &["starcoder2"],
        gguf: &["starcoder2"],
        names: starcoder2::names,
        spec: starcoder2::spec,
    },
    Native {
        config: &["gpt2"],
        gguf: &["gpt2"],
        names: gpt2::names,
        spec: gpt2::gpt2,
    },
    Native {
        config: &["gpt_bigcode"],
        gguf: &["starcoder"],
        names: gpt2::names,
        spec: gpt2::bigcode,
    },
    Native {
        config: &["gpt_neo"],
        gguf: &[],
        names: gpt_neo::names,
        spec: gpt_neo::spec,
    },
    Native {
        config: &["gptj"],
        gguf: &[],
        names: gptj::names,
        spec: gptj::spec,
    },
    Native {
        config: &["gpt_neox"],
        gguf: &["gptneox"],
        names: gpt_neox::names,
        spec: gpt_neox::spec,
    },
    Native {
        config: &["opt"],
        gguf: &[],
        names: opt::names,
        spec: opt::spec,
    },
    Native {
        config: &["bloom"],
        gguf: &["bloom"],
        names: bloom::names,
        spec: bloom::spec,
    },
    Native {
        config: &["mpt"],
        gguf: &["mpt"],
        names: mpt::names,
        spec: mpt::spec,
    },
    Native {
        config: &["falcon"],
        gguf: &["falcon"],
        names: falcon::names,
        spec: falcon::spec,
    },
    Native {
        config: &["gpt_oss"],
        gguf: &["gpt-oss"],
        names: gpt_oss::names,
        spec: gpt_oss::spec,
    },
];

/// The family of a checkpoint, with its configuration.
#[derive(Clone, Debug)]
pub(crate) enum Family {
    /// Built from byrote's layers.
    Native(Recognized),
    /// Runs one token at a time.
    Sequential(sequential::Config),
}

/// A family of `NATIVE` and the configuration of a checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Recognized {
    native: &'static Native,
    config: Config,
}

impl Family {
    /// Reads a config.json. `named` overrides its `model_type`, for checkpoints that don't have
    /// one.
    ///
    /// # Errors
    /// If it isn't JSON, or its architecture is unknown.
    pub(crate) fn from_config(
        json: &[u8],
        file: &str,
        named: Option<&str>,
    ) -> Result<Self, ModelError> {
        let json = &*sequential::fields::finite(json);
        let config = Config::from_json(json, file, named)?;
        if sequential::ARCHITECTURES.contains(&config.kind.as_str()) {
            return Ok(Self::Sequential(sequential::Config::from_json(
                json,
                file,
                &config.kind,
            )?));
        }
        Self::recognize(config, |native| native.config)
    }

    /// Reads the configuration from a GGUF's metadata.
    ///
    /// # Errors
    /// As for [`Family::from_config`].
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Self, ModelError> {
        Self::recognize(Config::from_gguf(gguf)?, |native| native.gguf)
    }

    fn recognize(
        config: Config,
        kinds: fn(&Native) -> &'static [&'static str],
    ) -> Result<Self, ModelError> {
        match NATIVE
            .iter()
            .find(|native| kinds(native).contains(&config.kind.as_str()))
        {
            Some(native) => Ok(Self::Native(Recognized { native, config })),
            None => Err(ModelError::UnknownArchitecture {
                file: config.file,
                found: config.kind,
                known: known(kinds),
            }),
        }
    }

    /// The names of the family's tensors.
    pub(crate) fn names(&self) -> Names {
        match self {
            Self::Native(Recognized { native, config }) => (native.names)(config),
            Self::Sequential(_) => Names::AS_STORED,
        }
    }

    /// True if activations have the precision of the weights, which must then be f32.
    pub(crate) fn f32_only(&self) -> bool {
        matches!(self, Self::Sequential(config) if config.f32_only())
    }

    /// Checks the configuration, without weights.
    ///
    /// # Errors
    /// If a field is missing or wrong.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        match self {
            Self::Native(recognized) => recognized.spec().map(drop),
            Self::Sequential(_) => Ok(()),
        }
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// If the configuration is unusable, or a tensor is missing, unexpected, or of another shape.
    pub(crate) fn load(&self, weights: &Weights) -> Result<Box<dyn CausalLm>, ModelError> {
        match self {
            Self::Native(recognized) => Ok(Box::new(build::decoder(&recognized.spec()?, weights)?)),
            Self::Sequential(config) => Ok(Box::new(config.load(weights)?)),
        }
    }
}

fn known(kinds: fn(&Native) -> &'static [&'static str]) -> String {
    let native: Vec<&str> = NATIVE.iter().flat_map(kinds).copied().collect();
    format!(
        "{}; from safetensors, one token at a time: {}",
        native.join(", "),
        sequential::ARCHITECTURES.join(", ")
    )
}

impl Recognized {
    /// The spec of the model.
    ///
    /// # Errors
    /// If a field is missing or wrong.
    pub(crate) fn spec(&self) -> Result<ModelSpec, ModelError> {
        (self.native.spec)(&self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_why_a_config_is_unusable() {
        let error_for = |json: &str| {
            let family = Family::from_config(json.as_bytes(), "m/config.json", None);
            let spec = family.and_then(|family| match family {
                Family::Native(recognized) => recognized.spec(),
                Family::Sequential(_) => panic!("{json} is native"),
            });
            spec.unwrap_err().to_string()
        };
        assert!(error_for("{").contains("m/config.json"));
        assert!(error_for("{}").contains("no \"model_type\""));
        assert!(
            error_for(r#"{"model_type": "perceptron"}"#)
                .contains("\"perceptron\" is not supported; byrote supports llama")
        );
        assert!(error_for(r#"{"model_type": "gpt2", "n_embd": 8}"#).contains("missing field"));
    }
}
