//! `byrote controls` and `probe --controls`: made, checked, used.

use crate::support::program::{repository, run};
use serde_json::Value;
use std::path::Path;

/// A text of its own: made-up words, in sentences and paragraphs.
fn own_text(name: &str, sentences: usize) -> String {
    let mut state = name.bytes().fold(7u64, |state, byte| {
        state.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    let mut below = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut text = String::new();
    for sentence in 0..sentences {
        for word in 0..8 + below(8) {
            let syllables: String = (0..1 + below(3))
                .map(|_| {
                    let (c, v) = (below(16) as usize, below(5) as usize);
                    format!("{}{}", &"bcdfghjklmnprstv"[c..=c], &"aeiou"[v..=v])
                })
                .collect();
            let capital = |text: &str| text[..1].to_uppercase() + &text[1..];
            text += &if word == 0 {
                capital(&syllables)
            } else {
                format!(" {syllables}")
            };
        }
        text += if sentence % 4 == 3 { ".\n\n" } else { ". " };
    }
    text
}

/// Items to be matched, and a folder of texts of one's own.
fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("items")).unwrap();
    std::fs::create_dir(dir.path().join("own")).unwrap();
    for name in ["pd_genesis.txt", "pd_usconst.txt", "mit_license.txt"] {
        let from = repository("tests/fixtures/texts").join(name);
        std::fs::copy(from, dir.path().join("items").join(name)).unwrap();
    }
    for n in 0..24 {
        std::fs::write(
            dir.path().join(format!("own/letter-{n:02}.txt")),
            own_text(&format!("l{n}"), 120),
        )
        .unwrap();
    }
    dir
}

fn json(dir: &Path, args: &[&str], code: i32) -> Value {
    serde_json::from_str(
        &run(dir, &[args, &["--format", "json"]].concat())
            .exits(code)
            .stdout,
    )
    .unwrap()
}

const MAKE: [&str; 7] = [
    "controls", "make", "--like", "items", "--from", "own", "--out",
];

#[test]
fn controls_that_were_made_pass_the_check_and_are_not_written_over() {
    let dir = workspace();
    let dir = dir.path();
    let made = run(
        dir,
        &[&MAKE[..], &["controls.jsonl", "--genre", "letters"]].concat(),
    )
    .exits(0);
    // 3 items at q = 0.05 need 59.
    for said in [
        "controls.jsonl: 24 controls from 24 of 24 texts",
        "A first finding among 3 items at q = 0.05 needs 59 control texts.",
        "With these alone no item can be called memorized: 35 more texts are needed, ",
    ] {
        assert!(made.stdout.contains(said), "{said}: {}", made.stdout);
    }
    let lines = std::fs::read_to_string(dir.join("controls.jsonl")).unwrap();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["kind"], "control");
        assert_eq!(
            line["tags"],
            serde_json::json!(["letters", "made-by:byrote controls make"])
        );
        assert_eq!(line["matches"], serde_json::json!(["letters"]));
    }
    let checked = run(
        dir,
        &["controls", "check", "controls.jsonl", "--like", "items"],
    )
    .exits(0);
    assert!(
        checked
            .stdout
            .starts_with("24 controls, 24 independent texts, "),
        "{}",
        checked.stdout
    );
    assert!(
        checked.stdout.ends_with("; nothing found\n"),
        "{}",
        checked.stdout
    );

    let again = run(dir, &[&MAKE[..], &["controls.jsonl"]].concat()).exits(2);
    assert_eq!(
        again.stderr,
        "error: controls.jsonl: is there already and is not written over; give another --out\n"
    );
    assert_eq!(
        std::fs::read_to_string(dir.join("controls.jsonl")).unwrap(),
        lines
    );

    // The same seed makes the same, another one doesn't.
    run(
        dir,
        &[&MAKE[..], &["same.jsonl", "--genre", "letters"]].concat(),
    )
    .exits(0);
    run(
        dir,
        &[
            &MAKE[..],
            &["other.jsonl", "--genre", "letters", "--seed", "1"],
        ]
        .concat(),
    )
    .exits(0);
    assert_eq!(
        std::fs::read_to_string(dir.join("same.jsonl")).unwrap(),
        lines
    );
    assert_ne!(
        std::fs::read_to_string(dir.join("other.jsonl")).unwrap(),
        lines
    );

    let several = json(
        dir,
        &[
            &MAKE[..],
            &["several.jsonl", "--per-text", "3", "--policy", "strict"],
        ]
        .concat(),
        0,
    );
    assert_eq!(
        (&several["controls"], &several["texts"], &several["needed"]),
        (&72.into(), &24.into(), &299.into())
    );
    let checked = json(dir, &["controls", "check", "several.jsonl"], 2);
    let dependent = checked["findings"].as_array().unwrap();
    assert!(
        dependent.len() == 48
            && dependent
                .iter()
                .all(|finding| finding["problem"] == "dependent"),
        "{dependent:?}"
    );
}

#[test]
fn what_quotes_an_item_or_is_too_short_is_listed_and_makes_no_control() {
    let dir = workspace();
    let dir = dir.path();
    let item = std::fs::read_to_string(dir.join("items/pd_genesis.txt")).unwrap();
    std::fs::create_dir(dir.join("few")).unwrap();
    std::fs::write(dir.join("few/quote.txt"), &item).unwrap();
    std::fs::write(dir.join("few/short.txt"), "One sentence.").unwrap();
    let few = [
        "controls",
        "make",
        "--like",
        "items",
        "--from",
        "few",
        "--out",
        "few.jsonl",
    ];
    let ran = run(dir, &few).exits(2);
    for said in [
        "few/quote.txt: \"quote.txt\": the piece from character 1 on shares 8 words in a row with the item \"pd_genesis.txt\"",
        "few/short.txt: \"short.txt\": 13 characters, and the shortest item has 748: 735 more are needed",
    ] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert!(!dir.join("few.jsonl").exists());
    std::fs::write(dir.join("few/letter.txt"), own_text("x", 60)).unwrap();
    let made = json(dir, &few, 0);
    assert_eq!(
        (
            made["controls"].as_u64(),
            made["left_out"].as_array().unwrap().len()
        ),
        (Some(1), 2)
    );

    let ran = run(
        dir,
        &[
            "controls",
            "check",
            "items",
            "own/letter-00.txt",
            "--like",
            "items",
        ],
    )
    .exits(2);
    assert!(
        ran.stdout.contains("overlap: shares 8 words in a row"),
        "{}",
        ran.stdout
    );
    run(dir, &["controls", "check", "builtin", "--like", "items"]).exits(0);
    let ran = run(dir, &["controls", "check", "builtin:poems"]).exits(2);
    assert!(
        ran.stderr
            .contains("there is no built-in control set \"poems\"; the sets are code,"),
        "{}",
        ran.stderr
    );
}

#[test]
fn twins_are_made_marked_and_measured() {
    let dir = workspace();
    let dir = dir.path();
    let text = "On 4 May 1912 the miller Anders Holt left Varde for Ribe with 30 sacks. Holt never came to Ribe. \
                His sister Karen asked in Varde, and in Ribe, and at the ferry of Jon Krag. Krag had seen 11 carts and no Holt. \
                By then Karen had the mill. Nobody in Varde spoke of Anders Holt again, and Karen paid 250 crowns to Krag.";
    std::fs::write(dir.join("holt.txt"), text).unwrap();
    let made = json(
        dir,
        &[
            "controls",
            "twins",
            "--like",
            "holt.txt",
            "--out",
            "twins.jsonl",
            "--each",
            "5",
        ],
        0,
    );
    let twins = made["twins"].as_array().unwrap();
    assert_eq!((twins.len(), made["needed_each"].as_u64()), (5, Some(19)));
    for twin in twins {
        // A text full of names keeps few runs of words.
        assert!(
            (0.0..0.1).contains(&twin["kept"].as_f64().unwrap()),
            "{twin}"
        );
    }
    for line in std::fs::read_to_string(dir.join("twins.jsonl"))
        .unwrap()
        .lines()
    {
        assert!(
            !line.contains("Karen") && !line.contains("1912") && line.contains("asked in"),
            "{line}"
        );
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["kind"], &line["matches"][0]),
            (&"control".into(), &"holt.txt".into())
        );
        assert_eq!(
            (&line["tags"][0], &line["tags"][1]),
            (&"twin".into(), &"weaker".into())
        );
    }
    let said = run(
        dir,
        &[
            "controls",
            "twins",
            "--like",
            "holt.txt",
            "--out",
            "more.jsonl",
        ],
    )
    .exits(0)
    .stdout;
    assert!(
        said.contains("Twins are the weaker kind of control") && said.contains("needs 19 of each"),
        "{said}"
    );
    let checked = json(
        dir,
        &["controls", "check", "twins.jsonl", "--like", "holt.txt"],
        2,
    );
    assert_eq!(checked["twins"], 5);
    let problems: Vec<&str> = checked["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["problem"].as_str().unwrap())
        .collect();
    assert_eq!(
        problems, ["short"; 5],
        "a twin isn't held against its own item and its other twins"
    );
}

#[cfg(feature = "native")]
mod probing {
    use super::*;

    const PROBE: [&str; 7] = [
        "probe",
        "--model",
        "builtin",
        "--prompts",
        "items",
        "--out",
        "run",
    ];

    fn report(dir: &Path) -> Value {
        serde_json::from_slice(&std::fs::read(dir.join("run/report.json")).unwrap()).unwrap()
    }

    fn kinds(report: &Value) -> Vec<&str> {
        report["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["kind"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn controls_of_every_origin_are_used_and_named_in_the_report() {
        let dir = workspace();
        let dir = dir.path();
        run(dir, &[&MAKE[..], &["made.jsonl"]].concat()).exits(0);
        let controls = [
            "--controls",
            "made.jsonl",
            "--controls",
            "builtin:legal,prose",
            "--controls",
            "own/letter-00.txt",
        ];
        let ran = run(dir, &[&PROBE[..], &controls].concat()).exits(0);
        assert!(!ran.stderr.contains("no control texts"), "{}", ran.stderr);
        let report = report(dir);
        assert_eq!(
            kinds(&report)
                .iter()
                .filter(|kind| **kind == "control")
                .count(),
            24 + 60 + 1
        );
        assert_eq!(
            kinds(&report)
                .iter()
                .filter(|kind| **kind == "opt_out")
                .count(),
            3
        );
        let names: Vec<&str> = report["probe_set"]["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| {
                assert_eq!(file["sha256"].as_str().unwrap().len(), 64);
                file["name"].as_str().unwrap()
            })
            .collect();
        assert_eq!(
            names[3..],
            [
                "made.jsonl",
                "builtin:controls/legal.jsonl",
                "builtin:controls/prose.jsonl",
                "own/letter-00.txt"
            ]
        );
        // 59 controls are enough for three items.
        for item in report["items"].as_array().unwrap() {
            assert_ne!(item["verdict"], "inconclusive", "{}", item["id"]);
        }
    }

    #[test]
    fn without_controls_the_way_to_some_is_told() {
        let dir = workspace();
        let ran = run(dir.path(), &PROBE).exits(0);
        assert!(
            ran.stderr
                .contains("add --controls builtin, or texts of your own"),
            "{}",
            ran.stderr
        );
    }

    #[test]
    fn the_built_in_probe_set_takes_more_controls() {
        let dir = tempfile::tempdir().unwrap();
        run(
            dir.path(),
            &["probe", "--controls", "builtin:verse", "--out", "run"],
        )
        .exits(0);
        let report = report(dir.path());
        let verse = report["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| item["id"].as_str().unwrap().starts_with("control-verse-"));
        assert_eq!(verse.count(), 30);
    }

    #[test]
    fn a_text_asked_for_is_no_control() {
        let dir = workspace();
        let dir = dir.path();
        let genesis = std::fs::read_to_string(dir.join("items/pd_genesis.txt")).unwrap();
        std::fs::write(dir.join("copy.txt"), genesis).unwrap();
        std::fs::write(
            dir.join("named.jsonl"),
            "{\"id\":\"a\",\"path\":\"own/letter-00.txt\"}\n",
        )
        .unwrap();
        let ours = "a control must be a text the model can't have seen, so";
        for (prompts, controls, said) in [
            (
                "items",
                "items",
                format!(
                    "named both as a probe set and as controls; {ours} name the file in one place"
                ),
            ),
            (
                "items",
                "copy.txt",
                format!(
                    "copy.txt: the same text is a control here and opted out at items/pd_genesis.txt (\"pd_genesis.txt\"); {ours} remove one of the two"
                ),
            ),
            (
                "named.jsonl",
                "own",
                "own/letter-00.txt: the same text is a control here and opted out at named.jsonl:1"
                    .to_owned(),
            ),
            (
                "items",
                "gone.txt",
                "gone.txt: no such file or folder".to_owned(),
            ),
            (
                "items",
                "builtin:poems",
                "there is no built-in control set \"poems\"".to_owned(),
            ),
        ] {
            let ran = run(
                dir,
                &[
                    "probe",
                    "--prompts",
                    prompts,
                    "--controls",
                    controls,
                    "--out",
                    "run",
                ],
            )
            .exits(2);
            assert!(ran.stderr.contains(&said), "{said}: {}", ran.stderr);
        }
        assert!(!dir.join("run/scores").exists());

        // What says of itself that it is something else is a control all the same, and the oddity is told.
        let line = format!(
            "{{\"id\":\"a\",\"kind\":\"canary\",\"text\":{:?}}}\n",
            own_text("odd", 40)
        );
        std::fs::write(dir.join("odd.jsonl"), line).unwrap();
        let ran = run(dir, &[&PROBE[..], &["--controls", "odd.jsonl"]].concat()).exits(0);
        assert!(
            ran.stderr
                .contains("odd.jsonl: read as controls, though 1 of its lines are canaries"),
            "{}",
            ran.stderr
        );
        assert_eq!(
            kinds(&report(dir))
                .iter()
                .filter(|kind| **kind == "control")
                .count(),
            1
        );
        // Controls inside the probe set, named again as controls, are what they were.
        std::fs::write(
            dir.join("items/c.jsonl"),
            format!(
                "{{\"id\":\"c\",\"kind\":\"control\",\"text\":{:?}}}\n",
                own_text("c", 40)
            ),
        )
        .unwrap();
        let again = [
            "probe",
            "--prompts",
            "items",
            "--controls",
            "items/c.jsonl",
            "--out",
            "again",
        ];
        let ran = run(dir, &again).exits(0);
        assert!(
            ran.stderr
                .contains("items/c.jsonl: same file as items/c.jsonl; read once"),
            "{}",
            ran.stderr
        );
    }
}
