//! The command line. Nothing below `cmd` sees a flag: each command turns its arguments into plain settings.

use byrote_core::report::formats::{self, FORMATS, Format};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Finds out what a released language model knows by rote.
///
/// `byrote probe` with no arguments probes the built-in model: the whole job, offline, in seconds.
#[derive(Debug, Parser)]
#[command(
    name = "byrote",
    version,
    after_long_help = "Exit codes, the same for every format:\n  \
        0    pass, or: did what was asked\n  \
        1    the policy blocks (only gate, and probe --gate)\n  \
        2    could not decide: wrong usage, bad input, something not measured\n  \
        130  stopped by Ctrl-C; what was scored is kept, the same command resumes\n\n\
        Environment:\n  \
        SOURCE_DATE_EPOCH  when a run begins, as its reports say (seconds since 1970), for reports that are the same byte for byte\n  \
        NO_COLOR           no colours on the terminal\n  \
        HF_HUB_OFFLINE=1   as --offline"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Probe a model with opted-out text and write a memorization report
    #[cfg(feature = "native")]
    Probe(ProbeArgs),
    /// Score given windows, token by token, and nothing else
    #[cfg(feature = "native")]
    Score(ScoreArgs),
    /// Decide again on a report, without the model
    Gate(GateArgs),
    /// Render a report again
    Report(ReportArgs),
    /// Show one item of a run: its verdict, its windows, and one of them token by token
    Inspect(InspectArgs),
    /// Compare reports on the same texts, item by item. Exit 2 if nothing in one of them can be compared
    Compare(CompareArgs),
    /// Check probe sets and policies without a model
    Lint(LintArgs),
    /// Make and check control texts
    #[command(subcommand)]
    Controls(ControlsCommand),
    /// List models by name, show one, or fetch one
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Tell what this build and this machine can do, and test the model inside. Exit 2 if that fails
    Doctor {
        /// Measure on a model [default: the built-in one] what is fastest here: dtypes, batch sizes, ways to use threads;
        /// prints a table and the flags to give, changes nothing
        #[cfg(feature = "native")]
        #[arg(long, value_name = "REF", num_args = 0..=1, default_missing_value = "builtin")]
        tune: Option<String>,
        /// What is printed
        #[arg(long, default_value = "text")]
        format: Printed,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Which model, and how it is loaded.
#[cfg(feature = "native")]
#[derive(Clone, Debug, Args)]
pub(crate) struct ModelArgs {
    /// Where weights are put: auto, cpu, cuda:N or metal
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub(crate) device: String,
    /// Batches scored at the same time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) threads: Option<u32>,
    /// Windows a batch at most
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch: u32,
    /// In what numbers the CPU multiplies; sums are f32 in either. auto = bf16 for weights kept in bf16, else f32. What rounding
    /// could decide is computed again in f32
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) compute: Compute,
    /// Memory that may be taken, such as 6GiB or 800MB: batches, threads and `auto` dtype keep to it [default: what is free]
    #[arg(long, value_name = "SIZE", value_parser = byrote_candle::model::memory::parse_size)]
    pub(crate) memory: Option<u64>,
    /// Use only what is on this disk already (also: HF_HUB_OFFLINE=1)
    #[arg(long)]
    pub(crate) offline: bool,
    /// Names for models [default: the built-in models.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) registry: Option<PathBuf>,
    /// A folder with a LoRA adapter (PEFT), merged into the model as it is loaded; not into a --reference
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
}

#[cfg(feature = "native")]
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// A name of models.toml, a folder, a .gguf file, or org/name[@revision] on the hub; may be given several times
    /// [default: the built-in model]
    #[arg(long, value_name = "REF")]
    pub(crate) model: Vec<String>,
    /// A probe set: JSONL (also .gz, .zst), a text, or a folder; may be given several times
    /// [default: the built-in canaries and controls, for the built-in model only]
    #[arg(long, value_name = "PATH")]
    pub(crate) prompts: Vec<PathBuf>,
    /// Texts the model can't have seen, every one a control: `builtin`, `builtin:legal,prose`, or a path as for --prompts;
    /// may be given several times
    #[arg(long, value_name = "PATH")]
    pub(crate) controls: Vec<PathBuf>,
    /// Folder for scores and reports; a run that was cut short resumes there
    /// [default: byrote-runs/ and a name made of what is tested]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Decide by a policy: `default`, `strict`, `quick`, `research`, `book-protocol`, or a file. Exit 1 if it blocks, 2 if it can't be decided
    #[arg(long, value_name = "POLICY")]
    pub(crate) gate: Option<String>,
    /// A checkpoint to compare with, such as an older or smaller one: the likeliest windows are scored under it as well
    #[arg(long, value_name = "REF")]
    pub(crate) reference: Option<String>,
    /// Tokens of context, BOS not counted; several (25,50,100) make a sweep over the same suffixes
    #[arg(long, default_values_t = [50], value_delimiter = ',', value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) prefix: Vec<u32>,
    /// Tokens that must stand before every suffix, whatever the prefix [default: the prefix; in a sweep, the longest]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) lead: Option<u32>,
    /// Tokens to be recited
    #[arg(long, default_value_t = 50, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) suffix: u32,
    /// Tokens between the starts of windows [default: the suffix length, so that suffixes tile the text]
    #[arg(long, value_name = "TOKENS", conflicts_with = "stride_chars", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) stride: Option<u32>,
    /// Characters between the starts of windows, each encoded anew (the book protocol)
    #[arg(long, value_name = "CHARS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) stride_chars: Option<u32>,
    /// Score fewer windows: only so many that no memorized run of this many tokens escapes them, then all around what they
    /// hit. A memorized run is a stretch of text in which every window is within the sample budget or greedily exact. Says
    /// nothing of shorter runs
    #[arg(long, value_name = "TOKENS", conflicts_with_all = ["screen", "stride_chars"], value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) find_runs: Option<u32>,
    /// Score fewer windows: only those that a pass over the text, in pieces of so many tokens, finds likely, and a sample of the
    /// others, by which the report says how many hits the pass misses. Proves nothing clear [without TOKENS: 1024, or what
    /// the model takes]
    #[arg(long, value_name = "TOKENS", num_args = 0..=1, default_missing_value = "1024", conflicts_with = "stride_chars", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) screen: Option<u32>,
    /// How the prefix is put to the model: `none` (as it is), `title-author`, `continue`, `chat` or `assistant` (these two with
    /// the checkpoint's own chat template), or a file (docs/templates.md). Under several (none,chat) every text is probed
    /// under each, and the worst counts
    #[arg(
        long,
        default_value = "none",
        value_delimiter = ',',
        value_name = "NAME|FILE"
    )]
    pub(crate) template: Vec<String>,
    /// Whether text that looks hard-wrapped is probed reflowed too
    #[arg(long, default_value = "auto")]
    pub(crate) reflow: ReflowArg,
    /// Score every window to its end, where the policy has a floor, too. Without a floor, in a sweep and with --reference that is
    /// so anyway, and controls and positive controls are always scored to their end
    #[arg(long)]
    pub(crate) exhaustive: bool,
    /// How weights are kept; auto is f32 where that fits into half of the free memory, or into --memory; several
    /// (f32,bf16,q4_k_m) make a sweep
    #[arg(
        long,
        default_value = "auto",
        value_delimiter = ',',
        value_name = "DTYPE"
    )]
    pub(crate) dtype: Vec<Dtype>,
    /// Token at the start of every window; auto is the tokenizer's own convention; several (auto,never) make a sweep
    #[arg(
        long,
        default_value = "auto",
        value_delimiter = ',',
        value_name = "BOS"
    )]
    pub(crate) bos: Vec<Bos>,
    /// Keep text and token ids in scores and reports
    #[arg(long)]
    pub(crate) reveal: bool,
    /// What is printed at the end
    #[arg(long, default_value = "text")]
    pub(crate) format: Printed,
    #[command(flatten)]
    pub(crate) load: ModelArgs,
}

/// The natural log of a probability.
#[cfg(feature = "native")]
fn ln(text: &str) -> Result<f64, String> {
    let value = text
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite() && *value < 0.0);
    value.ok_or_else(|| {
        "it is the natural log of a probability: a number below 0, such as -13.8".to_owned()
    })
}

#[cfg(feature = "native")]
#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// A name of models.toml, a folder, a .gguf file, or org/name[@revision] on the hub
    #[arg(long, value_name = "REF")]
    pub(crate) model: String,
    /// Windows, one a line: {"id", "token_ids", "prefix_len"} or {"id", "prefix", "suffix"}; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Scores, one line a window, in the same order; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// How weights are kept; auto is f32 where that fits into half of the free memory, or into --memory
    #[arg(long, default_value = "auto")]
    pub(crate) dtype: Dtype,
    /// Token at the start of every window; auto is the tokenizer's own convention
    #[arg(long, default_value = "auto")]
    pub(crate) bos: Bos,
    /// Leave a window once the log-probabilities of its first suffix tokens add up to less than this (natural log, such as
    /// -13.8 for 1e-6); its line has "left_after": how many were scored [default: every window is scored to its end]
    #[arg(long, value_name = "LN", allow_hyphen_values = true, value_parser = ln)]
    pub(crate) exit_below: Option<f64>,
    /// Leave a window once a suffix token is certainly not the first choice: enough to tell what greedy decoding yields
    #[arg(long, conflicts_with = "exit_below")]
    pub(crate) exit_at_miss: bool,
    #[command(flatten)]
    pub(crate) load: ModelArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// A run's folder or its report.json
    #[arg(value_name = "RUN|REPORT")]
    pub(crate) report: PathBuf,
    /// `default`, `strict`, `quick`, `research`, `book-protocol`, or a file
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: String,
    /// An older report, judged by the same policy: findings are marked as new or known, and where the policy says `new_only`,
    /// known ones don't block. What can't be compared is new
    #[arg(long, value_name = "RUN|REPORT")]
    pub(crate) baseline: Option<PathBuf>,
    /// The files that are to be released: exit 2 unless they are, by SHA-256, those that the report is about, and no other
    /// weights lie in the folder
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) model: Option<PathBuf>,
    /// One format, or several separated by commas; none of them changes the exit code
    #[arg(long, value_name = "LIST", default_value = "text", value_delimiter = ',', value_parser = format_names())]
    pub(crate) format: Vec<&'static Format>,
    /// A file [default: standard output]; for several formats a folder, in which each gets its usual name
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The report that the others are compared with: a run's folder or its report.json
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// One or more reports on the same texts: another checkpoint, the same one after a filter, another size
    #[arg(required = true, value_name = "NEW")]
    pub(crate) new: Vec<PathBuf>,
    /// What all of them are judged by: `default`, `strict`, `quick`, `research`, `book-protocol`, or a file
    /// [default: the policy of OLD]
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// The format
    #[arg(long, default_value = "text")]
    pub(crate) format: Compared,
    /// Where it goes [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A run's folder or its report.json
    #[arg(value_name = "RUN|REPORT")]
    pub(crate) report: PathBuf,
    /// Decide again by this policy before rendering, as `gate` does; the exit code stays 0 whatever comes out
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// With --policy: an older report, against which findings are marked as new or known
    #[arg(long, value_name = "RUN|REPORT", requires = "policy")]
    pub(crate) baseline: Option<PathBuf>,
    /// One format, or several separated by commas
    #[arg(long, value_name = "LIST", default_value = "text", value_delimiter = ',', value_parser = format_names())]
    pub(crate) format: Vec<&'static Format>,
    /// A file [default: standard output]; for several formats a folder, in which each gets its usual name
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A run's folder or its report.json; by itself a report has the tokens of the likeliest window only
    #[arg(value_name = "RUN|REPORT")]
    pub(crate) report: PathBuf,
    /// The item's id
    pub(crate) item: String,
    /// The window whose tokens are shown [default: the likeliest]
    #[arg(long, value_name = "ID")]
    pub(crate) window: Option<String>,
    /// What is printed. In text, colours say how likely a token is; without them (NO_COLOR, a pipe) signs do
    #[arg(long, default_value = "text")]
    pub(crate) format: Printed,
}

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Probe sets, and policies (files whose names end in .toml)
    #[arg(required_unless_present = "template", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Print the built-in policy with every field explained: the beginning of one of your own
    #[arg(long, conflicts_with_all = ["paths", "format"])]
    pub(crate) template: bool,
    /// What is printed
    #[arg(long, default_value = "text")]
    pub(crate) format: Printed,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ControlsCommand {
    /// Cut your own unpublished texts to the length and layout of the items
    Make(MakeArgs),
    /// Make twins of the items, the weaker kind: names and numbers swapped, sentences shuffled
    Twins(TwinsArgs),
    /// Find near-duplicates, templates, short texts and overlaps. Exit 2 if there are any
    Check {
        /// Control texts: a path as for --prompts, or `builtin`, `builtin:legal,prose`
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Items that the controls must not quote
        #[arg(long, value_name = "ITEMS", num_args = 1..)]
        like: Vec<PathBuf>,
        /// What is printed
        #[arg(long, default_value = "text")]
        format: Printed,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MakeArgs {
    /// The opted-out texts to be matched
    #[arg(long, required = true, value_name = "ITEMS", num_args = 1..)]
    pub(crate) like: Vec<PathBuf>,
    /// Texts of yours that were never published
    #[arg(long, required = true, value_name = "PATH", num_args = 1..)]
    pub(crate) from: Vec<PathBuf>,
    /// The file to be written, as JSONL; it must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Pieces of one text at most. They aren't independent of each other: more add little
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) per_text: u32,
    /// The tag of the items that the controls stand for [default: any item]
    #[arg(long, value_name = "TAG")]
    pub(crate) genre: Option<String>,
    /// Length of a piece [default: as long as the items]
    #[arg(long, value_name = "CHARS", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) length: Option<u32>,
    /// Another seed cuts at other places
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    pub(crate) seed: u64,
    /// For how many controls are needed: `default`, `strict`, or a file
    #[arg(long, default_value = "default", value_name = "POLICY")]
    pub(crate) policy: String,
    /// What is printed
    #[arg(long, default_value = "text")]
    pub(crate) format: Printed,
}

#[derive(Debug, Args)]
pub(crate) struct TwinsArgs {
    /// The opted-out texts to be twinned
    #[arg(long, required = true, value_name = "ITEMS", num_args = 1..)]
    pub(crate) like: Vec<PathBuf>,
    /// The file to be written, as JSONL; it must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Twins of an item
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) each: u32,
    /// Another seed gives other names, numbers and orders
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    pub(crate) seed: u64,
    /// For how many controls are needed: `default`, `strict`, or a file
    #[arg(long, default_value = "default", value_name = "POLICY")]
    pub(crate) policy: String,
    /// What is printed
    #[arg(long, default_value = "text")]
    pub(crate) format: Printed,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the names of models.toml
    List {
        /// What is printed
        #[arg(long, default_value = "text")]
        format: Printed,
        /// Names for models [default: the built-in models.toml]
        #[arg(long, value_name = "FILE")]
        registry: Option<PathBuf>,
    },
    /// Tell what a model is, by the headers of its files: its weights are not loaded
    #[cfg(feature = "native")]
    Show {
        /// A name of models.toml, a folder, a file, or org/name[@revision] on the hub (which fetches it)
        #[arg(value_name = "REF")]
        model: String,
        /// A folder with a LoRA adapter that would be merged into it
        #[arg(long, value_name = "DIR")]
        adapter: Option<PathBuf>,
        /// Use only what is on this disk already (also: HF_HUB_OFFLINE=1)
        #[arg(long)]
        offline: bool,
        /// What is printed
        #[arg(long, default_value = "text")]
        format: Printed,
        /// Names for models [default: the built-in models.toml]
        #[arg(long, value_name = "FILE")]
        registry: Option<PathBuf>,
    },
    /// Fetch a model's files into the hub cache and check them
    #[cfg(feature = "native")]
    Pull {
        /// A name of models.toml, or org/name[@revision]
        #[arg(value_name = "REF")]
        model: String,
        /// Names for models [default: the built-in models.toml]
        #[arg(long, value_name = "FILE")]
        registry: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Printed {
    Text,
    Json,
}

/// Takes the names of [`FORMATS`], and tells in `--help` what each is for.
fn format_names() -> impl TypedValueParser<Value = &'static Format> {
    let named = FORMATS
        .iter()
        .map(|format| PossibleValue::new(format.id).help(format.about));
    PossibleValuesParser::new(named).try_map(|id| formats::find(&id).ok_or("no such format"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compared {
    Text,
    Json,
    Md,
    Html,
    Csv,
}

#[cfg(feature = "native")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    Auto,
    F32,
    Bf16,
    F16,
    /// As the GGUF has them
    Quantized,
    /// Quantized at load; blocks of 32
    #[value(name = "q8_0")]
    Q8_0,
    /// Quantized at load; where rows are no multiple of 256, q8_0
    #[value(name = "q6_k")]
    Q6K,
    /// Quantized at load; where rows are no multiple of 256, q5_1
    #[value(name = "q5_k")]
    Q5K,
    /// Quantized at load; where rows are no multiple of 256, q5_0
    #[value(name = "q4_k")]
    Q4K,
    /// Quantized at load; llama.cpp's mixture of q4_k and q6_k
    #[value(name = "q4_k_m")]
    Q4KM,
    /// Quantized at load; blocks of 32
    #[value(name = "q4_0")]
    Q4_0,
}

#[cfg(feature = "native")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compute {
    Auto,
    F32,
    /// Twice as fast where the processor has it (AVX-512 BF16), f32 elsewhere
    Bf16,
}

#[cfg(feature = "native")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bos {
    Auto,
    Always,
    Never,
}

#[cfg(feature = "native")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReflowArg {
    /// Both forms where the text looks wrapped
    Auto,
    /// As given only
    Off,
    /// Reflowed only
    Only,
}
