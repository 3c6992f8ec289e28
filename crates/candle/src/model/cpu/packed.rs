//! Matrices in panels, in the order in which products read them.

use half::bf16;

/// Number of adjacent outputs.
pub const PANEL: usize = 32;

/// Precision of the operands of products. Sums are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// Weights and activations in f32: the reference.
    #[default]
    F32,
    /// Both rounded to bf16 if the processor supports bf16 products; otherwise f32.
    Bf16,
}

impl Arithmetic {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// A matrix `[outputs, inputs]` in panels.
pub struct Packed {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) panels: Panels,
}

/// Consecutive panels. The last one is padded with zeros.
pub(super) enum Panels {
    /// 32 weights for each input.
    F32(Vec<f32>),
    /// 32 pairs of weights for each pair of inputs, with the first of a pair in the lower half.
    Bf16(Vec<u32>),
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kept = match self.panels {
            Panels::F32(_) => "f32",
            Panels::Bf16(_) => "bf16",
        };
        write!(f, "Packed([{}, {}] {kept})", self.outputs, self.inputs)
    }
}

impl Packed {
    /// A matrix of zeros in the precision `kept`, to be filled some rows at a time.
    pub fn zeros(outputs: usize, inputs: usize, kept: Arithmetic) -> Self {
        let lanes = outputs.next_multiple_of(PANEL);
        let panels = match kept {
            Arithmetic::F32 => Panels::F32(vec![0.0; lanes * inputs]),
            Arithmetic::Bf16 => Panels::Bf16(vec![0; lanes * inputs.div_ceil(2)]),
        };
        Self {
            outputs,
            inputs,
            panels,
        }
    }

    /// Writes rows of f32 from row `first` on, and rounds them if the matrix is bf16.
    ///
    /// # Panics
    /// If the matrix doesn't have these rows.
    pub fn fill(&mut self, first: usize, rows: &[f32]) {
        let inputs = self.inputs;
        assert!(
            inputs > 0 && first + rows.len() / inputs <= self.outputs,
            "rows of {self:?}"
        );
        match &mut self.panels {
            Panels::F32(panels) => pack(panels, first, rows, inputs, inputs, |row, at| row[at]),
            Panels::Bf16(panels) => {
                let pairs = inputs.div_ceil(2);
                let mut rounded = vec![0; PANEL.min(rows.len() / inputs) * pairs];
                for (at, rows) in (first..).step_by(PANEL).zip(rows.chunks(PANEL * inputs)) {
                    let rounded = &mut rounded[..rows.len() / inputs * pairs];
                    round(rows, inputs, rounded);
                    pack(panels, at, rounded, pairs, pairs, |row, at| row[at]);
                }
            }
        }
    }

    /// Packs a row-major matrix in f32.
    pub fn from_f32(weights: &[f32], inputs: usize) -> Self {
        let mut packed = Self::zeros(weights.len() / inputs.max(1), inputs, Arithmetic::F32);
        packed.fill(0, weights);
        packed
    }

    /// Packs a row-major matrix in bf16.
    pub fn from_bf16(weights: &[bf16], inputs: usize) -> Self {
        let mut packed = Self::zeros(weights.len() / inputs.max(1), inputs, Arithmetic::Bf16);
        if let Panels::Bf16(panels) = &mut packed.panels {
            let bits = |weight: &bf16| u32::from(weight.to_bits());
            let pair = |row: &[bf16], at: usize| {
                bits(&row[2 * at]) | row.get(2 * at + 1).map_or(0, bits) << 16
            };
            pack(panels, 0, weights, inputs, inputs.div_ceil(2), pair);
        }
        packed
    }

    /// Rows of the matrix: numbers per row of a product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix: numbers per row of activations.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Copies row `index` of the matrix, in f32.
    ///
    /// # Panics
    /// If there is no such row, or `row` doesn't have the length of one.
    pub fn row(&self, index: usize, row: &mut [f32]) {
        assert!(
            index < self.outputs && row.len() == self.inputs,
            "row {index} of {self:?}"
        );
        let (panel, lane) = (index / PANEL, index % PANEL);
        match &self.panels {
            Panels::F32(panels) => {
                let panel = &panels[panel * self.inputs * PANEL..];
                row.iter_mut()
                    .enumerate()
                    .for_each(|(at, to)| *to = panel[at * PANEL + lane]);
            }
            Panels::Bf16(panels) => {
                let panel = &panels[panel * self.inputs.div_ceil(2) * PANEL..];
                for (at, to) in row.iter_mut().enumerate() {
                    let pair = panel[at / 2 * PANEL + lane];
                    *to = f32::from_bits(if at % 2 == 0 {
                        pair << 16
                    } else {
                        pair & 0xffff_0000
                    });
                }
            }
        }
    }
}

byrote_core::simd::vectorized! {
    /// Rounds rows of `inputs` numbers to bf16 pairs and pads the last pair with zero. The bits
    /// equal those of [`bf16::from_f32`], which handles one number at a time because of its branch
    /// for NaN.
    fn round(rows: &[f32], inputs: usize, pairs: &mut [u32]) {
        for (row, pairs) in rows.chunks_exact(inputs).zip(pairs.chunks_exact_mut(inputs.div_ceil(2))) {
            let (whole, rest) = row.as_chunks::<2>();
            pairs.iter_mut().zip(whole).for_each(|(pair, [low, high])| *pair = nearest(*low) | nearest(*high) << 16);
            if let ([last], Some(pair)) = (rest, pairs.last_mut()) {
                *pair = nearest(*last);
            }
        }
    }
}

/// The bits of the nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) >> 16;
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        bits >> 16 | 0x40
    } else {
        rounded
    }
}

/// Packs rows of `inputs` weights from row `first` of the panels on. `read` returns a row's number
/// at each of `steps` steps.
fn pack<T, P: Copy>(
    panels: &mut [P],
    first: usize,
    rows: &[T],
    inputs: usize,
    steps: usize,
    read: impl Fn(&[T], usize) -> P,
) {
    let mut rest = rows;
    let mut first = first;
    while rest.len() >= inputs && inputs > 0 {
        let lane = first % PANEL;
        let count = (PANEL - lane).min(rest.len() / inputs);
        let panel = &mut panels[first / PANEL * PANEL * steps..][..steps * PANEL];
        // A few steps at a time, so that the destination stays in the cache while all rows are
        // written.
        for start in (0..steps).step_by(16) {
            for (i, row) in rest.chunks_exact(inputs).take(count).enumerate() {
                for at in start..(start + 16).min(steps) {
                    panel[at * PANEL + lane + i] = read(row, at);
                }
            }
        }
        rest = &rest[count * inputs..];
        first += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_packed_matrix_equal_the_original_rows() {
        let (inputs, outputs) = (7, 67);
        let w: Vec<f32> = (0..outputs * inputs)
            .map(|i| (i * 37 % 101) as f32 / 4.0 - 12.0)
            .collect();
        let narrow: Vec<bf16> = w.iter().map(|w| bf16::from_f32(*w)).collect();
        for packed in [
            Packed::from_f32(&w, inputs),
            Packed::from_bf16(&narrow, inputs),
        ] {
            let mut row = vec![0.0; inputs];
            for (index, want) in w.chunks_exact(inputs).enumerate() {
                packed.row(index, &mut row);
                assert_eq!(row, want);
            }
        }
    }

    #[test]
    fn rounding_equals_that_of_the_half_crate() {
        let some = (0..=u32::MAX).step_by(65_519).map(f32::from_bits);
        let ties = [
            0x3f80_8000,
            0x3f81_8000,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7f80_0001,
            0xffff_ffff,
            0x8000_0000,
            1,
            0x8000,
        ];
        let all: Vec<f32> = some.chain(ties.map(f32::from_bits)).collect();
        let inputs = 31;
        let rows = &all[..all.len() / inputs * inputs];
        let mut pairs = vec![0; rows.len() / inputs * 16];
        round(rows, inputs, &mut pairs);
        for (row, pairs) in rows.chunks(inputs).zip(pairs.chunks(16)) {
            for (at, x) in row.iter().enumerate() {
                let found = (pairs[at / 2] >> (16 * (at % 2))) as u16;
                assert_eq!(found, bf16::from_f32(*x).to_bits(), "{x} {:x}", x.to_bits());
            }
            assert_eq!(pairs[15] >> 16, 0);
        }
    }

    #[test]
    fn filling_a_matrix_in_pieces_equals_packing_it_at_once() {
        let (inputs, outputs) = (5, 70);
        let w: Vec<f32> = (0..outputs * inputs).map(|i| i as f32 / 8.0).collect();
        let narrow: Vec<bf16> = w.iter().map(|w| bf16::from_f32(*w)).collect();
        for (whole, kept) in [
            (Packed::from_f32(&w, inputs), Arithmetic::F32),
            (Packed::from_bf16(&narrow, inputs), Arithmetic::Bf16),
        ] {
            let mut pieces = Packed::zeros(outputs, inputs, kept);
            for (first, last) in [(33, 34), (0, 33), (34, 70)] {
                pieces.fill(first, &w[first * inputs..last * inputs]);
            }
            let (mut a, mut b) = ([0.0; 5], [0.0; 5]);
            for row in 0..outputs {
                whole.row(row, &mut a);
                pieces.row(row, &mut b);
                assert_eq!(a, b);
            }
        }
    }
}
