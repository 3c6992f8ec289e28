//! What is found out about a few windows after all of them are scored: alone in f32 where rounding could decide, by real
//! generation, near-verbatim, after foreign prefixes, under a reference checkpoint.
//!
//! [`select`] says which windows get what, [`measure`] does it over a backend, [`evidence`] brings it into what verdicts
//! rest on. All of it is plain data and functions over it; `cmd` owns loops, files and threads.

pub mod beam;
pub mod evidence;
pub mod exit;
pub mod foreign;
pub mod measure;
pub mod select;
