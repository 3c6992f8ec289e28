//! From texts to a run's windows, before anything is scored.

use super::{ProbeError, ProbeModel};
use crate::digest::Digest;
use crate::items::{Item, ItemId, ProbeSet, digest_salted};
use crate::run::{ProbedItem, RunManifest};
use crate::template::encode::Bos;
use crate::tokens::TextEncoder;
use crate::window::cut::{Cut, cut};
use crate::window::{Form, ProbedForm, Window, WindowConfig};
use rayon::prelude::*;
use std::collections::HashMap;

/// Cuts every item, in order, and puts its windows into every template.
pub(super) fn cut_all(
    texts: &ProbeSet,
    model: &ProbeModel,
    config: &WindowConfig,
) -> Result<Vec<Cut>, ProbeError> {
    let Some(encoder) = model.encoder.as_deref() else {
        return Err(ProbeError::NoTokenizer {
            model: model.identity.reference.clone(),
        });
    };
    texts
        .items
        .par_iter()
        .map(|item| cut_item(item, model, encoder, config))
        .collect()
}

fn cut_item(
    item: &Item,
    model: &ProbeModel,
    encoder: &dyn TextEncoder,
    config: &WindowConfig,
) -> Result<Cut, ProbeError> {
    let mut cut = cut(item, encoder, model.bos_token, config)?;
    let templates = &model.templates.rendered;
    if templates.is_empty() {
        return Ok(cut);
    }
    let bos = Bos {
        choice: model.bos,
        token: model.bos_token,
    };
    let mut windows = Vec::with_capacity(cut.windows.len() * templates.len());
    for template in templates {
        let framed = template.frame(item, &cut.windows, encoder, bos);
        windows.extend(framed.map_err(|source| ProbeError::Template {
            origin: item.origin.to_string(),
            item: item.id.to_string(),
            source,
        })?);
    }
    for form in &mut cut.forms {
        form.windows *= templates.len() as u64;
    }
    cut.windows = windows;
    Ok(cut)
}

/// Refuses windows that the model can't score: too long ones, and token ids of another model's tokenizer.
pub(super) fn check(windows: &[Window], model: &ProbeModel) -> Result<(), ProbeError> {
    let info = model.backend.info();
    let (context, vocab) = (info.context_length as usize, info.vocab_size);
    let reference = || model.identity.reference.clone();
    let tokens = windows.iter().map(|window| window.token_ids.len()).max();
    if let Some(tokens) = tokens.filter(|tokens| *tokens > context) {
        return Err(ProbeError::TooLong {
            model: reference(),
            tokens,
            context,
        });
    }
    for window in windows {
        if let Some(&id) = window.token_ids.iter().find(|id| **id >= vocab) {
            return Err(ProbeError::WrongTokenizer {
                model: reference(),
                item: window.item.to_string(),
                id,
                vocab,
            });
        }
    }
    Ok(())
}

/// The items as they are probed, with their texts' digests under the run's salt.
pub(super) fn probed_items(texts: &ProbeSet, cuts: Vec<Cut>, salt: &str) -> Vec<ProbedItem> {
    let probed = |(item, cut): (&Item, Cut)| ProbedItem {
        item: item.clone(),
        salted_digest: digest_salted(salt, item),
        forms: cut.forms,
        unprobed: cut.unprobed,
    };
    texts.items.iter().zip(cuts).map(probed).collect()
}

/// Every layout of every text, by item and form.
pub(super) type Forms<'a> = HashMap<(&'a ItemId, Form), &'a ProbedForm>;

/// The layouts in which the items are probed.
pub(super) fn forms(items: &[ProbedItem]) -> Forms<'_> {
    let mut forms = HashMap::new();
    for probed in items {
        for form in &probed.forms {
            forms.insert((&probed.item.id, form.form), form);
        }
    }
    forms
}

/// The folder's name of a run without one: the same for the same inputs, another for others.
pub(super) fn default_name(manifest: &RunManifest) -> String {
    let identity = serde_json::json!([
        manifest.model.digest,
        manifest.model.backend,
        manifest.probe_set.files,
        // The same files in other roles are another run.
        [
            manifest.probe_set.opt_outs,
            manifest.probe_set.controls,
            manifest.probe_set.canaries
        ],
        manifest.settings,
        manifest.plan.digest,
        manifest.tool,
    ]);
    let reference = manifest
        .reference
        .as_ref()
        .map_or("", |reference| reference.digest.as_str());
    let digest = Digest::of_bytes((identity.to_string() + reference).as_bytes());
    let name = folder_name(&manifest.model.reference);
    format!("{name}-{}", &digest.as_str()[..8])
}

/// A model's reference as a folder's name.
pub fn folder_name(reference: &str) -> String {
    let name = reference
        .trim_end_matches('/')
        .rsplit(['/', ':'])
        .find(|part| !part.is_empty())
        .unwrap_or("model");
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    name.chars()
        .map(kept)
        .collect::<String>()
        .trim_matches('.')
        .to_owned()
}
