//! How a run is to be carried out.

use super::ProbeError;
use crate::follow::exit::exit;
use crate::policy::{Policy, Statistic};
use crate::run::{Hits, Settings, WindowSelection};
use crate::window::coarse::Coarse;
use crate::window::{Reflow, Stride, WindowConfig};
use jiff::Timestamp;
use std::path::PathBuf;

/// The folder of runs that have no folder of their own.
pub const RUNS: &str = "byrote-runs";

/// Hits have at most this share of their tokens elsewhere than at the top, and the screen allows for twice as many
/// (docs/engine.md says why, and gives the measurements).
const SLACK: f64 = 2.0;

/// How a run is to be carried out: everything besides the texts and the model.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// What verdicts, follow-ups and the early end of hopeless windows go by.
    pub policy: Policy,
    /// Decide on the report by the policy, as of the day on which the run ends: a waiver may expire while it goes on.
    pub decide: bool,
    pub window: WindowConfig,
    /// Score only some of the windows. `None` = all of them.
    pub selection: Option<SelectionRequest>,
    /// Score every window to its end, even where the policy has a floor.
    pub exhaustive: bool,
    /// Keep text and token ids in scores and reports.
    pub reveal: bool,
    /// Maximum number of windows that follow-ups continue together.
    pub batch: usize,
    /// The folder for scores and reports; a run that is there already is resumed. `None` = a folder in [`RUNS`], named
    /// after what is tested.
    pub folder: Option<PathBuf>,
    /// When the run began, as its report says.
    pub created_at: Timestamp,
    /// The command line, for the record; may be empty.
    pub command: Vec<String>,
}

/// Which windows to score, if not all of them. Controls and positive controls are always scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectionRequest {
    /// A sparse grid that any memorized run of `tokens` tokens must hit, then all windows near a hit.
    CoarseToFine { tokens: u32 },
    /// The windows that a long pass over the text finds likely, and a sample of the others. A piece of the pass has at most
    /// `piece` tokens, or as many as the model takes.
    Screened { piece: u32 },
}

impl ProbeConfig {
    /// Windows of 50 + 50 tokens that tile the text, judged by `policy`.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            decide: false,
            window: WindowConfig {
                prefix: 50,
                suffix: 50,
                lead: None,
                stride: Stride::Tokens(50),
                reflow: Reflow::Auto,
            },
            selection: None,
            exhaustive: false,
            reveal: false,
            batch: 8,
            folder: None,
            created_at: Timestamp::now(),
            command: Vec::new(),
        }
    }

    /// Checks what can be checked before a model is there.
    ///
    /// # Errors
    /// When the selection doesn't go with the policy, the windows or the templates.
    pub fn check(&self, has_templates: bool) -> Result<(), ProbeError> {
        self.selection(has_templates, None).map(|_| ())
    }

    /// The settings of a run of a model with this context length, in products of this arithmetic.
    pub(super) fn settings(
        &self,
        model: &super::ProbeModel,
        has_reference: bool,
    ) -> Result<Settings, ProbeError> {
        let info = model.backend.info();
        let templates = model.templates.infos.clone();
        let fewer = self.selection(!templates.is_empty(), Some(info.context_length))?;
        // What is compared with a reference is scored to its end.
        let exit = if self.exhaustive || has_reference {
            None
        } else {
            exit(&self.policy, &info.arithmetic)
        };
        let in_full = if exit.is_some() || fewer.is_some() {
            self.policy.positive_controls.clone()
        } else {
            Vec::new()
        };
        Ok(Settings {
            window: self.window.clone(),
            bos: model.bos,
            bos_token: model.bos_token,
            templates,
            exit,
            in_full,
            reveal: self.reveal,
            fewer,
        })
    }

    /// How windows are selected; `context` is the model's, where it is known.
    fn selection(
        &self,
        has_templates: bool,
        context: Option<u32>,
    ) -> Result<Option<WindowSelection>, ProbeError> {
        let Some(request) = self.selection else {
            return Ok(None);
        };
        let flag = match request {
            SelectionRequest::CoarseToFine { .. } => "--find-runs",
            SelectionRequest::Screened { .. } => "--screen",
        };
        if self.policy.statistic != Statistic::MaxLogPZ {
            return Err(refused(format!(
                "{flag} leaves windows unscored, and the policy's statistic needs all of them: the best of a subset is never \
                 too high, a mean or a rank over a subset may be; use statistic = \"max_log_p_z\", or score all windows"
            )));
        }
        if self.policy.near_verbatim {
            return Err(refused(format!(
                "{flag} looks for what is word for word, and the policy counts near-verbatim samples, which are bounded for \
                 scored windows only; use near_verbatim = false, or score all windows"
            )));
        }
        match request {
            SelectionRequest::CoarseToFine { tokens } => self.coarse_to_fine(tokens).map(Some),
            SelectionRequest::Screened { piece } => {
                self.screened(piece, has_templates, context).map(Some)
            }
        }
    }

    fn coarse_to_fine(&self, tokens: u32) -> Result<WindowSelection, ProbeError> {
        let coarse = Coarse::new(tokens, self.window.suffix, self.window.stride)?;
        let (Stride::Tokens(stride) | Stride::Chars(stride)) = self.window.stride;
        Ok(WindowSelection::CoarseToFine {
            tokens,
            stride: coarse.step() as u32 * stride,
            hits: self.hits(),
        })
    }

    fn screened(
        &self,
        wanted: u32,
        has_templates: bool,
        context: Option<u32>,
    ) -> Result<WindowSelection, ProbeError> {
        let (prefix, suffix) = (self.window.prefix, self.window.suffix);
        match self.window.stride {
            Stride::Chars(_) => {
                return Err(refused(
                    "--screen reads one encoding of the text, and --stride-chars encodes every window anew; give --stride"
                        .to_owned(),
                ));
            }
            Stride::Tokens(stride) if stride > prefix + suffix => {
                return Err(refused(format!(
                    "--screen reads every token of a text, and with a stride of {stride} windows don't: it would cost more \
                     than they do; leave it out"
                )));
            }
            Stride::Tokens(_) => {}
        }
        if has_templates {
            return Err(refused(
                "--screen reads texts as they are, which says little of windows in a template; leave one of them out"
                    .to_owned(),
            ));
        }
        let piece = wanted.min(context.unwrap_or(wanted));
        // A piece should hold more tokens to score than context.
        let least = 2 * prefix + suffix;
        if piece < least {
            return Err(refused(match context {
                Some(context) if context < wanted => format!(
                    "--screen: the model takes {context} tokens, and a piece needs {least}; shorten --prefix"
                ),
                _ => format!(
                    "--screen {wanted}: a piece that holds more to score than context needs {least}"
                ),
            }));
        }
        let tau = self.policy.tau;
        Ok(WindowSelection::Screened {
            piece,
            first_choices: first_choices(tau, suffix),
            log_p: SLACK * tau.ln(),
            hits: self.hits(),
        })
    }

    fn hits(&self) -> Hits {
        let policy = &self.policy;
        Hits {
            tau: policy.tau,
            schemes: policy
                .schemes
                .iter()
                .map(|scheme| scheme.id.clone())
                .collect(),
            margin: policy.follow_up.margin,
            epsilon: policy.follow_up.epsilon,
        }
    }
}

fn refused(reason: String) -> ProbeError {
    ProbeError::Selection(reason)
}

/// A token that isn't the first choice has a probability below 1/2. So a suffix of probability tau has at most
/// `log2(1/tau)` of them; the screen allows for twice as many, because scores differ after longer context.
fn first_choices(tau: f64, suffix: u32) -> f64 {
    let misses = SLACK * -tau.log2();
    (1.0 - misses / f64::from(suffix)).max(0.5)
}
