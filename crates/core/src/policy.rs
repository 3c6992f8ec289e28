//! Policies: which findings count, and their consequences.

pub mod decision;
mod floor;
mod gate;
mod level;
mod schema;
mod statistic;
mod waiver;

pub use gate::GateRules;
pub use level::Level;
pub use schema::schema;
pub use statistic::Statistic;
pub use waiver::Waiver;

use crate::backend::Scheme;
use crate::digest::Digest;
use crate::float_serde::Real;
use crate::items::ItemId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::Spanned;

/// The supported `schema` of policy files.
pub const SCHEMA: &str = "byrote.policy/v1";

/// Prefix of a positive control that stands for all items with a tag.
pub const TAG: &str = "tag:";
/// Prefix of a positive control that must be `extractable`.
pub const EXTRACTABLE: &str = "extractable:";

/// The built-in policies, by the names that `--gate` accepts. The first is the default.
pub const READY: &[(&str, &str)] = &[
    (
        "default",
        include_str!("../../../prompts/policies/default.toml"),
    ),
    (
        "strict",
        include_str!("../../../prompts/policies/strict.toml"),
    ),
    (
        "quick",
        include_str!("../../../prompts/policies/quick.toml"),
    ),
    (
        "research",
        include_str!("../../../prompts/policies/research.toml"),
    ),
    (
        "book-protocol",
        include_str!("../../../prompts/policies/book-protocol.toml"),
    ),
];

/// A validated policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// The file it was read from, or `built-in`.
    pub source: String,
    /// SHA-256 of that file.
    pub digest: Digest,
    /// Minimum probability of a single sample that is within the sample budget.
    #[serde(with = "Real")]
    pub tau: f64,
    /// Sampling schemes whose `p_z` is compared with `tau`: one scheme within the budget is enough.
    /// Never empty.
    pub schemes: Vec<Scheme>,
    /// Whether a near-verbatim bound of at least `tau` counts as within the budget, too.
    pub near_verbatim: bool,
    /// The statistic that compares items with controls.
    pub statistic: Statistic,
    /// Probabilities (`p_z` under `full`) below this count as equal; 0 = none. At most `tau`.
    #[serde(default, with = "Real")]
    pub floor: f64,
    /// Accepted false discovery rate.
    #[serde(with = "Real")]
    pub q: f64,
    /// With fewer controls than this, items are inconclusive.
    pub min_controls: u64,
    /// Which controls an item is compared with.
    pub matching: Matching,
    /// Whether p-values may be extrapolated beyond what the controls allow.
    pub tail: Tail,
    /// Which windows are followed up, and how.
    pub follow_up: FollowUpPolicy,
    /// Levels that block: findings.
    pub deny: Vec<Level>,
    /// How many findings block.
    #[serde(default)]
    pub gate: GateRules,
    /// Levels that are reported but don't block.
    pub warn: Vec<Level>,
    /// Whether one inconclusive item makes the run undecided.
    pub require_decided: bool,
    /// Items that must be found `extractable` or `memorized`, or else the probe itself is broken:
    /// ids, or `tag:NAME` for all items with a tag.
    pub positive_controls: Vec<ItemId>,
    pub waivers: Vec<Waiver>,
}

/// Which controls an item is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// Controls whose `matches` names the item or one of its tags, if any; otherwise all controls
    /// without `matches`.
    Tags,
    /// All controls that don't stand for another particular item, whatever their tags.
    All,
}

/// Whether p-values may be extrapolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// No: the conformal p-value counts, which is never below `1/(n+1)`.
    None,
    /// A generalized Pareto tail fitted to the controls' highest values. Model-based, and marked as
    /// such.
    GeneralizedPareto,
}

/// Which windows are followed up, and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FollowUpPolicy {
    /// Number of the likeliest windows of each item (not of controls) that are followed up; 0 =
    /// none.
    pub windows: u32,
    /// Windows whose teacher-forced share of first choices is at least this are continued as well.
    #[serde(with = "Real")]
    pub near_miss: f64,
    /// Continue every window of every item from the end of the prefix, without drafts.
    pub everything: bool,
    /// Beam width of the near-verbatim bound; 0 = no bound.
    pub beam: u32,
    /// Maximum share of the suffix's tokens that may be edited in near-verbatim text.
    #[serde(with = "Real")]
    pub edits: f64,
    /// Number of prefixes from other texts to compare the true one with; 0 = none.
    pub foreign_prefixes: u32,
    /// A window whose margin at the top is smaller than this (nats) is scored again alone, in f32.
    #[serde(with = "Real")]
    pub margin: f64,
    /// A window whose `ln p_z` is within this (nats) of `ln tau` is scored again as well.
    #[serde(with = "Real")]
    pub epsilon: f64,
}

/// Why a policy can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("{file}: {source}; give a policy file, or one of: {ready}")]
    Unreadable {
        file: String,
        ready: String,
        source: std::io::Error,
    },
    #[error("{file}: not UTF-8; save the policy as UTF-8")]
    NotUtf8 { file: String },
    #[error("{file}:{line}: {problem}")]
    Invalid {
        file: String,
        line: usize,
        problem: String,
    },
}

impl Default for Policy {
    /// The default policy: that of `prompts/policies/default.toml`.
    fn default() -> Self {
        Self {
            source: "built-in".to_owned(),
            digest: Digest::of_bytes(READY[0].1.as_bytes()),
            tau: 0.001,
            schemes: vec![Scheme::greedy(), Scheme::top_k(40)],
            near_verbatim: false,
            statistic: Statistic::MaxLogPZ,
            floor: 0.0,
            q: 0.05,
            min_controls: 19,
            matching: Matching::Tags,
            tail: Tail::None,
            follow_up: FollowUpPolicy {
                windows: 1,
                near_miss: 0.9,
                everything: false,
                beam: 8,
                edits: 0.1,
                foreign_prefixes: 8,
                margin: 0.001,
                epsilon: 0.01,
            },
            deny: vec![Level::Extractable, Level::Memorized],
            gate: GateRules::default(),
            warn: vec![Level::Predictable],
            require_decided: true,
            positive_controls: Vec::new(),
            waivers: Vec::new(),
        }
    }
}

impl Policy {
    /// Reads a policy: the name of a built-in one, or a file.
    ///
    /// # Errors
    /// When the file can't be read or isn't a policy; the message names file, line and fix.
    pub fn open(reference: &str) -> Result<Self, PolicyError> {
        if let Some((name, text)) = READY.iter().find(|(name, _)| *name == reference) {
            return Self::parse(&format!("built-in policy {name}"), text);
        }
        let file = || reference.to_owned();
        let ready = || {
            READY
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let bytes =
            std::fs::read(Path::new(reference)).map_err(|source| PolicyError::Unreadable {
                file: file(),
                ready: ready(),
                source,
            })?;
        let text = String::from_utf8(bytes).map_err(|_| PolicyError::NotUtf8 { file: file() })?;
        Self::parse(reference, &text)
    }

    /// Whether an item (not a control) is one of the policy's positive controls. They are tested
    /// separately and are never findings.
    pub fn is_positive_control(&self, id: &ItemId, tags: &[String]) -> bool {
        self.positive_controls
            .iter()
            .any(|entry| Self::names_positive_control(entry, id, tags))
    }

    /// Whether an entry of [`Policy::positive_controls`] matches the item with this id and these
    /// tags.
    pub fn names_positive_control(entry: &ItemId, id: &ItemId, tags: &[String]) -> bool {
        let (named, _) = Self::positive_control(entry);
        match named.strip_prefix(TAG) {
            Some(tag) => tags.iter().any(|own| own == tag),
            None => named == id.0,
        }
    }

    /// The id, or `tag:` and a tag, in an entry of [`Policy::positive_controls`], and whether it
    /// must be extractable or may be found at any level.
    pub fn positive_control(entry: &ItemId) -> (&str, bool) {
        entry
            .0
            .strip_prefix(EXTRACTABLE)
            .map_or((&entry.0, false), |named| (named, true))
    }

    /// The ids of its schemes, as in `greedy or top_k40`.
    pub fn scheme_names(&self) -> String {
        self.schemes
            .iter()
            .map(|scheme| scheme.id.as_str())
            .collect::<Vec<_>>()
            .join(" or ")
    }

    /// Validates the text of a policy file; `source` names it in messages and in the report.
    ///
    /// # Errors
    /// When it isn't a policy.
    pub fn parse(source: &str, text: &str) -> Result<Self, PolicyError> {
        let invalid = |start: usize, problem: String| PolicyError::Invalid {
            file: source.to_owned(),
            line: 1 + text
                .bytes()
                .take(start)
                .filter(|&byte| byte == b'\n')
                .count(),
            problem,
        };
        let raw: RawPolicy = toml::from_str(text).map_err(|error| {
            invalid(
                error.span().map_or(0, |span| span.start),
                error.message().to_owned(),
            )
        })?;
        raw.check()
            .map(|checked| Self {
                source: source.to_owned(),
                digest: Digest::of_bytes(text.as_bytes()),
                ..checked
            })
            .map_err(|(start, problem)| invalid(start, problem))
    }
}

/// A byrote policy: when a finding counts, and its consequences. Omitted fields are as in the
/// default policy, which `byrote lint --template` prints.
// Editors show these comments: see `policy/schema.rs`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    #[schemars(schema_with = "schema::version")]
    schema: Spanned<String>,
    /// Minimum probability that one sample is exactly the suffix, for a text to be within reach.
    #[schemars(schema_with = "schema::share")]
    tau: Option<Spanned<f64>>,
    /// Sampling schemes whose p_z is compared with tau: greedy, full, top_k40, top_p0.95,
    /// t0.7_top_k50_top_p0.9.
    #[schemars(schema_with = "schema::schemes")]
    schemes: Option<Spanned<Vec<Spanned<String>>>>,
    /// Whether a near-verbatim bound of at least tau is within reach, too.
    near_verbatim: Option<bool>,
    /// The statistic that compares items with controls.
    statistic: Option<Statistic>,
    /// Texts whose p_z under plain sampling is below this count as equal; 0 = none. At most tau,
    /// and only with max_log_p_z.
    #[schemars(schema_with = "schema::floor")]
    floor: Option<Spanned<f64>>,
    /// Accepted false discovery rate: the expected share of wrong findings among the items called
    /// memorized, in each family of items.
    #[schemars(schema_with = "schema::share")]
    q: Option<Spanned<f64>>,
    /// With fewer control texts than this, an item is inconclusive.
    min_controls: Option<u32>,
    /// Which controls an item is compared with.
    matching: Option<Matching>,
    /// Whether p-values may be extrapolated.
    tail: Option<Tail>,
    /// Which windows are followed up, and how.
    #[serde(default)]
    follow_up: RawFollowUp,
    /// Findings that block.
    #[schemars(schema_with = "schema::findings")]
    deny: Option<Vec<Spanned<Level>>>,
    /// How many findings block: without limits, one does.
    #[serde(default)]
    gate: gate::RawGate,
    /// Findings that are reported but don't block.
    #[schemars(schema_with = "schema::findings")]
    warn: Option<Vec<Spanned<Level>>>,
    /// Whether one inconclusive item makes the run undecided.
    require_decided: Option<bool>,
    /// Ids of items that every sound probe must find, or tag:NAME for all items with a tag.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    positive_controls: Vec<Spanned<String>>,
    /// Accepted findings.
    #[serde(default)]
    waivers: Vec<waiver::RawWaiver>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FollowUp")]
struct RawFollowUp {
    /// Number of the likeliest windows of each item that are followed up; 0 = none.
    windows: Option<u32>,
    /// Windows with at least this share of first choices are continued as well.
    #[schemars(schema_with = "schema::unit")]
    near_miss: Option<Spanned<f64>>,
    /// Continue every window of every item from the end of its prefix.
    everything: Option<bool>,
    /// Beam width of the lower bound on near-verbatim probability; 0 = no bound.
    #[schemars(with = "Option<u32>")]
    beam: Option<Spanned<u32>>,
    /// Maximum share of the suffix's tokens that may be edited in near-verbatim text.
    #[schemars(schema_with = "schema::unit")]
    edits: Option<Spanned<f64>>,
    /// Number of prefixes from other texts that show how much the true prefix adds; 0 = none.
    foreign_prefixes: Option<u32>,
    /// A window whose margin at the top is smaller than this, in nats, is scored again alone and in
    /// f32.
    #[schemars(schema_with = "schema::positive")]
    margin: Option<Spanned<f64>>,
    /// A window whose ln p_z is within this of ln tau, in nats, is scored again as well.
    #[schemars(schema_with = "schema::positive")]
    epsilon: Option<Spanned<f64>>,
}

/// Position in the file (in bytes), and the fix.
type Problem = (usize, String);

impl RawPolicy {
    fn check(self) -> Result<Policy, Problem> {
        let built_in = Policy::default();
        if self.schema.get_ref() != SCHEMA {
            let problem = format!(
                "schema {:?} is unknown; write schema = {SCHEMA:?}",
                self.schema.get_ref()
            );
            return Err((self.schema.span().start, problem));
        }
        let deny = levels("deny", self.deny)?.unwrap_or(built_in.deny);
        let mut warn = levels("warn", self.warn)?.unwrap_or(built_in.warn);
        // A probability that is never measured can't be within any budget.
        if let Some(beam) = self
            .follow_up
            .beam
            .as_ref()
            .filter(|beam| self.near_verbatim == Some(true) && *beam.get_ref() == 0)
        {
            let problem = "beam = 0 does not measure near-verbatim text, which near_verbatim = true counts; write for example beam = 16";
            return Err((beam.span().start, problem.to_owned()));
        }
        // A denied level needs no warning as well.
        warn.retain(|level| !deny.contains(level));
        let tau = share("tau", self.tau)?.unwrap_or(built_in.tau);
        let statistic = self.statistic.unwrap_or(built_in.statistic);
        Ok(Policy {
            tau,
            schemes: schemes(self.schemes)?.unwrap_or(built_in.schemes),
            near_verbatim: self.near_verbatim.unwrap_or(built_in.near_verbatim),
            matching: self.matching.unwrap_or(built_in.matching),
            tail: self.tail.unwrap_or(built_in.tail),
            follow_up: self.follow_up.check(built_in.follow_up)?,
            floor: floor::check(self.floor, tau, statistic)?,
            statistic,
            q: share("q", self.q)?.unwrap_or(built_in.q),
            min_controls: self.min_controls.map_or(built_in.min_controls, u64::from),
            deny,
            gate: self.gate.check(built_in.gate)?,
            warn,
            require_decided: self.require_decided.unwrap_or(built_in.require_decided),
            positive_controls: self
                .positive_controls
                .into_iter()
                .map(positive_control)
                .collect::<Result<_, _>>()?,
            waivers: self
                .waivers
                .into_iter()
                .map(waiver::RawWaiver::check)
                .collect::<Result<_, _>>()?,
            ..built_in
        })
    }
}

impl RawFollowUp {
    fn check(self, built_in: FollowUpPolicy) -> Result<FollowUpPolicy, Problem> {
        Ok(FollowUpPolicy {
            windows: self.windows.unwrap_or(built_in.windows),
            near_miss: within("near_miss", self.near_miss, 1.0)?.unwrap_or(built_in.near_miss),
            everything: self.everything.unwrap_or(built_in.everything),
            beam: self.beam.map_or(built_in.beam, Spanned::into_inner),
            edits: within("edits", self.edits, 1.0)?.unwrap_or(built_in.edits),
            foreign_prefixes: self.foreign_prefixes.unwrap_or(built_in.foreign_prefixes),
            margin: within("margin", self.margin, f64::MAX)?.unwrap_or(built_in.margin),
            epsilon: within("epsilon", self.epsilon, f64::MAX)?.unwrap_or(built_in.epsilon),
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
    Err((
        start,
        format!("{field} = {value} is not between 0 and 1; write a number such as {field} = 0.001"),
    ))
}

/// A number from 0 to `most`.
fn within(field: &str, value: Option<Spanned<f64>>, most: f64) -> Result<Option<f64>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let (start, value) = (value.span().start, value.into_inner());
    if (0.0..=most).contains(&value) {
        return Ok(Some(value));
    }
    let range = if most == 1.0 {
        "is not in the range 0 to 1"
    } else {
        "is not 0 or more"
    };
    Err((
        start,
        format!("{field} = {value} {range}; write a number such as {field} = 0.1"),
    ))
}

fn schemes(list: Option<Spanned<Vec<Spanned<String>>>>) -> Result<Option<Vec<Scheme>>, Problem> {
    let Some(list) = list else { return Ok(None) };
    let start = list.span().start;
    let mut schemes: Vec<Scheme> = Vec::new();
    for id in list.into_inner() {
        let start = id.span().start;
        let scheme = Scheme::parse(id.get_ref()).map_err(|problem| (start, problem))?;
        if !schemes.contains(&scheme) {
            schemes.push(scheme);
        }
    }
    if schemes.is_empty() {
        return Err((
            start,
            "schemes is empty; write for example schemes = [\"greedy\", \"top_k40\"]".to_owned(),
        ));
    }
    Ok(Some(schemes))
}

fn filled(field: &str, value: Spanned<String>) -> Result<String, Problem> {
    let (start, value) = (value.span().start, value.into_inner());
    if value.trim().is_empty() {
        return Err((
            start,
            format!("{field} is empty; write a value or remove the entry"),
        ));
    }
    Ok(value)
}

fn positive_control(entry: Spanned<String>) -> Result<ItemId, Problem> {
    let start = entry.span().start;
    let entry = filled("positive_controls", entry)?;
    let named = entry.strip_prefix(EXTRACTABLE).unwrap_or(&entry);
    if named.trim().is_empty()
        || named
            .strip_prefix(TAG)
            .is_some_and(|tag| tag.trim().is_empty())
    {
        return Err((
            start,
            format!(
                "{entry:?} names no tag or item; write for example \"{TAG}planted\" or \"{EXTRACTABLE}lorem\""
            ),
        ));
    }
    Ok(ItemId(entry))
}

fn levels(field: &str, list: Option<Vec<Spanned<Level>>>) -> Result<Option<Vec<Level>>, Problem> {
    let check = |level: Spanned<Level>| match level.get_ref() {
        Level::Extractable | Level::Memorized | Level::Predictable => Ok(level.into_inner()),
        Level::Clear => Err((
            level.span().start,
            format!("\"clear\" is not a finding; remove it from {field}"),
        )),
        Level::Inconclusive => {
            let problem = format!(
                "require_decided decides about inconclusive items; remove \"inconclusive\" from {field}"
            );
            Err((level.span().start, problem))
        }
    };
    list.map(|list| list.into_iter().map(check).collect())
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_file_matches_the_default_policy() {
        let parsed = Policy::parse("built-in", READY[0].1).unwrap();
        assert_eq!(parsed, Policy::default());
    }

    #[test]
    fn the_strict_policy_is_stricter_in_every_respect() {
        let (default, strict) = (Policy::default(), Policy::open("strict").unwrap());
        assert!(
            strict.tau < default.tau
                && strict.q < default.q
                && strict.min_controls > default.min_controls
        );
        assert!(strict.deny.contains(&Level::Predictable) && strict.require_decided);
        assert_ne!(strict.digest, default.digest);
    }

    #[test]
    fn the_default_policy_file_names_every_field() {
        // The file is the reference: it contains every policy field, if only as a comment.
        let text = READY[0].1;
        for field in [
            "schema",
            "tau",
            "schemes",
            "near_verbatim",
            "statistic",
            "q",
            "min_controls",
            "matching",
            "tail",
            "floor",
            "windows",
            "near_miss",
            "everything",
            "beam",
            "edits",
            "foreign_prefixes",
            "margin",
            "epsilon",
            "deny",
            "warn",
            "require_decided",
            "max_findings",
            "max_rate",
            "max_rate_upper",
            "confidence",
            "new_only",
            "positive_controls",
            "waivers",
            "item",
            "reason",
            "expires",
            "approver",
        ] {
            assert!(
                text.contains(&format!("{field} =")) || text.contains(&format!("[[{field}]]")),
                "{field}"
            );
        }
    }

    #[test]
    fn waivers_accept_a_toml_date_or_a_string() {
        for date in ["2027-01-31", "\"2027-01-31\""] {
            let text = format!(
                "schema = {SCHEMA:?}\n[[waivers]]\nitem = \"a\"\nreason = \"licensed\"\nexpires = {date}\n"
            );
            let policy = Policy::parse("p.toml", &text).unwrap();
            assert_eq!(policy.waivers[0].expires, jiff::civil::date(2027, 1, 31));
            assert_eq!(policy.waivers[0].approver, None);
        }
    }

    #[test]
    fn policy_errors_name_file_line_and_fix() {
        let cases = [
            ("tau = 0.1", "p.toml:1: missing field `schema`"),
            (
                "schema = \"byrote.policy/v2\"",
                "p.toml:1: schema \"byrote.policy/v2\" is unknown; write",
            ),
            (
                "schema = \"byrote.policy/v1\"\n\ntau = 0",
                "p.toml:3: tau = 0 is not between 0 and 1",
            ),
            (
                "schema = \"byrote.policy/v1\"\nq = nan",
                "p.toml:2: q = NaN is not between",
            ),
            (
                "schema = \"byrote.policy/v1\"\nqq = 0.1",
                "p.toml:2: unknown field `qq`, expected one of",
            ),
            (
                "schema = \"byrote.policy/v1\"\nmin_controls = -1",
                "p.toml:2: invalid value",
            ),
            (
                "schema = \"byrote.policy/v1\"\nschemes = []",
                "p.toml:2: schemes is empty",
            ),
            (
                "schema = \"byrote.policy/v1\"\nschemes = [\"topk\"]",
                "p.toml:2: \"topk\" is not a sampling scheme",
            ),
            (
                "schema = \"byrote.policy/v1\"\n[follow_up]\nedits = 2",
                "p.toml:3: edits = 2 is not in the range 0 to 1",
            ),
            (
                "schema = \"byrote.policy/v1\"\nnear_verbatim = true\n[follow_up]\nbeam = 0",
                "p.toml:4: beam = 0 does not measure",
            ),
            (
                "schema = \"byrote.policy/v1\"\nstatistic = \"loss\"",
                "p.toml:2: unknown variant `loss`",
            ),
            (
                "schema = \"byrote.policy/v1\"\ndeny = [\"clear\"]",
                "p.toml:2: \"clear\" is not a finding",
            ),
            (
                "schema = \"byrote.policy/v1\"\npositive_controls = [\"tag: \"]",
                "p.toml:2: \"tag: \" names no tag",
            ),
            (
                "schema = \"byrote.policy/v1\"\npositive_controls = [\"extractable:\"]",
                "p.toml:2: \"extractable:\" names no",
            ),
            (
                "schema = \"byrote.policy/v1\"\nwarn = [\"inconclusive\"]",
                "p.toml:2: require_decided decides about inconclusive",
            ),
            (
                "schema = \"byrote.policy/v1\"\n[[waivers]]\nitem = \"a\"\nreason = \"\"\nexpires = 2027-01-01",
                "p.toml:4: reason is empty",
            ),
            (
                "schema = \"byrote.policy/v1\"\n[[waivers]]\nitem = \"a\"\nreason = \"r\"\nexpires = \"soon\"",
                "p.toml:5: expires = soon is not a date",
            ),
            ("schema = ", "p.toml:1: "),
        ];
        for (text, expected) in cases {
            let message = Policy::parse("p.toml", text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
        let message = Policy::open("no/such/policy.toml").unwrap_err().to_string();
        assert!(
            message.starts_with("no/such/policy.toml: ")
                && message.contains("default, strict, quick, research, book-protocol"),
            "{message}"
        );
    }
}
