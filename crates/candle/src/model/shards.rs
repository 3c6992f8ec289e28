//! The tensors of safetensors files: their locations, checked against the lengths of the files, and
//! their contents.

use super::ModelError;
use super::weights::WeightSource;
use candle_core::{DType, Device, Tensor};
use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

/// Bytes read at once: small enough to be converted while in the processor's cache.
const BLOCK: usize = 256 << 10;

/// The location of a tensor.
#[derive(Clone, Debug)]
pub(super) struct TensorLocation {
    pub(super) file: WeightSource,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

/// The tensors of a safetensors file. Every length is checked against the length of the file.
pub(super) fn tensor_locations(
    source: &WeightSource,
) -> Result<Vec<(String, TensorLocation)>, ModelError> {
    let bad = |what: String| ModelError::BadFile {
        path: source.path(),
        what,
    };
    let size = source.size()?;
    if size < 8 {
        return Err(bad(format!(
            "a file of {size} bytes can't be safetensors; fetch it again"
        )));
    }
    let mut length = [0; 8];
    length.copy_from_slice(&source.read(0, 8)?);
    let length = u64::from_le_bytes(length);
    if length > size - 8 {
        return Err(bad(format!(
            "its header claims {length} bytes, but the file has {size}: it is truncated or isn't safetensors; fetch it again"
        )));
    }
    let header = source.read(8, length as usize)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|e| bad(format!("its safetensors header is damaged: {e}")))?;
    let data = length + 8;
    let end = data.saturating_add(metadata.data_len() as u64);
    if end != size {
        return Err(bad(format!(
            "its header describes {end} bytes, but the file has {size}: it is truncated; fetch it again"
        )));
    }
    let location = |(name, info): (String, &TensorInfo)| {
        let (start, end) = info.data_offsets;
        let bits = info
            .shape
            .iter()
            .try_fold(info.dtype.bitsize(), |n, d| n.checked_mul(*d));
        if start >= end || data + end as u64 > size || bits != (end - start).checked_mul(8) {
            return Err(bad(format!(
                "the extent of tensor \"{name}\" doesn't fit its shape: the header is damaged"
            )));
        }
        let (dtype, shape) = (info.dtype, info.shape.clone());
        Ok((
            name,
            TensorLocation {
                file: source.clone(),
                dtype,
                shape,
                offset: data + start as u64,
                bytes: end - start,
            },
        ))
    };
    metadata.tensors().into_iter().map(location).collect()
}

impl TensorLocation {
    /// The number of its values.
    pub(super) fn elements(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64
    }

    /// The tensor as stored.
    ///
    /// # Errors
    /// If it can't be read or byrote doesn't support its type.
    pub(super) fn tensor(&self, name: &str, device: &Device) -> Result<Tensor, ModelError> {
        let dtype = candle_dtype(self.dtype).ok_or_else(|| ModelError::BadFile {
            path: self.file.path(),
            what: format!(
                "tensor \"{name}\" is of type {:?}; byrote reads F32, BF16, F16 and F64",
                self.dtype
            ),
        })?;
        match dtype {
            DType::F64 => {
                let bytes = self.file.read(self.offset, self.bytes)?;
                Ok(Tensor::from_raw_buffer(&bytes, dtype, &self.shape, device)?)
            }
            _ => stacked(&[self], dtype, &self.shape, device),
        }
    }

    /// True if [`stacked`] can read this type.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16)
    }
}

/// Concatenates tensors of plain types into one tensor of type `dtype` and shape `shape`. They are
/// converted block by block as they are read, so memory holds only the result and one block.
///
/// # Errors
/// If one can't be read.
pub(super) fn stacked(
    locations: &[&TensorLocation],
    dtype: DType,
    shape: &[usize],
    device: &Device,
) -> Result<Tensor, ModelError> {
    let count = locations
        .iter()
        .map(|location| location.elements() as usize)
        .sum();
    Ok(match dtype {
        DType::BF16 => {
            let mut all: Vec<bf16> = Vec::with_capacity(count);
            each_block(locations, |kind, block| match kind {
                Dtype::BF16 => all.extend(pairs(block).map(bf16::from_le_bytes)),
                Dtype::F16 => {
                    all.extend(pairs(block).map(|b| bf16::from_f32(f16::from_le_bytes(b).to_f32())))
                }
                _ => all.extend(fours(block).map(|b| bf16::from_f32(f32::from_le_bytes(b)))),
            })?;
            Tensor::from_vec(all, shape, device)?
        }
        DType::F16 => {
            let mut all: Vec<f16> = Vec::with_capacity(count);
            each_block(locations, |kind, block| match kind {
                Dtype::F16 => all.extend(pairs(block).map(f16::from_le_bytes)),
                Dtype::BF16 => to_f16(
                    pairs(block).map(|b| bf16::from_le_bytes(b).to_f32()),
                    &mut all,
                ),
                _ => to_f16(fours(block).map(f32::from_le_bytes), &mut all),
            })?;
            Tensor::from_vec(all, shape, device)?
        }
        _ => {
            let mut all: Vec<f32> = Vec::with_capacity(count);
            each_block(locations, |kind, block| match kind {
                // A bf16 is the upper half of an f32.
                Dtype::BF16 => {
                    all.extend(
                        pairs(block)
                            .map(|b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
                    );
                }
                Dtype::F16 => {
                    let halves: Vec<f16> = pairs(block).map(f16::from_le_bytes).collect();
                    let start = all.len();
                    all.resize(start + halves.len(), 0.0);
                    halves.convert_to_f32_slice(&mut all[start..]);
                }
                _ => all.extend(fours(block).map(f32::from_le_bytes)),
            })?;
            Tensor::from_vec(all, shape, device)?
        }
    })
}

fn each_block(
    locations: &[&TensorLocation],
    mut take: impl FnMut(Dtype, &[u8]),
) -> Result<(), ModelError> {
    for location in locations {
        location
            .file
            .read_blocks(location.offset, location.bytes, BLOCK, |block| {
                take(location.dtype, block)
            })?;
    }
    Ok(())
}

/// Converts one block at a time, for which the processor has instructions.
fn to_f16(values: impl Iterator<Item = f32>, all: &mut Vec<f16>) {
    let values: Vec<f32> = values.collect();
    let start = all.len();
    all.resize(start + values.len(), f16::ZERO);
    all[start..].convert_from_f32_slice(&values);
}

fn pairs(block: &[u8]) -> impl ExactSizeIterator<Item = [u8; 2]> + '_ {
    block.as_chunks::<2>().0.iter().copied()
}

fn fours(block: &[u8]) -> impl ExactSizeIterator<Item = [u8; 4]> + '_ {
    block.as_chunks::<4>().0.iter().copied()
}

fn candle_dtype(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F64 => Some(DType::F64),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::F16 => Some(DType::F16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn converting_while_reading_equals_converting_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        // More than one block, with values that bf16 and f16 round.
        let values: Vec<f32> = (0..300_000)
            .map(|i| (i as f32 * 0.37).sin() * 70_000.0)
            .collect();
        let whole = Tensor::from_vec(values, (3, 100_000), &Device::Cpu).unwrap();
        for stored in [DType::F32, DType::BF16, DType::F16, DType::F64] {
            let kept = whole.to_dtype(stored).unwrap();
            candle_core::safetensors::save(&HashMap::from([("x", kept.clone())]), &path).unwrap();
            let (_, location) = tensor_locations(&WeightSource::File(path.clone()))
                .unwrap()
                .remove(0);
            assert_eq!(
                (location.elements(), location.is_plain()),
                (300_000, stored != DType::F64)
            );
            let bits = |t: &Tensor| {
                t.flatten_all()
                    .unwrap()
                    .to_dtype(DType::F64)
                    .unwrap()
                    .to_vec1::<f64>()
                    .unwrap()
            };
            let same = location.tensor("x", &Device::Cpu).unwrap();
            assert_eq!((same.dtype(), same.dims()), (stored, kept.dims()));
            assert!(bits(&same) == bits(&kept), "{stored:?}");
            for wanted in [DType::F32, DType::BF16, DType::F16] {
                if location.is_plain() {
                    let read =
                        stacked(&[&location, &location], wanted, &[6, 100_000], &Device::Cpu)
                            .unwrap();
                    let after = kept.to_dtype(wanted).unwrap();
                    let after = Tensor::cat(&[&after, &after], 0).unwrap();
                    assert!(bits(&read) == bits(&after), "{stored:?} as {wanted:?}");
                }
            }
        }
    }
}
