//! Pages of sweeps over made-up reports.

use super::*;
use crate::digest::sha256_base64;
use crate::report::Report;
use crate::sweep::tests::{made, setting, sweep};
use Level::{Clear, Extractable, Memorized};

const HOSTILE: &str = "<script>alert('x')</script>\"|`\u{1b}[31m\u{202e}";

fn of(parameters: u64, prefix: u32, levels: &[(&str, Kind, Level, f64)]) -> Report {
    let mut report = made(prefix, levels);
    report.model.backend.parameters = parameters;
    report
}

#[test]
fn hostile_names_are_inert_and_the_policy_names_the_style() {
    let levels = |level| vec![(HOSTILE, Kind::OptOut, level, -3.0)];
    let (a, b) = (
        of(1_000, 10, &levels(Clear)),
        of(1_000, 50, &levels(Extractable)),
    );
    let runs = [
        (setting(HOSTILE, "f32", 10), Ok(&a)),
        (setting(HOSTILE, "f32", 50), Ok(&b)),
        (
            setting("javascript:alert(1)", "f32", 50),
            Err("<img src=x onerror=alert(1)>"),
        ),
    ];
    let html = render(&sweep(&runs)).unwrap();
    for bad in [
        "<script",
        "<img",
        "\u{1b}",
        "\u{202e}",
        "href=\"javascript",
        " style=",
    ] {
        assert!(!html.contains(bad), "{bad}");
    }
    assert!(
        html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;")
            && html.contains("&lt;img src=x")
    );
    let style = html
        .split("<style>")
        .nth(1)
        .unwrap()
        .split("</style>")
        .next()
        .unwrap();
    assert!(html.contains(&format!(
        "style-src 'sha256-{}'",
        sha256_base64(style.as_bytes())
    )));
    assert!(
        style.starts_with(page::STYLE),
        "the report's rules, then its own"
    );
    assert!(
        html.contains("<strong>Unstable verdicts</strong>") && html.contains("1 item is unstable")
    );
}

#[test]
fn the_same_sweep_gives_the_same_bytes_and_links_to_every_report() {
    let levels = [
        ("x", Kind::OptOut, Memorized, -9.0),
        ("c", Kind::Control, Clear, -90.0),
    ];
    let (a, b) = (of(1_000, 10, &levels), of(1_000, 50, &levels));
    let runs = [
        (setting("m", "f 32", 10), Ok(&a)),
        (setting("m", "f 32", 50), Ok(&b)),
    ];
    let html = render(&sweep(&runs)).unwrap();
    assert_eq!(html, render(&sweep(&runs)).unwrap());
    assert!(
        html.contains("href=\"f%2032-p10/report.html\"")
            && html.contains("href=\"f%2032-p50/report.html\"")
    );
    // Stable, and still no good news.
    assert!(
        html.contains("tone-bad") && html.contains("Opted-out texts: 1 of 1; Controls: 0 of 1")
    );
}

#[test]
fn rows_stand_by_their_gravest_verdict_and_those_left_out_are_counted() {
    let many: Vec<String> = (0..SHOWN_ITEMS + 5)
        .map(|n| format!("clear-{n:04}"))
        .collect();
    let mut first: Vec<(&str, Kind, Level, f64)> = many
        .iter()
        .map(|id| (id.as_str(), Kind::OptOut, Clear, -90.0))
        .collect();
    first.push(("always", Kind::OptOut, Extractable, -3.0));
    first.push(("flips", Kind::OptOut, Clear, -80.0));
    let mut second = first.clone();
    second.last_mut().unwrap().2 = Extractable;
    let (a, b) = (of(1_000, 10, &first), of(1_000, 50, &second));
    let html = render(&sweep(&[
        (setting("m", "f32", 10), Ok(&a)),
        (setting("m", "f32", 50), Ok(&b)),
    ]))
    .unwrap();
    let matrix = &html[html.find("class=\"plain matrix\"").unwrap()..];
    let at = |id: &str| matrix.find(&format!("<code>{id}</code>"));
    assert!(at("flips").unwrap() < at("always").unwrap() && at("always") < at("clear-0000"));
    assert!(matrix.contains("<tr class=\"unstable\">") && at("clear-0504").is_none());
    assert_eq!(matrix.matches("<tr class=").count(), SHOWN_ITEMS);
    assert!(matrix.contains("… and 7 more: <a href=\"sweep.json\">"));
}

#[test]
fn models_of_known_size_are_a_curve_and_several_settings_give_a_matrix_by_model() {
    let levels = |level, log_p_z| {
        vec![
            ("x", Kind::Canary, level, log_p_z),
            ("y", Kind::Canary, Clear, log_p_z),
        ]
    };
    let (small, large) = (
        of(1_500, 50, &levels(Clear, -60.0)),
        of(2_000_000, 50, &levels(Extractable, -4.0)),
    );
    let unknown = of(0, 50, &levels(Clear, -50.0));
    let two = sweep(&[
        (setting("large", "f32", 50), Ok(&large)),
        (setting("small", "f32", 50), Ok(&small)),
    ]);
    let [growth] = two.growth_with_size.as_slice() else {
        panic!("{:?}", two.growth_with_size)
    };
    let points: Vec<_> = growth
        .points
        .iter()
        .map(|p| (p.model.as_str(), p.parameters, p.measured.found))
        .collect();
    assert_eq!(points, [("small", 1_500, 0), ("large", 2_000_000, 1)]);
    let html = render(&two).unwrap();
    assert!(
        html.contains("Growth with the model’s size")
            && html.contains(">1.5k</text>")
            && html.contains(">2M</text>")
    );
    assert!(
        html.contains("<td class=\"num\">2,000,000</td>") && !html.contains("By model"),
        "{html}"
    );
    assert!(crate::sweep::markdown::render(&two).contains("### Growth with the model's size"));

    let none = sweep(&[
        (setting("large", "f32", 50), Ok(&large)),
        (setting("other", "f32", 50), Ok(&unknown)),
    ]);
    assert!(none.growth_with_size.is_empty() && none.runs[1].parameters.is_none());

    let settings = [
        ("large", 10, &large),
        ("large", 50, &large),
        ("small", 10, &small),
        ("small", 50, &large),
    ];
    let runs: Vec<_> = settings
        .iter()
        .map(|&(model, prefix, report)| (setting(model, "f32", prefix), Ok(report)))
        .collect();
    let html = render(&sweep(&runs)).unwrap();
    let by_model = html
        .split("By model")
        .nth(1)
        .unwrap()
        .split("By run")
        .next()
        .unwrap();
    assert!(by_model.contains("<th scope=\"col\">large</th><th scope=\"col\">small</th></tr>"));
    assert_eq!(by_model.matches("≠ not in all").count(), 1);
}
