//! What several test files use.

#[cfg(feature = "native")]
pub(crate) mod damage;
#[cfg(feature = "native")]
pub(crate) mod files;
#[cfg(feature = "native")]
pub(crate) mod golden;
pub(crate) mod ks;
#[cfg(feature = "native")]
pub(crate) mod models;
pub(crate) mod program;
#[cfg(feature = "native")]
pub(crate) mod random;
#[cfg(feature = "hub")]
pub(crate) mod stand_in;
