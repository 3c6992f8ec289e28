//! Bad input of every kind: one clear message that names the file, the line and the fix; exit code 2; no panic.

use crate::support::damage::{self, SET, edit, good, poison, replace, truncate};
use crate::support::program::{self, repository, run, tree};
use std::path::Path;

/// A way to call byrote wrongly, in a folder where `model/` and `set.jsonl` were good before.
struct Case {
    name: &'static str,
    /// What is wrong in the folder.
    wrong: fn(&Path),
    /// Separated by spaces.
    args: &'static str,
    /// What the message must say: where, what, and what to do.
    says: &'static [&'static str],
}

const PROBE: &str = "probe --model model --prompts set.jsonl --prefix 8 --suffix 8";
const PROBE_GGUF: &str = "probe --model model.gguf --prompts set.jsonl --prefix 8 --suffix 8";
const SCORE: &str = "score --model model --input windows.jsonl --output scores.jsonl";
const NOTHING: fn(&Path) = |_| ();

/// Runs the program with arguments that are separated by spaces.
fn run_line(dir: &Path, args: &str) -> program::Ran {
    run(dir, &args.split(' ').collect::<Vec<_>>())
}

fn weights(dir: &Path) -> std::path::PathBuf {
    dir.join("model/model.safetensors")
}

fn set(dir: &Path, bytes: &[u8]) {
    std::fs::write(dir.join("set.jsonl"), bytes).unwrap();
}

fn policy(dir: &Path, text: &str) {
    std::fs::write(
        dir.join("policy.toml"),
        format!("schema = \"byrote.policy/v1\"\n{text}\n"),
    )
    .unwrap();
}

const MODELS: &[Case] = &[
    Case {
        name: "missing model path",
        wrong: NOTHING,
        args: "probe --model ./nowhere --prompts set.jsonl",
        says: &["./nowhere", "no such file or folder", "check the path"],
    },
    Case {
        name: "missing GGUF",
        wrong: NOTHING,
        args: "probe --model nowhere.gguf --prompts set.jsonl",
        says: &["nowhere.gguf", "no such file", "check the path"],
    },
    Case {
        name: "unknown model name",
        wrong: NOTHING,
        args: "probe --model builtinn --prompts set.jsonl",
        says: &["found no model \"builtinn\"", "builtin"],
    },
    Case {
        name: "a hub model while offline",
        wrong: NOTHING,
        args: "probe --model some/model --prompts set.jsonl --offline",
        says: &["some/model", "offline"],
    },
    Case {
        name: "no config.json",
        wrong: |dir| std::fs::remove_file(dir.join("model/config.json")).unwrap(),
        args: PROBE,
        says: &["model", "has no config.json", "add the model's config.json"],
    },
    Case {
        name: "no weights",
        wrong: |dir| std::fs::remove_file(weights(dir)).unwrap(),
        args: PROBE,
        says: &["model", "has no weights", "model.safetensors"],
    },
    Case {
        name: "config.json cut",
        wrong: |dir| truncate(&dir.join("model/config.json"), 0.5),
        args: PROBE,
        says: &["model/config.json", "line 13", "fetch it again"],
    },
    Case {
        name: "a config of other sizes than the weights",
        wrong: |dir| {
            replace(
                &dir.join("model/config.json"),
                "\"hidden_size\": 192",
                "\"hidden_size\": 224",
            )
        },
        args: PROBE,
        says: &[
            "model/model.safetensors",
            "has shape",
            "config requires",
            "fetch both again",
        ],
    },
    Case {
        name: "a config of fewer layers than the weights",
        wrong: |dir| {
            replace(
                &dir.join("model/config.json"),
                "\"num_hidden_layers\": 3",
                "\"num_hidden_layers\": 2",
            )
        },
        args: PROBE,
        says: &["model/model.safetensors", "layers.2", "another model"],
    },
    Case {
        name: "unknown architecture",
        wrong: |dir| replace(&dir.join("model/config.json"), "\"llama\"", "\"bert\""),
        args: PROBE,
        says: &["model/config.json", "\"bert\" is not supported", "llama"],
    },
    Case {
        name: "no tokenizer",
        wrong: |dir| std::fs::remove_file(dir.join("model/tokenizer.json")).unwrap(),
        args: PROBE,
        says: &["model", "no tokenizer", "put its tokenizer.json beside it"],
    },
    Case {
        name: "a tokenizer.json that isn't one",
        wrong: |dir| {
            edit(&dir.join("model/tokenizer.json"), |bytes| {
                *bytes = b"{\"vocab\": {}}".to_vec()
            })
        },
        args: PROBE,
        says: &[
            "model/tokenizer.json",
            "tokenizer.json can't be read",
            "fetch",
        ],
    },
    Case {
        name: "tokenizer.json cut",
        wrong: |dir| truncate(&dir.join("model/tokenizer.json"), 0.9),
        args: PROBE,
        says: &[
            "model/tokenizer.json",
            "tokenizer.json can't be read",
            "fetch",
        ],
    },
    Case {
        name: "a tokenizer with more tokens than the model",
        wrong: |dir| {
            program::copy_folder(
                &repository("tests/fixtures/models/llama"),
                &dir.join("model"),
            );
        },
        args: PROBE,
        says: &["model", "token id", "vocabulary of 211", "tokenizer"],
    },
    Case {
        name: "truncated safetensors",
        wrong: |dir| truncate(&weights(dir), 0.7),
        args: PROBE,
        says: &["model/model.safetensors", "truncated", "fetch it again"],
    },
    Case {
        name: "safetensors cut inside its header",
        wrong: |dir| edit(&weights(dir), |bytes| bytes.truncate(100)),
        args: PROBE,
        says: &["model/model.safetensors", "truncated"],
    },
    Case {
        name: "safetensors of no bytes",
        wrong: |dir| edit(&weights(dir), Vec::clear),
        args: PROBE,
        says: &["model/model.safetensors"],
    },
    Case {
        name: "a safetensors header that claims 2^60 bytes",
        wrong: |dir| {
            edit(&weights(dir), |bytes| {
                bytes[..8].copy_from_slice(&(1u64 << 60).to_le_bytes())
            })
        },
        args: PROBE,
        says: &["model/model.safetensors", "1152921504606846976"],
    },
    Case {
        name: "truncated GGUF",
        wrong: |dir| {
            damage::gguf(dir);
            truncate(&dir.join("model.gguf"), 0.7);
        },
        args: PROBE_GGUF,
        says: &["model.gguf", "truncated", "fetch it again"],
    },
    Case {
        name: "GGUF cut inside its metadata",
        wrong: |dir| {
            damage::gguf(dir);
            edit(&dir.join("model.gguf"), |bytes| bytes.truncate(300));
        },
        args: PROBE_GGUF,
        says: &["model.gguf", "truncated", "fetch it again"],
    },
    Case {
        name: "a GGUF header that claims 2^60 tensors",
        wrong: |dir| {
            damage::gguf(dir);
            edit(&dir.join("model.gguf"), |bytes| {
                bytes[8..16].copy_from_slice(&(1u64 << 60).to_le_bytes())
            });
        },
        args: PROBE_GGUF,
        says: &[
            "model.gguf",
            "1152921504606846976 tensors",
            "damaged or truncated",
            "fetch it again",
        ],
    },
    Case {
        name: "a GGUF key that claims 2^60 bytes",
        wrong: |dir| {
            damage::gguf(dir);
            edit(&dir.join("model.gguf"), |bytes| {
                bytes[24..32].copy_from_slice(&(1u64 << 60).to_le_bytes())
            });
        },
        args: PROBE_GGUF,
        says: &[
            "model.gguf",
            "1152921504606846976 bytes",
            "damaged or truncated",
            "fetch it again",
        ],
    },
    Case {
        name: "a file that is no GGUF",
        wrong: |dir| std::fs::write(dir.join("model.gguf"), "<html>Not found</html>").unwrap(),
        args: PROBE_GGUF,
        says: &["model.gguf", "not a GGUF file", "fetch it again"],
    },
    Case {
        name: "NaN weights, probe",
        wrong: |dir| poison(&weights(dir), "model.norm.weight", 0..192),
        args: PROBE,
        says: &[
            "model: can't be scored",
            "not finite",
            "weights are damaged",
        ],
    },
    Case {
        name: "NaN weights, score",
        wrong: |dir| {
            poison(&weights(dir), "model.norm.weight", 0..192);
            std::fs::write(
                dir.join("windows.jsonl"),
                "{\"id\": 1, \"token_ids\": [1, 2, 3], \"prefix_len\": 1}\n",
            )
            .unwrap();
        },
        args: SCORE,
        says: &[
            "model: can't be scored",
            "not finite",
            "weights are damaged",
        ],
    },
    #[cfg(not(feature = "cuda"))]
    Case {
        name: "a device this build doesn't have",
        wrong: NOTHING,
        args: "probe --model model --prompts set.jsonl --device cuda:0",
        says: &["device \"cuda:0\"", "cuda"],
    },
    Case {
        name: "a device that doesn't exist",
        wrong: NOTHING,
        args: "probe --model model --prompts set.jsonl --device tpu",
        says: &["device \"tpu\"", "cpu"],
    },
    Case {
        name: "quantized safetensors",
        wrong: NOTHING,
        args: "probe --model model --prompts set.jsonl --dtype quantized",
        says: &["--dtype quantized", "GGUF", "safetensors"],
    },
    Case {
        name: "the built-in probe set for another model",
        wrong: NOTHING,
        args: "probe --model model",
        says: &["model", "give --prompts PATH"],
    },
];

const PROBE_SETS: &[Case] = &[
    Case {
        name: "missing probe set",
        wrong: |dir| std::fs::remove_file(dir.join("set.jsonl")).unwrap(),
        args: PROBE,
        says: &["set.jsonl", "no such file or folder", "check the path"],
    },
    Case {
        name: "an item without text",
        wrong: |dir| set(dir, &[SET.as_bytes(), b"{\"id\": \"c\"}\n"].concat()),
        args: PROBE,
        says: &["set.jsonl:3: no text; give \"text\", or \"path\", or \"prefix\" and \"suffix\""],
    },
    Case {
        name: "an empty text",
        wrong: |dir| {
            set(
                dir,
                &[SET.as_bytes(), b"{\"id\": \"c\", \"text\": \" \"}\n"].concat(),
            )
        },
        args: PROBE,
        says: &["set.jsonl:3: field \"text\" is empty; remove the line"],
    },
    Case {
        name: "an item without id",
        wrong: |dir| set(dir, b"{\"text\": \"some text\"}\n"),
        args: PROBE,
        says: &["set.jsonl:1: field \"id\" is missing; give"],
    },
    Case {
        name: "duplicate ids",
        wrong: |dir| {
            set(
                dir,
                &[
                    SET.as_bytes(),
                    b"{\"id\": \"a\", \"text\": \"another text\"}\n",
                ]
                .concat(),
            )
        },
        args: PROBE,
        says: &["set.jsonl:3: ", "\"a\"", "set.jsonl:1"],
    },
    Case {
        name: "invalid UTF-8",
        wrong: |dir| {
            set(
                dir,
                &[SET.as_bytes(), b"{\"id\": \"c\", \"text\": \"caf\xe9\"}\n"].concat(),
            )
        },
        args: PROBE,
        says: &[
            "set.jsonl:3: not UTF-8 at byte 24 of the line",
            "save the file as UTF-8",
        ],
    },
    Case {
        name: "a JSON line cut in half",
        wrong: |dir| set(dir, &SET.as_bytes()[..SET.len() - 40]),
        args: PROBE,
        says: &[
            "set.jsonl:2: the last line is incomplete",
            "copy or export the file again",
        ],
    },
    Case {
        name: "JSON that is none",
        wrong: |dir| set(dir, b"{\"id\": \"a\", \"text\": some text}\n"),
        args: PROBE,
        says: &["set.jsonl:1: not valid JSON at column", "correct the line"],
    },
    Case {
        name: "an empty file",
        wrong: |dir| set(dir, b""),
        args: PROBE,
        says: &["set.jsonl: contains no items; "],
    },
    Case {
        name: "blank lines only",
        wrong: |dir| set(dir, b"\n \n"),
        args: PROBE,
        says: &["set.jsonl: contains no items; "],
    },
    Case {
        name: "an empty folder",
        wrong: |dir| std::fs::create_dir(dir.join("texts")).unwrap(),
        args: "probe --model model --prompts texts",
        says: &["texts: no .txt, .md or .jsonl file", "check the path"],
    },
    Case {
        name: "an unknown kind",
        wrong: |dir| {
            set(
                dir,
                b"{\"id\": \"a\", \"kind\": \"contrl\", \"text\": \"some text\"}\n",
            )
        },
        args: PROBE,
        says: &["set.jsonl:1: field \"kind\"", "contrl", "control"],
    },
    Case {
        name: "a prefix longer than the model's context",
        wrong: NOTHING,
        args: "probe --model model --prompts long.txt --prefix 600 --suffix 8",
        says: &["609 tokens", "512", "shorten --prefix or --suffix"],
    },
    Case {
        name: "several bad lines at once",
        wrong: |dir| set(dir, b"{\"id\": \"a\"}\n{\"id\": \"b\", \"text\": 7}\n"),
        args: "lint set.jsonl",
        says: &["set.jsonl:1: no text", "set.jsonl:2: field \"text\""],
    },
];

const SETTINGS: &[Case] = &[
    Case {
        name: "--out under a regular file",
        wrong: |dir| std::fs::write(dir.join("file"), "").unwrap(),
        args: "probe --model model --prompts set.jsonl --out file/run",
        says: &["file/run: ", "can't be made", "--out"],
    },
    Case {
        name: "--out is a regular file",
        wrong: |dir| std::fs::write(dir.join("file"), "").unwrap(),
        args: "probe --model model --prompts set.jsonl --out file",
        says: &["file: ", "can't be made", "--out"],
    },
    Case {
        name: "--out holds something else",
        wrong: NOTHING,
        args: "probe --model model --prompts set.jsonl --prefix 8 --suffix 8 --out model",
        says: &["model: holds ", "isn't a run", "use another --out"],
    },
    Case {
        name: "an unknown policy",
        wrong: NOTHING,
        args: "probe --gate lenient",
        says: &[
            "lenient: ",
            "give a policy file, or one of: default, strict",
        ],
    },
    Case {
        name: "a policy with an unknown key",
        wrong: |dir| policy(dir, "tua = 0.1"),
        args: "probe --gate policy.toml",
        says: &["policy.toml:2: unknown field `tua`", "expected one of"],
    },
    Case {
        name: "a policy whose tau is 2",
        wrong: |dir| policy(dir, "\ntau = 2.0"),
        args: "probe --gate policy.toml",
        says: &["policy.toml:3: tau = 2 is not between 0 and 1; write"],
    },
    Case {
        name: "gate: a bad policy",
        wrong: |dir| policy(dir, "q = 1"),
        args: "gate report.json --policy policy.toml",
        says: &["policy.toml:2: q = 1 is not between 0 and 1; write"],
    },
    Case {
        name: "gate: no report",
        wrong: NOTHING,
        args: "gate nowhere --policy default",
        says: &[
            "nowhere",
            "can't be read",
            "give a run's folder or a report.json",
        ],
    },
    Case {
        name: "gate: a folder without report",
        wrong: NOTHING,
        args: "gate model --policy default",
        says: &[
            "model/report.json",
            "can't be read",
            "give a run's folder or a report.json",
        ],
    },
    Case {
        name: "gate: JSON of something else",
        wrong: NOTHING,
        args: "gate model/config.json --policy default",
        says: &["model/config.json", "no report that byrote can read"],
    },
    Case {
        name: "gate: a report of another version",
        wrong: |dir| {
            std::fs::write(
                dir.join("report.json"),
                "{\"schema\": \"byrote.report/v9\"}",
            )
            .unwrap()
        },
        args: "gate report.json --policy default",
        says: &["report.json", "byrote.report/v9"],
    },
    Case {
        name: "report: something that is no JSON",
        wrong: NOTHING,
        args: "report model/model.safetensors --format html",
        says: &["model/model.safetensors", "no report that byrote can read"],
    },
    Case {
        name: "models: no such registry",
        wrong: NOTHING,
        args: "models list --registry nowhere.toml",
        says: &["nowhere.toml"],
    },
    Case {
        name: "score: no such input",
        wrong: NOTHING,
        args: "score --model model --input nowhere.jsonl --output -",
        says: &["nowhere.jsonl: can't be read"],
    },
    Case {
        name: "score: an output that can't be written",
        wrong: |dir| std::fs::write(dir.join("windows.jsonl"), "").unwrap(),
        args: "score --model model --input windows.jsonl --output set.jsonl/scores.jsonl",
        says: &["set.jsonl/scores.jsonl: can't be written"],
    },
];

/// Runs a table, and tells of every case that isn't as it should be.
fn check(cases: &[Case]) {
    let mut failures = Vec::new();
    for case in cases {
        let dir = tempfile::tempdir().unwrap();
        good(dir.path());
        std::fs::write(
            dir.path().join("long.txt"),
            "the brewer found a cabinet. ".repeat(200),
        )
        .unwrap();
        (case.wrong)(dir.path());
        let ran = run_line(dir.path(), case.args);
        // What a model says of itself while it loads is no message.
        let errors = ran
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count();
        let missing: Vec<_> = case
            .says
            .iter()
            .filter(|what| !ran.stderr.contains(**what))
            .collect();
        if ran.code != Some(2) || errors != 1 || !missing.is_empty() || !ran.stdout.is_empty() {
            failures.push(format!(
                "{}: exit {:?}, lacks {missing:?}\n{}{}",
                case.name,
                ran.code,
                ran.stderr,
                ran.stdout.chars().take(300).collect::<String>()
            ));
        } else {
            println!(
                "{}\n    {}",
                case.name,
                ran.stderr.trim_end().replace('\n', "\n    ")
            );
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn a_bad_model_is_refused_with_one_clear_message() {
    check(MODELS);
}

#[test]
fn a_bad_probe_set_is_refused_with_one_clear_message() {
    check(PROBE_SETS);
}

#[test]
fn bad_settings_and_files_are_refused_with_one_clear_message() {
    check(SETTINGS);
}

#[test]
fn wrong_usage_exits_with_2_and_shows_how_it_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    for (args, says) in [
        (&["probe", "--modle", "x"][..], "'--model'"),
        (&["probe", "--prefix", "0"], "'--prefix <TOKENS>'"),
        (&["probe", "--prefix", "-1"], "'-1'"),
        (&["probe", "--dtype", "int3"], "quantized"),
        (
            &["probe", "--stride", "1", "--stride-chars", "1"],
            "cannot be used with",
        ),
        (&["score", "--model", "builtin"], "--input <FILE>"),
        (&["gate", "run"], "--policy <POLICY>"),
        (&["prob"], "probe"),
        (&[], "Usage: byrote"),
    ] {
        let ran = run(dir.path(), args).exits(2);
        assert!(
            ran.stderr.contains(says) && ran.stdout.is_empty(),
            "{args:?}: {}",
            ran.stderr
        );
    }
    assert!(tree(dir.path()).is_empty(), "wrong usage writes nothing");
}

#[test]
fn controls_alone_decide_nothing_under_a_gate() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path());
    let controls: String = SET
        .lines()
        .filter(|line| line.contains("control"))
        .map(|line| format!("{line}\n"))
        .collect();
    set(dir.path(), controls.as_bytes());
    let args = format!("{PROBE} --gate default --format json --out run");
    let ran = run_line(dir.path(), &args).exits(2);
    assert!(ran.stdout.contains("no items to judge"), "{}", ran.stdout);
}

#[test]
fn weights_that_are_bad_in_one_place_leave_the_rest_scored_and_the_item_inconclusive() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path());
    // Keys and values of the second item alone: a token that only it holds. The output matrix is the embedding, so that a
    // NaN there would reach every window; the model is given one of its own.
    let ids = |text: &str| {
        let lines = format!(
            "{}\n",
            serde_json::json!({"id": 1, "prefix": &text[..1], "suffix": &text[1..]})
        );
        std::fs::write(dir.path().join("windows.jsonl"), lines).unwrap();
        run_line(dir.path(), SCORE).exits(0);
        let told = std::fs::read_to_string(dir.path().join("scores.jsonl")).unwrap();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        told["token_ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as usize)
            .collect::<Vec<_>>()
    };
    let texts: Vec<serde_json::Value> = SET
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (a, b) = (
        ids(texts[0]["text"].as_str().unwrap()),
        ids(texts[1]["text"].as_str().unwrap()),
    );
    let own = *b[4..8].iter().find(|id| !a.contains(id)).unwrap();
    untie(&dir.path().join("model"));
    poison(
        &weights(dir.path()),
        "model.embed_tokens.weight",
        own..own + 1,
    );

    let args = format!("{PROBE} --out run --format json");
    let ran = run_line(dir.path(), &args).exits(2);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let items = report["items"].as_array().unwrap();
    assert_eq!(
        items[0]["evidence"]["forms"][0]["unscored"],
        serde_json::json!([]),
        "{}",
        items[0]
    );
    assert_eq!(items[1]["verdict"], "inconclusive");
    assert!(
        items[1]["evidence"]["forms"][0]["unscored"]
            .to_string()
            .contains("not finite"),
        "{}",
        items[1]
    );
    assert!(
        ran.stderr.contains("error: ") && ran.stderr.contains("not finite"),
        "{}",
        ran.stderr
    );
}

/// Gives a model an output matrix of its own, equal to its embedding.
fn untie(model: &Path) {
    replace(
        &model.join("config.json"),
        "\"tie_word_embeddings\": true",
        "\"tie_word_embeddings\": false",
    );
    edit(&model.join("model.safetensors"), |bytes| {
        let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut header: serde_json::Value =
            serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
        let mut head = header["model.embed_tokens.weight"].clone();
        let offsets: Vec<usize> = serde_json::from_value(head["data_offsets"].clone()).unwrap();
        let data = bytes.split_off(8 + header_len);
        head["data_offsets"] =
            serde_json::json!([data.len(), data.len() + offsets[1] - offsets[0]]);
        header["lm_head.weight"] = head;
        let header = serde_json::to_vec(&header).unwrap();
        *bytes = [
            &(header.len() as u64).to_le_bytes()[..],
            &header,
            &data,
            &data[offsets[0]..offsets[1]],
        ]
        .concat();
    });
}
