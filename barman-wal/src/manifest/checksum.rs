//! The checksums that manifests use.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::{from_hex, to_hex};

/// A checksum algorithm of `BASE_BACKUP ... MANIFEST_CHECKSUMS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// No checksums.
    None,
    /// CRC-32C, the default.
    Crc32c,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A name that is no checksum algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a manifest checksum algorithm")]
pub struct UnknownAlgorithm {
    name: String,
}

impl Algorithm {
    /// As in the manifest and on the replication connection: `CRC32C`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Crc32c => "CRC32C",
            Self::Sha224 => "SHA224",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }

    /// The length of a checksum in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc32c => 4,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// In either case, as PostgreSQL.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            Self::None,
            Self::Crc32c,
            Self::Sha224,
            Self::Sha256,
            Self::Sha384,
            Self::Sha512,
        ]
        .into_iter()
        .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
        .ok_or_else(|| UnknownAlgorithm {
            name: crate::text::excerpt(text),
        })
    }
}

/// The checksum of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// By which algorithm; never [`Algorithm::None`].
    pub algorithm: Algorithm,
    /// In the order of the manifest's hexadecimal digits. A CRC-32C is in the server's byte order, which is little
    /// endian on all machines that we know.
    pub bytes: Vec<u8>,
}

impl Checksum {
    /// Reads the digits of a manifest; `None` if they are no checksum of this algorithm.
    #[must_use]
    pub fn from_hex(algorithm: Algorithm, text: &str) -> Option<Self> {
        let bytes = from_hex(text)?;
        (algorithm != Algorithm::None && bytes.len() == algorithm.length())
            .then_some(Self { algorithm, bytes })
    }

    /// The digits of a manifest, lower case.
    #[must_use]
    pub fn to_hex(&self) -> String {
        to_hex(&self.bytes)
    }
}

/// Computes a checksum from pieces of content.
#[derive(Debug, Clone)]
pub struct Hasher(State);

#[derive(Debug, Clone)]
enum State {
    None,
    Crc32c(u32),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    /// Begins with empty content.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::None => State::None,
            Algorithm::Crc32c => State::Crc32c(0),
            Algorithm::Sha224 => State::Sha224(Sha224::new()),
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha384 => State::Sha384(Sha384::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Which checksum it computes.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::None => Algorithm::None,
            State::Crc32c(_) => Algorithm::Crc32c,
            State::Sha224(_) => Algorithm::Sha224,
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha384(_) => Algorithm::Sha384,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::None => {}
            State::Crc32c(crc) => *crc = crate::crc::append(*crc, bytes),
            State::Sha224(hash) => hash.update(bytes),
            State::Sha256(hash) => hash.update(bytes),
            State::Sha384(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The checksum of all pieces; `None` for [`Algorithm::None`].
    #[must_use]
    pub fn finish(self) -> Option<Checksum> {
        let algorithm = self.algorithm();
        let bytes = match self.0 {
            State::None => return None,
            State::Crc32c(crc) => crc.to_le_bytes().to_vec(),
            State::Sha224(hash) => hash.finalize().to_vec(),
            State::Sha256(hash) => hash.finalize().to_vec(),
            State::Sha384(hash) => hash.finalize().to_vec(),
            State::Sha512(hash) => hash.finalize().to_vec(),
        };
        Some(Checksum { algorithm, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_known_content() {
        for (algorithm, content, digits) in [
            // From a manifest that PostgreSQL 15 wrote for PG_VERSION.
            (Algorithm::Crc32c, &b"15\n"[..], "8a744722"),
            (Algorithm::Crc32c, b"", "00000000"),
            (
                Algorithm::Sha224,
                b"abc",
                "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
            ),
            (
                Algorithm::Sha256,
                b"abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ] {
            let mut hasher = Hasher::new(algorithm);
            for piece in content.chunks(2) {
                hasher.update(piece);
            }
            let sum = hasher.finish().unwrap();
            assert_eq!(sum.to_hex(), digits);
            assert_eq!(Checksum::from_hex(algorithm, &digits.to_uppercase()), Some(sum));
        }
        for algorithm in [Algorithm::Sha384, Algorithm::Sha512] {
            assert_eq!(
                Hasher::new(algorithm).finish().unwrap().bytes.len(),
                algorithm.length()
            );
        }
        assert_eq!(Hasher::new(Algorithm::None).finish(), None);
    }

    #[test]
    fn names_and_digits() {
        assert_eq!("sha384".parse(), Ok(Algorithm::Sha384));
        assert!("md5".parse::<Algorithm>().is_err());
        for bad in ["", "8a7447", "8a74472200", "8a74472g", "+a744722", "\u{e9}a7447"] {
            assert_eq!(Checksum::from_hex(Algorithm::Crc32c, bad), None, "{bad}");
        }
        assert_eq!(Checksum::from_hex(Algorithm::None, ""), None);
    }
}
