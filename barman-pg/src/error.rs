//! What can go wrong with a connection: which server, what was being done, and why it failed. No text here ever
//! holds a password.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use barman_wal::{Lsn, TimelineId};

use crate::conninfo::ConnInfoError;

/// SQLSTATE values that callers tell apart (PostgreSQL, `errcodes.txt`).
pub mod sqlstate {
    /// `invalid_password`.
    pub const INVALID_PASSWORD: &str = "28P01";
    /// `invalid_authorization_specification`: no `pg_hba.conf` entry, unknown role.
    pub const INVALID_AUTHORIZATION: &str = "28000";
    /// `invalid_catalog_name`: the database does not exist.
    pub const UNKNOWN_DATABASE: &str = "3D000";
    /// `too_many_connections`: also "no free WAL sender".
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    /// `cannot_connect_now`: starting up or shutting down.
    pub const CANNOT_CONNECT_NOW: &str = "57P03";
    /// `duplicate_object`: the slot exists already.
    pub const DUPLICATE_OBJECT: &str = "42710";
    /// `configuration_limit_exceeded`: all replication slots are in use.
    pub const SLOTS_FULL: &str = "53400";
    /// `undefined_object`: the slot does not exist.
    pub const UNDEFINED_OBJECT: &str = "42704";
    /// `object_in_use`: the slot is active.
    pub const OBJECT_IN_USE: &str = "55006";
    /// `object_not_in_prerequisite_state`: among others, the server has given the slot up (PostgreSQL 18).
    pub const NOT_IN_PREREQUISITE_STATE: &str = "55000";
    /// `undefined_file`: a requested WAL segment has already been removed.
    pub const UNDEFINED_FILE: &str = "58P01";
}

/// What is being done when a WAL stream is asked for.
pub(crate) const STARTING_WAL: &str = "starting WAL streaming";

/// An error, warning or notice that the server sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerMessage {
    /// `ERROR`, `FATAL`, `NOTICE`, `WARNING` ..., not translated.
    pub severity: String,
    /// The five characters of the SQLSTATE.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// The DETAIL line, if any.
    pub detail: Option<String>,
    /// The HINT line, if any.
    pub hint: Option<String>,
}

impl std::fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:  {}", self.severity, self.message)
    }
}

/// A failure of a connection or of a statement on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection string is not one that libpq would take.
    #[error(transparent)]
    ConnInfo(#[from] ConnInfoError),

    /// The connection string asks for something that this crate does not do.
    #[error("connection option \"{option}\" with value \"{value}\" is not supported: {why}")]
    Unsupported {
        /// The option's keyword, or the environment variable's name.
        option: String,
        /// Its value (never that of a secret option).
        value: String,
        /// Why not.
        why: &'static str,
    },

    /// The service that the connection string names cannot be used.
    #[error("service \"{service}\": {what}")]
    Service {
        /// Its name.
        service: String,
        /// Why not.
        what: String,
    },

    /// No session could be opened. With several attempts (hosts, addresses, kinds of encryption) the reason has a line
    /// for each; address and first line are those of the first. As Barman does, the first line is what is shown; the
    /// others are in [`Error::hint`].
    #[error("connection to {address} failed: {}", reason.lines().next().unwrap_or_default())]
    Connect {
        /// `server at "host", port N` or `server on socket "path"`.
        address: String,
        /// The operating system's or the server's words.
        reason: String,
        /// Set if the server itself refused.
        sqlstate: Option<String>,
    },

    /// The server answered a command with an error.
    #[error("{doing} on {address}: {}", message.message)]
    Server {
        /// What was being done.
        doing: Cow<'static, str>,
        /// Which server.
        address: String,
        /// What the server said.
        message: Box<ServerMessage>,
    },

    /// The connection broke.
    #[error("{doing} on {address}: connection lost: {source}")]
    Io {
        /// What was being done.
        doing: Cow<'static, str>,
        /// Which server.
        address: String,
        /// Why.
        source: io::Error,
    },

    /// The server closed the connection.
    #[error("{doing} on {address}: server closed the connection unexpectedly")]
    Closed {
        /// What was being done.
        doing: Cow<'static, str>,
        /// Which server.
        address: String,
    },

    /// Nothing came (or could be sent) for too long.
    #[error("{doing} on {address}: no answer within {} seconds", after.as_secs_f32())]
    Timeout {
        /// What was being done.
        doing: Cow<'static, str>,
        /// Which server.
        address: String,
        /// The limit that was exceeded.
        after: Duration,
    },

    /// The caller's interrupt flag was raised.
    #[error("{doing}: interrupted")]
    Interrupted {
        /// What was being done.
        doing: Cow<'static, str>,
    },

    /// The server sent something that the protocol does not allow or that cannot be understood.
    #[error("{doing} on {address}: unexpected answer: {what}")]
    Protocol {
        /// What was being done.
        doing: Cow<'static, str>,
        /// Which server.
        address: String,
        /// What was wrong with it.
        what: String,
    },

    /// WAL that is needed is no longer on the server.
    #[error("{doing} from {position} (timeline {timeline}) on {address}: {}", message.message)]
    WalRemoved {
        /// What was being done.
        doing: Cow<'static, str>,
        /// Which server.
        address: String,
        /// The first position that was not received.
        position: Lsn,
        /// Its timeline.
        timeline: TimelineId,
        /// What the server said.
        message: Box<ServerMessage>,
    },

    /// A position is not in the history of the server.
    #[error("{address} is on timeline {server_timeline}, whose history does not have {position} of timeline {timeline}{}", forked.map(|lsn| format!(": it left that timeline at {lsn}")).unwrap_or_default())]
    NotInHistory {
        /// Which server.
        address: String,
        /// The position,
        position: Lsn,
        /// and its timeline.
        timeline: TimelineId,
        /// The server's timeline.
        server_timeline: TimelineId,
        /// Where the server's history left the timeline, if it was ever on it.
        forked: Option<Lsn>,
    },

    /// A position is ahead of everything that the server has.
    #[error("{address} has WAL up to {server_position}, which is before {position} (timeline {timeline})")]
    AheadOfServer {
        /// Which server.
        address: String,
        /// The position,
        position: Lsn,
        /// and its timeline.
        timeline: TimelineId,
        /// Where the server is.
        server_position: Lsn,
    },

    /// The connection leads to another cluster than before.
    #[error("{address} has the system identifier {found}, expected {expected}: this is another cluster")]
    OtherSystem {
        /// Which server.
        address: String,
        /// The cluster that was expected.
        expected: String,
        /// The cluster that is there.
        found: String,
    },

    /// The server ended the stream because it shuts down; everything was sent.
    #[error("{doing} on {address}: the server is shutting down")]
    ShuttingDown {
        /// What was being done.
        doing: Cow<'static, str>,
        /// Which server.
        address: String,
    },

    /// The manifest of the backup that an incremental backup builds on cannot be read.
    #[error("cannot read the manifest of the earlier backup: {source}")]
    Manifest {
        /// Why not.
        source: io::Error,
    },

    /// The role may not call the backup functions (`switch_wal`).
    #[error(
        "user \"{user}\" lacks the privileges that are required for backup functions: EXECUTE on the backup functions together with pg_read_all_settings and pg_read_all_stats (or pg_monitor), or superuser"
    )]
    BackupPrivileges {
        /// The role of the session.
        user: String,
    },

    /// The role may not read the monitoring views.
    #[error(
        "user \"{user}\" lacks the privileges that are required for monitoring: pg_monitor, or both pg_read_all_settings and pg_read_all_stats, or superuser"
    )]
    MonitoringPrivileges {
        /// The role of the session.
        user: String,
    },

    /// The role may not run CHECKPOINT.
    #[error(
        "user \"{user}\" may not run CHECKPOINT: it must be superuser or have the privileges of pg_checkpoint"
    )]
    CheckpointPrivileges {
        /// The role of the session.
        user: String,
    },

    /// A standby cannot do this.
    #[error("{doing}: the server is in recovery (a standby)")]
    InRecovery {
        /// What was being done.
        doing: Cow<'static, str>,
    },

    /// The session that a concurrent backup lives in is gone, and the backup with it: no other session can end it.
    #[error("the connection to {address} was lost during the backup and may not be opened again: {reason}")]
    LostDuringBackup {
        /// Which server; the connection string, without secrets, if no session is left.
        address: String,
        /// How the loss was noticed.
        reason: String,
    },

    /// Newer servers do not have this any more.
    #[error("{feature}: PostgreSQL {removed_in} has removed it")]
    Obsolete {
        /// What was asked for.
        feature: &'static str,
        /// The first major release without it.
        removed_in: u32,
    },
}

impl Error {
    /// The SQLSTATE, if the failure came from the server.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Connect { sqlstate, .. } => sqlstate.as_deref(),
            Self::Server { message, .. } | Self::WalRemoved { message, .. } => Some(&message.sqlstate),
            _ => None,
        }
    }

    /// Whether the caller's own interrupt flag ended it.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Interrupted { .. })
    }

    /// Whether there is no usable session after this failure (never opened, lost, timed out, out of step).
    #[must_use]
    pub fn is_connection_lost(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Io { .. }
            | Self::Closed { .. }
            | Self::Timeout { .. }
            | Self::Protocol { .. }
            | Self::ShuttingDown { .. }
            | Self::OtherSystem { .. }
            | Self::ConnInfo(_)
            | Self::Service { .. }
            | Self::LostDuringBackup { .. }
            | Self::Unsupported { .. } => true,
            Self::Server { message, .. } => message.severity == "FATAL" || message.severity == "PANIC",
            _ => false,
        }
    }

    /// Whether the same may succeed later, with a new connection: the server is away, starting, stopping, full, or
    /// behind, or the connection was cut. What needs somebody to change something is not.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. }
            | Self::Closed { .. }
            | Self::Timeout { .. }
            | Self::Protocol { .. }
            | Self::ShuttingDown { .. }
            | Self::AheadOfServer { .. } => true,
            // Connection exceptions, resources, the operator; a slot that its last session has not yet left.
            Self::Connect { sqlstate, .. } => sqlstate.as_deref().is_none_or(may_pass),
            Self::Server { message, .. } => may_pass(&message.sqlstate),
            _ => false,
        }
    }

    /// The DETAIL that the server sent with its error, if any.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Server { message, .. } | Self::WalRemoved { message, .. } => message.detail.as_deref(),
            _ => None,
        }
    }

    /// What the user can do about it, where that is known; how other attempts to connect ended.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let own = match self {
            Self::WalRemoved { .. } => Some(
                "the server has removed WAL that was never received: a slot or a larger wal_keep_size keeps it; take a new base backup",
            ),
            Self::Obsolete { .. } => Some("take a concurrent backup"),
            Self::LostDuringBackup { .. } => Some(
                "take the backup again; if something between here and the server ends idle connections, send heartbeats more often",
            ),
            _ => None,
        };
        if let Some(own) = own {
            return Some(own.to_owned());
        }
        if let Self::Server { message, .. } = self
            && let Some(hint) = &message.hint
        {
            return Some(hint.clone());
        }
        let others: Vec<&str> = match self {
            Self::Connect { reason, .. } => reason.lines().skip(1).collect(),
            _ => Vec::new(),
        };
        let parts: Vec<&str> = others.into_iter().chain(self.advice()).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn is_about_start_of_wal(&self) -> bool {
        matches!(self, Self::Server { doing, .. } if doing == STARTING_WAL)
    }

    fn advice(&self) -> Option<&'static str> {
        Some(match self.sqlstate()? {
            sqlstate::INVALID_PASSWORD => {
                "check the password in the connection string or in the password file"
            }
            sqlstate::INVALID_AUTHORIZATION => "check pg_hba.conf and the role's attributes on the server",
            sqlstate::UNKNOWN_DATABASE => "check dbname in the connection string",
            sqlstate::TOO_MANY_CONNECTIONS => {
                "raise max_wal_senders or max_connections, or end idle sessions"
            }
            // Of many that have this code, what the start of a stream can mean by it.
            sqlstate::NOT_IN_PREREQUISITE_STATE if self.is_about_start_of_wal() => {
                "the server has given the replication slot up: drop it and create it again, and take a new base backup if WAL was missed"
            }
            sqlstate::SLOTS_FULL => "free a replication slot or raise max_replication_slots",
            _ => return None,
        })
    }
}

/// Whether an error with this SQLSTATE goes away by itself.
fn may_pass(code: &str) -> bool {
    code == sqlstate::OBJECT_IN_USE
        || ["08", "53", "57"].iter().any(|class| code.starts_with(class)) && code != sqlstate::SLOTS_FULL
}
