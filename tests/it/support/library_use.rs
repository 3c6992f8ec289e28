use byrote_candle::native::{Native, NativeConfig};
use byrote_core::backend::{Backend, Scheme, ScoreInput};
use byrote_candle::model::{Arithmetic, builtin, load};
use byrote_core::window::{Reflow, Stride, WindowConfig, WindowId, cut};
use std::error::Error;

/// ln p_z of every window of a probe set, under plain sampling from the built-in model.
pub fn log_p_z(jsonl: &[u8]) -> Result<Vec<(WindowId, f64)>, Box<dyn Error>> {
    let set = byrote_core::items::read_bytes("texts.jsonl", jsonl)?;
    let loaded = load::safetensors(&builtin::checkpoint(), &load::LoadConfig::default())?;
    let tokenizer = loaded.tokenizer.ok_or("the checkpoint has no tokenizer")?;
    let bos = tokenizer.bos(byrote_core::tokens::BosChoice::Auto)?;
    let config = NativeConfig { threads: 1, batch: 16, arithmetic: Arithmetic::F32 };
    let backend = Native::new(loaded.model, "f32", Scheme::defaults(), config)?;
    let config = WindowConfig { prefix: 50, suffix: 50, lead: None, stride: Stride::Tokens(50), reflow: Reflow::Auto };
    let mut out = Vec::new();
    for item in &set.items {
        for window in cut::cut(item, &tokenizer, bos, &config)?.windows {
            let input = ScoreInput { token_ids: &window.token_ids, prefix_len: window.placement.prefix_len as usize };
            let scores = backend.score(&[input]).remove(0)?;
            out.push((window.id, scores.logprob.iter().map(|lp| f64::from(*lp)).sum()));
        }
    }
    Ok(out)
}
