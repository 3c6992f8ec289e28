//! Reads GGUF: metadata and the tensor table. Every length is checked against the size of the file
//! before it is used.
//!
//! The layout follows the GGUF specification, versions 2 and 3 (little endian). Tensor data remain
//! in the file until they are requested.

pub mod split;

use super::ModelError;
use super::weights::mxfp4;
use candle_core::quantized::GgmlDType;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Bools(Vec<bool>),
    Texts(Vec<String>),
}

/// The type of a tensor's blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BlockType {
    /// One of Candle's types.
    Candle(GgmlDType),
    /// Candle doesn't support it; `mxfp4` reads it.
    Mxfp4,
}

impl BlockType {
    /// Number of elements per block, and number of bytes.
    fn block(self) -> (usize, usize) {
        match self {
            Self::Candle(dtype) => (dtype.block_size(), dtype.type_size()),
            Self::Mxfp4 => (mxfp4::ELEMENTS, mxfp4::BYTES),
        }
    }
}

impl std::fmt::Debug for BlockType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Candle(dtype) => dtype.fmt(f),
            Self::Mxfp4 => f.write_str("MXFP4"),
        }
    }
}

/// Position and type of a tensor.
#[derive(Clone, Debug)]
pub struct TensorEntry {
    pub dtype: BlockType,
    /// Outermost dimension first, as in Candle (GGUF stores the reverse).
    pub shape: Vec<usize>,
    offset: u64,
    bytes: usize,
    /// Index of the file that contains it.
    part: usize,
}

impl TensorEntry {
    /// Size in the file.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// An open GGUF file, or all parts of a split one.
#[derive(Debug)]
pub struct Gguf {
    /// One path per part.
    parts: Vec<PathBuf>,
    pub metadata: BTreeMap<String, Value>,
    pub tensors: BTreeMap<String, TensorEntry>,
}

/// Reads little-endian values and rejects any length that exceeds the rest of the file.
struct Reader<'a> {
    path: &'a Path,
    inner: BufReader<&'a File>,
    left: u64,
}

impl Gguf {
    /// Reads the metadata and the tensor table. For a split file, given by any of its parts, reads
    /// those of all parts.
    ///
    /// # Errors
    /// If a file isn't GGUF, has another version, is truncated or claims false lengths, or if a
    /// part is missing.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let one = Self::open_one(path)?;
        if one.int("split.count").unwrap_or(1) <= 1 {
            Ok(one)
        } else {
            split::join(path, one)
        }
    }

    fn open_one(path: &Path) -> Result<Self, ModelError> {
        let io = |source| ModelError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut r = Reader {
            path,
            inner: BufReader::with_capacity(1 << 20, &file),
            left: size,
        };
        if r.take::<4>()? != *b"GGUF" {
            return Err(r.bad("it doesn't begin with \"GGUF\": not a GGUF file; fetch it again"));
        }
        let version = r.u32()?;
        if !(2..=3).contains(&version) {
            return Err(r.bad(format!(
                "GGUF version {version}; byrote reads 2 and 3, little endian"
            )));
        }
        let (tensor_count, entry_count) = (r.u64()?, r.u64()?);
        // A row of the tensor table takes at least 24 bytes, a metadata entry at least 13.
        if tensor_count
            .saturating_mul(24)
            .saturating_add(entry_count.saturating_mul(13))
            > r.left
        {
            return Err(r.bad(format!(
                "its header claims {tensor_count} tensors and {entry_count} metadata entries, more than the file can contain: \
                 it is damaged or truncated; fetch it again"
            )));
        }
        let mut metadata = BTreeMap::new();
        for _ in 0..entry_count {
            let key = r.text()?;
            let kind = r.u32()?;
            let value = r.value(kind)?;
            metadata.insert(key, value);
        }
        let mut tensors = BTreeMap::new();
        for _ in 0..tensor_count {
            let name = r.text()?;
            let entry = r.tensor_entry(&name)?;
            tensors.insert(name, entry);
        }
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Int(a)) if (1..=1 << 20).contains(a) => a.unsigned_abs(),
            Some(_) => return Err(r.bad("general.alignment is invalid")),
            None => 32,
        };
        let data = r
            .inner
            .stream_position()
            .map_err(io)?
            .next_multiple_of(alignment);
        for (name, entry) in &mut tensors {
            let start = data.checked_add(entry.offset);
            let end = start.and_then(|s| s.checked_add(entry.bytes as u64));
            match (start, end) {
                (Some(start), Some(end)) if end <= size => entry.offset = start,
                _ => {
                    return Err(r.bad(format!(
                        "tensor \"{name}\" ends beyond the file's {size} bytes: it is truncated; fetch it again"
                    )));
                }
            }
        }
        Ok(Self {
            parts: vec![path.to_owned()],
            metadata,
            tensors,
        })
    }

    /// The path of the file; of the first part if the file is split.
    pub fn path(&self) -> &Path {
        self.parts.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// Raw blocks of a tensor: `len` bytes from `offset`.
    ///
    /// # Errors
    /// If there is no such tensor, or it can't be read.
    pub fn read(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, ModelError> {
        let entry = self
            .tensors
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor {
                name: name.to_owned(),
                file: self.path().display().to_string(),
            })?;
        let file = self
            .parts
            .get(entry.part)
            .map_or(Path::new(""), PathBuf::as_path);
        super::weights::read_range(file, entry.offset + offset, len)
    }

    /// A small f32 tensor, if the file has it.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, ModelError> {
        let Some(entry) = self
            .tensors
            .get(name)
            .filter(|entry| entry.dtype == BlockType::Candle(GgmlDType::F32))
        else {
            return Ok(None);
        };
        let bytes = self.read(name, 0, entry.bytes)?;
        Ok(Some(
            bytes
                .chunks_exact(4)
                .map(|c| f32::from_le_bytes(array(c)))
                .collect(),
        ))
    }

    /// A string from the metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A non-negative integer from the metadata.
    pub fn int(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key) {
            Some(Value::Int(n)) => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    /// A number from the metadata.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.metadata.get(key) {
            Some(Value::Float(x)) => Some(*x),
            Some(Value::Int(n)) => Some(*n as f64),
            _ => None,
        }
    }

    /// A boolean from the metadata.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key) {
            Some(Value::Bool(b)) => Some(*b),
            _ => None,
        }
    }
}

impl Reader<'_> {
    fn bad(&self, what: impl std::fmt::Display) -> ModelError {
        ModelError::BadFile {
            path: self.path.to_owned(),
            what: what.to_string(),
        }
    }

    fn bytes(&mut self, n: u64) -> Result<Vec<u8>, ModelError> {
        if n > self.left {
            return Err(self.bad(format!(
                "it claims a field of {n} bytes, but only {} remain: it is damaged or truncated; fetch it again",
                self.left
            )));
        }
        let mut bytes = vec![0u8; n as usize];
        self.inner
            .read_exact(&mut bytes)
            .map_err(|source| ModelError::Io {
                path: self.path.to_owned(),
                source,
            })?;
        self.left -= n;
        Ok(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes(N as u64)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, ModelError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, ModelError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn text(&mut self) -> Result<String, ModelError> {
        let n = self.u64()?;
        let bytes = self.bytes(n)?;
        // Some vocabularies have pieces that are not UTF-8. They are converted lossily, so that the
        // run doesn't fail.
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    fn value(&mut self, kind: u32) -> Result<Value, ModelError> {
        Ok(match kind {
            0 => Value::Int(self.take::<1>()?[0].into()),
            1 => Value::Int(i8::from_le_bytes(self.take()?).into()),
            2 => Value::Int(u16::from_le_bytes(self.take()?).into()),
            3 => Value::Int(i16::from_le_bytes(self.take()?).into()),
            4 => Value::Int(self.u32()?.into()),
            5 => Value::Int(i32::from_le_bytes(self.take()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.take()?).into()),
            7 => Value::Bool(self.take::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            9 => self.array()?,
            10 => Value::Int(i64::try_from(self.u64()?).unwrap_or(i64::MAX)),
            11 => Value::Int(i64::from_le_bytes(self.take()?)),
            12 => Value::Float(f64::from_le_bytes(self.take()?)),
            other => {
                return Err(self.bad(format!(
                    "metadata type {other} is unknown: it is damaged or too new"
                )));
            }
        })
    }

    fn array(&mut self) -> Result<Value, ModelError> {
        let kind = self.u32()?;
        let n = self.u64()?;
        let least: u64 = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            other => return Err(self.bad(format!("an array of type {other} is not supported"))),
        };
        if n.saturating_mul(least) > self.left {
            return Err(self.bad(format!(
                "it claims an array of {n} entries, but only {} bytes remain: it is damaged or truncated; fetch it again",
                self.left
            )));
        }
        let n = n as usize;
        if kind == 8 {
            return (0..n)
                .map(|_| self.text())
                .collect::<Result<_, _>>()
                .map(Value::Texts);
        }
        // One read for the whole array: vocabularies have hundreds of thousands of entries.
        let bytes = self.bytes(n as u64 * least)?;
        let chunks = bytes.chunks_exact(least as usize);
        Ok(match kind {
            7 => Value::Bools(bytes.iter().map(|b| *b != 0).collect()),
            6 => Value::Floats(chunks.map(|c| f32::from_le_bytes(array(c))).collect()),
            12 => Value::Floats(
                chunks
                    .map(|c| f64::from_le_bytes(array(c)) as f32)
                    .collect(),
            ),
            0 => Value::Ints(bytes.iter().map(|b| i64::from(*b)).collect()),
            1 => Value::Ints(bytes.iter().map(|b| i64::from(*b as i8)).collect()),
            2 => Value::Ints(
                chunks
                    .map(|c| u16::from_le_bytes(array(c)).into())
                    .collect(),
            ),
            3 => Value::Ints(
                chunks
                    .map(|c| i16::from_le_bytes(array(c)).into())
                    .collect(),
            ),
            4 => Value::Ints(
                chunks
                    .map(|c| u32::from_le_bytes(array(c)).into())
                    .collect(),
            ),
            5 => Value::Ints(
                chunks
                    .map(|c| i32::from_le_bytes(array(c)).into())
                    .collect(),
            ),
            10 => Value::Ints(
                chunks
                    .map(|c| i64::try_from(u64::from_le_bytes(array(c))).unwrap_or(i64::MAX))
                    .collect(),
            ),
            _ => Value::Ints(chunks.map(|c| i64::from_le_bytes(array(c))).collect()),
        })
    }

    fn tensor_entry(&mut self, name: &str) -> Result<TensorEntry, ModelError> {
        let rank = self.u32()?;
        if rank > 4 {
            return Err(self.bad(format!(
                "tensor \"{name}\" has {rank} dimensions; GGUF allows 4"
            )));
        }
        let mut shape = Vec::with_capacity(rank as usize);
        for _ in 0..rank {
            let dim = self.u64()?;
            shape.push(
                usize::try_from(dim)
                    .map_err(|_| self.bad(format!("tensor \"{name}\" is too large")))?,
            );
        }
        shape.reverse();
        let code = self.u32()?;
        let dtype = ggml_dtype(code).ok_or_else(|| {
            self.bad(format!(
                "tensor \"{name}\" has type {}, which byrote can't read; it supports F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K \
                 and MXFP4: fetch the model in one of these, or convert it with \
                 `llama-quantize --allow-requantize IN.gguf OUT.gguf Q8_0`",
                type_name(code)
            ))
        })?;
        let offset = self.u64()?;
        let elements = shape
            .iter()
            .try_fold(1usize, |n, d| n.checked_mul(*d))
            .filter(|n| *n > 0);
        let row = shape.last().copied().unwrap_or(1);
        let (block, size) = dtype.block();
        let bytes = elements
            .filter(|_| row % block == 0)
            .and_then(|n| (n / block).checked_mul(size))
            .ok_or_else(|| {
                self.bad(format!(
                    "tensor \"{name}\" of shape {shape:?} doesn't fit its type {dtype:?}"
                ))
            })?;
        Ok(TensorEntry {
            dtype,
            shape,
            offset,
            bytes,
            part: 0,
        })
    }
}

/// `chunks_exact(N)` yields slices of exactly N bytes.
fn array<const N: usize>(chunk: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(chunk);
    out
}

/// The numbers in ggml.h of the types that byrote reads.
fn ggml_dtype(code: u32) -> Option<BlockType> {
    Some(BlockType::Candle(match code {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        9 => GgmlDType::Q8_1,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        15 => GgmlDType::Q8K,
        30 => GgmlDType::BF16,
        39 => return Some(BlockType::Mxfp4),
        _ => return None,
    }))
}

/// The names in ggml.h of types that byrote can't read.
fn type_name(code: u32) -> String {
    let name = match code {
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24..=27 => "of integers",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        40 => "NVFP4",
        _ => return format!("{code}"),
    };
    format!("{name} ({code})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8]) -> Result<Gguf, ModelError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Gguf::open(file.path())
    }

    fn header(version: u32, tensors: u64, entries: u64) -> Vec<u8> {
        [
            b"GGUF".as_slice(),
            &version.to_le_bytes(),
            &tensors.to_le_bytes(),
            &entries.to_le_bytes(),
        ]
        .concat()
    }

    fn text(s: &str) -> Vec<u8> {
        [&(s.len() as u64).to_le_bytes(), s.as_bytes()].concat()
    }

    #[test]
    fn reads_metadata_and_tensors() {
        let mut file = header(3, 1, 1);
        file.extend(
            [
                text("general.architecture"),
                8u32.to_le_bytes().to_vec(),
                text("llama"),
            ]
            .concat(),
        );
        file.extend([text("x"), 2u32.to_le_bytes().to_vec()].concat());
        file.extend([3u64.to_le_bytes(), 2u64.to_le_bytes()].concat());
        file.extend([0u32.to_le_bytes().as_slice(), &0u64.to_le_bytes()].concat());
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend((0..6u8).flat_map(|i| f32::from(i).to_le_bytes()));
        let kept = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(kept.path(), &file).unwrap();
        let gguf = Gguf::open(kept.path()).unwrap();
        assert_eq!(gguf.text("general.architecture"), Some("llama"));
        assert_eq!(gguf.tensors["x"].shape, [2, 3]);
        assert_eq!(gguf.read("x", 4, 4).unwrap(), 1f32.to_le_bytes());
        assert_eq!(
            gguf.floats("x").unwrap().unwrap(),
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        );
        file.pop();
        assert!(open(&file).unwrap_err().to_string().contains("truncated"));
    }

    #[test]
    fn an_unreadable_type_is_named_with_a_fix() {
        for (code, named) in [(23u32, "IQ4_XS (23)"), (35, "TQ2_0 (35)"), (99, "99")] {
            let dims = [1u32.to_le_bytes().to_vec(), 256u64.to_le_bytes().to_vec()].concat();
            let rest = [code.to_le_bytes().to_vec(), 0u64.to_le_bytes().to_vec()].concat();
            let error = open(&[header(3, 1, 0), text("blk.0.ffn_up.weight"), dims, rest].concat())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(&format!("\"blk.0.ffn_up.weight\" has type {named},")),
                "{error}"
            );
            assert!(
                error.contains("llama-quantize --allow-requantize"),
                "{error}"
            );
        }
    }

    #[test]
    fn hostile_headers_are_refused_without_large_allocations() {
        let long_key = [
            header(3, 0, 1),
            (1u64 << 60).to_le_bytes().to_vec(),
            vec![0; 64],
        ]
        .concat();
        let long_array = [
            header(3, 0, 1),
            text("k"),
            9u32.to_le_bytes().to_vec(),
            4u32.to_le_bytes().to_vec(),
            (1u64 << 62).to_le_bytes().to_vec(),
        ]
        .concat();
        for (file, said) in [
            (b"".to_vec(), "truncated"),
            (
                b"PK\x03\x04 and more bytes to read".to_vec(),
                "not a GGUF file",
            ),
            (header(7, 0, 0), "version 7"),
            (header(3, 1 << 60, 0), "more than the file can contain"),
            (header(3, 0, u64::MAX), "more than the file can contain"),
            (long_key, "claims a field of"),
            (long_array, "claims an array"),
        ] {
            let error = open(&file).unwrap_err().to_string();
            assert!(error.contains(said), "{error:?} should say {said:?}");
        }
    }
}
