//! Every format in which a report is given, by the name under which `--format` takes it.
//!
//! A format is one pure function over the [`Report`] in memory, which is decided before anything renders: no format counts,
//! judges or decides anything. Whatever comes from outside (ids, paths, reasons, texts) passes [`super::escape`] first, or an
//! encoder that leaves it no meaning. A format more is its file and one line here; the tests go over this table.

use super::{Report, html, json_v1, markdown, terminal};

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
    Html(#[from] html::RenderError),
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
        about: "Markdown for a CI job's summary or a pull request, never above 1 MiB",
        render: |report| Ok(markdown::render(report).into_bytes()),
    },
];

/// The format of this name.
pub fn find(id: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.id == id)
}
