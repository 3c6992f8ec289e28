//! Estimates a model's memory from the headers of its files, before any weight is read, and makes
//! it fit with smaller batches, fewer threads and narrower weights, in this order. If it can't fit,
//! that is an error instead of a killed program.
//!
//! The estimate is an upper bound of the memory in use at one time: the weights in their final
//! form, and the larger of two things: the memory that loading needs in addition, and the memory
//! that all threads need for their batches.

use super::ModelError;
use super::gguf::Gguf;
use super::quantize::Quant;
use super::shards::tensor_locations;
use super::spec::{FeedForwardSpec, ModelSpec};
use super::weights::{Precision, WeightSource};

/// Maximum number of tokens per batch. Longer windows make smaller batches, which limits memory.
pub const BATCH_TOKENS: usize = 2_048;

/// Logits that a thread holds at once, in elements (32 MiB): a few rows of a large vocabulary.
pub const LOGIT_ELEMENTS: usize = 8 << 20;

/// Logits per row that a thread holds at once if it doesn't need whole rows.
pub const LOGIT_COLUMNS: usize = 1_024;

/// The program itself, without a model.
const PROGRAM: u64 = 32 << 20;

/// Tables of a tokenizer, per entry of the vocabulary: spellings in both directions, merges.
const TOKENIZER_ENTRY: u64 = 640;

/// Pieces of a tensor on their way from the file to their place in memory.
const BLOCKS: u64 = 16 << 20;

/// How matrices are stored for products on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// As they are; a matrix that isn't f32 is widened for each product.
    #[default]
    None,
    /// Matrices in f32 and bf16 are stored in panels of 32 outputs instead of rows.
    Panels,
}

impl Packing {
    /// The packing that this machine's processor uses.
    pub fn of_machine() -> Self {
        if super::cpu::available() {
            Self::Panels
        } else {
            Self::None
        }
    }
}

/// Columns of a panel.
const PANEL: u64 = 32;

/// The memory limit and the requested batches.
#[derive(Clone, Copy, Debug)]
pub struct MemoryBudget {
    /// Bytes that the program may use; `None` if unknown.
    pub limit: Option<u64>,
    /// True if the user set the limit. If the limit is just the free memory, `auto` uses at most
    /// half of it for f32.
    pub limit_by_user: bool,
    /// Bytes in use already.
    pub in_use: u64,
    /// Maximum number of windows per batch.
    pub batch: usize,
    /// Maximum number of batches at a time.
    pub threads: usize,
    /// Tokens per window.
    pub window: usize,
    /// True if keys and values remain in memory because suffixes are fed piece by piece or
    /// continued. Whole rows of logits are needed then.
    pub keeps_cache: bool,
}

impl MemoryBudget {
    /// The memory that the machine and its control groups allow this program.
    pub fn of_machine(batch: usize, threads: usize, window: usize) -> Self {
        let in_use = byrote_core::system::resident().unwrap_or(0);
        let limit = byrote_core::system::memory()
            .usable()
            .map(|usable| usable.saturating_add(in_use));
        Self {
            limit,
            limit_by_user: false,
            in_use,
            batch,
            threads,
            window,
            keeps_cache: true,
        }
    }

    /// Limits the budget to `limit` bytes, if given.
    #[must_use]
    pub fn within(self, limit: Option<u64>) -> Self {
        Self {
            limit: limit.or(self.limit),
            limit_by_user: limit.is_some(),
            ..self
        }
    }
}

/// A tensor as described by a file's header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) name: String,
    /// The type in the file, in lower case.
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
    /// Bytes in the file.
    pub(super) bytes: u64,
}

/// The widths that determine the memory of a forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Widths {
    pub vocab: u64,
    pub hidden: u64,
    /// Queries, keys and values of the widest layer.
    pub qkv: u64,
    pub heads: u64,
    /// Keys and values of all layers.
    pub kept: u64,
    /// Gate and up of the widest feed-forward block, and their joined result.
    pub inner: u64,
    /// Sequences run one by one.
    pub sequential: bool,
    /// Logits are scaled or capped, which needs whole rows.
    pub warped: bool,
}

/// The sizes of a model, from its headers.
#[derive(Clone, Debug)]
pub struct MemoryEstimate {
    file: String,
    headers: Vec<Header>,
    widths: Widths,
    gguf: bool,
    /// The model supports no other precision.
    f32_only: bool,
}

/// The memory of a model, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    pub precision: Precision,
    pub batch: usize,
    pub threads: usize,
    /// The program with its inputs and the tokenizer.
    pub program: u64,
    /// Weights in their final form.
    pub weights: u64,
    /// Additional memory while loading.
    pub loading: u64,
    /// Activations, attention scores, keys and values of the batch of one thread.
    pub activations: u64,
    /// Logits of one thread.
    pub logits: u64,
    /// A matrix that one thread has widened for a product.
    pub widened: u64,
    /// The limit.
    pub limit: Option<u64>,
}

impl MemoryPlan {
    /// All memory of one thread.
    pub fn thread(&self) -> u64 {
        self.activations + self.logits + self.widened
    }

    /// The maximum at any time.
    pub fn total(&self) -> u64 {
        self.program + self.weights + self.loading.max(self.threads as u64 * self.thread())
    }

    /// A description in one line.
    pub fn describe(&self) -> String {
        let limit = self
            .limit
            .map_or_else(String::new, |limit| format!(" of {}", size(limit)));
        let threads = if self.threads == 1 {
            "1 thread".to_owned()
        } else {
            format!("{} threads", self.threads)
        };
        format!(
            "memory: {}{limit} at most: {} weights in {}, {threads} with {} each for batches of {} (activations {}, logits \
             {}), {} the rest",
            size(self.total()),
            size(self.weights),
            self.precision.name(),
            size(self.thread()),
            self.batch,
            size(self.activations),
            size(self.logits + self.widened),
            size(self.total() - self.weights - self.threads as u64 * self.thread()),
        )
    }
}

/// Bytes in readable units.
pub fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes >= 1e9 {
        format!("{:.2} GB", bytes / 1e9)
    } else {
        format!("{:.0} MB", bytes / 1e6)
    }
}

/// Bytes as a user writes them: `800MB`, `6GiB`, `1.5G`, `1073741824`. `G` alone means GiB, as in
/// the limits of containers.
///
/// # Errors
/// If it isn't a number with such a unit.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} isn't an amount of memory; examples: 6GiB, 800MB, 1073741824");
    let text = text.trim();
    let (number, unit) = text.split_at(
        text.find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len()),
    );
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "k" | "kib" => 1024.0,
        "m" | "mib" => f64::from(1 << 20),
        "g" | "gib" => f64::from(1 << 30),
        "t" | "tib" => f64::from(1 << 30) * 1024.0,
        _ => return Err(bad()),
    };
    let number: f64 = number.trim().parse().map_err(|_| bad())?;
    let bytes = number * factor;
    if (1.0..1e18).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err(bad())
    }
}

impl Header {
    pub(super) fn elements(&self) -> u64 {
        let stored: u64 = self.shape.iter().map(|n| *n as u64).product();
        // MXFP4 as stored on the hub: two codes per byte, and separate exponents.
        match self.dtype.as_str() {
            "u8" if self.name.ends_with("_blocks") => 2 * stored,
            "u8" if self.name.ends_with("_scales") => 0,
            _ => stored,
        }
    }

    /// Vectors are always stored in f32.
    pub(super) fn is_matrix(&self) -> bool {
        self.shape.len() > 1
    }

    /// With the outputs rounded up to whole panels; a matrix is stored as `[out, in]`.
    fn padded(&self) -> u64 {
        let out = self
            .shape
            .len()
            .checked_sub(2)
            .and_then(|i| self.shape.get(i))
            .map_or(1, |n| (*n).max(1) as u64);
        self.elements() / out * out.next_multiple_of(PANEL)
    }

    /// Bytes in memory. MXFP4 takes twice its size.
    pub(super) fn kept(&self, precision: Precision, packing: Packing) -> u64 {
        if !self.is_matrix() {
            return 4 * self.elements();
        }
        match (precision, packing) {
            (Precision::Quantized, _) if self.dtype == "mxfp4" => 2 * self.bytes,
            (Precision::Quantized, _) => self.bytes,
            (Precision::AtLoad(quant), _) => self.quantized(quant),
            (Precision::F32, Packing::Panels) => 4 * self.padded(),
            (Precision::Bf16, Packing::Panels) => 2 * self.padded(),
            (Precision::F32, Packing::None) => 4 * self.elements(),
            (Precision::Bf16 | Precision::F16, _) => 2 * self.elements(),
        }
    }

    /// Additional bytes that reading the tensor needs: its bytes in the file, and its converted
    /// values.
    fn beside(&self, precision: Precision, packing: Packing, gguf: bool) -> u64 {
        let (wide, narrow) = (4 * self.elements(), 2 * self.elements());
        let raw = if gguf { self.bytes } else { 0 };
        let by_rows = gguf && !matches!(self.dtype.as_str(), "f32" | "f16" | "bf16");
        match (precision, packing) {
            (Precision::Quantized, _) => self.bytes,
            (Precision::AtLoad(_), _) => self.bytes + 2 * wide,
            // Safetensors are converted block by block into their final form.
            (_, Packing::None) | (Precision::F16, _) if !gguf => BLOCKS,
            // Quantized matrices are dequantized a few rows at a time.
            (Precision::F32 | Precision::Bf16, Packing::Panels) if by_rows => 2 * raw + BLOCKS,
            (Precision::F32, Packing::Panels) => raw + wide,
            (Precision::Bf16, Packing::Panels) if !gguf => narrow,
            _ => raw + wide + narrow,
        }
    }

    fn quantized(&self, quant: Quant) -> u64 {
        let (out, width) = match self.shape.as_slice() {
            [.., out, width] => (*out, *width),
            _ => return 4 * self.elements(),
        };
        // One of the tall matrices is the output matrix, which gets a finer type.
        quant.most_bytes(self.elements(), width, out > 8 * width)
    }
}

/// Masks and tables in old checkpoints.
fn is_buffer(name: &str) -> bool {
    let ends = [
        ".attn.bias",
        ".attention.bias",
        ".masked_bias",
        "rotary_emb.inv_freq",
        "rope_freqs.weight",
    ];
    ends.iter().any(|end| name.ends_with(end))
}

/// The tensors of safetensors files, without buffers and a second copy of a tied output matrix.
pub(super) fn of_safetensors(
    files: &[WeightSource],
    tied: bool,
) -> Result<Vec<Header>, ModelError> {
    let mut headers = Vec::new();
    for source in files {
        headers.extend(
            tensor_locations(source)?
                .into_iter()
                .map(|(name, location)| Header {
                    name,
                    dtype: format!("{:?}", location.dtype).to_lowercase(),
                    shape: location.shape,
                    bytes: location.bytes as u64,
                }),
        );
    }
    headers.retain(|header| !(is_buffer(&header.name) || tied && header.name == "lm_head.weight"));
    Ok(headers)
}

/// The tensors of a GGUF file.
pub(super) fn of_gguf(gguf: &Gguf) -> Vec<Header> {
    let header = |(name, entry): (&String, &super::gguf::TensorEntry)| Header {
        name: name.clone(),
        dtype: stored_name(&format!("{:?}", entry.dtype)),
        shape: entry.shape.clone(),
        bytes: entry.bytes() as u64,
    };
    gguf.tensors
        .iter()
        .filter(|(name, _)| !is_buffer(name))
        .map(header)
        .collect()
}

/// `Q4K` is called `q4_k`, and `Q4_0` `q4_0`.
fn stored_name(candle: &str) -> String {
    let name = candle.to_lowercase();
    match name.strip_suffix('k') {
        Some(start) if start.starts_with('q') => format!("{start}_k"),
        _ => name,
    }
}

/// Bytes of the weights in memory.
pub(super) fn weights(headers: &[Header], precision: Precision, packing: Packing) -> u64 {
    headers
        .iter()
        .map(|header| header.kept(precision, packing))
        .sum()
}

impl Widths {
    /// The widths of a decoder.
    pub(crate) fn from_spec(spec: &ModelSpec) -> Self {
        let attention = spec.layers.iter().map(|layer| &layer.attention);
        let kv = |a: &super::spec::AttentionSpec| 2 * (a.kv_heads * a.head_dim) as u64;
        let feed = spec.layers.iter().map(|layer| match layer.feed {
            FeedForwardSpec::Gated { inner, .. } => 5 * inner,
            FeedForwardSpec::Plain { inner, .. } => 2 * inner,
            FeedForwardSpec::Experts(experts) => {
                5 * experts
                    .inner
                    .max(experts.shared.map_or(0, |(inner, _)| inner))
            }
        });
        Self {
            vocab: spec.vocab_size as u64,
            hidden: spec.hidden_size as u64,
            qkv: attention
                .clone()
                .map(|a| (a.heads * a.head_dim) as u64 + kv(a))
                .max()
                .unwrap_or(0),
            heads: attention.clone().map(|a| a.heads as u64).max().unwrap_or(0),
            kept: attention.map(kv).sum(),
            inner: feed.max().unwrap_or(0) as u64,
            sequential: false,
            warped: spec.logit_scale.is_some() || spec.logit_softcap.is_some(),
        }
    }

    /// The widths of a model that runs token by token. Only the vocabulary matters: the state of a
    /// sequence is small in comparison.
    fn sequential(vocab: u64, hidden: u64) -> Self {
        Self {
            vocab,
            hidden,
            qkv: 4 * hidden,
            inner: 5 * 4 * hidden,
            sequential: true,
            ..Self::default()
        }
    }

    /// Bytes for one batch: the activations of the widest layer, attention scores and, if they
    /// remain, keys and values of all layers, for batches up to twice as large.
    fn activations(&self, batch: usize, budget: &MemoryBudget) -> u64 {
        let (batch, window) = (batch as u64, budget.window as u64);
        let attention = 4 * self.hidden + 4 * self.qkv;
        let feed = 5 * self.hidden + self.inner;
        let kept = if budget.keeps_cache { 2 * self.kept } else { 0 };
        let tokens = batch * window * (attention.max(feed) + kept);
        let scores = 4 * batch * self.heads * window * window;
        4 * (tokens + scores)
    }

    /// Bytes of logits held at once. A packed output matrix is multiplied some columns at a time.
    /// Otherwise some whole rows are computed at a time, and copied if they are scaled or capped or
    /// come from another device.
    fn logits(
        &self,
        batch: usize,
        budget: &MemoryBudget,
        precision: Precision,
        packing: Packing,
    ) -> u64 {
        let all = (batch * budget.window).max(1) as u64;
        let packed =
            packing == Packing::Panels && matches!(precision, Precision::F32 | Precision::Bf16);
        if packed && !self.warped && !budget.keeps_cache {
            return 4 * all * self.vocab.min(LOGIT_COLUMNS as u64);
        }
        let rows = (LOGIT_ELEMENTS as u64 / self.vocab.max(1)).clamp(1, all);
        let copies = if packing == Packing::Panels && !self.warped {
            1
        } else {
            2
        };
        copies * 4 * rows * self.vocab
    }
}

impl MemoryEstimate {
    /// If `widths` is `None`, the model is one that runs token by token. Widths that no tensor can
    /// have are ignored: a damaged configuration causes an error of its own when tensors are read.
    pub(super) fn new(
        file: String,
        headers: Vec<Header>,
        widths: Option<Widths>,
        gguf: bool,
        f32_only: bool,
    ) -> Self {
        let most = headers
            .iter()
            .flat_map(|header| &header.shape)
            .max()
            .map_or(0, |n| (*n as u64).min(1 << 28));
        let widths = widths.unwrap_or_else(|| {
            let tallest = headers
                .iter()
                .filter(|header| header.shape.len() == 2)
                .max_by_key(|header| header.shape[0]);
            tallest.map_or_else(Widths::default, |t| {
                Widths::sequential(t.shape[0] as u64, t.shape[1] as u64)
            })
        });
        let widths = Widths {
            vocab: widths.vocab.min(most),
            hidden: widths.hidden.min(most),
            qkv: widths.qkv.min(3 * most),
            heads: widths.heads.min(most),
            kept: widths
                .kept
                .min(2 * most * (headers.len() as u64).min(1 << 14)),
            inner: widths.inner.min(5 * most),
            sequential: widths.sequential,
            warped: widths.warped,
        };
        Self {
            file,
            headers,
            widths,
            gguf,
            f32_only,
        }
    }

    /// The memory for this precision and these batches.
    pub fn plan(
        &self,
        precision: Precision,
        packing: Packing,
        budget: &MemoryBudget,
    ) -> MemoryPlan {
        let batch = if self.widths.sequential {
            1
        } else {
            budget
                .batch
                .clamp(1, (BATCH_TOKENS / budget.window.max(1)).max(1))
        };
        let threads = budget.threads.max(1);
        let matrices = || self.headers.iter().filter(|header| header.is_matrix());
        let largest = |of: &dyn Fn(&Header) -> u64| matrices().map(of).max().unwrap_or(0);
        let widest = largest(&Header::elements);
        let widened = match precision {
            Precision::F32 => 0,
            Precision::Bf16 if packing == Packing::Panels => 0,
            // A few rows at a time.
            _ if packing == Packing::Panels => (2 * 4 * widest).min(16 << 20),
            // In panels of at most 64 MiB.
            Precision::Quantized | Precision::AtLoad(_) => (4 * widest).min(64 << 20),
            _ => 4 * widest,
        };
        // The largest tensor is nearly always the token table or the output matrix, which are read
        // alone. Layers are read in parallel, and some of their tensors must be reordered.
        let tall = |header: &Header| {
            header
                .shape
                .first()
                .is_some_and(|n| *n as u64 == self.widths.vocab)
        };
        let beside = |header: &Header| header.beside(precision, packing, self.gguf);
        let turned = |header: &Header| beside(header) + header.kept(precision, packing);
        let of_layers = matrices()
            .filter(|header| !tall(header))
            .map(turned)
            .max()
            .unwrap_or(0);
        let loading = (threads as u64 * of_layers).max(largest(&beside));
        MemoryPlan {
            precision,
            batch,
            threads,
            program: budget.in_use.max(PROGRAM) + TOKENIZER_ENTRY * self.widths.vocab,
            weights: weights(&self.headers, precision, packing),
            loading,
            activations: self.widths.activations(batch, budget),
            logits: self.widths.logits(batch, budget, precision, packing),
            widened,
            limit: budget.limit,
        }
    }

    /// A plan within the limit with the largest possible batches; `None` if there is none.
    fn fitting(
        &self,
        precision: Precision,
        packing: Packing,
        budget: &MemoryBudget,
        limit: u64,
    ) -> Option<MemoryPlan> {
        let mut budget = *budget;
        loop {
            let plan = self.plan(precision, packing, &budget);
            if plan.total() <= limit {
                return Some(plan);
            }
            // Batches of four still keep a thread busy. Below that, one thread less costs less than
            // batches of one.
            match (plan.batch, budget.threads) {
                (1, 0 | 1) => return None,
                (batch @ 5.., _) => budget.batch = batch.div_ceil(2),
                (_, threads @ 2..) => budget.threads = threads.div_ceil(2),
                (batch, _) => budget.batch = batch.div_ceil(2),
            }
        }
    }

    /// Chooses the number of windows and threads, and the precision if none is `requested`.
    ///
    /// # Errors
    /// If the model doesn't fit. The error says what it needs, how much memory there is, and which
    /// precision would fit.
    pub fn choose(
        &self,
        requested: Option<Precision>,
        packing: Packing,
        budget: &MemoryBudget,
    ) -> Result<MemoryPlan, ModelError> {
        let narrow = if self.gguf {
            Precision::Quantized
        } else {
            Precision::Bf16
        };
        let Some(limit) = budget.limit else {
            return Ok(self.plan(requested.unwrap_or(Precision::F32), packing, budget));
        };
        let fits = |precision, limit| self.fitting(precision, packing, budget, limit);
        let found = match requested {
            Some(precision) => fits(precision, limit),
            None if self.f32_only => fits(Precision::F32, limit),
            None => {
                let for_f32 = if budget.limit_by_user {
                    limit
                } else {
                    budget
                        .in_use
                        .saturating_add(limit.saturating_sub(budget.in_use) / 2)
                };
                // Wide weights aren't worth batches of one.
                let wide =
                    fits(Precision::F32, for_f32).filter(|plan| plan.batch >= budget.batch.min(4));
                wide.or_else(|| fits(narrow, limit))
                    .or_else(|| fits(Precision::F32, limit))
            }
        };
        found.ok_or_else(|| {
            self.too_large(
                requested.unwrap_or(if self.f32_only {
                    Precision::F32
                } else {
                    narrow
                }),
                packing,
                budget,
                limit,
            )
        })
    }

    fn too_large(
        &self,
        wanted: Precision,
        packing: Packing,
        budget: &MemoryBudget,
        limit: u64,
    ) -> ModelError {
        let least = |precision| {
            self.plan(
                precision,
                packing,
                &MemoryBudget {
                    batch: 1,
                    threads: 1,
                    ..*budget
                },
            )
        };
        let needs = least(wanted);
        let narrower = [
            Precision::Bf16,
            Precision::AtLoad(Quant::Q8_0),
            Precision::Quantized,
            Precision::AtLoad(Quant::Q4_0),
        ];
        let mut open: Vec<MemoryPlan> = narrower
            .into_iter()
            .filter(|p| !self.f32_only && (self.gguf || *p != Precision::Quantized))
            .map(least)
            .filter(|plan| plan.weights < needs.weights)
            .collect();
        open.sort_by_key(|plan| std::cmp::Reverse(plan.weights));
        let instead = match open.iter().find(|plan| plan.total() <= limit) {
            Some(plan) => format!("--dtype {} would fit, with {}", plan.precision.name(), size(plan.total())),
            None => match open.last() {
                Some(plan) => format!(
                    "no --dtype would fit, not even {} with {}: use a machine with more memory, or a smaller model",
                    plan.precision.name(),
                    size(plan.total())
                ),
                None => {
                    "no narrower --dtype would fit: use a machine with more memory, or a smaller model".to_owned()
                }
            },
        };
        let whose = if budget.limit_by_user {
            "--memory allows"
        } else {
            "the machine has"
        };
        ModelError::Config {
            file: self.file.clone(),
            what: format!(
                "in {} it needs at least {} of memory (weights {}; one window at a time on one thread), but {whose} {}; {instead}",
                wanted.name(),
                size(needs.total()),
                size(needs.weights),
                size(limit),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
