//! WAL records: a decoder that is fed with bytes and asked for records, and what those that matter to backups say.
//!
//! A [`Decoder`] takes WAL from the start of a segment on, in pieces of any size, so it serves whole segments, several
//! of them in a row, a stream of replication and partial files alike. It checks everything that PostgreSQL checks when
//! it replays: page headers, how records continue over pages, that each record names the one before it, its checksum
//! and the structure inside. A first page that begins within a record is no problem: decoding starts with the next.
//! PostgreSQL 10 to 18 on little-endian machines; other versions are an
//! [unknown format](DecodeError::is_unknown_format).
//!
//! ```
//! use barman_wal::record::{Decoder, Ending, Payload};
//!
//! # fn example(segment: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! let mut decoder = Decoder::new().of_segment("000000010000000000000002".parse()?);
//! for piece in segment.chunks(64 << 10) {
//!     let mut feed = decoder.feed(piece);
//!     while let Some(record) = feed.next()? {
//!         if let Payload::Commit(commit) = record.payload()? {
//!             println!("{}: transaction {} committed at {}", record.lsn(), record.xid(), commit.time);
//!         }
//!     }
//! }
//! match decoder.ending() {
//!     Ending::InRecord { start } => println!("the next segment continues the record of {start:?}"),
//!     Ending::Zeros { end, .. } => println!("the WAL ends at {end}"),
//!     Ending::AtRecord(next) => println!("a record can follow at {next}"),
//!     Ending::Nothing => println!("there is nothing"),
//! }
//! # Ok(())
//! # }
//! # let segment = include_bytes!("../../tests/fixtures/wal/18-start");
//! # example(segment)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What stays unseen is what PostgreSQL does not look at either: the rest of a segment after an `XLOG_SWITCH`, the
//! bytes between a record and the next multiple of 8, the unused end of a page header, its flag
//! [`BKP_REMOVABLE`](crate::page::BKP_REMOVABLE).

mod bytes;
mod decoder;
mod error;
mod header;
mod names;
mod parts;
mod payload;
mod time;

pub use decoder::{Decoder, Ending, Feed, RecordRest};
pub use error::{DecodeError, Reason};
pub use names::ResourceManager;
pub use parts::{BlockImage, BlockReference, Blocks, ImageCompression, RelationFile};
pub use payload::{
    Assignment, Checkpoint, CheckpointKind, EndOfRecovery, Origin, OverwrittenContrecord, ParameterChange,
    Payload, PayloadError, Prepare, RestorePoint, RunningTransactions, TransactionEnd, WalLevel, Xids,
};
pub use time::WalTime;

use std::borrow::Cow;

use crate::lsn::Lsn;
use crate::timeline::TimelineId;

/// One WAL record whose checksum and structure are right.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    lsn: Lsn,
    end: Lsn,
    timeline: TimelineId,
    parts: parts::Parts,
    major: u8,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the bytes of one whole record, without page headers between them, that starts at `lsn`. Its end and
    /// timeline are what the caller says.
    ///
    /// # Errors
    /// The header, the checksum or the structure is wrong, or there are more or fewer bytes than it says.
    pub fn parse(
        bytes: &'a [u8],
        lsn: Lsn,
        end: Lsn,
        timeline: TimelineId,
        major: u32,
    ) -> Result<Self, DecodeError> {
        let wrong = |reason| DecodeError { lsn, reason };
        let major = u8::try_from(major).unwrap_or(u8::MAX);
        let head = header::head(bytes).ok_or_else(|| {
            let length = header::length_field(bytes).map_or(0, u32::from_le_bytes);
            wrong(Reason::Length { length })
        })?;
        let header = header::Header::read(head, major, lsn, None).map_err(wrong)?;
        if u32::try_from(bytes.len()) != Ok(header.length) {
            return Err(wrong(Reason::Length {
                length: header.length,
            }));
        }
        let body = bytes.get(header::SIZE..).unwrap_or_default();
        header
            .check_crc(bytes, crate::crc::append(0, body))
            .map_err(wrong)?;
        let parts = parts::Parts::read(body, major).map_err(|what| wrong(Reason::Structure { what }))?;
        Ok(Self {
            lsn,
            end,
            timeline,
            parts,
            major,
            bytes,
        })
    }

    /// Where it starts.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Where the next one can start: after the record and the padding to a multiple of 8, at the end of the segment
    /// for a switch. A page header may be there (PostgreSQL, `EndRecPtr`: "replayed up to").
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.end
    }

    /// The timeline of the page on which it ends. For a record that begins a timeline that is not the new one yet.
    #[must_use]
    pub const fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// The major version of the server that wrote it.
    #[must_use]
    pub fn postgres_major(&self) -> u32 {
        u32::from(self.major)
    }

    /// `xl_tot_len`: all its bytes, without page headers between them.
    #[must_use]
    pub fn total_length(&self) -> u32 {
        header::total_length(self.head())
    }

    /// `xl_xid`: the transaction, 0 for none.
    #[must_use]
    pub fn xid(&self) -> u32 {
        header::xid(self.head())
    }

    /// `xl_prev`: where the record before starts.
    #[must_use]
    pub fn previous(&self) -> Lsn {
        header::previous(self.head())
    }

    /// `xl_info`: flags, the type in the upper four bits.
    #[must_use]
    pub fn info(&self) -> u8 {
        header::info(self.head())
    }

    /// `xl_rmid`.
    #[must_use]
    pub fn resource_manager(&self) -> ResourceManager {
        header::manager(self.head())
    }

    /// The name of its type, as `pg_waldump` writes it: `INSERT+INIT`; `UNKNOWN (F0)` for a type that PostgreSQL's
    /// descriptors have no name for.
    #[must_use]
    pub fn type_name(&self) -> Cow<'static, str> {
        match self
            .resource_manager()
            .record_type(self.info(), self.postgres_major())
        {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("UNKNOWN ({:X})", self.info() & names::RMGR_INFO_MASK)),
        }
    }

    /// The whole record.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What the resource manager wrote that belongs to no block.
    #[must_use]
    pub fn main_data(&self) -> &'a [u8] {
        self.parts.main(self.body())
    }

    /// The blocks that it is about.
    #[must_use]
    pub fn blocks(&self) -> Blocks<'a> {
        self.parts.blocks(self.body(), self.major)
    }

    /// How many blocks it is about.
    #[must_use]
    pub const fn block_count(&self) -> usize {
        self.parts.blocks as usize
    }

    /// How many images of whole blocks it has.
    #[must_use]
    pub const fn image_count(&self) -> usize {
        self.parts.images as usize
    }

    /// How many of its bytes are images of blocks.
    #[must_use]
    pub const fn image_bytes(&self) -> u32 {
        self.parts.image_bytes
    }

    /// The replication origin (`replication_origin_id`) that the change came from.
    #[must_use]
    pub const fn origin(&self) -> Option<u16> {
        self.parts.origin
    }

    /// The top-level transaction of [`Record::xid`], where the record says so (14 and newer, `wal_level` logical).
    #[must_use]
    pub const fn toplevel_xid(&self) -> Option<u32> {
        self.parts.toplevel_xid
    }

    /// What it says, if it is of a type that matters to backups and recovery; else [`Payload::Other`].
    ///
    /// # Errors
    /// The main data is not what a record of its type has.
    pub fn payload(&self) -> Result<Payload<'a>, PayloadError> {
        Payload::read(self)
    }

    /// Its own header.
    #[inline]
    fn head(&self) -> &'a [u8; header::SIZE] {
        header::head(self.bytes).unwrap_or(&[0; header::SIZE])
    }

    #[inline]
    fn body(&self) -> &'a [u8] {
        self.bytes.get(header::SIZE..).unwrap_or_default()
    }
}
