//! Progress on the terminal, and Ctrl-C.

use crate::output;
use anyhow::{Context, Result};
use byrote_core::probe::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Shows notes and a progress bar on standard error; stops at Ctrl-C.
#[derive(Debug, Default)]
pub(crate) struct Terminal(Mutex<Option<ProgressBar>>);

impl Terminal {
    fn with_bar(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut bar) = self.0.lock() {
            act(&mut bar);
        }
    }
}

impl Progress for Terminal {
    fn note(&self, message: &str) {
        output::note(message);
    }

    fn begin(&self, total: u64, what: &str) {
        let template = format!("{{bar:30}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        self.with_bar(|bar| *bar = Some(ProgressBar::new(total).with_style(style)));
    }

    fn advance(&self, steps: u64) {
        self.with_bar(|bar| {
            if let Some(bar) = bar {
                bar.inc(steps);
            }
        });
    }

    fn end(&self, complete: bool) {
        self.with_bar(|bar| match bar.take() {
            Some(bar) if complete => bar.finish_and_clear(),
            Some(bar) => bar.abandon(),
            None => {}
        });
    }

    fn should_stop(&self) -> bool {
        STOP.load(Ordering::Relaxed)
    }
}

/// The first Ctrl-C ends the run after the part in hand; the second ends it at once.
pub(crate) fn stop_on_ctrl_c() -> Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            #[expect(
                clippy::exit,
                reason = "the user insists, and what is on disk is whole at any moment"
            )]
            std::process::exit(130);
        }
        output::note("stopping after the windows in hand; press Ctrl-C again to stop at once");
    })
    .context("Ctrl-C can't be caught")
}
