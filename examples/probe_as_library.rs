//! Probes the built-in model with texts of your own: `probe_as_library TEXTS.jsonl`.

use byrote::items::{self, Source};
use byrote::policy::Policy;
use byrote::probe::{self, NoCheckpoints, ProbeConfig, Silent};
use byrote::report::markdown;
use byrote::{controls, open_model};
use std::error::Error;
use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("give a file of texts")?;
    probe_texts(Path::new(&file), Path::new("probe-run"))
}

/// Probes texts against the built-in controls, in a run directory, and prints the report.
fn probe_texts(file: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let controls = [PathBuf::from("builtin")];
    let texts = items::read_with_controls(&[Source::Path(file)], &controls::sources(&controls)?)?;
    let model = open_model("builtin")?;
    let mut config = ProbeConfig::new(Policy::default());
    config.folder = Some(folder.to_owned());
    // A second call with the same folder resumes there.
    if let Some(probed) = probe::run(&config, &texts, &model, &NoCheckpoints, &Silent)? {
        stdout().write_all(markdown::render(&probed.report).as_bytes())?;
    }
    Ok(())
}
