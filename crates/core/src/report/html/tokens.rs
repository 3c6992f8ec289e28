//! The heat map of one window: one cell per token, and a table of the numbers.

use super::evidence;
use crate::metric::probability;
use crate::metric::tokens::{STEPS, Token};
use crate::report::{Report, ReportItem, Spelled, escape, words};
use minijinja::{Value, context};
use std::fmt::Write as _;

/// Suffix tokens shown per window; a window may have a million.
const SHOWN: usize = 400;
/// Prefix tokens that are shown: those next to the suffix.
const PREFIX: usize = 400;

/// The meaning of each colour, the coldest first.
pub(super) fn legend() -> Vec<String> {
    let mut steps: Vec<String> = vec![format!("below {}", STEPS[0])];
    steps.extend(
        STEPS
            .windows(2)
            .map(|pair| format!("{} to {}", pair[0], pair[1])),
    );
    steps.push(format!("{} or more", STEPS[STEPS.len() - 1]));
    steps
}

/// The likeliest window's map; `None` where the report doesn't have it, as that of a control or of an older run.
pub(super) fn map(report: &Report, item: &ReportItem, number: usize) -> Option<Value> {
    let window = item.windows.first()?;
    let evidence = window.tokens.as_ref()?;
    let tokens: Vec<Token> = evidence.iter().take(SHOWN).collect();
    let spelled = item
        .revealed
        .as_ref()
        .filter(|_| report.settings.reveal)
        .and_then(|text| text.spelled.as_ref());
    let spelled = spelled.filter(|spelled| spelled.window == window.window);
    Some(context! {
        number,
        place => evidence::place(window),
        form => words::layout(window.placement.form, &window.placement.template),
        window => window.window,
        first_choices => evidence.rank.iter().filter(|rank| **rank == 0).count(),
        all => evidence.rank.len(),
        hidden => super::more(evidence.rank.len(), tokens.len()),
        run => window.verbatim_run,
        first_scores => words::evidence::first_scores(report, window),
        cells => Value::from_safe_string(cells(&tokens, spelled)),
        prefix => spelled.map(prefix),
        spelled => spelled.is_some(),
        p_z => probability::in_digits(window.sum_logprob),
    })
}

/// One `li` per token, all of one width unless their letters may be seen. What hovering and focus show is the text of each, so it
/// needs no script and a screen reader reads it.
fn cells(tokens: &[Token], spelled: Option<&Spelled>) -> String {
    let mut out = String::with_capacity(tokens.len() * 120);
    for (i, token) in tokens.iter().enumerate() {
        let rank = match token.rank {
            0 => String::new(),
            1..=9 => format!(" data-r=\"{}\"", token.rank),
            _ => " data-r=\"+\"".to_owned(),
        };
        // Arrow keys reach the others.
        let stop = if i == 0 { " tabindex=\"0\"" } else { "" };
        let _ = write!(out, r#"<li class="t{}"{rank}{stop}>"#, token.heat());
        if let Some(letters) = spelled.and_then(|spelled| spelled.suffix.get(i)) {
            let _ = write!(out, "<code>{}</code>", in_cell(letters));
        }
        let _ = write!(out, r#"<span class="tip">{}</span></li>"#, tip(i, token));
    }
    out
}

/// `Token 7: ln p −3.21 (p 0.0403), rank 3, margin −1.10`.
pub(crate) fn tip(position: usize, token: &Token) -> String {
    let ln = f64::from(token.logprob);
    format!(
        "Token {}: ln p {} (p {}), rank {}, margin {}",
        position + 1,
        signed(ln),
        probability::in_digits(ln),
        token.rank,
        signed(f64::from(token.margin))
    )
}

/// With two digits and a real minus sign; infinite numbers and NaN in words.
fn signed(value: f64) -> String {
    if value.is_nan() {
        return "unknown".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "−∞" }.to_owned();
    }
    let digits = format!("{:.2}", value.abs());
    if value < 0.0 && digits != "0.00" {
        format!("−{digits}")
    } else {
        digits
    }
}

/// A token's letters: what has no width is drawn.
fn in_cell(letters: &str) -> String {
    let letters = letters.replace('\n', "⏎").replace('\t', "⇥");
    let trimmed = letters.trim_start_matches(' ');
    let spaces = "·".repeat(letters.len() - trimmed.len());
    let inner = trimmed.trim_end_matches(' ');
    let end = "·".repeat(trimmed.len() - inner.len());
    if letters.is_empty() {
        "∅".to_owned()
    } else {
        escape::html(&format!("{spaces}{inner}{end}"))
    }
}

fn prefix(spelled: &Spelled) -> Value {
    let left_out = spelled.prefix.len().saturating_sub(PREFIX);
    let text: String = spelled
        .prefix
        .iter()
        .skip(left_out)
        .map(|letters| escape::html_text(letters))
        .collect();
    Value::from_safe_string(if left_out > 0 {
        format!("… {text}")
    } else {
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(logprob: f32, rank: u32, margin: f32) -> Token {
        Token {
            logprob,
            rank,
            margin,
        }
    }

    #[test]
    fn a_cell_tells_position_probability_rank_and_margin() {
        assert_eq!(
            tip(6, &token(-3.212, 3, -1.1)),
            "Token 7: ln p −3.21 (p 0.0403), rank 3, margin −1.10"
        );
        assert_eq!(
            tip(0, &token(-0.001, 0, f32::INFINITY)),
            "Token 1: ln p 0.00 (p 1), rank 0, margin ∞"
        );
        let cases = [
            (f32::NEG_INFINITY, "ln p −∞ (p 0)"),
            (f32::NAN, "ln p unknown (p unknown)"),
        ];
        for (logprob, expected) in cases {
            assert!(tip(0, &token(logprob, 0, 0.0)).contains(expected));
        }
    }

    #[test]
    fn without_letters_all_cells_look_alike_but_for_heat_and_rank() {
        let html = cells(
            &[
                token(-0.01, 0, 2.0),
                token(-9.0, 4, -3.0),
                token(-20.0, 800, -9.0),
            ],
            None,
        );
        for cell in [
            r#"<li class="t5" tabindex="0"><span"#,
            r#"<li class="t1" data-r="4"><span"#,
            r#"<li class="t0" data-r="+">"#,
        ] {
            assert!(html.contains(cell), "{html}");
        }
        assert!(!html.contains("<code>"));
    }

    #[test]
    fn letters_without_width_are_drawn_and_none_is_live() {
        for (letters, expected) in [
            (" the", "·the"),
            ("<b>", "&lt;b&gt;"),
            ("\n", "⏎"),
            ("  ", "··"),
            ("", "∅"),
            ("\u{202e}x", "\\u{202e}x"),
        ] {
            assert_eq!(in_cell(letters), expected);
        }
    }

    #[test]
    fn the_legend_has_a_line_a_step() {
        assert_eq!(legend().len(), STEPS.len() + 1);
        assert_eq!(legend()[0], "below 0.0001");
        assert_eq!(legend()[5], "0.9 or more");
    }
}
