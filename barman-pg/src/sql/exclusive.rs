//! Exclusive backups, which PostgreSQL has removed in 15. `pg_start_backup` writes `backup_label` into the data directory
//! of the server, and the backup outlives the session.

use barman_wal::{Lsn, SegmentName};
use jiff::Zoned;

use super::SqlClient;
use super::parse::{required, time, time_columns};
use super::quote::literal;
use crate::error::Error;
use crate::replication::wire::Doing;

/// Where an exclusive backup begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExclusivePosition {
    /// The position.
    pub location: Lsn,
    /// Its segment; on a border the finished one. Its timeline is that of the backup.
    pub file_name: SegmentName,
    /// The position within the segment.
    pub file_offset: u32,
    /// When the statement began, in the session's time zone.
    pub timestamp: Zoned,
}

impl SqlClient {
    /// Begins an exclusive backup. Waits for a checkpoint, however long that takes. PostgreSQL 10 to 14.
    ///
    /// # Errors
    /// [`Error::Obsolete`] from 15 on; server and connection errors, among them that such a backup is in progress.
    pub fn start_exclusive_backup(
        &mut self,
        label: &str,
        immediate_checkpoint: bool,
    ) -> Result<ExclusivePosition, Error> {
        let call = format!(
            "pg_catalog.pg_start_backup({}, {immediate_checkpoint})",
            literal(label)
        );
        self.exclusive(&call, "starting an exclusive backup")
    }

    /// Ends it and waits until the server has archived its WAL, however long that takes. If this fails the backup may
    /// still be in progress: somebody has to run `pg_stop_backup()` by hand. PostgreSQL 10 to 14.
    ///
    /// # Errors
    /// [`Error::Obsolete`] from 15 on; server and connection errors.
    pub fn stop_exclusive_backup(&mut self) -> Result<ExclusivePosition, Error> {
        self.exclusive(
            "pg_catalog.pg_stop_backup()",
            "stopping an exclusive backup (if it is still in progress, run \"SELECT pg_stop_backup()\" by hand)",
        )
    }

    fn exclusive(&mut self, call: &str, doing: &'static str) -> Result<ExclusivePosition, Error> {
        if self.version().at_least(15) {
            return Err(Error::Obsolete {
                feature: "exclusive backup",
                removed_in: 15,
            });
        }
        let sql = format!(
            "SELECT location, (pg_catalog.pg_walfile_name_offset(location)).*, {now} FROM {call} AS location",
            now = time_columns("pg_catalog.now()")
        );
        let rows = self.rows_within(&sql, &Doing::Borrowed(doing), None)?;
        let row = rows
            .first()
            .ok_or_else(|| self.odd(&Doing::Borrowed(doing), "no row"))?;
        Ok(ExclusivePosition {
            location: required(self, row, 0, doing)?,
            file_name: required(self, row, 1, doing)?,
            file_offset: required(self, row, 2, doing)?,
            timestamp: time(row, 3).ok_or_else(|| self.odd(&Doing::Borrowed(doing), "no time"))?,
        })
    }
}
