//! Why a backup was not started, or could not be finished properly. A backup that was started and failed is no error
//! of this kind: it is recorded as FAILED and reported.

use std::path::PathBuf;

use crate::context::CancelCause;
use crate::failure::{Class, Failure};

/// What kept `barman backup` from doing its work.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something that this program does not do yet.
    #[error("{what} is not yet available")]
    Unsupported {
        /// The option or setting.
        what: String,
    },
    /// A name that a backup cannot have.
    #[error("the name {name:?} cannot be given to a backup: {why}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        why: barman_catalog::ids::NameError,
    },
    /// The preflight check found a reason not to start.
    #[error("Impossible to start the backup: {failed}. See the log, or run 'barman check {server}'")]
    Preflight {
        /// The server.
        server: String,
        /// Which checks failed.
        failed: String,
    },
    /// A directory of the server cannot be made.
    #[error("failed to create {} directory: {reason}", path.display())]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Somebody else holds the backup lock of this server.
    #[error("Another backup process is running")]
    Busy,
    /// The lock file cannot be opened.
    #[error("Permission denied, unable to access '{}'", path.display())]
    LockDenied {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock cannot be taken for another reason.
    #[error("cannot take the backup lock: {0}")]
    Lock(String),
    /// No id greater than the newest one can be made.
    #[error("cannot make a backup id greater than '{newest}'")]
    Id {
        /// The newest id of the catalogue.
        newest: String,
    },
    /// The catalogue cannot be read.
    #[error("cannot read the catalogue of server '{server}': {reason}")]
    Catalog {
        /// The server.
        server: String,
        /// Why.
        reason: String,
    },
    /// `identity.json` or `backup.info` cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The user or the system asked to stop before the backup was registered.
    #[error("Process interrupted by user (KeyboardInterrupt)")]
    Interrupted(CancelCause),
}

impl Failure for BackupError {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted(_) => Class::Interrupted,
            Self::Catalog { .. } | Self::Write { .. } | Self::Lock(_) => Class::Exception,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Busy => Some(
                "wait until the backup, deletion or import that runs for this server has ended".to_owned(),
            ),
            Self::Id { .. } => Some(
                "the catalogue holds a backup from the far future: check the clock, and delete that backup"
                    .to_owned(),
            ),
            Self::Write { .. } => Some(
                "the backup stays registered as not finished; the next backup or cron marks it FAILED"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
