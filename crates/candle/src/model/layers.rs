//! The layers that all families are built from. Each is written once.

pub(crate) mod alibi;
pub(crate) mod attention;
pub(crate) mod experts;
pub(crate) mod linear;
pub(crate) mod mlp;
pub(crate) mod norm;
pub(crate) mod rope;
