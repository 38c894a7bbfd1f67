//! Keeping a backup, and taking that back: what `barman keep` does.
//!
//! Both are done under a shared lock on the backup, so that they never meet a deletion in the middle: either the
//! annotation is there before the deletion looks for it, or the backup is found being deleted and refused. A restore or
//! export, which has the same lock, is in nobody's way.

use crate::annotations::{self, AnnotationError, DELETE_THIS, KEEP, Keep};
use crate::backup_info::{self, BackupInfo, BackupStatus, StoreError};
use crate::ids::BackupId;
use crate::layout::Layout;
use crate::protection::{self, InUseError};
use std::sync::atomic::AtomicBool;

/// Why a backup cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeepRefusal {
    /// Nothing is known to be good of it yet, or any more.
    #[error(
        "Cannot add keep to backup {id} because it has status {status}. Only backups with status DONE can be kept."
    )]
    NotDone {
        /// The backup.
        id: BackupId,
        /// Its status.
        status: BackupStatus,
    },
    /// It would need what it is based on.
    #[error(
        "Unable to execute the keep command on backup {id}: is an incremental backup.\nOnly full backups are eligible for the use of the keep command."
    )]
    Incremental {
        /// The backup.
        id: BackupId,
    },
    /// Its deletion has begun: its data may be gone.
    #[error("Cannot add keep to backup {id} because it is being deleted")]
    BeingDeleted {
        /// The backup.
        id: BackupId,
    },
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It cannot be kept.
    #[error(transparent)]
    Refused(#[from] KeepRefusal),
    /// Somebody deletes it.
    #[error(transparent)]
    InUse(#[from] InUseError),
    /// Its metadata.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The annotation.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
}

/// Whether a backup can be kept.
///
/// # Errors
/// The reason against it.
pub fn check(backup: &BackupInfo, being_deleted: bool) -> Result<(), KeepRefusal> {
    let id = backup.id;
    if backup.status != BackupStatus::Done {
        let status = backup.status;
        return Err(if being_deleted {
            KeepRefusal::BeingDeleted { id }
        } else {
            KeepRefusal::NotDone { id, status }
        });
    }
    if backup.is_incremental() {
        return Err(KeepRefusal::Incremental { id });
    }
    if being_deleted {
        return Err(KeepRefusal::BeingDeleted { id });
    }
    Ok(())
}

/// Keeps the backup, durably, replacing what was said of it before.
///
/// # Errors
/// It cannot be kept; somebody is deleting it; the file system's errors.
pub fn add(layout: &Layout, id: BackupId, keep: Keep, cancel: Option<&AtomicBool>) -> Result<(), KeepError> {
    let _lock = protection::lock_shared(layout, id, cancel)?;
    let backup = backup_info::load(layout, id)?;
    let being_deleted = annotations::read(layout, id, DELETE_THIS)?.is_some();
    check(&backup, being_deleted)?;
    Ok(annotations::write_keep(layout, id, keep)?)
}

/// Takes the protection back, durably. A backup that is not kept stays as it is.
///
/// # Errors
/// Somebody is deleting the backup; the file system's errors.
pub fn release(layout: &Layout, id: BackupId, cancel: Option<&AtomicBool>) -> Result<(), KeepError> {
    let _lock = protection::lock_shared(layout, id, cancel)?;
    Ok(annotations::remove(layout, id, KEEP)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deletion::{self, NoObserver, Trigger};
    use crate::xlogdb::CustomMagic;
    use crate::{Catalog, Layout};
    use barman_wal::lock::Lock;

    const ID: &str = "20260101T000000";

    fn backup(status: BackupStatus, parent: Option<&str>) -> BackupInfo {
        let mut info = BackupInfo::new(ID.parse().unwrap(), "s", Some("postgres".into()));
        info.status = status;
        info.parent_backup_id = parent.map(|id| id.parse().unwrap());
        info
    }

    #[test]
    fn who_can_be_kept() {
        use BackupStatus::{Done, Failed, Started, WaitingForWals};
        let parent = Some("20250101T000000");
        for (status, parent, deleting, expected) in [
            (Done, None, false, "kept"),
            (Done, parent, false, "incremental"),
            (Done, None, true, "being deleted"),
            (WaitingForWals, None, false, "status WAITING_FOR_WALS"),
            (Started, None, false, "status STARTED"),
            // Of both reasons the status is told, as Barman does.
            (Failed, parent, false, "status FAILED"),
            (Failed, None, true, "being deleted"),
        ] {
            let found = check(&backup(status, parent), deleting);
            let text = found.map_or_else(|e| e.to_string(), |()| "kept".to_owned());
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn keep_and_release() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("s", home.path());
        let info = backup(BackupStatus::Done, None);
        backup_info::save(&layout, &info).unwrap();
        let keep = || annotations::read_keep(&layout, info.id).unwrap();
        // A restore or an export is in nobody's way.
        let _restore = Lock::try_acquire_shared(&layout.id_lock(info.id)).unwrap();
        release(&layout, info.id, None).unwrap();
        for how in [Keep::Full, Keep::Standalone, Keep::Full] {
            add(&layout, info.id, how, None).unwrap();
            assert_eq!(keep(), Some(how));
        }
        release(&layout, info.id, None).unwrap();
        assert_eq!(keep(), None);
        assert!(layout.meta_directory().exists());
    }

    /// One of both wins: the deletion finds the annotation, or the annotation is refused.
    #[test]
    fn a_deletion_is_never_met_in_the_middle() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("s", home.path());
        let info = backup(BackupStatus::Done, None);
        backup_info::save(&layout, &info).unwrap();
        let deletion = Lock::try_acquire(&layout.id_lock(info.id)).unwrap();
        let cancel = AtomicBool::new(true);
        assert!(matches!(
            add(&layout, info.id, Keep::Full, Some(&cancel)),
            Err(KeepError::InUse(_))
        ));
        let mut catalog = Catalog::load(&layout).unwrap();
        deletion::delete_backup(
            &layout,
            &mut catalog,
            info.id,
            Trigger::Manual,
            &CustomMagic::None,
            &mut NoObserver,
            None,
        )
        .unwrap();
        drop(deletion);
        assert!(matches!(
            add(&layout, info.id, Keep::Full, None),
            Err(KeepError::Store(StoreError::Missing { .. }))
        ));
        assert!(!layout.annotation(info.id, KEEP).exists());
    }
}
