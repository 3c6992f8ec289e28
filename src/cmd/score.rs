//! `byrote score`: token scores for given windows, and nothing else.

use super::model::{announce, locate};
use crate::cli::ScoreArgs;
use crate::score_lines::LineScorer;
use crate::{Outcome, output};
use anyhow::{Context, Result};
use byrote::checkpoint::{LoadOptions, LoadedModel};
use byrote_core::backend::exit::Exit;
use byrote_core::backend::{Backend, Scheme};
use byrote_core::follow::select::errors;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

pub(crate) fn run(args: &ScoreArgs) -> Result<Outcome> {
    // Both files are opened before the model loads, so that a wrong path fails at once.
    let input = reader(&args.input)?;
    let registry = super::models::open(args.load.registry.as_deref())?;
    let (offline, adapter) = (args.load.offline, args.load.adapter.as_deref());
    let located = locate(&args.model, &registry, offline, adapter)?;
    let mut writer = writer(&args.output)?;
    let options = LoadOptions {
        precision: args.dtype.precision(),
        bos: args.bos.into(),
        keeps_state: args.exit_at_miss || args.exit_below.is_some(),
        ..LoadOptions::from(&args.load)
    };
    let model = LoadedModel::load(&located, &options, Scheme::defaults())?;
    announce(&model);
    let name = args.input.display().to_string();
    let mut scorer = LineScorer::new(&model, exit(args, &model), &name);
    scorer.run(input, (&mut *writer, &args.output))?;
    output::note(scorer.summary());
    if scorer.is_empty() {
        output::note(format_args!("{name}: there is no window in it"));
    }
    Ok(if scorer.is_empty() || scorer.failed > 0 {
        Outcome::Undecided
    } else {
        Outcome::Done
    })
}

/// When to stop scoring a window, if ever.
fn exit(args: &ScoreArgs, model: &LoadedModel) -> Option<Exit> {
    if let Some(below) = args.exit_below {
        return Some(Exit {
            below,
            stakes: None,
        });
    }
    // A token that could be the first choice but for rounding to bf16 is not certainly a miss.
    let rounding = errors(&model.backend.info().arithmetic, (0.0, 0.0)).0;
    args.exit_at_miss.then(|| Exit::at_miss(rounding))
}

fn reader(path: &Path) -> Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("{}: can't be read", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

fn writer(path: &Path) -> Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let file =
        File::create(path).with_context(|| format!("{}: can't be written", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}
