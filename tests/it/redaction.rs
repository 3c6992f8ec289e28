//! What a run was given to protect isn't in anything that it writes or prints, unless `--reveal` was given.

use crate::support::program::{self, repository, run, tree};
use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::digest::Digest;
use byrote_core::report::formats::FORMATS;
use byrote_core::run::directory::RunDir;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::json;
use std::path::Path;

/// A sentence of words that stand nowhere else.
const PLANTED: &str = "Vexil the quibblewort sang of Ombrasquelle to zyxomma larks while Tharnwick's old snollygoster brewed mumpsimus tea";
const RARE: [&str; 7] = [
    "quibblewort",
    "Ombrasquelle",
    "zyxomma",
    "Tharnwick",
    "snollygoster",
    "mumpsimus",
    "Vexil the",
];
/// Of these a report tells only with `--reveal`, too.
const ABOUT: [&str; 3] = [
    "The Larkbook of Quennelby",
    "Ysolde Brackenthwaite",
    "https://example.org/larkbook",
];
const CONTROL: &str = "Teissell the blacksmith promised Astrid's sacred quilt; Anselm flattened his lynx and paused at noon.";

/// What must not be found: a name for messages, and its bytes.
fn needles(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let json = std::fs::read(repository("crates/candle/src/model/builtin/tokenizer.json")).unwrap();
    let config = std::fs::read(repository(
        "crates/candle/src/model/builtin/tokenizer_config.json",
    ))
    .unwrap();
    let tokenizer = Tokenizer::from_json(&json, Some(&config), "tokenizer.json").unwrap();
    let ids = tokenizer.encode(PLANTED).unwrap().ids;
    assert!(ids.len() > 40, "too few tokens to cut windows from");
    let mut needles: Vec<(String, Vec<u8>)> = [PLANTED]
        .iter()
        .chain(&RARE)
        .chain(&ABOUT)
        .map(|text| ((*text).to_owned(), text.as_bytes().to_vec()))
        .collect();
    // Any four neighbouring ids give a piece of the text away.
    for ids in ids.windows(4) {
        let words: Vec<String> = ids.iter().map(u32::to_string).collect();
        for separator in [",", ", ", "\n", " "] {
            needles.push((
                format!("token ids {words:?}"),
                words.join(separator).into_bytes(),
            ));
        }
        let bytes = |width: usize| {
            ids.iter()
                .flat_map(|id| id.to_le_bytes()[..width].to_vec())
                .collect::<Vec<u8>>()
        };
        needles.push((format!("token ids {words:?} as u32"), bytes(4)));
    }
    for (name, text) in [("the text", PLANTED), ("the control", CONTROL)] {
        let digest = Digest::of_bytes(text.as_bytes());
        let hex = digest.as_str();
        let raw = (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        needles.push((format!("SHA-256 of {name}"), hex.as_bytes().to_vec()));
        needles.push((
            format!("SHA-256 of {name}, capitals"),
            hex.to_uppercase().into_bytes(),
        ));
        needles.push((format!("SHA-256 of {name}, raw"), raw));
    }
    let set = std::fs::read(dir.join("set.jsonl")).unwrap();
    assert!(
        found(&needles, &set).contains(&PLANTED.to_owned()),
        "the search finds nothing at all"
    );
    needles
}

fn found(needles: &[(String, Vec<u8>)], hay: &[u8]) -> Vec<String> {
    let holds = |needle: &[u8]| hay.windows(needle.len()).any(|window| window == needle);
    needles
        .iter()
        .filter(|(_, bytes)| holds(bytes))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Everything in a Parquet file as text: names, metadata, and every value, decompressed.
fn spelled_out(path: &Path) -> String {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut text = format!("{:?}\n", reader.metadata());
    for row in reader.get_row_iter(None).unwrap() {
        text.push_str(&row.unwrap().to_string());
        text.push('\n');
    }
    text
}

fn planted(dir: &Path) {
    let item = json!({
        "id": "larks", "text": PLANTED, "title": ABOUT[0], "author": ABOUT[1], "source_url": ABOUT[2],
        // Links to a passage quote it, and so may whoever declared the opt-out.
        "opt_out": {
            "signal": "robots.txt",
            "locator": "https://example.org/larks#:~:text=quibblewort%20sang,of%20Ombrasquelle",
            "holder": PLANTED,
        },
    });
    let split = PLANTED.split_at(PLANTED.find(" to zyxomma").unwrap());
    let parts = json!({"id": "larks-split", "prefix": split.0, "suffix": split.1});
    let control = json!({"id": "quilt", "kind": "control", "text": CONTROL});
    std::fs::write(
        dir.join("set.jsonl"),
        format!("{item}\n{parts}\n{control}\n"),
    )
    .unwrap();
}

fn probe(dir: &Path, out: &str, more: &[&str], code: i32) -> program::Ran {
    let args = [
        "probe",
        "--prompts",
        "set.jsonl",
        "--prefix",
        "10",
        "--suffix",
        "10",
        "--stride",
        "5",
        "--out",
        out,
    ];
    run(dir, &[&args[..], more].concat()).exits(code)
}

#[test]
fn nothing_of_a_text_is_written_or_printed_without_reveal() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    planted(dir);
    let needles = needles(dir);
    let mut leaks = Vec::new();
    let mut look = |place: &str, bytes: &[u8]| {
        leaks.extend(
            found(&needles, bytes)
                .into_iter()
                .map(|needle| format!("{place}: {needle}")),
        );
    };

    let mut printed = vec![
        ("probe", probe(dir, "run", &[], 0)),
        (
            "probe --format json",
            probe(dir, "run", &["--format", "json"], 0),
        ),
        ("probe --gate", probe(dir, "run", &["--gate", "default"], 2)),
        (
            "gate",
            run(dir, &["gate", "run", "--policy", "default"]).exits(2),
        ),
        ("inspect", run(dir, &["inspect", "run", "larks"]).exits(0)),
        (
            "inspect --format json",
            run(dir, &["inspect", "run", "larks-split", "--format", "json"]).exits(0),
        ),
        ("lint", run(dir, &["lint", "set.jsonl"]).exits(0)),
        (
            "lint --format json",
            run(dir, &["lint", "set.jsonl", "--format", "json"]).exits(0),
        ),
    ];
    // Every format there is, printed and as files, of the run as it is and as it is decided now.
    for format in FORMATS.iter().filter(|format| format.id != "parquet") {
        printed.push((
            format.id,
            run(dir, &["report", "run", "--format", format.id]).exits(0),
        ));
        printed.push((
            format.id,
            run(
                dir,
                &["gate", "run", "--policy", "default", "--format", format.id],
            )
            .exits(2),
        ));
    }
    let all: Vec<&str> = FORMATS.iter().map(|format| format.id).collect();
    run(
        dir,
        &[
            "report",
            "run",
            "--format",
            &all.join(","),
            "--output",
            "run/formats",
        ],
    )
    .exits(0);
    for (name, ran) in &printed {
        look(&format!("{name}: stdout"), ran.stdout.as_bytes());
        look(&format!("{name}: stderr"), ran.stderr.as_bytes());
    }
    let mut tables = 0;
    for (name, bytes) in tree(&dir.join("run")) {
        look(&name, &bytes);
        if name.ends_with(".parquet") {
            tables += 1;
            let text = spelled_out(&dir.join("run").join(&name));
            assert!(
                text.contains("larks") && !text.contains("token_ids"),
                "{name}"
            );
            assert!(
                name.starts_with("scores/") || text.contains("withheld: it quotes the text"),
                "{name}: {text}"
            );
            look(&format!("{name}, decompressed"), text.as_bytes());
        }
    }
    assert!(tables > 1, "scores and items");
    let rows = RunDir::load(&dir.join("run")).unwrap().read_all().unwrap();
    assert!(
        rows.len() > 5
            && rows
                .iter()
                .all(|row| row.token_ids.is_none() && row.scores.is_ok())
    );
    look("the rows as read", format!("{rows:?}").as_bytes());
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn with_reveal_text_and_token_ids_are_there_and_the_search_finds_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    planted(dir);
    let needles = needles(dir);
    probe(dir, "run", &["--reveal"], 0);
    let report = std::fs::read(dir.join("run/report.json")).unwrap();
    let seen = found(&needles, &report);
    for text in [PLANTED].iter().chain(&RARE).chain(&ABOUT) {
        assert!(
            seen.contains(&(*text).to_owned()),
            "{text} isn't in the report: {seen:?}"
        );
    }
    // The formats for whoever asked to see it show titles; the others are for others' eyes and never do.
    let all: Vec<&str> = FORMATS.iter().map(|format| format.id).collect();
    run(
        dir,
        &[
            "report",
            "run",
            "--format",
            &all.join(","),
            "--output",
            "formats",
        ],
    )
    .exits(0);
    for format in FORMATS {
        let path = dir.join("formats").join(format.file_name);
        let mut bytes = std::fs::read(&path).unwrap();
        if format.id == "parquet" {
            bytes = spelled_out(&path).into_bytes();
        }
        let told = found(&needles, &bytes);
        let shows = ["json", "html", "csv", "parquet"].contains(&format.id);
        assert_eq!(
            told.contains(&ABOUT[0].to_owned()),
            shows,
            "{}: {told:?}",
            format.id
        );
        assert!(shows || told.is_empty(), "{}: {told:?}", format.id);
    }
    let part = spelled_out(&dir.join("run/scores/part-00000.parquet"));
    assert!(part.contains("token_ids"));
    assert!(
        found(&needles, part.as_bytes())
            .iter()
            .any(|name| name.starts_with("token ids"))
    );
    let rows = RunDir::load(&dir.join("run")).unwrap().read_all().unwrap();
    for row in &rows {
        let ids = row.token_ids.as_ref().unwrap();
        assert_eq!(
            ids.len() as u32,
            row.placement.prefix_len + row.placement.suffix_len
        );
    }
}

#[test]
fn a_run_is_not_resumed_with_another_reveal() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    planted(dir);
    for (out, first, second, says) in [
        (
            "kept",
            &[][..],
            &["--reveal"][..],
            "settings.reveal (false, now true)",
        ),
        (
            "shown",
            &["--reveal"][..],
            &[][..],
            "settings.reveal (true, now false)",
        ),
    ] {
        probe(dir, out, first, 0);
        let before = tree(&dir.join(out));
        let ran = probe(dir, out, second, 2);
        assert!(
            ran.stderr
                .contains(&format!("error: {out}: holds another run: {says}")),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("use another --out"), "{}", ran.stderr);
        assert!(
            before == tree(&dir.join(out)),
            "the refused run changed something"
        );
    }
}

#[test]
fn two_runs_of_the_same_text_give_it_different_digests() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    planted(dir);
    let digests = ["one", "two"].map(|out| {
        probe(dir, out, &[], 0);
        let report = std::fs::read_to_string(dir.join(out).join("report.json")).unwrap();
        let run_json = std::fs::read_to_string(dir.join(out).join("run.json")).unwrap();
        let run_json: serde_json::Value = serde_json::from_str(&run_json).unwrap();
        assert!(
            !report.contains(run_json["salt"].as_str().unwrap()),
            "the salt stays in run.json"
        );
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        report["items"][0]["salted_digest"]
            .as_str()
            .unwrap()
            .to_owned()
    });
    assert_ne!(digests[0], digests[1]);
}

/// A file that is one text has the text's digest, which whoever holds the text would recognize.
#[test]
fn a_text_files_own_digest_is_in_no_report() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("{PLANTED}. {PLANTED}; and again {PLANTED}, and {CONTROL}");
    std::fs::write(dir.path().join("larkbook.txt"), &text).unwrap();
    run(
        dir.path(),
        &[
            "probe",
            "--prompts",
            "larkbook.txt",
            "--prefix",
            "20",
            "--suffix",
            "20",
            "--out",
            "run",
        ],
    );
    let digest = Digest::of_bytes(text.as_bytes());
    let all: Vec<&str> = FORMATS.iter().map(|format| format.id).collect();
    run(
        dir.path(),
        &[
            "report",
            "run",
            "--format",
            &all.join(","),
            "--output",
            "run/formats",
        ],
    )
    .exits(0);
    for (name, bytes) in tree(&dir.path().join("run")) {
        let told = found(
            &[("digest".to_owned(), digest.as_str().as_bytes().to_vec())],
            &bytes,
        );
        assert!(
            name == "run.json" || told.is_empty(),
            "{name} holds the text's digest"
        );
    }
    let table = spelled_out(&dir.path().join("run/formats/report.parquet"));
    assert!(table.contains("larkbook.txt") && !table.contains(digest.as_str()));
    // The record that stays with whoever ran it names exactly what was read.
    assert!(
        std::fs::read_to_string(dir.path().join("run/run.json"))
            .unwrap()
            .contains(digest.as_str())
    );
}
