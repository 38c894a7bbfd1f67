//! What the standard connection does to the server: backups, WAL switches, checkpoints, restore points.

use barman_wal::Lsn;

use super::session::Refused;
use super::{PostgresConnection, or_none};
use crate::basebackup::CheckpointMode;
use crate::error::Error;
use crate::sql::{BackupStart, BackupStop, ExclusivePosition, SqlClient, WalSwitch};

impl PostgresConnection {
    fn immediate(&self) -> bool {
        self.checkpoint == CheckpointMode::Fast
    }

    /// Begins a concurrent backup. It lives in this session: until [`stop_concurrent_backup`](Self::stop_concurrent_backup)
    /// has succeeded a lost session is not replaced, and everything answers [`Error::LostDuringBackup`]
    /// (see [`abandon_backup`](Self::abandon_backup)). From 14 on `idle_session_timeout` is off as long as it lasts.
    ///
    /// # Errors
    /// As [`PostgresConnection::connect`]; server and connection errors.
    pub fn start_concurrent_backup(&self, label: &str) -> Result<BackupStart, Error> {
        let mut held = self.held();
        let immediate = self.immediate();
        let outcome = self.act_on(&mut held, |client| {
            client.start_concurrent_backup(label, immediate)
        });
        match outcome {
            Ok(start) => {
                held.backup_open = true;
                Ok(start)
            }
            Err(refused) => {
                // Whatever the server has begun ends with the session.
                if !held.backup_open {
                    held.close();
                }
                Err(refused.into())
            }
        }
    }

    /// Ends the backup and waits until its WAL is archived, however long that takes; the interrupt flag ends the wait.
    ///
    /// # Errors
    /// [`Error::LostDuringBackup`]; server and connection errors. The session may not be replaced afterwards either.
    pub fn stop_concurrent_backup(&self) -> Result<BackupStop, Error> {
        let mut held = self.held();
        let stop = self.act_on(&mut held, SqlClient::stop_concurrent_backup)?;
        held.backup_open = false;
        Ok(stop)
    }

    /// Begins an exclusive backup (PostgreSQL 10 to 14). It does not depend on the session.
    ///
    /// # Errors
    /// [`Error::Obsolete`] from 15 on; as [`PostgresConnection::connect`]; server and connection errors.
    pub fn start_exclusive_backup(&self, label: &str) -> Result<ExclusivePosition, Error> {
        let immediate = self.immediate();
        self.with_session(|client| client.start_exclusive_backup(label, immediate))
    }

    /// Ends the exclusive backup and waits until its WAL is archived, however long that takes.
    ///
    /// # Errors
    /// As [`start_exclusive_backup`](Self::start_exclusive_backup); the text tells that the backup may have to be ended
    /// by hand.
    pub fn stop_exclusive_backup(&self) -> Result<ExclusivePosition, Error> {
        self.with_session(SqlClient::stop_exclusive_backup)
    }

    /// Makes the server close its current WAL segment; `None` if the server or the connection fails in the middle.
    ///
    /// # Errors
    /// [`Error::BackupPrivileges`] and [`Error::InRecovery`] before anything is done; as [`PostgresConnection::connect`].
    pub fn switch_wal(&self) -> Result<Option<WalSwitch>, Error> {
        match self.act(SqlClient::switch_wal) {
            Err(Refused::Asking(error))
                if !matches!(error, Error::BackupPrivileges { .. } | Error::InRecovery { .. }) =>
            {
                or_none("switch_wal", Err(error))
            }
            outcome => Ok(Some(outcome?)),
        }
    }

    /// Creates a restore point; its position. `None` on a standby and on every failure: no backup is failed by it.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn create_restore_point(&self, name: &str) -> Result<Option<Lsn>, Error> {
        let outcome = self.with_session(|client| client.create_restore_point(name));
        Ok(or_none("create_restore_point", outcome)?.flatten())
    }

    /// `CHECKPOINT` (on a standby a restartpoint), however long it takes; `None` if the server or the connection fails in
    /// the middle.
    ///
    /// # Errors
    /// [`Error::CheckpointPrivileges`] before anything is done; as [`PostgresConnection::connect`].
    pub fn checkpoint(&self) -> Result<Option<()>, Error> {
        match self.act(SqlClient::checkpoint) {
            Err(Refused::Asking(error)) if !matches!(error, Error::CheckpointPrivileges { .. }) => {
                or_none("checkpoint", Err(error))
            }
            outcome => Ok(Some(outcome?)),
        }
    }
}
