//! What stands in `report.json`. The doc comments become the descriptions of its JSON Schema.

use super::decision::DecisionV1;
use super::left::LeftV1;
use super::mirror::{Mirror, Real, mirrored};
use super::policy::PolicyV1;
use super::tokens::{SpelledV1, TokensV1};
use crate::digest::Digest;
use crate::items::{InputManifest, ItemId, Kind, OptOut, Origin};
use crate::metric::exposure::Exposure;
use crate::metric::follow_up::{FollowUpEvidence, Numerics};
use crate::metric::item::templates::TemplateEvidence;
use crate::metric::item::{
    Extraction, FormEvidence, FormValues, Heat, ItemEvidence, SchemeEvidence, Span,
};
use crate::metric::membership::Membership;
use crate::metric::recall::Screened;
use crate::metric::samples::Cost;
use crate::metric::window::{UnscoredWindow, WindowEvidence};
use crate::policy::{Level, Statistic};
use crate::report::{
    ControlSummary, LevelCount, MeanOverItems, PositiveControl, Power, Rate, Recall, Report,
    ReportItem, Revealed, Summary, Timings, WindowCounts,
};
use crate::run::follow_up::FollowUp;
use crate::run::follow_up::SchemeLogP;
use crate::run::{ModelIdentity, Settings, TextStats};
use crate::verdict::{Reason, TailFit, Validity, Verdict};
use crate::window::{Form, WindowId};
use crate::window::{Placement, TemplateId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one run of byrote found out. Natural logarithms throughout. Null means not measured.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ReportV1 {
    #[schemars(extend("const" = super::SCHEMA))]
    schema: String,
    /// Name and version of the program.
    tool: String,
    /// When the run began: RFC 3339, UTC.
    created_at: String,
    /// Exactly which model was tested.
    model: ModelIdentity,
    /// The reference checkpoint; null if there was none.
    reference: Option<ModelIdentity>,
    /// What was read.
    probe_set: InputManifest,
    /// How it was tested.
    settings: Settings,
    /// SHA-256 over all windows' ids, tokens and prefix lengths.
    plan_digest: Digest,
    /// The policy under which the verdicts were reached.
    policy: PolicyV1,
    summary: SummaryV1,
    items: Vec<ItemV1>,
    /// Null if the run wasn't gated.
    decision: Option<DecisionV1>,
    /// All that may differ between two runs over the same inputs, but for created_at.
    timings: Option<TimingsV1>,
}

impl Mirror<Report> for ReportV1 {
    fn mirror(report: &Report) -> Self {
        Self {
            schema: super::SCHEMA.to_owned(),
            tool: report.tool.clone(),
            created_at: report.created_at.clone(),
            model: report.model.clone(),
            reference: report.reference.clone(),
            probe_set: report.probe_set.clone(),
            settings: report.settings.clone(),
            plan_digest: report.plan_digest.clone(),
            policy: Mirror::mirror(&report.policy),
            summary: Mirror::mirror(&report.summary),
            items: Mirror::mirror(&report.items),
            decision: Mirror::mirror(&report.decision),
            timings: Mirror::mirror(&report.timings),
        }
    }

    fn back(self) -> Report {
        Report {
            tool: self.tool,
            created_at: self.created_at,
            model: self.model,
            reference: self.reference,
            probe_set: self.probe_set,
            settings: self.settings,
            plan_digest: self.plan_digest,
            policy: self.policy.back(),
            summary: self.summary.back(),
            items: self.items.back(),
            decision: self.decision.back(),
            timings: self.timings.back(),
        }
    }
}

/// One item: its verdict and the evidence for it.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ItemV1 {
    id: ItemId,
    kind: Kind,
    /// SHA-256 over the run's salt and the text.
    salted_digest: Digest,
    opt_out: Option<OptOut>,
    /// How often a canary stood in the training data; null where it isn't known.
    repetitions: Option<u32>,
    /// Tags that controls of the run name in matches, or the policy as positive controls.
    tags: Vec<String>,
    /// A control's: ids and tags of what it stands for.
    matches: Vec<String>,
    origin: Origin,
    verdict: Level,
    /// The deciding one first.
    reasons: Vec<Reason>,
    /// Null for controls and where there was nothing to compare.
    validity: Option<ValidityV1>,
    /// What can be extracted of the worst form: a copy of its spans under evidence.
    spans: Vec<SpanV1>,
    evidence: EvidenceV1,
    /// The likeliest few windows.
    windows: Vec<WindowV1>,
    /// Only with --reveal.
    revealed: Option<RevealedV1>,
}

impl Mirror<ReportItem> for ItemV1 {
    fn mirror(item: &ReportItem) -> Self {
        let worst = item.evidence.worst().and_then(|form| form.values.as_ref());
        let extraction = worst.and_then(|values| values.extraction.as_ref());
        Self {
            id: item.id.clone(),
            kind: item.kind,
            salted_digest: item.salted_digest.clone(),
            opt_out: item.opt_out.clone(),
            repetitions: item.repetitions,
            tags: item.tags.clone(),
            matches: item.matches.clone(),
            origin: item.origin.clone(),
            verdict: item.verdict.level,
            reasons: item.verdict.reasons.clone(),
            validity: Mirror::mirror(&item.verdict.validity),
            spans: extraction
                .map(|extraction| Mirror::mirror(&extraction.spans))
                .unwrap_or_default(),
            evidence: Mirror::mirror(&item.evidence),
            windows: Mirror::mirror(&item.windows),
            revealed: Mirror::mirror(&item.revealed),
        }
    }

    fn back(self) -> ReportItem {
        let verdict = Verdict {
            item: self.id.clone(),
            level: self.verdict,
            reasons: self.reasons,
            validity: self.validity.back(),
        };
        ReportItem {
            id: self.id,
            kind: self.kind,
            salted_digest: self.salted_digest,
            opt_out: self.opt_out,
            repetitions: self.repetitions,
            tags: self.tags,
            matches: self.matches,
            origin: self.origin,
            verdict,
            evidence: self.evidence.back(),
            windows: self.windows.back(),
            revealed: self.revealed.back(),
        }
    }
}

/// What is shown of an item only with --reveal.
#[derive(Serialize, Deserialize, JsonSchema)]
struct RevealedV1 {
    title: Option<String>,
    author: Option<String>,
    source_url: Option<String>,
    license: Option<String>,
    /// The text in each form; spans index into it.
    texts: Vec<RevealedText>,
    /// Absent where the tokens' spellings aren't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spelled: Option<SpelledV1>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct RevealedText {
    form: Form,
    text: String,
}

impl Mirror<Revealed> for RevealedV1 {
    fn mirror(value: &Revealed) -> Self {
        let text = |(form, text): &(Form, String)| RevealedText {
            form: *form,
            text: text.clone(),
        };
        Self {
            title: value.title.clone(),
            author: value.author.clone(),
            source_url: value.source_url.clone(),
            license: value.license.clone(),
            texts: value.texts.iter().map(text).collect(),
            spelled: Mirror::mirror(&value.spelled),
        }
    }

    fn back(self) -> Revealed {
        let Self {
            title,
            author,
            source_url,
            license,
            texts,
            spelled,
        } = self;
        let texts = texts
            .into_iter()
            .map(|RevealedText { form, text }| (form, text))
            .collect();
        Revealed {
            title,
            author,
            source_url,
            license,
            texts,
            spelled: spelled.back(),
        }
    }
}

mirrored! {
    SummaryV1 = Summary {
        /// Items by kind and verdict, only pairs that occur.
        counts: Vec<LevelCountV1>,
        /// Canaries found, by how often they were planted.
        recall: Vec<RecallV1>,
        controls: ControlSummaryV1,
        positive_controls: Vec<PositiveControlV1>,
        windows: WindowCountsV1,
        /// What the run could have detected at all, by kind.
        power: Vec<PowerV1>,
        /// Rates over items with Clopper-Pearson intervals.
        rates: Vec<RateV1>,
        /// Means over items with bootstrap intervals.
        means: Vec<MeanOverItemsV1>,
        /// How far rounding could have decided anything.
        numerics: Numerics,
        /// What a screen left, and how many hits it missed; absent unless one was used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        screened: Option<Screened>,
        /// What a reader must know to read the numbers.
        notes: Vec<String>,
    }

    LevelCountV1 = LevelCount {
        kind: Kind,
        level: Level,
        items: u64,
    }

    RecallV1 = Recall {
        /// Copies in the training data; null where it isn't known.
        repetitions: Option<u32>,
        items: u64,
        /// Came out extractable or memorized.
        found: u64,
        /// Of those, within the sample budget.
        extractable: u64,
        /// Neither found nor missed.
        inconclusive: u64,
        /// Ends of the Clopper-Pearson interval of found / items at confidence .95.
        lower: Real,
        upper: Real,
    }

    ControlSummaryV1 = ControlSummary {
        items: u64,
        /// Scored in full.
        usable: u64,
        /// With a window within the sample budget.
        within_budget: u64,
        /// With a window that greedy decoding yields.
        greedily_extracted: u64,
        /// Needed so that one finding could stand in the larger family of this run's items.
        needed: u64,
    }

    PositiveControlV1 = PositiveControl {
        item: ItemId,
        found: bool,
    }

    WindowCountsV1 = WindowCounts {
        /// Windows that were cut.
        planned: u64,
        scored: u64,
        /// Left before their end: they can't matter, or were passed over (`--find-runs`, `--screen`).
        #[serde(default)]
        left: u64,
        /// As an identical window, whose scores they took over.
        #[serde(default)]
        shared: u64,
        /// Given to the model, but without scores.
        unscored: u64,
        /// Found nowhere in the scores.
        missing: u64,
        /// Scores of no item of this run.
        stray: u64,
        greedily_extracted: u64,
        /// Within the sample budget.
        extracted: u64,
    }

    PowerV1 = Power {
        kind: Kind,
        /// Items judged together.
        items: u64,
        /// The smallest p-value any of them could have had; null if none could be compared, 0 where a tail was fitted.
        smallest_p: Option<Real>,
        /// So many must be at their smallest p-value before any can stand; null: even all of them couldn't.
        findings_needed: Option<u64>,
        /// Control texts with which a single finding could stand.
        controls_needed: u64,
    }

    RateV1 = Rate {
        /// What is counted.
        name: String,
        kind: Kind,
        hits: u64,
        of: u64,
        lower: Real,
        upper: Real,
    }

    MeanOverItemsV1 = MeanOverItems {
        /// What is averaged.
        name: String,
        kind: Kind,
        items: u64,
        mean: Real,
        lower: Real,
        upper: Real,
    }

    ValidityV1 = Validity {
        statistic: Statistic,
        /// The item's value of the statistic.
        value: Real,
        /// Control texts it was compared with.
        controls: u64,
        /// How many of them reach the item's value.
        controls_at_least: u64,
        /// What the item pays for having more windows than the controls; 1 = nothing.
        window_factor: u64,
        /// Conformal p-value.
        p_value: Real,
        /// The smallest p-value it could have been.
        smallest_p: Real,
        /// Whether it stands after Benjamini-Hochberg.
        significant: bool,
        /// Whether the controls were chosen for the item by id or tag.
        matched: bool,
        /// A model-based p-value, which then counts; null unless the policy asks for one.
        tail: Option<TailFitV1>,
        /// Canaries only.
        exposure: Option<ExposureV1>,
    }

    TailFitV1 = TailFit {
        p_value: Real,
        shape: Real,
        scale: Real,
        threshold: Real,
        exceedances: u64,
    }

    ExposureV1 = Exposure {
        /// Bits.
        bits: Real,
        lower: Real,
        upper: Real,
    }

    EvidenceV1 = ItemEvidence {
        /// Why no window could be cut, if none could.
        unprobed: Option<String>,
        /// One entry a layout.
        forms: Vec<FormV1>,
        /// The form that counts; null if nothing was scored.
        worst_form: Option<Form>,
        /// The template that counts in that form; absent where only the bare prefix was used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worst_template: Option<TemplateId>,
        /// What a few windows were put to beyond scoring; null if none was.
        follow_up: Option<FollowUpEvidence>,
        numerics: Numerics,
    }

    FormV1 = FormEvidence {
        form: Form,
        bytes: u64,
        chars: u64,
        tokens: u64,
        /// Windows that were cut.
        windows: u64,
        scored: u64,
        unscored: Vec<UnscoredV1>,
        /// Windows that were left before their end; absent if none was.
        #[serde(default, skip_serializing_if = "LeftV1::is_none")]
        left: LeftV1,
        /// The worst over its templates; null if nothing was scored.
        values: Option<ValuesV1>,
        /// Each template by itself; absent where only the bare prefix was used.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        templates: Vec<TemplateV1>,
    }

    TemplateV1 = TemplateEvidence {
        template: TemplateId,
        scored: u64,
        schemes: Vec<SchemeV1>,
        /// Tokens.
        max_verbatim_run: Option<u32>,
        /// Mean over windows of the teacher-forced share of first choices.
        mean_em: Option<Real>,
        /// Nats a token.
        mean_logprob: Option<Real>,
        /// Windows that greedy decoding yields.
        greedily_extracted: u64,
        /// Windows within the sample budget; null if one of its schemes wasn't scored.
        extracted: Option<u64>,
        /// Share of the text's characters in the suffix of such a window.
        coverage: Option<Real>,
        /// ln p_z under full of every window; null unless the policy's statistic needs it.
        window_log_p_z: Option<Vec<Real>>,
    }

    UnscoredV1 = UnscoredWindow {
        window: WindowId,
        reason: String,
    }

    ValuesV1 = FormValues {
        schemes: Vec<SchemeV1>,
        /// Tokens. This and the others that may be null aren't known where windows were left.
        max_verbatim_run: Option<u32>,
        /// Mean over windows of the teacher-forced share of first choices.
        mean_em: Option<Real>,
        /// Nats a token.
        mean_logprob: Option<Real>,
        /// Smallest distance to a tie at the top, in nats.
        min_margin: Option<Real>,
        /// Windows that greedy decoding yields.
        greedily_extracted: u64,
        /// Windows whose suffix begins inside a token.
        straddling: u64,
        min_suffix_len: u32,
        max_suffix_len: u32,
        /// Greatest of any window.
        extraction_strength: Option<Real>,
        /// Means over windows; supporting evidence only.
        membership: Option<Membership>,
        /// ln p_z under full of every window; null unless the policy's statistic needs it.
        window_log_p_z: Option<Vec<Real>>,
        /// Null if one of the policy's schemes wasn't scored.
        extraction: Option<ExtractionV1>,
    }

    SchemeV1 = SchemeEvidence {
        scheme: String,
        best_window: WindowId,
        /// Its template; absent = the bare prefix.
        #[serde(default, skip_serializing_if = "TemplateId::is_none")]
        template: TemplateId,
        best: CostV1,
        /// A bound, not a value: the greatest ln p_z of a window that was left, where that is above the best.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<Real>,
        /// Null where windows were left.
        median_log_p_z: Option<Real>,
    }

    CostV1 = Cost {
        /// Natural log of the probability that one sample is exactly the suffix; "-inf" = never.
        log_p_z: Real,
        bits: Real,
        /// Samples needed to see it with probability .5.
        samples_p50: Real,
        /// Samples needed to see it with probability .9.
        samples_p90: Real,
    }

    ExtractionV1 = Extraction {
        /// Under any of these.
        schemes: Vec<String>,
        tau: Real,
        /// Windows with p_z >= tau.
        windows: u64,
        covered_chars: u64,
        /// Share of the text's characters in the suffix of an extracted window.
        coverage: Real,
        spans: Vec<SpanV1>,
        longest_span_chars: u64,
        /// Stretches of equal heat; colder than one in 10^12 is left out.
        heat: Vec<HeatV1>,
    }

    HeatV1 = Heat {
        start_char: u64,
        end_char: u64,
        /// The greatest ln p_z of the suffixes that cover it.
        log_p_z: Real,
    }

    /// Half-open ranges of the item's text in this form.
    SpanV1 = Span {
        start_byte: u64,
        end_byte: u64,
        start_char: u64,
        end_char: u64,
        windows: u64,
    }

    WindowV1 = WindowEvidence {
        window: WindowId,
        #[serde(flatten)]
        placement: Placement,
        text: TextV1,
        greedy_exact: bool,
        /// Tokens.
        verbatim_run: u32,
        /// Teacher-forced share of first choices.
        em: Real,
        /// Nats, plain sampling at T = 1.
        sum_logprob: Real,
        /// Nats.
        min_margin: Real,
        schemes: Vec<SchemeLogP>,
        extraction_strength: Real,
        membership: Membership,
        /// What else was found out about it.
        follow_up: Option<FollowUp>,
        /// Of the likeliest window of items that aren't controls; absent of others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tokens: Option<TokensV1>,
    }

    TextV1 = TextStats {
        suffix_chars: u32,
        zlib_bits_per_char: Real,
        copied_from_prefix: Real,
    }

    TimingsV1 = Timings {
        /// Seconds from start to report.
        total_s: Real,
        /// Seconds to load the model.
        load_s: Real,
        /// Seconds of scoring.
        scoring_s: Real,
        /// Windows scored in this call.
        windows_scored: u64,
        windows_per_second: Option<Real>,
    }
}
