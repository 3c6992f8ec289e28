//! Metrics: pure functions of one observation. They know no file, clock, model or policy.
//!
//! A metric is its function, with formula and citation in its doc comment, and a line in [`METRICS`],
//! from which the documentation and the legends of reports are made.

pub mod exposure;
pub mod follow_up;
pub mod greedy;
pub mod interval;
pub mod item;
pub mod left;
pub mod membership;
pub mod near;
pub mod paired;
pub mod probability;
pub mod recall;
pub mod samples;
pub mod tail;
pub mod text;
pub mod tokens;
pub mod window;

/// What a reader needs to know of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in reports.
    pub id: &'static str,
    /// What it says, in one line.
    pub summary: &'static str,
    pub unit: &'static str,
    /// In the notation of the documentation: `lp_t` log-probability and `r_t` rank of suffix token t, L tokens; z the suffix,
    /// g the model's own continuation.
    pub formula: &'static str,
    /// Where it comes from; `-` for plain counts of our own.
    pub citation: &'static str,
}

/// Every metric of a report: of windows first, then of items.
pub const METRICS: &[Metric] = &[
    Metric {
        id: "greedy_exact",
        summary: "greedy decoding from the prefix yields exactly the suffix",
        unit: "yes or no",
        formula: "all r_t = 0",
        citation: "arXiv 2202.07646",
    },
    Metric {
        id: "verbatim_run",
        summary: "suffix tokens before the first one that is not the model's first choice",
        unit: "tokens",
        formula: "min{t : r_t > 0}, counted from 0",
        citation: "arXiv 2202.07646",
    },
    Metric {
        id: "em",
        summary: "share of suffix tokens that are the model's first choice under teacher forcing",
        unit: "0 to 1",
        formula: "#{t : r_t = 0} / L",
        citation: "arXiv 2304.11158 (there on a free-running continuation)",
    },
    Metric {
        id: "sum_logprob",
        summary: "log-probability of the suffix under plain sampling at T = 1",
        unit: "nats",
        formula: "sum_t lp_t",
        citation: "arXiv 2202.07646",
    },
    Metric {
        id: "min_margin",
        summary: "smallest distance to a tie at the top: how near a greedy verdict is to flipping",
        unit: "nats",
        formula: "min_t |lp_t - max_{v != z_t} ln P(v | z_<t)|",
        citation: "-",
    },
    Metric {
        id: "log_p_z",
        summary: "log-probability that one sample under a scheme is exactly the suffix; -inf = never",
        unit: "nats",
        formula: "ln p_z = sum_t ln pi(z_t | z_<t), pi after temperature and top-k",
        citation: "arXiv 2410.19482, 2505.12546",
    },
    Metric {
        id: "bits",
        summary: "surprise of the suffix",
        unit: "bits",
        formula: "-log2 p_z",
        citation: "arXiv 2410.19482",
    },
    Metric {
        id: "samples_p50",
        summary: "samples needed to see the suffix with probability .5",
        unit: "samples",
        formula: "ceil(ln(1 - .5) / ln(1 - p_z))",
        citation: "arXiv 2410.19482",
    },
    Metric {
        id: "samples_p90",
        summary: "samples needed to see the suffix with probability .9",
        unit: "samples",
        formula: "ceil(ln(1 - .9) / ln(1 - p_z))",
        citation: "arXiv 2410.19482",
    },
    Metric {
        id: "zlib_bits_per_char",
        summary: "predictability of the text alone: size of the suffix under zlib",
        unit: "bits a character",
        formula: "8 * |zlib(suffix)| / characters",
        citation: "arXiv 2012.07805",
    },
    Metric {
        id: "copied_from_prefix",
        summary: "share of the suffix's token n-grams that already stand in the prefix: copying, not memory",
        unit: "0 to 1",
        formula: "#{n-grams of the suffix in the prefix} / #{n-grams of the suffix}",
        citation: "-",
    },
    Metric {
        id: "extraction_strength",
        summary: "share of the suffix that follows by greedy decoding once the rest of it is given",
        unit: "0 to 1",
        formula: "1 - min{m : r_t = 0 for all t >= m} / L",
        citation: "arXiv 2012.07805, 2506.12618",
    },
    Metric {
        id: "memorization_score",
        summary: "share of positions at which the model's own greedy continuation holds the true token",
        unit: "0 to 1",
        formula: "#{t : g_t = z_t} / L, g the free-running greedy continuation",
        citation: "arXiv 2304.11158",
    },
    Metric {
        id: "edit_similarity",
        summary: "how near the greedy continuation comes to the suffix, token by token; from .9 on it is near-verbatim",
        unit: "0 to 1",
        formula: "1 - Levenshtein(g, z) / max(|g|, |z|)",
        citation: "arXiv 2210.17546",
    },
    Metric {
        id: "bleu",
        summary: "word n-grams that the greedy continuation shares with the suffix; as sacrebleu for sentences, words split at whitespace",
        unit: "0 to 1",
        formula: "min(1, exp(1 - |z| / |g|)) exp((1/N) sum_n ln precision_n), n = 1..N, N = min(4, |g|), smoothed as in mteval-v13a",
        citation: "ACL P02-1040; threshold .75: arXiv 2210.17546",
    },
    Metric {
        id: "rouge_l",
        summary: "longest common subsequence of words of continuation and suffix; as rouge-score, words of a-z and 0-9",
        unit: "0 to 1",
        formula: "2 P R / (P + R), P = LCS / |g|, R = LCS / |z|",
        citation: "ACL W04-1013",
    },
    Metric {
        id: "lcs",
        summary: "longest run that continuation and suffix have in common, wherever it stands",
        unit: "characters; words",
        formula: "max length of a common substring",
        citation: "arXiv 2210.17546",
    },
    Metric {
        id: "nv_recall",
        summary: "share of a text's characters that lie in the suffix of a window whose continuation is near-verbatim; a lower bound unless all were continued",
        unit: "0 to 1",
        formula: "|union of near-verbatim suffixes| / characters",
        citation: "-",
    },
    Metric {
        id: "near_probability",
        summary: "probability that one sample comes within a few token edits of the suffix, from below",
        unit: "nats",
        formula: "ln sum of pi(y) over the sequences y with Levenshtein(y, z) <= k that a beam search found",
        citation: "arXiv 2603.24917",
    },
    Metric {
        id: "foreign_prefix_delta",
        summary: "how much the true prefix adds over prefixes of other texts; near 0 it recalls nothing",
        unit: "nats",
        formula: "ln p(s|p) - ln((1/J) sum_j p(s|p'_j))",
        citation: "arXiv 2602.18733",
    },
    Metric {
        id: "reference_ratio",
        summary: "surprise of the suffix by its surprise under the reference checkpoint; below 1 = likelier here",
        unit: "ratio",
        formula: "ln p(s|p) / ln p_reference(s|p)",
        citation: "arXiv 2012.07805",
    },
    Metric {
        id: "loss",
        summary: "mean surprise a token; supporting evidence only",
        unit: "nats a token",
        formula: "-(1/L) sum_t lp_t",
        citation: "arXiv 1709.01604",
    },
    Metric {
        id: "zlib_ratio",
        summary: "surprise of the suffix by its size under zlib; supporting evidence only",
        unit: "ratio",
        formula: "-log2 p(s|p) / (8 |zlib(suffix)|)",
        citation: "arXiv 2012.07805",
    },
    Metric {
        id: "min_k",
        summary: "mean log-probability of the fifth of the tokens that is least likely; supporting evidence only",
        unit: "nats a token",
        formula: "mean of the lowest 20% of lp_t",
        citation: "arXiv 2310.16789",
    },
    Metric {
        id: "min_k_plus_plus",
        summary: "the same after each token is set against what the model would draw; supporting evidence only",
        unit: "standard deviations",
        formula: "mean of the lowest 20% of (lp_t - mu_t) / sigma_t, mu_t and sigma_t over the vocabulary; 0 where sigma_t = 0",
        citation: "arXiv 2404.02936",
    },
    Metric {
        id: "mean_logprob",
        summary: "mean log-probability a token over all windows of a form",
        unit: "nats a token",
        formula: "sum over windows of sum_logprob / suffix tokens in all",
        citation: "-",
    },
    Metric {
        id: "coverage",
        summary: "share of a text's characters that lie in the suffix of a window with p_z >= tau",
        unit: "0 to 1",
        formula: "|union of extracted suffixes| / characters",
        citation: "arXiv 2505.12546",
    },
    Metric {
        id: "longest_span",
        summary: "longest run of touching or overlapping extracted suffixes",
        unit: "characters",
        formula: "max length of a connected part of the union of extracted suffixes",
        citation: "arXiv 2505.12546",
    },
    Metric {
        id: "p_value",
        summary: "how often a text the model can't have seen would score as high",
        unit: "0 to 1",
        formula: "p_i = B (1 + #{j : C_j >= S_i}) / (n + 1), at most 1; B pays for more windows than the controls have",
        citation: "Vovk, Gammerman, Shafer 2005; multiple items: Benjamini, Hochberg 1995",
    },
    Metric {
        id: "heat",
        summary: "how cheaply the passage around a character comes out",
        unit: "nats",
        formula: "max ln p_z over the windows whose suffix covers the character",
        citation: "arXiv 2505.12546",
    },
    Metric {
        id: "mean_rank",
        summary: "how often a matched document would score as high over all of its windows",
        unit: "0 to 1",
        formula: "(1 + #{d : T_d >= T}) / (D + 1), whole documents permuted",
        citation: "-",
    },
    Metric {
        id: "tail_p_value",
        summary: "a p-value beyond what the number of controls allows; model-based",
        unit: "0 to 1",
        formula: "(N_u / n) (1 + xi (S - u) / sigma)^(-1/xi), fitted above the threshold u, xi >= 0",
        citation: "Pickands 1975",
    },
    Metric {
        id: "exposure",
        summary: "canaries: how far up among the controls it stands",
        unit: "bits",
        formula: "-log2((1 + #{j : C_j >= S}) / (n + 1)), interval of the share by Clopper, Pearson 1934",
        citation: "arXiv 1802.08232",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_metric_is_described_once_and_in_full() {
        let ids: HashSet<_> = METRICS.iter().map(|metric| metric.id).collect();
        assert_eq!(ids.len(), METRICS.len());
        for metric in METRICS {
            for text in [
                metric.id,
                metric.summary,
                metric.unit,
                metric.formula,
                metric.citation,
            ] {
                assert!(!text.trim().is_empty(), "{}", metric.id);
            }
        }
    }
}
