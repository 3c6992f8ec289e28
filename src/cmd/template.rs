//! Templates asked for on the command line, rendered for a checkpoint before its weights are loaded.

use crate::output;
use anyhow::{Context, Result, bail};
use byrote::checkpoint::chat_template;
use byrote_candle::model::source::Located;
use byrote_core::probe::RenderedTemplates;
use byrote_core::system;
use byrote_core::template::file::Template;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A rendering may take this much memory and time. Published templates take kilobytes and milliseconds.
const MEMORY: u64 = 512 << 20;
const TIME: Duration = Duration::from_secs(20);

/// Opens the templates that `--template` names.
pub(crate) fn open(names: &[String]) -> Result<Vec<Template>> {
    let mut templates: Vec<Template> = Vec::new();
    for name in names {
        let template = Template::open(name).context("--template")?;
        match templates.iter().find(|other| other.id == template.id) {
            Some(other) if other.digest == template.digest => continue,
            Some(other) => bail!(
                "--template: {} and {} have the same id, {:?}; give one of them another",
                other.file,
                template.file,
                template.id.0
            ),
            None => templates.push(template),
        }
    }
    Ok(templates)
}

/// Renders templates with the chat template of a located model, where they need it.
pub(crate) fn render(templates: &[Template], located: &Located) -> Result<RenderedTemplates> {
    let chat = match templates.iter().any(Template::has_turns) {
        true => chat_template(located)?,
        false => None,
    };
    let file = chat.as_ref().map_or("--template", |chat| &chat.file);
    let render = || RenderedTemplates::new(templates, chat.as_ref(), &located.reference);
    Ok(guarded(file, render)?)
}

/// Does what a hostile template could make take forever or fill the memory: steps and output are bounded inside, but a
/// template can double a text in one step. Then the program ends, since nothing else stops it.
fn guarded<T>(file: &str, work: impl FnOnce() -> T) -> T {
    let (done, began, before) = (AtomicBool::new(false), Instant::now(), system::resident());
    let watch = || {
        while !done.load(Ordering::Acquire) {
            let grown = match (system::resident(), before) {
                (Some(now), Some(before)) => now.saturating_sub(before),
                _ => 0,
            };
            if grown > MEMORY || began.elapsed() > TIME {
                output::note(format_args!(
                    "error: {file}: rendering its template takes more than {} MiB of memory or {} s; no template of a model \
                     does that: don't use this one",
                    MEMORY >> 20,
                    TIME.as_secs()
                ));
                #[expect(
                    clippy::exit,
                    reason = "a rendering can't be stopped, and nothing was begun yet"
                )]
                std::process::exit(2);
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(watch);
        let made = work();
        done.store(true, Ordering::Release);
        made
    })
}
