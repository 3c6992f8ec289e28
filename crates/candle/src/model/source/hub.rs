//! Downloads models from the Hugging Face hub.
//!
//! Addresses, responses and folder names follow `hf-hub`. Its downloads are not used: they return a
//! stale `main` if the hub can't be reached, keep a body with a flipped bit, and ignore
//! `HF_HUB_OFFLINE`. This module differs:
//!
//! 1. it first resolves a moving revision to a commit, fails if that fails, and requests everything
//!    else by commit;
//! 2. it downloads only the files of the model, never pickles;
//! 3. it downloads in chunks and keeps the chunks that arrived;
//! 4. it adds a file to the cache only if it matches the commit (see `cache`).
//!
//! The token is sent to the endpoint only: the client drops it on a redirect to another host or
//! port, and removes it from every text from outside before that text becomes part of an error.

mod cache;
mod client;

use crate::model::source::{
    Choice, LocateOptions, SourceError, Transfer, check_folder, choose, config_missing, is_commit,
    shards,
};
use crate::tokens::slow::{BESIDE, MAIN_FILES};
use cache::{Announced, RepoCache};
use client::{Failure, Hub, retry};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use ureq::http::StatusCode;

/// The reason why the hub didn't provide a model. Contains texts only, with the token removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    #[error(
        "can't reach the hub at {endpoint} to look up {what}: {detail}; check the network or HF_ENDPOINT, \
         or use cached files with --offline"
    )]
    Unreachable {
        endpoint: String,
        what: String,
        detail: String,
    },
    #[error(
        "the hub denies access to {repo} (HTTP {status}){detail}; if it exists and is gated or private, accept its \
         licence at {endpoint}/{repo}, then run `hf auth login` or set HF_TOKEN to a token of that account with permission to read \
         gated repositories ({token})"
    )]
    Denied {
        endpoint: String,
        repo: String,
        status: u16,
        detail: String,
        token: &'static str,
    },
    #[error(
        "{endpoint} has no model repository {repo}; check the name (org/name), or set HF_TOKEN if it is private"
    )]
    NoRepo { endpoint: String, repo: String },
    #[error(
        "{repo} has no revision \"{revision}\"; use a branch, a tag or a full commit id of {endpoint}/{repo}"
    )]
    NoRevision {
        endpoint: String,
        repo: String,
        revision: String,
    },
    #[error(
        "{file} of {repo} at {commit} arrived damaged and was removed: {detail}; run again, and if that doesn't help, \
         look for a proxy that alters downloads"
    )]
    Damaged {
        repo: String,
        commit: String,
        file: String,
        detail: String,
    },
    #[error(
        "{file} of {repo}: the connection broke after {done} of {total} bytes: {detail}; run again to continue from there"
    )]
    Broken {
        repo: String,
        file: String,
        done: u64,
        total: u64,
        detail: String,
    },
    #[error(
        "{repo} at \"{revision}\" isn't complete in the cache {}, and downloads are disabled (--offline or HF_HUB_OFFLINE): \
         {missing}; fetch it with `byrote models pull {repo}@{revision}`", .cache.display()
    )]
    NotCached {
        repo: String,
        revision: String,
        cache: PathBuf,
        missing: String,
    },
    #[error(
        "the hub's token contains characters that aren't allowed in an HTTP header; check HF_TOKEN or the token file"
    )]
    BadToken,
    #[error(
        "the hub's address contains a user name or password; remove them and set the token in HF_TOKEN"
    )]
    BadEndpoint,
    #[error("the hub at {endpoint} returned an unusable response about {what}: {detail}")]
    Answer {
        endpoint: String,
        what: String,
        detail: String,
    },
}

/// A commit's files in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) folder: PathBuf,
    pub(crate) commit: String,
}

/// Downloads the model of a repository into the cache, unless it is there already.
///
/// # Errors
/// If the hub can't be reached, doesn't have the model, denies access or sends damaged files; if
/// the model isn't in the cache and downloads are disabled; and if the repository has no weights
/// that byrote can load.
pub(crate) fn fetch(
    repo: &str,
    revision: Option<&str>,
    file: Option<&str>,
    options: &LocateOptions,
) -> Result<Snapshot, SourceError> {
    let revision = revision.unwrap_or("main");
    let cache = RepoCache::new(&options.cache_dir, repo);
    if options.offline {
        return from_cache(&cache, repo, revision, file, options);
    }
    // A commit never changes, so a complete snapshot of it needs no request.
    if is_commit(revision) && check_folder(&cache.snapshot(revision), file).is_ok() {
        return Ok(Snapshot {
            folder: cache.snapshot(revision),
            commit: revision.to_owned(),
        });
    }
    let hub = Hub::connect(repo, options)?;
    let (commit, names) = hub.resolve(revision)?;
    let snapshot = Download {
        hub: &hub,
        cache: &cache,
        commit: &commit,
    };
    let place = format!("{repo} at {commit}");
    let choice = choose(&names, file, &place)?;
    if let Choice::Gguf(parts) = &choice {
        snapshot.bring(parts)?;
    } else {
        if !names.iter().any(|name| name == "config.json") {
            return Err(config_missing(&place));
        }
        let tokenizer = |name: &&String| {
            name.starts_with("tokenizer") && name.ends_with(".json") && !name.contains('/')
                || name.as_str() == "chat_template.jinja"
        };
        let mut wanted: Vec<String> = names.iter().filter(tokenizer).cloned().collect();
        if !names.iter().any(|name| name == MAIN_FILES[0]) {
            let slow = MAIN_FILES
                .iter()
                .chain(BESIDE)
                .filter(|&&file| names.iter().any(|name| name == file));
            wanted.extend(slow.map(|file| (*file).to_owned()));
        }
        wanted.push("config.json".to_owned());
        match &choice {
            Choice::Single(name) => wanted.push(name.clone()),
            Choice::Gguf(parts) => wanted.extend_from_slice(parts),
            Choice::Index => {
                let index = "model.safetensors.index.json";
                snapshot.bring(&[index.to_owned()])?;
                wanted.extend(shards(&cache.snapshot(&commit).join(index))?);
            }
        }
        snapshot.bring(&wanted)?;
    }
    if revision != commit {
        let folder = cache.snapshot(&commit);
        cache
            .keep_commit(revision, &commit)
            .map_err(|error| SourceError::io(&folder, error))?;
    }
    Ok(Snapshot {
        folder: cache.snapshot(&commit),
        commit,
    })
}

fn from_cache(
    cache: &RepoCache,
    repo: &str,
    revision: &str,
    file: Option<&str>,
    options: &LocateOptions,
) -> Result<Snapshot, SourceError> {
    let lacking = |missing: String| HubError::NotCached {
        repo: repo.to_owned(),
        revision: revision.to_owned(),
        cache: options.cache_dir.clone(),
        missing,
    };
    let commit = if is_commit(revision) {
        Some(revision.to_owned())
    } else {
        cache.commit_of(revision)
    };
    let commit = commit
        .filter(|commit| is_commit(commit))
        .ok_or_else(|| lacking("this revision was never fetched".to_owned()))?;
    let folder = cache.snapshot(&commit);
    if !folder.is_dir() {
        return Err(lacking(format!("there is no snapshot of commit {commit}")).into());
    }
    check_folder(&folder, file).map_err(|error| lacking(error.to_string()))?;
    Ok(Snapshot { folder, commit })
}

/// Files of one commit that are being added to the cache.
struct Download<'a> {
    hub: &'a Hub<'a>,
    cache: &'a RepoCache,
    commit: &'a str,
}

impl Download<'_> {
    /// Downloads those of `names` that are missing from the snapshot.
    fn bring(&self, names: &[String]) -> Result<(), SourceError> {
        let snapshot = self.cache.snapshot(self.commit);
        let lacking: Vec<String> = names
            .iter()
            .filter(|name| !snapshot.join(name).is_file())
            .cloned()
            .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        for file in self.hub.announced(self.commit, &lacking)? {
            let io = |error| SourceError::io(&snapshot.join(&file.name), error);
            let _lock = self.cache.lock(&file.object).map_err(io)?;
            let blob = match self.cache.known_blob(&file) {
                Some(blob) => blob,
                None => self.blob(&file)?,
            };
            self.cache
                .link(self.commit, &file.name, &blob)
                .map_err(io)?;
        }
        Ok(())
    }

    /// Downloads a file and returns the name of its blob.
    fn blob(&self, file: &Announced) -> Result<String, SourceError> {
        let part = self
            .cache
            .part(file)
            .map_err(|error| SourceError::io(Path::new(&file.name), error))?;
        let io = |error| SourceError::io(&part, error);
        loop {
            let kept = part.metadata().map_or(0, |data| data.len());
            self.fill(file, &part)?;
            match file.check(&part).map_err(io)? {
                Ok(id) => {
                    self.cache.keep_blob(&part, &id).map_err(io)?;
                    return Ok(id);
                }
                Err(detail) => {
                    fs::remove_file(&part).map_err(io)?;
                    // The part from an earlier run may be damaged.
                    if kept == 0 {
                        let (repo, commit) = (self.hub.repo.to_owned(), self.commit.to_owned());
                        return Err(HubError::Damaged {
                            repo,
                            commit,
                            file: file.name.clone(),
                            detail,
                        }
                        .into());
                    }
                }
            }
        }
    }

    /// Appends to `part` until it has the length of the file.
    fn fill(&self, file: &Announced, part: &Path) -> Result<(), SourceError> {
        let io = |error| SourceError::io(part, error);
        let mut out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(part)
            .map_err(io)?;
        let mut done = out.metadata().map_err(io)?.len();
        while done < file.size {
            done += self.chunk(file, part, &mut out, done)?;
            if let Some(progress) = &self.hub.options.progress {
                progress(Transfer {
                    file: &file.name,
                    done,
                    total: file.size,
                });
            }
        }
        Ok(())
    }

    /// Appends the next bytes of a file, from `start` on, to `out` and returns their number.
    /// Appends all of them or none.
    fn chunk(
        &self,
        file: &Announced,
        part: &Path,
        out: &mut File,
        start: u64,
    ) -> Result<u64, SourceError> {
        let attempt = || {
            let copied = self.copy_chunk(file, out, start);
            if copied.is_err() {
                out.set_len(start).map_err(Failure::Disk)?;
            }
            copied
        };
        retry(attempt).map_err(|failure| match failure {
            Failure::Disk(error) => SourceError::io(part, error),
            Failure::Connection(detail) => SourceError::Hub(HubError::Broken {
                repo: self.hub.repo.to_owned(),
                file: file.name.clone(),
                done: start,
                total: file.size,
                detail: self.hub.clean(&detail),
            }),
            failure => {
                let what = format!("{} of {}", file.name, self.hub.repo);
                SourceError::Hub(self.hub.explain(failure, &what, self.commit))
            }
        })
    }

    fn copy_chunk(&self, file: &Announced, out: &mut File, start: u64) -> Result<u64, Failure> {
        let chunk_bytes = self.hub.options.chunk_bytes.max(1);
        let range = start..file.size.min(start.saturating_add(chunk_bytes));
        let range = Some(range).filter(|range| *range != (0..file.size));
        let response = self.hub.open(self.commit, &file.name, range.as_ref())?;
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let mut body = response.into_body().into_reader();
        match range {
            Some(range) if is_part => copy(&mut body, out, range.end - start),
            // A server without support for ranges sends the whole file.
            _ => {
                copy(&mut body, &mut io::sink(), start)?;
                copy(&mut body, out, file.size - start)
            }
        }
    }
}

/// Copies `wanted` bytes of a body and returns their number.
fn copy(body: &mut impl Read, out: &mut impl io::Write, wanted: u64) -> Result<u64, Failure> {
    let mut block = vec![0u8; 1 << 16];
    let mut copied = 0;
    while copied < wanted {
        let room =
            usize::try_from(wanted - copied).map_or(block.len(), |rest| rest.min(block.len()));
        let n = body
            .read(&mut block[..room])
            .map_err(|error| Failure::Connection(error.to_string()))?;
        if n == 0 {
            let detail = format!("{copied} bytes arrived instead of {wanted}");
            return Err(Failure::Connection(detail));
        }
        out.write_all(&block[..n]).map_err(Failure::Disk)?;
        copied += n as u64;
    }
    Ok(copied)
}
