//! From a file's raw bytes to its lines or its text: decompression with a size limit, and encoding.

use super::error::FileProblem;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Maximum size of one file in bytes, on disk and decompressed.
pub(super) const LIMIT: u64 = 4 << 30;

const BOM: &[u8] = b"\xef\xbb\xbf";
/// A line that isn't JSON is kept only up to this length, so that a decompression bomb in one line
/// stays small in memory.
const HOPELESS: usize = 1 << 16;

/// The compression of a file, detected by its magic bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    fn detect(raw: &[u8]) -> Self {
        match raw {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable frame as parallel compressors write it first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    fn problem(self, error: io::Error) -> FileProblem {
        let format = match self {
            Self::Plain => return FileProblem::of_io(error),
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        };
        match error.kind() {
            io::ErrorKind::UnexpectedEof => FileProblem::Truncated { format },
            _ => FileProblem::Damaged {
                format,
                source: error,
            },
        }
    }
}

/// Reads a file's bytes as stored on disk, at most `limit` of them.
pub(super) fn raw_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FileProblem> {
    let file = File::open(path).map_err(FileProblem::of_io)?;
    let size = file.metadata().map_err(FileProblem::of_io)?.len();
    if size > limit {
        return Err(FileProblem::TooLarge { limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(FileProblem::of_io)?;
    if bytes.len() as u64 > limit {
        return Err(FileProblem::TooLarge { limit });
    }
    Ok(bytes)
}

/// The text of a whole file, without a byte order mark and with LF line endings.
pub(super) struct WholeText {
    pub(super) text: String,
    /// True if CRLF line endings were replaced.
    pub(super) had_crlf: bool,
}

/// Reads a file's raw bytes as one text.
pub(super) fn whole_text(raw: &[u8], limit: u64) -> Result<WholeText, FileProblem> {
    let packing = refuse_foreign(raw)?;
    let mut bytes = Vec::new();
    reader(raw, packing)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| packing.problem(error))?;
    if bytes.len() as u64 > limit {
        return Err(FileProblem::TooLarge { limit });
    }
    if is_utf16(&bytes) {
        return Err(FileProblem::Utf16);
    }
    // The mark counts in byte offsets of the file.
    let mark = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
    bytes.drain(..mark);
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count() as u64;
        FileProblem::NotUtf8 {
            line,
            offset: (at + mark) as u64,
            packed: packing != Packing::Plain,
        }
    })?;
    if text.trim().is_empty() {
        return Err(FileProblem::EmptyText);
    }
    // CRLF belongs to the storage, not to the text: scoring it would hide memorization.
    let had_crlf = text.contains("\r\n");
    let text = if had_crlf {
        text.replace("\r\n", "\n")
    } else {
        text
    };
    Ok(WholeText { text, had_crlf })
}

/// The lines of a file as bytes, of any length.
pub(super) struct Lines<'a> {
    reader: Box<dyn BufRead + 'a>,
    packing: Packing,
    limit: u64,
    number: u64,
    offset: u64,
}

/// The position of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    /// Offset of its first byte in the decompressed file; a byte order mark isn't part of the line.
    pub(super) offset: u64,
    /// True if a line ending follows; only the last line of a file may lack one.
    pub(super) ended: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(raw: &'a [u8], limit: u64) -> Result<Self, FileProblem> {
        let packing = refuse_foreign(raw)?;
        Ok(Self {
            reader: reader(raw, packing)?,
            packing,
            limit,
            number: 0,
            offset: 0,
        })
    }

    /// Reads the next line into `line`, without its line feed; `None` at the end.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> Result<Option<Line>, FileProblem> {
        line.clear();
        let mut offset = self.offset;
        let mut ended = false;
        while !ended {
            let block = self
                .reader
                .fill_buf()
                .map_err(|error| self.packing.problem(error))?;
            if block.is_empty() {
                break;
            }
            let (text, used) = match block.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    ended = true;
                    (&block[..end], end + 1)
                }
                None => (block, block.len()),
            };
            if !is_hopeless(line) {
                line.extend_from_slice(text);
            }
            self.reader.consume(used);
            self.offset += used as u64;
            if self.offset > self.limit {
                return Err(FileProblem::TooLarge { limit: self.limit });
            }
        }
        if self.offset == offset {
            return Ok(None);
        }
        self.number += 1;
        if self.number == 1 {
            if is_utf16(line) {
                return Err(FileProblem::Utf16);
            }
            if line.starts_with(BOM) {
                line.drain(..BOM.len());
                offset += BOM.len() as u64;
            }
        }
        Ok(Some(Line {
            number: self.number,
            offset,
            ended,
        }))
    }
}

fn reader<'a>(raw: &'a [u8], packing: Packing) -> Result<Box<dyn BufRead + 'a>, FileProblem> {
    Ok(match packing {
        Packing::Plain => Box::new(raw),
        Packing::Gzip => Box::new(BufReader::with_capacity(
            1 << 16,
            flate2::bufread::MultiGzDecoder::new(raw),
        )),
        Packing::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(raw)
                .map_err(|error| packing.problem(error))?;
            Box::new(BufReader::with_capacity(1 << 16, decoder))
        }
    })
}

/// Refuses formats that users mistake for text with a clearer message than "not UTF-8".
fn refuse_foreign(raw: &[u8]) -> Result<Packing, FileProblem> {
    let what = match raw {
        [b'P', b'K', 3, 4, ..] => "a zip archive (or a document packed in one)",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "xz data",
        [b'B', b'Z', b'h', _, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => "bzip2 data",
        [b'P', b'A', b'R', b'1', ..] if raw.ends_with(b"PAR1") => "a Parquet file",
        [b'%', b'P', b'D', b'F', b'-', ..] => "a PDF document",
        _ => return Ok(Packing::detect(raw)),
    };
    Err(FileProblem::Foreign(what.to_owned()))
}

fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

fn is_hopeless(line: &[u8]) -> bool {
    let start = line.strip_prefix(BOM).unwrap_or(line);
    line.len() > HOPELESS
        && start
            .iter()
            .find(|byte| !byte.is_ascii_whitespace())
            .is_some_and(|&byte| byte != b'{')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn lines(raw: &[u8], limit: u64) -> Result<Vec<(Line, Vec<u8>)>, FileProblem> {
        let mut lines = Lines::new(raw, limit)?;
        let mut line = Vec::new();
        let mut all = Vec::new();
        while let Some(position) = lines.next(&mut line)? {
            all.push((position, line.clone()));
        }
        Ok(all)
    }

    #[test]
    fn lines_have_number_offset_and_ending() {
        let found = lines(b"\xef\xbb\xbfab\r\n\nc", LIMIT).unwrap();
        let position = |number, offset, ended| Line {
            number,
            offset,
            ended,
        };
        let expected = [
            (position(1, 3, true), b"ab\r".to_vec()),
            (position(2, 7, true), vec![]),
            (position(3, 8, false), b"c".to_vec()),
        ];
        assert_eq!(found, expected);
        assert!(lines(b"", LIMIT).unwrap().is_empty());
    }

    #[test]
    fn all_compressions_and_multiple_members_give_the_same_lines() {
        let plain = b"one\ntwo\nthree\n";
        let expected = lines(plain, LIMIT).unwrap();
        let members = [gzip(b"one\ntw"), gzip(b"o\nthree\n")].concat();
        let frames = [
            zstd::encode_all(&b"one\ntw"[..], 3).unwrap(),
            zstd::encode_all(&b"o\nthree\n"[..], 3).unwrap(),
        ];
        let skippable = [&b"\x50\x2a\x4d\x18\x02\0\0\0xx"[..], &frames.concat()].concat();
        for raw in [members, frames.concat(), skippable] {
            assert_eq!(lines(&raw, LIMIT).unwrap(), expected);
        }
    }

    #[test]
    fn compressed_data_truncated_anywhere_is_an_error() {
        let text: Vec<u8> = (0..4000u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_string().into_bytes())
            .collect();
        for whole in [gzip(&text), zstd::encode_all(&text[..], 3).unwrap()] {
            assert!(lines(&whole, LIMIT).is_ok());
            for cut in (4..40)
                .chain((40..whole.len()).step_by(997))
                .chain(whole.len() - 9..whole.len())
            {
                let problem = lines(&whole[..cut], LIMIT).unwrap_err();
                assert!(
                    matches!(problem, FileProblem::Truncated { .. }),
                    "cut at {cut}: {problem}"
                );
                let problem = whole_text(&whole[..cut], LIMIT).err().unwrap();
                assert!(
                    matches!(problem, FileProblem::Truncated { .. }),
                    "cut at {cut}: {problem}"
                );
            }
        }
    }

    #[test]
    fn decompression_bombs_stop_at_the_limit() {
        let zeros = vec![0u8; 8 << 20];
        for raw in [
            gzip(&zeros),
            zstd::encode_all(&zeros[..], 3).unwrap(),
            zeros,
        ] {
            for limit in [1 << 10, (8 << 20) - 1] {
                assert!(matches!(
                    lines(&raw, limit),
                    Err(FileProblem::TooLarge { .. })
                ));
                assert!(matches!(
                    whole_text(&raw, limit),
                    Err(FileProblem::TooLarge { .. })
                ));
            }
            assert!(lines(&raw, 8 << 20).is_ok());
        }
    }

    #[test]
    fn compressed_lines_that_are_not_json_are_not_kept_completely() {
        let found = lines(&gzip(&vec![0u8; 8 << 20]), LIMIT).unwrap();
        assert!(
            found[0].1.len() < 1 << 18,
            "{} bytes kept",
            found[0].1.len()
        );
        let long = [&b"  {"[..], &vec![b'x'; 1 << 20]].concat();
        assert_eq!(lines(&gzip(&long), LIMIT).unwrap()[0].1, long);
    }

    #[test]
    fn whole_texts_lose_only_the_byte_order_mark_and_crlf() {
        let read = whole_text(b"\xef\xbb\xbfa\0\x07\r\nb\rc\n", LIMIT).unwrap();
        assert_eq!(
            (read.text.as_str(), read.had_crlf),
            ("a\0\x07\nb\rc\n", true)
        );
        assert!(!whole_text(b"a\n", LIMIT).unwrap().had_crlf);
    }

    #[test]
    fn files_that_are_not_text_are_identified() {
        let cases: [(&[u8], &str); 10] = [
            (
                b"PK\x03\x04rest",
                "a zip archive (or a document packed in one), which byrote doesn't read",
            ),
            (b"\xfd7zXZ\0rest", "xz data, which byrote doesn't read"),
            (b"BZh91AY&SYrest", "bzip2 data, which byrote doesn't read"),
            (b"PAR1....PAR1", "a Parquet file, which byrote doesn't read"),
            (b"%PDF-1.7", "a PDF document, which byrote doesn't read"),
            (b"\xff\xfea\0b\0", "encoded as UTF-16"),
            (
                b"one\ntw\xffo",
                "line 2 is not UTF-8, at byte 6 of the file",
            ),
            (
                b"\xef\xbb\xbfone\ntw\xffo",
                "line 2 is not UTF-8, at byte 9 of the file",
            ),
            (b" \r\n\t", "the text is empty"),
            (b"", "the text is empty"),
        ];
        for (raw, message) in cases {
            assert_eq!(whole_text(raw, LIMIT).err().unwrap().to_string(), message);
        }
        let packed = whole_text(&gzip(b"\xef\xbb\xbf\xff"), LIMIT)
            .err()
            .unwrap()
            .to_string();
        assert_eq!(
            packed,
            "line 1 is not UTF-8, at byte 3 of the decompressed file"
        );
    }
}
