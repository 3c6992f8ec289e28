//! `byrote inspect`: one item of a run, and the tokens of one of its windows.

use crate::cli::{InspectArgs, OutputFormat};
use crate::inspection::{Inspection, find_item};
use crate::{Outcome, output, reports};
use anyhow::Result;
use byrote_core::report::json_v1::inspect as json;
use byrote_core::report::terminal::Style;
use byrote_core::report::terminal::inspect::{Inspected, render};

pub(crate) fn run(args: &InspectArgs) -> Result<Outcome> {
    let report = reports::read(&args.report)?;
    let mut item = find_item(&report, &args.item, &args.report)?.clone();
    let inspection = Inspection::new(&args.report, &report, &item);
    let window = inspection.window(args.window.as_deref(), &item)?;
    if args.format == OutputFormat::Json {
        // The tokens of one window are enough; the other windows are only listed.
        item.windows = inspection.windows_without_tokens();
        return output::print(&json::render(&report, &item, window, &inspection.notes));
    }
    let token_text = item
        .revealed
        .as_ref()
        .and_then(|revealed| revealed.spelled.as_ref());
    let letters = token_text
        .filter(|text| window.is_some_and(|window| window.window == text.window))
        .map(|text| text.suffix.as_slice());
    let inspected = Inspected {
        report: &report,
        item: &item,
        window,
        windows: &inspection.windows,
        letters,
        notes: &inspection.notes,
    };
    let page = render(
        &inspected,
        Style {
            color: output::color(),
            width: None,
        },
    );
    output::print(page.as_bytes())
}
