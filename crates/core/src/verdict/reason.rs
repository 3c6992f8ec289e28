//! The reasons of a verdict: a code for programs and a sentence for people. The codes are stable; the sentences aren't.

use crate::verdict::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One reason of a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    pub code: ReasonCode,
    /// In words and numbers.
    pub message: String,
}

impl Reason {
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a code means.
#[derive(Debug)]
pub struct ReasonInfo {
    pub code: ReasonCode,
    /// As every format writes it.
    pub id: &'static str,
    /// One sentence.
    pub meaning: &'static str,
    /// Levels it goes with. A missed positive control makes a verdict inconclusive and keeps its other reasons, whatever
    /// their levels.
    pub levels: &'static [Level],
}

/// Declares the codes and the table of them, so that neither can lack what the other has.
macro_rules! reason_codes {
    ($($code:ident $id:literal [$($level:ident)+] $meaning:literal,)+) => {
        /// Why a verdict is as it is, for programs.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
        )]
        #[non_exhaustive]
        pub enum ReasonCode {
            $(#[doc = $meaning] #[serde(rename = $id)] $code,)+
        }

        /// Every code with its meaning. `docs/reasons.md` lists them; a test keeps it current.
        pub const REASONS: &[ReasonInfo] = &[
            $(ReasonInfo {
                code: ReasonCode::$code,
                id: $id,
                meaning: $meaning,
                levels: &[$(Level::$level),+],
            },)+
        ];

        impl ReasonCode {
            /// As every format writes it.
            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$code => $id,)+
                }
            }
        }
    };
}

reason_codes! {
    WithinBudget "within-budget" [Extractable Predictable Inconclusive]
        "Sampling yields the likeliest window within the policy's sample budget.",
    NearVerbatimWithinBudget "near-verbatim-within-budget" [Extractable Predictable Inconclusive]
        "Sampling yields a text within a few token edits of a window within the budget, and the policy counts such texts.",
    OutsideBudget "outside-budget" [Memorized Clear Inconclusive]
        "Sampling the likeliest window takes more samples than the policy's budget, or never yields it.",
    CostUnknown "cost-unknown" [Memorized Clear Inconclusive]
        "No window has a known probability under the policy's ways of sampling.",
    BeyondControls "beyond-controls" [Extractable Memorized]
        "The item scores higher than its controls, and the difference is significant at the policy's false discovery rate.",
    NotBeyondControls "not-beyond-controls" [Predictable Clear Inconclusive]
        "The item doesn't score significantly higher than its controls.",
    Exposure "exposure" [Extractable Memorized Predictable Clear Inconclusive]
        "How far a canary ranks above the controls, in bits.",
    ControlWithinBudget "control-within-budget" [Predictable]
        "The item is a control and is within the sample budget although the model can't have seen it.",
    ControlOutsideBudget "control-outside-budget" [Clear]
        "The item is a control and is outside the sample budget.",
    NoControls "no-controls" [Inconclusive]
        "The run has no controls for the item.",
    NoComparableControls "no-comparable-controls" [Inconclusive]
        "No control of the item has its window layout, or none was measured.",
    TooFewControls "too-few-controls" [Inconclusive]
        "The item has fewer comparable controls than the policy asks for, or than any p-value could be significant with.",
    TooFewControlsForFamily "too-few-controls-for-family" [Inconclusive]
        "With this many controls, the p-value couldn't be significant among this many items.",
    PositiveControlMissed "positive-control-missed" [Inconclusive]
        "A positive control of the policy wasn't found, so the run decides nothing.",
    NotProbed "not-probed" [Inconclusive]
        "No window of the item was cut.",
    WindowsUnscored "windows-unscored" [Inconclusive]
        "Windows of the item could not be scored.",
    WindowsMissing "windows-missing" [Inconclusive]
        "Windows of the item have no scores, because the run was cut short or a part is missing.",
    MixedRuns "mixed-runs" [Inconclusive]
        "The item has more scores than windows, because parts of different runs are mixed.",
    ValuesMissing "values-missing" [Inconclusive]
        "Windows of the item count as scored, but the report has no values for them, or not for every window.",
    SchemeNotScored "scheme-not-scored" [Inconclusive]
        "The windows were not scored under a way of sampling that the policy asks for.",
    InvalidScores "invalid-scores" [Inconclusive]
        "A score of the item is not a number.",
    CutWindowsUndecided "cut-windows-undecided" [Inconclusive]
        "Windows whose scoring was cut short could change the verdict under this policy.",
    WindowsBelowFloor "windows-below-floor" [Extractable Memorized Predictable Clear Inconclusive]
        "Scoring of some windows was cut short because their probability is below the policy's floor, which decides nothing.",
    NearVerbatimNotMeasured "near-verbatim-not-measured" [Inconclusive]
        "The policy counts near-verbatim samples, but the run bounded none.",
    NoLongRuns "no-long-runs" [Clear]
        "A coarse first pass found no memorized run of the stated length; it did not look for shorter runs.",
    FirstPassTooNarrow "first-pass-too-narrow" [Inconclusive]
        "A coarse first pass looked for less than what is within the budget of this policy.",
    ScreenedOnly "screened-only" [Inconclusive]
        "Some windows were not scored because a screen found them unlikely, which proves nothing.",
    WindowsNotScored "windows-not-scored" [Extractable Memorized Predictable Inconclusive]
        "Some windows were passed over, so there may be more than was found.",
    Continuations "continuations" [Extractable Memorized Predictable Clear Inconclusive]
        "Supporting: how many followed-up windows the model continued near-verbatim.",
    NearVerbatimBound "near-verbatim-bound" [Extractable Memorized Predictable Clear Inconclusive]
        "Supporting: a lower bound of the probability of a near-verbatim sample.",
    ForeignPrefix "foreign-prefix" [Extractable Memorized Predictable Clear Inconclusive]
        "Supporting: what the true prefix adds over prefixes of other texts.",
    ReferenceModel "reference-model" [Extractable Memorized Predictable Clear Inconclusive]
        "Supporting: how surprising the item is compared with the reference checkpoint.",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_written_as_in_the_table() {
        let ids: HashSet<_> = REASONS.iter().map(|reason| reason.id).collect();
        assert_eq!(ids.len(), REASONS.len());
        for reason in REASONS {
            assert_eq!(serde_json::to_value(reason.code).unwrap(), reason.id);
            assert_eq!(reason.code.id(), reason.id);
            let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(reason.id.chars().all(kebab), "{}", reason.id);
            assert!(reason.meaning.ends_with('.'), "{}", reason.meaning);
        }
    }

    #[test]
    fn the_page_lists_every_code_as_the_table_has_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reasons.md");
        let page = std::fs::read_to_string(path).unwrap();
        let rows: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        let expected: Vec<String> = REASONS
            .iter()
            .map(|reason| {
                let levels: Vec<_> = reason.levels.iter().map(Level::to_string).collect();
                let levels = match levels.len() {
                    5 => "any".to_owned(),
                    _ => levels.join(", "),
                };
                format!("| `{}` | {} | {levels} |", reason.id, reason.meaning)
            })
            .collect();
        assert_eq!(
            rows,
            expected,
            "docs/reasons.md must have the rows\n{}",
            expected.join("\n")
        );
    }

    #[test]
    fn every_reason_of_a_report_goes_with_the_level_of_its_verdict() {
        let report = crate::report::fixture::report();
        for item in &report.items {
            for reason in &item.verdict.reasons {
                let info = REASONS.iter().find(|info| info.code == reason.code);
                let levels = info.unwrap().levels;
                assert!(
                    levels.contains(&item.verdict.level),
                    "{}: {reason:?}",
                    item.id
                );
            }
        }
    }
}
