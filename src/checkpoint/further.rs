//! The checkpoints that follow-ups need beside the tested model: its f32 copy, and the reference.

use super::{LoadOptions, LoadedModel, read};
use anyhow::{Context, Result, bail};
use byrote_candle::model::Arithmetic;
use byrote_candle::model::load::LoadConfig;
use byrote_candle::model::memory::MemoryBudget;
use byrote_candle::model::source::Located;
use byrote_candle::model::weights::Precision;
use byrote_candle::native::{Native, NativeConfig};
use byrote_core::backend::{Backend, Scheme};
use byrote_core::probe::{BoxError, Checkpoints, ProbeModel, RenderedTemplates};
use byrote_core::run::ModelIdentity;

/// A checkpoint to compare with.
#[derive(Debug)]
pub struct Reference {
    located: Located,
    options: LoadOptions,
    identity: ModelIdentity,
}

impl Reference {
    /// Loads the reference once, to know exactly which one it is before anything is spent on a run. It isn't kept: two
    /// models at a time may be more than fits.
    ///
    /// # Errors
    /// When it can't be loaded, or has no tokenizer.
    pub fn new(name: &str, located: Located, options: LoadOptions) -> Result<Self> {
        let mut model = LoadedModel::load(&located, &options, Scheme::defaults())?;
        model.multiply_in_f32();
        if model.tokenizer.is_none() {
            bail!(
                "--reference {name}: it has no tokenizer, so no text can be given to it; put its tokenizer.json beside it"
            );
        }
        // Memory may be scarcer next time, which must not change what `auto` means.
        let precision = match model.identity.backend.dtype.as_str() {
            "f32" => Some(Precision::F32),
            "bf16" => Some(Precision::Bf16),
            "f16" => Some(Precision::F16),
            "quantized" => Some(Precision::Quantized),
            _ => None,
        };
        Ok(Self {
            located,
            options: LoadOptions {
                precision,
                ..options
            },
            identity: model.identity,
        })
    }

    /// Loads it again, as it was loaded before.
    fn load(&self) -> Result<LoadedModel> {
        let mut model = LoadedModel::load(&self.located, &self.options, Scheme::defaults())?;
        model.multiply_in_f32();
        // A folder's root digest covers files that aren't the model's.
        let same_files = ModelIdentity {
            model_signing: self.identity.model_signing.clone(),
            ..model.identity.clone()
        };
        if same_files != self.identity {
            bail!("its files changed while the run went on");
        }
        Ok(model)
    }
}

/// Loads the checkpoints that follow-ups of one model need.
#[derive(Debug)]
pub struct FurtherCheckpoints<'a> {
    pub located: &'a Located,
    pub options: &'a LoadOptions,
    /// The tested model.
    pub backend: &'a Native,
    pub reference: Option<&'a Reference>,
    /// Receives the reference once it is loaded.
    pub on_load: fn(&LoadedModel),
}

impl FurtherCheckpoints<'_> {
    fn copy_to_cpu(&self) -> Result<Native> {
        let (located, info) = (self.located, self.backend.info());
        let entry = located.entry.as_ref();
        let config = LoadConfig {
            precision: Some(Precision::F32),
            device: "cpu".to_owned(),
            family: entry.and_then(|entry| entry.family.clone()),
            adapter: located.adapter.clone(),
            budget: Some(MemoryBudget {
                batch: 1,
                window: LoadOptions::WINDOW_TOKENS,
                keeps_cache: true,
                ..self.options.budget()
            }),
            announce: None,
        };
        let loaded = read(located, &config)?;
        let native = NativeConfig {
            threads: loaded.plan.map_or(1, |plan| plan.threads),
            batch: 1,
            arithmetic: Arithmetic::F32,
        };
        let (schemes, dtype) = (info.schemes.clone(), loaded.precision.name());
        Ok(Native::new(loaded.model, dtype, schemes, native)?)
    }
}

impl Checkpoints for FurtherCheckpoints<'_> {
    /// On the CPU the model's own weights do, multiplied in f32; elsewhere narrow weights need a copy.
    fn f32_copy(&self) -> Result<Option<Box<dyn Backend>>, BoxError> {
        let info = self.backend.info();
        if info.device == "cpu" || info.dtype == "f32" {
            return Ok(None);
        }
        Ok(Some(Box::new(self.copy_to_cpu()?)))
    }

    fn reference(&self) -> Option<&ModelIdentity> {
        self.reference.map(|reference| &reference.identity)
    }

    fn load_reference(&self) -> Result<ProbeModel, BoxError> {
        let reference = self.reference.context("there is no reference checkpoint")?;
        let model = reference.load()?;
        (self.on_load)(&model);
        Ok(model.probe_model(RenderedTemplates::default()))
    }
}
