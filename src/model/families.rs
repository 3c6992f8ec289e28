//! The families of models: each a file that says what its checkpoints call their tensors and how the
//! shared layers are joined.

pub mod gemma3;
pub mod gpt2;
pub mod gpt_neox;
pub mod llama;

use super::gguf::Gguf;
use super::stepwise;
use super::weights::{Names, Weights};
use super::{CausalLm, ModelError};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A checkpoint's family and its checked configuration.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum Family {
    Llama(llama::Config),
    Gemma3(gemma3::Config),
    Gpt2(gpt2::Config),
    GptNeox(gpt_neox::Config),
    /// Walked a token at a time.
    Stepwise(stepwise::Config),
}

/// `model_type`s of config.json and `general.architecture`s of GGUF that byrote reads.
const KNOWN: &str = "llama, mistral, qwen2, gemma3 (text), gpt2, gpt_neox (GGUF: gptneox)";

impl Family {
    /// Reads a config.json. `named` overrides its `model_type`, for checkpoints that don't tell.
    ///
    /// # Errors
    /// When it isn't JSON, its architecture is unknown, or a field is missing or wrong.
    pub fn from_config(json: &[u8], file: &str, named: Option<&str>) -> Result<Self, ModelError> {
        #[derive(Deserialize)]
        struct Kind {
            model_type: Option<String>,
        }
        let json = &*stepwise::fields::finite(json);
        let kind: Kind = parse(json, file)?;
        let kind = named.map(str::to_owned).or(kind.model_type).ok_or_else(|| ModelError::Config {
            file: file.to_owned(),
            what: "there is no \"model_type\"; give \"family\" in models.toml".to_owned(),
        })?;
        match kind.as_str() {
            "llama" | "mistral" | "qwen2" => Ok(Self::Llama(llama::Config::from_json(json, file, &kind)?)),
            "gemma3_text" => Ok(Self::Gemma3(parse(json, file)?)),
            "gpt2" => Ok(Self::Gpt2(parse(json, file)?)),
            "gpt_neox" => Ok(Self::GptNeox(parse(json, file)?)),
            kind if stepwise::ARCHITECTURES.contains(&kind) => {
                Ok(Self::Stepwise(stepwise::Config::from_json(json, file, kind)?))
            }
            _ => Err(unknown(file, &kind)),
        }
    }

    /// Reads the configuration out of a GGUF's metadata.
    ///
    /// # Errors
    /// As for [`Family::from_config`].
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, ModelError> {
        let file = gguf.path().display().to_string();
        let kind = gguf.text("general.architecture").ok_or_else(|| ModelError::Config {
            file: file.clone(),
            what: "its metadata has no \"general.architecture\"".to_owned(),
        })?;
        let meta = Metadata { gguf, architecture: kind };
        match kind {
            "llama" | "qwen2" => Ok(Self::Llama(llama::Config::from_gguf(&meta)?)),
            "gemma3" => Ok(Self::Gemma3(gemma3::Config::from_gguf(&meta)?)),
            "gpt2" => Ok(Self::Gpt2(gpt2::Config::from_gguf(&meta)?)),
            "gptneox" => Ok(Self::GptNeox(gpt_neox::Config::from_gguf(&meta)?)),
            _ => Err(unknown(&file, kind)),
        }
    }

    /// What the family's tensors are called in either format.
    pub fn names(&self) -> Names {
        match self {
            Self::Llama(_) => llama::NAMES,
            Self::Gemma3(_) => gemma3::NAMES,
            Self::Gpt2(_) => gpt2::NAMES,
            Self::GptNeox(_) => gpt_neox::NAMES,
            Self::Stepwise(_) => &[],
        }
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or has no place.
    pub fn load(&self, weights: &Weights) -> Result<Box<dyn CausalLm>, ModelError> {
        Ok(Box::new(match self {
            Self::Llama(config) => llama::load(config, weights)?,
            Self::Gemma3(config) => gemma3::load(config, weights)?,
            Self::Gpt2(config) => gpt2::load(config, weights)?,
            Self::GptNeox(config) => gpt_neox::load(config, weights)?,
            Self::Stepwise(config) => return Ok(Box::new(config.load(weights)?)),
        }))
    }
}

/// GGUF metadata under the architecture's prefix.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    pub gguf: &'a Gguf,
    pub architecture: &'a str,
}

impl Metadata<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// A number that must be there, such as `block_count`.
    fn need(&self, key: &str) -> Result<usize, ModelError> {
        self.int(key).ok_or_else(|| ModelError::Config {
            file: self.gguf.path().display().to_string(),
            what: format!("its metadata has no number \"{}\"", self.key(key)),
        })
    }

    fn int(&self, key: &str) -> Option<usize> {
        self.gguf.int(&self.key(key)).and_then(|n| usize::try_from(n).ok())
    }

    fn float(&self, key: &str) -> Option<f64> {
        self.gguf.float(&self.key(key))
    }

    /// Rows of the token table: the vocabulary's size, which the metadata needn't tell.
    fn vocabulary(&self) -> Result<usize, ModelError> {
        let rows = self.gguf.tensors.get("token_embd.weight").and_then(|t| t.shape.first());
        rows.copied().ok_or_else(|| ModelError::MissingTensor {
            name: "token_embd.weight".to_owned(),
            file: self.gguf.path().display().to_string(),
        })
    }
}

fn parse<T: DeserializeOwned>(json: &[u8], file: &str) -> Result<T, ModelError> {
    serde_json::from_slice(json)
        .map_err(|e| ModelError::Config { file: file.to_owned(), what: format!("{e}; correct it or fetch it again") })
}

fn unknown(file: &str, found: &str) -> ModelError {
    let known = format!("{KNOWN}; a token at a time: {}", stepwise::ARCHITECTURES.join(", "));
    ModelError::UnknownArchitecture { file: file.to_owned(), found: found.to_owned(), known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_that_cannot_be_used_say_why() {
        let said = |json: &str| Family::from_config(json.as_bytes(), "m/config.json", None).unwrap_err().to_string();
        assert!(said("{").contains("m/config.json"));
        assert!(said("{}").contains("no \"model_type\""));
        assert!(said(r#"{"model_type": "bert"}"#).contains("\"bert\" is not supported; byrote reads llama"));
        assert!(said(r#"{"model_type": "gpt2", "n_embd": 8}"#).contains("missing field"));
    }
}
