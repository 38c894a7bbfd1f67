//! The compressions of exported backups.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

/// What decompressing xz may take, bytes: twice what its highest level needs.
const XZ_MEMORY: u64 = 128 << 20;

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

    /// Recognises a compression by the first bytes of a file.
    #[must_use]
    pub fn detect(first: &[u8]) -> Option<Self> {
        if first.starts_with(&[0x1F, 0x8B]) {
            Some(Self::Gzip)
        } else if first.starts_with(b"BZh") {
            Some(Self::Bzip2)
        } else if first.starts_with(b"\xFD7zXZ\x00") {
            Some(Self::Xz)
        } else {
            None
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Compresses what is written to it. Without [`Compressor::finish`] the output is incomplete.
pub enum Compressor<W: Write> {
    /// As it is.
    Plain(W),
    /// gzip.
    Gzip(flate2::write::GzEncoder<W>),
    /// bzip2.
    Bzip2(bzip2::write::BzEncoder<W>),
    /// xz.
    Xz(Box<liblzma::write::XzEncoder<W>>),
}

impl<W: Write> Compressor<W> {
    /// Begins to compress into `output`. A level that the compression has not is taken for the nearest it has.
    pub fn new(compression: Option<Compression>, level: Option<u32>, output: W) -> Self {
        let Some(compression) = compression else {
            return Self::Plain(output);
        };
        let levels = compression.levels();
        let level = level
            .unwrap_or(compression.usual())
            .clamp(*levels.start(), *levels.end());
        match compression {
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(
                output,
                flate2::Compression::new(level),
            )),
            Compression::Bzip2 => Self::Bzip2(bzip2::write::BzEncoder::new(
                output,
                bzip2::Compression::new(level),
            )),
            Compression::Xz => Self::Xz(Box::new(liblzma::write::XzEncoder::new(output, level))),
        }
    }

    /// Writes what is left and gives the output back, not flushed.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(output) => Ok(output),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Bzip2(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Bzip2(encoder) => encoder.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Bzip2(encoder) => encoder.flush(),
            Self::Xz(encoder) => encoder.flush(),
        }
    }
}

impl<W: Write> fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compressor")
    }
}

/// Gives the plain content of a compressed stream. One that ends early or is damaged gives an error.
pub enum Decompressor<R: BufRead> {
    /// As it is.
    Plain(R),
    /// gzip, of one or several members.
    Gzip(Box<flate2::bufread::MultiGzDecoder<R>>),
    /// bzip2, of one or several streams.
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<R>>),
    /// xz, of one or several streams.
    Xz(Box<liblzma::bufread::XzDecoder<R>>),
}

impl<R: BufRead> Decompressor<R> {
    /// Begins to read `input`, whose compression is seen from its first bytes.
    ///
    /// # Errors
    /// Those of `input`.
    pub fn detect(mut input: R) -> io::Result<Self> {
        Ok(match Compression::detect(input.fill_buf()?) {
            None => Self::Plain(input),
            Some(Compression::Gzip) => Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
            Some(Compression::Bzip2) => Self::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(input))),
            Some(Compression::Xz) => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
                        .map_err(io::Error::other)?;
                Self::Xz(Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream)))
            }
        })
    }

    /// What it reads from.
    pub fn into_inner(self) -> R {
        match self {
            Self::Plain(input) => input,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Bzip2(decoder) => decoder.into_inner(),
            Self::Xz(decoder) => decoder.into_inner(),
        }
    }
}

impl<R: BufRead> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
        }
    }
}

impl<R: BufRead> fmt::Debug for Decompressor<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decompressor")
    }
}
