//! The report as one self-contained HTML file: no network, no script, no fonts, a strict content security policy.
//!
//! The template is in `html/template.html`, the style sheet in `html/style.css`. Every string that isn't marked safe
//! goes through `escape`, in `print`. Text is shown only if the run was made with `--reveal`.

mod chart;
mod evidence;
mod heat;
mod item;
mod scatter;

use super::{Report, escape, words};
use crate::items::Kind;
use crate::metric::{METRICS, samples};
use crate::report::order;
use crate::report::words::{Tally, Tone};
use minijinja::{Environment, Output, State, UndefinedBehavior, Value, context};
use sha2::{Digest as _, Sha256};

const TEMPLATE: &str = include_str!("html/template.html");
const STYLE: &str = include_str!("html/style.css");

/// Items that are shown one by one; the rest is counted.
const SHOWN_ITEMS: usize = 500;
/// Dropped and unmeasured items, files and warnings that are listed.
const LISTED: usize = 200;

/// The template didn't render: a defect of byrote, never of the report.
#[derive(Debug, thiserror::Error)]
#[error("the HTML report can't be rendered; please report this as a defect of byrote")]
pub struct RenderError(#[from] minijinja::Error);

/// One HTML file in UTF-8. Pure: the same report gives the same bytes.
///
/// # Errors
/// Only if the built-in template is defective.
pub fn render(report: &Report) -> Result<String, RenderError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_formatter(print);
    environment.add_filter("prose", |text: String| Value::from_safe_string(escape::html_prose(&text)));
    Ok(environment.render_named_str("report.html", TEMPLATE, page(report))?)
}

/// Writes a value of the template: safe strings as they are, all else made inert.
fn print(out: &mut Output<'_>, _: &State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    let text = if value.is_safe() { text } else { escape::html(&text) };
    out.write_str(&text).map_err(minijinja::Error::from)
}

fn page(report: &Report) -> Value {
    let headline = words::headline(report);
    let tone = match headline.tone {
        Tone::Bad => "bad",
        Tone::Unsure => "unsure",
        Tone::Good => "good",
    };
    let dropped = &report.probe_set.dropped;
    let unmeasured = words::unmeasured(report);
    context! {
        csp => content_security_policy(),
        style => Value::from_safe_string(STYLE.to_owned()),
        tool => report.tool,
        created_at => report.created_at,
        reveal => report.settings.reveal,
        tone,
        headline => context! {
            word => headline.word,
            reason => headline.reason,
            found => headline.found,
            more => headline.more,
            warnings => headline.warnings,
        },
        model => model(report),
        tiles => tiles(report),
        controls => words::controls(report),
        not_tested => words::not_tested(report),
        scope => words::scope(report),
        model_based => words::model_based(report).then_some(words::run::MODEL_BASED),
        rates => rates(report),
        means => means(report),
        numerics => words::run::numerics(report),
        heat_steps => heat::STEPS,
        unmeasured => unmeasured.iter().take(LISTED).map(|(item, reason)| context! { id => item.id, reason }).collect::<Vec<_>>(),
        unmeasured_more => more(unmeasured.len(), LISTED),
        dropped => dropped
            .iter()
            .take(LISTED)
            .map(|item| context! { id => item.id, origin => item.origin.to_string(), reason => item.reason })
            .collect::<Vec<_>>(),
        dropped_more => more(dropped.len(), LISTED),
        input_warnings => report.probe_set.warnings.iter().take(LISTED).collect::<Vec<_>>(),
        notes => report.summary.notes,
        levels => words::LEVELS.map(|level| context! { name => level.to_string(), meaning => words::meaning(level) }),
        counts => counts(report),
        recall_chart => chart::recall(&report.summary.recall).map(Value::from_safe_string),
        recall => recall(report),
        scatter => scatter::scatter(report).map(Value::from_safe_string),
        distribution => chart::distribution(report).map(Value::from_safe_string),
        groups => groups(report),
        settings => settings(report),
        files => files(report),
        metrics => METRICS
            .iter()
            .map(|m| context! { id => m.id, summary => m.summary, unit => m.unit, formula => m.formula, citation => m.citation })
            .collect::<Vec<_>>(),
    }
}

/// Nothing may be loaded and nothing may run; the one style sheet is named by its hash.
fn content_security_policy() -> Value {
    let hash = base64(&Sha256::digest(STYLE.as_bytes()));
    Value::from_safe_string(format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
    ))
}

fn fact(name: &str, value: impl Into<String>) -> Value {
    marked(name, value, "")
}

/// A fact with a mark before it that says of what kind it is.
fn marked(name: &str, value: impl Into<String>, mark: &str) -> Value {
    context! { name, value => value.into(), code => false, mark }
}

fn code(name: &str, value: impl Into<String>) -> Value {
    context! { name, value => value.into(), code => true, mark => "" }
}

fn model(report: &Report) -> Vec<Value> {
    let model = &report.model;
    let backend = &model.backend;
    let mut facts = vec![
        code("Model", &model.reference),
        code("Source", &model.source),
        match &model.revision {
            Some(revision) => code("Revision", revision),
            None => fact("Revision", "none given: the digest alone names what was tested"),
        },
        code("SHA-256 of its files", model.digest.as_str()),
        fact(
            "Loaded as",
            format!(
                "{}, {} parameters, {} on {}{}",
                backend.architecture,
                samples::grouped(backend.parameters),
                backend.dtype,
                backend.device,
                backend.pace()
            ),
        ),
    ];
    facts.extend(words::reference(report).map(|reference| code("Reference model", reference)));
    facts
}

fn rates(report: &Report) -> Vec<Value> {
    let row = |rate: &super::Rate| {
        let share = rate.hits as f64 / rate.of.max(1) as f64;
        context! {
            kind => words::kinds(rate.kind),
            name => rate.name,
            hits => samples::grouped(rate.hits),
            of => samples::grouped(rate.of),
            share => if rate.of == 0 { "–".to_owned() } else { words::share(share) },
            interval => words::run::interval(rate),
            picture => Value::from_safe_string(chart::interval(rate.lower, share, rate.upper)),
        }
    };
    report.summary.rates.iter().map(row).collect()
}

fn means(report: &Report) -> Vec<Value> {
    let number = words::run::number;
    let row = |mean: &super::MeanOverItems| {
        context! {
            kind => words::kinds(mean.kind),
            name => mean.name,
            items => samples::grouped(mean.items),
            mean => number(mean.mean),
            interval => format!("{} to {}", number(mean.lower), number(mean.upper)),
        }
    };
    report.summary.means.iter().map(row).collect()
}

fn tiles(report: &Report) -> Vec<Value> {
    let (opt_outs, canaries) = (Tally::of(report, Kind::OptOut), Tally::of(report, Kind::Canary));
    let (controls, windows) = (&report.summary.controls, &report.summary.windows);
    let tile = |label: &str, figure: u64, of: u64, note: String| {
        context! { label, figure => samples::grouped(figure), of => samples::grouped(of), note }
    };
    let levels = |tally: &Tally| {
        format!("{} extractable, {} memorized, {} undecided", tally.extractable, tally.memorized, tally.inconclusive)
    };
    let mut tiles = vec![tile("opted-out texts memorized", opt_outs.found(), opt_outs.items, levels(&opt_outs))];
    if canaries.items > 0 {
        tiles.push(tile("planted canaries found", canaries.found(), canaries.items, levels(&canaries)));
    }
    let greedy = format!("{} greedily extracted; {} scored in full", controls.greedily_extracted, controls.usable);
    tiles.push(tile("controls within the sample budget", controls.within_budget, controls.items, greedy));
    let left = match windows.left {
        0 => String::new(),
        n => format!(", {} left before their end", samples::grouped(n)),
    };
    let greedy = format!("{} greedily extracted{left}", samples::grouped(windows.greedily_extracted));
    tiles.push(tile("windows scored", windows.scored, windows.planned, greedy));
    tiles
}

fn counts(report: &Report) -> Vec<Value> {
    let row = |kind: Kind| {
        let of = |level| report.summary.counts.iter().find(|count| (count.kind, count.level) == (kind, level));
        let cells = words::LEVELS.map(|level| samples::grouped(of(level).map_or(0, |count| count.items)));
        let items = Tally::of(report, kind).items;
        context! { kind => words::kinds(kind), cells, total => samples::grouped(items) }
    };
    words::KINDS.into_iter().map(row).collect()
}

fn recall(report: &Report) -> Vec<Value> {
    let row = |entry: &super::Recall| {
        let share = words::share(entry.found as f64 / entry.items.max(1) as f64);
        context! {
            copies => words::repetitions(entry.repetitions),
            found => entry.found,
            items => entry.items,
            undecided => entry.inconclusive,
            share,
            interval => format!("{} to {}", words::share(entry.lower), words::share(entry.upper)),
        }
    };
    report.summary.recall.iter().map(row).collect()
}

/// The items by kind, the gravest first, until [`SHOWN_ITEMS`] are shown.
fn groups(report: &Report) -> Vec<Value> {
    let mut room = SHOWN_ITEMS;
    let opt_outs = Tally::of(report, Kind::OptOut).items;
    let mut groups = Vec::new();
    for kind in words::KINDS {
        let items = order::worst_first(report, kind);
        if items.is_empty() {
            continue;
        }
        let rows: Vec<Value> = items.iter().take(room).map(|item| item::row(report, item)).collect();
        room -= rows.len();
        groups.push(context! {
            name => words::kinds(kind),
            total => samples::grouped(items.len() as u64),
            open => kind == Kind::OptOut || (opt_outs == 0 && kind == Kind::Canary),
            hidden => more(items.len(), rows.len()),
            rows,
        });
    }
    groups
}

fn settings(report: &Report) -> Vec<Value> {
    let policy = &report.policy;
    let mut facts = vec![
        fact("Windows", words::settings(report)),
        fact("Thresholds", words::thresholds(report)),
        code("SHA-256 of the policy", policy.digest.as_str()),
        fact("Fewest controls", samples::grouped(policy.min_controls)),
        code("SHA-256 of the windows", report.plan_digest.as_str()),
        code("Tokenizer fingerprint", report.model.tokenizer_fingerprint.as_ref().map_or("none", |d| d.as_str())),
        fact("Begun", &report.created_at),
    ];
    if let Some(timings) = &report.timings {
        let speed = timings.windows_per_second.map(|n| format!(", {n:.1} windows a second")).unwrap_or_default();
        facts.push(fact("Took", format!("{:.1} s, {:.1} s of it scoring{speed}", timings.total_s, timings.scoring_s)));
    }
    facts
}

fn files(report: &Report) -> Vec<Value> {
    let rows = |what: &'static str, files: &[crate::digest::FileDigest]| {
        let row = |file: &crate::digest::FileDigest| {
            context! { what, name => file.name, bytes => samples::grouped(file.bytes), sha256 => file.sha256.as_str() }
        };
        files.iter().map(row).collect::<Vec<_>>()
    };
    let (model, probe_set) = (&report.model.files, &report.probe_set.files);
    rows("model", model).into_iter().chain(rows("probe set", probe_set)).collect()
}

/// How many were left out, if any.
fn more(all: usize, shown: usize) -> Option<String> {
    all.checked_sub(shown).filter(|&more| more > 0).map(|more| samples::grouped(more as u64))
}

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// `BYROTE_HTML_OUT=dir cargo test --release --lib report::html` writes the pages to look at.
    #[test]
    fn the_page_says_what_was_found_in_which_model() {
        let pages =
            [("full", fixture::report()), ("revealed", fixture::revealed()), ("calibration", fixture::calibration())];
        for (name, report) in &pages {
            let page = render(report).unwrap();
            if let Some(folder) = std::env::var_os("BYROTE_HTML_OUT") {
                std::fs::write(std::path::Path::new(&folder).join(format!("{name}.html")), &page).unwrap();
            }
            assert!(page.contains("9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1"), "{name}");
            assert!(page.contains(report.model.digest.as_str()), "{name}");
        }
        let page = render(&pages[0].1).unwrap();
        let order = [
            ">Blocked<",
            "of 17 opted-out texts",
            "<code>gemma-3-270m</code>",
            "opted-out texts memorized",
            "controls within the sample budget",
            "17 opted-out texts: smallest p 0.005; it takes 2 findings together",
            "The positive control canary-r64-0 was found",
            "id=\"not-tested\"",
            "3 near ties scored again alone in f32: 1 greedy verdict changed",
            "16 of 17 greedy verdicts confirmed by real generation, 1 disagrees.",
            "<td class=\"num\">0% to 1.8%</td>",
            "class=\"chart recall\"",
            "class=\"chart scatter\"",
            "class=\"chart strip\"",
            "id=\"items\"",
            "* model-based",
            "class=\"item extractable\"",
            "class=\"item clear\"",
        ];
        let places: Vec<_> = order.iter().map(|sentence| page.find(sentence)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{order:?} at {places:?}");
    }

    #[test]
    fn text_is_redacted_and_hostile_ids_are_inert() {
        for mut report in [fixture::report(), fixture::revealed()] {
            report.settings.reveal = false;
            let page = render(&report).unwrap();
            fixture::assert_inert_and_redacted(&page);
            for active in ["<script", "<img", "<a href=\"h", "href=\"javascript"] {
                assert!(!page.contains(active), "{active:?} is live");
            }
            assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
            assert!(page.contains("{{ 7 * 7 }}"), "ids are no templates");
            assert!(page.contains("holds no probed text"));
        }
    }

    #[test]
    fn revealed_text_is_shown_with_its_spans_marked_and_is_inert() {
        let page = render(&fixture::revealed()).unwrap();
        assert!(page.contains(fixture::PLANTED) && page.contains("<mark class=\"h"));
        let written = page.split("What the model wrote in place of characters").nth(1).unwrap();
        let written = written.split("</pre>").next().unwrap();
        assert!(written.contains(fixture::PLANTED) && written.contains("&lt;/pre&gt;&lt;/details&gt;"), "{written}");
        for active in ["<script", "<img", "href=\"javascript", "\u{1b}"] {
            assert!(!page.contains(active), "{active:?} is live");
        }
        assert!(page.contains("holds probed text"));
    }

    #[test]
    fn an_item_shows_all_of_its_evidence() {
        let page = render(&fixture::report()).unwrap();
        let item = |id: &str| {
            let row = page.split("class=\"item ").find(|row| row.contains(&format!("<code>{id}</code></th>")));
            row.unwrap().split("</tbody>\n<tbody role").next().unwrap().to_owned()
        };
        for (id, sentences) in [
            (
                "novels/moby-1",
                [
                    "controls chosen for it by id or tag",
                    "<span class=\"mark-kind\">model-based</span> p = 3.1e-7 by a generalized Pareto tail",
                    "<strong>top_k40</strong>",
                    "<th scope=\"row\">t0.7_top_p0.9</th>",
                    "class=\"heat\"",
                    "the true prefix makes the suffix 10^23 times likelier than 16 prefixes of other texts do",
                    "0.4% of its surprise here: likelier under the tested model",
                    "2 near ties, all scored again alone in f32; 1 greedy verdict changed by it",
                    "DISAGREES",
                    "Supporting only: membership scores, never a verdict",
                    "Extraction strength",
                    "scored again alone in f32: greedy decoding doesn&#39;t yield it",
                ]
                .as_slice(),
            ),
            (
                "press/declaration",
                &[
                    "near-verbatim (at most 5 edits) at least 1 in 900 (9 sequences, beam of 16)",
                    "the prefix recalls nothing",
                    "1.10 times its surprise here",
                    "under top_k40: verbatim 1 in 10^7; near-verbatim",
                ],
            ),
            ("journal/2024-03", &["Not everything that was asked for could be found out", "no beam of &lt;script&gt;"]),
            ("canary-r64-0", &["Exposure", "7.64 bits (95% interval 5.74 bits or more)"]),
        ] {
            let item = item(id);
            for sentence in sentences {
                assert!(item.contains(sentence), "{sentence:?} isn't in {id}:\n{item}");
            }
        }
        assert!(!item("lyrics/umber-song").contains("Beyond word for word"), "what wasn't followed up says nothing");
    }

    #[test]
    fn nothing_is_loaded_and_the_style_sheet_is_the_one_in_the_policy() {
        let page = render(&fixture::report()).unwrap();
        let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let hash = base64(&Sha256::digest(style.as_bytes()));
        assert!(page.contains(&format!("style-src 'sha256-{hash}'")));
        for foreign in [" src=", "href=\"http", "url(", "@import", "style=\"", "<link"] {
            assert!(!page.replace("&quot;&gt;&lt;img src=x", "").contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn ten_thousand_items_make_a_page_of_five_hundred() {
        let mut report = fixture::report();
        let one = report.items[0].clone();
        report.items.extend(std::iter::repeat_n(one, 9_983));
        let page = render(&report).unwrap();
        assert_eq!(page.matches("class=\"item ").count(), SHOWN_ITEMS);
        assert!(page.contains("9,500 more") && page.contains("scores/*.parquet"));
        // Each of these has everything an item can have.
        assert!(page.len() < 7_000_000, "{}", page.len());
    }

    #[test]
    fn a_run_that_measured_nothing_says_so_and_is_not_green() {
        let page = render(&fixture::empty()).unwrap();
        assert!(page.contains("nothing was measured") && page.contains("tone-unsure"), "{page}");
        assert!(!page.contains("class=\"verdict tone-good"));
    }

    #[test]
    fn the_same_report_gives_the_same_bytes() {
        assert_eq!(render(&fixture::report()).unwrap(), render(&fixture::report()).unwrap());
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
