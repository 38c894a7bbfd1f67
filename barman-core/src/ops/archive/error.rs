//! Why archiving stops, or does not begin.

use std::io;
use std::path::{Path, PathBuf};

use barman_catalog::xlogdb::XlogDbError;
use barman_wal::codec::CodecError;
use barman_wal::durable::DurableError;
use barman_wal::lock::LockError;

use crate::failure::{Class, Failure};
use crate::host::hooks::HookError;

/// Why `archive-wal` did not do its work. What concerns a single file is in the report instead, and never stops the
/// others.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Another process archives this server's WAL.
    #[error("Another archive-wal process is already running on server {server}. Skipping to the next server")]
    Busy {
        /// The server.
        server: String,
    },
    /// The lock of archiving cannot be used.
    #[error("cannot archive WAL of server {server}: {source}")]
    Lock {
        /// The server.
        server: String,
        /// Why.
        source: LockError,
    },
    /// The configured compression cannot be written. Nothing was touched.
    #[error("cannot archive WAL of server {server}: {source}")]
    Compression {
        /// The server.
        server: String,
        /// Which one.
        source: CodecError,
    },
    /// WAL encryption cannot be written yet. Nothing was touched.
    #[error("cannot archive WAL of server {server}: encryption `{encryption}` is not yet available")]
    Encryption {
        /// The server.
        server: String,
        /// The option's value.
        encryption: String,
    },
    /// WAL archives in object storage are not there yet. Nothing was touched.
    #[error(
        "cannot archive WAL of server {server}: wals_directory = {url} is object storage, which is not yet available"
    )]
    Cloud {
        /// The server.
        server: String,
        /// The option's value.
        url: String,
    },
    /// A directory of files to archive cannot be listed.
    #[error("cannot list {}: {source}", path.display())]
    Queue {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive cannot be written: disk full, permissions. What was archived before stays archived, the rest waits.
    #[error("cannot store WAL file {name} in the archive: {source}")]
    Store {
        /// The WAL file.
        name: String,
        /// Why.
        source: DurableError,
    },
    /// The WAL catalogue cannot be written. The files stay in the queue.
    #[error("{source}")]
    Catalogue {
        /// Why.
        source: XlogDbError,
    },
    /// Somebody asked to stop. What was archived before stays archived.
    #[error("archiving WAL of server {server} was interrupted")]
    Interrupted {
        /// The server.
        server: String,
    },
}

impl ArchiveError {
    pub(super) fn queue(path: &Path, source: io::Error) -> Self {
        Self::Queue {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(super) fn store(name: impl Into<String>, source: DurableError) -> Self {
        Self::Store {
            name: name.into(),
            source,
        }
    }
}

impl From<XlogDbError> for ArchiveError {
    fn from(source: XlogDbError) -> Self {
        Self::Catalogue { source }
    }
}

impl Failure for ArchiveError {
    fn class(&self) -> Class {
        match self {
            Self::Busy { .. } => Class::Info,
            Self::Interrupted { .. }
            | Self::Catalogue {
                source:
                    XlogDbError::Lock {
                        source: LockError::Cancelled { .. },
                        ..
                    },
            } => Class::Interrupted,
            Self::Compression { .. } | Self::Encryption { .. } | Self::Cloud { .. } | Self::Lock { .. } => {
                Class::Error
            }
            Self::Queue { .. } | Self::Store { .. } | Self::Catalogue { .. } => Class::Exception,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Busy { .. } | Self::Interrupted { .. } => None,
            Self::Lock { source, .. } => Some(format!(
                "check owner and mode of {}",
                match source {
                    LockError::Busy { path, .. }
                    | LockError::Denied { path }
                    | LockError::Cancelled { path }
                    | LockError::Io { path, .. } => path.display(),
                }
            )),
            Self::Compression {
                source: CodecError::Custom,
                ..
            } => Some("set both filters, or another compression".to_owned()),
            Self::Compression { .. } => {
                Some("set another compression, or unset it; archived files stay readable".to_owned())
            }
            Self::Encryption { .. } => {
                Some("unset encryption, or let Barman 3.20.1 archive this server".to_owned())
            }
            Self::Cloud { .. } => {
                Some("let Barman 3.20.1 archive this server, or use a local wals_directory".to_owned())
            }
            Self::Queue { .. } => Some("run 'barman check', which creates missing directories".to_owned()),
            Self::Store { .. } | Self::Catalogue { .. } => Some(
                "no WAL is lost: the files stay in the queue, and the next archive-wal goes on".to_owned(),
            ),
        }
    }

    fn exit_code(&self) -> u8 {
        u8::from(!matches!(self, Self::Busy { .. }))
    }
}

/// How the processing of one archiver ended before its queue was empty.
#[derive(Debug)]
pub(super) enum Stop {
    /// A pre-archive retry script answered 63: this archiver ends, the next one runs.
    Hook(HookError),
    /// The whole command ends.
    Error(ArchiveError),
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        Self::Error(error)
    }
}
