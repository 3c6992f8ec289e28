//! Metrics: pure functions of one observation. They know no file, clock, model or policy.
//!
//! A metric is its function, with formula and citation in its doc comment, and a line in [`METRICS`],
//! from which the documentation and the legends of reports are made.

pub mod exposure;
pub mod follow_up;
pub mod greedy;
pub mod interval;
pub mod item;
pub mod membership;
pub mod near;
pub mod probability;
pub mod real;
pub mod samples;
pub mod tail;
pub mod text;
pub mod window;

/// What a reader needs to know of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in reports.
    pub id: &'static str,
    /// What it says, in one line.
    pub summary: &'static str,
    pub unit: &'static str,
    /// In the notation of the documentation: `lp_t` log-probability and `r_t` rank of suffix token t, L tokens.
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
            for text in [metric.id, metric.summary, metric.unit, metric.formula, metric.citation] {
                assert!(!text.trim().is_empty(), "{}", metric.id);
            }
        }
    }
}
