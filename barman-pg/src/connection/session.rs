//! The standard connection: what it is made of, when its session is opened, opened again, and given up.

use std::sync::{Arc, Mutex, MutexGuard};

use super::{ProgramConnection, TARGET, program};
use crate::basebackup::CheckpointMode;
use crate::connect::{Canceller, ConnectOptions};
use crate::conninfo::ConnInfo;
use crate::error::Error;
use crate::sql::{ConfigurationFiles, RemoteStatus, SqlClient};
use crate::version::PgVersion;

/// The standard connection to a server (`PostgreSQLConnection`): SQL in autocommit mode, names resolved with an empty
/// `search_path`.
///
/// It is made without a connection. All functions take `&self` and may be called from several threads: one session is
/// shared, statements wait for each other (a question asked while another thread is in
/// [`stop_concurrent_backup`](Self::stop_concurrent_backup) waits for its end).
///
/// ```no_run
/// use barman_pg::connection::PostgresConnection;
///
/// let server = PostgresConnection::parse("host=pg user=barman dbname=postgres")?;
/// println!("{}: {:?} bytes", server.server_version()?, server.current_size()?);
/// # Ok::<(), barman_pg::Error>(())
/// ```
pub struct PostgresConnection {
    pub(super) info: ConnInfo,
    pub(super) options: ConnectOptions,
    application_name: String,
    pub(super) checkpoint: CheckpointMode,
    pub(super) slot_name: Option<String>,
    held: Arc<Mutex<Held>>,
}

/// The session, and what was learned from it.
#[derive(Default)]
pub(super) struct Held {
    session: Option<SqlClient>,
    /// Between a successful start and a successful stop of a concurrent backup, which lives and dies with its session.
    pub(super) backup_open: bool,
    /// Of the last session.
    version: Option<PgVersion>,
    pub(super) version_text: Option<String>,
    /// Only ever with something in it.
    pub(super) configuration_files: Option<ConfigurationFiles>,
    pub(super) remote_status: Option<RemoteStatus>,
}

/// Why something could not be asked.
pub(super) enum Refused {
    /// There is no session.
    Connecting(Error),
    /// The server or the connection failed in the middle of it.
    Asking(Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let (Refused::Connecting(error) | Refused::Asking(error)) = refused;
        error
    }
}

impl std::fmt::Debug for PostgresConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresConnection")
            .field("info", &self.info)
            .field("application_name", &self.application_name)
            .finish_non_exhaustive()
    }
}

impl PostgresConnection {
    /// Oldest server version that is supported (`MINIMAL_VERSION`, `minimal_txt_version`).
    pub const MINIMAL_VERSION: PgVersion = PgVersion::MINIMUM;

    /// A connection with this connection string, default options, application name `barman`, spread checkpoints, no
    /// slot. Connects to nothing.
    #[must_use]
    pub fn new(info: ConnInfo) -> Self {
        Self {
            info,
            options: ConnectOptions::default(),
            application_name: "barman".to_owned(),
            checkpoint: CheckpointMode::Spread,
            slot_name: None,
            held: Arc::default(),
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

    /// The same with this application name, which counts unless the connection string has one.
    #[must_use]
    pub fn with_application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// The same with this kind of checkpoint at the start of backups (`immediate_checkpoint`).
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: CheckpointMode) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// The same with this replication slot in the remote status (`slot_name`).
    #[must_use]
    pub fn with_slot_name(mut self, name: Option<String>) -> Self {
        self.slot_name = name;
        self
    }

    /// The connection string. Its `Display` and `Debug` hide secrets.
    #[must_use]
    pub fn conninfo(&self) -> &ConnInfo {
        &self.info
    }

    /// The connection for a PostgreSQL client program (`get_connection_string`): with this application name unless the
    /// user chose one, and with an empty `search_path` unless the user set `options`.
    #[must_use]
    pub fn get_connection_string(&self, application_name: Option<&str>) -> ProgramConnection {
        program::connection(&self.info, application_name)
    }

    /// A connection of its own with the same settings, but for the interrupt flag.
    pub(super) fn sibling(&self, options: ConnectOptions) -> Self {
        Self {
            info: self.info.clone(),
            options,
            application_name: self.application_name.clone(),
            checkpoint: self.checkpoint,
            slot_name: self.slot_name.clone(),
            held: Arc::default(),
        }
    }

    /// What is shared with the keep-alive.
    pub(super) fn shared(&self) -> Arc<Mutex<Held>> {
        Arc::clone(&self.held)
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(|poisoned| {
            // Somebody panicked in the middle of a statement: nobody knows what the session would answer next.
            self.held.clear_poison();
            let mut held = poisoned.into_inner();
            held.session = None;
            held
        })
    }

    /// Opens the session if there is none.
    ///
    /// # Errors
    /// As [`SqlClient::connect`]; [`Error::LostDuringBackup`].
    pub fn connect(&self) -> Result<(), Error> {
        self.act(|_| Ok(())).map_err(Error::from)
    }

    /// Whether a session is held (`has_connection`); not whether it still works.
    #[must_use]
    pub fn has_connection(&self) -> bool {
        self.held().session.is_some()
    }

    /// Closes the session; the next use opens a new one, unless a concurrent backup was open: that has ended with it.
    pub fn close(&self) {
        self.held().close();
    }

    /// Gives up the concurrent backup that is open: closes the session, with which the server ends it, and allows to
    /// connect again.
    pub fn abandon_backup(&self) {
        let mut held = self.held();
        held.close();
        held.backup_open = false;
    }

    /// Asks the server to stop what the session is doing, from any thread; none without a session. To be taken before the
    /// work begins: this waits for a running statement.
    #[must_use]
    pub fn canceller(&self) -> Option<Canceller> {
        self.held().session.as_ref()?.canceller()
    }

    /// Runs something of one's own on the session, as what changes the server: see the [module](crate::connection).
    ///
    /// # Errors
    /// As [`PostgresConnection::connect`], and those of `work`.
    pub fn with_session<T>(&self, work: impl FnOnce(&mut SqlClient) -> Result<T, Error>) -> Result<T, Error> {
        self.act(work).map_err(Error::from)
    }

    /// The version of the server (`server_version`): known once, asked by connecting.
    ///
    /// # Errors
    /// As [`PostgresConnection::connect`].
    pub fn server_version(&self) -> Result<PgVersion, Error> {
        let mut held = self.held();
        if let Some(version) = held.version {
            return Ok(version);
        }
        self.open(&mut held).map(|(client, _)| client.version())
    }

    /// Asks what may be asked twice.
    pub(super) fn ask<T>(
        &self,
        mut question: impl FnMut(&mut SqlClient) -> Result<T, Error>,
    ) -> Result<T, Refused> {
        let mut held = self.held();
        let (client, reused) = self.open(&mut held).map_err(Refused::Connecting)?;
        let failure = match question(client) {
            Err(error) if reused && client.is_lost() && is_cut(&error) => error,
            answer => return self.judged(&held, answer),
        };
        if held.backup_open {
            return self.judged(&held, Err(failure));
        }
        log::debug!(target: TARGET, "connecting again: {failure}");
        held.session = None;
        let (client, _) = self.open(&mut held).map_err(Refused::Connecting)?;
        question(client).map_err(Refused::Asking)
    }

    /// Does what must not be done twice.
    pub(super) fn act<T>(&self, work: impl FnOnce(&mut SqlClient) -> Result<T, Error>) -> Result<T, Refused> {
        let mut held = self.held();
        self.act_on(&mut held, work)
    }

    pub(super) fn act_on<T>(
        &self,
        held: &mut Held,
        work: impl FnOnce(&mut SqlClient) -> Result<T, Error>,
    ) -> Result<T, Refused> {
        let (client, reused) = self.open(held).map_err(Refused::Connecting)?;
        if reused && let Err(error) = client.heartbeat() {
            if !client.is_lost() || !is_cut(&error) || held.backup_open {
                return self.judged(held, Err(error));
            }
            log::debug!(target: TARGET, "connecting again: {error}");
            held.session = None;
        }
        let (client, _) = self.open(held).map_err(Refused::Connecting)?;
        let answer = work(client);
        self.judged(held, answer)
    }

    /// The session, and whether it was there before.
    fn open<'held>(&self, held: &'held mut Held) -> Result<(&'held mut SqlClient, bool), Error> {
        let before = held.session.take().filter(|session| !session.is_lost());
        let reused = before.is_some();
        let session = match before {
            Some(session) => session,
            None if held.backup_open => return Err(self.backup_is_gone()),
            None => {
                let session = SqlClient::connect_as(&self.info, &self.options, &self.application_name)?;
                if held.version != Some(session.version()) {
                    held.version = Some(session.version());
                    held.version_text = None;
                }
                session
            }
        };
        Ok((held.session.insert(session), reused))
    }

    fn backup_is_gone(&self) -> Error {
        Error::LostDuringBackup {
            address: format!("\"{}\"", self.info),
            reason: "it was closed or lost before".to_owned(),
        }
    }

    /// An answer; a cut connection is named as what it is to an open backup.
    fn judged<T>(&self, held: &Held, answer: Result<T, Error>) -> Result<T, Refused> {
        answer.map_err(|error| {
            let lost = held.session.as_ref().filter(|session| session.is_lost());
            Refused::Asking(match lost {
                Some(session) if held.backup_open && is_cut(&error) => Error::LostDuringBackup {
                    address: session.address().to_owned(),
                    reason: error.to_string(),
                },
                _ => error,
            })
        })
    }
}

impl Held {
    /// The session, if there is one: never opens any.
    pub(super) fn session(&mut self) -> Option<&mut SqlClient> {
        self.session.as_mut()
    }

    pub(super) fn close(&mut self) {
        self.session = None;
    }
}

/// Whether the connection was cut, so that a new one may give an answer: not if we gave up ourselves.
fn is_cut(error: &Error) -> bool {
    !matches!(error, Error::Timeout { .. } | Error::Interrupted { .. })
}
