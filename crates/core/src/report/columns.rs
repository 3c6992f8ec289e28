//! The table of items that CSV and Parquet share: a row an item, in the report's order, with what was decided about it and
//! the numbers behind that. What wasn't measured is absent, never zero.

use super::standing::Standings;
use super::{Report, ReportItem};
use crate::items::OptOut;
use crate::metric::item::{Extraction, FormValues, SchemeEvidence};
use crate::metric::samples::Cost;
use crate::policy::Waiver;
use crate::verdict::Validity;
use serde::Serialize;

/// One value of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    Count(u64),
    /// May be infinite, where the metric may.
    Number(f64),
    Flag(bool),
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// UTF-8.
    Text,
    /// A whole number from 0: `uint64`.
    Count,
    /// A number that may be infinite: `double`.
    Number,
    /// `true` or `false`.
    Flag,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in the first line of the CSV.
    pub name: &'static str,
    /// The type in Parquet; in CSV every value is text.
    pub kind: Type,
    /// `nats`, `bits`, `tokens`, `characters`, `samples`, ...; empty where there is none.
    pub unit: &'static str,
    /// What it says, in a line.
    pub about: &'static str,
    value: fn(&Row<'_>) -> Option<Cell>,
}

/// Everything a row's cells are taken from.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    report: &'a Report,
    standings: &'a Standings<'a>,
    item: &'a ReportItem,
    /// The form that counts.
    values: Option<&'a FormValues>,
    /// The likeliest window under the policy's schemes.
    best: Option<&'a SchemeEvidence>,
}

impl<'a> Row<'a> {
    pub(crate) fn of(
        report: &'a Report,
        standings: &'a Standings<'a>,
        item: &'a ReportItem,
    ) -> Self {
        let values = item.evidence.worst().and_then(|form| form.values.as_ref());
        let best = item
            .evidence
            .cheapest(&report.policy.schemes)
            .map(|(_, best)| best);
        Self {
            report,
            standings,
            item,
            values,
            best,
        }
    }

    /// Its value in a column; `None` where it has none.
    pub(crate) fn cell(&self, column: &Column) -> Option<Cell> {
        (column.value)(self)
    }

    fn opt_out(&self, field: fn(&OptOut) -> &Option<String>) -> Option<Cell> {
        text(field(self.item.opt_out.as_ref()?).as_deref())
    }

    fn waiver(&self) -> Option<&Waiver> {
        self.standings.waiver(&self.item.id)
    }

    fn cost(&self, field: fn(&Cost) -> f64) -> Option<Cell> {
        number(self.best.map(|best| field(&best.best)))
    }

    fn extraction(&self) -> Option<&Extraction> {
        self.values?.extraction.as_ref()
    }

    fn validity(&self) -> Option<&Validity> {
        self.item.verdict.validity.as_ref()
    }

    fn revealed(&self, field: fn(&super::Revealed) -> &Option<String>) -> Option<Cell> {
        text(field(self.item.revealed.as_ref()?).as_deref())
    }
}

/// All columns, in order.
pub const COLUMNS: &[Column] = &[
    column("item_id", Type::Text, "", "The item's id", |row| {
        text(Some(&row.item.id.0))
    }),
    column(
        "kind",
        Type::Text,
        "",
        "opt_out, control or canary",
        |row| word(&row.item.kind),
    ),
    column(
        "verdict",
        Type::Text,
        "",
        "extractable, memorized, predictable, clear or inconclusive",
        |row| word(&row.item.verdict.level),
    ),
    column(
        "action",
        Type::Text,
        "",
        "What the policy makes of it: denied, warned, waived, ...; absent = nothing",
        |row| word(&row.standings.action(&row.item.id)?),
    ),
    column(
        "reason",
        Type::Text,
        "",
        "The deciding reason of the verdict, in words",
        |row| {
            text(
                row.item
                    .verdict
                    .reasons
                    .first()
                    .map(|reason| reason.message.as_str()),
            )
        },
    ),
    column(
        "reason_code",
        Type::Text,
        "",
        "The code of that reason",
        |row| {
            text(
                row.item
                    .verdict
                    .reasons
                    .first()
                    .map(|reason| reason.code.id()),
            )
        },
    ),
    column(
        "waiver_reason",
        Type::Text,
        "",
        "Why the policy accepts a finding of this item",
        |row| text(Some(&row.waiver()?.reason)),
    ),
    column(
        "waiver_expires",
        Type::Text,
        "",
        "The last day on which that holds, as an ISO 8601 date",
        |row| text(Some(&row.waiver()?.expires.to_string())),
    ),
    column(
        "file",
        Type::Text,
        "",
        "The probe file it was read from",
        |row| text(Some(&row.item.origin.file)),
    ),
    column(
        "line",
        Type::Count,
        "",
        "Its line there, from 1; absent where the file is the item",
        |row| count(row.item.origin.line),
    ),
    column(
        "salted_digest",
        Type::Text,
        "",
        "SHA-256 over the run's salt and the text; the salt stays in run.json",
        |row| text(Some(row.item.salted_digest.as_str())),
    ),
    column(
        "opt_out_signal",
        Type::Text,
        "",
        "The signal by which it was opted out",
        |row| row.opt_out(|o| &o.signal),
    ),
    column(
        "opt_out_locator",
        Type::Text,
        "",
        "Where that signal stands",
        |row| row.opt_out(|o| &o.locator),
    ),
    column(
        "opt_out_holder",
        Type::Text,
        "",
        "Who holds the rights",
        |row| row.opt_out(|o| &o.holder),
    ),
    column(
        "opt_out_declared_at",
        Type::Text,
        "",
        "When it was declared",
        |row| row.opt_out(|o| &o.declared_at),
    ),
    column(
        "repetitions",
        Type::Count,
        "",
        "How often a canary stood in the training data",
        |row| count(row.item.repetitions.map(u64::from)),
    ),
    column(
        "form",
        Type::Text,
        "",
        "The layout of the text that counts: as_given or reflowed",
        |row| word(&row.item.evidence.worst_form?),
    ),
    column(
        "template",
        Type::Text,
        "",
        "The template that counts; absent = the bare prefix only",
        |row| {
            text(
                row.item
                    .evidence
                    .worst_template
                    .as_ref()
                    .map(|template| template.0.as_str()),
            )
        },
    ),
    column(
        "chars",
        Type::Count,
        "characters",
        "Length of the text in that form",
        |row| count(row.item.evidence.worst().map(|form| form.chars)),
    ),
    column(
        "tokens",
        Type::Count,
        "tokens",
        "Length of the text in that form",
        |row| count(row.item.evidence.worst().map(|form| form.tokens)),
    ),
    column(
        "windows",
        Type::Count,
        "",
        "Windows that were cut, over all forms",
        |row| count(Some(row.item.evidence.windows())),
    ),
    column(
        "windows_scored",
        Type::Count,
        "",
        "Of those, scored to their end",
        |row| count(Some(row.item.evidence.scored())),
    ),
    column(
        "windows_left",
        Type::Count,
        "",
        "Of those, left before their end, since they can't matter",
        |row| count(Some(row.item.evidence.left())),
    ),
    column(
        "scheme",
        Type::Text,
        "",
        "The policy's way of sampling under which the likeliest window is likeliest",
        |row| text(row.best.map(|best| best.scheme.as_str())),
    ),
    column(
        "log_p_z",
        Type::Number,
        "nats",
        "Natural log of the probability that one sample is exactly its suffix",
        |row| row.cost(|cost| cost.log_p_z),
    ),
    column(
        "log_p_z_at_most",
        Type::Number,
        "nats",
        "A bound where windows were left: none is likelier than this",
        |row| {
            number(
                row.item
                    .evidence
                    .at_most(&row.report.policy.schemes)
                    .map(|(_, bound)| bound),
            )
        },
    ),
    column(
        "samples_p50",
        Type::Number,
        "samples",
        "Samples to see it with probability .5",
        |row| row.cost(|cost| cost.samples_p50),
    ),
    column(
        "samples_p90",
        Type::Number,
        "samples",
        "Samples to see it with probability .9",
        |row| row.cost(|cost| cost.samples_p90),
    ),
    column(
        "verbatim_run",
        Type::Count,
        "tokens",
        "Longest run of first choices from a suffix's beginning",
        |row| count(row.values?.max_verbatim_run.map(u64::from)),
    ),
    column(
        "greedily_extracted",
        Type::Count,
        "",
        "Windows that greedy decoding yields",
        |row| count(row.values.map(|values| values.greedily_extracted)),
    ),
    column(
        "em",
        Type::Number,
        "",
        "Mean over windows of the share of suffix tokens that are the first choice",
        |row| number(row.values?.mean_em),
    ),
    column(
        "mean_logprob",
        Type::Number,
        "nats a token",
        "Mean log-probability of a suffix token at T = 1",
        |row| number(row.values?.mean_logprob),
    ),
    column(
        "min_margin",
        Type::Number,
        "nats",
        "Smallest distance to a tie at the top",
        |row| number(row.values?.min_margin),
    ),
    column(
        "extracted_windows",
        Type::Count,
        "",
        "Windows within the policy's sample budget",
        |row| count(row.extraction().map(|extraction| extraction.windows)),
    ),
    column(
        "covered_chars",
        Type::Count,
        "characters",
        "Characters in the suffix of such a window",
        |row| count(row.extraction().map(|extraction| extraction.covered_chars)),
    ),
    column(
        "coverage",
        Type::Number,
        "",
        "Those by the characters of the text, 0 to 1",
        |row| number(row.extraction().map(|extraction| extraction.coverage)),
    ),
    column(
        "longest_span_chars",
        Type::Count,
        "characters",
        "The longest stretch of them",
        |row| {
            count(
                row.extraction()
                    .map(|extraction| extraction.longest_span_chars),
            )
        },
    ),
    column(
        "statistic",
        Type::Text,
        "",
        "What it was compared with controls by",
        |row| word(&row.validity()?.statistic),
    ),
    column(
        "statistic_value",
        Type::Number,
        "",
        "Its value of that",
        |row| number(row.validity().map(|v| v.value)),
    ),
    column(
        "controls",
        Type::Count,
        "",
        "Control texts it was compared with",
        |row| count(row.validity().map(|v| v.controls)),
    ),
    column(
        "controls_at_least",
        Type::Count,
        "",
        "Of those, how many reach its value",
        |row| count(row.validity().map(|v| v.controls_at_least)),
    ),
    column(
        "p_value",
        Type::Number,
        "",
        "The p-value that counts",
        |row| number(row.validity().map(super::order::p_that_counts)),
    ),
    column(
        "p_value_model_based",
        Type::Flag,
        "",
        "Whether it is extrapolated by a fitted tail",
        |row| Some(Cell::Flag(row.validity()?.tail.is_some())),
    ),
    column(
        "significant",
        Type::Flag,
        "",
        "Whether it stands after Benjamini-Hochberg at the policy's q",
        |row| Some(Cell::Flag(row.validity()?.significant)),
    ),
    column(
        "exposure_bits",
        Type::Number,
        "bits",
        "Canaries: how far up among the controls it stands",
        |row| {
            number(
                row.validity()?
                    .exposure
                    .as_ref()
                    .map(|exposure| exposure.bits),
            )
        },
    ),
    column(
        "near_verbatim_log_p",
        Type::Number,
        "nats",
        "Lower bound on the probability of a near-verbatim sample",
        |row| {
            number(
                row.item
                    .evidence
                    .follow_up
                    .as_ref()?
                    .near_probability
                    .as_ref()
                    .map(|near| near.log_p),
            )
        },
    ),
    column("title", Type::Text, "", "Only with --reveal", |row| {
        row.revealed(|revealed| &revealed.title)
    }),
    column("author", Type::Text, "", "Only with --reveal", |row| {
        row.revealed(|revealed| &revealed.author)
    }),
    column("source_url", Type::Text, "", "Only with --reveal", |row| {
        row.revealed(|revealed| &revealed.source_url)
    }),
    column("license", Type::Text, "", "Only with --reveal", |row| {
        row.revealed(|revealed| &revealed.license)
    }),
    column(
        "continuation",
        Type::Text,
        "",
        "What the model wrote after the likeliest window's prefix; only with --reveal",
        |row| {
            let mut found = row
                .item
                .windows
                .iter()
                .filter_map(|window| window.follow_up.as_ref()?.continuation.as_ref());
            text(found.find_map(|continuation| continuation.text.as_deref()))
        },
    ),
];

const fn column(
    name: &'static str,
    kind: Type,
    unit: &'static str,
    about: &'static str,
    value: fn(&Row<'_>) -> Option<Cell>,
) -> Column {
    Column {
        name,
        kind,
        unit,
        about,
        value,
    }
}

fn text(value: Option<&str>) -> Option<Cell> {
    value.map(|value| Cell::Text(value.to_owned()))
}

fn count(value: Option<u64>) -> Option<Cell> {
    value.map(Cell::Count)
}

fn number(value: Option<f64>) -> Option<Cell> {
    value.map(Cell::Number)
}

/// A value of a closed set, by the name it has in `report.json`.
fn word<T: Serialize>(value: &T) -> Option<Cell> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Some(Cell::Text(word)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use std::collections::HashSet;

    #[test]
    fn every_column_has_its_type_a_name_of_its_own_and_a_value_somewhere() {
        let report = fixture::revealed();
        let standings = Standings::of(&report);
        let rows: Vec<Row<'_>> = report
            .items
            .iter()
            .map(|item| Row::of(&report, &standings, item))
            .collect();
        let names: HashSet<&str> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), COLUMNS.len());
        // These need a run under templates, or one that left windows.
        let absent = ["template", "log_p_z_at_most"];
        for column in COLUMNS {
            let cells: Vec<Cell> = rows.iter().filter_map(|row| row.cell(column)).collect();
            assert_eq!(
                cells.is_empty(),
                absent.contains(&column.name),
                "{}",
                column.name
            );
            for cell in cells {
                let kind = match cell {
                    Cell::Text(_) => Type::Text,
                    Cell::Count(_) => Type::Count,
                    Cell::Number(_) => Type::Number,
                    Cell::Flag(_) => Type::Flag,
                };
                assert_eq!(kind, column.kind, "{}", column.name);
            }
        }
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let report = fixture::report();
        let standings = Standings::of(&report);
        let item = report
            .items
            .iter()
            .find(|item| item.id.0 == "letters/too-short")
            .unwrap();
        let row = Row::of(&report, &standings, item);
        let of = |name: &str| row.cell(COLUMNS.iter().find(|column| column.name == name).unwrap());
        for name in [
            "log_p_z",
            "em",
            "coverage",
            "p_value",
            "verbatim_run",
            "extracted_windows",
            "title",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!(of("verdict"), Some(Cell::Text("inconclusive".to_owned())));
    }
}
