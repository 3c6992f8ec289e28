//! A CycloneDX 1.6 bill of materials of the tested model (an ML-BOM): every file with its hash, and the run's rates in the model
//! card's quantitative analysis. Never holds text, revealed or not.

use super::formats::FormatError;
use super::{Report, escape, words};
use crate::digest::{Digest, FileDigest};
use crate::items::Kind;
use crate::report::words::Tone;
use serde_json::{Map, Value, json};

/// The bill of materials, indented. Pure: the same report gives the same bytes.
///
/// # Errors
/// Only if what is written here is no JSON.
pub fn render(report: &Report) -> Result<Vec<u8>, FormatError> {
    let mut metadata = json!({
        "timestamp": report.created_at,
        "tools": { "components": [tool(&report.tool)] },
        "component": model(report),
    });
    if let Some(decision) = &report.decision {
        let outcome = serde_json::to_value(decision.outcome)?;
        metadata["properties"] = json!([
            property("byrote:decision", outcome.as_str().unwrap_or_default()),
            property(
                "byrote:decision.reason",
                decision.reasons.first().map_or("", String::as_str)
            ),
        ]);
    }
    let bom = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(report)),
        "version": 1,
        "metadata": metadata,
    });
    Ok(escape::json::pretty(&bom)?)
}

fn tool(tool: &str) -> Value {
    let (name, version) = tool.split_once(' ').unwrap_or((tool, ""));
    json!({ "type": "application", "name": name, "version": version })
}

/// The model, with its files as components of it.
fn model(report: &Report) -> Value {
    let model = &report.model;
    let files: Vec<Value> = model
        .files
        .iter()
        .enumerate()
        .map(|(n, file)| component(n, file))
        .collect();
    let mut properties = vec![
        property("byrote:model.source", &model.source),
        property("byrote:model.sha256", model.digest.as_str()),
        property("byrote:backend.dtype", &model.backend.dtype),
        property("byrote:backend.device", &model.backend.device),
        property("byrote:policy", &report.policy.source),
        property("byrote:policy.sha256", report.policy.digest.as_str()),
        property("byrote:plan.sha256", report.plan_digest.as_str()),
    ];
    properties.extend(
        model
            .tokenizer_fingerprint
            .as_ref()
            .map(|d| property("byrote:tokenizer.sha256", d.as_str())),
    );
    properties.extend(
        model
            .model_signing
            .as_ref()
            .map(|d| property("byrote:model_signing.sha256", d.as_str())),
    );
    let mut component = json!({
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": model.reference,
        "properties": properties,
        "modelCard": {
            "modelParameters": {
                "task": "text-generation",
                "modelArchitecture": model.backend.architecture,
                "datasets": report.probe_set.files.iter().map(dataset).collect::<Vec<_>>(),
                "inputs": [{ "format": "string" }],
                "outputs": [{ "format": "string" }],
            },
            "quantitativeAnalysis": { "performanceMetrics": metrics(report) },
            "considerations": considerations(report),
        },
    });
    if let Some(revision) = &model.revision {
        component["version"] = json!(revision);
    }
    // Of a model that is one file, its hash is that file's; otherwise each file below has its own.
    let mut weights = super::in_toto::weights(model);
    if let (Some(only), None) = (weights.next(), weights.next()) {
        component["hashes"] = json!([hash(&only.sha256)]);
    }
    // The schema wants components to differ from each other, and none where there is none.
    if !files.is_empty() {
        component["components"] = json!(files);
    }
    component
}

fn component(n: usize, file: &FileDigest) -> Value {
    json!({
        "type": "file",
        "bom-ref": format!("file-{n}"),
        "name": file.name,
        "hashes": [hash(&file.sha256)],
        "properties": [property("byrote:bytes", &file.bytes.to_string())],
    })
}

fn hash(digest: &Digest) -> Value {
    json!({ "alg": "SHA-256", "content": digest })
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

/// A probe file: data the model was evaluated with.
fn dataset(file: &FileDigest) -> Value {
    let digest = if file.one_text {
        "byrote:salted_sha256"
    } else {
        "byrote:sha256"
    };
    json!({
        "type": "dataset",
        "name": file.name,
        "description": "Probe set: texts whose memorization was tested.",
        "contents": { "properties": [property(digest, file.sha256.as_str())] },
    })
}

/// Rates and means over items, each with its 95% interval. Numbers are strings in this format, which also keeps them to the
/// last digit.
fn metrics(report: &Report) -> Vec<Value> {
    let metric = |name: String, value: f64, slice: String, lower: f64, upper: f64| {
        json!({
            "type": name,
            "value": value.to_string(),
            "slice": slice,
            "confidenceInterval": { "lowerBound": lower.to_string(), "upperBound": upper.to_string() },
        })
    };
    let summary = &report.summary;
    let rates = summary.rates.iter().filter(|rate| rate.of > 0).map(|rate| {
        let share = rate.hits as f64 / rate.of as f64;
        let slice = format!("{} ({} of {})", words::kinds(rate.kind), rate.hits, rate.of);
        metric(
            format!("rate: {}", rate.name),
            share,
            slice,
            rate.lower,
            rate.upper,
        )
    });
    let means = summary.means.iter().map(|mean| {
        let slice = format!("{} ({})", words::kinds(mean.kind), mean.items);
        metric(
            format!("mean: {}", mean.name),
            mean.mean,
            slice,
            mean.lower,
            mean.upper,
        )
    });
    let recall = summary
        .recall
        .iter()
        .filter(|recall| recall.items > 0)
        .map(|recall| {
            let copies = words::repetitions(recall.repetitions);
            let slice = format!(
                "{} planted {copies} ({} of {})",
                words::kinds(Kind::Canary),
                recall.found,
                recall.items
            );
            let share = recall.found as f64 / recall.items as f64;
            metric(
                "rate: canaries found".to_owned(),
                share,
                slice,
                recall.lower,
                recall.upper,
            )
        });
    rates.chain(means).chain(recall).collect()
}

/// What a reader of the numbers must know: what they don't cover, and what follows from them.
fn considerations(report: &Report) -> Value {
    let headline = words::headline(report);
    let mut limits = words::not_tested(report);
    limits.push(words::scope(report));
    limits.extend(report.summary.notes.iter().cloned());
    let mut considerations = Map::new();
    considerations.insert("technicalLimitations".to_owned(), json!(limits));
    let said: Vec<&str> = [headline.word, &headline.reason]
        .into_iter()
        .chain(headline.found.as_deref())
        .collect();
    let strategy = match headline.tone {
        Tone::Bad => {
            "Don't publish these weights as they are: filter what is put out, or train again without these texts."
        }
        Tone::Unsure => {
            "None can be named before the rest is measured: what was not measured is never clear."
        }
        Tone::Good => "None is needed for the texts that were probed.",
    };
    let risk = format!(
        "Verbatim memorization of opted-out texts. {}",
        said.join(": ")
    );
    considerations.insert(
        "ethicalConsiderations".to_owned(),
        json!([{ "name": risk, "mitigationStrategy": strategy }]),
    );
    Value::Object(considerations)
}

/// The same for the same run judged by the same policy: 128 bits of SHA-256 as a UUID of version 8 (RFC 9562).
fn uuid(report: &Report) -> String {
    let outcome = report
        .decision
        .as_ref()
        .map(|decision| format!("{:?}", decision.outcome))
        .unwrap_or_default();
    let parts = [
        "byrote.cyclonedx",
        &report.created_at,
        report.model.digest.as_str(),
        report.plan_digest.as_str(),
        report.policy.digest.as_str(),
        &outcome,
    ];
    let digest = Digest::of_bytes(parts.join("\0").as_bytes());
    let hex = digest.as_str();
    // The two bits of the variant, and two that are free.
    let variant = ["8", "9", "a", "b"][usize::from(hex.as_bytes()[16] % 4)];
    format!(
        "{}-{}-8{}-{variant}{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn every_file_has_its_hash_and_every_rate_its_interval() {
        let report = fixture::report();
        let bom: Value = serde_json::from_slice(&render(&report).unwrap()).unwrap();
        let model = &bom["metadata"]["component"];
        assert_eq!(model["type"], "machine-learning-model");
        assert_eq!(
            model["components"].as_array().unwrap().len(),
            report.model.files.len()
        );
        let metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
            .as_array()
            .unwrap();
        let found = metrics
            .iter()
            .find(|metric| metric["type"] == "rate: extractable or memorized")
            .unwrap();
        let rate = &report.summary.rates[0];
        assert_eq!(
            found["value"],
            (rate.hits as f64 / rate.of as f64).to_string()
        );
        assert_eq!(
            found["confidenceInterval"]["upperBound"],
            rate.upper.to_string()
        );
        assert!(
            model["modelCard"]["considerations"]["ethicalConsiderations"][0]["name"]
                .as_str()
                .unwrap()
                .contains("Blocked")
        );
    }

    #[test]
    fn the_serial_number_is_a_uuid_that_follows_the_run() {
        let report = fixture::report();
        let serial = uuid(&report);
        let groups: Vec<usize> = serial.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert!(
            serial.as_bytes()[14] == b'8' && b"89ab".contains(&serial.as_bytes()[19]),
            "{serial}"
        );
        assert_eq!(uuid(&fixture::revealed()), serial);
        let later = Report {
            created_at: "2026-11-24T00:00:00Z".to_owned(),
            ..report
        };
        assert_ne!(uuid(&later), serial);
    }
}
