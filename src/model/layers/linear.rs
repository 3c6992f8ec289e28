//! Matrix products with weights in whatever form they are kept, and embeddings.

use candle_core::quantized::QTensor;
use candle_core::{DType, Result, Tensor};

/// Rows of a quantized matrix are widened in panels of at most this many elements (64 MiB in f32), so
/// that a large vocabulary never stands in memory as a whole.
const PANEL_ELEMENTS: usize = 16 << 20;

/// `y = x W^T + b`, f32 in and out.
#[derive(Debug)]
pub struct Linear {
    weight: Matrix,
    bias: Option<Tensor>,
}

/// A matrix of shape `[out, in]`.
#[derive(Debug)]
pub enum Matrix {
    /// In f32, bf16 or f16.
    Dense(Tensor),
    /// Quantized, in one piece or stacked from several along the rows.
    Quantized(Vec<QTensor>),
}

impl Linear {
    /// `bias` is f32, of shape `[out]`.
    pub fn new(weight: Matrix, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// `[..., in]` to `[..., out]`.
    ///
    /// # Errors
    /// On a shape mismatch or want of memory.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let dims = x.dims();
        let (lead, width) = dims.split_at(dims.len() - 1);
        let rows = x.reshape((lead.iter().product::<usize>(), width[0]))?;
        let y = self.weight.product(&rows)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        let mut shape = lead.to_vec();
        shape.push(y.dim(1)?);
        y.reshape(shape)
    }
}

impl Matrix {
    /// `[n, in]` in f32 to `[n, out]` in f32.
    fn product(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(w) if w.dtype() == DType::F32 => x.matmul(&w.t()?),
            // Widening costs little beside a product over many rows, and it is exact.
            Self::Dense(w) if w.device().is_cpu() => x.matmul(&w.to_dtype(DType::F32)?.t()?),
            Self::Dense(w) => x.to_dtype(w.dtype())?.matmul(&w.t()?)?.to_dtype(DType::F32),
            Self::Quantized(parts) => {
                let mut columns = Vec::new();
                for part in parts {
                    for panel in panels(part)? {
                        columns.push(x.matmul(&panel?.t()?)?);
                    }
                }
                if columns.len() == 1 { Ok(columns.swap_remove(0)) } else { Tensor::cat(&columns, 1) }
            }
        }
    }

    /// Rows `ids` of the matrix in f32, shape `[ids, in]`.
    fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(w) => w.index_select(ids, 0)?.to_dtype(DType::F32),
            Self::Quantized(parts) => match parts.as_slice() {
                [one] => one.embedding(ids)?.to_dtype(DType::F32),
                _ => candle_core::bail!("an embedding is one matrix, not {} stacked ones", parts.len()),
            },
        }
    }
}

/// A quantized matrix as f32 panels, top to bottom.
fn panels(matrix: &QTensor) -> Result<impl Iterator<Item = Result<Tensor>> + '_> {
    let (rows, width) = matrix.shape().dims2()?;
    let step = (PANEL_ELEMENTS / width.max(1)).clamp(1, rows.max(1));
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

/// A table of token vectors, which may serve as the output matrix too.
#[derive(Debug)]
pub struct Embedding {
    table: Linear,
}

impl Embedding {
    /// `table` is `[vocab, hidden]`.
    pub fn new(table: Matrix) -> Self {
        Self { table: Linear::new(table, None) }
    }

    /// Vectors of `ids` (`[n]`, u32), f32, shape `[n, hidden]`.
    ///
    /// # Errors
    /// When an id is outside the vocabulary.
    pub fn vectors(&self, ids: &Tensor) -> Result<Tensor> {
        self.table.weight.rows(ids)
    }

    /// Logits of hidden states with this table as the output matrix (tied weights).
    ///
    /// # Errors
    /// As for [`Linear::forward`].
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.table.forward(hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use candle_core::quantized::GgmlDType;

    fn ramp(shape: (usize, usize)) -> Tensor {
        let n = shape.0 * shape.1;
        let values: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn narrow_and_quantized_weights_give_the_numbers_of_the_same_weights_in_f32() {
        let (x, w) = (ramp((5, 64)), ramp((24, 64)));
        let bf16 = w.to_dtype(DType::BF16).unwrap();
        let q = QTensor::quantize(&w, GgmlDType::Q8_0).unwrap();
        let cases = [
            (Matrix::Dense(bf16.clone()), bf16.to_dtype(DType::F32).unwrap()),
            (
                Matrix::Quantized(vec![QTensor::quantize(&w, GgmlDType::Q8_0).unwrap()]),
                q.dequantize(&Device::Cpu).unwrap(),
            ),
        ];
        for (kept, written_out) in cases {
            let got = Linear::new(kept, None).forward(&x).unwrap().to_vec2::<f32>().unwrap();
            let want = Linear::new(Matrix::Dense(written_out), None).forward(&x).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_quantized_matrix_in_panels_equals_itself_in_one_piece() {
        let w = ramp((1 << 10, 1 << 15));
        let q = QTensor::quantize(&w, GgmlDType::Q4_0).unwrap();
        let whole = q.dequantize(&Device::Cpu).unwrap();
        let cut: Vec<Tensor> = panels(&q).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(cut.len(), 2);
        let joined = Tensor::cat(&cut, 0).unwrap();
        let difference = (joined - whole).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(difference, 0.0);
    }
}
