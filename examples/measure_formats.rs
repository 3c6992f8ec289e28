//! How long it takes to render a large report in every format, and how much memory at most:
//! `measure_formats render ITEMS WINDOWS` makes a report of so many items with so many windows each, as a run leaves it (counts over
//! all windows, evidence of the few that are shown), and renders it. `measure_formats assemble ITEMS WINDOWS` makes the windows
//! themselves one after another, as they are read from Parquet, assembles the report from them, and renders it.
#![allow(clippy::print_stdout, reason = "a program for people")]

use byrote_core::backend::{BackendInfo, Scheme, TokenScores};
use byrote_core::digest::{Digest, FileDigest};
use byrote_core::items::{Content, InputManifest, Item, ItemId, Kind, Origin};
use byrote_core::metric::item::{Heat, Span};
use byrote_core::policy::Policy;
use byrote_core::report::formats::FORMATS;
use byrote_core::report::{Assembly, Report, assemble};
use byrote_core::run::{
    ModelIdentity, Plan, ProbedItem, RunManifest, ScoredWindow, Settings, TextStats,
};
use byrote_core::tokens::BosChoice;
use byrote_core::window::{Form, Placement, ProbedForm, Reflow, Stride, WindowConfig, WindowId};
use std::error::Error;
use std::time::Instant;

const SUFFIX: usize = 50;
const CHARS: u64 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, items, windows] = arguments.as_slice() else {
        return Err("give render|assemble ITEMS WINDOWS".into());
    };
    let (items, windows): (u64, u64) = (items.parse()?, windows.parse()?);
    println!("{items} items of {windows} windows");
    match what.as_str() {
        "render" => render(&report(items, windows)),
        "assemble" => {
            let (probed, manifest, policy) =
                (probed(items, windows), manifest(items), Policy::default());
            let started = Instant::now();
            let mut assembly = Assembly::new(&manifest, &probed, &[], &policy);
            probed
                .iter()
                .flat_map(scored)
                .for_each(|window| assembly.add(&window));
            let report = assembly.evidence().judge().into_report(None, None);
            told("assembled", started, report.items.len() as u64);
            drop(probed);
            render(&report)
        }
        _ => Err("give render or assemble".into()),
    }
}

fn render(report: &Report) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    told("the report in memory", started, report.items.len() as u64);
    for format in FORMATS {
        let began = Instant::now();
        let bytes = (format.render)(report)?.len();
        told(format.id, began, bytes as u64);
    }
    told("all formats", started, FORMATS.len() as u64);
    Ok(())
}

fn told(what: &str, since: Instant, n: u64) {
    let peak = byrote_core::system::peak_resident().map_or("not told".to_owned(), |peak| {
        format!("{:.0} MB", peak as f64 / 1e6)
    });
    println!(
        "{what:22} {:7.2} s  {n:>12}  peak memory so far {peak}",
        since.elapsed().as_secs_f64()
    );
}

/// A report of three windows an item, whose evidence is then that of many.
fn report(items: u64, windows: u64) -> Report {
    let probed = probed(items, 3);
    let scored: Vec<ScoredWindow> = probed.iter().flat_map(scored).collect();
    let mut report = assemble(&manifest(items), &probed, &scored, &[], &Policy::default());
    for item in &mut report.items {
        for form in &mut item.evidence.forms {
            (form.windows, form.scored) = (windows, windows);
            form.chars = CHARS * (windows + 1);
            let Some(extraction) = form
                .values
                .as_mut()
                .and_then(|values| values.extraction.as_mut())
            else {
                continue;
            };
            // Every second suffix extracted: as many spans and stretches of heat as there can be.
            extraction.spans = (0..windows / 2)
                .map(|n| Span {
                    start_byte: 2 * n * CHARS,
                    end_byte: (2 * n + 1) * CHARS,
                    start_char: 2 * n * CHARS,
                    end_char: (2 * n + 1) * CHARS,
                    windows: 1,
                })
                .collect();
            extraction.heat = (0..windows)
                .map(|n| Heat {
                    start_char: n * CHARS,
                    end_char: (n + 1) * CHARS,
                    log_p_z: -0.5 - n as f64,
                })
                .collect();
        }
    }
    report.summary.windows.planned = items * windows;
    report.summary.windows.scored = items * windows;
    report.decision = Some(byrote_core::gate::decide(
        &report,
        &Policy::default(),
        jiff::civil::date(2026, 11, 23),
    ));
    report
}

/// Items, every twentieth a control.
fn probed(items: u64, windows: u64) -> Vec<ProbedItem> {
    let item = |n: u64| {
        let id = ItemId(format!("collection-{:03}/text-{n:06}", n / 100));
        let kind = if n.is_multiple_of(20) {
            Kind::Control
        } else {
            Kind::OptOut
        };
        let form = ProbedForm {
            form: Form::AsGiven,
            bytes: CHARS * (windows + 1),
            chars: CHARS * (windows + 1),
            tokens: SUFFIX as u64 * (windows + 1),
            windows,
            text: String::new(),
        };
        let origin = Origin {
            file: "sets/large.jsonl".to_owned(),
            line: Some(n + 1),
        };
        let salted_digest = Digest::of_bytes(id.0.as_bytes());
        let item = Item {
            kind,
            ..Item::new(id, Content::Text(String::new()), origin)
        };
        ProbedItem {
            item,
            salted_digest,
            forms: vec![form],
            unprobed: None,
        }
    };
    (0..items).map(item).collect()
}

/// The windows of an item, as they are read from Parquet; every tenth item is memorized.
fn scored(probed: &ProbedItem) -> impl Iterator<Item = ScoredWindow> {
    let (id, kind) = (&probed.item.id, probed.item.kind);
    let memorized =
        kind == Kind::OptOut && probed.item.origin.line.is_some_and(|line| line % 10 == 2);
    let windows = probed.forms.first().map_or(0, |form| form.windows);
    (0..windows).map(move |n| window(id, n, memorized))
}

fn window(item: &ItemId, n: u64, memorized: bool) -> ScoredWindow {
    let logprob: Vec<f32> = (0..SUFFIX)
        .map(|at| {
            if memorized {
                -0.01
            } else {
                -1.5 - (at as f32 + n as f32) % 3.0
            }
        })
        .collect();
    let rank: Vec<u32> = logprob.iter().map(|&lp| u32::from(lp < -1.0)).collect();
    let greedy = rank
        .iter()
        .map(|&rank| if rank == 0 { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    ScoredWindow {
        item: item.clone(),
        window: WindowId(format!("{item}/as_given/{}", n * SUFFIX as u64)),
        placement: Placement {
            form: Form::AsGiven,
            template: Default::default(),
            start_token: (n * SUFFIX as u64) as u32,
            start_byte: n * CHARS,
            suffix_byte: (n + 1) * CHARS,
            end_byte: (n + 2) * CHARS,
            suffix_char: (n + 1) * CHARS,
            end_char: (n + 2) * CHARS,
            prefix_len: 51,
            suffix_len: SUFFIX as u32,
            straddles: false,
        },
        text: TextStats {
            suffix_chars: CHARS as u32,
            zlib_bits_per_char: 4.0,
            copied_from_prefix: 0.0,
        },
        token_ids: None,
        left: None,
        scores: Ok(TokenScores {
            margin: vec![1.0; SUFFIX],
            scheme_logprob: vec![logprob.clone(), logprob.clone(), greedy],
            expected_logprob: vec![-2.5; SUFFIX],
            logprob_sd: vec![1.5; SUFFIX],
            logprob,
            rank,
        }),
    }
}

fn manifest(items: u64) -> RunManifest {
    let digest = || Digest::of_bytes(b"made");
    let file = |name: &str| FileDigest {
        name: name.to_owned(),
        bytes: 1_000,
        sha256: digest(),
        one_text: false,
    };
    RunManifest {
        schema: byrote_core::run::RUN_SCHEMA.to_owned(),
        tool: byrote_core::run::TOOL.to_owned(),
        created_at: "2026-11-23T00:00:00Z".to_owned(),
        command: vec![],
        salt: "00".repeat(16),
        model: ModelIdentity {
            reference: "made".to_owned(),
            source: "nowhere".to_owned(),
            revision: None,
            files: vec![file("model.safetensors")],
            digest: digest(),
            backend: BackendInfo {
                name: "made".to_owned(),
                architecture: "none".to_owned(),
                device: "cpu".to_owned(),
                dtype: "f32".to_owned(),
                mixture: None,
                arithmetic: "f32".to_owned(),
                parameters: 1,
                vocab_size: 1_000,
                context_length: 1_000,
                schemes: Scheme::with_defaults(&[Scheme::greedy()]),
            },
            tokenizer_fingerprint: None,
            model_signing: None,
            adapter: None,
        },
        reference: None,
        probe_set: InputManifest {
            files: vec![file("sets/large.jsonl")],
            opt_outs: items - items.div_ceil(20),
            controls: items.div_ceil(20),
            ..Default::default()
        },
        settings: Settings {
            window: WindowConfig {
                prefix: 50,
                suffix: 50,
                lead: None,
                stride: Stride::Tokens(50),
                reflow: Reflow::Off,
            },
            bos: BosChoice::Auto,
            bos_token: Some(1),
            templates: Vec::new(),
            exit: None,
            in_full: Vec::new(),
            reveal: false,
            fewer: None,
        },
        plan: Plan {
            windows: 0,
            part_size: 256,
            digest: digest(),
            part_ids: vec![],
        },
    }
}
