//! Template files: their contents, the built-in ones, and rendering them into pieces.

use super::chat::{ChatTemplate, Message};
use super::{Known, Piece, TemplateError, TemplateInfo, engine};
use crate::digest::Digest;
use crate::window::TemplateId;
use minijinja::Value;
use serde::Deserialize;
use std::path::Path;

/// The built-in templates: their names and files.
const BUILTIN: &[(&str, &str)] = &[
    (
        "none",
        include_str!("../../../../prompts/templates/none.toml"),
    ),
    (
        "title-author",
        include_str!("../../../../prompts/templates/title-author.toml"),
    ),
    (
        "continue",
        include_str!("../../../../prompts/templates/continue.toml"),
    ),
    (
        "chat",
        include_str!("../../../../prompts/templates/chat.toml"),
    ),
    (
        "assistant",
        include_str!("../../../../prompts/templates/assistant.toml"),
    ),
];

/// Maximum length of an id.
const LONGEST_ID: usize = 40;

/// How text is presented to a model: the contents of a template file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub id: TemplateId,
    /// Its description.
    pub about: String,
    /// The file, for messages.
    pub file: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    pub shape: Shape,
}

/// The content to render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Plain text, for any model.
    Text(String),
    /// Turns of a conversation, for models with a chat template. The last one is the assistant's.
    Turns(Vec<Message>),
}

/// A template file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    id: String,
    about: String,
    text: Option<String>,
    turns: Option<Vec<RawTurn>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTurn {
    role: Role,
    text: String,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    User,
    Assistant,
}

impl Template {
    /// The built-in template with this name, or else the file at this path.
    ///
    /// # Errors
    /// When it is neither, or not a template.
    pub fn open(name: &str) -> Result<Self, TemplateError> {
        if let Some((name, source)) = BUILTIN.iter().find(|(builtin, _)| *builtin == name) {
            return Self::parse(source, &format!("builtin:{name}.toml"));
        }
        let path = Path::new(name);
        match std::fs::read_to_string(path) {
            Ok(source) => Self::parse(&source, name),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                Err(TemplateError::File {
                    file: name.to_owned(),
                    reason: format!(
                        "there is no such file, and the built-in templates are {}",
                        names(BUILTIN)
                    ),
                })
            }
            Err(source) => Err(TemplateError::Io {
                file: name.to_owned(),
                source,
            }),
        }
    }

    /// Parses the text of a template file.
    ///
    /// # Errors
    /// When it isn't a template.
    pub fn parse(source: &str, file: &str) -> Result<Self, TemplateError> {
        if source.len() > engine::LONGEST {
            let (bytes, most) = (source.len(), engine::LONGEST);
            return Err(TemplateError::TooLong {
                file: file.to_owned(),
                bytes,
                most,
            });
        }
        let bad = |reason: String| TemplateError::File {
            file: file.to_owned(),
            reason,
        };
        let raw: Raw =
            toml::from_str(source).map_err(|e| bad(e.to_string().trim_end().replace('\n', " ")))?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if raw.id.is_empty() || raw.id.len() > LONGEST_ID || !raw.id.chars().all(plain) {
            return Err(bad(format!(
                "id is {:?}; an id has up to {LONGEST_ID} lower-case letters, digits and hyphens",
                raw.id
            )));
        }
        let shape = match (raw.text, raw.turns) {
            (Some(text), None) => Shape::Text(text),
            (None, Some(turns)) => {
                if turns.last().is_none_or(|turn| turn.role != Role::Assistant) {
                    return Err(bad(
                        "the last turn must be the assistant's, because the suffix belongs to it"
                            .to_owned(),
                    ));
                }
                Shape::Turns(turns.into_iter().map(RawTurn::message).collect())
            }
            _ => return Err(bad("it needs either \"text\" or [[turns]]".to_owned())),
        };
        let digest = Digest::of_bytes(source.as_bytes());
        let template = Self {
            id: TemplateId(raw.id),
            about: raw.about,
            file: file.to_owned(),
            digest,
            shape,
        };
        if template.id.is_none()
            && template.shape != Shape::Text("{{ prefix }}{{ suffix }}".to_owned())
        {
            return Err(bad(
                "the id \"none\" is reserved for the bare prefix; give it another one".to_owned(),
            ));
        }
        Ok(template)
    }

    /// Whether it needs the checkpoint's chat template.
    pub fn has_turns(&self) -> bool {
        matches!(self.shape, Shape::Turns(_))
    }

    /// Its description in a report.
    pub fn info(&self, chat: Option<&ChatTemplate>) -> TemplateInfo {
        TemplateInfo {
            id: self.id.clone(),
            about: self.about.clone(),
            digest: self.digest.clone(),
            chat_template: match chat {
                Some(chat) if self.has_turns() => Some(chat.digest()),
                _ => None,
            },
        }
    }

    /// Renders it for items with the metadata in `known`, using the chat template of the checkpoint
    /// `reference`.
    ///
    /// # Errors
    /// When it can't be rendered, needs a missing chat template, or if the output doesn't contain
    /// prefix and suffix once each, in order.
    pub fn render(
        &self,
        known: Known,
        chat: Option<&ChatTemplate>,
        reference: &str,
    ) -> Result<Vec<Piece>, TemplateError> {
        let words = |source: &str| engine::render(&self.file, source, stand_ins(known));
        match &self.shape {
            Shape::Text(text) => {
                let pieces = cut(&words(text)?);
                let fix = "a text has {{ prefix }} once and ends with {{ suffix }}, once";
                let misplaced = |what| TemplateError::Misplaced {
                    file: self.file.clone(),
                    what,
                    fix,
                };
                in_order(&pieces).map_err(misplaced)?;
                match pieces.last() {
                    Some(Piece::Suffix) => Ok(pieces),
                    _ => Err(misplaced("something follows the suffix".to_owned())),
                }
            }
            Shape::Turns(turns) => {
                let chat = chat.ok_or_else(|| TemplateError::NoChat {
                    id: self.id.clone(),
                    reference: reference.to_owned(),
                    plain: names(&BUILTIN[..3]),
                })?;
                let render = |turn: &Message| {
                    Ok(Message {
                        role: turn.role.clone(),
                        content: words(&turn.content)?,
                    })
                };
                let messages = turns
                    .iter()
                    .map(render)
                    .collect::<Result<Vec<_>, TemplateError>>()?;
                let own: Vec<Piece> = messages
                    .iter()
                    .flat_map(|message| cut(&message.content))
                    .collect();
                let misplaced = |file: &str, fix| {
                    let file = file.to_owned();
                    move |what| TemplateError::Misplaced { file, what, fix }
                };
                let fix = "the turns have {{ prefix }} once, and the last one ends with {{ suffix }}, once";
                in_order(&own).map_err(misplaced(&self.file, fix))?;
                if own.last() != Some(&Piece::Suffix) {
                    return Err(misplaced(&self.file, fix)(
                        "something follows the suffix".to_owned(),
                    ));
                }
                let mut pieces = cut(&chat.render(&messages)?);
                let fix = "this chat template changes its inputs, so byrote can't find the text in its output: use a template \
                           without turns, such as continue";
                in_order(&pieces).map_err(misplaced(&chat.file, fix))?;
                // Text that closes the assistant's turn comes after the scored suffix, so it is
                // dropped.
                let end = pieces
                    .iter()
                    .position(|piece| *piece == Piece::Suffix)
                    .map_or(pieces.len(), |at| at + 1);
                pieces.truncate(end);
                Ok(pieces)
            }
        }
    }
}

impl RawTurn {
    fn message(self) -> Message {
        let role = match self.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        Message {
            role: role.to_owned(),
            content: self.text,
        }
    }
}

fn names(of: &[(&str, &str)]) -> String {
    of.iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Placeholders for the item's words while rendering a template: plain letters, which no template
/// changes.
const STAND_INS: [(&str, &str, Piece); 4] = [
    ("title", "ByroteTitleQzvx", Piece::Title),
    ("author", "ByroteAuthorQzvx", Piece::Author),
    ("prefix", "ByrotePrefixQzvx", Piece::Prefix),
    ("suffix", "ByroteSuffixQzvx", Piece::Suffix),
];

fn stand_ins(known: Known) -> Value {
    let there = |piece: &Piece| match piece {
        Piece::Title => known.title,
        Piece::Author => known.author,
        _ => true,
    };
    let value = |(name, word, piece): (&str, &str, Piece)| {
        (
            name.to_owned(),
            Value::from(if there(&piece) { word } else { "" }),
        )
    };
    STAND_INS.map(value).into_iter().collect()
}

/// Splits a rendered text at the placeholders.
fn cut(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let next = STAND_INS
            .iter()
            .filter_map(|stand_in| Some((rest.find(stand_in.1)?, stand_in)))
            .min_by_key(|(at, _)| *at);
        let literal = next.map_or(rest, |(at, _)| &rest[..at]);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        let Some((at, (_, word, piece))) = next else {
            return pieces;
        };
        pieces.push(piece.clone());
        rest = &rest[at + word.len()..];
    }
}

/// Checks that there is one prefix and then one suffix.
fn in_order(pieces: &[Piece]) -> Result<(), String> {
    let places = |piece: &Piece| {
        (0..pieces.len())
            .filter(|&at| pieces[at] == *piece)
            .collect::<Vec<_>>()
    };
    match (&*places(&Piece::Prefix), &*places(&Piece::Suffix)) {
        ([prefix], [suffix]) if prefix < suffix => Ok(()),
        ([_], [_]) => Err("the suffix comes before the prefix".to_owned()),
        (prefixes, suffixes) => Err(format!(
            "it has the prefix {} times and the suffix {} times",
            prefixes.len(),
            suffixes.len()
        )),
    }
}
