//! Activations of feed-forward blocks, on rows as products write them.

use crate::model::layers::mlp::{Activation, Gating};
use byrote_core::simd::{exp, vectorized};

/// `1 / (1 + e^-x)`, computed with an exponential of at most 1.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// The absolute error is at most 2e-7.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const ROOT: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh(ROOT * x * (1.0 + 0.044_715 * x * x)))
}

#[inline(always)]
fn with(rows: &[f32], inner: usize, out: &mut [f32], join: impl Fn(f32, f32) -> f32) {
    for (both, out) in rows
        .chunks_exact(2 * inner)
        .zip(out.chunks_exact_mut(inner))
    {
        let (gate, up) = both.split_at(inner);
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = join(*gate, *up);
        }
    }
}

vectorized! {
    fn silu_gated(rows: &[f32], inner: usize, out: &mut [f32]) {
        with(rows, inner, out, |gate, up| gate * sigmoid(gate) * up)
    }
}
vectorized! {
    fn gelu_gated(rows: &[f32], inner: usize, out: &mut [f32]) {
        with(rows, inner, out, |gate, up| gelu_tanh(gate) * up)
    }
}
vectorized! {
    fn clamped(rows: &[f32], inner: usize, out: &mut [f32], limit: f32) {
        with(rows, inner, out, |gate, up| {
            let (gate, up) = (gate.min(limit), up.clamp(-limit, limit));
            gate * sigmoid(1.702 * gate) * (up + 1.0)
        })
    }
}
vectorized! {
    fn gelus(rows: &mut [f32]) {
        rows.iter_mut().for_each(|x| *x = gelu_tanh(*x));
    }
}
vectorized! {
    fn silus(rows: &mut [f32]) {
        rows.iter_mut().for_each(|x| *x *= sigmoid(*x));
    }
}
vectorized! {
    fn relus(rows: &mut [f32]) {
        rows.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x });
    }
}

/// Joins gate and up, `[rows, 2 * inner]`, to `[rows, inner]`. False if this gating isn't supported
/// here.
pub(crate) fn join(gating: Gating, rows: &[f32], inner: usize, out: &mut [f32]) -> bool {
    match gating {
        Gating::Product(Activation::Silu) => silu_gated(rows, inner, out),
        Gating::Product(Activation::GeluTanh) => gelu_gated(rows, inner, out),
        Gating::Clamped { limit } => clamped(rows, inner, out, limit as f32),
        Gating::Product(_) => return false,
    }
    true
}

/// Applies an activation in place. False if it isn't supported here.
pub(crate) fn apply(activation: Activation, rows: &mut [f32]) -> bool {
    match activation {
        Activation::Silu => silus(rows),
        Activation::GeluTanh => gelus(rows),
        Activation::Relu => relus(rows),
        Activation::Gelu | Activation::QuickGelu | Activation::ReluSquared => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_agree_with_double_precision() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let gelu = |x: f64| {
            0.5 * x
                * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        };
        let x: Vec<f32> = (-4_000..4_000)
            .map(|i| i as f32 / 200.0)
            .chain([-200.0, 200.0, 0.0])
            .collect();
        let rows: Vec<f32> = x.iter().flat_map(|gate| [*gate, 1.5]).collect();
        type Case<'a> = (Gating, &'a dyn Fn(f64) -> f64);
        let cases: [Case<'_>; 3] = [
            (Gating::Product(Activation::Silu), &|x| x * sigmoid(x) * 1.5),
            (Gating::Product(Activation::GeluTanh), &|x| gelu(x) * 1.5),
            (Gating::Clamped { limit: 7.0 }, &|x| {
                x.min(7.0) * sigmoid(1.702 * x.min(7.0)) * 2.5
            }),
        ];
        for (gating, want) in cases {
            let mut out = vec![0.0; x.len()];
            assert!(join(gating, &rows, 1, &mut out));
            for (x, got) in x.iter().zip(&out) {
                let want = want(f64::from(*x));
                assert!(
                    (f64::from(*got) - want).abs() < 2e-6 * want.abs().max(1.0),
                    "{gating:?} {x}: {got} {want}"
                );
            }
        }
        for (activation, want) in [
            (
                Activation::Silu,
                &(|x| x * sigmoid(x)) as &dyn Fn(f64) -> f64,
            ),
            (Activation::GeluTanh, &gelu),
        ] {
            let mut out = x.clone();
            assert!(apply(activation, &mut out));
            for (x, got) in x.iter().zip(&out) {
                let want = want(f64::from(*x));
                assert!(
                    (f64::from(*got) - want).abs() < 2e-6 * want.abs().max(1.0),
                    "{activation:?} {x}: {got} {want}"
                );
            }
        }
        let mut out = vec![-1.0, 2.0];
        assert!(apply(Activation::Relu, &mut out) && out == [0.0, 2.0]);
        assert!(
            !apply(Activation::Gelu, &mut out)
                && !join(Gating::Product(Activation::Gelu), &[], 1, &mut [])
        );
    }

    #[test]
    fn nan_stays_nan() {
        let mut out = [0.0];
        for gating in [
            Gating::Product(Activation::Silu),
            Gating::Product(Activation::GeluTanh),
        ] {
            assert!(join(gating, &[f32::NAN, 1.0], 1, &mut out) && out[0].is_nan());
        }
    }
}
