//! Why WAL cannot be decoded.

use crate::lsn::Lsn;
use crate::page::SegmentHeaderError;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("WAL at {lsn}: {reason}")]
pub struct DecodeError {
    /// The page or record that cannot be read. `0/0` when not even the first page tells where it belongs.
    pub lsn: Lsn,
    /// What is wrong with it.
    pub reason: Reason,
}

impl DecodeError {
    /// Whether this is WAL of a version that we do not know, which says nothing about its condition.
    #[must_use]
    pub const fn is_unknown_format(&self) -> bool {
        matches!(self.reason, Reason::UnknownFormat { .. })
    }
}

/// What can be wrong with WAL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The first page has the magic number of no version that we know. Nothing is decoded.
    #[error("unknown format: {magic:#06X} is not the magic number of a WAL page of PostgreSQL 10 to 18")]
    UnknownFormat {
        /// `xlp_magic`.
        magic: u16,
    },
    /// The first page is not that of a segment, or of another segment than the expected one.
    #[error("{0}")]
    Segment(SegmentHeaderError),
    /// Another cluster wrote this.
    #[error("it belongs to the cluster with system identifier {found}, not {expected}")]
    System {
        /// `xlp_sysid`.
        found: u64,
        /// What the caller, or an earlier segment, says.
        expected: u64,
    },
    /// The page is not the one that belongs here. A lower address than expected is old content of a recycled file:
    /// then the WAL ends here.
    #[error("the page is that of {found}, not of {expected}")]
    PageAddress {
        /// `xlp_pageaddr`.
        found: Lsn,
        /// Where the page is.
        expected: Lsn,
    },
    /// A field of a page header has a value that it cannot have.
    #[error("damaged page header: {field} is {value:#X}")]
    PageHeader {
        /// PostgreSQL's name of the field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The timeline of the page is lower than that of an earlier page, or higher than the file's name allows.
    #[error("the page is of timeline {found}, where {limit} was expected")]
    Timeline {
        /// `xlp_tli`.
        found: u32,
        /// The timeline of the page before, or of the file.
        limit: u32,
    },
    /// The page should continue a record and does not, or continues another length.
    #[error("the record of {record} does not continue: {expected} bytes are left, the page has {found}")]
    Continuation {
        /// Where the record starts; `0/0` when that was before the first page.
        record: Lsn,
        /// `xlp_rem_len`, 0 when the page says that it continues nothing.
        found: u32,
        /// How many bytes are left.
        expected: u32,
    },
    /// `xl_tot_len` is too small or too big.
    #[error("a record cannot have {length} bytes")]
    Length {
        /// `xl_tot_len`.
        length: u32,
    },
    /// There is no such resource manager.
    #[error("there is no resource manager {id}")]
    ResourceManager {
        /// `xl_rmid`.
        id: u8,
    },
    /// `xl_prev` is not the record before.
    #[error("the record says that the one before it is at {found}, which is {}", match expected {
        Some(expected) => format!("at {expected}"),
        None => "not before it".to_owned(),
    })]
    Previous {
        /// `xl_prev`.
        found: Lsn,
        /// Where the record before is, when that was seen.
        expected: Option<Lsn>,
    },
    /// The checksum does not fit the content.
    #[error("the record has CRC {found:08X} instead of {expected:08X}")]
    Crc {
        /// `xl_crc`.
        found: u32,
        /// Computed.
        expected: u32,
    },
    /// The checksum fits, but the parts of the record do not make up the whole.
    #[error("the record's inner structure is wrong: {what}")]
    Structure {
        /// What does not fit.
        what: &'static str,
    },
    /// After the end of the WAL there should be zeros only.
    #[error("there is something after the end of the WAL at {end}")]
    AfterEnd {
        /// Where the zeros begin.
        end: Lsn,
    },
}
