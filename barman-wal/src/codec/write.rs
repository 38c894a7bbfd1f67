//! Compressing.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Algorithm, CodecError, Level};

/// WAL is compressed segment by segment, mostly of 16 MiB: a window beyond that finds little and takes much memory,
/// several times of its own size, for each of the threads. [`stream_encoder`] takes that of the level.
#[cfg(any(feature = "xz", feature = "zstd"))]
const WINDOW_LOG: u32 = 24;

/// Compresses what is written to it. Without [`Encoder::finish`] the output is incomplete, and cannot be taken for
/// complete.
pub struct Encoder<W: Write> {
    /// Before what it closes: fields are dropped in this order.
    given_up: GivenUp,
    encoding: Encoding<W>,
}

enum Encoding<W: Write> {
    Plain(Gate<W>),
    #[cfg(feature = "gzip")]
    Gzip(Box<super::gzip::Gzip<Gate<W>>>),
    #[cfg(feature = "gzip")]
    OneMember(Box<flate2::write::GzEncoder<Gate<W>>>),
    #[cfg(feature = "bzip2")]
    Bzip2(Box<bzip2::write::BzEncoder<Gate<W>>>),
    #[cfg(feature = "xz")]
    Xz(Box<liblzma::write::XzEncoder<Gate<W>>>),
    #[cfg(feature = "zstd")]
    Zstd(Box<zstd::stream::write::Encoder<'static, Gate<W>>>),
    #[cfg(feature = "lz4")]
    Lz4(Box<lz4_flex::frame::FrameEncoder<Gate<W>>>),
    #[cfg(feature = "snappy")]
    Snappy {
        encoder: Box<snap::write::FrameEncoder<Gate<W>>>,
        empty: bool,
    },
}

/// The way to an output. Most of the libraries end their stream when they are dropped: whoever gives up in the middle,
/// for an error or a request to stop, would leave something shorter that looks whole.
struct Gate<W> {
    output: W,
    closed: Arc<AtomicBool>,
}

/// Closes the gate when it is dropped.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<W: Write> Write for Gate<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.output.flush()
    }
}

impl<W> Gate<W> {
    fn new(output: W) -> (Self, GivenUp) {
        let closed = Arc::new(AtomicBool::new(false));
        let given_up = GivenUp(Arc::clone(&closed));
        (Self { output, closed }, given_up)
    }
}

/// Begins to compress into `output`. [`Algorithm::Pigz`] compresses on all processors.
///
/// # Errors
/// [`CodecError`].
pub fn encoder<W: Write>(algorithm: Algorithm, level: Level, output: W) -> Result<Encoder<W>, CodecError> {
    let threads = match algorithm {
        Algorithm::Pigz => crate::processors(),
        _ => 1,
    };
    encoder_on(algorithm, level, threads, output)
}

/// As [`encoder`], with so many threads for [`Algorithm::Pigz`]; the others use that of the caller. What is written
/// does not depend on it.
///
/// # Errors
/// [`CodecError`].
pub fn encoder_on<W: Write>(
    algorithm: Algorithm,
    level: Level,
    threads: usize,
    output: W,
) -> Result<Encoder<W>, CodecError> {
    let number = level.of(algorithm).unwrap_or_default();
    let positive = u32::try_from(number).unwrap_or_default();
    let (output, given_up) = Gate::new(output);
    let encoding = match algorithm {
        Algorithm::None => Encoding::Plain(output),
        #[cfg(feature = "gzip")]
        Algorithm::Gzip | Algorithm::Pygzip => {
            Encoding::Gzip(Box::new(super::gzip::Gzip::new(positive, 1, output)))
        }
        #[cfg(feature = "pigz")]
        Algorithm::Pigz => Encoding::Gzip(Box::new(super::gzip::Gzip::new(positive, threads, output))),
        #[cfg(feature = "bzip2")]
        Algorithm::Bzip2 | Algorithm::Pybzip2 => Encoding::Bzip2(Box::new(bzip2::write::BzEncoder::new(
            output,
            bzip2::Compression::new(positive),
        ))),
        #[cfg(feature = "xz")]
        Algorithm::Xz => Encoding::Xz(Box::new(liblzma::write::XzEncoder::new_stream(
            output,
            xz_stream(positive, Window::OfSegment)?,
        ))),
        #[cfg(feature = "zstd")]
        Algorithm::Zstd => Encoding::Zstd(Box::new(zstd_encoder(number, output)?)),
        // Barman's levels are those of the C library's slow compressor, which the Rust one does not have.
        #[cfg(feature = "lz4")]
        Algorithm::Lz4 => Encoding::Lz4(Box::new(super::lz4::encoder(output))),
        #[cfg(feature = "snappy")]
        Algorithm::Snappy => Encoding::Snappy {
            encoder: Box::new(snap::write::FrameEncoder::new(output)),
            empty: true,
        },
        Algorithm::Custom => return Err(CodecError::Custom),
        #[allow(unreachable_patterns, reason = "with all features there is no other")]
        _ => return Err(CodecError::NotAvailable(algorithm)),
    };
    let _ = (positive, threads);
    Ok(Encoder { given_up, encoding })
}

/// As [`encoder`], for content of any length that other programs read as a stream: gzip is one member, on the thread of
/// the caller (Python's `tarfile` reads only the first of several from a stream), and xz has the window of its level.
/// `level` is a number as the format's own programs take it (`xz -0` too), cut down to what the format has.
///
/// # Errors
/// [`CodecError`].
pub fn stream_encoder<W: Write>(
    algorithm: Algorithm,
    level: u32,
    output: W,
) -> Result<Encoder<W>, CodecError> {
    match algorithm.format() {
        #[cfg(feature = "gzip")]
        Algorithm::Gzip => {
            let (output, given_up) = Gate::new(output);
            let level = flate2::Compression::new(level.clamp(1, 9));
            let encoding = Encoding::OneMember(Box::new(flate2::write::GzEncoder::new(output, level)));
            Ok(Encoder { given_up, encoding })
        }
        #[cfg(feature = "xz")]
        Algorithm::Xz => {
            let (output, given_up) = Gate::new(output);
            let stream = xz_stream(level.min(9), Window::OfLevel)?;
            let encoding = Encoding::Xz(Box::new(liblzma::write::XzEncoder::new_stream(output, stream)));
            Ok(Encoder { given_up, encoding })
        }
        _ => encoder(
            algorithm,
            Level::Number(i32::try_from(level).unwrap_or(i32::MAX)),
            output,
        ),
    }
}

/// How far back xz looks.
#[cfg(feature = "xz")]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Window {
    /// As far as a segment is long, at the most.
    OfSegment,
    /// As far as the level says.
    OfLevel,
}

#[cfg(feature = "xz")]
fn xz_stream(level: u32, window: Window) -> Result<liblzma::stream::Stream, CodecError> {
    use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
    let begin = || {
        // From 8 on the levels differ only by their window.
        if level < 8 || window == Window::OfLevel {
            return Stream::new_easy_encoder(level, Check::Crc64);
        }
        let mut options = LzmaOptions::new_preset(level)?;
        options.dict_size(1 << WINDOW_LOG);
        let mut filters = Filters::new();
        filters.lzma2(&options);
        Stream::new_stream_encoder(&filters, Check::Crc64)
    };
    begin().map_err(|error| CodecError::Setup {
        algorithm: Algorithm::Xz,
        reason: error.to_string(),
    })
}

#[cfg(feature = "zstd")]
fn zstd_encoder<W: Write>(
    level: i32,
    output: W,
) -> Result<zstd::stream::write::Encoder<'static, W>, CodecError> {
    let begin = || -> io::Result<_> {
        let mut encoder = zstd::stream::write::Encoder::new(output, level)?;
        encoder.include_checksum(true)?;
        // From 20 on the levels take windows of up to 128 MiB.
        if level >= 20 {
            encoder.window_log(WINDOW_LOG)?;
        }
        Ok(encoder)
    };
    begin().map_err(|error| CodecError::Setup {
        algorithm: Algorithm::Zstd,
        reason: error.to_string(),
    })
}

impl<W: Write> Encoder<W> {
    /// Writes what is left and gives the output back, not flushed.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<W> {
        let Self { given_up, encoding } = self;
        let gate = encoding.finish()?;
        drop(given_up);
        Ok(gate.output)
    }
}

impl<W: Write> Encoding<W> {
    fn finish(self) -> io::Result<Gate<W>> {
        match self {
            Self::Plain(output) => Ok(output),
            #[cfg(feature = "gzip")]
            Encoding::Gzip(encoder) => encoder.finish(),
            #[cfg(feature = "gzip")]
            Encoding::OneMember(encoder) => encoder.finish(),
            #[cfg(feature = "bzip2")]
            Encoding::Bzip2(encoder) => encoder.finish(),
            #[cfg(feature = "xz")]
            Encoding::Xz(encoder) => encoder.finish(),
            #[cfg(feature = "zstd")]
            Encoding::Zstd(encoder) => encoder.finish(),
            #[cfg(feature = "lz4")]
            Encoding::Lz4(encoder) => encoder.finish().map_err(|error| match error {
                lz4_flex::frame::Error::IoError(error) => error,
                other => io::Error::other(other),
            }),
            #[cfg(feature = "snappy")]
            Encoding::Snappy { encoder, empty } => {
                let mut output = encoder
                    .into_inner()
                    .map_err(|error| io::Error::new(error.error().kind(), error.error().to_string()))?;
                if empty {
                    // The library writes the beginning with the first chunk.
                    output.write_all(Algorithm::Snappy.magic())?;
                }
                Ok(output)
            }
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.encoding {
            Encoding::Plain(output) => output.write(bytes),
            #[cfg(feature = "gzip")]
            Encoding::Gzip(encoder) => encoder.write(bytes),
            #[cfg(feature = "gzip")]
            Encoding::OneMember(encoder) => encoder.write(bytes),
            #[cfg(feature = "bzip2")]
            Encoding::Bzip2(encoder) => encoder.write(bytes),
            #[cfg(feature = "xz")]
            Encoding::Xz(encoder) => encoder.write(bytes),
            #[cfg(feature = "zstd")]
            Encoding::Zstd(encoder) => encoder.write(bytes),
            #[cfg(feature = "lz4")]
            Encoding::Lz4(encoder) => encoder.write(bytes),
            #[cfg(feature = "snappy")]
            Encoding::Snappy { encoder, empty } => {
                *empty &= bytes.is_empty();
                encoder.write(bytes)
            }
        }
    }

    /// What is written in the end does depend on where it was flushed.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.encoding {
            Encoding::Plain(output) => output.flush(),
            #[cfg(feature = "gzip")]
            Encoding::Gzip(encoder) => encoder.flush(),
            #[cfg(feature = "gzip")]
            Encoding::OneMember(encoder) => encoder.flush(),
            #[cfg(feature = "bzip2")]
            Encoding::Bzip2(encoder) => encoder.flush(),
            #[cfg(feature = "xz")]
            Encoding::Xz(encoder) => encoder.flush(),
            #[cfg(feature = "zstd")]
            Encoding::Zstd(encoder) => encoder.flush(),
            #[cfg(feature = "lz4")]
            Encoding::Lz4(encoder) => encoder.flush(),
            #[cfg(feature = "snappy")]
            Encoding::Snappy { encoder, .. } => encoder.flush(),
        }
    }
}

impl<W: Write> fmt::Debug for Encoder<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Encoder")
    }
}
