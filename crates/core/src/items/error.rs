//! Errors in probe sets. Every message names the file, the line (if there is one) and the fix.

use super::Origin;
use std::fmt;
use std::io;

/// Maximum number of faults that a message lists.
pub(super) const FAULTS_SHOWN: usize = 20;

/// Why a probe set was refused.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// A problem with a file or folder as a whole.
    #[error("{file}: {problem}; {}", problem.fix())]
    File { file: String, problem: FileProblem },
    /// Bad lines in one JSONL file: the first 20, and their total number.
    #[error("{}", listing(faults, *total))]
    Lines { faults: Vec<Fault>, total: usize },
    /// Items that contradict each other: a duplicate id, or a text that is both an item and a
    /// control.
    #[error("{}", listing(faults, *total))]
    Clashes { faults: Vec<Fault>, total: usize },
    /// No input, or the input was empty.
    #[error("no items to probe; name a .jsonl file, a .txt or .md file, or a folder of them")]
    NoItems,
}

/// One problem with one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub origin: Origin,
    pub wrong: Wrong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.wrong)
    }
}

/// A problem and its fix, without the location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The field, such as `text` or `opt_out.signal`; absent if the whole line is wrong.
    pub field: Option<String>,
    pub problem: String,
    pub fix: String,
}

impl Wrong {
    pub(super) fn field(field: &str, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            problem: problem.into(),
            fix: fix.into(),
        }
    }

    pub(super) fn line(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            field: None,
            problem: problem.into(),
            fix: fix.into(),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = &self.field {
            write!(f, "field \"{field}\" ")?;
        }
        write!(f, "{}; {}", self.problem, self.fix)
    }
}

/// A problem with a file or folder as a whole.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    #[error("no such file or folder")]
    Missing,
    #[error("can't be read ({0})")]
    Unreadable(#[source] io::Error),
    #[error("not a regular file")]
    NotAFile,
    #[error("{0}, which byrote doesn't read")]
    Foreign(String),
    #[error("the {format} data ends too early, so the file looks truncated")]
    Truncated { format: &'static str },
    #[error("the {format} data is damaged ({source})")]
    Damaged {
        format: &'static str,
        source: io::Error,
    },
    #[error("more than {} of text in one file", size(*limit))]
    TooLarge { limit: u64 },
    /// Lines count from 1, bytes from 0 in the (decompressed) file.
    #[error("line {line} is not UTF-8, at byte {offset} of the {}", if *packed { "decompressed file" } else { "file" })]
    NotUtf8 {
        line: u64,
        offset: u64,
        packed: bool,
    },
    #[error("encoded as UTF-16")]
    Utf16,
    #[error("the text is empty")]
    EmptyText,
    #[error("contains no items")]
    NoLines,
    #[error("no .txt, .md or .jsonl file in this folder or its subfolders")]
    NoTextFiles,
    #[error("the name can't be an id, because it isn't UTF-8 or contains control characters")]
    UnfitName,
    #[error("named both as a probe set and as controls")]
    TwoRoles,
}

impl FileProblem {
    pub(super) fn of_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error),
        }
    }

    /// How to fix it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Missing => "check the path",
            Self::Unreadable(_) => "check the path and its permissions",
            Self::NotAFile => "name a text file",
            Self::Foreign(_) => "convert it to .jsonl, .txt or .md",
            Self::Truncated { .. } | Self::Damaged { .. } => "copy or download it again",
            Self::TooLarge { .. } => "split the file",
            Self::NotUtf8 { .. } | Self::Utf16 => "save it as UTF-8",
            Self::EmptyText => "remove the file or put a text in it",
            Self::NoLines => {
                r#"remove the file or add a line such as {"id": "a-1", "text": "..."}"#
            }
            Self::NoTextFiles => "check the path",
            Self::UnfitName => "rename the file",
            Self::TwoRoles => {
                "a control must be a text the model can't have seen, so name the file in one place"
            }
        }
    }

    pub(super) fn at(self, file: &str) -> ItemError {
        ItemError::File {
            file: file.to_owned(),
            problem: self,
        }
    }
}

/// Collects faults: counts all of them, keeps the first ones.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) kept: Vec<Fault>,
    pub(super) total: usize,
}

impl Faults {
    pub(super) fn push(&mut self, origin: &Origin, wrong: Wrong) {
        self.total += 1;
        if self.kept.len() < FAULTS_SHOWN {
            self.kept.push(Fault {
                origin: origin.clone(),
                wrong,
            });
        }
    }
}

/// Quotes text from a probe set for a message: control characters escaped, at most 60 characters.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn listing(faults: &[Fault], total: usize) -> String {
    let mut lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    if total > faults.len() {
        lines.push(format!("... and {} more", total - faults.len()));
    }
    lines.join("\n")
}

fn size(bytes: u64) -> String {
    if bytes >= 1 << 30 {
        format!("{} GiB", bytes >> 30)
    } else {
        format!("{bytes} bytes")
    }
}
