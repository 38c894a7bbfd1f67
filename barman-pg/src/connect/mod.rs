//! One connector for both kinds of connection: takes a [`ConnInfo`], fills in what libpq would (environment, password
//! file, defaults), walks the hosts in order and hands an open socket to the caller's session code.
//!
//! What libpq can and this module cannot do is refused by name ([`Error::Unsupported`]), never ignored.

mod environment;
mod passfile;
mod plan;
mod socket;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use environment::process_environment;
pub(crate) use plan::{Host, Plan, SessionKind};
pub(crate) use socket::{Ready, Socket};

use crate::conninfo::ConnInfo;
use crate::error::{Error, sqlstate};

/// How often a waiting call looks at the interrupt flag.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

/// How connections behave while they are made and used.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The most that opening a session may take per host address, unless the conninfo or `PGCONNECT_TIMEOUT` sets
    /// `connect_timeout`.
    pub connect_timeout: Duration,
    /// The most that any single wait for the server may take without a byte, and that an ordinary statement may take.
    pub io_timeout: Duration,
    /// Looked at several times a second by every wait; when raised, the wait ends with [`Error::Interrupted`].
    pub interrupt: Option<Arc<AtomicBool>>,
    /// Where environment variables come from: [`process_environment`], or a function of a test.
    pub environment: fn(&str) -> Option<String>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            io_timeout: Duration::from_secs(60),
            interrupt: None,
            environment: process_environment,
        }
    }
}

impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("connect_timeout", &self.connect_timeout)
            .field("io_timeout", &self.io_timeout)
            .finish_non_exhaustive()
    }
}

impl ConnectOptions {
    /// The same with this interrupt flag.
    #[must_use]
    pub fn with_interrupt(mut self, flag: Arc<AtomicBool>) -> Self {
        self.interrupt = Some(flag);
        self
    }

    /// The same with these limits for opening a session and for a single wait.
    #[must_use]
    pub fn with_timeouts(mut self, connect_timeout: Duration, io_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self.io_timeout = io_timeout;
        self
    }

    pub(crate) fn interrupted(&self) -> bool {
        self.interrupt
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// A moment after which to give up; `None` never comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    /// How far away it was, for messages.
    pub(crate) limit: Duration,
}

impl Deadline {
    pub(crate) fn after(limit: Option<Duration>) -> Self {
        Self {
            at: limit.and_then(|limit| Instant::now().checked_add(limit)),
            limit: limit.unwrap_or_default(),
        }
    }

    /// Whether the moment has come.
    pub(crate) fn passed(self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// How long the next slice of waiting may last: at most [`LOOK`], nothing once the moment has come.
    pub(crate) fn slice(self) -> Option<Duration> {
        match self.at {
            None => Some(LOOK),
            Some(at) => match at.saturating_duration_since(Instant::now()) {
                left if left.is_zero() => None,
                left => Some(left.min(LOOK)),
            },
        }
    }

    /// What is left, at least a millisecond; `None` without a limit.
    pub(crate) fn left(self) -> Option<Duration> {
        self.at.map(|at| {
            at.saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1))
        })
    }
}

/// Opens a session: tries every address of every host in order until `open` makes a session of a socket.
///
/// As in libpq a host that refuses the role or the database ends the search; one that cannot be reached, is starting
/// up, or has the wrong session attributes does not.
pub(crate) fn establish<T>(
    info: &ConnInfo,
    kind: SessionKind,
    options: &ConnectOptions,
    mut open: impl FnMut(Socket, &Plan, &Host, Deadline) -> Result<T, Error>,
) -> Result<T, Error> {
    let plan = Plan::new(info, kind, options)?;
    let mut failure = None;
    for host in &plan.hosts {
        let addresses = match socket::addresses(host, &plan, options) {
            Ok(addresses) => addresses,
            Err(error @ Error::Interrupted { .. }) => return Err(error),
            Err(error) => {
                failure = Some(error);
                continue;
            }
        };
        for address in addresses {
            let deadline = Deadline::after(plan.connect_timeout);
            let outcome = socket::connect(&address, &plan, options, deadline)
                .and_then(|socket| open(socket, &plan, &host.at(&address), deadline))
                .map_err(|error| as_connect_failure(error, &host.at(&address).label()));
            match outcome {
                Ok(session) => return Ok(session),
                Err(error) => {
                    let last = error.is_interrupted()
                        || matches!(error, Error::Unsupported { .. })
                        || error
                            .sqlstate()
                            .is_some_and(|code| code != sqlstate::CANNOT_CONNECT_NOW);
                    if last {
                        return Err(error);
                    }
                    failure = Some(error);
                }
            }
        }
    }
    Err(failure.unwrap_or_else(|| Error::Connect {
        address: "no server".to_owned(),
        reason: "the connection string names no host".to_owned(),
        sqlstate: None,
    }))
}

/// Whatever goes wrong before a session exists is a failure to connect, told in libpq's form.
fn as_connect_failure(error: Error, address: &str) -> Error {
    let (reason, sqlstate) = match error {
        Error::Interrupted { .. }
        | Error::Unsupported { .. }
        | Error::Connect { .. }
        | Error::ConnInfo(_) => {
            return error;
        }
        Error::Server { message, .. } => (message.to_string(), Some(message.sqlstate)),
        Error::Io { source, .. } => (socket::describe(&source), None),
        Error::Closed { .. } => ("server closed the connection unexpectedly".to_owned(), None),
        Error::Timeout { .. } => ("timeout expired".to_owned(), None),
        Error::Protocol { what, .. } => (what, None),
        other => (other.to_string(), None),
    };
    Error::Connect {
        address: address.to_owned(),
        reason,
        sqlstate,
    }
}
