//! What the CPU computes itself, on plain slices: products with packed weights, attention, norms and activations.
//!
//! Candle's operations do the same on every device and every processor, and stand beside these in [`super::layers`]: they
//! are what runs on a GPU, and on a CPU without AVX-512. Here is the way that is taken where [`available`] says so.

pub mod activation;
pub mod attention;
pub mod norm;
pub mod packed;
pub mod product;

use candle_core::{CpuStorage, Result, Storage, Tensor};

/// Whether this processor has what the functions here are written for: AVX-512, as Intel has since Skylake-X and AMD since
/// Zen 4.
pub fn available() -> bool {
    byrote_core::simd::wide()
}

/// Whether it multiplies bf16 numbers itself (AVX-512 BF16), twice as many at a time as f32.
pub fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return available() && std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Gives the elements of a tensor of f32 on the CPU, in order, to `with`. None if it isn't such a tensor; one that isn't
/// contiguous is copied.
///
/// # Errors
/// When `with` or the copy fails.
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

/// Lends a slice of so many numbers, whatever they are. Layers ask for the same sizes again and again; memory that is given
/// back to the system between them would have to be mapped and cleared anew each time.
pub fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut scratch = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let done = work(&mut scratch[..len]);
    SPARE.with_borrow_mut(|spare| spare.push(scratch));
    done
}
