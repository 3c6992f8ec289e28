//! Cuts one item into windows.

use super::chars::Chars;
use super::reflow::{looks_wrapped, reflow};
use super::{Form, ProbedForm, Reflow, Stride, Window, WindowConfig, WindowId};
use crate::items::{Content, Item, ItemId, Origin};
use crate::tokens::Encoding;
use crate::tokens::{EncodeError, TextEncoder};
use crate::window::{Placement, TemplateId};
use rayon::prelude::*;

/// Why an item can't be cut, other than its text being too short.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    #[error("{origin}: item \"{item}\": {source}")]
    Encode {
        origin: String,
        item: String,
        source: EncodeError,
    },
    #[error("a suffix of 0 tokens has nothing to score; give --suffix 1 or more")]
    NoSuffix,
    #[error("a stride of 0 never reaches the end of a text; give 1 or more")]
    NoStride,
    #[error(
        "with --prefix 0 and no BOS the first token has no context; give --prefix 1 or more, or --bos always"
    )]
    NoContext,
    #[error(
        "a prefix of {prefix} tokens is longer than the {lead} tokens before every suffix; give --min-context {prefix} or more"
    )]
    ShortLead { prefix: u32, lead: u32 },
}

/// An item's windows, in order of form and offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    pub windows: Vec<Window>,
    /// The layouts in which the text is probed.
    pub forms: Vec<ProbedForm>,
    /// The reason if there is no window.
    pub unprobed: Option<String>,
}

/// Encodes a prefix and a suffix as one text, after `bos`: the window of a pre-split text, whatever
/// its length.
///
/// # Errors
/// When the text can't be encoded, or prefix and suffix give no window; the message says why.
pub fn cut_split(
    prefix: String,
    suffix: String,
    tokenizer: &dyn TextEncoder,
    bos: Option<u32>,
) -> Result<Window, String> {
    let item = Item::new(
        ItemId(String::new()),
        Content::Split { prefix, suffix },
        Origin {
            file: String::new(),
            line: None,
        },
    );
    let config = WindowConfig {
        prefix: 1,
        suffix: 1,
        lead: None,
        stride: Stride::Tokens(1),
        reflow: Reflow::Off,
    };
    let mut cut = cut(&item, tokenizer, bos, &config).map_err(|error| error.to_string())?;
    match cut.windows.pop() {
        Some(window) => Ok(window),
        None => Err(cut
            .unprobed
            .unwrap_or_else(|| "there is nothing to score".to_owned())),
    }
}

/// Cuts an item. Every window begins with `bos`.
///
/// Under [`Stride::Tokens`] a last window ends at the end of the text if the stride doesn't reach
/// it. A pre-split item is one window, whatever lengths and layout `config` asks for; but with a
/// lead, its prefix is shortened to the last tokens that `config` asks for.
///
/// # Errors
/// When the tokenizer can't encode the text, or when `config` asks for windows that can't be
/// scored.
pub fn cut(
    item: &Item,
    tokenizer: &dyn TextEncoder,
    bos: Option<u32>,
    config: &WindowConfig,
) -> Result<Cut, WindowError> {
    let cutter = Cutter {
        item,
        tokenizer,
        bos,
    };
    match &item.content {
        Content::Split { prefix, suffix } => cutter.split(prefix, suffix, config),
        Content::Text(text) => {
            check(bos, config)?;
            let mut cut = Cut::default();
            for (form, text) in forms(text, config.reflow) {
                let probed = cutter.form(form, text, config, &mut cut.windows)?;
                cut.forms.push(probed);
            }
            if cut.windows.is_empty() {
                cut.unprobed = Some(too_short(
                    cut.forms
                        .iter()
                        .map(|form| form.tokens)
                        .max()
                        .unwrap_or_default(),
                    config,
                ));
            }
            Ok(cut)
        }
    }
}

/// Why a text of `tokens` tokens has no window; with a lead, also the longest prefix that would
/// fit.
fn too_short(tokens: u64, config: &WindowConfig) -> String {
    let (before, suffix) = (u64::from(config.before()), u64::from(config.suffix));
    let takes = before + suffix;
    match config.lead {
        None => format!(
            "it has {tokens} tokens, and a window needs {takes} (prefix {before} + suffix {suffix})"
        ),
        Some(_) => {
            let fits = match tokens.checked_sub(suffix).filter(|fits| *fits > 0) {
                Some(fits) => format!("it fits a sweep whose longest prefix is at most {fits}"),
                None => "no prefix fits it with this suffix".to_owned(),
            };
            format!(
                "it has {tokens} tokens, and a window needs {takes} ({before} before the suffix, for the longest prefix \
                 compared, + suffix {suffix}); {fits}"
            )
        }
    }
}

fn check(bos: Option<u32>, config: &WindowConfig) -> Result<(), WindowError> {
    let (Stride::Tokens(stride) | Stride::Chars(stride)) = config.stride;
    if config.suffix == 0 {
        return Err(WindowError::NoSuffix);
    }
    if stride == 0 {
        return Err(WindowError::NoStride);
    }
    if config.prefix == 0 && bos.is_none() {
        return Err(WindowError::NoContext);
    }
    if config.before() < config.prefix {
        return Err(WindowError::ShortLead {
            prefix: config.prefix,
            lead: config.before(),
        });
    }
    Ok(())
}

/// The layouts in which to probe a text.
fn forms(text: &str, choice: Reflow) -> Vec<(Form, String)> {
    let given = || (Form::AsGiven, text.to_owned());
    match choice {
        Reflow::Off => vec![given()],
        Reflow::Only => vec![(Form::Reflowed, reflow(text))],
        Reflow::Auto if looks_wrapped(text) => {
            let reflowed = Some(reflow(text)).filter(|reflowed| reflowed != text);
            std::iter::once(given())
                .chain(reflowed.map(|text| (Form::Reflowed, text)))
                .collect()
        }
        Reflow::Auto => vec![given()],
    }
}

/// The inputs that all windows of an item share.
struct Cutter<'a> {
    item: &'a Item,
    tokenizer: &'a dyn TextEncoder,
    bos: Option<u32>,
}

/// The position of a window: tokens `start..end` of an encoding, with the suffix from `suffix` on.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    suffix: usize,
    end: usize,
}

impl Cutter<'_> {
    fn encode(&self, text: &str) -> Result<Encoding, WindowError> {
        self.tokenizer
            .encode(text)
            .map_err(|source| WindowError::Encode {
                origin: self.item.origin.to_string(),
                item: self.item.id.to_string(),
                source,
            })
    }

    fn form(
        &self,
        form: Form,
        text: String,
        config: &WindowConfig,
        windows: &mut Vec<Window>,
    ) -> Result<ProbedForm, WindowError> {
        let encoding = self.encode(&text)?;
        let chars = Chars::new(&text);
        let (prefix, suffix, lead) = (
            config.prefix as usize,
            config.suffix as usize,
            config.before() as usize,
        );
        let need = lead + suffix;
        let span = |from| Span {
            start: from + lead - prefix,
            suffix: from + lead,
            end: from + need,
        };
        let mark = match form {
            Form::AsGiven => "",
            Form::Reflowed => "r",
        };
        let before = windows.len();
        match config.stride {
            Stride::Tokens(stride) => {
                let starts = starts(encoding.ids.len(), need, stride as usize);
                windows.extend(starts.into_iter().map(|from| {
                    let id = format!("{}#{mark}{}", self.item.id, span(from).start);
                    self.window(id, form, &encoding, span(from), 0, &chars)
                }));
            }
            Stride::Chars(stride) => {
                let cursors: Vec<(usize, usize)> = text
                    .char_indices()
                    .map(|(byte, _)| byte)
                    .enumerate()
                    .step_by(stride as usize)
                    .collect();
                let cut: Result<Vec<Option<Window>>, WindowError> = cursors
                    .into_par_iter()
                    .map(|(char, byte)| {
                        let id = format!("{}#{mark}c{char}", self.item.id);
                        let head = self.encode_head(&text[byte..], need)?;
                        Ok(head.map(|encoding| {
                            self.window(id, form, &encoding, span(0), byte, &chars)
                        }))
                    })
                    .collect();
                windows.extend(cut?.into_iter().flatten());
            }
        }
        Ok(ProbedForm {
            form,
            bytes: text.len() as u64,
            chars: chars.before(text.len()),
            tokens: encoding.ids.len() as u64,
            windows: (windows.len() - before) as u64,
            text,
        })
    }

    /// The first `need` tokens of the encoding of `rest`, if it has that many.
    ///
    /// Encoding a book again from each of its characters would take quadratic time, so this encodes
    /// only its head. The text after the head may change the tokens at its end, but not those far
    /// from it: a head is accepted only if one twice as long begins with the same tokens.
    fn encode_head(&self, rest: &str, need: usize) -> Result<Option<Encoding>, WindowError> {
        let mut bytes = need * 6 + 256;
        let mut shorter: Option<Encoding> = None;
        loop {
            let head = &rest[..rest.floor_char_boundary(bytes)];
            let encoding = self.encode(head)?;
            let enough = encoding.ids.len() >= need;
            if head.len() == rest.len() {
                return Ok(enough.then_some(encoding));
            }
            if let Some(shorter) = &shorter
                && enough
                && shorter.ids.len() >= need
                && shorter.ids[..need] == encoding.ids[..need]
            {
                return Ok(Some(encoding));
            }
            shorter = Some(encoding);
            bytes *= 2;
        }
    }

    fn split(&self, prefix: &str, suffix: &str, config: &WindowConfig) -> Result<Cut, WindowError> {
        let text = format!("{prefix}{suffix}");
        let encoding = self.encode(&text)?;
        let chars = Chars::new(&text);
        let boundary = encoding
            .bytes
            .iter()
            .position(|&(start, _)| start >= prefix.len());
        let boundary = boundary.unwrap_or(encoding.ids.len());
        let straddles = boundary > 0 && encoding.bytes[boundary - 1].1 > prefix.len();
        let unprobed = if suffix.is_empty() {
            Some("its suffix is empty".to_owned())
        } else if boundary == encoding.ids.len() {
            Some(
                "its whole suffix is part of the last token of its prefix; give a longer suffix"
                    .to_owned(),
            )
        } else if boundary == 0 && self.bos.is_none() {
            Some("its prefix is empty, and there is no BOS token before it; give a prefix, or --bos always".to_owned())
        } else {
            config.lead.filter(|lead| boundary < *lead as usize).map(|lead| {
                format!(
                    "its prefix has {boundary} of the {lead} tokens that the longest compared prefix needs; it fits a sweep \
                     whose longest prefix is at most {boundary}"
                )
            })
        };
        if config.lead.is_some() {
            check(self.bos, config)?;
        }
        let start = match config.lead {
            Some(_) => boundary.saturating_sub(config.prefix as usize),
            None => 0,
        };
        let mut windows = Vec::new();
        if unprobed.is_none() {
            let span = Span {
                start,
                suffix: boundary,
                end: encoding.ids.len(),
            };
            let mut window = self.window(
                format!("{}#{start}", self.item.id),
                Form::AsGiven,
                &encoding,
                span,
                0,
                &chars,
            );
            window.placement.straddles = straddles;
            windows.push(window);
        }
        let form = ProbedForm {
            form: Form::AsGiven,
            bytes: text.len() as u64,
            chars: chars.before(text.len()),
            tokens: encoding.ids.len() as u64,
            windows: windows.len() as u64,
            text,
        };
        Ok(Cut {
            windows,
            forms: vec![form],
            unprobed,
        })
    }

    /// The window at `span` of the encoding that begins at byte `offset` of the text.
    fn window(
        &self,
        id: String,
        form: Form,
        encoding: &Encoding,
        span: Span,
        offset: usize,
        chars: &Chars,
    ) -> Window {
        let begin = |token: usize| offset + encoding.bytes[token].0;
        let suffix_byte = begin(span.suffix);
        let end_byte = offset + encoding.bytes[span.end - 1].1;
        let mut token_ids = Vec::with_capacity(span.end - span.start + 1);
        token_ids.extend(self.bos);
        token_ids.extend(&encoding.ids[span.start..span.end]);
        Window {
            id: WindowId(id),
            item: self.item.id.clone(),
            placement: Placement {
                form,
                template: TemplateId::default(),
                start_token: span.start as u32,
                start_byte: begin(span.start) as u64,
                suffix_byte: suffix_byte as u64,
                end_byte: end_byte as u64,
                suffix_char: chars.before(suffix_byte),
                end_char: chars.before(end_byte),
                prefix_len: (span.suffix - span.start + usize::from(self.bos.is_some())) as u32,
                suffix_len: (span.end - span.suffix) as u32,
                straddles: false,
            },
            token_ids,
        }
    }
}

/// Starts of the windows of `need` tokens: every `stride` tokens, and one that ends at the end of
/// the text.
fn starts(tokens: usize, need: usize, stride: usize) -> Vec<usize> {
    let Some(last) = tokens.checked_sub(need) else {
        return Vec::new();
    };
    let mut starts: Vec<usize> = (0..=last).step_by(stride).collect();
    if starts.last() != Some(&last) {
        starts.push(last);
    }
    starts
}
