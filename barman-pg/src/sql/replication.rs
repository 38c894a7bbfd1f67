//! Slots and WAL senders.

use barman_wal::Lsn;
use jiff::Zoned;

use super::SqlClient;
use super::parse::{boolean, optional, required, time, time_columns};
use super::quote::literal;
use crate::error::Error;
use crate::sql::QueryRow;

/// A physical replication slot.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ReplicationSlot {
    /// Its name.
    pub slot_name: String,
    /// Whether somebody streams through it.
    pub active: bool,
    /// The oldest WAL that it keeps; absent until it was used.
    pub restart_lsn: Option<Lsn>,
}

/// Which clients of the server are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientType {
    /// Those that replay: hot standbys.
    Standby,
    /// Those that only receive.
    WalStreamer,
    /// All of them.
    Any,
}

/// A row of `pg_stat_replication` with its slot and the server's own position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationStat {
    /// All columns as the server shows them, in its order: those of `pg_stat_replication`, then `slot_name`,
    /// `is_in_recovery`, `current_lsn`.
    pub columns: Vec<(String, Option<String>)>,
    /// `backend_start` in the time zone of the session, whatever its date style.
    pub started: Option<Zoned>,
}

impl ReplicationStat {
    /// One column's text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.columns
            .iter()
            .find(|(column, _)| column == name)?
            .1
            .as_deref()
    }

    /// One column as a position.
    #[must_use]
    pub fn lsn(&self, name: &str) -> Option<Lsn> {
        self.get(name)?.parse().ok()
    }

    /// A row that begins with the two columns of a time.
    fn from_row(row: &QueryRow) -> Self {
        Self {
            started: time(row, 0),
            columns: row
                .columns()
                .skip(2)
                .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
                .collect(),
        }
    }
}

impl SqlClient {
    /// The physical slot of this name.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn replication_slot(&mut self, name: &str) -> Result<Option<ReplicationSlot>, Error> {
        const DOING: &str = "reading the replication slot";
        let rows = self.rows(
            &format!(
                "SELECT slot_name, active, restart_lsn FROM pg_catalog.pg_replication_slots \
                 WHERE slot_type = 'physical' AND slot_name = {}",
                literal(name)
            ),
            DOING,
        )?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(ReplicationSlot {
            slot_name: required(self, row, 0, DOING)?,
            active: row.text(1).and_then(boolean).unwrap_or(false),
            restart_lsn: optional(self, row, 2, DOING)?,
        }))
    }

    /// The clients that stream from the server, synchronous ones first.
    ///
    /// # Errors
    /// [`Error::MonitoringPrivileges`]; server and connection errors.
    pub fn replication_stats(&mut self, clients: ClientType) -> Result<Vec<ReplicationStat>, Error> {
        if !self.privileges()?.monitoring {
            return Err(Error::MonitoringPrivileges {
                user: self.user().to_owned(),
            });
        }
        let filter = match clients {
            ClientType::Standby => " AND r.replay_lsn IS NOT NULL",
            ClientType::WalStreamer => " AND r.replay_lsn IS NULL",
            ClientType::Any => "",
        };
        let rows = self.rows(
            &format!(
                "SELECT {started}, r.*, rs.slot_name, pg_catalog.pg_is_in_recovery() AS is_in_recovery, \
                 CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn() \
                 ELSE pg_catalog.pg_current_wal_lsn() END AS current_lsn \
                 FROM pg_catalog.pg_stat_replication r \
                 LEFT JOIN pg_catalog.pg_replication_slots rs ON r.pid = rs.active_pid \
                 WHERE (rs.slot_type IS NULL OR rs.slot_type = 'physical'){filter} \
                 ORDER BY r.sync_state DESC, r.sync_priority",
                started = time_columns("r.backend_start"),
            ),
            "reading the replication statistics",
        )?;
        Ok(rows.iter().map(ReplicationStat::from_row).collect())
    }
}
