//! The built-in control texts as data: enough of them, long enough, unlike each other and unlike everything else in the repository.

use byrote_core::controls::check::check;
use byrote_core::controls::{BUILTIN, sources, text};
use byrote_core::items::{self, Item, Kind, ProbeSet};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Words that two texts may share in a row, at most: five. Real texts share such runs; templates share longer ones.
const SHARED: usize = 6;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sets() -> ProbeSet {
    items::read_with_controls(&[], &sources(&[PathBuf::from("builtin")]).unwrap()).unwrap()
}

fn words(text: &str) -> Vec<String> {
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn runs(text: &str, n: usize) -> HashSet<Vec<String>> {
    words(text).windows(n).map(<[String]>::to_vec).collect()
}

#[test]
fn there_are_thirty_dated_texts_a_genre_each_long_enough() {
    let set = sets();
    assert_eq!((set.items.len(), set.manifest.dropped.len()), (240, 0));
    assert_eq!(set.manifest.warnings, [] as [String; 0]);
    let mut genres: HashMap<&str, usize> = HashMap::new();
    for item in &set.items {
        let genre = BUILTIN
            .iter()
            .find(|set| set.name == item.origin.file)
            .unwrap()
            .genre;
        *genres.entry(genre).or_default() += 1;
        assert_eq!(item.kind, Kind::Control);
        assert!(
            item.id.0.starts_with(&format!("control-{genre}-")),
            "{}",
            item.id
        );
        assert_eq!(
            (item.tags.as_slice(), item.matches.as_slice()),
            (
                &[genre.to_owned(), "written:2026-11-23".to_owned()][..],
                &[genre.to_owned()][..]
            )
        );
        assert_eq!(
            item.license.as_deref(),
            Some("MIT OR Apache-2.0"),
            "{}",
            item.id
        );
        let text = text(item);
        let (words, chars) = (text.split_whitespace().count(), text.chars().count());
        // Without a tokenizer: a word is at least a token, and no tokenizer packs more than six characters of English into one
        // on average. So either alone gives more than 130 tokens.
        assert!(
            words >= 140 && chars >= 900,
            "{}: {words} words, {chars} characters",
            item.id
        );
        assert!(
            text.trim_start() == text
                && !text
                    .chars()
                    .any(|c| c.is_control() && c != '\n' && c != '\t'),
            "{}",
            item.id
        );
    }
    assert!(
        genres.len() == 8 && genres.values().all(|&count| count == 30),
        "{genres:?}"
    );
}

#[test]
fn no_two_texts_repeat_each_other_or_come_from_one_template() {
    let set = sets();
    assert_eq!(check(&set, None).unwrap().findings, []);
    // Harder than what `byrote controls check` asks for.
    let texts: Vec<_> = set.items.iter().map(text).collect();
    let mut owners: HashMap<Vec<String>, &str> = HashMap::new();
    let mut openings = HashMap::new();
    let fives: Vec<_> = texts.iter().map(|text| runs(text, 5)).collect();
    for (item, text) in set.items.iter().zip(&texts) {
        let id = item.id.0.as_str();
        for run in runs(text, SHARED) {
            let owner = *owners.entry(run.clone()).or_insert(id);
            assert_eq!(owner, id, "both have {run:?}");
        }
        let opening = words(text)[..3].to_vec();
        assert_eq!(
            openings.insert(opening.clone(), id),
            None,
            "{id} begins as another does: {opening:?}"
        );
    }
    let mut holders: HashMap<&Vec<String>, Vec<usize>> = HashMap::new();
    for (text, runs) in fives.iter().enumerate() {
        for run in runs {
            holders.entry(run).or_default().push(text);
        }
    }
    let mut common: HashMap<(usize, usize), usize> = HashMap::new();
    for texts in holders.values() {
        for (n, &one) in texts.iter().enumerate() {
            for &other in &texts[..n] {
                *common.entry((one, other)).or_default() += 1;
            }
        }
    }
    let most = common
        .iter()
        .map(|(&(one, other), &both)| {
            2.0 * both as f64 / (fives[one].len() + fives[other].len()) as f64
        })
        .fold(0.0, f64::max);
    println!("most alike: {:.2}% of runs of five words", 100.0 * most);
    assert!(most < 0.02, "{most}");
}

#[test]
fn no_text_quotes_the_built_in_probe_set_or_the_fixtures() {
    let files: Vec<PathBuf> = ["prompts/builtin", "tests/fixtures/texts"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 10, "{files:?}");
    let mut known: HashMap<Vec<String>, String> = HashMap::new();
    for file in &files {
        let other = std::fs::read_to_string(file).unwrap();
        known.extend(
            runs(&other, SHARED)
                .into_iter()
                .map(|run| (run, file.display().to_string())),
        );
    }
    for item in &sets().items {
        let quoted = runs(&text(item), SHARED)
            .into_iter()
            .find_map(|run| Some((known.get(&run)?.clone(), run)));
        assert_eq!(quoted, None, "{}", item.id);
    }
}

#[test]
fn a_control_set_is_told_when_a_text_of_it_is_repeated() {
    let mut set = sets();
    let mut copy = set.items[100].clone();
    copy.id.0 = "copy".to_owned();
    set.items.push(Item {
        kind: Kind::Control,
        ..copy
    });
    let found = check(&set, None).unwrap().findings;
    assert!(found.len() == 1 && found[0].id.0 == "copy", "{found:?}");
}

/// With the tokenizers of real checkpoints, where `BYROTE_TEST_MODELS` names their folder.
#[cfg(feature = "native")]
#[test]
fn every_text_has_130_tokens_under_real_tokenizers() {
    use byrote_candle::model::load::{self, LoadConfig};
    let Some(models) = crate::support::resource::models() else {
        return;
    };
    for file in [
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "gemma-3-270m-q4_k_m.gguf",
    ] {
        let options = LoadConfig {
            device: "cpu".to_owned(),
            ..LoadConfig::default()
        };
        let tokenizer = load::gguf(&models.join(file), &options)
            .unwrap()
            .tokenizer
            .unwrap();
        let set = sets();
        let counts: Vec<usize> = set
            .items
            .iter()
            .map(|item| tokenizer.encode(&text(item)).unwrap().ids.len())
            .collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        println!(
            "{file}: {least} to {most} tokens, {} in the mean",
            counts.iter().sum::<usize>() / counts.len()
        );
        assert!(*least >= 130, "{least}");
    }
}
