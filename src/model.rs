//! (being written)

#[cfg(feature = "hub")]
pub mod hub;
pub mod source;
