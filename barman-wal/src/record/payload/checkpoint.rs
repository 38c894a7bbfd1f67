//! Checkpoints, the end of recovery, settings (PostgreSQL, `pg_control.h`, `xlog_internal.h`).

use std::fmt;

use super::super::bytes::Bytes;
use super::super::time::WalTime;
use crate::lsn::Lsn;
use crate::timeline::TimelineId;

/// `wal_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalLevel {
    /// Not enough for archiving.
    Minimal,
    /// Enough for archiving and standbys.
    Replica,
    /// And for logical decoding.
    Logical,
    /// None that we know.
    Unknown(i32),
}

impl WalLevel {
    pub(super) fn read(data: &mut Bytes<'_>) -> Option<Self> {
        Some(match data.i32()? {
            0 => Self::Minimal,
            1 => Self::Replica,
            2 => Self::Logical,
            other => Self::Unknown(other),
        })
    }
}

impl fmt::Display for WalLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Minimal => "minimal",
            Self::Replica => "replica",
            Self::Logical => "logical",
            Self::Unknown(_) => "?",
        })
    }
}

/// How a checkpoint came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointKind {
    /// At a shutdown, or at the end of recovery; nothing else went on.
    Shutdown,
    /// While the server worked.
    Online,
}

/// `CheckPoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// How it came about.
    pub kind: CheckpointKind,
    /// Where replay starts.
    pub redo: Lsn,
    /// The timeline.
    pub timeline: TimelineId,
    /// The timeline before, when the record begins a new one; else the same.
    pub previous_timeline: TimelineId,
    /// `full_page_writes`.
    pub full_page_writes: bool,
    /// `wal_level`, in 17 and newer.
    pub wal_level: Option<WalLevel>,
    /// The next transaction: epoch in the upper half, xid in the lower one.
    pub next_xid: u64,
    /// The next OID.
    pub next_oid: u32,
    /// The next multixact.
    pub next_multi: u32,
    /// The next offset of members of a multixact.
    pub next_multi_offset: u32,
    /// The lowest `datfrozenxid`.
    pub oldest_xid: u32,
    /// The database of it.
    pub oldest_xid_database: u32,
    /// The lowest `datminmxid`.
    pub oldest_multi: u32,
    /// The database of it.
    pub oldest_multi_database: u32,
    /// When it was made; whole seconds.
    pub time: WalTime,
    /// The oldest transaction with a commit time, 0 for none.
    pub oldest_commit_ts_xid: u32,
    /// The newest one.
    pub newest_commit_ts_xid: u32,
    /// The oldest running transaction, 0 when the record does not say.
    pub oldest_active_xid: u32,
}

impl Checkpoint {
    /// The lower half of [`Checkpoint::next_xid`].
    #[must_use]
    pub const fn next_xid_number(&self) -> u32 {
        (self.next_xid & 0xFFFF_FFFF) as u32
    }

    pub(super) fn read(kind: CheckpointKind, mut data: Bytes<'_>, major: u32) -> Option<Self> {
        let redo = Lsn(data.u64()?);
        let timeline = TimelineId::new(data.u32()?)?;
        let previous_timeline = TimelineId::new(data.u32()?)?;
        let full_page_writes = data.bool()?;
        data.take(3)?;
        let mut wal_level = None;
        let next_xid = if major >= 12 {
            // Padding before 17.
            let level = WalLevel::read(&mut data)?;
            wal_level = (major >= 17).then_some(level);
            data.u64()?
        } else {
            let epoch = data.u32()?;
            u64::from(epoch) << 32 | u64::from(data.u32()?)
        };
        let numbers = (data.u32()?, data.u32()?, data.u32()?);
        let (next_oid, next_multi, next_multi_offset) = numbers;
        let (oldest_xid, oldest_xid_database) = (data.u32()?, data.u32()?);
        let (oldest_multi, oldest_multi_database) = (data.u32()?, data.u32()?);
        if major >= 12 {
            data.take(4)?;
        }
        Some(Self {
            kind,
            redo,
            timeline,
            previous_timeline,
            full_page_writes,
            wal_level,
            next_xid,
            next_oid,
            next_multi,
            next_multi_offset,
            oldest_xid,
            oldest_xid_database,
            oldest_multi,
            oldest_multi_database,
            time: WalTime::from_unix_seconds(data.i64()?)?,
            oldest_commit_ts_xid: data.u32()?,
            newest_commit_ts_xid: data.u32()?,
            oldest_active_xid: data.u32()?,
        })
    }
}

/// `xl_end_of_recovery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndOfRecovery {
    /// When.
    pub time: WalTime,
    /// The new timeline.
    pub timeline: TimelineId,
    /// The one that was replayed.
    pub previous_timeline: TimelineId,
    /// `wal_level`, in 17 and newer.
    pub wal_level: Option<WalLevel>,
}

impl EndOfRecovery {
    pub(super) fn read(mut data: Bytes<'_>, major: u32) -> Option<Self> {
        Some(Self {
            time: WalTime(data.i64()?),
            timeline: TimelineId::new(data.u32()?)?,
            previous_timeline: TimelineId::new(data.u32()?)?,
            wal_level: if major >= 17 {
                Some(WalLevel::read(&mut data)?)
            } else {
                None
            },
        })
    }
}

/// `xl_parameter_change`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterChange {
    /// `max_connections`.
    pub max_connections: i32,
    /// `max_worker_processes`.
    pub max_worker_processes: i32,
    /// `max_wal_senders`, in 12 and newer.
    pub max_wal_senders: Option<i32>,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: i32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: i32,
    /// `wal_level`.
    pub wal_level: WalLevel,
    /// `wal_log_hints`.
    pub wal_log_hints: bool,
    /// `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
}

impl ParameterChange {
    pub(super) fn read(mut data: Bytes<'_>, major: u32) -> Option<Self> {
        Some(Self {
            max_connections: data.i32()?,
            max_worker_processes: data.i32()?,
            max_wal_senders: if major >= 12 { Some(data.i32()?) } else { None },
            max_prepared_transactions: data.i32()?,
            max_locks_per_transaction: data.i32()?,
            wal_level: WalLevel::read(&mut data)?,
            wal_log_hints: data.bool()?,
            track_commit_timestamp: data.bool()?,
        })
    }
}
