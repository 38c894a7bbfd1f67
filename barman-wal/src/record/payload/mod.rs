//! What the records say that matter to backups and recovery.

mod checkpoint;
mod transaction;

pub use checkpoint::{Checkpoint, CheckpointKind, EndOfRecovery, ParameterChange, WalLevel};
pub use transaction::{Assignment, Origin, Prepare, RunningTransactions, TransactionEnd, Xids};

use super::Record;
use super::bytes::Bytes;
use super::names::{RMGR_INFO_MASK, ResourceManager};
use super::time::WalTime;
use crate::lsn::Lsn;
use crate::timeline::TimelineId;

/// The main data of a record is not what a record of its type has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("WAL at {lsn}: the data of the {kind} record is damaged")]
pub struct PayloadError {
    /// The record.
    pub lsn: Lsn,
    /// The name of its type.
    pub kind: &'static str,
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A transaction committed (`COMMIT`, `COMMIT_PREPARED`).
    Commit(TransactionEnd<'a>),
    /// A transaction was rolled back (`ABORT`, `ABORT_PREPARED`).
    Abort(TransactionEnd<'a>),
    /// A transaction was prepared for the second phase.
    Prepare(Prepare<'a>),
    /// These transactions are parts of another one.
    Assignment(Assignment<'a>),
    /// A checkpoint is complete.
    Checkpoint(Checkpoint),
    /// A checkpoint begins (17 and newer).
    CheckpointRedo {
        /// The current `wal_level`.
        wal_level: WalLevel,
    },
    /// Recovery ended and a timeline began, without a checkpoint.
    EndOfRecovery(EndOfRecovery),
    /// `pg_create_restore_point()`.
    RestorePoint(RestorePoint<'a>),
    /// The rest of the segment is not used.
    Switch,
    /// Settings that a standby depends on.
    ParameterChange(ParameterChange),
    /// `full_page_writes` was switched.
    FullPageWrites(bool),
    /// An online backup ended.
    BackupEnd {
        /// Where it began: `START WAL LOCATION` of its label.
        start: Lsn,
    },
    /// A record was cut by a crash and is void.
    Overwritten(OverwrittenContrecord),
    /// The transactions that run now.
    RunningTransactions(RunningTransactions<'a>),
    /// Anything else; see [`Record::type_name`].
    Other,
}

/// `pg_create_restore_point()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestorePoint<'a> {
    /// When it was made.
    pub time: WalTime,
    /// Its name, in whatever encoding the session had; at most 63 bytes.
    pub name: &'a [u8],
}

/// A record was cut by a crash and is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverwrittenContrecord {
    /// Where it began.
    pub lsn: Lsn,
    /// When recovery wrote this.
    pub time: WalTime,
}

impl<'a> Payload<'a> {
    pub(super) fn read(record: &Record<'a>) -> Result<Self, PayloadError> {
        let (info, data) = (record.info(), Bytes(record.main_data()));
        let major = record.postgres_major();
        let read = match record.resource_manager() {
            ResourceManager::XLOG => Self::xlog(info & RMGR_INFO_MASK, data, major),
            ResourceManager::TRANSACTION => transaction::read(info, data, major),
            ResourceManager::STANDBY if info & RMGR_INFO_MASK == 0x10 => {
                RunningTransactions::read(data).map(Self::RunningTransactions)
            }
            _ => Some(Self::Other),
        };
        read.ok_or_else(|| PayloadError {
            lsn: record.lsn(),
            kind: record
                .resource_manager()
                .record_type(info, major)
                .unwrap_or("unknown"),
        })
    }

    fn xlog(kind: u8, mut data: Bytes<'a>, major: u32) -> Option<Self> {
        Some(match kind {
            0x00 => Self::Checkpoint(Checkpoint::read(CheckpointKind::Shutdown, data, major)?),
            0x10 => Self::Checkpoint(Checkpoint::read(CheckpointKind::Online, data, major)?),
            0x40 => Self::Switch,
            0x50 => Self::BackupEnd {
                start: Lsn(data.u64()?),
            },
            0x60 => Self::ParameterChange(ParameterChange::read(data, major)?),
            0x70 => {
                let time = WalTime(data.i64()?);
                let name = data.take(64)?;
                Self::RestorePoint(RestorePoint {
                    time,
                    name: name.split(|byte| *byte == 0).next()?,
                })
            }
            0x80 => Self::FullPageWrites(data.bool()?),
            0x90 => Self::EndOfRecovery(EndOfRecovery::read(data, major)?),
            0xD0 => Self::Overwritten(OverwrittenContrecord {
                lsn: Lsn(data.u64()?),
                time: WalTime(data.i64()?),
            }),
            0xE0 if major >= 17 => Self::CheckpointRedo {
                wal_level: WalLevel::read(&mut data)?,
            },
            _ => Self::Other,
        })
    }

    /// The old and the new timeline, if the record begins one: recovery ends with a checkpoint of the shutdown kind,
    /// or with an [`EndOfRecovery`].
    #[must_use]
    pub fn timeline_change(&self) -> Option<(TimelineId, TimelineId)> {
        let (old, new) = match self {
            Self::Checkpoint(checkpoint) => (checkpoint.previous_timeline, checkpoint.timeline),
            Self::EndOfRecovery(end) => (end.previous_timeline, end.timeline),
            _ => return None,
        };
        (old != new).then_some((old, new))
    }

    /// When it happened, for the records that a `recovery_target_time` looks at: commits, aborts, restore points.
    #[must_use]
    pub const fn target_time(&self) -> Option<WalTime> {
        match self {
            Self::Commit(end) | Self::Abort(end) => Some(end.time),
            Self::RestorePoint(point) => Some(point.time),
            _ => None,
        }
    }
}
