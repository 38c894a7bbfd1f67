//! `check-backup`: whether the WAL a backup needs to be consistent is archived; sets its status accordingly.
//!
//! Used by the command, at the end of `backup`, and by `cron`.

use std::io;

use barman_catalog::annotations::{self, AnnotationError, DELETE_THIS};
use barman_catalog::archive::DiskArchive;
use barman_catalog::backup_info::{self, BackupInfo, StoreError};
use barman_catalog::completeness::{self, Completeness, Patience};
use barman_catalog::{BackupId, BackupStatus};
use barman_wal::SegmentName;
use barman_wal::lock::{Lock, LockError};
use serde::Serialize;

use crate::context::{Context, Level};
use crate::failure::{Class, Failure};
use crate::server::Server;

const TARGET: &str = "barman.backup_manager";

/// How long after the end of a backup a hole in its WAL may still fill: senders need not deliver in order.
const GRACE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// Who asks, which decides about holes in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// A user: a segment that is neither archived nor on its way is missing.
    Command,
    /// `backup` or `cron`: for an hour after the end of the backup it may still come.
    Automatic,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckBackupReport {
    /// The backup.
    pub backup_id: BackupId,
    /// Its status before.
    pub before: BackupStatus,
    /// Its status now.
    pub status: BackupStatus,
    /// The first segment that is still awaited.
    pub first_missing: Option<SegmentName>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Why a backup was not checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckBackupError {
    /// A failed backup stays failed.
    #[error("Backup {id} of server {server} has status FAILED and cannot be checked{}", because(reason.as_deref()))]
    AlreadyFailed {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// Why it failed.
        reason: Option<String>,
    },
    /// Just found to be without hope.
    #[error("This backup has been marked as FAILED due to the following reason: {reason}")]
    MarkedFailed {
        /// The backup.
        id: BackupId,
        /// Why.
        reason: String,
    },
    /// Somebody else works on it.
    #[error("Another process is holding the lock for backup {id} of server {server}.")]
    Busy {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// The lock.
    #[error("Cannot check backup {id}: {source}")]
    Lock {
        /// The backup.
        id: BackupId,
        /// Why.
        source: LockError,
    },
    /// Its deletion has begun: whatever its WAL, its data may be gone.
    #[error("Backup {id} of server {server} is being deleted and cannot be checked")]
    BeingDeleted {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// Its metadata.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its marks.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// The archive.
    #[error("cannot read the WAL archive of server {server}: {source}")]
    Archive {
        /// The server.
        server: String,
        /// Why.
        source: io::Error,
    },
}

fn because(reason: Option<&str>) -> String {
    reason.map(|r| format!(" ({r})")).unwrap_or_default()
}

impl Failure for CheckBackupError {
    fn class(&self) -> Class {
        match self {
            Self::Busy { .. } => Class::Info,
            _ => Class::Error,
        }
    }
}

/// Checks a backup under its own lock, which is not waited for.
///
/// # Errors
/// A backup that has failed before or fails now; a busy lock (class [`Class::Info`]); files that cannot be read or
/// written.
pub fn run(
    server: &Server,
    id: BackupId,
    occasion: Occasion,
    ctx: &Context<'_>,
) -> Result<CheckBackupReport, CheckBackupError> {
    let _lock = match Lock::try_acquire(&server.layout().id_lock(id)) {
        Ok(lock) => lock,
        Err(e) if e.is_busy() => {
            return Err(CheckBackupError::Busy {
                id,
                server: server.name().to_owned(),
            });
        }
        Err(source) => return Err(CheckBackupError::Lock { id, source }),
    };
    run_locked(server, id, occasion, ctx)
}

/// As [`run`], for a caller that holds the lock of the backup (a running `backup` holds its own).
///
/// # Errors
/// As [`run`].
pub fn run_locked(
    server: &Server,
    id: BackupId,
    occasion: Occasion,
    ctx: &Context<'_>,
) -> Result<CheckBackupReport, CheckBackupError> {
    let layout = server.layout();
    let info = backup_info::load(layout, id)?;
    if annotations::read(layout, id, DELETE_THIS)?.is_some() {
        return Err(CheckBackupError::BeingDeleted {
            id,
            server: server.name().to_owned(),
        });
    }
    let already_failed = || CheckBackupError::AlreadyFailed {
        id,
        server: server.name().to_owned(),
        reason: info.error.clone(),
    };
    let revivable = occasion == Occasion::Command && completeness::failed_for_missing_wal(&info);
    if info.status == BackupStatus::Failed && !revivable {
        return Err(already_failed());
    }
    let mut report = CheckBackupReport {
        backup_id: id,
        before: info.status,
        status: info.status,
        first_missing: None,
        error: None,
    };
    // What is not copied yet has another process to care for it, or none.
    let (Some(begin), true) = (info.begin_wal, info.status.is_copy_done() || revivable) else {
        return Ok(report);
    };
    let archive =
        DiskArchive::on_timeline(layout, begin.timeline).map_err(|source| CheckBackupError::Archive {
            server: server.name().to_owned(),
            source,
        })?;
    let patience = match occasion {
        Occasion::Automatic if is_recent(&info, ctx) => Patience::HolesMayFill,
        Occasion::Automatic | Occasion::Command => Patience::HolesAreFinal,
    };
    match completeness::assess(&info, &archive, patience) {
        Completeness::Unknown => {}
        Completeness::Done => report.status = BackupStatus::Done,
        Completeness::Waiting { first_missing } => {
            report.first_missing = Some(first_missing);
            report.status = BackupStatus::WaitingForWals;
        }
        Completeness::Failed { reason } => {
            report.status = BackupStatus::Failed;
            report.error = Some(reason);
        }
    }
    if revivable && report.status != BackupStatus::Done {
        return Err(already_failed());
    }
    if report.status != info.status {
        backup_info::update_locked(layout, id, |info| match &report.error {
            Some(reason) => info.set_failed_because(reason),
            None => {
                info.status = report.status;
                info.error = None;
            }
        })?;
    }
    if let Some(reason) = report.error {
        return Err(CheckBackupError::MarkedFailed { id, reason });
    }
    match (report.before, report.status, report.first_missing) {
        (BackupStatus::Done, BackupStatus::WaitingForWals, Some(missing)) => ctx.say(
            Level::Warning,
            TARGET,
            &format!(
                "Backup {id} of server {} was DONE, but WAL file {missing} is not in the archive any more",
                server.name()
            ),
        ),
        (_, status, _) => {
            log::debug!(target: TARGET, "backup {id} of server {} is {status}", server.name());
        }
    }
    Ok(report)
}

fn is_recent(info: &BackupInfo, ctx: &Context<'_>) -> bool {
    let now = ctx.clock.now().timestamp();
    info.end_time
        .is_some_and(|end| now.duration_since(end.instant()) < GRACE)
}
