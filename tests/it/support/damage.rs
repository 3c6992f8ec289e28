//! Damaged models and probe sets, made of good ones.

use super::program::{model_folder, repository};
use std::path::Path;

/// Two items that the built-in tokenizer cuts into windows of 8 + 8 tokens, one asked for and one a control.
pub(crate) const SET: &str = concat!(
    r#"{"id": "a", "text": "Weannane the brewer found Stella's ornate cabinet; Ursula fastened his cat and mistook the scribe."}"#,
    "\n",
    r#"{"id": "b", "kind": "control", "text": "Teissell the blacksmith promised Astrid's sacred quilt; Anselm flattened his lynx and paused."}"#,
    "\n",
);

/// Writes a folder `model` that can be probed, and `set.jsonl`.
pub(crate) fn good(dir: &Path) {
    model_folder(&dir.join("model"));
    std::fs::write(dir.join("set.jsonl"), SET).unwrap();
}

/// Changes a file's bytes.
pub(crate) fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap_or_default();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Cuts a file to this share of its length.
pub(crate) fn truncate(path: &Path, share: f64) {
    edit(path, |bytes| {
        bytes.truncate((bytes.len() as f64 * share) as usize)
    });
}

/// Replaces text in a file.
pub(crate) fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{}: no {from}", path.display());
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// Overwrites `rows` of a tensor in a safetensors file with NaN, whatever its type.
pub(crate) fn poison(path: &Path, tensor: &str, rows: std::ops::Range<usize>) {
    edit(path, |bytes| {
        let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
        let entry = &header[tensor];
        let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
        let (start, end) = (
            number(&entry["data_offsets"][0]),
            number(&entry["data_offsets"][1]),
        );
        let row = (end - start) / number(&entry["shape"][0]);
        let data = 8 + header_len + start;
        // All bits set is NaN in every floating-point type.
        bytes[data + rows.start * row..data + rows.end * row].fill(0xff);
    });
}

/// Copies a GGUF fixture, which has a tokenizer, to `model.gguf`.
pub(crate) fn gguf(dir: &Path) {
    std::fs::copy(
        repository("tests/fixtures/gguf/gpt2/model.gguf"),
        dir.join("model.gguf"),
    )
    .unwrap();
}
