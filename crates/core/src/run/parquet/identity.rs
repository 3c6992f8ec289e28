//! What makes rows these rows: a digest of all that is in them, bit for bit.

use crate::digest::Digest;
use crate::run::ScoredWindow;
use crate::run::parquet::left_name;

/// SHA-256 over everything in `rows`, bit for bit, schemes in order.
pub(super) fn rows_digest(rows: &[ScoredWindow]) -> Digest {
    let mut all = String::with_capacity(64 * rows.len());
    for row in rows {
        all.push_str(Digest::of_bytes(&row_bytes(row)).as_str());
    }
    Digest::of_bytes(all.as_bytes())
}

pub(super) fn row_bytes(row: &ScoredWindow) -> Vec<u8> {
    fn put<const N: usize>(bytes: &mut Vec<u8>, values: impl ExactSizeIterator<Item = [u8; N]>) {
        bytes.extend((values.len() as u64).to_le_bytes());
        values.for_each(|value| bytes.extend(value));
    }
    let mut bytes = Vec::new();
    for text in [&row.item.0, &row.window.0] {
        put(&mut bytes, text.bytes().map(|b| [b]));
    }
    bytes.extend([row.placement.form as u8, u8::from(row.placement.straddles)]);
    for value in [
        row.placement.start_token,
        row.placement.prefix_len,
        row.placement.suffix_len,
        row.text.suffix_chars,
    ] {
        bytes.extend(value.to_le_bytes());
    }
    for value in [
        row.placement.start_byte,
        row.placement.suffix_byte,
        row.placement.end_byte,
        row.placement.suffix_char,
        row.placement.end_char,
    ] {
        bytes.extend(value.to_le_bytes());
    }
    for value in [row.text.zlib_bits_per_char, row.text.copied_from_prefix] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.push(u8::from(row.token_ids.is_some()));
    put(
        &mut bytes,
        row.token_ids
            .as_deref()
            .unwrap_or_default()
            .iter()
            .map(|v| v.to_le_bytes()),
    );
    match &row.scores {
        Ok(scores) => {
            bytes.push(1);
            put(&mut bytes, scores.rank.iter().map(|v| v.to_le_bytes()));
            let lists = [
                &scores.logprob,
                &scores.margin,
                &scores.expected_logprob,
                &scores.logprob_sd,
            ];
            for list in lists.into_iter().chain(&scores.scheme_logprob) {
                put(&mut bytes, list.iter().map(|v| v.to_le_bytes()));
            }
        }
        Err(error) => {
            bytes.push(0);
            put(&mut bytes, error.bytes().map(|b| [b]));
        }
    }
    // A window scored to its end has the bytes that it had before there were others.
    if let Some(left) = row.left {
        put(&mut bytes, left_name(left).bytes().map(|b| [b]));
        bytes.push(0);
    }
    // A bare window has the bytes that it had before there were templates.
    if !row.placement.template.is_none() {
        put(&mut bytes, row.placement.template.0.bytes().map(|b| [b]));
    }
    bytes
}
