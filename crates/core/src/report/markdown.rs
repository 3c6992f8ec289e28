//! The report as a Markdown summary, for a CI job's page or a pull request. Never holds text, revealed or not.

use super::order::{self, Figures};
use super::{Report, ReportItem, escape, words};
use crate::items::Kind;
use crate::metric::samples;
use crate::policy::Level;
use crate::report::words::Tally;
use std::fmt::Write as _;

/// Rows of a table; what is left out is counted.
const ROWS: usize = 25;
/// Bytes that GitHub takes for the summary of a step.
const MOST_BYTES: usize = 1 << 20;

/// GitHub-flavoured Markdown, in UTF-8, ending in a line break, of at most 1 MiB. Pure: the same report gives the same text.
pub fn render(report: &Report) -> String {
    within(MOST_BYTES, whole(report))
}

/// The beginning that fits, to a whole line, and how many lines more there are. No markup here spans lines, so that a text cut
/// between two of them is whole.
fn within(most: usize, text: String) -> String {
    if text.len() <= most {
        return text;
    }
    // Room for the last line, with a number as long as any.
    let room = most.saturating_sub(100);
    let mut kept = room;
    while !text.is_char_boundary(kept) {
        kept -= 1;
    }
    kept = text[..kept].rfind('\n').map_or(0, |end| end + 1);
    let more = text[kept..].lines().filter(|line| !line.is_empty()).count();
    format!(
        "{}\n… and {} more lines in `report.json`.\n",
        &text[..kept],
        samples::grouped(more as u64)
    )
}

fn whole(report: &Report) -> String {
    let mut out = String::new();
    head(&mut out, report);
    counts(&mut out, report);
    recall(&mut out, report);
    rates(&mut out, report);
    section(&mut out, "Controls", &words::controls(report));
    section(
        &mut out,
        "Templates, by text",
        &words::templates::gravest(report),
    );
    section(
        &mut out,
        "Rounding, and real generation",
        &words::run::numerics(report),
    );
    findings(&mut out, report);
    followed_up(&mut out, report);
    not_tested(&mut out, report);
    section(&mut out, "Notes", &report.summary.notes);
    let _ = write!(out, "\n<sub>{}", escape::markdown(&report.tool));
    let _ = writeln!(
        out,
        " · {} · holds no probed text</sub>",
        escape::markdown(&report.created_at)
    );
    out
}

fn head(out: &mut String, report: &Report) {
    let headline = words::headline(report);
    let _ = writeln!(
        out,
        "## {}\n\n**{}**",
        headline.word,
        escape::markdown(&headline.reason)
    );
    for line in headline.found.iter().chain(&headline.more) {
        let _ = writeln!(out, "\n{}", escape::markdown(line));
    }
    if !headline.warnings.is_empty() {
        out.push_str("\nWarnings:\n\n");
        list(out, &headline.warnings);
    }
    let model = &report.model;
    let revision = model.revision.as_deref().map(escape::markdown_code);
    out.push_str("\n| | |\n|---|---|\n");
    let mut rows = vec![
        ("Model", escape::markdown_code(&model.reference)),
        ("Source", escape::markdown_code(&model.source)),
        (
            "Revision",
            revision.unwrap_or_else(|| "none given".to_owned()),
        ),
        ("SHA-256", escape::markdown_code(model.digest.as_str())),
        ("Windows", escape::markdown(&words::settings(report))),
        ("Thresholds", escape::markdown(&words::thresholds(report))),
    ];
    rows.extend(
        words::reference(report).map(|reference| ("Reference model", escape::markdown(&reference))),
    );
    for (name, value) in rows {
        let _ = writeln!(out, "| **{name}** | {value} |");
    }
}

fn counts(out: &mut String, report: &Report) {
    out.push_str("\n### Verdicts\n\n| | ");
    for level in words::LEVELS {
        let _ = write!(out, "{} {level} | ", words::sign(level));
    }
    out.push_str("total |\n|---|");
    out.push_str(&"---:|".repeat(words::LEVELS.len() + 1));
    out.push('\n');
    for kind in words::KINDS {
        let items = Tally::of(report, kind).items;
        if items == 0 && kind != Kind::OptOut {
            continue;
        }
        let _ = write!(out, "| **{}** |", words::kinds(kind));
        for level in words::LEVELS {
            let found = report
                .summary
                .counts
                .iter()
                .find(|count| (count.kind, count.level) == (kind, level));
            let _ = write!(
                out,
                " {} |",
                samples::grouped(found.map_or(0, |count| count.items))
            );
        }
        let _ = writeln!(out, " {} |", samples::grouped(items));
    }
}

fn recall(out: &mut String, report: &Report) {
    if report.summary.recall.is_empty() {
        return;
    }
    out.push_str(
        "\n### Canaries found, by copies in training\n\n| copies | found | of | 95% interval | extractable | undecided | |\n",
    );
    out.push_str("|---:|---:|---:|---:|---:|---:|---|\n");
    for entry in &report.summary.recall {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} to {} | {} | {} | `{}` |",
            words::repetitions(entry.repetitions),
            entry.found,
            entry.items,
            words::share(entry.lower),
            words::share(entry.upper),
            entry.extractable,
            entry.inconclusive,
            words::bar(entry, 10),
        );
    }
}

/// Rates and means with their intervals.
fn rates(out: &mut String, report: &Report) {
    let summary = &report.summary;
    let rates = summary.rates.iter().map(words::run::rate);
    let lines: Vec<String> = rates
        .chain(summary.means.iter().map(words::run::mean))
        .collect();
    section(out, "Rates and means", &lines);
}

fn findings(out: &mut String, report: &Report) {
    let worth_telling = |item: &&ReportItem| {
        item.verdict.level.is_memorization() || item.verdict.level == Level::Inconclusive
    };
    let items = order::worst_first(report, Kind::OptOut);
    let items: Vec<&ReportItem> = items.into_iter().filter(worth_telling).collect();
    if items.is_empty() {
        return;
    }
    out.push_str("\n### Opted-out texts, found and undecided\n\n");
    out.push_str(
        "| item | verdict | p_z | samples for an even chance | p-value | run | extracted | why |\n",
    );
    out.push_str("|---|---|---:|---:|---:|---:|---:|---|\n");
    for item in items.iter().take(ROWS) {
        let figures = Figures::of(&report.policy, item);
        let level = item.verdict.level;
        let _ = writeln!(
            out,
            "| {} | {} {level} | {} | {} | {} | {} | {} | {} |",
            escape::markdown_code(&item.id.0),
            words::sign(level),
            figures.p_z,
            figures.samples,
            escape::markdown(&figures.p_value),
            figures.run,
            figures.coverage,
            item.verdict
                .reasons
                .first()
                .map_or_else(String::new, |reason| escape::markdown(&reason.message)),
        );
    }
    and_more(out, items.len(), "more in `report.json`");
    if words::model_based(report) {
        let _ = writeln!(out, "\n{}", escape::markdown(words::run::MODEL_BASED));
    }
}

/// What was found out about opted-out texts beyond their scores, a line a text.
fn followed_up(out: &mut String, report: &Report) {
    let items = order::worst_first(report, Kind::OptOut).into_iter();
    let found: Vec<(&ReportItem, String)> = items
        .filter_map(|item| Some((item, words::evidence::in_short(item)?)))
        .collect();
    if found.is_empty() {
        return;
    }
    out.push_str("\n### Beyond word for word\n\n");
    for (item, line) in found.iter().take(ROWS) {
        let _ = writeln!(
            out,
            "- {}: {}",
            escape::markdown_code(&item.id.0),
            escape::markdown(line)
        );
    }
    and_more(out, found.len(), "more in `report.json`");
}

fn not_tested(out: &mut String, report: &Report) {
    let mut lines = words::not_tested(report);
    lines.push(words::scope(report));
    section(out, "Not tested", &lines);
    let unmeasured = words::unmeasured(report);
    let dropped = &report.probe_set.dropped;
    if !unmeasured.is_empty() || !dropped.is_empty() {
        out.push_str("\n| item | |\n|---|---|\n");
        for (item, reason) in unmeasured.iter().take(ROWS) {
            let _ = writeln!(
                out,
                "| {} | {} |",
                escape::markdown_code(&item.id.0),
                escape::markdown(reason)
            );
        }
        for dropped in dropped.iter().take(ROWS) {
            let reason = escape::markdown(&format!(
                "left out: {} ({})",
                dropped.reason, dropped.origin
            ));
            let _ = writeln!(
                out,
                "| {} | {reason} |",
                escape::markdown_code(&dropped.id.0)
            );
        }
        and_more(out, unmeasured.len(), "more that were not measured in full");
        and_more(out, dropped.len(), "more that were left out");
    }
    if !report.probe_set.warnings.is_empty() {
        out.push_str("\nOn the input:\n\n");
        list(out, &report.probe_set.warnings);
    }
}

fn section(out: &mut String, heading: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = writeln!(out, "\n### {heading}\n");
        list(out, lines);
    }
}

fn list(out: &mut String, lines: &[String]) {
    for line in lines.iter().take(ROWS) {
        let _ = writeln!(out, "- {}", escape::markdown(line));
    }
    and_more(out, lines.len(), "more");
}

fn and_more(out: &mut String, all: usize, what: &str) {
    if let Some(more) = all.checked_sub(ROWS).filter(|&more| more > 0) {
        let _ = writeln!(out, "\n… and {} {what}.", samples::grouped(more as u64));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_summary_says_what_was_found_in_which_model() {
        let text = render(&fixture::report());
        assert!(text.starts_with("## Blocked\n\n**"), "{text}");
        for sentence in [
            "of 17 opted-out texts",
            "| **Model** | `gemma-3-270m` |",
            "| **Revision** | `9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1` |",
            "50 + 50 tokens every 50 tokens",
            "| 64× | 10 | 10 | 69.2% to 100% | 10 | 0 | `██████████` |",
            "199 texts that the model can't have memorized, 199 scored in full; none of them is within",
            "17 opted-out texts: smallest p 0.005; it takes 2 findings together",
            "16 of 17 greedy verdicts confirmed by real generation, 1 disagrees.",
            "- 0 of 199 controls within the sample budget (95% interval 0% to 1.8%)",
            "- mean coverage of 15 opted-out texts 0.22 (95% interval 0.08 to 0.37)",
            "| **Reference model** | pythia-70m (hub:example/pythia-70m@&#8203;a39f36b",
            " | 3.1e-7\\* | ",
            "\\* model-based",
            "- `press/declaration`: 1 of 5 windows continued, none near-verbatim; within 5 edits under top\\_k40 at least \
             1 in 900; as likely after foreign prefixes; 109.9% of the reference model's surprise",
            "2 near-verbatim; within 5 edits under top\\_k40 at least 73.3%; 10^23 times likelier than after foreign",
            "| `lyrics/umber-song` | ■ extractable |",
            "| `letters/too-short` | not probed: 23 tokens are fewer than one window of 50 + 50 |",
        ] {
            assert!(text.contains(sentence), "{sentence:?} isn't in\n{text}");
        }
    }

    #[test]
    fn text_is_redacted_and_hostile_ids_are_inert() {
        // Revealed or not: a summary for others' eyes never holds text.
        for report in [fixture::report(), fixture::revealed()] {
            let text = render(&report);
            fixture::assert_inert_and_redacted(&text.replace("&#8203;", ""));
            let outside_code = outside_code(&text);
            for live in ["[heading](", "\n## [", "@octocat", "<script", "<img"] {
                assert!(
                    !outside_code.contains(live),
                    "{live:?} is live in\n{outside_code}"
                );
            }
        }
    }

    /// The text without its code spans: a run of backticks is closed by the next one of the same length.
    pub(crate) fn outside_code(text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text.replace("\\`", ""));
        while let Some(start) = rest.find('`') {
            out.push_str(&rest[..start]);
            let fence: String = rest[start..].chars().take_while(|&c| c == '`').collect();
            let inside = &rest[start + fence.len()..];
            let end = inside.match_indices(&fence).map(|(at, _)| at).find(|&at| {
                !inside[at + fence.len()..].starts_with('`') && !inside[..at].ends_with('`')
            });
            rest = inside[end.expect("a code span is open") + fence.len()..].to_owned();
        }
        out + &rest
    }

    #[test]
    fn every_table_row_has_as_many_cells_as_its_head() {
        let text = render(&fixture::report());
        let mut columns = None;
        for line in text.lines() {
            let cells = line.matches('|').count();
            columns = (cells > 0).then(|| columns.unwrap_or(cells));
            assert!(columns.is_none_or(|columns| columns == cells), "{line}");
        }
    }

    #[test]
    fn long_tables_are_cut_and_the_rest_is_counted() {
        let mut report = fixture::report();
        let found = report.items[0].clone();
        report.items.extend(std::iter::repeat_n(found, 1_200));
        let text = render(&report);
        assert!(text.contains("more in `report.json`."));
        assert!(text.len() < 60_000, "{}", text.len());
    }

    #[test]
    fn a_summary_of_any_size_fits_and_is_cut_between_lines() {
        let mut report = fixture::report();
        // Ids and reasons of any length: 25 rows alone are more than GitHub takes.
        for item in &mut report.items {
            item.verdict.reasons[0].message = "*[long](x) | `reason` é ".repeat(4_000);
        }
        let all = whole(&report);
        assert!(all.len() > MOST_BYTES, "{}", all.len());
        let text = render(&report);
        assert!(
            text.len() <= MOST_BYTES && text.len() > MOST_BYTES / 2,
            "{}",
            text.len()
        );
        let (kept, last) = text.trim_end().rsplit_once('\n').unwrap();
        assert!(
            last.starts_with("… and ") && last.ends_with(" more lines in `report.json`."),
            "{last}"
        );
        assert!(all.starts_with(kept.trim_end()) && all[kept.trim_end().len()..].starts_with('\n'));
        let more: usize = last
            .split(' ')
            .nth(2)
            .unwrap()
            .replace(',', "")
            .parse()
            .unwrap();
        assert_eq!(
            more + kept.lines().filter(|l| !l.is_empty()).count(),
            all.lines().filter(|l| !l.is_empty()).count()
        );
        for most in 100..400 {
            assert!(within(most, "é\n".repeat(500)).len() <= most);
        }
    }

    #[test]
    fn the_same_report_gives_the_same_bytes() {
        assert_eq!(render(&fixture::report()), render(&fixture::report()));
        assert!(render(&fixture::empty()).contains("nothing was measured"));
    }
}
