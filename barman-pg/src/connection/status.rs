//! The remote status of the standard connection, fetched once.

use super::{PostgresConnection, TARGET};
use crate::error::Error;
use crate::sql::RemoteStatus;

impl PostgresConnection {
    /// Reads the status of the server anew; what could not be read is `None`, and why is in
    /// [`RemoteStatus::failure`] and (as a warning) in the log.
    #[must_use]
    pub fn fetch_remote_status(&self) -> RemoteStatus {
        let slot = self.slot_name.as_deref();
        self.act(|client| Ok(client.fetch_remote_status(slot)))
            .unwrap_or_else(|refused| {
                let error = Error::from(refused);
                log::warn!(target: TARGET, "Error retrieving PostgreSQL status: {error}");
                RemoteStatus {
                    failure: Some(error.to_string()),
                    ..RemoteStatus::default()
                }
            })
    }

    /// The status as it was when this was called first.
    #[must_use]
    pub fn get_remote_status(&self) -> RemoteStatus {
        if let Some(status) = self.held().remote_status.clone() {
            return status;
        }
        let status = self.fetch_remote_status();
        self.held().remote_status = Some(status.clone());
        status
    }

    /// Forgets the status: [`get_remote_status`](Self::get_remote_status) reads it anew.
    pub fn reset_remote_status(&self) {
        self.held().remote_status = None;
    }

    /// Reads the configured slot anew into the status that is kept: for who has just created or dropped it.
    ///
    /// # Errors
    /// As [`get_replication_slot`](Self::get_replication_slot); the status is forgotten then.
    pub fn refresh_replication_slot(&self) -> Result<(), Error> {
        let Some(name) = self.slot_name.as_deref() else {
            return Ok(());
        };
        if self.held().remote_status.is_none() {
            return Ok(());
        }
        let slot = self.get_replication_slot(name);
        let mut held = self.held();
        match slot {
            Ok(slot) => {
                if let Some(status) = &mut held.remote_status {
                    status.replication_slot = slot;
                }
                Ok(())
            }
            Err(error) => {
                held.remote_status = None;
                Err(error)
            }
        }
    }
}
