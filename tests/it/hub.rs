//! Fetching models from a stand-in hub on the loopback. No test depends on the environment: each runs again as a child
//! process without the hub's and the proxies' variables.

use crate::support::stand_in::{Instead, StandIn, State, git_object, sha256};
use byrote_candle::hub::HubError;
use byrote_candle::model::source::identity::digests;
use byrote_candle::model::source::{Format, LocateOptions, Located, SourceError, Token, locate};
use byrote_core::registry::Registry;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const REPO: &str = "org/model";
const TOKEN: &str = "hf_kept-to-ourselves";

/// Runs `body` in a child process whose environment holds only `variables`.
fn with_environment(test: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    if std::env::var("BYROTE_TEST_CHILD").as_deref() == Ok(test) {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args([
            &format!("hub::{test}"),
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env_clear();
    child
        .envs(variables.iter().copied())
        .env("BYROTE_TEST_CHILD", test);
    let output = child.output().unwrap();
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

fn alone(test: &str, body: impl FnOnce()) {
    with_environment(test, &[], body);
}

fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

fn weights(seed: u8) -> Vec<u8> {
    (0..10_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed)
        .collect()
}

/// A hub with one sharded model on `main`, and things beside it that nobody should fetch.
fn model() -> State {
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let mut state = State {
        repo: REPO.to_owned(),
        ..State::default()
    };
    state.refs.insert("main".to_owned(), commit('a'));
    for (name, content) in [
        ("config.json", b"{\"model_type\": \"llama\"}".to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("tokenizer_config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index.as_bytes().to_vec()),
        ("model-1.safetensors", weights(1)),
        ("model-2.safetensors", weights(2)),
        ("README.md", b"read me".to_vec()),
        ("pytorch_model.bin", weights(3)),
        ("onnx/model.safetensors", weights(4)),
    ] {
        state.files.insert(name.to_owned(), content);
    }
    state
}

fn only(files: &[(&str, &[u8])]) -> State {
    let files = files
        .iter()
        .map(|(name, content)| ((*name).to_owned(), content.to_vec()))
        .collect();
    State { files, ..model() }
}

fn options(hub: &StandIn, cache: &Path) -> LocateOptions {
    LocateOptions {
        cache_dir: cache.to_owned(),
        offline: false,
        endpoint: hub.endpoint.clone(),
        token: None,
        chunk_bytes: 1 << 20,
        progress: None,
    }
}

fn setup(state: State) -> (StandIn, TempDir, LocateOptions) {
    let (hub, cache) = (StandIn::start(state), tempfile::tempdir().unwrap());
    let options = options(&hub, cache.path());
    (hub, cache, options)
}

fn find(reference: &str, options: &LocateOptions) -> Result<Located, SourceError> {
    locate(reference, &Registry::builtin().unwrap(), options)
}

fn hub_error(reference: &str, options: &LocateOptions) -> HubError {
    match find(reference, options) {
        Err(SourceError::Hub(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// All files below `folder`, links not followed.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() && !path.is_symlink() {
                below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn names(paths: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = paths
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn main_is_resolved_to_a_commit_and_only_the_models_files_are_fetched() {
    alone(
        "main_is_resolved_to_a_commit_and_only_the_models_files_are_fetched",
        || {
            let (hub, cache, mut options) = setup(model());
            let seen = Arc::new(Mutex::new(Vec::new()));
            let its = Arc::clone(&seen);
            options.progress = Some(Arc::new(move |step| {
                its.lock()
                    .unwrap()
                    .push((step.file.to_owned(), step.done, step.total))
            }));
            let located = find(REPO, &options).unwrap();
            assert_eq!(
                (located.source.as_str(), located.revision.clone()),
                ("hub:org/model", Some(commit('a')))
            );
            assert_eq!(located.format, Format::Safetensors);
            assert_eq!(
                names(&located.weights),
                ["model-1.safetensors", "model-2.safetensors"]
            );
            assert_eq!(fs::read(&located.weights[1]).unwrap(), weights(2));
            assert!(
                located.config.is_some()
                    && located.tokenizer.is_some()
                    && located.tokenizer_config.is_some()
            );
            assert_eq!(
                names(&below(&cache.path().join("models--org--model/snapshots"))),
                [
                    "config.json",
                    "model-1.safetensors",
                    "model-2.safetensors",
                    "model.safetensors.index.json",
                    "tokenizer.json",
                    "tokenizer_config.json"
                ]
            );
            // The layout is the one that other tools use, down to the names of blobs.
            let blobs = cache.path().join("models--org--model/blobs");
            assert!(
                blobs.join(sha256(&weights(1))).is_file()
                    && blobs.join(git_object(b"{}")).is_file()
            );
            let main =
                fs::read_to_string(cache.path().join("models--org--model/refs/main")).unwrap();
            assert_eq!(main, commit('a'));
            let requests = hub.take_requests();
            assert!(requests[0].path.ends_with("/revision/main"), "{requests:?}");
            assert!(
                requests[1..]
                    .iter()
                    .all(|request| request.path.contains(&commit('a'))),
                "{requests:?}"
            );
            assert!(
                requests
                    .iter()
                    .all(|request| request.authorization.is_none()),
                "{requests:?}"
            );
            assert!(seen.lock().unwrap().contains(&(
                "model-2.safetensors".to_owned(),
                10_000,
                10_000
            )));
            assert_eq!(digests(&located).unwrap().len(), 6);
        },
    );
}

#[test]
fn what_is_in_the_cache_is_not_fetched_again() {
    alone("what_is_in_the_cache_is_not_fetched_again", || {
        let (mut hub, _cache, options) = setup(model());
        let first = find(REPO, &options).unwrap();
        hub.take_requests();
        assert_eq!(find(REPO, &options).unwrap(), first);
        let asked: Vec<String> = hub
            .take_requests()
            .into_iter()
            .map(|request| request.path)
            .collect();
        assert_eq!(asked, ["/api/models/org/model/revision/main"]);
        // A new commit with the same weights: only what changed is fetched.
        hub.state().refs.insert("main".to_owned(), commit('b'));
        hub.state().files.insert(
            "config.json".to_owned(),
            b"{\"model_type\": \"gpt2\"}".to_vec(),
        );
        let second = find(REPO, &options).unwrap();
        assert_eq!(second.revision, Some(commit('b')));
        let fetched: Vec<String> = hub
            .take_requests()
            .into_iter()
            .filter(|r| r.method == "GET")
            .map(|r| r.path)
            .collect();
        assert_eq!(
            fetched[1..],
            [format!("/org/model/resolve/{}/config.json", commit('b'))],
            "{fetched:?}"
        );
        // A commit never moves: it needs no hub at all.
        hub.stop();
        let pinned = find(&format!("{REPO}@{}", commit('a')), &options).unwrap();
        assert_eq!(
            (pinned.weights, pinned.revision),
            (first.weights, first.revision)
        );
    });
}

#[test]
fn a_hub_that_is_down_is_an_error_and_not_a_stale_main() {
    alone(
        "a_hub_that_is_down_is_an_error_and_not_a_stale_main",
        || {
            let (mut hub, _cache, options) = setup(model());
            find(REPO, &options).unwrap();
            hub.state().instead = Some(Instead {
                path: "/revision/".to_owned(),
                status: 503,
                headers: vec![],
                body: String::new(),
            });
            assert!(matches!(
                hub_error(REPO, &options),
                HubError::Unreachable { .. }
            ));
            hub.stop();
            let error = hub_error(REPO, &options);
            assert!(matches!(error, HubError::Unreachable { .. }), "{error:?}");
            assert!(
                error.to_string().contains(&hub.endpoint)
                    && error.to_string().contains("--offline"),
                "{error}"
            );
        },
    );
}

#[test]
fn offline_takes_what_is_cached_and_says_what_is_missing() {
    alone(
        "offline_takes_what_is_cached_and_says_what_is_missing",
        || {
            let (hub, cache, mut options) = setup(model());
            options.offline = true;
            let error = hub_error(REPO, &options);
            assert!(matches!(error, HubError::NotCached { .. }), "{error:?}");
            assert!(
                error
                    .to_string()
                    .contains("this revision was never fetched"),
                "{error}"
            );
            assert!(hub.take_requests().is_empty(), "offline asks nobody");
            options.offline = false;
            let first = find(REPO, &options).unwrap();
            options.offline = true;
            hub.take_requests();
            assert_eq!(find(REPO, &options).unwrap(), first);
            fs::remove_file(
                cache
                    .path()
                    .join("models--org--model/blobs")
                    .join(sha256(&weights(2))),
            )
            .unwrap();
            let message = hub_error(REPO, &options).to_string();
            assert!(
                message.contains("shards are missing: model-2.safetensors"),
                "{message}"
            );
            assert!(
                message.contains("byrote models pull org/model@main"),
                "{message}"
            );
            let message = hub_error(&format!("{REPO}@{}", commit('c')), &options).to_string();
            assert!(
                message.contains("there is no snapshot of commit cccc"),
                "{message}"
            );
            assert!(hub.take_requests().is_empty(), "offline asks nobody");
        },
    );
}

#[test]
fn a_flipped_bit_is_refused_and_removed_and_the_next_try_works() {
    alone(
        "a_flipped_bit_is_refused_and_removed_and_the_next_try_works",
        || {
            for name in ["model-2.safetensors", "tokenizer.json"] {
                let (hub, cache, options) = setup(model());
                hub.state().flip = Some(name.to_owned());
                let error = hub_error(REPO, &options);
                assert!(
                    matches!(&error, HubError::Damaged { file, .. } if file == name),
                    "{error:?}"
                );
                let left = names(&below(cache.path()));
                assert!(
                    !left
                        .iter()
                        .any(|left| left == name || left.ends_with(".incomplete")),
                    "{left:?}"
                );
                assert!(
                    !below(cache.path())
                        .iter()
                        .any(|path| path.ends_with("refs/main")),
                    "nothing leads to half a model"
                );
                hub.state().flip = None;
                let located = find(REPO, &options).unwrap();
                assert_eq!(fs::read(&located.weights[1]).unwrap(), weights(2));
                assert!(digests(&located).is_ok());
            }
        },
    );
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    alone("a_broken_download_goes_on_where_it_stopped", || {
        let (hub, cache, mut options) = setup(only(&[("m.gguf", &weights(7))]));
        options.chunk_bytes = 4_000;
        // Too often for this call: it gives up and keeps the first two chunks.
        hub.state().cut = Some((8_000, 4));
        let error = hub_error(REPO, &options);
        assert!(
            matches!(
                error,
                HubError::Broken {
                    done: 8_000,
                    total: 10_000,
                    ..
                }
            ),
            "{error:?}"
        );
        hub.state().cut = Some((8_000, 1));
        hub.take_requests();
        let located = find(REPO, &options).unwrap();
        assert_eq!(fs::read(&located.weights[0]).unwrap(), weights(7));
        let ranges: Vec<_> = hub
            .take_requests()
            .iter()
            .filter(|r| r.method == "GET")
            .filter_map(|r| r.range)
            .collect();
        assert_eq!(
            ranges,
            [(8_000, 10_000), (8_000, 10_000)],
            "one break, then the rest"
        );
        assert!(
            !names(&below(cache.path()))
                .iter()
                .any(|name| name.ends_with(".incomplete"))
        );
    });
}

#[test]
fn a_damaged_beginning_is_thrown_away_and_a_server_without_ranges_will_do() {
    alone(
        "a_damaged_beginning_is_thrown_away_and_a_server_without_ranges_will_do",
        || {
            for no_ranges in [false, true] {
                let (hub, cache, mut options) = setup(only(&[("m.gguf", &weights(7))]));
                options.chunk_bytes = 4_000;
                hub.state().cut = Some((4_000, 4));
                assert!(matches!(
                    hub_error(REPO, &options),
                    HubError::Broken { done: 4_000, .. }
                ));
                let part = below(cache.path()).into_iter().find(|path| {
                    path.ends_with("incomplete") || path.to_string_lossy().ends_with(".incomplete")
                });
                fs::write(part.unwrap(), vec![0; 4_000]).unwrap();
                hub.state().cut = None;
                hub.state().no_ranges = no_ranges;
                assert_eq!(
                    fs::read(&find(REPO, &options).unwrap().weights[0]).unwrap(),
                    weights(7)
                );
            }
        },
    );
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    alone("the_token_goes_to_the_hub_and_nowhere_else", || {
        let (hub, _cache, mut options) = setup(model());
        let network = StandIn::start(model());
        hub.state().elsewhere = Some(network.endpoint.clone());
        options.token = Token::new(TOKEN);
        assert!(find(REPO, &options).is_ok());
        let bearer = format!("Bearer {TOKEN}");
        let (to_hub, to_network) = (hub.take_requests(), network.take_requests());
        assert!(
            to_hub
                .iter()
                .all(|request| request.authorization.as_ref() == Some(&bearer)),
            "{to_hub:?}"
        );
        assert!(
            to_network
                .iter()
                .any(|request| request.path.ends_with("model-1.safetensors")),
            "{to_network:?}"
        );
        assert!(
            to_network
                .iter()
                .all(|request| request.authorization.is_none()),
            "{to_network:?}"
        );
    });
}

#[test]
fn redirects_are_followed_with_the_token_only_to_the_hub_itself() {
    alone(
        "redirects_are_followed_with_the_token_only_to_the_hub_itself",
        || {
            let other = StandIn::start(model());
            let revision = format!("/api/models/org/model/revision/{}", commit('a'));
            let paths = format!("/api/models/org/model/paths-info/{}", commit('a'));
            let elsewhere = format!("{}{paths}", other.endpoint);
            for (path, location, stays) in [
                ("/revision/main", revision, true),
                ("/paths-info/", elsewhere, false),
            ] {
                let (hub, _cache, mut options) = setup(model());
                options.token = Token::new(TOKEN);
                hub.state().instead = Some(Instead {
                    path: path.to_owned(),
                    status: 307,
                    headers: vec![("location".to_owned(), location.clone())],
                    body: String::new(),
                });
                let located = find(REPO, &options).unwrap();
                assert_eq!(fs::read(&located.weights[1]).unwrap(), weights(2));
                let target = if stays { &hub } else { &other };
                let requests = target.take_requests();
                let redirected: Vec<_> = requests
                    .iter()
                    .filter(|request| location.ends_with(&request.path))
                    .collect();
                assert!(!redirected.is_empty(), "{requests:?}");
                for request in redirected {
                    assert_eq!(request.authorization.is_some(), stays, "{request:?}");
                    assert_eq!(request.method, if stays { "GET" } else { "POST" });
                }
            }
            let (hub, _cache, options) = setup(model());
            hub.state().instead = Some(Instead {
                path: "/revision/".to_owned(),
                status: 302,
                headers: vec![(
                    "location".to_owned(),
                    "/api/models/org/model/revision/main".to_owned(),
                )],
                body: String::new(),
            });
            let message = hub_error(REPO, &options).to_string();
            assert!(
                message.contains("redirects more than 10 times"),
                "{message}"
            );
        },
    );
}

#[test]
fn the_token_is_in_no_error_even_if_the_hub_sends_it_back() {
    alone(
        "the_token_is_in_no_error_even_if_the_hub_sends_it_back",
        || {
            let (mut hub, cache, mut options) = setup(model());
            options.token = Token::new(TOKEN);
            assert!(!format!("{options:?}").contains(TOKEN));
            let echo = format!("{{\"error\": \"the token {TOKEN} is bad\"}}");
            let mut errors = Vec::new();
            for (path, status) in [
                ("/revision/", 401),
                ("/resolve/", 403),
                ("/paths-info/", 400),
                ("/revision/", 200),
                ("/revision/", 500),
            ] {
                let headers = vec![("x-error-message".to_owned(), format!("no: {TOKEN}"))];
                hub.state().instead = Some(Instead {
                    path: path.to_owned(),
                    status,
                    headers,
                    body: echo.clone(),
                });
                errors.push(find(REPO, &options).unwrap_err());
            }
            hub.stop();
            errors.push(find(REPO, &options).unwrap_err());
            for error in errors {
                let told = format!("{error} {error:?} {error:#?}");
                assert!(!told.contains(TOKEN), "{told}");
            }
            let in_files = below(cache.path())
                .iter()
                .filter(|p| p.is_file())
                .any(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).contains(TOKEN));
            assert!(!in_files);
            options.token = Token::new("two\nlines");
            assert_eq!(hub_error(REPO, &options), HubError::BadToken);
            options.token = None;
            options.endpoint = hub
                .endpoint
                .replace("http://", &format!("http://me:{TOKEN}@"));
            let error = hub_error(REPO, &options);
            assert_eq!(error, HubError::BadEndpoint);
            assert!(!error.to_string().contains(TOKEN));
        },
    );
}

#[test]
fn a_model_that_is_gated_says_how_to_get_access() {
    alone("a_model_that_is_gated_says_how_to_get_access", || {
        for (path, status, token, told) in [
            ("/api/", 401, None, "no token is set, neither in HF_TOKEN"),
            (
                "/resolve/",
                401,
                Some("hf_weak"),
                "the token that is set isn't sufficient",
            ),
            ("/resolve/", 403, Some("hf_weak"), "HTTP 403"),
        ] {
            let (hub, _cache, mut options) = setup(model());
            options.token = token.and_then(Token::new);
            let headers = vec![(
                "x-error-message".to_owned(),
                "Access to it is restricted".to_owned(),
            )];
            hub.state().instead = Some(Instead {
                path: path.to_owned(),
                status,
                headers,
                body: String::new(),
            });
            let message = hub_error(REPO, &options).to_string();
            let page = format!(
                "accept its licence at {}/org/model, then run `hf auth login` or set HF_TOKEN",
                hub.endpoint
            );
            for part in [told, page.as_str(), "Access to it is restricted"] {
                // The answer to HEAD has headers, so the hub's own words always arrive.
                assert!(message.contains(part), "{message}");
            }
        }
    });
}

#[test]
fn what_the_hub_doesnt_have_is_told_apart() {
    alone("what_the_hub_doesnt_have_is_told_apart", || {
        let (hub, _cache, options) = setup(model());
        assert!(
            matches!(hub_error("org/other", &options), HubError::NoRepo { repo, .. } if repo == "org/other")
        );
        let error = hub_error("org/model@v9", &options);
        assert!(
            matches!(&error, HubError::NoRevision { revision, .. } if revision == "v9"),
            "{error:?}"
        );
        // Without the hub's own error codes it is found out by asking for the repository.
        hub.state().instead = Some(Instead {
            path: "/revision/".to_owned(),
            status: 404,
            headers: vec![],
            body: String::new(),
        });
        assert!(matches!(
            hub_error("org/model@v9", &options),
            HubError::NoRevision { .. }
        ));
        hub.state().instead = Some(Instead {
            path: "/api/".to_owned(),
            status: 404,
            headers: vec![],
            body: String::new(),
        });
        assert!(matches!(
            hub_error("org/model", &options),
            HubError::NoRepo { .. }
        ));
    });
}

#[test]
fn a_repository_that_cant_be_loaded_is_refused_before_its_weights_are_fetched() {
    alone(
        "a_repository_that_cant_be_loaded_is_refused_before_its_weights_are_fetched",
        || {
            let outside = br#"{"weight_map": {"a": "../../../x.safetensors"}}"#;
            for (files, told) in [
                (
                    vec![("config.json", &b"{}"[..]), ("pytorch_model.bin", b"x")],
                    "only pickled weights (pytorch_model.bin)",
                ),
                (
                    vec![("a.gguf", b"x"), ("b.gguf", b"y")],
                    "several GGUF files (a.gguf, b.gguf)",
                ),
                (vec![("model.safetensors", b"x")], "has no config.json"),
                (
                    vec![
                        ("config.json", b"{}"),
                        ("model.safetensors.index.json", outside),
                    ],
                    "isn't a .safetensors file in this folder",
                ),
            ] {
                let (hub, _cache, options) = setup(only(&files));
                let message = find(REPO, &options).unwrap_err().to_string();
                assert!(message.contains(told), "{message}");
                let fetched = hub
                    .take_requests()
                    .into_iter()
                    .any(|r| r.path.ends_with(".bin") || r.path.ends_with(".gguf"));
                assert!(!fetched);
            }
        },
    );
}

#[test]
fn all_parts_of_a_split_gguf_are_fetched() {
    alone("all_parts_of_a_split_gguf_are_fetched", || {
        let (parts, other) = (
            ["q4/m-00001-of-00002.gguf", "q4/m-00002-of-00002.gguf"],
            "q8/b.gguf",
        );
        let (hub, cache, options) = setup(only(&[
            (parts[0], &weights(1)),
            (parts[1], &weights(2)),
            (other, &weights(3)),
        ]));
        let named = |file: &str| {
            let registry = cache.path().join("models.toml");
            let text =
                format!("default = \"m\"\n[models.m]\nsource = \"{REPO}\"\nfile = \"{file}\"\n");
            fs::write(&registry, text).unwrap();
            locate("m", &Registry::from_file(&registry).unwrap(), &options)
        };
        let located = named(parts[1]).unwrap();
        assert_eq!(located.format, Format::Gguf);
        assert_eq!(
            names(&located.weights),
            ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
        );
        assert_eq!(fs::read(&located.weights[1]).unwrap(), weights(2));
        assert!(
            hub.take_requests()
                .iter()
                .all(|request| !request.path.ends_with(other))
        );
        hub.state().files.remove(parts[0]);
        hub.state().refs.insert("main".to_owned(), commit('b'));
        let error = named(parts[1]).unwrap_err().to_string();
        assert!(
            error.contains(
                "has only some of the 2 parts of a GGUF; missing: q4/m-00001-of-00002.gguf"
            ),
            "{error}"
        );
    });
}

#[test]
fn the_one_gguf_that_an_entry_names_is_fetched_with_its_digest_checked() {
    alone(
        "the_one_gguf_that_an_entry_names_is_fetched_with_its_digest_checked",
        || {
            let (hub, cache, options) = setup(only(&[
                ("q4/a.gguf", &weights(1)),
                ("q8/b.gguf", &weights(2)),
                ("config.json", b"{}"),
            ]));
            hub.state().refs.insert("refs/pr/1".to_owned(), commit('d'));
            let file = cache.path().join("models.toml");
            for (digest, good) in [(sha256(&weights(1)), true), (sha256(&weights(2)), false)] {
                let entry = format!(
                    "default = \"m\"\n[models.m]\nsource = \"{REPO}\"\nrevision = \"refs/pr/1\"\nfile = \"q4/a.gguf\"\nsha256 = {{ \"q4/a.gguf\" = \"{digest}\" }}\n"
                );
                fs::write(&file, entry).unwrap();
                let located = locate("m", &Registry::from_file(&file).unwrap(), &options).unwrap();
                assert_eq!(
                    (located.format, located.revision.clone()),
                    (Format::Gguf, Some(commit('d')))
                );
                assert_eq!(fs::read(&located.weights[0]).unwrap(), weights(1));
                assert_eq!(digests(&located).is_ok(), good);
            }
            let fetched: Vec<_> = hub
                .take_requests()
                .into_iter()
                .filter(|r| r.path.contains("/resolve/") && r.method == "GET")
                .collect();
            assert_eq!(fetched.len(), 1, "{fetched:?}");
        },
    );
}

#[test]
fn the_environment_counts_only_where_it_is_asked() {
    let variables = [
        ("HF_TOKEN", TOKEN),
        ("HF_HUB_OFFLINE", "1"),
        ("HF_ENDPOINT", "http://127.0.0.1:1"),
        ("HF_HOME", "/nowhere"),
    ];
    with_environment(
        "the_environment_counts_only_where_it_is_asked",
        &variables,
        || {
            let from_env = LocateOptions::from_env();
            assert_eq!(
                (from_env.offline, from_env.endpoint.as_str()),
                (true, "http://127.0.0.1:1")
            );
            assert_eq!(from_env.cache_dir, PathBuf::from("/nowhere/hub"));
            assert_eq!(from_env.token, Token::new(TOKEN));
            let (hub, _cache, options) = setup(model());
            find(REPO, &options).unwrap();
            let requests = hub.take_requests();
            assert!(
                requests
                    .iter()
                    .all(|request| request.authorization.is_none()),
                "no token was given: {requests:?}"
            );
        },
    );
}
