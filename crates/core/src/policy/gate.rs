//! The section `[gate]`: how many denied findings block.

use super::{Problem, schema, share};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// How many findings of a level in `deny` block a run: it blocks if any of these limits is passed.
///
/// What counts is what is denied and not waived, among opted-out texts and canaries. Controls and positive controls are
/// never findings, and are in no rate.
#[derive(Clone, Debug, PartialEq)]
pub struct GateRules {
    /// More findings than this block, of both kinds together; absent = their number is no limit. Always present where no
    /// other limit is.
    pub max_findings: Option<u64>,
    /// A greater share than this blocks, 0 to 1: findings among the decided items of a kind, opted-out texts and canaries
    /// apart.
    pub max_rate: Option<f64>,
    /// So does an interval of that share that ends above this, 0 to 1 (Clopper-Pearson, two-sided).
    pub max_rate_upper: Option<f64>,
    /// Confidence of that interval, such as .95.
    pub confidence: f64,
    /// Only findings count that a baseline doesn't have. Without a baseline nothing is decided.
    pub new_only: bool,
}

impl Default for GateRules {
    /// One finding blocks.
    fn default() -> Self {
        Self {
            max_findings: Some(0),
            max_rate: None,
            max_rate_upper: None,
            confidence: 0.95,
            new_only: false,
        }
    }
}

/// When findings block: if any of the limits given is passed. Findings are the levels in deny, without what is waived.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Gate")]
pub(super) struct RawGate {
    /// More findings than this block, opted-out texts and canaries together. Left out, it is 0 where no other limit is given,
    /// and no limit otherwise.
    max_findings: Option<u32>,
    /// A greater share than this blocks: findings among the decided items of a kind, opted-out texts and canaries apart.
    #[schemars(schema_with = "schema::floor")]
    max_rate: Option<Spanned<f64>>,
    /// So does a Clopper-Pearson interval of that share that ends above this.
    #[schemars(schema_with = "schema::share")]
    max_rate_upper: Option<Spanned<f64>>,
    /// Two-sided confidence of that interval.
    #[schemars(schema_with = "schema::share")]
    confidence: Option<Spanned<f64>>,
    /// Count only what is new against a baseline (byrote gate --baseline); without one the run is undecided.
    new_only: Option<bool>,
}

impl RawGate {
    pub(super) fn check(self, built_in: GateRules) -> Result<GateRules, Problem> {
        let max_rate = rate(self.max_rate)?;
        let max_rate_upper = share("max_rate_upper", self.max_rate_upper)?;
        // A limit of none beside a rate would make the rate mean nothing.
        let unless_others = built_in
            .max_findings
            .filter(|_| max_rate.is_none() && max_rate_upper.is_none());
        Ok(GateRules {
            max_findings: self.max_findings.map(u64::from).or(unless_others),
            max_rate,
            max_rate_upper,
            confidence: share("confidence", self.confidence)?.unwrap_or(built_in.confidence),
            new_only: self.new_only.unwrap_or(built_in.new_only),
        })
    }
}

/// A share of which 1 would be no limit.
fn rate(value: Option<Spanned<f64>>) -> Result<Option<f64>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let (start, value) = (value.span().start, value.into_inner());
    if (0.0..1.0).contains(&value) {
        return Ok(Some(value));
    }
    Err((
        start,
        format!("max_rate = {value} isn't from 0 to 1; write a share such as max_rate = 0.01"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Policy, SCHEMA};

    fn read(text: &str) -> Result<GateRules, String> {
        let policy = Policy::parse("p.toml", &format!("schema = {SCHEMA:?}\n[gate]\n{text}"));
        policy
            .map(|policy| policy.gate)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn one_finding_blocks_unless_a_limit_says_otherwise() {
        let none = GateRules {
            max_findings: None,
            ..GateRules::default()
        };
        let cases = [
            ("", GateRules::default()),
            (
                "max_findings = 3",
                GateRules {
                    max_findings: Some(3),
                    ..GateRules::default()
                },
            ),
            (
                "max_rate = 0.01",
                GateRules {
                    max_rate: Some(0.01),
                    ..none.clone()
                },
            ),
            (
                "max_rate = 0",
                GateRules {
                    max_rate: Some(0.0),
                    ..none.clone()
                },
            ),
            (
                "max_rate_upper = 0.02\nconfidence = 0.99",
                GateRules {
                    max_rate_upper: Some(0.02),
                    confidence: 0.99,
                    ..none.clone()
                },
            ),
            (
                "max_findings = 3\nmax_rate = 0.01",
                GateRules {
                    max_findings: Some(3),
                    max_rate: Some(0.01),
                    ..none.clone()
                },
            ),
            (
                "new_only = true",
                GateRules {
                    new_only: true,
                    ..GateRules::default()
                },
            ),
            (
                "new_only = true\nmax_rate = 0.5",
                GateRules {
                    new_only: true,
                    max_rate: Some(0.5),
                    ..none
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn limits_that_are_none_say_what_to_write() {
        for (text, expected) in [
            (
                "max_rate = 1",
                "p.toml:3: max_rate = 1 isn't from 0 to 1; write a share such as max_rate = 0.01",
            ),
            ("max_rate = -0.1", "p.toml:3: max_rate = -0.1 isn't"),
            ("max_rate = nan", "p.toml:3: max_rate = NaN isn't"),
            (
                "max_rate_upper = 2",
                "p.toml:3: max_rate_upper = 2 isn't between 0 and 1",
            ),
            (
                "max_rate_upper = 0",
                "p.toml:3: max_rate_upper = 0 isn't between 0 and 1",
            ),
            (
                "confidence = 95",
                "p.toml:3: confidence = 95 isn't between 0 and 1",
            ),
            ("max_findings = -1", "p.toml:3: invalid value"),
            ("max_finding = 1", "p.toml:3: unknown field `max_finding`"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
