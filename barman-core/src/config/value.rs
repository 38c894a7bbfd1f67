//! The resolved value of an option, whatever its type.

use std::collections::BTreeMap;
use std::time::Duration;

use super::types::CompressionLevel;

/// The resolved value of an option.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Not set, and no default.
    #[default]
    Unset,
    /// A boolean.
    Bool(bool),
    /// An integer; seconds, kB/s, counts.
    Int(i64),
    /// A size in bytes.
    Size(u64),
    /// A text, or a word of an enumeration in its canonical case.
    Text(String),
    /// An interval (`last_wal_maximum_age` ...).
    Interval(Duration),
    /// `compression_level`.
    Level(CompressionLevel),
    /// A set of words, sorted (`backup_options`, `recovery_options`).
    Words(Vec<&'static str>),
    /// A list (`snapshot_disks`).
    List(Vec<String>),
    /// Rules name -> kB/s (`tablespace_bandwidth_limit`).
    Rules(BTreeMap<String, u64>),
}

impl Value {
    /// Whether the option has no value.
    #[must_use]
    pub fn is_unset(&self) -> bool {
        matches!(self, Self::Unset)
    }

    /// The text of a text value.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}
