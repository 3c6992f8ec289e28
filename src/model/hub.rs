//! Fetching models from the Hugging Face hub.
//!
//! Requests go through `hf-hub`; what it does with its answers is done here, since it would return a stale `main` when
//! the hub can't be reached, keep a body with a flipped bit, begin a broken download anew, and ignore `HF_HUB_OFFLINE`:
//!
//! 1. a moving revision is resolved to a commit first, and fails if that fails; all else is asked of the commit;
//! 2. only the files of the model are fetched, never pickles;
//! 3. they are fetched in chunks, and chunks that arrived are kept;
//! 4. a file enters the cache only if it is what the commit says (see `cache`).
//!
//! The token goes to the endpoint and nowhere else: the client drops it when it is redirected to another host, and
//! every text that comes from below is searched for it before it enters an error.

mod cache;

use crate::digest::Digest;
use crate::model::source::{
    Choice, LocateOptions, SourceError, Transfer, check_folder, choose, config_missing, is_commit,
    shards,
};
use crate::tokens::slow::{BESIDE, MAIN_FILES};
use cache::{Announced, RepoCache};
use hf_hub::repository::{RepoTreeEntry, RepoTypeModel};
use hf_hub::{HFClientBuilder, HFError, HFRepositorySync};
use std::error::Error as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a chunk is asked for when connections break.
const ATTEMPTS: u32 = 4;

/// Why the hub didn't give a model. Holds texts only, from which the token has been removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    #[error(
        "can't reach the hub at {endpoint} to look up {what}: {detail}; check the network or HF_ENDPOINT, \
         or take what is in the cache with --offline"
    )]
    Unreachable {
        endpoint: String,
        what: String,
        detail: String,
    },
    #[error(
        "the hub doesn't give access to {repo} (HTTP {status}){detail}; if it exists and is gated or private, accept its \
         licence at {endpoint}/{repo}, then run `hf auth login` or set HF_TOKEN to a token of that account that may read \
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
        "{repo} has no revision \"{revision}\"; give a branch, a tag or a whole commit id of {endpoint}/{repo}"
    )]
    NoRevision {
        endpoint: String,
        repo: String,
        revision: String,
    },
    #[error(
        "{file} of {repo} at {commit} came damaged and was removed: {detail}; run again, and if that doesn't help, \
         look for a proxy that changes what it passes on"
    )]
    Damaged {
        repo: String,
        commit: String,
        file: String,
        detail: String,
    },
    #[error(
        "{file} of {repo}: the connection broke {done} of {total} bytes on: {detail}; run again to go on from there"
    )]
    Broken {
        repo: String,
        file: String,
        done: u64,
        total: u64,
        detail: String,
    },
    #[error(
        "{repo} at \"{revision}\" isn't complete in the cache {}, and the hub isn't asked (--offline or HF_HUB_OFFLINE): \
         {missing}; fetch it with `byrote models pull {repo}@{revision}`", .cache.display()
    )]
    NotCached {
        repo: String,
        revision: String,
        cache: PathBuf,
        missing: String,
    },
    #[error(
        "the hub's token holds characters that no HTTP header may have; check HF_TOKEN or the token file"
    )]
    BadToken,
    #[error(
        "the hub's address holds a user name or password; give the address alone and the token in HF_TOKEN"
    )]
    BadEndpoint,
    #[error("the hub at {endpoint} answered about {what} with something unusable: {detail}")]
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

/// Brings the model of a repository into the cache, or finds it there.
///
/// # Errors
/// When the hub can't be reached, doesn't know it, doesn't allow it or sends damaged files; when it isn't in the cache
/// and the hub may not be asked; and when the repository has no weights that can be loaded.
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
    // A commit never moves, so a complete snapshot of it needs no question.
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

/// One repository of the hub.
struct Hub<'a> {
    repo: &'a str,
    options: &'a LocateOptions,
    files: HFRepositorySync<RepoTypeModel>,
}

impl<'a> Hub<'a> {
    fn connect(repo: &'a str, options: &'a LocateOptions) -> Result<Self, HubError> {
        let token = options
            .token
            .as_ref()
            .map(crate::model::source::Token::secret);
        if token.is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(HubError::BadToken);
        }
        let authority = options
            .endpoint
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        if authority.is_some_and(|authority| authority.contains('@')) {
            return Err(HubError::BadEndpoint);
        }
        let connected = || -> Result<HFRepositorySync<RepoTypeModel>, HFError> {
            let client = reqwest::Client::builder()
                .user_agent(concat!("byrote/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(Duration::from_secs(20))
                .read_timeout(Duration::from_secs(60))
                .build()?;
            let client = HFClientBuilder::new()
                .client(client)
                .endpoint(&options.endpoint)
                .cache_enabled(false)
                .retry_max_attempts(2)
                // Without a token hf-hub would look for one in the environment. A line break makes none: it can't
                // stand in a header, so no header is sent.
                .token(token.unwrap_or("\n"))
                .build_sync()?;
            let (org, name) = hf_hub::split_id(repo);
            Ok(client.model(org, name))
        };
        match connected() {
            Ok(files) => Ok(Self {
                repo,
                options,
                files,
            }),
            Err(error) => Err(HubError::Answer {
                endpoint: options.endpoint.clone(),
                what: "HF_ENDPOINT".to_owned(),
                detail: told(&error),
            }),
        }
    }

    /// The commit that `revision` leads to, and the names of its files.
    fn resolve(&self, revision: &str) -> Result<(String, Vec<String>), HubError> {
        let what = format!("{}@{revision}", self.repo);
        let info = self
            .files
            .info()
            .revision(revision)
            .send()
            .map_err(|error| self.explain(&error, &what, revision))?;
        let commit = info
            .sha
            .filter(|sha| is_commit(sha))
            .ok_or_else(|| self.answer(&what, "it names no commit"))?;
        if is_commit(revision) && commit != revision {
            return Err(self.answer(&what, &format!("it names another commit, {commit}")));
        }
        let names = info
            .siblings
            .ok_or_else(|| self.answer(&what, "it names no files"))?;
        Ok((
            commit,
            names.into_iter().map(|file| file.rfilename).collect(),
        ))
    }

    /// What the commit says of the files `names`.
    fn announced(&self, commit: &str, names: Vec<String>) -> Result<Vec<Announced>, HubError> {
        let what = format!("the files of {}@{commit}", self.repo);
        let asked = self
            .files
            .get_paths_info()
            .paths(names.clone())
            .revision(commit)
            .send();
        let entries = asked.map_err(|error| self.explain(&error, &what, commit))?;
        let mut found: Vec<Announced> = Vec::new();
        for entry in entries {
            if let RepoTreeEntry::File {
                oid,
                size,
                path,
                lfs,
                ..
            } = entry
            {
                // The id becomes the name of a file.
                if !is_commit(&oid) {
                    return Err(self.answer(&what, &format!("{path} has no git object id")));
                }
                let sha256 = lfs
                    .as_ref()
                    .and_then(|lfs| lfs.sha256.as_deref())
                    .and_then(Digest::parse);
                found.push(Announced {
                    name: path,
                    size,
                    object: oid,
                    lfs: lfs.is_some(),
                    sha256,
                });
            }
        }
        let pick = |name: &String| {
            let one = found.iter().find(|file| file.name == *name).cloned();
            one.ok_or_else(|| self.answer(&what, &format!("{name} isn't among them")))
        };
        names.iter().map(pick).collect()
    }

    fn answer(&self, what: &str, detail: &str) -> HubError {
        HubError::Answer {
            endpoint: self.options.endpoint.clone(),
            what: what.to_owned(),
            detail: self.clean(detail),
        }
    }

    /// What an error of hf-hub means to the user.
    fn explain(&self, error: &HFError, what: &str, revision: &str) -> HubError {
        let (endpoint, repo) = (self.options.endpoint.clone(), self.repo.to_owned());
        let unreachable = |detail: String| HubError::Unreachable {
            endpoint: endpoint.clone(),
            what: what.to_owned(),
            detail: self.clean(&detail),
        };
        let context = match error {
            HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Http { context } => Some(context),
            HFError::RevisionNotFound { context, .. }
            | HFError::RepoNotFound { context, .. }
            | HFError::EntryNotFound { context, .. } => context.as_ref(),
            _ => None,
        };
        let status = context.map(|context| context.status.as_u16());
        match (error, status) {
            (_, Some(status @ (401 | 403))) => {
                let message = context
                    .and_then(|context| context.server_message.as_deref())
                    .unwrap_or("");
                let detail = if message.is_empty() {
                    String::new()
                } else {
                    format!(": {}", self.clean(message))
                };
                let token = if self.options.token.is_some() {
                    "the one that is set isn't enough"
                } else {
                    "none is set: not in HF_TOKEN, and not in the file that HF_TOKEN_PATH names, else HF_HOME/token"
                };
                HubError::Denied {
                    endpoint,
                    repo,
                    status,
                    detail,
                    token,
                }
            }
            (HFError::RepoNotFound { .. } | HFError::RevisionNotFound { .. }, _) => {
                match context.and_then(|context| context.error_code.as_deref()) {
                    Some("RepoNotFound") => HubError::NoRepo { endpoint, repo },
                    Some("RevisionNotFound") => HubError::NoRevision {
                        endpoint,
                        repo,
                        revision: revision.to_owned(),
                    },
                    _ => match self.files.exists().send() {
                        Ok(false) => HubError::NoRepo { endpoint, repo },
                        Ok(true) => HubError::NoRevision {
                            endpoint,
                            repo,
                            revision: revision.to_owned(),
                        },
                        Err(error) => unreachable(told(&error)),
                    },
                }
            }
            (HFError::Request { .. } | HFError::RateLimited { .. }, _) | (_, Some(500..)) => {
                unreachable(told(error))
            }
            _ => self.answer(what, &told(error)),
        }
    }

    /// `text` without the token: a server may send back what it was sent.
    fn clean(&self, text: &str) -> String {
        match &self.options.token {
            Some(token) => text.replace(token.secret(), "[token]"),
            None => text.to_owned(),
        }
    }
}

/// An error and what caused it, in one line.
fn told(error: &HFError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let next = inner.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = inner.source();
    }
    text
}

/// Files of one commit on their way into the cache.
struct Download<'a> {
    hub: &'a Hub<'a>,
    cache: &'a RepoCache,
    commit: &'a str,
}

impl Download<'_> {
    /// Brings those of `names` that the snapshot lacks.
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
        for file in self.hub.announced(self.commit, lacking)? {
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

    /// Downloads a file and gives the name of its blob.
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
                    // What was kept from an earlier run may be the damaged half.
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

    /// Appends to `part` until it is as long as the file.
    fn fill(&self, file: &Announced, part: &Path) -> Result<(), SourceError> {
        let io = |error| SourceError::io(part, error);
        let mut out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(part)
            .map_err(io)?;
        let mut done = out.metadata().map_err(io)?.len();
        while done < file.size {
            let chunk = self.chunk(file, done)?;
            out.write_all(&chunk).map_err(io)?;
            done += chunk.len() as u64;
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

    /// The next bytes of a file, from `start` on; at least one.
    fn chunk(&self, file: &Announced, start: u64) -> Result<Vec<u8>, SourceError> {
        let end = file
            .size
            .min(start.saturating_add(self.hub.options.chunk_bytes.max(1)));
        let whole = start == 0 && end == file.size;
        let broken = |detail: String| HubError::Broken {
            repo: self.hub.repo.to_owned(),
            file: file.name.clone(),
            done: start,
            total: file.size,
            detail: self.hub.clean(&detail),
        };
        let mut attempt = 1;
        loop {
            let request = self
                .hub
                .files
                .download_file_to_bytes()
                .filename(&file.name)
                .revision(self.commit);
            match request.maybe_range((!whole).then_some(start..end)).send() {
                Ok(bytes) if bytes.len() as u64 == end - start => return Ok(bytes.into()),
                // A server without ranges sends the whole file.
                Ok(bytes) if bytes.len() as u64 == file.size => {
                    let from = usize::try_from(start)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    return Ok(bytes[from..].to_vec());
                }
                Ok(bytes) => {
                    let detail = format!(
                        "{} bytes came where {} were asked for",
                        bytes.len(),
                        end - start
                    );
                    return Err(broken(detail).into());
                }
                Err(HFError::Request { .. }) if attempt < ATTEMPTS => {
                    std::thread::sleep(Duration::from_millis(100 << attempt));
                    attempt += 1;
                }
                Err(error @ HFError::Request { .. }) => return Err(broken(told(&error)).into()),
                Err(error) => {
                    let what = format!("{} of {}", file.name, self.hub.repo);
                    return Err(self.hub.explain(&error, &what, self.commit).into());
                }
            }
        }
    }
}
