//! Records that commands print, each as JSON (by serde) and as text.

#[cfg(feature = "native")]
pub(crate) mod benchmark;
pub(crate) mod controls;
pub(crate) mod lint;
#[cfg(feature = "native")]
pub(crate) mod model;
pub(crate) mod system;
