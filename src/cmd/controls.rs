//! `byrote controls`: make and check control texts.

use super::out;
use crate::Outcome;
use crate::cli::{CheckArgs, ControlsCommand, MakeArgs, OutputFormat, TwinsArgs};
use anyhow::{Context, Result, bail};
use byrote_core::controls::check::{Checked, check};
use byrote_core::controls::make::{MakeSettings, make};
use byrote_core::controls::twins::twins;
use byrote_core::controls::{self, LeftOut, asked_for};
use byrote_core::items::{self, Item, Source};
use byrote_core::policy::Policy;
use byrote_core::verdict::controls_needed;
use serde_json::json;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

pub(crate) fn run(command: &ControlsCommand) -> Result<Outcome> {
    match command {
        ControlsCommand::Make(args) => run_make(args),
        ControlsCommand::Twins(args) => run_twins(args),
        ControlsCommand::Check(args) => run_check(args),
    }
}

fn run_make(args: &MakeArgs) -> Result<Outcome> {
    is_free(&args.out)?;
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
    let mut made = make(&like, &from.items, &known()?, &settings)?;
    let dropped = from.manifest.dropped.into_iter();
    made.left_out.extend(dropped.map(|d| LeftOut {
        id: d.id,
        origin: d.origin,
        reason: d.reason,
    }));
    write_new(&args.out, &controls::jsonl(&made.controls))?;

    let items = asked_for(&like)?.len() as u64;
    let needed = policy.min_controls.max(controls_needed(items, policy.q));
    let texts = made.texts as u64;
    let warnings = [from.manifest.warnings, made.warnings].concat();
    if args.format == OutputFormat::Json {
        let record = json!({
            "out": args.out.display().to_string(), "controls": made.controls.len(), "texts": texts, "items": items,
            "q": policy.q, "needed": needed, "median_chars": made.control_chars, "item_median_chars": made.item_chars,
            "left_out": made.left_out, "warnings": warnings,
        });
        return out::print(format!("{}\n", serde_json::to_string_pretty(&record)?).as_bytes());
    }
    let mut said = left_out_text(&made.left_out, &warnings)?;
    writeln!(
        said,
        "{}: {} controls from {texts} of {} texts, {} characters in the median; the items have {}",
        args.out.display(),
        made.controls.len(),
        from.items.len(),
        made.control_chars,
        made.item_chars
    )?;
    if made.controls.len() as u64 > texts {
        writeln!(
            said,
            "Pieces of one text aren't independent of each other: count these as {texts} controls."
        )?;
    }
    writeln!(
        said,
        "A first finding among {items} items at q = {} needs {needed} control texts.",
        policy.q
    )?;
    if texts < needed {
        let missing = needed - texts;
        let chars = missing * made.item_chars as u64;
        writeln!(
            said,
            "With these alone no item can be called memorized: {missing} more texts are needed, {chars} characters in all."
        )?;
    }
    out::print(said.as_bytes())
}

fn run_twins(args: &TwinsArgs) -> Result<Outcome> {
    is_free(&args.out)?;
    let policy = Policy::open(&args.policy)?;
    let like = items::read(&args.like)?;
    let made = twins(&like.items, args.each as usize, args.seed)?;
    write_new(&args.out, &controls::jsonl(&made.controls))?;

    let items = asked_for(&like.items)?.len() as u64;
    let needed = policy.min_controls.max(controls_needed(items, policy.q));
    let warnings = [like.manifest.warnings, made.warnings].concat();
    if args.format == OutputFormat::Json {
        let rows =
            made.controls.iter().zip(&made.kept).map(
                |(twin, kept)| json!({ "id": twin.id, "matches": twin.matches, "kept": kept }),
            );
        let record = json!({
            "out": args.out.display().to_string(), "items": items, "q": policy.q, "needed_each": needed,
            "twins": rows.collect::<Vec<_>>(), "left_out": made.left_out, "warnings": warnings,
        });
        return out::print(format!("{}\n", serde_json::to_string_pretty(&record)?).as_bytes());
    }
    let mut said = left_out_text(&made.left_out, &warnings)?;
    let (least, most) = made.kept.iter().fold((1f64, 0f64), |(least, most), &kept| {
        (least.min(kept), most.max(kept))
    });
    writeln!(
        said,
        "{}: {} twins of {items} items; they keep {:.0}% to {:.0}% of their items' runs of five words",
        args.out.display(),
        made.controls.len(),
        100.0 * least,
        100.0 * most
    )?;
    writeln!(
        said,
        "Twins are the weaker kind of control: a model that memorized an item recites parts of its twin as well, and swapped \
         names are odder than true ones."
    )?;
    writeln!(
        said,
        "An item is compared with its own twins only: a first finding among {items} items at q = {} needs {needed} of each.",
        policy.q
    )?;
    out::print(said.as_bytes())
}

fn run_check(args: &CheckArgs) -> Result<Outcome> {
    let set = items::read_with_controls(&[], &controls::sources(&args.paths)?)?;
    let like = if args.like.is_empty() {
        None
    } else {
        Some(items::read(&args.like)?.items)
    };
    let checked = check(&set, like.as_deref())?;
    match args.format {
        OutputFormat::Json => {
            out::print(format!("{}\n", serde_json::to_string_pretty(&checked)?).as_bytes())?
        }
        OutputFormat::Text => {
            out::print(checked_text(&checked, &set.manifest.warnings)?.as_bytes())?
        }
    };
    Ok(if checked.findings.is_empty() {
        Outcome::Done
    } else {
        Outcome::Undecided
    })
}

fn checked_text(checked: &Checked, warnings: &[String]) -> Result<String> {
    let mut said = String::new();
    for finding in &checked.findings {
        writeln!(
            said,
            "{}: {:?}: {}: {}",
            finding.origin, finding.id.0, finding.problem, finding.detail
        )?;
    }
    for warning in warnings {
        writeln!(said, "warning: {warning}")?;
    }
    let Checked {
        controls,
        texts,
        twins,
        median_chars,
        ..
    } = checked;
    write!(
        said,
        "{controls} controls, {texts} independent texts, {median_chars} characters in the median"
    )?;
    if let Some(chars) = checked.item_median_chars {
        write!(said, "; the items have {chars}")?;
    }
    if *twins > 0 {
        write!(said, "; {twins} are twins, the weaker kind")?;
    }
    let count = checked.findings.len();
    writeln!(
        said,
        "; {}",
        if count == 0 {
            "nothing found".to_owned()
        } else {
            format!("{count} findings")
        }
    )?;
    Ok(said)
}

fn left_out_text(left_out: &[LeftOut], warnings: &[String]) -> Result<String> {
    let mut said = String::new();
    for out in left_out {
        writeln!(
            said,
            "{}: {:?} is left out: {}",
            out.origin, out.id.0, out.reason
        )?;
    }
    for warning in warnings {
        writeln!(said, "warning: {warning}")?;
    }
    Ok(said)
}

/// Published texts that a control must not repeat: the built-in sets.
fn known() -> Result<Vec<Item>> {
    let known = controls::builtin_items()?;
    #[cfg(feature = "native")]
    let known = {
        let probe_set = byrote_candle::model::builtin::PROBE_SET
            .map(|(name, bytes)| Source::Embedded { name, bytes });
        [known, items::read_sources(&probe_set)?.items].concat()
    };
    Ok(known)
}

/// Said before the work: nothing is written over.
fn is_free(path: &Path) -> Result<()> {
    if path.exists() {
        bail!(
            "{}: is there already and is not written over; give another --out",
            path.display()
        );
    }
    Ok(())
}

/// Writes a new file, and takes it away again if it can't be written in full.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let unwritable = || format!("{}: can't be written; give another --out", path.display());
    let mut file = File::create_new(path).with_context(unwritable)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(path);
    }
    written.with_context(unwritable)
}
