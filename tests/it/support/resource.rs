//! Resources that some tests need and a machine may lack: real checkpoints, published vocabularies, a browser.

use std::io::Write as _;
use std::path::PathBuf;

/// The path of a resource: for `models` it is in the environment variable `BYROTE_TEST_MODELS`.
///
/// Without it, a test fails if `BYROTE_TEST_REQUIRED` (such as `models,tokenizers`) names the resource, and otherwise prints
/// that it was not run.
#[track_caller]
pub(crate) fn resource(name: &str) -> Option<PathBuf> {
    let variable = format!("BYROTE_TEST_{}", name.to_uppercase());
    let path = std::env::var_os(&variable).map(PathBuf::from);
    if path.is_none() {
        not_tested(name, &format!("{variable} is not set"));
    }
    path
}

/// The folder of the real checkpoints.
#[track_caller]
pub(crate) fn models() -> Option<PathBuf> {
    resource("models")
}

/// Fails the test if it needs a required resource; otherwise prints that it was not run, and why.
#[track_caller]
pub(crate) fn not_tested(resource: &str, why: &str) {
    let required = std::env::var("BYROTE_TEST_REQUIRED").unwrap_or_default();
    assert!(
        !names(&required, resource),
        "{why}, but BYROTE_TEST_REQUIRED names {resource}"
    );
    let thread = std::thread::current();
    // Written to stderr itself: the test harness hides what passing tests print.
    let test = thread.name().unwrap_or_default();
    let line = format!("NOT TESTED: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Whether a comma-separated list names the resource.
fn names(list: &str, resource: &str) -> bool {
    list.split(',').any(|name| name.trim() == resource)
}

#[test]
fn a_resource_is_required_if_the_list_names_it() {
    assert!(names("models", "models") && names("browser, models", "models"));
    assert!(!names("", "models") && !names("my-models,browser", "models"));
}
