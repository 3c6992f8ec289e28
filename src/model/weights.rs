//! The weights of a checkpoint by the names that Hugging Face checkpoints use, from safetensors or GGUF.
//!
//! Tensors are read from the file one by one and converted as they come, so that loading never holds
//! more than the weights themselves and one tensor.

use super::ModelError;
use super::gguf::Gguf;
use super::layers::linear::{Linear, Matrix};
use super::layers::norm::Norm;
use super::quantize::{Chooser, Kept, Quant, module_of};
use candle_core::quantized::{QStorage, QTensor};
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// In what form matrices are kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    Bf16,
    F16,
    /// As the GGUF has them.
    Quantized,
    /// Quantized while they are loaded.
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

/// A family's names: module by module, Hugging Face's first and then GGUF's; `{}` is a layer's number.
pub type Names = &'static [(&'static str, &'static str)];

/// An open checkpoint.
#[derive(Debug)]
pub struct Weights {
    source: Source,
    label: String,
    names: Names,
    precision: Precision,
    device: Device,
    /// Tensors that were read, with their element counts: nothing in a checkpoint may go unused unnoticed.
    used: Mutex<BTreeMap<String, u64>>,
    /// Matrices by the form in which they are kept, where they are quantized at load.
    kept: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug)]
enum Source {
    Safetensors(BTreeMap<String, Slot>),
    Gguf(Gguf),
}

/// A file on disk, or one inside the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    File(PathBuf),
    Embedded { name: &'static str, bytes: &'static [u8] },
}

/// Where a safetensors tensor lies.
#[derive(Debug)]
struct Slot {
    file: Place,
    dtype: Dtype,
    shape: Vec<usize>,
    offset: u64,
    bytes: usize,
}

/// A place in the tree of names.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    weights: &'a Weights,
    prefix: String,
}

/// How a stored matrix relates to `[out, in]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    OutIn,
    /// Stored `[in, out]`, as GPT-2's safetensors are.
    InOut,
    /// Rows ordered head by head, each with its query, key and value, for this many heads (GPT-NeoX).
    Interleaved {
        heads: usize,
    },
}

impl Weights {
    /// Opens safetensors files (all shards of one checkpoint) of the family with these names.
    ///
    /// # Errors
    /// When a file is truncated, its header is damaged, or two shards hold the same tensor.
    pub fn safetensors(
        files: &[Place],
        names: Names,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let mut slots = BTreeMap::new();
        for file in files {
            for (name, slot) in slots_of(file)? {
                if let Some(other) = slots.insert(name.clone(), slot) {
                    return Err(ModelError::BadFile {
                        path: file.path(),
                        what: format!("tensor \"{name}\" stands in {} too", other.file.path().display()),
                    });
                }
            }
        }
        let label = files.first().map(|f| f.path().display().to_string()).unwrap_or_default();
        Ok(Self::new(Source::Safetensors(slots), label, names, precision, device))
    }

    /// Takes the tensors of an open GGUF file by a family's names.
    pub fn gguf(gguf: Gguf, names: Names, precision: Precision, device: &Device) -> Self {
        let label = gguf.path().display().to_string();
        Self::new(Source::Gguf(gguf), label, names, precision, device)
    }

    fn new(source: Source, label: String, names: Names, precision: Precision, device: &Device) -> Self {
        let (used, kept) = (Mutex::default(), Mutex::default());
        Self { source, label, names, precision, device: device.clone(), used, kept }
    }

    /// The root of the names.
    pub fn root(&self) -> Scope<'_> {
        Scope { weights: self, prefix: String::new() }
    }

    /// Where the weights are put.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the weights come from a GGUF file, whose layout differs in places.
    pub fn is_gguf(&self) -> bool {
        matches!(self.source, Source::Gguf(_))
    }

    /// Checks that every tensor was used, but for names that contain one of `ignorable`, and counts the
    /// parameters of those that were.
    ///
    /// # Errors
    /// Names the first tensor that nothing used: scoring without it would score another model.
    pub fn finish(&self, ignorable: &[&str]) -> Result<u64, ModelError> {
        let used = self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let all: BTreeSet<&str> = match &self.source {
            Source::Safetensors(slots) => slots.keys().map(String::as_str).collect(),
            Source::Gguf(gguf) => gguf.tensors.keys().map(String::as_str).collect(),
        };
        let unused =
            all.into_iter().find(|name| !used.contains_key(*name) && !ignorable.iter().any(|i| name.contains(i)));
        match unused {
            Some(name) => Err(ModelError::Config {
                file: self.label.clone(),
                what: format!(
                    "tensor \"{name}\" has no place in this architecture as byrote knows it; without it another model \
                     would be scored"
                ),
            }),
            None => Ok(used.values().sum()),
        }
    }

    /// How many matrices are kept as what, once all are loaded; `None` where they aren't quantized at load.
    ///
    /// # Errors
    /// When not a single matrix could be kept as it was asked for.
    pub fn mixture(&self) -> Result<Option<String>, ModelError> {
        let Precision::AtLoad(quant) = self.precision else { return Ok(None) };
        let kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.chooser(quant).told(&kept, &self.label).map(Some)
    }

    fn chooser(&self, quant: Quant) -> Chooser {
        let output = self.names.iter().find(|(_, stored)| *stored == "output").map(|(hf, _)| format!("{hf}.weight"));
        let has_output = output.is_some_and(|name| self.stored_name(&name).is_some());
        let number = |name: &str| name.split('.').find_map(|part| part.parse::<usize>().ok());
        let last = match &self.source {
            Source::Safetensors(slots) => slots.keys().filter_map(|name| number(name)).max(),
            Source::Gguf(gguf) => gguf.tensors.keys().filter_map(|name| number(name)).max(),
        };
        Chooser { quant, has_output, layers: last.map_or(0, |last| last + 1) }
    }

    /// The name in the file of a tensor's Hugging Face name, if the file has it.
    fn stored_name(&self, name: &str) -> Option<String> {
        match &self.source {
            Source::Safetensors(slots) => slots.contains_key(name).then(|| name.to_owned()),
            Source::Gguf(gguf) => {
                let stored = gguf_name(name, self.names)?;
                gguf.tensors.contains_key(&stored).then_some(stored)
            }
        }
    }

    fn resolve(&self, name: &str) -> Result<String, ModelError> {
        self.stored_name(name)
            .ok_or_else(|| ModelError::MissingTensor { name: name.to_owned(), file: self.label.clone() })
    }

    /// A tensor as it is stored.
    fn read(&self, name: &str) -> Result<Stored, ModelError> {
        let stored = self.resolve(name)?;
        let tensor = match &self.source {
            Source::Safetensors(slots) => {
                let slot = slots
                    .get(&stored)
                    .ok_or_else(|| ModelError::MissingTensor { name: name.to_owned(), file: self.label.clone() })?;
                let bytes = slot.file.read(slot.offset, slot.bytes)?;
                let dtype = candle_dtype(slot.dtype).ok_or_else(|| ModelError::BadFile {
                    path: slot.file.path(),
                    what: format!("tensor \"{name}\" is of type {:?}; byrote reads F32, BF16, F16 and F64", slot.dtype),
                })?;
                Stored::Dense(Tensor::from_raw_buffer(&bytes, dtype, &slot.shape, &self.device)?)
            }
            Source::Gguf(gguf) => {
                let (entry, bytes) = gguf.read(&stored)?;
                let storage = QStorage::from_data(Cow::Owned(bytes), &self.device, entry.dtype)?;
                Stored::Quantized(QTensor::new(storage, entry.shape.clone())?)
            }
        };
        let elements = tensor.shape().iter().product::<usize>() as u64;
        self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(stored, elements);
        Ok(tensor)
    }

    /// A stored matrix in the form that `quant` has for it. One that the file has in that very form stays as it is.
    fn quantized(&self, quant: Quant, name: &str, stored: Stored, layout: Layout) -> Result<Matrix, ModelError> {
        let module = module_of(name, self.names).unwrap_or_default();
        let shape = stored.shape();
        let width = if layout == Layout::InOut { shape.first() } else { shape.last() };
        let kept = self.chooser(quant).choose(&module, width.copied().unwrap_or_default());
        *self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).entry(kept.name()).or_default() += 1;
        let dense = |stored: Stored, dtype| reordered(&stored.dense(dtype, &self.device)?, layout);
        Ok(match (kept, stored) {
            (Kept::Quantized(dtype), Stored::Quantized(q)) if q.dtype() == dtype && layout == Layout::OutIn => {
                Matrix::Quantized(vec![q])
            }
            (Kept::Quantized(dtype), stored) => {
                Matrix::Quantized(vec![QTensor::quantize(&dense(stored, DType::F32)?, dtype)?])
            }
            (Kept::F16, stored) => Matrix::Dense(dense(stored, DType::F16)?),
            (Kept::F32, stored) => Matrix::Dense(dense(stored, DType::F32)?),
        })
    }

    pub(super) fn check(&self, name: &str, found: &[usize], wanted: &[usize]) -> Result<(), ModelError> {
        if found == wanted {
            return Ok(());
        }
        Err(ModelError::WrongShape {
            name: name.to_owned(),
            file: self.label.clone(),
            found: found.to_vec(),
            wanted: wanted.to_vec(),
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

impl<'a> Scope<'a> {
    /// The place `child` below this one.
    pub fn at(&self, child: impl std::fmt::Display) -> Scope<'a> {
        let prefix = if self.prefix.is_empty() { child.to_string() } else { format!("{}.{child}", self.prefix) };
        Scope { weights: self.weights, prefix }
    }

    fn name(&self, leaf: &str) -> String {
        if self.prefix.is_empty() { leaf.to_owned() } else { format!("{}.{leaf}", self.prefix) }
    }

    /// Whether the checkpoint has the tensor `leaf` here.
    pub fn has(&self, leaf: &str) -> bool {
        self.weights.stored_name(&self.name(leaf)).is_some()
    }

    /// A tensor in f32, in whatever shape it is stored.
    ///
    /// # Errors
    /// When it is missing.
    pub fn any(&self, leaf: &str) -> Result<Tensor, ModelError> {
        Ok(self.weights.read(&self.name(leaf))?.dense(DType::F32, &self.weights.device)?)
    }

    /// A tensor in f32.
    ///
    /// # Errors
    /// When it is missing or of another shape.
    pub fn tensor(&self, leaf: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let tensor = self.any(leaf)?;
        self.weights.check(&self.name(leaf), tensor.dims(), shape)?;
        Ok(tensor)
    }

    /// A vector in f32.
    ///
    /// # Errors
    /// When it is missing or of another length.
    pub fn vector(&self, leaf: &str, len: usize) -> Result<Tensor, ModelError> {
        self.tensor(leaf, &[len])
    }

    /// A matrix `[rows, width]` in the precision that was asked for.
    ///
    /// # Errors
    /// When it is missing or of another shape.
    pub fn matrix(&self, module: &str, rows: usize, width: usize) -> Result<Matrix, ModelError> {
        self.stacked(&[(module, rows)], width, Layout::OutIn)
    }

    /// A linear layer, of one module or several stacked along their outputs.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn linear(
        &self,
        modules: &[(&str, usize)],
        width: usize,
        bias: bool,
        layout: Layout,
    ) -> Result<Linear, ModelError> {
        let weight = self.stacked(modules, width, layout)?;
        if !bias {
            return Ok(Linear::new(weight, None));
        }
        let biases = modules
            .iter()
            .map(|(module, rows)| self.vector(&format!("{module}.bias"), *rows))
            .collect::<Result<Vec<_>, _>>()?;
        let bias = reordered(&Tensor::cat(&biases, 0)?, layout)?;
        Ok(Linear::new(weight, Some(bias)))
    }

    /// A root-mean-square norm; `offset` is added to its weights (Gemma stores them less one).
    ///
    /// # Errors
    /// When it is missing or of another length.
    pub fn rms_norm(&self, module: &str, len: usize, eps: f64, offset: f64) -> Result<Norm, ModelError> {
        let weight = (self.vector(&format!("{module}.weight"), len)? + offset)?;
        Ok(Norm::Rms { weight, eps: eps as f32 })
    }

    /// A layer norm.
    ///
    /// # Errors
    /// When it is missing or of another length.
    pub fn layer_norm(&self, module: &str, len: usize, eps: f64) -> Result<Norm, ModelError> {
        Ok(Norm::Layer {
            weight: self.vector(&format!("{module}.weight"), len)?,
            bias: self.vector(&format!("{module}.bias"), len)?,
            eps: eps as f32,
        })
    }

    fn stacked(&self, modules: &[(&str, usize)], width: usize, layout: Layout) -> Result<Matrix, ModelError> {
        let mut quantized = Vec::new();
        let mut dense = Vec::new();
        let Weights { precision, device, .. } = self.weights;
        for (module, rows) in modules {
            let name = self.name(&format!("{module}.weight"));
            let stored = self.weights.read(&name)?;
            let wanted = if layout == Layout::InOut { [width, *rows] } else { [*rows, width] };
            self.weights.check(&name, stored.shape(), &wanted)?;
            match (stored, *precision) {
                (Stored::Quantized(q), Precision::Quantized) => quantized.push(q),
                (stored, Precision::AtLoad(quant)) => match self.weights.quantized(quant, &name, stored, layout)? {
                    Matrix::Quantized(parts) => quantized.extend(parts),
                    Matrix::Dense(tensor) => dense.push(tensor),
                },
                (stored, _) => dense.push(reordered(&stored.dense(precision.dense(), device)?, layout)?),
            }
        }
        if dense.is_empty() {
            return Ok(Matrix::Quantized(quantized));
        }
        Ok(Matrix::Dense(if dense.len() == 1 { dense.swap_remove(0) } else { Tensor::cat(&dense, 0)? }))
    }
}

/// A stored matrix or bias as `[out, in]` or `[out]`, with all queries first, then keys, then values.
fn reordered(tensor: &Tensor, layout: Layout) -> candle_core::Result<Tensor> {
    match layout {
        Layout::InOut if tensor.rank() == 2 => tensor.t()?.contiguous(),
        Layout::OutIn | Layout::InOut => Ok(tensor.clone()),
        Layout::Interleaved { heads } => {
            let rows = tensor.dim(0)?;
            let rest = tensor.elem_count() / rows;
            let by_head = tensor.reshape((heads, 3, rows / heads / 3, rest))?;
            by_head.transpose(0, 1)?.contiguous()?.reshape(tensor.shape())
        }
    }
}

/// The GGUF name of a Hugging Face name: `model.layers.3.mlp.up_proj.weight` is `blk.3.ffn_up.weight`.
pub(super) fn gguf_name(name: &str, names: Names) -> Option<String> {
    let (module, leaf) = name.rsplit_once('.')?;
    let number = module.split('.').find(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let template: String =
        module.split('.').map(|part| if Some(part) == number { "{}" } else { part }).collect::<Vec<_>>().join(".");
    let (_, stored) = names.iter().find(|(hf, _)| *hf == template)?;
    Some(format!("{}.{leaf}", stored.replace("{}", number.unwrap_or_default())))
}

/// Reads `len` bytes at `offset`.
pub(super) fn read_range(path: &Path, offset: u64, len: usize) -> Result<Vec<u8>, ModelError> {
    let mut file = File::open(path).map_err(|e| io(path, e))?;
    file.seek(SeekFrom::Start(offset)).map_err(|e| io(path, e))?;
    let mut bytes = vec![0u8; len];
    file.read_exact(&mut bytes).map_err(|e| io(path, e))?;
    Ok(bytes)
}

impl Place {
    /// The path, or the name of what is inside the program.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Embedded { name, .. } => PathBuf::from(format!("builtin:{name}")),
        }
    }

    /// Size in bytes.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn size(&self) -> Result<u64, ModelError> {
        match self {
            Self::File(path) => Ok(std::fs::metadata(path).map_err(|e| io(path, e))?.len()),
            Self::Embedded { bytes, .. } => Ok(bytes.len() as u64),
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read_all(&self) -> Result<Vec<u8>, ModelError> {
        match self {
            Self::File(path) => std::fs::read(path).map_err(|e| io(path, e)),
            Self::Embedded { bytes, .. } => Ok(bytes.to_vec()),
        }
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, ModelError> {
        match self {
            Self::File(path) => read_range(path, offset, len),
            Self::Embedded { bytes, .. } => {
                let rest = bytes.get(offset as usize..).and_then(|rest| rest.get(..len));
                rest.map(<[u8]>::to_vec).ok_or_else(|| io(&self.path(), std::io::ErrorKind::UnexpectedEof.into()))
            }
        }
    }
}

fn io(path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Io { path: path.to_owned(), source }
}

/// The tensors of a safetensors file, every length checked against the file's.
fn slots_of(place: &Place) -> Result<Vec<(String, Slot)>, ModelError> {
    let bad = |what: String| ModelError::BadFile { path: place.path(), what };
    let size = place.size()?;
    if size < 8 {
        return Err(bad(format!("{size} bytes are no safetensors file; fetch it again")));
    }
    let mut length = [0; 8];
    length.copy_from_slice(&place.read(0, 8)?);
    let length = u64::from_le_bytes(length);
    if length > size - 8 {
        return Err(bad(format!(
            "its header claims {length} bytes where the file has {size}: it is truncated or no safetensors file; fetch it again"
        )));
    }
    let header = place.read(8, length as usize)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|e| bad(format!("its safetensors header is damaged: {e}")))?;
    let data = length + 8;
    let end = data.saturating_add(metadata.data_len() as u64);
    if end != size {
        return Err(bad(format!(
            "its header tells of {end} bytes where the file has {size}: it is truncated; fetch it again"
        )));
    }
    let slot = |(name, info): (String, &TensorInfo)| {
        let (start, end) = info.data_offsets;
        let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |n, d| n.checked_mul(*d));
        if start > end || data + end as u64 > size || bits != (end - start).checked_mul(8) {
            return Err(bad(format!("the extent of tensor \"{name}\" doesn't fit its shape: the header is damaged")));
        }
        let (dtype, shape) = (info.dtype, info.shape.clone());
        Ok((name, Slot { file: place.clone(), dtype, shape, offset: data + start as u64, bytes: end - start }))
    };
    metadata.tensors().into_iter().map(slot).collect()
}

fn candle_dtype(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F64 => Some(DType::F64),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::F16 => Some(DType::F16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8]) -> Result<Weights, ModelError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        std::fs::write(&path, bytes).unwrap();
        Weights::safetensors(&[Place::File(path)], &[], Precision::F32, &Device::Cpu)
    }

    #[test]
    fn damaged_safetensors_are_refused_with_what_to_do() {
        let header = br#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let whole = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &[0; 8]].concat();
        assert!(open(&whole).is_ok());
        let giant = [&(1u64 << 60).to_le_bytes(), header.as_slice()].concat();
        for (bytes, said) in [
            (&whole[..whole.len() - 1], "truncated"),
            (&whole[..20], "truncated"),
            (&giant[..], "claims 1152921504606846976 bytes"),
            (b"oops", "no safetensors file"),
        ] {
            let error = open(bytes).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("model.safetensors"), "{error}");
        }
        let mut garbled = whole.clone();
        garbled[9] = b'!';
        assert!(open(&garbled).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn names_of_layers_are_translated() {
        let names: Names = &[("model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"), ("model.norm", "output_norm")];
        assert_eq!(gguf_name("model.layers.12.mlp.up_proj.weight", names).as_deref(), Some("blk.12.ffn_up.weight"));
        assert_eq!(gguf_name("model.norm.bias", names).as_deref(), Some("output_norm.bias"));
        assert_eq!(gguf_name("model.layers.0.other.weight", names), None);
    }

    #[test]
    fn interleaved_heads_become_queries_then_keys_then_values() {
        // Two heads of one component: q0 k0 v0 q1 k1 v1.
        let rows = Tensor::new(&[0f32, 10., 20., 1., 11., 21.], &Device::Cpu).unwrap();
        let layout = Layout::Interleaved { heads: 2 };
        assert_eq!(reordered(&rows, layout).unwrap().to_vec1::<f32>().unwrap(), [0., 1., 10., 11., 20., 21.]);
    }
}
