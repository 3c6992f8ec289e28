//! Every format that has a published schema is held to it: the schemas are in `tests/fixtures/schemas/`, with their sources.

use super::find;
use crate::policy::decision::{Decision, Outcome};
use crate::report::fixture::{self, hostile};
use crate::report::{Report, json_v1};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Reports of every kind: blocked, undecided, passed, not gated, revealed, empty, hostile.
fn reports() -> Vec<(&'static str, Report)> {
    let decided = |outcome| Report {
        decision: Some(Decision {
            outcome,
            ..fixture::report().decision.unwrap()
        }),
        ..fixture::report()
    };
    let mut nothing_known = fixture::empty();
    nothing_known.model.files.clear();
    nothing_known.probe_set.files.clear();
    vec![
        ("blocked", decided(Outcome::Block)),
        ("undecided", decided(Outcome::Undecided)),
        ("passed", decided(Outcome::Pass)),
        ("revealed", fixture::revealed()),
        (
            "not gated",
            Report {
                decision: None,
                ..fixture::report()
            },
        ),
        ("canaries and controls", fixture::calibration()),
        ("empty", fixture::empty()),
        ("empty, of no files", nothing_known),
        ("hostile", hostile::hostile(false)),
        ("hostile, revealed", hostile::hostile(true)),
    ]
}

fn fixture_text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/schemas")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rendered(id: &str, report: &Report) -> Vec<u8> {
    (find(id).unwrap().render)(report).unwrap()
}

/// Asserts that every report's rendering keeps to a JSON Schema, and that what is broken in it is noticed.
fn keeps_to(id: &str, schema: &str, others: &[(&str, &str)], broken: fn(&mut Value)) {
    let read = |name: &str| serde_json::from_str::<Value>(&fixture_text(name)).unwrap();
    let mut known = jsonschema::Registry::new();
    for (uri, name) in others {
        known = known.add(*uri, read(name)).unwrap();
    }
    let known = known.prepare().unwrap();
    let schema = read(schema);
    let validator = jsonschema::options()
        .with_registry(&known)
        .build(&schema)
        .unwrap();
    for (name, report) in reports() {
        let mut json: Value = serde_json::from_slice(&rendered(id, &report)).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&json)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{id}, {name}: {errors:#?}");
        broken(&mut json);
        assert!(
            !validator.is_valid(&json),
            "{id}, {name}: the schema notices nothing"
        );
    }
}

#[test]
fn sarif_keeps_to_the_schema_of_oasis() {
    keeps_to("sarif", "sarif-2.1.0.schema.json", &[], |log| {
        log["runs"][0]["invocations"][0]["odd"] = json!(1)
    });
}

#[test]
fn sarif_has_what_github_asks_for() {
    for (name, report) in reports() {
        let log: Value = serde_json::from_slice(&rendered("sarif", &report)).unwrap();
        let run = &log["runs"][0];
        assert_eq!(log["runs"].as_array().unwrap().len(), 1);
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        for rule in rules {
            let severity: f64 = rule["properties"]["security-severity"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!(severity > 0.0 && severity <= 10.0);
            assert!(
                rule["properties"]["tags"]
                    .as_array()
                    .unwrap()
                    .contains(&json!("security"))
            );
            for (field, most) in [
                ("shortDescription", 1_024),
                ("fullDescription", 1_024),
                ("help", 100_000),
            ] {
                let text = rule[field]["text"].as_str().unwrap();
                assert!(
                    !text.is_empty() && text.len() <= most && !text.contains(['[', '{', '\\']),
                    "{field}: {text}"
                );
            }
        }
        let id = run["automationDetails"]["id"].as_str().unwrap();
        assert_eq!(id.matches('/').count(), 2, "{name}: {id}");
        let mut prints = HashSet::new();
        for result in run["results"].as_array().unwrap() {
            let region = &result["locations"][0]["physicalLocation"]["region"];
            for field in ["startLine", "startColumn", "endLine", "endColumn"] {
                assert!(region[field].as_u64().unwrap() >= 1, "{name}: {field}");
            }
            let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
                .as_str()
                .unwrap();
            assert!(!uri.contains(':') && !uri.starts_with('/'), "{uri}");
            assert!(
                prints.insert(
                    result["partialFingerprints"]["primaryLocationLineHash"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                )
            );
            assert!(result["suppressions"].is_array());
        }
    }
}

#[test]
fn cyclonedx_keeps_to_the_schema_of_owasp() {
    let others = [
        (
            "http://cyclonedx.org/schema/spdx.schema.json",
            "spdx.schema.json",
        ),
        (
            "http://cyclonedx.org/schema/jsf-0.82.schema.json",
            "jsf-0.82.schema.json",
        ),
    ];
    keeps_to("cyclonedx", "bom-1.6.schema.json", &others, |bom| {
        bom["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"] =
            json!([{ "value": 1 }]);
    });
}

#[test]
fn in_toto_keeps_to_its_specification() {
    keeps_to(
        "in-toto",
        "in-toto-test-result-v0.1.schema.json",
        &[],
        |statement| {
            statement["predicate"]["result"] = json!("UNDECIDED");
        },
    );
}

#[test]
fn json_keeps_to_its_own_schema() {
    let validator = jsonschema::validator_for(&json_v1::schema()).unwrap();
    for (name, report) in reports() {
        let json: Value = serde_json::from_slice(&rendered("json", &report)).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&json)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

/// An element of an XSD: the attributes it may have, those it must have, and the elements that may stand in it.
#[derive(Default)]
struct Element {
    attributes: HashMap<String, bool>,
    children: HashSet<String>,
    text: bool,
}

/// The top-level elements of an XSD that is no deeper than Jenkins'.
fn elements(xsd: &str) -> HashMap<String, Element> {
    let tree = roxmltree::Document::parse(xsd).unwrap();
    let of = |node: roxmltree::Node<'_, '_>| {
        let mut element = Element {
            text: node.attribute("type") == Some("xs:string"),
            ..Element::default()
        };
        for inner in node
            .descendants()
            .skip(1)
            .filter(|inner| inner.is_element())
        {
            match inner.tag_name().name() {
                "attribute" => {
                    let required = inner.attribute("use") == Some("required");
                    element
                        .attributes
                        .insert(inner.attribute("name").unwrap().to_owned(), required);
                }
                "element" => {
                    element
                        .children
                        .insert(inner.attribute("ref").unwrap().to_owned());
                }
                "complexType" => element.text |= inner.attribute("mixed") == Some("true"),
                "sequence" | "choice" => {}
                other => panic!("the XSD has {other}, which this check doesn't know"),
            }
        }
        element
    };
    let top = tree
        .root_element()
        .children()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2001/XMLSchema", "element")));
    top.map(|node| (node.attribute("name").unwrap().to_owned(), of(node)))
        .collect()
}

/// Everything in which an XML file breaks the XSD.
fn breaches(elements: &HashMap<String, Element>, xml: &str) -> Vec<String> {
    let tree = roxmltree::Document::parse(xml).unwrap();
    let mut found = Vec::new();
    for node in tree.descendants().filter(|node| node.is_element()) {
        let name = node.tag_name().name();
        let Some(element) = elements.get(name) else {
            found.push(format!("<{name}> is unknown"));
            continue;
        };
        for attribute in node.attributes() {
            if !element.attributes.contains_key(attribute.name()) {
                found.push(format!("<{name}> may not have {}", attribute.name()));
            }
        }
        for (attribute, _) in element.attributes.iter().filter(|(_, required)| **required) {
            if node.attribute(attribute.as_str()).is_none() {
                found.push(format!("<{name}> must have {attribute}"));
            }
        }
        for child in node.children() {
            if child.is_element() && !element.children.contains(child.tag_name().name()) {
                found.push(format!(
                    "<{}> may not stand in <{name}>",
                    child.tag_name().name()
                ));
            }
            if child.is_text()
                && !element.text
                && !child.text().unwrap_or_default().trim().is_empty()
            {
                found.push(format!("<{name}> may not hold text"));
            }
        }
    }
    found
}

#[test]
fn junit_keeps_to_the_schema_of_jenkins_and_counts_right() {
    let elements = elements(&fixture_text("junit-10.xsd"));
    assert!(
        elements.len() > 8
            && elements["testcase"].attributes["name"]
            && !elements["testcase"].attributes["time"]
    );
    assert_eq!(
        breaches(
            &elements,
            "<testsuite name='x' tests='1' odd=''><case/>x</testsuite>"
        )
        .len(),
        6
    );
    for (name, report) in reports() {
        let xml = String::from_utf8(rendered("junit", &report)).unwrap();
        assert_eq!(breaches(&elements, &xml), Vec::<String>::new(), "{name}");
        let tree = roxmltree::Document::parse(&xml).unwrap();
        let holder = |name: &'static str| {
            tree.descendants()
                .filter(move |node| node.has_tag_name(name))
        };
        for suite in holder("testsuites").chain(holder("testsuite")) {
            let inside = |name: &str| {
                suite
                    .descendants()
                    .filter(|node| node.has_tag_name(name))
                    .count()
            };
            assert!(inside("testcase") > 0, "{name}: an empty suite");
            for (attribute, element) in [
                ("tests", "testcase"),
                ("failures", "failure"),
                ("errors", "error"),
            ] {
                assert_eq!(
                    suite.attribute(attribute).unwrap(),
                    inside(element).to_string(),
                    "{name}: {attribute}"
                );
            }
        }
        // Green only if the decision is a pass; never green where nothing was measured.
        let red = holder("failure").chain(holder("error")).count() > 0;
        let passed = report
            .decision
            .as_ref()
            .is_some_and(|decision| decision.outcome == Outcome::Pass);
        if report.decision.is_some() || report.items.is_empty() {
            assert!(red || passed, "{name}");
        }
    }
}

/// What `huggingface_hub` reads of a `model-index`: `model_index_to_eval_results` in its `repocard_data.py`.
#[test]
fn model_index_has_what_the_hub_reads() {
    use yaml_rust2::Yaml;
    for (name, report) in reports() {
        let text = String::from_utf8(rendered("model-index", &report)).unwrap();
        let card = yaml_rust2::YamlLoader::load_from_str(&text)
            .unwrap()
            .remove(0);
        assert_eq!(card.as_hash().unwrap().len(), 1, "{name}");
        let models = card["model-index"].as_vec().unwrap();
        assert!(
            models.len() == 1 && models[0]["name"].as_str().is_some(),
            "{name}"
        );
        let mut tasks = HashSet::new();
        for result in models[0]["results"].as_vec().unwrap() {
            let text = |outer: &str, inner: &str| result[outer][inner].as_str().unwrap().to_owned();
            assert!(
                tasks.insert((text("task", "type"), text("dataset", "type"))),
                "{name}: the hub would join these"
            );
            assert!(!text("dataset", "name").is_empty());
            let metrics = result["metrics"].as_vec().unwrap();
            assert!(!metrics.is_empty());
            for metric in metrics {
                assert!(
                    metric["type"].as_str().is_some() && metric["name"].as_str().is_some(),
                    "{metric:?}"
                );
                assert!(
                    matches!(metric["value"], Yaml::Integer(_) | Yaml::Real(_)),
                    "{metric:?}"
                );
                assert!(
                    metric["args"]
                        .as_hash()
                        .unwrap()
                        .values()
                        .all(|value| matches!(value, Yaml::Integer(_) | Yaml::Real(_)))
                );
            }
        }
    }
}
