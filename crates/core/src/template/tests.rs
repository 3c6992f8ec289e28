use super::chat::{ChatTemplate, Message};
use super::file::{Shape, Template};
use super::{Known, Piece, TemplateError, TemplateId};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const BUILTIN: [&str; 5] = ["none", "title-author", "continue", "chat", "assistant"];
const NOTHING: Known = Known {
    title: false,
    author: false,
};

fn chat(source: &str) -> ChatTemplate {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")]
        .map(|(name, token)| (name.to_owned(), token.to_owned()));
    ChatTemplate {
        file: "chat.jinja".to_owned(),
        source: source.to_owned(),
        tokens: tokens.into(),
    }
}

fn said(source: &str) -> String {
    let asks = [Message {
        role: "user".to_owned(),
        content: "a".to_owned(),
    }];
    chat(source).render(&asks).unwrap_err().to_string()
}

fn literal(text: &str) -> Piece {
    Piece::Literal(text.to_owned())
}

/// The golden renderings of a folder, made by `tests/fixtures/templates/make_golden.py`.
fn renders_like_transformers(folder: &Path) {
    #[derive(Deserialize)]
    struct Golden {
        tokens: BTreeMap<String, String>,
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        template: String,
        messages: Vec<BTreeMap<String, String>>,
        /// Absent if the template refuses the conversation.
        text: Option<String>,
    }
    let golden: Golden =
        serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
    assert!(golden.cases.len() > 20);
    for case in golden.cases {
        let source = std::fs::read_to_string(folder.join(&case.template)).unwrap();
        let template = ChatTemplate {
            file: case.template.clone(),
            source,
            tokens: golden.tokens.clone(),
        };
        let messages: Vec<Message> = case
            .messages
            .iter()
            .map(|message| Message {
                role: message["role"].clone(),
                content: message["content"].clone(),
            })
            .collect();
        let rendered = template.render(&messages);
        if let (Err(error), Some(_)) = (&rendered, &case.text) {
            panic!("{error}");
        }
        assert_eq!(rendered.ok(), case.text, "{}", case.template);
    }
}

#[test]
fn chat_templates_render_like_transformers() {
    renders_like_transformers(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/templates"),
    );
    // Templates of published models, if available, with their golden renderings.
    if let Some(folder) = std::env::var_os("BYROTE_TEST_TEMPLATES").map(PathBuf::from) {
        renders_like_transformers(&folder);
    }
}

#[test]
fn hostile_templates_are_stopped_with_an_error_that_names_the_file() {
    let deep = format!(
        "{}{}",
        "{% if true %}".repeat(5_000),
        "{% endif %}".repeat(5_000)
    );
    let long = " ".repeat((1 << 20) + 1);
    let cases = [
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "doesn't end within",
        ),
        (
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "recursion limit",
        ),
        (
            "{% for a in range(50000) %}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}",
            "its output has more than",
        ),
        ("{{ 'a' * 99999999999 }}", "too large"),
        ("{% if %}", "can't be rendered"),
        ("a{%}b", "can't be rendered"),
        ("{{ messages[0].content.nothing() }}", "can't be rendered"),
        (
            "\n{{ raise_exception('No such role') }}",
            "refuses the conversation: No such role (line 2",
        ),
        ("{{ strftime_now('%Q%') }}", "strftime_now"),
        (&deep, "can't be rendered"),
        (&long, "has 1048577 bytes"),
    ];
    for (source, says) in cases {
        let error = said(source);
        assert!(
            error.starts_with("chat.jinja: ") && error.contains(says),
            "{says}: {error}"
        );
    }
}

#[test]
fn built_in_templates_render_with_and_without_title_and_author() {
    let chatml = chat(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
    );
    for name in BUILTIN {
        let template = Template::open(name).unwrap();
        assert_eq!(
            (template.id.0.as_str(), template.has_turns()),
            (name, ["chat", "assistant"].contains(&name))
        );
        let info = template.info(Some(&chatml));
        assert_eq!(info.chat_template.is_some(), template.has_turns());
        for known in Known::ALL {
            let pieces = template.render(known, Some(&chatml), "m").unwrap();
            assert_eq!(pieces.last(), Some(&Piece::Suffix));
            assert!(
                pieces.contains(&Piece::Title) <= known.title
                    && pieces.contains(&Piece::Author) <= known.author
            );
        }
    }
    let render = |name: &str, known| {
        Template::open(name)
            .unwrap()
            .render(known, Some(&chatml), "m")
            .unwrap()
    };
    assert_eq!(render("none", NOTHING), [Piece::Prefix, Piece::Suffix]);
    assert_eq!(
        render("title-author", NOTHING),
        [Piece::Prefix, Piece::Suffix]
    );
    let all = [
        Piece::Title,
        literal("\nby "),
        Piece::Author,
        literal("\n\n"),
        Piece::Prefix,
        Piece::Suffix,
    ];
    assert_eq!(
        render(
            "title-author",
            Known {
                title: true,
                author: true
            }
        ),
        all
    );
    let asks =
        "<|im_start|>user\nRecite the text, word for word.<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(
        render("assistant", NOTHING),
        [literal(asks), Piece::Prefix, Piece::Suffix]
    );
    let turns = render("chat", NOTHING);
    assert_eq!(
        turns[1..],
        [
            Piece::Prefix,
            literal("<|im_end|>\n<|im_start|>assistant\n"),
            Piece::Suffix
        ]
    );
}

#[test]
fn invalid_template_files_say_what_is_missing() {
    let cases = [
        ("id = \"a\"", "missing field `about`"),
        (
            "id = \"a\"\nabout = \"b\"",
            "needs either \"text\" or [[turns]]",
        ),
        (
            "id = \"A b\"\nabout = \"b\"\ntext = \"\"",
            "lower-case letters",
        ),
        (
            "id = \"\"\nabout = \"b\"\ntext = \"\"",
            "lower-case letters",
        ),
        (
            "id = \"none\"\nabout = \"b\"\ntext = \"x{{ prefix }}{{ suffix }}\"",
            "is reserved for the bare prefix",
        ),
        (
            "id = \"a\"\nabout = \"b\"\nmore = 1\ntext = \"\"",
            "unknown field `more`",
        ),
        (
            "id = \"a\"\nabout = \"b\"\nturns = []",
            "turn must be the assistant's",
        ),
        (
            "id = \"a\"\nabout = \"b\"\n[[turns]]\nrole = \"user\"\ntext = \"x\"",
            "turn must be the assistant's",
        ),
        (
            "id = \"a\"\nabout = \"b\"\n[[turns]]\nrole = \"bot\"\ntext = \"x\"",
            "unknown variant `bot`",
        ),
    ];
    for (source, says) in cases {
        let error = Template::parse(source, "my.toml").unwrap_err().to_string();
        assert!(
            error.starts_with("my.toml: ") && error.contains(says),
            "{says}: {error}"
        );
    }
    let error = Template::open("no-such").unwrap_err().to_string();
    assert!(
        error.contains("no-such") && error.contains("title-author"),
        "{error}"
    );
}

#[test]
fn prefix_and_suffix_must_appear_once_each_and_in_order() {
    let text = |text: &str| Template {
        shape: Shape::Text(text.to_owned()),
        id: TemplateId("own".to_owned()),
        ..Template::open("none").unwrap()
    };
    for (source, says) in [
        ("{{ prefix }}", "the suffix 0 times"),
        ("{{ prefix }}{{ prefix }}{{ suffix }}", "the prefix 2 times"),
        ("{{ suffix }}{{ prefix }}", "before the prefix"),
        ("{{ prefix }}{{ suffix }}.", "something follows"),
        ("{{ prefix|upper }}{{ suffix }}", "the prefix 0 times"),
    ] {
        let error = text(source)
            .render(NOTHING, None, "m")
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
    let turns = Template::open("chat").unwrap();
    let error = turns
        .render(NOTHING, Some(&chat("{{ messages[0].content }}")), "m")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("chat.jinja: ") && error.contains("suffix 0 times"),
        "{error}"
    );
    let error = turns.render(NOTHING, None, "my-model").unwrap_err();
    assert!(matches!(error, TemplateError::NoChat { .. }));
    assert!(
        error
            .to_string()
            .contains("--template chat: my-model has no chat template"),
        "{error}"
    );
}

#[test]
fn chat_templates_are_found_where_checkpoints_store_them() {
    let from_config = |config: &str, jinja: Option<&str>| {
        let jinja = jinja.map(|text| ("chat_template.jinja", text.to_owned()));
        ChatTemplate::from_config(Some(("tokenizer_config.json", config.as_bytes())), jinja)
    };
    let source = |config: &str, jinja| {
        from_config(config, jinja)
            .unwrap()
            .map(|chat| (chat.file, chat.source))
    };
    let named = r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#;
    let found = |file: &str, source: &str| Some((file.to_owned(), source.to_owned()));
    for (config, jinja, expected) in [
        ("{}", None, None),
        (r#"{"chat_template": null}"#, None, None),
        (
            r#"{"chat_template": "x"}"#,
            None,
            found("tokenizer_config.json", "x"),
        ),
        (
            r#"{"chat_template": "x"}"#,
            Some("y"),
            found("chat_template.jinja", "y"),
        ),
        (named, None, found("tokenizer_config.json", "d")),
        (
            r#"{"chat_template": [{"name": "rag", "template": "r"}]}"#,
            None,
            found("tokenizer_config.json", "r"),
        ),
    ] {
        assert_eq!(source(config, jinja), expected, "{config}");
    }
    let tokens = from_config(
        r#"{"chat_template": "x", "bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": null}"#,
        None,
    );
    let tokens = tokens.unwrap().unwrap().tokens;
    let expected = [("bos_token", "<s>"), ("eos_token", "</s>")]
        .map(|(name, token)| (name.to_owned(), token.to_owned()));
    assert_eq!(tokens, expected.into());
    for (config, says) in [
        ("[", "EOF"),
        (r#"{"chat_template": 1}"#, "neither a template nor a list"),
        (
            r#"{"chat_template": [{"name": "a", "template": "a"}, {"name": "b", "template": "b"}]}"#,
            "none is called",
        ),
    ] {
        let error = from_config(config, None).unwrap_err().to_string();
        assert!(
            error.starts_with("tokenizer_config.json: ") && error.contains(says),
            "{error}"
        );
    }
}
