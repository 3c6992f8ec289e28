//! From a model's name on the command line to a backend that has passed its self-test.

use crate::cli::{Bos, Compute, Dtype, ModelArgs};
use crate::output;
use anyhow::{Context, Result, bail};
use byrote_candle::model::Arithmetic;
use byrote_candle::model::adapter::Adapter;
use byrote_candle::model::builtin;
use byrote_candle::model::load::{self, Checkpoint, LoadConfig};
use byrote_candle::model::memory::MemoryBudget;
use byrote_candle::model::quantize::Quant;
use byrote_candle::model::source::{self, Format, LocateOptions, Located, identity, signing};
use byrote_candle::model::weights::{Precision, WeightSource};
use byrote_candle::native::{Native, NativeConfig};
use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::backend::{Backend, Scheme, self_test};
use byrote_core::digest::FileDigest;
use byrote_core::machine;
use byrote_core::registry::{DtypeChoice, Registry};
use byrote_core::run::{AdapterIdentity, ModelIdentity};
use byrote_core::tokens::BosChoice;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model that is ready, and exactly which one it is.
pub(crate) struct Ready {
    pub(crate) backend: Native,
    pub(crate) tokenizer: Option<Tokenizer>,
    pub(crate) identity: ModelIdentity,
    pub(crate) bos: BosChoice,
    /// What `bos` comes to.
    pub(crate) bos_token: Option<u32>,
    /// The registry's word on BOS, where the command line has none.
    registered_bos: BosChoice,
}

/// In what form a model is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loading {
    pub(crate) dtype: Dtype,
    pub(crate) bos: Bos,
    /// Tokens of a window, for the memory that batches take.
    pub(crate) window: usize,
    /// Whether windows are fed piece by piece, or followed up.
    pub(crate) keeps: bool,
}

impl Loading {
    /// Where windows aren't known yet: a common length.
    pub(crate) const WINDOW: usize = 128;
}

impl Ready {
    /// Computes all products in f32 from now on. A no-op on a GPU, where narrow weights are multiplied as they are.
    pub(crate) fn multiply_in_f32(&mut self) {
        self.backend = self.backend.in_f32();
        self.identity.backend = self.backend.info().clone();
    }

    /// Puts another token, or none, at the start of every window from now on.
    pub(crate) fn set_bos(&mut self, asked: Bos) -> Result<()> {
        self.bos = match asked {
            Bos::Always => BosChoice::Always,
            Bos::Never => BosChoice::Never,
            Bos::Auto => self.registered_bos,
        };
        self.bos_token = match &self.tokenizer {
            Some(tokenizer) => tokenizer.bos(self.bos)?,
            None => None,
        };
        self_test::run(&self.backend, self.bos_token)
            .with_context(|| format!("{}: can't be scored", self.identity.reference))
    }
}

/// Finds a model's files, fetching them if they are on the hub; an adapter is a folder.
pub(crate) fn locate(
    reference: &str,
    registry: &Registry,
    offline: bool,
    adapter: Option<&Path>,
) -> Result<Located> {
    let mut options = LocateOptions::from_env();
    options.offline |= offline;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{msg} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let shown = bar.clone();
    options.progress = Some(Arc::new(move |transfer| {
        shown.set_length(transfer.total);
        shown.set_message(transfer.file.to_owned());
        shown.set_position(transfer.done);
    }));
    let located = source::locate(reference, registry, &options);
    bar.finish_and_clear();
    let mut located = located?;
    if let Some(folder) = adapter {
        // So that reports don't take it for the base.
        located.reference = format!("{} + adapter {}", located.reference, folder.display());
        located.adapter = Some(folder.to_owned());
    }
    Ok(located)
}

/// Digests of all of a model's files.
pub(crate) fn digests(located: &Located) -> Result<Vec<FileDigest>> {
    match located.format {
        Format::Builtin => Ok([builtin::digests(), identity::of_adapter(located)?].concat()),
        _ => Ok(identity::digests(located)?),
    }
}

/// Which adapter it is.
pub(crate) fn adapter_identity(folder: &Path) -> Result<AdapterIdentity> {
    Ok(AdapterIdentity {
        source: folder.display().to_string(),
        base_model: Adapter::open(folder)?.base_model().map(str::to_owned),
        model_signing: signing::of_folder(folder, &[]).ok(),
    })
}

/// Loads a located model, to be scored under `schemes`, and runs the self-test.
pub(crate) fn ready(
    located: &Located,
    args: &ModelArgs,
    loading: Loading,
    schemes: Vec<Scheme>,
) -> Result<Ready> {
    let entry = located.entry.as_ref();
    let config = LoadConfig {
        precision: precision(loading.dtype, entry.map(|e| e.dtype)),
        device: args.device.clone(),
        family: entry.and_then(|e| e.family.clone()),
        adapter: located.adapter.clone(),
        budget: Some(MemoryBudget {
            keeps: loading.keeps,
            ..budget(args, loading.window)
        }),
        announce: Some(|plan| output::note(plan.describe())),
    };
    let named = || {
        let files = digests(located)?;
        // A folder that can't be signed can be probed all the same.
        let signing = signing::root(located, &files).ok().flatten();
        anyhow::Ok((files, signing))
    };
    let (named, loaded) = rayon::join(named, || read(located, &config));
    let ((files, model_signing), loaded) = (named?, loaded?);
    let plan = loaded.plan;
    let native = NativeConfig {
        threads: plan.map_or_else(|| threads(args), |plan| plan.threads),
        batch: plan.map_or(args.batch as usize, |plan| plan.batch),
        arithmetic: arithmetic(args.compute, loaded.precision)?,
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
    let tokenizer = loaded.tokenizer;
    let mut ready = Ready {
        backend,
        tokenizer,
        identity,
        bos: registered_bos,
        bos_token: None,
        registered_bos,
    };
    ready.set_bos(loading.bos)?;
    Ok(ready)
}

/// The model with its products in f32 on the CPU, for scores that must not hang on rounding: on the CPU the same weights, elsewhere
/// a second copy. `None` where the model multiplies in f32 already.
pub(crate) fn f32_copy(located: &Located, args: &ModelArgs, of: &Native) -> Result<Option<Native>> {
    let info = of.info();
    if info.device == "cpu" {
        return Ok((info.arithmetic != Arithmetic::F32.name()).then(|| of.in_f32()));
    }
    if info.dtype == "f32" {
        return Ok(None);
    }
    let family = located
        .entry
        .as_ref()
        .and_then(|entry| entry.family.clone());
    let adapter = located.adapter.clone();
    let budget = Some(MemoryBudget {
        batch: 1,
        ..budget(args, Loading::WINDOW)
    });
    let device = "cpu".to_owned();
    let config = LoadConfig {
        precision: Some(Precision::F32),
        device,
        family,
        adapter,
        budget,
        announce: None,
    };
    let loaded = read(located, &config)?;
    let threads = loaded.plan.map_or(1, |plan| plan.threads);
    let native = NativeConfig {
        threads,
        batch: 1,
        arithmetic: Arithmetic::F32,
    };
    Ok(Some(Native::new(
        loaded.model,
        loaded.precision.name(),
        info.schemes.clone(),
        native,
    )?))
}

/// In what products are computed: as weights are kept, unless the command line says otherwise.
fn arithmetic(asked: Compute, kept: Precision) -> Result<Arithmetic> {
    match (asked, kept) {
        (Compute::Bf16, Precision::F32) => {
            bail!("--compute bf16 is for weights that are no wider; add --dtype bf16")
        }
        (Compute::Bf16, _) | (Compute::Auto, Precision::Bf16) => Ok(Arithmetic::Bf16),
        (Compute::F32 | Compute::Auto, _) => Ok(Arithmetic::F32),
    }
}

/// Loads a located model.
pub(crate) fn read(located: &Located, config: &LoadConfig) -> Result<load::Loaded> {
    Ok(match located.format {
        Format::Gguf => {
            let path = located.weights.first().context("there is no GGUF file")?;
            load::gguf(path, config)?
        }
        Format::Builtin | Format::Safetensors => load::safetensors(&checkpoint(located)?, config)?,
    })
}

/// The files of a checkpoint of safetensors.
pub(crate) fn checkpoint(located: &Located) -> Result<Checkpoint> {
    if located.format == Format::Builtin {
        return Ok(builtin::checkpoint());
    }
    let file = |path: &Option<PathBuf>| path.clone().map(WeightSource::File);
    Ok(Checkpoint {
        config: file(&located.config).context("there is no config.json")?,
        weights: located
            .weights
            .iter()
            .cloned()
            .map(WeightSource::File)
            .collect(),
        tokenizer: file(&located.tokenizer),
        tokenizer_config: file(&located.tokenizer_config),
    })
}

/// The command line's word wins over the registry's.
fn precision(asked: Dtype, entry: Option<DtypeChoice>) -> Option<Precision> {
    match (asked, entry) {
        (Dtype::F32, _) | (Dtype::Auto, Some(DtypeChoice::F32)) => Some(Precision::F32),
        (Dtype::Bf16, _) | (Dtype::Auto, Some(DtypeChoice::Bf16)) => Some(Precision::Bf16),
        (Dtype::F16, _) | (Dtype::Auto, Some(DtypeChoice::F16)) => Some(Precision::F16),
        (Dtype::Quantized, _) => Some(Precision::Quantized),
        (Dtype::Q8_0, _) => Some(Precision::AtLoad(Quant::Q8_0)),
        (Dtype::Q6K, _) => Some(Precision::AtLoad(Quant::Q6K)),
        (Dtype::Q5K, _) => Some(Precision::AtLoad(Quant::Q5K)),
        (Dtype::Q4K, _) => Some(Precision::AtLoad(Quant::Q4K)),
        (Dtype::Q4KM, _) => Some(Precision::AtLoad(Quant::Q4KM)),
        (Dtype::Q4_0, _) => Some(Precision::AtLoad(Quant::Q4_0)),
        (Dtype::Auto, None | Some(DtypeChoice::Auto)) => None,
    }
}

/// Threads that were asked for, or as many as can run at the same time.
fn threads(args: &ModelArgs) -> usize {
    args.threads
        .map_or_else(machine::cores, |threads| threads as usize)
}

/// What a model may take.
fn budget(args: &ModelArgs, window: usize) -> MemoryBudget {
    MemoryBudget::of_machine(args.batch as usize, threads(args), window).within(args.memory)
}

/// Tells in a line what is about to be scored.
pub(crate) fn announce(ready: &Ready) {
    let info = ready.backend.info();
    output::note(format_args!(
        "{}: {}, {:.1} M parameters, {}{} on {}{}, {}",
        ready.identity.reference,
        info.architecture,
        info.parameters as f64 / 1e6,
        info.dtype,
        // f32 goes without saying.
        if info.arithmetic == "f32" {
            String::new()
        } else {
            format!(" multiplied in {}", info.arithmetic)
        },
        info.device,
        info.pace(),
        match ready.bos_token {
            Some(id) => format!("BOS {id}"),
            None => "no BOS".to_owned(),
        }
    ));
    if let Some(mixture) = &info.mixture {
        output::note(format_args!("quantized at load: {mixture}"));
    }
}
