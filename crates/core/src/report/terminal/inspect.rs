//! One item for a terminal: its verdict and reasons, a window as a map of cells, and its other windows. Holds text only where the
//! caller gives the tokens' letters.

use super::{Ink, Page, Style, WIDTH_UNKNOWN, right, shorten};
use crate::items::Kind;
use crate::metric::probability;
use crate::metric::tokens::{STEPS, Token};
use crate::metric::window::WindowEvidence;
use crate::report::order::Figures;
use crate::report::words::evidence as says;
use crate::report::{Report, ReportItem, command, escape, words};
use comfy_table::Cell;
use std::fmt::Write as _;

/// Cells of a row of the map.
const ROW: usize = 10;
/// Tokens of the map, tokens told in numbers, and windows listed; what is left out is counted.
const TOKENS: usize = 400;
const TOLD: usize = 40;
const WINDOWS: usize = 20;
/// A token at least this likely needs no words.
const SURE: f32 = -0.105;
const NARROWEST: usize = 72;

/// What is shown of an item.
#[derive(Clone, Copy, Debug)]
pub struct Inspected<'a> {
    pub report: &'a Report,
    pub item: &'a ReportItem,
    /// The window whose tokens are shown; absent where none was scored.
    pub window: Option<&'a WindowEvidence>,
    /// All windows that are known, the likeliest first.
    pub windows: &'a [WindowEvidence],
    /// The tokens of `window` in letters, where they may be seen and are known.
    pub letters: Option<&'a [String]>,
    /// What a reader must know: what isn't at hand, what wasn't scored.
    pub notes: &'a [String],
}

/// A page of text ending in a line break. Pure: the same input and style give the same text.
pub fn render(inspected: &Inspected<'_>, style: Style) -> String {
    let page = Page {
        style,
        width: style
            .width
            .unwrap_or(WIDTH_UNKNOWN)
            .clamp(NARROWEST, super::WIDEST),
    };
    let mut out = String::new();
    page.verdict_of(&mut out, inspected);
    page.map(&mut out, inspected);
    page.windows(&mut out, inspected);
    page.section(&mut out, "Notes", inspected.notes);
    out
}

impl Page {
    fn verdict_of(&self, out: &mut String, Inspected { report, item, .. }: &Inspected<'_>) {
        let level = item.verdict.level;
        let ink = match level {
            level if level.is_memorization() => Ink::Red,
            crate::policy::Level::Inconclusive => Ink::Yellow,
            _ => Ink::Green,
        };
        let sign = format!("{} {level}", words::sign(level));
        let kind = match (item.kind, item.repetitions) {
            (Kind::OptOut, _) => "opted-out text".to_owned(),
            (Kind::Control, _) => "control".to_owned(),
            (Kind::Canary, None) => "canary".to_owned(),
            (Kind::Canary, Some(n)) => format!("canary planted {}", words::times(u64::from(n))),
        };
        let id = escape::terminal(&item.id.0);
        let _ = writeln!(
            out,
            "{}  {}",
            self.ink(&sign, ink),
            self.ink(&id, Ink::Bold)
        );
        self.paragraph(
            out,
            &format!(
                "{kind}, {}; tested: {}",
                item.origin, report.model.reference
            ),
            "  ",
        );
        for reason in &item.verdict.reasons {
            self.paragraph(out, &reason.message, "  - ");
        }
        out.push('\n');
        let figures = Figures::of(&report.policy, item);
        let schemes = report.policy.scheme_names();
        let mut facts = vec![
            (
                "Cost",
                format!(
                    "p_z {} under {schemes}; {} for an even chance",
                    figures.p_z,
                    samples(&figures.samples)
                ),
            ),
            ("p-value", figures.p_value.clone()),
            (
                "Run",
                format!(
                    "{} suffix tokens in a row are the model's first choice",
                    figures.run
                ),
            ),
            ("Extracted", format!("{} of the text", figures.coverage)),
        ];
        facts.extend(
            item.verdict
                .validity
                .as_ref()
                .map(|validity| ("Controls", says::comparison(validity))),
        );
        let waiver = report
            .policy
            .waivers
            .iter()
            .find(|waiver| waiver.item == item.id);
        facts.extend(waiver.map(|waiver| {
            (
                "Waiver",
                format!("{} (until {})", waiver.reason, waiver.expires),
            )
        }));
        for (name, value) in facts {
            let value =
                super::wrap(&escape::terminal(&value), self.width - 12).join("\n            ");
            let _ = writeln!(
                out,
                "  {} {value}",
                self.ink(&format!("{name:<9}"), Ink::Dim)
            );
        }
    }

    fn map(&self, out: &mut String, inspected: &Inspected<'_>) {
        let Some(window) = inspected.window else {
            return;
        };
        self.heading(
            out,
            &format!(
                "Window {}",
                shorten(&escape::terminal(&window.window.0), self.width - 10)
            ),
        );
        let schemes: Vec<String> = window
            .schemes
            .iter()
            .map(|value| format!("{} {}", value.scheme, probability::in_digits(value.log_p_z)))
            .collect();
        self.paragraph(
            out,
            &format!(
                "characters {}-{} {}; {} + {} tokens; p_z {}",
                window.placement.suffix_char,
                window.placement.end_char,
                words::layout(window.placement.form, &window.placement.template),
                window.placement.prefix_len,
                window.placement.suffix_len,
                schemes.join(", ")
            ),
            "  ",
        );
        let Some(evidence) = &window.tokens else {
            self.paragraph(
                out,
                "No token scores of this window are at hand: they are in the run's folder (scores/*.parquet).",
                "  ",
            );
            return;
        };
        let tokens: Vec<Token> = evidence.iter().collect();
        let firsts = tokens.iter().filter(|token| token.rank == 0).count();
        let told = format!(
            "{firsts} of {} are the model's first choice, the first {} without a miss.",
            words::count(tokens.len() as u64, "suffix token"),
            window.verbatim_run
        );
        self.paragraph(out, &told, "  ");
        if let Some(told) = says::first_scores(inspected.report, window) {
            self.paragraph(out, &told, "  ");
        }
        out.push('\n');
        for (row, tokens) in tokens
            .iter()
            .take(TOKENS)
            .collect::<Vec<_>>()
            .chunks(ROW)
            .enumerate()
        {
            let _ = write!(out, "  {:>5} ", row * ROW + 1);
            for token in tokens {
                out.push_str(&self.cell(token));
                out.push(' ');
            }
            while out.ends_with(' ') {
                out.pop();
            }
            out.push('\n');
        }
        if let Some(more) = tokens.len().checked_sub(TOKENS).filter(|more| *more > 0) {
            let _ = writeln!(
                out,
                "  … and {more} more tokens (--format json has them all)"
            );
        }
        self.legend(out);
        self.told(out, &tokens, inspected.letters);
    }

    /// Five columns: how likely the token is, and how many are likelier.
    fn cell(&self, token: &Token) -> String {
        let rank = match token.rank {
            0 => String::new(),
            rank @ 1..=999 => rank.to_string(),
            _ => ">999".to_owned(),
        };
        self.heated(token.heat(), &rank)
    }

    fn heated(&self, heat: usize, text: &str) -> String {
        if !self.style.color {
            let sign = [' ', '·', '░', '▒', '▓', '█'][heat.min(5)];
            return format!("{sign}{text:<4}");
        }
        // Of the 256 colours of xterm: red, the darker the likelier, with a colour of letters that can be read on it.
        match [
            None,
            Some((16, 224)),
            Some((16, 217)),
            Some((16, 210)),
            Some((16, 203)),
            Some((231, 124)),
        ][heat.min(5)]
        {
            Some((ink, ground)) => format!("\u{1b}[38;5;{ink};48;5;{ground}m{text:>4} \u{1b}[0m"),
            None => format!("{text:>4} "),
        }
    }

    fn legend(&self, out: &mut String) {
        let _ = write!(out, "\n  probability from");
        for (heat, step) in STEPS.iter().enumerate() {
            // A cell's width is for ranks; two columns are enough to see a colour.
            let cell = self.heated(heat + 1, "").replacen("   ", "", 1);
            let _ = write!(out, "  {} {step}", cell.trim_end());
        }
        let _ = writeln!(
            out,
            "\n  a number: so many tokens are likelier than the true one"
        );
    }

    /// The tokens the model isn't sure of, in numbers.
    fn told(&self, out: &mut String, tokens: &[Token], letters: Option<&[String]>) {
        let unsure = || {
            tokens.iter().enumerate().filter(|(_, token)| {
                token.rank > 0 || token.logprob.is_nan() || token.logprob < SURE
            })
        };
        let all = unsure().count();
        if all == 0 {
            self.paragraph(
                out,
                "Every token is the model's first choice at a probability of 0.9 or more.",
                "  ",
            );
            return;
        }
        self.heading(out, "Where it isn't sure");
        let mut table = self.table();
        let names = ["token", "ln p", "p", "rank", "margin"].map(|name| right(name.to_owned()));
        table.set_header(names.into_iter().chain(letters.map(|_| Cell::new("text"))));
        for (place, token) in unsure().take(TOLD) {
            let lp = f64::from(token.logprob);
            let numbers = [
                (place + 1).to_string(),
                format!("{lp:.2}"),
                probability::in_digits(lp),
                token.rank.to_string(),
                format!("{:.2}", token.margin),
            ];
            let text = letters.map(|letters| {
                let text = letters.get(place).map_or("", String::as_str);
                Cell::new(escape::terminal(&format!("\"{text}\"")))
            });
            table.add_row(numbers.map(right).into_iter().chain(text));
        }
        self.push_table(out, table);
        if all > TOLD {
            let _ = writeln!(out, "  … and {} more", all - TOLD);
        }
    }

    fn windows(
        &self,
        out: &mut String,
        Inspected {
            report,
            item,
            windows,
            window,
            ..
        }: &Inspected<'_>,
    ) {
        if windows.is_empty() {
            return;
        }
        self.heading(out, "Windows, the likeliest first");
        let mut table = self.table();
        let head = ["", "window", "characters"].map(Cell::new);
        let numbers = ["greedy", "run", "first"].map(|name| right(name.to_owned()));
        let schemes: Vec<&str> = report
            .policy
            .schemes
            .iter()
            .map(|scheme| scheme.id.as_str())
            .filter(|id| *id != "greedy")
            .take(2)
            .collect();
        let p_z = schemes.iter().map(|scheme| right(format!("p_z {scheme}")));
        table.set_header(head.into_iter().chain(numbers).chain(p_z));
        for own in windows.iter().take(WINDOWS) {
            let chosen = window.is_some_and(|window| window.window == own.window);
            let id = shorten(
                &escape::terminal(&own.window.0),
                self.width.saturating_sub(58),
            );
            let place = format!("{}-{}", own.placement.suffix_char, own.placement.end_char);
            let numbers = [
                if own.greedy_exact { "yes" } else { "no" }.to_owned(),
                format!("{} of {}", own.verbatim_run, own.placement.suffix_len),
                format!("{:.2}", own.em),
            ];
            let p_z = schemes.iter().map(|id| {
                own.log_p_z(id)
                    .map_or_else(|| "–".to_owned(), probability::in_digits)
            });
            let cells = [
                Cell::new(if chosen { "›" } else { "" }),
                Cell::new(id),
                Cell::new(place),
            ];
            table.add_row(
                cells
                    .into_iter()
                    .chain(numbers.map(right))
                    .chain(p_z.map(right)),
            );
        }
        self.push_table(out, table);
        if let Some(more) = windows.len().checked_sub(WINDOWS).filter(|more| *more > 0) {
            let _ = writeln!(out, "  … and {more} more");
        }
        if windows.len() > 1 {
            let other = windows
                .iter()
                .find(|own| window.is_none_or(|window| window.window != own.window));
            let example = command::inspect(item, other.map(|own| &own.window));
            self.paragraph(out, &format!("Another one: {example}"), "  ");
        }
    }
}

/// `never`, `1 sample`, `2,302 samples`.
fn samples(figure: &str) -> String {
    match figure {
        "never" | "–" => format!("{figure} a number of samples")
            .replace("never a number of samples", "no number of samples"),
        "1" => "1 sample".to_owned(),
        n => format!("{n} samples"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Level;
    use crate::report::fixture;

    fn page(report: &Report, id: &str, style: Style) -> String {
        let item = report.items.iter().find(|item| item.id.0 == id).unwrap();
        let letters = item
            .revealed
            .as_ref()
            .and_then(|text| text.spelled.as_ref())
            .map(|spelled| &spelled.suffix[..]);
        let notes = ["A note.".to_owned()];
        render(
            &Inspected {
                report,
                item,
                window: item.windows.first(),
                windows: &item.windows,
                letters,
                notes: &notes,
            },
            style,
        )
    }

    #[test]
    fn an_item_is_told_with_its_reasons_its_tokens_and_its_windows() {
        let text = page(&fixture::report(), "poems/heron-07", Style::default());
        if let Some(folder) = std::env::var_os("BYROTE_HTML_OUT") {
            let coloured = page(
                &fixture::report(),
                "poems/heron-07",
                Style {
                    color: true,
                    width: None,
                },
            );
            std::fs::write(
                std::path::Path::new(&folder).join("inspect.txt"),
                text.clone() + &coloured,
            )
            .unwrap();
        }
        for sentence in [
            "■ extractable  poems/heron-07",
            "opted-out text, prompts/optout.jsonl",
            "licensed since October (until 2027-06-30)",
            "Window poems/heron-07/as_given/0",
            "49 of 50 suffix tokens are the model's first choice, the first 11 without a miss.",
            "   11 █     ·1    █",
            "Where it isn't sure",
            "›  poems/heron-07/as_given/0",
            "  A note.",
        ] {
            assert!(text.contains(sentence), "{sentence:?} isn't in\n{text}");
        }
    }

    #[test]
    fn cells_have_one_width_with_and_without_colour_and_colour_changes_no_word() {
        let page = |color| Page {
            style: Style { color, width: None },
            width: 100,
        };
        for (logprob, rank) in [
            (-0.01, 0),
            (-3.0, 7),
            (-8.0, 123),
            (f32::NEG_INFINITY, 12_345),
            (f32::NAN, 1),
        ] {
            let token = Token {
                logprob,
                rank,
                margin: 0.0,
            };
            assert_eq!(page(false).cell(&token).chars().count(), 5, "{token:?}");
            let mut coloured = page(true).cell(&token);
            if let Some(end) = coloured.find('m') {
                coloured = coloured[end + 1..].replace("\u{1b}[0m", "");
            }
            assert_eq!(coloured.chars().count(), 5, "{coloured:?}");
        }
    }

    #[test]
    fn ids_and_letters_are_inert_and_text_stays_hidden_without_letters() {
        let mut report = fixture::report();
        for id in fixture::HOSTILE {
            let text = page(&report, id, Style::default());
            fixture::assert_inert_and_redacted(&text.replace('<', "("));
            assert!(
                text.lines()
                    .all(|line| !line.trim_start().starts_with("::")),
                "{text}"
            );
        }
        report = fixture::revealed();
        let item = report
            .items
            .iter_mut()
            .find(|item| item.id.0 == "poems/heron-07")
            .unwrap();
        let spelled = crate::report::Spelled {
            window: item.windows[0].window.clone(),
            prefix: vec![],
            suffix: vec!["\u{1b}[31m".to_owned(); 50],
        };
        item.revealed.as_mut().unwrap().spelled = Some(spelled);
        let text = page(&report, "poems/heron-07", Style::default());
        assert!(
            text.contains("\\u{1b}[31m") && !text.contains('\u{1b}'),
            "{text}"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let report = fixture::report();
        for item in report
            .items
            .iter()
            .filter(|item| item.kind == Kind::OptOut && item.verdict.level != Level::Inconclusive)
        {
            for width in [80, 100, 120] {
                let text = page(
                    &report,
                    &item.id.0,
                    Style {
                        color: false,
                        width: Some(width),
                    },
                );
                for line in text.lines() {
                    assert!(line.chars().count() <= width, "{width}: {line}");
                }
            }
        }
    }
}
