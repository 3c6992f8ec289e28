//! What the page says, that it is inert, and how large it gets.

use super::*;
use crate::digest::sha256_base64;
use crate::report::fixture;

/// The page without its own style sheet and script, so that what is left came from the report.
fn without_own(page: &str) -> String {
    let page = page.replacen(&format!("<script>{SCRIPT}</script>"), "", 1);
    page.replacen(&format!("<style>{}</style>", page::STYLE), "", 1)
}

/// `BYROTE_HTML_OUT=dir cargo test --release --lib report::html` writes the pages to look at.
#[test]
fn the_page_says_what_was_found_in_which_model() {
    let pages = [
        ("full", fixture::report()),
        ("revealed", fixture::revealed()),
        ("calibration", fixture::calibration()),
    ];
    for (name, report) in &pages {
        let page = render(report).unwrap();
        if let Some(folder) = std::env::var_os("BYROTE_HTML_OUT") {
            std::fs::write(
                std::path::Path::new(&folder).join(format!("{name}.html")),
                &page,
            )
            .unwrap();
        }
        assert!(
            page.contains("9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1"),
            "{name}"
        );
        assert!(page.contains(report.model.digest.as_str()), "{name}");
    }
    let page = render(&pages[0].1).unwrap();
    let order = [
        ">Blocked<",
        "of 17 opted-out texts",
        "<code>gemma-3-270m</code>",
        "opted-out texts memorized",
        "controls within the sample budget",
        "17 opted-out texts: smallest p 0.005; it takes 2 findings together",
        "The positive control canary-r64-0 was found",
        "id=\"not-tested\"",
        "3 near ties scored again alone in f32: 1 greedy verdict changed",
        "16 of 17 greedy verdicts confirmed by real generation, 1 disagrees.",
        "<td class=\"num\">0% to 1.8%</td>",
        "class=\"chart recall\"",
        "class=\"chart scatter\"",
        "class=\"chart strip\"",
        "id=\"items\"",
        "* model-based",
        "class=\"item extractable\"",
        "class=\"item clear\"",
    ];
    let places: Vec<_> = order.iter().map(|sentence| page.find(sentence)).collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{order:?} at {places:?}"
    );
}

#[test]
fn text_is_redacted_and_hostile_ids_are_inert() {
    for mut report in [fixture::report(), fixture::revealed()] {
        report.settings.reveal = false;
        let page = without_own(&render(&report).unwrap());
        fixture::assert_inert_and_redacted(&page);
        for active in ["<script", "<img", "<a href=\"h", "href=\"javascript"] {
            assert!(!page.contains(active), "{active:?} is live");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("{{ 7 * 7 }}"), "ids are no templates");
        assert!(page.contains("holds no probed text"));
    }
}

#[test]
fn revealed_text_is_shown_with_its_spans_marked_and_is_inert() {
    let page = without_own(&render(&fixture::revealed()).unwrap());
    assert!(page.contains(fixture::PLANTED) && page.contains("<mark class=\"h"));
    // Word by word, the text above what the model wrote.
    let written = page
        .split("What the model wrote in place of characters")
        .nth(1)
        .unwrap();
    let written = written.split("</figure>").next().unwrap();
    assert!(
        written.contains("<del>") && written.contains("&lt;/pre&gt;&lt;/details&gt;"),
        "{written}"
    );
    assert!(written.contains("class=\"prefix\""), "{written}");
    for active in ["<script", "<img", "href=\"javascript", "\u{1b}"] {
        assert!(!page.contains(active), "{active:?} is live");
    }
    assert!(page.contains("holds probed text"));
}

#[test]
fn an_item_shows_all_of_its_evidence() {
    let page = render(&fixture::report()).unwrap();
    let item = |id: &str| {
        let row = page
            .split("class=\"item ")
            .find(|row| row.contains(&format!("<code>{id}</code></th>")));
        row.unwrap().to_owned()
    };
    for (id, sentences) in [
        (
            "novels/moby-1",
            [
                "controls chosen for it by id or tag",
                "<span class=\"mark-kind\">model-based</span> p = 3.1e-7 by a generalized Pareto tail",
                "<strong>top_k40</strong>",
                "<th scope=\"row\">t0.7_top_p0.9</th>",
                "class=\"heat\"",
                "the true prefix makes the suffix 10^23 times likelier than 16 prefixes of other texts do",
                "0.4% of its surprise here: likelier under the tested model",
                "2 near ties, all scored again alone in f32; 1 greedy verdict changed by it",
                "DISAGREES",
                "Supporting only: membership scores, never a verdict",
                "Extraction strength",
                "scored again alone in f32: greedy decoding doesn&#39;t yield it",
            ]
            .as_slice(),
        ),
        (
            "press/declaration",
            &[
                "near-verbatim (at most 5 edits) at least 1 in 900 (9 sequences, beam of 16)",
                "the prefix recalls nothing",
                "1.10 times its surprise here",
                "under top_k40: verbatim 1 in 10^7; near-verbatim",
            ],
        ),
        ("journal/2024-03", &["Not everything that was asked for could be found out", "no beam of &lt;script&gt;"]),
        ("canary-r64-0", &["Exposure", "7.64 bits (95% interval 5.74 bits or more)"]),
    ] {
        let item = item(id);
        for sentence in sentences {
            assert!(item.contains(sentence), "{sentence:?} isn't in {id}:\n{item}");
        }
    }
    assert!(
        !item("lyrics/umber-song").contains("Beyond word for word"),
        "what wasn't followed up says nothing"
    );
}

#[test]
fn nothing_is_loaded_and_style_sheet_and_script_are_those_in_the_policy() {
    let page = render(&fixture::report()).unwrap();
    let style = page
        .split("<style>")
        .nth(1)
        .unwrap()
        .split("</style>")
        .next()
        .unwrap();
    let hash = sha256_base64(style.as_bytes());
    assert!(page.contains(&format!("style-src 'sha256-{hash}'")));
    let script = page
        .split("<script>")
        .nth(1)
        .unwrap()
        .split("</script>")
        .next()
        .unwrap();
    let hash = sha256_base64(script.as_bytes());
    assert!(page.contains(&format!("default-src 'none'; script-src 'sha256-{hash}'")));
    assert_eq!(page.matches("<script").count(), 1);
    for foreign in [
        " src=",
        "href=\"http",
        "url(",
        "@import",
        "style=\"",
        "<link",
    ] {
        assert!(
            !page
                .replace("&quot;&gt;&lt;img src=x", "")
                .contains(foreign),
            "{foreign}"
        );
    }
}

#[test]
fn ten_thousand_items_make_a_page_of_five_hundred() {
    let mut report = fixture::report();
    let one = report.items[0].clone();
    report.items.extend(std::iter::repeat_n(one, 9_983));
    let page = render(&report).unwrap();
    assert_eq!(page.matches("class=\"item ").count(), SHOWN_ITEMS);
    assert!(
        page.contains("9,500 more")
            && page.contains("report.parquet")
            && page.contains("scores/*.parquet")
    );
    // Each of these has everything an item can have.
    assert!(page.len() < 12_000_000, "{}", page.len());
}

#[test]
fn a_run_that_measured_nothing_says_so_and_is_not_green() {
    let page = render(&fixture::empty()).unwrap();
    assert!(
        page.contains("nothing was measured") && page.contains("tone-unsure"),
        "{page}"
    );
    assert!(!page.contains("class=\"verdict tone-good"));
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    for report in [fixture::report, fixture::revealed] {
        assert_eq!(render(&report()).unwrap(), render(&report()).unwrap());
    }
}

#[test]
fn the_likeliest_window_is_a_map_of_cells_that_give_no_length_away() {
    let page = render(&fixture::report()).unwrap();
    let maps: Vec<&str> = page
        .split("class=\"cells\"")
        .skip(1)
        .map(|map| map.split("</ol>").next().unwrap())
        .collect();
    let measured = fixture::report()
        .items
        .into_iter()
        .filter(|item| item.windows.iter().any(|window| window.tokens.is_some()));
    assert_eq!(maps.len(), measured.count());
    for map in maps {
        assert_eq!(map.matches("<li class=\"t").count(), 50);
        assert!(!map.contains("<code>") && !map.contains("style="));
        assert_eq!(map.matches("tabindex=\"0\"").count(), 1);
    }
    assert!(
        page.contains("Token 1: ln p 0.00 (p 1), rank 0, margin 2.40"),
        "tooltips are text"
    );
}

#[test]
fn waivers_are_shown_with_reason_and_expiry() {
    let page = render(&fixture::report()).unwrap();
    let table = page
        .split("id=\"waivers\"")
        .nth(1)
        .unwrap()
        .split("</section>")
        .next()
        .unwrap();
    for cell in [
        "poems/heron-07",
        "extractable",
        "licensed since October",
        "2027-06-30",
        "legal@example.org",
        "accepted",
    ] {
        assert!(table.contains(cell), "{cell}: {table}");
    }
    assert!(
        page.contains(
            "<strong>Waiver:</strong> licensed since October (until 2027-06-30, approved by legal@example.org)"
        )
    );
}

#[test]
fn the_page_tells_how_it_is_made_again() {
    let page = render(&fixture::report()).unwrap();
    assert!(
        page.contains("byrote probe \\\n  --model example/gemma-3-270m@9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1 \\\n")
    );
    assert!(page.contains("byrote inspect RUN novels/moby-1 --window novels/moby-1/"));
}
