//! Scores as Parquet: a row a window, readable by DuckDB, Polars and pandas.
//!
//! Reading gives back exactly what was written, `-inf` included, or an error: the file carries a digest
//! of its rows, so that damage doesn't pass for scores. The same rows give the same bytes.
//!
//! A window without scores has `error` set, and its lists and everything computed from them are null:
//! absent is not zero. Every column says in its Arrow field metadata what it is (`description`) and in
//! what it is measured (`unit`).

mod decode;
mod identity;

use crate::backend::{Scheme, TokenScores};
use crate::run::parquet::identity::rows_digest;
use crate::run::{Left, ScoredWindow, TOOL};
use crate::window::{Form, WindowId};
use arrow_array::builder::{ListBuilder, PrimitiveBuilder};
use arrow_array::types::{ArrowPrimitiveType, Float32Type, UInt32Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// Version of the columns, in the file's metadata under `byrote.schema`.
pub const SCORES_SCHEMA: &str = "byrote.scores/v1";

const KEY_SCHEMA: &str = "byrote.schema";
const KEY_TOOL: &str = "byrote.tool";
const KEY_ROWS: &str = "byrote.rows_sha256";

/// Columns of scheme log-probabilities begin with this; the scheme's id follows.
const SCHEME_PREFIX: &str = "scheme_";

/// Why scores couldn't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ScoresError {
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error(transparent)]
    Arrow(#[from] arrow_schema::ArrowError),
    #[error(
        "not a scores file of this version (`{KEY_SCHEMA}` is {found}, expected {SCORES_SCHEMA})"
    )]
    Schema { found: String },
    #[error("column `{0}` is missing, has another type or is null where a value must be")]
    Column(String),
    #[error("its rows aren't those that were written: the file is damaged or was edited")]
    Damaged,
    /// What a backend returned doesn't fit the window or the run's schemes.
    #[error("window {window}: {what}")]
    Malformed { window: WindowId, what: String },
}

/// Writes `rows` as one Parquet file. `schemes` name the lists of [`TokenScores::scheme_logprob`], in order.
/// The column `token_ids` exists only if a row has them, `template` only if one isn't bare.
///
/// # Errors
/// When `out` can't be written, or when a row's scores don't have one entry a suffix token and one list a scheme.
pub fn write(
    rows: &[ScoredWindow],
    schemes: &[Scheme],
    out: &mut (impl Write + Send),
) -> Result<(), ScoresError> {
    rows.iter().try_for_each(|row| check(row, schemes))?;
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns(rows, schemes).into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let metadata = [
        (KEY_SCHEMA, SCORES_SCHEMA),
        (KEY_TOOL, TOOL),
        (KEY_ROWS, rows_digest(rows).as_str()),
    ]
    .map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_key_value_metadata(Some(metadata.to_vec()))
        .build();
    let mut writer = ArrowWriter::try_new(out, schema.clone(), Some(properties))?;
    writer.write(&RecordBatch::try_new(schema, arrays)?)?;
    writer.close()?;
    Ok(())
}

/// Reads a file that [`write()`] wrote, in full.
///
/// # Errors
/// When the file can't be read, is cut short or damaged, or is of another version.
pub fn read(file: File) -> Result<Vec<ScoredWindow>, ScoresError> {
    // The decoder panics on some damaged pages ("Decoder for dict should have been set"). A resumed run has
    // to survive that, and nothing outlives the closure that a panic could have left half done.
    std::panic::catch_unwind(|| decode::decode(file)).unwrap_or(Err(ScoresError::Damaged))
}

fn check(row: &ScoredWindow, schemes: &[Scheme]) -> Result<(), ScoresError> {
    let malformed = |what: String| {
        Err(ScoresError::Malformed {
            window: row.window.clone(),
            what,
        })
    };
    let Ok(scores) = &row.scores else {
        return if row.left.is_some() {
            malformed("left, though it has no scores".to_owned())
        } else {
            Ok(())
        };
    };
    if scores.scheme_logprob.len() != schemes.len() {
        return malformed(format!(
            "scores under {} schemes, not {}",
            scores.scheme_logprob.len(),
            schemes.len()
        ));
    }
    let moments = [scores.expected_logprob.len(), scores.logprob_sd.len()];
    let lists = [scores.logprob.len(), scores.rank.len(), scores.margin.len()]
        .into_iter()
        .chain(moments);
    let mut lengths = lists
        .into_iter()
        .chain(scores.scheme_logprob.iter().map(Vec::len));
    let suffix = row.placement.suffix_len as usize;
    if row.left.is_some() {
        let first = scores.logprob.len();
        return match lengths.find(|&length| length != first || length >= suffix) {
            Some(length) => malformed(format!(
                "left after {first} of {suffix} tokens, with scores for {length}"
            )),
            None => Ok(()),
        };
    }
    match lengths.find(|&length| length != suffix) {
        Some(length) => malformed(format!(
            "scores for {length} tokens, though the suffix has {suffix}"
        )),
        None => Ok(()),
    }
}

/// Every column with its field, in file order. This is the reference of the format.
fn columns(rows: &[ScoredWindow], schemes: &[Scheme]) -> Vec<(Field, ArrayRef)> {
    let text = |get: fn(&ScoredWindow) -> &str| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(get(r))).collect::<StringArray>())
    };
    let u32s = |get: fn(&ScoredWindow) -> u32| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(get(r))).collect::<UInt32Array>())
    };
    let u64s = |get: fn(&ScoredWindow) -> u64| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(get(r))).collect::<UInt64Array>())
    };
    let f64s = |get: fn(&ScoredWindow) -> f64| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(get(r))).collect::<Float64Array>())
    };
    let flags = |get: fn(&ScoredWindow) -> bool| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(get(r))).collect::<BooleanArray>())
    };

    let mut columns = vec![
        required(
            "item_id",
            "",
            "id of the item the window was cut from",
            text(|r| &r.item.0),
        ),
        required(
            "window_id",
            "",
            "id of the window, unique in the run",
            text(|r| &r.window.0),
        ),
        required(
            "form",
            "",
            "layout of the text: as_given or reflowed",
            text(|r| form_name(r.placement.form)),
        ),
        required(
            "start_token",
            "tokens",
            "offset of the prefix in the item's encoding",
            u32s(|r| r.placement.start_token),
        ),
        required(
            "start_byte",
            "bytes",
            "where the prefix begins in the text",
            u64s(|r| r.placement.start_byte),
        ),
        required(
            "suffix_byte",
            "bytes",
            "where the suffix begins in the text",
            u64s(|r| r.placement.suffix_byte),
        ),
        required(
            "end_byte",
            "bytes",
            "where the suffix ends in the text",
            u64s(|r| r.placement.end_byte),
        ),
        required(
            "suffix_char",
            "characters",
            "where the suffix begins in the text",
            u64s(|r| r.placement.suffix_char),
        ),
        required(
            "end_char",
            "characters",
            "where the suffix ends in the text",
            u64s(|r| r.placement.end_char),
        ),
        required(
            "prefix_len",
            "tokens",
            "context, BOS included",
            u32s(|r| r.placement.prefix_len),
        ),
        required(
            "suffix_len",
            "tokens",
            "scored tokens",
            u32s(|r| r.placement.suffix_len),
        ),
        required(
            "straddles",
            "",
            "the boundary given for a pre-split item fell inside a token, which went to the prefix",
            flags(|r| r.placement.straddles),
        ),
        optional(
            "logprob",
            "nats",
            "log-probability of each suffix token at T = 1",
            list::<Float32Type>(rows, |r| Some(&scored(r)?.logprob)),
        ),
        optional(
            "rank",
            "tokens",
            "tokens strictly likelier than the true one, at each suffix token",
            list::<UInt32Type>(rows, |r| Some(&scored(r)?.rank)),
        ),
        optional(
            "margin",
            "nats",
            "log-probability of the true token less that of the likeliest other",
            list::<Float32Type>(rows, |r| Some(&scored(r)?.margin)),
        ),
    ];
    columns.extend([
        optional(
            "expected_logprob",
            "nats",
            "mean log-probability of a token drawn from the model's own distribution, at each suffix token",
            list::<Float32Type>(rows, |r| Some(&scored(r)?.expected_logprob)),
        ),
        optional(
            "logprob_sd",
            "nats",
            "standard deviation of the same",
            list::<Float32Type>(rows, |r| Some(&scored(r)?.logprob_sd)),
        ),
    ]);
    for (index, scheme) in schemes.iter().enumerate() {
        let name = format!("{SCHEME_PREFIX}{}", scheme.id);
        let about = format!(
            "log-probability of each suffix token when sampling at T = {}{}{}; -inf where it is never sampled",
            scheme.temperature,
            scheme
                .top_k
                .map(|k| format!(", top-k {k}"))
                .unwrap_or_default(),
            scheme
                .top_p
                .map(|p| format!(", top-p {p}"))
                .unwrap_or_default()
        );
        let values = list::<Float32Type>(rows, |r| {
            scored(r)?.scheme_logprob.get(index).map(Vec::as_slice)
        });
        columns.push(optional(&name, "nats", &about, values));
    }
    let derive =
        |row: &ScoredWindow| scored(row).map(|scores| Derived::of(scores, row.left.is_none()));
    columns.extend([
        optional(
            "sum_logprob",
            "nats",
            "log-probability of the whole suffix at T = 1",
            Arc::new(rows.iter().map(|r| derive(r)?.sum_logprob).collect::<Float64Array>()),
        ),
        optional(
            "verbatim_run",
            "tokens",
            "suffix tokens before the first that is not rank 0",
            Arc::new(rows.iter().map(|r| derive(r)?.verbatim_run).collect::<UInt32Array>()),
        ),
        optional(
            "greedy_exact",
            "",
            "greedy decoding from the prefix gives exactly the suffix",
            Arc::new(rows.iter().map(|r| derive(r)?.greedy_exact).collect::<BooleanArray>()),
        ),
        required("pruned", "", "scoring stopped before the end of the suffix", flags(|r| r.left.is_some())),
        optional(
            "left",
            "",
            "why it stopped (floor, coarse, screen); the lists then hold the first tokens only, and sum_logprob is null",
            Arc::new(rows.iter().map(|r| r.left.map(left_name)).collect::<StringArray>()),
        ),
        required("suffix_chars", "characters", "length of the suffix", u32s(|r| r.text.suffix_chars)),
        required(
            "zlib_bits_per_char",
            "bits a character",
            "size of the suffix under zlib level 9",
            f64s(|r| r.text.zlib_bits_per_char),
        ),
        required(
            "copied_from_prefix",
            "share",
            "share of the suffix's token n-grams that already stand in the prefix",
            f64s(|r| r.text.copied_from_prefix),
        ),
        optional(
            "error",
            "",
            "why the window has no scores",
            Arc::new(rows.iter().map(|r| r.scores.as_ref().err()).collect::<StringArray>()),
        ),
    ]);
    if rows.iter().any(|row| !row.placement.template.is_none()) {
        let values = text(|r| &r.placement.template.0);
        columns.push(required(
            "template",
            "",
            "how the prefix was put to the model; none = bare",
            values,
        ));
    }
    if rows.iter().any(|row| row.token_ids.is_some()) {
        let values = list::<UInt32Type>(rows, |r| r.token_ids.as_deref());
        columns.push(optional(
            "token_ids",
            "",
            "the window's tokens, BOS included; only with --reveal",
            values,
        ));
    }
    columns
}

fn scored(row: &ScoredWindow) -> Option<&TokenScores> {
    row.scores.as_ref().ok()
}

/// What a reader of the file would otherwise compute from the lists.
/// Of a window that was left only what its first tokens settle.
struct Derived {
    sum_logprob: Option<f64>,
    verbatim_run: Option<u32>,
    greedy_exact: Option<bool>,
}

impl Derived {
    fn of(scores: &TokenScores, whole: bool) -> Self {
        let run = scores.rank.iter().take_while(|&&rank| rank == 0).count();
        let missed = run < scores.rank.len();
        Self {
            sum_logprob: whole.then(|| scores.logprob.iter().map(|&lp| f64::from(lp)).sum()),
            verbatim_run: (whole || missed).then_some(run as u32),
            greedy_exact: (whole || missed).then_some(!missed),
        }
    }
}

fn required(name: &str, unit: &str, about: &str, values: ArrayRef) -> (Field, ArrayRef) {
    column(name, unit, about, values, false)
}

fn optional(name: &str, unit: &str, about: &str, values: ArrayRef) -> (Field, ArrayRef) {
    column(name, unit, about, values, true)
}

fn column(
    name: &str,
    unit: &str,
    about: &str,
    values: ArrayRef,
    nullable: bool,
) -> (Field, ArrayRef) {
    let mut metadata = vec![("description", about)];
    if !unit.is_empty() {
        metadata.push(("unit", unit));
    }
    let field = Field::new(name, values.data_type().clone(), nullable);
    (
        field.with_metadata(metadata.into_iter().collect::<arrow_schema::Metadata>()),
        values,
    )
}

fn list<T: ArrowPrimitiveType>(
    rows: &[ScoredWindow],
    get: impl Fn(&ScoredWindow) -> Option<&[T::Native]>,
) -> ArrayRef {
    // "element" is the name the Parquet format gives to list entries; Arrow's own default differs.
    let element = Field::new("element", T::DATA_TYPE, false);
    let mut builder = ListBuilder::new(PrimitiveBuilder::<T>::new()).with_field(element);
    for row in rows {
        builder.append_option(get(row).map(|values| values.iter().copied().map(Some)));
    }
    Arc::new(builder.finish())
}

/// Every reason to leave a window, for reading.
const LEFT: [Left; 3] = [Left::Floor, Left::Coarse, Left::Screen];

fn left_name(left: Left) -> &'static str {
    match left {
        Left::Floor => "floor",
        Left::Coarse => "coarse",
        Left::Screen => "screen",
    }
}

fn form_name(form: Form) -> &'static str {
    match form {
        Form::AsGiven => "as_given",
        Form::Reflowed => "reflowed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::ItemId;
    use crate::run::TextStats;
    use crate::run::parquet::decode::any;
    use crate::run::parquet::identity::row_bytes;
    use crate::window::{Placement, TemplateId};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use std::io::Seek as _;

    fn row(index: u32, scores: Result<TokenScores, String>) -> ScoredWindow {
        ScoredWindow {
            item: ItemId(format!("käse/{}", index / 3)),
            window: WindowId(format!("käse/{}#{index}", index / 3)),
            placement: Placement {
                form: if index.is_multiple_of(2) {
                    Form::AsGiven
                } else {
                    Form::Reflowed
                },
                template: Default::default(),
                start_token: index,
                start_byte: u64::MAX - u64::from(index),
                suffix_byte: 11,
                end_byte: 12,
                suffix_char: 13,
                end_char: 14,
                prefix_len: 3,
                suffix_len: scores.as_ref().map_or(5, |s| s.rank.len() as u32),
                straddles: index % 2 == 1,
            },
            text: TextStats {
                suffix_chars: 7,
                zlib_bits_per_char: 0.1 + f64::from(index),
                copied_from_prefix: 0.25,
            },
            token_ids: None,
            left: None,
            scores,
        }
    }

    fn scores(rank: &[u32], logprob: &[f32]) -> TokenScores {
        TokenScores {
            logprob: logprob.to_vec(),
            rank: rank.to_vec(),
            margin: logprob.iter().map(|lp| lp + 1.0).collect(),
            scheme_logprob: vec![logprob.to_vec(), vec![f32::NEG_INFINITY; rank.len()]],
            expected_logprob: vec![-1.5; rank.len()],
            logprob_sd: vec![0.5; rank.len()],
        }
    }

    fn rows() -> Vec<ScoredWindow> {
        vec![
            row(0, Ok(scores(&[0, 0, 0], &[-0.0, -0.5, -1e-30]))),
            row(
                1,
                Err("17 tokens are more than the model's context of 16".to_owned()),
            ),
            row(
                2,
                Ok(scores(
                    &[0, 3, 0],
                    &[0.0, f32::NEG_INFINITY, f32::MIN_POSITIVE],
                )),
            ),
            row(3, Err(String::new())),
            row(4, Ok(scores(&[1], &[-3.25]))),
        ]
    }

    fn to_bytes(rows: &[ScoredWindow]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(rows, &Scheme::defaults(), &mut bytes).unwrap();
        bytes
    }

    fn to_file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn batch(bytes: &[u8]) -> RecordBatch {
        let reader = ParquetRecordBatchReaderBuilder::try_new(to_file(bytes))
            .unwrap()
            .build()
            .unwrap();
        reader.into_iter().next().unwrap().unwrap()
    }

    #[test]
    fn what_is_read_is_what_was_written_bit_for_bit() {
        let mut revealed = rows();
        revealed[0].token_ids = Some(vec![1, 2, 3, u32::MAX]);
        revealed[1].token_ids = Some(vec![]);
        let mut templates = rows();
        templates[1].placement.template = TemplateId("chat".to_owned());
        assert_ne!(row_bytes(&templates[1]), row_bytes(&rows()[1]));
        for rows in [
            rows(),
            revealed,
            templates,
            Vec::new(),
            vec![rows().remove(1)],
        ] {
            let back = read(to_file(&to_bytes(&rows))).unwrap();
            assert_eq!(back, rows);
            let bits = |rows: &[ScoredWindow]| rows.iter().map(row_bytes).collect::<Vec<_>>();
            assert_eq!(
                bits(&back),
                bits(&rows),
                "equal, but not in every bit (-0.0?)"
            );
        }
    }

    #[test]
    fn more_rows_than_a_batch_of_the_reader_come_back_in_order() {
        let rows: Vec<_> = (0..3000)
            .map(|i| row(i, Ok(scores(&[i], &[-0.001 * i as f32]))))
            .collect();
        assert_eq!(read(to_file(&to_bytes(&rows))).unwrap(), rows);
    }

    #[test]
    fn the_same_rows_give_the_same_bytes() {
        let first = to_bytes(&rows());
        for _ in 0..10 {
            assert!(to_bytes(&rows()) == first);
        }
    }

    #[test]
    fn token_ids_are_no_column_unless_revealed_and_templates_none_unless_used() {
        for absent in ["token_ids", "template"] {
            assert!(batch(&to_bytes(&rows())).column_by_name(absent).is_none());
        }
        let mut revealed = rows();
        revealed[2].token_ids = Some(vec![1]);
        assert_eq!(
            batch(&to_bytes(&revealed))
                .column_by_name("token_ids")
                .unwrap()
                .null_count(),
            4
        );
    }

    #[test]
    fn an_unscored_window_has_nulls_not_zeros() {
        let batch = batch(&to_bytes(&rows()));
        let of_scores = [
            "logprob",
            "rank",
            "margin",
            "scheme_full",
            "scheme_top_k40",
            "sum_logprob",
            "verbatim_run",
            "greedy_exact",
        ];
        for name in of_scores {
            let column = batch.column_by_name(name).unwrap();
            let nulls: Vec<_> = (0..5).map(|i| column.is_null(i)).collect();
            assert_eq!(nulls, [false, true, false, true, false], "{name}");
        }
        let errors = batch.column_by_name("error").unwrap();
        assert_eq!(
            (0..5).map(|i| errors.is_null(i)).collect::<Vec<_>>(),
            [true, false, true, false, true]
        );
    }

    #[test]
    fn derived_columns_follow_from_the_lists() {
        let batch = batch(&to_bytes(&rows()));
        let runs = any::<UInt32Array>(&batch, "verbatim_run").unwrap();
        let exact = any::<BooleanArray>(&batch, "greedy_exact").unwrap();
        let sums = any::<Float64Array>(&batch, "sum_logprob").unwrap();
        for (i, run, is_exact, sum) in [
            (0, 3, true, f64::from(-0.5f32) + f64::from(-1e-30f32)),
            (2, 1, false, f64::NEG_INFINITY),
            (4, 0, false, -3.25),
        ] {
            assert_eq!((runs.value(i), exact.value(i)), (run, is_exact), "row {i}");
            assert_eq!(sums.value(i).to_bits(), sum.to_bits(), "row {i}");
        }
    }

    #[test]
    fn every_column_says_what_it_is_and_log_probabilities_say_nats() {
        let batch = batch(&to_bytes(&rows()));
        for field in batch.schema_ref().fields() {
            assert!(
                field
                    .metadata()
                    .get("description")
                    .is_some_and(|d| !d.is_empty()),
                "{}",
                field.name()
            );
        }
        for name in [
            "logprob",
            "margin",
            "scheme_full",
            "scheme_top_k40",
            "sum_logprob",
        ] {
            let unit = batch
                .schema_ref()
                .field_with_name(name)
                .unwrap()
                .metadata()
                .get("unit")
                .cloned();
            assert_eq!(unit.as_deref(), Some("nats"), "{name}");
        }
    }

    /// A window whose suffix has two tokens more than were scored.
    fn left(reason: Left, scores: TokenScores) -> ScoredWindow {
        let mut row = row(0, Ok(scores));
        row.placement.suffix_len += 2;
        row.left = Some(reason);
        row
    }

    #[test]
    fn a_window_that_was_left_comes_back_with_its_first_tokens_and_no_sum() {
        let rows = [
            left(Left::Floor, scores(&[0, 7, 0], &[-0.5, -9.0, -8.0])),
            left(Left::Screen, scores(&[], &[])),
            row(4, Ok(scores(&[1], &[-3.25]))),
            left(Left::Coarse, scores(&[0], &[-0.5])),
        ];
        let bytes = to_bytes(&rows);
        assert_eq!(read(to_file(&bytes)).unwrap(), rows);
        let mut whole = rows[0].clone();
        whole.left = None;
        whole.placement.suffix_len = 5;
        assert_ne!(row_bytes(&rows[0]), row_bytes(&whole));
        let batch = batch(&bytes);
        for (name, nulls) in [
            ("left", [false, false, true, false]),
            ("logprob", [false; 4]),
            ("sum_logprob", [true, true, false, true]),
            // A miss settles these two.
            ("verbatim_run", [false, true, false, true]),
            ("greedy_exact", [false, true, false, true]),
        ] {
            let column = batch.column_by_name(name).unwrap();
            assert_eq!(std::array::from_fn(|i| column.is_null(i)), nulls, "{name}");
        }
        let pruned = any::<BooleanArray>(&batch, "pruned").unwrap();
        assert_eq!(
            [0, 1, 2, 3].map(|i| pruned.value(i)),
            [true, true, false, true]
        );

        let mut bad = [rows[0].clone(), rows[0].clone(), rows[0].clone()];
        bad[0].placement.suffix_len = 3;
        bad[1].scores = Err("too long".to_owned());
        if let Ok(scores) = &mut bad[2].scores {
            scores.margin.pop();
        }
        for row in bad {
            let error = write(&[row], &Scheme::defaults(), &mut Vec::new())
                .unwrap_err()
                .to_string();
            assert!(error.contains("left"), "{error}");
        }
    }

    #[test]
    fn scores_that_fit_neither_window_nor_schemes_are_refused() {
        let mut short = rows();
        short[0].placement.suffix_len = 4;
        let error = write(&short, &Scheme::defaults(), &mut Vec::new())
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "window käse/0#0: scores for 3 tokens, though the suffix has 4"
        );
        let error = write(&rows(), &[Scheme::full()], &mut Vec::new())
            .unwrap_err()
            .to_string();
        assert_eq!(error, "window käse/0#0: scores under 2 schemes, not 1");
    }

    #[test]
    fn no_byte_can_be_cut_off_or_changed_unnoticed() {
        let rows = rows();
        let bytes = to_bytes(&rows);
        for end in (0..bytes.len()).step_by(7) {
            assert!(read(to_file(&bytes[..end])).is_err(), "cut at {end}");
        }
        for position in (0..bytes.len()).step_by(5) {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x10;
            // Some bytes carry nothing that is read, such as statistics. Where reading succeeds, it must
            // have read the truth.
            if let Ok(back) = read(to_file(&damaged)) {
                assert_eq!(back, rows, "byte {position}");
            }
        }
    }

    #[test]
    fn other_parquet_files_are_refused_by_their_schema() {
        let schema = Arc::new(Schema::new(vec![Field::new(
            "x",
            arrow_schema::DataType::UInt32,
            false,
        )]));
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), None).unwrap();
        writer
            .write(
                &RecordBatch::try_new(schema, vec![Arc::new(UInt32Array::from(vec![1]))]).unwrap(),
            )
            .unwrap();
        writer.close().unwrap();
        let error = read(to_file(&bytes)).unwrap_err().to_string();
        assert!(error.contains("`byrote.schema` is absent"), "{error}");
    }
}
