//! The section `[gate]`: how many denied findings block.

use super::{Problem, schema, share};
use crate::float_serde::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

/// How many findings at a level in `deny` block a run: exceeding any of these limits blocks.
///
/// Denied findings without a waiver count, among opted-out texts and canaries. Controls and
/// positive controls are never findings, and count in no rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateRules {
    /// More findings than this block, both kinds together; absent = unlimited. Always present if no
    /// other limit is.
    pub max_findings: Option<u64>,
    /// A larger share than this blocks, 0 to 1: findings among the decided items of a kind,
    /// opted-out texts and canaries separately.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub max_rate: Option<f64>,
    /// An interval of that share (Clopper-Pearson, two-sided) that ends above this blocks as well,
    /// 0 to 1.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub max_rate_upper: Option<f64>,
    /// Confidence of that interval, such as .95.
    #[serde(with = "Real")]
    pub confidence: f64,
    /// Count only findings that a baseline lacks. Without a baseline the run is undecided.
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

/// When findings block: if any of the given limits is exceeded. Findings are items at the levels in
/// deny, without waived ones.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Gate")]
pub(super) struct RawGate {
    /// More findings than this block, opted-out texts and canaries together. If omitted, it is 0
    /// without another limit, and unlimited with one.
    max_findings: Option<u32>,
    /// A larger share than this blocks: findings among the decided items of a kind, opted-out texts
    /// and canaries separately.
    #[schemars(schema_with = "schema::floor")]
    max_rate: Option<Spanned<f64>>,
    /// A Clopper-Pearson interval of that share that ends above this blocks as well.
    #[schemars(schema_with = "schema::share")]
    max_rate_upper: Option<Spanned<f64>>,
    /// Two-sided confidence of that interval.
    #[schemars(schema_with = "schema::share")]
    confidence: Option<Spanned<f64>>,
    /// Count only findings that are new against a baseline (byrote gate --baseline); without one
    /// the run is undecided.
    new_only: Option<bool>,
}

impl RawGate {
    pub(super) fn check(self, built_in: GateRules) -> Result<GateRules, Problem> {
        let max_rate = rate(self.max_rate)?;
        let max_rate_upper = share("max_rate_upper", self.max_rate_upper)?;
        // A default limit of 0 findings would make a rate meaningless.
        let default = if max_rate.is_none() && max_rate_upper.is_none() {
            built_in.max_findings
        } else {
            None
        };
        Ok(GateRules {
            max_findings: self.max_findings.map(u64::from).or(default),
            max_rate,
            max_rate_upper,
            confidence: share("confidence", self.confidence)?.unwrap_or(built_in.confidence),
            new_only: self.new_only.unwrap_or(built_in.new_only),
        })
    }
}

/// A share; 1 would be no limit.
fn rate(value: Option<Spanned<f64>>) -> Result<Option<f64>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let (start, value) = (value.span().start, value.into_inner());
    if (0.0..1.0).contains(&value) {
        return Ok(Some(value));
    }
    Err((
        start,
        format!(
            "max_rate = {value} is not in the range 0 to 1; write a share such as max_rate = 0.01"
        ),
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
    fn invalid_limits_are_refused_with_the_fix() {
        for (text, expected) in [
            (
                "max_rate = 1",
                "p.toml:3: max_rate = 1 is not in the range 0 to 1; write a share such as max_rate = 0.01",
            ),
            ("max_rate = -0.1", "p.toml:3: max_rate = -0.1 is not"),
            ("max_rate = nan", "p.toml:3: max_rate = NaN is not"),
            (
                "max_rate_upper = 2",
                "p.toml:3: max_rate_upper = 2 is not between 0 and 1",
            ),
            (
                "max_rate_upper = 0",
                "p.toml:3: max_rate_upper = 0 is not between 0 and 1",
            ),
            (
                "confidence = 95",
                "p.toml:3: confidence = 95 is not between 0 and 1",
            ),
            ("max_findings = -1", "p.toml:3: invalid value"),
            ("max_finding = 1", "p.toml:3: unknown field `max_finding`"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
