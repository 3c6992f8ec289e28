//! `byrote doctor`: what this build and this machine support, and whether the built-in model passes its self-test.

use crate::cli::DoctorArgs;
use crate::render::system::{SelfTest, System};
use crate::{Outcome, output};
use anyhow::Result;

pub(crate) fn run(args: &DoctorArgs) -> Result<Outcome> {
    #[cfg(feature = "native")]
    if let Some(model) = &args.tune {
        return super::tune::run(model, args.format);
    }
    let system = System::new(self_test());
    output::record(args.format, &system, System::text)?;
    Ok(if system.passed() == Some(false) {
        Outcome::Undecided
    } else {
        Outcome::Done
    })
}

#[cfg(feature = "native")]
fn self_test() -> SelfTest {
    match test_builtin() {
        Ok(message) => SelfTest {
            passed: Some(true),
            message,
        },
        Err(error) => SelfTest {
            passed: Some(false),
            message: format!("failed: {}", output::in_a_line(&error)),
        },
    }
}

#[cfg(not(feature = "native"))]
fn self_test() -> SelfTest {
    SelfTest {
        passed: None,
        message: "none: models can't be loaded by this build (native is not compiled in)"
            .to_owned(),
    }
}

/// Loads the built-in model and runs the test that every model has to pass before it is scored.
#[cfg(feature = "native")]
fn test_builtin() -> Result<String> {
    use byrote_candle::model::{Arithmetic, builtin, load};
    use byrote_candle::native::{Native, NativeConfig};
    use byrote_core::backend::{Backend, Scheme, self_test};

    let started = std::time::Instant::now();
    let config = load::LoadConfig {
        device: "auto".to_owned(),
        ..load::LoadConfig::default()
    };
    let loaded = load::safetensors(&builtin::checkpoint(), &config)?;
    let name = loaded.precision.name();
    let config = NativeConfig {
        threads: 1,
        batch: 1,
        arithmetic: Arithmetic::F32,
    };
    let backend = Native::new(loaded.model, name, Scheme::defaults(), config)?;
    self_test::run(&backend, None)?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(format!(
        "passed on {} in {name}, {seconds:.2} s",
        backend.info().device
    ))
}
