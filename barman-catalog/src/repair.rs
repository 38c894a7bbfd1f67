//! Backups whose process died: nothing but this ends their `STARTED` or `EMPTY`.

use crate::backup_info::{self, BackupStatus, StoreError};
use crate::catalog::Catalog;
use crate::ids::BackupId;
use crate::layout::Layout;
use barman_wal::lock::{Lock, LockError};

/// Who guarantees that no backup of the server is running.
#[derive(Debug, Clone, Copy)]
pub enum BackupLock<'a> {
    /// The caller holds `.SERVER-backup.lock`.
    Held(&'a Lock),
    /// Nobody: it is taken for the time of the repair. When somebody has it, nothing is repaired.
    Take,
}

/// Marks backups `FAILED` that are `STARTED` or `EMPTY` although no backup of the server is running: their process
/// was killed, or the machine went down. Returns those it marked.
///
/// Each file is read again under the lock of its backup; one that is locked is left alone. `SYNCING` backups belong
/// to another process and are not touched.
///
/// # Errors
/// The lock directory; a file that could not be replaced.
pub fn mark_dead_backups(
    layout: &Layout,
    catalog: &Catalog,
    lock: BackupLock<'_>,
) -> Result<Vec<BackupId>, StoreError> {
    let unfinished = |status| matches!(status, BackupStatus::Started | BackupStatus::Empty);
    let dead: Vec<BackupId> = catalog
        .usable()
        .filter(|b| unfinished(b.status))
        .map(|b| b.id)
        .collect();
    let Some(first) = dead.first().copied() else {
        return Ok(Vec::new());
    };
    let _taken = match lock {
        BackupLock::Held(_) => None,
        BackupLock::Take => match Lock::try_acquire(&layout.backup_lock()) {
            Ok(lock) => Some(lock),
            Err(e) if e.is_busy() => return Ok(Vec::new()),
            Err(source) => return Err(lock_error(layout, first, source)),
        },
    };
    let mut marked = Vec::new();
    for id in dead {
        let mut action = None;
        let result = backup_info::update(layout, id, |info| {
            if unfinished(info.status) {
                let what = if info.status == BackupStatus::Empty {
                    "starting backup"
                } else {
                    "copying files"
                };
                info.set_failed(what, "the backup process ended without finishing");
                action = Some(what);
            }
        });
        match result {
            Ok(_) => {}
            Err(StoreError::Lock { source, .. }) if source.is_busy() => continue,
            Err(StoreError::Missing { .. }) => continue,
            Err(e) => return Err(e),
        }
        if action.is_some() {
            log::warn!(
                target: "barman.backup",
                "backup {id} of server {} has no process any more and is marked as FAILED",
                layout.server()
            );
            marked.push(id);
        }
    }
    Ok(marked)
}

fn lock_error(layout: &Layout, id: BackupId, source: LockError) -> StoreError {
    StoreError::Lock {
        id,
        server: layout.server().to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackupInfo;

    fn with_backups(layout: &Layout) -> Catalog {
        for (id, status) in [
            ("20260101T000000", BackupStatus::Done),
            ("20260102T000000", BackupStatus::Started),
            ("20260103T000000", BackupStatus::Syncing),
            ("20260104T000000", BackupStatus::Empty),
        ] {
            let mut info = BackupInfo::new(id.parse().unwrap(), "s", None);
            info.status = status;
            backup_info::save(layout, &info).unwrap();
        }
        Catalog::load(layout).unwrap()
    }

    #[test]
    fn only_what_has_no_process_fails() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("s", home.path());
        let catalog = with_backups(&layout);
        let running = Lock::try_acquire(&layout.backup_lock()).unwrap();
        assert!(
            mark_dead_backups(&layout, &catalog, BackupLock::Take)
                .unwrap()
                .is_empty()
        );
        drop(running);
        let marked = mark_dead_backups(&layout, &catalog, BackupLock::Take).unwrap();
        assert_eq!(
            marked.iter().map(BackupId::as_str).collect::<Vec<_>>(),
            ["20260102T000000", "20260104T000000"]
        );
        let catalog = Catalog::load(&layout).unwrap();
        let states: Vec<_> = catalog.backups().map(|b| b.status.as_str()).collect();
        assert_eq!(states, ["DONE", "FAILED", "SYNCING", "FAILED"]);
        let error = catalog.get(marked[0]).unwrap().error.as_deref();
        assert_eq!(
            error,
            Some("failure copying files (the backup process ended without finishing)")
        );
        assert!(
            mark_dead_backups(&layout, &catalog, BackupLock::Take)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_backup_that_ended_since_the_catalogue_was_read_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("s", home.path());
        let catalog = with_backups(&layout);
        backup_info::update(&layout, "20260102T000000".parse().unwrap(), |i| {
            i.status = BackupStatus::Done;
        })
        .unwrap();
        let held = Lock::try_acquire(&layout.backup_lock()).unwrap();
        let marked = mark_dead_backups(&layout, &catalog, BackupLock::Held(&held)).unwrap();
        assert_eq!(
            marked.iter().map(BackupId::as_str).collect::<Vec<_>>(),
            ["20260104T000000"]
        );
    }
}
