//! The rules of the house, checked: which code may use which, and how files look.
//!
//! The tables below are the rules. To change a rule, change its line and say why in the commit.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Code in `part` (a path or the beginning of one) must use neither these modules of its crate nor these words.
struct Wall {
    part: &'static [&'static str],
    /// Paths below `crate::`; `report` covers everything in it.
    modules: &'static [&'static str],
    /// Beginnings of words: `candle` covers `candle_core`, too.
    words: &'static [&'static str],
    fix: &'static str,
}

const WALLS: &[Wall] = &[
    Wall {
        part: &[CORE, CANDLE],
        modules: &[],
        words: &["clap", "ExitCode", "process::exit"],
        fix: "the command line and exit codes belong to the program; return a typed error instead",
    },
    Wall {
        part: &[
            "crates/core/src/digest",
            "crates/core/src/system",
            "crates/core/src/simd",
        ],
        modules: &[
            "items", "tokens", "window", "backend", "run", "metric", "policy", "report",
        ],
        words: &[],
        fix: "these modules know bytes and plain numbers only; decide what follows from them where they are used",
    },
    Wall {
        part: &["crates/core/src/items", "crates/core/src/registry"],
        modules: &[
            "window", "template", "backend", "run", "metric", "policy", "verdict", "follow",
            "report", "gate",
        ],
        words: &[],
        fix: "items and registry know files and formats; pass plain data, or move the code to where both meet",
    },
    Wall {
        part: &["crates/core/src/controls"],
        modules: &[
            "tokens",
            "window::cut",
            "backend",
            "run",
            "metric",
            "policy",
            "verdict",
            "report",
            "gate",
        ],
        words: &["std::fs", "std::io"],
        fix: "controls turns texts into texts, and knows items and line breaks; read and write in the program",
    },
    Wall {
        part: &[
            "crates/core/src/tokens",
            "crates/core/src/window",
            "crates/core/src/template",
        ],
        modules: &[
            "backend", "metric", "run", "policy", "follow", "verdict", "report", "gate",
        ],
        words: &[],
        fix: "windows are cut before a model is loaded; take token ids or plain settings as arguments",
    },
    Wall {
        part: &["crates/core/src/backend"],
        modules: &[
            "items", "metric", "run", "policy", "follow", "verdict", "report", "gate",
        ],
        words: &[],
        fix: "a backend returns scores; metric and verdict decide what they mean",
    },
    Wall {
        part: &["crates/core/src/run"],
        modules: &["metric", "policy", "follow", "verdict", "report", "gate"],
        words: &[],
        fix: "a run stores the scores that backends return; combine the two in probe",
    },
    Wall {
        part: &["crates/core/src/metric"],
        modules: &[
            "policy",
            "follow",
            "verdict",
            "report",
            "gate",
            "run::directory",
            "run::parquet",
        ],
        words: &["std::fs", "std::io", "std::path", "std::time", "jiff"],
        fix: "a metric is a pure function of one observation; take the value as an argument",
    },
    Wall {
        part: &["crates/core/src/follow"],
        modules: &[
            "tokens",
            "registry",
            "run::directory",
            "run::parquet",
            "run::journal",
            "verdict",
            "report",
            "gate",
        ],
        words: &["std::fs", "std::io", "std::path"],
        fix: "follow-ups are pure functions of a backend and plain data; probe passes files, threads and tokenizers",
    },
    Wall {
        part: &["crates/core/src/policy", "crates/core/src/verdict"],
        modules: &[
            "follow",
            "tokens",
            "run::directory",
            "run::parquet",
            "report",
            "gate",
        ],
        words: &[],
        fix: "verdicts follow from values and controls, not from texts or formats; take values as arguments",
    },
    Wall {
        part: &["crates/core/src/report"],
        modules: &["run::directory", "run::parquet"],
        words: &[],
        fix: "a report is plain data and its formats are pure functions of it; load the run in the caller",
    },
    Wall {
        part: &["crates/core/src/sweep"],
        modules: &["run::directory", "run::parquet", "items::open"],
        words: &["std::fs"],
        fix: "a sweep is made of reports, which are plain data; run and load them in the caller",
    },
    Wall {
        part: &["crates/core/src/compare"],
        modules: &[
            "backend",
            "run::directory",
            "run::parquet",
            "follow",
            "gate",
            "sweep",
            "report::json",
            "report::json_v1",
            "report::html",
            "report::markdown",
            "report::terminal",
        ],
        words: &["std::fs", "std::io", "jiff"],
        fix: "a comparison is made of reports in memory and decides nothing; read them in the program",
    },
    Wall {
        part: &["crates/core/src/gate"],
        modules: &[
            "backend",
            "report::json",
            "report::json_v1",
            "report::html",
            "report::markdown",
            "report::terminal",
            "compare::csv",
            "compare::html",
            "compare::json_v1",
            "compare::markdown",
            "compare::text",
        ],
        words: &[],
        fix: "the gate decides on the report in memory; formats come after",
    },
];

const CORE: &str = "crates/core/src";
const CANDLE: &str = "crates/candle/src";

/// The modules of byrote_core that byrote_candle may use.
const CANDLE_USES: &[&str] = &[
    "backend", "digest", "percent", "pool", "registry", "simd", "system", "tokens",
];

/// The only module that may ask the operating system about the machine, and how others would ask.
const SYSTEM: &str = "crates/core/src/system";
const MACHINE_FACTS: &[&str] = &["/proc/", "/sys/", "available_parallelism"];

/// Text that no file may contain, with the fix.
const BANNED: &[(&str, &str)] = &[(
    concat!("#[", "ignore"),
    "make the test fast, or let an environment variable switch it on",
)];

const LONGEST_FILE: usize = 800;

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let files = files();
    assert!(
        files.len() > 100,
        "only {} files were found to check",
        files.len()
    );
    let mut found: Vec<String> = files
        .iter()
        .flat_map(|(path, source)| violations(path, source))
        .collect();
    found.extend(mutual_imports(CORE, &files));
    found.extend(mutual_imports(CANDLE, &files));
    found.sort();
    assert!(
        found.is_empty(),
        "{} breaches:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Path and content of every Rust file of the workspace.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<String> = ["crates", "src", "tests", "examples", "benches"]
        .map(str::to_owned)
        .to_vec();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.ends_with(".rs") {
                files.push((path, fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    files
}

#[test]
fn a_breach_of_any_rule_is_found_with_its_fix() {
    for wall in WALLS {
        for part in wall.part {
            let path = format!("{part}/some.rs");
            for module in wall.modules {
                let (parent, last) = module
                    .rsplit_once("::")
                    .map_or((String::new(), *module), |(p, l)| (format!("{p}::"), l));
                for breach in [
                    format!("use crate::{module}::Thing;"),
                    format!("use crate::{{\n    digest::Digest,\n    {module},\n}};"),
                    format!("use crate::{parent}{{other, {last}::{{A, B}}}};"),
                    format!("let x = crate::{module}::f();"),
                ] {
                    assert_found(&path, &format!("//! Doc.\n{breach}\n"), wall.fix);
                }
            }
            for word in wall.words {
                assert_found(&path, &format!("use {word};\n"), wall.fix);
            }
        }
    }
    for fact in MACHINE_FACTS {
        let source = format!("let x = \"{fact}\";\n");
        assert_found("crates/core/src/run.rs", &source, "ask system");
        assert_found("src/cmd/probe.rs", &source, "ask system");
        assert_eq!(
            violations("crates/core/src/system.rs", &source),
            Vec::<String>::new()
        );
    }
    for (banned, fix) in BANNED {
        assert_found("tests/a.rs", banned, fix);
    }
    for source in [
        "use byrote_core::report::Report;\n",
        "use byrote_core::{digest::Digest, report::Report};\n",
        "let x = byrote_core::verdict::judge();\n",
    ] {
        assert_found("crates/candle/src/native.rs", source, "plain data");
    }
    for (path, source) in [
        ("crates/core/src/items.rs", "use super::report::Report;"),
        (
            "crates/core/src/items/a.rs",
            "use super::super::report::Report;",
        ),
        ("src/cmd/a.rs", "use super::super::cli;"),
    ] {
        assert_found(path, source, "from the crate's root");
    }
    assert_found(
        "crates/core/src/items/mod.rs",
        "",
        "name the file after the module: crates/core/src/items.rs",
    );
    assert_found("src/utils.rs", "", "put it beside its caller");
    assert!(violations("src/items.rs", &"\n".repeat(LONGEST_FILE)).is_empty());
    assert_found(
        "src/items.rs",
        &"\n".repeat(LONGEST_FILE + 1),
        "split it by subject",
    );
}

fn assert_found(path: &str, source: &str, fix: &str) {
    let found = violations(path, source);
    assert!(
        found.iter().any(|text| text.contains(fix)),
        "{path}: {source}: {found:?}"
    );
}

#[test]
fn rooms_that_import_each_other_are_found() {
    let found = |run: &str, metric: &str| {
        let file = |path: &str, source: &str| (format!("{CORE}/{path}"), source.to_owned());
        mutual_imports(CORE, &[file("run.rs", run), file("metric/item.rs", metric)])
    };
    let breach = found(
        "use crate::metric::Item;\n",
        "let x = crate::{items, run::Row};\n",
    );
    assert_eq!(breach.len(), 1);
    for part in ["metric and run", "metric/item.rs", "run.rs", "the lower"] {
        assert!(breach[0].contains(part), "{breach:?}");
    }
    let test = "#[cfg(test)]\nmod tests {\n    use crate::run::Row;\n}\n";
    for metric in ["", "use crate::metric::item;\n", "// crate::run\n", test] {
        assert_eq!(
            found("use crate::metric::Item;\n", metric),
            Vec::<String>::new()
        );
    }
}

#[test]
fn code_that_only_resembles_a_breach_is_accepted() {
    for (path, source) in [
        (
            "crates/core/src/items.rs",
            "//! Knows nothing of candle, clap or crate::report.\n",
        ),
        (
            "crates/core/src/items.rs",
            "use crate::digest::FileDigest; // not crate::report\n",
        ),
        ("crates/core/src/items.rs", "let reclaps = scandles;\n"),
        (
            "crates/core/src/run.rs",
            "use crate::backend::{BackendInfo, TokenScores};\n",
        ),
        (
            "crates/core/src/run/a.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::metric::item;\n}\n",
        ),
        (
            "crates/core/src/run/a.rs",
            "use super::b::B;\n#[cfg(test)]\nmod tests {\n    use super::super::c;\n}\n",
        ),
        (
            "crates/core/src/run/fixture.rs",
            "use crate::metric::item;\n",
        ),
        ("crates/core/src/window.rs", "use crate::run_book::X;\n"),
        (
            "crates/candle/src/native.rs",
            "use byrote_core::backend::{Backend, Scheme};\n",
        ),
        (
            "src/cmd/probe.rs",
            "use clap::Parser;\nuse byrote_core::report::X;\n",
        ),
    ] {
        assert_eq!(violations(path, source), Vec::<String>::new(), "{source}");
    }
}

/// Everything wrong with a file, one line each: file, what is wrong, what to do.
fn violations(path: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut report = |what: &str, fix: &str| found.push(format!("{path}: {what}; {fix}"));

    let lines = source.lines().count();
    if lines > LONGEST_FILE {
        report(
            &format!("{lines} lines, more than {LONGEST_FILE}"),
            "split it by subject",
        );
    }
    if let Some(folder) = path.strip_suffix("/mod.rs") {
        report(
            "no file is called mod.rs",
            &format!("name the file after the module: {folder}.rs"),
        );
    }
    if ["utils", "util", "helpers", "common", "misc"]
        .iter()
        .any(|name| path.ends_with(&format!("/{name}.rs")))
    {
        report(
            "its name says nothing",
            "put it beside its caller, or name it by the noun it is about",
        );
    }
    for (banned, fix) in BANNED {
        if source.contains(banned) {
            report(&format!("`{banned}`"), fix);
        }
    }

    let Some((_, inside)) = path.split_once("src/") else {
        return found;
    };
    if is_test(path) {
        return found;
    }
    let code = code_of(source);
    // By way of `super` a file could reach the crate's root past every wall.
    let escapes = if inside.contains('/') {
        "super::super::"
    } else {
        "super::"
    };
    if has_word(&code, escapes) {
        report(
            &format!("`{escapes}`"),
            "name it from the crate's root: `use crate::...`",
        );
    }
    if !in_part(path, SYSTEM) {
        for fact in MACHINE_FACTS.iter().filter(|fact| code.contains(**fact)) {
            report(
                &format!("`{fact}`"),
                "ask system, the only module that knows the machine and its limits",
            );
        }
    }
    if in_part(path, CANDLE) {
        for used in paths_below("byrote_core::", &code) {
            if !CANDLE_USES.contains(&room_of(&used)) {
                report(
                    &format!("must not use `byrote_core::{used}`"),
                    "byrote_candle knows models and tokens; pass plain data through backend or tokens",
                );
            }
        }
    }
    let named = paths_below("crate::", &code);
    for wall in WALLS
        .iter()
        .filter(|wall| wall.part.iter().any(|part| in_part(path, part)))
    {
        for module in wall.modules {
            let below = format!("{module}::");
            let hit = named.iter().any(|p| p == module || p.starts_with(&below));
            // Through an imported parent, as in `run::directory::open()`.
            if hit || (module.contains("::") && has_word(&code, &below)) {
                report(&format!("must not use `crate::{module}`"), wall.fix);
            }
        }
        for word in wall.words.iter().filter(|word| has_word(&code, word)) {
            report(&format!("must not use `{word}`"), wall.fix);
        }
    }
    found
}

/// Pairs of rooms (top-level modules) below `root` that import each other, with the files that do.
fn mutual_imports(root: &str, files: &[(String, String)]) -> Vec<String> {
    let mut imports: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for (path, source) in files {
        let Some(inside) = path.strip_prefix(root).and_then(|p| p.strip_prefix('/')) else {
            continue;
        };
        let room = inside.split('/').next().unwrap_or_default();
        let room = room.trim_end_matches(".rs");
        if room == "lib" || is_test(path) {
            continue;
        }
        for used in paths_below("crate::", &code_of(source)) {
            let pair = (room.to_owned(), room_of(&used).to_owned());
            imports.entry(pair).or_default().insert(path);
        }
    }
    let mut found = Vec::new();
    for ((a, b), files) in &imports {
        let Some(back) = imports.get(&(b.clone(), a.clone())).filter(|_| a < b) else {
            continue;
        };
        let files: Vec<&str> = files.union(back).copied().collect();
        found.push(format!(
            "{root}: {a} and {b} import each other ({}); move what both use to the lower of the two",
            files.join(", ")
        ));
    }
    found
}

/// The first module of a path.
fn room_of(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Tests and fixtures may connect modules that the code beside them must keep apart.
fn is_test(path: &str) -> bool {
    ["fixture", "tests"]
        .iter()
        .any(|name| path.ends_with(&format!("/{name}.rs")) || path.contains(&format!("/{name}/")))
}

/// Whether `path` is `part`, or in its folder.
fn in_part(path: &str, part: &str) -> bool {
    path.strip_prefix(part)
        .is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
}

/// The source without comments and without the tests at its foot.
fn code_of(source: &str) -> String {
    let code = source
        .split("\n#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    // Tests whose helpers other tests use.
    let code = code
        .split("\n#[cfg(test)]\npub(crate) mod tests")
        .next()
        .unwrap_or_default();
    let code = if source.starts_with("#[cfg(test)]\nmod tests") {
        ""
    } else {
        code
    };
    code.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every path that follows `root`, groups written out: `crate::{a, b::{c, d}}` gives `a`, `b::c`, `b::d`.
fn paths_below(root: &str, code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, start) in code.match_indices(root) {
        expand(
            "",
            &mut code[at + start.len()..].chars().peekable(),
            &mut paths,
        );
    }
    paths
}

fn expand(
    prefix: &str,
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    paths: &mut Vec<String>,
) {
    let mut path = prefix.to_owned();
    while let Some(&c) = rest.peek() {
        if c == '{' {
            loop {
                // The brace or comma, and the space after it.
                rest.next();
                while rest.next_if(|c| c.is_whitespace()).is_some() {}
                expand(&path, rest, paths);
                while rest.next_if(|c| c.is_whitespace()).is_some() {}
                if rest.peek() != Some(&',') {
                    rest.next();
                    return;
                }
            }
        }
        if !(c.is_alphanumeric() || c == '_' || c == ':') {
            break;
        }
        path.push(c);
        rest.next();
    }
    // `crate::model as m` and the like end the name; the rest doesn't matter.
    while rest
        .next_if(|&c| c != ',' && c != '}' && c != ';')
        .is_some()
    {}
    paths.push(path);
}

/// Whether a word of the code begins with `word`.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}
