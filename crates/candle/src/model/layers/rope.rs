//! Rotary position embeddings (arXiv 2104.09864) and their scalings, in f32.
//!
//! Tables are computed for each pass, since some scalings depend on the sequence's length. As in
//! the reference implementations, inverse frequencies and angles are f32.

use crate::model::cpu;
use byrote_core::simd::vectorized;
use candle_core::{D, Device, Result, Tensor};
use serde::Deserialize;
use std::f32::consts::PI;
use std::ops::Range;

/// The components of a head that are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// Component i with i + d/2, as in Hugging Face checkpoints.
    Halves,
    /// Component 2i with 2i + 1, as llama.cpp arranges Llama's queries and keys.
    Neighbours,
}

/// How rotary frequencies are scaled for longer contexts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scaling {
    None,
    /// Positions divided by `factor` (arXiv 2306.15595).
    Linear {
        factor: f32,
    },
    /// NTK-aware: beyond `original` tokens, the base grows with the sequence's length.
    Dynamic {
        factor: f32,
        original: usize,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones unchanged, with a ramp between
    /// them (arXiv 2407.21783).
    Llama3 {
        factor: f32,
        low: f32,
        high: f32,
        original: usize,
    },
    /// LongRoPE: one factor per frequency, with one set of factors up to `original` tokens and
    /// another beyond (arXiv 2402.13753).
    LongRope {
        short: Vec<f32>,
        long: Vec<f32>,
        original: usize,
        attention: f32,
    },
    /// YaRN: interpolation by frequency, and a factor on attention scores (arXiv 2309.00071).
    Yarn {
        factor: f32,
        fast: f32,
        slow: f32,
        original: usize,
        attention: f32,
        /// True if the ramp's ends are whole components.
        truncate: bool,
    },
    /// Frequencies divided by given factors, as in GGUF's `rope_freqs.weight`.
    Divided {
        by: Vec<f32>,
    },
}

/// A rotary embedding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    pub(crate) base: f32,
    /// The number of rotated components per head: all of them, or the first few.
    pub(crate) dims: usize,
    pub(crate) scaling: Scaling,
    pub(crate) pairing: Pairing,
}

/// Cosines and sines for the positions of one pass, each `[len, dims / 2]`, f32.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    cos: Tensor,
    sin: Tensor,
    dims: usize,
    pairing: Pairing,
}

impl Rope {
    /// Tables for positions `start..start + len` of a sequence of `sequence_len` tokens.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub(crate) fn tables(
        &self,
        start: usize,
        len: usize,
        sequence_len: usize,
        device: &Device,
    ) -> Result<Tables> {
        let (inverse, attention) = self.frequencies(sequence_len);
        let angles = (start..start + len).flat_map(|p| inverse.iter().map(move |f| p as f32 * f));
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles
            .map(|a| (a.cos() * attention, a.sin() * attention))
            .unzip();
        let shape = (len, inverse.len());
        Ok(Tables {
            cos: Tensor::from_vec(cos, shape, device)?,
            sin: Tensor::from_vec(sin, shape, device)?,
            dims: self.dims,
            pairing: self.pairing,
        })
    }

    /// Inverse frequencies (`dims / 2` of them), and the factor on cosines and sines.
    fn frequencies(&self, sequence_len: usize) -> (Vec<f32>, f32) {
        let plain = |base: f32| -> Vec<f32> {
            (0..self.dims)
                .step_by(2)
                .map(|i| 1.0 / base.powf(i as f32 / self.dims as f32))
                .collect()
        };
        match &self.scaling {
            Scaling::None => (plain(self.base), 1.0),
            Scaling::Linear { factor } => {
                (plain(self.base).iter().map(|f| f / factor).collect(), 1.0)
            }
            Scaling::Dynamic { factor, original } => {
                let len = sequence_len.max(*original) as f32;
                let grown = (factor * len / *original as f32) - (factor - 1.0);
                let d = self.dims as f32;
                (plain(self.base * grown.powf(d / (d - 2.0))), 1.0)
            }
            Scaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => {
                let original = *original as f32;
                let scaled = plain(self.base).into_iter().map(|f| {
                    let wavelength = 2.0 * PI / f;
                    if wavelength < original / high {
                        f
                    } else if wavelength > original / low {
                        f / factor
                    } else {
                        let smooth = (original / wavelength - low) / (high - low);
                        (1.0 - smooth) * f / factor + smooth * f
                    }
                });
                (scaled.collect(), 1.0)
            }
            Scaling::LongRope {
                short,
                long,
                original,
                attention,
            } => {
                let factors = if sequence_len > *original {
                    long
                } else {
                    short
                };
                (divided(plain(self.base), factors), *attention)
            }
            Scaling::Yarn {
                factor,
                fast,
                slow,
                original,
                attention,
                truncate,
            } => (
                self.yarn(
                    &plain(self.base),
                    *factor,
                    [*fast, *slow],
                    *original,
                    *truncate,
                ),
                *attention,
            ),
            Scaling::Divided { by } => (divided(plain(self.base), by), 1.0),
        }
    }

    fn yarn(
        &self,
        plain: &[f32],
        factor: f32,
        [fast, slow]: [f32; 2],
        original: usize,
        truncate: bool,
    ) -> Vec<f32> {
        let d = self.dims as f32;
        // The component that makes `rotations` turns within the original context.
        let component = |rotations: f32| {
            d * (original as f32 / (rotations * 2.0 * PI)).ln() / (2.0 * self.base.ln())
        };
        let (low, high) = (component(fast), component(slow));
        let (low, high) = if truncate {
            (low.floor(), high.ceil())
        } else {
            (low, high)
        };
        let (low, mut high) = (low.max(0.0), high.min(d - 1.0));
        if low == high {
            high += 0.001;
        }
        let ramp = |i: usize| ((i as f32 - low) / (high - low)).clamp(0.0, 1.0);
        plain
            .iter()
            .enumerate()
            .map(|(i, f)| f / factor * ramp(i) + f * (1.0 - ramp(i)))
            .collect()
    }
}

fn divided(plain: Vec<f32>, by: &[f32]) -> Vec<f32> {
    plain.iter().zip(by).map(|(f, by)| f / by).collect()
}

impl Tables {
    /// The tables of some positions only, relative to the pass.
    ///
    /// # Errors
    /// If `rows` aren't positions of the pass.
    pub(crate) fn at(&self, rows: &Range<usize>) -> Result<Self> {
        let cut = |table: &Tensor| table.narrow(0, rows.start, rows.len());
        Ok(Self {
            cos: cut(&self.cos)?,
            sin: cut(&self.sin)?,
            ..*self
        })
    }

    /// On the CPU: calls `turn` with a function that rotates the components of one head in place,
    /// given a position of the pass.
    ///
    /// # Errors
    /// If the tables are on another device, or `turn` fails.
    pub(in crate::model) fn with_rotation<R>(
        &self,
        turn: impl FnOnce(&dyn Fn(usize, &mut [f32])) -> Result<R>,
    ) -> Result<R> {
        let half = self.dims / 2;
        let turned = cpu::with_slice(&self.cos, |cos| {
            cpu::with_slice(&self.sin, |sin| {
                turn(&|position, x| {
                    let at = position * half..(position + 1) * half;
                    match self.pairing {
                        Pairing::Halves => rotate_halves(x, &cos[at.clone()], &sin[at]),
                        Pairing::Neighbours => rotate_neighbours(x, &cos[at.clone()], &sin[at]),
                    }
                })
            })
        })?;
        turned
            .flatten()
            .ok_or_else(|| candle_core::Error::msg("rotary tables aren't on the CPU"))
    }

    /// Rotates queries or keys of shape `[batch, heads, len, head_dim]`.
    ///
    /// # Errors
    /// On a shape mismatch, or if memory runs out.
    pub(crate) fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let rotate = match self.pairing {
            Pairing::Halves => candle_nn::rotary_emb::rope,
            Pairing::Neighbours => candle_nn::rotary_emb::rope_i,
        };
        let width = x.dim(D::Minus1)?;
        if width == self.dims {
            return rotate(&x.contiguous()?, &self.cos, &self.sin);
        }
        let turned = rotate(
            &x.narrow(D::Minus1, 0, self.dims)?.contiguous()?,
            &self.cos,
            &self.sin,
        )?;
        let kept = x.narrow(D::Minus1, self.dims, width - self.dims)?;
        Tensor::cat(&[turned, kept.contiguous()?], D::Minus1)
    }
}

vectorized! {
    /// Rotates the first `2 * cos.len()` components of one head.
    fn rotate_halves(x: &mut [f32], cos: &[f32], sin: &[f32]) {
        let (low, high) = x[..2 * cos.len()].split_at_mut(cos.len());
        for (((a, b), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
            (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
        }
    }
}

vectorized! {
    /// As [`rotate_halves`], with adjacent components as pairs.
    fn rotate_neighbours(x: &mut [f32], cos: &[f32], sin: &[f32]) {
        for ((pair, cos), sin) in x.chunks_exact_mut(2).zip(cos).zip(sin) {
            (pair[0], pair[1]) = (pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos);
        }
    }
}

/// `rope_scaling` (or the newer `rope_parameters`) of a config.json, as written.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RawScaling {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    /// Newer configs contain the base here.
    pub(crate) rope_theta: Option<f32>,
    /// Newer configs of partly rotated heads contain the share here.
    pub(crate) partial_rotary_factor: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<usize>,
    /// The divisors of the frequencies, as in GGUF.
    factors: Option<Vec<f32>>,
    short_factor: Option<Vec<f32>>,
    long_factor: Option<Vec<f32>>,
    attention_factor: Option<f32>,
    beta_fast: Option<f32>,
    beta_slow: Option<f32>,
    mscale: Option<f32>,
    mscale_all_dim: Option<f32>,
    truncate: Option<bool>,
}

impl RawScaling {
    /// The checked scaling. `context` is the config's `max_position_embeddings`; `original` is its
    /// own `original_max_position_embeddings`, which some families store outside the table; `dims`
    /// is as in [`Rope`].
    ///
    /// # Errors
    /// The error says which field is missing or which type is unknown.
    pub(crate) fn check(
        &self,
        context: usize,
        original: Option<usize>,
        dims: usize,
    ) -> std::result::Result<Scaling, String> {
        let kind = self.rope_type.as_deref().unwrap_or("default");
        let need = |field: Option<f32>, name: &str| {
            field.ok_or_else(|| format!("rope scaling \"{kind}\" lacks \"{name}\""))
        };
        let list = |list: &Option<Vec<f32>>, name: &str| match list {
            Some(list) if list.len() == dims / 2 => Ok(list.clone()),
            Some(list) => Err(format!(
                "\"{name}\" has {} entries; {} are needed",
                list.len(),
                dims / 2
            )),
            None => Err(format!("rope scaling \"{kind}\" lacks \"{name}\"")),
        };
        let original = self.original_max_position_embeddings.or(original);
        Ok(match kind {
            "default" => Scaling::None,
            "linear" => Scaling::Linear {
                factor: need(self.factor, "factor")?,
            },
            "dynamic" => Scaling::Dynamic {
                factor: need(self.factor, "factor")?,
                original: original.unwrap_or(context),
            },
            "llama3" => Scaling::Llama3 {
                factor: need(self.factor, "factor")?,
                low: need(self.low_freq_factor, "low_freq_factor")?,
                high: need(self.high_freq_factor, "high_freq_factor")?,
                original: original
                    .ok_or("rope scaling \"llama3\" lacks \"original_max_position_embeddings\"")?,
            },
            "divided" => Scaling::Divided {
                by: list(&self.factors, "factors")?,
            },
            "longrope" | "su" => {
                let original = original.unwrap_or(context);
                // Newer configs contain the factor; in older ones, it follows from the two context
                // lengths.
                let factor = self.factor.unwrap_or(context as f32 / original as f32);
                let attention = self.attention_factor.unwrap_or(if factor <= 1.0 {
                    1.0
                } else {
                    (1.0 + factor.ln() / (original as f32).ln()).sqrt()
                });
                Scaling::LongRope {
                    short: list(&self.short_factor, "short_factor")?,
                    long: list(&self.long_factor, "long_factor")?,
                    original,
                    attention,
                }
            }
            "yarn" => {
                let original = original.unwrap_or(context);
                let factor = match self.factor {
                    Some(factor) => factor,
                    None => context as f32 / original as f32,
                };
                let warmth = |scale: f32| {
                    if factor <= 1.0 {
                        1.0
                    } else {
                        0.1 * scale * factor.ln() + 1.0
                    }
                };
                let attention = match (self.attention_factor, self.mscale, self.mscale_all_dim) {
                    (Some(stated), ..) => stated,
                    (None, Some(m), Some(all)) if m != 0.0 && all != 0.0 => warmth(m) / warmth(all),
                    _ => warmth(1.0),
                };
                Scaling::Yarn {
                    factor,
                    fast: self.beta_fast.unwrap_or(32.0),
                    slow: self.beta_slow.unwrap_or(1.0),
                    original,
                    attention,
                    truncate: self.truncate.unwrap_or(true),
                }
            }
            other => {
                return Err(format!(
                    "rope scaling \"{other}\" is unknown; byrote knows linear, dynamic, llama3, longrope, yarn"
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(scaling: Scaling) -> Rope {
        Rope {
            base: 10_000.0,
            dims: 64,
            scaling,
            pairing: Pairing::Halves,
        }
    }

    #[test]
    fn tables_agree_with_double_precision_at_far_positions() {
        let tables = rope(Scaling::None)
            .tables(1_000, 1, 1_001, &Device::Cpu)
            .unwrap();
        let cos = tables.cos.to_vec2::<f32>().unwrap();
        for (i, cos) in cos[0].iter().enumerate() {
            let exact = (1_000.0 / 10_000f64.powf(2.0 * i as f64 / 64.0)).cos();
            assert!(
                (f64::from(*cos) - exact).abs() < 1e-4,
                "component {i}: {cos} against {exact}"
            );
        }
    }

    #[test]
    fn scalings_keep_high_frequencies_and_lower_low_ones() {
        let plain = rope(Scaling::None).frequencies(100).0;
        let llama3 = rope(Scaling::Llama3 {
            factor: 8.0,
            low: 1.0,
            high: 4.0,
            original: 8_192,
        })
        .frequencies(100)
        .0;
        assert_eq!(plain[0], llama3[0]);
        assert!((plain[31] / llama3[31] - 8.0).abs() < 1e-4);
        let dynamic = rope(Scaling::Dynamic {
            factor: 2.0,
            original: 512,
        });
        assert_eq!(
            dynamic.frequencies(512).0,
            plain,
            "short sequences are untouched"
        );
        assert!(dynamic.frequencies(1_024).0[31] < plain[31]);
    }

    #[test]
    fn rotation_preserves_lengths_and_unrotated_components() {
        let x = Tensor::arange(0f32, 32.0, &Device::Cpu)
            .unwrap()
            .reshape((1, 1, 2, 16))
            .unwrap();
        for pairing in [Pairing::Halves, Pairing::Neighbours] {
            let rope = Rope {
                base: 100.0,
                dims: 8,
                scaling: Scaling::None,
                pairing,
            };
            let y = rope
                .tables(3, 2, 5, &Device::Cpu)
                .unwrap()
                .rotate(&x)
                .unwrap();
            let (x, y) = (
                x.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                y.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            );
            assert_eq!(x[8..16], y[8..16]);
            let norm = |v: &[f32]| v.iter().map(|a| a * a).sum::<f32>();
            assert!((norm(&x[..8]) - norm(&y[..8])).abs() < 1e-3);
            assert_ne!(x[..8], y[..8]);
        }
    }

    #[test]
    fn an_unknown_or_incomplete_scaling_is_an_error_with_the_reason() {
        let raw = |json: &str| {
            serde_json::from_str::<RawScaling>(json)
                .unwrap()
                .check(2_048, None, 64)
                .unwrap_err()
        };
        assert!(raw(r#"{"rope_type": "spiral"}"#).contains("\"spiral\" is unknown"));
        assert!(raw(r#"{"type": "linear"}"#).contains("lacks \"factor\""));
        assert!(
            raw(r#"{"type": "su", "short_factor": [1.0], "long_factor": [1.0]}"#)
                .contains("32 are needed")
        );
    }
}
