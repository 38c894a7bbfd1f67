//! Archives that the server has compressed, decompressed as they arrive.

use std::io::{self, Read};

use super::CompressionMethod;

/// Whether this build can decompress it.
pub(super) const fn available(_method: CompressionMethod) -> bool {
    cfg!(feature = "compression")
}

/// The plain content of `input`. An input that ends early or is damaged gives an error.
#[cfg(feature = "compression")]
pub(super) fn decoder<'a>(
    method: CompressionMethod,
    input: impl Read + 'a,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match method {
        CompressionMethod::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
        CompressionMethod::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(input)),
        CompressionMethod::Zstd => Box::new(zstd::stream::read::Decoder::new(input)?),
    })
}

/// This build decompresses nothing.
#[cfg(not(feature = "compression"))]
pub(super) fn decoder<'a>(
    method: CompressionMethod,
    _input: impl Read + 'a,
) -> io::Result<Box<dyn Read + 'a>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{} is not built in", method.name()),
    ))
}
