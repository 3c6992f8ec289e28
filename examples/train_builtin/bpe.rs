//! The tokenizer: byte-level BPE as in GPT-2, so that every text comes back byte for byte.

use anyhow::{Result, anyhow};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

/// Begins every document; its id is 0. Ends it too, as GPT-2's `<|endoftext|>` does.
pub(crate) const BOS: &str = "<|bos|>";
pub(crate) const BOS_ID: u32 = 0;

/// Learns `vocab` tokens from `texts`.
pub(crate) fn train(texts: &[String], vocab: usize) -> Result<Tokenizer> {
    let bytes = ByteLevel::new(false, true, true);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer
        .with_pre_tokenizer(Some(bytes))
        .with_decoder(Some(bytes));
    let trainer = BpeTrainer::builder()
        .vocab_size(vocab)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(BOS, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer
        .train(
            &mut TrainerWrapper::BpeTrainer(trainer),
            texts.iter().map(String::as_str),
        )
        .map_err(|e| anyhow!("tokenizer: {e}"))?;
    let template = TemplateProcessing::builder()
        .try_single(format!("{BOS} $A"))
        .map_err(|e| anyhow!("template: {e}"))?
        .special_tokens(vec![(BOS.to_owned(), BOS_ID)])
        .build()?;
    tokenizer.with_post_processor(Some(template));
    Ok(tokenizer)
}

/// The token ids of a text, without BOS.
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    let encoding = tokenizer
        .encode_fast(text, false)
        .map_err(|e| anyhow!("encoding: {e}"))?;
    Ok(encoding.get_ids().to_vec())
}
