//! Products of activations with packed weights: f32 x f32, and bf16 x bf16 summed in f32.
//!
//! Weights are packed once, at load time, into panels of [`PANEL`] outputs: for each input, the 32
//! weights are adjacent, in the order in which a kernel reads them. A kernel holds a tile of 12
//! rows by 32 outputs in registers, iterates over the inputs and adds to every sum in input order.
//! Dividing the rows into other tiles or batches therefore changes no bit of any sum.
//!
//! Weights in bf16 can be multiplied in two ways: widened panel by panel to f32, which is exact, or
//! directly by activations rounded to bf16, at twice the speed.

use super::packed::{Arithmetic, PANEL, Packed, Panels};
use std::cell::RefCell;
use std::ops::Range;

/// Rows per tile: with two output vectors per row, the sums take 24 of the 32 registers.
const TILE: usize = 12;
/// Bytes of activations per block of rows. A block stays in the second-level cache while all panels
/// are multiplied by it.
const BLOCK_BYTES: usize = 256 << 10;
/// Inputs that are summed before the partial sum is added to the total. Sums of partial sums have a
/// smaller rounding error than one long sum, and a panel of this depth stays in the first-level
/// cache from tile to tile.
const DEPTH: usize = 256;

/// Destination of a product: its row `r` begins at `r * stride + column`.
#[derive(Debug)]
pub struct Target<'a> {
    pub values: &'a mut [f32],
    pub stride: usize,
    pub column: usize,
}

impl Target<'_> {
    /// The destination of a panel's outputs from row `row` on, and the number of outputs in this
    /// panel, given `outputs` in total.
    fn panel(&mut self, panel: usize, row: usize, outputs: usize) -> (&mut [f32], usize) {
        let done = panel * PANEL;
        (
            &mut self.values[row * self.stride + self.column + done..],
            (outputs - done).min(PANEL),
        )
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    narrow: Vec<u32>,
    wide: Vec<f32>,
}

/// `x W^T`: consecutive rows of activations times the weights. Overwrites the target.
///
/// # Panics
/// If `x` isn't a whole number of rows or the target is too small for them.
pub fn product(x: &[f32], weights: &Packed, arithmetic: Arithmetic, target: &mut Target<'_>) {
    product_of(x, weights, 0..weights.outputs, arithmetic, target);
}

/// As [`product`], but only for the outputs `wanted`, which must start at a multiple of [`PANEL`].
///
/// # Panics
/// As for [`product`], and if the weights don't have these outputs.
pub(in crate::model) fn product_of(
    x: &[f32],
    weights: &Packed,
    wanted: Range<usize>,
    arithmetic: Arithmetic,
    target: &mut Target<'_>,
) {
    let Packed {
        outputs,
        inputs,
        panels,
    } = weights;
    let inputs = *inputs;
    if x.is_empty() || wanted.is_empty() {
        return;
    }
    assert!(
        wanted.start.is_multiple_of(PANEL) && wanted.end <= *outputs,
        "outputs {wanted:?} of {weights:?}"
    );
    let (first, outputs) = (wanted.start / PANEL, wanted.len());
    let last = first + outputs.div_ceil(PANEL);
    assert!(
        inputs > 0 && x.len().is_multiple_of(inputs),
        "{} activations for {weights:?}",
        x.len()
    );
    let (rows, stride) = (x.len() / inputs, target.stride);
    assert!(
        target.column.checked_add(outputs).is_some_and(|width| fits(
            target.values.len(),
            rows,
            stride,
            width
        )),
        "the target is too small for {rows} rows of {outputs} outputs"
    );
    SCRATCH.with_borrow_mut(|scratch| match (panels, arithmetic) {
        (Panels::Bf16(panels), Arithmetic::Bf16) if super::multiplies_bf16() => {
            let pairs = inputs.div_ceil(2);
            let block = rows_per_block(pairs);
            scratch.narrow.resize(block.min(rows) * pairs, 0);
            for (at, x) in x.chunks(block * inputs).enumerate() {
                kernel::narrow(x, inputs, &mut scratch.narrow);
                let count = x.len() / inputs;
                for (panel, weights) in panels
                    .chunks_exact(pairs * PANEL)
                    .take(last)
                    .skip(first)
                    .enumerate()
                {
                    let (out, columns) = target.panel(panel, at * block, outputs);
                    kernel::tiles_bf16(
                        &scratch.narrow,
                        pairs,
                        count,
                        weights,
                        out,
                        stride,
                        columns,
                    );
                }
            }
        }
        (Panels::F32(panels), _) => {
            let block = rows_per_block(inputs);
            for (at, x) in x.chunks(block * inputs).enumerate() {
                for (panel, weights) in panels
                    .chunks_exact(inputs * PANEL)
                    .take(last)
                    .skip(first)
                    .enumerate()
                {
                    let (out, columns) = target.panel(panel, at * block, outputs);
                    tiles(x, inputs, x.len() / inputs, weights, out, stride, columns);
                }
            }
        }
        (Panels::Bf16(panels), _) => {
            let pairs = inputs.div_ceil(2);
            scratch.wide.resize(2 * pairs * PANEL, 0.0);
            // Multiply all rows by a panel before widening the next one.
            for (panel, weights) in panels
                .chunks_exact(pairs * PANEL)
                .take(last)
                .skip(first)
                .enumerate()
            {
                widen(weights, &mut scratch.wide);
                let (out, columns) = target.panel(panel, 0, outputs);
                tiles(
                    x,
                    inputs,
                    rows,
                    &scratch.wide[..inputs * PANEL],
                    out,
                    stride,
                    columns,
                );
            }
        }
    });
}

/// Whether `rows` rows of `width` numbers, whose beginnings are `stride` apart, fit into `len`
/// numbers. False on overflow.
fn fits(len: usize, rows: usize, stride: usize, width: usize) -> bool {
    let last = rows.saturating_sub(1).checked_mul(stride);
    let end = last.and_then(|last| last.checked_add(width));
    end.is_some_and(|end| end <= len)
}

/// Number of rows per block, given the 32-bit numbers per row: a multiple of the tile height.
fn rows_per_block(numbers: usize) -> usize {
    (BLOCK_BYTES / (4 * numbers)).max(TILE) / TILE * TILE
}

byrote_core::simd::vectorized! {
    /// Widens a panel of bf16 pairs to f32.
    fn widen(pairs: &[u32], wide: &mut [f32]) {
        for (pairs, wide) in pairs.chunks_exact(PANEL).zip(wide.chunks_exact_mut(2 * PANEL)) {
            let (even, odd) = wide.split_at_mut(PANEL);
            for ((pair, even), odd) in pairs.iter().zip(even).zip(odd) {
                (*even, *odd) = (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000));
            }
        }
    }
}

/// Multiplies `rows` rows of activations, whose beginnings are `lead` apart, by one f32 panel of
/// any depth. Writes the first `columns` outputs of each row to `out`; output rows begin `stride`
/// apart.
///
/// # Panics
/// If a slice is too short.
pub(super) fn tiles(
    x: &[f32],
    lead: usize,
    rows: usize,
    panel: &[f32],
    out: &mut [f32],
    stride: usize,
    columns: usize,
) {
    let depth = panel.len() / PANEL;
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(fits(x.len(), rows, lead, depth), "too few activations");
    assert!(
        columns <= PANEL && fits(out.len(), rows, stride, columns),
        "the target is too small"
    );
    if super::available() {
        return kernel::tiles_f32(x, lead, rows, panel, out, stride, columns);
    }
    for row in 0..rows {
        let mut sums = [0f32; PANEL];
        for (x, weights) in x[row * lead..].iter().zip(panel.chunks_exact(PANEL)) {
            sums.iter_mut()
                .zip(weights)
                .for_each(|(sum, weight)| *sum += x * weight);
        }
        out[row * stride..][..columns].copy_from_slice(&sums[..columns]);
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "AVX-512 intrinsics on pointers whose bounds are checked once per panel"
)]
mod kernel {
    use super::{DEPTH, PANEL, TILE, fits};
    use std::arch::x86_64::*;

    /// Calls `$tile::<n>` for a number of rows `n` from 1 to 12.
    macro_rules! by_rows {
        ($rows:expr, $tile:ident($($argument:expr),*)) => {
            match $rows {
                1 => $tile::<1>($($argument),*),
                2 => $tile::<2>($($argument),*),
                3 => $tile::<3>($($argument),*),
                4 => $tile::<4>($($argument),*),
                5 => $tile::<5>($($argument),*),
                6 => $tile::<6>($($argument),*),
                7 => $tile::<7>($($argument),*),
                8 => $tile::<8>($($argument),*),
                9 => $tile::<9>($($argument),*),
                10 => $tile::<10>($($argument),*),
                11 => $tile::<11>($($argument),*),
                _ => $tile::<12>($($argument),*),
            }
        };
    }

    /// The lanes to write in each of the two vectors of a panel row.
    fn store_masks(columns: usize) -> [u16; 2] {
        let mask = |columns: usize| {
            if columns >= 16 {
                u16::MAX
            } else {
                (1 << columns) - 1
            }
        };
        [mask(columns), mask(columns.saturating_sub(16))]
    }

    /// Calls `tile` for every tile of a product, one range of inputs after the other, with the
    /// first input, the number of inputs, the first row and the number of rows.
    fn each_tile(depth: usize, rows: usize, mut tile: impl FnMut(usize, usize, usize, usize)) {
        for start in (0..depth).step_by(DEPTH) {
            for row in (0..rows).step_by(TILE) {
                tile(start, DEPTH.min(depth - start), row, TILE.min(rows - row));
            }
        }
    }

    /// See [`super::tiles`], which checks the bounds and that the processor has AVX-512.
    pub(super) fn tiles_f32(
        x: &[f32],
        lead: usize,
        rows: usize,
        panel: &[f32],
        out: &mut [f32],
        stride: usize,
        columns: usize,
    ) {
        let masks = store_masks(columns);
        each_tile(panel.len() / PANEL, rows, |start, steps, row, count| {
            // SAFETY: the caller has asserted that all rows, inputs and columns are within the
            // slices, and has checked that the processor has AVX-512.
            unsafe {
                let x = x.as_ptr().add(row * lead + start);
                let panel = panel.as_ptr().add(start * PANEL);
                let out = out.as_mut_ptr().add(row * stride);
                by_rows!(
                    count,
                    tile_f32(x, lead, panel, steps, out, stride, masks, start > 0)
                );
            }
        });
    }

    /// As [`tiles_f32`], with `pairs` pairs of bf16 per row.
    ///
    /// # Panics
    /// If a slice is too short, or the processor has no AVX-512 BF16.
    pub(super) fn tiles_bf16(
        x: &[u32],
        pairs: usize,
        rows: usize,
        panel: &[u32],
        out: &mut [f32],
        stride: usize,
        columns: usize,
    ) {
        assert!(crate::model::cpu::multiplies_bf16() && rows > 0);
        assert!(fits(panel.len(), pairs, PANEL, PANEL) && fits(x.len(), rows, pairs, pairs));
        assert!(columns <= PANEL && fits(out.len(), rows, stride, columns));
        let masks = store_masks(columns);
        each_tile(pairs, rows, |start, steps, row, count| {
            // SAFETY: the assertions above check the instructions and all bounds.
            unsafe {
                let x = x.as_ptr().add(row * pairs + start);
                let panel = panel.as_ptr().add(start * PANEL);
                let out = out.as_mut_ptr().add(row * stride);
                by_rows!(
                    count,
                    tile_bf16(x, pairs, panel, steps, out, stride, masks, start > 0)
                );
            }
        });
    }

    /// Writes a tile's sums to `out`, or adds them to its values if `accumulate` is set.
    ///
    /// # Safety
    /// The processor must have AVX-512F. For each of the `ROWS` rows, `out` must be valid for reads
    /// and writes of the lanes that `masks` selects, from `row * stride` on.
    #[target_feature(enable = "avx512f")]
    unsafe fn store_tile<const ROWS: usize>(
        sums: [[__m512; 2]; ROWS],
        out: *mut f32,
        stride: usize,
        masks: [u16; 2],
        accumulate: bool,
    ) {
        for (row, sums) in sums.into_iter().enumerate() {
            for (half, (sum, store_mask)) in sums.into_iter().zip(masks).enumerate() {
                // SAFETY: `out` has room for the selected lanes of all rows; the other lanes are
                // neither read nor written. The address of a vector without a selected lane may be
                // past the end, hence `wrapping_add`.
                unsafe {
                    let out = out.wrapping_add(row * stride + 16 * half);
                    let before = if accumulate {
                        _mm512_maskz_loadu_ps(store_mask, out)
                    } else {
                        _mm512_setzero_ps()
                    };
                    _mm512_mask_storeu_ps(out, store_mask, _mm512_add_ps(before, sum));
                }
            }
        }
    }

    /// Multiplies `ROWS` rows of `x`, whose beginnings are `lead` apart, by `depth` inputs of a
    /// panel, and stores the sums.
    ///
    /// # Safety
    /// The processor must have AVX-512F. `x` must be valid for reads of `depth` numbers from the
    /// beginning of each row, `panel` for reads of `depth * PANEL` numbers, and `out` as
    /// [`store_tile`] requires.
    #[target_feature(enable = "avx512f")]
    #[expect(
        clippy::too_many_arguments,
        reason = "the operands of a strided product"
    )]
    unsafe fn tile_f32<const ROWS: usize>(
        x: *const f32,
        lead: usize,
        panel: *const f32,
        depth: usize,
        out: *mut f32,
        stride: usize,
        masks: [u16; 2],
        accumulate: bool,
    ) {
        // SAFETY: all accesses are within the bounds that the caller guarantees.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            for at in 0..depth {
                let low = _mm512_loadu_ps(panel.add(at * PANEL));
                let high = _mm512_loadu_ps(panel.add(at * PANEL + 16));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*x.add(row * lead + at));
                    sums[0] = _mm512_fmadd_ps(x, low, sums[0]);
                    sums[1] = _mm512_fmadd_ps(x, high, sums[1]);
                }
            }
            store_tile(sums, out, stride, masks, accumulate);
        }
    }

    /// As [`tile_f32`], with pairs of bf16 in place of f32 inputs.
    ///
    /// # Safety
    /// As for [`tile_f32`], in pairs. The processor must also have AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bf16")]
    #[expect(
        clippy::too_many_arguments,
        reason = "the operands of a strided product"
    )]
    unsafe fn tile_bf16<const ROWS: usize>(
        x: *const u32,
        lead: usize,
        panel: *const u32,
        depth: usize,
        out: *mut f32,
        stride: usize,
        masks: [u16; 2],
        accumulate: bool,
    ) {
        // SAFETY: as in `tile_f32`; a vector of bf16 pairs has the layout of a vector of 32-bit
        // numbers.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            let vector =
                |at: *const u32| -> __m512bh { std::mem::transmute(_mm512_loadu_si512(at.cast())) };
            for at in 0..depth {
                let (low, high) = (
                    vector(panel.add(at * PANEL)),
                    vector(panel.add(at * PANEL + 16)),
                );
                for (row, sums) in sums.iter_mut().enumerate() {
                    let pair = _mm512_set1_epi32((*x.add(row * lead + at)).cast_signed());
                    let pair: __m512bh = std::mem::transmute(pair);
                    sums[0] = _mm512_dpbf16_ps(sums[0], pair, low);
                    sums[1] = _mm512_dpbf16_ps(sums[1], pair, high);
                }
            }
            store_tile(sums, out, stride, masks, accumulate);
        }
    }

    /// Rounds rows of f32 to rows of bf16 pairs, to nearest, ties to even. Pairs an odd last number
    /// with 0.
    ///
    /// # Panics
    /// If `pairs` is too short, or the processor has no AVX-512 BF16.
    pub(super) fn narrow(x: &[f32], inputs: usize, pairs: &mut [u32]) {
        let rows = x.len() / inputs;
        assert!(crate::model::cpu::multiplies_bf16() && pairs.len() >= rows * inputs.div_ceil(2));
        // SAFETY: the assertion above checks the instructions.
        unsafe { narrow_rows(x, inputs, pairs) }
    }

    /// See [`narrow`].
    ///
    /// # Safety
    /// The processor must have AVX-512F, AVX-512BW and AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn narrow_rows(x: &[f32], inputs: usize, pairs: &mut [u32]) {
        for (x, pairs) in x
            .chunks_exact(inputs)
            .zip(pairs.chunks_exact_mut(inputs.div_ceil(2)))
        {
            for (x, pairs) in x.chunks(32).zip(pairs.chunks_mut(16)) {
                let lanes = u32::MAX >> (32 - x.len());
                // SAFETY: lanes outside of the slices are masked, and so neither read nor written.
                unsafe {
                    let low = _mm512_maskz_loadu_ps(lanes as u16, x.as_ptr());
                    let high =
                        _mm512_maskz_loadu_ps((lanes >> 16) as u16, x.as_ptr().wrapping_add(16));
                    let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                    let written = u16::MAX >> (16 - pairs.len());
                    _mm512_mask_storeu_epi32(pairs.as_mut_ptr().cast(), written, both);
                }
            }
        }
    }
}

/// Never called: [`super::available`] is false on other processors.
#[cfg(not(target_arch = "x86_64"))]
mod kernel {
    pub(super) fn tiles_f32(
        _: &[f32],
        _: usize,
        _: usize,
        _: &[f32],
        _: &mut [f32],
        _: usize,
        _: usize,
    ) {
    }
    pub(super) fn tiles_bf16(
        _: &[u32],
        _: usize,
        _: usize,
        _: &[u32],
        _: &mut [f32],
        _: usize,
        _: usize,
    ) {
    }
    pub(super) fn narrow(_: &[f32], _: usize, _: &mut [u32]) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count)
            .map(|i| (((i + salt) * 7_919 % 2_003) as f32 / 1_001.0 - 1.0) * 1.7)
            .collect()
    }

    fn rounded(values: &[f32]) -> Vec<f32> {
        values.iter().map(|x| bf16::from_f32(*x).to_f32()).collect()
    }

    /// The product by its definition, in f64.
    fn by_definition(x: &[f32], weights: &[f32], inputs: usize) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f32]| {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        x.chunks_exact(inputs)
            .flat_map(|x| weights.chunks_exact(inputs).map(move |w| dot(x, w)))
            .collect()
    }

    fn multiplied(x: &[f32], weights: &Packed, arithmetic: Arithmetic) -> Vec<f32> {
        let mut values = vec![f32::NAN; x.len() / weights.inputs() * weights.outputs()];
        product(
            x,
            weights,
            arithmetic,
            &mut Target {
                values: &mut values,
                stride: weights.outputs(),
                column: 0,
            },
        );
        values
    }

    fn close(got: &[f32], want: &[f64], inputs: usize) -> bool {
        // Each addition has an error of at most half a unit in the last place of the total.
        let bound = 3e-7 * inputs as f64 * 3.0;
        got.iter()
            .zip(want)
            .all(|(got, want)| (f64::from(*got) - want).abs() <= bound)
    }

    #[test]
    fn products_of_every_shape_agree_with_the_definition() {
        let shapes = [
            (1, 1, 1),
            (1, 2, 3),
            (3, 5, 33),
            (12, 64, 32),
            (13, 63, 31),
            (25, 130, 97),
            (40, 4_500, 70),
        ];
        for (rows, inputs, outputs) in shapes {
            let (x, w) = (numbers(rows * inputs, 3), numbers(outputs * inputs, 11));
            let exact = by_definition(&x, &w, inputs);
            let got = multiplied(&x, &Packed::from_f32(&w, inputs), Arithmetic::F32);
            assert!(close(&got, &exact, inputs), "{rows} {inputs} {outputs}");
            let narrow: Vec<bf16> = w.iter().map(|w| bf16::from_f32(*w)).collect();
            let packed = Packed::from_bf16(&narrow, inputs);
            let widened = multiplied(&x, &packed, Arithmetic::F32);
            assert_eq!(
                widened,
                multiplied(&x, &Packed::from_f32(&rounded(&w), inputs), Arithmetic::F32)
            );
            let exact = by_definition(&rounded(&x), &rounded(&w), inputs);
            let got = multiplied(&x, &packed, Arithmetic::Bf16);
            if crate::model::cpu::multiplies_bf16() {
                assert!(
                    close(&got, &exact, inputs),
                    "{rows} {inputs} {outputs} in bf16"
                );
            } else {
                assert_eq!(got, widened);
            }
        }
    }

    #[test]
    fn batching_does_not_change_a_rows_bits() {
        let (inputs, outputs) = (2_500, 50);
        let (x, w) = (numbers(30 * inputs, 1), numbers(outputs * inputs, 2));
        let narrow: Vec<bf16> = w.iter().map(|w| bf16::from_f32(*w)).collect();
        for packed in [
            Packed::from_f32(&w, inputs),
            Packed::from_bf16(&narrow, inputs),
        ] {
            for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
                let together = multiplied(&x, &packed, arithmetic);
                for (row, together) in x.chunks_exact(inputs).zip(together.chunks_exact(outputs)) {
                    assert_eq!(multiplied(row, &packed, arithmetic), together);
                }
            }
        }
    }

    #[test]
    fn partial_products_equal_slices_of_the_full_product() {
        let (inputs, outputs) = (40, 131);
        let (x, w) = (numbers(5 * inputs, 1), numbers(outputs * inputs, 2));
        let packed = Packed::from_f32(&w, inputs);
        let whole = multiplied(&x, &packed, Arithmetic::F32);
        for wanted in [0..131, 0..32, 32..70, 96..131, 128..129] {
            let mut part = vec![f32::NAN; 5 * wanted.len()];
            let mut target = Target {
                values: &mut part,
                stride: wanted.len(),
                column: 0,
            };
            product_of(&x, &packed, wanted.clone(), Arithmetic::F32, &mut target);
            for (part, whole) in part
                .chunks_exact(wanted.len())
                .zip(whole.chunks_exact(outputs))
            {
                assert_eq!(part, &whole[wanted.clone()]);
            }
        }
    }

    #[test]
    fn nan_activations_give_nan_outputs() {
        let packed = Packed::from_bf16(&[bf16::ONE; 64], 2);
        for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
            let got = multiplied(
                &[f32::from_bits(0x7fff_ffff), 1.0, 1.0, 2.0],
                &packed,
                arithmetic,
            );
            assert!(got[..32].iter().all(|x| x.is_nan()) && got[32..].iter().all(|x| *x == 3.0));
        }
    }

    #[test]
    fn columns_outside_the_target_are_not_written() {
        let packed = Packed::from_f32(&numbers(35 * 4, 1), 4);
        let mut values = vec![9.0; 3 * 40];
        product(
            &numbers(12, 0),
            &packed,
            Arithmetic::F32,
            &mut Target {
                values: &mut values,
                stride: 40,
                column: 3,
            },
        );
        for row in values.chunks_exact(40) {
            assert!(
                row[..3].iter().chain(&row[38..]).all(|x| *x == 9.0)
                    && row[3..38].iter().all(|x| *x != 9.0)
            );
        }
    }

    #[test]
    fn strides_that_would_overflow_are_refused() {
        let half = 1usize << (usize::BITS - 1);
        let refused = |work: fn(usize)| std::panic::catch_unwind(move || work(half)).is_err();
        assert!(refused(|lead| tiles(
            &[1.0; 8],
            lead,
            3,
            &[1.0; PANEL],
            &mut [0.0; 8],
            1,
            1
        )));
        assert!(refused(|stride| tiles(
            &[1.0; 8],
            1,
            3,
            &[1.0; PANEL],
            &mut [0.0; 8],
            stride,
            1
        )));
        for (stride, column) in [(half, 0), (1, usize::MAX)] {
            let multiply = || {
                let mut target = Target {
                    values: &mut [0.0; 8],
                    stride,
                    column,
                };
                let packed = Packed::from_f32(&[1.0; 2], 1);
                product(&[1.0; 3], &packed, Arithmetic::F32, &mut target);
            };
            assert!(std::panic::catch_unwind(multiply).is_err());
        }
    }
}
