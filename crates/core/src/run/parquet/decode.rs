//! Parquet back to rows.

use crate::backend::TokenScores;
use crate::items::ItemId;
use crate::run::parquet::identity::rows_digest;
use crate::run::parquet::{
    KEY_ROWS, KEY_SCHEMA, LEFT, SCHEME_PREFIX, SCORES_SCHEMA, ScoresError, form_name, left_name,
};
use crate::run::{ScoredWindow, TextStats};
use crate::window::{Form, WindowId};
use crate::window::{Placement, TemplateId};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float32Type, UInt32Type};
use arrow_array::{
    Array, BooleanArray, Float64Array, ListArray, RecordBatch, StringArray, UInt32Array,
    UInt64Array,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;

/// Reads all rows and checks them against the digest they were written with. Panics on some damaged files.
pub(super) fn decode(file: File) -> Result<Vec<ScoredWindow>, ScoresError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let metadata = |key: &str| -> Option<String> {
        let pairs = builder.metadata().file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.clone()
    };
    match metadata(KEY_SCHEMA) {
        Some(found) if found == SCORES_SCHEMA => {}
        found => {
            return Err(ScoresError::Schema {
                found: found.unwrap_or_else(|| "absent".to_owned()),
            });
        }
    }
    let digest = metadata(KEY_ROWS);
    let mut rows = Vec::new();
    for batch in builder.build()? {
        read_batch(&batch?, &mut rows)?;
    }
    if digest.as_deref() != Some(rows_digest(&rows).as_str()) {
        return Err(ScoresError::Damaged);
    }
    Ok(rows)
}

fn read_batch(batch: &RecordBatch, rows: &mut Vec<ScoredWindow>) -> Result<(), ScoresError> {
    let item = whole::<StringArray>(batch, "item_id")?;
    let window = whole::<StringArray>(batch, "window_id")?;
    let form = whole::<StringArray>(batch, "form")?;
    let start_token = whole::<UInt32Array>(batch, "start_token")?;
    let start_byte = whole::<UInt64Array>(batch, "start_byte")?;
    let suffix_byte = whole::<UInt64Array>(batch, "suffix_byte")?;
    let end_byte = whole::<UInt64Array>(batch, "end_byte")?;
    let suffix_char = whole::<UInt64Array>(batch, "suffix_char")?;
    let end_char = whole::<UInt64Array>(batch, "end_char")?;
    let prefix_len = whole::<UInt32Array>(batch, "prefix_len")?;
    let suffix_len = whole::<UInt32Array>(batch, "suffix_len")?;
    let straddles = whole::<BooleanArray>(batch, "straddles")?;
    let suffix_chars = whole::<UInt32Array>(batch, "suffix_chars")?;
    let zlib = whole::<Float64Array>(batch, "zlib_bits_per_char")?;
    let copied = whole::<Float64Array>(batch, "copied_from_prefix")?;
    let error = any::<StringArray>(batch, "error")?;
    let lists = Lists::of(batch)?;
    let token_ids = match batch.column_by_name("token_ids") {
        Some(_) => Some(any::<ListArray>(batch, "token_ids")?),
        None => None,
    };
    let template = match batch.column_by_name("template") {
        Some(_) => Some(whole::<StringArray>(batch, "template")?),
        None => None,
    };

    // Runs of before there were such windows don't have it.
    let left = match batch.column_by_name("left") {
        Some(_) => Some(any::<StringArray>(batch, "left")?),
        None => None,
    };

    for i in 0..batch.num_rows() {
        let bad = |name: &str| ScoresError::Column(name.to_owned());
        let form = [Form::AsGiven, Form::Reflowed]
            .into_iter()
            .find(|&f| form_name(f) == form.value(i));
        rows.push(ScoredWindow {
            item: ItemId(item.value(i).to_owned()),
            window: WindowId(window.value(i).to_owned()),
            placement: Placement {
                form: form.ok_or_else(|| bad("form"))?,
                template: template.map_or_else(TemplateId::default, |ids| {
                    TemplateId(ids.value(i).to_owned())
                }),
                start_token: start_token.value(i),
                start_byte: start_byte.value(i),
                suffix_byte: suffix_byte.value(i),
                end_byte: end_byte.value(i),
                suffix_char: suffix_char.value(i),
                end_char: end_char.value(i),
                prefix_len: prefix_len.value(i),
                suffix_len: suffix_len.value(i),
                straddles: straddles.value(i),
            },
            text: TextStats {
                suffix_chars: suffix_chars.value(i),
                zlib_bits_per_char: zlib.value(i),
                copied_from_prefix: copied.value(i),
            },
            token_ids: match token_ids {
                Some(ids) if ids.is_valid(i) => Some(values::<UInt32Type>(ids, i, "token_ids")?),
                _ => None,
            },
            left: match left {
                Some(names) if names.is_valid(i) => {
                    let known = LEFT
                        .into_iter()
                        .find(|&left| left_name(left) == names.value(i));
                    Some(known.ok_or_else(|| bad("left"))?)
                }
                _ => None,
            },
            scores: if error.is_valid(i) {
                Err(error.value(i).to_owned())
            } else {
                Ok(lists.scores(i)?)
            },
        });
    }
    Ok(())
}

/// The per-token columns of a batch.
struct Lists<'a> {
    logprob: &'a ListArray,
    rank: &'a ListArray,
    margin: &'a ListArray,
    expected_logprob: &'a ListArray,
    logprob_sd: &'a ListArray,
    schemes: Vec<&'a ListArray>,
}

impl<'a> Lists<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, ScoresError> {
        let schema = batch.schema_ref();
        let names = schema
            .fields()
            .iter()
            .map(|f| f.name())
            .filter(|name| name.starts_with(SCHEME_PREFIX));
        Ok(Self {
            logprob: any(batch, "logprob")?,
            rank: any(batch, "rank")?,
            margin: any(batch, "margin")?,
            expected_logprob: any(batch, "expected_logprob")?,
            logprob_sd: any(batch, "logprob_sd")?,
            schemes: names
                .map(|name| any(batch, name))
                .collect::<Result<_, _>>()?,
        })
    }

    fn scores(&self, i: usize) -> Result<TokenScores, ScoresError> {
        Ok(TokenScores {
            logprob: values::<Float32Type>(self.logprob, i, "logprob")?,
            rank: values::<UInt32Type>(self.rank, i, "rank")?,
            margin: values::<Float32Type>(self.margin, i, "margin")?,
            expected_logprob: values::<Float32Type>(self.expected_logprob, i, "expected_logprob")?,
            logprob_sd: values::<Float32Type>(self.logprob_sd, i, "logprob_sd")?,
            scheme_logprob: self
                .schemes
                .iter()
                .map(|list| values::<Float32Type>(list, i, SCHEME_PREFIX))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// A column, whose values may be null.
pub(super) fn any<'a, A: Array + 'static>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a A, ScoresError> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref())
        .ok_or_else(|| ScoresError::Column(name.to_owned()))
}

/// A column without nulls.
fn whole<'a, A: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A, ScoresError> {
    any::<A>(batch, name).and_then(|column| match column.null_count() {
        0 => Ok(column),
        _ => Err(ScoresError::Column(name.to_owned())),
    })
}

fn values<T: ArrowPrimitiveType>(
    list: &ListArray,
    i: usize,
    name: &str,
) -> Result<Vec<T::Native>, ScoresError> {
    let bad = || ScoresError::Column(name.to_owned());
    if list.is_null(i) {
        return Err(bad());
    }
    let values = list.value(i);
    let values = values
        .as_primitive_opt::<T>()
        .filter(|v| v.null_count() == 0)
        .ok_or_else(bad)?;
    Ok(values.values().to_vec())
}
