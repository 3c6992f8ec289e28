use super::*;

const MB: u64 = 1_000_000;

fn header(name: &str, dtype: &str, shape: &[usize], bytes: u64) -> Header {
    Header {
        name: name.to_owned(),
        dtype: dtype.to_owned(),
        shape: shape.to_vec(),
        bytes,
    }
}

/// A model of 77 million parameters: a vocabulary of 8,000 and 20 layers of width 512, in bf16.
fn model() -> MemoryEstimate {
    let mut headers = vec![
        header("embed", "bf16", &[8_000, 512], 2 * 8_000 * 512),
        header("norm", "f32", &[512], 2_048),
    ];
    for layer in 0..20 {
        headers.push(header(
            &format!("{layer}.qkv"),
            "bf16",
            &[1_024, 512],
            2 * 1_024 * 512,
        ));
        headers.push(header(
            &format!("{layer}.up"),
            "bf16",
            &[4_096, 512],
            2 * 4_096 * 512,
        ));
        headers.push(header(
            &format!("{layer}.down"),
            "bf16",
            &[512, 2_048],
            2 * 2_048 * 512,
        ));
    }
    let widths = Widths {
        vocab: 8_000,
        hidden: 512,
        qkv: 1_024,
        heads: 8,
        kept: 20 * 512,
        inner: 5 * 2_048,
        ..Widths::default()
    };
    MemoryEstimate::new(
        "m/model.safetensors".to_owned(),
        headers,
        Some(widths),
        false,
        false,
    )
}

fn budget(limit: u64) -> MemoryBudget {
    MemoryBudget {
        limit: Some(limit),
        limit_by_user: true,
        in_use: 0,
        batch: 16,
        threads: 4,
        window: 100,
        keeps_cache: true,
    }
}

#[test]
fn weights_take_the_memory_of_their_form() {
    use Packing::{None, Panels};
    let matrix = header("m", "bf16", &[100, 64], 12_800);
    for (precision, packing, bytes) in [
        (Precision::F32, None, 4 * 6_400),
        (Precision::Bf16, None, 2 * 6_400),
        (Precision::F16, None, 2 * 6_400),
        // 100 outputs make four panels of 32.
        (Precision::F32, Panels, 4 * 128 * 64),
        (Precision::Bf16, Panels, 2 * 128 * 64),
        (Precision::F16, Panels, 2 * 6_400),
        (Precision::AtLoad(Quant::Q8_0), Panels, 6_400 / 32 * 34),
        // Rows of 64 contain no block of 256, so q5_0 is used instead.
        (Precision::AtLoad(Quant::Q4K), None, 6_400 / 32 * 22),
    ] {
        assert_eq!(
            matrix.kept(precision, packing),
            bytes,
            "{precision:?} {packing:?}"
        );
    }
    let experts = header("e", "f32", &[8, 100, 64], 204_800);
    assert_eq!(experts.kept(Precision::F32, Panels), 8 * 4 * 128 * 64);
    let vector = header("v", "bf16", &[64], 128);
    assert!(
        [None, Panels]
            .into_iter()
            .all(|packing| vector.kept(Precision::Bf16, packing) == 256)
    );
    assert_eq!(
        header("q", "q4_k", &[100, 256], 14_400).kept(Precision::Quantized, None),
        14_400
    );
    assert_eq!(
        header("q", "mxfp4", &[2, 32], 34).kept(Precision::Quantized, None),
        68
    );
    let blocks = header("experts.down_blocks", "u8", &[4, 2, 16], 128);
    let scales = header("experts.down_scales", "u8", &[4, 2], 8);
    assert_eq!((blocks.elements(), scales.elements()), (256, 0));
}

#[test]
fn type_names_equal_those_of_gguf() {
    assert_eq!(
        ["Q4K", "Q4_0", "BF16", "F32"].map(stored_name),
        ["q4_k", "q4_0", "bf16", "f32"]
    );
}

#[test]
fn batches_shrink_first_then_threads_then_weights() {
    let model = model();
    let whole = model.plan(Precision::F32, Packing::None, &budget(0));
    assert_eq!((whole.batch, whole.threads), (16, 4));
    assert!(whole.weights > 300 * MB && whole.total() > whole.weights + 4 * whole.thread());
    let mut last = (usize::MAX, usize::MAX, u64::MAX);
    let mut seen = Vec::new();
    for limit in (100..2_000).rev().map(|mb| mb * MB) {
        let Ok(plan) = model.choose(None, Packing::None, &budget(limit)) else {
            continue;
        };
        assert!(plan.total() <= limit, "{plan:?}");
        let now = (plan.batch, plan.threads, plan.weights);
        if now != last {
            seen.push((plan.precision.name(), plan.batch, plan.threads));
            last = now;
        }
    }
    assert_eq!(seen[0], ("f32", 16, 4));
    let narrow = seen
        .iter()
        .position(|(precision, ..)| *precision == "bf16")
        .unwrap();
    assert!(
        seen[..narrow]
            .iter()
            .all(|(precision, batch, _)| *precision == "f32" && *batch >= 4),
        "{seen:?}"
    );
    assert!(
        seen[narrow..]
            .iter()
            .all(|(precision, ..)| *precision == "bf16"),
        "{seen:?}"
    );
    assert_eq!(
        seen.last().map(|(_, batch, threads)| (*batch, *threads)),
        Some((1, 1)),
        "{seen:?}"
    );
}

#[test]
fn f32_takes_at_most_half_of_the_free_memory() {
    let (model, free) = (model(), |limit| MemoryBudget {
        limit_by_user: false,
        ..budget(limit)
    });
    let whole = model
        .plan(Precision::F32, Packing::None, &budget(0))
        .total();
    let chosen =
        |budget: &MemoryBudget| model.choose(None, Packing::None, budget).unwrap().precision;
    assert_eq!(chosen(&free(2 * whole)), Precision::F32);
    assert_eq!(chosen(&free(600 * MB)), Precision::Bf16);
    assert_eq!(chosen(&budget(600 * MB)), Precision::F32);
    assert_eq!(
        model
            .choose(Some(Precision::F32), Packing::None, &free(600 * MB))
            .unwrap()
            .precision,
        Precision::F32
    );
    // If the amount of memory is unknown, nothing is refused.
    let unknown = MemoryBudget {
        limit: None,
        ..budget(0)
    };
    assert_eq!(chosen(&unknown), Precision::F32);
}

#[test]
fn the_error_says_which_precision_would_fit() {
    let model = model();
    let refused = |requested, limit| {
        model
            .choose(requested, Packing::None, &budget(limit))
            .unwrap_err()
            .to_string()
    };
    let said = refused(Some(Precision::F32), 300 * MB);
    assert!(
        said.starts_with("m/model.safetensors: in f32 it needs "),
        "{said}"
    );
    assert!(
        said.contains("--memory allows 300 MB; --dtype bf16 would fit, with "),
        "{said}"
    );
    let said = refused(None, 200 * MB);
    assert!(
        said.contains("in bf16 it needs") && said.contains("--dtype q8_0 would fit"),
        "{said}"
    );
    let said = refused(None, 50 * MB);
    assert!(
        said.contains("no --dtype would fit, not even q4_0"),
        "{said}"
    );
    let bound = MemoryEstimate {
        f32_only: true,
        ..model.clone()
    };
    let said = bound
        .choose(None, Packing::None, &budget(300 * MB))
        .unwrap_err()
        .to_string();
    assert!(said.contains("no narrower --dtype would fit"), "{said}");
}

#[test]
fn packed_matrices_are_not_widened() {
    let model = model();
    let plan_with = |packing| model.plan(Precision::Bf16, packing, &budget(0));
    assert_eq!(plan_with(Packing::None).widened, 4 * 8_000 * 512);
    assert_eq!(plan_with(Packing::Panels).widened, 0);
    assert!(plan_with(Packing::Panels).weights >= plan_with(Packing::None).weights);
}

#[test]
fn without_continuation_there_are_no_caches_and_no_whole_rows_of_logits() {
    let plan_with = |keeps_cache, precision, packing| {
        model().plan(
            precision,
            packing,
            &MemoryBudget {
                keeps_cache,
                ..budget(0)
            },
        )
    };
    let once = plan_with(false, Precision::Bf16, Packing::Panels);
    let kept = plan_with(true, Precision::Bf16, Packing::Panels);
    assert_eq!(once.logits, 4 * 1_600 * 1_024);
    assert_eq!(
        kept.activations - once.activations,
        4 * 1_600 * 2 * 20 * 512
    );
    assert!(kept.logits > once.logits);
    // Quantized as stored, or computed by Candle: whole rows.
    assert_eq!(
        plan_with(false, Precision::Quantized, Packing::Panels).logits,
        kept.logits
    );
    assert_eq!(
        plan_with(false, Precision::Bf16, Packing::None).logits,
        2 * kept.logits
    );
}

#[test]
fn long_windows_make_small_batches_as_in_scoring() {
    let model = model();
    for (window, batch) in [(100, 16), (128, 16), (512, 4), (1_024, 2), (4_096, 1)] {
        let plan = model.plan(
            Precision::F32,
            Packing::None,
            &MemoryBudget {
                window,
                ..budget(0)
            },
        );
        assert_eq!(plan.batch, batch, "{window}");
    }
}

#[test]
fn sizes_of_a_damaged_configuration_are_ignored() {
    let headers = vec![header("embed", "f32", &[1_000, 64], 256_000)];
    let wild = Widths {
        vocab: 1 << 28,
        hidden: 1 << 28,
        qkv: 1 << 30,
        heads: 1 << 14,
        kept: 1 << 40,
        inner: 1 << 30,
        ..Widths::default()
    };
    let estimate = MemoryEstimate::new("m".to_owned(), headers, Some(wild), false, false);
    assert!(
        estimate
            .choose(None, Packing::None, &budget(3_000 * MB))
            .is_ok()
    );
}

#[test]
fn sizes_are_read_in_common_units() {
    for (text, bytes) in [
        ("6GiB", 6 << 30),
        ("800MB", 800 * MB),
        ("1.5g", 3 << 29),
        ("512 MiB", 512 << 20),
        ("1073741824", 1 << 30),
        ("2TB", 2_000_000 * MB),
    ] {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    for text in [
        "", "GiB", "-1GB", "0", "6XB", "nan", "inf", "1e300GB", "6 G i B",
    ] {
        assert!(
            parse_size(text).unwrap_err().contains("examples: 6GiB"),
            "{text}"
        );
    }
    assert_eq!([size(12 * MB), size(1_234 * MB)], ["12 MB", "1.23 GB"]);
}
