//! Quantization at load: the type of each matrix when a checkpoint is probed as if it had been
//! published quantized.
//!
//! The type of each matrix is the one that llama.cpp's quantizer chooses, by GGUF's names; the
//! rounding is Candle's. A file written by llama.cpp may differ in single weights, because
//! llama.cpp may weigh them by an importance matrix. To probe a file that will be published, probe
//! that file itself.

use super::ModelError;
use candle_core::quantized::GgmlDType;
use std::collections::BTreeMap;

/// A quantization recipe for a whole checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quant {
    Q8_0,
    Q6K,
    Q5K,
    Q4K,
    /// llama.cpp's mixture `Q4_K_M`: half of the value and down projections in `q6_k`, the rest in
    /// `q4_k`.
    Q4KM,
    Q4_0,
}

impl Quant {
    /// Name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q8_0 => "q8_0",
            Self::Q6K => "q6_k",
            Self::Q5K => "q5_k",
            Self::Q4K => "q4_k",
            Self::Q4KM => "q4_k_m",
            Self::Q4_0 => "q4_0",
        }
    }

    /// The maximum number of bytes of a matrix of this many elements, in rows of `width`. For a
    /// mixture, its average type. `output` is true for the output matrix, which gets a finer type.
    pub(super) fn most_bytes(self, elements: u64, width: usize, output: bool) -> u64 {
        let wanted = match self {
            Self::Q8_0 => GgmlDType::Q8_0,
            _ if output => GgmlDType::Q6K,
            Self::Q4KM => GgmlDType::Q5K,
            other => other.base(),
        };
        match fitting(wanted, width) {
            Kept::Quantized(dtype) => {
                elements / dtype.block_size() as u64 * dtype.type_size() as u64
            }
            Kept::F16 => 2 * elements,
            Kept::F32 => 4 * elements,
        }
    }

    /// The type of most matrices.
    fn base(self) -> GgmlDType {
        match self {
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q6K => GgmlDType::Q6K,
            Self::Q5K => GgmlDType::Q5K,
            Self::Q4K | Self::Q4KM => GgmlDType::Q4K,
            Self::Q4_0 => GgmlDType::Q4_0,
        }
    }
}

/// The form of one matrix in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Quantized(GgmlDType),
    /// Its rows aren't a multiple of any type's block size.
    F16,
    /// It is never quantized.
    F32,
}

impl Kept {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quantized(GgmlDType::Q4_0) => "q4_0",
            Self::Quantized(GgmlDType::Q5_0) => "q5_0",
            Self::Quantized(GgmlDType::Q5_1) => "q5_1",
            Self::Quantized(GgmlDType::Q8_0) => "q8_0",
            Self::Quantized(GgmlDType::Q4K) => "q4_k",
            Self::Quantized(GgmlDType::Q5K) => "q5_k",
            Self::Quantized(GgmlDType::Q6K) => "q6_k",
            Self::Quantized(_) => "quantized",
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }
}

/// What the choice depends on besides the matrix itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chooser {
    pub(super) quant: Quant,
    /// True if the checkpoint has a separate output matrix; otherwise the token table serves as
    /// one.
    pub(super) has_output: bool,
    pub(super) layers: usize,
}

impl Chooser {
    /// The form of the matrix that GGUF calls `module` (such as `blk.3.attn_v`), with rows of
    /// `width`.
    pub(super) fn choose(&self, module: &str, width: usize) -> Kept {
        let (layer, part) = match module
            .strip_prefix("blk.")
            .and_then(|rest| rest.split_once('.'))
        {
            Some((number, part)) => (number.parse().unwrap_or(0), part),
            None => (0, module),
        };
        if part == "position_embd" {
            return Kept::F32;
        }
        let output = part == "output" || (part == "token_embd" && !self.has_output);
        let wanted = match self.quant {
            Quant::Q8_0 => GgmlDType::Q8_0,
            _ if output => GgmlDType::Q6K,
            Quant::Q4KM => match part {
                "attn_v" | "ffn_down" if more_bits(layer, self.layers) => GgmlDType::Q6K,
                "attn_qkv" => GgmlDType::Q5K,
                _ => GgmlDType::Q4K,
            },
            other => other.base(),
        };
        fitting(wanted, width)
    }

    /// Describes how many matrices have which type; `None` if all quantized matrices have the
    /// recipe's main type.
    ///
    /// # Errors
    /// If no matrix has the recipe's main type.
    pub(super) fn describe(
        &self,
        kept: &BTreeMap<&'static str, u64>,
        file: &str,
    ) -> Result<String, ModelError> {
        let base = Kept::Quantized(self.quant.base());
        if !kept.contains_key(base.name()) {
            let block = self.quant.base().block_size();
            let instead = if kept.keys().all(|name| ["f16", "f32"].contains(name)) {
                "no quantized type fits them: use f16 or f32"
            } else {
                "try q4_0 or q8_0, whose blocks have 32 elements"
            };
            return Err(ModelError::Config {
                file: file.to_owned(),
                what: format!(
                    "\"--dtype {}\" fits none of its matrices, because the length of their rows isn't a multiple of {block}; {instead}",
                    self.quant.name()
                ),
            });
        }
        let mut counts: Vec<(&str, u64)> =
            kept.iter().map(|(name, count)| (*name, *count)).collect();
        // The recipe's main type first, then the most common one.
        counts.sort_by_key(|(name, count)| (*name != base.name(), std::cmp::Reverse(*count)));
        let all: u64 = counts.iter().map(|(_, count)| count).sum();
        let parts: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{count} in {name}"))
            .collect();
        Ok(format!("of {all} matrices {}", parts.join(", ")))
    }
}

/// `wanted`, or llama.cpp's substitute if rows aren't a multiple of the block size: the type with
/// blocks of 32 that is nearest in size, and f16 if that doesn't fit either.
fn fitting(wanted: GgmlDType, width: usize) -> Kept {
    if width.is_multiple_of(wanted.block_size()) {
        return Kept::Quantized(wanted);
    }
    let smaller = match wanted {
        GgmlDType::Q4K => GgmlDType::Q5_0,
        GgmlDType::Q5K => GgmlDType::Q5_1,
        GgmlDType::Q6K => GgmlDType::Q8_0,
        other => other,
    };
    if width.is_multiple_of(smaller.block_size()) {
        Kept::Quantized(smaller)
    } else {
        Kept::F16
    }
}

/// True for the layers that the mixture gives a finer type: the first and the last eighth, and
/// every third layer between them.
fn more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(quant: Quant, module: &str, width: usize) -> &'static str {
        Chooser {
            quant,
            has_output: true,
            layers: 24,
        }
        .choose(module, width)
        .name()
    }

    #[test]
    fn matrices_get_the_types_that_llama_cpp_chooses() {
        for (quant, module, width, expected) in [
            (Quant::Q8_0, "output", 2048, "q8_0"),
            (Quant::Q4K, "output", 2048, "q6_k"),
            (Quant::Q4_0, "output", 2048, "q6_k"),
            (Quant::Q4_0, "output", 576, "q8_0"),
            (Quant::Q4K, "token_embd", 2048, "q4_k"),
            (Quant::Q5K, "blk.3.attn_q", 2048, "q5_k"),
            (Quant::Q5K, "blk.3.attn_q", 576, "q5_1"),
            (Quant::Q4K, "blk.3.attn_q", 576, "q5_0"),
            (Quant::Q6K, "blk.3.attn_q", 576, "q8_0"),
            (Quant::Q4_0, "blk.3.attn_q", 576, "q4_0"),
            (Quant::Q4_0, "blk.3.attn_q", 48, "f16"),
            (Quant::Q4K, "blk.3.attn_q", 48, "f16"),
            (Quant::Q8_0, "position_embd", 1024, "f32"),
            (Quant::Q4KM, "blk.3.attn_qkv", 1024, "q5_k"),
            (Quant::Q4KM, "blk.3.attn_k", 1024, "q4_k"),
        ] {
            assert_eq!(
                chosen(quant, module, width),
                expected,
                "{quant:?} {module} {width}"
            );
        }
        let tied = Chooser {
            quant: Quant::Q4K,
            has_output: false,
            layers: 24,
        };
        assert_eq!(tied.choose("token_embd", 2048).name(), "q6_k");
    }

    #[test]
    fn the_mixture_uses_a_finer_type_for_half_of_the_value_and_down_projections() {
        let finer: Vec<usize> = (0..24)
            .filter(|layer| chosen(Quant::Q4KM, &format!("blk.{layer}.ffn_down"), 1024) == "q6_k")
            .collect();
        assert_eq!(finer, [0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23]);
        assert_eq!(chosen(Quant::Q4KM, "blk.5.attn_v", 1024), "q6_k");
        assert_eq!(chosen(Quant::Q4KM, "blk.6.attn_v", 1024), "q4_k");
    }

    #[test]
    fn the_types_equal_those_of_a_published_q4_k_m_file() {
        // Gemma 3 270M by llama.cpp: 18 layers, hidden size 640, heads of 4 x 256, inner size 2048,
        // tied.
        let gemma = Chooser {
            quant: Quant::Q4KM,
            has_output: false,
            layers: 18,
        };
        let finer = [0, 1, 4, 7, 10, 13, 15, 16, 17];
        assert_eq!(gemma.choose("token_embd", 640).name(), "q8_0");
        for layer in 0..18 {
            let chosen =
                |part: &str, width| gemma.choose(&format!("blk.{layer}.{part}"), width).name();
            let fine = finer.contains(&layer);
            assert_eq!(
                chosen("attn_v", 640),
                if fine { "q8_0" } else { "q5_0" },
                "layer {layer}"
            );
            assert_eq!(
                chosen("ffn_down", 2048),
                if fine { "q6_k" } else { "q4_k" },
                "layer {layer}"
            );
            assert_eq!(chosen("attn_output", 1024), "q4_k");
            for part in ["attn_q", "attn_k", "ffn_gate", "ffn_up"] {
                assert_eq!(chosen(part, 640), "q5_0");
            }
        }
    }

    #[test]
    fn a_recipe_that_fits_no_matrix_is_refused_and_types_are_counted() {
        let chooser = Chooser {
            quant: Quant::Q4K,
            has_output: true,
            layers: 2,
        };
        let refused = |kept: &[(&'static str, u64)]| {
            chooser
                .describe(&kept.iter().copied().collect(), "m/config.json")
                .unwrap_err()
                .to_string()
        };
        assert!(
            refused(&[("q5_0", 9), ("q8_0", 1)])
                .contains("isn't a multiple of 256; try q4_0 or q8_0")
        );
        assert!(refused(&[("f16", 9)]).contains("no quantized type fits them"));
        let kept = [("f32", 1), ("q4_k", 2), ("q5_0", 9), ("q8_0", 3)]
            .into_iter()
            .collect();
        assert_eq!(
            chooser.describe(&kept, "").unwrap(),
            "of 15 matrices 2 in q4_k, 9 in q5_0, 3 in q8_0, 1 in f32"
        );
    }
}
