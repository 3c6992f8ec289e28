//! Merges LoRA adapters made by PEFT (arXiv 2106.09685) into a model's weights while they are read.
//!
//! A change of rank `r` is stored as `A [r, in]` and `B [out, r]`. The weight `[out, in]` becomes
//! `W + s B A` with `s = alpha / r`, or `alpha / sqrt(r)` (rsLoRA, arXiv 2312.03732). DoRA (arXiv
//! 2402.09353) then scales every row to the length stored in the adapter. The sums are f32 and are
//! computed before weights are converted to the requested type.
//!
//! A model without a part of its adapter would be a different model. So every tensor of the adapter
//! must match a tensor of the base model, and a setting that is unknown or unsupported is an error.

mod config;

use super::ModelError;
use super::shards::{TensorLocation, tensor_locations};
use super::weights::WeightSource;
use candle_core::{D, DType, Tensor};
use config::Config;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const WEIGHTS: &str = "adapter_model.safetensors";

/// An open adapter.
#[derive(Debug)]
pub struct Adapter {
    weights: PathBuf,
    config: Config,
    /// The adapter's tensors by name, without `base_model.model.`.
    tensors: BTreeMap<String, TensorLocation>,
    /// The changes to each tensor of the base model, by the stored name of the tensor.
    changes: BTreeMap<String, Vec<Change>>,
    /// Changed tensors of the base model that have been read.
    merged: Mutex<BTreeSet<String>>,
}

/// One change, with the names of its tensors in the adapter.
#[derive(Clone, Debug, PartialEq)]
enum Change {
    /// Replaces the tensor (`modules_to_save`, trained biases).
    Replaced { by: String },
    /// `W + scale B A`, transposed for a token table. DoRA if there is a magnitude.
    LowRank {
        a: String,
        b: String,
        magnitude: Option<String>,
        scale: f64,
        table: bool,
    },
}

impl Adapter {
    /// Opens the folder of an adapter.
    ///
    /// # Errors
    /// If a file is missing or damaged, or this kind of adapter can't be merged.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let weights = folder.join(WEIGHTS);
        let config = Config::open(&folder.join("adapter_config.json"))?;
        if !weights.is_file() {
            let pickled = folder.join("adapter_model.bin").is_file();
            let instead = if pickled {
                "adapter_model.bin is a pickle; pickles can run code when opened, so byrote never loads them: save the adapter \
                 again with a current PEFT"
            } else {
                "use the folder that PEFT's save_pretrained wrote"
            };
            return Err(bad(&weights, format!("there is no such file; {instead}")));
        }
        let locations = tensor_locations(&WeightSource::File(weights.clone()))?;
        let name = |name: &str| {
            name.strip_prefix("base_model.model.")
                .unwrap_or(name)
                .to_owned()
        };
        let tensors = locations
            .into_iter()
            .map(|(stored, location)| (name(&stored), location))
            .collect();
        Ok(Self {
            weights,
            config,
            tensors,
            changes: BTreeMap::new(),
            merged: Mutex::default(),
        })
    }

    /// The base model that the adapter was trained on, according to its config.
    pub fn base_model(&self) -> Option<&str> {
        self.config.base_model_name_or_path.as_deref()
    }

    /// The files that are read: the config, then the weights.
    pub fn files(folder: &Path) -> [PathBuf; 2] {
        [folder.join("adapter_config.json"), folder.join(WEIGHTS)]
    }

    /// Finds the tensor of the base model that each tensor of the adapter changes. `stored` are the
    /// names in the base model.
    pub(super) fn bind<'a>(
        &mut self,
        stored: impl Iterator<Item = &'a str>,
    ) -> Result<(), ModelError> {
        let stored: BTreeSet<&str> = stored.collect();
        let mut changes: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        for name in self.tensors.keys() {
            let Some((module, change)) = self.change(name)? else {
                continue;
            };
            let target = find(&module, &stored).ok_or_else(|| self.placeless(name, &module))?;
            let of_target = changes.entry(target).or_default();
            // A replacement is applied before changes are added to it.
            match change {
                Change::Replaced { .. } => of_target.insert(0, change),
                Change::LowRank { .. } => of_target.push(change),
            }
        }
        let table = changes.iter().find(|(_, of)| {
            of.iter()
                .any(|c| matches!(c, Change::LowRank { table: true, .. }))
        });
        let is_output = |name: &&str| {
            matches!(
                name.rsplit('.').nth(1),
                Some("lm_head" | "embed_out" | "output")
            )
        };
        if let Some((name, _)) = table
            && !stored.iter().any(is_output)
        {
            return Err(self.wrong(format!(
                "it changes the token table \"{name}\", which is also this base model's output matrix, and changes only \
                 one of the two; merge it with PEFT and probe the result"
            )));
        }
        if changes.is_empty() {
            return Err(self.wrong("it contains no tensor".to_owned()));
        }
        self.changes = changes;
        Ok(())
    }

    /// The change that the adapter's tensor `name` belongs to, and the tensor of the base model
    /// that it changes. `None` for the second and third tensor of a change.
    fn change(&self, name: &str) -> Result<Option<(String, Change)>, ModelError> {
        let with = |module: &str, end: &str| -> Result<String, ModelError> {
            let other = format!("{module}.{end}");
            let missing = || {
                self.wrong(format!(
                    "tensor \"{name}\" is there without \"{other}\": fetch it again"
                ))
            };
            self.tensors
                .contains_key(&other)
                .then_some(other.clone())
                .ok_or_else(missing)
        };
        let low_rank = |module: &str, ends: [&str; 2], table: bool| -> Result<_, ModelError> {
            let (a, b) = (with(module, ends[0])?, with(module, ends[1])?);
            let rank = self
                .tensors
                .get(&a)
                .and_then(|location| location.shape.first())
                .copied()
                .unwrap_or_default();
            let scale = self
                .config
                .scale(module, rank)
                .map_err(|what| self.wrong(what))?;
            let magnitude = ["lora_magnitude_vector", "lora_magnitude_vector.weight"]
                .map(|end| format!("{module}.{end}"))
                .into_iter()
                .find(|other| self.tensors.contains_key(other));
            if magnitude.is_some() != self.config.use_dora {
                let what = if self.config.use_dora {
                    "has no magnitudes"
                } else {
                    "has magnitudes"
                };
                return Err(self.wrong(format!(
                    "\"{module}\" {what}, against use_dora in its config"
                )));
            }
            if table && magnitude.is_some() {
                return Err(self.wrong(format!(
                    "\"{module}\": DoRA of a token table isn't supported; merge it with PEFT"
                )));
            }
            Ok(Some((
                format!("{module}.weight"),
                Change::LowRank {
                    a,
                    b,
                    magnitude,
                    scale,
                    table,
                },
            )))
        };
        let second = [
            ".lora_B.weight",
            ".lora_embedding_B",
            ".lora_magnitude_vector",
            ".lora_magnitude_vector.weight",
        ];
        if let Some(module) = name.strip_suffix(".lora_A.weight") {
            return low_rank(module, ["lora_A.weight", "lora_B.weight"], false);
        }
        if let Some(module) = name.strip_suffix(".lora_embedding_A") {
            return low_rank(module, ["lora_embedding_A", "lora_embedding_B"], true);
        }
        if let Some(end) = second.iter().find(|end| name.ends_with(*end)) {
            let first = if end.contains("embedding") {
                "lora_embedding_A"
            } else {
                "lora_A.weight"
            };
            with(name.strip_suffix(end).unwrap_or(name), first)?;
            return Ok(None);
        }
        if name.contains("lora_") || name.contains(".token_adapter.") {
            return Err(self.wrong(format!("tensor \"{name}\" is of an unsupported kind")));
        }
        let module = name
            .replace(".base_layer.", ".")
            .replace(".modules_to_save.", ".");
        Ok(Some((
            module,
            Change::Replaced {
                by: name.to_owned(),
            },
        )))
    }

    /// Applies the adapter to the base model's tensor `stored`. The result is f32 if the adapter
    /// changes it; otherwise the tensor is returned as is.
    pub(super) fn merged(&self, stored: &str, tensor: Tensor) -> Result<Tensor, ModelError> {
        let Some(changes) = self.changes.get(stored) else {
            return Ok(tensor);
        };
        let mut value = tensor.to_dtype(DType::F32)?;
        for change in changes {
            value = match change {
                Change::Replaced { by } => {
                    let other = self.read(by, &value)?;
                    if other.dims() != value.dims() {
                        return Err(self.misfit(by, &other, stored, &value));
                    }
                    other
                }
                Change::LowRank {
                    a,
                    b,
                    magnitude,
                    scale,
                    table,
                } => {
                    let (a, b) = (self.read(a, &value)?, self.read(b, &value)?);
                    self.add(
                        stored,
                        &value,
                        (&a, &b),
                        magnitude.as_deref(),
                        *scale,
                        *table,
                    )?
                }
            };
        }
        self.merged
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(stored.to_owned());
        Ok(value)
    }

    fn add(
        &self,
        stored: &str,
        weight: &Tensor,
        (a, b): (&Tensor, &Tensor),
        magnitude: Option<&str>,
        scale: f64,
        table: bool,
    ) -> Result<Tensor, ModelError> {
        let (Ok((rank, width)), Ok((rows, inner))) = (a.dims2(), b.dims2()) else {
            return Err(self.misfit(stored, a, stored, weight));
        };
        let delta = if rank == inner {
            (b.matmul(a)? * scale)?
        } else {
            return Err(self.misfit("lora_A", a, "lora_B", b));
        };
        // A token table is stored as [tokens, width] and its change as [width, tokens]; GPT-2's
        // matrices are stored as [in, out]. If the shape is ambiguous, the config decides.
        let turned = match weight.dims() {
            dims if table => dims == [width, rows],
            dims if dims == [rows, width] && rows == width => self.config.fan_in_fan_out,
            dims => dims == [width, rows],
        };
        let wanted = if turned { [width, rows] } else { [rows, width] };
        if weight.dims() != wanted || (table && !turned) {
            return Err(self.misfit(stored, &delta, stored, weight));
        }
        let Some(magnitude) = magnitude else {
            return Ok((weight
                + if turned {
                    delta.t()?.contiguous()?
                } else {
                    delta
                })?);
        };
        let weight = if turned {
            weight.t()?.contiguous()?
        } else {
            weight.clone()
        };
        let sum = (weight + delta)?;
        let length = sum.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
        let magnitude = self.read(magnitude, &sum)?;
        if magnitude.elem_count() != rows {
            return Err(self.misfit("lora_magnitude_vector", &magnitude, stored, &sum));
        }
        let sum = sum.broadcast_mul(&magnitude.reshape((rows, 1))?.div(&length)?)?;
        Ok(if turned { sum.t()?.contiguous()? } else { sum })
    }

    /// Checks that every change was applied.
    pub(super) fn finish(&self) -> Result<(), ModelError> {
        let merged = self
            .merged
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match self.changes.keys().find(|name| !merged.contains(*name)) {
            Some(name) => Err(self.wrong(format!(
                "it changes \"{name}\", which this base model doesn't use (is its output matrix tied to the token table?): \
                 without this change, byrote would score another model; merge it with PEFT and probe the result"
            ))),
            None => Ok(()),
        }
    }

    /// The error for a base model in GGUF.
    pub(super) fn not_for_gguf(&self, base: &str) -> ModelError {
        self.wrong(format!(
            "it can't be merged into {base}: GGUF may reorder and quantize matrices; use the base model's \
             safetensors"
        ))
    }

    /// A tensor of the adapter in f32, on the device of `beside`.
    fn read(&self, name: &str, beside: &Tensor) -> Result<Tensor, ModelError> {
        let location = self
            .tensors
            .get(name)
            .ok_or_else(|| self.wrong(format!("tensor \"{name}\" is missing")))?;
        Ok(location
            .tensor(name, beside.device())?
            .to_dtype(DType::F32)?)
    }

    fn wrong(&self, what: String) -> ModelError {
        bad(&self.weights, what)
    }

    fn placeless(&self, name: &str, module: &str) -> ModelError {
        let base = self.base_model().unwrap_or("not named");
        self.wrong(format!(
            "tensor \"{name}\" changes \"{module}\", which the base model doesn't have; the adapter is for another base model \
             ({base})"
        ))
    }

    fn misfit(&self, name: &str, tensor: &Tensor, stored: &str, base: &Tensor) -> ModelError {
        self.wrong(format!(
            "\"{name}\" of shape {:?} doesn't fit \"{stored}\" of shape {:?}; the adapter is for another base model ({})",
            tensor.dims(),
            base.dims(),
            self.base_model().unwrap_or("not named")
        ))
    }
}

fn bad(path: &Path, what: String) -> ModelError {
    ModelError::BadFile {
        path: path.to_owned(),
        what,
    }
}

/// Finds the stored name for a name in the trained model. The two are equal, except that some
/// checkpoints omit the name of the trunk (`transformer.` or `model.`).
fn find(name: &str, stored: &BTreeSet<&str>) -> Option<String> {
    if stored.contains(name) {
        return Some(name.to_owned());
    }
    let shorter = name
        .split_once('.')
        .map(|(_, rest)| rest)
        .filter(|rest| stored.contains(rest));
    let longer = ["transformer", "model"].map(|trunk| format!("{trunk}.{name}"));
    shorter.map(str::to_owned).or_else(|| {
        longer
            .into_iter()
            .find(|name| stored.contains(name.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use std::collections::HashMap;

    fn tensor(dims: &[usize]) -> Tensor {
        let count = dims.iter().product::<usize>() as u32;
        Tensor::arange(0, count, &Device::Cpu)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap()
            .reshape(dims)
            .unwrap()
    }

    fn adapter(
        config: &str,
        tensors: &[(&str, &[usize])],
    ) -> (tempfile::TempDir, Result<Adapter, ModelError>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("adapter_config.json"), config).unwrap();
        let tensors: HashMap<&str, Tensor> = tensors
            .iter()
            .map(|(name, dims)| (*name, tensor(dims)))
            .collect();
        candle_core::safetensors::save(&tensors, dir.path().join(WEIGHTS)).unwrap();
        let opened = Adapter::open(dir.path());
        (dir, opened)
    }

    const PLAIN: &str =
        r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 2, "base_model_name_or_path": "org/base"}"#;

    fn bound(tensors: &[(&str, &[usize])], stored: &[&str]) -> Result<Adapter, ModelError> {
        let mut adapter = adapter(PLAIN, tensors).1?;
        adapter.bind(stored.iter().copied()).map(|()| adapter)
    }

    #[test]
    fn rank_one_changes_are_added_to_either_matrix_layout() {
        let parts: &[(&str, &[usize])] = &[
            ("base_model.model.m.lora_A.weight", &[1, 3]),
            ("base_model.model.m.lora_B.weight", &[2, 1]),
        ];
        let (_dir, opened) = adapter(PLAIN, parts);
        let mut adapter = opened.unwrap();
        adapter.bind(["m.weight", "n.weight"].into_iter()).unwrap();
        assert!(adapter.finish().is_err(), "nothing was read yet");
        let zeros = |rows, width| Tensor::zeros((rows, width), DType::BF16, &Device::Cpu).unwrap();
        // A = 0 1 2, B = 0 1, scale 2.
        let there = adapter
            .merged("m.weight", zeros(2, 3))
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        assert_eq!(there, [[0., 0., 0.], [0., 2., 4.]]);
        let turned = adapter
            .merged("m.weight", zeros(3, 2))
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        assert_eq!(turned, [[0., 0.], [0., 2.], [0., 4.]]);
        assert_eq!(
            adapter.merged("n.weight", zeros(2, 3)).unwrap().dtype(),
            DType::BF16,
            "untouched"
        );
        adapter.finish().unwrap();
        let error = adapter
            .merged("m.weight", zeros(4, 4))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("doesn't fit \"m.weight\" of shape [4, 4]")
                && error.contains("org/base"),
            "{error}"
        );
    }

    #[test]
    fn unmatched_or_incomplete_adapter_tensors_are_errors() {
        for (tensors, expected) in [
            (
                &[
                    ("o.lora_A.weight", &[1usize, 3] as &[usize]),
                    ("o.lora_B.weight", &[2, 1]),
                ][..],
                "doesn't have",
            ),
            (
                &[("m.lora_A.weight", &[1, 3])],
                "without \"m.lora_B.weight\"",
            ),
            (
                &[("m.lora_B.weight", &[2, 1])],
                "without \"m.lora_A.weight\"",
            ),
            (
                &[
                    ("m.lora_A.weight", &[1, 3]),
                    ("m.lora_B.bias", &[2]),
                    ("m.lora_B.weight", &[2, 1]),
                ],
                "is of an unsupported kind",
            ),
            (
                &[("other.weight", &[2, 3])],
                "\"other.weight\", which the base model doesn't have",
            ),
            (
                &[
                    ("m.lora_embedding_A", &[1, 3]),
                    ("m.lora_embedding_B", &[2, 1]),
                ],
                "also this base model's output matrix",
            ),
            (
                &[
                    ("m.lora_A.weight", &[1, 3]),
                    ("m.lora_B.weight", &[2, 1]),
                    ("m.lora_magnitude_vector", &[2]),
                ],
                "against use_dora",
            ),
            (
                &[("m.lora_A.weight", &[2, 3]), ("m.lora_B.weight", &[2, 2])],
                "rank",
            ),
            (&[], "contains no tensor"),
        ] {
            let error = bound(tensors, &["m.weight"]).unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains(WEIGHTS),
                "{error}"
            );
        }
        assert!(bound(&[("lm_head.weight", &[2, 3])], &["lm_head.weight"]).is_ok());
    }

    #[test]
    fn the_trunk_name_may_be_missing() {
        let stored = BTreeSet::from(["h.0.attn.weight", "model.norm.weight", "lm_head.weight"]);
        for (name, expected) in [
            ("transformer.h.0.attn.weight", Some("h.0.attn.weight")),
            ("norm.weight", Some("model.norm.weight")),
            ("model.norm.weight", Some("model.norm.weight")),
            ("attn.weight", None),
        ] {
            assert_eq!(find(name, &stored).as_deref(), expected, "{name}");
        }
    }
}
