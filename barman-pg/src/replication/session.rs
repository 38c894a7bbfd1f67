//! A replication session: the simple query protocol. [`crate::connect`] opens it.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use pgwire::messages::{Message as _, simplequery, terminate};

use super::messages;
use super::wire::{Doing, Frame, Patience, Wire};
use crate::connect::{Canceller, MAX_PARAMETERS, Opened};
use crate::error::{Error, ServerMessage};
use crate::version::PgVersion;

/// More rows than any replication command answers with.
const MAX_ROWS: usize = 100_000;
/// More bytes than the rows of any replication command have.
pub(crate) const MAX_ROW_BYTES: usize = 64 * 1024 * 1024;

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
    pub(crate) canceller: Option<Canceller>,
    /// The server is at work on a command that it would not notice to be unwanted.
    busy: bool,
}

const CONNECTING: Doing = Doing::Borrowed("connecting");

impl Session {
    /// The session of an authenticated connection.
    pub(crate) fn new(opened: Opened) -> Self {
        Self {
            wire: opened.wire,
            version: opened.version,
            user: opened.user,
            parameters: opened.parameters,
            canceller: opened.canceller,
            busy: false,
        }
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

    fn unexpected(&mut self, tag: u8, doing: &Doing) -> Error {
        self.wire
            .protocol(doing, format!("message type \"{}\" out of turn", char::from(tag)))
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
        self.wire.send(&out, Patience::Io, doing)?;
        // A server that streams WAL notices at once when nobody listens.
        self.busy = !sql.starts_with("START_REPLICATION");
        Ok(())
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
            b'Z' => {
                self.busy = false;
                Answer::Ready
            }
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
    /// Says good-bye, so that the server logs no broken connection, and never waits for that. A server that is still at
    /// work is told to stop: it would finish a checkpoint or wait for archiving before it saw that nobody listens.
    fn drop(&mut self) {
        if self.busy
            && !self.wire.gone
            && let Some(canceller) = &self.canceller
        {
            canceller.cancel_abandoned();
        }
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
