//! Percent-encoding (RFC 3986, section 2.1).

use std::fmt::Write as _;

/// Text as a part of an address. Unreserved characters and slashes stay as they are.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_except_for_slashes() {
        assert_eq!(
            percent_encoded("q4/file name #1.gguf"),
            "q4/file%20name%20%231.gguf"
        );
        assert_eq!(percent_encoded("v1.0+beta_~ü"), "v1.0%2Bbeta_~%C3%BC");
    }
}
