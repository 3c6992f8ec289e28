//! Probes the built-in model with texts of your own: `probe_as_library TEXTS.jsonl`.

use byrote::items::{self, Source};
use byrote::policy::Policy;
use byrote::probe::{self, NoCheckpoints, ProbeConfig, Silent};
use byrote::report::{Report, markdown};
use byrote::{controls, open_model};
use std::error::Error;
use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("give a file of texts")?;
    if let Some(report) = probe_texts(Path::new(&file), Path::new("probe-run"))? {
        stdout().write_all(markdown::render(&report).as_bytes())?;
    }
    Ok(())
}

/// Probes texts beside the built-in controls. A second call with the same run directory resumes there.
pub fn probe_texts(file: &Path, folder: &Path) -> Result<Option<Report>, Box<dyn Error>> {
    let builtin = [PathBuf::from("builtin")];
    let texts = items::read_with_controls(&[Source::Path(file)], &controls::sources(&builtin)?)?;
    let model = open_model("builtin")?;
    let mut config = ProbeConfig::new(Policy::default());
    config.folder = Some(folder.to_owned());
    let probed = probe::run(&config, &texts, &model, &NoCheckpoints, &Silent)?;
    Ok(probed.map(|probed| probed.report))
}
