//! Where in a text the model knows it: heat as a bar of equal cells, and as shades of the text itself.

use crate::metric::item::Heat;
use crate::metric::probability;
use crate::report::svg::Svg;
use crate::report::{escape, words};
use std::f64::consts::LN_10;
use std::fmt::Write as _;

/// Cells of the bar, whatever the text's length.
const CELLS: u64 = 100;
const HEIGHT: f64 = 20.0;

/// What the steps are, for the caption.
pub(super) const STEPS: &str = "10⁻¹², 10⁻⁹, 10⁻⁶, 10⁻³, 0.1 and 0.5";

/// 1 to 6, the hottest; by [`STEPS`]. NaN is cold.
fn step(log_p_z: f64) -> usize {
    let steps = [
        -12.0 * LN_10,
        -9.0 * LN_10,
        -6.0 * LN_10,
        -3.0 * LN_10,
        0.1_f64.ln(),
        0.5_f64.ln(),
    ];
    // The coldest heat that is kept is one in 10^12: never nothing, whatever the rounding.
    steps.iter().filter(|step| log_p_z >= **step).count().max(1)
}

/// The hottest place in words; `None` without any heat.
pub(super) fn hottest(heat: &[Heat]) -> Option<String> {
    let hottest = heat.iter().reduce(|best, next| {
        if next.log_p_z > best.log_p_z {
            next
        } else {
            best
        }
    })?;
    Some(format!(
        "hottest at characters {}–{}: p_z {}",
        hottest.start_char,
        hottest.end_char,
        probability::in_digits(hottest.log_p_z)
    ))
}

/// Each cell is as tall and as dark as the hottest character in it. `None` without any heat.
pub(super) fn bar(chars: u64, heat: &[Heat]) -> Option<String> {
    let label = words::sentence(&hottest(heat)?);
    let mut svg = Svg::bar("heat", HEIGHT, &label);
    svg.rect("track", (0.0, HEIGHT - 1.0), (1000.0, 1.0));
    // u128: a text's length times the cells may not fit.
    let at = |cell: u64| (u128::from(cell) * u128::from(chars) / u128::from(CELLS)) as u64;
    let cells: Vec<usize> = (0..CELLS)
        .map(|cell| {
            let (from, to) = (at(cell), at(cell + 1).max(at(cell) + 1));
            let over = heat
                .iter()
                .filter(|heat| heat.start_char < to && heat.end_char > from);
            over.map(|heat| step(heat.log_p_z))
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut left = 0;
    for alike in cells.chunk_by(|a, b| a == b) {
        if let Some(&step) = alike.first().filter(|step| **step > 0) {
            let height = HEIGHT * step as f64 / 6.0;
            let (x, width) = (left as f64 * 10.0, alike.len() as f64 * 10.0);
            svg.rect(&format!("h{step}"), (x, HEIGHT - height), (width, height));
        }
        left += alike.len();
    }
    Some(svg.finish())
}

/// The text shaded by heat, escaped. Stretches are in characters, in order, and don't overlap.
pub(super) fn shaded(text: &str, heat: &[Heat]) -> String {
    let mut chars = text.chars();
    let mut at = 0;
    let mut out = String::new();
    for stretch in heat {
        let mut take = |to: u64| {
            let piece: String = chars
                .by_ref()
                .take(to.saturating_sub(at) as usize)
                .collect();
            at = at.max(to);
            escape::html_text(&piece)
        };
        let (before, inside) = (take(stretch.start_char), take(stretch.end_char));
        let _ = write!(
            out,
            r#"{before}<mark class="h{}">{inside}</mark>"#,
            step(stretch.log_p_z)
        );
    }
    out + &escape::html_text(chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat(start_char: u64, end_char: u64, log_p_z: f64) -> Heat {
        Heat {
            start_char,
            end_char,
            log_p_z,
        }
    }

    #[test]
    fn heat_has_six_steps() {
        let cases = [
            (-27.7, 1),
            (-27.6, 1),
            (-20.0, 2),
            (-13.0, 3),
            (-6.8, 4),
            (-2.0, 5),
            (-0.6, 6),
            (0.0, 6),
            (f64::NAN, 1),
        ];
        for (log_p_z, expected) in cases {
            assert_eq!(step(log_p_z), expected, "{log_p_z}");
        }
    }

    #[test]
    fn the_bar_has_cells_of_one_size_whatever_the_text() {
        for chars in [1_000, 40, 123_456] {
            let stretches = [
                heat(chars / 5, chars * 2 / 5, -3.0),
                heat(chars / 2, chars / 2 + 1, -0.1),
            ];
            let svg = bar(chars, &stretches).unwrap();
            assert!(
                svg.contains(r#"class="h4" x="200" y="6.7" width="200""#),
                "{chars}: {svg}"
            );
            assert!(svg.contains(r#"class="h6" x="500""#), "{chars}: {svg}");
        }
        assert!(bar(0, &[heat(0, 0, -3.0)]).is_some());
        assert!(bar(100, &[]).is_none());
        assert!(
            bar(u64::MAX, &[heat(0, u64::MAX, 0.0)])
                .unwrap()
                .contains(r#"x="0" y="0" width="1000""#)
        );
    }

    #[test]
    fn text_is_shaded_by_characters_and_nothing_is_lost() {
        let cases: [(&[Heat], &str); 4] = [
            (&[], "é&lt;b&gt;漢字"),
            (
                &[heat(1, 4, 0.0)],
                "é<mark class=\"h6\">&lt;b&gt;</mark>漢字",
            ),
            (
                &[heat(0, 1, -20.0), heat(5, 6, 0.0)],
                "<mark class=\"h2\">é</mark>&lt;b&gt;漢<mark class=\"h6\">字</mark>",
            ),
            (
                &[heat(4, 900, -3.0)],
                "é&lt;b&gt;<mark class=\"h4\">漢字</mark>",
            ),
        ];
        for (stretches, expected) in cases {
            assert_eq!(shaded("é<b>漢字", stretches), expected);
        }
    }
}
