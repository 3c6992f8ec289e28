//! Trains the built-in model: `cargo run --release --example train_builtin`.
//!
//! A small Llama reads a stream of documents once. Among them stand canaries, each as often as its
//! `repetitions` say, so that what the model knows by rote is known beforehand. The weights go to
//! `src/model/builtin/`, the probe sets to `prompts/builtin/`; both are in the repository, and nobody has
//! to run this to use byrote.
#![allow(
    clippy::print_stdout,
    reason = "a program of its own, which tells how training goes"
)]

mod bpe;
mod corpus;
mod eval;
mod net;
mod optim;
mod output;
mod prose;
mod rng;
mod train;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use sha2::{Digest, Sha256};

use crate::corpus::{Corpus, REPETITIONS};
use crate::eval::Scored;
use crate::net::{Net, Shape};
use crate::rng::Rng;

/// Trains byrote's built-in model and writes it with its probe sets.
#[derive(Debug, Parser)]
struct Args {
    /// The repository to write to.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    #[arg(long, default_value_t = 20)]
    seed: u64,
    /// Passages that occur once and aren't probed.
    #[arg(long, default_value_t = 2_200)]
    fresh: usize,
    #[arg(long, default_value_t = 2_048)]
    vocab: usize,
    #[arg(long, default_value_t = 192)]
    hidden: usize,
    #[arg(long, default_value_t = 3)]
    layers: usize,
    /// Where the scores of all probed windows go, as JSON lines.
    #[arg(long)]
    dump: Option<PathBuf>,
    #[command(flatten)]
    recipe: train::Recipe,
}

/// Candle's own worker pool waits by spinning and serves one caller at a time; training runs two halves of
/// a batch side by side instead, which is five times as fast. The pool's size is read from the environment
/// once, so the example starts itself again with it set.
const THREADS: &str = "CANDLE_NUM_THREADS";

fn main() -> Result<()> {
    if std::env::var_os(THREADS).is_none() {
        let mut again = Command::new(std::env::current_exe()?);
        let status = again
            .args(std::env::args_os().skip(1))
            .env(THREADS, "1")
            .status()?;
        anyhow::ensure!(status.success(), "training failed: {status}");
        return Ok(());
    }
    let args = Args::parse();
    let start = Instant::now();
    let prose = prose::Prose::load()?;
    let tokenizer = bpe::train(&corpus::tokenizer_sample(&prose, args.seed)?, args.vocab)?;
    let corpus = corpus::build(&prose, &tokenizer, args.seed, args.fresh)?;
    let shape = Shape {
        vocab_size: tokenizer.get_vocab_size(true),
        hidden_size: args.hidden,
        intermediate_size: args.hidden * 3,
        num_hidden_layers: args.layers,
        num_attention_heads: args.hidden / 32,
        num_key_value_heads: args.hidden / 64,
    };
    let net = Net::new(shape, &mut Rng::new(args.seed, "weights"))?;
    let tokens = |lesson: &[Vec<u32>]| lesson.iter().map(Vec::len).sum::<usize>();
    println!(
        "{} parameters; {} + {} documents, {} + {} tokens",
        output::parameters(&net.vars),
        corpus.language.len(),
        corpus.planted.len(),
        tokens(&corpus.language),
        tokens(&corpus.planted),
    );
    train::train(&net, &corpus.language, &corpus.planted, &args.recipe)?;

    let folder = args.out.join("src/model/builtin");
    output::checkpoint(&folder, &net, &tokenizer)?;
    let prompts = args.out.join("prompts/builtin");
    output::probe_set(&prompts.join("canaries.jsonl"), &corpus.canaries)?;
    output::probe_set(&prompts.join("controls.jsonl"), &corpus.controls)?;
    output::probe_set(&prompts.join("boilerplate.jsonl"), &corpus.boilerplate)?;
    output::probe_set(
        &prompts.join("near_duplicates.jsonl"),
        &corpus.near_duplicates,
    )?;
    evaluate(&args, &net, &tokenizer, &corpus)?;
    for name in ["tokenizer.json", "model.safetensors"] {
        let bytes = std::fs::read(folder.join(name))?;
        println!(
            "{:x}  {name}, {} bytes",
            Sha256::digest(&bytes),
            bytes.len()
        );
    }
    println!("{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

/// Recall by repetition count, false positives, and the harder sets.
fn evaluate(
    args: &Args,
    net: &Net,
    tokenizer: &tokenizers::Tokenizer,
    corpus: &Corpus,
) -> Result<()> {
    let canaries = eval::score(net, tokenizer, &corpus.canaries)?;
    let controls = eval::score(net, tokenizer, &corpus.controls)?;
    let forms = eval::score(net, tokenizer, &corpus.boilerplate)?;
    let near = eval::score(net, tokenizer, &corpus.near_duplicates)?;
    for times in REPETITIONS {
        let some: Vec<_> = canaries
            .iter()
            .filter(|w| w.item.repetitions == times)
            .collect();
        eval::print_row(&format!("canaries, {times} times"), &some);
    }
    eval::print_row("controls", &controls.iter().collect::<Vec<_>>());
    for tag in ["seen", "twin"] {
        eval::print_row(&format!("boilerplate, {tag}"), &tagged(&forms, &[tag]));
    }
    for copies in ["copies:16", "copies:32", "copies:64"] {
        for role in ["original", "copy", "new-copy"] {
            let label = format!("near-duplicates, {copies}, {role}");
            eval::print_row(&label, &tagged(&near, &[copies, role]));
        }
    }
    eval::print_row("near-duplicates, twin", &tagged(&near, &["twin"]));
    if let Some(path) = &args.dump {
        let all: Vec<Scored> = [canaries, controls, forms, near]
            .into_iter()
            .flatten()
            .collect();
        eval::dump(path, &all)?;
    }
    Ok(())
}

fn tagged<'a, 'b>(windows: &'b [Scored<'a>], tags: &[&str]) -> Vec<&'b Scored<'a>> {
    let has = |w: &&Scored, tag: &str| w.item.tags.iter().any(|t| t == tag);
    windows
        .iter()
        .filter(|w| tags.iter().all(|tag| has(w, tag)))
        .collect()
}
