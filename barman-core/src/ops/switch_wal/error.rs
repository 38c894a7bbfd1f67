//! Why WAL was not switched, or did not arrive.

use std::io;
use std::path::PathBuf;

use barman_wal::SegmentName;

use crate::failure::{Class, Failure};
use crate::ops::archive::ArchiveError;
use crate::server::ServerError;

/// Why `switch-wal` failed.
#[derive(Debug, thiserror::Error)]
pub enum SwitchWalError {
    /// The server is a passive node or inactive: there is no PostgreSQL to ask.
    #[error(
        "Unable to switch WAL on server '{server}': it is a passive node, without a PostgreSQL connection"
    )]
    Passive {
        /// The server.
        server: String,
    },
    /// PostgreSQL cannot be reached, or refused.
    #[error("Unable to perform pg_switch_wal for server '{server}'.")]
    Switch {
        /// The server.
        server: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The user may not do it.
    #[error("Unable to switch WAL on server '{server}': {source}")]
    Privileges {
        /// The server.
        server: String,
        /// Which privilege is missing.
        source: barman_pg::Error,
    },
    /// The segment that was closed did not arrive in time.
    #[error("The WAL file {segment} has not been received in {seconds} seconds")]
    NotReceived {
        /// The segment.
        segment: SegmentName,
        /// How long the wait was.
        seconds: u64,
    },
    /// What had arrived cannot be archived.
    #[error(transparent)]
    Archiving(#[from] ArchiveError),
    /// The archive cannot be read.
    #[error("cannot read the WAL archive {}: {source}", path.display())]
    Archive {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody asked to stop. A switch that was done stays done.
    #[error("switch-wal on server '{server}' was interrupted")]
    Interrupted {
        /// The server.
        server: String,
    },
}

impl SwitchWalError {
    pub(super) fn from_server(server: &str, source: ServerError) -> Self {
        if source.class() == Class::Interrupted {
            return Self::Interrupted {
                server: server.to_owned(),
            };
        }
        Self::Switch {
            server: server.to_owned(),
            source: Box::new(source),
        }
    }

    pub(super) fn from_postgres(server: &str, source: barman_pg::Error) -> Self {
        let server = server.to_owned();
        match source {
            barman_pg::Error::Interrupted { .. } => Self::Interrupted { server },
            source @ (barman_pg::Error::BackupPrivileges { .. }
            | barman_pg::Error::CheckpointPrivileges { .. }) => Self::Privileges { server, source },
            source => Self::Switch {
                server,
                source: Box::new(source),
            },
        }
    }
}

impl Failure for SwitchWalError {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted { .. } => Class::Interrupted,
            Self::Archiving(error) => error.class(),
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Passive { .. } => Some("run switch-wal on the Barman node of the primary".to_owned()),
            Self::Switch { server, source } => Some(format!("{source}; run 'barman check {server}'")),
            Self::Privileges { .. } => Some("grant the role what the message names".to_owned()),
            Self::NotReceived { .. } => Some(
                "look at archive_command and at the receiver (receive-wal), or give --archive-timeout more time".to_owned(),
            ),
            Self::Archiving(error) => error.hint(),
            Self::Archive { .. } | Self::Interrupted { .. } => None,
        }
    }
}
