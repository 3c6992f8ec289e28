//! From a located checkpoint to a model that has passed its self-test, and exactly which one it is.

mod files;
mod further;

pub use files::{adapter_identity, chat_template, digests, locate, read, safetensors};
pub use further::{FurtherCheckpoints, Reference};

use anyhow::{Context, Result, bail};
use byrote_candle::model::Arithmetic;
use byrote_candle::model::load::LoadConfig;
use byrote_candle::model::memory::{MemoryBudget, MemoryPlan};
use byrote_candle::model::source::{LocateOptions, Located, identity, signing};
use byrote_candle::model::weights::Precision;
use byrote_candle::native::{Native, NativeConfig};
use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::backend::{Backend, Scheme, self_test};
use byrote_core::policy::{Policy, Statistic};
use byrote_core::probe::{ProbeModel, RenderedTemplates};
use byrote_core::registry::{DtypeChoice, Registry};
use byrote_core::run::ModelIdentity;
use byrote_core::system;
use byrote_core::tokens::BosChoice;
use std::sync::Arc;
use std::time::Instant;

/// Opens a model by its name in the registry, its folder, its file, or its name on the hub, with default options.
///
/// # Errors
/// When it can't be found, loaded or scored.
pub fn open_model(reference: &str) -> Result<ProbeModel> {
    let located = locate(
        reference,
        &Registry::builtin()?,
        &LocateOptions::from_env(),
        None,
    )?;
    let model = LoadedModel::load(&located, &LoadOptions::default(), Scheme::defaults())?;
    Ok(model.probe_model(RenderedTemplates::default()))
}

/// How a model is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// `auto`, `cpu`, `cuda:N` or `metal`.
    pub device: String,
    /// `None` = as the registry says, else the widest that fits.
    pub precision: Option<Precision>,
    /// Arithmetic of products. `None` = bf16 for weights in bf16, else f32.
    pub arithmetic: Option<Arithmetic>,
    /// Maximum number of batches scored at the same time.
    pub threads: usize,
    /// Maximum number of windows per batch.
    pub batch: usize,
    /// Memory limit in bytes. `None` = the free memory.
    pub memory: Option<u64>,
    /// Auto = as the registry says.
    pub bos: BosChoice,
    /// Expected tokens per window, by which the memory of batches is estimated.
    pub window_tokens: usize,
    /// Whether windows may be computed step by step, which takes memory for keys and values.
    pub keeps_state: bool,
    /// Receives the memory plan before weights are read.
    pub on_plan: Option<fn(&MemoryPlan)>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: "auto".to_owned(),
            precision: None,
            arithmetic: None,
            threads: system::cores(),
            batch: 8,
            memory: None,
            bos: BosChoice::Auto,
            window_tokens: Self::WINDOW_TOKENS,
            keeps_state: true,
            on_plan: None,
        }
    }
}

impl LoadOptions {
    /// A common length, for windows that aren't known yet.
    pub const WINDOW_TOKENS: usize = 128;

    fn budget(&self) -> MemoryBudget {
        let budget = MemoryBudget::of_machine(self.batch, self.threads, self.window_tokens);
        MemoryBudget {
            keeps_cache: self.keeps_state,
            ..budget.within(self.memory)
        }
    }

    /// The precision asked for, or that of the registry.
    fn precision_for(&self, located: &Located) -> Option<Precision> {
        let registered = match located.entry.as_ref().map(|entry| entry.dtype) {
            Some(DtypeChoice::F32) => Some(Precision::F32),
            Some(DtypeChoice::Bf16) => Some(Precision::Bf16),
            Some(DtypeChoice::F16) => Some(Precision::F16),
            Some(DtypeChoice::Auto) | None => None,
        };
        self.precision.or(registered)
    }

    /// The arithmetic of products over weights that are kept in `precision`.
    fn arithmetic_for(&self, precision: Precision) -> Result<Arithmetic> {
        match (self.arithmetic, precision) {
            (Some(Arithmetic::Bf16), Precision::F32) => {
                bail!("--compute bf16 is for weights that are no wider; add --dtype bf16")
            }
            (Some(asked), _) => Ok(asked),
            (None, Precision::Bf16) => Ok(Arithmetic::Bf16),
            (None, _) => Ok(Arithmetic::F32),
        }
    }
}

/// A loaded model, and exactly which one it is.
#[derive(Debug)]
pub struct LoadedModel {
    pub backend: Native,
    pub tokenizer: Option<Arc<Tokenizer>>,
    pub identity: ModelIdentity,
    pub bos: BosChoice,
    /// The token in front of every window, after `bos` was applied.
    pub bos_token: Option<u32>,
    /// What `BosChoice::Auto` means for this model.
    registered_bos: BosChoice,
    /// Seconds that loading took.
    pub load_s: f64,
}

impl LoadedModel {
    /// Loads a located model, to be scored under `schemes`, and runs the self-test.
    ///
    /// # Errors
    /// When it can't be loaded or scored.
    pub fn load(located: &Located, options: &LoadOptions, schemes: Vec<Scheme>) -> Result<Self> {
        let started = Instant::now();
        let entry = located.entry.as_ref();
        let config = LoadConfig {
            precision: options.precision_for(located),
            device: options.device.clone(),
            family: entry.and_then(|entry| entry.family.clone()),
            adapter: located.adapter.clone(),
            budget: Some(options.budget()),
            announce: options.on_plan,
        };
        let named = || {
            let files = digests(located)?;
            // A folder that can't be signed can be probed all the same.
            let signing = signing::root(located, &files).ok().flatten();
            anyhow::Ok((files, signing))
        };
        let (named, loaded) = rayon::join(named, || read(located, &config));
        let ((files, model_signing), loaded) = (named?, loaded?);
        let (threads, batch) = match loaded.plan {
            Some(plan) => (plan.threads, plan.batch),
            None => (options.threads, options.batch),
        };
        let native = NativeConfig {
            threads,
            batch,
            arithmetic: options.arithmetic_for(loaded.precision)?,
        };
        let backend = Native::new(loaded.model, loaded.precision.name(), schemes, native)?
            .with_mixture(loaded.mixture);
        let identity = ModelIdentity {
            reference: located.reference.clone(),
            source: located.source.clone(),
            revision: located.revision.clone(),
            digest: identity::root_digest(&files),
            files,
            backend: backend.info().clone(),
            tokenizer_fingerprint: loaded.tokenizer.as_ref().map(|t| t.fingerprint().clone()),
            model_signing,
            adapter: located
                .adapter
                .as_deref()
                .map(adapter_identity)
                .transpose()?,
        };
        let registered_bos = entry.map_or(BosChoice::Auto, |entry| entry.bos);
        let mut model = Self {
            backend,
            tokenizer: loaded.tokenizer.map(Arc::new),
            identity,
            bos: registered_bos,
            bos_token: None,
            registered_bos,
            load_s: 0.0,
        };
        model.set_bos(options.bos)?;
        model.load_s = started.elapsed().as_secs_f64();
        Ok(model)
    }

    /// Computes all products in f32 from now on. A no-op on a GPU, which multiplies narrow weights as they are.
    pub fn multiply_in_f32(&mut self) {
        self.backend = self.backend.in_f32();
        self.identity.backend = self.backend.info().clone();
    }

    /// Whether the policy's statistic needs products in f32 that this model doesn't have: narrower ones are for the one
    /// statistic that a few windows decide, which are then scored again in f32.
    pub fn is_too_coarse_for(&self, policy: &Policy) -> bool {
        policy.statistic != Statistic::MaxLogPZ && self.backend.info().arithmetic != "f32"
    }

    /// Puts another token, or none, at the start of every window from now on.
    ///
    /// # Errors
    /// When the tokenizer has no such token, or the self-test fails with it.
    pub fn set_bos(&mut self, bos: BosChoice) -> Result<()> {
        self.bos = match bos {
            BosChoice::Auto => self.registered_bos,
            asked => asked,
        };
        self.bos_token = match &self.tokenizer {
            Some(tokenizer) => tokenizer.bos(self.bos)?,
            None => None,
        };
        self_test::run(&self.backend, self.bos_token)
            .with_context(|| format!("{}: can't be scored", self.identity.reference))
    }

    /// The model as the probe engine takes it, with templates that were rendered for it. Weights are shared.
    pub fn probe_model(&self, templates: RenderedTemplates) -> ProbeModel {
        ProbeModel {
            backend: Arc::new(self.backend.clone()),
            in_f32: Arc::new(self.backend.in_f32()),
            encoder: self.tokenizer.clone().map(|tokenizer| tokenizer as _),
            identity: self.identity.clone(),
            bos: self.bos,
            bos_token: self.bos_token,
            templates,
            load_s: self.load_s,
        }
    }

    /// Describes the model: one line, and another where weights were quantized as they were loaded.
    pub fn describe(&self) -> String {
        let info = self.backend.info();
        let arithmetic = match info.arithmetic.as_str() {
            // f32 goes without saying.
            "f32" => String::new(),
            narrow => format!(" multiplied in {narrow}"),
        };
        let bos = match self.bos_token {
            Some(id) => format!("BOS {id}"),
            None => "no BOS".to_owned(),
        };
        let mut described = format!(
            "{}: {}, {:.1} M parameters, {}{arithmetic} on {}{}, {bos}",
            self.identity.reference,
            info.architecture,
            info.parameters as f64 / 1e6,
            info.dtype,
            info.device,
            info.pace(),
        );
        if let Some(mixture) = &info.mixture {
            described.push_str(&format!("\nquantized at load: {mixture}"));
        }
        described
    }
}
