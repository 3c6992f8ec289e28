//! What the documentation says, held against the program: tables, commands, links, the library example.

use crate::support::finished::built_in;
use byrote_core::metric::METRICS;
use byrote_core::policy::READY;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// README.md and everything in docs/.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = docs
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 6, "pages are missing: {paths:?}");
    paths.push(root().join("README.md"));
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect()
}

fn byrote(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_byrote"))
        .args(args)
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// The first columns of table rows, without their backticks.
fn first_columns(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .map(|cell| cell.trim_matches('`'))
}

#[test]
fn every_metric_stands_in_the_table_as_the_program_has_it() {
    let page = read("docs/reading-a-report.md");
    let cell = |text: &str| text.replace('|', "\\|");
    for metric in METRICS {
        let (summary, unit, formula) = (
            cell(metric.summary),
            cell(metric.unit),
            cell(metric.formula),
        );
        let row = format!(
            "| `{}` | {summary} | {unit} | `{formula}` | {} |",
            metric.id,
            cell(metric.citation)
        );
        assert!(
            page.lines().any(|line| line == row),
            "docs/reading-a-report.md lacks the row\n{row}"
        );
    }
}

#[test]
fn every_field_of_the_ready_policies_is_documented_with_its_value() {
    let page = read("docs/policies.md");
    let tables: Vec<toml::Table> = READY
        .iter()
        .map(|(_, text)| text.parse().unwrap())
        .collect();
    // What a policy leaves out is as in the first.
    let row = |key: &str, value: &dyn Fn(&toml::Table) -> Option<toml::Value>| {
        let built_in = value(&tables[0]).unwrap();
        let values: Vec<String> = tables
            .iter()
            .map(|table| written(&value(table).unwrap_or_else(|| built_in.clone())))
            .collect();
        let row = format!("| `{key}` | `{}` |", values.join("` | `"));
        assert!(
            page.lines().any(|line| line.starts_with(&row)),
            "docs/policies.md lacks a row that begins\n{row}"
        );
    };
    for key in tables[0]
        .keys()
        .filter(|key| !["schema", "follow_up", "gate"].contains(&key.as_str()))
    {
        row(key, &|table| table.get(key).cloned());
    }
    for (section, least) in [("gate", 3), ("follow_up", 8)] {
        let fields = tables[0][section].as_table().unwrap();
        assert!(fields.len() >= least);
        for key in fields.keys() {
            row(key, &|table| table.get(section)?.get(key).cloned());
        }
    }
    for key in ["max_rate", "max_rate_upper"] {
        assert!(
            first_columns(&page).any(|cell| cell == key),
            "docs/policies.md lacks the limit {key}"
        );
    }
    for key in ["item", "reason", "expires", "approver"] {
        assert!(
            first_columns(&page).any(|cell| cell == key),
            "docs/policies.md lacks the field {key} of a waiver"
        );
    }
    for (name, _) in READY {
        assert!(
            page.contains(&format!("- **{name}**")),
            "docs/policies.md doesn't say what {name} is for"
        );
    }
}

#[test]
fn the_template_is_the_built_in_policy_and_lint_knows_a_policy_from_its_ruin() {
    assert_eq!(
        byrote(&["lint", "--template"]),
        (true, READY[0].1.to_owned())
    );
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in READY {
        let file = dir.path().join(format!("{name}.toml"));
        fs::write(&file, text).unwrap();
        let (accepted, said) = byrote(&["lint", file.to_str().unwrap()]);
        assert!(accepted && said.contains("a policy, sha256 "), "{said}");
        let (accepted, json) = byrote(&["lint", "--format", "json", file.to_str().unwrap()]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(
            accepted && json["policies"][0]["sha256"].is_string(),
            "{json}"
        );
        fs::write(&file, text.replace("tau =", "tua =")).unwrap();
        assert_eq!(
            byrote(&["lint", file.to_str().unwrap()]),
            (false, String::new())
        );
    }
}

/// A value as the policy files write it.
fn written(value: &toml::Value) -> String {
    match value {
        toml::Value::Float(number) => number.to_string(),
        other => other.to_string(),
    }
}

#[test]
fn every_documented_field_of_a_probe_set_is_known() {
    let page = read("docs/probe-sets.md");
    let section = |from: &str| {
        page.split(from)
            .nth(1)
            .unwrap()
            .split("\n## ")
            .next()
            .unwrap()
    };
    let names = |text| -> BTreeSet<String> {
        let cells = first_columns(text)
            .flat_map(|cell| cell.split(", "))
            .map(|name| name.trim_matches('`').to_owned());
        cells
            .filter(|name| !name.starts_with("field") && !name.starts_with('-'))
            .collect()
    };
    let mut fields = names(section("\n## Fields"));
    assert!(
        fields.contains("id") && fields.contains("source_url") && fields.len() >= 12,
        "{fields:?}"
    );
    for name in ["text", "path", "prefix", "suffix"] {
        assert!(fields.remove(name), "{name} is not documented");
    }
    let mut line = serde_json::json!({"text": "a text"});
    for name in fields {
        line[&name] = match name.as_str() {
            "kind" => "canary".into(),
            "tags" | "matches" => serde_json::json!(["a"]),
            "repetitions" => 3.into(),
            "opt_out" => {
                let inner = names(section("\n## Provenance"));
                assert_eq!(inner.len(), 4, "{inner:?}");
                inner
                    .into_iter()
                    .map(|name| (name, serde_json::json!("2025-03-31")))
                    .collect()
            }
            _ => "a".into(),
        };
    }
    let set = byrote_core::items::read_bytes("a.jsonl", format!("{line}\n").as_bytes()).unwrap();
    assert!(
        set.manifest.warnings.is_empty(),
        "{:?}",
        set.manifest.warnings
    );
}

#[test]
fn every_table_of_figures_has_its_place_and_its_command() {
    let (page, script) = (
        read("docs/performance.md"),
        read("benches/peers/compare.py"),
    );
    let mut places = 0;
    for name in page
        .split("<!-- begin ")
        .skip(1)
        .filter_map(|rest| rest.split(" -->").next())
    {
        places += 1;
        let (begin, end) = (
            format!("<!-- begin {name} -->"),
            format!("<!-- end {name} -->"),
        );
        assert!(
            page.matches(&begin).count() == 1 && page.matches(&end).count() == 1,
            "{name} has no one place"
        );
        assert!(
            page.find(&begin) < page.find(&end),
            "{name} ends before it begins"
        );
        assert!(
            page.contains(&format!("--section {name}")),
            "docs/performance.md: what fills {name}?"
        );
    }
    assert!(places >= 4, "only {places} places were found");
    let commands = page
        .lines()
        .filter_map(|line| line.strip_prefix("python benches/peers/compare.py "));
    let words = commands
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('"'));
    for flag in words.filter(|word| word.starts_with("--")) {
        // Runs of byrote are quoted, and their flags are byrote's.
        let of_byrote = ["--dtype", "--exit-below", "--exit-at-miss", "--compute"];
        let known = script.contains(&format!("\"{flag}\"")) || of_byrote.contains(&flag);
        assert!(known, "compare.py has no flag {flag}");
    }
}

#[test]
fn the_readme_tells_the_exit_codes_that_help_tells() {
    let (_, help) = byrote(&["--help"]);
    let told: BTreeSet<&str> = help
        .split("Exit codes")
        .nth(1)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.parse::<u8>().is_ok())
        .collect();
    let readme = read("README.md");
    let codes: BTreeSet<&str> = first_columns(&readme)
        .filter(|cell| cell.parse::<u8>().is_ok())
        .collect();
    assert!(
        told.len() >= 4 && told == codes,
        "help: {told:?}, README: {codes:?}"
    );
}

#[test]
fn the_report_in_the_readme_is_what_its_command_prints() {
    let printed = &built_in().printed.stdout;
    let readme = read("README.md");
    let shown = readme
        .split("$ cargo run --release -- probe\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let trimmed = |text: &str| {
        text.lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect::<String>()
    };
    assert!(shown.lines().count() > 20);
    assert!(
        trimmed(printed).starts_with(shown),
        "put the beginning of this into README.md:\n{printed}"
    );
}

/// Commands with commands of their own.
const GROUPS: [&str; 2] = ["controls", "models"];

#[test]
fn every_command_in_the_documentation_has_its_flags() {
    let mut helps: HashMap<String, String> = HashMap::new();
    let mut commands = 0;
    for (path, text) in pages() {
        let fenced = text.split("```").skip(1).step_by(2).flat_map(str::lines);
        for line in fenced.map(|line| line.trim().trim_start_matches("$ ")) {
            let asked = line
                .strip_prefix("byrote ")
                .or_else(|| line.strip_prefix("cargo run --release -- "));
            let Some(asked) = asked else { continue };
            commands += 1;
            let words: Vec<&str> = asked
                .split(" #")
                .next()
                .unwrap()
                .split_whitespace()
                .collect();
            // A command or, where it has commands of its own, one of those.
            let named = words
                .iter()
                .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
            let named: Vec<&str> = named
                .take(if GROUPS.contains(&words[0]) { 2 } else { 1 })
                .copied()
                .collect();
            let help = helps.entry(named.join(" ")).or_insert_with(|| {
                let (known, help) = byrote(&[&["help"], named.as_slice()].concat());
                assert!(
                    known,
                    "{}: there is no command {named:?}: {line}",
                    path.display()
                );
                help
            });
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let mut known = help
                    .split_whitespace()
                    .map(|word| word.trim_end_matches(','));
                assert!(
                    known.any(|word| word == *flag),
                    "{}: there is no flag {flag}: {line}",
                    path.display()
                );
            }
        }
    }
    assert!(
        commands >= 10,
        "only {commands} commands were found to check"
    );
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut links = 0;
    for (path, text) in pages() {
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if target.starts_with("https://") {
                continue;
            }
            links += 1;
            let file = path
                .parent()
                .unwrap()
                .join(target.split('#').next().unwrap());
            assert!(
                file.exists(),
                "{}: the link to {target} leads nowhere",
                path.display()
            );
        }
    }
    assert!(links >= 8, "only {links} links were found to check");
}

#[expect(unreachable_pub, reason = "as a user would write it")]
#[expect(dead_code, reason = "only its function is called")]
#[path = "../../examples/probe_as_library.rs"]
mod library;

#[test]
fn the_readmes_library_example_runs_and_is_the_one_that_is_tested() {
    let canaries = read("prompts/builtin/canaries.jsonl");
    let most = canaries.lines().next_back().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("texts.jsonl");
    std::fs::write(&file, most).unwrap();
    let report = library::probe_texts(&file, &dir.path().join("run"))
        .unwrap()
        .unwrap();
    let canary = &report.items[0];
    // Planted 64 times: its likeliest window is likelier than not.
    let likeliest = canary.windows[0].sum_logprob;
    assert!(
        canary.windows.len() == 2 && likeliest < 0.0 && likeliest > 0.5f64.ln(),
        "{likeliest}"
    );
    let readme = read("README.md");
    let example = readme
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    assert_eq!(example, read("examples/probe_as_library.rs"));
}
