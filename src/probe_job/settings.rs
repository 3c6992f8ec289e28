//! The command line's arguments as plain settings.

use crate::cli::{Bos, Compute, Dtype, ModelArgs, ProbeArgs, ReflowArg};
use crate::cmd::clock;
use crate::output;
use anyhow::Result;
use byrote::checkpoint::LoadOptions;
use byrote_candle::model::Arithmetic;
use byrote_candle::model::quantize::Quant;
use byrote_candle::model::weights::Precision;
use byrote_core::policy::Policy;
use byrote_core::probe::sweep::SweepGrid;
use byrote_core::probe::{ProbeConfig, SelectionRequest};
use byrote_core::system;
use byrote_core::tokens::BosChoice;
use byrote_core::window::{Reflow, Stride, WindowConfig};
use clap::ValueEnum;

impl TryFrom<&ProbeArgs> for ProbeConfig {
    type Error = anyhow::Error;

    /// For the first of several prefixes.
    fn try_from(args: &ProbeArgs) -> Result<Self> {
        let policy = Policy::open(args.gate.as_deref().unwrap_or("default"))?;
        let coarse = args
            .find_runs
            .map(|tokens| SelectionRequest::CoarseToFine { tokens });
        let screen = args
            .screen
            .map(|piece| SelectionRequest::Screened { piece });
        Ok(Self {
            decide: args.gate.is_some(),
            window: WindowConfig {
                prefix: args.prefix.first().copied().unwrap_or(50),
                suffix: args.suffix,
                lead: args.lead,
                stride: match args.stride_chars {
                    Some(chars) => Stride::Chars(chars),
                    None => Stride::Tokens(args.stride.unwrap_or(args.suffix)),
                },
                reflow: match args.reflow {
                    ReflowArg::Auto => Reflow::Auto,
                    ReflowArg::Off => Reflow::Off,
                    ReflowArg::Only => Reflow::Only,
                },
            },
            selection: coarse.or(screen),
            exhaustive: args.exhaustive,
            reveal: args.reveal,
            batch: args.load.batch as usize,
            folder: args.out.clone(),
            created_at: clock::begun()?,
            command: std::env::args().collect(),
            ..Self::new(policy)
        })
    }
}

impl ProbeArgs {
    /// The combinations to run; `default` is the model where none is named.
    pub(crate) fn grid(&self, default: &str) -> SweepGrid {
        let dtypes: Vec<String> = self.dtype.iter().copied().map(word).collect();
        let bos: Vec<_> = self.bos.iter().map(|bos| (*bos).into()).collect();
        if self.model.is_empty() {
            SweepGrid::new(&[default.to_owned()], &dtypes, &self.prefix, &bos)
        } else {
            SweepGrid::new(&self.model, &dtypes, &self.prefix, &bos)
        }
    }

    /// How every model is loaded, but for its precision and BOS.
    pub(crate) fn load_options(&self) -> LoadOptions {
        let prefix = self.prefix.iter().max().copied().unwrap_or_default();
        // BOS and a short template included.
        let longest = (prefix + self.suffix) as usize + 28;
        LoadOptions {
            window_tokens: longest.max(LoadOptions::WINDOW_TOKENS),
            ..LoadOptions::from(&self.load)
        }
    }
}

/// A choice as it is written on the command line.
fn word(choice: impl ValueEnum) -> String {
    match choice.to_possible_value() {
        Some(value) => value.get_name().to_owned(),
        None => String::new(),
    }
}

impl From<&ModelArgs> for LoadOptions {
    fn from(args: &ModelArgs) -> Self {
        let threads = args.threads.map(|threads| threads as usize);
        Self {
            device: args.device.clone(),
            arithmetic: match args.compute {
                Compute::Auto => None,
                Compute::F32 => Some(Arithmetic::F32),
                Compute::Bf16 => Some(Arithmetic::Bf16),
            },
            threads: threads.unwrap_or_else(system::cores),
            batch: args.batch as usize,
            memory: args.memory,
            on_plan: Some(|plan| output::note(plan.describe())),
            ..Self::default()
        }
    }
}

impl Dtype {
    /// `None` = auto.
    pub(crate) fn precision(self) -> Option<Precision> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(Precision::F32),
            Self::Bf16 => Some(Precision::Bf16),
            Self::F16 => Some(Precision::F16),
            Self::Quantized => Some(Precision::Quantized),
            Self::Q8_0 => Some(Precision::AtLoad(Quant::Q8_0)),
            Self::Q6K => Some(Precision::AtLoad(Quant::Q6K)),
            Self::Q5K => Some(Precision::AtLoad(Quant::Q5K)),
            Self::Q4K => Some(Precision::AtLoad(Quant::Q4K)),
            Self::Q4KM => Some(Precision::AtLoad(Quant::Q4KM)),
            Self::Q4_0 => Some(Precision::AtLoad(Quant::Q4_0)),
        }
    }
}

impl From<Bos> for BosChoice {
    fn from(bos: Bos) -> Self {
        match bos {
            Bos::Auto => Self::Auto,
            Bos::Always => Self::Always,
            Bos::Never => Self::Never,
        }
    }
}
