//! Policies: what counts as a finding, and what is to be done about it.

use crate::digest::Digest;
use crate::items::ItemId;
use crate::verdict::{Level, Statistic};
use jiff::civil::Date;
use serde::Deserialize;
use std::path::Path;
use toml::Spanned;

/// The `schema` of the policy files that are read here.
pub const SCHEMA: &str = "byrote.policy/v1";

/// The ready policies, by the name under which `--gate` takes them. The first is the built-in one.
pub const READY: &[(&str, &str)] = &[
    ("default", include_str!("../prompts/policies/default.toml")),
    ("strict", include_str!("../prompts/policies/strict.toml")),
];

/// A checked policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The file it was read from, or `built-in`.
    pub source: String,
    /// SHA-256 of that file.
    pub digest: Digest,
    /// Least probability of one sample that is within the sample budget.
    pub tau: f64,
    /// Id of the scheme whose `p_z` is compared with `tau`.
    pub scheme: String,
    /// What items and controls are compared by.
    pub statistic: Statistic,
    /// Level of the false discovery rate.
    pub q: f64,
    /// Fewer controls than this decide nothing.
    pub min_controls: u64,
    /// Levels that block.
    pub deny: Vec<Level>,
    /// Levels that are only told.
    pub warn: Vec<Level>,
    /// Whether one inconclusive item makes the run undecided.
    pub require_decided: bool,
    /// Items that must come out `extractable` or `memorized`, or the probe itself is broken.
    pub positive_controls: Vec<ItemId>,
    pub waivers: Vec<Waiver>,
}

/// An accepted finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    pub item: ItemId,
    pub reason: String,
    /// The last day on which it holds.
    pub expires: Date,
    pub approver: Option<String>,
}

/// Why a policy can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("{file}: {source}; give a policy file, or one of: {ready}")]
    Unreadable { file: String, ready: String, source: std::io::Error },
    #[error("{file}: not UTF-8; save the policy as UTF-8")]
    NotUtf8 { file: String },
    #[error("{file}:{line}: {problem}")]
    Invalid { file: String, line: usize, problem: String },
}

impl Default for Policy {
    /// The built-in policy: that of `prompts/policies/default.toml`.
    fn default() -> Self {
        Self {
            source: "built-in".to_owned(),
            digest: Digest::of_bytes(READY[0].1.as_bytes()),
            tau: 0.001,
            scheme: "top_k40".to_owned(),
            statistic: Statistic::MaxLogPZ,
            q: 0.05,
            min_controls: 19,
            deny: vec![Level::Extractable, Level::Memorized],
            warn: vec![Level::Predictable],
            require_decided: true,
            positive_controls: Vec::new(),
            waivers: Vec::new(),
        }
    }
}

impl Policy {
    /// Reads a policy: the name of a ready one, or a file.
    ///
    /// # Errors
    /// When the file can't be read or isn't a policy; the message names file, line and fix.
    pub fn open(reference: &str) -> Result<Self, PolicyError> {
        if let Some((name, text)) = READY.iter().find(|(name, _)| *name == reference) {
            return Self::parse(&format!("built-in policy {name}"), text);
        }
        let file = || reference.to_owned();
        let ready = || READY.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let bytes = std::fs::read(Path::new(reference)).map_err(|source| PolicyError::Unreadable {
            file: file(),
            ready: ready(),
            source,
        })?;
        let text = String::from_utf8(bytes).map_err(|_| PolicyError::NotUtf8 { file: file() })?;
        Self::parse(reference, &text)
    }

    /// Checks the text of a policy file; `source` names it in messages and in the report.
    ///
    /// # Errors
    /// When it isn't a policy.
    pub fn parse(source: &str, text: &str) -> Result<Self, PolicyError> {
        let invalid = |start: usize, problem: String| PolicyError::Invalid {
            file: source.to_owned(),
            line: 1 + text.bytes().take(start).filter(|&byte| byte == b'\n').count(),
            problem,
        };
        let raw: RawPolicy = toml::from_str(text)
            .map_err(|error| invalid(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        raw.check()
            .map(|checked| Self { source: source.to_owned(), digest: Digest::of_bytes(text.as_bytes()), ..checked })
            .map_err(|(start, problem)| invalid(start, problem))
    }
}

/// The file as written. What it leaves out is as in the built-in policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    schema: Spanned<String>,
    tau: Option<Spanned<f64>>,
    scheme: Option<Spanned<String>>,
    statistic: Option<Statistic>,
    q: Option<Spanned<f64>>,
    min_controls: Option<u32>,
    deny: Option<Vec<Spanned<Level>>>,
    warn: Option<Vec<Spanned<Level>>>,
    require_decided: Option<bool>,
    #[serde(default)]
    positive_controls: Vec<Spanned<String>>,
    #[serde(default)]
    waivers: Vec<RawWaiver>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWaiver {
    item: Spanned<String>,
    reason: Spanned<String>,
    /// A TOML date or a string.
    expires: Spanned<toml::Value>,
    approver: Option<String>,
}

/// Where in the file (in bytes), and what to do about it.
type Problem = (usize, String);

impl RawPolicy {
    fn check(self) -> Result<Policy, Problem> {
        let built_in = Policy::default();
        if self.schema.get_ref() != SCHEMA {
            let problem = format!("schema {:?} isn't known here; write schema = {SCHEMA:?}", self.schema.get_ref());
            return Err((self.schema.span().start, problem));
        }
        let deny = levels("deny", self.deny)?.unwrap_or(built_in.deny);
        let mut warn = levels("warn", self.warn)?.unwrap_or(built_in.warn);
        // What is denied needs no warning as well.
        warn.retain(|level| !deny.contains(level));
        Ok(Policy {
            tau: share("tau", self.tau)?.unwrap_or(built_in.tau),
            scheme: self.scheme.map(|scheme| filled("scheme", scheme)).transpose()?.unwrap_or(built_in.scheme),
            statistic: self.statistic.unwrap_or(built_in.statistic),
            q: share("q", self.q)?.unwrap_or(built_in.q),
            min_controls: self.min_controls.map_or(built_in.min_controls, u64::from),
            deny,
            warn,
            require_decided: self.require_decided.unwrap_or(built_in.require_decided),
            positive_controls: self
                .positive_controls
                .into_iter()
                .map(|id| filled("positive_controls", id).map(ItemId))
                .collect::<Result<_, _>>()?,
            waivers: self.waivers.into_iter().map(RawWaiver::check).collect::<Result<_, _>>()?,
            ..built_in
        })
    }
}

impl RawWaiver {
    fn check(self) -> Result<Waiver, Problem> {
        let start = self.expires.span().start;
        let expires = match self.expires.into_inner() {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        let expires = expires
            .parse::<Date>()
            .map_err(|_| (start, format!("expires = {expires} isn't a date; write it as expires = \"2027-01-31\"")))?;
        Ok(Waiver {
            item: ItemId(filled("item", self.item)?),
            reason: filled("reason", self.reason)?,
            expires,
            approver: self.approver,
        })
    }
}

/// A number strictly between 0 and 1.
fn share(field: &str, value: Option<Spanned<f64>>) -> Result<Option<f64>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let (start, value) = (value.span().start, value.into_inner());
    if value > 0.0 && value < 1.0 {
        return Ok(Some(value));
    }
    Err((start, format!("{field} = {value} isn't between 0 and 1; write a number such as {field} = 0.001")))
}

fn filled(field: &str, value: Spanned<String>) -> Result<String, Problem> {
    let (start, value) = (value.span().start, value.into_inner());
    if value.trim().is_empty() {
        return Err((start, format!("{field} is empty; write a value or remove the entry")));
    }
    Ok(value)
}

fn levels(field: &str, list: Option<Vec<Spanned<Level>>>) -> Result<Option<Vec<Level>>, Problem> {
    let check = |level: Spanned<Level>| match level.get_ref() {
        Level::Extractable | Level::Memorized | Level::Predictable => Ok(level.into_inner()),
        Level::Clear => Err((level.span().start, format!("\"clear\" is no finding; remove it from {field}"))),
        Level::Inconclusive => {
            let problem =
                format!("inconclusive items are governed by require_decided; remove \"inconclusive\" from {field}");
            Err((level.span().start, problem))
        }
    };
    list.map(|list| list.into_iter().map(check).collect()).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_is_the_built_in_policy() {
        let parsed = Policy::parse("built-in", READY[0].1).unwrap();
        assert_eq!(parsed, Policy::default());
    }

    #[test]
    fn strict_is_stricter_in_every_respect() {
        let (default, strict) = (Policy::default(), Policy::open("strict").unwrap());
        assert!(strict.tau < default.tau && strict.q < default.q && strict.min_controls > default.min_controls);
        assert!(strict.deny.contains(&Level::Predictable) && strict.require_decided);
        assert_ne!(strict.digest, default.digest);
    }

    #[test]
    fn the_default_file_names_every_field() {
        // It is the reference: whatever a policy can say stands in it, if only as a comment.
        let text = READY[0].1;
        for field in [
            "schema",
            "tau",
            "scheme",
            "statistic",
            "q",
            "min_controls",
            "deny",
            "warn",
            "require_decided",
            "positive_controls",
            "waivers",
            "item",
            "reason",
            "expires",
            "approver",
        ] {
            assert!(text.contains(&format!("{field} =")) || text.contains(&format!("[[{field}]]")), "{field}");
        }
    }

    #[test]
    fn a_waiver_takes_a_date_or_a_string() {
        for date in ["2027-01-31", "\"2027-01-31\""] {
            let text =
                format!("schema = {SCHEMA:?}\n[[waivers]]\nitem = \"a\"\nreason = \"licensed\"\nexpires = {date}\n");
            let policy = Policy::parse("p.toml", &text).unwrap();
            assert_eq!(policy.waivers[0].expires, jiff::civil::date(2027, 1, 31));
            assert_eq!(policy.waivers[0].approver, None);
        }
    }

    #[test]
    fn a_bad_policy_names_file_line_and_fix() {
        let cases = [
            ("tau = 0.1", "p.toml:1: missing field `schema`"),
            ("schema = \"byrote.policy/v2\"", "p.toml:1: schema \"byrote.policy/v2\" isn't known here; write"),
            ("schema = \"byrote.policy/v1\"\n\ntau = 0", "p.toml:3: tau = 0 isn't between 0 and 1"),
            ("schema = \"byrote.policy/v1\"\nq = nan", "p.toml:2: q = NaN isn't between"),
            ("schema = \"byrote.policy/v1\"\nqq = 0.1", "p.toml:2: unknown field `qq`, expected one of"),
            ("schema = \"byrote.policy/v1\"\nmin_controls = -1", "p.toml:2: invalid value"),
            ("schema = \"byrote.policy/v1\"\nscheme = \" \"", "p.toml:2: scheme is empty"),
            ("schema = \"byrote.policy/v1\"\nstatistic = \"loss\"", "p.toml:2: unknown variant `loss`"),
            ("schema = \"byrote.policy/v1\"\ndeny = [\"clear\"]", "p.toml:2: \"clear\" is no finding"),
            ("schema = \"byrote.policy/v1\"\nwarn = [\"inconclusive\"]", "p.toml:2: inconclusive items are governed"),
            (
                "schema = \"byrote.policy/v1\"\n[[waivers]]\nitem = \"a\"\nreason = \"\"\nexpires = 2027-01-01",
                "p.toml:4: reason is empty",
            ),
            (
                "schema = \"byrote.policy/v1\"\n[[waivers]]\nitem = \"a\"\nreason = \"r\"\nexpires = \"soon\"",
                "p.toml:5: expires = soon isn't a date",
            ),
            ("schema = ", "p.toml:1: "),
        ];
        for (text, expected) in cases {
            let message = Policy::parse("p.toml", text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
        let message = Policy::open("no/such/policy.toml").unwrap_err().to_string();
        assert!(message.starts_with("no/such/policy.toml: ") && message.contains("default, strict"), "{message}");
    }
}
