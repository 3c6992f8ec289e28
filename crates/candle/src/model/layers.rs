//! The layers that every family is joined from, each written once.

pub mod alibi;
pub mod attention;
pub mod experts;
pub mod linear;
pub mod mlp;
pub mod norm;
pub mod rope;
