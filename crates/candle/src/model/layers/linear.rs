//! Products with matrices in any form, and embeddings.

use crate::model::cpu;
use crate::model::cpu::packed::{Arithmetic, PANEL, Packed};
use crate::model::cpu::product::{Target, product, product_of};
use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Result, Tensor, bail};
use half::bf16;
use std::ops::Range;

/// Quantized matrices are widened in panels of at most this many elements (64 MiB in f32), so that
/// no large vocabulary is in memory as a whole.
const PANEL_ELEMENTS: usize = 16 << 20;
/// The same limit for panels that are packed for one product (4 MiB): small enough to be in the
/// cache when they are multiplied.
const PACKED_ELEMENTS: usize = 1 << 20;

/// `y = x W^T + b`, f32 in and out.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Matrix,
    bias: Option<Tensor>,
}

/// A matrix of shape `[out, in]`.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// In f32 or bf16, in panels for the CPU's own products.
    Packed(Packed),
    /// In f32, bf16 or f16.
    Dense(Tensor),
    /// Quantized, in one piece or stacked from several along the rows.
    Quantized(Vec<QTensor>),
}

impl Linear {
    /// `bias` is f32, of shape `[out]`.
    pub(crate) fn new(weight: Matrix, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// `[..., in]` to `[..., out]`.
    ///
    /// # Errors
    /// On a shape mismatch, or if memory runs out.
    pub(crate) fn forward(&self, x: &Tensor, arithmetic: Arithmetic) -> Result<Tensor> {
        let dims = x.dims();
        let (lead, width) = dims.split_at(dims.len() - 1);
        let rows = lead.iter().product::<usize>();
        let mut shape = lead.to_vec();
        shape.push(self.outputs()?);
        if cpu::available() && x.device().is_cpu() {
            let multiplied = cpu::with_slice(x, |x| {
                let mut y = vec![0.0; shape.iter().product()];
                self.multiply(x, arithmetic, &mut y)?;
                Ok(y)
            })?;
            if let Some(y) = multiplied {
                return Tensor::from_vec(y, shape, x.device());
            }
        }
        let y = self.weight.product(&x.reshape((rows, width[0]))?)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape(shape)
    }

    /// Rows of the weight: numbers per output row.
    ///
    /// # Errors
    /// If the weight isn't a matrix.
    pub(crate) fn outputs(&self) -> Result<usize> {
        self.weight.outputs()
    }

    /// True if a product of few rows costs less than one of many. False for a weight that isn't
    /// packed, because each product unpacks it.
    pub(in crate::model) fn is_packed(&self) -> bool {
        matches!(self.weight, Matrix::Packed(_))
    }

    /// On the CPU: multiplies consecutive rows of `in` numbers to rows of `out` numbers.
    ///
    /// # Errors
    /// If `x` isn't a whole number of rows, or `y` doesn't have the same number of rows.
    pub(in crate::model) fn multiply(
        &self,
        x: &[f32],
        arithmetic: Arithmetic,
        y: &mut [f32],
    ) -> Result<()> {
        let (inputs, outputs) = (self.weight.inputs()?, self.outputs()?);
        if inputs == 0
            || outputs == 0
            || !x.len().is_multiple_of(inputs)
            || y.len() != x.len() / inputs * outputs
        {
            bail!(
                "{} activations and {} outputs for a matrix of {outputs} rows of {inputs}",
                x.len(),
                y.len()
            );
        }
        let mut target = Target {
            values: y,
            stride: outputs,
            column: 0,
        };
        match &self.weight {
            Matrix::Packed(packed) => product(x, packed, arithmetic, &mut target),
            Matrix::Dense(weight) => {
                let step = (PACKED_ELEMENTS / inputs).next_multiple_of(PANEL);
                for start in (0..outputs).step_by(step) {
                    let panel = weight
                        .narrow(0, start, step.min(outputs - start))?
                        .to_dtype(DType::F32)?;
                    multiply_panel(x, &panel, arithmetic, &mut target)?;
                }
            }
            Matrix::Quantized(parts) => {
                for part in parts {
                    for panel in panels(part, PACKED_ELEMENTS)? {
                        multiply_panel(x, &panel?, arithmetic, &mut target)?;
                    }
                }
            }
        }
        self.add_bias(0..outputs, y)
    }

    /// As [`Linear::multiply`], but only for some outputs, from a multiple of [`PANEL`] on. False
    /// if the weight isn't packed.
    ///
    /// # Errors
    /// As for [`Linear::multiply`], and if the weight doesn't have these outputs.
    pub(in crate::model) fn multiply_part(
        &self,
        x: &[f32],
        wanted: Range<usize>,
        arithmetic: Arithmetic,
        y: &mut [f32],
    ) -> Result<bool> {
        let Matrix::Packed(packed) = &self.weight else {
            return Ok(false);
        };
        let (inputs, count) = (packed.inputs(), wanted.len());
        let there = wanted.start.is_multiple_of(PANEL) && wanted.end <= packed.outputs();
        if !there
            || inputs == 0
            || !x.len().is_multiple_of(inputs)
            || y.len() != x.len() / inputs * count
        {
            bail!(
                "{} activations and {} outputs for rows {wanted:?} of {packed:?}",
                x.len(),
                y.len()
            );
        }
        product_of(
            x,
            packed,
            wanted.clone(),
            arithmetic,
            &mut Target {
                values: y,
                stride: count,
                column: 0,
            },
        );
        self.add_bias(wanted, y).map(|()| true)
    }

    fn add_bias(&self, wanted: Range<usize>, y: &mut [f32]) -> Result<()> {
        if let Some(bias) = &self.bias {
            let added = cpu::with_slice(bias, |bias| {
                let bias = &bias[wanted.clone()];
                for row in y.chunks_exact_mut(wanted.len().max(1)) {
                    row.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
                }
                Ok(())
            })?;
            if added.is_none() {
                bail!("a bias isn't f32 on the CPU");
            }
        }
        Ok(())
    }
}

/// Multiplies by some rows of a matrix, in f32, and advances the target's column.
fn multiply_panel(
    x: &[f32],
    panel: &Tensor,
    arithmetic: Arithmetic,
    target: &mut Target<'_>,
) -> Result<()> {
    let (rows, inputs) = panel.dims2()?;
    let done = cpu::with_slice(panel, |panel| {
        let packed = match arithmetic {
            Arithmetic::Bf16 if cpu::multiplies_bf16() => Packed::from_bf16(
                &panel.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>(),
                inputs,
            ),
            _ => Packed::from_f32(panel, inputs),
        };
        product(x, &packed, arithmetic, target);
        Ok(())
    })?;
    target.column += rows;
    done.ok_or_else(|| candle_core::Error::msg("a panel isn't f32 on the CPU"))
}

impl Matrix {
    /// A matrix in f32, bf16 or f16, packed if the CPU's own products will multiply it.
    ///
    /// # Errors
    /// If it isn't a matrix.
    pub(crate) fn dense(weight: Tensor) -> Result<Self> {
        let (_, inputs) = weight.dims2()?;
        if !cpu::available() || !weight.device().is_cpu() {
            return Ok(Self::Dense(weight));
        }
        let weight = weight.contiguous()?;
        let packed = {
            let (storage, layout) = weight.storage_and_layout();
            match (&*storage, layout.contiguous_offsets()) {
                (
                    candle_core::Storage::Cpu(candle_core::CpuStorage::F32(values)),
                    Some((start, end)),
                ) => Some(Packed::from_f32(&values[start..end], inputs)),
                (
                    candle_core::Storage::Cpu(candle_core::CpuStorage::BF16(values)),
                    Some((start, end)),
                ) => Some(Packed::from_bf16(&values[start..end], inputs)),
                _ => None,
            }
        };
        Ok(packed.map_or(Self::Dense(weight), Self::Packed))
    }

    /// Stacks quantized matrices, dequantized to f32 or bf16 and packed one panel at a time, so
    /// that memory never holds the whole matrix unpacked. `None` if the CPU has no products of its
    /// own, or `dtype` is another.
    ///
    /// # Errors
    /// If they differ in width.
    pub(crate) fn written_out(
        parts: &[QTensor],
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Self>> {
        let kept = match dtype {
            DType::F32 => Arithmetic::F32,
            DType::BF16 => Arithmetic::Bf16,
            _ => return Ok(None),
        };
        let Some(first) = parts
            .first()
            .filter(|_| cpu::available() && device.is_cpu())
        else {
            return Ok(None);
        };
        let inputs = first.shape().dims2()?.1;
        let outputs = parts
            .iter()
            .map(|part| Ok(part.shape().dims2()?.0))
            .sum::<Result<usize>>()?;
        let mut packed = Packed::zeros(outputs, inputs, kept);
        let mut row = 0;
        for part in parts {
            for panel in panels(part, PACKED_ELEMENTS)? {
                let panel = panel?;
                let (rows, width) = panel.dims2()?;
                if width != inputs {
                    bail!("matrices of {inputs} and {width} inputs can't be stacked");
                }
                cpu::with_slice(&panel, |panel| {
                    packed.fill(row, panel);
                    Ok(())
                })?;
                row += rows;
            }
        }
        Ok(Some(Self::Packed(packed)))
    }

    fn outputs(&self) -> Result<usize> {
        match self {
            Self::Packed(packed) => Ok(packed.outputs()),
            Self::Dense(weight) => weight.dim(0),
            Self::Quantized(parts) => parts.iter().map(|part| Ok(part.shape().dims2()?.0)).sum(),
        }
    }

    fn inputs(&self) -> Result<usize> {
        match self {
            Self::Packed(packed) => Ok(packed.inputs()),
            Self::Dense(weight) => weight.dim(1),
            Self::Quantized(parts) => parts
                .first()
                .map_or(Ok(0), |part| Ok(part.shape().dims2()?.1)),
        }
    }

    /// `[n, in]` in f32 to `[n, out]` in f32, by Candle.
    fn product(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(packed) => bail!("{packed:?} is for activations in f32 on the CPU"),
            Self::Dense(w) if w.dtype() == DType::F32 => x.matmul(&w.t()?),
            // Widening is exact, and cheap compared to a product over many rows.
            Self::Dense(w) if w.device().is_cpu() => x.matmul(&w.to_dtype(DType::F32)?.t()?),
            Self::Dense(w) => x.to_dtype(w.dtype())?.matmul(&w.t()?)?.to_dtype(DType::F32),
            Self::Quantized(parts) => {
                let mut columns = Vec::new();
                for part in parts {
                    for panel in panels(part, PANEL_ELEMENTS)? {
                        columns.push(x.matmul(&panel?.t()?)?);
                    }
                }
                if columns.len() == 1 {
                    Ok(columns.swap_remove(0))
                } else {
                    Tensor::cat(&columns, 1)
                }
            }
        }
    }

    /// Rows `ids` of the matrix in f32, shape `[ids, in]`.
    fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(packed) => {
                let ids = ids.to_vec1::<u32>()?;
                let mut rows = vec![0.0; ids.len() * packed.inputs()];
                for (id, row) in ids.iter().zip(rows.chunks_exact_mut(packed.inputs())) {
                    let id = *id as usize;
                    if id >= packed.outputs() {
                        bail!("row {id} of a matrix of {}", packed.outputs());
                    }
                    packed.row(id, row);
                }
                Tensor::from_vec(rows, (ids.len(), packed.inputs()), &Device::Cpu)
            }
            Self::Dense(w) => w.index_select(ids, 0)?.to_dtype(DType::F32),
            Self::Quantized(parts) => match parts.as_slice() {
                [one] => one.embedding(ids)?.to_dtype(DType::F32),
                _ => bail!(
                    "an embedding is one matrix, not {} stacked ones",
                    parts.len()
                ),
            },
        }
    }
}

/// A quantized matrix as f32 panels of at most this many elements, from top to bottom.
fn panels(matrix: &QTensor, elements: usize) -> Result<impl Iterator<Item = Result<Tensor>> + '_> {
    let (rows, width) = matrix.shape().dims2()?;
    let step = (elements / width.max(1)).clamp(1, rows.max(1));
    let whole = step >= rows;
    Ok((0..rows).step_by(step.max(1)).map(move |start| {
        if whole {
            return matrix.dequantize(&matrix.device());
        }
        let end = (start + step).min(rows);
        let ids = Tensor::arange(start as u32, end as u32, &matrix.device())?;
        matrix.embedding(&ids)?.to_dtype(DType::F32)
    }))
}

/// A table of token vectors, which may also serve as the output matrix.
#[derive(Debug)]
pub(crate) struct Embedding {
    table: Linear,
}

impl Embedding {
    /// `table` is `[vocab, hidden]`.
    pub(crate) fn new(table: Matrix) -> Self {
        Self {
            table: Linear::new(table, None),
        }
    }

    /// Vectors of `ids` (`[n]`, u32), f32, shape `[n, hidden]`.
    ///
    /// # Errors
    /// If an id is outside the vocabulary.
    pub(crate) fn vectors(&self, ids: &Tensor) -> Result<Tensor> {
        self.table.weight.rows(ids)
    }

    /// The table as a layer.
    pub(in crate::model) fn as_linear(&self) -> &Linear {
        &self.table
    }

    /// Logits of hidden states with this table as the output matrix (tied weights).
    ///
    /// # Errors
    /// As for [`Linear::forward`].
    pub(crate) fn logits(&self, hidden: &Tensor, arithmetic: Arithmetic) -> Result<Tensor> {
        self.table.forward(hidden, arithmetic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use candle_core::quantized::GgmlDType;

    fn ramp(shape: (usize, usize)) -> Tensor {
        let n = shape.0 * shape.1;
        let values: Vec<f32> = (0..n)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0)
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn narrow_and_quantized_weights_give_the_numbers_of_the_same_weights_in_f32() {
        let (x, w) = (ramp((5, 64)), ramp((24, 64)));
        let bf16 = w.to_dtype(DType::BF16).unwrap();
        let q = QTensor::quantize(&w, GgmlDType::Q8_0).unwrap();
        let cases = [
            (
                Matrix::Dense(bf16.clone()),
                bf16.to_dtype(DType::F32).unwrap(),
            ),
            (
                Matrix::Quantized(vec![QTensor::quantize(&w, GgmlDType::Q8_0).unwrap()]),
                q.dequantize(&Device::Cpu).unwrap(),
            ),
        ];
        for (kept, written_out) in cases {
            let got = Linear::new(kept, None)
                .forward(&x, Arithmetic::F32)
                .unwrap()
                .to_vec2::<f32>()
                .unwrap();
            let want = Linear::new(Matrix::Dense(written_out), None)
                .forward(&x, Arithmetic::F32)
                .unwrap()
                .to_vec2::<f32>()
                .unwrap();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_quantized_matrix_in_panels_equals_the_matrix_in_one_piece() {
        let w = ramp((1 << 10, 1 << 15));
        let q = QTensor::quantize(&w, GgmlDType::Q4_0).unwrap();
        let whole = q.dequantize(&Device::Cpu).unwrap();
        let cut: Vec<Tensor> = panels(&q, PANEL_ELEMENTS)
            .unwrap()
            .collect::<Result<_>>()
            .unwrap();
        assert_eq!(cut.len(), 2);
        let joined = Tensor::cat(&cut, 0).unwrap();
        let difference = (joined - whole)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert_eq!(difference, 0.0);
    }
}
