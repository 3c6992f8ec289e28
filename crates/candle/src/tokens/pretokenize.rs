//! How byte-level BPE tokenizers cut text into words before merging: one entry for each value of
//! `tokenizer.ggml.pre`, according to the published tokenizer.json of that family.
//!
//! The patterns are those of the published tokenizers, not llama.cpp's rewritten versions, which
//! differ where its own pattern engine lacks a feature. llama.cpp also never normalizes. This
//! module applies Unicode's NFC if the published tokenizer does, since the model was trained that
//! way.

/// How a byte-level BPE cuts text before merging.
#[derive(Debug)]
pub(super) struct Pre {
    /// The values of `tokenizer.ggml.pre` for this entry.
    names: &'static [&'static str],
    /// The values of `general.architecture` for this entry, if a file has no `pre` or `default`.
    architectures: &'static [&'static str],
    /// Applied in order, each to the pieces that the earlier ones produced.
    pub(super) patterns: &'static [&'static str],
    /// True if text is first normalized to Unicode's composed form.
    pub(super) nfc: bool,
    /// True if a word that is a whole token is not merged from parts.
    pub(super) ignore_merges: bool,
    /// Whether text gets a BOS if the file doesn't say so.
    pub(super) bos: bool,
}

/// GPT-2.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// The patterns of a tokenizer that has no others.
pub(super) const GPT2_ONLY: &[&str] = &[GPT2];
/// GPT-3.5 and 4, also used by Llama 3 and many others.
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As [`CL100K`], with each digit separate.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-4o.
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral Nemo and later.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The letters in DeepSeek-LLM's pattern: the cased letters of a Unicode version.
const DEEPSEEK_LETTERS: &str = "\\s?[A-Za-z\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\u{295}-\u{2af}\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-\u{38a}\u{38c}\u{38e}-\u{3a1}\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\u{10a0}-\u{10c5}\u{13a0}-\u{13f5}\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}\u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\u{1fb6}-\u{1fbc}\u{1fbe}\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}\u{2124}\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\u{2139}\u{213c}-\u{213f}\u{2145}-\u{2149}\u{214e}\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}\u{2cf2}\u{2cf3}\u{a640}-\u{a66d}\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}\u{a78b}-\u{a78e}\u{ab70}-\u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}\u{ff41}-\u{ff5a}\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+";
const DEEPSEEK_MARKS: &str =
    "\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+";
/// Not only Han: the second range is U+0800 to U+4E00, as in the published file.
const DEEPSEEK_CJK: &str = "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+";
const DEEPSEEK3_CJK: &str = "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const BLOOM: &str = " ?[^(\\s|.,!?\u{2026}\u{3002}\u{ff0c}\u{3001}\u{964}\u{6d4}\u{60c})]+";
/// Unicode's punctuation and ASCII's.
const FALCON_MARKS: &str = r"[\p{P}\$\+<=>\^~\|`]+";

const PLAIN: Pre = Pre {
    names: &[],
    architectures: &[],
    patterns: &[],
    nfc: false,
    ignore_merges: false,
    bos: false,
};
const PRES: &[Pre] = &[
    Pre {
        names: &["gpt-2", "gpt2", "phi-2", "jais"],
        architectures: &["gpt2", "phi2", "jais"],
        patterns: &[GPT2],
        ..PLAIN
    },
    // The GPT-NeoX tokenizer, which Pythia, MPT and OLMo use, too, normalizes text.
    Pre {
        names: &["olmo", "mpt", "gpt-neox", "gptneox", "pythia"],
        architectures: &["olmo", "mpt", "gptneox"],
        patterns: &[GPT2],
        nfc: true,
        ..PLAIN
    },
    Pre {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "codeshell",
            "exaone",
            "minerva-7b",
        ],
        architectures: &["starcoder", "starcoder2", "refact", "codeshell"],
        patterns: &[r"\p{N}", GPT2],
        ..PLAIN
    },
    Pre {
        names: &["command-r"],
        architectures: &["command-r", "cohere2"],
        patterns: &[r"\p{N}", GPT2],
        nfc: true,
        bos: true,
        ..PLAIN
    },
    Pre {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "lfm2"],
        patterns: &[CL100K],
        ignore_merges: true,
        bos: true,
        ..PLAIN
    },
    Pre {
        names: &["dbrx", "smaug-bpe", "olmo2", "chatglm-bpe"],
        architectures: &["dbrx"],
        patterns: &[CL100K],
        ..PLAIN
    },
    Pre {
        names: &["glm4"],
        patterns: &[CL100K],
        ignore_merges: true,
        ..PLAIN
    },
    Pre {
        names: &["qwen2", "deepseek-r1-qwen", "megrez", "stablelm2"],
        architectures: &["qwen", "qwen2", "qwen2moe", "qwen3", "qwen3moe"],
        patterns: &[QWEN2],
        nfc: true,
        ..PLAIN
    },
    Pre {
        names: &["gpt-4o", "llama4"],
        architectures: &["gpt-oss", "llama4"],
        patterns: &[O200K],
        ..PLAIN
    },
    Pre {
        names: &["tekken"],
        patterns: &[TEKKEN],
        ignore_merges: true,
        bos: true,
        ..PLAIN
    },
    Pre {
        names: &["falcon"],
        architectures: &["falcon"],
        patterns: &[FALCON_MARKS, GPT2, "[0-9][0-9][0-9]"],
        ..PLAIN
    },
    Pre {
        names: &["bloom", "poro-chat", "gpt3-finnish"],
        architectures: &["bloom"],
        patterns: &[BLOOM],
        ..PLAIN
    },
    Pre {
        names: &["viking"],
        patterns: &[BLOOM, r"\p{N}"],
        ..PLAIN
    },
    Pre {
        names: &["deepseek-llm"],
        patterns: &[
            r"[\r\n]",
            DEEPSEEK_LETTERS,
            DEEPSEEK_MARKS,
            r"\s+$",
            DEEPSEEK_CJK,
            r"\p{N}",
        ],
        bos: true,
        ..PLAIN
    },
    Pre {
        names: &["deepseek-coder"],
        patterns: &[
            r"[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            DEEPSEEK_CJK,
            r"\p{N}",
        ],
        bos: true,
        ..PLAIN
    },
    Pre {
        names: &["deepseek-v3"],
        patterns: &[r"\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3],
        bos: true,
        ..PLAIN
    },
    // llama.cpp's default: Falcon's patterns and one for runs of digits.
    Pre {
        names: &["default"],
        patterns: &[FALCON_DEFAULT, GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        ..PLAIN
    },
];
/// llama.cpp's default omits the backtick.
const FALCON_DEFAULT: &str = r"[\p{P}\$\+<=>\^~\|]+";

/// Finds how a file's tokenizer cuts text, by `tokenizer.ggml.pre`, or by `general.architecture` if
/// that is missing or `default`. `None` if both are unknown.
pub(super) fn find(pre: Option<&str>, architecture: Option<&str>) -> Option<&'static Pre> {
    let named = |name: &str| PRES.iter().find(|pre| pre.names.contains(&name));
    match pre.filter(|&name| name != "default") {
        Some(name) => named(name),
        None => architecture
            .and_then(|architecture| {
                PRES.iter()
                    .find(|pre| pre.architectures.contains(&architecture))
            })
            .or_else(|| pre.and_then(named)),
    }
}

/// All known names, for messages.
pub(super) fn known() -> String {
    PRES.iter()
        .flat_map(|pre| pre.names)
        .copied()
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_and_architecture_occurs_once() {
        let mut seen = BTreeSet::new();
        for pre in PRES {
            pre.names
                .iter()
                .for_each(|name| assert!(seen.insert(("name", *name)), "{name}"));
            pre.architectures
                .iter()
                .for_each(|name| assert!(seen.insert(("architecture", *name)), "{name}"));
        }
    }

    #[test]
    fn a_missing_or_default_name_follows_the_architecture_and_nothing_else_is_guessed() {
        for (pre, architecture, patterns) in [
            (Some("falcon"), Some("llama"), Some(3)),
            (None, Some("falcon"), Some(3)),
            (Some("default"), Some("gptneox"), Some(1)),
            (Some("default"), Some("llama"), Some(4)),
            (None, Some("llama"), None),
            (None, None, None),
            (Some("of-tomorrow"), Some("gpt2"), None),
        ] {
            let found = find(pre, architecture).map(|pre| pre.patterns.len());
            assert_eq!(found, patterns, "{pre:?} {architecture:?}");
        }
        assert!(find(None, Some("gptneox")).unwrap().nfc);
    }
}
