//! What every format must hold to, gone over by the table: the same bytes each time, and hostile text that comes out whole
//! and does nothing, read by a parser of the format's own.

use super::{FORMATS, find};
use crate::items::ItemId;
use crate::report::fixture::hostile::{self, ATTACKS};
use crate::report::fixture::{self, PLANTED};
use crate::report::{Report, escape, json_v1};
use serde_json::Value;
use std::collections::HashSet;

/// A format's rendering of a report.
fn rendered(id: &str, report: &Report) -> Vec<u8> {
    (find(id).unwrap().render)(report).unwrap_or_else(|error| panic!("{id}: {error}"))
}

fn text(id: &str, report: &Report) -> String {
    String::from_utf8(rendered(id, report)).unwrap()
}

fn json(id: &str, report: &Report) -> Value {
    serde_json::from_slice(&rendered(id, report)).unwrap()
}

type Reader = (&'static str, fn(&Report));

/// By format: what shows that the attacks came out whole, and are nothing but text to whoever reads it.
const READERS: &[Reader] = &[
    ("text", |report| {
        assert!(text("text", report).contains("BLOCKED"))
    }),
    ("json", |report| {
        assert_eq!(&json_v1::parse(&rendered("json", report)).unwrap(), report)
    }),
    ("html", html),
    ("md", markdown),
    ("sarif", sarif),
    ("junit", junit),
    ("github", github),
    ("csv", csv),
    ("parquet", parquet),
    ("cyclonedx", cyclonedx),
    ("in-toto", in_toto),
    ("model-index", model_index),
];

#[test]
fn every_format_has_a_name_a_file_and_a_reader_of_its_own() {
    let ids: Vec<&str> = FORMATS.iter().map(|format| format.id).collect();
    let readers: Vec<&str> = READERS.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, readers, "a new format needs a reader here");
    let files: HashSet<&str> = FORMATS.iter().map(|format| format.file_name).collect();
    assert_eq!(
        (files.len(), ids.iter().collect::<HashSet<_>>().len()),
        (FORMATS.len(), FORMATS.len())
    );
}

#[test]
fn every_format_renders_the_same_bytes_each_time() {
    for report in [
        fixture::report(),
        fixture::revealed(),
        fixture::calibration(),
        fixture::empty(),
    ] {
        // Read back from its file, as `byrote report` does.
        let again = json_v1::parse(&json_v1::render(&report)).unwrap();
        for format in FORMATS {
            let [first, second, read] =
                [&report, &report, &again].map(|report| (format.render)(report).unwrap());
            assert!(
                !first.is_empty() && first == second && first == read,
                "{}",
                format.id
            );
        }
    }
}

#[test]
fn no_format_shows_text_that_was_not_revealed() {
    // Only these are for the eyes of whoever asked for --reveal.
    let revealing: HashSet<&str> = ["json", "html", "csv", "parquet"].into();
    let words: Vec<&str> = PLANTED.split(' ').filter(|word| word.len() > 4).collect();
    for (report, reveal) in [(fixture::report(), false), (fixture::revealed(), true)] {
        for format in FORMATS {
            let bytes = (format.render)(&report).unwrap();
            let holds = |word: &str| {
                bytes
                    .windows(word.len())
                    .any(|window| window == word.as_bytes())
            };
            // Parquet is compressed; its reader looks into it below.
            if reveal && revealing.contains(format.id) {
                assert!(
                    format.id == "parquet" || holds(PLANTED),
                    "{} doesn't show what was revealed",
                    format.id
                );
                continue;
            }
            for word in &words {
                let named = *word == "umber" || *word == "quire" || *word == "herons";
                assert!(named || !holds(word), "{} holds {word:?}", format.id);
            }
            assert!(!holds("umber herons"), "{}", format.id);
        }
    }
}

#[test]
fn hostile_text_comes_out_whole_and_does_nothing_in_any_format() {
    for reveal in [false, true] {
        let report = hostile::hostile(reveal);
        for (format, (_, read)) in FORMATS.iter().zip(READERS) {
            let bytes = (format.render)(&report).unwrap();
            if format.id != "parquet" {
                inert(format.id, std::str::from_utf8(&bytes).unwrap());
            }
            read(&report);
        }
    }
}

/// Nothing that a terminal, a CI log or an eye would obey stands in the bytes as they are.
fn inert(id: &str, text: &str) {
    // The line ends of RFC 4180 are the only ones that aren't plain line feeds.
    let text = if id == "csv" {
        text.replace("\r\n", "\n")
    } else {
        text.to_owned()
    };
    for (n, line) in text.lines().enumerate() {
        let active = line
            .chars()
            .find(|&c| c.is_control() || escape::visible(c.encode_utf8(&mut [0; 4])).len() > 4);
        // HTML keeps the tabs of a text, which is laid out as it is.
        let tab = id == "html" && active == Some('\t');
        assert!(
            active.is_none() || tab,
            "{id}:{}: {active:?} is live",
            n + 1
        );
        assert!(
            id == "html" || id == "md" || !line.contains("##[") && !line.contains("##vso["),
            "{id}:{}: {line}",
            n + 1
        );
        let own = ["::error ", "::warning ", "::notice "]
            .iter()
            .any(|start| line.starts_with(start));
        // A revealed text stands in the HTML in its own lines; a page is for no log.
        let command = line.trim_start().starts_with("::") && id != "html";
        assert!(
            !command || (id == "github" && own),
            "{id}:{}: {line}",
            n + 1
        );
    }
    assert!(!text.contains('\r'), "{id}");
}

/// Ids as they are shown where controls are written out.
fn shown() -> Vec<String> {
    ATTACKS
        .iter()
        .map(|attack| escape::visible(attack))
        .collect()
}

fn html(report: &Report) {
    let page = text("html", report);
    // Every tag and attribute is one that the page has without any attack.
    let known = tags(&text("html", &fixture::revealed()));
    for tag in tags(&page) {
        assert!(known.contains(&tag), "{tag:?} comes from a text");
    }
    for attack in ATTACKS {
        assert!(
            page.contains(&escape::html(attack)),
            "{attack:?} isn't whole"
        );
    }
}

/// Each tag with the names of its attributes; what stands in scripts and styles is none.
fn tags(page: &str) -> HashSet<String> {
    let (mut tags, mut rest) = (HashSet::new(), page);
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let name: String = rest
            .chars()
            .take_while(|c| !c.is_whitespace() && *c != '>')
            .collect();
        let (mut attributes, mut quoted, mut word, mut end) =
            (Vec::new(), None, String::new(), rest.len());
        for (at, c) in rest.char_indices().skip(name.len()) {
            match (quoted, c) {
                (Some(quote), c) if c == quote => quoted = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quoted = Some(c),
                (None, '=') => attributes.push(std::mem::take(&mut word)),
                (None, '>') => {
                    end = at;
                    break;
                }
                (None, c) if c.is_whitespace() => word.clear(),
                (None, c) => word.push(c),
            }
        }
        tags.insert(format!("{name} {}", attributes.join(" ")));
        rest = &rest[end.min(rest.len())..];
        if name == "script" || name == "style" {
            rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
        }
    }
    tags
}

fn markdown(report: &Report) {
    let page = text("md", report);
    for attack in ATTACKS {
        assert!(
            page.contains(&escape::markdown_code(attack)),
            "{attack:?} isn't whole"
        );
    }
    let mut columns = None;
    for line in page.lines() {
        let cells = line.matches('|').count();
        columns = (cells > 0).then(|| columns.unwrap_or(cells));
        assert!(
            columns.is_none_or(|columns| columns == cells),
            "a cell breaks out: {line}"
        );
    }
    // Outside code spans there is no tag, link, image, mention or comment but the page's own.
    let outside = crate::report::markdown::tests::outside_code(&page)
        .replace("<sub>", "")
        .replace("</sub>", "");
    let outside = ["\\[", "\\]", "\\#&#8203;"]
        .iter()
        .fold(outside, |text, escaped| text.replace(escaped, ""));
    for live in ["<", "](", "![", "@octocat", "-->", "http://", " #1", "##["] {
        assert!(!outside.contains(live), "{live:?} is live in\n{outside}");
    }
}

fn sarif(report: &Report) {
    let log = json("sarif", report);
    let results = log["runs"][0]["results"].as_array().unwrap();
    for (attack, name) in ATTACKS.iter().zip(shown()) {
        let named = |result: &&Value| {
            result["locations"][0]["logicalLocations"][0]["name"] == name.as_str()
        };
        let result = results
            .iter()
            .find(named)
            .unwrap_or_else(|| panic!("{attack:?} isn't there"));
        let message = result["message"]["text"].as_str().unwrap();
        assert!(message.starts_with(&escape::sarif(attack)), "{message}");
        // Every bracket has its backslash, so that nothing is a link.
        let bare = message
            .replace("\\\\", "")
            .replace("\\[", "")
            .replace("\\]", "");
        assert!(!bare.contains(['[', ']']), "{message}");
        let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            .as_str()
            .unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/%".contains(c);
        assert!(uri.starts_with("sets/") && uri.chars().all(plain), "{uri}");
    }
    let waived = results
        .iter()
        .filter(|result| result["suppressions"][0]["status"] == "accepted");
    let justified: Vec<&str> = waived
        .map(|result| result["suppressions"][0]["justification"].as_str().unwrap())
        .collect();
    assert!(
        justified.len() == 1 && justified[0].starts_with(&escape::visible(&hostile::all())),
        "{justified:?}"
    );
}

fn junit(report: &Report) {
    let page = text("junit", report);
    let tree = roxmltree::Document::parse(&page).unwrap();
    let cases = || {
        tree.descendants()
            .filter(|node| node.has_tag_name("testcase"))
    };
    let names: Vec<&str> = cases()
        .map(|case| case.attribute("name").unwrap())
        .collect();
    // The two that are no characters of XML are written out as controls are.
    let legal = |text: &str| {
        escape::visible(text)
            .replace('\u{fffe}', "\\u{fffe}")
            .replace('\u{ffff}', "\\u{ffff}")
    };
    let of_items: Vec<String> = report.items.iter().map(|item| legal(&item.id.0)).collect();
    assert!(of_items.iter().all(|id| names.contains(&id.as_str())));
    assert_eq!(
        names.len(),
        of_items.len() + 1,
        "the decision is the one more"
    );
    for attack in ATTACKS {
        let case = cases()
            .find(|case| case.attribute("name") == Some(&legal(attack)))
            .unwrap();
        let child = case.first_element_child().unwrap();
        assert!(
            child.text().unwrap().contains(&legal(attack)),
            "{:?}",
            child.text()
        );
    }
    let elements: HashSet<&str> = tree
        .descendants()
        .filter(|node| node.is_element())
        .map(|node| node.tag_name().name())
        .collect();
    let own = [
        "testsuites",
        "testsuite",
        "properties",
        "property",
        "testcase",
        "failure",
        "error",
        "skipped",
    ];
    assert!(
        elements.iter().all(|element| own.contains(element)),
        "{elements:?}"
    );
}

fn github(report: &Report) {
    let page = text("github", report);
    let lines: Vec<&str> = page.lines().collect();
    assert_eq!(lines.len(), 11, "{page}");
    let mut shown = 0;
    for line in &lines[1..10] {
        // As the runner reads it: properties to the first `::`, split at commas and the first `=`.
        let (head, message) = line[2..].split_once("::").unwrap();
        let properties = head.split_once(' ').unwrap().1;
        let pairs: Vec<(&str, String)> = properties
            .split(',')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(k, v)| (k, undone(v)))
            .collect();
        let names: Vec<&str> = pairs.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["file", "line", "title"], "{line}");
        let attack = ATTACKS
            .iter()
            .find(|attack| undone(message).starts_with(&escape::log(attack)));
        let attack = attack.unwrap_or_else(|| panic!("no attack is whole in {line}"));
        assert_eq!(
            pairs[0].1,
            escape::log(&format!("sets/{}", attack.replace('\0', "")))
        );
        shown += 1;
    }
    assert_eq!(shown, 9);
}

/// What the runner makes of an escaped text.
fn undone(text: &str) -> String {
    text.replace("%2C", ",")
        .replace("%3A", ":")
        .replace("%0A", "\n")
        .replace("%0D", "\r")
        .replace("%25", "%")
}

fn csv(report: &Report) {
    let rows = parsed_csv(&text("csv", report));
    assert_eq!(rows.len(), report.items.len() + 1);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let column = |name: &str| rows[0].iter().position(|column| column == name).unwrap();
    let reveal = report.items[0].revealed.is_some();
    for ((row, attack), item) in rows[1..].iter().zip(ATTACKS).zip(&report.items) {
        let guard = if attack.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            "'"
        } else {
            ""
        };
        let cell = format!("{guard}{}", escape::log(attack));
        for name in [
            "item_id",
            "reason",
            "opt_out_signal",
            "opt_out_locator",
            "opt_out_holder",
            "opt_out_declared_at",
        ] {
            assert_eq!(row[column(name)], cell, "{name}");
        }
        for name in ["title", "author", "source_url", "license"] {
            assert_eq!(
                row[column(name)],
                if reveal { cell.as_str() } else { "" },
                "{name}"
            );
        }
        let wrote = reveal && !item.windows.is_empty();
        assert_eq!(row[column("continuation")].starts_with(&cell), wrote);
        for value in row {
            let number = value.parse::<f64>().is_ok();
            assert!(
                number || !value.starts_with(['=', '+', '-', '@', '\t', '\r']),
                "a formula: {value:?}"
            );
        }
    }
    assert!(rows[1][column("waiver_reason")].starts_with(&escape::log(&hostile::all())));
}

/// RFC 4180, strictly.
fn parsed_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut chars, mut quoted) = (text.chars().peekable(), false);
    while let Some(c) = chars.next() {
        match (quoted, c) {
            (true, '"') if chars.peek() == Some(&'"') => cell.extend(chars.next()),
            (true, '"') => {
                quoted = false;
                assert!(
                    matches!(chars.peek(), Some(',' | '\r')),
                    "text after a quoted cell"
                );
            }
            (false, '"') => {
                assert!(cell.is_empty(), "a quote inside a bare cell");
                quoted = true;
            }
            (false, ',') => row.push(std::mem::take(&mut cell)),
            (false, '\r') => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            (_, c) => cell.push(c),
        }
    }
    assert!(
        !quoted && cell.is_empty() && row.is_empty(),
        "the last line has no end"
    );
    rows
}

#[cfg(feature = "probe")]
fn parquet(report: &Report) {
    use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
    use ::parquet::record::RowAccessor as _;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rendered("parquet", report)).unwrap();
    let reader = SerializedFileReader::new(std::fs::File::open(file.path()).unwrap()).unwrap();
    let rows: Vec<_> = reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let ids: Vec<&String> = rows.iter().map(|row| row.get_string(0).unwrap()).collect();
    assert!(
        ids.iter()
            .copied()
            .eq(report.items.iter().map(|item| &item.id.0))
    );
    let reveal = report.items[0].revealed.is_some();
    let all: String = rows.iter().map(ToString::to_string).collect();
    assert_eq!(all.contains("Title: "), reveal);
}

#[cfg(not(feature = "probe"))]
fn parquet(report: &Report) {
    let error = (find("parquet").unwrap().render)(report)
        .unwrap_err()
        .to_string();
    assert!(error.contains("ask for csv"), "{error}");
}

fn cyclonedx(report: &Report) {
    let bom = json("cyclonedx", report);
    let model = &bom["metadata"]["component"];
    assert_eq!(
        (&model["name"], &model["version"]),
        (&hostile::all().into(), &hostile::all().into())
    );
    assert_eq!(model["components"][0]["name"], hostile::all());
    assert!(
        model["modelCard"]["considerations"]["technicalLimitations"]
            .as_array()
            .unwrap()
            .contains(&hostile::all().into())
    );
}

fn in_toto(report: &Report) {
    let statement = json("in-toto", report);
    let listed: HashSet<ItemId> = ["passedTests", "warnedTests", "failedTests"]
        .iter()
        .flat_map(|list| statement["predicate"][list].as_array().unwrap())
        .map(|id| ItemId(id.as_str().unwrap().to_owned()))
        .collect();
    assert!((0..ATTACKS.len()).all(|n| listed.contains(&ItemId(hostile::id(n)))));
    assert_eq!(
        statement["predicate"]["configuration"][0]["name"],
        hostile::all()
    );
}

fn model_index(report: &Report) {
    let page = text("model-index", report);
    let documents = yaml_rust2::YamlLoader::load_from_str(&page).unwrap();
    assert_eq!(documents.len(), 1);
    let index = &documents[0]["model-index"][0];
    let last = hostile::all();
    assert_eq!(index["name"].as_str(), last.rsplit('/').next(), "{page}");
    assert_eq!(index["results"].as_vec().unwrap().len(), 3);
}
