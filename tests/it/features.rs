//! `cargo run` and then `cargo test` build each dependency of the program once. A crate with other features is another
//! crate to Cargo, as is every crate that uses it, so dev-dependencies must switch on no features that the program lacks.

use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn tests_build_no_dependency_of_the_program_again() {
    let program = crates("normal,build");
    let tests = crates("normal,build,dev");
    let names: BTreeSet<&str> = program.iter().map(|line| name(line)).collect();
    let again: Vec<&str> = tests
        .difference(&program)
        .map(String::as_str)
        .filter(|line| names.contains(name(line)))
        .collect();
    assert!(names.len() > 100, "{program:#?}");
    assert!(
        again.is_empty(),
        "`cargo test` builds these crates again, with the features that follow their versions. Switch these on in \
         [dependencies] too, beside hashbrown:\n{}",
        again.join("\n")
    );
}

/// The crates that are reached by edges of these kinds, each with its version and features.
fn crates(edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--offline",
            "--locked",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p} {f}", "--edges", edges])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let lines = String::from_utf8(output.stdout).unwrap();
    // The star marks a crate that was listed before.
    let lines = lines.lines().map(|line| line.trim_end_matches(" (*)"));
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// The name of a crate with its version.
fn name(line: &str) -> &str {
    let end = line
        .match_indices(' ')
        .nth(1)
        .map_or(line.len(), |(at, _)| at);
    &line[..end]
}
