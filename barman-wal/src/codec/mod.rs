//! The compressions of archived WAL: their names in Barman's configuration and catalogue, recognising them by their
//! first bytes, reading and writing them as streams.
//!
//! Each is behind the cargo feature of its name (`codecs` is all of them); without it, it is known by name and by its
//! first bytes, and refused with [`CodecError::NotAvailable`]. What is written is reproducible: the same content,
//! algorithm and level give the same bytes, without time stamps or names. What is read may consist of several members.
//!
//! ```
//! # #[cfg(feature = "pigz")] {
//! use barman_wal::codec::{self, Algorithm, Level};
//! use std::io::{Read, Write};
//!
//! let mut encoder = codec::encoder(Algorithm::Pigz, Level::Low, Vec::new())?;
//! encoder.write_all(b"WAL")?;
//! let stored = encoder.finish()?;
//!
//! let found = Algorithm::detect(&stored, None);
//! assert_eq!(found, Some(Algorithm::Gzip)); // the bytes do not tell which program made them
//! let mut plain = String::new();
//! codec::decoder(Algorithm::Gzip, stored.as_slice())?.read_to_string(&mut plain)?;
//! assert_eq!(plain, "WAL");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod algorithm;
mod error;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(any(
    feature = "gzip",
    feature = "bzip2",
    feature = "xz",
    feature = "zstd",
    feature = "lz4",
    feature = "snappy"
))]
mod input;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(any(feature = "gzip", feature = "bzip2", feature = "xz", feature = "zstd"))]
mod members;
mod openpgp;
#[cfg(feature = "gzip")]
mod parts;
#[cfg(feature = "gzip")]
mod pool;
mod read;
#[cfg(feature = "snappy")]
mod snappy;
mod write;

use std::fs::File;
use std::io;
use std::path::Path;

pub use algorithm::{Algorithm, Level, UnknownAlgorithm};
pub use error::{CodecError, DecodeError, Fault};
pub use openpgp::looks_encrypted;
pub use read::{Decoder, decoder, decoder_on};
pub use write::{Encoder, encoder, encoder_on, stream_encoder};

/// How many first bytes of a file [`Algorithm::detect`] and [`looks_encrypted`] look at.
pub const DETECT_LENGTH: usize = 64;

/// The first [`DETECT_LENGTH`] bytes of an open file (fewer if it is shorter); its position does not change.
///
/// # Errors
/// It cannot be read.
pub fn first_bytes(file: &File) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; DETECT_LENGTH];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, u64::try_from(filled).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// [`Algorithm::detect`] for a file.
///
/// # Errors
/// It cannot be opened or read.
pub fn detect_file(path: &Path, custom_magic: Option<&[u8]>) -> io::Result<Option<Algorithm>> {
    Ok(Algorithm::detect(&first_bytes(&File::open(path)?)?, custom_magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_available_says_so_by_name() {
        for algorithm in algorithm::ALL {
            let result = encoder(algorithm, Level::Low, io::sink()).map(drop);
            assert_eq!(result.is_ok(), algorithm.is_available(), "{algorithm}");
            if let Err(error) = result {
                assert!(error.to_string().contains(&format!("`{algorithm}`")), "{error}");
            }
            let result = decoder(algorithm, io::empty()).map(drop);
            assert!(result.is_ok() || !algorithm.is_available(), "{algorithm}");
        }
        assert!(Algorithm::None.is_available());
        assert!(!Algorithm::Custom.is_available());
    }

    #[test]
    fn first_bytes_of_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, b"\x1F\x8B\x08").unwrap();
        assert_eq!(detect_file(&path, None).unwrap(), Some(Algorithm::Gzip));
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(
            first_bytes(&File::open(&path).unwrap()).unwrap(),
            [7; DETECT_LENGTH]
        );
        assert!(detect_file(&directory.path().join("y"), None).is_err());
    }
}
