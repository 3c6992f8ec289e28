//! The engine on a scripted model and a tokenizer of one token per letter.

use super::*;
use crate::backend::exit::Exit;
use crate::backend::scripted::Scripted;
use crate::backend::{
    Backend, BackendInfo, NextTokens, Scheme, ScoreError, ScoreInput, TokenScores,
};
use crate::digest::Digest;
use crate::items::{Content, InputManifest, Item, ItemId, Kind, Origin, ProbeSet};
use crate::policy::Policy;
use crate::report::ReportItem;
use crate::run::ModelIdentity;
use crate::run::directory::{RunDir, RunError};
use crate::run::journal;
use crate::tokens::{BosChoice, EncodeError, Encoding, TextEncoder};
use crate::window::Stride;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const VOCAB: u32 = 32;
const BOS: u32 = 31;
const ALPHABET: &[u8] = b" abcdefghijklmnopqrstuvwxyz";

/// One token per letter of [`ALPHABET`].
struct Letters;

impl TextEncoder for Letters {
    fn encode(&self, text: &str) -> Result<Encoding, EncodeError> {
        let id = |byte: u8| ALPHABET.iter().position(|letter| *letter == byte).unwrap() as u32;
        Ok(Encoding {
            ids: text.bytes().map(id).collect(),
            bytes: (0..text.len()).map(|at| (at, at + 1)).collect(),
            exact: true,
        })
    }

    fn encode_template(&self, parts: &[(&str, bool)]) -> Result<Encoding, EncodeError> {
        let text: String = parts.iter().map(|(part, _)| *part).collect();
        self.encode(&text)
    }

    fn decode(&self, ids: &[u32]) -> String {
        let bytes = ids.iter().flat_map(|id| self.token_bytes(*id)).copied();
        String::from_utf8(bytes.collect()).unwrap()
    }

    fn token_bytes(&self, id: u32) -> &[u8] {
        ALPHABET.get(id as usize..=id as usize).unwrap_or_default()
    }

    fn bos(&self, _: BosChoice) -> Result<Option<u32>, EncodeError> {
        Ok(Some(BOS))
    }
}

/// A scripted model that remembers which inputs it scored.
struct Recording {
    model: Scripted,
    scored: Mutex<Vec<Vec<u32>>>,
}

impl Backend for Recording {
    fn info(&self) -> &BackendInfo {
        self.model.info()
    }

    fn score(&self, inputs: &[ScoreInput<'_>]) -> Vec<Result<TokenScores, ScoreError>> {
        let ids = inputs.iter().map(|input| input.token_ids.to_vec());
        self.scored.lock().unwrap().extend(ids);
        self.model.score(inputs)
    }

    fn score_until(
        &self,
        inputs: &[ScoreInput<'_>],
        exit: &Exit,
    ) -> Vec<Result<TokenScores, ScoreError>> {
        let ids = inputs.iter().map(|input| input.token_ids.to_vec());
        self.scored.lock().unwrap().extend(ids);
        self.model.score_until(inputs, exit)
    }

    fn decode(&self, prompts: &[&[u32]], choose: &mut NextTokens<'_>) -> Result<(), ScoreError> {
        self.model.decode(prompts, choose)
    }

    fn sum_logprobs(
        &self,
        prefixes: &[&[u32]],
        suffixes: &[&[u32]],
    ) -> Result<Vec<Vec<f64>>, ScoreError> {
        self.model.sum_logprobs(prefixes, suffixes)
    }
}

/// Collects notes, and stops once so many steps are done.
#[derive(Default)]
struct Watch {
    notes: Mutex<Vec<String>>,
    done: AtomicU64,
    stop_after: Option<u64>,
}

impl Progress for Watch {
    fn note(&self, message: &str) {
        self.notes.lock().unwrap().push(message.to_owned());
    }

    fn begin(&self, _: u64, _: &str) {}

    fn advance(&self, steps: u64) {
        self.done.fetch_add(steps, Ordering::Relaxed);
    }

    fn end(&self, _: bool) {}

    fn should_stop(&self) -> bool {
        let done = self.done.load(Ordering::Relaxed);
        self.stop_after.is_some_and(|limit| done >= limit)
    }
}

/// A model and the recording of what it scored.
struct Probe {
    model: ProbeModel,
    recording: Arc<Recording>,
}

impl Probe {
    fn new(model: Scripted) -> Self {
        let info = model.info().clone();
        let recording = Arc::new(Recording {
            model,
            scored: Mutex::default(),
        });
        let digest = Digest::of_bytes(b"weights");
        Self {
            model: ProbeModel {
                backend: recording.clone(),
                in_f32: recording.clone(),
                encoder: Some(Arc::new(Letters)),
                identity: ModelIdentity {
                    reference: "scripted".to_owned(),
                    source: "tests".to_owned(),
                    revision: None,
                    files: Vec::new(),
                    digest: digest.clone(),
                    backend: info,
                    tokenizer_fingerprint: Some(digest),
                    model_signing: None,
                    adapter: None,
                },
                bos: BosChoice::Auto,
                bos_token: Some(BOS),
                templates: RenderedTemplates::default(),
                load_s: 0.0,
            },
            recording,
        }
    }

    fn run(&self, config: &ProbeConfig, texts: &ProbeSet) -> Probed {
        run(config, texts, &self.model, &NoCheckpoints, &Silent)
            .unwrap()
            .unwrap()
    }

    /// Runs until so many windows are done.
    fn stopped(&self, config: &ProbeConfig, texts: &ProbeSet, stop_after: u64) {
        let watch = Watch {
            stop_after: Some(stop_after),
            ..Watch::default()
        };
        let probed = run(config, texts, &self.model, &NoCheckpoints, &watch).unwrap();
        assert!(probed.is_none());
        let notes = watch.notes.into_inner().unwrap();
        assert!(
            notes[0].starts_with("stopped; what was scored is in"),
            "{notes:?}"
        );
    }

    /// The inputs that were scored since the last call.
    fn scored(&self) -> Vec<Vec<u32>> {
        std::mem::take(&mut *self.recording.scored.lock().unwrap())
    }
}

/// Windows of 4 + 8 tokens, one per token, without follow-ups.
fn config(folder: &Path) -> ProbeConfig {
    let mut policy = Policy::default();
    policy.follow_up.windows = 0;
    policy.follow_up.near_miss = 2.0;
    policy.follow_up.margin = 0.0;
    policy.follow_up.epsilon = 0.0;
    let mut config = ProbeConfig::new(policy);
    config.window.prefix = 4;
    config.window.suffix = 8;
    config.window.stride = Stride::Tokens(1);
    config.folder = Some(folder.join("run"));
    config
}

fn item(id: &str, kind: Kind, text: &str) -> Item {
    let origin = Origin {
        file: "texts.jsonl".to_owned(),
        line: Some(1),
    };
    let content = Content::Text(text.to_owned());
    Item {
        kind,
        ..Item::new(ItemId(id.to_owned()), content, origin)
    }
}

fn texts(items: &[Item]) -> ProbeSet {
    ProbeSet {
        items: items.to_vec(),
        manifest: InputManifest::default(),
    }
}

/// Text without repetitions of a window's length; each seed gives another one.
fn text(seed: u64, length: usize) -> String {
    let mut random = crate::random::SplitMix64::new(seed);
    (0..length)
        .map(|_| char::from(ALPHABET[1 + random.below(26)]))
        .collect()
}

fn ids(text: &str) -> Vec<u32> {
    Letters.encode(text).unwrap().ids
}

/// The token ids of all windows of a text, in order.
fn windows(text: &str) -> Vec<Vec<u32>> {
    let ids = ids(text);
    ids.windows(12)
        .map(|window| [&[BOS], window].concat())
        .collect()
}

fn scripted() -> Scripted {
    let schemes = Scheme::with_defaults(&Policy::default().schemes);
    Scripted::new(VOCAB, 64).scored_under(schemes)
}

fn evidence(probed: &Probed) -> Vec<&ReportItem> {
    probed.report.items.iter().collect()
}

#[test]
fn windows_are_scored_once_each_in_the_order_of_the_texts() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (text(1, 90), text(2, 40));
    let texts = texts(&[item("a", Kind::OptOut, &a), item("b", Kind::Control, &b)]);
    let probe = Probe::new(scripted());
    let probed = probe.run(&config(dir.path()), &texts);
    assert_eq!(probe.scored(), [windows(&a), windows(&b)].concat());
    assert_eq!(probed.report.summary.windows.scored, 79 + 29);
    assert_eq!(probed.unmeasured(), None);
    for name in ["run.json", "report.json", "report.md", "report.html"] {
        assert!(probed.folder.join(name).is_file(), "{name}");
    }
}

#[test]
fn a_stopped_run_resumes_after_its_last_complete_part() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (text(1, 120), text(2, 120));
    let texts = texts(&[item("a", Kind::OptOut, &a), item("b", Kind::Control, &b)]);
    let probe = Probe::new(scripted());
    let config = config(dir.path());
    probe.stopped(&config, &texts, 64);
    let all = [windows(&a), windows(&b)].concat();
    assert_eq!(probe.scored(), all[..64]);
    let resumed = probe.run(&config, &texts);
    assert_eq!(probe.scored(), all[64..]);

    let other = ProbeConfig {
        folder: Some(dir.path().join("uninterrupted")),
        ..config
    };
    let whole = probe.run(&other, &texts);
    let verdicts = |probed: &Probed| -> Vec<_> {
        let items = evidence(probed).into_iter();
        items
            .map(|item| (item.evidence.clone(), item.verdict.clone()))
            .collect()
    };
    assert_eq!(verdicts(&resumed), verdicts(&whole));
    let rows = |probed: &Probed| RunDir::load(&probed.folder).unwrap().read_all().unwrap();
    assert_eq!(rows(&resumed), rows(&whole));
}

#[test]
fn a_folder_with_a_run_of_other_texts_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let probe = Probe::new(scripted());
    let config = config(dir.path());
    probe.run(&config, &texts(&[item("a", Kind::OptOut, &text(1, 40))]));
    let other = texts(&[item("a", Kind::OptOut, &text(2, 40))]);
    let refused = run(&config, &other, &probe.model, &NoCheckpoints, &Silent);
    assert!(matches!(
        refused,
        Err(ProbeError::Run(RunError::Differs { .. }))
    ));
}

#[test]
fn identical_windows_are_scored_once_and_share_their_scores() {
    let dir = tempfile::tempdir().unwrap();
    let same = text(1, 100);
    let texts = texts(&[
        item("a", Kind::OptOut, &same),
        item("b", Kind::OptOut, &same),
    ]);
    let probe = Probe::new(scripted());
    let probed = probe.run(&config(dir.path()), &texts);
    assert_eq!(probe.scored(), windows(&same));
    assert_eq!(probed.report.summary.windows.shared, 89);
    assert_eq!(probed.report.summary.windows.scored, 2 * 89);
    let rows = RunDir::load(&probed.folder).unwrap().read_all().unwrap();
    for (first, duplicate) in rows[..89].iter().zip(&rows[89..]) {
        assert_eq!(first.scores, duplicate.scores);
        assert_ne!(first.window, duplicate.window);
    }
}

#[test]
fn a_resumed_run_takes_the_scores_of_identical_windows_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let same = text(1, 100);
    let texts = texts(&[
        item("a", Kind::OptOut, &same),
        item("b", Kind::OptOut, &same),
    ]);
    let probe = Probe::new(scripted());
    let config = config(dir.path());
    probe.stopped(&config, &texts, 128);
    probe.scored();
    let probed = probe.run(&config, &texts);
    assert_eq!(probe.scored(), Vec::<Vec<u32>>::new());
    assert_eq!(probed.report.summary.windows.scored, 2 * 89);
}

#[test]
fn a_control_is_scored_apart_from_an_identical_text_that_may_stop_early() {
    let dir = tempfile::tempdir().unwrap();
    let same = text(1, 60);
    let texts = texts(&[
        item("a", Kind::OptOut, &same),
        item("b", Kind::Control, &same),
    ]);
    let probe = Probe::new(scripted());
    let mut config = config(dir.path());
    config.policy.floor = 1e-3;
    let probed = probe.run(&config, &texts);
    let counts = &probed.report.summary.windows;
    assert_eq!(counts.shared, 0);
    let items = evidence(&probed);
    assert!(items[0].evidence.left() > 0);
    assert_eq!(items[1].evidence.left(), 0);

    config.exhaustive = true;
    config.folder = Some(dir.path().join("exhaustive"));
    let probed = probe.run(&config, &texts);
    assert_eq!(probed.report.summary.windows.left, 0);
}

/// A model that recites the middle of a long text, and that text.
fn reciting(length: usize) -> (Scripted, String) {
    let text = text(3, length);
    let mut model = scripted();
    model.memorize(&ids(&text[100..150]), 30.0);
    (model, text)
}

#[test]
fn coarse_to_fine_scores_a_grid_and_all_windows_around_its_hits() {
    let dir = tempfile::tempdir().unwrap();
    let (model, text) = reciting(240);
    let probe = Probe::new(model);
    let mut config = config(dir.path());
    config.selection = Some(SelectionRequest::CoarseToFine { tokens: 17 });
    let texts = texts(&[item("a", Kind::OptOut, &text)]);
    let selected = probe.run(&config, &texts);
    let scored = probe.scored();
    let all = windows(&text);
    let grid: Vec<Vec<u32>> = (0..all.len())
        .filter(|index| index % 10 == 0 || index + 1 == all.len())
        .map(|index| all[index].clone())
        .collect();
    assert_eq!(scored[..grid.len()], grid);
    assert!(scored.len() < all.len() / 2, "{}", scored.len());

    config.selection = None;
    config.folder = Some(dir.path().join("all"));
    let complete = probe.run(&config, &texts);
    let exact = |probed: &Probed| probed.report.summary.windows.greedily_extracted;
    assert!(exact(&complete) > 20);
    assert_eq!(exact(&selected), exact(&complete));
    let counts = &selected.report.summary.windows;
    assert_eq!(counts.scored + counts.left, counts.planned);
    assert_eq!(counts.scored, scored.len() as u64);
}

#[test]
fn a_stop_inside_the_coarse_pass_loses_no_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (model, text) = reciting(240);
    let probe = Probe::new(model);
    let mut config = config(dir.path());
    config.selection = Some(SelectionRequest::CoarseToFine { tokens: 9 });
    let texts = texts(&[item("a", Kind::OptOut, &text)]);
    probe.stopped(&config, &texts, 64);
    let before = probe.scored();
    assert_eq!(before.len(), 64);
    probe.run(&config, &texts);
    let after = probe.scored();
    assert!(before.iter().all(|window| !after.contains(window)));
}

#[test]
fn a_screen_keeps_likely_windows_and_scores_a_sample_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (model, text) = reciting(600);
    let probe = Probe::new(model);
    let mut config = config(dir.path());
    config.selection = Some(SelectionRequest::Screened { piece: 64 });
    let control = self::text(4, 40);
    let texts = texts(&[
        item("a", Kind::OptOut, &text),
        item("b", Kind::Control, &control),
    ]);
    let probed = probe.run(&config, &texts);
    let screened = probed.report.summary.screened.unwrap();
    assert!(screened.counts.kept_hits > 20, "{screened:?}");
    assert_eq!(screened.counts.sampled_hits, 0);
    let [a, b] = evidence(&probed)[..] else {
        panic!("two items");
    };
    assert!(a.evidence.left() > 0);
    assert_eq!(
        b.evidence.left(),
        0,
        "controls are always scored completely"
    );

    // The same windows again: the sample doesn't depend on chance.
    config.folder = Some(dir.path().join("again"));
    let again = probe.run(&config, &texts);
    assert_eq!(evidence(&again)[0].evidence, a.evidence);
}

/// Scores of a recited suffix whose first token is almost a tie.
fn almost_a_tie(schemes: usize) -> TokenScores {
    let mut margin = vec![5.0; 8];
    margin[0] = 1e-5;
    TokenScores {
        logprob: vec![-0.1; 8],
        rank: vec![0; 8],
        margin,
        scheme_logprob: vec![vec![-0.1; 8]; schemes],
        expected_logprob: vec![-0.5; 8],
        logprob_sd: vec![1.0; 8],
    }
}

/// A probe of one window that is almost a tie.
fn near_tie() -> (Probe, ProbeSet) {
    let text = text(5, 12);
    let mut model = scripted();
    model.set(&windows(&text)[0], almost_a_tie(3));
    (Probe::new(model), texts(&[item("a", Kind::OptOut, &text)]))
}

#[test]
fn a_near_tie_is_scored_again_and_a_resumed_run_does_not_repeat_it() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, texts) = near_tie();
    let mut config = config(dir.path());
    config.policy.follow_up.margin = 0.001;
    let probed = probe.run(&config, &texts);
    assert_eq!(probe.scored().len(), 2);
    assert_eq!(evidence(&probed)[0].evidence.numerics.rescored, 1);
    assert!(probed.folder.join(journal::NAME).is_file());
    probe.run(&config, &texts);
    assert_eq!(probe.scored().len(), 0);
}

/// Fails to load any checkpoint.
struct Unloadable(ModelIdentity);

impl Checkpoints for Unloadable {
    fn f32_copy(&self) -> Result<Option<Box<dyn Backend>>, BoxError> {
        Err("the disk is gone".into())
    }

    fn reference(&self) -> Option<&ModelIdentity> {
        Some(&self.0)
    }

    fn load_reference(&self) -> Result<ProbeModel, BoxError> {
        Err("the disk is gone".into())
    }
}

#[test]
fn a_near_tie_that_cannot_be_scored_again_is_unscored() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, texts) = near_tie();
    let checkpoints = Unloadable(probe.model.identity.clone());
    let watch = Watch::default();
    let mut config = config(dir.path());
    config.policy.follow_up.margin = 0.001;
    let probed = run(&config, &texts, &probe.model, &checkpoints, &watch).unwrap();
    let notes = watch.notes.into_inner().unwrap();
    assert_eq!(
        notes,
        ["warning: near ties can't be scored again in f32: the disk is gone"]
    );
    let unmeasured = probed.unwrap().unmeasured().unwrap();
    assert!(unmeasured.contains("the disk is gone"), "{unmeasured}");
}

/// A reference checkpoint that is loaded from memory.
struct WithReference(ProbeModel);

impl Checkpoints for WithReference {
    fn reference(&self) -> Option<&ModelIdentity> {
        Some(&self.0.identity)
    }

    fn load_reference(&self) -> Result<ProbeModel, BoxError> {
        Ok(self.0.clone())
    }
}

#[test]
fn the_likeliest_window_is_scored_under_the_reference() {
    let dir = tempfile::tempdir().unwrap();
    let (model, text) = reciting(240);
    let probe = Probe::new(model);
    let mut config = config(dir.path());
    config.policy.follow_up.windows = 1;
    let texts = texts(&[item("a", Kind::OptOut, &text)]);
    let reference = Probe::new(scripted());
    for (folder, fingerprint) in [("same", "weights"), ("another", "other tokenizer")] {
        config.folder = Some(dir.path().join(folder));
        let mut checkpoint = reference.model.clone();
        checkpoint.identity.tokenizer_fingerprint = Some(Digest::of_bytes(fingerprint.as_bytes()));
        let checkpoints = WithReference(checkpoint);
        let probed = run(&config, &texts, &probe.model, &checkpoints, &Silent)
            .unwrap()
            .unwrap();
        let follow_up = evidence(&probed)[0].evidence.follow_up.as_ref().unwrap();
        let score = follow_up.reference.as_ref().unwrap();
        assert!(score.sum_logprob < -10.0 && score.ratio < 0.1, "{score:?}");
        assert_eq!(reference.scored().len(), 1, "{folder} tokenizer");
    }
}

#[test]
fn a_reference_that_cannot_be_loaded_leaves_the_verdict_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (model, text) = reciting(240);
    let probe = Probe::new(model);
    let mut config = config(dir.path());
    config.policy.follow_up.windows = 1;
    let texts = texts(&[item("a", Kind::OptOut, &text)]);
    let checkpoints = Unloadable(probe.model.identity.clone());
    let watch = Watch::default();
    let probed = run(&config, &texts, &probe.model, &checkpoints, &watch)
        .unwrap()
        .unwrap();
    let notes = watch.notes.into_inner().unwrap();
    assert!(
        notes
            .iter()
            .any(|note| note.contains("the reference can't be loaded"))
    );
    assert_eq!(probed.unmeasured(), None);
    let follow_up = evidence(&probed)[0].evidence.follow_up.as_ref().unwrap();
    assert!(follow_up.reference.is_none());
    assert!(
        follow_up
            .errors
            .iter()
            .any(|error| error.contains("the disk is gone"))
    );
}

#[test]
fn revealed_reports_spell_the_tokens_of_the_likeliest_window() {
    let dir = tempfile::tempdir().unwrap();
    let text = text(6, 12);
    let probe = Probe::new(scripted());
    let mut config = config(dir.path());
    config.reveal = true;
    let probed = probe.run(&config, &texts(&[item("a", Kind::OptOut, &text)]));
    let revealed = evidence(&probed)[0].revealed.as_ref().unwrap();
    let spelled = revealed.spelled.as_ref().unwrap();
    assert_eq!(spelled.prefix.concat(), text[..4]);
    assert_eq!(spelled.suffix.concat(), text[4..]);
}

#[test]
fn texts_that_the_model_cannot_be_asked_are_refused_before_scoring() {
    let dir = tempfile::tempdir().unwrap();
    let set = texts(&[item("a", Kind::OptOut, &text(1, 40))]);
    let config = config(dir.path());
    let refusal = |model: &ProbeModel| {
        run(&config, &set, model, &NoCheckpoints, &Silent)
            .unwrap_err()
            .to_string()
    };
    let mut model = Probe::new(scripted()).model;
    model.encoder = None;
    assert!(refusal(&model).contains("no tokenizer"));
    let short = Probe::new(Scripted::new(VOCAB, 10)).model;
    assert!(refusal(&short).contains("windows of 13 tokens are more than the 10"));
    let small = Probe::new(Scripted::new(8, 64)).model;
    assert!(refusal(&small).contains("outside the model's vocabulary of 8"));
    assert!(!dir.path().join("run").exists());
}

#[test]
fn a_selection_that_the_policy_or_the_windows_rule_out_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.selection = Some(SelectionRequest::CoarseToFine { tokens: 4 });
    assert!(
        config
            .check(false)
            .unwrap_err()
            .to_string()
            .starts_with("--find-runs: ")
    );
    config.selection = Some(SelectionRequest::Screened { piece: 15 });
    assert!(
        config
            .check(false)
            .unwrap_err()
            .to_string()
            .contains("needs 16")
    );
    config.selection = Some(SelectionRequest::Screened { piece: 16 });
    assert!(config.check(false).is_ok());
    assert!(config.check(true).is_err(), "texts in templates");
    config.window.stride = Stride::Tokens(13);
    assert!(config.check(false).is_err(), "windows that leave gaps");
    config.window.stride = Stride::Chars(1);
    assert!(
        config.check(false).is_err(),
        "windows that are encoded anew"
    );
    config.window.stride = Stride::Tokens(1);
    config.policy.near_verbatim = true;
    assert!(config.check(false).is_err(), "near-verbatim samples");
}

#[test]
fn a_sweep_has_every_combination_once_and_one_minimum_of_context() {
    let names =
        |names: &[&str]| -> Vec<String> { names.iter().map(|it| (*it).to_owned()).collect() };
    let grid = sweep::SweepGrid::new(
        &names(&["a/model", "b/model", "a/model"]),
        &names(&["f32"]),
        &[10, 20, 10],
        &[BosChoice::Auto],
    );
    assert_eq!(grid.single(), None);
    let folders: Vec<String> = (0..2)
        .flat_map(|model| grid.of_model(model))
        .map(|point| grid.folder(&point).display().to_string())
        .collect();
    assert_eq!(
        folders,
        [
            "model/f32-p10-bos-auto",
            "model/f32-p20-bos-auto",
            "model-2/f32-p10-bos-auto",
            "model-2/f32-p20-bos-auto"
        ]
    );
    let config = grid.config(&ProbeConfig::new(Policy::default()), 10);
    assert_eq!((config.window.prefix, config.window.lead), (10, Some(20)));
    assert!(config.exhaustive);
}
