//! The command line. Nothing below `cmd` sees a flag: each command turns its arguments into plain settings.

use byrote_core::report::formats::{self, FORMATS, Format};
use clap::builder::{PossibleValue, PossibleValuesParser, RangedI64ValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Measures how much text a released language model has memorized word for word.
///
/// `byrote probe` without arguments probes the built-in model. It runs the whole process offline,
/// in seconds.
#[derive(Debug, Parser)]
#[command(
    name = "byrote",
    version,
    after_long_help = "Example:\n  \
        byrote probe --model org/name --prompts opted-out.jsonl --controls builtin --gate default\n\n\
        Exit codes, the same for every format:\n  \
        0    success; for a decision: pass\n  \
        1    the policy blocks the model (only gate, and probe --gate)\n  \
        2    no decision: wrong usage, invalid input, or a measurement is missing\n  \
        130  interrupted by Ctrl-C; scores so far are kept, and the same command resumes\n\n\
        Environment variables:\n  \
        SOURCE_DATE_EPOCH  start time for reports (seconds since 1970), so that reports of\n                     \
        identical runs are identical byte for byte\n  \
        NO_COLOR           disables colors in the terminal\n  \
        HF_HUB_OFFLINE=1   same as --offline"
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
    /// Score the tokens of given windows, without texts, metrics or verdicts
    #[cfg(feature = "native")]
    Score(ScoreArgs),
    /// Apply a policy to an existing report, without the model
    Gate(GateArgs),
    /// Render an existing report in other formats
    Report(ReportArgs),
    /// Show one item of a run: its verdict, its windows, and the tokens of one window
    Inspect(InspectArgs),
    /// Compare reports on the same texts, item by item
    ///
    /// Exits with 2 if one of the reports has no item that can be compared.
    Compare(CompareArgs),
    /// Check probe sets and policies without a model
    Lint(LintArgs),
    /// Create and check control texts
    #[command(
        subcommand,
        after_help = "Example:\n  byrote controls make --like opted-out.jsonl --from drafts/ --out controls.jsonl"
    )]
    Controls(ControlsCommand),
    /// List named models, describe a model, or download one
    #[command(subcommand, after_help = "Example:\n  byrote models list")]
    Models(ModelsCommand),
    /// Show what this build and this machine support, and test the built-in model
    ///
    /// Exits with 2 if the test fails.
    Doctor(DoctorArgs),
    /// Print a shell completion script
    #[command(
        after_help = "Example:\n  byrote completions bash > ~/.local/share/bash-completion/completions/byrote"
    )]
    Completions {
        /// Shell that the script is for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  byrote man > byrote.1")]
    Man,
}

/// How a model is loaded and scored.
#[cfg(feature = "native")]
#[derive(Clone, Debug, Args)]
pub(crate) struct ModelArgs {
    /// LoRA adapter directory (PEFT), merged into the model while it loads, but not into a
    /// --reference
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    pub(crate) adapter: Option<PathBuf>,
    /// Device that holds the weights: auto, cpu, cuda:N or metal
    #[arg(
        long,
        default_value = "auto",
        value_name = "DEVICE",
        help_heading = "Model"
    )]
    pub(crate) device: String,
    /// File with model names [default: the built-in models.toml]
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub(crate) registry: Option<PathBuf>,
    /// Use only files that are already on this disk (same as HF_HUB_OFFLINE=1)
    #[arg(long, help_heading = "Model")]
    pub(crate) offline: bool,
    /// Memory limit, such as 6GiB or 800MB, for batches, threads and `--dtype auto` [default: free
    /// memory]
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = byrote_candle::model::memory::parse_size,
        help_heading = "Model"
    )]
    pub(crate) memory: Option<u64>,
    /// Number of batches that are scored at the same time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = count(4096), help_heading = "Scoring")]
    pub(crate) threads: Option<u32>,
    /// Maximum number of windows per batch
    #[arg(
        long,
        default_value_t = 8,
        value_name = "N",
        value_parser = count(4096),
        help_heading = "Scoring"
    )]
    pub(crate) batch: u32,
    /// CPU matmul precision (sums are always f32); auto is bf16 for weights in bf16, else f32
    ///
    /// Results that rounding could change are recomputed in f32.
    #[arg(long, value_enum, default_value = "auto", help_heading = "Scoring")]
    pub(crate) compute: Compute,
}

#[cfg(feature = "native")]
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    byrote probe --model org/name --prompts opted-out.jsonl --controls builtin --gate default")]
pub(crate) struct ProbeArgs {
    /// Model: a name from models.toml, a directory, a .gguf file, or org/name[@revision] on the hub
    /// [default: the built-in model]
    ///
    /// Repeat the option to probe several models in a sweep.
    #[arg(long, value_name = "REF", help_heading = "Model")]
    pub(crate) model: Vec<String>,
    /// Precision of the weights in memory; several values (f32,bf16,q4_k_m) start a sweep
    ///
    /// `auto` is f32 where f32 weights fit into half of the free memory (or into --memory), else
    /// bf16, or the types of a GGUF file.
    #[arg(
        long,
        default_value = "auto",
        value_delimiter = ',',
        value_name = "DTYPE",
        help_heading = "Model"
    )]
    pub(crate) dtype: Vec<Dtype>,
    /// Texts to probe: a JSONL file (also .gz, .zst), a text file, or a directory [default: the
    /// built-in canaries and controls, for the built-in model only]
    ///
    /// Repeat the option for several sources.
    #[arg(long, value_name = "PATH", help_heading = "Texts")]
    pub(crate) prompts: Vec<PathBuf>,
    /// Control texts, which the model can't have seen: `builtin`, `builtin:legal,prose`, or a path
    /// as for --prompts
    ///
    /// Repeat the option for several sources.
    #[arg(long, value_name = "PATH", help_heading = "Texts")]
    pub(crate) controls: Vec<PathBuf>,
    /// Context length in tokens, without BOS; several values (25,50,100) start a sweep over the
    /// same suffixes
    #[arg(
        long,
        default_values_t = [50],
        value_delimiter = ',',
        value_name = "TOKENS",
        value_parser = count(1_000_000),
        help_heading = "Windows"
    )]
    pub(crate) prefix: Vec<u32>,
    /// Minimum number of tokens before every suffix, whatever the prefix length [default: the
    /// prefix length; in a sweep, the longest]
    #[arg(
        long = "min-context",
        value_name = "TOKENS",
        value_parser = count(1_000_000),
        help_heading = "Windows"
    )]
    pub(crate) lead: Option<u32>,
    /// Number of tokens that the model has to recite
    #[arg(
        long,
        default_value_t = 50,
        value_name = "TOKENS",
        value_parser = count(1_000_000),
        help_heading = "Windows"
    )]
    pub(crate) suffix: u32,
    /// Tokens between the starts of windows [default: the suffix length, so that suffixes cover the
    /// text]
    #[arg(
        long,
        value_name = "TOKENS",
        conflicts_with = "stride_chars",
        value_parser = count(1_000_000),
        help_heading = "Windows"
    )]
    pub(crate) stride: Option<u32>,
    /// Characters between the starts of windows; every window is tokenized separately (the book
    /// protocol)
    #[arg(long, value_name = "CHARS", value_parser = count(1_000_000), help_heading = "Windows")]
    pub(crate) stride_chars: Option<u32>,
    /// Token at the start of every window; auto follows the tokenizer; several values (auto,never)
    /// start a sweep
    #[arg(
        long,
        default_value = "auto",
        value_delimiter = ',',
        value_name = "BOS",
        help_heading = "Windows"
    )]
    pub(crate) bos: Vec<Bos>,
    /// How the model is given the prefix: `none` (unchanged), `title-author`, `continue`, `chat`,
    /// `assistant`, or a file
    ///
    /// `chat` and `assistant` use the checkpoint's own chat template. docs/templates.md describes
    /// template files. With several templates (none,chat) every text is probed with each, and the
    /// worst result counts.
    #[arg(
        long,
        default_value = "none",
        value_delimiter = ',',
        value_name = "NAME|FILE",
        help_heading = "Windows"
    )]
    pub(crate) template: Vec<String>,
    /// Whether text that looks hard-wrapped is also probed with its lines joined
    #[arg(long, default_value = "auto", help_heading = "Windows")]
    pub(crate) reflow: ReflowArg,
    /// Coarse-to-fine: score a sparse grid that any memorized run of at least TOKENS must hit, then
    /// all windows near a hit
    ///
    /// A memorized run is a stretch of text in which every window is within the sample budget or
    /// greedily exact. Shorter runs can be missed.
    #[arg(
        long,
        value_name = "TOKENS",
        conflicts_with_all = ["screen", "stride_chars"],
        value_parser = count(1_000_000),
        help_heading = "Fewer windows"
    )]
    pub(crate) find_runs: Option<u32>,
    /// Screening: score only windows that a fast pass over pieces of TOKENS tokens finds likely
    /// [without a value: 1024, or the model's context if that is shorter]
    ///
    /// A sample of the other windows is scored, too, to estimate how many hits the fast pass
    /// misses. With screening, no text can be found clear.
    #[arg(
        long,
        value_name = "TOKENS",
        num_args = 0..=1,
        default_missing_value = "1024",
        conflicts_with = "stride_chars",
        value_parser = count(1_000_000),
        help_heading = "Fewer windows"
    )]
    pub(crate) screen: Option<u32>,
    /// Score every window to its end, even if the policy has a floor
    ///
    /// This is always so without a floor, in a sweep, with --reference, and for controls and
    /// positive controls.
    #[arg(long, help_heading = "Fewer windows")]
    pub(crate) exhaustive: bool,
    /// Second checkpoint, such as an older or smaller one, that also scores the likeliest windows
    #[arg(long, value_name = "REF", help_heading = "Follow-ups")]
    pub(crate) reference: Option<String>,
    /// Directory for scores and reports; an interrupted run resumes there [default: a directory in
    /// byrote-runs/, named after model and texts]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
    /// Decide by a policy: `default`, `strict`, `quick`, `research`, `book-protocol`, or a file
    ///
    /// Exits with 1 if the policy blocks the model, with 2 if there is no decision.
    #[arg(long, value_name = "POLICY", help_heading = "Output")]
    pub(crate) gate: Option<String>,
    /// Keep texts and token ids in scores and reports
    #[arg(long, help_heading = "Output")]
    pub(crate) reveal: bool,
    /// Format of the report on standard output
    #[arg(long, default_value = "text", help_heading = "Output")]
    pub(crate) format: OutputFormat,
    #[command(flatten)]
    pub(crate) load: ModelArgs,
}

/// Parses the natural logarithm of a probability.
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
#[command(after_help = "Example:\n  \
    echo '{\"id\": 1, \"prefix\": \"It was the best of times,\", \"suffix\": \" it was the worst of times\"}' |\n    \
    byrote score --model org/name --input - --output -")]
pub(crate) struct ScoreArgs {
    /// Model: a name from models.toml, a directory, a .gguf file, or org/name[@revision] on the hub
    #[arg(long, value_name = "REF", help_heading = "Model")]
    pub(crate) model: String,
    /// Precision of the weights in memory
    ///
    /// `auto` is f32 where f32 weights fit into half of the free memory (or into --memory), else
    /// bf16, or the types of a GGUF file.
    #[arg(long, default_value = "auto", help_heading = "Model")]
    pub(crate) dtype: Dtype,
    /// Windows as JSON, one per line: {"id", "token_ids", "prefix_len"} or {"id", "prefix",
    /// "suffix"}; - is standard input
    #[arg(long, value_name = "FILE", help_heading = "Windows")]
    pub(crate) input: PathBuf,
    /// Token at the start of every window; auto follows the tokenizer
    #[arg(long, default_value = "auto", help_heading = "Windows")]
    pub(crate) bos: Bos,
    /// Stop scoring a window once its log-probability is below LN (natural log; -13.8 is 1e-6)
    /// [default: score every window to its end]
    ///
    /// "left_after" in the output is the number of suffix tokens that were scored.
    #[arg(
        long,
        value_name = "LN",
        allow_hyphen_values = true,
        value_parser = ln,
        help_heading = "Scoring"
    )]
    pub(crate) exit_below: Option<f64>,
    /// Stop scoring a window at the first suffix token that greedy decoding would certainly not
    /// produce
    #[arg(long, conflicts_with = "exit_below", help_heading = "Scoring")]
    pub(crate) exit_at_miss: bool,
    /// Scores as JSON, one line per window, in the order of the input; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) load: ModelArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  byrote gate run --policy strict --format sarif,junit --output results"
)]
pub(crate) struct GateArgs {
    /// Run directory, or its report.json
    #[arg(value_name = "RUN|REPORT")]
    pub(crate) report: PathBuf,
    /// Policy: `default`, `strict`, `quick`, `research`, `book-protocol`, or a file
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: String,
    /// Older report; findings that it has are marked as known, all others as new
    ///
    /// The policy judges both reports. If it says `new_only`, known findings don't block. Findings
    /// that can't be compared are new.
    #[arg(long, value_name = "RUN|REPORT")]
    pub(crate) baseline: Option<PathBuf>,
    /// Model files to be released; exits with 2 unless they are the files that the report is about
    ///
    /// Files are compared by SHA-256. A directory must not contain other weights.
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) model: Option<PathBuf>,
    /// One or more formats, separated by commas; the exit code is the same for all
    #[arg(
        long,
        value_name = "LIST",
        default_value = "text",
        value_delimiter = ',',
        value_parser = format_names(),
        help_heading = "Output"
    )]
    pub(crate) format: Vec<&'static Format>,
    /// Output file [default: standard output]; for several formats, a directory for files with the
    /// usual names
    #[arg(long, value_name = "FILE|DIR", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  byrote compare run-before run-after --format html --output comparison.html"
)]
pub(crate) struct CompareArgs {
    /// Run directory or report.json that the others are compared with
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// One or more reports on the same texts, such as another checkpoint or another model size
    #[arg(required = true, value_name = "NEW")]
    pub(crate) new: Vec<PathBuf>,
    /// Policy that judges all reports: `default`, `strict`, `quick`, `research`, `book-protocol`,
    /// or a file [default: the policy of OLD]
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Output format
    #[arg(long, default_value = "text", help_heading = "Output")]
    pub(crate) format: CompareFormat,
    /// Output file [default: standard output]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  byrote report run --format html --output report.html")]
pub(crate) struct ReportArgs {
    /// Run directory, or its report.json
    #[arg(value_name = "RUN|REPORT")]
    pub(crate) report: PathBuf,
    /// Apply this policy first, as `gate` does; the exit code is 0 for every decision
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Older report; with --policy, findings that it has are marked as known, all others as new
    #[arg(long, value_name = "RUN|REPORT", requires = "policy")]
    pub(crate) baseline: Option<PathBuf>,
    /// One or more formats, separated by commas
    #[arg(
        long,
        value_name = "LIST",
        default_value = "text",
        value_delimiter = ',',
        value_parser = format_names(),
        help_heading = "Output"
    )]
    pub(crate) format: Vec<&'static Format>,
    /// Output file [default: standard output]; for several formats, a directory for files with the
    /// usual names
    #[arg(long, value_name = "FILE|DIR", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  byrote inspect run poems/heron")]
pub(crate) struct InspectArgs {
    /// Run directory, or its report.json; a report alone has the tokens of the likeliest window
    /// only
    #[arg(value_name = "RUN|REPORT")]
    pub(crate) report: PathBuf,
    /// Id of the item
    pub(crate) item: String,
    /// Id of the window whose tokens are shown [default: the likeliest window]
    #[arg(long, value_name = "ID")]
    pub(crate) window: Option<String>,
    /// Output format
    ///
    /// In text, colors show how likely each token is. Without colors (NO_COLOR, or output to a
    /// pipe), symbols do.
    #[arg(long, default_value = "text")]
    pub(crate) format: OutputFormat,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  byrote lint opted-out.jsonl policy.toml")]
pub(crate) struct LintArgs {
    /// Probe sets, and policies (files that end in .toml)
    #[arg(required_unless_present = "template", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Print the built-in policy with an explanation of every field, as a start for your own
    #[arg(long, conflicts_with_all = ["paths", "format"])]
    pub(crate) template: bool,
    /// Output format
    #[arg(long, default_value = "text")]
    pub(crate) format: OutputFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ControlsCommand {
    /// Cut your own unpublished texts to the length and layout of the items
    Make(MakeArgs),
    /// Create altered copies of the items (twins): names and numbers are swapped, sentences
    /// shuffled
    ///
    /// Twins are weaker controls than texts of your own.
    Twins(TwinsArgs),
    /// Find near-duplicates, form letters, short texts and overlaps among controls
    ///
    /// Exits with 2 if there are any.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  byrote controls check controls.jsonl --like opted-out.jsonl")]
pub(crate) struct CheckArgs {
    /// Control texts: a path as for --prompts, or `builtin`, `builtin:legal,prose`
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Items that the controls must not quote
    #[arg(long, value_name = "ITEMS", num_args = 1..)]
    pub(crate) like: Vec<PathBuf>,
    /// Output format
    #[arg(long, default_value = "text")]
    pub(crate) format: OutputFormat,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  byrote controls make --like opted-out.jsonl --from drafts/ --out controls.jsonl"
)]
pub(crate) struct MakeArgs {
    /// Opted-out texts that the controls have to resemble
    #[arg(long, required = true, value_name = "ITEMS", num_args = 1..)]
    pub(crate) like: Vec<PathBuf>,
    /// Your own texts that were never published
    #[arg(long, required = true, value_name = "PATH", num_args = 1..)]
    pub(crate) from: Vec<PathBuf>,
    /// JSONL file to create; it must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Maximum number of pieces per text
    ///
    /// Pieces of one text aren't independent of each other, so that more of them add little.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = count(10_000))]
    pub(crate) per_text: u32,
    /// Tag of the items that the controls are for [default: all items]
    #[arg(long, value_name = "TAG")]
    pub(crate) genre: Option<String>,
    /// Length of a piece [default: the length of the items]
    #[arg(long, value_name = "CHARS", value_parser = count(100_000_000))]
    pub(crate) length: Option<u32>,
    /// Seed for the positions of the cuts
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    pub(crate) seed: u64,
    /// Policy that determines the number of controls: `default`, `strict`, or a file
    #[arg(long, default_value = "default", value_name = "POLICY")]
    pub(crate) policy: String,
    /// Output format
    #[arg(long, default_value = "text")]
    pub(crate) format: OutputFormat,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  byrote controls twins --like opted-out.jsonl --each 20 --out twins.jsonl"
)]
pub(crate) struct TwinsArgs {
    /// Opted-out texts to alter
    #[arg(long, required = true, value_name = "ITEMS", num_args = 1..)]
    pub(crate) like: Vec<PathBuf>,
    /// JSONL file to create; it must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Number of twins per item
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = count(10_000))]
    pub(crate) each: u32,
    /// Seed for names, numbers and the order of sentences
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    pub(crate) seed: u64,
    /// Policy that determines the number of controls: `default`, `strict`, or a file
    #[arg(long, default_value = "default", value_name = "POLICY")]
    pub(crate) policy: String,
    /// Output format
    #[arg(long, default_value = "text")]
    pub(crate) format: OutputFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the model names in models.toml
    #[command(after_help = "Example:\n  byrote models list --format json")]
    List {
        /// Output format
        #[arg(long, default_value = "text")]
        format: OutputFormat,
        /// File with model names [default: the built-in models.toml]
        #[arg(long, value_name = "FILE")]
        registry: Option<PathBuf>,
    },
    /// Describe a model from the headers of its files, without loading weights
    #[cfg(feature = "native")]
    Show(ShowArgs),
    /// Download a model's files to the hub cache and verify them
    #[cfg(feature = "native")]
    #[command(after_help = "Example:\n  byrote models pull org/name@main")]
    Pull {
        /// Model: a name from models.toml, or org/name[@revision]
        #[arg(value_name = "REF")]
        model: String,
        /// File with model names [default: the built-in models.toml]
        #[arg(long, value_name = "FILE")]
        registry: Option<PathBuf>,
    },
}

#[cfg(feature = "native")]
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  byrote models show ./checkpoint --adapter ./lora")]
pub(crate) struct ShowArgs {
    /// Model: a name from models.toml, a directory, a file, or org/name[@revision] on the hub
    /// (downloads it)
    #[arg(value_name = "REF")]
    pub(crate) model: String,
    /// LoRA adapter directory that would be merged into the model
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// Use only files that are already on this disk (same as HF_HUB_OFFLINE=1)
    #[arg(long)]
    pub(crate) offline: bool,
    /// Output format
    #[arg(long, default_value = "text")]
    pub(crate) format: OutputFormat,
    /// File with model names [default: the built-in models.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) registry: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  byrote doctor")]
pub(crate) struct DoctorArgs {
    /// Measure which dtype, batch size and number of threads are fastest here, and print the
    /// options to use [without a value: the built-in model]
    #[cfg(feature = "native")]
    #[arg(long, value_name = "REF", num_args = 0..=1, default_missing_value = "builtin")]
    pub(crate) tune: Option<String>,
    /// Output format
    #[arg(long, default_value = "text")]
    pub(crate) format: OutputFormat,
}

/// Accepts numbers from 1 to `max`.
fn count(max: i64) -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=max)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Text,
    Json,
}

/// Accepts the names of [`FORMATS`], and lists them in `--help` with their descriptions.
fn format_names() -> impl TypedValueParser<Value = &'static Format> {
    let named = FORMATS
        .iter()
        .map(|format| PossibleValue::new(format.id).help(format.about));
    PossibleValuesParser::new(named).try_map(|id| formats::find(&id).ok_or("no such format"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareFormat {
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
    /// As stored in the GGUF file
    Quantized,
    /// Quantized while loading, in blocks of 32
    #[value(name = "q8_0")]
    Q8_0,
    /// Quantized while loading; q8_0 where the row length is not a multiple of 256
    #[value(name = "q6_k")]
    Q6K,
    /// Quantized while loading; q5_1 where the row length is not a multiple of 256
    #[value(name = "q5_k")]
    Q5K,
    /// Quantized while loading; q5_0 where the row length is not a multiple of 256
    #[value(name = "q4_k")]
    Q4K,
    /// Quantized while loading, with llama.cpp's mixture of q4_k and q6_k
    #[value(name = "q4_k_m")]
    Q4KM,
    /// Quantized while loading, in blocks of 32
    #[value(name = "q4_0")]
    Q4_0,
}

#[cfg(feature = "native")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compute {
    Auto,
    F32,
    /// Twice as fast on processors with AVX-512 BF16, f32 on others
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
    /// Both forms where the text looks hard-wrapped
    Auto,
    /// Only the text as given
    Off,
    /// Only the text with its lines joined
    Only,
}
