//! A concurrent backup through SQL (`pg_backup_start`, `pg_backup_stop`), for methods that copy files themselves.

use barman_wal::backup_label::{BackupLabel, BackupLabelError};
use barman_wal::{Lsn, TimelineId};
use jiff::Zoned;

use super::SqlClient;
use super::parse::{optional, required, time, time_columns};
use super::quote::literal;
use crate::error::Error;
use crate::replication::wire::Doing;

/// What the server said when the backup began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupStart {
    /// The backup's redo position.
    pub location: Lsn,
    /// The timeline of the last checkpoint. On a standby that is the last restartpoint, which may be behind: what
    /// counts is [`BackupStop::label`].
    pub timeline: TimelineId,
    /// When the statement began, in the session's time zone.
    pub timestamp: Zoned,
}

/// What the server said when the backup ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupStop {
    /// The first position that is not needed any more.
    pub location: Lsn,
    /// The timeline in use; that of the label if the server does not know one.
    pub timeline: Option<TimelineId>,
    /// The text of the backup label.
    pub backup_label: String,
    /// When the statement began, in the session's time zone.
    pub timestamp: Zoned,
}

impl BackupStop {
    /// What the backup label tells: where the backup really begins, on which timeline.
    ///
    /// # Errors
    /// The label cannot be read.
    pub fn label(&self) -> Result<BackupLabel, BackupLabelError> {
        BackupLabel::parse(self.backup_label.as_bytes())
    }
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
        // One statement: what comes after a successful stop must not be able to fail it.
        let sql = format!(
            "SELECT lsn, labelfile, {timeline}, {now} FROM {call}",
            timeline = super::position::CURRENT_TIMELINE,
            now = time_columns("pg_catalog.now()")
        );
        let rows = self.rows_within(&sql, &Doing::Borrowed(DOING), None)?;
        let row = rows
            .first()
            .ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no row"))?;
        let (location, backup_label) = (required(self, row, 0, DOING)?, required(self, row, 1, DOING)?);
        let timeline: Option<u32> = optional(self, row, 2, DOING)?;
        let timestamp = time(row, 3).ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no time"))?;
        let mut stop = BackupStop {
            location,
            timeline: timeline.and_then(TimelineId::new),
            backup_label,
            timestamp,
        };
        // A standby whose minimum recovery point is not set has no timeline in its control file.
        if stop.timeline.is_none() {
            stop.timeline = stop
                .label()
                .ok()
                .map(|label| label.start_timeline.unwrap_or(label.start_wal.timeline));
        }
        Ok(stop)
    }
}
