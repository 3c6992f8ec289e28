//! What several test files use.

#[cfg(feature = "native")]
pub(crate) mod damage;
#[cfg(feature = "native")]
pub(crate) mod files;
#[cfg(feature = "native")]
pub(crate) mod finished;
#[cfg(feature = "native")]
pub(crate) mod fixtures;
#[cfg(feature = "native")]
pub(crate) mod golden;
pub(crate) mod ks;
pub(crate) mod program;
#[cfg(feature = "native")]
pub(crate) mod resource;
#[cfg(feature = "hub")]
pub(crate) mod stand_in;
