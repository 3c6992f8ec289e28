//! `byrote score`, the plumbing: what goes in, what comes out, line by line.

use crate::support::program::{Ran, byrote, repository, run};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

/// Nats a token, against transformers in f32.
const BOUND: f64 = 1e-4;

fn write(path: &Path, lines: &[Value]) {
    std::fs::write(
        path,
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    )
    .unwrap();
}

fn parse(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// Scores lines with the built-in model, file to file.
fn score(dir: &Path, lines: &[Value], code: i32) -> Vec<Value> {
    write(&dir.join("in.jsonl"), lines);
    run(
        dir,
        &[
            "score",
            "--model",
            "builtin",
            "--input",
            "in.jsonl",
            "--output",
            "out.jsonl",
        ],
    )
    .exits(code);
    parse(&std::fs::read_to_string(dir.join("out.jsonl")).unwrap())
}

fn golden() -> Vec<Value> {
    parse(&std::fs::read_to_string(repository("tests/fixtures/builtin/golden.jsonl")).unwrap())
}

fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

/// Asserts that a line of output is complete and agrees with itself.
fn assert_complete(asked: &Value, told: &Value) {
    let names: Vec<&str> = told
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "id",
        "token_ids",
        "prefix_len",
        "logprobs",
        "ranks",
        "greedy_match",
        "sum_logprob",
        "greedy_exact",
    ];
    assert_eq!(names, expected);
    assert_eq!(told["id"], asked["id"]);
    let ids = told["token_ids"].as_array().unwrap();
    let suffix = ids.len() - told["prefix_len"].as_u64().unwrap() as usize;
    let logprobs = floats(&told["logprobs"]);
    let ranks: Vec<u64> = told["ranks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r.as_u64().unwrap())
        .collect();
    let greedy: Vec<bool> = told["greedy_match"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_bool().unwrap())
        .collect();
    assert_eq!(
        (logprobs.len(), ranks.len(), greedy.len()),
        (suffix, suffix, suffix)
    );
    assert!(logprobs.iter().all(|lp| lp.is_finite() && *lp <= 0.0));
    assert_eq!(greedy, ranks.iter().map(|r| *r == 0).collect::<Vec<_>>());
    assert_eq!(told["greedy_exact"], json!(greedy.iter().all(|m| *m)));
    assert!((told["sum_logprob"].as_f64().unwrap() - logprobs.iter().sum::<f64>()).abs() < 1e-3);
}

#[test]
fn the_built_in_model_scores_as_transformers_does_and_every_field_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let golden = golden();
    let asked: Vec<Value> = golden
        .iter()
        .map(|g| json!({"id": g["id"], "token_ids": g["token_ids"], "prefix_len": g["prefix_len"]}))
        .collect();
    let told = score(dir.path(), &asked, 0);
    assert_eq!(told.len(), asked.len());
    let (mut worst, mut sum, mut tokens) = (0f64, 0f64, 0usize);
    for ((golden, asked), told) in golden.iter().zip(&asked).zip(&told) {
        assert_complete(asked, told);
        assert_eq!(
            (&told["token_ids"], &told["prefix_len"]),
            (&asked["token_ids"], &asked["prefix_len"])
        );
        let gaps = floats(&golden["top1_top2_gap"]);
        for (i, (a, b)) in floats(&told["logprobs"])
            .iter()
            .zip(floats(&golden["logprobs"]))
            .enumerate()
        {
            worst = worst.max((a - b).abs());
            sum += (a - b).abs();
            tokens += 1;
            let same = told["greedy_match"][i] == golden["greedy_match"][i];
            assert!(same || gaps[i] <= 1e-3, "{} token {i}", golden["id"]);
        }
    }
    println!(
        "{tokens} tokens: worst {worst:.1e}, mean {:.1e} nats",
        sum / tokens as f64
    );
    assert!(
        tokens > 100 && worst <= BOUND,
        "{worst} over {tokens} tokens"
    );
}

#[test]
fn golden_files_can_be_given_as_they_are() {
    // Fields beyond those of the format are passed over.
    let dir = tempfile::tempdir().unwrap();
    let golden = golden();
    let told = score(dir.path(), &golden, 0);
    golden
        .iter()
        .zip(&told)
        .for_each(|(asked, told)| assert_complete(asked, told));
    // So a file of scores can be scored again, and gives itself.
    assert_eq!(score(dir.path(), &told, 0), told);
}

#[test]
fn order_is_kept_and_ids_come_back_as_they_were_given() {
    let dir = tempfile::tempdir().unwrap();
    // Lengths differ, so that batches of one shape would bring another order; more than the lines scored at once.
    let asked: Vec<Value> = (0..300u32)
        .map(|i| {
            let ids: Vec<u32> = (0..4 + i % 5).map(|t| (i * 7 + t * 31) % 2048).collect();
            let id = match i % 3 {
                0 => json!(format!("w{i}")),
                1 => json!(i),
                _ => json!({"n": i}),
            };
            json!({"id": id, "token_ids": ids, "prefix_len": 1 + i % 3})
        })
        .collect();
    let told = score(dir.path(), &asked, 0);
    assert_eq!(told.len(), asked.len());
    for (asked, told) in asked.iter().zip(&told) {
        assert_complete(asked, told);
        assert_eq!(told["token_ids"], asked["token_ids"]);
    }
}

#[test]
fn text_gets_the_models_bos_and_token_ids_are_taken_as_given() {
    let dir = tempfile::tempdir().unwrap();
    let text = json!({"id": "text", "prefix": "Weannane the brewer found Stella's", "suffix": " ornate cabinet."});
    let told = score(dir.path(), std::slice::from_ref(&text), 0).remove(0);
    assert_complete(&text, &told);
    let (ids, prefix_len) = (
        told["token_ids"].as_array().unwrap().clone(),
        told["prefix_len"].as_u64().unwrap(),
    );
    assert_eq!(ids[0], json!(0), "the built-in model's BOS");
    assert!(ids[1..].iter().all(|id| *id != json!(0)));

    let with_bos = json!({"id": "with", "token_ids": ids, "prefix_len": prefix_len});
    let without_bos = json!({"id": "without", "token_ids": ids[1..], "prefix_len": prefix_len - 1});
    let scored = score(dir.path(), &[with_bos.clone(), without_bos.clone()], 0);
    scored
        .iter()
        .zip([&with_bos, &without_bos])
        .for_each(|(told, asked)| assert_complete(asked, told));
    for field in ["token_ids", "ranks", "greedy_match"] {
        assert_eq!(
            scored[0][field], told[field],
            "text is scored as its ids with BOS are"
        );
    }
    let gap = |a: &Value, b: &Value| {
        floats(&a["logprobs"])
            .iter()
            .zip(floats(&b["logprobs"]))
            .map(|(x, y)| (x - y).abs())
            .fold(0.0, f64::max)
    };
    assert!(gap(&scored[0], &told) <= BOUND);
    assert_eq!(
        scored[1]["token_ids"], without_bos["token_ids"],
        "no BOS is put before token ids"
    );
    assert!(
        gap(&scored[1], &told) > 0.01,
        "BOS makes a difference, or this test shows nothing"
    );

    let never = [
        "score",
        "--model",
        "builtin",
        "--bos",
        "never",
        "--input",
        "never.jsonl",
        "--output",
        "-",
    ];
    write(&dir.path().join("never.jsonl"), &[text]);
    let never = parse(&run(dir.path(), &never).exits(0).stdout).remove(0);
    assert_eq!(never["token_ids"], without_bos["token_ids"]);
    assert_eq!(never["prefix_len"], without_bos["prefix_len"]);
}

#[test]
fn standard_input_and_output_are_a_dash() {
    let dir = tempfile::tempdir().unwrap();
    let asked = [
        json!({"id": 1, "token_ids": [0, 55, 69, 675], "prefix_len": 2}),
        json!({"id": 2, "token_ids": [0, 55, 69], "prefix_len": 1}),
    ];
    let to_file = score(dir.path(), &asked, 0);
    let mut child = byrote(
        dir.path(),
        &[
            "score", "--model", "builtin", "--input", "-", "--output", "-",
        ],
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    // The last line needs no line end.
    let input = asked
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap()).exits(0);
    // Nothing but scores goes to standard output.
    assert_eq!(parse(&ran.stdout), to_file);
    assert!(
        ran.stderr.contains("2 windows scored") && ran.stderr.contains("0 not"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_line_that_cannot_be_scored_gives_its_error_in_its_place_and_the_rest_is_scored() {
    let dir = tempfile::tempdir().unwrap();
    let good =
        |id: &str| json!({"id": id, "token_ids": [0, 55, 69, 675], "prefix_len": 2}).to_string();
    let long: Vec<u32> = (0..513).map(|i| i % 2048).collect();
    // What the line's error must say; `None` where it is to be scored.
    let lines: Vec<(String, Value, Option<&str>)> = vec![
        (good("first"), json!("first"), None),
        (
            json!({"id": "types", "token_ids": "1 2 3", "prefix_len": 1}).to_string(),
            json!("types"),
            Some("invalid type"),
        ),
        (
            json!({"id": "negative", "token_ids": [1, -2, 3], "prefix_len": 1}).to_string(),
            json!("negative"),
            Some("invalid value"),
        ),
        (json!({"id": "half", "token_ids": [1, 2, 3]}).to_string(), json!("half"), Some("\"prefix_len\"")),
        (json!({"id": "nothing"}).to_string(), json!("nothing"), Some("\"prefix\" and \"suffix\"")),
        (
            json!({"id": "both", "token_ids": [1, 2, 3], "prefix_len": 1, "prefix": "a", "suffix": "b"}).to_string(),
            json!("both"),
            Some("\"prefix\" and \"suffix\""),
        ),
        (json!({"token_ids": [1, 2, 3], "prefix_len": 1}).to_string(), json!(null), Some("`id`")),
        (good("middle"), json!("middle"), None),
        (
            json!({"id": "unknown", "token_ids": [1, 2048], "prefix_len": 1}).to_string(),
            json!("unknown"),
            Some("2048 is outside the vocabulary"),
        ),
        (
            json!({"id": "empty suffix", "token_ids": [1, 2], "prefix_len": 2}).to_string(),
            json!("empty suffix"),
            Some("suffix is empty"),
        ),
        (
            json!({"id": "past the end", "token_ids": [1, 2], "prefix_len": 9}).to_string(),
            json!("past the end"),
            Some("suffix is empty"),
        ),
        (json!({"id": "empty text", "prefix": "a", "suffix": ""}).to_string(), json!("empty text"), Some("suffix")),
        (
            json!({"id": "no prefix", "token_ids": [1, 2], "prefix_len": 0}).to_string(),
            json!("no prefix"),
            Some("prefix is empty"),
        ),
        (json!({"id": "no ids", "token_ids": [], "prefix_len": 0}).to_string(), json!("no ids"), Some("is empty")),
        (json!({"id": "long", "token_ids": long, "prefix_len": 1}).to_string(), json!("long"), Some("context of 512")),
        ("{\"id\": \"cut\", \"token_ids\": [1, 2".to_owned(), json!(null), Some("EOF")),
        ("[1, 2, 3]".to_owned(), json!(null), Some("in.jsonl:17: ")),
        (good("last"), json!("last"), None),
    ];
    let text: String = lines.iter().map(|(line, ..)| format!("{line}\n")).collect();
    std::fs::write(dir.path().join("in.jsonl"), text).unwrap();
    let args = [
        "score", "--model", "builtin", "--input", "in.jsonl", "--output", "-",
    ];
    let ran = run(dir.path(), &args).exits(2);
    let told = parse(&ran.stdout);
    assert_eq!(told.len(), lines.len());
    let alone = score(
        dir.path(),
        &[serde_json::from_str(&good("first")).unwrap()],
        0,
    )
    .remove(0);
    for (number, ((_, id, error), told)) in (1..).zip(lines.iter().zip(&told)) {
        assert_eq!(&told["id"], id, "line {number}");
        match error {
            None => assert_eq!(told["logprobs"], alone["logprobs"], "line {number}"),
            Some(expected) => {
                assert_eq!(told.as_object().unwrap().len(), 2, "line {number}: {told}");
                let error = told["error"].as_str().unwrap();
                assert!(error.contains(expected), "line {number}: {error}");
                assert!(
                    error.starts_with(&format!("in.jsonl:{number}: ")),
                    "line {number}: {error}"
                );
            }
        }
    }
    assert!(
        ran.stderr.contains("3 windows scored") && ran.stderr.contains("15 not"),
        "{}",
        ran.stderr
    );

    // Bytes that are no UTF-8, with a good line after them.
    let bytes = [
        b"{\"id\": \"\xff\", \"prefix\": \"a\", \"suffix\": \"b\"}\n",
        good("after").as_bytes(),
    ]
    .concat();
    std::fs::write(dir.path().join("in.jsonl"), bytes).unwrap();
    let told = parse(&run(dir.path(), &args).exits(2).stdout);
    assert_eq!(told[0]["id"], json!(null));
    assert!(
        told[0]["error"]
            .as_str()
            .unwrap()
            .starts_with("in.jsonl:1: ")
    );
    assert_eq!(told[1]["logprobs"], alone["logprobs"]);
}

#[test]
fn input_without_windows_is_not_success() {
    let dir = tempfile::tempdir().unwrap();
    for text in ["", "\n\n  \n"] {
        std::fs::write(dir.path().join("in.jsonl"), text).unwrap();
        let args = [
            "score", "--model", "builtin", "--input", "in.jsonl", "--output", "-",
        ];
        let ran = run(dir.path(), &args).exits(2);
        assert!(
            ran.stderr.contains("in.jsonl: there is no window in it"),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
    }
}
