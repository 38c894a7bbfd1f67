//! Transactions (PostgreSQL, `xact.h`, `standbydefs.h`).

use super::super::bytes::Bytes;
use super::super::time::WalTime;
use super::Payload;
use crate::lsn::Lsn;

/// `XLOG_XACT_OPMASK`.
const OPCODE_MASK: u8 = 0x70;
/// `XLOG_XACT_HAS_INFO`.
const HAS_INFO: u8 = 0x80;
/// `XACT_XINFO_HAS_...`
const HAS_DATABASE: u32 = 1;
const HAS_SUBTRANSACTIONS: u32 = 1 << 1;
const HAS_RELATIONS: u32 = 1 << 2;
const HAS_INVALIDATIONS: u32 = 1 << 3;
const HAS_TWO_PHASE: u32 = 1 << 4;
const HAS_ORIGIN: u32 = 1 << 5;
/// Since 11.
const HAS_GID: u32 = 1 << 7;
/// Since 15.
const HAS_DROPPED_STATISTICS: u32 = 1 << 8;

/// `sizeof(RelFileLocator)`.
const RELATION_SIZE: usize = 12;
/// `sizeof(SharedInvalidationMessage)`.
const INVALIDATION_SIZE: usize = 16;

/// `sizeof(xl_xact_stats_item)`: the object's id has 64 bits since 18.
const fn statistics_size(major: u32) -> usize {
    if major >= 18 { 16 } else { 12 }
}

/// Some transaction ids, as they are in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Xids<'a>(&'a [u8]);

impl Xids<'_> {
    /// One after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> {
        self.0.as_chunks::<4>().0.iter().copied().map(u32::from_le_bytes)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where a replicated transaction came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its position there.
    pub lsn: Lsn,
    /// Its time there.
    pub time: WalTime,
}

/// A commit or an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionEnd<'a> {
    /// When.
    pub time: WalTime,
    /// The prepared transaction that is meant; then [`Record::xid`](super::super::Record::xid) is not.
    pub prepared_xid: Option<u32>,
    /// The global identifier of that, where the record says so (`wal_level` logical).
    pub gid: Option<&'a [u8]>,
    /// OID of the database, where the record says so.
    pub database: Option<u32>,
    /// Its sub-transactions.
    pub subtransactions: Xids<'a>,
    /// How many relations' files it removes.
    pub dropped_relations: usize,
    /// Where it was replicated from.
    pub origin: Option<Origin>,
    /// `xinfo`: all flags.
    pub flags: u32,
}

impl<'a> TransactionEnd<'a> {
    fn read(info: u8, mut data: Bytes<'a>, major: u32) -> Option<Self> {
        let time = WalTime(data.i64()?);
        let flags = if info & HAS_INFO == 0 { 0 } else { data.u32()? };
        let has = |flag| flags & flag != 0;
        let mut end = Self {
            time,
            prepared_xid: None,
            gid: None,
            database: None,
            subtransactions: Xids::default(),
            dropped_relations: 0,
            origin: None,
            flags,
        };
        if has(HAS_DATABASE) {
            end.database = Some(data.u32()?);
            data.take(4)?;
        }
        if has(HAS_SUBTRANSACTIONS) {
            end.subtransactions = Xids(data.counted(4)?);
        }
        if has(HAS_RELATIONS) {
            end.dropped_relations = data.counted(RELATION_SIZE)?.len() / RELATION_SIZE;
        }
        if has(HAS_DROPPED_STATISTICS) && major >= 15 {
            data.counted(statistics_size(major))?;
        }
        if has(HAS_INVALIDATIONS) {
            data.counted(INVALIDATION_SIZE)?;
        }
        if has(HAS_TWO_PHASE) {
            end.prepared_xid = Some(data.u32()?);
            if has(HAS_GID) && major >= 11 {
                let length = data.0.iter().position(|byte| *byte == 0)?;
                end.gid = Some(data.take(length)?);
                data.take(1)?;
            }
        }
        if has(HAS_ORIGIN) {
            end.origin = Some(Origin {
                lsn: Lsn(data.u64()?),
                time: WalTime(data.i64()?),
            });
        }
        Some(end)
    }
}

/// A transaction that was prepared (`xl_xact_prepare`, the same as the head of a file in `pg_twophase`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepare<'a> {
    /// When.
    pub time: WalTime,
    /// The transaction.
    pub xid: u32,
    /// OID of its database.
    pub database: u32,
    /// OID of the role.
    pub owner: u32,
    /// Its global identifier.
    pub gid: &'a [u8],
    /// Its sub-transactions.
    pub subtransactions: Xids<'a>,
    /// Where it was replicated from (11 and newer).
    pub origin: Option<Origin>,
}

impl<'a> Prepare<'a> {
    fn read(mut data: Bytes<'a>, major: u32) -> Option<Self> {
        let _magic_and_length = data.take(8)?;
        let (xid, database) = (data.u32()?, data.u32()?);
        let time = WalTime(data.i64()?);
        let owner = data.u32()?;
        let subtransactions = usize::try_from(data.i32()?).ok()?;
        // Relations to drop on commit and abort, since 15 statistics likewise, invalidations, a flag.
        data.take(if major >= 15 { 22 } else { 14 })?;
        let gid_length = usize::from(data.u16()?);
        let mut origin = None;
        if major >= 11 {
            let found = Origin {
                lsn: Lsn(data.u64()?),
                time: WalTime(data.i64()?),
            };
            origin = found.lsn.is_valid().then_some(found);
        }
        // The identifier has a zero at its end; everything is aligned to 8 bytes.
        let gid = data.take(gid_length)?;
        data.take(gid_length.next_multiple_of(8) - gid_length)?;
        Some(Self {
            time,
            xid,
            database,
            owner,
            gid: gid.split(|byte| *byte == 0).next()?,
            subtransactions: Xids(data.take(subtransactions.checked_mul(4)?)?),
            origin,
        })
    }
}

/// `xl_xact_assignment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The top-level transaction.
    pub top: u32,
    /// Parts of it.
    pub subtransactions: Xids<'a>,
}

/// `xl_running_xacts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningTransactions<'a> {
    /// The next transaction.
    pub next_xid: u32,
    /// The oldest one that runs.
    pub oldest_running: u32,
    /// The latest one that ended.
    pub latest_completed: u32,
    /// Those that run.
    pub running: Xids<'a>,
    /// Their sub-transactions.
    pub subtransactions: Xids<'a>,
    /// Whether some sub-transactions are missing.
    pub overflowed: bool,
}

impl<'a> RunningTransactions<'a> {
    pub(super) fn read(mut data: Bytes<'a>) -> Option<Self> {
        let running = usize::try_from(data.i32()?).ok()?;
        let subtransactions = usize::try_from(data.i32()?).ok()?;
        let overflowed = data.bool()?;
        data.take(3)?;
        Some(Self {
            next_xid: data.u32()?,
            oldest_running: data.u32()?,
            latest_completed: data.u32()?,
            running: Xids(data.take(running.checked_mul(4)?)?),
            subtransactions: Xids(data.take(subtransactions.checked_mul(4)?)?),
            overflowed,
        })
    }
}

/// Reads a record of the resource manager Transaction.
pub(super) fn read(info: u8, mut data: Bytes<'_>, major: u32) -> Option<Payload<'_>> {
    Some(match info & OPCODE_MASK {
        0x00 | 0x30 => Payload::Commit(TransactionEnd::read(info, data, major)?),
        0x20 | 0x40 => Payload::Abort(TransactionEnd::read(info, data, major)?),
        0x10 => Payload::Prepare(Prepare::read(data, major)?),
        0x50 => Payload::Assignment(Assignment {
            top: data.u32()?,
            subtransactions: Xids(data.counted(4)?),
        }),
        _ => Payload::Other,
    })
}
