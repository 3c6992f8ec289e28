//! Early exit: the suffix is fed in chunks, and windows that may be left leave their batch.

use super::{Native, Scored, collect};
use crate::backend::exit::Exit;
use crate::backend::{ScoreError, ScoreInput, TokenScores};
use crate::model::Pass;

impl Native {
    /// Scores windows of one length and one prefix length until they may leave. A window that left has the scores of its
    /// first tokens only. Each row sees what it sees when all is fed at once, so that those who stay have the same scores.
    pub(super) fn score_chunks(&self, inputs: &[ScoreInput<'_>], exit: &Exit) -> Scored {
        let Some(first) = inputs.first() else { return Ok(Vec::new()) };
        // Walking token by token there is no batch to leave.
        if self.model.stepwise() {
            return self.score_batch(inputs);
        }
        let (len, prefix_len) = (first.token_ids.len(), first.prefix_len);
        let (suffix_len, schemes) = (len - prefix_len, &self.info.schemes);
        let mut cache = self.model.cache();
        let mut out: Vec<Result<TokenScores, ScoreError>> = vec![Ok(TokenScores::default()); inputs.len()];
        let mut live: Vec<usize> = (0..inputs.len()).collect();
        let (mut fed, mut done) = (0, 0);
        for end in Exit::ends(suffix_len) {
            // As far as the row that predicts the chunk's last token.
            let rows = super::predicting(prefix_len + done, prefix_len + end);
            let ids: Vec<u32> = live.iter().flat_map(|&i| &inputs[i].token_ids[fed..rows.end]).copied().collect();
            let pass = Pass {
                ids: &ids,
                batch: live.len(),
                len: rows.end - fed,
                rows: rows.start - fed..rows.end - fed,
                sequence_len: len,
            };
            // What follows a last chunk is never fed: nothing of it need be kept.
            let hidden = self.model.hidden(&pass, Some(&mut cache))?;
            let wanted = prefix_len + done..prefix_len + end;
            let targets: Vec<u32> = live.iter().flat_map(|&i| &inputs[i].token_ids[wanted.clone()]).copied().collect();
            let scored = self.score_rows(&hidden, &targets)?;
            let mut stay = Vec::with_capacity(live.len());
            for ((place, &i), rows) in (0u32..).zip(&live).zip(scored.chunks(end - done)) {
                match (&mut out[i], collect(rows, schemes.len())) {
                    (Ok(scores), Ok(chunk)) => {
                        scores.extend(chunk);
                        if end < suffix_len && !exit.may_leave(scores, suffix_len, schemes) {
                            stay.push((place, i));
                        }
                    }
                    (out, Err(ScoreError::NonFinite { position })) => {
                        *out = Err(ScoreError::NonFinite { position: done + position });
                    }
                    (out, Err(error)) => *out = Err(error),
                    (Err(_), Ok(_)) => {}
                }
            }
            if stay.is_empty() {
                break;
            }
            if stay.len() < live.len() {
                let places: Vec<u32> = stay.iter().map(|(place, _)| *place).collect();
                cache.select(&places, self.model.device())?;
            }
            live = stay.into_iter().map(|(_, i)| i).collect();
            (fed, done) = (prefix_len + end - 1, end);
        }
        Ok(out)
    }
}
