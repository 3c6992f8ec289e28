//! A comparison as CSV (RFC 4180): a line an item and later report. Holds no text, revealed or not.

use super::{Cell, Comparison};
use crate::report::csv;

const HEADER: &str = "item,kind,repetitions,old_report,new_report,standing,why,old_level,new_level,old_log_p_z,new_log_p_z,\
    log_p_z_difference,old_log_p_z_full,new_log_p_z_full,log_p_z_full_difference,old_coverage,new_coverage,\
    coverage_difference,old_verbatim_run,new_verbatim_run,verbatim_run_difference";

/// CSV with a header, in UTF-8. What isn't known is an empty cell; infinite numbers are `inf` and `-inf`. Pure.
pub fn render(comparison: &Comparison) -> String {
    let mut out = format!("{HEADER}\r\n");
    let old_name = comparison.reports.first().map_or("", |report| &report.name);
    for item in &comparison.items {
        for (against, change) in comparison.against_first.iter().zip(&item.changes) {
            let (old, new) = (item.cells.first(), item.cells.get(against.report));
            let (old, new) = (old.and_then(Option::as_ref), new.and_then(Option::as_ref));
            let level =
                |cell: Option<&Cell>| cell.map(|cell| cell.level.to_string()).unwrap_or_default();
            let of =
                |cell: Option<&Cell>, value: fn(&Cell) -> Option<f64>| number(cell.and_then(value));
            let run = |cell: Option<&Cell>| whole(cell.and_then(|cell| cell.verbatim_run));
            let name = comparison
                .reports
                .get(against.report)
                .map_or("", |report| &report.name);
            let row = [
                csv::text(&item.id.0, false),
                super::text::kind(item.kind).replace('-', "_"),
                whole(item.repetitions),
                csv::text(old_name, false),
                csv::text(name, false),
                change.standing.name().replace(' ', "_"),
                csv::text(change.why.as_deref().unwrap_or_default(), false),
                level(old),
                level(new),
                of(old, |cell| cell.log_p_z),
                of(new, |cell| cell.log_p_z),
                number(change.log_p_z),
                of(old, |cell| cell.log_p_z_full),
                of(new, |cell| cell.log_p_z_full),
                number(change.log_p_z_full),
                of(old, |cell| cell.coverage),
                of(new, |cell| cell.coverage),
                number(change.coverage),
                run(old),
                run(new),
                whole(change.verbatim_run),
            ];
            out.push_str(&row.join(","));
            out.push_str("\r\n");
        }
    }
    out
}

fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn whole<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
