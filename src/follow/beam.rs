//! A lower bound on near-verbatim probability by beam search (k-CBS, arXiv 2603.24917).

use crate::backend::logits::support;
use crate::backend::{Backend, Branch, Scheme, ScoreError};
use crate::metric::follow_up::NearProbability;

/// A beginning of a sample.
#[derive(Clone)]
struct Path {
    log_p: f64,
    /// Edit distances to the suffix's beginnings.
    row: Vec<u32>,
    /// Still the true suffix.
    truth: bool,
}

/// A lower bound on `P(d(sample, suffix) <= distance)`, Levenshtein in tokens, over samples as long as the suffix.
///
/// # Errors
/// As for [`Backend::unroll`].
pub fn near_probability(
    backend: &dyn Backend,
    window_ids: &[u32],
    prefix_len: usize,
    scheme: &Scheme,
    distance: u32,
    width: u32,
) -> Result<NearProbability, ScoreError> {
    let (prefix, suffix) = window_ids.split_at(prefix_len);
    let mut live = vec![Path { log_p: 0.0, row: (0..=suffix.len() as u32).collect(), truth: true }];
    let (mut step, mut broken) = (0, None);
    backend.unroll(&[prefix], &mut |rows| {
        let mut next: Vec<(Branch, Path)> = Vec::new();
        for (parent, (row, path)) in rows.iter().zip(&live).enumerate() {
            let kept = support(row, scheme);
            if kept.is_empty() {
                broken = Some(ScoreError::NonFinite { position: step });
            }
            for (token, logprob) in kept {
                let row = extended(&path.row, suffix, token);
                if row.iter().min().is_some_and(|least| *least <= distance) {
                    let truth = path.truth && suffix.get(step) == Some(&token);
                    let path = Path { log_p: path.log_p + f64::from(logprob), row, truth };
                    next.push((Branch { parent, token }, path));
                }
            }
        }
        step += 1;
        next.sort_by(|(_, a), (_, b)| b.log_p.total_cmp(&a.log_p));
        let mut place = 0..;
        next.retain(|(_, path)| place.next().is_some_and(|place| place < width) || path.truth);
        let (branches, paths): (Vec<Branch>, Vec<Path>) = next.into_iter().unzip();
        live = paths;
        if step >= suffix.len() || broken.is_some() { Vec::new() } else { branches }
    })?;
    if let Some(error) = broken {
        return Err(error);
    }
    let within: Vec<f64> = live
        .iter()
        .filter(|path| path.row.last().is_some_and(|edits| *edits <= distance))
        .map(|path| path.log_p)
        .collect();
    let max = within.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = within.iter().map(|log_p| (log_p - max).exp()).sum();
    let log_p = if within.is_empty() { f64::NEG_INFINITY } else { (max + sum.ln()).min(0.0) };
    Ok(NearProbability { scheme: scheme.id.clone(), distance, beam: width, log_p, sequences: within.len() as u32 })
}

fn extended(row: &[u32], suffix: &[u32], token: u32) -> Vec<u32> {
    let mut next = Vec::with_capacity(row.len());
    next.push(row[0] + 1);
    for (j, truth) in suffix.iter().enumerate() {
        next.push((row[j] + u32::from(*truth != token)).min(row[j + 1] + 1).min(next[j] + 1));
    }
    next
}
