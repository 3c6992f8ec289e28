//! Computes scores on the GPU, so that a batch returns a few numbers per token instead of rows of
//! logits.
//!
//! The quantities equal those in [`byrote_core::backend::softmax`], computed by tensor operations
//! over whole blocks of rows. Sums are f32, in the order in which the device adds.

use byrote_core::backend::Scheme;
use byrote_core::backend::logits::RowScore;
use candle_core::{D, DType, Result, Tensor};

/// Logits further below the maximum than this have no weight in f32.
const LEAST: f64 = -87.0;

/// Steps of the search for the k-th largest logit. After this many halvings, the interval of
/// weights is smaller than the resolution of f32.
const HALVINGS: usize = 34;

/// True if these schemes can be scored here: all but nucleus sampling.
pub(super) fn suits(schemes: &[Scheme]) -> bool {
    schemes
        .iter()
        .all(|scheme| scheme.top_p.is_none() || scheme.temperature == 0.0)
}

/// Scores `targets` in rows of logits `[n, vocab]`, f32. `None` for a row whose scores aren't
/// finite.
///
/// # Errors
/// If the device fails or is out of memory.
pub(super) fn score_rows(
    logits: &Tensor,
    targets: &[u32],
    schemes: &[Scheme],
) -> Result<Vec<Option<RowScore>>> {
    let (rows, vocab) = logits.dims2()?;
    let device = logits.device();
    let targets = Tensor::from_slice(targets, (rows, 1), device)?;
    let own = logits.gather(&targets, 1)?;
    let is_own = Tensor::arange(0, vocab as u32, device)?
        .reshape((1, vocab))?
        .broadcast_eq(&targets)?;
    let never = Tensor::full(f32::NEG_INFINITY, (rows, vocab), device)?;
    let other = is_own.where_cond(&never, logits)?.max_keepdim(1)?;
    let max = own.maximum(&other)?;
    let above = |than: &Tensor| {
        logits
            .broadcast_gt(than)?
            .to_dtype(DType::F32)?
            .sum_keepdim(1)
    };
    let rank = above(&own)?;
    // d = x - max, at most 0.
    let below = logits.broadcast_sub(&max)?;
    let weights = below.exp()?;
    let sum = weights.sum_keepdim(1)?;
    let held = below.maximum(LEAST)?;
    let first = (&weights * &held)?;
    let (s1, s2) = (first.sum_keepdim(1)?, (&first * &held)?.sum_keepdim(1)?);
    let mut columns = vec![own.clone(), other, max.clone(), rank, sum, s1, s2];
    for scheme in schemes.iter().filter(|scheme| scheme.temperature != 0.0) {
        let warm = |below: &Tensor| (below / f64::from(scheme.temperature))?.exp();
        columns.push(
            match scheme
                .top_k
                .map(|k| k.max(1) as usize)
                .filter(|k| *k < vocab)
            {
                None => warm(&below)?.sum_keepdim(1)?,
                Some(k) => {
                    let last = kth_largest(&below, k)?;
                    let inside = below.broadcast_gt(&last)?.to_dtype(DType::F32)?;
                    let ties = (k as f64 - inside.sum_keepdim(1)?)?;
                    ((warm(&below)? * inside)?.sum_keepdim(1)? + (warm(&last)? * ties)?)?
                }
            },
        );
    }
    let width = columns.len();
    let values = Tensor::cat(&columns, D::Minus1)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    Ok(values
        .chunks_exact(width)
        .map(|row| row_score(row, vocab, schemes))
        .collect())
}

/// The k-th largest number of each row, `[n, 1]`. All numbers are at most 0. If fewer than k
/// numbers have any weight, the result is below them.
fn kth_largest(below: &Tensor, k: usize) -> Result<Tensor> {
    let (rows, _) = below.dims2()?;
    let mut low = Tensor::full(LEAST as f32, (rows, 1), below.device())?;
    let mut high = Tensor::full(f32::MIN_POSITIVE, (rows, 1), below.device())?;
    for _ in 0..HALVINGS {
        let middle = ((&low + &high)? * 0.5)?;
        let enough = below
            .broadcast_ge(&middle)?
            .to_dtype(DType::F32)?
            .sum_keepdim(1)?
            .ge(k as f64)?;
        (low, high) = (
            enough.where_cond(&middle, &low)?,
            enough.where_cond(&high, &middle)?,
        );
    }
    // The smallest number that isn't below the threshold is the k-th largest.
    let outside = below.broadcast_lt(&low)?;
    let none = Tensor::full(0f32, below.shape(), below.device())?;
    let few = below
        .broadcast_ge(&low)?
        .to_dtype(DType::F32)?
        .sum_keepdim(1)?
        .lt(k as f64)?;
    let found = outside.where_cond(&none, below)?.min_keepdim(1)?;
    few.where_cond(&low, &found)
}

fn row_score(row: &[f32], vocab: usize, schemes: &[Scheme]) -> Option<RowScore> {
    let [own, other, max, rank, sum, s1, s2, masses @ ..] = row else {
        return None;
    };
    let wide = |x: &f32| f64::from(*x);
    let log_sum = wide(max) + wide(sum).ln();
    let logprob = (wide(own) - log_sum) as f32;
    if !logprob.is_finite() {
        return None;
    }
    let rank = *rank as u32;
    let mut masses = masses.iter();
    let of_scheme = |scheme: &Scheme| -> Option<f32> {
        if scheme.temperature == 0.0 {
            return Some(if rank == 0 { 0.0 } else { f32::NEG_INFINITY });
        }
        let mass = masses.next()?;
        if scheme
            .top_k
            .is_some_and(|k| (k as usize) < vocab && rank >= k)
        {
            return Some(f32::NEG_INFINITY);
        }
        Some((wide(&(own - max)) / f64::from(scheme.temperature) - wide(mass).ln()) as f32)
    };
    let schemes = schemes.iter().map(of_scheme).collect::<Option<_>>()?;
    let mean = wide(s1) / wide(sum);
    Some(RowScore {
        logprob,
        rank,
        margin: own - other,
        schemes,
        expected_logprob: (wide(max) + mean - log_sum) as f32,
        logprob_sd: (wide(s2) / wide(sum) - mean * mean).max(0.0).sqrt() as f32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use byrote_core::backend::logits::score_row;
    use candle_core::Device;

    #[test]
    fn scores_equal_those_of_the_same_rows_on_the_host() {
        let schemes: Vec<Scheme> = [
            "full",
            "greedy",
            "top_k40",
            "t0.7",
            "t1.5_top_k3",
            "top_k100000",
        ]
        .map(|id| Scheme::parse(id).unwrap())
        .to_vec();
        assert!(suits(&schemes) && !suits(&[Scheme::parse("top_k40_top_p0.9").unwrap()]));
        let (rows, vocab) = (23, 3_001);
        // With ties, and a few values far below.
        let value = |i: usize| match i % 13 {
            0 => -120.0,
            _ => ((i * 7_919 % 1_009) as f32 / 60.0).sin() * 9.0 + (i % 11) as f32 * 0.5,
        };
        let logits: Vec<f32> = (0..rows * vocab)
            .map(|i| value(i + i / vocab * 17))
            .collect();
        let targets: Vec<u32> = (0..rows).map(|row| (row * 131 % vocab) as u32).collect();
        let tensor = Tensor::from_slice(&logits, (rows, vocab), &Device::Cpu).unwrap();
        let found = score_rows(&tensor, &targets, &schemes).unwrap();
        for (row, (found, target)) in logits.chunks(vocab).zip(found.iter().zip(&targets)) {
            let (found, want) = (
                found.as_ref().unwrap(),
                score_row(row, *target as usize, &schemes).unwrap(),
            );
            assert_eq!((found.rank, found.margin), (want.rank, want.margin));
            let all = |s: &RowScore| {
                [
                    &[s.logprob, s.expected_logprob, s.logprob_sd],
                    s.schemes.as_slice(),
                ]
                .concat()
            };
            for (i, (found, want)) in all(found).into_iter().zip(all(&want)).enumerate() {
                let same = found == want || (found - want).abs() < 2e-5 * want.abs().max(1.0);
                assert!(same, "target {target} value {i}: {found} against {want}");
            }
        }
    }

    #[test]
    fn nan_rows_have_no_score_and_the_others_do() {
        let rows = [
            [0.0f32, 1.0, 2.0],
            [0.0, f32::NAN, 2.0],
            [f32::INFINITY, 1.0, 2.0],
            [f32::NEG_INFINITY, 1.0, 1.0],
        ];
        let tensor = Tensor::new(&rows, &Device::Cpu).unwrap();
        let found = score_rows(&tensor, &[2, 2, 2, 2], &Scheme::defaults()).unwrap();
        assert_eq!(
            found.iter().map(Option::is_some).collect::<Vec<_>>(),
            [true, false, false, true]
        );
        assert!(
            found[3]
                .as_ref()
                .is_some_and(|score| (score.logprob + 2f32.ln()).abs() < 1e-6)
        );
    }
}
