//! Decompressing.

use std::fmt;
use std::io::{self, Read};

#[cfg(feature = "lz4")]
use super::lz4::Lz4;
#[cfg(any(feature = "gzip", feature = "bzip2", feature = "xz", feature = "zstd"))]
use super::members::Members;
#[cfg(feature = "snappy")]
use super::snappy::Snappy;
use super::{Algorithm, CodecError};

/// Gives the plain content of something compressed, of all its members, streams or frames. Content that ends early,
/// is damaged or followed by something else gives an error that holds a [`DecodeError`](super::DecodeError), never a
/// short success. (The framing of snappy has no end: whatever ends with a whole chunk is whole.)
pub struct Decoder<R: Read>(Decoding<R>);

enum Decoding<R: Read> {
    Plain(R),
    #[cfg(any(feature = "gzip", feature = "bzip2", feature = "xz", feature = "zstd"))]
    Members(Box<Members<R>>),
    #[cfg(feature = "lz4")]
    Lz4(Box<Lz4<R>>),
    #[cfg(feature = "snappy")]
    Snappy(Box<Snappy<R>>),
}

/// Begins to decompress `input`, which need not be buffered. Memory is bounded whatever the input says: about 130 MiB
/// for xz and zstd, a few MiB for the others.
///
/// # Errors
/// [`CodecError`].
pub fn decoder<R: Read>(algorithm: Algorithm, input: R) -> Result<Decoder<R>, CodecError> {
    decoder_on(algorithm, 1, input)
}

/// As [`decoder`], with so many threads, that of the caller included, for gzip as [`encoder`](super::encoder) writes it;
/// the others use that of the caller. Each thread takes about 3 MiB. Only the caller's reads `input`, which is ahead of
/// what is given; what is read does not depend on it.
///
/// # Errors
/// [`CodecError`].
pub fn decoder_on<R: Read>(algorithm: Algorithm, threads: usize, input: R) -> Result<Decoder<R>, CodecError> {
    let _ = threads;
    let decoding = match algorithm.format() {
        Algorithm::None => Decoding::Plain(input),
        #[cfg(feature = "gzip")]
        Algorithm::Gzip => members(algorithm, threads, input)?,
        #[cfg(feature = "bzip2")]
        Algorithm::Bzip2 => members(algorithm, threads, input)?,
        #[cfg(feature = "xz")]
        Algorithm::Xz => members(algorithm, threads, input)?,
        #[cfg(feature = "zstd")]
        Algorithm::Zstd => members(algorithm, threads, input)?,
        #[cfg(feature = "lz4")]
        Algorithm::Lz4 => Decoding::Lz4(Box::new(Lz4::new(input))),
        #[cfg(feature = "snappy")]
        Algorithm::Snappy => Decoding::Snappy(Box::new(Snappy::new(input))),
        Algorithm::Custom => return Err(CodecError::Custom),
        #[allow(unreachable_patterns, reason = "with all features there is no other")]
        _ => return Err(CodecError::NotAvailable(algorithm)),
    };
    Ok(Decoder(decoding))
}

#[cfg(any(feature = "gzip", feature = "bzip2", feature = "xz", feature = "zstd"))]
fn members<R: Read>(algorithm: Algorithm, threads: usize, input: R) -> Result<Decoding<R>, CodecError> {
    Ok(Decoding::Members(Box::new(Members::new(
        algorithm, threads, input,
    )?)))
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Decoding::Plain(input) => input.read(buffer),
            #[cfg(any(feature = "gzip", feature = "bzip2", feature = "xz", feature = "zstd"))]
            Decoding::Members(input) => input.read(buffer),
            #[cfg(feature = "lz4")]
            Decoding::Lz4(input) => input.read(buffer),
            #[cfg(feature = "snappy")]
            Decoding::Snappy(input) => input.read(buffer),
        }
    }
}

impl<R: Read> fmt::Debug for Decoder<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Decoder")
    }
}
