//! What two reports have in common: which of their items are the same text, and whether it was cut into the same windows.
//!
//! Windows follow from a text, the settings and the tokenizer. Which of them were left before their end (`exit`, `fewer`)
//! is no difference here: what that leaves of a verdict or a value stands with the item.

use crate::metric::item::FormEvidence;
use crate::report::{Report, ReportItem};
use crate::tokens::BosChoice;
use crate::window::{Reflow, Stride, WindowConfig};

/// Whether two reports cut the same text into the same windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Windows {
    /// Yes: settings, templates and tokenizer are the same.
    Same,
    /// The settings are the same, but the models count in other tokens: verdicts can be compared, windows can't.
    OtherTokenizer,
    /// The texts were probed otherwise; in words, how.
    Other(String),
}

impl Windows {
    /// Compares how two runs cut their texts. `a` and `b` stand before and after in words.
    pub fn of(a: &Report, b: &Report) -> Self {
        if a.plan_digest == b.plan_digest {
            return Self::Same;
        }
        let differences = differences(a, b);
        if !differences.is_empty() {
            return Self::Other(differences.join("; "));
        }
        let fingerprints = (
            &a.model.tokenizer_fingerprint,
            &b.model.tokenizer_fingerprint,
        );
        match fingerprints {
            (Some(one), Some(other)) if one == other => {
                let token = |token: Option<u32>| {
                    token.map_or_else(|| "none".to_owned(), |token| token.to_string())
                };
                let (one, other) = (a.settings.bos_token, b.settings.bos_token);
                if one == other {
                    Self::Same
                } else {
                    Self::Other(format!(
                        "beginning-of-sequence token {} against {}",
                        token(one),
                        token(other)
                    ))
                }
            }
            _ => Self::OtherTokenizer,
        }
    }
}

/// How the settings differ that decide about windows.
fn differences(a: &Report, b: &Report) -> Vec<String> {
    let (one, other) = (&a.settings, &b.settings);
    let WindowConfig {
        prefix,
        suffix,
        lead: _,
        stride,
        reflow,
    } = &one.window;
    let mut found = Vec::new();
    let mut differ = |what: &str, one: String, other: String| {
        if one != other {
            found.push(format!("{what} {one} against {other}"));
        }
    };
    differ(
        "prefix",
        prefix.to_string(),
        other.window.prefix.to_string(),
    );
    differ(
        "suffix",
        suffix.to_string(),
        other.window.suffix.to_string(),
    );
    differ(
        "lead",
        one.window.before().to_string(),
        other.window.before().to_string(),
    );
    differ(
        "stride",
        stride_in_words(*stride),
        stride_in_words(other.window.stride),
    );
    differ(
        "layouts",
        reflow_in_words(*reflow),
        reflow_in_words(other.window.reflow),
    );
    differ("BOS", bos_in_words(one.bos), bos_in_words(other.bos));
    let templates = |of: &[crate::template::TemplateInfo]| match of {
        [] => "none".to_owned(),
        all => all
            .iter()
            .map(|template| template.id.to_string())
            .collect::<Vec<_>>()
            .join(","),
    };
    let (ids, other_ids) = (templates(&one.templates), templates(&other.templates));
    // The checkpoint's own chat template is the tokenizer's; what byrote puts around it must be the same file.
    let digests = |of: &[crate::template::TemplateInfo]| {
        of.iter().map(|t| t.digest.clone()).collect::<Vec<_>>()
    };
    if ids == other_ids && digests(&one.templates) != digests(&other.templates) {
        found.push(format!("templates {ids} of other content"));
    } else if ids != other_ids {
        found.push(format!("templates {ids} against {other_ids}"));
    }
    found
}

fn stride_in_words(stride: Stride) -> String {
    match stride {
        Stride::Tokens(n) => format!("{n} tokens"),
        Stride::Chars(n) => format!("{n} characters"),
    }
}

fn reflow_in_words(reflow: Reflow) -> String {
    match reflow {
        Reflow::Auto => "auto",
        Reflow::Off => "as given only",
        Reflow::Only => "reflowed only",
    }
    .to_owned()
}

fn bos_in_words(bos: BosChoice) -> String {
    match bos {
        BosChoice::Auto => "auto",
        BosChoice::Always => "always",
        BosChoice::Never => "never",
    }
    .to_owned()
}

/// Whether two items of one id are the same text, as far as two reports can tell without it; if not, why.
///
/// Digests of texts are salted, each run with its own salt, so they only prove that two texts are the same, never that they
/// aren't. Neither does the digest of a probe set's file, to which other items may have been added. What is
/// left, then, is the size: bytes and characters of each layout. A text that was exchanged for another of the very same size under
/// the same id isn't noticed.
///
/// # Errors
/// Why they aren't the same, in words.
pub fn text(a: &Report, x: &ReportItem, b: &Report, y: &ReportItem) -> Result<(), String> {
    if x.kind != y.kind {
        return Err("it is of another kind there".to_owned());
    }
    if x.salted_digest == y.salted_digest || same_file(a, x, b, y) {
        return Ok(());
    }
    let (mut both, mut differs) = (false, None);
    for form in &x.evidence.forms {
        if let Some(other) = y
            .evidence
            .forms
            .iter()
            .find(|other| other.form == form.form)
        {
            both = true;
            let size = |form: &FormEvidence| (form.bytes, form.chars);
            if size(form) != size(other) {
                differs = Some(format!(
                    "another text: {} characters against {}",
                    form.chars, other.chars
                ));
            }
        }
    }
    match (both, differs) {
        (_, Some(differs)) => Err(differs),
        (true, None) => Ok(()),
        (false, None) => Err(
            "it can't be told whether it is the same text: it was not probed in one of them"
                .to_owned(),
        ),
    }
}

/// Whether both were read from a file of the same content, where that file isn't the text itself (its digest is then salted).
fn same_file(a: &Report, x: &ReportItem, b: &Report, y: &ReportItem) -> bool {
    let file = |report: &Report, item: &ReportItem| {
        let found = report
            .probe_set
            .files
            .iter()
            .find(|file| file.name == item.origin.file && !file.one_text)?;
        Some((found.sha256.clone(), item.origin.line))
    };
    file(a, x).is_some_and(|one| file(b, y) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::items::Kind;
    use crate::policy::Level;
    use crate::report::tests::{item, report};

    fn pair() -> (Report, Report) {
        let one = report(vec![item("a", Kind::OptOut, Level::Clear)]);
        let mut other = one.clone();
        other.plan_digest = Digest::of_bytes(b"another plan");
        (one, other)
    }

    #[test]
    fn windows_are_the_same_unless_settings_or_the_tokenizer_say_otherwise() {
        let (one, other) = pair();
        assert_eq!(Windows::of(&one, &one), Windows::Same);
        assert_eq!(
            Windows::of(&one, &other),
            Windows::Same,
            "another plan, as where items were added"
        );
        type Change = fn(&mut Report);
        let cases: [(Change, &str); 7] = [
            (
                |r| r.settings.window.prefix = 100,
                "prefix 50 against 100; lead 50 against 100",
            ),
            (|r| r.settings.window.suffix = 3, "suffix 2 against 3"),
            (
                |r| r.settings.window.stride = Stride::Chars(10),
                "stride 2 tokens against 10 characters",
            ),
            (
                |r| r.settings.window.reflow = Reflow::Off,
                "layouts auto against as given only",
            ),
            (
                |r| r.settings.bos = BosChoice::Never,
                "BOS auto against never",
            ),
            (
                |r| r.settings.bos_token = None,
                "beginning-of-sequence token 1 against none",
            ),
            (
                |r| {
                    r.settings.templates = vec![crate::template::TemplateInfo {
                        id: crate::window::TemplateId("chat".to_owned()),
                        about: String::new(),
                        digest: Digest::of_bytes(b"t"),
                        chat_template: None,
                    }];
                },
                "templates none against chat",
            ),
        ];
        for (change, expected) in cases {
            let mut other = other.clone();
            change(&mut other);
            assert_eq!(
                Windows::of(&one, &other),
                Windows::Other(expected.to_owned())
            );
        }
        for fingerprint in [None, Some(Digest::of_bytes(b"another tokenizer"))] {
            let mut other = other.clone();
            other.model.tokenizer_fingerprint = fingerprint;
            assert_eq!(Windows::of(&one, &other), Windows::OtherTokenizer);
        }
    }

    #[test]
    fn a_text_is_known_by_its_digest_its_file_or_its_size() {
        let (one, mut other) = pair();
        let same = |other: &Report| text(&one, &one.items[0], other, &other.items[0]);
        assert_eq!(same(&other), Ok(()), "the same salt");
        other.items[0].salted_digest = Digest::of_bytes(b"another salt");
        other.items[0].evidence.forms[0].chars += 1;
        assert_eq!(same(&other), Ok(()), "the same file");
        other.probe_set.files[0].sha256 = Digest::of_bytes(b"another file");
        let chars = one.items[0].evidence.forms[0].chars;
        assert_eq!(
            same(&other),
            Err(format!(
                "another text: {chars} characters against {}",
                chars + 1
            ))
        );
        other.items[0].evidence.forms[0].chars -= 1;
        assert_eq!(same(&other), Ok(()), "the same size");
        other.items[0].evidence.forms.clear();
        assert!(same(&other).unwrap_err().contains("not probed"));
        other.items[0].kind = Kind::Canary;
        assert_eq!(same(&other), Err("it is of another kind there".to_owned()));
    }
}
