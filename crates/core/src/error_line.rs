//! Errors in one line.

use std::error::Error;

/// An error with its causes, in one line. Errors often repeat their causes, which are then not added.
pub fn error_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Chained {
        message: &'static str,
        source: Option<Box<Chained>>,
    }

    fn chain(messages: &[&'static str]) -> Chained {
        Chained {
            message: messages[0],
            source: (messages.len() > 1).then(|| Box::new(chain(&messages[1..]))),
        }
    }

    #[test]
    fn causes_follow_and_are_not_repeated() {
        let error = chain(&["a.gguf: can't be read: no space", "no space", "disk full"]);
        assert_eq!(
            error_line(&error),
            "a.gguf: can't be read: no space: disk full"
        );
    }
}
