//! Tar archives as streams, in bounded memory: [`TarReader`] for what others wrote, [`TarWriter`] for exports.
//!
//! Of the `tar` crate only the header blocks are used. Its iterators read extended headers of any size into memory,
//! and its own extraction decides what to do with links; neither is for archives from anywhere.

mod compression;
mod pax;
mod read;
mod write;

pub use compression::{Compression, compressor, decompressor};
pub use read::{Kind, Member, TarError, TarReader};
pub use write::{Entry, TarWriter};

/// Tar's unit, bytes.
const BLOCK: usize = 512;
