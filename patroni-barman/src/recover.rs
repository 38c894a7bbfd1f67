//! `recover`: restores a backup into the data directory of this node.

use std::time::Duration;

use crate::client::PgBackupApi;
use crate::events::Host;
use crate::follow::{End, Patience, follow};
use crate::protocol::NewOperation;

/// What to restore, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverOptions {
    /// Server as configured in Barman.
    pub barman_server: String,
    /// A backup id or a word that the service knows. It decides.
    pub backup_id: String,
    /// How the Barman host reaches this node. Not logged.
    pub ssh_command: String,
    /// Destination on this node.
    pub data_directory: String,
    /// Pause between two questions.
    pub loop_wait: Duration,
    /// The most that the restore may take; no limit without.
    pub timeout: Option<Duration>,
}

/// How `recover` ends; the numbers are its exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecoverExit {
    /// The backup is restored.
    RecoveryDone = 0,
    /// The restore failed.
    RecoveryFailed = 1,
    /// The API could not be reached or understood.
    HttpError = 2,
}

impl RecoverExit {
    /// The exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Has a backup restored, and returns when that has ended, one way or the other.
///
/// ```no_run
/// use std::time::Duration;
/// use patroni_barman::{ApiOptions, PgBackupApi, RecoverExit, RecoverOptions, Silent, recover};
///
/// let api = PgBackupApi::new("http://barman:7480", ApiOptions::default())?;
/// let options = RecoverOptions {
///     barman_server: "main".to_owned(),
///     backup_id: "latest".to_owned(),
///     ssh_command: "ssh postgres@node1".to_owned(),
///     data_directory: "/var/lib/postgresql/data".to_owned(),
///     loop_wait: Duration::from_secs(10),
///     timeout: None,
/// };
/// assert_eq!(recover(&api, &options, &mut Silent), RecoverExit::RecoveryDone);
/// # Ok::<(), patroni_barman::UrlError>(())
/// ```
pub fn recover(api: &PgBackupApi, options: &RecoverOptions, host: &mut dyn Host) -> RecoverExit {
    let operation = NewOperation::Recovery {
        backup_id: options.backup_id.clone(),
        remote_ssh_command: options.ssh_command.clone(),
        destination_directory: options.data_directory.clone(),
    };
    let patience = Patience {
        pause: options.loop_wait,
        limit: options.timeout,
    };
    match follow(api, &options.barman_server, &operation, patience, host) {
        End::Done => RecoverExit::RecoveryDone,
        End::Failed => RecoverExit::RecoveryFailed,
        End::Unknown => RecoverExit::HttpError,
    }
}
