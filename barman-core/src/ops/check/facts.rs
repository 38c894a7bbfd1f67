//! What the checks look at, each fact gathered once, when the first check asks for it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use barman_catalog::accounting::{WalFigures, WalIndex};
use barman_catalog::xlogdb;
use barman_catalog::{BackupInfo, BackupStatus, Catalog, Layout};
use barman_pg::sql::{ArchiverStats, RemoteStatus, StreamingStatus, streaming_status};

use super::deadline::Deadline;
use crate::config::{BackupMethod, ServerConfig};
use crate::context::Context;
use crate::ops::archive;
use crate::server::{Server, ServerError};

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
    pub fn gather(server: &mut Server) -> Self {
        let slot = server.config().slot_name.clone();
        let (sql, sql_error) = match server.sql() {
            Ok(client) => (client.fetch_remote_status(slot.as_deref()), None),
            Err(error) => {
                log::warn!(target: "barman.postgres", "Error retrieving PostgreSQL status: {error}");
                (RemoteStatus::default(), Some(error.explained()))
            }
        };
        let streaming = streams(server.config()).then(|| match server.streaming() {
            Ok(client) => streaming_status(Ok(client)),
            Err(ServerError::Connection { source, .. }) => streaming_status(Err(&source)),
            Err(error) => StreamingStatus {
                connection_error: Some(error.to_string()),
                ..StreamingStatus::default()
            },
        });
        Self {
            sql,
            sql_error,
            streaming,
        }
    }

    /// The system identifiers of the SQL and of the replication connection.
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

/// The facts about one server.
pub struct Facts<'a, 'c> {
    server: &'a mut Server,
    ctx: &'a Context<'c>,
    deadline: &'a Deadline,
    remote: Option<Remote>,
    wal_remote: Option<Remote>,
    catalog: Option<Catalog>,
    wal_index: Option<WalIndex>,
    /// The check `PostgreSQL` has passed: the checks that need it may run.
    pub postgres_is_up: bool,
    /// The server is a standby of the primary in `primary_conninfo`.
    pub is_standby: bool,
}

impl<'a, 'c> Facts<'a, 'c> {
    /// Nothing is gathered yet.
    pub fn new(server: &'a mut Server, ctx: &'a Context<'c>, deadline: &'a Deadline) -> Self {
        Self {
            server,
            ctx,
            deadline,
            remote: None,
            wal_remote: None,
            catalog: None,
            wal_index: None,
            postgres_is_up: false,
            is_standby: false,
        }
    }

    pub fn config(&self) -> &ServerConfig {
        self.server.config()
    }

    pub fn layout(&self) -> &Layout {
        self.server.layout()
    }

    pub fn server(&mut self) -> &mut Server {
        self.server
    }

    pub fn ctx(&self) -> &'a Context<'c> {
        self.ctx
    }

    pub fn deadline(&self) -> &'a Deadline {
        self.deadline
    }

    fn flag(&self) -> Arc<AtomicBool> {
        self.deadline.flag()
    }

    /// Active and not a copy of another Barman: PostgreSQL is ours to ask.
    pub fn connects(&self) -> bool {
        self.server.connects()
    }

    /// What PostgreSQL says on the server's own connections.
    pub fn remote(&mut self) -> &Remote {
        let remote = match self.remote.take() {
            Some(remote) => remote,
            None if self.connects() => Remote::gather(self.server),
            None => Remote::default(),
        };
        self.remote.insert(remote)
    }

    /// Whether WAL comes by other connections than `conninfo`.
    pub fn has_wal_connections(&self) -> bool {
        let config = self.config();
        config.wal_conninfos().1 != config.conninfo.as_deref()
    }

    /// What PostgreSQL says on the connections for WAL.
    pub fn wal_remote(&mut self) -> &Remote {
        let remote = match self.wal_remote.take() {
            Some(remote) => remote,
            None => {
                let mut server = Server::new(self.config().clone());
                *server.connect_options() = self.server.connect_options().clone();
                server.use_wal_connections();
                Remote::gather(&mut server)
            }
        };
        self.wal_remote.insert(remote)
    }

    /// `archive_mode` and its kin.
    pub fn archive_settings(&mut self) -> ArchiveSettings {
        let mut settings = ArchiveSettings::default();
        let Ok(client) = self.server.sql() else {
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

    /// The backups.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn catalog(&mut self) -> Result<&Catalog, String> {
        let catalog = match self.catalog.take() {
            Some(catalog) => catalog,
            None => Catalog::load(self.layout()).map_err(|error| error.to_string())?,
        };
        Ok(self.catalog.insert(catalog))
    }

    /// Forgets what was read of the catalogue, after WAL was archived.
    pub fn refresh_catalog(&mut self) {
        self.catalog = None;
        self.wal_index = None;
    }

    /// The newest backup whose copy is done.
    ///
    /// # Errors
    /// As [`Self::catalog`].
    pub fn last_backup(&mut self) -> Result<Option<BackupInfo>, String> {
        let done =
            |backup: &&BackupInfo| matches!(backup.status, BackupStatus::Done | BackupStatus::WaitingForWals);
        Ok(self.catalog()?.usable().rev().find(done).cloned())
    }

    /// The WAL figures of the newest backup.
    ///
    /// # Errors
    /// The catalogue of backups or of WAL cannot be read.
    pub fn last_wal_figures(&mut self) -> Result<Option<WalFigures>, String> {
        let Some(backup) = self.last_backup()? else {
            return Ok(None);
        };
        let index = match self.wal_index.take() {
            Some(index) => index,
            None => {
                let db = xlogdb::read(
                    self.layout(),
                    &archive::custom_magic(self.config()),
                    Some(&self.flag()),
                )
                .map_err(|error| error.to_string())?;
                WalIndex::new(&db)
            }
        };
        Ok(Some(self.wal_index.insert(index).figures(&backup, None)))
    }
}
