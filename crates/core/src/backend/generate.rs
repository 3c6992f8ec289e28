//! Generates the model's own text, token by token, with [`Backend::decode`].

use super::logits::top;
use super::{Backend, Branch, GreedyToken, ScoreError};

/// The model's greedy continuations of prompts of one length, with `tokens` tokens each: always the
/// likeliest token, the first of equals.
///
/// # Errors
/// As for [`Backend::decode`].
pub fn greedy(
    backend: &dyn Backend,
    prompts: &[&[u32]],
    tokens: usize,
) -> Result<Vec<Vec<GreedyToken>>, ScoreError> {
    let mut out: Vec<Vec<GreedyToken>> =
        prompts.iter().map(|_| Vec::with_capacity(tokens)).collect();
    if tokens == 0 {
        return Ok(out);
    }
    let mut broken = None;
    backend.decode(prompts, &mut |rows| {
        let mut next = Vec::with_capacity(rows.len());
        for (parent, (row, continuation)) in rows.iter().zip(&mut out).enumerate() {
            match top(row) {
                Some((token, logprob)) => {
                    continuation.push(GreedyToken { id: token, logprob });
                    next.push(Branch { parent, token });
                }
                None => {
                    broken = Some(ScoreError::NonFinite {
                        position: continuation.len(),
                    })
                }
            }
        }
        let done = broken.is_some() || out.first().is_none_or(|first| first.len() >= tokens);
        if done { Vec::new() } else { next }
    })?;
    broken.map_or(Ok(out), Err)
}
