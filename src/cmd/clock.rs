//! When a run begins, as its report says.

use anyhow::{Context, Result};
use jiff::Timestamp;

/// Now, or what SOURCE_DATE_EPOCH says, by which builds are made reproducible: whole seconds since 1970.
///
/// # Errors
/// When it says something else.
pub(crate) fn begun() -> Result<Timestamp> {
    match std::env::var_os("SOURCE_DATE_EPOCH") {
        // Nobody needs fractions of a second of when a run began.
        None => Ok(Timestamp::from_second(Timestamp::now().as_second())?),
        Some(value) => epoch(&value.to_string_lossy()),
    }
}

fn epoch(value: &str) -> Result<Timestamp> {
    let seconds = value.parse::<i64>().ok().filter(|seconds| *seconds >= 0);
    seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).with_context(|| {
        format!(
            "SOURCE_DATE_EPOCH is {value:?}, not whole seconds since 1970 such as 1764028800; correct it or unset it"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::epoch;

    #[test]
    fn a_run_may_begin_when_it_is_told_to() {
        assert_eq!(
            epoch("1764028800").unwrap().to_string(),
            "2025-11-25T00:00:00Z"
        );
        for wrong in ["", "yesterday", "-5", "1.5", "99999999999999999"] {
            assert!(
                epoch(wrong)
                    .unwrap_err()
                    .to_string()
                    .contains("whole seconds since 1970"),
                "{wrong}"
            );
        }
    }
}
