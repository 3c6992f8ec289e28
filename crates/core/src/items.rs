//! Reads probe sets: items (opted-out texts, controls, canaries) and where each came from.
//!
//! Knows files and formats. Knows nothing about tokens, models or reports.

pub mod error;

mod duplicates;
mod folder;
mod jsonl;
mod open;
mod reading;

use crate::digest::{Digest, FileDigest};
use error::ItemError;
use reading::Reading;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a probe set comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A JSONL file, a text file, or a folder of both.
    Path(&'a Path),
    /// A file embedded in the program. Its format follows from its name, as for a file on disk.
    Embedded { name: &'a str, bytes: &'a [u8] },
}

/// Reads files and folders into one probe set.
///
/// A file is JSONL (`.jsonl`, `.ndjson`, `.json`, or no extension) or a single text (`.txt`, `.md`;
/// its id is the file name). gzip and zstd are recognized by their magic bytes, whatever the name.
/// Folders are read recursively: first the JSONL files, then the texts (their ids are their paths
/// inside the folder), each group sorted by path. Hidden entries are skipped. Links are followed,
/// but no folder is entered twice and no file is read twice.
///
/// # Errors
/// When any of the inputs can't be read completely: see [`ItemError`].
pub fn read(paths: &[PathBuf]) -> Result<ProbeSet, ItemError> {
    let sources: Vec<Source<'_>> = paths.iter().map(|path| Source::Path(path)).collect();
    read_sources(&sources)
}

/// Reads one file that is already in memory, such as an embedded probe set.
///
/// # Errors
/// Like [`read`]; also when an item gives `path`, because there is no folder to resolve it in.
pub fn read_bytes(name: &str, bytes: &[u8]) -> Result<ProbeSet, ItemError> {
    read_sources(&[Source::Embedded { name, bytes }])
}

/// Reads several sources into one probe set, in the given order. Ids are unique across all of them.
///
/// # Errors
/// Like [`read`].
pub fn read_sources(sources: &[Source<'_>]) -> Result<ProbeSet, ItemError> {
    read_with_controls(sources, &[])
}

/// Reads `sources`, then `controls`. Every item in `controls` becomes a control, whatever its own
/// `kind` is.
///
/// # Errors
/// Like [`read`]; also when a file is in both lists, unless it contains only controls.
pub fn read_with_controls(
    sources: &[Source<'_>],
    controls: &[Source<'_>],
) -> Result<ProbeSet, ItemError> {
    let mut reading = Reading::default();
    reading.sources(sources)?;
    reading.only_controls_follow();
    reading.sources(controls)?;
    reading.finish()
}

/// SHA-256 of the salt, a zero byte and the item's text; for a split item: prefix, a zero byte,
/// suffix. Identifies a text in a report without revealing it.
pub fn digest_salted(salt: &str, item: &Item) -> Digest {
    let parts: &[&str] = match &item.content {
        Content::Text(text) => &[salt, text],
        Content::Split { prefix, suffix } => &[salt, prefix, suffix],
    };
    Digest::of_bytes(parts.join("\0").as_bytes())
}

/// An item's id, unique within a run.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct ItemId(pub String);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The role of an item.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A text whose holder opted out.
    #[default]
    OptOut,
    /// A text that the model can't have memorized; shows which scores mere predictability gives.
    Control,
    /// A text planted in training on purpose, so that the ground truth is known.
    Canary,
}

/// How the text was opted out, and by whom. Reports repeat it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptOut {
    /// The opt-out signal, such as `robots.txt`, `tdmrep`, `ai.txt`, `letter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The location of the signal, such as a URL or a register number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locator: Option<String>,
    /// The rights holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The date of the declaration (ISO 8601).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_at: Option<String>,
}

/// The place where an item was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Origin {
    /// The file, with its path as the user wrote it.
    pub file: String,
    /// The line, counted from 1; absent if the whole file is one item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// An item's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Running text, from which windows are cut.
    Text(String),
    /// One window, already split. Prefix and suffix are encoded jointly.
    Split { prefix: String, suffix: String },
}

/// One piece of content to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: ItemId,
    pub kind: Kind,
    pub content: Content,
    pub title: Option<String>,
    pub author: Option<String>,
    pub source_url: Option<String>,
    pub license: Option<String>,
    pub tags: Vec<String>,
    pub opt_out: Option<OptOut>,
    /// How often a canary occurs in the training data; absent if unknown.
    pub repetitions: Option<u32>,
    /// For a control: ids and tags of the items it is comparable with; empty = any item.
    pub matches: Vec<String>,
    pub origin: Origin,
}

impl Item {
    /// An item with only its id, content and origin.
    pub fn new(id: ItemId, content: Content, origin: Origin) -> Self {
        Self {
            id,
            kind: Kind::default(),
            content,
            title: None,
            author: None,
            source_url: None,
            license: None,
            tags: Vec::new(),
            opt_out: None,
            repetitions: None,
            matches: Vec::new(),
            origin,
        }
    }
}

/// An item that was read but is excluded from the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Dropped {
    pub id: ItemId,
    pub origin: Origin,
    /// The reason, such as `same text as "moby-1" (books.jsonl:3)`.
    pub reason: String,
}

/// The record of a run's input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InputManifest {
    /// Every file read, in order.
    pub files: Vec<FileDigest>,
    /// Number of items kept, by kind.
    pub opt_outs: u64,
    pub controls: u64,
    pub canaries: u64,
    /// Items that were read but excluded, with reasons.
    pub dropped: Vec<Dropped>,
    /// Warnings that are shown once, such as unknown fields in a file.
    pub warnings: Vec<String>,
}

/// The items of a run in the order they were read, and the record of the input.
#[derive(Clone, Debug, Default)]
pub struct ProbeSet {
    pub items: Vec<Item>,
    pub manifest: InputManifest,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Writes the files into a folder and reads `paths` inside it. Removes the folder's path from
    /// messages.
    fn reading(files: &[(&str, &[u8])], paths: &[&str]) -> Result<ProbeSet, String> {
        let folder = folder(files);
        read_in(&folder, paths)
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    fn read_in(folder: &tempfile::TempDir, paths: &[&str]) -> Result<ProbeSet, String> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| folder.path().join(path)).collect();
        let root = format!("{}/", folder.path().display());
        let mut set = read(&paths).map_err(|error| error.to_string().replace(&root, ""))?;
        for item in &mut set.items {
            item.origin.file = item.origin.file.replace(&root, "");
        }
        for file in &mut set.manifest.files {
            file.name = file.name.replace(&root, "");
        }
        for warning in &mut set.manifest.warnings {
            *warning = warning.replace(&root, "");
        }
        Ok(set)
    }

    fn origins(set: &ProbeSet) -> Vec<String> {
        set.items
            .iter()
            .map(|item| format!("{} {}", item.id, item.origin))
            .collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn folders_list_jsonl_items_first_then_texts_sorted_by_path() {
        let files: [(&str, &[u8]); 9] = [
            ("set/b.txt", b"text b"),
            ("set/a/z.md", b"text z"),
            ("set/a/y.TXT", b"text y"),
            (
                "set/z.jsonl.gz",
                &gzip(b"{\"id\":\"j1\",\"text\":\"line 1\"}\n"),
            ),
            (
                "set/c.jsonl",
                &zstd::encode_all(&b"{\"id\":\"j2\",\"text\":\"line 2\"}\n"[..], 3).unwrap(),
            ),
            ("set/.hidden.txt", b"hidden"),
            ("set/.git/x.txt", b"hidden"),
            ("set/cover.png", b"\x89PNG"),
            ("set/a/data.csv", b"id,text"),
        ];
        let set = reading(&files, &["set"]).unwrap();
        let expected = [
            "j2 set/c.jsonl:1",
            "j1 set/z.jsonl.gz:1",
            "a/y.TXT set/a/y.TXT",
            "a/z.md set/a/z.md",
            "b.txt set/b.txt",
        ];
        assert_eq!(origins(&set), expected);
        let warning =
            r#"set: skipped files that are neither text nor JSONL: "a/data.csv", "cover.png""#;
        assert_eq!(set.manifest.warnings, [warning]);
        let raw = &files[3].1;
        let record = FileDigest {
            name: "set/z.jsonl.gz".to_owned(),
            bytes: raw.len() as u64,
            sha256: Digest::of_bytes(raw),
            one_text: false,
        };
        assert_eq!(set.manifest.files[1], record);
        assert_eq!(set.manifest.files.len(), 5);
        assert_eq!(
            (
                set.manifest.opt_outs,
                set.manifest.controls,
                set.manifest.canaries
            ),
            (5, 0, 0)
        );
    }

    #[test]
    fn a_text_referenced_by_path_belongs_to_its_line_and_is_recorded() {
        let lines = br#"{"id":"a","kind":"control","path":"texts/a.txt"}
{"id":"b","kind":"canary","path":"../b.txt"}
"#;
        let files: [(&str, &[u8]); 4] = [
            ("set/items.jsonl", lines),
            ("set/texts/a.txt", b"\xef\xbb\xbftext\r\na"),
            ("set/texts/c.txt", b"c"),
            ("b.txt", b"b"),
        ];
        let set = reading(&files, &["set"]).unwrap();
        assert_eq!(
            origins(&set),
            [
                "a set/items.jsonl:1",
                "b set/items.jsonl:2",
                "texts/c.txt set/texts/c.txt"
            ]
        );
        assert_eq!(set.items[0].content, Content::Text("text\na".to_owned()));
        let names: Vec<&str> = set
            .manifest
            .files
            .iter()
            .map(|file| file.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "set/items.jsonl",
                "set/texts/a.txt",
                "set/../b.txt",
                "set/texts/c.txt"
            ]
        );
        assert_eq!(set.manifest.files[1].sha256, Digest::of_bytes(files[1].1));
        assert_eq!(
            set.manifest.warnings,
            ["set/texts/a.txt: CRLF line endings were read as LF"]
        );
    }

    #[test]
    fn single_files_are_read_by_extension_compressed_or_not() {
        let line = b"{\"id\":\"a\",\"text\":\"x\",\"isbn\":1}\n";
        for (name, bytes, id) in [
            ("a.jsonl", line.to_vec(), "a"),
            ("a.JSON", line.to_vec(), "a"),
            ("plain", line.to_vec(), "a"),
            ("packed.jsonl", gzip(line), "a"),
            ("not-packed.jsonl.gz", line.to_vec(), "a"),
            ("poem.md", b"x".to_vec(), "poem.md"),
            ("poem.txt.gz", gzip(b"x"), "poem.txt.gz"),
        ] {
            let set = reading(&[(name, &bytes)], &[name]).unwrap();
            assert_eq!(
                (set.items[0].id.0.as_str(), &set.items[0].content),
                (id, &Content::Text("x".to_owned())),
                "{name}"
            );
            let warned = set
                .manifest
                .warnings
                .iter()
                .any(|warning| warning == &format!("{name}: ignored unknown fields: \"isbn\""));
            assert_eq!(warned, id == "a", "{name}");
        }
    }

    #[test]
    fn read_errors_name_the_file_and_the_fix() {
        type Files<'a> = &'a [(&'a str, &'a [u8])];
        let line: &[u8] = b"{\"id\":\"a\",\"text\":\"x\"}\n";
        let cut = &gzip(line)[..20];
        let mut flipped = gzip(&line.repeat(50));
        let middle = flipped.len() - 6;
        flipped[middle] ^= 1;
        let cases: [(Files<'_>, &[&str], &str); 13] = [
            (
                &[],
                &["gone.jsonl"],
                "gone.jsonl: no such file or folder; check the path",
            ),
            (
                &[("set/x.png", b"x")],
                &["set"],
                "set: no .txt, .md or .jsonl file in this folder or its subfolders; check the path",
            ),
            (
                &[("a.csv", b"x")],
                &["a.csv"],
                "a.csv: a .csv file, which byrote doesn't read; convert it to .jsonl, .txt or .md",
            ),
            (
                &[("a.jsonl", b"")],
                &["a.jsonl"],
                r#"a.jsonl: contains no items; remove the file or add a line such as {"id": "a-1", "text": "..."}"#,
            ),
            (
                &[("set/a.txt", b""), ("set/b.txt", b"b")],
                &["set"],
                "set/a.txt: the text is empty; remove the file or put a text in it",
            ),
            (
                &[("a.gz", cut)],
                &["a.gz"],
                "a.gz: the gzip data ends too early, so the file looks truncated; copy or download it again",
            ),
            (
                &[("a.gz", &flipped)],
                &["a.gz"],
                "a.gz: the gzip data is damaged (corrupt gzip stream does not have a matching checksum); copy or download it again",
            ),
            (
                &[("a.txt", b"1\n\xff")],
                &["a.txt"],
                "a.txt: line 2 is not UTF-8, at byte 2 of the file; save it as UTF-8",
            ),
            (
                &[("a.jsonl", b"\xff\xfe{\0")],
                &["a.jsonl"],
                "a.jsonl: encoded as UTF-16; save it as UTF-8",
            ),
            (
                &[("d/a.jsonl", b"{\"id\":\"a\",\"path\":\"x.txt\"}\n")],
                &["d/a.jsonl"],
                r#"d/a.jsonl:1: field "path" names d/x.txt: no such file or folder; check the path"#,
            ),
            (
                &[("d/a.jsonl", b"{\"id\":\"a\",\"path\":\"../d\"}\n")],
                &["d/a.jsonl"],
                r#"d/a.jsonl:1: field "path" names d/../d: not a regular file; name a text file"#,
            ),
            (
                &[("a.jsonl", line), ("b.jsonl", line)],
                &["a.jsonl", "b.jsonl"],
                r#"b.jsonl:1: the id "a" is already taken at a.jsonl:1; give every item an id of its own"#,
            ),
            (
                &[],
                &[],
                "no items to probe; name a .jsonl file, a .txt or .md file, or a folder of them",
            ),
        ];
        for (files, paths, expected) in cases {
            assert_eq!(reading(files, paths).err().as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_file_named_twice_is_read_once() {
        let set = reading(
            &[("set/a.jsonl", b"{\"id\":\"a\",\"text\":\"x\"}\n")],
            &["set", "set/a.jsonl", "set/../set"],
        )
        .unwrap();
        assert_eq!(origins(&set), ["a set/a.jsonl:1"]);
        assert_eq!(set.manifest.files.len(), 1);
        assert_eq!(
            set.manifest.warnings[0],
            "set/a.jsonl: same file as set/a.jsonl; read once"
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_loops_are_not() {
        use std::os::unix::fs::symlink;
        let folder = folder(&[("set/sub/a.txt", b"a"), ("elsewhere/b.txt", b"b")]);
        let root = folder.path();
        symlink(root.join("set"), root.join("set/sub/loop")).unwrap();
        symlink(root.join("elsewhere"), root.join("set/linked")).unwrap();
        symlink(root.join("set/sub/a.txt"), root.join("set/sub/z.txt")).unwrap();
        let set = read_in(&folder, &["set"]).unwrap();
        assert_eq!(
            origins(&set),
            ["linked/b.txt set/linked/b.txt", "sub/a.txt set/sub/a.txt"]
        );
        assert_eq!(
            set.manifest.warnings,
            ["set/sub/z.txt: same file as set/sub/a.txt; read once"]
        );

        symlink(root.join("gone"), root.join("set/gone.txt")).unwrap();
        assert_eq!(
            read_in(&folder, &["set"]).err().as_deref(),
            Some("set/gone.txt: no such file or folder; check the path")
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_name_that_cannot_be_an_id_is_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = folder(&[]);
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
        fs::write(folder.path().join(name), "x").unwrap();
        let message = read(&[folder.path().to_path_buf()])
            .unwrap_err()
            .to_string();
        let expected = ": the name can't be an id, because it isn't UTF-8 or contains control characters; rename the file";
        assert!(message.ends_with(expected), "{message}");
        assert_eq!(
            read(&[folder.path().join(name)]).unwrap_err().to_string(),
            message
        );
        assert_eq!(
            reading(&[("set/a\nb.txt", b"x")], &["set"]).err().unwrap(),
            format!("set/a\nb.txt{expected}")
        );
    }

    #[test]
    fn embedded_sets_and_paths_make_one_set() {
        let folder = folder(&[("c.txt", b"three")]);
        let path = folder.path().join("c.txt");
        let set = read_sources(&[
            Source::Embedded {
                name: "builtin:canaries.jsonl",
                bytes: &gzip(b"{\"id\":\"a\",\"kind\":\"canary\",\"text\":\"one\"}"),
            },
            Source::Path(&path),
            Source::Embedded {
                name: "builtin:controls.jsonl",
                bytes: b"{\"id\":\"b\",\"kind\":\"control\",\"text\":\"two\"}",
            },
        ])
        .unwrap();
        assert_eq!(
            (
                set.manifest.opt_outs,
                set.manifest.controls,
                set.manifest.canaries
            ),
            (1, 1, 1)
        );
        assert_eq!(set.items[2].origin.to_string(), "builtin:controls.jsonl:1");
        assert_eq!(set.manifest.files[0].name, "builtin:canaries.jsonl");
        let error = read_bytes("x.jsonl", b"{\"id\":\"a\",\"path\":\"b.txt\"}")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            r#"x.jsonl:1: field "path" names "b.txt", but a built-in probe set has no folder; give "text""#
        );
    }

    #[test]
    fn the_salted_digest_changes_with_salt_text_and_cut() {
        let lines = br#"{"id":"a","text":"onetwo"}
{"id":"b","prefix":"one","suffix":"two"}
{"id":"c","prefix":"on","suffix":"etwo"}
"#;
        let items = read_bytes("x.jsonl", lines).unwrap().items;
        assert_eq!(
            digest_salted("salt", &items[0]),
            Digest::of_bytes(b"salt\0onetwo")
        );
        assert_eq!(
            digest_salted("salt", &items[1]),
            Digest::of_bytes(b"salt\0one\0two")
        );
        assert_eq!(
            digest_salted("pepper", &items[2]),
            Digest::of_bytes(b"pepper\0on\0etwo")
        );
    }
}
