//! Templates around windows, in token ids of a real tokenizer.

use byrote_candle::tokens::gguf::GgufVocab;
use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::items::{Content, Item, ItemId, Origin};
use byrote_core::template::Known;
use byrote_core::template::encode::{Bos, Rendered};
use byrote_core::template::file::Template;
use byrote_core::tokens::BosChoice;
use byrote_core::window::Window;
use byrote_core::window::cut::cut;
use byrote_core::window::{Reflow, Stride, WindowConfig};
use serde_json::json;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

const BOS: &str = "<s>";

/// Bytes, a BOS and an end of turn: the same tokenizer as a GGUF and as a tokenizer.json.
fn tokenizers() -> [Tokenizer; 2] {
    let mut tokens: Vec<String> = ByteLevel::alphabet()
        .into_iter()
        .map(String::from)
        .collect();
    tokens.sort();
    let plain = tokens.len() as u32;
    tokens.extend([BOS.to_owned(), "<|end|>".to_owned()]);
    let vocab: serde_json::Map<_, _> = tokens
        .iter()
        .zip(0u32..)
        .map(|(t, id)| (t.clone(), json!(id)))
        .collect();
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false})
    };
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [added(plain, BOS), added(plain + 1, "<|end|>")],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    let config = json!({"bos_token": BOS, "add_bos_token": true}).to_string();
    let mut kinds = vec![1; tokens.len()];
    kinds[plain as usize..].fill(3);
    let vocab = GgufVocab {
        model: "gpt2".to_owned(),
        pre: Some("gpt-2".to_owned()),
        tokens,
        merges: Some(Vec::new()),
        token_types: Some(kinds),
        bos: Some(plain),
        add_bos: Some(true),
        ..GgufVocab::default()
    };
    [
        Tokenizer::from_gguf(vocab, "a.gguf").unwrap(),
        Tokenizer::from_json(
            json.to_string().as_bytes(),
            Some(config.as_bytes()),
            "tokenizer.json",
        )
        .unwrap(),
    ]
}

fn rendered(source: &str) -> Rendered {
    let source = format!("id = \"own\"\nabout = \"test\"\ntext = '''{source}'''");
    let template = Template::parse(&source, "own.toml").unwrap();
    let pieces = Known::ALL.map(|known| (known, template.render(known, None, "m").unwrap()));
    Rendered::new(&template, pieces.into())
}

fn item(title: &str) -> Item {
    let origin = Origin {
        file: "x".to_owned(),
        line: None,
    };
    let mut item = Item::new(
        ItemId("x".to_owned()),
        Content::Text("one two three four".to_owned()),
        origin,
    );
    item.title = Some(title.to_owned());
    item
}

/// The windows of an item under a template: bare, framed.
fn frame(
    tokenizer: &Tokenizer,
    source: &str,
    title: &str,
    choice: BosChoice,
) -> (Vec<Window>, Vec<Window>) {
    let item = item(title);
    let bos = Bos {
        choice,
        token: tokenizer.bos(choice).unwrap(),
    };
    let config = WindowConfig {
        prefix: 3,
        suffix: 4,
        lead: None,
        stride: Stride::Tokens(1),
        reflow: Reflow::Off,
    };
    let bare = cut(&item, tokenizer, bos.token, &config).unwrap().windows;
    let framed = rendered(source)
        .frame(&item, &bare, tokenizer, bos)
        .unwrap();
    (bare, framed)
}

#[test]
fn a_special_tokens_name_is_that_token_in_the_template_and_plain_text_in_a_title() {
    for tokenizer in tokenizers() {
        let end = tokenizer.special("<|end|>").unwrap();
        assert_eq!(
            (tokenizer.special("one"), tokenizer.special("a")),
            (None, None)
        );
        let source = "{{ title }}<|end|>{{ prefix }}<|end|>{{ suffix }}";
        for (title, ends) in [("T", 2), ("<|end|>", 2), ("a <s> <|end|> b", 2)] {
            let (bare, framed) = frame(&tokenizer, source, title, BosChoice::Never);
            for (bare, framed) in bare.iter().zip(&framed) {
                let (context, suffix) = framed
                    .token_ids
                    .split_at(framed.placement.prefix_len as usize);
                assert_eq!(
                    suffix,
                    &bare.token_ids[bare.placement.prefix_len as usize..]
                );
                assert_eq!(
                    framed.token_ids.iter().filter(|id| **id == end).count(),
                    ends,
                    "{title}"
                );
                assert_eq!(context.last(), Some(&end));
                let words = [
                    tokenizer.encode(title).unwrap().ids,
                    vec![end],
                    bare.token_ids[..3].to_vec(),
                    vec![end],
                ];
                assert_eq!(context, words.concat(), "{title}");
                assert_eq!(
                    (&framed.id.0, &framed.placement.template.0),
                    (&format!("{}@own", bare.id), &"own".to_owned())
                );
                assert_eq!(
                    (framed.placement.suffix_byte, framed.placement.start_byte),
                    (bare.placement.suffix_byte, bare.placement.start_byte)
                );
            }
            assert_eq!(framed.len(), bare.len());
        }
    }
}

#[test]
fn a_bos_stands_there_once_or_not_at_all() {
    for tokenizer in tokenizers() {
        let bos = tokenizer.special(BOS).unwrap();
        for source in [
            "a {{ prefix }}{{ suffix }}",
            "<s>a {{ prefix }}{{ suffix }}",
        ] {
            for (choice, count) in [
                (BosChoice::Auto, 1),
                (BosChoice::Always, 1),
                (BosChoice::Never, 0),
            ] {
                let (_, framed) = frame(&tokenizer, source, "", choice);
                for window in framed {
                    assert_eq!(
                        window.token_ids.iter().filter(|id| **id == bos).count(),
                        count,
                        "{source} {choice:?}"
                    );
                    assert_eq!(window.token_ids[0] == bos, count == 1);
                }
            }
        }
    }
}

#[test]
fn a_space_between_template_and_text_is_there_once() {
    for tokenizer in tokenizers() {
        let (bare, framed) = frame(
            &tokenizer,
            "a: {{ prefix }}{{ suffix }}",
            "",
            BosChoice::Never,
        );
        let text = |window: &Window| tokenizer.decode(&window.token_ids);
        // Windows begin with a letter or with a space.
        for (bare, framed) in bare.iter().zip(&framed) {
            assert_eq!(
                text(framed),
                format!("a: {}", text(bare).trim_start()),
                "{}",
                bare.id
            );
        }
        assert!(bare.iter().any(|window| text(window).starts_with(' ')));
    }
}

#[test]
fn the_bare_prefix_changes_nothing() {
    let [tokenizer, _] = tokenizers();
    let template = Template::open("none").unwrap();
    let pieces = Known::ALL.map(|known| (known, template.render(known, None, "m").unwrap()));
    let (bare, _) = frame(&tokenizer, "{{ prefix }}{{ suffix }}", "", BosChoice::Auto);
    let bos = Bos {
        choice: BosChoice::Auto,
        token: tokenizer.bos(BosChoice::Auto).unwrap(),
    };
    let none = Rendered::new(&template, pieces.into());
    assert_eq!(none.frame(&item(""), &bare, &tokenizer, bos).unwrap(), bare);
}
