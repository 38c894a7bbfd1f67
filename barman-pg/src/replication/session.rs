//! A replication session: startup, authentication, and the simple query protocol.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use pgwire::messages::{Message as _, simplequery, startup, terminate};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

use super::messages::{self, Authentication};
use super::wire::{Doing, Frame, Patience, Wire};
use crate::connect::{ConnectOptions, Deadline, Host, Plan, Socket};
use crate::error::{Error, ServerMessage};
use crate::version::PgVersion;

/// More rows than any replication command answers with.
const MAX_ROWS: usize = 100_000;
/// More bytes than the rows of any replication command have.
pub(crate) const MAX_ROW_BYTES: usize = 64 * 1024 * 1024;
/// More parameters than any server reports.
const MAX_PARAMETERS: usize = 1000;

/// A row as text columns.
pub(crate) type Row = Vec<Option<Bytes>>;

/// The next thing that the server says in answer to a query.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A result set begins.
    Columns,
    Row(Row),
    Complete,
    CopyIn,
    CopyOut,
    CopyBoth,
    /// A CopyData message; the range is its body in the wire's buffer.
    Data(std::ops::Range<usize>),
    CopyDone,
    Notice(ServerMessage),
    /// The command failed. After anything but FATAL the session goes on with [`Answer::Ready`].
    Failed(ServerMessage),
    Ready,
}

/// An authenticated session.
pub(crate) struct Session {
    pub(crate) wire: Wire,
    pub(crate) version: PgVersion,
    pub(crate) user: String,
    parameters: BTreeMap<String, String>,
}

const CONNECTING: Doing = Doing::Borrowed("connecting");

impl Session {
    /// Runs the startup conversation on a connected socket.
    pub(crate) fn start(
        socket: Socket,
        plan: &Plan,
        host: &Host,
        deadline: Deadline,
        options: &ConnectOptions,
    ) -> Result<Self, Error> {
        let mut wire = Wire::new(socket, host.label(), options.io_timeout);
        wire.interrupt.clone_from(&options.interrupt);
        let patience = Patience::Until(deadline);

        let mut hello = startup::Startup::new();
        hello.protocol_number_major = 3;
        hello.protocol_number_minor = 0;
        let mut parameters: BTreeMap<String, String> = BTreeMap::new();
        parameters.insert("user".into(), plan.user.clone());
        parameters.insert("database".into(), plan.dbname.clone());
        parameters.insert("client_encoding".into(), "UTF8".into());
        for (name, value) in [
            ("replication", &plan.replication),
            ("options", &plan.options),
            ("application_name", &plan.application_name),
        ] {
            if let Some(value) = value {
                parameters.insert(name.into(), value.clone());
            }
        }
        for (name, value) in &plan.parameters {
            parameters.insert((*name).into(), value.clone());
        }
        hello.parameters = parameters;
        send(&mut wire, &hello, patience)?;

        let mut session = Self {
            wire,
            version: PgVersion(0),
            user: plan.user.clone(),
            parameters: BTreeMap::new(),
        };
        session.authenticate(plan, host, patience)?;
        session.await_ready(patience)?;
        let report = session.parameter("server_version").unwrap_or_default().to_owned();
        session.version = PgVersion::from_report(&report).ok_or_else(|| {
            session
                .wire
                .protocol(&CONNECTING, format!("server version \"{report}\""))
        })?;
        Ok(session)
    }

    /// A parameter that the server reported (`server_version`, `in_hot_standby` ...).
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    fn failed(&self, doing: &Doing, message: ServerMessage) -> Error {
        Error::Server {
            doing: doing.clone(),
            address: self.wire.address.clone(),
            message: Box::new(message),
        }
    }

    fn refused(&self, reason: impl Into<String>) -> Error {
        Error::Connect {
            address: self.wire.address.clone(),
            reason: reason.into(),
            sqlstate: None,
        }
    }

    /// The next authentication request.
    fn request(&mut self, patience: Patience) -> Result<Authentication, Error> {
        loop {
            let frame = self.wire.frame(patience, &CONNECTING)?;
            let body = self.wire.bytes(&frame.body);
            match frame.tag {
                b'R' => {
                    let request = messages::authentication(body);
                    return request.map_err(|what| self.wire.protocol(&CONNECTING, what));
                }
                b'E' => {
                    let message = messages::server_message(body);
                    return Err(self.failed(&CONNECTING, message));
                }
                b'N' => {}
                // NegotiateProtocolVersion: the server does not know a parameter of ours.
                b'v' => {}
                other => return Err(self.unexpected(other, &CONNECTING)),
            }
        }
    }

    fn unexpected(&mut self, tag: u8, doing: &Doing) -> Error {
        self.wire
            .protocol(doing, format!("message type \"{}\" out of turn", char::from(tag)))
    }

    fn authenticate(&mut self, plan: &Plan, host: &Host, patience: Patience) -> Result<(), Error> {
        let missing = "fe_sendauth: no password supplied";
        let first = self.request(patience)?;
        match first {
            Authentication::Ok => return Ok(()),
            Authentication::Cleartext => {
                let password = host.password.clone().ok_or_else(|| self.refused(missing))?;
                send(&mut self.wire, &startup::Password::new(password), patience)?;
            }
            Authentication::Md5(salt) => {
                let password = host.password.as_ref().ok_or_else(|| self.refused(missing))?;
                let answer = md5_hash(plan.user.as_bytes(), password.as_bytes(), salt);
                send(&mut self.wire, &startup::Password::new(answer), patience)?;
            }
            Authentication::Sasl(mechanisms) => {
                if !mechanisms.iter().any(|m| m == SCRAM_SHA_256) {
                    return Err(self.refused(format!(
                        "none of the server's SASL authentication mechanisms are supported: {}",
                        mechanisms.join(", ")
                    )));
                }
                let password = host.password.clone().ok_or_else(|| self.refused(missing))?;
                self.scram(&password, patience)?;
            }
            other => {
                return Err(self.refused(format!("authentication method {other:?} is not supported")));
            }
        }
        match self.request(patience)? {
            Authentication::Ok => Ok(()),
            other => Err(self
                .wire
                .protocol(&CONNECTING, format!("{other:?} after the password"))),
        }
    }

    fn scram(&mut self, password: &str, patience: Patience) -> Result<(), Error> {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let first = Bytes::copy_from_slice(scram.message());
        send(
            &mut self.wire,
            &startup::SASLInitialResponse::new(SCRAM_SHA_256.to_owned(), Some(first)),
            patience,
        )?;
        match self.request(patience)? {
            Authentication::SaslContinue(data) => {
                scram
                    .update(&data)
                    .map_err(|error| self.refused(format!("SCRAM exchange failed: {error}")))?;
            }
            other => return Err(self.wire.protocol(&CONNECTING, format!("{other:?} within SCRAM"))),
        }
        send(
            &mut self.wire,
            &startup::SASLResponse::new(Bytes::copy_from_slice(scram.message())),
            patience,
        )?;
        match self.request(patience)? {
            Authentication::SaslFinal(data) => scram.finish(&data).map_err(|error| {
                self.refused(format!(
                    "the server could not prove that it knows the password: {error}"
                ))
            }),
            other => Err(self.wire.protocol(&CONNECTING, format!("{other:?} within SCRAM"))),
        }
    }

    fn await_ready(&mut self, patience: Patience) -> Result<(), Error> {
        loop {
            let frame = self.wire.frame(patience, &CONNECTING)?;
            match frame.tag {
                b'S' => self.remember(&frame),
                b'K' | b'N' | b'v' => {}
                b'Z' => return Ok(()),
                b'E' => {
                    let message = messages::server_message(self.wire.bytes(&frame.body));
                    return Err(self.failed(&CONNECTING, message));
                }
                other => return Err(self.unexpected(other, &CONNECTING)),
            }
        }
    }

    fn remember(&mut self, frame: &Frame) {
        if let Some((name, value)) = messages::parameter_status(self.wire.bytes(&frame.body))
            && self.parameters.len() < MAX_PARAMETERS
        {
            self.parameters.insert(name, value);
        }
    }

    /// Sends a command; what comes back is read with [`Session::answer`].
    pub(crate) fn query(&mut self, sql: &str, doing: &Doing) -> Result<(), Error> {
        if self.wire.broken {
            return Err(Error::Closed {
                doing: doing.clone(),
                address: self.wire.address.clone(),
            });
        }
        let mut out = BytesMut::new();
        simplequery::Query::new(sql.to_owned())
            .encode(&mut out)
            .map_err(|error| self.wire.protocol(doing, error.to_string()))?;
        self.wire.send(&out, Patience::Io, doing)
    }

    /// Reads the next thing that the server says.
    pub(crate) fn answer(&mut self, patience: Patience, doing: &Doing) -> Result<Answer, Error> {
        loop {
            let frame = self.wire.frame(patience, doing)?;
            if let Some(answer) = self.interpret(&frame, doing)? {
                return Ok(answer);
            }
        }
    }

    /// What a frame means; nothing if it needs no attention.
    pub(crate) fn interpret(&mut self, frame: &Frame, doing: &Doing) -> Result<Option<Answer>, Error> {
        let body = self.wire.bytes(&frame.body);
        Ok(Some(match frame.tag {
            b'd' => Answer::Data(frame.body.clone()),
            b'T' => Answer::Columns,
            b'D' => Answer::Row(messages::data_row(body).map_err(|what| self.wire.protocol(doing, what))?),
            b'C' => Answer::Complete,
            b'G' => Answer::CopyIn,
            b'H' => Answer::CopyOut,
            b'W' => Answer::CopyBoth,
            b'c' => Answer::CopyDone,
            b'N' => Answer::Notice(messages::server_message(body)),
            b'E' => Answer::Failed(messages::server_message(body)),
            b'Z' => Answer::Ready,
            b'S' => {
                self.remember(frame);
                return Ok(None);
            }
            b'I' | b'A' => return Ok(None),
            other => return Err(self.unexpected(other, doing)),
        }))
    }

    /// Turns the server's refusal into an error, after reading on to where the session can be used again.
    pub(crate) fn fail(&mut self, message: ServerMessage, patience: Patience, doing: &Doing) -> Error {
        if message.severity == "FATAL" || message.severity == "PANIC" {
            self.wire.broken = true;
        } else {
            let patience = patience.in_all(self.wire.io_timeout);
            loop {
                match self.answer(patience, doing) {
                    Ok(Answer::Ready) => break,
                    Ok(_) => {}
                    Err(_) => {
                        self.wire.broken = true;
                        break;
                    }
                }
            }
        }
        self.failed(doing, message)
    }

    /// Runs a command and returns the rows of all its result sets; `patience` is for all of it.
    pub(crate) fn run(&mut self, sql: &str, patience: Patience, doing: &Doing) -> Result<Vec<Row>, Error> {
        let patience = patience.in_all(self.wire.io_timeout);
        self.query(sql, doing)?;
        let mut rows = Vec::new();
        let mut bytes = 0;
        loop {
            match self.answer(patience, doing)? {
                Answer::Row(row) => {
                    bytes += row_bytes(&row);
                    if rows.len() >= MAX_ROWS || bytes > MAX_ROW_BYTES {
                        return Err(self.wire.protocol(doing, "too many rows"));
                    }
                    rows.push(row);
                }
                Answer::Columns | Answer::Complete => {}
                Answer::Notice(notice) => {
                    log::info!(target: "barman.postgres", "{}: {notice}", self.wire.address);
                }
                Answer::Failed(message) => return Err(self.fail(message, patience, doing)),
                Answer::Ready => return Ok(rows),
                Answer::CopyIn | Answer::CopyOut | Answer::CopyBoth | Answer::Data(_) | Answer::CopyDone => {
                    return Err(self.wire.protocol(doing, "COPY in answer to a plain command"));
                }
            }
        }
    }
}

impl Drop for Session {
    /// Says good-bye, so that the server logs no broken connection. Never waits.
    fn drop(&mut self) {
        if !self.wire.broken {
            let _ = send(
                &mut self.wire,
                &terminate::Terminate::new(),
                Patience::Stubborn(std::time::Duration::ZERO),
            );
        }
    }
}

/// What a row takes in memory. A NULL column costs the server less than us.
pub(crate) fn row_bytes(row: &Row) -> usize {
    size_of_val(row.as_slice()) + row.iter().flatten().map(Bytes::len).sum::<usize>()
}

/// Encodes and sends one message.
pub(crate) fn send(
    wire: &mut Wire,
    message: &impl pgwire::messages::Message,
    patience: Patience,
) -> Result<(), Error> {
    let mut out = BytesMut::new();
    message
        .encode(&mut out)
        .map_err(|error| wire.protocol(&CONNECTING, error.to_string()))?;
    wire.send(&out, patience, &CONNECTING)
}
