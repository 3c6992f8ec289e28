//! Templates asked for on the command line, rendered for a checkpoint before its weights are loaded.

use crate::output;
use anyhow::{Context, Result, bail};
use byrote_candle::model::gguf::{Gguf, Value};
use byrote_candle::model::source::{Format, Located};
use byrote_core::machine;
use byrote_core::template::chat::ChatTemplate;
use byrote_core::template::encode::Rendered;
use byrote_core::template::file::Template;
use byrote_core::template::{Known, TemplateInfo};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The file beside a checkpoint that holds its chat template.
const JINJA: &str = "chat_template.jinja";
/// A rendering may take so much memory, and so long. Published templates take kilobytes and milliseconds.
const MEMORY: u64 = 512 << 20;
const TIME: Duration = Duration::from_secs(20);

/// The templates of a run, rendered for its model.
#[derive(Clone, Debug)]
pub(super) struct Templates {
    /// Empty where only the bare prefix is used.
    pub(super) infos: Vec<TemplateInfo>,
    pub(super) rendered: Vec<Rendered>,
}

/// What `--template` names.
pub(super) fn open(names: &[String]) -> Result<Vec<Template>> {
    let mut templates: Vec<Template> = Vec::new();
    for name in names {
        let template = Template::open(name).context("--template")?;
        match templates.iter().find(|other| other.id == template.id) {
            Some(other) if other.digest == template.digest => continue,
            Some(other) => bail!(
                "--template: {} and {} have the same id, {:?}; give one of them another",
                other.file,
                template.file,
                template.id.0
            ),
            None => templates.push(template),
        }
    }
    Ok(templates)
}

impl Templates {
    /// Renders `templates` with the chat template of a located model, where they need it.
    pub(super) fn of(templates: &[Template], located: &Located) -> Result<Self> {
        let chat = match templates.iter().any(Template::has_turns) {
            true => chat_template(located)?,
            false => None,
        };
        let render = |template: &Template| -> Result<Rendered> {
            let pieces = Known::ALL
                .into_iter()
                .map(|known| {
                    Ok((
                        known,
                        template.render(known, chat.as_ref(), &located.reference)?,
                    ))
                })
                .collect::<Result<HashMap<_, _>>>()?;
            Ok(Rendered::new(template, pieces))
        };
        let file = chat
            .as_ref()
            .map_or_else(|| "--template".to_owned(), |chat| chat.file.clone());
        let rendered = guarded(&file, || {
            templates.iter().map(render).collect::<Result<Vec<_>>>()
        })?;
        let bare = templates.iter().all(|template| template.id.is_none());
        let infos = templates
            .iter()
            .map(|template| template.info(chat.as_ref()))
            .collect();
        Ok(Self {
            infos: if bare { Vec::new() } else { infos },
            rendered,
        })
    }
}

/// The chat template of a checkpoint, if it has one.
fn chat_template(located: &Located) -> Result<Option<ChatTemplate>> {
    match located.format {
        Format::Builtin => Ok(None),
        Format::Gguf => of_gguf(located.weights.first().context("there is no GGUF file")?),
        Format::Safetensors => {
            let read = |path: &Path| {
                std::fs::read(path).with_context(|| format!("{}: can't be read", path.display()))
            };
            let config = located
                .tokenizer_config
                .as_deref()
                .map(|path| Ok::<_, anyhow::Error>((path, read(path)?)));
            let config = config
                .transpose()?
                .map(|(path, bytes)| (path.display().to_string(), bytes));
            let path = located.folder.join(JINJA);
            let jinja = match path.is_file() {
                true => Some(
                    std::fs::read_to_string(&path)
                        .with_context(|| format!("{}: can't be read", path.display()))?,
                ),
                false => None,
            };
            let name = path.display().to_string();
            let config = config
                .as_ref()
                .map(|(file, bytes)| (file.as_str(), bytes.as_slice()));
            Ok(ChatTemplate::of_config(
                config,
                jinja.map(|text| (name.as_str(), text)),
            )?)
        }
    }
}

fn of_gguf(path: &Path) -> Result<Option<ChatTemplate>> {
    let gguf = Gguf::open(path)?;
    let Some(source) = gguf.text("tokenizer.chat_template") else {
        return Ok(None);
    };
    let mut tokens = BTreeMap::new();
    if let Some(Value::Texts(spellings)) = gguf.metadata.get("tokenizer.ggml.tokens") {
        for (name, key) in [
            ("bos", "bos"),
            ("eos", "eos"),
            ("unk", "unknown"),
            ("pad", "padding"),
        ] {
            let id = gguf.int(&format!("tokenizer.ggml.{key}_token_id"));
            let spelling = id.and_then(|id| spellings.get(usize::try_from(id).ok()?));
            tokens.extend(spelling.map(|spelling| (format!("{name}_token"), spelling.clone())));
        }
    }
    Ok(Some(ChatTemplate {
        file: path.display().to_string(),
        source: source.to_owned(),
        tokens,
    }))
}

/// Does what a hostile template could make take forever or fill the memory: steps and output are bounded inside, but a
/// template can double a text in one step. Then the program ends, since nothing else stops it.
fn guarded<T>(file: &str, work: impl FnOnce() -> T) -> T {
    let (done, began, before) = (AtomicBool::new(false), Instant::now(), machine::resident());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let grown = machine::resident().zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
                if grown > MEMORY || began.elapsed() > TIME {
                    output::note(format_args!(
                        "error: {file}: rendering its template takes more than {} MiB of memory or {} s; no template of a \
                         model does that: don't use this one",
                        MEMORY >> 20,
                        TIME.as_secs()
                    ));
                    #[expect(clippy::exit, reason = "a rendering can't be stopped, and nothing was begun yet")]
                    std::process::exit(2);
                }
                std::thread::park_timeout(Duration::from_millis(2));
            }
        });
        let made = work();
        done.store(true, Ordering::Release);
        made
    })
}
