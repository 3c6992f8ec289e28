//! What the engine needs to know of a loaded model.

use crate::backend::Backend;
use crate::run::ModelIdentity;
use crate::template::chat::ChatTemplate;
use crate::template::encode::Rendered;
use crate::template::file::Template;
use crate::template::{Known, TemplateError, TemplateInfo};
use crate::tokens::{BosChoice, TextEncoder};
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// An error of whatever loads models.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A loaded model.
#[derive(Clone)]
pub struct ProbeModel {
    pub backend: Arc<dyn Backend + Send>,
    /// The same model with its products in f32, where the device has a choice: it computes follow-ups, which are final.
    pub in_f32: Arc<dyn Backend + Send>,
    /// Its tokenizer. Without one no text can be probed.
    pub encoder: Option<Arc<dyn TextEncoder + Send>>,
    pub identity: ModelIdentity,
    pub bos: BosChoice,
    /// The token in front of every bare window, after `bos` was applied.
    pub bos_token: Option<u32>,
    /// The templates of the run, rendered for this model.
    pub templates: RenderedTemplates,
    /// Seconds that loading took, for the report.
    pub load_s: f64,
}

impl fmt::Debug for ProbeModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeModel")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The templates under each of which every text is probed. None = the bare prefix only.
#[derive(Clone, Debug, Default)]
pub struct RenderedTemplates {
    /// Empty where only the bare prefix is used.
    pub infos: Vec<TemplateInfo>,
    pub rendered: Vec<Rendered>,
}

impl RenderedTemplates {
    /// Renders templates for the model named `reference`, with its chat template where they need one.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn new(
        templates: &[Template],
        chat: Option<&ChatTemplate>,
        reference: &str,
    ) -> Result<Self, TemplateError> {
        let mut rendered = Vec::with_capacity(templates.len());
        for template in templates {
            let mut pieces = HashMap::new();
            for known in Known::ALL {
                pieces.insert(known, template.render(known, chat, reference)?);
            }
            rendered.push(Rendered::new(template, pieces));
        }
        let bare = templates.iter().all(|template| template.id.is_none());
        let infos = if bare {
            Vec::new()
        } else {
            templates
                .iter()
                .map(|template| template.info(chat))
                .collect()
        };
        Ok(Self { infos, rendered })
    }
}

/// Loads further checkpoints once the engine needs them. Two models at a time may be more than fits into memory, so
/// nothing is loaded before.
pub trait Checkpoints {
    /// An f32 copy of the tested model for near ties. `None` = [`ProbeModel::in_f32`] is as exact.
    ///
    /// # Errors
    /// When it can't be loaded: near ties are then unscored.
    fn f32_copy(&self) -> Result<Option<Box<dyn Backend>>, BoxError> {
        Ok(None)
    }

    /// The reference checkpoint to compare with, if there is one.
    fn reference(&self) -> Option<&ModelIdentity> {
        None
    }

    /// Loads the reference checkpoint.
    ///
    /// # Errors
    /// When it can't be loaded: windows then have no reference score.
    fn load_reference(&self) -> Result<ProbeModel, BoxError> {
        Err("there is no reference checkpoint".into())
    }
}

/// No further checkpoints.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {}
