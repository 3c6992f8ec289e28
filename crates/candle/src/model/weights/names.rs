//! The names of tensors in checkpoints.
//!
//! In byrote, a tensor has the name that GGUF gives it, such as `blk.3.ffn_up.weight`, so all
//! families share one set of names. A family maps them to the names in Hugging Face's checkpoints.

/// A family's names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    /// Possible prefixes of the body's names in safetensors. The first one under which the token
    /// table is found applies.
    pub(crate) bodies: &'static [&'static str],
    /// Tables of (GGUF's name, Hugging Face's name below the body), with `{}` for the number of a
    /// layer or an expert. A later table overrides an earlier one. A Hugging Face name that begins
    /// with `/` is outside of the body. A name with `.weight` or `.bias` refers to that tensor
    /// only, and then both names are complete.
    pub(crate) modules: &'static [&'static [(&'static str, &'static str)]],
    /// Modules with an unusual name in llama.cpp's files of this family: (the usual name, the
    /// unusual one).
    pub(crate) gguf: &'static [(&'static str, &'static str)],
}

impl Names {
    /// Tensors have the names under which they are stored.
    pub(crate) const AS_STORED: Self = Self {
        bodies: &[],
        modules: &[],
        gguf: &[],
    };

    /// The name in a GGUF file.
    pub(super) fn in_gguf(&self, name: &str) -> String {
        let find = |template: &str| {
            self.gguf
                .iter()
                .find(|(usual, _)| *usual == template)
                .map(|(_, own)| *own)
        };
        translated(name, find).unwrap_or_else(|| name.to_owned())
    }

    /// The name in safetensors whose body has the prefix `body`.
    pub(super) fn in_safetensors(&self, name: &str, body: &str) -> Option<String> {
        if self.modules.is_empty() {
            return Some(name.to_owned());
        }
        let find = |template: &str| {
            let rows = self.modules.iter().rev().flat_map(|table| table.iter());
            rows.copied()
                .find(|(gguf, _)| *gguf == template)
                .map(|(_, hf)| hf)
        };
        let found = translated(name, find)?;
        Some(match found.strip_prefix('/') {
            Some(beside) => beside.to_owned(),
            None => format!("{body}{found}"),
        })
    }
}

/// Translates `name` with the table that `find` searches: as a whole, else without its `.weight` or
/// `.bias`.
fn translated(name: &str, find: impl Fn(&str) -> Option<&'static str>) -> Option<String> {
    let (template, numbers) = template(name);
    if let Some(whole) = find(&template) {
        return Some(filled(whole, &numbers));
    }
    let (module, leaf) = template.rsplit_once('.')?;
    Some(format!("{}.{leaf}", filled(find(module)?, &numbers)))
}

/// A name with `{}` in place of its numbers, and the numbers.
fn template(name: &str) -> (String, Vec<&str>) {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = name
        .split('.')
        .map(|part| if is_number(part) { "{}" } else { part })
        .collect();
    (
        parts.join("."),
        name.split('.').filter(|part| is_number(part)).collect(),
    )
}

fn filled(template: &str, numbers: &[&str]) -> String {
    numbers.iter().fold(template.to_owned(), |name, number| {
        name.replacen("{}", number, 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names {
        bodies: &["model."],
        modules: &[
            &[
                ("blk.{}.ffn_up", "layers.{}.mlp.up_proj"),
                ("blk.{}.ffn_up.{}", "layers.{}.experts.{}.up"),
                ("blk.{}.attn_sinks.weight", "layers.{}.self_attn.sinks"),
                ("output", "/lm_head"),
                ("output_norm", "norm"),
            ],
            &[("output_norm", "final_norm")],
        ],
        gguf: &[("blk.{}.ffn_norm", "blk.{}.post_attention_norm")],
    };

    #[test]
    fn names_of_layers_and_experts_are_translated() {
        for (name, hf, gguf) in [
            (
                "blk.12.ffn_up.weight",
                Some("model.layers.12.mlp.up_proj.weight"),
                "blk.12.ffn_up.weight",
            ),
            (
                "blk.1.ffn_up.7.bias",
                Some("model.layers.1.experts.7.up.bias"),
                "blk.1.ffn_up.7.bias",
            ),
            (
                "blk.0.attn_sinks.weight",
                Some("model.layers.0.self_attn.sinks"),
                "blk.0.attn_sinks.weight",
            ),
            ("output.weight", Some("lm_head.weight"), "output.weight"),
            (
                "output_norm.bias",
                Some("model.final_norm.bias"),
                "output_norm.bias",
            ),
            (
                "blk.3.ffn_norm.weight",
                None,
                "blk.3.post_attention_norm.weight",
            ),
        ] {
            assert_eq!(NAMES.in_safetensors(name, "model.").as_deref(), hf);
            assert_eq!(NAMES.in_gguf(name), gguf);
        }
    }
}
