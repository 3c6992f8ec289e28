//! `byrote controls`: create and check control texts.

use crate::cli::{CheckArgs, ControlsCommand, MakeArgs, TwinsArgs};
use crate::render::controls::{MadeControls, MadeTwins, checked};
use crate::{Outcome, output};
use anyhow::Result;
use byrote_core::controls::check::check;
use byrote_core::controls::make::{MakeSettings, make};
use byrote_core::controls::{self, LeftOut, twins::twins};
use byrote_core::items::{self, Item, Source};
use byrote_core::policy::Policy;

pub(crate) fn run(command: &ControlsCommand) -> Result<Outcome> {
    match command {
        ControlsCommand::Make(args) => run_make(args),
        ControlsCommand::Twins(args) => run_twins(args),
        ControlsCommand::Check(args) => run_check(args),
    }
}

fn run_make(args: &MakeArgs) -> Result<Outcome> {
    output::must_be_new(&args.out)?;
    let policy = Policy::open(&args.policy)?;
    let like = items::read(&args.like)?.items;
    let sources: Vec<Source<'_>> = args.from.iter().map(|path| Source::Path(path)).collect();
    let from = items::read_with_controls(&[], &sources)?;
    let settings = MakeSettings {
        per_text: args.per_text as usize,
        genre: args.genre.clone(),
        length: args.length.map(|chars| chars as usize),
        seed: args.seed,
    };
    let mut made = make(&like, &from.items, &published()?, &settings)?;
    made.left_out
        .extend(from.manifest.dropped.iter().map(LeftOut::from));
    output::create(&controls::jsonl(&made.controls), &args.out)?;
    let record = MadeControls::new(&args.out, &like, &from, made, &policy)?;
    output::record(args.format, &record, MadeControls::text)
}

fn run_twins(args: &TwinsArgs) -> Result<Outcome> {
    output::must_be_new(&args.out)?;
    let policy = Policy::open(&args.policy)?;
    let like = items::read(&args.like)?;
    let made = twins(&like.items, args.each as usize, args.seed)?;
    output::create(&controls::jsonl(&made.controls), &args.out)?;
    let record = MadeTwins::new(&args.out, &like, made, &policy)?;
    output::record(args.format, &record, MadeTwins::text)
}

fn run_check(args: &CheckArgs) -> Result<Outcome> {
    let set = items::read_with_controls(&[], &controls::sources(&args.paths)?)?;
    let like = match args.like.as_slice() {
        [] => None,
        paths => Some(items::read(paths)?.items),
    };
    let found = check(&set, like.as_deref())?;
    output::record(args.format, &found, |found| {
        checked(found, &set.manifest.warnings)
    })?;
    Ok(if found.findings.is_empty() {
        Outcome::Done
    } else {
        Outcome::Undecided
    })
}

/// Published texts that a control must not repeat: the built-in sets.
fn published() -> Result<Vec<Item>> {
    let published = controls::builtin_items()?;
    #[cfg(feature = "native")]
    let published = {
        let probe_set = byrote_candle::model::builtin::PROBE_SET
            .map(|(name, bytes)| Source::Embedded { name, bytes });
        [published, items::read_sources(&probe_set)?.items].concat()
    };
    Ok(published)
}
