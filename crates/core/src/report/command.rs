//! The command lines by which a report's numbers are found again. They are for people to copy: every word that isn't plain is
//! quoted for a POSIX shell.

use super::{Report, ReportItem};
use crate::items::Kind;
use crate::run::WindowSelection;
use crate::tokens::BosChoice;
use crate::window::{Reflow, Stride, WindowId};

/// The probe that gives this report again, a line a piece: `byrote probe`, then flags with their values. Files are named as they
/// were read. Settings that are the defaults are left out, but for the sizes of windows and the dtype.
pub(crate) fn probe(report: &Report) -> Vec<String> {
    let settings = &report.settings;
    let model = &report.model;
    let mut lines = vec!["byrote probe".to_owned()];
    let mut flag = |name: &str, value: &str| lines.push(format!("--{name} {}", quoted(value)));
    flag(
        "model",
        &exact(&model.source, &model.reference, model.revision.as_deref()),
    );
    if let Some(adapter) = &model.adapter {
        flag("adapter", &adapter.source);
    }
    flag("dtype", &model.backend.dtype);
    if model.backend.dtype == "bf16" {
        flag("compute", &model.backend.arithmetic);
    }
    for (role, file) in files(report) {
        flag(role, &file);
    }
    let window = &settings.window;
    flag("prefix", &window.prefix.to_string());
    flag("suffix", &window.suffix.to_string());
    match window.stride {
        Stride::Tokens(stride) if stride == window.suffix => {}
        Stride::Tokens(stride) => flag("stride", &stride.to_string()),
        Stride::Chars(stride) => flag("stride-chars", &stride.to_string()),
    }
    if let Some(lead) = window.lead {
        flag("min-context", &lead.to_string());
    }
    match window.reflow {
        Reflow::Auto => {}
        Reflow::Off => flag("reflow", "off"),
        Reflow::Only => flag("reflow", "only"),
    }
    match settings.bos {
        BosChoice::Auto => {}
        BosChoice::Always => flag("bos", "always"),
        BosChoice::Never => flag("bos", "never"),
    }
    if !settings.templates.is_empty() {
        let ids: Vec<&str> = settings
            .templates
            .iter()
            .map(|template| template.id.0.as_str())
            .collect();
        flag("template", &ids.join(","));
    }
    match &settings.fewer {
        Some(WindowSelection::CoarseToFine { tokens, .. }) => {
            flag("find-runs", &tokens.to_string())
        }
        Some(WindowSelection::Screened { piece, .. }) => flag("screen", &piece.to_string()),
        None => {}
    }
    if let Some(reference) = &report.reference {
        flag(
            "reference",
            &exact(
                &reference.source,
                &reference.reference,
                reference.revision.as_deref(),
            ),
        );
    }
    if report.decision.is_some() || report.policy.source != "built-in policy default" {
        flag(
            "gate",
            report
                .policy
                .source
                .strip_prefix("built-in policy ")
                .unwrap_or(&report.policy.source),
        );
    }
    if settings.exit.is_none() && settings.fewer.is_none() && report.policy.floor > 0.0 {
        lines.push("--exhaustive".to_owned());
    }
    if settings.reveal {
        lines.push("--reveal".to_owned());
    }
    lines
}

/// One item at a terminal; `RUN` stands for the report's folder.
pub(crate) fn inspect(item: &ReportItem, window: Option<&WindowId>) -> String {
    let window = window
        .map(|window| format!(" --window {}", quoted(&window.0)))
        .unwrap_or_default();
    format!("byrote inspect RUN {}{window}", quoted(&item.id.0))
}

/// A model by its commit where it has one.
fn exact(source: &str, reference: &str, revision: Option<&str>) -> String {
    match (source.strip_prefix("hub:"), revision) {
        (Some(repository), Some(revision)) => format!("{repository}@{revision}"),
        _ => reference.to_owned(),
    }
}

/// What was read and in which role. A file of controls only may have been given as such, and comes to the same that way. The
/// built-in model's own set is what it is asked without being told.
fn files(report: &Report) -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    for file in &report.probe_set.files {
        if let Some(set) = file.name.strip_prefix("builtin:controls/") {
            files.push((
                "controls",
                format!("builtin:{}", set.trim_end_matches(".jsonl")),
            ));
        } else if !file.name.starts_with("builtin:") {
            let mut own = report
                .items
                .iter()
                .filter(|item| item.origin.file == file.name)
                .peekable();
            let controls = own.peek().is_some() && own.all(|item| item.kind == Kind::Control);
            files.push((
                if controls { "controls" } else { "prompts" },
                file.name.clone(),
            ));
        }
    }
    files
}

/// A word for a POSIX shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,+=%".contains(c);
    // A word that looks like a flag can't be helped by quotes.
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_command_names_the_commit_the_files_and_what_is_no_default() {
        let mut report = fixture::report();
        report.settings.window.stride = Stride::Tokens(10);
        report.settings.bos = BosChoice::Never;
        report.policy.source = "policies/it's mine.toml".to_owned();
        let command = probe(&report).join(" ");
        let expected = "byrote probe --model example/gemma-3-270m@9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1 --dtype f32 --prompts \
                        prompts/opt-out/novels.jsonl --prompts prompts/builtin/canaries.jsonl --prefix 50 --suffix 50 --stride 10 \
                        --bos never --reference example/pythia-70m@a39f36b100fe8a5377810d56c3f4789b9c53ac42 --gate \
                        'policies/it'\\''s mine.toml'";
        assert_eq!(command, expected);
    }

    #[test]
    fn words_are_quoted_so_that_a_shell_does_nothing_with_them() {
        for (word, expected) in [
            ("novels/moby-1", "novels/moby-1"),
            ("", "''"),
            ("$(rm -rf ~)", "'$(rm -rf ~)'"),
            ("it's; `x`", r"'it'\''s; `x`'"),
            ("two words", "'two words'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
