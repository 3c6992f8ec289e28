//! From scores to a report: evidence, verdicts, counts, notes. The only place that decides what of an item is shown.

mod gathered;
mod provenance;

use self::gathered::Gathered;
use super::{
    ControlSummary, LevelCount, PositiveControl, Report, ReportItem, Revealed, RevealedText,
    Spelled, Summary, Timings, WindowCounts, rates,
};
use crate::follow::evidence;
use crate::items::{Content, InputManifest, Kind};
use crate::metric::follow_up::Numerics;
use crate::metric::item::templates::window_log_p_z;
use crate::metric::item::{Budget, FormEvidence, FormSize, ItemEvidence};
use crate::metric::recall::Screened;
use crate::metric::samples;
use crate::metric::window::WindowEvidence;
use crate::policy::Statistic;
use crate::policy::decision::Decision;
use crate::policy::{Policy, TAG};
use crate::run::follow_up::FollowUp;
use crate::run::{FollowUpRow, ProbedItem, RunManifest, ScoredWindow, Settings, WindowSelection};
use crate::tokens::BosChoice;
use crate::verdict::{self, JudgedItem, Judgement, Verdict};
use crate::window::TemplateId;
use crate::window::{Form, ProbedForm, Stride, Window, WindowId};
use std::collections::{HashMap, HashSet};

/// Measures and judges a run whose windows are all at hand. A run may have millions: [`Assembly`] takes them one by one.
///
/// The report has no decision and no timings yet.
pub fn assemble(
    manifest: &RunManifest,
    items: &[ProbedItem],
    windows: &[ScoredWindow],
    follow_ups: &[FollowUpRow],
    policy: &Policy,
) -> Report {
    let mut assembly = Assembly::new(manifest, items, follow_ups, policy);
    windows.iter().for_each(|window| assembly.add(window));
    assembly.evidence().judge().into_report(None, None)
}

/// A report in the making. Of an item whose windows have all come only its evidence is kept, so that memory is bounded by the
/// items still open: one, where windows come in the plan's order.
#[derive(Debug)]
pub struct Assembly<'a> {
    manifest: &'a RunManifest,
    policy: &'a Policy,
    items: Vec<State<'a>>,
    /// Where items stand, by their ids.
    places: HashMap<&'a str, usize>,
    found: HashMap<&'a WindowId, &'a FollowUp>,
    /// The tags that a report may name.
    named: HashSet<&'a str>,
    stray: u64,
}

#[derive(Debug)]
enum State<'a> {
    Open(&'a ProbedItem, Gathered),
    Done(Box<MeasuredItem<'a>>),
}

/// An item whose windows have all come.
#[derive(Debug)]
struct MeasuredItem<'a> {
    probed: &'a ProbedItem,
    evidence: ItemEvidence,
    /// The likeliest windows, the likeliest first.
    windows: Vec<WindowEvidence>,
    /// The tokens of the likeliest window as text, where it is revealed.
    spelled: Option<Spelled>,
}

/// What a run measured, before it is judged.
#[derive(Debug)]
pub struct Evidence<'a> {
    manifest: &'a RunManifest,
    policy: &'a Policy,
    items: Vec<MeasuredItem<'a>>,
    /// The tags that a report may name.
    named: HashSet<&'a str>,
    stray: u64,
    /// Windows that took over the scores of an identical one.
    pub shared: u64,
    /// What the screen selected, where there was one.
    pub screened: Option<Screened>,
}

/// A run that is judged.
#[derive(Clone, Debug)]
pub struct Judged(Report);

impl<'a> Assembly<'a> {
    pub fn new(
        manifest: &'a RunManifest,
        items: &'a [ProbedItem],
        follow_ups: &'a [FollowUpRow],
        policy: &'a Policy,
    ) -> Self {
        // Tags are the user's own words: only those that a verdict can hang on are shown.
        let positive = policy
            .positive_controls
            .iter()
            .filter_map(|entry| Policy::positive_control(entry).0.strip_prefix(TAG));
        let named = items
            .iter()
            .flat_map(|probed| &probed.item.matches)
            .map(String::as_str)
            .chain(positive)
            .collect();
        Self {
            manifest,
            policy,
            items: items
                .iter()
                .map(|probed| State::Open(probed, Gathered::of(probed)))
                .collect(),
            places: items
                .iter()
                .enumerate()
                .map(|(place, probed)| (probed.item.id.0.as_str(), place))
                .collect(),
            found: follow_ups
                .iter()
                .map(|row| (&row.window, &row.found))
                .collect(),
            named,
            stray: 0,
        }
    }

    /// Takes a scored window. They may come in any order; those that belong to no item, or come again, are counted as stray.
    pub fn add(&mut self, scored: &ScoredWindow) {
        let schemes = &self.manifest.model.backend.schemes;
        let state = self
            .places
            .get(scored.item.0.as_str())
            .and_then(|place| self.items.get_mut(*place));
        let Some(state) = state else {
            self.stray += 1;
            return;
        };
        let taken = match state {
            State::Open(probed, gathered) => {
                let found = self.found.get(&scored.window).copied();
                let taken = gathered.add(probed, scored, found, schemes, self.policy);
                if gathered.is_whole(probed) {
                    let item = measured(
                        probed,
                        std::mem::take(gathered),
                        self.policy,
                        self.manifest.settings.reveal,
                    );
                    *state = State::Done(Box::new(item));
                }
                taken
            }
            State::Done(_) => false,
        };
        self.stray += u64::from(!taken);
    }

    /// What was measured. Windows that haven't come are missing in it.
    pub fn evidence(self) -> Evidence<'a> {
        let (policy, reveal) = (self.policy, self.manifest.settings.reveal);
        let items = self.items.into_iter().map(|state| match state {
            State::Open(probed, gathered) => measured(probed, gathered, policy, reveal),
            State::Done(item) => *item,
        });
        Evidence {
            manifest: self.manifest,
            policy,
            items: items.collect(),
            named: self.named,
            stray: self.stray,
            shared: 0,
            screened: None,
        }
    }
}

impl Evidence<'_> {
    /// Spells the likeliest window of every item whose text is revealed.
    pub fn spell(&mut self, windows: &[Window], token_bytes: impl Fn(u32) -> Vec<u8>) {
        if !self.manifest.settings.reveal {
            return;
        }
        let mut wanted = HashMap::new();
        for item in &mut self.items {
            if let Some(likeliest) = item.windows.first()
                && likeliest.tokens.is_some()
            {
                wanted.insert(likeliest.window.clone(), &mut item.spelled);
            }
        }
        for window in windows {
            if let Some(spelled) = wanted.remove(&window.id) {
                *spelled = Spelled::new(window, &token_bytes);
            }
        }
    }

    /// Judges every item by the run's policy.
    pub fn judge(self) -> Judged {
        let (manifest, policy) = (self.manifest, self.policy);
        let judged: Vec<JudgedItem<'_>> = self
            .items
            .iter()
            .map(
                |MeasuredItem {
                     probed, evidence, ..
                 }| JudgedItem {
                    id: &probed.item.id,
                    kind: probed.item.kind,
                    tags: &probed.item.tags,
                    matches: &probed.item.matches,
                    evidence,
                },
            )
            .collect();
        let selection = manifest.settings.fewer.as_ref();
        let judgement = judge(policy, &judged, selection, policy.follow_up.beam);
        let reveal = manifest.settings.reveal;
        let items = self.items.into_iter().zip(&judgement.verdicts);
        let mut report = Report {
            tool: manifest.tool.clone(),
            created_at: manifest.created_at.clone(),
            model: manifest.model.clone(),
            reference: manifest.reference.clone(),
            probe_set: InputManifest {
                files: manifest
                    .probe_set
                    .files
                    .iter()
                    .map(|file| file.salted(&manifest.salt))
                    .collect(),
                ..manifest.probe_set.clone()
            },
            settings: manifest.settings.clone(),
            plan_digest: manifest.plan.digest.clone(),
            policy: policy.clone(),
            items: items
                .map(|(item, verdict)| item.judged(verdict.clone(), &self.named, reveal))
                .collect(),
            summary: Summary {
                windows: WindowCounts {
                    stray: self.stray,
                    shared: self.shared,
                    ..WindowCounts::default()
                },
                screened: self.screened,
                ..Summary::default()
            },
            decision: None,
            timings: None,
        };
        report.summary = summary(&report, policy, &judgement);
        Judged(report)
    }
}

impl Judged {
    /// The report as it is without a decision, which the gate decides by.
    pub fn report(&self) -> &Report {
        &self.0
    }

    /// The finished report.
    pub fn into_report(self, decision: Option<Decision>, timings: Option<Timings>) -> Report {
        Report {
            decision,
            timings,
            ..self.0
        }
    }
}

/// The same report with verdicts and counts under `policy`, from its evidence, and without a decision. Coverage, spans
/// and the count of extracted windows stay as measured, under the tau and scheme that stand beside them.
pub fn rejudge(report: &Report, policy: &Policy) -> Report {
    let subjects: Vec<JudgedItem<'_>> = report
        .items
        .iter()
        .map(|item| JudgedItem {
            id: &item.id,
            kind: item.kind,
            tags: &item.tags,
            matches: &item.matches,
            evidence: &item.evidence,
        })
        .collect();
    let selection = report.settings.fewer.as_ref();
    let judgement = judge(policy, &subjects, selection, report.policy.follow_up.beam);
    let mut report = Report {
        policy: policy.clone(),
        decision: None,
        ..report.clone()
    };
    for (item, verdict) in report.items.iter_mut().zip(&judgement.verdicts) {
        item.verdict = verdict.clone();
    }
    report.summary = summary(&report, policy, &judgement);
    report
}

/// Judges items of a run that selected its windows in this way and bounded near-verbatim samples by a beam of this width.
fn judge(
    policy: &Policy,
    subjects: &[JudgedItem<'_>],
    selection: Option<&WindowSelection>,
    beam: u32,
) -> Judgement {
    let mut judgement = verdict::judge(policy, subjects);
    for (verdict, subject) in judgement.verdicts.iter_mut().zip(subjects) {
        if policy.near_verbatim && beam == 0 {
            verdict.without_near_verbatim();
        }
        verdict.where_unseen(policy, subject.evidence, selection);
    }
    judgement
}

fn measured<'a>(
    probed: &'a ProbedItem,
    gathered: Gathered,
    policy: &Policy,
    reveal: bool,
) -> MeasuredItem<'a> {
    let budget = Budget {
        schemes: &policy.schemes,
        tau: policy.tau,
    };
    let Gathered {
        measured,
        followed,
        numerics,
        mut shown,
        ..
    } = gathered;
    let chars: Vec<(Form, u64)> = probed
        .forms
        .iter()
        .map(|form| (form.form, form.chars))
        .collect();
    let follow_up = evidence::of_item(&followed.iter().collect::<Vec<_>>(), &chars);
    let mut forms = Vec::new();
    for (form, (windows, left)) in probed.forms.iter().zip(measured) {
        let &ProbedForm {
            form,
            bytes,
            chars,
            tokens,
            windows: cut,
            text: _,
        } = form;
        let kept = (policy.statistic == Statistic::MeanRank).then(|| window_log_p_z(&windows));
        let size = FormSize {
            form,
            bytes,
            chars,
            tokens,
            windows: cut,
        };
        let mut evidence = FormEvidence::with_left(size, windows, &left, &budget);
        if let (Some(mut kept), Some(values)) = (kept, &mut evidence.values) {
            for template in &mut evidence.templates {
                template.window_log_p_z = kept.remove(&template.template);
            }
            if evidence.templates.is_empty() {
                values.window_log_p_z = kept.remove(&TemplateId::default());
            }
        }
        forms.push(evidence);
    }
    // The tokens of one window are enough to look at.
    shown
        .iter_mut()
        .skip(1)
        .for_each(|window| window.tokens = None);
    MeasuredItem {
        probed,
        evidence: ItemEvidence {
            follow_up,
            numerics,
            ..ItemEvidence::of(probed.unprobed.clone(), forms)
        },
        windows: redacted(shown, reveal),
        spelled: None,
    }
}

impl MeasuredItem<'_> {
    fn judged(self, verdict: Verdict, named: &HashSet<&str>, reveal: bool) -> ReportItem {
        let item = &self.probed.item;
        let tags = item.tags.iter().filter(|tag| named.contains(tag.as_str()));
        ReportItem {
            id: item.id.clone(),
            kind: item.kind,
            salted_digest: self.probed.salted_digest.clone(),
            opt_out: provenance::shown(item, reveal),
            repetitions: item.repetitions,
            tags: tags.cloned().collect(),
            matches: item.matches.clone(),
            origin: item.origin.clone(),
            verdict,
            evidence: self.evidence,
            windows: self.windows,
            revealed: reveal.then(|| revealed(self.probed, self.spelled)),
        }
    }
}

fn revealed(probed: &ProbedItem, spelled: Option<Spelled>) -> Revealed {
    let item = &probed.item;
    let mut texts: Vec<RevealedText> = probed
        .forms
        .iter()
        .map(|form| RevealedText {
            form: form.form,
            text: form.text.clone(),
        })
        .collect();
    if texts.is_empty() {
        texts.push(RevealedText {
            form: Form::AsGiven,
            text: match &item.content {
                Content::Text(text) => text.clone(),
                Content::Split { prefix, suffix } => format!("{prefix}{suffix}"),
            },
        });
    }
    Revealed {
        title: item.title.clone(),
        author: item.author.clone(),
        source_url: item.source_url.clone(),
        license: item.license.clone(),
        texts,
        spelled,
    }
}

/// What the model wrote is near enough to the text to stand for it: it is kept only with `--reveal`.
fn redacted(mut windows: Vec<WindowEvidence>, reveal: bool) -> Vec<WindowEvidence> {
    let found = windows
        .iter_mut()
        .filter_map(|window| window.follow_up.as_mut())
        .filter(|_| !reveal);
    for continuation in found.filter_map(|found| found.continuation.as_mut()) {
        continuation.text = None;
    }
    windows
}

fn summary(report: &Report, policy: &Policy, judgement: &Judgement) -> Summary {
    let controls = || {
        report
            .items
            .iter()
            .filter(|item| item.kind == Kind::Control)
    };
    let positive = policy
        .positive_controls
        .iter()
        .zip(&judgement.positive_controls);
    let greedy = |item: &&ReportItem| {
        item.evidence
            .values()
            .any(|(_, values)| values.greedily_extracted > 0)
    };
    Summary {
        counts: counts(&report.items),
        recall: rates::recall(&report.items),
        controls: ControlSummary {
            items: controls().count() as u64,
            usable: judgement.usable_controls,
            within_budget: controls()
                .filter(|item| verdict::within_budget(policy, &item.evidence))
                .count() as u64,
            greedily_extracted: controls().filter(greedy).count() as u64,
            needed: judgement.needed_controls,
        },
        positive_controls: positive
            .map(|(id, &found)| PositiveControl {
                item: id.clone(),
                found,
            })
            .collect(),
        windows: window_counts(&report.items, &report.summary.windows),
        screened: report.summary.screened,
        power: judgement.power.clone(),
        rates: rates::rates(&report.items, policy),
        means: rates::means(&report.items),
        numerics: report
            .items
            .iter()
            .map(|item| item.evidence.numerics)
            .fold(Numerics::default(), Numerics::plus),
        notes: report
            .model
            .backend
            .mixture
            .iter()
            .map(|mixture| quantized(report, mixture))
            .chain(notes(&report.settings, &report.items, policy))
            .chain(super::words::fewer::notes(report))
            .collect(),
    }
}

fn counts(items: &[ReportItem]) -> Vec<LevelCount> {
    let mut counts: Vec<LevelCount> = Vec::new();
    for item in items {
        let (kind, level) = (item.kind, item.verdict.level);
        match counts
            .iter_mut()
            .find(|count| (count.kind, count.level) == (kind, level))
        {
            Some(count) => count.items += 1,
            None => counts.push(LevelCount {
                kind,
                level,
                items: 1,
            }),
        }
    }
    counts.sort_by_key(|count| (count.kind, count.level));
    counts
}

fn window_counts(items: &[ReportItem], known: &WindowCounts) -> WindowCounts {
    let mut counts = WindowCounts {
        stray: known.stray,
        shared: known.shared,
        ..WindowCounts::default()
    };
    for form in items.iter().flat_map(|item| &item.evidence.forms) {
        counts.planned += form.windows;
        counts.scored += form.scored;
        counts.left += form.left.total();
        counts.unscored += form.unscored.len() as u64;
        counts.missing += form.missing();
        if let Some(values) = &form.values {
            counts.greedily_extracted += values.greedily_extracted;
            counts.extracted += values
                .extraction
                .as_ref()
                .map_or(0, |extraction| extraction.windows);
        }
    }
    counts
}

/// A recipe's name doesn't say how each matrix is kept.
fn quantized(report: &Report, mixture: &str) -> String {
    let dtype = &report.model.backend.dtype;
    format!(
        "Weights were quantized to {dtype} as they were loaded: {mixture}. A published file of that name may differ."
    )
}

fn notes(settings: &Settings, items: &[ReportItem], policy: &Policy) -> Vec<String> {
    let mut notes = Vec::new();
    notes.push(match (settings.bos, settings.bos_token) {
        (BosChoice::Never, _) => {
            "Windows have no beginning-of-sequence token, by --bos never: a model that was trained with \
             one recites far less without it, so a low score says little."
                .to_owned()
        }
        (bos, Some(token)) => {
            let why = if bos == BosChoice::Always { "by --bos always" } else { "as the tokenizer itself does it" };
            let but = if settings.templates.iter().any(|template| template.chat_template.is_some()) {
                " but those in a chat template, which writes its own or none,"
            } else {
                ""
            };
            format!("Every window{but} begins with the beginning-of-sequence token {token}, {why}.")
        }
        (_, None) => "Windows have no beginning-of-sequence token: the tokenizer has none or adds none.".to_owned(),
    });
    let window = &settings.window;
    let (prefix, suffix) = (window.prefix, window.suffix);
    notes.push(match window.stride {
        Stride::Tokens(stride) => {
            let every = super::words::every(u64::from(stride), "token");
            format!("Windows of {prefix} + {suffix} tokens, one {every} of one encoding of the text.")
        }
        Stride::Chars(stride) => format!(
            "Windows of {prefix} + {suffix} tokens, one {}, each encoded from its own cursor (the book protocol, arXiv \
             2505.12546).",
            super::words::every(u64::from(stride), "character")
        ),
    });
    if let Some(lead) = window.lead {
        notes.push(format!(
            "Every suffix has {lead} tokens of the text before it, of which the prefix is the last {prefix}: runs of other \
             prefixes with this lead score the same suffixes."
        ));
    }
    notes.extend(super::words::templates::notes(settings, items));
    let both = items
        .iter()
        .filter(|item| item.evidence.forms.len() > 1)
        .count();
    if both > 0 {
        let reflowed = items.iter().filter(|item| item.evidence.forms.len() > 1);
        let reflowed = reflowed
            .filter(|item| item.evidence.worst_form == Some(Form::Reflowed))
            .count();
        notes.push(format!(
            "{both} of {} {} hard-wrapped and {} probed as given and reflowed; the worse counts (the reflowed one {}).",
            super::words::count(items.len() as u64, "item"),
            if both == 1 { "looks" } else { "look" },
            if both == 1 { "was" } else { "were" },
            super::words::times(reflowed as u64)
        ));
    }
    let (left, windows) =
        items
            .iter()
            .map(|item| &item.evidence)
            .fold((0, 0), |(left, all), evidence| {
                (
                    left + evidence.left() - evidence.unseen(),
                    all + evidence.windows(),
                )
            });
    if left > 0 {
        notes.push(format!(
            "{} of {} were left before their end, because nothing could hang on them any more: no value rests on them, where one \
             would have to it is absent, and bounds are marked as such (≤). Under a policy with that floor verdicts are those of a run with --exhaustive.",
            super::words::count(left, "window"),
            samples::grouped(windows)
        ));
    }
    let measured_otherwise =
        items
            .iter()
            .flat_map(|item| item.evidence.values())
            .any(|(_, values)| {
                let same = |e: &crate::metric::item::Extraction| {
                    e.schemes
                        .iter()
                        .eq(policy.schemes.iter().map(|scheme| &scheme.id))
                        && e.tau.to_bits() == policy.tau.to_bits()
                };
                values
                    .extraction
                    .as_ref()
                    .is_some_and(|extraction| !same(extraction))
            });
    if measured_otherwise {
        notes.push(
            "Judged again under another policy: coverage, spans and counts of extracted windows are under the tau and \
             scheme of the first one, which stand beside them."
                .to_owned(),
        );
    }
    notes
}
