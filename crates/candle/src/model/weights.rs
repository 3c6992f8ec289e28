//! The weights of a checkpoint, from safetensors or GGUF, by their GGUF names.
//!
//! Tensors are read from the file and converted one by one, so that loading never holds more than
//! the weights themselves and one tensor.

pub(crate) mod mxfp4;
pub(crate) mod names;
pub(crate) mod scope;

use super::ModelError;
use super::adapter::Adapter;
use super::gguf::{BlockType, Gguf};
use super::layers::linear::Matrix;
use super::quantize::{Chooser, Kept, Quant};
use super::shards::{TensorLocation, stacked, tensor_locations};
use candle_core::quantized::{QStorage, QTensor};
use candle_core::{DType, Device, Tensor};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use names::Names;
use scope::{Layout, TensorScope, reordered};

/// The form of matrices in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    Bf16,
    F16,
    /// As in the GGUF.
    Quantized,
    /// Quantized while loading.
    AtLoad(Quant),
}

impl Precision {
    /// Name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Quantized => "quantized",
            Self::AtLoad(quant) => quant.name(),
        }
    }

    fn dense(self) -> DType {
        match self {
            Self::F32 | Self::Quantized | Self::AtLoad(_) => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// An open checkpoint.
#[derive(Debug)]
pub(crate) struct Weights {
    source: Source,
    label: String,
    names: Names,
    /// The prefix of the body's names in safetensors.
    body: &'static str,
    precision: Precision,
    device: Device,
    /// Changes to the tensors of safetensors, by their stored names.
    adapter: Option<Adapter>,
    /// Tensors that were read, with their element counts. Every tensor of a checkpoint must be
    /// used.
    used: Mutex<BTreeMap<String, u64>>,
    /// The number of matrices by form, if they are quantized at load.
    kept: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug)]
enum Source {
    Safetensors(BTreeMap<String, TensorLocation>),
    Gguf(Gguf),
}

/// A file on disk, or one inside the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightSource {
    File(PathBuf),
    Embedded {
        name: &'static str,
        bytes: &'static [u8],
    },
}

impl Weights {
    /// Opens safetensors files (all shards of one checkpoint) of the family with these names.
    ///
    /// # Errors
    /// If a file is truncated, its header is damaged, or two shards contain the same tensor.
    pub(crate) fn safetensors(
        files: &[WeightSource],
        names: Names,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let mut locations = BTreeMap::new();
        for file in files {
            for (name, location) in tensor_locations(file)? {
                if let Some(other) = locations.insert(name.clone(), location) {
                    return Err(ModelError::BadFile {
                        path: file.path(),
                        what: format!(
                            "tensor \"{name}\" is also in {}",
                            other.file.path().display()
                        ),
                    });
                }
            }
        }
        let label = files
            .first()
            .map(|f| f.path().display().to_string())
            .unwrap_or_default();
        Ok(Self::new(
            Source::Safetensors(locations),
            label,
            names,
            precision,
            device,
        ))
    }

    /// Uses the tensors of an open GGUF file, under a family's names.
    pub(crate) fn gguf(gguf: Gguf, names: Names, precision: Precision, device: &Device) -> Self {
        let label = gguf.path().display().to_string();
        Self::new(Source::Gguf(gguf), label, names, precision, device)
    }

    fn new(
        source: Source,
        label: String,
        names: Names,
        precision: Precision,
        device: &Device,
    ) -> Self {
        let (used, kept) = (Mutex::default(), Mutex::default());
        let body = match &source {
            Source::Safetensors(locations) => {
                let has = |body: &&&str| {
                    names
                        .in_safetensors("token_embd.weight", body)
                        .is_some_and(|name| locations.contains_key(&name))
                };
                names
                    .bodies
                    .iter()
                    .find(has)
                    .or(names.bodies.first())
                    .copied()
                    .unwrap_or_default()
            }
            Source::Gguf(_) => "",
        };
        Self {
            source,
            label,
            names,
            body,
            precision,
            device: device.clone(),
            adapter: None,
            used,
            kept,
        }
    }

    /// Merges an adapter into all tensors that are read from now on.
    ///
    /// # Errors
    /// If it changes a tensor that doesn't exist, or the weights are GGUF.
    pub(crate) fn with_adapter(mut self, mut adapter: Adapter) -> Result<Self, ModelError> {
        match &self.source {
            Source::Safetensors(locations) => adapter.bind(locations.keys().map(String::as_str))?,
            Source::Gguf(_) => return Err(adapter.not_for_gguf(&self.label)),
        }
        self.adapter = Some(adapter);
        Ok(self)
    }

    /// The root of the names.
    pub(crate) fn root(&self) -> TensorScope<'_> {
        TensorScope::root(self)
    }

    /// The device of the weights.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// True if the weights are from a GGUF file, whose layout differs in some tensors.
    pub(crate) fn is_gguf(&self) -> bool {
        matches!(self.source, Source::Gguf(_))
    }

    /// Checks that every tensor was used, except those whose names contain one of `ignorable`, and
    /// counts the parameters of the used ones.
    ///
    /// # Errors
    /// Names the first unused tensor: without it, byrote would score another model.
    pub(crate) fn finish(&self, ignorable: &[&str]) -> Result<u64, ModelError> {
        let used = self
            .used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let all: BTreeSet<&str> = match &self.source {
            Source::Safetensors(locations) => locations.keys().map(String::as_str).collect(),
            Source::Gguf(gguf) => gguf.tensors.keys().map(String::as_str).collect(),
        };
        let unused = all
            .into_iter()
            .find(|name| !used.contains_key(*name) && !ignorable.iter().any(|i| name.contains(i)));
        match unused {
            Some(name) => Err(ModelError::Config {
                file: self.label.clone(),
                what: format!(
                    "tensor \"{name}\" isn't used by this architecture in byrote; without it, byrote would score another model \
                     would be scored"
                ),
            }),
            None => {
                self.adapter.as_ref().map_or(Ok(()), Adapter::finish)?;
                Ok(used.values().sum())
            }
        }
    }

    /// Describes how many matrices have which type, once all are loaded; `None` if they aren't
    /// quantized at load.
    ///
    /// # Errors
    /// If no matrix could be quantized as requested.
    pub(crate) fn mixture(&self) -> Result<Option<String>, ModelError> {
        let Precision::AtLoad(quant) = self.precision else {
            return Ok(None);
        };
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.chooser(quant).describe(&kept, &self.label).map(Some)
    }

    fn chooser(&self, quant: Quant) -> Chooser {
        let has_output = self.stored_name("output.weight").is_some();
        let number = |name: &str| name.split('.').find_map(|part| part.parse::<usize>().ok());
        let last = match &self.source {
            Source::Safetensors(locations) => {
                locations.keys().filter_map(|name| number(name)).max()
            }
            Source::Gguf(gguf) => gguf.tensors.keys().filter_map(|name| number(name)).max(),
        };
        Chooser {
            quant,
            has_output,
            layers: last.map_or(0, |last| last + 1),
        }
    }

    /// The name of a tensor in the file; `None` if the format has no such tensor.
    fn file_name(&self, name: &str) -> Option<String> {
        match &self.source {
            Source::Safetensors(_) => self.names.in_safetensors(name, self.body),
            Source::Gguf(_) => Some(self.names.in_gguf(name)),
        }
    }

    /// The name of a tensor in the file, if the file contains it.
    fn stored_name(&self, name: &str) -> Option<String> {
        let stored = self.file_name(name)?;
        let there = match &self.source {
            Source::Safetensors(locations) => {
                locations.contains_key(&stored) || self.hub_mxfp4(&stored).is_some()
            }
            Source::Gguf(gguf) => gguf.tensors.contains_key(&stored),
        };
        there.then_some(stored)
    }

    fn missing(&self, name: &str) -> ModelError {
        let name = self.file_name(name).unwrap_or_else(|| name.to_owned());
        ModelError::MissingTensor {
            name,
            file: self.label.clone(),
        }
    }

    /// A tensor as stored; with an `expert_index`, only that entry of its first dimension.
    fn read(&self, name: &str, expert_index: Option<usize>) -> Result<Stored, ModelError> {
        let stored = self.stored_name(name).ok_or_else(|| self.missing(name))?;
        if let Some(locations) = self.hub_mxfp4(&stored) {
            return self.read_hub_mxfp4(&stored, locations, expert_index);
        }
        let elements: usize;
        let tensor = match &self.source {
            Source::Safetensors(locations) => {
                let location = locations.get(&stored).ok_or_else(|| self.missing(name))?;
                elements = location.shape.iter().product();
                let Part {
                    offset,
                    bytes,
                    shape,
                } = Part::locate(location.bytes, &location.shape, expert_index)
                    .ok_or_else(|| self.bad_expert_index(&stored, &location.shape, expert_index))?;
                let part = TensorLocation {
                    offset: location.offset + offset,
                    bytes,
                    shape,
                    ..location.clone()
                };
                let tensor = part.tensor(&stored, &self.device)?;
                Stored::Dense(match &self.adapter {
                    Some(adapter) => adapter.merged(&stored, tensor)?,
                    None => tensor,
                })
            }
            Source::Gguf(gguf) => {
                let entry = gguf
                    .tensors
                    .get(&stored)
                    .ok_or_else(|| self.missing(name))?;
                elements = entry.shape.iter().product();
                let Part {
                    offset,
                    bytes,
                    shape,
                } = Part::locate(entry.bytes(), &entry.shape, expert_index)
                    .ok_or_else(|| self.bad_expert_index(&stored, &entry.shape, expert_index))?;
                let bytes = gguf.read(&stored, offset, bytes)?;
                Stored::Quantized(match entry.dtype {
                    BlockType::Mxfp4 => mxfp4::of_ggml(&bytes, shape, &self.device)?,
                    BlockType::Candle(dtype) => QTensor::new(
                        QStorage::from_data(Cow::Owned(bytes), &self.device, dtype)?,
                        shape,
                    )?,
                })
            }
        };
        self.used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(stored, elements as u64);
        Ok(tensor)
    }

    /// An error about this checkpoint.
    pub(crate) fn error(&self, what: impl Into<String>) -> ModelError {
        ModelError::Config {
            file: self.label.clone(),
            what: what.into(),
        }
    }

    fn bad_expert_index(
        &self,
        stored: &str,
        shape: &[usize],
        expert_index: Option<usize>,
    ) -> ModelError {
        self.error(format!(
            "tensor \"{stored}\" of shape {shape:?} has no entry {}",
            expert_index.unwrap_or_default()
        ))
    }

    /// Stacks matrices `[rows, width]` and converts them as they are read; `None` if they need more
    /// than that.
    fn read_stacked(
        &self,
        modules: &[(String, usize)],
        width: usize,
    ) -> Result<Option<Tensor>, ModelError> {
        let (Source::Safetensors(locations), None) = (&self.source, &self.adapter) else {
            return Ok(None);
        };
        let stored: Vec<String> = modules
            .iter()
            .filter_map(|(name, _)| self.stored_name(name))
            .collect();
        let parts: Vec<&TensorLocation> = stored
            .iter()
            .filter_map(|name| locations.get(name))
            .collect();
        if parts.len() < modules.len() || !parts.iter().all(|location| location.is_plain()) {
            return Ok(None);
        }
        for (location, (name, rows)) in parts.iter().zip(modules) {
            self.check(name, &location.shape, &[*rows, width])?;
        }
        let rows = modules.iter().map(|(_, rows)| rows).sum();
        let tensor = stacked(&parts, self.precision.dense(), &[rows, width], &self.device)?;
        let mut used = self
            .used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        used.extend(
            stored
                .into_iter()
                .zip(&parts)
                .map(|(name, location)| (name, location.elements())),
        );
        Ok(Some(tensor))
    }

    /// A stored matrix in the form that `quant` chooses. If the file has that form already, it
    /// isn't changed.
    fn quantized(
        &self,
        quant: Quant,
        name: &str,
        stored: Stored,
        layout: Layout,
    ) -> Result<Matrix, ModelError> {
        let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
        let shape = stored.shape();
        let width = if layout.transposed {
            shape.first()
        } else {
            shape.last()
        };
        let kept = self
            .chooser(quant)
            .choose(module, width.copied().unwrap_or_default());
        *self
            .kept
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .entry(kept.name())
            .or_default() += 1;
        let dense = |stored: Stored, dtype| reordered(&stored.dense(dtype, &self.device)?, layout);
        Ok(match (kept, stored) {
            (Kept::Quantized(dtype), Stored::Quantized(q))
                if q.dtype() == dtype && layout == Layout::OUT_IN =>
            {
                Matrix::Quantized(vec![q])
            }
            (Kept::Quantized(dtype), stored) => {
                Matrix::Quantized(vec![QTensor::quantize(&dense(stored, DType::F32)?, dtype)?])
            }
            (Kept::F16, stored) => Matrix::Dense(dense(stored, DType::F16)?),
            (Kept::F32, stored) => Matrix::Dense(dense(stored, DType::F32)?),
        })
    }

    pub(super) fn check(
        &self,
        name: &str,
        found: &[usize],
        wanted: &[usize],
    ) -> Result<(), ModelError> {
        if found == wanted {
            return Ok(());
        }
        Err(ModelError::WrongShape {
            name: self.file_name(name).unwrap_or_else(|| name.to_owned()),
            file: self.label.clone(),
            found: found.to_vec(),
            wanted: wanted.to_vec(),
        })
    }
}

/// The bytes and the shape of a part of a tensor.
struct Part {
    offset: u64,
    bytes: usize,
    shape: Vec<usize>,
}

impl Part {
    fn locate(bytes: usize, shape: &[usize], expert_index: Option<usize>) -> Option<Self> {
        let Some(expert_index) = expert_index else {
            return Some(Self {
                offset: 0,
                bytes,
                shape: shape.to_vec(),
            });
        };
        let (&experts, rest) = shape.split_first()?;
        let each = bytes.checked_div(experts)?;
        (expert_index < experts).then(|| Self {
            offset: (expert_index * each) as u64,
            bytes: each,
            shape: rest.to_vec(),
        })
    }
}

#[derive(Debug)]
enum Stored {
    Dense(Tensor),
    Quantized(QTensor),
}

impl Stored {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Dense(t) => t.dims(),
            Self::Quantized(q) => q.shape().dims(),
        }
    }

    fn dense(self, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        match self {
            Self::Dense(t) => t.to_dtype(dtype),
            Self::Quantized(q) => q.dequantize(device)?.to_dtype(dtype),
        }
    }
}

/// Reads `len` bytes at `offset`.
pub(super) fn read_range(path: &Path, offset: u64, len: usize) -> Result<Vec<u8>, ModelError> {
    let mut file = File::open(path).map_err(|e| io(path, e))?;
    file.seek(SeekFrom::Start(offset))
        .map_err(|e| io(path, e))?;
    let mut bytes = vec![0u8; len];
    file.read_exact(&mut bytes).map_err(|e| io(path, e))?;
    Ok(bytes)
}

impl WeightSource {
    /// The path, or the name of the built-in file.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Embedded { name, .. } => PathBuf::from(format!("builtin:{name}")),
        }
    }

    /// Size in bytes.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn size(&self) -> Result<u64, ModelError> {
        match self {
            Self::File(path) => Ok(std::fs::metadata(path).map_err(|e| io(path, e))?.len()),
            Self::Embedded { bytes, .. } => Ok(bytes.len() as u64),
        }
    }

    /// The whole content.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn read_all(&self) -> Result<Vec<u8>, ModelError> {
        match self {
            Self::File(path) => std::fs::read(path).map_err(|e| io(path, e)),
            Self::Embedded { bytes, .. } => Ok(bytes.to_vec()),
        }
    }

    /// Passes `len` bytes from `offset` on to `take`, at most `block` at a time; `block` must be a
    /// multiple of 4.
    pub(super) fn read_blocks(
        &self,
        offset: u64,
        len: usize,
        block: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), ModelError> {
        let Self::File(path) = self else {
            take(&self.read(offset, len)?);
            return Ok(());
        };
        let mut file = File::open(path).map_err(|e| io(path, e))?;
        file.seek(SeekFrom::Start(offset))
            .map_err(|e| io(path, e))?;
        let mut bytes = vec![0u8; block.min(len)];
        let mut left = len;
        while left > 0 {
            let now = left.min(block);
            file.read_exact(&mut bytes[..now])
                .map_err(|e| io(path, e))?;
            take(&bytes[..now]);
            left -= now;
        }
        Ok(())
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, ModelError> {
        match self {
            Self::File(path) => read_range(path, offset, len),
            Self::Embedded { bytes, .. } => {
                let rest = bytes
                    .get(offset as usize..)
                    .and_then(|rest| rest.get(..len));
                rest.map(<[u8]>::to_vec)
                    .ok_or_else(|| io(&self.path(), std::io::ErrorKind::UnexpectedEof.into()))
            }
        }
    }
}

fn io(path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8]) -> Result<Weights, ModelError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        std::fs::write(&path, bytes).unwrap();
        let names = Names {
            bodies: &[],
            modules: &[],
            gguf: &[],
        };
        Weights::safetensors(
            &[WeightSource::File(path)],
            names,
            Precision::F32,
            &Device::Cpu,
        )
    }

    #[test]
    fn damaged_safetensors_are_refused_with_a_fix() {
        let header = br#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let whole = [
            &(header.len() as u64).to_le_bytes(),
            header.as_slice(),
            &[0; 8],
        ]
        .concat();
        assert!(open(&whole).is_ok());
        let giant = [&(1u64 << 60).to_le_bytes(), header.as_slice()].concat();
        for (bytes, said) in [
            (&whole[..whole.len() - 1], "truncated"),
            (&whole[..20], "truncated"),
            (&giant[..], "claims 1152921504606846976 bytes"),
            (b"oops", "can't be safetensors"),
        ] {
            let error = open(bytes).unwrap_err().to_string();
            assert!(
                error.contains(said) && error.contains("model.safetensors"),
                "{error}"
            );
        }
        let mut garbled = whole.clone();
        garbled[9] = b'!';
        assert!(open(&garbled).unwrap_err().to_string().contains("damaged"));
    }
}
