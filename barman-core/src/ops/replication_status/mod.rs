//! `barman replication-status`: who streams from a server, and how far behind each of them is.

use std::net::IpAddr;

pub use barman_pg::sql::ClientType;
use barman_pg::sql::ReplicationStat;
use barman_wal::Lsn;
use jiff::Zoned;
use serde::Serialize;

use crate::config::ServerConfig;
use crate::context::Context;
use crate::failure::{Class, Failure};
use crate::ops::deadline::{self, Deadline, Ended};
use crate::ops::parallel;
use crate::server::{Server, ServerError, explained};

/// Which server is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// The one that backups come from.
    #[default]
    BackupHost,
    /// The one that WAL comes from (`wal_conninfo`, `wal_streaming_conninfo`).
    WalHost,
}

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub struct ReplicationStatusOptions {
    /// Which clients.
    pub target: ClientType,
    /// Which server.
    pub source: Source,
}

/// The clients of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicationStatusReport {
    /// Its name.
    pub server: String,
    /// Its position: what a primary has written, what a standby has replayed.
    pub server_lsn: Option<Lsn>,
    /// Its clients, synchronous ones first.
    pub clients: Vec<ReplicationClient>,
}

/// A client that streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicationClient {
    /// Process id of its WAL sender.
    pub pid: Option<i64>,
    /// Its role.
    pub user: Option<String>,
    /// How it calls itself.
    pub application_name: Option<String>,
    /// Its address; `None` for a Unix socket.
    pub address: Option<String>,
    /// Its host name, if the server looks that up (`log_hostname`).
    pub hostname: Option<String>,
    /// Its port.
    pub port: Option<i64>,
    /// When it connected, in the time zone of the session.
    #[serde(serialize_with = "instant")]
    pub started_at: Option<Zoned>,
    /// `backend_xmin`.
    pub xmin: Option<String>,
    /// `streaming`, `catchup`, `backup` ...
    pub state: Option<String>,
    /// `async`, `potential`, `sync` or `quorum`.
    pub sync_state: Option<String>,
    /// Its rank among synchronous standbys; 0 is asynchronous.
    pub sync_priority: i64,
    /// The slot it uses.
    pub slot: Option<String>,
    /// The last position that was sent to it.
    pub sent: Option<Lsn>,
    /// The last that it wrote.
    pub written: Option<Lsn>,
    /// The last that it flushed.
    pub flushed: Option<Lsn>,
    /// The last that it replayed; only standbys do.
    pub replayed: Option<Lsn>,
    /// The server's position at that moment; a standby that got its WAL from an archive has none.
    pub current: Option<Lsn>,
}

impl ReplicationClient {
    /// Whether it replays what it receives. Others only keep it.
    #[must_use]
    pub fn is_standby(&self) -> bool {
        self.replayed.is_some()
    }

    /// How many bytes a position of the client is before (negative) or behind the server's; `None` if that is unknown.
    #[must_use]
    pub fn difference(&self, position: Lsn) -> Option<i128> {
        let current = self.current?;
        Some(i128::from(position.0) - i128::from(current.0))
    }

    /// How safe it makes what the server commits: `4/5 2-safe`.
    #[must_use]
    pub fn sync_stage(&self) -> String {
        let level = |position: Option<Lsn>| position.is_some() && position == self.current;
        let most = if self.is_standby() { 5 } else { 3 };
        if self.is_standby() && level(self.replayed) {
            "5/5 Hot standby (max)".to_owned()
        } else if self.is_standby() && level(self.flushed) {
            "4/5 2-safe".to_owned()
        } else if level(self.written) {
            format!("3/{most} Remote write")
        } else if level(self.sent) {
            format!("2/{most} WAL Sent (min)")
        } else {
            format!("1/{most} 1-safe")
        }
    }

    fn from_row(row: &ReplicationStat) -> Self {
        let text = |name: &str| row.get(name).map(str::to_owned);
        let number = |name: &str| row.get(name).and_then(|text| text.parse().ok());
        Self {
            pid: number("pid"),
            user: text("usename"),
            application_name: text("application_name"),
            address: row.get("client_addr").map(address),
            hostname: text("client_hostname"),
            port: number("client_port"),
            started_at: row.started.clone(),
            xmin: text("backend_xmin"),
            state: text("state"),
            sync_state: text("sync_state"),
            sync_priority: number("sync_priority").unwrap_or(0),
            slot: text("slot_name"),
            sent: row.lsn("sent_lsn"),
            written: row.lsn("write_lsn"),
            flushed: row.lsn("flush_lsn"),
            replayed: row.lsn("replay_lsn"),
            current: row.lsn("current_lsn"),
        }
    }
}

fn instant<S: serde::Serializer>(time: &Option<Zoned>, serializer: S) -> Result<S::Ok, S::Error> {
    time.as_ref()
        .map(|time| time.timestamp().to_string())
        .serialize(serializer)
}

/// An address of type `inet`, without the length of its network if that is all of it.
fn address(text: &str) -> String {
    match text.split_once('/') {
        Some((host, _)) if host.parse::<IpAddr>().is_ok() => host.to_owned(),
        _ => text.to_owned(),
    }
}

/// Why the clients of a server are not known.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationStatusError {
    /// It cannot be reached.
    #[error("Unable to connect to server {server}")]
    Unreachable {
        /// The server.
        server: String,
        /// Why.
        reason: String,
    },
    /// It cannot be asked: missing privileges, a connection lost in the middle.
    #[error("Cannot read the replication status of server {server}: {source}")]
    Query {
        /// The server.
        server: String,
        /// Why.
        source: barman_pg::Error,
    },
    /// The user asked to stop.
    #[error("interrupted while asking server {server}")]
    Interrupted {
        /// The server.
        server: String,
    },
}

impl ReplicationStatusError {
    /// The server that was asked.
    #[must_use]
    pub fn server(&self) -> &str {
        match self {
            Self::Unreachable { server, .. } | Self::Query { server, .. } | Self::Interrupted { server } => {
                server
            }
        }
    }
}

impl Failure for ReplicationStatusError {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted { .. } => Class::Interrupted,
            Self::Unreachable { .. } | Self::Query { .. } => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { reason, .. } => Some(reason.clone()),
            Self::Query { source, .. } => source.hint(),
            Self::Interrupted { .. } => None,
        }
    }
}

/// The clients of every one of these servers, in their order; the servers are asked at the same time, each within its
/// `check_timeout`.
#[must_use]
pub fn run(
    servers: &[&ServerConfig],
    options: &ReplicationStatusOptions,
    ctx: &Context<'_>,
) -> Vec<Result<ReplicationStatusReport, ReplicationStatusError>> {
    let mut answers = Vec::with_capacity(servers.len());
    run_each(servers, options, ctx, |answer| answers.push(answer));
    answers
}

/// As [`run`], but each answer is handed over as soon as it and those before it are there.
pub fn run_each(
    servers: &[&ServerConfig],
    options: &ReplicationStatusOptions,
    ctx: &Context<'_>,
    found: impl FnMut(Result<ReplicationStatusReport, ReplicationStatusError>),
) {
    let work = |config: &&ServerConfig| {
        let mut server = Server::new((*config).clone());
        if options.source == Source::WalHost {
            server.use_wal_connections();
        }
        let limit = config.check_timeout;
        deadline::within(&mut server, limit, ctx, |server, deadline| {
            ask(server, options.target, deadline)
        })
    };
    parallel::each(servers, work, found);
}

fn ask(
    server: &mut Server,
    target: ClientType,
    deadline: &Deadline,
) -> Result<ReplicationStatusReport, ReplicationStatusError> {
    let name = server.name().to_owned();
    let ended = |name: &str| match deadline.ended() {
        Some(Ended::Cancelled(_)) => Some(ReplicationStatusError::Interrupted {
            server: name.to_owned(),
        }),
        Some(Ended::TimedOut) => Some(ReplicationStatusError::Unreachable {
            server: name.to_owned(),
            reason: "it did not answer within check_timeout".to_owned(),
        }),
        None => None,
    };
    let client = match server.sql() {
        Ok(client) => client,
        Err(error) => {
            return Err(
                ended(&name).unwrap_or_else(|| ReplicationStatusError::Unreachable {
                    server: name,
                    reason: reason(&error),
                }),
            );
        }
    };
    let asked = client.current_position().and_then(|position| {
        let stats = client.replication_stats(target)?;
        Ok((position.location, stats))
    });
    match asked {
        Ok((server_lsn, stats)) => Ok(ReplicationStatusReport {
            server: name,
            server_lsn,
            clients: stats.iter().map(ReplicationClient::from_row).collect(),
        }),
        Err(source) => Err(ended(&name).unwrap_or(ReplicationStatusError::Query { server: name, source })),
    }
}

fn reason(error: &ServerError) -> String {
    match error {
        ServerError::Connection { source, .. } => explained(source),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
