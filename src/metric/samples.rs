//! How many samples it takes to see a text.

/// What it costs to extract one suffix under one scheme.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Natural log of the probability of one sample; at most 0, `-inf` = never.
    pub log_p_z: f64,
    /// `-log2 p_z`; may be infinite.
    pub bits: f64,
    /// Samples needed to see it with probability .5: a whole number, at least 1; `inf` = more than
    /// an f64 holds, or never.
    pub samples_p50: f64,
    /// The same with probability .9.
    pub samples_p90: f64,
}
