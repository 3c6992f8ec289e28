//! Every format in which a report is given, by the name under which `--format` takes it.
//!
//! A format is one pure function over the [`Report`] in memory, which is decided before anything renders: no format counts,
//! judges or decides anything. Whatever comes from outside (ids, paths, reasons, texts) passes `escape` first, or an
//! encoder that leaves it no meaning. A format more is its file and one line here; the tests go over this table.

use super::{
    Report, csv, cyclonedx, github, html, in_toto, json_v1, junit, markdown, model_index, page,
    parquet, sarif, terminal,
};

/// A format.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Its name on the command line.
    pub id: &'static str,
    /// Its file's usual name, where several formats go to one folder.
    pub file_name: &'static str,
    /// What it is and who reads it, in a line.
    pub about: &'static str,
    /// The whole file. Pure: the same report gives the same bytes.
    pub render: fn(&Report) -> Result<Vec<u8>, FormatError>,
}

/// Why a report can't be rendered.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error(transparent)]
    Html(#[from] page::RenderError),
    #[error("the report can't be written as JSON; please report this as a defect of byrote")]
    Json(#[from] serde_json::Error),
    #[cfg(feature = "probe")]
    #[error("the report can't be written as Parquet; please report this as a defect of byrote")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    #[cfg(feature = "probe")]
    #[error(
        "the report can't be written as Arrow columns; please report this as a defect of byrote"
    )]
    Arrow(#[from] arrow_schema::ArrowError),
    #[error(
        "this small byrote has no Parquet; ask for csv, which has the same columns, or use the full byrote"
    )]
    NoParquet,
    #[error("{0} can't be rendered; please report this as a defect of byrote")]
    Defect(&'static str),
}

/// All of them.
pub const FORMATS: &[Format] = &[
    Format {
        id: "text",
        file_name: "report.txt",
        about: "A page for a terminal",
        render: |report| Ok(terminal::render(report, terminal::Style::default()).into_bytes()),
    },
    Format {
        id: "json",
        file_name: "report.json",
        about: "The whole report, for programs; what `gate`, `report` and `compare` read",
        render: |report| Ok(json_v1::render(report)),
    },
    Format {
        id: "html",
        file_name: "report.html",
        about: "A page for a browser, in one file",
        render: |report| Ok(html::render(report)?.into_bytes()),
    },
    Format {
        id: "md",
        file_name: "report.md",
        about: "Markdown for a CI job's summary or a pull request, at most 1 MiB",
        render: |report| Ok(markdown::render(report).into_bytes()),
    },
    Format {
        id: "sarif",
        file_name: "report.sarif",
        about: "SARIF 2.1.0, for GitHub code scanning: findings at the lines of the probe files",
        render: sarif::render,
    },
    Format {
        id: "junit",
        file_name: "report.junit.xml",
        about: "JUnit XML, for the test view of a CI system: one test case per item",
        render: |report| Ok(junit::render(report).into_bytes()),
    },
    Format {
        id: "github",
        file_name: "annotations.txt",
        about: "GitHub annotations, for a job to print: the decision and the nine worst findings",
        render: |report| Ok(github::render(report).into_bytes()),
    },
    Format {
        id: "csv",
        file_name: "report.csv",
        about: "A table of the items, for spreadsheets",
        render: |report| Ok(csv::render(report)),
    },
    Format {
        id: "parquet",
        file_name: "report.parquet",
        about: "The same table with types, for DuckDB, Polars and pandas",
        render: parquet::render,
    },
    Format {
        id: "cyclonedx",
        file_name: "report.cdx.json",
        about: "CycloneDX 1.6 ML-BOM: the model's files, and the rates in its model card",
        render: cyclonedx::render,
    },
    Format {
        id: "in-toto",
        file_name: "report.intoto.json",
        about: "In-toto test-result statement about the weights, unsigned",
        render: in_toto::render,
    },
    Format {
        id: "model-index",
        file_name: "model-index.yml",
        about: "Hugging Face `model-index`, for the front matter of a model card",
        render: |report| Ok(model_index::render(report).into_bytes()),
    },
];

/// The format of this name.
pub fn find(id: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.id == id)
}

#[cfg(test)]
mod schemas;
#[cfg(test)]
mod sinks;
