//! Windows cut with a real tokenizer: one encoding, exact byte ranges, every layout and stride.

use crate::support::resource::models;
use byrote_candle::model::gguf::Gguf;
use byrote_candle::model::load;
use byrote_candle::tokens::gguf::GgufVocab;
use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::items::{Content, Item, ItemId, Origin};
use byrote_core::window::cut::{Cut, cut};
use byrote_core::window::{Form, Reflow, Stride, WindowConfig};
use proptest::prelude::*;
use std::sync::LazyLock;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// All bytes, and merges that join across words' insides and across the bytes of characters.
static SMALL: LazyLock<Tokenizer> = LazyLock::new(|| {
    let mut tokens: Vec<String> = ByteLevel::alphabet()
        .into_iter()
        .map(String::from)
        .collect();
    tokens.sort();
    let pairs = [
        ("t", "h"),
        ("th", "e"),
        ("Ġ", "the"),
        ("a", "a"),
        ("aa", "aa"),
        ("ð", "Ł"),
        ("e", "Ì"),
        ("×", "©"),
    ];
    tokens.extend(pairs.map(|(left, right)| format!("{left}{right}")));
    tokens.push("<s>".to_owned());
    let merges = pairs
        .map(|(left, right)| format!("{left} {right}"))
        .to_vec();
    let pre = Some("gpt-2".to_owned());
    let vocab = GgufVocab {
        model: "gpt2".to_owned(),
        pre,
        tokens,
        merges: Some(merges),
        ..GgufVocab::default()
    };
    Tokenizer::from_gguf(vocab, "small").unwrap()
});

const BOS: u32 = 264;

fn item(content: Content) -> Item {
    Item::new(
        ItemId("x".to_owned()),
        content,
        Origin {
            file: "x.jsonl".to_owned(),
            line: Some(3),
        },
    )
}

fn config(prefix: u32, suffix: u32, stride: Stride) -> WindowConfig {
    WindowConfig {
        prefix,
        suffix,
        lead: None,
        stride,
        reflow: Reflow::Off,
    }
}

fn cut_text(text: &str, bos: Option<u32>, config: &WindowConfig) -> Cut {
    cut(&item(Content::Text(text.to_owned())), &*SMALL, bos, config).unwrap()
}

fn ids(cut: &Cut) -> Vec<&str> {
    cut.windows
        .iter()
        .map(|window| window.id.0.as_str())
        .collect()
}

/// Text with combining marks, right-to-left letters, emoji and joiners, as well as any other.
fn nasty() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("the ".to_owned()),
        Just("aaaa".to_owned()),
        Just("e\u{301}".to_owned()),
        Just("😀".to_owned()),
        Just("👨‍👩‍👧".to_owned()),
        Just("שלום ".to_owned()),
        Just("\r\n".to_owned()),
        "\\PC{0,6}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

fn assert_consistent(text: &str, cut: &Cut, bos: usize) {
    for window in &cut.windows {
        let (start, suffix, end) = (
            window.placement.start_byte as usize,
            window.placement.suffix_byte as usize,
            window.placement.end_byte as usize,
        );
        let bytes_of = |ids: &[u32]| {
            ids.iter()
                .flat_map(|&id| SMALL.token_bytes(id))
                .copied()
                .collect::<Vec<u8>>()
        };
        let (context, scored) = window
            .token_ids
            .split_at(window.placement.prefix_len as usize);
        assert_eq!(bytes_of(&context[bos..]), &text.as_bytes()[start..suffix]);
        assert_eq!(bytes_of(scored), &text.as_bytes()[suffix..end]);
        let begun = |byte: usize| text.char_indices().filter(|&(at, _)| at < byte).count() as u64;
        assert_eq!(
            (window.placement.suffix_char, window.placement.end_char),
            (begun(suffix), begun(end))
        );
    }
}

proptest! {
    #[test]
    fn windows_are_slices_of_one_encoding_and_suffixes_tile_it(
        text in nasty(), prefix in 1u32..7, suffix in 1u32..7, with_bos in any::<bool>()
    ) {
        let bos = with_bos.then_some(BOS);
        let config = config(prefix, suffix, Stride::Tokens(suffix));
        let cut = cut_text(&text, bos, &config);
        let encoding = SMALL.encode(&text).unwrap();
        prop_assert!(encoding.exact);
        let (prefix, suffix) = (prefix as usize, suffix as usize);
        let mut covered = vec![false; encoding.ids.len()];
        for window in &cut.windows {
            let start = window.placement.start_token as usize;
            prop_assert_eq!(&window.token_ids[bos.iter().len()..], &encoding.ids[start..start + prefix + suffix]);
            prop_assert_eq!(window.placement.prefix_len as usize, prefix + bos.iter().len());
            prop_assert_eq!(bos.is_some(), window.token_ids[0] == BOS);
            covered[start + prefix..start + prefix + suffix].fill(true);
        }
        assert_consistent(&text, &cut, bos.iter().len());
        if encoding.ids.len() < prefix + suffix {
            prop_assert!(cut.windows.is_empty() && cut.unprobed.is_some());
        } else {
            prop_assert!(covered[prefix..].iter().all(|&covered| covered), "the end is unprobed");
            prop_assert!(!covered[..prefix].iter().any(|&covered| covered));
            prop_assert_eq!(&cut.unprobed, &None);
        }
        let mut ids = ids(&cut);
        ids.dedup();
        prop_assert_eq!(ids.len(), cut.windows.len(), "ids are unique");
        prop_assert_eq!(cut_text(&text, bos, &config), cut);
    }

    #[test]
    fn windows_from_cursors_equal_the_head_of_the_encoding_of_the_rest(text in nasty(), stride in 1u32..9) {
        let cut = cut_text(&text, None, &config(3, 4, Stride::Chars(stride)));
        let mut windows = cut.windows.iter();
        for (char, (byte, _)) in text.char_indices().enumerate().step_by(stride as usize) {
            let rest = SMALL.encode(&text[byte..]).unwrap();
            if rest.ids.len() >= 7 {
                let window = windows.next().unwrap();
                prop_assert_eq!(&window.id.0, &format!("x#c{char}"));
                prop_assert_eq!(&window.token_ids, &rest.ids[..7]);
                prop_assert_eq!((window.placement.start_token, window.placement.start_byte as usize), (0, byte));
            }
        }
        prop_assert!(windows.next().is_none());
        assert_consistent(&text, &cut, 0);
    }

    #[test]
    fn split_items_keep_every_token_of_the_joint_encoding(prefix in nasty(), suffix in nasty()) {
        let joint = SMALL.encode(&format!("{prefix}{suffix}")).unwrap();
        let cut = cut(
            &item(Content::Split { prefix: prefix.clone(), suffix }), &*SMALL, Some(BOS), &config(1, 1, Stride::Tokens(1)),
        ).unwrap();
        prop_assert_eq!(cut.windows.is_empty(), cut.unprobed.is_some());
        for window in &cut.windows {
            prop_assert_eq!(&window.token_ids[1..], &joint.ids[..]);
            prop_assert_eq!(window.placement.straddles, window.placement.suffix_byte as usize != prefix.len());
            prop_assert!(window.placement.suffix_byte as usize >= prefix.len());
        }
    }
}

fn led(prefix: u32, suffix: u32, lead: u32, stride: Stride) -> WindowConfig {
    WindowConfig {
        lead: Some(lead),
        ..config(prefix, suffix, stride)
    }
}

proptest! {
    #[test]
    fn with_one_lead_every_prefix_is_followed_by_the_same_suffixes(
        text in nasty(), prefix in 1u32..7, more in 0u32..7, suffix in 1u32..7, stride in 1u32..7, chars in any::<bool>()
    ) {
        let stride = if chars { Stride::Chars(stride) } else { Stride::Tokens(stride) };
        let lead = prefix + more;
        let long = cut_text(&text, Some(BOS), &config(lead, suffix, stride));
        let short = cut_text(&text, Some(BOS), &led(prefix, suffix, lead, stride));
        prop_assert_eq!(long.windows.len(), short.windows.len());
        for (long, short) in long.windows.iter().zip(&short.windows) {
            prop_assert_eq!(short.placement.prefix_len, prefix + 1);
            prop_assert_eq!(short.token_ids[0], BOS);
            prop_assert_eq!(&short.token_ids[1..], &long.token_ids[1 + more as usize..]);
            prop_assert_eq!((short.placement.suffix_byte, short.placement.end_byte), (long.placement.suffix_byte, long.placement.end_byte));
            prop_assert_eq!((short.placement.suffix_char, short.placement.end_char), (long.placement.suffix_char, long.placement.end_char));
            prop_assert_eq!(short.placement.start_token, long.placement.start_token + more);
        }
        if !chars {
            assert_consistent(&text, &short, 1);
        }
        let mut ids = ids(&short);
        ids.dedup();
        prop_assert_eq!(ids.len(), short.windows.len(), "ids are unique");
        // A lead of the prefix itself changes nothing.
        prop_assert_eq!(&cut_text(&text, Some(BOS), &led(lead, suffix, lead, stride)).windows, &long.windows);
    }
}

#[test]
fn text_too_short_for_the_lead_names_the_sweep_that_would_fit() {
    let short = |text| cut_text(text, None, &led(2, 3, 6, Stride::Tokens(3))).unprobed;
    assert_eq!(short("bcdefghij"), None);
    assert_eq!(
        short("bcdefgh").as_deref(),
        Some(
            "it has 7 tokens, and a window needs 9 (6 before the suffix, for the longest prefix compared, + suffix 3); \
             it fits a sweep whose longest prefix is at most 4"
        )
    );
    assert!(short("bcd").is_some_and(|why| why.ends_with("no prefix fits it with this suffix")));
}

#[test]
fn with_a_lead_split_items_keep_the_last_tokens_of_their_prefix() {
    let split = |config: &WindowConfig| {
        let content = Content::Split {
            prefix: "bcdefg".to_owned(),
            suffix: "hij".to_owned(),
        };
        cut(&item(content), &*SMALL, Some(BOS), config).unwrap()
    };
    let whole = split(&config(2, 50, Stride::Tokens(50)));
    let led_to = |prefix, lead| split(&led(prefix, 50, lead, Stride::Tokens(50)));
    let window = &led_to(2, 6).windows[0];
    assert_eq!(
        (
            window.placement.prefix_len,
            window.placement.start_token,
            window.placement.start_byte,
            window.placement.suffix_byte
        ),
        (3, 4, 4, 6)
    );
    assert_eq!(window.token_ids[1..], whole.windows[0].token_ids[5..]);
    assert_eq!(led_to(6, 6).windows, whole.windows);
    assert_eq!(
        led_to(2, 7).unprobed.as_deref(),
        Some(
            "its prefix has 6 of the 7 tokens that the longest compared prefix needs; it fits a sweep whose longest \
             prefix is at most 6"
        )
    );
}

#[test]
fn last_window_stands_flush_with_the_end() {
    for (text, expected) in [
        ("bcdefghijk", vec!["x#0", "x#3", "x#5"]),
        ("bcdefghi", vec!["x#0", "x#3"]),
        ("bcdef", vec!["x#0"]),
        ("bcde", vec![]),
    ] {
        assert_eq!(
            ids(&cut_text(text, None, &config(2, 3, Stride::Tokens(3)))),
            expected,
            "{text}"
        );
    }
    let short = cut_text("bcde", None, &config(2, 3, Stride::Tokens(3)));
    assert_eq!(
        short.unprobed.as_deref(),
        Some("it has 4 tokens, and a window needs 5 (prefix 2 + suffix 3)")
    );
}

#[test]
fn split_item_whose_boundary_falls_inside_a_token_says_so() {
    let split = |prefix: &str, suffix: &str, bos| {
        let content = Content::Split {
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
        };
        cut(
            &item(content),
            &*SMALL,
            bos,
            &config(50, 50, Stride::Tokens(50)),
        )
        .unwrap()
    };
    let cut = split("b t", "he b", None);
    let window = &cut.windows[0];
    assert!(window.placement.straddles);
    assert_eq!(
        (
            window.placement.prefix_len,
            window.placement.suffix_byte,
            window.placement.end_byte
        ),
        (2, 5, 7)
    );
    assert!(!split("b", " the", None).windows[0].placement.straddles);

    assert_eq!(
        split("", "bcd", Some(BOS)).windows[0].placement.prefix_len,
        1
    );
    for (prefix, suffix, bos, reason) in [
        ("", "bcd", None, "its prefix is empty"),
        ("b", "", None, "its suffix is empty"),
        (
            "th",
            "e",
            Some(BOS),
            "its whole suffix is part of the last token",
        ),
        ("", "", Some(BOS), "its suffix is empty"),
    ] {
        let cut = split(prefix, suffix, bos);
        assert!(cut.windows.is_empty());
        assert!(
            cut.unprobed
                .as_ref()
                .is_some_and(|why| why.starts_with(reason)),
            "{:?}",
            cut.unprobed
        );
    }
}

#[test]
fn wrapped_text_is_probed_in_both_layouts() {
    let wrapped = "the first of several lines that all end just where the next word would\n\
                   have gone over the width of the page, as a typist would have set them,\n\
                   and which go on in this way for long enough that nobody could take one\n\
                   for anything else but the wrapped prose it was always meant to be here";
    let forms = |text: &str, reflow| {
        let config = WindowConfig {
            reflow,
            ..config(50, 50, Stride::Tokens(50))
        };
        let cut = cut_text(text, None, &config);
        for form in &cut.forms {
            let of_form = cut
                .windows
                .iter()
                .filter(|window| window.placement.form == form.form);
            assert!(form.windows > 0 && of_form.count() as u64 == form.windows);
            assert_eq!(
                (form.bytes, form.chars),
                (form.text.len() as u64, form.text.chars().count() as u64)
            );
        }
        let reflowed = cut
            .windows
            .iter()
            .filter(|window| window.placement.form == Form::Reflowed);
        assert!(
            reflowed
                .clone()
                .all(|window| window.id.0.starts_with("x#r"))
        );
        cut.forms
            .into_iter()
            .map(|form| form.form)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        forms(wrapped, Reflow::Auto),
        [Form::AsGiven, Form::Reflowed]
    );
    assert_eq!(forms(wrapped, Reflow::Off), [Form::AsGiven]);
    assert_eq!(forms(wrapped, Reflow::Only), [Form::Reflowed]);
    assert_eq!(
        forms(&wrapped.replace('\n', " "), Reflow::Auto),
        [Form::AsGiven]
    );
}

#[test]
fn settings_that_leave_nothing_to_score_are_refused() {
    let text = item(Content::Text("bcdef".to_owned()));
    for (config, bos, refused) in [
        (config(1, 0, Stride::Tokens(1)), None, true),
        (config(1, 1, Stride::Tokens(0)), None, true),
        (config(1, 1, Stride::Chars(0)), None, true),
        (config(0, 1, Stride::Tokens(1)), None, true),
        (led(2, 1, 1, Stride::Tokens(1)), None, true),
        (config(0, 1, Stride::Tokens(1)), Some(BOS), false),
    ] {
        assert_eq!(
            cut(&text, &*SMALL, bos, &config).is_err(),
            refused,
            "{config:?}"
        );
    }
}

#[test]
fn windows_from_cursors_equal_the_encoding_of_the_rest_on_real_vocabularies() {
    let Some(folder) = models() else {
        return;
    };
    let hard: Vec<String> =
        serde_json::from_str(include_str!("../fixtures/texts/hard.json")).unwrap();
    let running = "It was a long way down to the harbour, and 1234567 lamps burned. ".repeat(20);
    let unbroken = "antidisestablishmentarianism".repeat(60);
    let parts = [
        hard.concat().as_str(),
        &running,
        &unbroken,
        &" ".repeat(900),
        &"=-".repeat(400),
    ]
    .concat();
    for name in [
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "gemma-3-270m-q4_k_m.gguf",
    ] {
        let vocabulary = load::vocabulary(&Gguf::open(&folder.join(name)).unwrap()).unwrap();
        let tokenizer = Tokenizer::from_gguf(vocabulary, name).unwrap();
        let cut = cut(
            &item(Content::Text(parts.clone())),
            &tokenizer,
            None,
            &config(30, 20, Stride::Chars(7)),
        )
        .unwrap();
        assert!(cut.windows.len() > 400);
        for window in &cut.windows {
            let rest = tokenizer
                .encode(&parts[window.placement.start_byte as usize..])
                .unwrap();
            assert_eq!(window.token_ids, &rest.ids[..50], "{name} {}", window.id);
            assert_eq!(
                window.placement.end_byte - window.placement.start_byte,
                rest.bytes[49].1 as u64
            );
        }
    }
}
