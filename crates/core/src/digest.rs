//! SHA-256 digests of files and bytes: a report identifies by them exactly what was tested.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A SHA-256 digest, written as 64 lower-case hexadecimal digits.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of `bytes`.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    /// The digest of a file, read in blocks of 1 MiB.
    ///
    /// # Errors
    /// When the file can't be opened or read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut block = vec![0u8; 1 << 20];
        loop {
            match file.read(&mut block)? {
                0 => return Ok(Self::finish(hasher)),
                n => hasher.update(&block[..n]),
            }
        }
    }

    /// Reads a digest as written in `models.toml` or a report; `None` unless it is 64 hexadecimal
    /// digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| Self(hex.to_ascii_lowercase()))
    }

    /// The 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn finish(hasher: Sha256) -> Self {
        use fmt::Write as _;
        let mut hex = String::with_capacity(64);
        for byte in hasher.finalize() {
            // Writing to a String can't fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// The SHA-256 of `bytes` in Base64 with padding (RFC 4648), the form in which content security
/// policies allow an inline style.
pub fn sha256_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in Sha256::digest(bytes).chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, &byte| bits << 8 | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}

/// A file used by a run, by name, size and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FileDigest {
    /// Name as a reader would write it: relative to the model folder, or the path from the command
    /// line.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: Digest,
    /// True if the file is exactly one item's text, so that its digest is the text's. Reports show
    /// a salted digest of such files: see [`FileDigest::salted`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_text: bool,
}

impl FileDigest {
    /// The version that reports show: if the file is one item's text, its digest becomes the
    /// SHA-256 of the salt, a zero byte and the plain digest's 64 digits, because anyone with the
    /// text could recognize the plain digest.
    #[must_use]
    pub fn salted(&self, salt: &str) -> Self {
        if !self.one_text {
            return self.clone();
        }
        let salted = [salt.as_bytes(), &[0], self.sha256.as_str().as_bytes()].concat();
        Self {
            sha256: Digest::of_bytes(&salted),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_the_empty_string_matches_the_published_value() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of_bytes(b"").as_str(), empty);
        assert_eq!(
            Digest::parse(&format!("sha256:{}", empty.to_uppercase())),
            Some(Digest::of_bytes(b""))
        );
        assert_eq!(Digest::parse("e3b0"), None);
    }

    #[test]
    fn base64_matches_openssl() {
        // printf abc | openssl dgst -sha256 -binary | base64
        assert_eq!(
            sha256_base64(b"abc"),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
        );
    }
}
