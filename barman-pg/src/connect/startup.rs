//! One attempt at one address: socket, encryption, startup packet, authentication, and what the server says about itself.

use std::collections::BTreeMap;

use bytes::BytesMut;
use pgwire::messages::{Message as _, startup};

use super::cancel::Canceller;
use super::channel::{Channel, Stuck};
use super::socket::{self, Address};
use super::{ConnectOptions, Deadline, Failure, Host, Plan, Ready, Socket, SocketSettings};
use crate::auth;
use crate::error::Error;
use crate::replication::messages;
use crate::replication::wire::{Doing, Patience, Wire};
use crate::tls::{self, Negotiation, SslMode, TlsFailure, TlsSettings};
use crate::version::PgVersion;

const CONNECTING: Doing = Doing::Borrowed("connecting");

/// `NEGOTIATE_SSL_CODE` (PostgreSQL, `pqcomm.h`) in a packet of its own.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// More parameters than any server reports.
pub(crate) const MAX_PARAMETERS: usize = 1000;

/// How an attempt is to be protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    None,
    Tls,
}

/// Which attempts one address is worth, in order. Connections over Unix sockets are never encrypted, whatever `sslmode`
/// says.
pub(super) fn attempts(mode: SslMode, address: &Address) -> &'static [Encryption] {
    match (address, mode) {
        (Address::Unix(_), _) | (_, SslMode::Disable) => &[Encryption::None],
        (_, SslMode::Allow) if tls::AVAILABLE => &[Encryption::None, Encryption::Tls],
        (_, SslMode::Prefer) if tls::AVAILABLE => &[Encryption::Tls, Encryption::None],
        (_, SslMode::Allow | SslMode::Prefer) => &[Encryption::None],
        _ => &[Encryption::Tls],
    }
}

/// An authenticated session that waits for its first command.
pub(crate) struct Opened {
    pub(crate) wire: Wire,
    pub(crate) version: PgVersion,
    pub(crate) user: String,
    /// What the server reported (`server_version`, `in_hot_standby` ...).
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) canceller: Option<Canceller>,
}

/// Opens a connection, and encrypts it if that is asked for.
pub(super) fn open_channel(
    address: &Address,
    host: &Host,
    settings: &SocketSettings,
    tls: Option<&TlsSettings>,
    encryption: Encryption,
    options: &ConnectOptions,
    deadline: Deadline,
) -> Result<Channel, Failure> {
    let socket = socket::connect(address, settings, options, deadline).map_err(|error| match error {
        error @ Error::Interrupted { .. } => Failure::Final(error),
        error => Failure::Address(error),
    })?;
    if let (Socket::Unix(stream), Some(wanted)) = (&socket, &settings.require_peer) {
        socket::check_peer(stream, wanted).map_err(|reason| Failure::Final(refused(host, reason)))?;
    }
    let Some(tls) = tls.filter(|_| encryption == Encryption::Tls) else {
        return Ok(Channel::Plain(socket));
    };
    let mut wait = |socket: &Socket, ready: Ready| wait_for(socket, ready, host, options, deadline);
    let mut channel = Channel::Plain(socket);
    if tls.negotiation == Negotiation::Postgres {
        match ask(&mut channel, &mut wait).map_err(|error| unanswered(host, error))? {
            b'S' => {}
            b'N' if tls.mode == SslMode::Prefer => return Ok(channel),
            b'N' => {
                return Err(Failure::Final(refused(
                    host,
                    "server does not support SSL, but SSL was required",
                )));
            }
            // Not to be believed: nobody has been authenticated yet.
            b'E' => {
                return Err(Failure::Final(refused(
                    host,
                    "server sent an error response during SSL exchange",
                )));
            }
            other => {
                let shown = other.escape_ascii();
                return Err(Failure::Final(refused(
                    host,
                    format!("received invalid response to SSL negotiation: {shown}"),
                )));
            }
        }
    }
    let Channel::Plain(socket) = channel else {
        return Ok(channel);
    };
    match tls::handshake(tls, host.name(), socket, wait) {
        Ok(session) => Ok(Channel::Tls(Box::new(session))),
        Err(TlsFailure::Waiting(error)) => Err(Failure::of(error)),
        Err(TlsFailure::Refused(reason)) => Err(Failure::Encryption(refused(host, reason))),
    }
}

fn unanswered(host: &Host, error: Unanswered) -> Failure {
    let io = |source| Error::Io {
        doing: CONNECTING,
        address: host.label(),
        source,
    };
    match error {
        Unanswered::Waiting(error) => Failure::of(error),
        Unanswered::Broken(source) => Failure::Final(io(source)),
        Unanswered::Closed => Failure::Final(Error::Closed {
            doing: CONNECTING,
            address: host.label(),
        }),
    }
}

enum Unanswered {
    Waiting(Error),
    Broken(std::io::Error),
    Closed,
}

/// Asks for encryption. Exactly one byte is read: what follows it in clear was not sent by the server.
fn ask(
    channel: &mut Channel,
    wait: &mut impl FnMut(&Socket, Ready) -> Result<(), Error>,
) -> Result<u8, Unanswered> {
    let mut step = |channel: &mut Channel, stuck: Stuck| match stuck {
        Stuck::Until(ready) => wait(channel.socket(), ready).map_err(Unanswered::Waiting),
        Stuck::Failed(error) => Err(Unanswered::Broken(error)),
    };
    let mut rest = SSL_REQUEST.as_slice();
    while !rest.is_empty() {
        match channel.write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(stuck) => step(channel, stuck)?,
        }
    }
    let mut answer = [0];
    loop {
        match channel.read(&mut answer) {
            Ok(0) => return Err(Unanswered::Closed),
            Ok(_) => return Ok(answer[0]),
            Err(stuck) => step(channel, stuck)?,
        }
    }
}

fn wait_for(
    socket: &Socket,
    ready: Ready,
    host: &Host,
    options: &ConnectOptions,
    deadline: Deadline,
) -> Result<(), Error> {
    loop {
        if options.interrupted() {
            return Err(Error::Interrupted { doing: CONNECTING });
        }
        let Some(slice) = deadline.slice() else {
            return Err(Error::Timeout {
                doing: CONNECTING,
                address: host.label(),
                after: deadline.limit,
            });
        };
        match socket.wait(ready, slice) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(source) => {
                return Err(Error::Io {
                    doing: CONNECTING,
                    address: host.label(),
                    source,
                });
            }
        }
    }
}

fn refused(host: &Host, reason: impl Into<String>) -> Error {
    Error::Connect {
        address: host.label(),
        reason: reason.into(),
        sqlstate: None,
    }
}

/// Opens a session.
pub(super) fn attempt(
    plan: &Plan,
    host: &Host,
    address: &Address,
    encryption: Encryption,
    options: &ConnectOptions,
    deadline: Deadline,
) -> Result<Opened, Failure> {
    let channel = open_channel(
        address,
        host,
        &plan.socket,
        Some(&plan.tls),
        encryption,
        options,
        deadline,
    )?;
    let encrypted = channel.is_encrypted();
    // Refused in clear after a refused request for encryption: there is nothing else to try.
    let settled = encryption == Encryption::Tls && !encrypted;
    let mut wire = Wire::new(channel, host.label(), options.io_timeout);
    wire.interrupt.clone_from(&options.interrupt);
    let patience = Patience::Until(deadline);
    let outcome = send_hello(&mut wire, plan, patience)
        .map_err(Failure::of)
        .and_then(|()| auth::authenticate(&mut wire, plan, host, patience));
    if let Err(failure) = outcome {
        return Err(match failure {
            Failure::Encryption(error) if settled => Failure::Final(error),
            failure => failure,
        });
    }
    let (parameters, key) = await_ready(&mut wire, patience).map_err(Failure::of)?;
    let report = parameters
        .get("server_version")
        .map(String::as_str)
        .unwrap_or_default();
    let Some(version) = PgVersion::from_report(report) else {
        let what = format!("server version \"{report}\"");
        return Err(Failure::Final(wire.protocol(&CONNECTING, what)));
    };
    Ok(Opened {
        wire,
        version,
        user: plan.user.clone(),
        parameters,
        canceller: key.map(|key| Canceller::new(plan, host, address, encrypted, key)),
    })
}

fn send_hello(wire: &mut Wire, plan: &Plan, patience: Patience) -> Result<(), Error> {
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
    let mut out = BytesMut::new();
    hello
        .encode(&mut out)
        .map_err(|error| wire.protocol(&CONNECTING, error.to_string()))?;
    wire.send(&out, patience, &CONNECTING)
}

type Greeting = (BTreeMap<String, String>, Option<(u32, u32)>);

/// Reads what the server says between the authentication and the first command.
fn await_ready(wire: &mut Wire, patience: Patience) -> Result<Greeting, Error> {
    let mut parameters = BTreeMap::new();
    let mut key = None;
    loop {
        let frame = wire.frame(patience, &CONNECTING)?;
        let body = wire.bytes(&frame.body);
        match frame.tag {
            b'S' => {
                if let Some((name, value)) = messages::parameter_status(body)
                    && parameters.len() < MAX_PARAMETERS
                {
                    parameters.insert(name, value);
                }
            }
            b'K' => {
                if let Some((process, secret)) = body.split_first_chunk::<4>()
                    && let Ok(secret) = <[u8; 4]>::try_from(secret)
                {
                    key = Some((u32::from_be_bytes(*process), u32::from_be_bytes(secret)));
                }
            }
            b'N' | b'v' => {}
            b'Z' => return Ok((parameters, key)),
            b'E' => {
                return Err(Error::Server {
                    doing: CONNECTING,
                    address: wire.address.clone(),
                    message: Box::new(messages::server_message(body)),
                });
            }
            other => {
                let what = format!("message type \"{}\" out of turn", char::from(other));
                return Err(wire.protocol(&CONNECTING, what));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_sslmode() {
        use Encryption::{None, Tls};
        let tcp = Address::Tcp("127.0.0.1:1".parse().unwrap());
        let unix = Address::Unix("/tmp/s".into());
        for (mode, expected) in [
            (SslMode::Disable, &[None][..]),
            (SslMode::Allow, &[None, Tls]),
            (SslMode::Prefer, &[Tls, None]),
            (SslMode::Require, &[Tls]),
            (SslMode::VerifyCa, &[Tls]),
            (SslMode::VerifyFull, &[Tls]),
        ] {
            if tls::AVAILABLE {
                assert_eq!(attempts(mode, &tcp), expected, "{mode:?}");
            }
            assert_eq!(attempts(mode, &unix), [None], "{mode:?}");
        }
    }
}
