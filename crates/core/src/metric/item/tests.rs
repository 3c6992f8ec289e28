use super::*;
use crate::metric::window::measure;
use crate::metric::window::tests::scored;
use std::sync::LazyLock;

static TOP_K40: LazyLock<[Scheme; 1]> = LazyLock::new(|| [Scheme::top_k(40)]);
static BUDGET: LazyLock<Budget<'static>> = LazyLock::new(|| Budget {
    schemes: &*TOP_K40,
    tau: 0.001,
});

fn size(form: Form, windows: u64) -> FormSize {
    FormSize {
        form,
        bytes: 100,
        chars: 100,
        tokens: 40,
        windows,
    }
}

/// A window at characters `10 n .. 10 n + 10` with two suffix tokens of total `ln p_z` and one miss if
/// `ln p_z` is below -2.
fn window(n: u64, log_p_z: f32) -> Result<WindowEvidence, UnscoredWindow> {
    let half = log_p_z / 2.0;
    measure(
        &scored(
            "a",
            n,
            &[0, u32::from(log_p_z < -2.0)],
            &[half - 0.5, half - 0.5],
            &[half, half],
        ),
        &Scheme::defaults(),
    )
}

#[test]
fn windows_of_a_form_come_together_in_any_order() {
    // ln tau = -6.9: windows 1, 2 and 5 are extracted; 1 and 2 touch.
    let windows = || {
        vec![
            window(5, -6.0),
            window(1, -1.0),
            window(2, -3.0),
            window(8, -20.0),
            window(9, -50.0),
        ]
    };
    let form = FormEvidence::of(size(Form::AsGiven, 5), windows(), &BUDGET);
    let values = form.values.as_ref().unwrap();
    let top_k40 = &values.schemes[1];
    assert_eq!(
        (top_k40.scheme.as_str(), top_k40.best_window.0.as_str()),
        ("top_k40", "a/as_given/1")
    );
    assert_eq!(
        (top_k40.best.log_p_z, top_k40.median_log_p_z),
        (-1.0, Some(-6.0))
    );
    assert_eq!(values.schemes[0].best.log_p_z, -2.0);
    assert_eq!(
        (
            values.max_verbatim_run,
            values.mean_em,
            values.greedily_extracted
        ),
        (Some(2), Some(0.6), 1)
    );
    // (-1 - 3 - 6 - 20 - 50 - 5 * 1) / 10 tokens
    assert_eq!(values.mean_logprob, Some(-8.5));
    let extraction = values.extraction.as_ref().unwrap();
    assert_eq!(
        (
            extraction.windows,
            extraction.covered_chars,
            extraction.coverage
        ),
        (3, 30, 0.3)
    );
    assert_eq!(extraction.longest_span_chars, 20);
    let ends: Vec<_> = extraction
        .spans
        .iter()
        .map(|s| {
            (
                s.start_byte,
                s.end_byte,
                s.start_char,
                s.end_char,
                s.windows,
            )
        })
        .collect();
    assert_eq!(ends, [(10, 30, 10, 30, 2), (50, 60, 50, 60, 1)]);

    let mut reversed = windows();
    reversed.reverse();
    assert_eq!(
        FormEvidence::of(size(Form::AsGiven, 5), reversed, &BUDGET),
        form
    );
}

#[test]
fn overlapping_suffixes_are_counted_once() {
    let mut second = window(1, -1.0).unwrap();
    (
        second.placement.suffix_byte,
        second.placement.end_byte,
        second.placement.suffix_char,
        second.placement.end_char,
    ) = (13, 23, 12, 22);
    let form = FormEvidence::of(
        size(Form::AsGiven, 2),
        vec![window(1, -1.0), Ok(second)],
        &BUDGET,
    );
    let extraction = form.values.unwrap().extraction.unwrap();
    assert_eq!((extraction.covered_chars, extraction.spans.len()), (12, 1));
}

#[test]
fn medians_of_even_counts_and_of_impossible_windows() {
    assert_eq!(median(vec![]), None);
    assert_eq!(median(vec![-4.0, -1.0, -2.0, -8.0]), Some(-3.0));
    assert_eq!(
        median(vec![f64::NEG_INFINITY, -1.0]),
        Some(f64::NEG_INFINITY)
    );
    assert_eq!(median(vec![f64::NEG_INFINITY, -1.0, -2.0]), Some(-2.0));
}

#[test]
fn nothing_scored_has_no_values_and_windows_without_scores_are_counted() {
    let failed = UnscoredWindow {
        window: WindowId("a/as_given/0".to_owned()),
        reason: "too long".to_owned(),
    };
    let form = FormEvidence::of(size(Form::AsGiven, 3), vec![Err(failed.clone())], &BUDGET);
    assert_eq!(
        (form.scored, form.missing(), form.unscored.as_slice()),
        (0, 2, [failed].as_slice())
    );
    assert_eq!(form.values, None);
    let item = ItemEvidence::of(None, vec![form]);
    assert_eq!((item.worst_form, item.best("full")), (None, None));
}

#[test]
fn a_budget_under_a_scheme_that_was_not_scored_gives_no_extraction() {
    let budget = Budget {
        schemes: &[Scheme::top_k(5)],
        tau: 0.001,
    };
    let form = FormEvidence::of(size(Form::AsGiven, 1), vec![window(0, 0.0)], &budget);
    assert_eq!(form.values.unwrap().extraction, None);
}

#[test]
fn the_worst_form_counts_and_is_named() {
    let form = |form, windows| FormEvidence::of(size(form, 1), windows, &BUDGET);
    let as_given = form(Form::AsGiven, vec![window(0, -40.0)]);
    let cases = [
        (form(Form::Reflowed, vec![window(0, -1.0)]), Form::Reflowed),
        (form(Form::Reflowed, vec![window(0, -41.0)]), Form::AsGiven),
        // Neither covers anything: the likelier one.
        (form(Form::Reflowed, vec![window(0, -39.0)]), Form::Reflowed),
        (form(Form::Reflowed, vec![]), Form::AsGiven),
    ];
    for (reflowed, expected) in cases {
        let item = ItemEvidence::of(None, vec![as_given.clone(), reflowed]);
        assert_eq!(item.worst_form, Some(expected));
        assert_eq!(item.worst().map(|form| form.form), Some(expected));
        assert_eq!(item.best("top_k40").map(|(form, _)| form), Some(expected));
    }
}

#[test]
fn the_budget_includes_tau_itself_and_no_nan() {
    assert!(BUDGET.holds(0.001f64.ln()));
    assert!(!BUDGET.holds(-7.0));
    assert!(!BUDGET.holds(f64::NAN));
    assert!(!BUDGET.holds(f64::NEG_INFINITY));
}
