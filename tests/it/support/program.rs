//! Runs the real program: with nothing of the caller's environment, without network, in a folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Absent where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    }

    /// The run itself, once its exit code is known to be this one.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stderr: {}\nstdout: {}",
            self.stderr,
            self.stdout
        );
        self
    }
}

/// The program with its working directory, home and temporary files in `dir`.
pub(crate) fn byrote(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_byrote"));
    scrub(&mut command, dir).args(args);
    command
}

/// Takes the caller's environment away, except for what selects the code path under test. Whatever would go to the hub goes nowhere.
pub(crate) fn scrub<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    command
        .env_clear()
        .current_dir(dir)
        .env("HOME", dir)
        .env("TMPDIR", dir)
        .env("HF_ENDPOINT", "http://127.0.0.1:9");
    for kept in ["PATH", "SystemRoot", "BYROTE_PORTABLE"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// Runs the program to its end.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Ran {
    Ran::of(byrote(dir, args).output().unwrap())
}

/// The repository's own files.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Copies the files of a folder, not those below it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The built-in model as a folder, with everything that a checkpoint of the hub has.
pub(crate) fn model_folder(to: &Path) {
    copy_folder(&repository("crates/candle/src/model/builtin"), to);
}

/// Lines of the built-in probe set: all canaries and this many controls.
pub(crate) fn builtin_lines(controls: usize) -> Vec<String> {
    let lines = |file: &str| {
        let text = std::fs::read_to_string(repository("prompts/builtin").join(file)).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut all = lines("canaries.jsonl");
    all.extend(lines("controls.jsonl").into_iter().take(controls));
    all
}

/// Writes lines as a file, each with its line end.
pub(crate) fn write_lines(path: &Path, lines: &[String]) {
    std::fs::write(
        path,
        lines
            .iter()
            .flat_map(|line| [line, "\n"])
            .collect::<String>(),
    )
    .unwrap();
}

/// Every file below a folder with its bytes, by its path in it.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/");
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// A run's scores as bytes, by file name.
pub(crate) fn scores(run: &Path) -> BTreeMap<String, Vec<u8>> {
    tree(&run.join("scores"))
}

/// A run's report without what may differ between two runs over the same inputs.
pub(crate) fn report(run: &Path) -> serde_json::Value {
    let mut report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.join("report.json")).unwrap()).unwrap();
    let fields = report.as_object_mut().unwrap();
    for timed in ["created_at", "timings"] {
        assert!(
            fields.remove(timed).is_some(),
            "{timed} has another name now"
        );
    }
    for item in fields["items"].as_array_mut().unwrap() {
        assert!(
            item.as_object_mut()
                .unwrap()
                .remove("salted_digest")
                .is_some(),
            "salted_digest has another name now"
        );
    }
    report
}

/// The verdict of every item.
pub(crate) fn verdicts(report: &serde_json::Value) -> BTreeMap<String, String> {
    let items = report["items"].as_array().unwrap();
    items
        .iter()
        .map(|i| {
            (
                i["id"].as_str().unwrap().to_owned(),
                i["verdict"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}
