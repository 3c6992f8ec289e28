//! AdamW over flat slices: one pass over memory a step, where a chain of tensor operations takes a dozen.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{Tensor, Var};

/// Gradients (or moments) under the names of their weights.
pub(crate) type Flat = BTreeMap<String, Vec<f32>>;

pub(crate) struct AdamW {
    pub weight_decay: f32,
    pub clip: f32,
    moments: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
    steps: i32,
}

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.98;
const EPS: f32 = 1e-8;

impl AdamW {
    pub(crate) fn new(weight_decay: f32, clip: f32) -> Self {
        Self {
            weight_decay,
            clip,
            moments: BTreeMap::new(),
            steps: 0,
        }
    }

    /// One step; the gradient's norm is clipped first. Norm weights aren't decayed.
    pub(crate) fn step(
        &mut self,
        vars: &BTreeMap<String, Var>,
        grads: &Flat,
        lr: f32,
    ) -> Result<()> {
        self.steps += 1;
        let square: f64 = grads
            .values()
            .flatten()
            .map(|g| f64::from(*g) * f64::from(*g))
            .sum();
        let scale = (self.clip / square.sqrt().max(1e-12) as f32).min(1.0);
        let (fix1, fix2) = (1.0 - BETA1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        for (name, grad) in grads {
            let var = &vars[name];
            let decay = if var.rank() > 1 {
                self.weight_decay
            } else {
                0.0
            };
            let mut weight = var.flatten_all()?.to_vec1::<f32>()?;
            let (m, v) = self
                .moments
                .entry(name.clone())
                .or_insert_with(|| (vec![0.0; grad.len()], vec![0.0; grad.len()]));
            for (((w, g), m), v) in weight.iter_mut().zip(grad).zip(m).zip(v) {
                let g = g * scale;
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                let update = (*m / fix1) / ((*v / fix2).sqrt() + EPS);
                *w -= lr * (update + decay * *w);
            }
            var.set(&Tensor::from_vec(weight, var.shape(), var.device())?)?;
        }
        Ok(())
    }
}
