//! What PostgreSQL says of itself: the remote status of a server, for `check`, `status`, `show-servers` and `diagnose`.
//! Gathering never fails: what cannot be reached is empty, and why is told.

use barman_pg::sql::{ArchiverStats, RemoteStatus, StreamingStatus, streaming_status};

use super::{Server, ServerError};
use crate::config::{BackupMethod, ServerConfig};

/// What PostgreSQL says of itself on one pair of connections.
#[derive(Debug, Default)]
pub struct Remote {
    /// The SQL connection's status; empty if it cannot be reached.
    pub sql: RemoteStatus,
    /// Why there is no SQL connection.
    pub sql_error: Option<String>,
    /// The replication connection's status; `None` if no such connection is configured.
    pub streaming: Option<StreamingStatus>,
}

impl Remote {
    /// Gathers the status; what cannot be reached is left empty.
    #[must_use]
    pub fn gather(server: &mut Server) -> Self {
        let remote = Self::gather_sql(server);
        let streaming = streams(server.config()).then(|| match server.streaming() {
            Ok(client) => streaming_status(Ok(client)),
            Err(ServerError::Connection { source, .. }) => streaming_status(Err(&source)),
            Err(error) => StreamingStatus {
                connection_error: Some(error.to_string()),
                ..StreamingStatus::default()
            },
        });
        Self { streaming, ..remote }
    }

    /// Only what the SQL connection tells.
    #[must_use]
    pub fn gather_sql(server: &mut Server) -> Self {
        let slot = server.config().slot_name.clone();
        let (sql, sql_error) = match server.sql() {
            Ok(client) => (client.fetch_remote_status(slot.as_deref()), None),
            Err(error) => {
                log::warn!(target: "barman.postgres", "Error retrieving PostgreSQL status: {error}");
                (RemoteStatus::default(), Some(error.explained()))
            }
        };
        Self {
            sql,
            sql_error,
            streaming: None,
        }
    }

    /// The system identifiers of the SQL and of the replication connection.
    #[must_use]
    pub fn systemids(&self) -> (Option<&str>, Option<&str>) {
        let streaming = self
            .streaming
            .as_ref()
            .and_then(|status| status.streaming_systemid.as_deref());
        (self.sql.postgres_systemid.as_deref(), streaming)
    }
}

/// Whether the server has a replication connection.
fn streams(config: &ServerConfig) -> bool {
    config.backup_method == BackupMethod::Postgres || config.streaming_archiver
}

/// What `archive_command` is about.
#[derive(Debug, Default)]
pub struct ArchiveSettings {
    /// `archive_mode`; `None` if it cannot be read.
    pub mode: Option<String>,
    /// `archive_command`.
    pub command: Option<String>,
    /// `archive_library`, from 15 on.
    pub library: Option<String>,
    /// `pg_stat_archiver`.
    pub stats: Option<ArchiverStats>,
}

impl ArchiveSettings {
    /// Asks the SQL connection; what cannot be read is left empty.
    #[must_use]
    pub fn gather(server: &mut Server) -> Self {
        let mut settings = Self::default();
        let Ok(client) = server.sql() else {
            return settings;
        };
        settings.mode = client.setting("archive_mode").ok().flatten();
        settings.command = client.setting("archive_command").ok().flatten();
        if client.version().at_least(15) {
            settings.library = client.setting("archive_library").ok().flatten();
        }
        settings.stats = client.archiver_stats().ok();
        settings
    }
}
