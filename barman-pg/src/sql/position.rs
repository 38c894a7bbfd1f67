//! Where the server's WAL is, and making it close a segment.

use jiff::Zoned;

use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId};

use super::SqlClient;
use super::parse::{boolean, optional, required, time, time_columns};
use crate::error::Error;
use crate::replication::wire::Doing;

/// The current WAL position (`current_xlog_info`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalPosition {
    /// Primary: the write position. Standby: the last replayed position, absent until something was replayed.
    pub location: Option<Lsn>,
    /// The segment that holds the last byte before `location`; absent on a standby. On a segment border this is the
    /// finished segment, whatever the server's version.
    pub file_name: Option<SegmentName>,
    /// `location` within its segment; 0 on a border; absent on a standby.
    pub file_offset: Option<u32>,
    /// The server's clock, in the time zone of the session.
    pub timestamp: Zoned,
    /// Whether the server is a standby.
    pub in_recovery: bool,
}

/// What became of a request to switch WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalSwitch {
    /// This segment was closed.
    Closed(SegmentName),
    /// The current segment has nothing in it: there was nothing to switch.
    NotNeeded,
}

/// The timeline in use as an expression; zero if a standby's control file has none. A standby's checkpoint may be of an
/// older timeline than what it replays.
pub(super) const CURRENT_TIMELINE: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() \
     THEN (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()) \
     ELSE (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()) END";

impl SqlClient {
    /// Whether the server is a standby.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn is_in_recovery(&mut self) -> Result<bool, Error> {
        const DOING: &str = "asking whether the server is in recovery";
        let value = self.value("SELECT pg_catalog.pg_is_in_recovery()", DOING)?;
        value
            .as_deref()
            .and_then(boolean)
            .ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no boolean"))
    }

    /// The current position, file name and offset included.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn current_position(&mut self) -> Result<WalPosition, Error> {
        const DOING: &str = "reading the current WAL position";
        let now = time_columns("pg_catalog.now()");
        if self.is_in_recovery()? {
            let rows = self.rows(
                &format!("SELECT pg_catalog.pg_last_wal_replay_lsn(), {now}"),
                DOING,
            )?;
            let row = rows
                .first()
                .ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no row"))?;
            let timestamp = time(row, 1).ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no time"))?;
            return Ok(WalPosition {
                location: optional(self, row, 0, DOING)?,
                file_name: None,
                file_offset: None,
                timestamp,
                in_recovery: true,
            });
        }
        let size = self.segment_size()?;
        let rows = self.rows(
            &format!(
                "SELECT location, (pg_catalog.pg_walfile_name_offset(location)).*, {now} \
                 FROM pg_catalog.pg_current_wal_lsn() AS location"
            ),
            DOING,
        )?;
        let row = rows
            .first()
            .ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no row"))?;
        let location: Lsn = required(self, row, 0, DOING)?;
        let name: SegmentName = required(self, row, 1, DOING)?;
        let offset: u32 = required(self, row, 2, DOING)?;
        let timestamp = time(row, 3).ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no time"))?;
        let name = at_border(name, offset, size, self.version().at_least(17));
        Ok(WalPosition {
            location: Some(location),
            file_name: Some(name),
            file_offset: Some(offset),
            timestamp,
            in_recovery: false,
        })
    }

    /// The timeline in use: a primary's own, the one that a standby replays.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn current_timeline(&mut self) -> Result<Option<TimelineId>, Error> {
        const DOING: &str = "reading the current timeline";
        let value = self.value(&format!("SELECT {CURRENT_TIMELINE}"), DOING)?;
        Ok(value
            .and_then(|text| text.parse::<u32>().ok())
            .and_then(TimelineId::new))
    }

    /// `pg_last_wal_receive_lsn()` of a standby, `pg_current_wal_lsn()` of a primary.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn current_lsn(&mut self) -> Result<Option<Lsn>, Error> {
        const DOING: &str = "reading the current WAL position";
        let rows = self.rows(
            "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn() \
             ELSE pg_catalog.pg_current_wal_lsn() END",
            DOING,
        )?;
        rows.first().map_or(Ok(None), |row| optional(self, row, 0, DOING))
    }

    /// Makes the server close its current WAL segment.
    ///
    /// # Errors
    /// [`Error::BackupPrivileges`] and [`Error::InRecovery`] before anything is done; server and connection errors.
    pub fn switch_wal(&mut self) -> Result<WalSwitch, Error> {
        const DOING: &str = "switching WAL";
        if !self.privileges()?.backup {
            return Err(Error::BackupPrivileges {
                user: self.user().to_owned(),
            });
        }
        if self.is_in_recovery()? {
            return Err(Error::InRecovery { doing: DOING.into() });
        }
        let size = self.segment_size()?;
        let (before, offset) = self.insert_file(DOING)?;
        self.rows(
            "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_switch_wal())",
            DOING,
        )?;
        let (after, _) = self.insert_file(DOING)?;
        if before >= after {
            return Ok(WalSwitch::NotNeeded);
        }
        Ok(WalSwitch::Closed(at_border(
            before,
            offset,
            size,
            self.version().at_least(17),
        )))
    }

    fn insert_file(&mut self, doing: &'static str) -> Result<(SegmentName, u32), Error> {
        let rows = self.rows(
            "SELECT (pg_catalog.pg_walfile_name_offset(pg_catalog.pg_current_wal_insert_lsn())).*",
            doing,
        )?;
        let row = rows
            .first()
            .ok_or_else(|| self.odd(&Doing::Borrowed(doing), "no row"))?;
        Ok((required(self, row, 0, doing)?, required(self, row, 1, doing)?))
    }

    /// Creates a restore point; nothing on a standby.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn create_restore_point(&mut self, name: &str) -> Result<Option<Lsn>, Error> {
        const DOING: &str = "creating a restore point";
        if self.is_in_recovery()? {
            return Ok(None);
        }
        let sql = format!(
            "SELECT pg_catalog.pg_create_restore_point({})",
            super::quote::literal(name)
        );
        let rows = self.rows(&sql, DOING)?;
        rows.first().map_or(Ok(None), |row| optional(self, row, 0, DOING))
    }

    /// `CHECKPOINT`; waits until it is done, however long that takes.
    ///
    /// # Errors
    /// [`Error::CheckpointPrivileges`] before anything is done; server and connection errors.
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        if !self.privileges()?.checkpoint {
            return Err(Error::CheckpointPrivileges {
                user: self.user().to_owned(),
            });
        }
        self.rows_within("CHECKPOINT", &Doing::Borrowed("running CHECKPOINT"), None)
            .map(drop)
    }
}

/// Below 17 the server names the finished segment for a position on a border, from 17 on the next one; everybody wants
/// the finished one.
fn at_border(name: SegmentName, offset: u32, size: SegmentSize, names_next: bool) -> SegmentName {
    if names_next && offset == 0 {
        name.prev(size).unwrap_or(name)
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_belongs_to_the_finished_segment() {
        let name = |text: &str| text.parse::<SegmentName>().unwrap();
        let size = SegmentSize::DEFAULT;
        for (shown, offset, names_next, wanted) in [
            ("00000001000000000000000F", 0, true, "00000001000000000000000E"),
            ("00000001000000000000000E", 0, false, "00000001000000000000000E"),
            ("00000001000000000000000F", 8, true, "00000001000000000000000F"),
            ("000000010000000100000000", 0, true, "0000000100000000000000FF"),
        ] {
            assert_eq!(at_border(name(shown), offset, size, names_next), name(wanted));
        }
        let big = SegmentSize::new(1 << 30).unwrap();
        assert_eq!(
            at_border(name("000000010000000100000000"), 0, big, true),
            name("000000010000000000000003")
        );
    }
}
