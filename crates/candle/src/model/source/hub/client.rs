//! Requests to the hub about one repository.
//!
//! Addresses and the format of responses follow `hf-hub`. Its client isn't used for requests
//! because it never times out, and sends the token along on a redirect to another port of the same
//! host.

use super::HubError;
use super::cache::Announced;
use crate::model::source::{LocateOptions, Token, is_commit};
use byrote_core::digest::Digest;
use byrote_core::percent::percent_encoded;
use hf_hub::api::RepoInfo;
use hf_hub::{Repo, RepoType};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::io;
use std::ops::Range;
use std::time::Duration;
use ureq::http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

/// Attempts per request if connections break.
const ATTEMPTS: u32 = 4;
/// Maximum number of consecutive redirects.
const REDIRECTS: usize = 10;
/// Maximum size of a response about a repository.
const ANSWER_BYTES: u64 = 64 << 20;
/// Maximum size of an error's explanation.
const EXPLANATION_BYTES: u64 = 64 << 10;

/// The reason why a request failed. Texts may contain the token.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no connection, or it broke.
    Connection(String),
    /// The hub responded with an error.
    Refused {
        status: StatusCode,
        code: Option<String>,
        message: Option<String>,
    },
    /// The response is invalid.
    Answer(String),
    /// The data couldn't be written to disk.
    Disk(io::Error),
}

impl Failure {
    /// True if the same request may succeed later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Connection(_) => true,
            Self::Refused { status, .. } => matches!(status.as_u16(), 408 | 429 | 500 | 502..=504),
            Self::Answer(_) | Self::Disk(_) => false,
        }
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

/// Repeats `attempt` after a pause if the failure may be temporary.
pub(super) fn retry<T>(mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    for round in 1..ATTEMPTS {
        match attempt() {
            Err(failure) if failure.is_transient() => {
                std::thread::sleep(Duration::from_millis(100 << round));
            }
            result => return result,
        }
    }
    attempt()
}

/// One repository of the hub.
pub(super) struct Hub<'a> {
    pub(super) repo: &'a str,
    pub(super) options: &'a LocateOptions,
    endpoint: &'a str,
    agent: Agent,
}

impl<'a> Hub<'a> {
    pub(super) fn connect(repo: &'a str, options: &'a LocateOptions) -> Result<Self, HubError> {
        let token = options.token.as_ref().map(Token::secret);
        if token.is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(HubError::BadToken);
        }
        let endpoint = options.endpoint.trim_end_matches('/');
        if endpoint.contains('@') {
            return Err(HubError::BadEndpoint);
        }
        let is_web = matches!(origin(endpoint), Some(("http" | "https", _)));
        if !is_web || endpoint.parse::<Uri>().is_err() {
            return Err(HubError::Answer {
                endpoint: options.endpoint.clone(),
                what: "HF_ENDPOINT".to_owned(),
                detail: "this isn't a web address".to_owned(),
            });
        }
        Ok(Self {
            repo,
            options,
            endpoint,
            agent: agent(),
        })
    }

    /// The commit that `revision` resolves to, and the names of its files.
    pub(super) fn resolve(&self, revision: &str) -> Result<(String, Vec<String>), HubError> {
        let what = format!("{}@{revision}", self.repo);
        let address = format!("{}/api/{}", self.endpoint, self.at(revision).api_url());
        let info: RepoInfo = match self.ask(&address, None) {
            Ok(info) => info,
            Err(Failure::Refused {
                status: StatusCode::NOT_FOUND,
                code: None,
                ..
            }) => {
                return Err(self.not_found(revision));
            }
            Err(failure) => return Err(self.explain(failure, &what, revision)),
        };
        if !is_commit(&info.sha) {
            return Err(self.answer(&what, "it doesn't name a commit"));
        }
        if is_commit(revision) && info.sha != revision {
            return Err(self.answer(&what, &format!("it names another commit, {}", info.sha)));
        }
        let names = info.siblings.into_iter().map(|file| file.rfilename);
        Ok((info.sha, names.collect()))
    }

    /// The commit's information about the files `names`.
    pub(super) fn announced(
        &self,
        commit: &str,
        names: &[String],
    ) -> Result<Vec<Announced>, HubError> {
        let what = format!("the files of {}@{commit}", self.repo);
        let address = format!(
            "{}/api/models/{}/paths-info/{commit}",
            self.endpoint,
            self.at(commit).url()
        );
        let question = serde_json::json!({ "paths": names }).to_string();
        let entries: Vec<Entry> = self
            .ask(&address, Some(&question))
            .map_err(|failure| self.explain(failure, &what, commit))?;
        let mut found: Vec<Announced> = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
            // The id becomes a file name.
            if !is_commit(&entry.oid) {
                let detail = format!("{} has no git object id", entry.path);
                return Err(self.answer(&what, &detail));
            }
            found.push(entry.announced());
        }
        let pick = |name: &String| {
            let one = found.iter().find(|file| file.name == *name).cloned();
            one.ok_or_else(|| self.answer(&what, &format!("{name} isn't among them")))
        };
        names.iter().map(pick).collect()
    }

    /// Requests the content of a file, or a range of its bytes.
    pub(super) fn open(
        &self,
        commit: &str,
        name: &str,
        range: Option<&Range<u64>>,
    ) -> Result<Response<Body>, Failure> {
        let repo = self.at(commit);
        let address = format!(
            "{}/{}/resolve/{commit}/{}",
            self.endpoint,
            repo.url(),
            percent_encoded(name)
        );
        self.send(&address, None, range)
    }

    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(
            self.repo.to_owned(),
            RepoType::Model,
            percent_encoded(revision),
        )
    }

    /// Sends a request for JSON, with `question` as its body if given.
    fn ask<T: DeserializeOwned>(
        &self,
        address: &str,
        question: Option<&str>,
    ) -> Result<T, Failure> {
        retry(|| {
            let mut response = self.send(address, question, None)?;
            let body = response.body_mut().with_config().limit(ANSWER_BYTES);
            let text = body.read_to_vec()?;
            serde_json::from_slice(&text).map_err(|error| Failure::Answer(error.to_string()))
        })
    }

    /// Sends a request to `address` and follows redirects.
    fn send(
        &self,
        address: &str,
        question: Option<&str>,
        range: Option<&Range<u64>>,
    ) -> Result<Response<Body>, Failure> {
        let mut address = address.to_owned();
        for _ in 0..=REDIRECTS {
            let mut response = self.send_once(&address, question, range)?;
            if response.status().is_success() {
                return Ok(response);
            }
            if !response.status().is_redirection() {
                return Err(refused(&mut response));
            }
            address = header_text(response.headers(), header::LOCATION.as_str())
                .and_then(|location| redirected(&address, &location))
                .ok_or_else(|| Failure::Answer("it redirects without an address".to_owned()))?;
        }
        Err(Failure::Answer(format!(
            "it redirects more than {REDIRECTS} times"
        )))
    }

    fn send_once(
        &self,
        address: &str,
        question: Option<&str>,
        range: Option<&Range<u64>>,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().uri(address);
        if let Some(range) = range {
            let bytes = format!("bytes={}-{}", range.start, range.end - 1);
            request = request.header(header::RANGE, bytes);
        }
        if let Some(token) = &self.options.token
            && origin(address) == origin(self.endpoint)
        {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.secret()));
        }
        match question {
            None => self.agent.run(request.body(())?),
            Some(json) => {
                let request = request
                    .method("POST")
                    .header(header::CONTENT_TYPE, "application/json");
                self.agent.run(request.body(json)?)
            }
        }
    }

    pub(super) fn answer(&self, what: &str, detail: &str) -> HubError {
        HubError::Answer {
            endpoint: self.options.endpoint.clone(),
            what: what.to_owned(),
            detail: self.clean(detail),
        }
    }

    /// Determines whether the repository or only its revision is missing on the hub.
    fn not_found(&self, revision: &str) -> HubError {
        let address = format!("{}/api/models/{}", self.endpoint, self.at(revision).url());
        let (endpoint, repo) = (self.options.endpoint.clone(), self.repo.to_owned());
        match self.ask::<IgnoredAny>(&address, None) {
            Ok(_) => HubError::NoRevision {
                endpoint,
                repo,
                revision: revision.to_owned(),
            },
            Err(Failure::Refused {
                status: StatusCode::NOT_FOUND,
                ..
            }) => HubError::NoRepo { endpoint, repo },
            Err(failure) => self.explain(failure, self.repo, revision),
        }
    }

    /// The meaning of a failure for the user.
    pub(super) fn explain(&self, failure: Failure, what: &str, revision: &str) -> HubError {
        let (endpoint, repo) = (self.options.endpoint.clone(), self.repo.to_owned());
        let unreachable = |detail: String| HubError::Unreachable {
            endpoint: endpoint.clone(),
            what: what.to_owned(),
            detail: self.clean(&detail),
        };
        let (status, code, message) = match failure {
            Failure::Connection(detail) => return unreachable(detail),
            Failure::Answer(detail) => return self.answer(what, &detail),
            Failure::Disk(error) => return self.answer(what, &error.to_string()),
            Failure::Refused {
                status,
                code,
                message,
            } => (status.as_u16(), code, message),
        };
        let detail = match message {
            Some(message) => format!(": {}", self.clean(&message)),
            None => String::new(),
        };
        match (status, code.as_deref()) {
            (401 | 403, _) => HubError::Denied {
                endpoint,
                repo,
                status,
                detail,
                token: self.token_state(),
            },
            (404, Some("RepoNotFound")) => HubError::NoRepo { endpoint, repo },
            (404, Some("RevisionNotFound")) => HubError::NoRevision {
                endpoint,
                repo,
                revision: revision.to_owned(),
            },
            (429 | 500.., _) => unreachable(format!("HTTP {status}{detail}")),
            _ => self.answer(what, &format!("HTTP {status}{detail}")),
        }
    }

    fn token_state(&self) -> &'static str {
        if self.options.token.is_some() {
            "the token that is set isn't sufficient"
        } else {
            "no token is set, neither in HF_TOKEN nor in the file named by HF_TOKEN_PATH (default: HF_HOME/token)"
        }
    }

    /// `text` without the token: a server may echo what it received.
    pub(super) fn clean(&self, text: &str) -> String {
        match &self.options.token {
            Some(token) => text.replace(token.secret(), "[token]"),
            None => text.to_owned(),
        }
    }
}

/// A client with time-outs that leaves errors and redirects to `Hub`.
fn agent() -> Agent {
    let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier);
    let config = Agent::config_builder()
        .user_agent(concat!("byrote/", env!("CARGO_PKG_VERSION")))
        // A range of a compressed body would be useless.
        .accept_encoding("identity")
        .timeout_resolve(Some(Duration::from_secs(20)))
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .timeout_per_write(Some(Duration::from_secs(60)))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .tls_config(tls.build());
    config.build().into()
}

/// A file or folder in the hub's listing.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "sha256")]
    oid: Option<String>,
}

impl Entry {
    fn announced(self) -> Announced {
        let sha256 = self
            .lfs
            .as_ref()
            .and_then(|lfs| lfs.oid.as_deref())
            .and_then(Digest::parse);
        Announced {
            name: self.path,
            size: self.size,
            object: self.oid,
            lfs: self.lfs.is_some(),
            sha256,
        }
    }
}

/// The hub's explanation of an error, from headers or else from the body.
fn refused(response: &mut Response<Body>) -> Failure {
    let header = |name| header_text(response.headers(), name).filter(|text| !text.is_empty());
    let (code, mut message) = (header("x-error-code"), header("x-error-message"));
    let status = response.status();
    if message.is_none() {
        #[derive(Deserialize)]
        struct Explanation {
            error: String,
        }
        let body = response
            .body_mut()
            .with_config()
            .limit(EXPLANATION_BYTES)
            .read_to_vec();
        let explanation = serde_json::from_slice::<Explanation>(&body.unwrap_or_default());
        message = explanation.ok().map(|explanation| explanation.error);
    }
    Failure::Refused {
        status,
        code,
        message,
    }
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Scheme and authority of an address.
fn origin(address: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    Some((scheme, rest.split(['/', '?', '#']).next()?))
}

/// The address that a response from `address` redirects to.
fn redirected(address: &str, location: &str) -> Option<String> {
    if let Some(("http" | "https", _)) = origin(location) {
        return Some(location.to_owned());
    }
    let (scheme, authority) = origin(address)?;
    if location.starts_with("//") {
        Some(format!("{scheme}:{location}"))
    } else if location.starts_with('/') {
        Some(format!("{scheme}://{authority}{location}"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_resolve_to_absolute_addresses() {
        let from = "https://hub.example:8443/api/models/old?x=1";
        for (location, address) in [
            (
                "/api/models/new",
                Some("https://hub.example:8443/api/models/new"),
            ),
            ("https://cdn.example/x", Some("https://cdn.example/x")),
            ("//cdn.example/x", Some("https://cdn.example/x")),
            ("file:///etc/passwd", None),
            ("next", None),
        ] {
            assert_eq!(redirected(from, location).as_deref(), address, "{location}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let home = origin("https://hub.example/api");
        assert_eq!(home, origin("https://hub.example?x"));
        for other in [
            "http://hub.example/",
            "https://hub.example:444/",
            "https://hub.example.evil.org/",
        ] {
            assert_ne!(home, origin(other));
        }
    }
}
