//! One layout of a text under several templates: each by itself, and the worst of them all.
//!
//! A control is probed under the same templates as an item, and the same is done with both, so the worst of an item
//! compared with the worst of each control is still a fair comparison.

use super::{Budget, Extraction, FormValues, SchemeEvidence, severity};
use crate::float_serde::Real;
use crate::metric::left::{LeftWindow, LeftWindows};
use crate::metric::window::{UnscoredWindow, WindowEvidence};
use crate::window::TemplateId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was measured of one layout under one template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateEvidence {
    pub template: TemplateId,
    /// Windows scored.
    pub scored: u64,
    /// One entry a scheme, in the backend's order.
    pub schemes: Vec<SchemeEvidence>,
    /// Longest verbatim run of any window, in tokens.
    pub max_verbatim_run: Option<u32>,
    /// Mean over windows of the teacher-forced share of first choices, 0 to 1.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub mean_em: Option<f64>,
    /// Mean log-probability a suffix token at T = 1, in nats.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub mean_logprob: Option<f64>,
    /// Windows that greedy decoding extracts.
    pub greedily_extracted: u64,
    /// Windows within the sample budget. Absent if one of its schemes wasn't scored.
    pub extracted: Option<u64>,
    /// Share of the text that they cover, 0 to 1.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub coverage: Option<f64>,
    /// `ln p_z` under `full` of every window, in order of place; kept only where a policy's statistic needs it.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Vec<Real>>")]
    pub window_log_p_z: Option<Vec<f64>>,
}

/// Values over scored windows in order of place: of all templates together, and of each where any but the bare prefix was
/// used, the bare prefix first. `None` of nothing. What isn't known because of windows that were `left` is taken back.
pub(super) fn values(
    windows: &[WindowEvidence],
    left_windows: &[LeftWindow],
    left: &LeftWindows,
    chars: u64,
    budget: &Budget<'_>,
) -> Option<(FormValues, Vec<TemplateEvidence>)> {
    let mut groups: BTreeMap<(bool, &TemplateId), Vec<WindowEvidence>> = BTreeMap::new();
    for window in windows {
        groups
            .entry((
                !window.placement.template.is_none(),
                &window.placement.template,
            ))
            .or_default()
            .push(window.clone());
    }
    if groups.keys().all(|(used, _)| !used) {
        return Some((
            FormValues::of(windows, chars, budget)?.without(left),
            Vec::new(),
        ));
    }
    let each: Vec<(&TemplateId, u64, FormValues)> = groups
        .into_iter()
        .filter_map(|((_, id), windows)| {
            let of_template: Vec<LeftWindow> = left_windows
                .iter()
                .filter(|window| window.template == *id)
                .cloned()
                .collect();
            let values = FormValues::of(&windows, chars, budget)?;
            let values = values.without(&LeftWindows::of(&of_template, std::iter::once(id)));
            Some((id, windows.len() as u64, values))
        })
        .collect();
    let together = worst_of(&each, Extraction::of(windows, chars, budget))?;
    let templates = each
        .into_iter()
        .map(|(id, scored, values)| TemplateEvidence::of(id, scored, values))
        .collect();
    Some((together.without(left), templates))
}

/// The worst of every value. What is a mean is the greatest of the templates' means; what can be extracted is what can be
/// under any of them.
fn worst_of(
    each: &[(&TemplateId, u64, FormValues)],
    extraction: Option<Extraction>,
) -> Option<FormValues> {
    let all = || each.iter().map(|(_, _, values)| values);
    let (_, _, worst) = each
        .iter()
        .reduce(|a, b| if graver(&b.2, &a.2) { b } else { a })?;
    let scheme = |scheme: &SchemeEvidence| {
        // The template that counts comes first, so that a tie is its.
        let in_turn = std::iter::once(worst).chain(all());
        let found = in_turn.filter_map(|values| {
            values
                .schemes
                .iter()
                .find(|other| other.scheme == scheme.scheme)
        });
        let median = found
            .clone()
            .map(|found| found.median_log_p_z)
            .reduce(|a, b| Some(a?.max(b?)))
            .flatten();
        let best = found.reduce(|best, next| {
            if next.best.log_p_z > best.best.log_p_z {
                next
            } else {
                best
            }
        });
        SchemeEvidence {
            median_log_p_z: median,
            ..best.unwrap_or(scheme).clone()
        }
    };
    // Not known of one template, not known of all.
    let greatest = |of: fn(&FormValues) -> Option<f64>| {
        all().map(of).reduce(|a, b| Some(a?.max(b?))).flatten()
    };
    Some(FormValues {
        schemes: worst.schemes.iter().map(scheme).collect(),
        max_verbatim_run: all()
            .map(|values| values.max_verbatim_run)
            .reduce(|a, b| Some(a?.max(b?)))
            .flatten(),
        mean_em: greatest(|values| values.mean_em),
        mean_logprob: greatest(|values| values.mean_logprob),
        min_margin: all()
            .map(|values| values.min_margin)
            .reduce(|a, b| Some(a?.min(b?)))
            .flatten(),
        greedily_extracted: all().map(|values| values.greedily_extracted).sum(),
        straddling: all().map(|values| values.straddling).sum(),
        min_suffix_len: all().map(|values| values.min_suffix_len).min()?,
        max_suffix_len: all().map(|values| values.max_suffix_len).max()?,
        extraction_strength: greatest(|values| values.extraction_strength),
        membership: worst.membership,
        window_log_p_z: None,
        extraction,
    })
}

fn graver(a: &FormValues, b: &FormValues) -> bool {
    severity(a)
        .iter()
        .zip(severity(b))
        .map(|(a, b)| a.total_cmp(&b))
        .find(|order| order.is_ne())
        == Some(std::cmp::Ordering::Greater)
}

impl TemplateEvidence {
    fn of(template: &TemplateId, scored: u64, values: FormValues) -> Self {
        Self {
            template: template.clone(),
            scored,
            schemes: values.schemes,
            max_verbatim_run: values.max_verbatim_run,
            mean_em: values.mean_em,
            mean_logprob: values.mean_logprob,
            greedily_extracted: values.greedily_extracted,
            extracted: values
                .extraction
                .as_ref()
                .map(|extraction| extraction.windows),
            coverage: values
                .extraction
                .as_ref()
                .map(|extraction| extraction.coverage),
            window_log_p_z: values.window_log_p_z,
        }
    }

    /// The greatest `ln p_z` under any of these schemes, or under any at all.
    pub fn best(&self, schemes: Option<&[String]>) -> f64 {
        let asked = self
            .schemes
            .iter()
            .filter(|value| schemes.is_none_or(|schemes| schemes.contains(&value.scheme)));
        asked
            .map(|value| value.best.log_p_z)
            .fold(f64::NEG_INFINITY, f64::max)
    }
}

/// The template that counts: the one with the greatest coverage, then the greatest `ln p_z` under the budget's schemes,
/// then under any. The first in a full tie.
pub(super) fn worst<'a>(
    templates: &'a [TemplateEvidence],
    budget: Option<&[String]>,
) -> Option<&'a TemplateId> {
    let key = |of: &TemplateEvidence| {
        [
            of.coverage.unwrap_or(f64::NEG_INFINITY),
            of.best(budget),
            of.best(None),
        ]
    };
    let graver = |b: &TemplateEvidence, a: &TemplateEvidence| {
        key(b)
            .iter()
            .zip(key(a))
            .map(|(b, a)| b.total_cmp(&a))
            .find(|order| order.is_ne())
            == Some(std::cmp::Ordering::Greater)
    };
    Some(
        &templates
            .iter()
            .reduce(|a, b| if graver(b, a) { b } else { a })?
            .template,
    )
}

/// `ln p_z` under `full` of every scored window, in order of place, by template: what a mean rank needs of a form.
pub fn window_log_p_z(
    windows: &[Result<WindowEvidence, UnscoredWindow>],
) -> BTreeMap<TemplateId, Vec<f64>> {
    let mut scored: Vec<&WindowEvidence> = windows.iter().flatten().collect();
    scored.sort_by(|a, b| {
        (a.placement.suffix_char, &a.window).cmp(&(b.placement.suffix_char, &b.window))
    });
    let mut kept: BTreeMap<TemplateId, Vec<f64>> = BTreeMap::new();
    for window in scored {
        kept.entry(window.placement.template.clone())
            .or_default()
            .extend(window.log_p_z("full"));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Scheme;
    use crate::metric::item::{FormEvidence, FormSize, ItemEvidence};
    use crate::metric::window::measure;
    use crate::metric::window::tests::scored;
    use crate::window::{Form, WindowId};

    /// Window `n` under a template, with this `ln p_z` under top-k 40 and 0.5 less a token under `full`.
    fn window(template: &str, n: u64, log_p_z: f32) -> Result<WindowEvidence, UnscoredWindow> {
        let half = log_p_z / 2.0;
        let rank = [0, u32::from(log_p_z < -2.0)];
        let row = scored("a", n, &rank, &[half - 0.5, half - 0.5], &[half, half]);
        let id = WindowId(format!("{}@{template}", row.window));
        let mut evidence = measure(&row, &Scheme::defaults())?;
        evidence.placement.template = TemplateId(template.to_owned());
        evidence.window = id;
        Ok(evidence)
    }

    fn item(windows: Vec<Result<WindowEvidence, UnscoredWindow>>) -> ItemEvidence {
        let schemes = [Scheme::top_k(40)];
        let budget = Budget {
            schemes: &schemes,
            tau: 0.001,
        };
        let size = FormSize {
            form: Form::AsGiven,
            bytes: 100,
            chars: 100,
            tokens: 40,
            windows: windows.len() as u64,
        };
        ItemEvidence::of(None, vec![FormEvidence::of(size, windows, &budget)])
    }

    #[test]
    fn the_worst_template_counts_and_what_can_be_extracted_adds_up() {
        let none = [(1, -1.0), (2, -20.0), (3, -30.0)].map(|(n, lp)| window("none", n, lp));
        let chat = [(1, -9.0), (2, -2.0), (3, -6.0)].map(|(n, lp)| window("chat", n, lp));
        let item = item(none.into_iter().chain(chat).collect());
        let form = &item.forms[0];
        let ids: Vec<&str> = form
            .templates
            .iter()
            .map(|template| template.template.0.as_str())
            .collect();
        assert_eq!(
            (ids, item.templates(), form.places(), form.scored),
            (vec!["none", "chat"], 2, 3, 6)
        );
        assert_eq!(item.worst_template, Some(TemplateId("chat".to_owned())));
        let values = form.values.as_ref().unwrap();
        let best = item.best("top_k40").unwrap().1;
        assert_eq!(
            (
                best.best.log_p_z,
                best.template.is_none(),
                best.best_window.0.as_str()
            ),
            (-1.0, true, "a/as_given/1@none")
        );
        assert_eq!(best.median_log_p_z, Some(-6.0), "the greater of -20 and -6");
        // Means by template, in nats a token: none (-51 - 3) / 6, chat (-17 - 3) / 6.
        assert!(
            (values.mean_logprob.unwrap() + 20.0 / 6.0).abs() < 1e-6,
            "{:?}",
            values.mean_logprob
        );
        let extraction = values.extraction.as_ref().unwrap();
        assert_eq!(
            (
                extraction.windows,
                extraction.covered_chars,
                extraction.coverage
            ),
            (3, 30, 0.3)
        );
        let covered: Vec<_> = form
            .templates
            .iter()
            .map(|template| (template.extracted, template.coverage))
            .collect();
        assert_eq!(covered, [(Some(1), Some(0.1)), (Some(2), Some(0.2))]);
    }

    #[test]
    fn no_template_more_makes_an_item_look_better() {
        let none = || [(1, -1.0), (2, -20.0)].map(|(n, lp)| window("none", n, lp));
        let alone = item(none().to_vec());
        assert_eq!(
            (alone.worst_template.clone(), alone.forms[0].templates.len()),
            (None, 0)
        );
        for other in [-0.5, -3.0, -40.0, f32::NEG_INFINITY] {
            let both = item(
                none()
                    .into_iter()
                    .chain([1, 2].map(|n| window("chat", n, other)))
                    .collect(),
            );
            let (a, b) = (
                alone.forms[0].values.as_ref().unwrap(),
                both.forms[0].values.as_ref().unwrap(),
            );
            for (a, b) in a.schemes.iter().zip(&b.schemes) {
                assert!(b.best.log_p_z >= a.best.log_p_z && b.median_log_p_z >= a.median_log_p_z);
            }
            assert!(
                b.mean_logprob >= a.mean_logprob
                    && b.mean_em >= a.mean_em
                    && b.max_verbatim_run >= a.max_verbatim_run
            );
            let coverage = |values: &FormValues| values.extraction.as_ref().unwrap().coverage;
            assert!(coverage(b) >= coverage(a));
        }
    }

    #[test]
    fn a_tie_is_the_bare_prefixs() {
        let windows = ["chat", "none", "abc"].map(|template| window(template, 1, -1.0));
        assert_eq!(
            item(windows.to_vec()).worst_template,
            Some(TemplateId::default())
        );
    }
}
