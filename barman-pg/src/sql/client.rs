//! A blocking SQL session over the common connector: `tokio-postgres` in a private runtime, every statement with a
//! deadline and an eye on the interrupt flag.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::config::SslMode;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::guard::Guarded;
use super::quote::literal;
use super::stream::Established;
use crate::connect::{self, Canceller, ConnectOptions, Deadline, LOOK, Maker, Opened, SessionKind};
use crate::conninfo::ConnInfo;
use crate::error::{Error, ServerMessage};
use crate::replication::wire::Doing;
use crate::version::PgVersion;

/// An SQL session in autocommit mode.
pub struct SqlClient {
    runtime: Runtime,
    client: tokio_postgres::Client,
    options: ConnectOptions,
    address: String,
    user: String,
    version: PgVersion,
    canceller: Option<Canceller>,
    encrypted: bool,
    lost: bool,
    pub(super) cached_segment_size: Option<barman_wal::SegmentSize>,
}

impl std::fmt::Debug for SqlClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlClient")
            .field("address", &self.address)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// One row: its columns as text, in the order of the statement's select list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryRow {
    names: Vec<String>,
    values: Vec<Option<String>>,
}

impl QueryRow {
    /// The column's text; `None` for NULL and for a column that is not there.
    #[must_use]
    pub fn text(&self, at: usize) -> Option<&str> {
        self.values.get(at)?.as_deref()
    }

    /// The names and values of all columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.names
            .iter()
            .map(String::as_str)
            .zip(self.values.iter().map(Option::as_deref))
    }
}

/// What an operation on the runtime ended with.
enum Ended<T> {
    Done(T),
    Timeout,
    Interrupted,
}

/// Drives a future with a deadline and an interrupt flag.
async fn guarded<T>(
    future: impl Future<Output = T>,
    deadline: Deadline,
    options: &ConnectOptions,
) -> Ended<T> {
    let mut future = std::pin::pin!(future);
    loop {
        let Some(slice) = deadline.slice() else {
            return Ended::Timeout;
        };
        match tokio::time::timeout(slice.min(LOOK), &mut future).await {
            Ok(value) => return Ended::Done(value),
            Err(_) if options.interrupted() => return Ended::Interrupted,
            Err(_) => {}
        }
    }
}

impl SqlClient {
    /// Connects, and names the session `barman` unless the connection string chose an `application_name`.
    ///
    /// # Errors
    /// [`Error::Connect`] (also if the session could not be named), [`Error::Unsupported`], [`Error::Interrupted`].
    pub fn connect(info: &ConnInfo, options: &ConnectOptions) -> Result<Self, Error> {
        Self::connect_as(info, options, "barman")
    }

    /// As [`SqlClient::connect`], with another application name.
    ///
    /// # Errors
    /// As [`SqlClient::connect`].
    pub fn connect_as(info: &ConnInfo, options: &ConnectOptions, application: &str) -> Result<Self, Error> {
        let name = match info.written("application_name") {
            Some(_) => None,
            None => Some(application),
        };
        connect::establish(
            info,
            SessionKind::Standard,
            options,
            Maker {
                make: |opened, _: &_, deadline| Self::open(opened, deadline, options, name),
                show: |session: &mut Self, setting| {
                    session.value(&format!("SHOW {setting}"), "looking at the server's kind")
                },
                recovers: |session| session.is_in_recovery().map(Some),
            },
        )
    }

    fn open(
        opened: Opened,
        deadline: Deadline,
        options: &ConnectOptions,
        application: Option<&str>,
    ) -> Result<Self, Error> {
        let doing = Doing::Borrowed("connecting");
        let address = opened.wire.address.clone();
        let io = |source| Error::Io {
            doing: Doing::Borrowed("connecting"),
            address: address.clone(),
            source,
        };
        let encrypted = opened.wire.channel().is_encrypted();
        let (channel, rest) = opened.wire.into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(io)?;
        let outcome = runtime.block_on(async {
            let started = async {
                let stream = Established::new(channel, &opened.parameters, &rest).map_err(Failure::Io)?;
                start(stream, &opened.user).await
            };
            guarded(started, deadline, options).await
        });
        let client = match outcome {
            Ended::Done(Ok(client)) => client,
            Ended::Done(Err(Failure::Io(source))) => return Err(io(source)),
            Ended::Done(Err(Failure::Postgres(error))) => return Err(translate(&error, &doing, &address)),
            Ended::Timeout => {
                return Err(Error::Timeout {
                    doing,
                    address,
                    after: deadline.limit,
                });
            }
            Ended::Interrupted => return Err(Error::Interrupted { doing }),
        };
        let mut session = Self {
            runtime,
            client,
            options: options.clone(),
            address,
            user: opened.user,
            version: opened.version,
            canceller: opened.canceller,
            encrypted,
            lost: false,
            cached_segment_size: None,
        };
        session.prepare(application, deadline.left())?;
        Ok(session)
    }

    /// Secures the session's name resolution, and names it.
    fn prepare(&mut self, application: Option<&str>, limit: Option<Duration>) -> Result<(), Error> {
        let mut setup = "SELECT pg_catalog.set_config('search_path', '', false)".to_owned();
        if let Some(name) = application {
            setup = format!("SET application_name TO {};{setup}", literal(name));
        }
        self.rows_within(&setup, &Doing::Borrowed("setting up the session"), limit)?;
        Ok(())
    }

    /// The server's version.
    #[must_use]
    pub fn version(&self) -> PgVersion {
        self.version
    }

    /// Which server this is: `server at "host", port N`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Asks the server to stop what this session is doing, from any thread; none if the server gave no key for that.
    #[must_use]
    pub fn canceller(&self) -> Option<Canceller> {
        self.canceller.clone()
    }

    /// The role of the session.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn io_timeout(&self) -> Duration {
        self.options.io_timeout
    }

    /// Whether the session is known to be unusable.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost || self.client.is_closed()
    }

    /// Runs one or more statements within the connection's `io_timeout`; the rows of all of them.
    ///
    /// # Errors
    /// Server and connection errors, with `doing` in their text.
    pub fn rows(&mut self, sql: &str, doing: &'static str) -> Result<Vec<QueryRow>, Error> {
        let limit = self.options.io_timeout;
        self.rows_within(sql, &Doing::Borrowed(doing), Some(limit))
    }

    /// As [`SqlClient::rows`] with another limit; `None` waits until the answer comes or the interrupt flag is raised.
    pub(crate) fn rows_within(
        &mut self,
        sql: &str,
        doing: &Doing,
        limit: Option<Duration>,
    ) -> Result<Vec<QueryRow>, Error> {
        if self.is_lost() {
            self.lost = true;
            return Err(Error::Closed {
                doing: doing.clone(),
                address: self.address.clone(),
            });
        }
        let deadline = Deadline::after(limit);
        let outcome = {
            let (client, options) = (&self.client, &self.options);
            self.runtime
                .block_on(async { guarded(client.simple_query(sql), deadline, options).await })
        };
        match outcome {
            Ended::Done(Ok(messages)) => Ok(collect(messages)),
            Ended::Done(Err(error)) => {
                let error = translate(&error, doing, &self.address);
                self.lost |= error.is_connection_lost();
                Err(error)
            }
            Ended::Timeout => {
                self.abandon();
                let after = limit.unwrap_or_default();
                Err(Error::Timeout {
                    doing: doing.clone(),
                    address: self.address.clone(),
                    after,
                })
            }
            Ended::Interrupted => {
                self.abandon();
                Err(Error::Interrupted { doing: doing.clone() })
            }
        }
    }

    /// The first column of the first row.
    pub(crate) fn value(&mut self, sql: &str, doing: &'static str) -> Result<Option<String>, Error> {
        let rows = self.rows(sql, doing)?;
        Ok(rows.first().and_then(|row| row.text(0)).map(str::to_owned))
    }

    /// A statement was left running: the session cannot be used any more, and the server need not go on.
    fn abandon(&mut self) {
        self.lost = true;
        if let Some(canceller) = &self.canceller {
            canceller.cancel_abandoned();
        }
    }

    pub(crate) fn odd(&self, doing: &Doing, what: impl Into<String>) -> Error {
        Error::Protocol {
            doing: doing.clone(),
            address: self.address.clone(),
            what: what.into(),
        }
    }

    /// `SELECT 1` on this session: whether it is still there (Barman's heartbeat).
    ///
    /// # Errors
    /// The connection was lost.
    pub fn heartbeat(&mut self) -> Result<(), Error> {
        self.rows("SELECT 1", "checking the session").map(drop)
    }
}

enum Failure {
    Io(std::io::Error),
    Postgres(tokio_postgres::Error),
}

/// Hands the connection to the driver; afterwards a task of the runtime drives it whenever the runtime runs.
async fn start(stream: Established, user: &str) -> Result<tokio_postgres::Client, Failure> {
    let mut config = tokio_postgres::Config::new();
    config.ssl_mode(SslMode::Disable).user(user);
    let (client, connection) = config
        .connect_raw(Guarded::new(stream), NoTls)
        .await
        .map_err(Failure::Postgres)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            log::debug!(target: "barman.postgres", "connection ended: {error}");
        }
    });
    Ok(client)
}

fn collect(messages: Vec<SimpleQueryMessage>) -> Vec<QueryRow> {
    let mut rows = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let names = row
                .columns()
                .iter()
                .map(|column| column.name().to_owned())
                .collect();
            let values = (0..row.len())
                .map(|at| row.try_get(at).ok().flatten().map(str::to_owned))
                .collect();
            rows.push(QueryRow { names, values });
        }
    }
    rows
}

fn translate(error: &tokio_postgres::Error, doing: &Doing, address: &str) -> Error {
    let (doing, address) = (doing.clone(), address.to_owned());
    if let Some(db) = error.as_db_error() {
        let message = ServerMessage {
            severity: db
                .parsed_severity()
                .map_or_else(|| db.severity().to_owned(), |s| s.to_string()),
            sqlstate: db.code().code().to_owned(),
            message: db.message().to_owned(),
            detail: db.detail().map(str::to_owned),
            hint: db.hint().map(str::to_owned),
        };
        return Error::Server {
            doing,
            address,
            message: Box::new(message),
        };
    }
    if error.is_closed() {
        return Error::Closed { doing, address };
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if io.kind() == std::io::ErrorKind::UnexpectedEof {
                return Error::Closed { doing, address };
            }
            return Error::Io {
                doing,
                address,
                source: std::io::Error::new(io.kind(), io.to_string()),
            };
        }
        source = cause.source();
    }
    let what = match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Error::Protocol { doing, address, what }
}
