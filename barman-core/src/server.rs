//! A server: its settings, its paths, its connections when somebody needs one.
//!
//! Making a [`Server`] touches neither disk nor network. A connection is opened on first use, reused while it is alive,
//! replaced when it was lost, and closed when the server is dropped or [`Server::close`]d.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use barman_catalog::Layout;
use barman_pg::connection::{PostgresConnection, StandbyConnection};
use barman_pg::{ConnInfo, ConnectOptions, ReplicationClient, SqlClient};

use crate::config::ServerConfig;

mod error;
mod layout;
mod remote;
#[cfg(test)]
mod tests;

pub use error::{ServerError, explained};
pub use layout::layout;
pub use remote::{ArchiveSettings, Remote};

/// The context of one server.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    layout: Layout,
    options: ConnectOptions,
    sql: Option<SqlClient>,
    primary: Option<SqlClient>,
    streaming: Option<ReplicationClient>,
}

impl Server {
    /// A server with these settings.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        let layout = layout(&config);
        Self {
            config,
            layout,
            options: ConnectOptions::default(),
            sql: None,
            primary: None,
            streaming: None,
        }
    }

    /// The same, with connections whose waits end when `flag` is raised ([`crate::Cancel::flag`]).
    #[must_use]
    pub fn with_interrupt(mut self, flag: Arc<AtomicBool>) -> Self {
        self.options.interrupt = Some(flag);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Its paths.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How connections are made; time limits may be changed before the first use.
    pub fn connect_options(&mut self) -> &mut ConnectOptions {
        &mut self.options
    }

    /// Whether connections may exist at all: not for inactive servers and passive nodes.
    #[must_use]
    pub fn connects(&self) -> bool {
        self.config.active && !self.config.is_passive()
    }

    /// Replaces the connection strings by those for WAL work (`wal_streaming_conninfo`, `wal_conninfo`), and returns the
    /// names of the options that were replaced. For `receive-wal`, `cron` and `replication-status --source wal-host`.
    pub fn use_wal_connections(&mut self) -> Vec<&'static str> {
        let (streaming, normal) = self.config.wal_conninfos();
        let (streaming, normal) = (streaming.map(str::to_owned), normal.map(str::to_owned));
        let replaced = match (&self.config.wal_streaming_conninfo, &self.config.wal_conninfo) {
            (Some(_), _) => vec!["streaming_conninfo", "conninfo"],
            (None, Some(_)) => vec!["conninfo"],
            (None, None) => vec![],
        };
        self.config.streaming_conninfo = streaming;
        self.config.conninfo = normal;
        self.close();
        replaced
    }

    /// The SQL connection.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn sql(&mut self) -> Result<&mut SqlClient, ServerError> {
        let client = match self.sql.take().filter(|client| !client.is_lost()) {
            Some(client) => client,
            None => self.connect_sql()?,
        };
        Ok(self.sql.insert(client))
    }

    /// The SQL connection to the primary of a standby server (`primary_conninfo`).
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn primary(&mut self) -> Result<&mut SqlClient, ServerError> {
        let client = match self.primary.take().filter(|client| !client.is_lost()) {
            Some(client) => client,
            None => {
                let info = self.conninfo("primary_conninfo", self.config.primary_conninfo.as_deref())?;
                self.connection(SqlClient::connect(&info, &self.options))?
            }
        };
        Ok(self.primary.insert(client))
    }

    /// The way to the primary of a standby (`primary_conninfo`); nothing if that is not set. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ServerError`]: no connections, or connection strings that cannot be read.
    pub fn standby(&self) -> Result<Option<StandbyConnection>, ServerError> {
        let Some(primary) = self.config.primary_conninfo.as_deref() else {
            return Ok(None);
        };
        let primary = self.conninfo("primary_conninfo", Some(primary))?;
        let info = self.conninfo("conninfo", self.config.conninfo.as_deref())?;
        let standby = PostgresConnection::new(info).with_options(self.options.clone());
        let timeout = self.config.primary_checkpoint_timeout;
        Ok(Some(StandbyConnection::new(standby, primary, timeout)))
    }

    /// The replication connection for short commands (`IDENTIFY_SYSTEM`, slots).
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn streaming(&mut self) -> Result<&mut ReplicationClient, ServerError> {
        let client = match self.streaming.take() {
            Some(client) => client,
            None => self.connect_streaming(None)?,
        };
        Ok(self.streaming.insert(client))
    }

    /// An SQL connection of one's own, outside the server's keeping (keep-alive, concurrent backup).
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn connect_sql(&self) -> Result<SqlClient, ServerError> {
        let info = self.conninfo("conninfo", self.config.conninfo.as_deref())?;
        self.connection(SqlClient::connect(&info, &self.options))
    }

    /// A replication connection of one's own, for a base backup or a WAL stream, under this application name unless
    /// `streaming_conninfo` has one.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn connect_streaming(
        &self,
        application_name: Option<&str>,
    ) -> Result<ReplicationClient, ServerError> {
        let info = self
            .conninfo("streaming_conninfo", self.config.streaming_conninfo.as_deref())?
            .streaming();
        let info = match application_name {
            Some(name) => info.or_application_name(name),
            None => info,
        };
        self.connection(ReplicationClient::connect(&info, &self.options))
    }

    /// Closes every connection. Idempotent; the next use connects again.
    pub fn close(&mut self) {
        self.sql = None;
        self.primary = None;
        self.streaming = None;
    }

    fn conninfo(&self, option: &'static str, text: Option<&str>) -> Result<ConnInfo, ServerError> {
        let server = || self.config.name.clone();
        if !self.connects() {
            return Err(ServerError::NoConnections { server: server() });
        }
        let text = text.ok_or_else(|| ServerError::NotConfigured {
            option,
            server: server(),
        })?;
        self.connection(ConnInfo::parse(text).map_err(barman_pg::Error::from))
    }

    fn connection<T>(&self, result: Result<T, barman_pg::Error>) -> Result<T, ServerError> {
        result.map_err(|source| ServerError::Connection {
            server: self.config.name.clone(),
            source,
        })
    }
}
