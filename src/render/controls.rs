//! Records of `byrote controls`.

use anyhow::Result;
use byrote_core::controls::check::Checked;
use byrote_core::controls::make::Made;
use byrote_core::controls::twins::Twins;
use byrote_core::controls::{LeftOut, asked_for};
use byrote_core::items::{Item, ItemId, ProbeSet};
use byrote_core::policy::Policy;
use byrote_core::verdict::controls_needed;
use serde::Serialize;
use std::path::Path;

/// Controls that were cut from texts.
#[derive(Serialize)]
pub(crate) struct MadeControls {
    out: String,
    controls: usize,
    /// Texts that the controls are from; the number of independent controls.
    texts: u64,
    items: u64,
    q: f64,
    needed: u64,
    median_chars: usize,
    item_median_chars: usize,
    left_out: Vec<LeftOut>,
    warnings: Vec<String>,
    #[serde(skip)]
    given_texts: usize,
}

impl MadeControls {
    pub(crate) fn new(
        out: &Path,
        like: &[Item],
        from: &ProbeSet,
        made: Made,
        policy: &Policy,
    ) -> Result<Self> {
        let (items, needed) = needed(like, policy)?;
        Ok(Self {
            out: out.display().to_string(),
            controls: made.controls.len(),
            texts: made.texts as u64,
            items,
            q: policy.q,
            needed,
            median_chars: made.control_chars,
            item_median_chars: made.item_chars,
            left_out: made.left_out,
            warnings: [from.manifest.warnings.clone(), made.warnings].concat(),
            given_texts: from.items.len(),
        })
    }

    pub(crate) fn text(&self) -> String {
        let Self {
            out,
            controls,
            texts,
            items,
            q,
            needed,
            median_chars,
            item_median_chars,
            ..
        } = self;
        let mut text = notes(&self.left_out, &self.warnings);
        text += &format!(
            "{out}: {controls} controls from {texts} of {} texts, {median_chars} characters in the median; the items have {item_median_chars}\n",
            self.given_texts
        );
        if *controls as u64 > *texts {
            text += &format!(
                "Pieces of one text aren't independent of each other: count these as {texts} controls.\n"
            );
        }
        text += &format!(
            "A first finding among {items} items at q = {q} needs {needed} control texts.\n"
        );
        if texts < needed {
            let missing = needed - texts;
            let chars = missing * *item_median_chars as u64;
            text += &format!(
                "With these alone no item can be called memorized: {missing} more texts are needed, {chars} characters in all.\n"
            );
        }
        text
    }
}

/// Altered copies of items.
#[derive(Serialize)]
pub(crate) struct MadeTwins {
    out: String,
    items: u64,
    q: f64,
    needed_each: u64,
    twins: Vec<TwinRow>,
    left_out: Vec<LeftOut>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct TwinRow {
    id: ItemId,
    matches: Vec<String>,
    /// Share of the item's runs of five words that the twin has.
    kept: f64,
}

impl MadeTwins {
    pub(crate) fn new(out: &Path, like: &ProbeSet, made: Twins, policy: &Policy) -> Result<Self> {
        let (items, needed_each) = needed(&like.items, policy)?;
        let row = |(twin, kept): (Item, f64)| TwinRow {
            id: twin.id,
            matches: twin.matches,
            kept,
        };
        Ok(Self {
            out: out.display().to_string(),
            items,
            q: policy.q,
            needed_each,
            twins: made.controls.into_iter().zip(made.kept).map(row).collect(),
            left_out: made.left_out,
            warnings: [like.manifest.warnings.clone(), made.warnings].concat(),
        })
    }

    pub(crate) fn text(&self) -> String {
        let Self {
            out,
            items,
            q,
            needed_each,
            twins,
            ..
        } = self;
        let least = twins.iter().map(|twin| twin.kept).fold(1.0, f64::min);
        let most = twins.iter().map(|twin| twin.kept).fold(0.0, f64::max);
        let mut text = notes(&self.left_out, &self.warnings);
        text += &format!(
            "{out}: {} twins of {items} items; they keep {:.0}% to {:.0}% of their items' runs of five words\n",
            twins.len(),
            100.0 * least,
            100.0 * most
        );
        text += "Twins are the weaker kind of control: a model that memorized an item recites parts of its twin as well, and \
                 swapped names are odder than true ones.\n";
        text += &format!(
            "An item is compared with its own twins only: a first finding among {items} items at q = {q} needs {needed_each} of each.\n"
        );
        text
    }
}

/// The findings of `byrote controls check`, and a summary of the set.
pub(crate) fn checked(checked: &Checked, warnings: &[String]) -> String {
    let mut text = String::new();
    for finding in &checked.findings {
        text += &format!(
            "{}: {:?}: {}: {}\n",
            finding.origin, finding.id.0, finding.problem, finding.detail
        );
    }
    text += &notes(&[], warnings);
    let Checked {
        controls,
        texts,
        twins,
        median_chars,
        ..
    } = checked;
    text += &format!(
        "{controls} controls, {texts} independent texts, {median_chars} characters in the median"
    );
    if let Some(chars) = checked.item_median_chars {
        text += &format!("; the items have {chars}");
    }
    if *twins > 0 {
        text += &format!("; {twins} are twins, the weaker kind");
    }
    match checked.findings.len() {
        0 => text + "; nothing found\n",
        count => format!("{text}; {count} findings\n"),
    }
}

/// Number of items, and of controls that a first finding among them needs.
fn needed(like: &[Item], policy: &Policy) -> Result<(u64, u64)> {
    let items = asked_for(like)?.len() as u64;
    Ok((
        items,
        policy.min_controls.max(controls_needed(items, policy.q)),
    ))
}

fn notes(left_out: &[LeftOut], warnings: &[String]) -> String {
    let mut text = String::new();
    for LeftOut { id, origin, reason } in left_out {
        text += &format!("{origin}: {:?} is left out: {reason}\n", id.0);
    }
    for warning in warnings {
        text += &format!("warning: {warning}\n");
    }
    text
}
