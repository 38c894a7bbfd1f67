//! `barman list-processes`: the running processes of a server, by the locks that they hold.

use std::io;

use serde::Serialize;

use crate::config::ServerConfig;
use crate::failure::Failure;
use crate::host::process::{self, TaskProcess};

/// The running processes of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListProcessesReport {
    /// Its name.
    pub server: String,
    /// The processes, in the order of the lock directory.
    pub processes: Vec<TaskProcess>,
}

/// Why the processes are not known.
#[derive(Debug, thiserror::Error)]
#[error("Cannot read the lock directory {} of server {server}: {source}", directory.display())]
pub struct ListProcessesError {
    /// The server.
    pub server: String,
    /// Its lock directory.
    pub directory: std::path::PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Failure for ListProcessesError {
    fn hint(&self) -> Option<String> {
        (self.source.kind() == io::ErrorKind::PermissionDenied)
            .then(|| "run barman as the user that its cron job has".to_owned())
    }
}

/// Lists them. Works for inactive, disabled and passive servers too, and changes nothing. Without a lock directory there
/// are none.
///
/// # Errors
/// The lock directory cannot be read.
pub fn run(config: &ServerConfig) -> Result<ListProcessesReport, ListProcessesError> {
    let processes = match process::list(&config.lock_directory, &config.name) {
        Ok(processes) => processes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => {
            return Err(ListProcessesError {
                server: config.name.clone(),
                directory: config.lock_directory.clone(),
                source,
            });
        }
    };
    Ok(ListProcessesReport {
        server: config.name.clone(),
        processes,
    })
}
