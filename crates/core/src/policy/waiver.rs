//! Waivers: accepted findings, with a reason and an expiry date.

use super::{Problem, filled, schema};
use crate::items::ItemId;
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// An accepted finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    pub item: ItemId,
    pub reason: String,
    /// The last day of its validity.
    pub expires: Date,
    pub approver: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Waiver")]
pub(super) struct RawWaiver {
    /// The item's id.
    #[schemars(with = "String")]
    item: Spanned<String>,
    /// Why the finding is accepted.
    #[schemars(with = "String")]
    reason: Spanned<String>,
    /// The last day of the waiver's validity: a TOML date, or a string such as "2027-01-31".
    #[schemars(schema_with = "schema::day")]
    expires: Spanned<toml::Value>,
    /// Who accepted it.
    approver: Option<String>,
}

impl RawWaiver {
    pub(super) fn check(self) -> Result<Waiver, Problem> {
        let start = self.expires.span().start;
        let expires = match self.expires.into_inner() {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        let expires = expires.parse::<Date>().map_err(|_| {
            (
                start,
                format!("expires = {expires} is not a date; write it as expires = \"2027-01-31\""),
            )
        })?;
        Ok(Waiver {
            item: ItemId(filled("item", self.item)?),
            reason: filled("reason", self.reason)?,
            expires,
            approver: self.approver,
        })
    }
}
