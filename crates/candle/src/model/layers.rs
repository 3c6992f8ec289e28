//! The layers that all families are built from. Each is written once.

pub mod alibi;
pub mod attention;
pub mod experts;
pub mod linear;
pub mod mlp;
pub mod norm;
pub mod rope;
