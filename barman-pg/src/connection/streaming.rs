//! The streaming connection for short commands.

use super::{ProgramConnection, TARGET, program};
use crate::connect::ConnectOptions;
use crate::conninfo::ConnInfo;
use crate::error::{Error, sqlstate};
use crate::replication::{ReplicationClient, ReserveWal, SystemIdentification};
use crate::sql::{StreamingStatus, streaming_status};
use crate::version::{PgVersion, major_of_text};

/// The streaming connection to a server (`StreamingConnection`): the connection string with `replication`, `options` and
/// `dbname` forced. Made without a connection; a base backup or a WAL stream takes a session of its own
/// ([`StreamingConnection::session`]).
#[derive(Debug)]
pub struct StreamingConnection {
    info: ConnInfo,
    options: ConnectOptions,
    client: Option<ReplicationClient>,
    version: Option<PgVersion>,
    status: Option<StreamingStatus>,
}

/// Why a replication slot was not created or dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// There is one of that name.
    #[error("replication slot '{slot}' already exists")]
    Exists {
        /// Its name.
        slot: String,
    },
    /// No slot is free.
    #[error(
        "all replication slots are in use, no room for '{slot}': free one or raise max_replication_slots"
    )]
    Full {
        /// The name of the slot that was to be created.
        slot: String,
    },
    /// There is none of that name.
    #[error("replication slot '{slot}' does not exist")]
    Absent {
        /// Its name.
        slot: String,
    },
    /// Somebody streams through it.
    #[error("replication slot '{slot}' is in use")]
    InUse {
        /// Its name.
        slot: String,
    },
    /// Anything else.
    #[error(transparent)]
    Postgres(#[from] Error),
}

impl SlotError {
    fn of(slot: &str, error: Error) -> Self {
        let slot = slot.to_owned();
        match error.sqlstate() {
            Some(sqlstate::DUPLICATE_OBJECT) => Self::Exists { slot },
            Some(sqlstate::SLOTS_FULL) => Self::Full { slot },
            Some(sqlstate::UNDEFINED_OBJECT) => Self::Absent { slot },
            Some(sqlstate::OBJECT_IN_USE) => Self::InUse { slot },
            _ => Self::Postgres(error),
        }
    }
}

impl StreamingConnection {
    /// A connection with this connection string and default options. Connects to nothing.
    #[must_use]
    pub fn new(info: ConnInfo) -> Self {
        Self {
            info: info.streaming(),
            options: ConnectOptions::default(),
            client: None,
            version: None,
            status: None,
        }
    }

    /// The same from the text of the connection string.
    ///
    /// # Errors
    /// [`Error::ConnInfo`].
    pub fn parse(conninfo: &str) -> Result<Self, Error> {
        Ok(Self::new(ConnInfo::parse(conninfo)?))
    }

    /// The same with these options.
    #[must_use]
    pub fn with_options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// The connection string, the forced values included. Its `Display` and `Debug` hide secrets.
    #[must_use]
    pub fn conninfo(&self) -> &ConnInfo {
        &self.info
    }

    /// The connection for a PostgreSQL client program (`get_connection_string`), with this application name unless the
    /// user chose one.
    #[must_use]
    pub fn get_connection_string(&self, application_name: Option<&str>) -> ProgramConnection {
        program::connection(&self.info, application_name)
    }

    /// The session: opened if there is none, asked `IDENTIFY_SYSTEM` and replaced if it is lost when it was used before.
    ///
    /// # Errors
    /// As [`ReplicationClient::connect`].
    pub fn connect(&mut self) -> Result<&mut ReplicationClient, Error> {
        let mut before = self.client.take();
        if let Some(client) = &mut before
            && let Err(error) = client.identify_system()
        {
            if error.is_interrupted() {
                return Err(error);
            }
            // Whatever else it is may be the session's fault.
            log::debug!(target: TARGET, "connecting again: {error}");
            before = None;
        }
        let client = match before {
            Some(client) => client,
            None => ReplicationClient::connect(&self.info, &self.options)?,
        };
        self.version = Some(client.version());
        Ok(self.client.insert(client))
    }

    /// A session of its own for a base backup or a WAL stream, with this application name unless the user chose one.
    ///
    /// # Errors
    /// As [`ReplicationClient::connect`].
    pub fn session(&self, application_name: Option<&str>) -> Result<ReplicationClient, Error> {
        let info = match application_name {
            Some(name) => self.info.clone().or_application_name(name),
            None => self.info.clone(),
        };
        ReplicationClient::connect(&info, &self.options)
    }

    /// Whether a session is held; not whether it still works.
    #[must_use]
    pub fn has_connection(&self) -> bool {
        self.client.is_some()
    }

    /// Closes the session; the next use opens a new one.
    pub fn close(&mut self) {
        self.client = None;
    }

    /// The version of the server: known once, asked by connecting.
    ///
    /// # Errors
    /// As [`StreamingConnection::connect`].
    pub fn server_version(&mut self) -> Result<PgVersion, Error> {
        match self.version {
            Some(version) => Ok(version),
            None => self.connect().map(|client| client.version()),
        }
    }

    /// The version as text, made of the number: `15.18`; `None` if it cannot be asked.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn server_txt_version(&mut self) -> Result<Option<String>, Error> {
        let version = super::or_none("server_txt_version", self.server_version())?;
        Ok(version.map(|version| version.to_string()))
    }

    /// The major version of it.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn server_major_version(&mut self) -> Result<Option<String>, Error> {
        Ok(self.server_txt_version()?.as_deref().map(major_of_text))
    }

    /// `IDENTIFY_SYSTEM`.
    ///
    /// # Errors
    /// As [`StreamingConnection::connect`] and [`ReplicationClient::identify_system`].
    pub fn identify_system(&mut self) -> Result<SystemIdentification, Error> {
        self.connect()?.identify_system()
    }

    /// Creates a physical slot that keeps WAL from its first use on.
    ///
    /// # Errors
    /// [`SlotError`].
    pub fn create_physical_repslot(&mut self, name: &str) -> Result<(), SlotError> {
        self.connect()?
            .create_physical_slot(name, ReserveWal::Later)
            .map_err(|error| SlotError::of(name, error))
    }

    /// Drops a slot; does not wait until it is free.
    ///
    /// # Errors
    /// [`SlotError`].
    pub fn drop_repslot(&mut self, name: &str) -> Result<(), SlotError> {
        self.connect()?
            .drop_slot(name)
            .map_err(|error| SlotError::of(name, error))
    }

    /// Reads the status anew; a server that cannot be reached is an answer too.
    #[must_use]
    pub fn fetch_remote_status(&mut self) -> StreamingStatus {
        match self.connect() {
            Ok(client) => streaming_status(Ok(client)),
            Err(error) => streaming_status(Err(&error)),
        }
    }

    /// The status as it was when this was called first.
    #[must_use]
    pub fn get_remote_status(&mut self) -> StreamingStatus {
        if let Some(status) = &self.status {
            return status.clone();
        }
        let status = self.fetch_remote_status();
        self.status = Some(status.clone());
        status
    }

    /// Forgets the status.
    pub fn reset_remote_status(&mut self) {
        self.status = None;
    }
}
