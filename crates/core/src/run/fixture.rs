//! Small runs to test with.

use crate::backend::scripted::Scripted;
use crate::backend::{Backend as _, ScoreError, ScoreInput};
use crate::digest::{Digest, FileDigest};
use crate::items::{InputManifest, ItemId};
use crate::run::{
    ModelIdentity, Plan, RUN_SCHEMA, RunManifest, ScoredWindow, Settings, TOOL, TextStats,
};
use crate::tokens::BosChoice;
use crate::window::{Form, Placement, Reflow, Stride, Window, WindowConfig, WindowId};

pub(crate) fn windows(count: u32) -> Vec<Window> {
    (0..count)
        .map(|i| Window {
            id: WindowId(format!("text#{i}")),
            item: ItemId("text".to_owned()),
            placement: Placement {
                form: Form::AsGiven,
                template: Default::default(),
                start_token: i,
                start_byte: 0,
                suffix_byte: 2,
                end_byte: 5,
                suffix_char: 2,
                end_char: 5,
                prefix_len: 2,
                suffix_len: 3,
                straddles: false,
            },
            token_ids: vec![i % 16, 1, 2, (i + 3) % 16, 4],
        })
        .collect()
}

pub(crate) fn backend() -> Scripted {
    let mut backend = Scripted::new(16, 64);
    backend.fail_on(&[7, 1, 2, 10, 4], ScoreError::NonFinite { position: 1 });
    backend
}

pub(crate) fn scored(windows: &[Window]) -> Vec<ScoredWindow> {
    let inputs: Vec<_> = windows
        .iter()
        .map(|w| ScoreInput {
            token_ids: &w.token_ids,
            prefix_len: w.placement.prefix_len as usize,
        })
        .collect();
    let scores = backend().score(&inputs);
    windows
        .iter()
        .zip(scores)
        .map(|(w, scores)| ScoredWindow {
            item: w.item.clone(),
            window: w.id.clone(),
            placement: w.placement.clone(),
            text: TextStats {
                suffix_chars: 3,
                zlib_bits_per_char: 8.5,
                copied_from_prefix: 0.0,
            },
            token_ids: None,
            left: None,
            scores: scores.map_err(|e| e.to_string()),
        })
        .collect()
}

pub(crate) fn manifest(count: u32) -> RunManifest {
    let digest = Digest::of_bytes(b"model");
    RunManifest {
        schema: RUN_SCHEMA.to_owned(),
        tool: TOOL.to_owned(),
        created_at: "2026-11-01T00:00:00Z".to_owned(),
        command: vec!["byrote".to_owned(), "probe".to_owned()],
        salt: "00112233445566778899aabbccddeeff".to_owned(),
        model: ModelIdentity {
            reference: "small".to_owned(),
            source: "models/small".to_owned(),
            revision: None,
            files: vec![FileDigest {
                name: "model.safetensors".to_owned(),
                bytes: 9,
                sha256: digest.clone(),
                one_text: false,
            }],
            digest: digest.clone(),
            backend: backend().info().clone(),
            tokenizer_fingerprint: Some(digest),
            model_signing: None,
            adapter: None,
        },
        reference: None,
        probe_set: InputManifest::default(),
        settings: Settings {
            window: WindowConfig {
                prefix: 2,
                suffix: 3,
                lead: None,
                stride: Stride::Tokens(1),
                reflow: Reflow::Off,
            },
            bos: BosChoice::Auto,
            bos_token: None,
            templates: Vec::new(),
            exit: None,
            in_full: Vec::new(),
            reveal: false,
            fewer: None,
        },
        plan: Plan::of(&windows(count)),
    }
}
