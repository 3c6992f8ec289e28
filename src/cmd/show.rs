//! `byrote models show`: describe a model without loading its weights.

use super::model::{adapter_identity, checkpoint, digests, locate};
use crate::cli::ShowArgs;
use crate::render::model::{Bos, ModelSummary};
use crate::{Outcome, output};
use anyhow::{Context, Result, bail};
use byrote_candle::model::describe::{self, Description};
use byrote_candle::model::source::{Format, Located, identity, signing};
use byrote_core::tokens::BosChoice;

pub(crate) fn run(args: &ShowArgs) -> Result<Outcome> {
    let registry = super::models::open(args.registry.as_deref())?;
    let located = locate(
        &args.model,
        &registry,
        args.offline,
        args.adapter.as_deref(),
    )?;
    let summary = summarize(&located, describe(&located)?)?;
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
            &checkpoint(located)?,
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

fn summarize(located: &Located, described: Description) -> Result<ModelSummary> {
    let files = digests(located)?;
    let model_signing = match signing::root(located, &files) {
        Ok(digest) => digest,
        Err(error) => {
            output::note(format_args!(
                "warning: no root digest by model-signing: {error}"
            ));
            None
        }
    };
    let bos = located
        .entry
        .as_ref()
        .map_or(BosChoice::Auto, |entry| entry.bos);
    let memory = described.memory.into_iter();
    Ok(ModelSummary {
        reference: located.reference.clone(),
        source: located.source.clone(),
        revision: located.revision.clone(),
        architecture: described.architecture,
        unsupported: described.unsupported,
        parameters: described.parameters,
        layers: described.layers,
        hidden_size: described.hidden,
        heads: described.heads,
        kv_heads: described.kv_heads,
        context: described.context,
        stored: described.stored,
        memory_bytes: memory
            .map(|(dtype, bytes)| (dtype.to_owned(), bytes.into()))
            .collect(),
        bos: Bos::new(bos, described.tokenizer.as_ref()),
        tokenizer_fingerprint: described
            .tokenizer
            .as_ref()
            .map(|t| t.fingerprint().clone()),
        vocabulary: described.tokenizer.as_ref().map(|t| t.vocab_size()),
        adapter: located
            .adapter
            .as_deref()
            .map(adapter_identity)
            .transpose()?,
        digest: identity::root_digest(&files),
        model_signing,
        files,
    })
}
