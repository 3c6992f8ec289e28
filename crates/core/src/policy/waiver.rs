//! Waivers: accepted findings, with a reason and an expiry date.

use super::{Problem, filled, schema};
use crate::items::ItemId;
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;

/// A calendar day in JSON, `2027-01-31`.
struct Day;

impl Day {
    fn serialize<S: Serializer>(day: &Date, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(day)
    }

    fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Date, D::Error> {
        let text = String::deserialize(reader)?;
        text.parse().map_err(|_| {
            serde::de::Error::custom(format!("{text:?} isn't a date such as \"2027-01-31\""))
        })
    }
}

/// An accepted finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiver {
    pub item: ItemId,
    pub reason: String,
    /// The last day of its validity.
    #[serde(with = "Day")]
    #[schemars(with = "String")]
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
