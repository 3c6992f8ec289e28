//! The rules of the house, checked: who may know whom, and how files look.
//!
//! The rules are the tables below. To change one, change its line and say why in the commit.

use std::fs;
use std::path::Path;

/// Code in `part` (a path or the beginning of one) must not name these modules of the crate, nor these words.
struct Wall {
    part: &'static [&'static str],
    /// Paths below `crate::`; `report` stands for everything in it.
    modules: &'static [&'static str],
    /// Beginnings of words: `candle` stands for `candle_core`, too.
    words: &'static [&'static str],
    fix: &'static str,
}

const WALLS: &[Wall] = &[
    Wall {
        part: &["src/machine"],
        modules: &[
            "items", "tokens", "window", "backend", "model", "registry", "run", "metric", "policy",
            "report",
        ],
        words: &["candle"],
        fix: "the machine is told of in plain numbers; what follows from them is decided where they are used",
    },
    Wall {
        part: &[
            "src/backend",
            "src/cmd",
            "src/follow",
            "src/items",
            "src/main",
            "src/model",
            "src/run",
            "src/tokens",
        ],
        modules: &[],
        words: &["/proc/", "/sys/", "available_parallelism"],
        fix: "ask machine, the one home of facts about the machine and its limits",
    },
    Wall {
        part: &["src/items"],
        modules: &[
            "tokens",
            "window",
            "backend",
            "model",
            "registry",
            "run",
            "metric",
            "policy",
            "verdict",
            "follow",
            "report",
            "gate",
            "blocklist",
        ],
        words: &["candle"],
        fix: "items knows files and formats; pass what it needs as plain data, or move the code to where both meet (cmd)",
    },
    Wall {
        part: &["src/controls"],
        modules: &[
            "tokens",
            "window::cut",
            "backend",
            "model",
            "registry",
            "run",
            "metric",
            "policy",
            "verdict",
            "report",
            "gate",
            "blocklist",
        ],
        words: &["candle", "std::fs", "std::io"],
        fix: "controls turns texts into texts, and knows items and line breaks; read, write and judge in cmd",
    },
    Wall {
        part: &["src/registry"],
        modules: &[
            "window", "metric", "backend", "run", "policy", "follow", "verdict", "report", "gate",
        ],
        words: &["candle"],
        fix: "the registry turns models.toml into checked entries and knows nothing else",
    },
    Wall {
        part: &["src/tokens", "src/window", "src/template"],
        modules: &[
            "model", "backend", "metric", "run", "policy", "follow", "verdict", "report", "gate",
        ],
        words: &["candle"],
        fix: "windows are cut before any model is there; take token ids or plain settings as arguments",
    },
    Wall {
        part: &["src/backend.rs", "src/backend/scripted"],
        modules: &[
            "model", "items", "metric", "run", "policy", "follow", "verdict", "report", "gate",
        ],
        words: &["candle", "hf_hub", "ureq"],
        fix: "no tensor crosses the backend's seam; put it in backend/native",
    },
    Wall {
        part: &["src/backend/native"],
        modules: &[
            "items", "metric", "run", "policy", "follow", "verdict", "report", "gate",
        ],
        words: &[],
        fix: "a backend gives scores; what they mean is decided in metric and verdict",
    },
    Wall {
        part: &["src/model"],
        modules: &[
            "window", "items", "backend", "metric", "run", "policy", "follow", "verdict", "report",
            "gate",
        ],
        words: &[],
        fix: "a model takes token ids and gives logits; put the rest in backend/native",
    },
    Wall {
        part: &["src/run"],
        // All of metric but the types of follow-ups, which a run keeps beside its scores.
        modules: &[
            "backend::native",
            "backend::scripted",
            "model",
            "metric::greedy",
            "metric::item",
            "metric::membership",
            "metric::near",
            "metric::probability",
            "metric::samples",
            "metric::text",
            "metric::window",
            "policy",
            "follow",
            "verdict",
            "report",
            "gate",
        ],
        words: &["candle"],
        fix: "the run directory keeps what backends gave; wire the two in cmd",
    },
    Wall {
        part: &["src/metric"],
        modules: &[
            "model",
            "registry",
            "policy",
            "follow",
            "verdict",
            "report",
            "gate",
            "run::directory",
            "run::parquet",
        ],
        words: &[
            "candle",
            "std::fs",
            "std::io",
            "std::path",
            "std::time",
            "jiff",
        ],
        fix: "a metric is a pure function of one observation; take the value as an argument",
    },
    Wall {
        part: &["src/follow"],
        modules: &[
            "model",
            "tokens",
            "registry",
            "backend::native",
            "run::directory",
            "run::parquet",
            "run::journal",
            "verdict",
            "report",
            "gate",
        ],
        words: &["candle", "std::fs", "std::io", "std::path"],
        fix: "follow-ups are pure functions over a backend and plain data; files, threads and tokenizers come from cmd",
    },
    Wall {
        part: &["src/policy", "src/verdict"],
        modules: &[
            "follow",
            "model",
            "tokens",
            "backend::native",
            "run::directory",
            "run::parquet",
            "report",
            "gate",
        ],
        words: &["candle"],
        fix: "verdicts follow from values and controls, not from texts or formats; take values as arguments",
    },
    Wall {
        part: &["src/report"],
        modules: &["model", "backend::native", "run::directory", "run::parquet"],
        words: &["candle"],
        fix: "a report is plain data and its formats pure functions over it, also without Candle; load in cmd",
    },
    Wall {
        part: &["src/sweep"],
        modules: &[
            "model",
            "backend::native",
            "run::directory",
            "run::parquet",
            "items::open",
        ],
        words: &["candle", "std::fs"],
        fix: "a sweep is made of reports, which are plain data; run and load them in cmd",
    },
    Wall {
        part: &["src/compare"],
        modules: &[
            "model",
            "backend",
            "tokens::tokenizer",
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
        words: &["candle", "std::fs", "std::io", "jiff"],
        fix: "a comparison is made of reports in memory and decides nothing; read them in cmd, format in compare/*",
    },
    Wall {
        part: &["src/gate"],
        modules: &[
            "model",
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
        words: &["candle"],
        fix: "the gate decides on the Report in memory; formats come after",
    },
    Wall {
        part: &["src/blocklist"],
        modules: &["model", "backend", "report"],
        words: &["candle"],
        fix: "a blocklist is made of texts and spans; take them as plain data",
    },
    Wall {
        part: &[
            "src/lib",
            "src/digest",
            "src/machine",
            "src/items",
            "src/controls",
            "src/registry",
            "src/tokens",
            "src/window",
            "src/template",
            "src/backend",
            "src/model",
            "src/run",
            "src/follow",
            "src/metric",
            "src/follow",
            "src/policy",
            "src/verdict",
            "src/report",
            "src/compare",
            "src/gate",
            "src/sweep",
            "src/blocklist",
        ],
        modules: &["cli", "cmd"],
        words: &["clap", "anyhow", "ExitCode", "process::exit"],
        fix: "the command line and exit codes belong to main, cli and cmd; return a typed error instead",
    },
];

/// What no file may hold, as it is written in the file, with the fix.
const BANNED: &[(&str, &str)] = &[(
    concat!("#[", "ignore"),
    "make the test fast, or let an environment variable switch it on",
)];

const LONGEST_FILE: usize = 600;

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut files = 0;
    let mut folders = vec![
        "src".to_owned(),
        "tests".to_owned(),
        "examples".to_owned(),
        "benches".to_owned(),
    ];
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
                files += 1;
                found.extend(violations(
                    &path,
                    &fs::read_to_string(entry.path()).unwrap(),
                ));
            }
        }
    }
    assert!(files > 10, "only {files} files were found to check");
    found.sort();
    assert!(
        found.is_empty(),
        "{} breaches:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn every_rule_is_broken_by_a_breach_and_says_what_to_do() {
    for wall in WALLS {
        for part in wall.part {
            let path = if part.ends_with(".rs") {
                (*part).to_owned()
            } else {
                format!("{part}/some.rs")
            };
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
                    let found = violations(&path, &format!("//! Doc.\n{breach}\n"));
                    assert!(
                        found.iter().any(|text| text.contains(wall.fix)),
                        "{path}: {breach}: {found:?}"
                    );
                }
            }
            for word in wall.words {
                let found = violations(&path, &format!("use {word};\n"));
                assert!(
                    found.iter().any(|text| text.contains(wall.fix)),
                    "{path}: {word}: {found:?}"
                );
            }
        }
    }
    for (banned, fix) in BANNED {
        assert!(violations("tests/a.rs", banned)[0].ends_with(fix));
    }
    assert!(
        violations("src/items.rs", "use super::report::Report;")[0]
            .contains("from the crate's root")
    );
    assert!(
        violations("src/items/a.rs", "use super::super::report::Report;")[0]
            .contains("from the crate's root")
    );
    assert!(
        violations("src/items/mod.rs", "")[0]
            .ends_with("name the file after the module: src/items.rs")
    );
    assert!(violations("src/utils.rs", "")[0].contains("put it beside its caller"));
    assert!(violations("src/items.rs", &"\n".repeat(LONGEST_FILE)).is_empty());
    assert!(
        violations("src/items.rs", &"\n".repeat(LONGEST_FILE + 1))[0]
            .contains("split it by subject")
    );
}

#[test]
fn what_only_looks_like_a_breach_is_none() {
    for (path, source) in [
        (
            "src/items.rs",
            "//! Knows nothing of candle, clap or crate::report.\n",
        ),
        (
            "src/items.rs",
            "use crate::digest::FileDigest; // not crate::model\n",
        ),
        ("src/items.rs", "let reclaps = scandles;\n"),
        (
            "src/run.rs",
            "use crate::backend::{BackendInfo, TokenScores};\n",
        ),
        (
            "src/run/a.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::backend::scripted::Scripted;\n}\n",
        ),
        (
            "src/run/a.rs",
            "use super::b::B;\n#[cfg(test)]\nmod tests {\n    use super::super::c;\n}\n",
        ),
        (
            "src/run/fixture.rs",
            "use crate::backend::scripted::Scripted;\n",
        ),
        ("src/window.rs", "use crate::model_card::X;\n"),
        (
            "src/cmd/probe.rs",
            "use clap::Parser;\nuse byrote_candle::model::X;\n",
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

    // Tests and fixtures may wire up what the code beside them may not know.
    if path.ends_with("/fixture.rs") {
        return found;
    }
    let code = code_of(source);
    // By way of `super` a file could reach the crate's root past every wall.
    let escapes = if path.matches('/').count() == 1 {
        "super::"
    } else {
        "super::super::"
    };
    if path.starts_with("src/") && has_word(&code, escapes) {
        report(
            &format!("`{escapes}`"),
            "name it from the crate's root: `use crate::...`",
        );
    }
    let named = crate_paths(&code);
    for wall in WALLS
        .iter()
        .filter(|wall| wall.part.iter().any(|part| in_part(path, part)))
    {
        for module in wall.modules {
            let below = format!("{module}::");
            let hit = named.iter().any(|p| p == module || p.starts_with(&below));
            // Through an imported parent, as in `backend::native::load()`.
            if hit || (module.contains("::") && has_word(&code, &below)) {
                report(&format!("must not know `crate::{module}`"), wall.fix);
            }
        }
        for word in wall.words.iter().filter(|word| has_word(&code, word)) {
            report(&format!("must not know `{word}`"), wall.fix);
        }
    }
    found
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

/// Every path that follows `crate::`, groups written out: `crate::{a, b::{c, d}}` gives `a`, `b::c`, `b::d`.
fn crate_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, start) in code.match_indices("crate::") {
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

/// Whether `word` stands in the code as the beginning of a word.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}
