//! Why a probe can't be carried out.

use crate::backend::ScoreError;
use crate::report::page::RenderError;
use crate::run::directory::RunError;
use crate::tokens::EncodeError;
use crate::window::coarse::CoarseError;
use crate::window::cut::WindowError;

/// Why a probe can't be carried out. Windows that can't be scored are no error: the report says why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Window(#[from] WindowError),
    #[error("{origin}: item \"{item}\" under a template: {source}")]
    Template {
        origin: String,
        item: String,
        source: EncodeError,
    },
    #[error("--find-runs: {0}")]
    CoarseToFine(#[from] CoarseError),
    /// The windows to score can't be selected in the way the configuration asks for.
    #[error("{0}")]
    Selection(String),
    #[error(
        "{model}: the model has no tokenizer, so no text can be probed; put its tokenizer.json beside it"
    )]
    NoTokenizer { model: String },
    #[error(
        "windows of {tokens} tokens are more than the {context} that {model} was made for; shorten --prefix or --suffix"
    )]
    TooLong {
        model: String,
        tokens: usize,
        context: usize,
    },
    #[error(
        "{model}: its tokenizer gives item \"{item}\" the token id {id}, outside the model's vocabulary of {vocab}: it is the \
         tokenizer of another model; put the model's own beside the weights"
    )]
    WrongTokenizer {
        model: String,
        item: String,
        id: u32,
        vocab: u32,
    },
    #[error("a part of {0} is too short")]
    ShortPart(&'static str),
    /// Threads can't be started.
    #[error(transparent)]
    Threads(ScoreError),
    #[error("a thread died over {what}; run the same command again to go on")]
    ThreadDied { what: &'static str },
    #[error(transparent)]
    Render(#[from] RenderError),
}
