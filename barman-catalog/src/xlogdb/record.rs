//! One line of the WAL catalogue.

use crate::python_literal::float_repr;
use barman_wal::WalFileName;
use std::fmt;

/// A short word of a record: the name of a compression or an encryption. At most [`Tag::MAX`] ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    len: u8,
    bytes: [u8; Tag::MAX],
}

impl Tag {
    /// The longest word.
    pub const MAX: usize = 15;

    /// The word `text`. `None` if it is empty, too long, not printable ASCII, or the word `None`, which stands for
    /// nothing in the file.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() || text == "None" || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self {
            len: u8::try_from(text.len()).ok()?,
            bytes,
        })
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes
            .get(..usize::from(self.len))
            .and_then(|b| std::str::from_utf8(b).ok())
            .unwrap_or_default()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Tag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One archived file. `Display` is its line in the catalogue, without the line end.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct WalRecord {
    /// Its name.
    pub name: WalFileName,
    /// Its size in the archive, bytes, after compression and encryption.
    pub size: u64,
    /// When the file that arrived was last modified, seconds since the epoch.
    pub time: f64,
    /// The name of its compression as configured when it was archived.
    pub compression: Option<Tag>,
    /// The name of its encryption.
    pub encryption: Option<Tag>,
}

impl WalRecord {
    /// The time of a record from a modification time, as Python computes it: in doubles, nanoseconds times 1e-9.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "the loss is part of the format")]
    pub fn time_from(seconds: i64, nanoseconds: i64) -> f64 {
        seconds as f64 + 1e-9 * nanoseconds as f64
    }

    /// Reads a line of 3, 4 or 5 fields.
    ///
    /// # Errors
    /// Another number of fields; a name that is none; numbers that are none.
    pub fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let mut fields = [""; 5];
        let mut count = 0;
        let line = std::str::from_utf8(line).map_err(|_| "not text")?;
        for field in line.split_ascii_whitespace() {
            *fields.get_mut(count).ok_or("more than 5 fields")? = field;
            count += 1;
        }
        let [name, size, time, compression, encryption] = fields;
        if count < 3 {
            return Err("fewer than 3 fields");
        }
        let tag = |word: &str| match word {
            "" | "None" => Ok(None),
            word => Tag::new(word)
                .map(Some)
                .ok_or("a compression or encryption that is no short word"),
        };
        Ok(Self {
            name: name.parse().map_err(|_| "not the name of a WAL file")?,
            size: size.parse().map_err(|_| "a size that is no number")?,
            time: time
                .parse()
                .ok()
                .filter(|t: &f64| t.is_finite())
                .ok_or("a time that is no number")?,
            compression: tag(compression)?,
            encryption: tag(encryption)?,
        })
    }
}

impl fmt::Display for WalRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}", self.name, self.size, float_repr(self.time))?;
        for tag in [self.compression, self.encryption] {
            match tag {
                Some(tag) => write!(f, "\t{tag}")?,
                None => f.write_str("\tNone")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_ages_are_read_and_written_in_five_columns() {
        for (line, written) in [
            (
                "000000010000000000000005\t16523\t1795236795.0167494\tgzip\tNone",
                "000000010000000000000005\t16523\t1795236795.0167494\tgzip\tNone",
            ),
            (
                "000000010000000000000009.00000028.backup\t756\t1795238175.1423457\tgzip\tgpg",
                "000000010000000000000009.00000028.backup\t756\t1795238175.1423457\tgzip\tgpg",
            ),
            (
                "00000002.history 41 1795237087.0 None",
                "00000002.history\t41\t1795237087.0\tNone\tNone",
            ),
            (
                "00000001000000000000000A.partial  1 1700000000",
                "00000001000000000000000A.partial\t1\t1700000000.0\tNone\tNone",
            ),
        ] {
            assert_eq!(
                WalRecord::parse(line.as_bytes())
                    .map(|r| r.to_string())
                    .as_deref(),
                Ok(written),
                "{line}"
            );
        }
    }

    #[test]
    fn broken_lines_are_refused() {
        for line in [
            "",
            "000000010000000000000005",
            "000000010000000000000005 1",
            "000000010000000000000005 1 2 3 4 5",
            "walfile 1 2.0",
            "000000010000000000000005 -1 2.0",
            "000000010000000000000005 1 nan",
            "000000010000000000000005 1 2.0 averyveryverylongname",
        ] {
            assert!(WalRecord::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn times_lose_precision_as_python_loses_it() {
        assert_eq!(
            float_repr(WalRecord::time_from(1_795_236_423, 920_594_701)),
            "1795236423.9205947"
        );
        assert_eq!(float_repr(WalRecord::time_from(1_700_000_000, 0)), "1700000000.0");
    }
}
