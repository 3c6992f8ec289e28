//! A comparison as JSON, version 1: its own types, so that the program may change and the file doesn't. The JSON Schema is
//! `docs/schema/comparison.v1.json`; a test keeps it current. Fields may be added within version 1.
//!
//! Natural logarithms throughout. `null` means not known. JSON has no infinity: such numbers are `"-inf"` or `"inf"`.

use super::same::Windows;
use super::{
    Against, Cell, Change, ComparedItem, ComparedReport, Comparison, Interval, KindChange,
    PairedShare, PairedShift, Standing,
};
use crate::digest::Digest;
use crate::float_serde;
use crate::items::{ItemId, Kind};
use crate::policy::Level;
use crate::run::ModelIdentity;
use crate::verdict::Reason;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The `schema` of these files.
pub const SCHEMA: &str = "byrote.comparison/v1";

/// Indented, with a line feed at the end. Pure: the same comparison gives the same bytes.
pub fn render(comparison: &Comparison) -> Vec<u8> {
    // Can't fail with string keys and checked numbers; if it does, the outcome is no comparison.
    let mut bytes =
        serde_json::to_vec_pretty(&ComparisonV1::of(comparison)).unwrap_or_else(|error| {
            serde_json::json!({ "error": error.to_string() })
                .to_string()
                .into()
        });
    bytes.push(b'\n');
    bytes
}

/// The JSON Schema, made from the types that write it.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(ComparisonV1).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), Value::from(SCHEMA));
    }
    schema
}

/// Two or more reports on the same texts, judged by one policy and compared. Natural logarithms throughout. Null means not known.
#[derive(Serialize, JsonSchema)]
struct ComparisonV1 {
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    /// Name and version of the program.
    tool: &'static str,
    policy: PolicyUsedV1,
    /// In the order given; the others are compared with the first.
    reports: Vec<ReportV1>,
    /// One entry a report after the first.
    against_first: Vec<AgainstV1>,
    /// Every item of any report, the worst first.
    items: Vec<ItemV1>,
}

/// What all reports were judged by.
#[derive(Serialize, JsonSchema)]
struct PolicyUsedV1 {
    source: String,
    /// SHA-256 of the policy's file.
    digest: Digest,
    /// Least probability of one sample that is within the sample budget.
    tau: f64,
    /// Ids of the ways of sampling that tau is about.
    schemes: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct ReportV1 {
    /// The path under which it was given.
    name: String,
    /// The program that wrote it.
    tool: String,
    created_at: String,
    model: ModelIdentity,
    /// SHA-256 over all its windows.
    plan_digest: Digest,
    /// SHA-256 of the policy under which it was written.
    policy_digest: Digest,
    levels: Vec<LevelsV1>,
}

/// Items of one kind in one report, by verdict.
#[derive(Serialize, JsonSchema)]
struct LevelsV1 {
    kind: Kind,
    items: u64,
    extractable: u64,
    memorized: u64,
    predictable: u64,
    clear: u64,
    inconclusive: u64,
}

#[derive(Serialize, JsonSchema)]
struct AgainstV1 {
    /// Its place in reports, from 0.
    report: usize,
    windows: WindowsV1,
    /// How the texts were probed otherwise, where they were.
    windows_differ: Option<String>,
    kinds: Vec<KindV1>,
    /// What it comes to, in sentences.
    said: Vec<String>,
}

/// Whether two reports cut texts into the same windows.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WindowsV1 {
    Same,
    OtherTokenizer,
    Other,
}

#[derive(Serialize, JsonSchema)]
struct KindV1 {
    kind: Kind,
    items: u64,
    new: u64,
    worse: u64,
    not_comparable: u64,
    fixed: u64,
    better: u64,
    unchanged: u64,
    /// Findings; of controls, those within the sample budget. Null where no verdicts could be compared.
    found: Option<ShareV1>,
    /// ln p_z of each item's likeliest window under plain sampling. Null where no windows could be compared.
    log_p_z_full: Option<ShiftV1>,
    /// The mean difference less that of the controls, in nats; null of controls, and where there are too few.
    beyond_controls: Option<IntervalV1>,
}

#[derive(Serialize, JsonSchema)]
struct ShareV1 {
    /// Items whose verdicts can be compared.
    of: u64,
    old_hits: u64,
    /// With its Clopper-Pearson interval at confidence .95.
    old_share: IntervalV1,
    new_hits: u64,
    new_share: IntervalV1,
    gained: u64,
    lost: u64,
    /// New less old, with its bootstrap interval over items.
    difference: IntervalV1,
    /// Exact McNemar test over the flips, two-sided.
    mcnemar_p: f64,
}

#[derive(Serialize, JsonSchema)]
struct ShiftV1 {
    items: u64,
    /// Items whose likeliest window isn't known in one of the two.
    unknown: u64,
    /// Mean of new less old in nats, with its bootstrap interval over items.
    difference: IntervalV1,
    rose: u64,
    fell: u64,
    equal: u64,
    /// Exact sign test, two-sided, ties left out.
    sign_test_p: f64,
}

/// A number with the ends of its interval at confidence .95.
#[derive(Serialize, JsonSchema)]
struct IntervalV1 {
    value: Number,
    lower: Number,
    upper: Number,
}

#[derive(Serialize, JsonSchema)]
struct ItemV1 {
    id: ItemId,
    kind: Kind,
    /// Copies of a canary in the training data; null where it isn't known.
    repetitions: Option<u32>,
    /// The worst of its changes.
    standing: StandingV1,
    /// One a report; null where the report doesn't have it.
    reports: Vec<Option<CellV1>>,
    /// One a report after the first.
    changes: Vec<ChangeV1>,
}

#[derive(Serialize, JsonSchema)]
struct CellV1 {
    verdict: Level,
    /// The deciding reason.
    reason: Option<Reason>,
    /// Of its likeliest window under the best of the policy's schemes.
    log_p_z: Option<Number>,
    /// The same under plain sampling.
    log_p_z_full: Option<Number>,
    /// Share of its characters that can be extracted.
    coverage: Option<f64>,
    /// Tokens.
    verbatim_run: Option<u32>,
    within_budget: bool,
}

/// The later report less the first.
#[derive(Serialize, JsonSchema)]
struct ChangeV1 {
    standing: StandingV1,
    /// Why it can't be compared, where it can't.
    why: Option<String>,
    log_p_z: Option<Number>,
    log_p_z_full: Option<Number>,
    coverage: Option<f64>,
    /// Tokens.
    verbatim_run: Option<i64>,
}

/// What became of a verdict: new = extractable or memorized and neither before; fixed = the other way round.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StandingV1 {
    New,
    Worse,
    NotComparable,
    Fixed,
    Better,
    Unchanged,
}

/// A number that may be infinite.
#[derive(Serialize, JsonSchema)]
#[serde(transparent)]
struct Number(
    #[serde(serialize_with = "float_serde::serialize")]
    #[schemars(schema_with = "float_serde::schema")]
    f64,
);

impl ComparisonV1 {
    fn of(comparison: &Comparison) -> Self {
        let policy = &comparison.policy;
        Self {
            schema: SCHEMA,
            tool: crate::run::TOOL,
            policy: PolicyUsedV1 {
                source: policy.source.clone(),
                digest: policy.digest.clone(),
                tau: policy.tau,
                schemes: policy
                    .schemes
                    .iter()
                    .map(|scheme| scheme.id.clone())
                    .collect(),
            },
            reports: comparison.reports.iter().map(report).collect(),
            against_first: comparison.against_first.iter().map(against).collect(),
            items: comparison.items.iter().map(item).collect(),
        }
    }
}

fn report(report: &ComparedReport) -> ReportV1 {
    let levels = report.levels.iter().map(|levels| LevelsV1 {
        kind: levels.kind,
        items: levels.items,
        extractable: levels.extractable,
        memorized: levels.memorized,
        predictable: levels.predictable,
        clear: levels.clear,
        inconclusive: levels.inconclusive,
    });
    ReportV1 {
        name: report.name.clone(),
        tool: report.tool.clone(),
        created_at: report.created_at.clone(),
        model: report.model.clone(),
        plan_digest: report.plan_digest.clone(),
        policy_digest: report.policy_digest.clone(),
        levels: levels.collect(),
    }
}

fn against(against: &Against) -> AgainstV1 {
    let (windows, windows_differ) = match &against.windows {
        Windows::Same => (WindowsV1::Same, None),
        Windows::OtherTokenizer => (WindowsV1::OtherTokenizer, None),
        Windows::Other(how) => (WindowsV1::Other, Some(how.clone())),
    };
    let kinds = against.kinds.iter().map(kind).collect();
    AgainstV1 {
        report: against.report,
        windows,
        windows_differ,
        kinds,
        said: against.said.clone(),
    }
}

fn kind(change: &KindChange) -> KindV1 {
    KindV1 {
        kind: change.kind,
        items: change.items,
        new: change.of(Standing::New),
        worse: change.of(Standing::Worse),
        not_comparable: change.of(Standing::NotComparable),
        fixed: change.of(Standing::Fixed),
        better: change.of(Standing::Better),
        unchanged: change.of(Standing::Unchanged),
        found: change.found.map(share),
        log_p_z_full: change.likelihood.map(shift),
        beyond_controls: change.beyond_controls.map(interval),
    }
}

fn share(share: PairedShare) -> ShareV1 {
    let ((old_hits, old_share), (new_hits, new_share)) = (share.old, share.new);
    ShareV1 {
        of: share.of,
        old_hits,
        old_share: interval(old_share),
        new_hits,
        new_share: interval(new_share),
        gained: share.gained,
        lost: share.lost,
        difference: interval(share.difference),
        mcnemar_p: share.p_value,
    }
}

fn shift(shift: PairedShift) -> ShiftV1 {
    let PairedShift {
        items,
        unknown,
        difference,
        rose,
        fell,
        equal,
        p_value,
    } = shift;
    ShiftV1 {
        items,
        unknown,
        difference: interval(difference),
        rose,
        fell,
        equal,
        sign_test_p: p_value,
    }
}

fn interval(interval: Interval) -> IntervalV1 {
    let Interval {
        value,
        lower,
        upper,
    } = interval;
    IntervalV1 {
        value: Number(value),
        lower: Number(lower),
        upper: Number(upper),
    }
}

fn item(item: &ComparedItem) -> ItemV1 {
    ItemV1 {
        id: item.id.clone(),
        kind: item.kind,
        repetitions: item.repetitions,
        standing: standing(item.standing()),
        reports: item
            .cells
            .iter()
            .map(|found| found.as_ref().map(cell))
            .collect(),
        changes: item.changes.iter().map(change).collect(),
    }
}

fn cell(cell: &Cell) -> CellV1 {
    CellV1 {
        verdict: cell.level,
        reason: cell.reason.clone(),
        log_p_z: cell.log_p_z.map(Number),
        log_p_z_full: cell.log_p_z_full.map(Number),
        coverage: cell.coverage,
        verbatim_run: cell.verbatim_run,
        within_budget: cell.within_budget,
    }
}

fn change(change: &Change) -> ChangeV1 {
    ChangeV1 {
        standing: standing(change.standing),
        why: change.why.clone(),
        log_p_z: change.log_p_z.map(Number),
        log_p_z_full: change.log_p_z_full.map(Number),
        coverage: change.coverage,
        verbatim_run: change.verbatim_run,
    }
}

fn standing(standing: Standing) -> StandingV1 {
    match standing {
        Standing::New => StandingV1::New,
        Standing::Worse => StandingV1::Worse,
        Standing::NotComparable => StandingV1::NotComparable,
        Standing::Fixed => StandingV1::Fixed,
        Standing::Better => StandingV1::Better,
        Standing::Unchanged => StandingV1::Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_committed_schema_is_current() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema/comparison.v1.json");
        let current = format!("{:#}\n", schema());
        if std::env::var_os("BYROTE_BLESS").is_some_and(|bless| bless == "1") {
            std::fs::write(&path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap();
        assert!(
            committed == current,
            "docs/schema/comparison.v1.json is out of date: run this test with BYROTE_BLESS=1"
        );
    }
}
