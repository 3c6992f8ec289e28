//! Reads layers from a checkpoint: matrices, norms and vectors by name, checked and in the
//! requested form.

use super::{Precision, Stored, Weights};
use crate::model::ModelError;
use crate::model::layers::linear::{Linear, Matrix};
use candle_core::{DType, Tensor};

/// A position in the tree of tensor names.
#[derive(Clone, Debug)]
pub(crate) struct TensorScope<'a> {
    pub(super) weights: &'a Weights,
    prefix: String,
    /// If set, only this entry of each tensor's first dimension: one expert of several in one
    /// tensor.
    expert_index: Option<usize>,
}

/// The layout of a stored matrix in relation to `[out, in]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Stored as `[in, out]`, as in GPT-2's safetensors.
    pub(crate) transposed: bool,
    pub(crate) rows: Rows,
}

/// The order of the outputs of a fused matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// All queries, then keys, then values; or all gates, then the ups.
    Parts,
    /// By key heads: for each one, its `per` query heads, its key, its value (GPT-NeoX and BLOOM
    /// with one query each, Falcon, InternLM 2).
    ByKey { kv_heads: usize, per: usize },
    /// Gate and up alternate (gpt-oss).
    InTurns,
}

impl Layout {
    /// The layout that Candle uses.
    pub(crate) const OUT_IN: Self = Self {
        transposed: false,
        rows: Rows::Parts,
    };
    /// Transposed.
    pub(crate) const IN_OUT: Self = Self {
        transposed: true,
        rows: Rows::Parts,
    };
}

impl<'a> TensorScope<'a> {
    pub(super) fn root(weights: &'a Weights) -> Self {
        Self {
            weights,
            prefix: String::new(),
            expert_index: None,
        }
    }

    /// The scope `child` below this one.
    #[must_use]
    pub(crate) fn at(&self, child: impl std::fmt::Display) -> Self {
        Self {
            prefix: self.name(&child.to_string()),
            ..self.clone()
        }
    }

    /// One entry of the first dimension of every tensor in this scope.
    #[must_use]
    pub(crate) fn expert_index(&self, entry: usize) -> Self {
        Self {
            expert_index: Some(entry),
            ..self.clone()
        }
    }

    fn name(&self, leaf: &str) -> String {
        if self.prefix.is_empty() {
            leaf.to_owned()
        } else {
            format!("{}.{leaf}", self.prefix)
        }
    }

    /// True if the checkpoint has the tensor `leaf` in this scope.
    pub(crate) fn has(&self, leaf: &str) -> bool {
        self.weights.stored_name(&self.name(leaf)).is_some()
    }

    /// A tensor in f32 with its stored shape.
    ///
    /// # Errors
    /// If it is missing.
    pub(crate) fn any(&self, leaf: &str) -> Result<Tensor, ModelError> {
        Ok(self
            .weights
            .read(&self.name(leaf), self.expert_index)?
            .dense(DType::F32, &self.weights.device)?)
    }

    /// A tensor in f32 of this shape.
    ///
    /// # Errors
    /// If it is missing or of another shape.
    pub(crate) fn tensor(&self, leaf: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let name = self.name(leaf);
        let stored = self.weights.read(&name, self.expert_index)?;
        self.weights.check(&name, stored.shape(), shape)?;
        Ok(stored.dense(DType::F32, &self.weights.device)?)
    }

    /// A matrix `[rows, width]` in the requested precision.
    ///
    /// # Errors
    /// If it is missing or of another shape.
    pub(crate) fn matrix(
        &self,
        module: &str,
        rows: usize,
        width: usize,
    ) -> Result<Matrix, ModelError> {
        self.stacked(&[(module, rows)], width, Layout::OUT_IN)
    }

    /// A linear layer, of one module or of several stacked along their outputs.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub(crate) fn linear(
        &self,
        modules: &[(&str, usize)],
        width: usize,
        bias: bool,
        layout: Layout,
    ) -> Result<Linear, ModelError> {
        let weight = self.stacked(modules, width, layout)?;
        if !bias {
            return Ok(Linear::new(weight, None));
        }
        let biases = modules
            .iter()
            .map(|(module, rows)| self.tensor(&format!("{module}.bias"), &[*rows]))
            .collect::<Result<Vec<_>, _>>()?;
        let bias = reordered(&Tensor::cat(&biases, 0)?, layout)?;
        Ok(Linear::new(weight, Some(bias)))
    }

    fn stacked(
        &self,
        modules: &[(&str, usize)],
        width: usize,
        layout: Layout,
    ) -> Result<Matrix, ModelError> {
        let mut quantized = Vec::new();
        let mut dense = Vec::new();
        let Weights {
            precision, device, ..
        } = self.weights;
        let at_load = matches!(precision, Precision::AtLoad(_));
        if layout == Layout::OUT_IN && self.expert_index.is_none() && !at_load {
            let named: Vec<_> = modules
                .iter()
                .map(|(module, rows)| (self.name(&format!("{module}.weight")), *rows))
                .collect();
            if let Some(tensor) = self.weights.read_stacked(&named, width)? {
                return Ok(Matrix::dense(tensor)?);
            }
        }
        for (module, rows) in modules {
            let name = self.name(&format!("{module}.weight"));
            let stored = self.weights.read(&name, self.expert_index)?;
            let layout = self.weights.layout(&name, layout);
            let wanted = if layout.transposed {
                [width, *rows]
            } else {
                [*rows, width]
            };
            self.weights.check(&name, stored.shape(), &wanted)?;
            match (stored, *precision) {
                // Dequantized below, one panel at a time.
                (Stored::Quantized(q), _)
                    if layout == Layout::OUT_IN && dense.is_empty() && !at_load =>
                {
                    quantized.push(q)
                }
                (stored, Precision::AtLoad(quant)) => {
                    match self.weights.quantized(quant, &name, stored, layout)? {
                        Matrix::Quantized(parts) => quantized.extend(parts),
                        Matrix::Dense(tensor) => dense.push(tensor),
                        Matrix::Packed(packed) => {
                            return Err(self.weights.error(format!("{packed:?} can't be stacked")));
                        }
                    }
                }
                (stored, _) => dense.push(reordered(
                    &stored.dense(precision.dense(), device)?,
                    layout,
                )?),
            }
        }
        if dense.is_empty() {
            if at_load || *precision == Precision::Quantized {
                return Ok(Matrix::Quantized(quantized));
            }
            if let Some(packed) = Matrix::written_out(&quantized, precision.dense(), device)? {
                return Ok(packed);
            }
        }
        // Some of the matrices may be quantized and others not.
        for q in quantized.into_iter().rev() {
            dense.insert(0, Stored::Quantized(q).dense(precision.dense(), device)?);
        }
        Ok(Matrix::dense(if dense.len() == 1 {
            dense.swap_remove(0)
        } else {
            Tensor::cat(&dense, 0)?
        })?)
    }
}

/// Reorders a stored matrix or bias to `[out, in]` or `[out]`, with its parts one after the other.
pub(super) fn reordered(tensor: &Tensor, layout: Layout) -> candle_core::Result<Tensor> {
    let tensor = if layout.transposed && tensor.rank() == 2 {
        tensor.t()?.contiguous()?
    } else {
        tensor.clone()
    };
    let rows = tensor.dim(0)?;
    let rest = tensor.elem_count() / rows.max(1);
    match layout.rows {
        Rows::Parts => Ok(tensor),
        Rows::ByKey { kv_heads, per } => {
            let d = rows / (kv_heads * (per + 2)).max(1);
            let by_key = tensor.reshape((kv_heads, per + 2, d, rest))?;
            let part = |start: usize, len: usize| {
                by_key
                    .narrow(1, start, len)?
                    .reshape((kv_heads * len * d, rest))
            };
            Tensor::cat(&[part(0, per)?, part(per, 1)?, part(per + 1, 1)?], 0)?
                .reshape(tensor.shape())
        }
        Rows::InTurns => tensor
            .reshape((rows / 2, 2, rest))?
            .transpose(0, 1)?
            .contiguous()?
            .reshape(tensor.shape()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn fused_rows_are_reordered_to_queries_then_keys_then_values() {
        let reordered_rows = |rows: &[f32], layout| {
            reordered(&Tensor::new(rows, &Device::Cpu).unwrap(), layout)
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
        };
        let by_key = |kv_heads, per| Layout {
            rows: Rows::ByKey { kv_heads, per },
            ..Layout::OUT_IN
        };
        // Heads of one component: q0 k0 v0 q1 k1 v1.
        assert_eq!(
            reordered_rows(&[0., 10., 20., 1., 11., 21.], by_key(2, 1)),
            [0., 1., 10., 11., 20., 21.]
        );
        // Two queries per key: q0 q1 k0 v0 q2 q3 k1 v1.
        let grouped = [0., 1., 10., 20., 2., 3., 11., 21.];
        assert_eq!(
            reordered_rows(&grouped, by_key(2, 2)),
            [0., 1., 2., 3., 10., 11., 20., 21.]
        );
        let turns = Layout {
            rows: Rows::InTurns,
            ..Layout::OUT_IN
        };
        assert_eq!(
            reordered_rows(&[0., 10., 1., 11.], turns),
            [0., 1., 10., 11.]
        );
    }
}
