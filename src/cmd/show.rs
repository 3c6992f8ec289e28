//! `byrote models show`: describe a model without loading its weights.

use super::model::locate;
use crate::cli::ShowArgs;
use crate::render::model::ModelSummary;
use crate::{Outcome, output};
use anyhow::{Context, Result, bail};
use byrote::checkpoint::{adapter_identity, digests, safetensors};
use byrote_candle::model::describe::{self, Description};
use byrote_candle::model::source::{Format, Located, signing};

pub(crate) fn run(args: &ShowArgs) -> Result<Outcome> {
    let registry = super::models::open(args.registry.as_deref())?;
    let located = locate(
        &args.model,
        &registry,
        args.offline,
        args.adapter.as_deref(),
    )?;
    let described = describe(&located)?;
    let files = digests(&located)?;
    let signing = match signing::root(&located, &files) {
        Ok(digest) => digest,
        Err(error) => {
            output::note(format_args!(
                "warning: no root digest by model-signing: {error}"
            ));
            None
        }
    };
    let adapter = located
        .adapter
        .as_deref()
        .map(adapter_identity)
        .transpose()?;
    let summary = ModelSummary::new(&located, described, adapter, signing, files);
    output::record(args.format, &summary, ModelSummary::text)
}

fn describe(located: &Located) -> Result<Description> {
    let adapter = located.adapter.as_deref();
    if located.format != Format::Gguf {
        let family = located
            .entry
            .as_ref()
            .and_then(|entry| entry.family.as_deref());
        return Ok(describe::safetensors(
            &safetensors(located)?,
            family,
            adapter,
        )?);
    }
    if adapter.is_some() {
        bail!("an adapter can't be merged into a GGUF; give the base model's safetensors");
    }
    Ok(describe::gguf(
        located.weights.first().context("there is no GGUF file")?,
    )?)
}
