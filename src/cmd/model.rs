//! How a model is found and announced on the command line.

use crate::output;
use anyhow::Result;
use byrote::checkpoint::{self, LoadedModel};
use byrote_candle::model::source::{LocateOptions, Located};
use byrote_core::registry::Registry;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::sync::Arc;

/// Finds a model's files, fetching them with a progress bar if they are on the hub; an adapter is a folder.
pub(crate) fn locate(
    reference: &str,
    registry: &Registry,
    offline: bool,
    adapter: Option<&Path>,
) -> Result<Located> {
    let mut options = LocateOptions::from_env();
    options.offline |= offline;
    let style = ProgressStyle::with_template("{msg} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style);
    let shown = bar.clone();
    options.progress = Some(Arc::new(move |transfer| {
        shown.set_length(transfer.total);
        shown.set_message(transfer.file.to_owned());
        shown.set_position(transfer.done);
    }));
    let located = checkpoint::locate(reference, registry, &options, adapter);
    bar.finish_and_clear();
    located
}

/// Says in a line what is about to be scored.
pub(crate) fn announce(model: &LoadedModel) {
    output::note(model.describe());
}
