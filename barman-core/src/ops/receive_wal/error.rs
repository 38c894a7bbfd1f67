//! Why `receive-wal` does not start, or ended.

use std::io;
use std::path::{Path, PathBuf};

use barman_wal::durable::DurableError;
use barman_wal::lock::LockError;

use crate::failure::{Class, Failure};
use crate::server::{ServerError, explained};

/// Why `receive-wal` failed. What was received and reported to the server is safe whatever the failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// `streaming_archiver` is off.
    #[error(
        "Unable to start receive-wal process: streaming_archiver option set to 'off' in barman configuration file"
    )]
    ArchiverOff,
    /// A check failed; the log and the hint say which.
    #[error(
        "Impossible to start WAL streaming. Check the log for more details, or run 'barman check {server}'"
    )]
    Preflight {
        /// The server.
        server: String,
        /// Which checks failed, and why.
        failed: String,
    },
    /// The connection for `--create-slot` and `--drop-slot` cannot be made.
    #[error("Cannot connect to server '{server}'")]
    Unreachable {
        /// The server.
        server: String,
        /// Why.
        source: barman_pg::Error,
    },
    /// A receiver runs.
    #[error("Another receive-wal process is already running for server {server}.")]
    Busy {
        /// The server.
        server: String,
    },
    /// A receiver runs and cannot be reset.
    #[error("Unable to reset the status of receive-wal for server {server}. Process is still running")]
    BusyReset {
        /// The server.
        server: String,
    },
    /// The lock cannot be used.
    #[error("cannot receive WAL of server {server}: {source}")]
    Lock {
        /// The server.
        server: String,
        /// Why.
        source: LockError,
    },
    /// The slot does not exist and may not be created by itself.
    #[error(
        "ArchiverFailure:replication slot '{slot}' doesn't exist. Please execute 'barman receive-wal --create-slot {server}'"
    )]
    SlotMissing {
        /// The slot.
        slot: String,
        /// The server.
        server: String,
    },
    /// Somebody streams through the slot.
    #[error("ArchiverFailure:replication slot '{slot}' is already in use")]
    SlotActive {
        /// The slot.
        slot: String,
    },
    /// PostgreSQL, or the connection to it.
    #[error("ArchiverFailure:{0}")]
    Postgres(barman_pg::Error),
    /// No connection.
    #[error("ArchiverFailure:{0}")]
    Server(ServerError),
    /// Local files.
    #[error("ArchiverFailure:{0}")]
    Disk(DurableError),
    /// A local file.
    #[error("ArchiverFailure:cannot {action} {}: {source}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is on disk and what the server sends do not belong together.
    #[error("ArchiverFailure:{0}")]
    Refused(String),
    /// `--create-slot` or `--drop-slot` cannot be done; a text of one or two lines.
    #[error("{0}")]
    Slot(String),
    /// `--reset`: more was received than the server has.
    #[error("The receive-wal position is ahead of PostgreSQL current WAL lsn ({found} > {current})")]
    Ahead {
        /// The newest name in the streaming directory.
        found: String,
        /// The server's current segment.
        current: String,
    },
}

impl ReceiveError {
    pub(super) fn server(source: ServerError) -> Self {
        Self::Server(source)
    }

    pub(super) fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::File {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    pub(super) fn lock(source: LockError, server: &str, reset: bool) -> Self {
        let server = server.to_owned();
        match (source.is_busy(), reset) {
            (true, false) => Self::Busy { server },
            (true, true) => Self::BusyReset { server },
            (false, _) => Self::Lock { server, source },
        }
    }

    /// Whether the request to stop ended it.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        match self {
            Self::Postgres(error) | Self::Server(ServerError::Connection { source: error, .. }) => {
                error.is_interrupted()
            }
            Self::Lock { source, .. } => matches!(source, LockError::Cancelled { .. }),
            _ => false,
        }
    }
}

impl Failure for ReceiveError {
    fn class(&self) -> Class {
        if self.is_interrupted() {
            Class::Interrupted
        } else {
            Class::Error
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Preflight { failed, .. } => Some(format!("what failed: {failed}")),
            Self::Unreachable { source, .. } => Some(explained(source)),
            Self::Postgres(error) if error.sqlstate() == Some(barman_pg::sqlstate::UNDEFINED_FILE) => Some(
                "the server has removed this WAL already: 'barman receive-wal --reset' starts again at its current \
                 position; the backups before it cannot be recovered beyond the gap"
                    .to_owned(),
            ),
            Self::Postgres(error) => error.hint(),
            Self::Server(error) => error.hint(),
            _ => None,
        }
    }
}
