//! `byrote doctor`: what this build and this machine can do, and whether the built-in model comes out right.

use super::out;
use crate::Outcome;
use crate::cli::{DoctorArgs, OutputFormat};
use anyhow::Result;
use byrote_core::system;
use serde_json::{Map, Value, json};

pub(crate) fn run(args: &DoctorArgs) -> Result<Outcome> {
    #[cfg(feature = "native")]
    if let Some(model) = &args.tune {
        return super::tune::run(model, args.format);
    }
    let mut told = Map::new();
    told.insert("version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    told.insert("compiled_in".to_owned(), json!(features()));
    told.insert("compiled_for".to_owned(), json!(compiled_for()));
    told.insert("devices".to_owned(), json!(devices()));
    let memory = system::memory();
    told.insert("cpu".to_owned(), json!(system::cpu_flags()));
    told.insert("cores".to_owned(), json!(system::cores()));
    told.insert("cpu_limit".to_owned(), json!(system::cpu_quota()));
    told.insert("numa_nodes".to_owned(), json!(system::numa_nodes()));
    told.insert("memory_bytes".to_owned(), json!(memory.total));
    told.insert("memory_free_bytes".to_owned(), json!(memory.available));
    told.insert("memory_limit_bytes".to_owned(), json!(memory.limit));
    told.insert("memory_usable_bytes".to_owned(), json!(memory.usable()));
    cache(&mut told);
    let tested = self_test();
    let (passed, said) = match &tested {
        Some(Ok(said)) => (Some(true), said.clone()),
        Some(Err(error)) => (Some(false), format!("failed: {}", out::in_a_line(error))),
        None => (
            None,
            "none: models can't be loaded by this build (native is not compiled in)".to_owned(),
        ),
    };
    told.insert(
        "self_test".to_owned(),
        json!({"passed": passed, "told": said}),
    );
    match args.format {
        OutputFormat::Json => {
            out::print(format!("{}\n", serde_json::to_string_pretty(&told)?).as_bytes())?
        }
        OutputFormat::Text => out::print(text(&told).as_bytes())?,
    };
    Ok(if passed == Some(false) {
        Outcome::Undecided
    } else {
        Outcome::Done
    })
}

fn features() -> Vec<&'static str> {
    [
        ("native", cfg!(feature = "native")),
        ("hub", cfg!(feature = "hub")),
        ("cuda", cfg!(feature = "cuda")),
        ("cudnn", cfg!(feature = "cudnn")),
        ("metal", cfg!(feature = "metal")),
        ("accelerate", cfg!(feature = "accelerate")),
        ("mkl", cfg!(feature = "mkl")),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect()
}

/// The processor that the compiler was told to expect: Candle chooses its quantized kernels by this, not when it runs.
fn compiled_for() -> String {
    let flags = [
        ("avx2", cfg!(target_feature = "avx2")),
        ("fma", cfg!(target_feature = "fma")),
        ("avx512f", cfg!(target_feature = "avx512f")),
        ("neon", cfg!(target_feature = "neon")),
    ];
    let there: Vec<&str> = flags
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect();
    let with = if there.is_empty() {
        String::new()
    } else {
        format!(" with {}", there.join(", "))
    };
    format!("{} {}{with}", std::env::consts::ARCH, std::env::consts::OS)
}

#[cfg(feature = "native")]
fn devices() -> Vec<String> {
    use byrote_candle::model::load::device;
    let mut found = vec!["cpu".to_owned()];
    let names = (0..16)
        .map(|n| format!("cuda:{n}"))
        .take_while(|name| device(name).is_ok());
    found.extend(names);
    found.extend(device("metal").is_ok().then(|| "metal".to_owned()));
    found
}

#[cfg(not(feature = "native"))]
fn devices() -> Vec<String> {
    Vec::new()
}

/// Where models are kept, and whether there is a token: never the token.
#[cfg(feature = "native")]
fn cache(told: &mut Map<String, Value>) {
    let options = byrote_candle::model::source::LocateOptions::from_env();
    told.insert("hub_cache".to_owned(), json!(options.cache_dir));
    told.insert("hub_endpoint".to_owned(), json!(options.endpoint));
    told.insert("hub_offline".to_owned(), json!(options.offline));
    told.insert("hub_token".to_owned(), json!(options.token.is_some()));
}

#[cfg(not(feature = "native"))]
fn cache(_: &mut Map<String, Value>) {}

/// Loads the built-in model and tests it, as every model is before it is scored. `None` in a build without models.
#[cfg(feature = "native")]
fn self_test() -> Option<Result<String>> {
    use byrote_candle::model::{builtin, load};
    use byrote_candle::native::{Native, NativeConfig};
    use byrote_core::backend::{Backend, Scheme, self_test};
    let test = || -> Result<String> {
        let started = std::time::Instant::now();
        let config = load::LoadConfig {
            device: "auto".to_owned(),
            ..load::LoadConfig::default()
        };
        let loaded = load::safetensors(&builtin::checkpoint(), &config)?;
        let name = loaded.precision.name();
        let backend = Native::new(
            loaded.model,
            name,
            Scheme::defaults(),
            NativeConfig {
                threads: 1,
                batch: 1,
                arithmetic: byrote_candle::model::Arithmetic::F32,
            },
        )?;
        self_test::run(&backend, None)?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(format!(
            "passed on {} in {name}, {seconds:.2} s",
            backend.info().device
        ))
    };
    Some(test())
}

#[cfg(not(feature = "native"))]
fn self_test() -> Option<Result<String>> {
    None
}

fn text(told: &Map<String, Value>) -> String {
    let gib = |value: &Value| {
        value
            .as_u64()
            .map(|bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)))
    };
    let mut said = String::new();
    for (name, value) in told {
        let shown = match value {
            Value::Null => "none".to_owned(),
            Value::Bool(there) => if *there { "yes" } else { "no" }.to_owned(),
            Value::String(text) => text.clone(),
            Value::Array(values) if values.is_empty() => "none".to_owned(),
            Value::Array(values) => values
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(", "),
            Value::Object(fields) => fields
                .get("told")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            value if name.ends_with("_bytes") => gib(value).unwrap_or_default(),
            value => value.to_string(),
        };
        let name = name.trim_end_matches("_bytes").replace('_', " ");
        said.push_str(&format!("{name:<14} {shown}\n"));
    }
    said
}
