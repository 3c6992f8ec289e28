//! A stand-in for the hub on this machine's loopback: the requests that fetching a model makes, and the ways in which
//! they go wrong.

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// One request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<(usize, usize)>,
}

/// An answer that takes the place of the usual one.
#[derive(Clone, Debug)]
pub(crate) struct Instead {
    /// Requests whose path contains this are answered so.
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// What the hub has and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The only repository, `org/name`.
    pub(crate) repo: String,
    /// Revisions and their commits.
    pub(crate) refs: BTreeMap<String, String>,
    /// Files of every commit.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Flip one bit of this file.
    pub(crate) flip: Option<String>,
    /// Break the connection before the last byte of answers that begin at this byte or later, so many times.
    pub(crate) cut: Option<(usize, u32)>,
    /// Send big files from here, as the hub does from its content network.
    pub(crate) elsewhere: Option<String>,
    pub(crate) no_ranges: bool,
    pub(crate) instead: Option<Instead>,
    /// All requests so far.
    pub(crate) requests: Vec<Request>,
}

/// The running server. Stops when dropped.
pub(crate) struct StandIn {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    pub(crate) fn start(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(state));
        let stopped = Arc::new(AtomicBool::new(false));
        let (its_state, its_stopped) = (Arc::clone(&state), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if its_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, state) = (stream.unwrap(), Arc::clone(&its_state));
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self {
            endpoint,
            state,
            stopped,
            thread: Some(thread),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }

    /// Stops listening: what comes now is refused.
    pub(crate) fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stopped.store(true, Ordering::SeqCst);
            // Wakes the thread, which then lets go of the port.
            drop(TcpStream::connect(
                self.endpoint.trim_start_matches("http://"),
            ));
            thread.join().unwrap();
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Name of the git object with this content.
pub(crate) fn git_object(content: &[u8]) -> String {
    let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    hasher.update(content);
    hasher
        .finalize()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

pub(crate) fn sha256(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Whether the stand-in keeps a file outside git, as the hub does with weights.
fn is_big(name: &str) -> bool {
    [".safetensors", ".gguf", ".bin"]
        .iter()
        .any(|end| name.ends_with(end))
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Bytes of the body that are really sent.
    sent: usize,
}

impl Answer {
    fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let body = body.into();
        Self {
            status,
            headers,
            sent: body.len(),
            body,
        }
    }

    fn json(value: &Value) -> Self {
        Self::new(
            200,
            &[("content-type", "application/json")],
            value.to_string(),
        )
    }

    fn unknown(code: &str) -> Self {
        Self::new(404, &[("x-error-code", code)], "")
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let (mut length, mut authorization, mut range) = (0, None, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => authorization = Some(value.to_owned()),
            "range" => {
                let (from, to) = value
                    .strip_prefix("bytes=")
                    .unwrap()
                    .split_once('-')
                    .unwrap();
                range = Some((from.parse().unwrap(), to.parse::<usize>().unwrap() + 1));
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request = Request {
        method,
        path,
        authorization,
        range,
    };
    let answer = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        answer(&mut state, &request, &body)
    };
    let mut head = format!(
        "HTTP/1.1 {} X\r\nconnection: close\r\ncontent-length: {}\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if request.method != "HEAD" {
        bytes.extend(&answer.body[..answer.sent]);
    }
    // The other side may have gone.
    let _ = stream.write_all(&bytes);
    let _ = stream.shutdown(Shutdown::Both);
}

fn answer(state: &mut State, request: &Request, body: &[u8]) -> Answer {
    if let Some(instead) = state
        .instead
        .as_ref()
        .filter(|instead| request.path.contains(&instead.path))
    {
        let mut answer = Answer::new(instead.status, &[], instead.body.clone());
        answer.headers = instead.headers.clone();
        return answer;
    }
    let api = format!("/api/models/{}", state.repo);
    if let Some(rest) = request.path.strip_prefix(&api) {
        return match rest.split('/').collect::<Vec<_>>().as_slice() {
            [""] => Answer::json(&json!({ "id": state.repo })),
            ["", "revision", revision] => match state.refs.get(&revision.replace("%2F", "/")) {
                Some(commit) => Answer::json(&info(state, commit)),
                None if state.refs.values().any(|commit| commit == revision) => {
                    Answer::json(&info(state, revision))
                }
                None => Answer::unknown("RevisionNotFound"),
            },
            ["", "paths-info", _] => {
                let asked: Value = serde_json::from_slice(body).unwrap();
                let names = asked["paths"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(Value::as_str);
                Answer::json(
                    &names
                        .filter_map(|name| Some(entry(name, state.files.get(name)?)))
                        .collect(),
                )
            }
            _ => Answer::unknown("EntryNotFound"),
        };
    }
    let resolve = format!("/{}/resolve/", state.repo);
    match request
        .path
        .strip_prefix(&resolve)
        .and_then(|rest| rest.split_once('/'))
    {
        Some((commit, name)) => file(state, request, commit, name),
        None => Answer::unknown("RepoNotFound"),
    }
}

fn info(state: &State, commit: &str) -> Value {
    let siblings: Vec<Value> = state
        .files
        .keys()
        .map(|name| json!({ "rfilename": name }))
        .collect();
    json!({ "id": state.repo, "sha": commit, "siblings": siblings })
}

/// A file as the hub lists it: for a big one, git holds a pointer and `lfs.oid` is its SHA-256.
fn entry(name: &str, content: &[u8]) -> Value {
    let size = content.len();
    if !is_big(name) {
        return json!({ "type": "file", "path": name, "size": size, "oid": git_object(content) });
    }
    let digest = sha256(content);
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n");
    let lfs = json!({ "oid": digest, "size": size, "pointerSize": pointer.len() });
    json!({ "type": "file", "path": name, "size": size, "oid": git_object(pointer.as_bytes()), "lfs": lfs })
}

fn file(state: &mut State, request: &Request, commit: &str, name: &str) -> Answer {
    let Some(content) = state.files.get(name) else {
        return Answer::unknown("EntryNotFound");
    };
    let etag = if is_big(name) {
        sha256(content)
    } else {
        git_object(content)
    };
    let size = content.len().to_string();
    let linked = format!("\"{etag}\"");
    let mut headers = vec![
        ("x-repo-commit", commit),
        ("etag", linked.as_str()),
        ("accept-ranges", "bytes"),
    ];
    if is_big(name) {
        headers.extend([
            ("x-linked-etag", linked.as_str()),
            ("x-linked-size", size.as_str()),
        ]);
        if let Some(elsewhere) = &state.elsewhere {
            let location = format!("{elsewhere}{}", request.path);
            headers.push(("location", &location));
            return Answer::new(302, &headers, "");
        }
    }
    let mut content = content.clone();
    if state.flip.as_deref() == Some(name) {
        let middle = content.len() / 2;
        content[middle] ^= 1;
    }
    let range = request.range.filter(|_| !state.no_ranges);
    let (from, to) = range.unwrap_or((0, content.len()));
    let mut answer = Answer::new(
        if range.is_some() { 206 } else { 200 },
        &headers,
        &content[from..to],
    );
    if request.method == "GET"
        && let Some((at, times)) = &mut state.cut
        && from >= *at
        && *times > 0
    {
        *times -= 1;
        answer.sent -= 1;
    }
    answer
}
