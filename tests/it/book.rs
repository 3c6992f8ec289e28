//! The documentation as a book: its pages are all there, and its commands do what is written beside them.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn docs(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(page);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The pages of docs/SUMMARY.md, in its order.
fn pages() -> Vec<String> {
    let summary = docs("SUMMARY.md");
    summary
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

#[test]
fn every_page_stands_in_the_summary_and_every_entry_is_a_page() {
    let listed: BTreeSet<String> = pages().into_iter().collect();
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<String> = names
        .filter(|name| name.ends_with(".md") && name != "SUMMARY.md")
        .collect();
    assert_eq!(listed, there);
}

/// A page's blocks of commands that are run: those marked `sh` and nothing more. What needs a network, a GPU or a real
/// checkpoint is marked `sh,no_run`.
fn scripts(page: &str) -> Vec<String> {
    let mut scripts = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let (indent, fence) = line.split_at(line.len() - line.trim_start().len());
        if fence == "```sh" {
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            scripts.push(
                block
                    .map(|line| line.strip_prefix(indent).unwrap_or(line))
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
        } else if fence.len() > 3 && fence.starts_with("```") {
            lines
                .by_ref()
                .take_while(|line| line.trim() != "```")
                .for_each(drop);
        }
    }
    scripts
}

/// As a script for bash: `# exit 2` behind a command says how it ends; otherwise it must end with 0.
fn as_bash(script: &str) -> String {
    let line = |line: &str| match line.split_once("# exit ") {
        Some((command, code)) => {
            let code: String = code.chars().take_while(char::is_ascii_digit).collect();
            format!(
                "code=0; {command} || code=$?; [ \"$code\" -eq {code} ] || {{ echo \"exit code $code, not {code}\"; exit 99; }}\n"
            )
        }
        None => format!("{line}\n"),
    };
    let body: String = script.lines().map(line).collect();
    // `cargo run --release --` is what a reader without the program on the path types.
    format!(
        "set -euo pipefail\n{}",
        body.replace("cargo run --release --", "byrote")
    )
}

#[test]
fn every_command_in_the_book_does_what_is_written_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_byrote"));
    let path = format!(
        "{}:{}",
        program.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut ran = 0;
    // In the book's order and in one folder: later pages go on with what earlier ones made, as a reader would.
    for page in pages() {
        for script in scripts(&docs(&page)) {
            let mut command = Command::new("bash");
            command
                .arg("-c")
                .arg(as_bash(&script))
                .current_dir(dir.path())
                .env("PATH", &path);
            command
                .env("REPOSITORY", env!("CARGO_MANIFEST_DIR"))
                .env("HF_HUB_OFFLINE", "1");
            let output = command.output().unwrap();
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(
                output.status.success(),
                "docs/{page}: {script}\nends with {}\n{}\n{}",
                output.status,
                said(&output.stdout),
                said(&output.stderr)
            );
            ran += 1;
        }
    }
    assert!(ran >= 8, "only {ran} blocks of commands were found");
}

/// What stands between the marks of a page.
fn marked<'a>(page: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = page.split_once(&format!("<!-- begin {name} -->\n"))?;
    let (inside, after) = rest.split_once(&format!("<!-- end {name} -->"))?;
    Some((before, inside, after))
}

fn formats() -> String {
    let mut table = "| `--format` | file | what it is |\n|---|---|---|\n".to_owned();
    for format in byrote_core::report::formats::FORMATS {
        table += &format!(
            "| `{}` | `{}` | {} |\n",
            format.id, format.file_name, format.about
        );
    }
    table
}

/// The last part of a `$ref`, as a link within the page.
fn reference(target: &str) -> String {
    let name = target.rsplit('/').next().unwrap();
    format!("[{name}](#{})", name.to_lowercase())
}

/// What a property of a JSON Schema may be, in words.
fn kind(schema: &Value) -> String {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return reference(target);
    }
    if let Some(constant) = schema.get("const") {
        return format!("`{constant}`");
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values
            .iter()
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(kinds) = schema.get(key).and_then(Value::as_array) {
            return kinds.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    let named = |name: &str| match (
        name,
        schema.get("items"),
        schema.get("additionalProperties"),
    ) {
        ("array", Some(items), _) => format!("list of {}", kind(items)),
        ("object", _, Some(values @ Value::Object(_))) => format!("object of {}", kind(values)),
        (name, ..) => name.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(name)) => named(name),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .map(named)
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "anything".to_owned(),
    }
}

/// An object's or enumeration's own table.
fn described(name: &str, schema: &Value) -> String {
    let cell = |schema: &Value| {
        let text = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        text.replace(['\n', '\r'], " ")
            .replace('|', "\\|")
            .replace('<', "&lt;")
    };
    let mut out = format!("#### {name}\n\n");
    let about = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !about.is_empty() {
        out += &format!("{}\n\n", about.replace('<', "&lt;"));
    }
    match schema.get("properties").and_then(Value::as_object) {
        Some(fields) => {
            out += "| field | type | meaning |\n|---|---|---|\n";
            for (field, of) in fields {
                out += &format!(
                    "| `{field}` | {} | {} |\n",
                    kind(of).replace('|', "\\|"),
                    cell(of)
                );
            }
        }
        None => match schema.get("oneOf").and_then(Value::as_array) {
            Some(kinds) => kinds
                .iter()
                .for_each(|own| out += &format!("- {}: {}\n", kind(own), cell(own))),
            None => out += &format!("{}\n", kind(schema)),
        },
    }
    out + "\n"
}

/// A JSON Schema as tables: the object itself, then every definition.
fn tables(title: &str, schema: &Value) -> String {
    let mut out = described(title, schema);
    for (name, definition) in schema
        .get("$defs")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        out += &described(name, definition);
    }
    out
}

#[test]
fn the_reference_of_formats_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md");
    let mut page = docs("formats.md");
    let of_file =
        |name: &str| -> Value { serde_json::from_str(&docs(&format!("schema/{name}"))).unwrap() };
    let sections = [
        ("formats", formats()),
        (
            "report-fields",
            tables("The report", &of_file("report.v1.json")),
        ),
        (
            "comparison-fields",
            tables("The comparison", &of_file("comparison.v1.json")),
        ),
    ];
    for (name, wanted) in &sections {
        let (before, _, after) =
            marked(&page, name).unwrap_or_else(|| panic!("docs/formats.md has no place {name}"));
        page = format!("{before}<!-- begin {name} -->\n{wanted}<!-- end {name} -->{after}");
    }
    if std::env::var_os("BYROTE_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        docs("formats.md") == page,
        "docs/formats.md is out of date: run this test with BYROTE_BLESS=1"
    );
}
