//! The compressions of exported backups.

use std::fmt;
use std::io::{Read, Write};

use barman_wal::codec::{self, Algorithm, CodecError, Decoder, Encoder};

/// A compression of an exported backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// `gzip`.
    Gzip,
    /// `bzip2`.
    Bzip2,
    /// `xz`.
    Xz,
}

impl Compression {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }

    /// What the names of its files end with, after `.tar`.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Bzip2 => ".bz2",
            Self::Xz => ".xz",
        }
    }

    /// Its levels, ascending.
    #[must_use]
    pub const fn levels(self) -> std::ops::RangeInclusive<u32> {
        match self {
            Self::Gzip | Self::Bzip2 => 1..=9,
            Self::Xz => 0..=9,
        }
    }

    /// The level when nobody names one: that of Python's `tarfile`, with which Barman writes.
    const fn usual(self) -> u32 {
        match self {
            Self::Gzip | Self::Bzip2 => 9,
            Self::Xz => 6,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Begins to compress an export into `output`. A level that the compression has not is taken
/// for the nearest it has.
///
/// # Errors
/// There is no memory for it.
pub fn compressor<W: Write>(
    compression: Option<Compression>,
    level: Option<u32>,
    output: W,
) -> Result<Encoder<W>, CodecError> {
    let algorithm = match compression {
        None => Algorithm::None,
        Some(Compression::Gzip) => Algorithm::Gzip,
        Some(Compression::Bzip2) => Algorithm::Bzip2,
        Some(Compression::Xz) => Algorithm::Xz,
    };
    let usual = compression.map(Compression::usual).unwrap_or_default();
    codec::stream_encoder(algorithm, level.unwrap_or(usual), output)
}

/// Begins to read an export, whose compression is seen from its first [`DETECT_LENGTH`](codec::DETECT_LENGTH) bytes:
/// one of those above, or none.
///
/// # Errors
/// There is no memory for it.
pub fn decompressor<R: Read>(first: &[u8], input: R) -> Result<Decoder<R>, CodecError> {
    let algorithm = match Algorithm::detect(first, None) {
        Some(found @ (Algorithm::Gzip | Algorithm::Bzip2 | Algorithm::Xz)) => found,
        _ => Algorithm::None,
    };
    codec::decoder(algorithm, input)
}
