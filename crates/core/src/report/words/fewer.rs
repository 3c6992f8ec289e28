//! Which windows were scored, where not all of them were, and what that says.

use crate::metric::recall::Screened;
use crate::metric::samples::grouped;
use crate::report::Report;
use crate::report::words::{count, share};
use crate::run::WindowSelection;

/// Notes on what was scored once for several windows, and on what wasn't scored.
pub(crate) fn notes(report: &Report) -> Vec<String> {
    let windows = &report.summary.windows;
    let mut notes = Vec::new();
    if windows.shared > 0 {
        notes.push(format!(
            "{} the same tokens as another with a prefix of the same length: scored once, and counted wherever they stand.",
            if windows.shared == 1 { "1 window has".to_owned() } else { format!("{} windows have", grouped(windows.shared)) }
        ));
    }
    match &report.settings.fewer {
        None => {}
        Some(WindowSelection::CoarseToFine { tokens, stride, .. }) => notes.push(format!(
            "Scored coarse to fine: first one window every {} and then all around hits, which are windows within the sample \
             budget or greedily exact; {} of {} in all. Every memorized run of {} or more, a stretch in which every window's suffix \
             is a hit, is found whole. Of shorter runs nothing is said, and coverage and counts are at least so much.",
            count(u64::from(*stride), "token"),
            grouped(windows.planned - windows.left.min(windows.planned)),
            count(windows.planned, "window"),
            count(u64::from(*tokens), "token"),
        )),
        Some(WindowSelection::Screened { piece, first_choices, log_p, .. }) => {
            notes.push(format!(
                "Screened: a pass over the texts in pieces of up to {} chose the windows to be scored, those with {} first choices \
                 or with ln p of at least {log_p:.1} in it. An item with windows that weren't scored is never clear.",
                count(u64::from(*piece), "token"),
                share(*first_choices),
            ));
            notes.extend(report.summary.screened.as_ref().map(recall));
        }
    }
    notes
}

/// How many hits the screen kept, such as `The screen kept 30 hits and missed an estimated 10 (...)`.
fn recall(found: &Screened) -> String {
    let counts = &found.counts;
    let sample = format!(
        "of {} that it left {} drawn at random were scored as well and held {}",
        count(counts.left, "window"),
        grouped(counts.sampled),
        count(counts.sampled_hits, "hit")
    );
    let missed = format!("{:.0} to {:.0}", found.missed_lower, found.missed_upper);
    match found.recall {
        None => format!(
            "The screen's recall isn't known: {} in {} that it kept; {sample}, so that it missed {missed} (95% interval).",
            count(0, "hit"),
            count(counts.kept, "window")
        ),
        Some(recall) => format!(
            "The screen's recall is {} (95% interval {} to {}): {} in {} that it kept; {sample}, which stands for {:.0} missed \
             ({missed}).",
            share(recall),
            share(found.lower),
            share(found.upper),
            count(counts.kept_hits, "hit"),
            count(counts.kept, "window"),
            found.missed
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::recall::{Counts, of};
    use crate::report::fixture;
    use crate::run::Hits;

    fn hits() -> Hits {
        Hits {
            tau: 0.001,
            schemes: vec!["greedy".to_owned()],
            margin: 0.001,
            epsilon: 0.01,
        }
    }

    #[test]
    fn notes_say_what_was_scored_and_what_that_proves() {
        let mut report = fixture::report();
        assert!(notes(&report).is_empty());
        report.summary.windows.shared = 1;
        assert!(notes(&report)[0].starts_with("1 window has the same tokens as another"));
        report.summary.windows.shared = 1_200;
        (report.summary.windows.planned, report.summary.windows.left) = (10_000, 7_500);
        report.settings.fewer = Some(WindowSelection::CoarseToFine {
            tokens: 99,
            stride: 50,
            hits: hits(),
        });
        let told = notes(&report);
        assert!(told[0].starts_with("1,200 windows have the same tokens"));
        assert!(
            told[1].contains("every 50 tokens")
                && told[1].contains("2,500 of 10,000 windows in all"),
            "{}",
            told[1]
        );
        assert!(told[1].contains("Every memorized run of 99 tokens or more"));
    }

    #[test]
    fn a_screen_stands_with_its_recall() {
        let mut report = fixture::report();
        report.settings.fewer = Some(WindowSelection::Screened {
            piece: 1024,
            first_choices: 0.6,
            log_p: -13.8,
            hits: hits(),
        });
        let counts = Counts {
            tokens: 9_000,
            kept: 40,
            kept_hits: 30,
            left: 1_000,
            sampled: 200,
            sampled_hits: 2,
        };
        report.summary.screened = Some(of(counts));
        let told = notes(&report);
        assert!(
            told[0].contains("pieces of up to 1,024 tokens")
                && told[0].contains("60% first choices"),
            "{}",
            told[0]
        );
        assert_eq!(
            told[1],
            "The screen's recall is 75% (95% interval 45.7% to 93.8%): 30 hits in 40 windows that it kept; of 1,000 windows that it left \
             200 drawn at random were scored as well and held 2 hits, which stands for 10 missed (2 to 36)."
        );
        report.summary.screened = Some(of(Counts {
            kept_hits: 0,
            sampled_hits: 0,
            ..counts
        }));
        assert!(
            notes(&report)[1].contains("recall isn't known")
                && notes(&report)[1].contains("missed 0 to 18")
        );
    }
}
