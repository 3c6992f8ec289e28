//! `models.toml`: names for models, parsed and validated once.
//!
//! Knows the contents of entries. Doesn't access disks or networks: that is `model::source`.

use crate::digest::Digest;
use crate::tokens::BosChoice;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The location of an entry's model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntrySource {
    /// The model inside this program.
    Builtin,
    /// A repository on the hub, as `org/name`.
    Hub(String),
    /// A folder, a `.gguf` file or a `.safetensors` file. Relative paths are relative to the folder
    /// of `models.toml`.
    Path(PathBuf),
}

/// The data type for a model's weights.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DtypeChoice {
    /// As stored in the files.
    #[default]
    Auto,
    F32,
    F16,
    Bf16,
}

/// One model of `models.toml`, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    pub name: String,
    pub source: EntrySource,
    /// A branch, tag or commit of a hub repository; absent = its `main`.
    pub revision: Option<String>,
    /// The file to use in a repository or folder with several models, relative to it.
    pub file: Option<String>,
    pub dtype: DtypeChoice,
    /// The architecture, if the model's own files don't state it.
    pub family: Option<String>,
    pub bos: BosChoice,
    /// Expected SHA-256 of files, by name relative to the model's folder.
    pub sha256: BTreeMap<String, Digest>,
    pub notes: Option<String>,
    /// The position of the entry, as `FILE:LINE`.
    pub origin: String,
}

/// The named models, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// The file it was read from, as errors name it.
    pub file: String,
    /// The model that is used when none is named.
    pub default: String,
    pub entries: Vec<ModelEntry>,
}

/// Why a `models.toml` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{file}: can't be read: {source}; give the path of a models.toml")]
    Read { file: String, source: io::Error },
    #[error("{file}:{line}: {message}")]
    Toml {
        file: String,
        line: u64,
        message: String,
    },
    #[error("{file}:{line}: {problem}; {fix}")]
    Entry {
        file: String,
        line: u64,
        problem: String,
        fix: String,
    },
    #[error("{file} has no model \"{name}\"{}; `byrote models list` shows them all", did_you_mean(.near))]
    Unknown {
        file: String,
        name: String,
        near: Vec<String>,
    },
}

impl Registry {
    /// The `models.toml` that comes with the program.
    ///
    /// # Errors
    /// Never, as long as the tests of this module pass.
    pub fn builtin() -> Result<Self, RegistryError> {
        Self::parse(
            include_str!("../../../models.toml"),
            "models.toml",
            Path::new(""),
        )
    }

    /// Reads a `models.toml`. Its relative paths are relative to its own folder.
    ///
    /// # Errors
    /// When the file can't be read or an entry is wrong; names file, line and fix.
    pub fn from_file(path: &Path) -> Result<Self, RegistryError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| RegistryError::Read {
            file: file.clone(),
            source,
        })?;
        Self::parse(&text, &file, path.parent().unwrap_or(Path::new("")))
    }

    /// The entry called `name`, if there is one.
    pub fn find(&self, name: &str) -> Option<&ModelEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The entry called `name`.
    ///
    /// # Errors
    /// When there is none; suggests similar names.
    pub fn get(&self, name: &str) -> Result<&ModelEntry, RegistryError> {
        self.find(name).ok_or_else(|| RegistryError::Unknown {
            file: self.file.clone(),
            name: name.to_owned(),
            near: self.near(name),
        })
    }

    /// Up to five names similar to `name`, the most similar first.
    pub fn near(&self, name: &str) -> Vec<String> {
        let wanted = plain(name);
        let mut found: Vec<(usize, &str)> = self
            .entries
            .iter()
            .filter_map(|entry| {
                let candidate = plain(&entry.name);
                let distance = edits(&wanted, &candidate);
                let alike = distance <= 2.max(wanted.len() / 4);
                let part = wanted.len() >= 3
                    && (candidate.contains(&wanted) || wanted.contains(&candidate));
                (alike || part).then_some((distance, entry.name.as_str()))
            })
            .collect();
        found.sort_by_key(|(distance, _)| *distance);
        found
            .into_iter()
            .take(5)
            .map(|(_, name)| name.to_owned())
            .collect()
    }

    fn parse(text: &str, file: &str, folder: &Path) -> Result<Self, RegistryError> {
        let raw: RawRegistry = toml::from_str(text).map_err(|error| RegistryError::Toml {
            file: file.to_owned(),
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            message: error.message().to_owned(),
        })?;
        let check = Check { text, file, folder };
        let mut models: Vec<(Spanned<String>, RawEntry)> = raw.models.into_iter().collect();
        models.sort_by_key(|(name, _)| name.span().start);
        let entries = models
            .into_iter()
            .map(|(name, entry)| check.entry(&name, entry))
            .collect::<Result<Vec<ModelEntry>, RegistryError>>()?;
        let registry = Self {
            file: file.to_owned(),
            default: raw.default.get_ref().clone(),
            entries,
        };
        if registry.find(&registry.default).is_none() {
            let problem = format!(
                "default = \"{}\" is not an entry of this file",
                registry.default
            );
            let fix = format!("add [models.{}] or name another{}", registry.default, {
                did_you_mean(&registry.near(&registry.default))
            });
            return Err(check.error(raw.default.span().start, problem, fix));
        }
        Ok(registry)
    }
}

/// ` (did you mean "a", "b"?)`, or nothing.
fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        names => {
            let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            format!(" (did you mean {}?)", quoted.join(", "))
        }
    }
}

/// Whether `repo` has the form `org/name` of model names on the hub.
pub fn is_hub_id(repo: &str) -> bool {
    let part = |text: &str| {
        !text.is_empty()
            && text.len() <= 96
            && !text.starts_with('.')
            && !text.contains("..")
            && !text.contains("--")
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    repo.split_once('/')
        .is_some_and(|(org, name)| part(org) && part(name))
}

/// Whether `revision` can be a branch, tag or commit, and is safe as a file name.
pub fn is_revision(revision: &str) -> bool {
    revision.len() <= 200
        && revision.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && !part.contains("..")
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
        })
}

/// Whether `name` stays inside the folder it is joined to.
pub fn is_inside(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', ':', '\0'])
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegistry {
    default: Spanned<String>,
    #[serde(default)]
    models: BTreeMap<Spanned<String>, RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    source: Spanned<String>,
    revision: Option<Spanned<String>>,
    file: Option<Spanned<String>>,
    #[serde(default)]
    dtype: DtypeChoice,
    family: Option<String>,
    #[serde(default)]
    bos: BosChoice,
    #[serde(default)]
    sha256: BTreeMap<Spanned<String>, Spanned<String>>,
    notes: Option<String>,
}

/// Context for validating raw entries.
struct Check<'a> {
    text: &'a str,
    file: &'a str,
    folder: &'a Path,
}

impl Check<'_> {
    fn entry(&self, name: &Spanned<String>, raw: RawEntry) -> Result<ModelEntry, RegistryError> {
        let at = name.span().start;
        let name = name.get_ref().clone();
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        {
            return Err(self.error(
                at,
                format!("\"{name}\" can't be the name of a model"),
                "use letters, digits, dots, dashes and underscores",
            ));
        }
        let source = self.source(&raw.source)?;
        if let Some(revision) = &raw.revision {
            let start = revision.span().start;
            if !matches!(source, EntrySource::Hub(_)) {
                let fix = "remove it: only models on the hub have revisions";
                return Err(self.error(start, format!("model \"{name}\" has a revision"), fix));
            }
            if !is_revision(revision.get_ref()) {
                let problem = format!("\"{}\" is not a revision", revision.get_ref());
                return Err(self.error(start, problem, "give a commit, a tag or a branch"));
            }
        }
        if let Some(wanted) = &raw.file {
            let start = wanted.span().start;
            let text = wanted.get_ref();
            if !is_inside(text) || !(text.ends_with(".gguf") || text.ends_with(".safetensors")) {
                let problem = format!("file = \"{text}\" can't be loaded");
                return Err(self.error(
                    start,
                    problem,
                    "name a .gguf or .safetensors file of the repository",
                ));
            }
            if source == EntrySource::Builtin {
                return Err(self.error(start, format!("model \"{name}\" has a file"), "remove it"));
            }
        }
        let sha256 = raw
            .sha256
            .iter()
            .map(|(file, digest)| self.digest(file, digest))
            .collect::<Result<_, RegistryError>>()?;
        Ok(ModelEntry {
            name,
            source,
            revision: raw.revision.map(Spanned::into_inner),
            file: raw.file.map(Spanned::into_inner),
            dtype: raw.dtype,
            family: raw.family,
            bos: raw.bos,
            sha256,
            notes: raw.notes,
            origin: format!("{}:{}", self.file, line_of(self.text, at)),
        })
    }

    fn source(&self, source: &Spanned<String>) -> Result<EntrySource, RegistryError> {
        let text = source.get_ref().as_str();
        let path = Path::new(text);
        if text == "builtin:" {
            Ok(EntrySource::Builtin)
        } else if path.is_absolute()
            || text.starts_with("./")
            || text.starts_with("../")
            || text.ends_with(".gguf")
            || text.ends_with(".safetensors")
        {
            Ok(EntrySource::Path(self.folder.join(path)))
        } else if is_hub_id(text) {
            Ok(EntrySource::Hub(text.to_owned()))
        } else {
            Err(self.error(
                source.span().start,
                format!("source = \"{text}\" names no model"),
                "write \"org/name\" for the hub, \"./folder\" or \"/folder\" for a folder, a .gguf file, or \"builtin:\"",
            ))
        }
    }

    fn digest(
        &self,
        file: &Spanned<String>,
        digest: &Spanned<String>,
    ) -> Result<(String, Digest), RegistryError> {
        let name = file.get_ref();
        if !is_inside(name) {
            let problem = format!("sha256 names \"{name}\", which is outside the model's folder");
            return Err(self.error(
                file.span().start,
                problem,
                "give the file's name inside the folder",
            ));
        }
        match Digest::parse(digest.get_ref()) {
            Some(parsed) => Ok((name.clone(), parsed)),
            None => Err(self.error(
                digest.span().start,
                format!("the digest of \"{name}\" isn't SHA-256"),
                "give 64 hexadecimal digits, as sha256sum prints them",
            )),
        }
    }

    fn error(&self, at: usize, problem: String, fix: impl Into<String>) -> RegistryError {
        RegistryError::Entry {
            file: self.file.to_owned(),
            line: line_of(self.text, at),
            problem,
            fix: fix.into(),
        }
    }
}

/// Line number, from 1, of the byte at `at`.
fn line_of(text: &str, at: usize) -> u64 {
    text.bytes().take(at).filter(|b| *b == b'\n').count() as u64 + 1
}

/// A name without the characters that people omit when typing it.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Insertions, deletions and substitutions between two words (Levenshtein distance).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Registry, RegistryError> {
        Registry::parse(text, "my/models.toml", Path::new("my"))
    }

    #[test]
    fn the_built_in_models_are_valid() {
        let registry = Registry::builtin().unwrap();
        assert_eq!(
            registry.get(&registry.default).unwrap().source,
            EntrySource::Builtin
        );
        for (name, repo) in [
            ("gemma-3-270m", "google/gemma-3-270m"),
            ("pythia-12b-deduped", "EleutherAI/pythia-12b-deduped"),
            ("gpt2-xl", "openai-community/gpt2-xl"),
            ("qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B"),
        ] {
            assert_eq!(
                registry.get(name).unwrap().source,
                EntrySource::Hub(repo.to_owned()),
                "{name}"
            );
        }
        assert!(registry.entries.len() > 30);
        assert!(
            registry.entries.iter().all(|entry| entry.sha256.is_empty()),
            "no digest is known for sure"
        );
    }

    #[test]
    fn entries_keep_their_fields_lines_and_order() {
        let digest = "AB".repeat(32);
        let registry = parse(&format!(
            "default = \"zeta\"\n\n[models.zeta]\nsource = \"org/zeta-GGUF\"\nrevision = \"refs/pr/1\"\nfile = \"q4/zeta.gguf\"\n\
             dtype = \"bf16\"\nfamily = \"llama\"\nbos = \"never\"\nnotes = \"n\"\n[models.zeta.sha256]\n\"q4/zeta.gguf\" = \"{digest}\"\n\
             [models.alpha]\nsource = \"./alpha\"\n"
        ))
        .unwrap();
        let [zeta, alpha] = registry.entries.as_slice() else {
            panic!("{registry:?}")
        };
        assert_eq!(zeta.source, EntrySource::Hub("org/zeta-GGUF".to_owned()));
        assert_eq!(
            (zeta.revision.as_deref(), zeta.file.as_deref()),
            (Some("refs/pr/1"), Some("q4/zeta.gguf"))
        );
        assert_eq!(
            (zeta.dtype, zeta.bos, zeta.origin.as_str()),
            (DtypeChoice::Bf16, BosChoice::Never, "my/models.toml:3")
        );
        assert_eq!(
            (zeta.family.as_deref(), zeta.notes.as_deref()),
            (Some("llama"), Some("n"))
        );
        assert_eq!(zeta.sha256["q4/zeta.gguf"].as_str(), digest.to_lowercase());
        assert_eq!(alpha.source, EntrySource::Path(PathBuf::from("my/./alpha")));
        assert_eq!(
            (alpha.dtype, alpha.bos, alpha.origin.as_str()),
            (DtypeChoice::Auto, BosChoice::Auto, "my/models.toml:13")
        );
    }

    #[test]
    fn invalid_entries_are_errors_with_file_line_and_fix() {
        let head = "default = \"a\"\n[models.a]\n";
        for (rest, line, expected) in [
            ("source = \"a\"\n", 3, "write \"org/name\""),
            (
                "source = \"../../x/../pytorch\"\nrevision = \"main\"\n",
                4,
                "only models on the hub have revisions",
            ),
            (
                "source = \"o/n\"\nrevision = \"../../etc\"\n",
                4,
                "give a commit",
            ),
            (
                "source = \"o/n\"\nfile = \"pytorch_model.bin\"\n",
                4,
                "name a .gguf or .safetensors",
            ),
            (
                "source = \"o/n\"\nfile = \"../x.gguf\"\n",
                4,
                "can't be loaded",
            ),
            ("source = \"builtin:\"\nfile = \"x.gguf\"\n", 4, "remove it"),
            (
                "source = \"o/n\"\nsha256 = { \"x.gguf\" = \"abc\" }\n",
                4,
                "64 hexadecimal digits",
            ),
            (
                "source = \"o/n\"\nsha256 = { \"../x\" = \"abc\" }\n",
                4,
                "outside the model's folder",
            ),
            (
                "source = \"o/n\"\nrevison = \"main\"\n",
                4,
                "unknown field `revison`",
            ),
            (
                "source = \"o/n\"\ndtype = \"f8\"\n",
                4,
                "unknown variant `f8`",
            ),
            ("source = 7\n", 3, "invalid type"),
            (
                "source = \"o/n\"\n[models.\"b/c\"]\nsource = \"o/n\"\n",
                4,
                "can't be the name of a model",
            ),
        ] {
            let message = parse(&format!("{head}{rest}")).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("my/models.toml:{line}: ")),
                "{rest}: {message}"
            );
            assert!(message.contains(expected), "{rest}: {message}");
        }
        let message = parse("default = \"pythia70m\"\n[models.pythia-70m]\nsource = \"o/n\"\n")
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("my/models.toml:1: ")
                && message.contains("did you mean \"pythia-70m\""),
            "{message}"
        );
    }

    #[test]
    fn unknown_names_get_suggestions() {
        let registry = Registry::builtin().unwrap();
        for (typed, near) in [
            ("pythia70m", "pythia-70m"),
            ("Gemma-3-270M", "gemma-3-270m"),
            ("qwen-2.5-7b", "qwen2.5-7b"),
            ("smollm2-153m", "smollm2-135m"),
            ("olmo", "olmo-2-1b"),
        ] {
            let message = registry.get(typed).unwrap_err().to_string();
            assert!(
                message.contains(&format!("\"{near}\"")),
                "{typed}: {message}"
            );
        }
        assert!(
            !registry
                .get("zzzzzz")
                .unwrap_err()
                .to_string()
                .contains("did you mean")
        );
    }

    #[test]
    fn names_that_leave_their_folder_are_detected() {
        for name in ["", "/x", "../x", "a/../x", "a//x", "./x", "a\\x", "C:x"] {
            assert!(!is_inside(name), "{name}");
        }
        assert!(is_inside("a/b.safetensors"));
        for id in [
            "gpt2", "a/b/c", "../b", "a/..", "a/", "/b", "a--b/c", "a b/c", "a/b@c",
        ] {
            assert!(!is_hub_id(id), "{id}");
        }
        assert!(is_hub_id("meta-llama/Llama-3.2-1B"));
    }
}
