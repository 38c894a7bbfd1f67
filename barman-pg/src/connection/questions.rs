//! What the standard connection is asked.

use std::time::Duration;

use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId};

use super::session::Refused;
use super::{PostgresConnection, TARGET, name_map, or_none};
use crate::error::Error;
use crate::sql::{
    ArchiverStats, ClientType, ConfigurationFiles, Privileges, ReplicationSlot, ReplicationStat, SqlClient,
    Tablespace, WalPosition,
};
use crate::version::{PgVersion, major_of_text};

impl PostgresConnection {
    /// Asks; a failure is `None`.
    fn ask_or_none<T>(
        &self,
        what: &str,
        question: impl FnMut(&mut SqlClient) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        or_none(what, self.ask(question).map_err(Error::from))
    }

    /// Whether the server is a standby; `None` if it cannot be asked.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn is_in_recovery(&self) -> Result<Option<bool>, Error> {
        self.ask_or_none("is_in_recovery", SqlClient::is_in_recovery)
    }

    /// Whether the version is supported (`is_minimal_postgres_version`).
    ///
    /// # Errors
    /// As [`PostgresConnection::connect`].
    pub fn is_minimal_postgres_version(&self) -> Result<bool, Error> {
        Ok(self.server_version()? >= Self::MINIMAL_VERSION)
    }

    /// The version in the words of `version()`, `15.18`, `18beta1` (`server_txt_version`): known once; `None` if it
    /// cannot be asked.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn server_txt_version(&self) -> Result<Option<String>, Error> {
        if let Some(known) = self.held().version_text.clone() {
            return Ok(Some(known));
        }
        let asked = self.ask_or_none("server_txt_version", SqlClient::version_text)?;
        let text = asked.flatten();
        self.held().version_text.clone_from(&text);
        Ok(text)
    }

    /// The major version of it, `15`, `18` (`server_major_version`).
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn server_major_version(&self) -> Result<Option<String>, Error> {
        Ok(self.server_txt_version()?.as_deref().map(major_of_text))
    }

    /// [`name_map`] of this server; the newest names if it cannot be asked.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn name_map(&self) -> Result<[(&'static str, &'static str); 14], Error> {
        let version: Option<PgVersion> = or_none("name_map", self.server_version())?;
        Ok(name_map(version))
    }

    /// The privileges of the role. Nothing of it is kept, since they may be granted while we look.
    ///
    /// # Errors
    /// As [`PostgresConnection::connect`]; server and connection errors.
    pub fn privileges(&self) -> Result<Privileges, Error> {
        self.ask(SqlClient::privileges).map_err(Error::from)
    }

    /// Whether the role is a superuser; `None` if it cannot be asked.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn is_superuser(&self) -> Result<Option<bool>, Error> {
        self.ask_or_none("is_superuser", |client| Ok(client.privileges()?.superuser))
    }

    /// Whether the role may run the backup functions and read what a backup needs; `None` if the server does not say.
    ///
    /// # Errors
    /// As [`PostgresConnection::connect`]: a server that cannot be reached is not one without privileges.
    pub fn has_backup_privileges(&self) -> Result<Option<bool>, Error> {
        self.privilege("has_backup_privileges", |privileges| privileges.backup)
    }

    /// Whether the role may read settings and statistics; `None` if it cannot be asked.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn has_monitoring_privileges(&self) -> Result<Option<bool>, Error> {
        self.ask_or_none("has_monitoring_privileges", |client| {
            Ok(client.privileges()?.monitoring)
        })
    }

    /// Whether the role may run `CHECKPOINT`: up to 14 only superusers; `None` if the server does not say.
    ///
    /// # Errors
    /// As [`PostgresConnection::has_backup_privileges`].
    pub fn has_checkpoint_privileges(&self) -> Result<Option<bool>, Error> {
        self.privilege("has_checkpoint_privileges", |privileges| privileges.checkpoint)
    }

    fn privilege(&self, what: &str, which: fn(Privileges) -> bool) -> Result<Option<bool>, Error> {
        match self.ask(SqlClient::privileges) {
            Ok(privileges) => Ok(Some(which(privileges))),
            Err(Refused::Connecting(error)) => Err(error),
            Err(Refused::Asking(error)) if error.is_connection_lost() => Err(error),
            Err(Refused::Asking(error)) => or_none(what, Err(error)),
        }
    }

    /// `SHOW name` in display units; `None` for an unknown setting, one that the role may not read, and every failure.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn get_setting(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self
            .ask_or_none("get_setting", |client| client.setting(name))?
            .flatten())
    }

    /// The system identifier, decimal; `None` if it cannot be asked.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn get_systemid(&self) -> Result<Option<String>, Error> {
        self.ask_or_none("get_systemid", SqlClient::systemid)
    }

    /// The size of WAL segments; `None` (and an error in the log) if the server tells none that can be.
    ///
    /// # Errors
    /// As [`PostgresConnection::connect`]; server and connection errors.
    pub fn xlog_segment_size(&self) -> Result<Option<SegmentSize>, Error> {
        let answer = self.ask(|client| match client.segment_size() {
            Err(error @ Error::Protocol { .. }) if !client.is_lost() => {
                log::error!(target: TARGET, "{error}");
                Ok(None)
            }
            answer => answer.map(Some),
        });
        answer.map_err(Error::from)
    }

    /// `archive_timeout`; zero if off.
    ///
    /// # Errors
    /// As [`PostgresConnection::connect`]; server and connection errors.
    pub fn archive_timeout(&self) -> Result<Duration, Error> {
        self.ask(SqlClient::archive_timeout).map_err(Error::from)
    }

    /// `checkpoint_timeout`.
    ///
    /// # Errors
    /// As [`PostgresConnection::connect`]; server and connection errors.
    pub fn checkpoint_timeout(&self) -> Result<Duration, Error> {
        self.ask(SqlClient::checkpoint_timeout).map_err(Error::from)
    }

    /// Bytes of all tablespaces, WAL not included; `None` without backup privileges and on every failure.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn current_size(&self) -> Result<Option<u64>, Error> {
        Ok(self
            .ask_or_none("current_size", SqlClient::current_size)?
            .flatten())
    }

    /// The tablespaces that are not built in; `None` if they cannot be asked for.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn get_tablespaces(&self) -> Result<Option<Vec<Tablespace>>, Error> {
        self.ask_or_none("get_tablespaces", SqlClient::tablespaces)
    }

    /// The configuration files; all empty on failure and for roles that may not see them. Kept once there are any.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn get_configuration_files(&self) -> Result<ConfigurationFiles, Error> {
        if let Some(files) = self.held().configuration_files.clone() {
            return Ok(files);
        }
        let asked = self.ask_or_none("get_configuration_files", SqlClient::configuration_files)?;
        let files = asked.unwrap_or_default();
        if files != ConfigurationFiles::default() {
            self.held().configuration_files = Some(files.clone());
        }
        Ok(files)
    }

    /// The names in `synchronous_standby_names`: one empty name if it is not set, none if it cannot be read.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn get_synchronous_standby_names(&self) -> Result<Vec<String>, Error> {
        let asked = self.ask_or_none(
            "get_synchronous_standby_names",
            SqlClient::synchronous_standby_names,
        )?;
        Ok(asked.unwrap_or_default())
    }

    /// The position of the server (`current_xlog_info`); `None` if it cannot be asked.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn current_xlog_info(&self) -> Result<Option<WalPosition>, Error> {
        self.ask_or_none("current_xlog_info", SqlClient::current_position)
    }

    /// Its location; also `None` on a standby that has replayed nothing.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn current_xlog_location(&self) -> Result<Option<Lsn>, Error> {
        Ok(self.current_xlog_info()?.and_then(|info| info.location))
    }

    /// Its segment; also `None` on a standby.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn current_xlog_file_name(&self) -> Result<Option<SegmentName>, Error> {
        Ok(self.current_xlog_info()?.and_then(|info| info.file_name))
    }

    /// The timeline in use, on a standby the one that is replayed; `None` if it cannot be asked, or if a standby does not
    /// know one.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn current_timeline(&self) -> Result<Option<TimelineId>, Error> {
        Ok(self
            .ask_or_none("current_timeline", SqlClient::current_timeline)?
            .flatten())
    }

    /// The statistics of the archiver; `None` on every failure, among them a division by zero right after they were
    /// reset.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn get_archiver_stats(&self) -> Result<Option<ArchiverStats>, Error> {
        self.ask_or_none("get_archiver_stats", SqlClient::archiver_stats)
    }

    /// The clients that stream from the server, synchronous ones first; `None` if they cannot be asked for.
    ///
    /// # Errors
    /// [`Error::MonitoringPrivileges`], [`Error::Interrupted`].
    pub fn get_replication_stats(&self, clients: ClientType) -> Result<Option<Vec<ReplicationStat>>, Error> {
        match self.ask(|client| client.replication_stats(clients)) {
            Err(Refused::Asking(error @ Error::MonitoringPrivileges { .. })) => Err(error),
            answer => or_none("get_replication_stats", answer.map_err(Error::from)),
        }
    }

    /// The physical slot of this name.
    ///
    /// # Errors
    /// Everything: as [`PostgresConnection::connect`]; server and connection errors. They are logged too.
    pub fn get_replication_slot(&self, name: &str) -> Result<Option<ReplicationSlot>, Error> {
        self.ask(|client| client.replication_slot(name))
            .map_err(Error::from)
            .inspect_err(|error| log::debug!(target: TARGET, "get_replication_slot: {error}"))
    }
}
