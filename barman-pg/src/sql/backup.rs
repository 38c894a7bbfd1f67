//! A concurrent backup through SQL (`pg_backup_start`, `pg_backup_stop`), for methods that copy files themselves.

use barman_wal::{Lsn, TimelineId};
use jiff::Zoned;

use super::SqlClient;
use super::parse::{required, time, time_columns};
use super::quote::literal;
use crate::error::Error;
use crate::replication::wire::Doing;

/// What the server said when the backup began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupStart {
    /// The backup's redo position.
    pub location: Lsn,
    /// The timeline of the last checkpoint.
    pub timeline: TimelineId,
    /// When the statement began, in the session's time zone.
    pub timestamp: Zoned,
}

/// What the server said when the backup ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupStop {
    /// The first position that is not needed any more.
    pub location: Lsn,
    /// The timeline in use.
    pub timeline: Option<TimelineId>,
    /// The text of the backup label.
    pub backup_label: String,
    /// When the statement began, in the session's time zone.
    pub timestamp: Zoned,
}

impl SqlClient {
    /// Begins a concurrent backup; it lives as long as this session. Waits for a checkpoint, however long that takes.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn start_concurrent_backup(
        &mut self,
        label: &str,
        immediate_checkpoint: bool,
    ) -> Result<BackupStart, Error> {
        const DOING: &str = "starting a backup";
        if self.version().at_least(14) {
            self.rows("SET idle_session_timeout TO 0", DOING)?;
        }
        let call = if self.version().at_least(15) {
            format!(
                "pg_catalog.pg_backup_start({}, {immediate_checkpoint})",
                literal(label)
            )
        } else {
            format!(
                "pg_catalog.pg_start_backup({}, {immediate_checkpoint}, false)",
                literal(label)
            )
        };
        let sql = format!(
            "SELECT location, (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()), {now} FROM {call} AS location",
            now = time_columns("pg_catalog.now()")
        );
        let rows = self.rows_within(&sql, &Doing::Borrowed(DOING), None)?;
        let row = rows
            .first()
            .ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no row"))?;
        Ok(BackupStart {
            location: required(self, row, 0, DOING)?,
            timeline: required(self, row, 1, DOING)?,
            timestamp: time(row, 2).ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no time"))?,
        })
    }

    /// Ends the backup and waits until the server has archived its WAL, however long that takes.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn stop_concurrent_backup(&mut self) -> Result<BackupStop, Error> {
        const DOING: &str = "stopping a backup";
        if self.version().at_least(14) {
            self.rows("RESET idle_session_timeout", DOING)?;
        }
        let call = if self.version().at_least(15) {
            "pg_catalog.pg_backup_stop()"
        } else {
            "pg_catalog.pg_stop_backup(false)"
        };
        let sql = format!(
            "SELECT lsn, labelfile, {now} FROM {call}",
            now = time_columns("pg_catalog.now()")
        );
        let rows = self.rows_within(&sql, &Doing::Borrowed(DOING), None)?;
        let row = rows
            .first()
            .ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no row"))?;
        let (location, backup_label) = (required(self, row, 0, DOING)?, required(self, row, 1, DOING)?);
        let timestamp = time(row, 2).ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no time"))?;
        Ok(BackupStop {
            location,
            backup_label,
            timestamp,
            timeline: self.current_timeline()?,
        })
    }
}
