//! What is known of one item: its windows' metrics brought together, form by form.

pub mod templates;

use crate::backend::Scheme;
use crate::float_serde::Real;
use crate::metric::follow_up::{FollowUpEvidence, Numerics};
use crate::metric::left::{LeftWindow, LeftWindows};
use crate::metric::membership::Membership;
use crate::metric::samples::Cost;
use crate::metric::window::{UnscoredWindow, WindowEvidence};
use crate::window::TemplateId;
use crate::window::{Form, WindowId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use templates::TemplateEvidence;

/// All that was measured of an item. Nothing in it depends on text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ItemEvidence {
    /// Why no window could be cut, if none could.
    pub unprobed: Option<String>,
    /// One entry a layout in which the item was probed.
    pub forms: Vec<FormEvidence>,
    /// The form that counts: the one with the greatest coverage, then the greatest `ln p_z`. Absent
    /// if no window of the item was scored.
    pub worst_form: Option<Form>,
    /// The template that counts in that form, by the same measure. Absent where only the bare prefix was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_template: Option<TemplateId>,
    /// What a few of its windows were put to beyond scoring; absent if none was.
    pub follow_up: Option<FollowUpEvidence>,
    /// How far rounding could have decided anything about its windows.
    pub numerics: Numerics,
}

/// One layout of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FormEvidence {
    pub form: Form,
    /// Size of the text in this layout.
    pub bytes: u64,
    pub chars: u64,
    pub tokens: u64,
    /// Windows that were cut; `scored`, `left`, `unscored` and windows that are missing altogether add up to it.
    pub windows: u64,
    pub scored: u64,
    /// Windows that were given to the model and have no scores.
    pub unscored: Vec<UnscoredWindow>,
    /// Windows that were left before their end. No value rests on them.
    #[serde(default, skip_serializing_if = "LeftWindows::is_none")]
    pub left: LeftWindows,
    /// The worst over its templates. Absent if no window of this form was scored.
    pub values: Option<FormValues>,
    /// Each template by itself; empty where only the bare prefix was used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<TemplateEvidence>,
}

/// Metrics over the scored windows of one form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FormValues {
    /// One entry a scheme, in the backend's order.
    pub schemes: Vec<SchemeEvidence>,
    /// Longest verbatim run of any window, in tokens. This and the other metrics that are absent are not known, because
    /// windows were left before their end.
    pub max_verbatim_run: Option<u32>,
    /// Mean over windows of the teacher-forced share of first choices, 0 to 1.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub mean_em: Option<f64>,
    /// Mean log-probability a suffix token at T = 1, over all windows' tokens, in nats.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub mean_logprob: Option<f64>,
    /// Smallest distance to a tie at the top over all windows, in nats.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub min_margin: Option<f64>,
    /// Windows that greedy decoding extracts.
    pub greedily_extracted: u64,
    /// Windows whose suffix begins inside a token (pre-split items).
    pub straddling: u64,
    /// Shortest and longest suffix, in tokens.
    pub min_suffix_len: u32,
    pub max_suffix_len: u32,
    /// Greatest extraction strength of any window, 0 to 1.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub extraction_strength: Option<f64>,
    /// Means over windows of the membership baselines; supporting evidence only.
    pub membership: Option<Membership>,
    /// `ln p_z` under `full` of every window, in order of place; kept only where a policy's statistic needs it.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Vec<Real>>")]
    pub window_log_p_z: Option<Vec<f64>>,
    /// What can be extracted within the sample budget. Absent if one of the budget's schemes wasn't scored.
    pub extraction: Option<Extraction>,
}

/// `ln p_z` over the windows of a form, under one scheme.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SchemeEvidence {
    /// The scheme's id, such as `top_k40`.
    pub scheme: String,
    /// The window with the greatest `ln p_z`; the first of them in a tie.
    pub best_window: WindowId,
    /// The template of that window.
    #[serde(default, skip_serializing_if = "TemplateId::is_none")]
    pub template: TemplateId,
    /// What that window costs.
    pub best: Cost,
    /// A bound, not a value: what a window that was left may have, where that is more than the best of those scored.
    #[serde(default, with = "Real", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Real>")]
    pub at_most: Option<f64>,
    /// Median over windows of `ln p_z`; `-inf` possible. The greatest of the templates' medians.
    #[serde(default, with = "Real")]
    #[schemars(with = "Option<Real>")]
    pub median_log_p_z: Option<f64>,
}

/// The part of a form that can be extracted at `p_z >= tau` under one of `schemes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Extraction {
    /// Ids of the schemes.
    pub schemes: Vec<String>,
    /// The least probability that counts as extracted.
    #[serde(with = "Real")]
    pub tau: f64,
    /// Windows with `p_z >= tau`.
    pub windows: u64,
    /// Characters in the union of their suffixes.
    pub covered_chars: u64,
    /// `covered_chars` by the characters of the text in this form, 0 to 1.
    #[serde(with = "Real")]
    pub coverage: f64,
    /// That union, in order, touching suffixes merged.
    pub spans: Vec<Span>,
    /// Characters of the longest span; 0 if there is none.
    pub longest_span_chars: u64,
    /// Stretches of equal heat; colder than one in 10^12 is left out.
    pub heat: Vec<Heat>,
}

/// Heat below this, one sample in 10^12, is as good as none.
pub const COLDEST: f64 = -27.631_021_115_928_547;

/// A stretch of text of equal heat, in characters, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heat {
    pub start_char: u64,
    pub end_char: u64,
    /// The greatest `ln p_z` of the suffixes that cover it, under the best of the budget's schemes.
    #[serde(with = "Real")]
    pub log_p_z: f64,
}

/// A stretch of an item's text, as half-open ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    pub start_byte: u64,
    pub end_byte: u64,
    pub start_char: u64,
    pub end_char: u64,
    /// Windows whose suffixes make it up.
    pub windows: u64,
}

/// Size of a text in one layout, and how many windows were cut from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormSize {
    pub form: Form,
    pub bytes: u64,
    pub chars: u64,
    pub tokens: u64,
    pub windows: u64,
}

/// What counts as extracted: `p_z >= tau` under any of these schemes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget<'a> {
    pub schemes: &'a [Scheme],
    pub tau: f64,
}

impl Budget<'_> {
    /// Whether one sample of that log-probability is within the budget. NaN is not.
    pub fn holds(&self, log_p_z: f64) -> bool {
        log_p_z >= self.tau.ln()
    }
}

impl ItemEvidence {
    /// Brings an item's forms together.
    pub fn of(unprobed: Option<String>, forms: Vec<FormEvidence>) -> Self {
        let worst_form = forms
            .iter()
            .filter(|form| form.values.is_some())
            .reduce(worse)
            .map(|form| form.form);
        let counts = forms.iter().find(|form| Some(form.form) == worst_form);
        let worst_template = counts.and_then(|form| {
            let budget = form
                .values
                .as_ref()
                .and_then(|values| values.extraction.as_ref());
            templates::worst(&form.templates, budget.map(|budget| &*budget.schemes)).cloned()
        });
        Self {
            unprobed,
            forms,
            worst_form,
            worst_template,
            follow_up: None,
            numerics: Numerics::default(),
        }
    }

    /// Templates under which it was probed.
    pub fn templates(&self) -> u64 {
        self.forms
            .iter()
            .map(|form| form.templates())
            .max()
            .unwrap_or(1)
    }

    /// The form that counts.
    pub fn worst(&self) -> Option<&FormEvidence> {
        self.forms
            .iter()
            .find(|form| Some(form.form) == self.worst_form)
    }

    /// Values of every form that has any.
    pub fn values(&self) -> impl Iterator<Item = (Form, &FormValues)> {
        self.forms
            .iter()
            .filter_map(|form| form.values.as_ref().map(|values| (form.form, values)))
    }

    /// The best window under a scheme, over all forms, with the form it stands in. `None` if nothing was scored
    /// under that scheme.
    pub fn best(&self, scheme: &str) -> Option<(Form, &SchemeEvidence)> {
        self.values()
            .filter_map(|(form, values)| {
                Some((
                    form,
                    values.schemes.iter().find(|value| value.scheme == scheme)?,
                ))
            })
            .reduce(|best, next| {
                if next.1.best.log_p_z > best.1.best.log_p_z {
                    next
                } else {
                    best
                }
            })
    }

    /// The cheapest way to its best window: the greatest `ln p_z` over these schemes and all forms, the first scheme in a
    /// tie. `None` unless something was scored under each of them.
    pub fn cheapest(&self, schemes: &[Scheme]) -> Option<(Form, &SchemeEvidence)> {
        let bests = schemes
            .iter()
            .map(|scheme| self.best(&scheme.id))
            .collect::<Option<Vec<_>>>()?;
        bests.into_iter().reduce(|best, next| {
            if next.1.best.log_p_z > best.1.best.log_p_z {
                next
            } else {
                best
            }
        })
    }

    /// Windows cut, over all forms.
    pub fn windows(&self) -> u64 {
        self.forms.iter().map(|form| form.windows).sum()
    }

    /// Places scored or left, over all forms: windows, but each counted once however many templates it was scored under.
    pub fn places(&self) -> u64 {
        self.forms.iter().map(FormEvidence::places).sum()
    }

    /// Windows left before their end, over all forms.
    pub fn left(&self) -> u64 {
        self.forms.iter().map(|form| form.left.total()).sum()
    }

    /// Windows scored, over all forms.
    pub fn scored(&self) -> u64 {
        self.forms.iter().map(|form| form.scored).sum()
    }
}

impl FormEvidence {
    /// Brings the windows of one form together, in whatever order they come; none was left before its end.
    pub fn of(
        size: FormSize,
        windows: Vec<Result<WindowEvidence, UnscoredWindow>>,
        budget: &Budget<'_>,
    ) -> Self {
        Self::with_left(size, windows, &[], budget)
    }

    /// The same where windows were left: they are counted and bounded, and give no value.
    pub fn with_left(
        size: FormSize,
        windows: Vec<Result<WindowEvidence, UnscoredWindow>>,
        left_windows: &[LeftWindow],
        budget: &Budget<'_>,
    ) -> Self {
        let (mut scored, mut unscored) = (Vec::new(), Vec::new());
        for window in windows {
            match window {
                Ok(evidence) => scored.push(evidence),
                Err(missing) => unscored.push(missing),
            }
        }
        // Sums and ties must not depend on the order in which windows were scored.
        scored.sort_by(|a, b| {
            (a.placement.suffix_char, &a.window).cmp(&(b.placement.suffix_char, &b.window))
        });
        unscored.sort_by(|a, b| a.window.cmp(&b.window));
        let FormSize {
            form,
            bytes,
            chars,
            tokens,
            windows,
        } = size;
        let left = LeftWindows::of(
            left_windows,
            scored.iter().map(|window| &window.placement.template),
        );
        let (values, templates) =
            templates::values(&scored, left_windows, &left, chars, budget).unzip();
        let (scored, templates) = (scored.len() as u64, templates.unwrap_or_default());
        Self {
            form,
            bytes,
            chars,
            tokens,
            windows,
            scored,
            unscored,
            left,
            values,
            templates,
        }
    }

    /// Templates under which it was probed.
    pub fn templates(&self) -> u64 {
        self.left.templates.max(self.templates.len() as u64).max(1)
    }

    /// Places in the text that were scored or left, however many templates each was scored under.
    pub fn places(&self) -> u64 {
        (self.scored + self.left.total()) / self.templates()
    }

    /// Windows that were cut but are nowhere in the scores.
    pub fn missing(&self) -> u64 {
        self.windows
            .saturating_sub(self.scored + self.left.total() + self.unscored.len() as u64)
    }
}

impl FormValues {
    fn of(windows: &[WindowEvidence], chars: u64, budget: &Budget<'_>) -> Option<Self> {
        let first = windows.first()?;
        let count = windows.len() as f64;
        let tokens: f64 = windows
            .iter()
            .map(|window| f64::from(window.placement.suffix_len))
            .sum();
        let suffix_lens = || windows.iter().map(|window| window.placement.suffix_len);
        Some(Self {
            schemes: first
                .schemes
                .iter()
                .filter_map(|value| SchemeEvidence::of(windows, &value.scheme))
                .collect(),
            max_verbatim_run: windows.iter().map(|window| window.verbatim_run).max(),
            mean_em: Some(windows.iter().map(|window| window.em).sum::<f64>() / count),
            mean_logprob: Some(
                windows.iter().map(|window| window.sum_logprob).sum::<f64>() / tokens,
            ),
            min_margin: Some(
                windows
                    .iter()
                    .map(|window| window.min_margin)
                    .fold(f64::INFINITY, f64::min),
            ),
            greedily_extracted: windows.iter().filter(|window| window.greedy_exact).count() as u64,
            extraction_strength: Some(
                windows
                    .iter()
                    .map(|window| window.extraction_strength)
                    .fold(0.0, f64::max),
            ),
            membership: Some(mean_membership(windows)),
            window_log_p_z: None,
            straddling: windows
                .iter()
                .filter(|window| window.placement.straddles)
                .count() as u64,
            min_suffix_len: suffix_lens().min().unwrap_or_default(),
            max_suffix_len: suffix_lens().max().unwrap_or_default(),
            extraction: Extraction::of(windows, chars, budget),
        })
    }
}

impl SchemeEvidence {
    /// `None` unless every window was scored under the scheme.
    fn of(windows: &[WindowEvidence], scheme: &str) -> Option<Self> {
        let values: Vec<f64> = windows
            .iter()
            .map(|window| window.log_p_z(scheme))
            .collect::<Option<_>>()?;
        let (mut best_window, mut best) = (windows.first()?, *values.first()?);
        for (window, &value) in windows.iter().zip(&values) {
            if value > best {
                (best_window, best) = (window, value);
            }
        }
        Some(Self {
            scheme: scheme.to_owned(),
            best_window: best_window.window.clone(),
            template: best_window.placement.template.clone(),
            best: Cost::of(best),
            at_most: None,
            median_log_p_z: Some(median(values)?),
        })
    }
}

impl Extraction {
    /// Windows with `p_z >= tau`, and the union of their suffixes (arXiv 2505.12546). `None` unless every window was
    /// scored under the budget's schemes.
    fn of(windows: &[WindowEvidence], chars: u64, budget: &Budget<'_>) -> Option<Self> {
        let values: Vec<f64> = windows
            .iter()
            .map(|window| window.best_log_p_z(budget.schemes))
            .collect::<Option<_>>()?;
        let extracted: Vec<_> = windows
            .iter()
            .zip(&values)
            .filter(|(_, value)| budget.holds(**value))
            .map(|(window, _)| window)
            .collect();
        let spans = union(&extracted);
        let covered_chars = spans
            .iter()
            .map(|span| span.end_char - span.start_char)
            .sum();
        Some(Self {
            schemes: budget
                .schemes
                .iter()
                .map(|scheme| scheme.id.clone())
                .collect(),
            heat: heat(windows, &values),
            tau: budget.tau,
            windows: extracted.len() as u64,
            covered_chars,
            coverage: if covered_chars == 0 {
                0.0
            } else {
                covered_chars as f64 / chars.max(covered_chars) as f64
            },
            longest_span_chars: spans
                .iter()
                .map(|span| span.end_char - span.start_char)
                .max()
                .unwrap_or_default(),
            spans,
        })
    }
}

/// The union of the windows' suffixes, in order, touching ones merged.
pub(crate) fn union(windows: &[&WindowEvidence]) -> Vec<Span> {
    let mut suffixes: Vec<Span> = windows
        .iter()
        .map(|window| Span {
            start_byte: window.placement.suffix_byte,
            end_byte: window.placement.end_byte.max(window.placement.suffix_byte),
            start_char: window.placement.suffix_char,
            end_char: window.placement.end_char.max(window.placement.suffix_char),
            windows: 1,
        })
        .collect();
    suffixes.sort_by_key(|span| (span.start_byte, span.end_byte));
    let mut spans: Vec<Span> = Vec::new();
    for next in suffixes {
        match spans.last_mut() {
            Some(last) if next.start_byte <= last.end_byte => {
                last.end_byte = last.end_byte.max(next.end_byte);
                last.end_char = last.end_char.max(next.end_char);
                last.windows += 1;
            }
            _ => spans.push(next),
        }
    }
    spans
}

/// Heat (arXiv 2505.12546): over the sorted ends of suffixes, the greatest value of those that cover each stretch.
fn heat(windows: &[WindowEvidence], values: &[f64]) -> Vec<Heat> {
    let mut suffixes: Vec<(u64, u64, f64)> = windows
        .iter()
        .zip(values)
        .filter(|(window, value)| {
            **value >= COLDEST && window.placement.end_char > window.placement.suffix_char
        })
        .map(|(window, value)| {
            (
                window.placement.suffix_char,
                window.placement.end_char,
                *value,
            )
        })
        .collect();
    suffixes.sort_by_key(|(start, end, _)| (*start, *end));
    let mut ends: Vec<u64> = suffixes
        .iter()
        .flat_map(|(start, end, _)| [*start, *end])
        .collect();
    ends.sort_unstable();
    ends.dedup();
    let (mut next, mut live): (usize, Vec<(u64, f64)>) = (0, Vec::new());
    let mut stretches: Vec<Heat> = Vec::new();
    for (&start, &end) in ends.iter().zip(ends.iter().skip(1)) {
        live.retain(|(end, _)| *end > start);
        while let Some((_, end, value)) = suffixes.get(next).filter(|(from, _, _)| *from <= start) {
            live.push((*end, *value));
            next += 1;
        }
        let Some(log_p_z) = live.iter().map(|(_, value)| *value).reduce(f64::max) else {
            continue;
        };
        match stretches.last_mut() {
            Some(last) if last.end_char == start && last.log_p_z.to_bits() == log_p_z.to_bits() => {
                last.end_char = end
            }
            _ => stretches.push(Heat {
                start_char: start,
                end_char: end,
                log_p_z,
            }),
        }
    }
    stretches
}

fn mean_membership(windows: &[WindowEvidence]) -> Membership {
    let mean = |of: fn(&Membership) -> f64| {
        windows
            .iter()
            .map(|window| of(&window.membership))
            .sum::<f64>()
            / windows.len() as f64
    };
    Membership {
        loss: mean(|m| m.loss),
        zlib_ratio: mean(|m| m.zlib_ratio),
        min_k: mean(|m| m.min_k),
        min_k_plus_plus: mean(|m| m.min_k_plus_plus),
    }
}

/// The median; the mean of the middle two for an even count. `None` of nothing.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values.get(values.len() / 2 - 1)? + upper) / 2.0)
}

/// The worse of two forms; the first one in a full tie.
fn worse<'a>(a: &'a FormEvidence, b: &'a FormEvidence) -> &'a FormEvidence {
    let of = |form: &FormEvidence| {
        form.values
            .as_ref()
            .map_or([f64::NEG_INFINITY; 3], severity)
    };
    match of(b)
        .iter()
        .zip(of(a))
        .map(|(b, a)| b.total_cmp(&a))
        .find(|order| order.is_ne())
    {
        Some(std::cmp::Ordering::Greater) => b,
        _ => a,
    }
}

/// Coverage, then best `ln p_z` under the budget's schemes, then the best over all schemes (a top-k scheme
/// may give `-inf` to both of two forms).
fn severity(values: &FormValues) -> [f64; 3] {
    let extraction = values.extraction.as_ref();
    let best_of = |schemes: Option<&[String]>| {
        let best = values
            .schemes
            .iter()
            .filter(|value| schemes.is_none_or(|schemes| schemes.contains(&value.scheme)));
        best.map(|value| value.best.log_p_z)
            .fold(f64::NEG_INFINITY, f64::max)
    };
    let budgeted = extraction.map(|extraction| best_of(Some(&extraction.schemes)));
    let coverage = extraction.map(|extraction| extraction.coverage);
    [
        coverage.unwrap_or(f64::NEG_INFINITY),
        budgeted.unwrap_or(f64::NEG_INFINITY),
        best_of(None),
    ]
}

#[cfg(test)]
mod tests;
