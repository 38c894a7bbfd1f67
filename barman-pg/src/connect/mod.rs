//! One connector for both kinds of connection: takes a [`ConnInfo`], fills in what libpq would (service, environment,
//! password file, defaults), walks hosts, addresses and encryption in libpq's order, authenticates, and hands an open
//! session to the caller.
//!
//! What libpq can and this module cannot do is refused by name ([`Error::Unsupported`]), never ignored.

mod cancel;
mod channel;
mod environment;
mod files;
mod hosts;
mod plan;
mod settings;
mod shuffle;
mod socket;
mod startup;
mod target;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use cancel::Canceller;
pub(crate) use channel::{Channel, Stuck};
pub use environment::process_environment;
#[cfg(feature = "tls")]
pub(crate) use files::read as read_file;
pub(crate) use hosts::Host;
pub(crate) use plan::{Plan, SessionKind, SocketSettings};
#[cfg(feature = "tls")]
pub(crate) use socket::describe;
pub(crate) use socket::{Ready, Socket};
pub(crate) use startup::{MAX_PARAMETERS, Opened};
pub(crate) use values::shown;

use crate::conninfo::ConnInfo;
use crate::error::Error;
use target::Target;

/// How often a waiting call looks at the interrupt flag.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

/// How connections behave while they are made and used.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The most that opening a session may take per host address, unless the conninfo or `PGCONNECT_TIMEOUT` sets
    /// `connect_timeout` above zero (libpq waits for ever then; here every wait has a limit).
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

/// Why an attempt failed, and with it what is tried next.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The next address of the host, or the next host: nobody is there, or nobody answers in time.
    Address(Error),
    /// The next host: this one is starting up, or is of the wrong kind.
    Host(Error),
    /// The other kind of encryption, if that has not been tried: the server rejects us as we came.
    Encryption(Error),
    /// Nothing: any other host would be asked in vain, or must not be asked.
    Final(Error),
}

impl Failure {
    /// What an error while talking to a server leads to. As in libpq a server that breaks the conversation off ends the
    /// search.
    pub(crate) fn of(error: Error) -> Self {
        match error {
            error @ Error::Timeout { .. } => Self::Address(error),
            error => Self::Final(error),
        }
    }

    pub(crate) fn into_error(self) -> Error {
        let (Self::Address(error) | Self::Host(error) | Self::Encryption(error) | Self::Final(error)) = self;
        error
    }
}

/// How sessions of one kind are made of an authenticated connection and asked for a setting.
pub(crate) struct Maker<T, M, S>
where
    M: FnMut(Opened, &Plan, Deadline) -> Result<T, Error>,
    S: FnMut(&mut T, &'static str) -> Result<Option<String>, Error>,
{
    pub(crate) make: M,
    pub(crate) show: S,
    /// Whether the server is in recovery; nothing on sessions that cannot ask that.
    pub(crate) recovers: fn(&mut T) -> Result<Option<bool>, Error>,
}

/// What is wrong with the values of a connection string, as far as that is known without a network: libpq would refuse
/// it (a port that is none, a word that an option does not have, lists of different lengths), or this crate cannot do
/// it. A port that is wrong is told although libpq may never come to its host. Environment variables count, as when a
/// connection is made; a string that names a service is not judged, because the service's file has a say. No message
/// holds a password.
///
/// ```
/// let info = barman_pg::ConnInfo::parse("host=a,b port=5432,x")?;
/// let wrong = barman_pg::wrong_values(&info, |_| None);
/// assert_eq!(
///     wrong[0].to_string(),
///     "invalid value for connection option \"port\": \"x\" is not a port number, from 1 to 65535"
/// );
/// # Ok::<(), barman_pg::ConnInfoError>(())
/// ```
#[must_use]
pub fn wrong_values(info: &ConnInfo, environment: fn(&str) -> Option<String>) -> Vec<Error> {
    plan::wrong_values(info, environment)
}

/// Opens a session: tries every address of every host in the order of libpq, and on each the encryption that `sslmode`
/// allows. The error tells of every attempt, one a line, as libpq does.
pub(crate) fn establish<T, M, S>(
    info: &ConnInfo,
    kind: SessionKind,
    options: &ConnectOptions,
    mut maker: Maker<T, M, S>,
) -> Result<T, Error>
where
    M: FnMut(Opened, &Plan, Deadline) -> Result<T, Error>,
    S: FnMut(&mut T, &'static str) -> Result<Option<String>, Error>,
{
    let mut plan = Plan::new(info, kind, options)?;
    if plan.tls.mode >= crate::tls::SslMode::Require && !crate::tls::AVAILABLE {
        return Err(Error::Unsupported {
            option: "sslmode".to_owned(),
            value: plan.tls.mode.word().to_owned(),
            why: "this program was built without TLS",
        });
    }
    if plan.shuffle {
        shuffle::shuffle(&mut plan.hosts);
    }
    let mut failures = Vec::new();
    let passes = match plan.target {
        // A second round takes any server.
        Target::PreferStandby => vec![Target::PreferStandby, Target::Any],
        target => vec![target],
    };
    for target in passes {
        plan.target = target;
        for host in &plan.hosts {
            match try_host(host, &plan, options, &mut maker, &mut failures) {
                Ok(Some(session)) => return Ok(session),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Err(summary(failures))
}

/// Tries a host; nothing if the next one may be tried.
fn try_host<T, M, S>(
    host: &Host,
    plan: &Plan,
    options: &ConnectOptions,
    maker: &mut Maker<T, M, S>,
    failures: &mut Vec<Error>,
) -> Result<Option<T>, Error>
where
    M: FnMut(Opened, &Plan, Deadline) -> Result<T, Error>,
    S: FnMut(&mut T, &'static str) -> Result<Option<String>, Error>,
{
    if let Some(wrong) = &host.wrong_port {
        failures.push(wrong.error());
        if wrong.is_number {
            return Ok(None);
        }
        return Err(summary(std::mem::take(failures)));
    }
    let mut addresses = match socket::addresses(host, plan, options) {
        Ok(addresses) => addresses,
        Err(error @ Error::Interrupted { .. }) => return Err(error),
        Err(error) => {
            failures.push(error);
            return Ok(None);
        }
    };
    if plan.shuffle {
        shuffle::shuffle(&mut addresses);
    }
    for address in addresses {
        let host = host.at(&address);
        let deadline = Deadline::after(Some(plan.connect_timeout));
        let attempts = startup::attempts(plan.tls.mode, &address);
        for (at, encryption) in attempts.iter().enumerate() {
            let outcome = startup::attempt(plan, &host, &address, *encryption, options, deadline)
                .and_then(|opened| finish(opened, plan, deadline, maker));
            let failure = match outcome {
                Ok(session) => return Ok(Some(session)),
                Err(failure) => failure,
            };
            let (last, next_host) = match &failure {
                Failure::Address(_) => (false, false),
                Failure::Host(_) => (false, true),
                Failure::Encryption(_) => (at + 1 == attempts.len(), false),
                Failure::Final(_) => (true, false),
            };
            let again = matches!(failure, Failure::Encryption(_)) && !last;
            let error = as_connect_failure(failure.into_error(), &host.label());
            if error.is_interrupted() || matches!(error, Error::Unsupported { .. } | Error::ConnInfo(_)) {
                return Err(error);
            }
            failures.push(error);
            if last {
                return Err(summary(std::mem::take(failures)));
            }
            if next_host {
                return Ok(None);
            }
            if !again {
                break;
            }
        }
    }
    Ok(None)
}

/// Makes the caller's session and looks whether the server is of the kind that is wanted.
///
/// Never inlined: with the driver in it, it needs 11 KiB of stack, which a wait for a server that does not answer would
/// hold too; of such waits there may be hundreds.
#[inline(never)]
fn finish<T, M, S>(
    opened: Opened,
    plan: &Plan,
    deadline: Deadline,
    maker: &mut Maker<T, M, S>,
) -> Result<T, Failure>
where
    M: FnMut(Opened, &Plan, Deadline) -> Result<T, Error>,
    S: FnMut(&mut T, &'static str) -> Result<Option<String>, Error>,
{
    let address = opened.wire.address.clone();
    let on = |value: &String| value == "on";
    let reported: Vec<(&str, bool)> = ["in_hot_standby", "default_transaction_read_only"]
        .into_iter()
        .filter_map(|name| Some((name, opened.parameters.get(name).map(on)?)))
        .collect();
    let mut session = (maker.make)(opened, plan, deadline).map_err(Failure::of)?;
    let verdict = target::judge(
        plan.target,
        |name| {
            reported
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
        },
        &mut session,
        maker.recovers,
        |session, name| Ok((maker.show)(session, name)?.as_ref().map(on)),
    );
    match verdict {
        Ok(None) => Ok(session),
        Ok(Some(complaint)) => Err(Failure::Host(Error::Connect {
            address,
            reason: complaint.to_owned(),
            sqlstate: None,
        })),
        Err(error @ Error::Interrupted { .. }) => Err(Failure::Final(error)),
        Err(error) => Err(Failure::Host(error)),
    }
}

/// One error of all failures. The first line is that of the first attempt, the SQLSTATE that of the last answer.
fn summary(failures: Vec<Error>) -> Error {
    let sqlstate = failures
        .iter()
        .rev()
        .find_map(|error| error.sqlstate().map(str::to_owned));
    // What a server said comes before a port that is none.
    let (mut failures, ports): (Vec<Error>, Vec<Error>) = failures
        .into_iter()
        .partition(|error| !matches!(error, Error::ConnInfo(_)));
    failures.extend(ports);
    let mut failures = failures.into_iter();
    match failures.next() {
        Some(Error::Connect {
            address, mut reason, ..
        }) => {
            let first = format!("connection to {address} failed: {reason}");
            let mut told = vec![first];
            for failure in failures {
                let text = match &failure {
                    Error::Connect { address, reason, .. } => {
                        format!("connection to {address} failed: {reason}")
                    }
                    other => other.to_string(),
                };
                // Encrypted and in clear the same may happen.
                if !told.contains(&text) {
                    reason.push('\n');
                    reason.push_str(&text);
                    told.push(text);
                }
            }
            Error::Connect {
                address,
                reason,
                sqlstate,
            }
        }
        Some(other) => other,
        None => Error::Connect {
            address: "no server".to_owned(),
            reason: "the connection string names no host".to_owned(),
            sqlstate: None,
        },
    }
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
        Error::Server { message, .. } => {
            let more = [("DETAIL", &message.detail), ("HINT", &message.hint)];
            let more = more
                .into_iter()
                .filter_map(|(what, text)| Some(format!("\n{what}:  {}", text.as_ref()?)));
            (
                std::iter::once(message.to_string()).chain(more).collect(),
                Some(message.sqlstate),
            )
        }
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
