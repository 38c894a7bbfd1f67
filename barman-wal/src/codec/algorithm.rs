//! The names of compressions, their first bytes, and their levels.

use std::fmt;
use std::str::FromStr;

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

/// In the order in which Barman tests first bytes: that of the names. `custom` comes second.
const MAGIC: [(Algorithm, &[u8]); 6] = [
    (Algorithm::Bzip2, b"BZh"),
    (Algorithm::Gzip, &[0x1F, 0x8B, 0x08]),
    (Algorithm::Lz4, &[0x04, 0x22, 0x4D, 0x18]),
    (Algorithm::Snappy, b"\xFF\x06\x00\x00sNaPpY"),
    (Algorithm::Xz, b"\xFD7zXZ\x00"),
    (Algorithm::Zstd, &[0x28, 0xB5, 0x2F, 0xFD]),
];

/// Every algorithm.
pub(super) const ALL: [Algorithm; 11] = [
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

    /// Whether [`encoder`](super::encoder) knows it in this build, and [`decoder`](super::decoder) its format. `custom`
    /// never is: its filters are programs, which only its user can run.
    #[must_use]
    pub const fn is_available(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip | Self::Pygzip => cfg!(feature = "gzip"),
            Self::Pigz => cfg!(feature = "pigz"),
            Self::Bzip2 | Self::Pybzip2 => cfg!(feature = "bzip2"),
            Self::Xz => cfg!(feature = "xz"),
            Self::Zstd => cfg!(feature = "zstd"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Snappy => cfg!(feature = "snappy"),
            Self::Custom => false,
        }
    }

    /// Recognises compressed content by its first [`DETECT_LENGTH`](super::DETECT_LENGTH) bytes. `custom_magic` is the option
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

    /// What the compressed data begins with; nothing for `none` and `custom`.
    #[cfg(any(
        feature = "gzip",
        feature = "bzip2",
        feature = "xz",
        feature = "zstd",
        feature = "lz4",
        feature = "snappy"
    ))]
    pub(super) fn magic(self) -> &'static [u8] {
        let format = self.format();
        MAGIC
            .iter()
            .find(|(algorithm, _)| *algorithm == format)
            .map_or(&[], |(_, magic)| magic)
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
}
