//! The name of a template.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A template's id: lower-case letters, digits and hyphens.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct TemplateId(pub String);

impl TemplateId {
    /// The bare prefix.
    pub const NONE: &str = "none";

    /// Whether it is the bare prefix.
    pub fn is_none(&self) -> bool {
        self.0 == Self::NONE
    }
}

impl Default for TemplateId {
    fn default() -> Self {
        Self(Self::NONE.to_owned())
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
