//! Why something cannot be compressed or decompressed.

use std::io;

use super::Algorithm;

/// Why a compression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// This build of the library has no codec for it.
    #[error("compression `{0}` is not available in this build")]
    NotAvailable(Algorithm),
    /// `custom` is the user's own programs: no codec of this library.
    #[error("compression `custom` needs custom_compression_filter and custom_decompression_filter")]
    Custom,
    /// The codec could not begin, for want of memory.
    #[error("compression `{algorithm}` cannot begin: {reason}")]
    Setup {
        /// Which.
        algorithm: Algorithm,
        /// What its library says.
        reason: String,
    },
}

/// What is wrong with compressed content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} data {what}", algorithm.format())]
pub struct DecodeError {
    /// The compression.
    pub algorithm: Algorithm,
    /// What is wrong.
    pub what: Fault,
}

/// A kind of [`DecodeError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It ends before its end.
    #[error("is cut off")]
    Truncated,
    /// It is not what a compressor wrote, or has changed since.
    #[error("is damaged: {0}")]
    Corrupt(String),
    /// Behind its end comes something that is not compressed data.
    #[error("is followed by something else")]
    TrailingGarbage,
    /// Decompressing it takes more memory than this library gives it.
    #[error("needs more than {limit} MiB of memory")]
    TooBig {
        /// How much it gets, MiB.
        limit: u64,
    },
}

impl DecodeError {
    /// The reason of an error that a [`Decoder`](super::Decoder) gave; `None`: its input could not be read.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<DecodeError> for io::Error {
    /// [`Fault::TooBig`] is `Unsupported`: the content may be whole.
    fn from(error: DecodeError) -> Self {
        let kind = match error.what {
            Fault::Truncated => io::ErrorKind::UnexpectedEof,
            Fault::Corrupt(_) | Fault::TrailingGarbage => io::ErrorKind::InvalidData,
            Fault::TooBig { .. } => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}

impl From<CodecError> for io::Error {
    fn from(error: CodecError) -> Self {
        let kind = match error {
            CodecError::NotAvailable(_) | CodecError::Custom => io::ErrorKind::Unsupported,
            CodecError::Setup { .. } => io::ErrorKind::OutOfMemory,
        };
        Self::new(kind, error)
    }
}
