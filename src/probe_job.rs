//! What all runs of one `byrote probe` share.

mod settings;
mod sweep;

pub(crate) use sweep::run_all;

use crate::cli::{Dtype, OutputFormat, ProbeArgs};
use crate::cmd::model::{announce, locate};
use crate::cmd::{models, template};
use crate::output;
use crate::progress::Terminal;
use anyhow::{Error, Result, bail};
use byrote::checkpoint::{FurtherCheckpoints, LoadOptions, LoadedModel, Reference};
use byrote_candle::model::builtin;
use byrote_candle::model::source::{Format, Located};
use byrote_core::backend::Scheme;
use byrote_core::controls;
use byrote_core::items::{self, ProbeSet, Source};
use byrote_core::probe::sweep::SweepGrid;
use byrote_core::probe::{ProbeConfig, Probed, RenderedTemplates, outlook, run};
use byrote_core::registry::Registry;
use byrote_core::template::file::Template;
use byrote_core::tokens::BosChoice;
use clap::ValueEnum as _;
use std::path::PathBuf;

pub(crate) struct ProbeJob<'a> {
    pub(crate) config: ProbeConfig,
    pub(crate) grid: SweepGrid,
    pub(crate) format: OutputFormat,
    options: LoadOptions,
    templates: Vec<Template>,
    /// The probe set that was given, if one was.
    texts: Option<ProbeSet>,
    adapter: Option<PathBuf>,
    offline: bool,
    registry: Registry,
    controls: Vec<Source<'a>>,
    reference: Option<Reference>,
}

/// A model that is located, and what it is asked.
pub(crate) struct Target {
    located: Located,
    texts: ProbeSet,
    templates: RenderedTemplates,
}

impl<'a> ProbeJob<'a> {
    pub(crate) fn new(args: &'a ProbeArgs) -> Result<Self> {
        let config = ProbeConfig::try_from(args)?;
        let registry = models::open(args.load.registry.as_deref())?;
        let grid = args.grid(&registry.default);
        let templates = template::open(&args.template)?;
        let has_templates = templates.iter().any(|template| !template.id.is_none());
        for &prefix in &grid.prefixes {
            grid.config(&config, prefix).check(has_templates)?;
        }
        let controls = controls::sources(&args.controls)?;
        let prompts: Vec<_> = args.prompts.iter().map(|path| Source::Path(path)).collect();
        let texts = if prompts.is_empty() {
            None
        } else {
            Some(items::read_with_controls(&prompts, &controls)?)
        };
        Ok(Self {
            config,
            grid,
            format: args.format,
            options: args.load_options(),
            templates,
            texts,
            adapter: args.load.adapter.clone(),
            offline: args.load.offline,
            registry,
            controls,
            reference: None,
        })
    }

    /// The folder's name of a sweep that has none.
    pub(crate) fn sweep_name(&self) -> String {
        let templates = self
            .templates
            .iter()
            .filter(|template| !template.id.is_none());
        let inputs = serde_json::json!([
            self.texts.as_ref().map(|texts| &texts.manifest.files),
            self.adapter,
            templates
                .map(|template| &template.digest)
                .collect::<Vec<_>>(),
        ]);
        self.grid.default_name(&self.config, &inputs)
    }

    pub(crate) fn find_reference(&mut self, args: &ProbeArgs) -> Result<()> {
        if let Some(name) = &args.reference {
            let located = locate(name, &self.registry, self.offline, None)?;
            let options = LoadOptions::from(&args.load);
            self.reference = Some(Reference::new(name, located, options)?);
        }
        Ok(())
    }

    /// Locates a model of the grid, and reads and renders what it is asked.
    pub(crate) fn target(&self, model: usize) -> Result<Target> {
        let adapter = self.adapter.as_deref();
        let located = locate(
            &self.grid.models[model],
            &self.registry,
            self.offline,
            adapter,
        )?;
        let templates = template::render(&self.templates, &located)?;
        let texts = match &self.texts {
            Some(texts) => texts.clone(),
            None if located.format == Format::Builtin => {
                let sources =
                    builtin::PROBE_SET.map(|(name, bytes)| Source::Embedded { name, bytes });
                items::read_with_controls(&sources, &self.controls)?
            }
            None => bail!(
                "{}: which texts? The built-in canaries were planted in the built-in model only; give --prompts PATH",
                located.reference
            ),
        };
        for note in outlook(&texts, &self.config.policy) {
            output::note(note);
        }
        Ok(Target {
            located,
            texts,
            templates,
        })
    }

    /// Loads a located model in a precision by its name.
    pub(crate) fn load(&self, target: &Target, dtype: &str, bos: BosChoice) -> Result<LoadedModel> {
        let policy = &self.config.policy;
        let precision = Dtype::from_str(dtype, false).map_err(Error::msg)?;
        let options = LoadOptions {
            precision: precision.precision(),
            bos,
            ..self.options.clone()
        };
        let schemes = Scheme::with_defaults(&policy.schemes);
        let mut model = LoadedModel::load(&target.located, &options, schemes)?;
        if model.is_too_coarse_for(policy) {
            output::note(
                "every window counts under the policy's statistic: products are computed in f32",
            );
            model.multiply_in_f32();
        }
        announce(&model);
        Ok(model)
    }

    /// Probes a loaded model; `None` if it was stopped.
    pub(crate) fn probe(
        &self,
        config: &ProbeConfig,
        target: &Target,
        model: &LoadedModel,
    ) -> Result<Option<Probed>> {
        let further = FurtherCheckpoints {
            located: &target.located,
            options: &self.options,
            backend: &model.backend,
            reference: self.reference.as_ref(),
            on_load: announce,
        };
        let model = model.probe_model(target.templates.clone());
        let progress = Terminal::default();
        Ok(run(config, &target.texts, &model, &further, &progress)?)
    }
}
