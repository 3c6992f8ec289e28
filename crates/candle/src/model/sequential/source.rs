//! Reads the weights of candle-transformers' models with byrote's checked reader, so that damaged
//! files and missing or unused tensors are detected.

use crate::model::ModelError;
use crate::model::weights::Weights;
use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use std::sync::{Mutex, PoisonError};

/// The tensors of the checkpoint that make up one tensor of candle-transformers: one name, or
/// several to stack along the first dimension.
pub(crate) type Stored = Vec<String>;

struct Source<'a, N, C> {
    weights: &'a Weights,
    names: N,
    change: C,
    failed: &'a Mutex<Option<ModelError>>,
}

/// Builds a model in f32. `names` maps a tensor to those in the checkpoint; `change` may alter it
/// before the model receives it.
///
/// # Errors
/// If a tensor is missing, of another shape, or in a damaged file.
pub(crate) fn build<M>(
    weights: &Weights,
    names: impl Fn(&str) -> Stored + Send + Sync,
    change: impl Fn(&str, Tensor) -> Result<Tensor> + Send + Sync,
    make: impl FnOnce(VarBuilder<'_>) -> Result<M>,
) -> std::result::Result<M, ModelError> {
    let failed = Mutex::default();
    let made = {
        let source = Source {
            weights,
            names,
            change,
            failed: &failed,
        };
        make(VarBuilder::from_backend(
            Box::new(source),
            DType::F32,
            weights.device().clone(),
        ))
    };
    made.map_err(|error| {
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.unwrap_or(ModelError::Tensor(error))
    })
}

impl<N: Fn(&str) -> Stored + Send + Sync, C: Fn(&str, Tensor) -> Result<Tensor> + Send + Sync>
    Source<'_, N, C>
{
    fn read(
        &self,
        name: &str,
        wanted: Option<&[usize]>,
    ) -> std::result::Result<Tensor, ModelError> {
        let (root, names) = (self.weights.root(), (self.names)(name));
        let parts = names
            .iter()
            .map(|name| root.any(name))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let tensor = match parts.as_slice() {
            [one] => one.clone(),
            parts => Tensor::cat(parts, 0)?,
        };
        let tensor = (self.change)(name, tensor)?;
        if let Some(wanted) = wanted {
            self.weights.check(
                names.first().map_or(name, String::as_str),
                tensor.dims(),
                wanted,
            )?;
        }
        Ok(tensor)
    }

    /// Saves byrote's error, which names file and tensor, for [`build`]; Candle only passes on its
    /// own error type.
    fn keep(&self, error: ModelError) -> Error {
        let named = Error::Msg(error.to_string());
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        named
    }
}

impl<N: Fn(&str) -> Stored + Send + Sync, C: Fn(&str, Tensor) -> Result<Tensor> + Send + Sync>
    SimpleBackend for Source<'_, N, C>
{
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, _: &Device) -> Result<Tensor> {
        self.read(name, Some(shape.dims()))
            .map_err(|e| self.keep(e))?
            .to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, _: &Device) -> Result<Tensor> {
        self.read(name, None)
            .map_err(|e| self.keep(e))?
            .to_dtype(dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        (self.names)(name)
            .iter()
            .all(|name| self.weights.root().has(name))
    }
}

/// The checkpoint's own names.
pub(crate) fn same(name: &str) -> Stored {
    vec![name.to_owned()]
}

/// The checkpoint's own values.
pub(crate) fn unchanged(_: &str, tensor: Tensor) -> Result<Tensor> {
    Ok(tensor)
}
