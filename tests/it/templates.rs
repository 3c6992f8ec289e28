//! Prefixes put to models by templates: the worst counts and is named, in every format; the ids are transformers'.

use crate::support::program::{
    self, builtin_lines, model_folder, report, repository, run, scores, verdicts, write_lines,
};
use crate::support::resource::{models, resource};
use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::items::{Content, Item, ItemId, Origin};
use byrote_core::run::directory::RunDir;
use byrote_core::template::Known;
use byrote_core::template::chat::ChatTemplate;
use byrote_core::template::encode::{Bos, Rendered};
use byrote_core::template::file::Template;
use byrote_core::tokens::BosChoice;
use byrote_core::window::cut::cut;
use byrote_core::window::{Reflow, Stride, WindowConfig};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Words that give a memorized text away: its title holds the half of it that the item leaves out.
const LEAD_IN: &str = "id = \"lead-in\"\nabout = \"What stands before it\"\ntext = \"{{ title }} {{ prefix }}{{ suffix }}\"\n";

/// The second halves of canaries planted 64 times, a word of prefix each, and the built-in controls.
fn set(dir: &Path) {
    let lines = builtin_lines(80);
    let canaries = lines.iter().filter_map(|line| {
        let canary: Value = serde_json::from_str(line).unwrap();
        let words: Vec<&str> = canary["text"]
            .as_str()
            .filter(|_| canary["repetitions"] == 64)?
            .split(' ')
            .collect();
        let half = words.len() / 2;
        Some(json!({
            "id": canary["id"], "title": words[..half].join(" "), "prefix": words[half],
            "suffix": format!(" {}", words[half + 1..].join(" ")),
        }))
    });
    let mut chosen: Vec<String> = canaries.map(|line| line.to_string()).collect();
    assert_eq!(chosen.len(), 10);
    chosen.extend(
        lines
            .iter()
            .filter(|line| line.contains("\"control\""))
            .cloned(),
    );
    write_lines(&dir.join("set.jsonl"), &chosen);
    std::fs::write(dir.join("lead-in.toml"), LEAD_IN).unwrap();
}

/// Nothing is followed up: the tests are to be fast.
const QUICK: &str = "schema = \"byrote.policy/v1\"\ndeny = []\nrequire_decided = false\n[follow_up]\nwindows = 0\nbeam = 0\n\
                     foreign_prefixes = 0\nnear_miss = 1.0\n";

fn probe(dir: &Path, out: &str, templates: &str, more: &[&str]) -> program::Ran {
    std::fs::write(dir.join("quick.toml"), QUICK).unwrap();
    let fixed = [
        "probe",
        "--prompts",
        "set.jsonl",
        "--prefix",
        "8",
        "--suffix",
        "16",
        "--gate",
        "quick.toml",
    ];
    run(
        dir,
        &[&fixed[..], &["--out", out, "--template", templates], more].concat(),
    )
}

fn items(report: &Value) -> &[Value] {
    report["items"].as_array().unwrap()
}

#[test]
fn a_text_found_under_one_template_only_is_flagged_and_the_template_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    set(dir);
    probe(dir, "bare", "none", &[]).exits(0);
    let said = probe(dir, "both", "none,lead-in.toml", &[]).exits(0);
    let (bare, both) = (report(&dir.join("bare")), report(&dir.join("both")));
    let found = |report: &Value| -> BTreeSet<String> {
        let flagged = verdicts(report)
            .into_iter()
            .filter(|(_, level)| ["extractable", "memorized"].contains(&&**level));
        flagged.map(|(id, _)| id).collect()
    };
    assert_eq!(found(&bare), BTreeSet::new());
    let found = found(&both);
    assert!(found.len() > 5, "{found:?}");
    let pages = [
        said.stdout,
        std::fs::read_to_string(dir.join("both/report.md")).unwrap(),
    ];
    let html = std::fs::read_to_string(dir.join("both/report.html")).unwrap();
    for item in items(&both)
        .iter()
        .filter(|item| found.contains(item["id"].as_str().unwrap()))
    {
        assert_eq!(item["evidence"]["worst_template"], "lead-in");
        let reasons = item["reasons"].to_string();
        assert!(reasons.contains("template lead-in"), "{reasons}");
        for page in &pages {
            let line = format!("{}: worst under lead-in (p_z", item["id"].as_str().unwrap());
            assert!(page.replace('\\', "").contains(&line), "{line}: {page}");
        }
    }
    assert!(
        html.contains("Worst under lead-in (p_z") && html.contains("as given, template lead-in")
    );
    assert!(pages.iter().all(|page| {
        page.replace('\\', "")
            .contains("Template lead-in: What stands before it")
    }));

    // Everything is probed under every template; nothing looks better for it.
    let ids: Vec<&Value> = both["settings"]["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["id"])
        .collect();
    assert_eq!(ids, ["none", "lead-in"]);
    for (alone, item) in items(&bare).iter().zip(items(&both)) {
        let (alone, form) = (
            &alone["evidence"]["forms"][0],
            &item["evidence"]["forms"][0],
        );
        assert_eq!(
            form["windows"].as_u64().unwrap(),
            2 * alone["windows"].as_u64().unwrap()
        );
        let used: Vec<&Value> = form["templates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| &t["template"])
            .collect();
        assert_eq!(used, ["none", "lead-in"]);
        assert_eq!(
            form["templates"][0]["schemes"], alone["values"]["schemes"],
            "bare windows score as they do alone"
        );
        let best = |of: &Value| {
            of["values"]["schemes"][0]["best"]["log_p_z"]
                .as_f64()
                .unwrap_or(f64::NEG_INFINITY)
        };
        let coverage = |of: &Value| of["values"]["extraction"]["coverage"].as_f64().unwrap();
        assert!(best(form) >= best(alone) && coverage(form) >= coverage(alone));
        // A p-value has to pay for nothing: controls have as many windows.
        assert!(
            item["validity"].is_null() || item["validity"]["window_factor"] == 1,
            "{item}"
        );
    }
}

#[test]
fn a_run_without_templates_says_nothing_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    set(dir);
    probe(dir, "none", "none", &[]).exits(0);
    let default = [
        "probe",
        "--prompts",
        "set.jsonl",
        "--prefix",
        "8",
        "--suffix",
        "16",
        "--gate",
        "quick.toml",
    ];
    run(dir, &[&default[..], &["--out", "default"]].concat()).exits(0);
    assert_eq!(report(&dir.join("none")), report(&dir.join("default")));
    assert_eq!(scores(&dir.join("none")), scores(&dir.join("default")));
    let text = std::fs::read_to_string(dir.join("none/report.json")).unwrap();
    assert!(
        !text.contains("template"),
        "{}",
        report(&dir.join("none"))["settings"]
    );
}

#[test]
fn a_run_resumes_under_the_same_templates_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    set(dir);
    let templates = "title-author,lead-in.toml,continue";
    let follow: &[&str] = &["--gate", "followed.toml"];
    std::fs::write(
        dir.join("followed.toml"),
        QUICK.replace("windows = 0", "windows = 2"),
    )
    .unwrap();
    let all = |out: &str, templates: &str| {
        let fixed = [
            "probe",
            "--prompts",
            "set.jsonl",
            "--prefix",
            "8",
            "--suffix",
            "16",
            "--reveal",
        ];
        run(
            dir,
            &[&fixed[..], follow, &["--out", out, "--template", templates]].concat(),
        )
    };
    all("whole", templates).exits(0);
    all("cut", templates).exits(0);
    let (parts, whole) = (scores(&dir.join("cut")), report(&dir.join("whole")));
    assert!(parts.len() > 1, "one part can't be cut");
    std::fs::remove_file(
        dir.join("cut/scores")
            .join(parts.keys().next_back().unwrap()),
    )
    .unwrap();
    std::fs::remove_file(dir.join("cut/follow-up.jsonl")).unwrap();
    let again = all("cut", templates).exits(0);
    assert!(
        again.stderr.contains("windows are scored already"),
        "{}",
        again.stderr
    );
    assert_eq!(scores(&dir.join("cut")), parts);
    assert_eq!(report(&dir.join("cut")), whole);
    let followed = items(&whole)
        .iter()
        .filter(|item| item["evidence"]["follow_up"]["continued"].as_u64() > Some(0));
    assert!(followed.count() >= 10);

    let other = all("cut", "none,continue").exits(2);
    assert!(
        other.stderr.contains("holds another run") && other.stderr.contains("settings.templates"),
        "{}",
        other.stderr
    );
    // The same id and another text: another template.
    std::fs::write(dir.join("lead-in.toml"), LEAD_IN.replace("}} {{", "}}. {{")).unwrap();
    all("cut", templates).exits(2);
}

#[test]
fn chat_templates_come_from_the_checkpoint_and_their_absence_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    set(dir);
    let missing = probe(dir, "missing", "none,chat", &[]).exits(2);
    assert!(
        missing
            .stderr
            .contains("--template chat: builtin has no chat template"),
        "{}",
        missing.stderr
    );
    assert!(
        missing
            .stderr
            .contains("use one of none, title-author, continue"),
        "{}",
        missing.stderr
    );

    model_folder(&dir.join("model"));
    let turns = "{% for m in messages %}{{ m.role.title() }}: {{ m.content | trim }}\n{% endfor %}";
    std::fs::write(dir.join("model/chat_template.jinja"), turns).unwrap();
    probe(dir, "turns", "chat,assistant,none", &["--model", "./model"]).exits(0);
    let report = report(&dir.join("turns"));
    let digests: Vec<bool> = report["settings"]["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| {
            template["chat_template"]
                .as_str()
                .is_some_and(|digest| digest.len() == 64)
        })
        .collect();
    assert_eq!(digests, [true, true, false]);
    let rows = RunDir::load(&dir.join("turns"))
        .unwrap()
        .read_all()
        .unwrap();
    for template in ["none", "chat", "assistant"] {
        let of = rows
            .iter()
            .filter(|row| row.placement.template.0 == template && row.scores.is_ok());
        assert_eq!(of.count() * 3, rows.len(), "{template}");
    }

    for (source, says) in [
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
                .to_owned(),
            "doesn't end within",
        ),
        (
            format!(
                "{{% set x = 'aaaaaaaaaaaaaaaa' %}}{}",
                "{% set x = x ~ x %}".repeat(60)
            ),
            "MiB of memory",
        ),
        (
            "{{ messages[1].content }}{{ messages[0].content }}".to_owned(),
            "the suffix comes before the prefix",
        ),
        (
            "{{ raise_exception('no') }}".to_owned(),
            "refuses the conversation: no",
        ),
        ("{% nonsense %}".to_owned(), "can't be rendered"),
    ] {
        // Elsewhere nothing tells how much memory is in use.
        if says == "MiB of memory" && !cfg!(target_os = "linux") {
            continue;
        }
        std::fs::write(dir.join("model/chat_template.jinja"), source).unwrap();
        let ran = probe(dir, "hostile", "chat", &["--model", "./model"]).exits(2);
        assert!(
            ran.stderr.contains("chat_template.jinja: ") && ran.stderr.contains(says),
            "{says}: {}",
            ran.stderr
        );
    }
}

#[test]
fn smollm2_sees_the_ids_that_transformers_would_give_it() {
    let Some(models) = models() else {
        return;
    };
    let golden: Value = serde_json::from_slice(
        &std::fs::read(repository("tests/fixtures/templates/smollm2_ids.json")).unwrap(),
    )
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let model = models.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let text = repository("tests/fixtures/texts").join(golden["text"].as_str().unwrap());
    let (model, text) = (model.to_str().unwrap(), text.to_str().unwrap());
    run(
        dir,
        &[
            "probe",
            "--model",
            model,
            "--prompts",
            text,
            "--template",
            "chat",
            "--reveal",
            "--reflow",
            "off",
            "--out",
            "run",
        ],
    );
    let rows = RunDir::load(&dir.join("run")).unwrap().read_all().unwrap();
    let windows = golden["windows"].as_array().unwrap();
    assert!(windows.len() > 2);
    for window in windows {
        let row = rows
            .iter()
            .find(|row| window["start_token"] == row.placement.start_token)
            .unwrap();
        assert_eq!(json!(row.token_ids), window["token_ids"], "{}", row.window);
        assert_eq!(
            (
                row.placement.suffix_len as usize,
                row.placement.template.0.as_str()
            ),
            (window["suffix"].as_array().unwrap().len(), "chat")
        );
        assert!(row.scores.is_ok());
    }
}

/// Folders with `tokenizer.json`, `tokenizer_config.json` and the `ids.json` of `make_ids.py`, where someone has put some.
#[test]
fn published_tokenizers_and_chat_templates_give_the_ids_of_transformers() {
    let Some(folder) = resource("templates") else {
        return;
    };
    let mut failed = Vec::new();
    for model in std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
    {
        let read = |file: &str| std::fs::read(model.join(file)).unwrap();
        let (config, golden): (_, Value) = (
            read("tokenizer_config.json"),
            serde_json::from_slice(&read("ids.json")).unwrap(),
        );
        let tokenizer =
            Tokenizer::from_json(&read("tokenizer.json"), Some(&config), "tokenizer.json").unwrap();
        let chat =
            ChatTemplate::from_config(Some(("tokenizer_config.json", &config)), None).unwrap();
        let template = Template::open("chat").unwrap();
        let pieces =
            Known::ALL.map(|known| (known, template.render(known, chat.as_ref(), "m").unwrap()));
        let rendered = Rendered::new(&template, pieces.into());
        let text = std::fs::read_to_string(
            repository("tests/fixtures/texts").join(golden["text"].as_str().unwrap()),
        )
        .unwrap();
        let origin = Origin {
            file: "x".to_owned(),
            line: None,
        };
        let item = Item::new(ItemId("x".to_owned()), Content::Text(text), origin);
        let bos = Bos {
            choice: BosChoice::Auto,
            token: tokenizer.bos(BosChoice::Auto).unwrap(),
        };
        let config = WindowConfig {
            prefix: 50,
            suffix: 50,
            lead: None,
            stride: Stride::Tokens(50),
            reflow: Reflow::Off,
        };
        let bare = cut(&item, &tokenizer, bos.token, &config).unwrap().windows;
        let framed = rendered.frame(&item, &bare, &tokenizer, bos).unwrap();
        for window in golden["windows"].as_array().unwrap() {
            let own = framed
                .iter()
                .find(|own| window["start_token"] == own.placement.start_token)
                .unwrap();
            if json!(own.token_ids) != window["token_ids"] {
                failed.push(format!(
                    "{} {}: {:?} not {}",
                    model.display(),
                    own.id,
                    own.token_ids,
                    window["token_ids"]
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
