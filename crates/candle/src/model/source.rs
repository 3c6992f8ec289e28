//! From a model's name to its files: what a reference means, where the files are, and what they
//! contain.
//!
//! This module handles the registry, folders and the hub. It doesn't open weights; it only
//! determines which files they are.

mod folder;
#[cfg(feature = "hub")]
pub mod hub;
pub mod identity;
pub mod signing;

#[cfg(feature = "hub")]
pub(crate) use folder::{Choice, choose, config_missing, is_commit, shards};

use byrote_core::registry::{EntrySource, ModelEntry, Registry, is_hub_id, is_revision};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a model's weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One or several `.safetensors` files with a `config.json`.
    Safetensors,
    /// One `.gguf` file, which contains its config and tokenizer, or all parts of a split one.
    Gguf,
    /// Inside this program.
    Builtin,
}

/// A model whose files are all present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The model as the user named it.
    pub reference: String,
    /// `builtin`, `folder:PATH`, `file:PATH` or `hub:org/name`.
    pub source: String,
    /// The commit of a hub repository, if known.
    pub revision: Option<String>,
    pub format: Format,
    /// The folder that file names are relative to; empty for the built-in model.
    pub folder: PathBuf,
    /// `config.json`; absent for GGUF.
    pub config: Option<PathBuf>,
    /// The shards in order of their names, or the GGUF or its parts; empty for the built-in model.
    pub weights: Vec<PathBuf>,
    /// `model.safetensors.index.json`, if the list of shards came from it.
    pub index: Option<PathBuf>,
    /// `tokenizer.json` if there is one, else `tokenizer.model` or `vocab.json`; always absent for
    /// GGUF.
    pub tokenizer: Option<PathBuf>,
    /// Further files of a tokenizer without `tokenizer.json`: `merges.txt` and the like.
    pub tokenizer_parts: Vec<PathBuf>,
    /// `tokenizer_config.json` if there is one; always absent for GGUF.
    pub tokenizer_config: Option<PathBuf>,
    /// The entry of `models.toml`, if the user named one.
    pub entry: Option<ModelEntry>,
    /// The folder of a LoRA adapter to merge into the model.
    pub adapter: Option<PathBuf>,
}

/// One step of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// Name of the file in its repository.
    pub file: &'a str,
    /// Bytes received so far.
    pub done: u64,
    /// Bytes in total.
    pub total: u64,
}

/// Called with the progress of a download.
pub type ProgressFn = Arc<dyn Fn(Transfer<'_>) + Send + Sync>;

/// An access token for the hub. It is never printed, logged or part of an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Trims white space around the token; `None` if nothing remains.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The token itself, for the one place that sends it.
    #[cfg(feature = "hub")]
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// Options for locating a model. Nothing else is read from the environment.
#[derive(Clone)]
pub struct LocateOptions {
    /// The hub cache, in the layout that other tools share:
    /// `models--org--name/{blobs,refs,snapshots}`.
    pub cache_dir: PathBuf,
    /// Use only files that are on this disk already.
    pub offline: bool,
    /// The hub's address, such as `https://huggingface.co`.
    pub endpoint: String,
    pub token: Option<Token>,
    /// Bytes per request. Chunks that arrived before a connection broke are kept.
    pub chunk_bytes: u64,
    pub progress: Option<ProgressFn>,
}

impl fmt::Debug for LocateOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocateOptions")
            .field("cache_dir", &self.cache_dir)
            .field("offline", &self.offline)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token)
            .field("chunk_bytes", &self.chunk_bytes)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}

impl LocateOptions {
    /// The options according to the hub's environment variables: `HF_ENDPOINT`, `HF_HUB_CACHE`,
    /// `HF_HOME`, `HF_HUB_OFFLINE`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_DISABLE_IMPLICIT_TOKEN`,
    /// and the token file.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let set = |name: &str| {
            given(name).is_some_and(|value| {
                matches!(
                    value.trim().to_ascii_uppercase().as_str(),
                    "1" | "ON" | "YES" | "TRUE"
                )
            })
        };
        let home = given("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let cache = given("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .unwrap_or_else(|| {
                    let user = given("HOME")
                        .or_else(|| given("USERPROFILE"))
                        .unwrap_or_else(|| ".".to_owned());
                    Path::new(&user).join(".cache")
                });
            cache.join("huggingface")
        });
        let token_file = given("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = if set("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            None
        } else {
            given("HF_TOKEN")
                .or_else(|| given("HUGGING_FACE_HUB_TOKEN"))
                .or_else(|| std::fs::read_to_string(token_file).ok())
                .and_then(|text| Token::new(&text))
        };
        Self {
            cache_dir: given("HF_HUB_CACHE")
                .or_else(|| given("HUGGINGFACE_HUB_CACHE"))
                .map_or_else(|| home.join("hub"), PathBuf::from),
            offline: set("HF_HUB_OFFLINE"),
            endpoint: given("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()),
            token,
            chunk_bytes: 64 << 20,
            progress: None,
        }
    }
}

/// The reason why a model's files aren't available.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("found no model \"{reference}\": {tried}")]
    Unknown { reference: String, tried: String },
    #[error("{}: there is no such file or folder; check the path", .path.display())]
    NoPath { path: PathBuf },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{reference}: only models on the hub have revisions; leave out \"@{revision}\"")]
    NoRevisions { reference: String, revision: String },
    #[error("{place} has no config.json, which safetensors need; add the model's config.json")]
    NoConfig { place: String },
    #[error(
        "{place} has only pickled weights ({files}); pickles can run code when opened, so byrote never loads them; \
         convert them with the safetensors library (save_pretrained(..., safe_serialization=True)) or choose another revision"
    )]
    PickleOnly { place: String, files: String },
    #[error(
        "{place} has no weights: no model.safetensors, no model.safetensors.index.json and no .gguf file{found}"
    )]
    NoWeights { place: String, found: String },
    #[error(
        "{place} has several GGUF files ({files}); choose one with file = \"...\" in models.toml, or give its path"
    )]
    SeveralGguf { place: String, files: String },
    #[error(
        "{place} has only some of the {count} parts of a GGUF; missing: {missing}; fetch them, too"
    )]
    MissingParts {
        place: String,
        count: u32,
        missing: String,
    },
    #[error("{place} has no file \"{file}\", which models.toml names; it has: {found}")]
    NoFile {
        place: String,
        file: String,
        found: String,
    },
    #[error("{}: {reason}; fetch the file again", .path.display())]
    BadIndex { path: PathBuf, reason: String },
    #[error("{}: these shards are missing: {missing}; fetch them again", .index.display())]
    MissingShards { index: PathBuf, missing: String },
    #[error("{}: a model is a folder, a .gguf file or a .safetensors file", .path.display())]
    NotAModel { path: PathBuf },
    #[error("{}: expected SHA-256 {expected} ({by}), found {found}: {fix}", .path.display())]
    Digest {
        path: PathBuf,
        by: String,
        expected: String,
        found: String,
        fix: String,
    },
    #[error(
        "{origin}: model \"{name}\" has a digest for \"{file}\", which isn't one of its files ({found}); remove it"
    )]
    DigestOfNothing {
        origin: String,
        name: String,
        file: String,
        found: String,
    },
    #[error("{}: this is neither a file nor a folder, so the model's folder has no root digest; remove it", .path.display())]
    NoFileOrFolder { path: PathBuf },
    #[error("the built-in model has no files on disk, so it has no digests")]
    NoFilesOfBuiltin,
    #[cfg(not(feature = "hub"))]
    #[error(
        "{repo} is on the hub, and this program was built without the feature \"hub\"; use a folder or a file"
    )]
    NoHub { repo: String },
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] hub::HubError),
}

impl SourceError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// The meaning of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Builtin,
    /// A folder or a file.
    Path(PathBuf),
    /// A repository; without a revision, its `main`.
    Hub {
        repo: String,
        revision: Option<String>,
    },
}

/// The meaning of `reference`, and the entry of `models.toml` that it names. In this order:
///
/// 1. `builtin` and `builtin:` are the built-in model;
/// 2. a reference that begins with `/`, `./` or `../` (or is `.` or `..`), or ends in `/`, `.gguf`
///    or `.safetensors`, is a path;
/// 3. a name in `models.toml`, with `@revision` for another revision of its repository;
/// 4. an existing folder or file;
/// 5. `org/name` or `org/name@revision` on the hub.
///
/// So a folder hides a hub repository of the same name, but never a name in `models.toml`. To open
/// a folder with such a name, write `./name`.
///
/// # Errors
/// If it is none of these. The error says what was tried and which names are similar.
pub fn resolve(
    reference: &str,
    registry: &Registry,
) -> Result<(Source, Option<ModelEntry>), SourceError> {
    if matches!(reference, "builtin" | "builtin:") {
        let entry = registry
            .find("builtin")
            .filter(|entry| entry.source == EntrySource::Builtin);
        return Ok((Source::Builtin, entry.cloned()));
    }
    let path = PathBuf::from(reference);
    if is_written_as_path(reference) {
        return if path.exists() {
            Ok((Source::Path(path), None))
        } else {
            Err(SourceError::NoPath { path })
        };
    }
    let (name, revision) = match reference.split_once('@') {
        Some((name, revision)) => (name, Some(revision)),
        None => (reference, None),
    };
    if let Some(entry) = registry.find(name) {
        return from_entry(entry, reference, revision);
    }
    if !reference.is_empty() && path.exists() {
        return Ok((Source::Path(path), None));
    }
    if is_hub_id(name) && revision.is_none_or(is_revision) {
        let revision = revision.map(str::to_owned);
        return Ok((
            Source::Hub {
                repo: name.to_owned(),
                revision,
            },
            None,
        ));
    }
    let near = registry.near(name);
    let near = if near.is_empty() {
        String::new()
    } else {
        format!(" (did you mean {}?)", near.join(", "))
    };
    let tried = format!(
        "{} has no such name{near}, there is no folder or file with that name here, \
         and it isn't of the form org/name[@revision], which the hub would take",
        registry.file
    );
    Err(SourceError::Unknown {
        reference: reference.to_owned(),
        tried,
    })
}

fn is_written_as_path(reference: &str) -> bool {
    Path::new(reference).is_absolute()
        || matches!(reference, "." | "..")
        || ["./", "../", ".\\", "..\\"]
            .iter()
            .any(|start| reference.starts_with(start))
        || ["/", "\\", ".gguf", ".safetensors"]
            .iter()
            .any(|end| reference.ends_with(end))
}

fn from_entry(
    entry: &ModelEntry,
    reference: &str,
    revision: Option<&str>,
) -> Result<(Source, Option<ModelEntry>), SourceError> {
    let mut entry = entry.clone();
    if let Some(revision) = revision {
        if !matches!(entry.source, EntrySource::Hub(_)) || !is_revision(revision) {
            let (reference, revision) = (reference.to_owned(), revision.to_owned());
            return Err(SourceError::NoRevisions {
                reference,
                revision,
            });
        }
        // The entry's digests apply to its own revision only.
        if entry.revision.as_deref() != Some(revision) {
            entry.sha256.clear();
        }
        entry.revision = Some(revision.to_owned());
    }
    let source = match &entry.source {
        EntrySource::Builtin => Source::Builtin,
        EntrySource::Path(path) => Source::Path(path.clone()),
        EntrySource::Hub(repo) => Source::Hub {
            repo: repo.clone(),
            revision: entry.revision.clone(),
        },
    };
    Ok((source, Some(entry)))
}

/// Finds the files of the model that `reference` names (see [`resolve`]), and downloads them if
/// necessary.
///
/// # Errors
/// If the reference has no meaning, or files are missing, refused or damaged.
pub fn locate(
    reference: &str,
    registry: &Registry,
    options: &LocateOptions,
) -> Result<Located, SourceError> {
    let (source, entry) = resolve(reference, registry)?;
    let file = entry.as_ref().and_then(|entry| entry.file.as_deref());
    let mut located = match &source {
        Source::Builtin => builtin(),
        Source::Path(path) => folder::from_path(path, file)?,
        Source::Hub { repo, revision } => from_hub(repo, revision.as_deref(), file, options)?,
    };
    located.reference = reference.to_owned();
    located.entry = entry;
    Ok(located)
}

fn builtin() -> Located {
    Located {
        reference: String::new(),
        source: "builtin".to_owned(),
        revision: None,
        format: Format::Builtin,
        folder: PathBuf::new(),
        config: None,
        weights: Vec::new(),
        index: None,
        tokenizer: None,
        tokenizer_parts: Vec::new(),
        tokenizer_config: None,
        entry: None,
        adapter: None,
    }
}

#[cfg(feature = "hub")]
fn from_hub(
    repo: &str,
    revision: Option<&str>,
    file: Option<&str>,
    options: &LocateOptions,
) -> Result<Located, SourceError> {
    let snapshot = hub::fetch(repo, revision, file, options)?;
    let mut located = folder::read(&snapshot.folder, file)?;
    located.source = format!("hub:{repo}");
    located.revision = Some(snapshot.commit);
    Ok(located)
}

#[cfg(not(feature = "hub"))]
fn from_hub(
    repo: &str,
    _: Option<&str>,
    _: Option<&str>,
    _: &LocateOptions,
) -> Result<Located, SourceError> {
    Err(SourceError::NoHub {
        repo: repo.to_owned(),
    })
}

/// Checks that the snapshot in `folder` is a complete model.
///
/// # Errors
/// The error says what is missing.
#[cfg(feature = "hub")]
pub(crate) fn check_folder(folder: &Path, file: Option<&str>) -> Result<(), SourceError> {
    folder::read(folder, file).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_resolve_in_the_documented_order() {
        let registry = Registry::builtin().unwrap();
        let hub = |repo: &str, revision: Option<&str>| Source::Hub {
            repo: repo.to_owned(),
            revision: revision.map(str::to_owned),
        };
        for (reference, source, name) in [
            ("builtin", Source::Builtin, Some("builtin")),
            ("builtin:", Source::Builtin, Some("builtin")),
            ("gpt2", hub("openai-community/gpt2", None), Some("gpt2")),
            (
                "pythia-70m@step1000",
                hub("EleutherAI/pythia-70m", Some("step1000")),
                Some("pythia-70m"),
            ),
            ("some/model", hub("some/model", None), None),
            (
                "some/model@refs/pr/1",
                hub("some/model", Some("refs/pr/1")),
                None,
            ),
            // Tests run in the folder of the package.
            ("./src", Source::Path("./src".into()), None),
            ("src", Source::Path("src".into()), None),
            ("src/model", Source::Path("src/model".into()), None),
            ("src/", Source::Path("src/".into()), None),
        ] {
            let (found, entry) = resolve(reference, &registry).unwrap();
            assert_eq!(
                (found, entry.map(|e| e.name).as_deref()),
                (source, name),
                "{reference}"
            );
        }
    }

    #[test]
    fn a_folder_hides_a_hub_repository_but_not_a_registry_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("models.toml");
        std::fs::write(&file, "default = \"src\"\n[models.src]\nsource = \"o/n\"\n").unwrap();
        let registry = Registry::from_file(&file).unwrap();
        assert!(matches!(
            resolve("src", &registry),
            Ok((Source::Hub { .. }, Some(_)))
        ));
        assert!(matches!(
            resolve("./src", &registry),
            Ok((Source::Path(_), None))
        ));
        assert!(matches!(
            resolve("src/model", &registry),
            Ok((Source::Path(_), None))
        ));
    }

    #[test]
    fn an_unknown_reference_says_what_was_tried() {
        let registry = Registry::builtin().unwrap();
        for (reference, expected) in [
            (
                "pythia70m",
                "models.toml has no such name (did you mean pythia-70m",
            ),
            ("no such thing", "isn't of the form org/name[@revision]"),
            (
                "some/model@../../x",
                "isn't of the form org/name[@revision]",
            ),
            ("", "isn't of the form"),
            (
                "./no-such-folder",
                "./no-such-folder: there is no such file or folder",
            ),
            (
                "no-such.gguf",
                "no-such.gguf: there is no such file or folder",
            ),
            ("builtin@main", "only models on the hub have revisions"),
        ] {
            let message = resolve(reference, &registry).unwrap_err().to_string();
            assert!(message.contains(expected), "{reference}: {message}");
        }
    }

    #[test]
    fn registry_digests_apply_to_their_own_revision_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("models.toml");
        let digest = "0".repeat(64);
        let text = format!(
            "default = \"m\"\n[models.m]\nsource = \"o/n\"\nrevision = \"v1\"\nsha256 = {{ \"config.json\" = \"{digest}\" }}\n"
        );
        std::fs::write(&file, text).unwrap();
        let registry = Registry::from_file(&file).unwrap();
        for (reference, digests) in [("m", 1), ("m@v1", 1), ("m@v2", 0)] {
            let (_, entry) = resolve(reference, &registry).unwrap();
            assert_eq!(entry.unwrap().sha256.len(), digests, "{reference}");
        }
    }

    #[test]
    fn options_follow_the_hubs_environment_variables() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().display().to_string();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let from = |variables: &[(&str, &str)]| {
            LocateOptions::from_variables(|name| {
                variables
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        let plain = from(&[("HOME", "/home/me")]);
        assert_eq!(
            plain.cache_dir,
            PathBuf::from("/home/me/.cache/huggingface/hub")
        );
        assert_eq!(
            (plain.offline, plain.endpoint.as_str()),
            (false, "https://huggingface.co")
        );
        assert_eq!(plain.token, None);
        let home_only = from(&[("HF_HOME", &home)]);
        assert_eq!(home_only.cache_dir, folder.path().join("hub"));
        assert_eq!(home_only.token, Token::new("from-file"));
        let all = from(&[
            ("HF_HOME", &home),
            ("HF_HUB_CACHE", "/cache"),
            ("HF_TOKEN", " given \n"),
            ("HF_HUB_OFFLINE", "true"),
            ("HF_ENDPOINT", "http://127.0.0.1:1"),
        ]);
        assert_eq!(all.cache_dir, PathBuf::from("/cache"));
        assert_eq!(
            (all.offline, all.endpoint.as_str()),
            (true, "http://127.0.0.1:1")
        );
        assert_eq!(all.token, Token::new("given"));
        assert!(!format!("{all:?}").contains("given"));
        assert_eq!(
            from(&[("HF_HOME", &home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).token,
            None
        );
        assert!(!from(&[("HF_HUB_OFFLINE", "0")]).offline);
    }
}
