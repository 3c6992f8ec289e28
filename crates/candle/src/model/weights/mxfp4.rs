//! MXFP4, the type of gpt-oss' experts: floats of 4 bits (E2M1) in blocks of 32 with one power of
//! two per block (OCP Microscaling Formats 1.0, arXiv 2310.10537).
//!
//! Candle has no such type. Its Q8_0 represents exactly the same numbers if the power of two is in
//! the range of f16, so blocks are converted to it, at twice the size. Tensors with a block outside
//! of this range are converted to bf16, which represents all of them.

use super::scope::Layout;
use super::{Part, Source, Stored, TensorLocation, Weights};
use crate::model::ModelError;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Result};
use safetensors::tensor::Dtype;
use std::borrow::Cow;
use std::sync::PoisonError;

/// Number of elements per block, and bytes in a GGUF file: the power of two, then the codes.
pub(crate) const ELEMENTS: usize = 32;
pub(crate) const BYTES: usize = 17;

/// The values of the 16 codes, doubled.
const DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The order of the codes in a block's 16 bytes.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Low halves are the first 16 elements, high halves the others (ggml).
    LowFirst,
    /// Element 2i in the low half of byte i, 2i + 1 in the high half (the hub).
    InTurns,
}

/// A block's exponent, biased by 127, and its codes.
type Block<'a> = (u8, &'a [u8]);

/// A tensor of a GGUF file.
pub(super) fn of_ggml(bytes: &[u8], shape: Vec<usize>, device: &Device) -> Result<QTensor> {
    let blocks = bytes
        .chunks_exact(BYTES)
        .map(|block| (block[0], &block[1..]));
    kept(blocks, Order::LowFirst, shape, device)
}

/// A tensor in the hub's form: `blocks` has 16 bytes per block, `scales` has one.
fn of_hub(blocks: &[u8], scales: &[u8], shape: Vec<usize>, device: &Device) -> Result<QTensor> {
    let blocks = scales.iter().copied().zip(blocks.chunks_exact(BYTES - 1));
    kept(blocks, Order::InTurns, shape, device)
}

fn kept<'a>(
    blocks: impl Iterator<Item = Block<'a>> + Clone,
    order: Order,
    shape: Vec<usize>,
    device: &Device,
) -> Result<QTensor> {
    let elements: usize = shape.iter().product();
    let fits = blocks.clone().all(|(exponent, codes)| {
        f16(exponent).is_some() || codes.iter().all(|byte| byte & 0x77 == 0)
    });
    let mut bytes = Vec::with_capacity(if fits {
        elements / ELEMENTS * 34
    } else {
        2 * elements
    });
    for (exponent, codes) in blocks {
        let numbers = numbers(codes, order);
        if fits {
            bytes.extend(f16(exponent).unwrap_or_default().to_le_bytes());
            bytes.extend(numbers.map(i8::cast_unsigned));
        } else {
            let unit = 2f64.powi(i32::from(exponent) - 128);
            // A bf16 is the upper half of an f32, and the lower half of these numbers is zero.
            bytes.extend(
                numbers
                    .iter()
                    .flat_map(|n| ((f64::from(*n) * unit) as f32).to_le_bytes()[2..].to_vec()),
            );
        }
    }
    let dtype = if fits {
        GgmlDType::Q8_0
    } else {
        GgmlDType::BF16
    };
    QTensor::new(
        QStorage::from_data(Cow::Owned(bytes), device, dtype)?,
        shape,
    )
}

/// The doubled numbers of a block's 16 bytes, in order.
fn numbers(codes: &[u8], order: Order) -> [i8; ELEMENTS] {
    let mut out = [0; ELEMENTS];
    for (i, byte) in codes.iter().enumerate() {
        let (low, high) = match order {
            Order::LowFirst => (i, i + ELEMENTS / 2),
            Order::InTurns => (2 * i, 2 * i + 1),
        };
        out[low] = DOUBLED[usize::from(byte & 15)];
        out[high] = DOUBLED[usize::from(byte >> 4)];
    }
    out
}

/// Half of the block's power of two in the bits of an f16, if f16 can represent it.
fn f16(exponent: u8) -> Option<u16> {
    match i16::from(exponent) - 128 {
        e @ -14..=15 => Some(((e + 15) as u16) << 10),
        e @ -24..=-15 => Some(1 << (e + 24)),
        _ => None,
    }
}

impl Weights {
    /// The locations of this tensor in the hub's form: its codes and their powers of two. It is
    /// always stored as `[.., out, in]`.
    pub(super) fn hub_mxfp4(&self, stored: &str) -> Option<(&TensorLocation, &TensorLocation)> {
        match &self.source {
            Source::Safetensors(locations) => Some((
                locations.get(&format!("{stored}_blocks"))?,
                locations.get(&format!("{stored}_scales"))?,
            )),
            Source::Gguf(_) => None,
        }
    }

    /// The layout of this matrix in relation to `[out, in]`, if other forms of the checkpoint use
    /// `layout`.
    pub(super) fn layout(&self, name: &str, layout: Layout) -> Layout {
        let packed = self
            .stored_name(name)
            .is_some_and(|stored| self.hub_mxfp4(&stored).is_some());
        Layout {
            transposed: layout.transposed && !packed,
            ..layout
        }
    }

    /// A tensor in the hub's form, or one entry of its first dimension.
    pub(super) fn read_hub_mxfp4(
        &self,
        stored: &str,
        (blocks, scales): (&TensorLocation, &TensorLocation),
        expert_index: Option<usize>,
    ) -> std::result::Result<Stored, ModelError> {
        let bad = |what: String| ModelError::BadFile {
            path: blocks.file.path(),
            what,
        };
        let fits = blocks.shape.split_last() == Some((&(BYTES - 1), scales.shape.as_slice()));
        if !fits || scales.shape.is_empty() || [blocks.dtype, scales.dtype] != [Dtype::U8; 2] {
            return Err(bad(format!(
                "tensors \"{stored}_blocks\" {:?} and \"{stored}_scales\" {:?} aren't those of MXFP4, which has 16 bytes per block \
                 and 1 byte; fetch the checkpoint again",
                blocks.shape, scales.shape
            )));
        }
        let bytes = |location: &TensorLocation| {
            let part = Part::locate(location.bytes, &location.shape, expert_index)
                .ok_or_else(|| self.bad_expert_index(stored, &location.shape, expert_index))?;
            Ok::<_, ModelError>((
                location
                    .file
                    .read(location.offset + part.offset, part.bytes)?,
                part.shape,
            ))
        };
        let ((codes, _), (powers, mut shape)) = (bytes(blocks)?, bytes(scales)?);
        if let Some(width) = shape.last_mut() {
            *width *= ELEMENTS;
        }
        let tensor = of_hub(&codes, &powers, shape, &self.device)?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(format!("{stored}_blocks"), (scales.bytes * ELEMENTS) as u64);
        used.insert(format!("{stored}_scales"), 0);
        Ok(Stored::Quantized(tensor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tensor: &QTensor) -> Vec<f32> {
        tensor
            .dequantize(&Device::Cpu)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    }

    #[test]
    fn both_orders_give_the_16_numbers_times_the_power_of_two() {
        let numbers = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        let all: Vec<f32> = numbers.into_iter().chain(numbers.map(|n| -n)).collect();
        // Code i is element i, and again element 16 + i.
        let low_first: Vec<u8> = (0..16).map(|i| i | i << 4).collect();
        let in_turns: Vec<u8> = (0..16)
            .map(|i| (2 * i % 16) | (((2 * i + 1) % 16) << 4))
            .collect();
        // Powers of two that f16 can represent, the smallest and the largest of them, and one
        // beyond on either side.
        for (exponent, kept) in [
            (127, GgmlDType::Q8_0),
            (120, GgmlDType::Q8_0),
            (104, GgmlDType::Q8_0),
            (143, GgmlDType::Q8_0),
            (103, GgmlDType::BF16),
            (144, GgmlDType::BF16),
            (1, GgmlDType::BF16),
        ] {
            let power = 2f64.powi(i32::from(exponent) - 127) as f32;
            let wanted: Vec<f32> = all.iter().chain(&all).map(|n| n * power).collect();
            let block: Vec<u8> = [vec![exponent], low_first.clone()].concat();
            let ggml = of_ggml(&block, vec![1, 32], &Device::Cpu).unwrap();
            let hub = of_hub(&in_turns, &[exponent], vec![1, 32], &Device::Cpu).unwrap();
            assert_eq!((ggml.dtype(), hub.dtype()), (kept, kept), "{exponent}");
            assert_eq!(read(&ggml), wanted, "{exponent}");
            assert_eq!(read(&hub), wanted, "{exponent}");
        }
    }

    #[test]
    fn the_power_of_two_of_a_zero_block_is_ignored() {
        let block = [vec![0u8], vec![0x80; 16]].concat();
        let zeros = of_ggml(&block, vec![32], &Device::Cpu).unwrap();
        assert_eq!(
            (zeros.dtype(), read(&zeros)),
            (GgmlDType::Q8_0, vec![0.0; 32])
        );
    }
}
