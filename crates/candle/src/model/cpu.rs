//! Operations that byrote itself computes on the CPU, on plain slices: products with packed
//! weights, attention, norms and activations.
//!
//! They are used on processors where [`available`] is true. The Candle versions of the same
//! operations are in `layers`; they run on GPUs and on CPUs without AVX-512.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod norm;
pub mod packed;
pub mod product;

use candle_core::{CpuStorage, Result, Storage, Tensor};

/// True if the processor has AVX-512, which these functions are written for: Intel since Skylake-X,
/// AMD since Zen 4.
pub fn available() -> bool {
    byrote_core::simd::wide()
}

/// True if the processor has bf16 products (AVX-512 BF16), which are twice as fast as f32 products.
pub fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return available() && std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Calls `with` with the elements, in order, of an f32 tensor on the CPU. `None` for any other
/// tensor. Copies a tensor that isn't contiguous.
///
/// # Errors
/// If `with` or the copy fails.
pub fn with_slice<R>(x: &Tensor, with: impl FnOnce(&[f32]) -> Result<R>) -> Result<Option<R>> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
        return Ok(None);
    };
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Ok(None);
    };
    with(&values[start..end]).map(Some)
}

thread_local! {
    static SPARE: std::cell::RefCell<Vec<Vec<f32>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Calls `work` with a slice of `len` numbers of unspecified value. Layers request the same sizes
/// repeatedly; if the memory were returned to the system each time, it would have to be mapped and
/// cleared again.
pub fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut scratch = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let done = work(&mut scratch[..len]);
    SPARE.with_borrow_mut(|spare| spare.push(scratch));
    done
}
