//! The record of `byrote doctor`: the build, the machine, the hub cache, and a self-test.

use byrote_core::system;
use serde::Serialize;
use serde_json::Value;
#[cfg(feature = "native")]
use std::path::PathBuf;

#[derive(Serialize)]
pub(crate) struct System {
    version: &'static str,
    compiled_in: Vec<&'static str>,
    compiled_for: String,
    devices: Vec<String>,
    cpu: Vec<String>,
    cores: usize,
    cpu_limit: Option<f64>,
    numa_nodes: usize,
    memory_bytes: Option<u64>,
    memory_free_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    memory_usable_bytes: Option<u64>,
    #[cfg(feature = "native")]
    #[serde(flatten)]
    hub: Hub,
    self_test: SelfTest,
}

/// Where models are cached, and whether there is a token, but never the token itself.
#[cfg(feature = "native")]
#[derive(Serialize)]
struct Hub {
    hub_cache: PathBuf,
    hub_endpoint: String,
    hub_offline: bool,
    hub_token: bool,
}

#[derive(Serialize)]
pub(crate) struct SelfTest {
    /// `None` in a build without models.
    pub(crate) passed: Option<bool>,
    pub(crate) message: String,
}

impl System {
    pub(crate) fn new(self_test: SelfTest) -> Self {
        let memory = system::memory();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            compiled_in: features(),
            compiled_for: compiled_for(),
            devices: devices(),
            cpu: system::cpu_flags(),
            cores: system::cores(),
            cpu_limit: system::cpu_quota(),
            numa_nodes: system::numa_nodes(),
            memory_bytes: memory.total,
            memory_free_bytes: memory.available,
            memory_limit_bytes: memory.limit,
            memory_usable_bytes: memory.usable(),
            #[cfg(feature = "native")]
            hub: Hub::from_env(),
            self_test,
        }
    }

    pub(crate) fn passed(&self) -> Option<bool> {
        self.self_test.passed
    }

    /// One field per line.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let Ok(Value::Object(fields)) = serde_json::to_value(self) else {
            return text;
        };
        for (name, value) in &fields {
            let shown = if name.ends_with("_bytes") {
                gib(value)
            } else {
                plain(value)
            };
            let name = name.trim_end_matches("_bytes").replace('_', " ");
            text += &format!("{name:<14} {shown}\n");
        }
        text
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields.get("message").map(plain).unwrap_or_default(),
        Value::Number(number) => number.to_string(),
    }
}

fn gib(bytes: &Value) -> String {
    match bytes.as_u64() {
        Some(bytes) => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
        None => plain(bytes),
    }
}

fn features() -> Vec<&'static str> {
    enabled(&[
        ("native", cfg!(feature = "native")),
        ("hub", cfg!(feature = "hub")),
        ("cuda", cfg!(feature = "cuda")),
        ("cudnn", cfg!(feature = "cudnn")),
        ("metal", cfg!(feature = "metal")),
        ("accelerate", cfg!(feature = "accelerate")),
        ("mkl", cfg!(feature = "mkl")),
    ])
}

/// The processor that the compiler assumed: Candle chooses its quantized kernels by it, at compile time.
fn compiled_for() -> String {
    let flags = enabled(&[
        ("avx2", cfg!(target_feature = "avx2")),
        ("fma", cfg!(target_feature = "fma")),
        ("avx512f", cfg!(target_feature = "avx512f")),
        ("neon", cfg!(target_feature = "neon")),
    ]);
    let target = format!("{} {}", std::env::consts::ARCH, std::env::consts::OS);
    if flags.is_empty() {
        target
    } else {
        format!("{target} with {}", flags.join(", "))
    }
}

fn enabled(names: &[(&'static str, bool)]) -> Vec<&'static str> {
    names
        .iter()
        .filter(|(_, enabled)| *enabled)
        .map(|(name, _)| *name)
        .collect()
}

#[cfg(feature = "native")]
fn devices() -> Vec<String> {
    use byrote_candle::model::load::device;
    let gpus = (0..16)
        .map(|n| format!("cuda:{n}"))
        .take_while(|name| device(name).is_ok());
    let mut names: Vec<String> = std::iter::once("cpu".to_owned()).chain(gpus).collect();
    if device("metal").is_ok() {
        names.push("metal".to_owned());
    }
    names
}

#[cfg(not(feature = "native"))]
fn devices() -> Vec<String> {
    Vec::new()
}

#[cfg(feature = "native")]
impl Hub {
    fn from_env() -> Self {
        let options = byrote_candle::model::source::LocateOptions::from_env();
        Self {
            hub_cache: options.cache_dir,
            hub_endpoint: options.endpoint,
            hub_offline: options.offline,
            hub_token: options.token.is_some(),
        }
    }
}
