//! The HTML report in a real browser: `BYROTE_TEST_BROWSER` names a Chromium, and `npm install` has been run in tests/browser.
//! Without either nothing is tested, and the output says so. `BYROTE_TEST_SHOTS` names a folder for screenshots.

use crate::support::finished::built_in;
use crate::support::program::{repository, run};
use crate::support::resource::{not_tested, resource};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Waives a finding of the built-in set, and one that isn't there.
const POLICY: &str = "\n[[waivers]]\nitem = \"ITEM\"\nreason = \"licensed since October\"\nexpires = 2099-06-30\napprover = \
                      \"legal@example.org\"\n\n[[waivers]]\nitem = \"gone\"\nreason = \"was removed\"\nexpires = 2099-01-01\n";

#[test]
fn the_page_sorts_filters_unfolds_prints_and_is_accessible() {
    let folder = repository("tests/browser");
    let Some(browser) = resource("browser") else {
        return;
    };
    if !folder.join("node_modules/playwright-core").is_dir() {
        not_tested("browser", "`npm install` has not been run in tests/browser");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    pages(dir.path());
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec", "report.test.mjs"])
        .current_dir(&folder);
    node.env("BYROTE_TEST_BROWSER", &browser)
        .env("BYROTE_TEST_PAGES", dir.path());
    let output = node
        .output()
        .expect("node runs the browser test; install Node.js 20 or later");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `gated.html`, `revealed.html`, `compared.html`, `sweep.html` and `ten-thousand.html`, from real runs of the built-in model.
fn pages(dir: &Path) {
    built_in().copy_to(&dir.join("plain"));
    let plain = std::fs::read(dir.join("plain/report.json")).unwrap();
    let mut report: Value = serde_json::from_slice(&plain).unwrap();
    let items = report["items"].as_array().unwrap();
    let found = items
        .iter()
        .find(|item| item["verdict"] == "extractable")
        .unwrap()["id"]
        .as_str()
        .unwrap();
    let template = run(dir, &["lint", "--template"]).exits(0).stdout;
    std::fs::write(
        dir.join("policy.toml"),
        template + &POLICY.replace("ITEM", found),
    )
    .unwrap();
    gate_and_render(dir, "plain", "gated");

    run(dir, &["probe", "--reveal", "--out", "shown"]).exits(0);
    std::fs::copy(dir.join("shown/report.html"), dir.join("revealed.html")).unwrap();

    run(dir, &["probe", "--prefix", "10,50", "--out", "swept"]).exits(0);
    std::fs::copy(dir.join("swept/sweep.html"), dir.join("sweep.html")).unwrap();
    run(dir, &["probe", "--dtype", "q4_0", "--out", "coarser"]).exits(0);
    run(
        dir,
        &[
            "compare",
            "plain",
            "coarser",
            "--format",
            "html",
            "--output",
            "compared.html",
        ],
    )
    .exits(0);

    let items = items.clone();
    let many = (0..10_000).map(|n| {
        let mut item = items[n % items.len()].clone();
        let id = format!("{} copy {n}", item["id"].as_str().unwrap());
        item["id"] = id.into();
        item
    });
    report["items"] = many.collect();
    std::fs::write(dir.join("many.json"), serde_json::to_vec(&report).unwrap()).unwrap();
    gate_and_render(dir, "many.json", "ten-thousand");
}

/// Decides by `policy.toml` and writes `NAME.html`.
fn gate_and_render(dir: &Path, report: &str, name: &str) {
    let decided = run(
        dir,
        &[
            "gate",
            report,
            "--policy",
            "policy.toml",
            "--format",
            "json",
        ],
    );
    assert!(
        decided.code.is_some_and(|code| code <= 2),
        "{}",
        decided.stderr
    );
    let (json, html) = (format!("{name}.json"), format!("{name}.html"));
    std::fs::write(dir.join(&json), decided.stdout).unwrap();
    run(
        dir,
        &["report", &json, "--format", "html", "--output", &html],
    )
    .exits(0);
}
