//! What the checks look at, each fact gathered once, when the first check asks for it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use barman_catalog::accounting::{WalFigures, WalIndex};
use barman_catalog::xlogdb;
use barman_catalog::{BackupInfo, BackupStatus, Catalog, Layout};

use super::deadline::Deadline;
use crate::config::ServerConfig;
use crate::context::Context;
use crate::ops::archive;
use crate::server::{ArchiveSettings, Remote, Server};

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
        ArchiveSettings::gather(self.server)
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
