//! Everything that is known about one item of a run: its windows, from the report and from the run's scores.

use anyhow::{Result, bail};
use byrote_core::metric::near::edit;
use byrote_core::metric::window::{WindowEvidence, likeliest_first};
use byrote_core::report::{Report, ReportItem};
use byrote_core::window::WindowId;
use std::path::{Path, PathBuf};

/// Maximum number of ids in an error message.
const NAMED: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Inspection {
    /// The item's windows, the likeliest first.
    pub(crate) windows: Vec<WindowEvidence>,
    /// What a reader must know about these windows.
    pub(crate) notes: Vec<String>,
    /// Windows without a full set of scores, and why.
    others: Vec<(WindowId, String)>,
}

impl Inspection {
    /// Reads the windows of an item. Scores that can't be read become notes.
    pub(crate) fn new(path: &Path, report: &Report, item: &ReportItem) -> Self {
        let mut known = Self::default();
        match folder(path) {
            Some(folder) => known.read_scores(&folder, report, item),
            None => known.notes.push(
                "Only the report is at hand: it has the likeliest windows, and the tokens of the first of them."
                    .to_owned(),
            ),
        }
        // Follow-up results are in the report only, so that its values win.
        for own in &item.windows {
            match known
                .windows
                .iter_mut()
                .find(|window| window.window == own.window)
            {
                Some(window) => {
                    let tokens = window.tokens.take().or_else(|| own.tokens.clone());
                    *window = WindowEvidence {
                        tokens,
                        ..own.clone()
                    };
                }
                None => known.windows.push(own.clone()),
            }
        }
        likeliest_first(&mut known.windows, &report.policy.schemes);
        known
    }

    pub(crate) fn windows_without_tokens(&self) -> Vec<WindowEvidence> {
        let bare = |window: &WindowEvidence| WindowEvidence {
            tokens: None,
            ..window.clone()
        };
        self.windows.iter().map(bare).collect()
    }

    /// The window with this id, or the likeliest.
    pub(crate) fn window(
        &self,
        id: Option<&str>,
        item: &ReportItem,
    ) -> Result<Option<&WindowEvidence>> {
        let Some(asked) = id else {
            return Ok(self.windows.first());
        };
        if let Some(window) = self.windows.iter().find(|window| window.window.0 == asked) {
            return Ok(Some(window));
        }
        if let Some((_, why)) = self.others.iter().find(|(window, _)| window.0 == asked) {
            bail!(
                "window {asked:?} of item {:?} has no scores to show: {why}",
                item.id.0
            );
        }
        let ids: Vec<&str> = self
            .windows
            .iter()
            .map(|window| window.window.0.as_str())
            .collect();
        let mut like = near(asked, &ids);
        if like.is_empty() {
            like = ids.iter().take(NAMED).map(|id| format!("{id:?}")).collect();
        }
        match like.as_slice() {
            [] => bail!(
                "item {:?} has no window {asked:?}, and no scored one at all",
                item.id.0
            ),
            like => bail!(
                "item {:?} has no window {asked:?}; it has {} of them, such as {}",
                item.id.0,
                ids.len(),
                like.join(", ")
            ),
        }
    }

    #[cfg(not(feature = "native"))]
    fn read_scores(&mut self, _: &Path, _: &Report, _: &ReportItem) {
        let note = "This build can't read scores/*.parquet: only the report's windows are shown, and the tokens of the first.";
        self.notes.push(note.to_owned());
    }

    #[cfg(feature = "native")]
    fn read_scores(&mut self, folder: &Path, report: &Report, item: &ReportItem) {
        use byrote_core::metric::tokens::TokenEvidence;
        use byrote_core::metric::window::measure;
        use byrote_core::run::directory::RunDir;

        let run = match RunDir::load(folder) {
            Ok(run) if run.manifest().plan.digest == report.plan_digest => run,
            Ok(_) => {
                self.notes.push(format!(
                    "{}: its scores are those of another run than its report, and left out.",
                    folder.display()
                ));
                return;
            }
            Err(error) => {
                self.notes
                    .push(format!("The run's scores can't be read: {error}."));
                return;
            }
        };
        let manifest = run.manifest();
        for part in 0..manifest.plan.parts() {
            let rows = match run.read_part(part) {
                Ok(rows) => rows,
                Err(error) => {
                    self.notes
                        .push(format!("Windows may be missing here: {error}."));
                    continue;
                }
            };
            for row in rows.iter().filter(|row| row.item == item.id) {
                match measure(row, &manifest.model.backend.schemes) {
                    Ok(window) => {
                        let tokens = row.scores.as_ref().ok().map(TokenEvidence::of);
                        self.windows.push(WindowEvidence { tokens, ..window });
                    }
                    Err(unscored) => self.others.push((unscored.window, unscored.reason)),
                }
            }
        }
        if let Some((window, why)) = self.others.first() {
            let all = self.others.len();
            self.notes.push(match all {
                1 => format!("1 window has no full scores: {window}: {why}."),
                _ => format!("{all} windows have no full scores; the first is {window}: {why}."),
            });
        }
    }
}

/// The item of a report with this id; the error names similar ids.
pub(crate) fn find_item<'a>(report: &'a Report, id: &str, path: &Path) -> Result<&'a ReportItem> {
    if let Some(item) = report.items.iter().find(|item| item.id.0 == id) {
        return Ok(item);
    }
    let ids: Vec<&str> = report.items.iter().map(|item| item.id.0.as_str()).collect();
    let path = path.display();
    match near(id, &ids).as_slice() {
        [] => bail!(
            "{path}: it has no item {id:?}; `byrote report {path}` lists its {} items",
            ids.len()
        ),
        near => bail!(
            "{path}: it has no item {id:?}; is it one of {}?",
            near.join(", ")
        ),
    }
}

/// The run directory: the path itself, or the directory of its report.json.
fn folder(path: &Path) -> Option<PathBuf> {
    let folder = if path.is_dir() { path } else { path.parent()? };
    (folder.join("run.json").is_file() && (path.is_dir() || path.ends_with("report.json")))
        .then(|| folder.to_owned())
}

/// Similar ids: those that contain the given one, or else those that differ from it by a few letters.
fn near(asked: &str, ids: &[&str]) -> Vec<String> {
    let letters = |text: &str| {
        text.to_lowercase()
            .chars()
            .map(u32::from)
            .collect::<Vec<_>>()
    };
    let wanted = letters(asked);
    let most = (wanted.len() as u32 / 4).max(2);
    let mut like: Vec<(u32, &str)> = ids
        .iter()
        .filter_map(|id| {
            let own = letters(id);
            if !wanted.is_empty() && id.to_lowercase().contains(&asked.to_lowercase()) {
                return Some((0, *id));
            }
            Some((edit::distance(&wanted, &own), *id)).filter(|(distance, _)| *distance <= most)
        })
        .collect();
    // The sort is stable: the report's order among those that are equally near.
    like.sort_by_key(|(distance, _)| *distance);
    // Ids that hold all of it say more than those that merely look like it.
    let best = like.first().map_or(0, |(distance, _)| *distance);
    like.retain(|(distance, _)| best > 0 || *distance == 0);
    like.into_iter()
        .take(NAMED)
        .map(|(_, id)| format!("{id:?}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn similar_ids_contain_the_given_id_or_differ_by_a_few_letters() {
        let ids = ["novels/moby-1", "novels/moby-2", "poems/heron", "x"];
        assert_eq!(
            near("moby", &ids),
            ["\"novels/moby-1\"", "\"novels/moby-2\""]
        );
        assert_eq!(near("poems/herno", &ids), ["\"poems/heron\""]);
        assert_eq!(near("Poems/Heron", &ids), ["\"poems/heron\""]);
        assert!(near("something else", &ids).is_empty() && near("", &["abc"]).is_empty());
    }
}
