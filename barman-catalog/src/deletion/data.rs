//! Removing a backup, step by step.

use super::wal::{Extent, remove};
use super::{Mandate, WalDecision, WalRemoval, wal_decision};
use crate::annotations::{self, AnnotationError, DELETE_THIS, KEEP};
use crate::backup_info::{self, BackupInfo, BackupStatus, BackupType, StoreError};
use crate::catalog::Catalog;
use crate::completeness::failed_for_missing_wal;
use crate::files;
use crate::ids::BackupId;
use crate::layout::Layout;
use crate::xlogdb::{CustomMagic, WalRecord, XlogDbError};
use barman_wal::durable;
use barman_wal::lock::Lock;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long to wait for the lock of a parent that somebody else is changing.
const PARENT_LOCK_WAIT: Duration = Duration::from_secs(10);

/// Whoever wants to know of the steps of a deletion, and may stop it: the place for hook scripts.
pub trait DeletionObserver {
    /// The backup is marked for deletion, nothing is removed yet. An error takes the mark back and ends the deletion.
    ///
    /// # Errors
    /// The reason to stop.
    fn begun(&mut self, backup: &BackupInfo) -> Result<(), String> {
        let _ = backup;
        Ok(())
    }

    /// A file of the archive is about to be removed. An error leaves it and all further ones.
    ///
    /// # Errors
    /// The reason to stop.
    fn before_wal(&mut self, record: &WalRecord, path: &Path) -> Result<(), String> {
        let _ = (record, path);
        Ok(())
    }

    /// A file of the archive has been removed, or could not be.
    fn after_wal(&mut self, record: &WalRecord, path: &Path, error: Option<&str>) {
        let _ = (record, path, error);
    }

    /// What of the archive went with the backup.
    fn wal_done(&mut self, decision: &WalDecision, removal: &WalRemoval) {
        let _ = (decision, removal);
    }

    /// Something that went wrong without stopping the deletion.
    fn warning(&mut self, text: &str) {
        log::warn!(target: "barman.backup", "{text}");
    }
}

/// Nobody.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoObserver;

impl DeletionObserver for NoObserver {}

/// Why a backup could not be deleted. What has been done stays marked, and the next attempt goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// The metadata.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mark.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// The WAL catalogue.
    #[error(transparent)]
    XlogDb(#[from] XlogDbError),
    /// A file or directory of the backup.
    #[error("cannot remove {}: {source}", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Files of the archive. The rest of the backup stays marked until they are gone, since nothing lists them any more.
    #[error("{left} WAL file(s) could not be removed: {first}")]
    Wal {
        /// How many.
        left: usize,
        /// Which was the first, and why.
        first: String,
    },
    /// The observer.
    #[error("the deletion of backup {id} was stopped: {reason}")]
    Stopped {
        /// The backup.
        id: BackupId,
        /// Why.
        reason: String,
    },
    /// The backup is a set of cloud snapshots.
    #[error("backup {id} consists of cloud snapshots, which cannot be deleted from here")]
    Snapshots {
        /// The backup.
        id: BackupId,
    },
}

/// Deletes one backup, not its incremental children, with the WAL that nothing needs after it, and takes it out of
/// `catalog`. The caller holds the lock of the backup and has read `catalog` under it.
///
/// # Errors
/// The first step that failed.
pub fn delete_backup(
    layout: &Layout,
    catalog: &mut Catalog,
    id: BackupId,
    mandate: impl Into<Mandate>,
    custom: &CustomMagic,
    observer: &mut dyn DeletionObserver,
    cancel: Option<&AtomicBool>,
) -> Result<(), DeletionError> {
    let mandate = mandate.into();
    let backup = backup_info::load(layout, id)?;
    if backup.snapshots_info.is_some() {
        return Err(DeletionError::Snapshots { id });
    }
    let resumed = catalog.is_being_deleted(id);
    mark(layout, id)?;
    if let Err(reason) = observer.begun(&backup) {
        if !resumed {
            annotations::remove(layout, id, DELETE_THIS)?;
        }
        return Err(DeletionError::Stopped { id, reason });
    }
    let decision = wal_decision(catalog, id, mandate.trigger);
    let next = catalog.next(id).cloned();
    // From here on it must not look whole, to Barman neither, which knows only the status.
    // One that failed for missing WAL becomes good when that WAL comes: it must say why it cannot any more.
    let is_hopeless = backup.status == BackupStatus::Failed && !failed_for_missing_wal(&backup);
    let is_told = is_hopeless || tell_failed(layout, id)?;
    for tablespace in &backup.tablespaces {
        remove_tree(&layout.tablespace_directory(id, tablespace.oid))?;
    }
    remove_tree(&layout.data_directory(id))?;
    if !is_told {
        match set_failed(layout, id) {
            // Nothing has come free, because the backup had no data yet. Its status does not call it good, so it may go without being told.
            Err(error) if error.is_out_of_space() && !backup.status.is_copy_done() => {}
            other => other?,
        }
    }
    let removal = match &decision {
        WalDecision::Remove(plan) => {
            let extent = if resumed { Extent::Found } else { Extent::Listed };
            remove(layout, plan, extent, custom, observer, cancel)?
        }
        WalDecision::Keep(_) => WalRemoval::default(),
    };
    observer.wal_done(&decision, &removal);
    if let Some(reason) = removal.stopped {
        return Err(DeletionError::Stopped { id, reason });
    }
    if let Some(first) = removal.warnings.first() {
        return Err(DeletionError::Wal {
            left: removal.warnings.len(),
            first: first.clone(),
        });
    }
    remove_tree(&layout.base_directory(id))?;
    // Before the backup vanishes: Barman cannot work with a parent that names a child it does not find.
    if let Some(parent) = backup.parent_backup_id {
        forget_child(layout, parent, id, mandate, observer);
    }
    let info = layout.backup_info(id);
    files::remove(&info).map_err(|source| DeletionError::Remove { path: info, source })?;
    catalog.forget(id);
    annotations::remove(layout, id, KEEP)?;
    annotations::remove(layout, id, DELETE_THIS)?;
    if let Some(next) = next.filter(|n| n.backup_type() == BackupType::Rsync) {
        remeasure(layout, next.id, observer);
    }
    let _ = files::remove(&layout.sync_backup_lock(id));
    Ok(())
}

/// Marks the deletion as begun. A full disk must not keep anybody from making room: an empty mark does then.
fn mark(layout: &Layout, id: BackupId) -> Result<(), AnnotationError> {
    match annotations::write(layout, id, DELETE_THIS, b"delete") {
        Err(error) if error.is_out_of_space() => annotations::touch(layout, id, DELETE_THIS),
        other => other,
    }
}

fn set_failed(layout: &Layout, id: BackupId) -> Result<(), StoreError> {
    backup_info::update_locked(layout, id, |info| {
        info.set_failed_because("deletion not completed");
    })
    .map(drop)
}

/// Writes that the backup is no good. False if the disk is full: then it has lost `pg_control`, or the archive with it,
/// so that no restore of it starts, and the status waits until there is room.
fn tell_failed(layout: &Layout, id: BackupId) -> Result<bool, DeletionError> {
    match set_failed(layout, id) {
        Ok(()) => Ok(true),
        Err(error) if error.is_out_of_space() => {
            spoil(&layout.data_directory(id))?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes that without which nobody restores a backup: `pg_control`, or in tar format the archive that has it.
fn spoil(data: &Path) -> Result<(), DeletionError> {
    let mut vital = vec![data.join("global/pg_control")];
    // A directory that cannot be read has nothing that could be removed.
    let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
    let archives = entries.filter(|e| e.file_name().as_encoded_bytes().starts_with(b"base.tar"));
    vital.extend(archives.map(|e| e.path()));
    for path in vital {
        files::remove(&path).map_err(|source| DeletionError::Remove { path, source })?;
    }
    Ok(())
}

fn remove_tree(path: &Path) -> Result<(), DeletionError> {
    match durable::remove_tree_durable(path) {
        Ok(_) => Ok(()),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound) => Ok(()),
        Err(e) => Err(DeletionError::Remove {
            path: path.to_path_buf(),
            source: e.into(),
        }),
    }
}

/// Takes a child out of its parent's list. A shared lock on the parent does: it keeps those away who change its metadata
/// for other reasons, and only one process deletes backups of a server at a time; a restore of the parent may go on.
fn forget_child(
    layout: &Layout,
    parent: BackupId,
    child: BackupId,
    mandate: Mandate,
    observer: &mut dyn DeletionObserver,
) {
    let lock = if mandate.root == Some(parent) {
        // The caller holds it.
        None
    } else {
        match Lock::acquire_shared_within(&layout.id_lock(parent), PARENT_LOCK_WAIT, None) {
            Ok(lock) => Some(lock),
            Err(e) => {
                return observer.warning(&format!(
                    "cannot take backup {child} out of its parent {parent}: {e}"
                ));
            }
        }
    };
    match backup_info::load(layout, parent) {
        Ok(mut info) if info.children_backup_ids.contains(&child) => {
            info.children_backup_ids.retain(|c| *c != child);
            if let Err(e) = backup_info::save(layout, &info) {
                observer.warning(&format!(
                    "cannot take backup {child} out of its parent {parent}: {e}"
                ));
            }
        }
        Ok(_) | Err(StoreError::Missing { .. }) => {}
        Err(e) => observer.warning(&format!(
            "cannot take backup {child} out of its parent {parent}: {e}"
        )),
    }
    // A file nobody needs once the lock is free; left behind it would be cleaned up by the next cron.
    drop(lock);
}

/// Measures a backup again whose files shared links with the deleted one.
fn remeasure(layout: &Layout, id: BackupId, observer: &mut dyn DeletionObserver) {
    let result = measure(&layout.base_directory(id))
        .map_err(|e| e.to_string())
        .and_then(|sizes| {
            backup_info::update(layout, id, |info| {
                info.size = Some(sizes.size);
                info.deduplicated_size = Some(sizes.deduplicated);
            })
            .map_err(|e| e.to_string())
        });
    if let Err(e) = result {
        observer.warning(&format!("cannot measure backup {id} again: {e}"));
    }
}

/// How much room a backup takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Bytes of all its files.
    pub size: u64,
    /// Bytes of those that share their content with no other backup.
    pub deduplicated: u64,
}

/// Measures everything below the directory of a backup but annotations in their place of before 3.13.3, which say
/// something of the backup and are not part of it (Barman moves them away before it measures). Links to files count
/// what they lead to; links to directories are not followed.
///
/// # Errors
/// A directory that cannot be read.
pub fn measure(backup: &Path) -> io::Result<Sizes> {
    let annotations = backup.join("annotations");
    let mut sizes = Sizes::default();
    let mut directories = vec![backup.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let path = entry.path();
                if path != annotations {
                    directories.push(path);
                }
                continue;
            }
            // A link to nothing counts nothing.
            let Ok(metadata) = std::fs::metadata(entry.path()) else {
                continue;
            };
            if metadata.is_file() {
                sizes.size = sizes.size.saturating_add(metadata.len());
                if metadata.nlink() == 1 {
                    sizes.deduplicated = sizes.deduplicated.saturating_add(metadata.len());
                }
            }
        }
    }
    Ok(sizes)
}

/// Removes what killed processes left in `meta/`: marks of deletions that were interrupted after the very last step but
/// one (the backup is gone, the mark is not), and files that were not yet complete. The caller holds the server's
/// backup lock.
///
/// # Errors
/// A mark that cannot be removed.
pub fn sweep_stale_marks(layout: &Layout, catalog: &Catalog) -> Result<(), AnnotationError> {
    if let Err(e) = durable::remove_stale_temporaries(&layout.meta_directory()) {
        log::debug!(target: "barman.backup", "{e}");
    }
    for id in catalog.stale_deletions() {
        annotations::remove(layout, id, KEEP)?;
        annotations::remove(layout, id, DELETE_THIS)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nobody_restores_what_is_spoilt() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        spoil(&data).unwrap();
        fs::create_dir_all(data.join("global")).unwrap();
        let all = [
            "PG_VERSION",
            "global/pg_control",
            "base.tar.gz.gpg",
            "base.tar",
            "16384.tar",
        ];
        for name in all {
            fs::write(data.join(name), "x").unwrap();
        }
        spoil(&data).unwrap();
        let left = all.map(|name| data.join(name).exists());
        assert_eq!(left, [true, false, false, false, true]);
    }
}
