//! The compressions of archived WAL: their names in Barman's configuration and catalogue, recognising them by their
//! first bytes, reading and writing them as streams.
//!
//! The gzip family is behind the cargo feature `gzip`; the others are known by name and by their first bytes, and
//! refused with [`CodecError::NotAvailable`]. What is written is reproducible: the same content, algorithm and level
//! give the same bytes, without time stamps or names. What is read may consist of several members.
//!
//! ```
//! # #[cfg(feature = "gzip")] {
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

mod openpgp;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

pub use openpgp::looks_encrypted;

/// How many first bytes of a file [`Algorithm::detect`] and [`looks_encrypted`] look at.
pub const DETECT_LENGTH: usize = 64;

/// A compression by its name in the option `compression` and in the fourth field of `xlog.db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Not compressed; `None` in the catalogue.
    None,
    /// `gzip`.
    Gzip,
    /// `pygzip`: the same format.
    Pygzip,
    /// `pigz`: the same format.
    Pigz,
    /// `bzip2`.
    Bzip2,
    /// `pybzip2`: the same format.
    Pybzip2,
    /// `xz`.
    Xz,
    /// `zstd`.
    Zstd,
    /// `lz4`, the frame format.
    Lz4,
    /// `snappy`, the framing format.
    Snappy,
    /// `custom`: the user's own filters.
    Custom,
}

/// A name that is no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a WAL compression")]
pub struct UnknownAlgorithm {
    name: String,
}

/// Why a compression cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// This program cannot read or write it.
    #[error("compression `{0}` is not yet available")]
    NotAvailable(Algorithm),
}

/// In the order in which Barman tests first bytes: that of the names. `custom` comes second.
const MAGIC: [(Algorithm, &[u8]); 6] = [
    (Algorithm::Bzip2, b"BZh"),
    (Algorithm::Gzip, &[0x1F, 0x8B, 0x08]),
    (Algorithm::Lz4, &[0x04, 0x22, 0x4D, 0x18]),
    (Algorithm::Snappy, b"\xFF\x06\x00\x00sNaPpY"),
    (Algorithm::Xz, b"\xFD7zXZ\x00"),
    (Algorithm::Zstd, &[0x28, 0xB5, 0x2F, 0xFD]),
];

const ALL: [Algorithm; 11] = [
    Algorithm::None,
    Algorithm::Gzip,
    Algorithm::Pygzip,
    Algorithm::Pigz,
    Algorithm::Bzip2,
    Algorithm::Pybzip2,
    Algorithm::Xz,
    Algorithm::Zstd,
    Algorithm::Lz4,
    Algorithm::Snappy,
    Algorithm::Custom,
];

impl Algorithm {
    /// The name in the configuration; `none` for [`Algorithm::None`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Pygzip => "pygzip",
            Self::Pigz => "pigz",
            Self::Bzip2 => "bzip2",
            Self::Pybzip2 => "pybzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
            Self::Custom => "custom",
        }
    }

    /// The algorithm that writes the same format and that the first bytes are taken for: `gzip` for `pigz`.
    #[must_use]
    pub const fn format(self) -> Self {
        match self {
            Self::Pygzip | Self::Pigz => Self::Gzip,
            Self::Pybzip2 => Self::Bzip2,
            other => other,
        }
    }

    /// Whether [`encoder`] and [`decoder`] know it in this build.
    #[must_use]
    pub const fn is_available(self) -> bool {
        let format = self.format();
        matches!(format, Self::None) || (cfg!(feature = "gzip") && matches!(format, Self::Gzip))
    }

    /// Recognises compressed content by its first [`DETECT_LENGTH`] bytes. `custom_magic` is the option
    /// `custom_compression_magic`, which wins over all but bzip2. `None`: not compressed, as far as can be told.
    #[must_use]
    pub fn detect(first: &[u8], custom_magic: Option<&[u8]>) -> Option<Self> {
        let known = MAGIC
            .iter()
            .find(|(_, magic)| first.starts_with(magic))
            .map(|(algorithm, _)| *algorithm);
        match (known, custom_magic) {
            (Some(Self::Bzip2), _) => known,
            (_, Some(magic)) if !magic.is_empty() && first.starts_with(magic) => Some(Self::Custom),
            _ => known,
        }
    }

    /// The lowest, the highest level, and those that `low`, `medium` and `high` mean. `None`: it has no levels.
    const fn levels(self) -> Option<Levels> {
        let (lowest, highest, low, medium, high) = match self.format() {
            Self::Gzip => (1, 9, 1, 6, 9),
            Self::Bzip2 => (1, 9, 1, 5, 9),
            Self::Xz => (1, 9, 1, 3, 5),
            Self::Zstd => (-22, 22, 1, 4, 9),
            Self::Lz4 => (0, 16, 0, 6, 10),
            _ => return None,
        };
        Some(Levels {
            lowest,
            highest,
            low,
            medium,
            high,
        })
    }
}

struct Levels {
    lowest: i32,
    highest: i32,
    low: i32,
    medium: i32,
    high: i32,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// In either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ALL.into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownAlgorithm {
                name: crate::text::excerpt(text),
            })
    }
}

/// The option `compression_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// `low`: quick.
    Low,
    /// `medium`, the default.
    #[default]
    Medium,
    /// `high`: small.
    High,
    /// A number, cut down to what the algorithm has.
    Number(i32),
}

impl Level {
    /// The level in the algorithm's own numbers; `None` when it has no levels.
    #[must_use]
    pub fn of(self, algorithm: Algorithm) -> Option<i32> {
        let levels = algorithm.levels()?;
        Some(match self {
            Self::Low => levels.low,
            Self::Medium => levels.medium,
            Self::High => levels.high,
            Self::Number(number) => number.clamp(levels.lowest, levels.highest),
        })
    }
}

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

/// Gives the plain content of something compressed. Content that ends early or is damaged gives an error, never a
/// short success.
pub struct Decoder<R: Read>(Decoding<R>);

enum Decoding<R: Read> {
    Plain(R),
    #[cfg(feature = "gzip")]
    Gzip(Box<flate2::read::MultiGzDecoder<R>>),
}

/// Begins to decompress `input`, which need not be buffered.
///
/// # Errors
/// [`CodecError::NotAvailable`].
pub fn decoder<R: Read>(algorithm: Algorithm, input: R) -> Result<Decoder<R>, CodecError> {
    match algorithm.format() {
        Algorithm::None => Ok(Decoder(Decoding::Plain(input))),
        #[cfg(feature = "gzip")]
        Algorithm::Gzip => Ok(Decoder(Decoding::Gzip(Box::new(
            flate2::read::MultiGzDecoder::new(input),
        )))),
        _ => Err(CodecError::NotAvailable(algorithm)),
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Decoding::Plain(input) => input.read(buffer),
            #[cfg(feature = "gzip")]
            Decoding::Gzip(input) => input.read(buffer),
        }
    }
}

impl<R: Read> fmt::Debug for Decoder<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Decoder")
    }
}

/// Compresses what is written to it. Without [`Encoder::finish`] the output is incomplete.
pub struct Encoder<W: Write>(Encoding<W>);

enum Encoding<W: Write> {
    Plain(W),
    #[cfg(feature = "gzip")]
    Gzip(Box<flate2::write::GzEncoder<W>>),
}

/// Begins to compress into `output`.
///
/// # Errors
/// [`CodecError::NotAvailable`].
pub fn encoder<W: Write>(algorithm: Algorithm, level: Level, output: W) -> Result<Encoder<W>, CodecError> {
    match algorithm.format() {
        Algorithm::None => Ok(Encoder(Encoding::Plain(output))),
        #[cfg(feature = "gzip")]
        Algorithm::Gzip => {
            let level = level
                .of(algorithm)
                .and_then(|level| u32::try_from(level).ok())
                .unwrap_or(6);
            // No name and no time in the header: a segment that is sent again gives the same bytes.
            let encoder = flate2::GzBuilder::new()
                .mtime(0)
                .write(output, flate2::Compression::new(level));
            Ok(Encoder(Encoding::Gzip(Box::new(encoder))))
        }
        _ => {
            let _ = level;
            Err(CodecError::NotAvailable(algorithm))
        }
    }
}

impl<W: Write> Encoder<W> {
    /// Writes what is left and gives the output back, not flushed.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Encoding::Plain(output) => Ok(output),
            #[cfg(feature = "gzip")]
            Encoding::Gzip(output) => output.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Encoding::Plain(output) => output.write(bytes),
            #[cfg(feature = "gzip")]
            Encoding::Gzip(output) => output.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Encoding::Plain(output) => output.flush(),
            #[cfg(feature = "gzip")]
            Encoding::Gzip(output) => output.flush(),
        }
    }
}

impl<W: Write> fmt::Debug for Encoder<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Encoder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_first_bytes() {
        for algorithm in ALL {
            assert_eq!(algorithm.name().to_uppercase().parse(), Ok(algorithm));
        }
        assert!("zip".parse::<Algorithm>().is_err());
        for (bytes, found) in [
            (&b"BZh91AY"[..], Some(Algorithm::Bzip2)),
            (b"\x1F\x8B\x08\x00", Some(Algorithm::Gzip)),
            (b"\x1F\x8B\x07\x00", None),
            (b"\x04\x22\x4D\x18\x00", Some(Algorithm::Lz4)),
            (b"\xFF\x06\x00\x00sNaPpY\x01", Some(Algorithm::Snappy)),
            (b"\xFD7zXZ\x00\x00", Some(Algorithm::Xz)),
            (b"\x28\xB5\x2F\xFD", Some(Algorithm::Zstd)),
            (b"\x28\xB5\x2F", None),
            (b"\x10\xD1\x02\x00", None),
            (b"", None),
        ] {
            assert_eq!(Algorithm::detect(bytes, None), found, "{bytes:?}");
        }
        assert_eq!(
            Algorithm::detect(b"\x1F\x8B\x08", Some(b"\x1F\x8B")),
            Some(Algorithm::Custom)
        );
        assert_eq!(Algorithm::detect(b"BZh9", Some(b"BZ")), Some(Algorithm::Bzip2));
        assert_eq!(Algorithm::detect(b"plain", Some(b"other")), None);
        assert_eq!(Algorithm::detect(b"plain", Some(b"")), None);
    }

    #[test]
    fn levels() {
        for (algorithm, low, medium, high, below, above) in [
            (Algorithm::Gzip, 1, 6, 9, 1, 9),
            (Algorithm::Pigz, 1, 6, 9, 1, 9),
            (Algorithm::Pybzip2, 1, 5, 9, 1, 9),
            (Algorithm::Xz, 1, 3, 5, 1, 9),
            (Algorithm::Zstd, 1, 4, 9, -22, 22),
            (Algorithm::Lz4, 0, 6, 10, 0, 16),
        ] {
            let of = |level: Level| level.of(algorithm).unwrap();
            assert_eq!(
                (of(Level::Low), of(Level::Medium), of(Level::High)),
                (low, medium, high)
            );
            assert_eq!((of(Level::Number(-100)), of(Level::Number(100))), (below, above));
        }
        assert_eq!(Level::High.of(Algorithm::Snappy), None);
    }

    #[test]
    fn what_is_not_available_says_so_by_name() {
        let error = decoder(Algorithm::Zstd, io::empty()).unwrap_err();
        assert_eq!(error.to_string(), "compression `zstd` is not yet available");
        assert_eq!(
            encoder(Algorithm::Custom, Level::Low, io::sink()).unwrap_err(),
            CodecError::NotAvailable(Algorithm::Custom)
        );
        assert!(!Algorithm::Pybzip2.is_available());
        assert!(Algorithm::None.is_available());
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

    #[cfg(feature = "gzip")]
    mod gzip {
        use proptest::prelude::*;

        use super::*;

        fn pack(content: &[u8], level: Level) -> Vec<u8> {
            let mut encoder = encoder(Algorithm::Gzip, level, Vec::new()).unwrap();
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }

        fn unpack(stored: &[u8]) -> io::Result<Vec<u8>> {
            let mut plain = Vec::new();
            decoder(Algorithm::Pygzip, stored)
                .unwrap()
                .read_to_end(&mut plain)?;
            Ok(plain)
        }

        #[test]
        fn the_header_has_no_time_and_no_name() {
            let stored = pack(b"content", Level::Medium);
            assert_eq!(stored[..8], [0x1F, 0x8B, 8, 0, 0, 0, 0, 0]);
            assert_eq!(stored, pack(b"content", Level::Medium));
        }

        #[test]
        fn members_in_a_row_and_broken_streams() {
            let two = [pack(b"one ", Level::Low), pack(b"two", Level::High)].concat();
            assert_eq!(unpack(&two).unwrap(), b"one two");
            for cut in 1..two.len() {
                // A cut exactly between the members is a whole file.
                let whole = unpack(&two[..cut]).is_ok_and(|plain| plain == b"one ");
                assert!(whole || unpack(&two[..cut]).is_err(), "{cut}");
            }
            let mut damaged = pack(&[5; 1000], Level::Low);
            let at = damaged.len() - 5;
            damaged[at] ^= 1;
            assert!(unpack(&damaged).is_err());
        }

        #[test]
        fn the_ordinary_program_reads_it() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("x.gz");
            std::fs::write(&path, pack(&[1; 100_000], Level::Low)).unwrap();
            let status = std::process::Command::new("gzip")
                .arg("-t")
                .arg(&path)
                .status()
                .unwrap();
            assert!(status.success());
        }

        proptest! {
            #[test]
            fn round_trip(content in proptest::collection::vec(any::<u8>(), 0..2000), level in -2i32..12) {
                prop_assert_eq!(unpack(&pack(&content, Level::Number(level))).unwrap(), content);
            }
        }
    }
}
