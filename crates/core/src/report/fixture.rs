//! A report as a real run would give it, for the tests of the formats: 17 opted-out texts with every verdict, 70
//! canaries planted 1 to 64 times, 199 controls, dropped items, and ids that attack whatever prints them.

mod evidence;
pub(crate) mod hostile;

use super::{Report, Timings, assemble};
use crate::backend::{BackendInfo, Scheme, TokenScores};
use crate::digest::{Digest, FileDigest};
use crate::gate;
use crate::items::{Content, Dropped, InputManifest, Item, ItemId, Kind, OptOut, Origin};
use crate::policy::{Policy, Waiver};
use crate::run::{ModelIdentity, Plan, ProbedItem, RunManifest, ScoredWindow, Settings, TextStats};
use crate::tokens::BosChoice;
use crate::window::{Form, Placement, ProbedForm, Reflow, Stride, WindowConfig, WindowId};
use jiff::civil::date;

/// Stands in the text, title and author of every item.
pub(crate) const PLANTED: &str = "zyxomma quire glimpsed nine umber herons";

/// Ids that try to break out of HTML, Markdown tables and links, CI logs and terminals.
pub(crate) const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>",
    "a|b\\|c`|`",
    "::error::pwned",
    "\u{1b}[31mred\u{1b}]0;title\u{7}",
    "line\nbreak\r## [heading](http://evil.example) @octocat",
    "fdp.\u{202e}txet\u{200b}",
    "{{ 7 * 7 }}{% raw %}",
];

const SUFFIX: usize = 50;
const CHARS_A_TOKEN: u64 = 4;

/// A gated run without `--reveal`.
pub(crate) fn report() -> Report {
    build(false)
}

/// The same run with `--reveal`.
pub(crate) fn revealed() -> Report {
    build(true)
}

/// A run over canaries and controls only, not gated: what `byrote probe` without arguments does.
pub(crate) fn calibration() -> Report {
    let mut inputs = Inputs::default();
    inputs.canaries();
    inputs.controls();
    let mut manifest = manifest(false);
    manifest.probe_set = InputManifest {
        files: manifest.probe_set.files,
        controls: 199,
        canaries: 70,
        ..Default::default()
    };
    assemble(&manifest, &inputs.items, &inputs.windows, &[], &policy())
}

/// A run that measured nothing.
pub(crate) fn empty() -> Report {
    let manifest = RunManifest {
        probe_set: InputManifest::default(),
        ..manifest(false)
    };
    assemble(&manifest, &[], &[], &[], &policy())
}

fn build(reveal: bool) -> Report {
    let mut inputs = Inputs::default();
    inputs.opt_outs();
    inputs.canaries();
    inputs.controls();
    let policy = Policy {
        waivers: vec![Waiver {
            item: ItemId("poems/heron-07".to_owned()),
            reason: "licensed since October".to_owned(),
            expires: date(2027, 6, 30),
            approver: Some("legal@example.org".to_owned()),
        }],
        schemes: vec![Scheme::greedy(), Scheme::top_k(40)],
        positive_controls: vec![ItemId("canary-r64-0".to_owned())],
        ..policy()
    };
    let mut report = assemble(
        &manifest(reveal),
        &inputs.items,
        &inputs.windows,
        &[],
        &policy,
    );
    evidence::add(&mut report, reveal);
    report.decision = Some(gate::decide(&report, &policy, date(2026, 11, 23)));
    report.timings = Some(Timings {
        total_s: 184.2,
        load_s: 2.4,
        scoring_s: 178.9,
        windows_scored: report.summary.windows.scored,
        windows_per_second: Some(5.1),
    });
    report
}

fn manifest(reveal: bool) -> RunManifest {
    let file = |name: &str, bytes| FileDigest {
        name: name.to_owned(),
        bytes,
        sha256: Digest::of_bytes(name.as_bytes()),
        one_text: false,
    };
    let dropped = |id: &str, line, reason: &str| Dropped {
        id: ItemId(id.to_owned()),
        origin: Origin {
            file: "prompts/opt-out/novels.jsonl".to_owned(),
            line: Some(line),
        },
        reason: reason.to_owned(),
    };
    RunManifest {
        schema: "byrote.run/v1".to_owned(),
        tool: "byrote 0.1.0".to_owned(),
        created_at: "2026-11-23T09:41:07Z".to_owned(),
        command: vec![],
        salt: "5a17".repeat(8),
        model: ModelIdentity {
            reference: "gemma-3-270m".to_owned(),
            source: "hub:example/gemma-3-270m".to_owned(),
            revision: Some("9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1".to_owned()),
            files: vec![
                file("config.json", 1_352),
                file("model.safetensors", 536_223_056),
                file("tokenizer.json", 33_384_568),
            ],
            digest: Digest::of_bytes(b"all files"),
            backend: BackendInfo {
                name: "native".to_owned(),
                architecture: "gemma3_text".to_owned(),
                device: "cpu".to_owned(),
                dtype: "f32".to_owned(),
                mixture: None,
                arithmetic: "f32".to_owned(),
                parameters: 268_098_176,
                vocab_size: 262_144,
                context_length: 32_768,
                schemes: schemes(),
            },
            tokenizer_fingerprint: Some(Digest::of_bytes(b"tokenizer")),
            model_signing: None,
            adapter: None,
        },
        reference: None,
        probe_set: InputManifest {
            files: vec![
                file("prompts/opt-out/novels.jsonl", 88_412),
                file("prompts/builtin/canaries.jsonl", 20_114),
            ],
            opt_outs: 17,
            controls: 199,
            canaries: 70,
            dropped: vec![
                dropped(
                    "novels/moby-1-copy",
                    14,
                    "same text as \"novels/moby-1\" (prompts/opt-out/novels.jsonl:3)",
                ),
                dropped(HOSTILE[3], 15, "same text as \"::error::pwned\""),
            ],
            warnings: vec![
                "prompts/opt-out/novels.jsonl: unknown field \"isbn\" ignored".to_owned(),
            ],
        },
        settings: Settings {
            window: WindowConfig {
                prefix: 50,
                suffix: 50,
                lead: None,
                stride: Stride::Tokens(50),
                reflow: Reflow::Auto,
            },
            bos: BosChoice::Auto,
            bos_token: Some(2),
            templates: Vec::new(),
            exit: None,
            in_full: Vec::new(),
            reveal,
            fewer: None,
        },
        plan: Plan {
            windows: 912,
            part_size: 256,
            digest: Digest::of_bytes(b"plan"),
            part_ids: vec![Digest::of_bytes(b"ids")],
        },
    }
}

#[derive(Default)]
struct Inputs {
    items: Vec<ProbedItem>,
    windows: Vec<ScoredWindow>,
    seed: u64,
}

impl Inputs {
    fn opt_outs(&mut self) {
        // Each list holds one `ln p` a window.
        let memorized = [
            -96.0, -14.0, -2.1, -0.4, -3.8, -88.0, -0.9, -120.0, -5.2, -140.0,
        ];
        self.form(
            "novels/moby-1",
            Kind::OptOut,
            None,
            Form::AsGiven,
            &memorized.map(|lp| lp - 24.0),
        );
        self.form(
            "novels/moby-1",
            Kind::OptOut,
            None,
            Form::Reflowed,
            &memorized,
        );
        self.text(
            "lyrics/umber-song",
            Kind::OptOut,
            None,
            &[-31.0, -0.05, -0.2],
        );
        self.text("poems/heron-07", Kind::OptOut, None, &[-6.1, -92.0]);
        self.text(
            "press/declaration",
            Kind::OptOut,
            None,
            &[-15.6, -19.0, -24.0, -31.0, -18.0],
        );
        self.text(
            "novels/quire-ch-02",
            Kind::OptOut,
            None,
            &[-118.0, -143.0, -161.0, -131.0],
        );
        self.text("code/license-header", Kind::OptOut, None, &[-122.0, -112.0]);
        // Within the budget under top-k only, where the controls aren't compared.
        if let Some(Ok(scores)) = self.windows.last_mut().map(|window| &mut window.scores) {
            scores.scheme_logprob[1] = vec![-0.11; SUFFIX];
        }
        self.text(
            "journal/2024-03",
            Kind::OptOut,
            None,
            &[-128.0, f32::NEG_INFINITY, -150.0],
        );
        for (n, id) in HOSTILE.into_iter().enumerate() {
            let lp = if n < 2 {
                -0.8 - n as f32
            } else {
                -130.0 - 3.0 * n as f32
            };
            self.text(id, Kind::OptOut, None, &[lp, -148.0]);
        }
        self.text("journal/overflow", Kind::OptOut, None, &[-120.0, -133.0]);
        if let Some(last) = self.windows.last_mut() {
            last.scores = Err("the model's logits are not finite at suffix token 17".to_owned());
        }
        self.text("letters/too-short", Kind::OptOut, None, &[]);
        if let Some(last) = self.items.last_mut() {
            last.unprobed = Some("23 tokens are fewer than one window of 50 + 50".to_owned());
        }
    }

    fn canaries(&mut self) {
        let found_of_10 = [(1, 0), (2, 0), (4, 2), (8, 5), (16, 8), (32, 10), (64, 10)];
        for (repetitions, found) in found_of_10 {
            for n in 0..10 {
                let lp = if n < found {
                    -40.0 / repetitions as f32 * (0.4 + 0.3 * self.noise())
                } else {
                    -105.0 - 45.0 * self.noise()
                };
                self.text(
                    &format!("canary-r{repetitions:02}-{n}"),
                    Kind::Canary,
                    Some(repetitions),
                    &[lp],
                );
            }
        }
    }

    fn controls(&mut self) {
        for n in 0..199 {
            // Two controls are boilerplate, and nearly predictable.
            let lp = if n % 120 == 60 {
                -70.0
            } else {
                -95.0 - 65.0 * self.noise() - 20.0 * self.noise()
            };
            let rest = [lp - 9.0, lp - 17.0, lp - 18.0, lp - 31.0];
            self.text(
                &format!("fresh/2026-{n:03}"),
                Kind::Control,
                None,
                &[rest[0], rest[1], lp, rest[2], rest[3]],
            );
        }
    }

    fn text(&mut self, id: &str, kind: Kind, repetitions: Option<u32>, log_ps: &[f32]) {
        self.form(id, kind, repetitions, Form::AsGiven, log_ps);
    }

    fn form(&mut self, id: &str, kind: Kind, repetitions: Option<u32>, form: Form, log_ps: &[f32]) {
        let suffix_chars = SUFFIX as u64 * CHARS_A_TOKEN;
        let chars = suffix_chars * (log_ps.len() as u64 + 1);
        let text: String = format!("{PLANTED} <{id}>\n")
            .chars()
            .cycle()
            .take(chars as usize)
            .collect();
        let probed = ProbedForm {
            form,
            bytes: text.len() as u64,
            chars,
            tokens: chars / CHARS_A_TOKEN,
            windows: log_ps.len() as u64,
            text: text.clone(),
        };
        for (n, &log_p) in log_ps.iter().enumerate() {
            let window = self.window(id, form, n as u64, log_p);
            self.windows.push(window);
        }
        let known = self.items.iter_mut().find(|item| item.item.id.0 == id);
        if let Some(item) = known {
            item.forms.push(probed);
            return;
        }
        let line = self.items.len() as u64 + 1;
        self.items.push(ProbedItem {
            salted_digest: Digest::of_bytes(format!("salt {id}").as_bytes()),
            item: Item {
                id: ItemId(id.to_owned()),
                kind,
                content: Content::Text(text),
                title: Some(format!("Title: {PLANTED}")),
                author: Some(format!("Author: {PLANTED}")),
                source_url: Some("javascript:alert(3)".to_owned()),
                license: Some("all rights reserved".to_owned()),
                tags: vec![],
                opt_out: (kind == Kind::OptOut).then(|| OptOut {
                    signal: Some("tdmrep".to_owned()),
                    locator: Some("https://herons.example/.well-known/tdmrep.json".to_owned()),
                    holder: Some("Heron & Quire Publishers".to_owned()),
                    declared_at: Some("2023-05-02".to_owned()),
                }),
                repetitions,
                matches: vec![],
                origin: Origin {
                    file: format!("prompts/{kind:?}.jsonl").to_lowercase(),
                    line: Some(line),
                },
            },
            forms: if log_ps.is_empty() {
                vec![]
            } else {
                vec![probed]
            },
            unprobed: None,
        });
    }

    /// A window whose suffix tokens share `log_p`, most of it on the few tokens that aren't the first choice.
    fn window(&mut self, id: &str, form: Form, n: u64, log_p: f32) -> ScoredWindow {
        let suffix_chars = SUFFIX as u64 * CHARS_A_TOKEN;
        let impossible = log_p == f32::NEG_INFINITY;
        let plain = if impossible { -180.0 } else { log_p };
        let misses = ((-plain / 3.5) as usize).min(SUFFIX - 6);
        let (mut logprob, mut rank) = (vec![-0.004_f32; SUFFIX], vec![0_u32; SUFFIX]);
        let rest = plain + 0.004 * (SUFFIX - misses) as f32;
        for k in 0..misses {
            let at = (11 + 7 * k + n as usize) % SUFFIX;
            let at = (0..SUFFIX)
                .map(|step| (at + step) % SUFFIX)
                .find(|&at| rank[at] == 0)
                .unwrap_or(at);
            (logprob[at], rank[at]) = (rest / misses as f32, 1 + (k as u32 * 5) % 30);
        }
        if misses == 0 {
            logprob = vec![plain / SUFFIX as f32; SUFFIX];
        }
        let mut top_k = logprob.clone();
        if impossible {
            (top_k[9], rank[9]) = (f32::NEG_INFINITY, 812);
        }
        let form_name = if form == Form::AsGiven {
            "as_given"
        } else {
            "reflowed"
        };
        ScoredWindow {
            item: ItemId(id.to_owned()),
            window: WindowId(format!("{id}/{form_name}/{}", n * SUFFIX as u64)),
            placement: Placement {
                form,
                template: Default::default(),
                start_token: (n * SUFFIX as u64) as u32,
                start_byte: n * suffix_chars,
                suffix_byte: (n + 1) * suffix_chars,
                end_byte: (n + 2) * suffix_chars,
                suffix_char: (n + 1) * suffix_chars,
                end_char: (n + 2) * suffix_chars,
                prefix_len: 51,
                suffix_len: SUFFIX as u32,
                straddles: false,
            },
            text: TextStats {
                suffix_chars: suffix_chars as u32,
                zlib_bits_per_char: 4.1,
                copied_from_prefix: 0.02,
            },
            token_ids: None,
            left: None,
            scores: Ok(TokenScores {
                margin: rank
                    .iter()
                    .map(|&rank| if rank == 0 { 2.4 } else { -1.1 })
                    .collect(),
                scheme_logprob: under_schemes(&logprob, top_k, &rank),
                expected_logprob: vec![-2.5; SUFFIX],
                logprob_sd: vec![1.5; SUFFIX],
                logprob,
                rank,
            }),
        }
    }

    /// Evenly spread over 0 to 1, the same in every run.
    fn noise(&mut self) -> f32 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// Of every run, and two more that policies ask for.
fn schemes() -> Vec<Scheme> {
    let sharp = Scheme {
        id: "t0.7_top_p0.9".to_owned(),
        temperature: 0.7,
        top_p: Some(0.9),
        ..Scheme::full()
    };
    Scheme::with_defaults(&[Scheme::greedy(), sharp])
}

/// One list a scheme of [`schemes`]: the third is greedy decoding, the last sharpens and leaves the unlikely out.
fn under_schemes(full: &[f32], top_k: Vec<f32>, rank: &[u32]) -> Vec<Vec<f32>> {
    let greedy = rank
        .iter()
        .map(|&rank| if rank == 0 { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    let sharp = full.iter().zip(rank).map(|(lp, &rank)| {
        if rank < 12 {
            lp / 0.7
        } else {
            f32::NEG_INFINITY
        }
    });
    vec![full.to_vec(), top_k, greedy, sharp.collect()]
}

/// The built-in policy without greedy decoding, under which the windows of other tests aren't scored.
pub(crate) fn policy() -> Policy {
    Policy {
        schemes: vec![Scheme::top_k(40)],
        ..Policy::default()
    }
}

/// What every format must hold to.
pub(crate) fn assert_inert_and_redacted(rendered: &str) {
    assert!(!rendered.contains(PLANTED), "text leaks");
    assert!(!rendered.contains("umber herons"), "text leaks");
    for active in ["\u{1b}", "\u{7}", "\r", "\u{202e}", "\u{200b}"] {
        assert!(!rendered.contains(active), "{active:?} is live");
    }
}
