//! `barman lock-directory-cleanup`: removes lock files that nobody holds. Also the last thing that `cron` does.
//!
//! Each file is locked before its name goes, and whoever had opened it meanwhile sees that the name is gone and opens it
//! anew: no lock that somebody holds or is about to take is lost ([`barman_wal::lock::cleanup`]).

use std::path::{Path, PathBuf};

use barman_wal::lock::{self, LockError};

use crate::failure::Failure;

/// Why the directory was not cleaned up.
#[derive(Debug, thiserror::Error)]
#[error("Cannot clean up the lock directory {}: {}", directory.display(), why(source))]
pub struct CleanupError {
    /// The directory.
    pub directory: PathBuf,
    /// Why.
    pub source: LockError,
}

fn why(error: &LockError) -> String {
    match error {
        LockError::Io { source, .. } => source.to_string(),
        LockError::Denied { .. } => "permission denied".to_owned(),
        LockError::Busy { .. } | LockError::Cancelled { .. } => error.to_string(),
    }
}

impl Failure for CleanupError {
    fn hint(&self) -> Option<String> {
        matches!(self.source, LockError::Denied { .. })
            .then(|| "run barman as the user that its cron job has".to_owned())
    }
}

/// Removes the lock files in `directory` that nobody holds; returns them. Without the directory there is nothing to do.
///
/// # Errors
/// The directory cannot be read.
pub fn run(directory: &Path) -> Result<Vec<PathBuf>, CleanupError> {
    log::info!(target: "barman.utils", "Cleaning up lockfiles directory.");
    match lock::cleanup(directory) {
        Err(LockError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|source| CleanupError {
            directory: directory.to_owned(),
            source,
        }),
    }
}
