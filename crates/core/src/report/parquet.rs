//! The items as Parquet: the rows and columns of the CSV, typed, for DuckDB, Polars and pandas. Columns say in their Arrow
//! metadata what they are and in what they are measured. Not in the small binary, which has no Parquet.

#[cfg(feature = "probe")]
use super::columns::{COLUMNS, Cell, Row, Type};
#[cfg(feature = "probe")]
use super::standing::Standings;
use super::{Report, formats::FormatError};
#[cfg(feature = "probe")]
use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt64Array};
#[cfg(feature = "probe")]
use arrow_schema::{DataType, Field, Schema};
#[cfg(feature = "probe")]
use std::sync::Arc;

/// Version of the columns, in the file's metadata under `byrote.schema`.
#[cfg(feature = "probe")]
pub const ITEMS_SCHEMA: &str = "byrote.items/v1";

/// Rows that are turned into columns at once.
#[cfg(feature = "probe")]
const BATCH: usize = 4_096;

/// The whole file. Pure: the same report gives the same bytes.
///
/// # Errors
/// In the small binary: always. Otherwise only when the columns are defective.
#[cfg(feature = "probe")]
pub fn render(report: &Report) -> Result<Vec<u8>, FormatError> {
    use ::parquet::basic::{Compression, ZstdLevel};
    use ::parquet::file::metadata::KeyValue;
    use ::parquet::file::properties::WriterProperties;

    let field = |column: &super::columns::Column| {
        let kind = match column.kind {
            Type::Text => DataType::Utf8,
            Type::Count => DataType::UInt64,
            Type::Number => DataType::Float64,
            Type::Flag => DataType::Boolean,
        };
        let about = [("description", column.about), ("unit", column.unit)]
            .into_iter()
            .filter(|(_, said)| !said.is_empty());
        let about = about.map(|(key, said)| (key.to_owned(), said.to_owned()));
        Field::new(column.name, kind, true)
            .with_metadata(about.collect::<std::collections::HashMap<_, _>>())
    };
    let schema = Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()));
    let metadata = [
        ("byrote.schema", ITEMS_SCHEMA),
        ("byrote.tool", report.tool.as_str()),
    ]
    .map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_key_value_metadata(Some(metadata.to_vec()))
        .build();
    let mut out = Vec::new();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(&mut out, schema.clone(), Some(properties))?;
    let standings = Standings::of(report);
    for items in report.items.chunks(BATCH) {
        let rows: Vec<Row<'_>> = items
            .iter()
            .map(|item| Row::of(report, &standings, item))
            .collect();
        let arrays = COLUMNS.iter().map(|column| array(&rows, column)).collect();
        writer.write(&RecordBatch::try_new(schema.clone(), arrays)?)?;
    }
    writer.close()?;
    Ok(out)
}

/// The small binary has no Parquet.
///
/// # Errors
/// Always.
#[cfg(not(feature = "probe"))]
pub fn render(_: &Report) -> Result<Vec<u8>, FormatError> {
    Err(FormatError::NoParquet)
}

/// A column of some rows. A value of another type than the column's, which a test rules out, would be absent.
#[cfg(feature = "probe")]
fn array(rows: &[Row<'_>], column: &super::columns::Column) -> ArrayRef {
    let cells = || rows.iter().map(|row| row.cell(column));
    match column.kind {
        Type::Text => Arc::new(StringArray::from_iter(cells().map(|cell| match cell {
            Some(Cell::Text(text)) => Some(text),
            _ => None,
        }))),
        Type::Count => Arc::new(UInt64Array::from_iter(cells().map(|cell| match cell {
            Some(Cell::Count(count)) => Some(count),
            _ => None,
        }))),
        Type::Number => Arc::new(Float64Array::from_iter(cells().map(|cell| match cell {
            Some(Cell::Number(number)) => Some(number),
            _ => None,
        }))),
        Type::Flag => Arc::new(BooleanArray::from_iter(cells().map(|cell| match cell {
            Some(Cell::Flag(flag)) => Some(flag),
            _ => None,
        }))),
    }
}

#[cfg(all(test, feature = "probe"))]
mod tests {
    use super::*;
    use crate::report::fixture;
    use ::parquet::file::reader::{FileReader as _, SerializedFileReader};

    #[test]
    fn rows_and_columns_are_those_of_the_table() {
        for report in [fixture::report(), fixture::empty()] {
            let bytes = render(&report).unwrap();
            let temp = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(temp.path(), &bytes).unwrap();
            let reader =
                SerializedFileReader::new(std::fs::File::open(temp.path()).unwrap()).unwrap();
            let names: Vec<String> = reader
                .metadata()
                .file_metadata()
                .schema_descr()
                .columns()
                .iter()
                .map(|c| c.name().to_owned())
                .collect();
            assert!(names.iter().eq(COLUMNS.iter().map(|column| column.name)));
            let rows: Vec<_> = reader
                .get_row_iter(None)
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert_eq!(rows.len(), report.items.len());
            for (row, item) in rows.iter().zip(&report.items) {
                // Text as it is: a table for programs, whose readers escape what they show.
                assert!(
                    row.to_string()
                        .starts_with(&format!("{{item_id: \"{}\"", item.id)),
                    "{row}"
                );
            }
        }
    }
}
