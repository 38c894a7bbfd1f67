//! Every parser of files and network bytes, as a function of bytes: [`PARSERS`].
//!
//! Each function feeds its input to one parser of the product and asserts what must hold whatever the input is: no
//! panic, bounded output, what is read and written again is the same, pieces give the same as the whole, no name leads
//! out of its directory. A failed property is a panic.
//!
//! Three things run them: `cargo xtask fuzz` (a `cargo fuzz` target for each, below `fuzz/fuzz_targets/`), the tests
//! of this crate (every file of `fuzz/corpus/NAME/`, and damaged copies of it), and by hand
//! `cargo run -p parsers -- run NAME FILE`.
//!
//! With the feature `workshop` (the default) there is more: [`scan`] finds the public functions of the product that
//! read something, and says which of them no parser covers.
//!
//! **To add one:** a function in the file of its crate, a row in [`PARSERS`], a file in `fuzz/fuzz_targets/`, a corpus.
//! The tests say what is missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a panic is how a failed property is told; nothing of this is shipped"
)]

mod blocks;
pub mod catalog;
pub mod cli;
pub mod core;
pub mod corpus;
mod index;
mod input;
pub mod patroni;
pub mod pg;
mod records;
#[cfg(feature = "workshop")]
pub mod scan;
mod table;
pub mod wal;

pub use input::{remove_scratch, take_reached};
pub use table::PARSERS;

/// A parser of the product with its properties.
#[derive(Debug, Clone, Copy)]
pub struct Parser {
    /// Its name: that of the function, of the fuzz target and of the corpus directory.
    pub name: &'static str,
    /// The module of this crate in which the function is.
    pub module: &'static str,
    /// What it reads, and whose bytes those are.
    pub what: &'static str,
    /// The functions of the product that it runs, by the paths of their definitions.
    pub covers: &'static [&'static str],
    /// The longest input that makes sense, bytes.
    pub max_length: usize,
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// The parser of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Parser> {
    PARSERS.iter().find(|parser| parser.name == name)
}
